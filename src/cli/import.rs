//! `import`: a spec for each site that exists already and is no client yet. It looks, and writes files alone.

pub mod files;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use serde::Serialize;

use crate::app::{self, Access, App};
use crate::cli::Exit;
use crate::cli::import::files::Folder;
use crate::cli::session::Session;
use crate::cli::terminal::{self, Format};
use crate::config::Settings;
use crate::controller::existing::{ExistingLook, Found, Known};
use crate::controller::watcher::{FileReading, Scan};
use crate::resource::kind::ResourceKind;
use crate::resource::name::{HostName, ServerId};
use crate::resource::secret::Secret;
use crate::spec::client_spec::ClientSpec;
use crate::spec::defaults::Defaults;
use crate::spec::import::{Imported, Surroundings, compose};
use crate::spec::parse::parse;
use crate::spec::validate::Rules;

/// Arguments of `import`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The server [default: PLOI_SERVER_ID]
    #[arg(long, value_name = "ID")]
    server: Option<String>,
    /// Where the files go [default: the specs directory]
    #[arg(long, value_name = "DIRECTORY")]
    out: Option<PathBuf>,
    /// How it is printed
    #[arg(long, short, value_enum, default_value_t)]
    output: Format,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    written: Vec<Written>,
    passed_over: Vec<PassedOver>,
}

/// One site that has a spec now.
#[derive(Debug, Serialize)]
struct Written {
    name: String,
    domain: HostName,
    file: PathBuf,
    /// Ids that the annotation names.
    adopts: Vec<String>,
    /// Files of secrets that the spec refers to.
    secrets: Vec<PathBuf>,
    /// What could not be told.
    notes: Vec<String>,
}

/// One site that has none.
#[derive(Debug, Serialize)]
struct PassedOver {
    domain: HostName,
    reason: String,
}

/// Looks, writes, and prints what was written and what was not.
///
/// # Errors
/// No server is named, an account cannot be seen whole, or the directory cannot be written.
pub async fn run(session: &Session, args: &Args) -> anyhow::Result<Exit> {
    let settings = session.settings();
    let server = args.server.as_ref().or(settings.providers.ploi_server_id.as_ref());
    let server = ServerId::trusted(server.context("no server is named; give --server, or set PLOI_SERVER_ID")?);
    let (rules, defaults) = app::options::rules(settings)?;
    let app = app::open(settings, Access::Look).await?;
    let host = app.providers.hosts.get("ploi").context("no host has credentials; set PLOI_API_TOKEN")?;
    let known = known(&app, settings, &rules, &defaults).await?;
    let look = ExistingLook {
        providers: &app.providers,
        known: &known,
        platform: settings.providers.platform_database_url.as_ref(),
    };
    let found = look.on(host, &server).await?;
    let folder = Folder::at(args.out.as_ref().unwrap_or(&settings.specs))?;
    let report = write(found, &folder, settings, (&rules, &defaults), &known)?;
    terminal::print_data(args.output, &report, || text(&report))?;
    Ok(Exit::Done)
}

/// Whose sites there are: by the state, and by the files of the specs directory.
async fn known(app: &App, settings: &Settings, rules: &Rules, defaults: &Defaults) -> anyhow::Result<Known> {
    let mut known = Known::default();
    for record in app.store.clients().await? {
        let sites = record.owned.resources.iter().filter(|one| one.kind == ResourceKind::Site);
        known.sites.extend(sites.map(|site| (site.id.clone(), record.name.to_string())));
        if let Some(accepted) = &record.accepted {
            note_spec(accepted.text.as_bytes(), rules, defaults, &mut known);
        }
    }
    if settings.specs.exists() {
        for reading in Scan::take(&settings.specs, None)?.files.values() {
            if let FileReading::Read { bytes, .. } = reading {
                note_spec(bytes, rules, defaults, &mut known);
            }
        }
    }
    Ok(known)
}

fn note_spec(bytes: &[u8], rules: &Rules, defaults: &Defaults, known: &mut Known) {
    let Ok(parsed) = parse(bytes, rules) else { return };
    let hosts = |spec: &ClientSpec| {
        let aliases = spec.spec.aliases.iter().filter_map(|alias| HostName::parse(alias).ok());
        spec.domain(defaults).ok().into_iter().chain(aliases).collect::<Vec<_>>()
    };
    let name = &parsed.spec.metadata.name;
    known.hosts.extend(hosts(&parsed.spec).into_iter().map(|host| (host, name.clone())));
}

fn write(
    found: Vec<Found>,
    folder: &Folder,
    settings: &Settings,
    (rules, defaults): (&Rules, &Defaults),
    known: &Known,
) -> anyhow::Result<Report> {
    let shared: BTreeMap<String, Secret> = settings
        .shared_environment
        .iter()
        .map(|entry| entry.trim_end_matches('!'))
        .filter_map(|name| std::env::var(name).ok().map(|value| (name.to_owned(), Secret::new(value))))
        .collect();
    let mut taken = known.clients();
    let mut report = Report::default();
    for Found { domain, site } in found {
        let secret_file = |client: &str, variable: &str| folder.secret(client, variable).display().to_string();
        let around = Surroundings {
            defaults,
            catalogue: &rules.catalogue,
            shared: &shared,
            taken: &taken,
            secret_file: &secret_file,
        };
        let written = site
            .and_then(|existing| compose(&existing, &around))
            .and_then(|imported| put(&domain, imported, folder, rules));
        match written {
            Ok(written) => {
                taken.insert(written.name.clone());
                report.written.push(written);
            }
            Err(reason) => report.passed_over.push(PassedOver { domain, reason }),
        }
    }
    Ok(report)
}

/// The files of one client. The spec comes last: a daemon that sees it finds its secrets.
fn put(domain: &HostName, imported: Imported, folder: &Folder, rules: &Rules) -> Result<Written, String> {
    let Imported { name, document, secrets, adopted, notes } = imported;
    let text = serde_yaml::to_string(&document).map_err(|error| error.to_string())?;
    if let Err(findings) = parse(text.as_bytes(), rules) {
        let first = findings.first().map(|finding| finding.message.clone()).unwrap_or_default();
        return Err(format!("its spec would not pass: {first}"));
    }
    if serde_yaml::from_str::<serde_json::Value>(&text).ok().as_ref() != Some(&document) {
        return Err("a value of its environment cannot be written as YAML and read back; write its spec by hand".into());
    }
    let file = folder.spec(&name);
    if file.exists() {
        return Err(format!("{} is there already; nothing is overwritten", file.display()));
    }
    let mut paths = Vec::new();
    for (variable, value) in &secrets {
        paths.push(folder.put_secret(&name, variable, value)?);
    }
    folder.put_spec(&name, &text)?;
    Ok(Written { name, domain: domain.clone(), file, adopts: adopted, secrets: paths, notes })
}

fn text(report: &Report) -> String {
    let mut out = String::new();
    for written in &report.written {
        let secrets = match written.secrets.len() {
            0 => String::new(),
            1 => ", 1 secret beside it".to_owned(),
            n => format!(", {n} secrets beside it"),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{}  {}  {}{secrets}", written.name, written.domain, written.file.display());
        written.notes.iter().for_each(|note| {
            let _ = writeln!(out, "  {}", terminal::one_line(note));
        });
    }
    for passed in &report.passed_over {
        let _ = writeln!(out, "passed over {}: {}", passed.domain, terminal::one_line(&passed.reason));
    }
    if !report.written.is_empty() {
        out.push_str("look at the files, then `sitewright plan` shows what differs and `sitewright run` takes them over without a write\n");
    } else if report.passed_over.is_empty() {
        out.push_str("the server has no sites\n");
    }
    out
}
