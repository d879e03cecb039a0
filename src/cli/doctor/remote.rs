//! What `doctor` finds at the providers, by their own answers.

use std::collections::BTreeSet;

use crate::app::{self, App};
use crate::cli::doctor::Check;
use crate::cli::session;
use crate::cli::when;
use crate::provider::error::{ErrorClass, ProviderError};
use crate::provider::{Dns, Host};
use crate::resource::name::{HostName, RepositorySlug, ServerId};
use crate::resource::record::Zone;
use crate::resource::site::Repository;
use crate::spec::defaults::BRANCH_DEFAULT;
use crate::spec::parse::parse;
use crate::store::Store;

const HOST: &str = "ploi";
const DNS: &str = "cloudflare";
const DATABASE: &str = "postgres";
const GIT: &str = "git";

/// All of them, in the order in which they are shown.
pub(in crate::cli::doctor) async fn checks(app: &App, store: &dyn Store) -> Vec<Check> {
    let mut checks = Vec::new();
    match app.providers.hosts.get(HOST) {
        Some(host) => checks.extend(host_checks(app, store, host).await),
        None => checks.push(Check::skipped(
            HOST,
            "not configured; specs with hosting.provider: ploi wait",
            "set PLOI_API_TOKEN",
        )),
    }
    match app.providers.dns.get(DNS) {
        Some(dns) => checks.extend(dns_checks(app, &**dns).await),
        None => checks.push(Check::skipped(
            DNS,
            "not configured; specs with dns.provider: cloudflare wait",
            "set CLOUDFLARE_API_TOKEN",
        )),
    }
    checks.extend(database_checks(app).await);
    checks.push(git_check(app).await);
    checks
}

/// The way out of a refusal, by its class.
fn way_out(error: &ProviderError, variable: &str) -> String {
    match &error.class {
        ErrorClass::Unauthorized(_) => format!("make a new token and set {variable}"),
        ErrorClass::Forbidden(_) => format!("give the token of {variable} the permission that the message names"),
        ErrorClass::Throttled { .. } => "wait; another tool uses the same account".into(),
        ErrorClass::NotFound => "mend the id in the settings".into(),
        _ => "look at the provider's status page, the address and the network, then run doctor again".into(),
    }
}

async fn host_checks(app: &App, store: &dyn Store, host: &Host) -> Vec<Check> {
    let mut checks = Vec::new();
    let Some(id) = app.settings.providers.ploi_server_id.clone().map(ServerId::trusted) else {
        let message = "no default server; every spec must name hosting.server";
        return vec![Check::warning(HOST, message, "set PLOI_SERVER_ID")];
    };
    match host.sites.server(&id).await {
        Ok(server) if server.active => {
            checks.push(Check::good(
                HOST,
                format!("the token is accepted; server {} ({}) is up", server.name, server.address),
            ));
        }
        Ok(server) => checks.push(Check::bad(
            HOST,
            format!("server {} is not active", server.name),
            "look at it in the panel; nothing is built on it meanwhile",
        )),
        Err(error) => {
            let fix = way_out(&error, "PLOI_API_TOKEN");
            return vec![Check::bad(HOST, error.to_string(), fix)];
        }
    }
    match host.sites.sites(&id).await {
        Ok(sites) => checks.push(Check::good(HOST, format!("{} sites can be listed on server {id}", sites.len()))),
        Err(error) => checks.push(Check::bad(HOST, error.to_string(), way_out(&error, "PLOI_API_TOKEN"))),
    }
    checks.push(server_check(store, &id).await);
    checks.extend(repository_check(app, host).await);
    checks
}

/// What the daemon's own look at the server found last (decisions 6); doctor starts nothing there.
async fn server_check(store: &dyn Store, id: &ServerId) -> Check {
    let unknown = || {
        let message = format!("whether server {id} has what a build needs is not known yet");
        Check::skipped(HOST, message, "the daemon looks before the first build and tells it in SiteReady")
    };
    let Ok(Some(memory)) = store.document(&format!("server/{id}")).await else { return unknown() };
    let Some(missing) = memory.pointer("/check/value/missing").and_then(|missing| missing.as_array()) else {
        return unknown();
    };
    let at = memory.pointer("/check/at").and_then(|at| at.as_str()).and_then(|at| at.parse().ok());
    let seen = at.map(|at| format!(" (seen {})", when::relative(at, session::now()))).unwrap_or_default();
    let missing: Vec<&str> = missing.iter().filter_map(|item| item.as_str()).collect();
    if missing.is_empty() {
        Check::good(HOST, format!("server {id} has what a build needs{seen}"))
    } else {
        let message = format!("server {id} lacks: {}{seen}", missing.join("; "));
        Check::bad(HOST, message, "install what is missing on the server")
    }
}

fn repository(app: &App) -> Option<(RepositorySlug, String)> {
    let settings = &app.settings.providers;
    let slug = RepositorySlug::parse(settings.ploi_git_repo.as_deref()?).ok()?;
    Some((slug, settings.ploi_git_branch.clone().unwrap_or_else(|| BRANCH_DEFAULT.to_owned())))
}

async fn repository_check(app: &App, host: &Host) -> Option<Check> {
    let repositories = host.repositories.as_ref()?;
    let Some((slug, branch)) = repository(app) else {
        let message = "no default repository; every spec must name source.repository";
        return Some(Check::warning(HOST, message, "set PLOI_GIT_REPO"));
    };
    Some(match repositories.is_reachable(&Repository { slug: slug.clone(), branch }).await {
        Ok(true) => Check::good(HOST, format!("the linked Git account sees {slug}")),
        Ok(false) => Check::bad(
            HOST,
            format!("the linked Git account does not see {slug}"),
            "give it access to the repository, or name another account in hosting.ploi.sourceProvider",
        ),
        Err(error) => Check::bad(HOST, error.to_string(), "name the account in hosting.ploi.sourceProvider"),
    })
}

async fn dns_checks(app: &App, dns: &dyn Dns) -> Vec<Check> {
    let zones = match dns.zones().await {
        Ok(zones) if zones.is_empty() => {
            let fix = "give the token Zone:Read and DNS:Edit for the zones, or mend CLOUDFLARE_ZONE_ID";
            return vec![Check::bad(DNS, "the token is accepted and sees no zone", fix)];
        }
        Ok(zones) => zones,
        Err(error) => return vec![Check::bad(DNS, error.to_string(), way_out(&error, "CLOUDFLARE_API_TOKEN"))],
    };
    let mut checks: Vec<Check> = zones.iter().map(zone_check).collect();
    checks.extend(uncovered(app, &zones).await);
    checks
}

fn zone_check(zone: &Zone) -> Check {
    let name = &zone.name;
    if !zone.active {
        let fix = "delegate the domain to the name servers that Cloudflare names for it";
        return Check::bad(DNS, format!("zone {name} is not served"), fix);
    }
    if !zone.writable {
        return Check::bad(DNS, format!("zone {name} can be read only"), "give the token DNS:Edit for this zone");
    }
    match zone.ssl_mode.as_deref() {
        Some(mode @ ("off" | "flexible")) => Check::warning(
            DNS,
            format!("zone {name} can be written; its SSL mode is {mode}, which breaks or weakens proxied sites"),
            "set the zone's SSL/TLS mode to Full (strict)",
        ),
        _ => Check::good(DNS, format!("zone {name} can be written")),
    }
}

/// Clients whose domain lies in no zone that we see.
async fn uncovered(app: &App, zones: &[Zone]) -> Option<Check> {
    let (rules, defaults) = app::options::rules(&app.settings).ok()?;
    let mut outside: BTreeSet<HostName> = BTreeSet::new();
    for record in app.store.clients().await.ok()? {
        let spec = record.accepted.as_ref().and_then(|accepted| parse(accepted.text.as_bytes(), &rules).ok());
        if let Some(domain) = spec.and_then(|parsed| parsed.spec.domain(&defaults).ok())
            && !zones
                .iter()
                .any(|zone| domain.as_str() == zone.name || domain.as_str().ends_with(&format!(".{}", zone.name)))
        {
            outside.insert(domain);
        }
    }
    let names: Vec<String> = outside.iter().map(ToString::to_string).collect();
    (!names.is_empty()).then(|| {
        let message = format!("no zone covers {}", names.join(", "));
        Check::warning(DNS, message, "add the zone to the token, or say dns.provider: none in the spec")
    })
}

async fn database_checks(app: &App) -> Vec<Check> {
    let Some(postgres) = &app.postgres else {
        let message = "not configured; specs with database.provider: postgres wait";
        return vec![Check::skipped(DATABASE, message, "set PLATFORM_DATABASE_URL")];
    };
    let rights = match postgres.rights().await {
        Ok(rights) => rights,
        Err(error) => return vec![Check::bad(DATABASE, error.to_string(), way_out(&error, "PLATFORM_DATABASE_URL"))],
    };
    let role = &rights.role;
    let mut checks = Vec::new();
    let lacks: Vec<&str> = [("CREATEDB", rights.create_databases), ("CREATEROLE", rights.create_roles)]
        .into_iter()
        .filter(|(_, has)| !has)
        .map(|(right, _)| right)
        .collect();
    checks.push(if lacks.is_empty() {
        let version = rights.server_version / 10_000;
        Check::good(DATABASE, format!("{role} logs in to PostgreSQL {version} and may make databases and roles"))
    } else {
        let lacks = lacks.join(" ");
        Check::bad(DATABASE, format!("{role} lacks {lacks}"), format!("as a superuser: ALTER ROLE \"{role}\" {lacks};"))
    });
    if rights.superuser {
        let fix = "use a role with CREATEDB and CREATEROLE alone";
        checks.push(Check::warning(DATABASE, format!("{role} is a superuser, which is more than is needed"), fix));
    }
    if rights.public_connect {
        checks.push(Check::warning(
            DATABASE,
            format!("every client's role may connect to {} and read the names of all databases", rights.database),
            format!("as their owner: REVOKE CONNECT ON DATABASE \"{}\", template1 FROM PUBLIC;", rights.database),
        ));
    }
    checks.push(match postgres.check_dump_tools(rights.server_version).await {
        Ok(()) => Check::good(DATABASE, "pg_dump and pg_restore of that version are here"),
        Err(error) => {
            Check::warning(DATABASE, error.to_string(), "install the client tools; nothing is dropped without a backup")
        }
    });
    checks
}

async fn git_check(app: &App) -> Check {
    let Some(git) = &app.providers.git else {
        let message = "not configured; a new branch head deploys when something else changes, or on demand";
        return Check::skipped(GIT, message, "set GITHUB_TOKEN");
    };
    let Some((slug, branch)) = repository(app) else {
        return Check::skipped(GIT, "no default repository to look at", "set PLOI_GIT_REPO");
    };
    match git.head(&slug, &branch).await {
        Ok(Some(commit)) => Check::good(GIT, format!("{slug} {branch} is at {commit}")),
        Ok(None) => Check::bad(
            GIT,
            format!("the branch {branch} of {slug} cannot be seen"),
            "give GITHUB_TOKEN read access to the repository, or mend PLOI_GIT_BRANCH",
        ),
        Err(error) => {
            let fix = way_out(&error, "GITHUB_TOKEN");
            Check::bad(GIT, error.to_string(), fix)
        }
    }
}
