//! What `doctor` finds on this machine: specs, state, key, backups, daemon.

use std::net::IpAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::app::{self, Access};
use crate::cli::daemon;
use crate::cli::doctor::Check;
use crate::cli::session::Session;
use crate::config::StateLocation;
use crate::controller::watcher::{FileReading, Scan};
use crate::resource::secret::Secret;
use crate::spec::parse::parse;
use crate::store::seal::StateKey;

/// Permission bits of everybody but the owner.
const OTHERS: u32 = 0o077;

/// All of them, in the order in which they are shown.
pub(in crate::cli::doctor) async fn checks(session: &Session) -> Vec<Check> {
    let mut checks = vec![specs(session)];
    checks.extend(session.loaded.warnings.iter().map(|warning| {
        Check::warning("settings", warning.as_str(), "mend or remove it; `sitewright config` shows all settings")
    }));
    checks.push(state(session).await);
    checks.extend(private_directory(session));
    checks.push(key(session));
    checks.extend(backups(
        &session.settings().backup_directory,
        session.settings().providers.platform_database_url.as_ref(),
    ));
    checks.push(if daemon::is_running(session.settings()) {
        Check::good("daemon", "a daemon holds this state")
    } else {
        Check::warning("daemon", "no daemon holds this state; requests wait", "start `sitewright run`")
    });
    checks
}

fn specs(session: &Session) -> Check {
    const AREA: &str = "specs";
    let path = &session.settings().specs;
    let scan = match Scan::take(path, None) {
        Ok(scan) => scan,
        Err(problem) => {
            return Check::bad(AREA, problem.to_string(), "make the directory readable, or name another with --specs");
        }
    };
    let rules = match app::options::rules(session.settings()) {
        Ok((rules, _)) => rules,
        Err(error) => return Check::bad(AREA, format!("{error:#}"), "mend the setting that the message names"),
    };
    let is_good = |reading: &FileReading| match reading {
        FileReading::Read { bytes, .. } => parse(bytes, &rules).is_ok(),
        FileReading::TooLarge(_) | FileReading::Unreadable(_) => false,
    };
    let (total, bad) = (scan.files.len(), scan.files.values().filter(|reading| !is_good(reading)).count());
    let shown = path.display();
    match (total, bad) {
        (0, _) => Check::warning(AREA, format!("{shown} holds no spec files"), "put one there; names end in .yaml"),
        (_, 0) => Check::good(AREA, format!("{shown}: {total} files, all valid")),
        _ => Check::bad(
            AREA,
            format!("{shown}: {bad} of {total} files are not valid"),
            "`sitewright validate` says where",
        ),
    }
}

async fn state(session: &Session) -> Check {
    const AREA: &str = "state";
    let shown = match &session.settings().state {
        StateLocation::Sqlite(path) if !path.exists() => {
            return Check::skipped(AREA, format!("{} is not there yet", path.display()), "the first start makes it");
        }
        StateLocation::Sqlite(path) => path.display().to_string(),
        StateLocation::Postgres(_) => "PostgreSQL".to_owned(),
    };
    match session.store(Access::Look).await {
        Ok(store) => match store.clients().await {
            Ok(clients) => Check::good(AREA, format!("{shown} opens with its key; {} clients", clients.len())),
            Err(error) => Check::bad(AREA, error.to_string(), "restore the state from its backup"),
        },
        Err(error) => Check::bad(AREA, format!("{error:#}"), "mend what the message names; never delete the state"),
    }
}

fn private_directory(session: &Session) -> Option<Check> {
    const AREA: &str = "state";
    let StateLocation::Sqlite(path) = &session.settings().state else { return None };
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mode = std::fs::metadata(directory).ok()?.mode() & 0o7777;
    let shown = directory.display();
    Some(if mode & OTHERS == 0 {
        Check::good(AREA, format!("{shown} is the owner's alone ({mode:04o})"))
    } else {
        Check::warning(AREA, format!("{shown} is open to others ({mode:04o})"), format!("chmod 700 {shown}"))
    })
}

fn key(session: &Session) -> Check {
    const AREA: &str = "state";
    let path = &session.settings().state_key;
    match StateKey::load(path) {
        Ok(Some(_)) => Check::good(AREA, format!("the key {} is sound; keep a copy of it elsewhere", path.display())),
        Ok(None) => {
            Check::skipped(AREA, format!("the key {} is not there yet", path.display()), "the first start makes it")
        }
        Err(error) => Check::bad(AREA, error.to_string(), format!("chmod 600 {}, or restore it", path.display())),
    }
}

/// A dump beside its database goes with the machine that holds both (reliability.md S3).
fn backups(directory: &Path, server: Option<&Secret>) -> Option<Check> {
    const AREA: &str = "backups";
    let shown = directory.display();
    let url = url::Url::parse(server?.expose()).ok()?;
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let is_socket = host.is_empty() || host.to_ascii_lowercase().starts_with("%2f");
    let is_here = is_socket || host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback());
    Some(if is_here {
        Check::warning(
            AREA,
            format!("{shown} lies on the machine of the database server: what takes the databases takes their dumps"),
            "mount a directory of another machine there, or copy it away regularly",
        )
    } else {
        Check::good(AREA, format!("{shown} lies on another machine than the database server"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::Verdict;

    /// G7.
    #[test]
    fn dumps_beside_their_databases_are_told() {
        let verdict = |url: &str| backups(Path::new("dumps"), Some(&Secret::new(url))).map(|check| check.verdict);
        for here in ["127.0.0.1", "localhost", "[::1]", "%2Fvar%2Frun%2Fpostgresql", ""] {
            let url = format!("postgres://admin:hidden@{here}/postgres").replace("admin:hidden@/", "/");
            assert_eq!(verdict(&url), Some(Verdict::Warning), "{url}");
        }
        assert_eq!(verdict("postgres://admin:hidden@db.agency.example:5432/postgres"), Some(Verdict::Good));
        assert!(backups(Path::new("dumps"), None).is_none());
    }
}
