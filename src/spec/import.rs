//! A spec for a site that exists already: what the accounts show of it, written down so that nothing of it must change.
//!
//! What cannot be told for certain is left out and said in a note; a site that no spec can describe is passed over with
//! the reason. Values that look like secrets never enter the document: it refers to files that the caller writes.

pub mod variables;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use serde_json::{Map, Value, json};

use crate::resource::certificate::{Certificate, CertificateStatus};
use crate::resource::mark::{MARK_VARIABLE, Mark};
use crate::resource::name::{CLIENT_NAME_CHARS_MAX, ClientName, HostName, SqlName};
use crate::resource::reading::Live;
use crate::resource::record::{Record, RecordType, Ttl};
use crate::resource::secret::Secret;
use crate::resource::site::{Repository, Site, SiteStatus};
use crate::resource::vhost::VirtualHost;
use crate::spec::client_spec::ADOPT_ANNOTATION;
use crate::spec::defaults::{BRANCH_DEFAULT, Defaults, SYSTEM_USER_DEFAULT};
use crate::spec::features::Catalogue;
use crate::spec::import::variables::{Variables, sort};

/// What the accounts show of one site.
#[derive(Debug, Clone)]
pub struct Existing {
    /// The site.
    pub site: Live<Site>,
    /// The address of its server.
    pub address: Ipv4Addr,
    /// Its environment.
    pub environment: BTreeMap<String, Secret>,
    /// What is installed.
    pub repository: Option<Repository>,
    /// Its virtual host.
    pub virtual_host: VirtualHost,
    /// Its further names.
    pub aliases: BTreeSet<HostName>,
    /// Its certificates.
    pub certificates: Vec<Live<Certificate>>,
    /// Address records of its names, in the zones that are seen.
    pub records: Vec<Live<Record>>,
    /// Where its data lives.
    pub database: ExistingDatabase,
}

/// Where the data of a site lives, by its `DATABASE_URL`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExistingDatabase {
    /// At the configured server.
    Here {
        /// Its name.
        name: SqlName,
        /// Whether its login is one that others use too.
        is_login_shared: bool,
    },
    /// Somewhere else.
    Elsewhere,
}

/// What the settings say.
pub struct Surroundings<'a> {
    /// What specs may leave open.
    pub defaults: &'a Defaults,
    /// The features there are.
    pub catalogue: &'a Catalogue,
    /// Shared variables with the values that the daemon has.
    pub shared: &'a BTreeMap<String, Secret>,
    /// Names that clients have.
    pub taken: &'a BTreeSet<String>,
    /// The file that a client's secret variable will lie in.
    pub secret_file: &'a dyn Fn(&str, &str) -> String,
}

/// A spec, and what belongs to it.
#[derive(Debug, Clone)]
pub struct Imported {
    /// `metadata.name`.
    pub name: String,
    /// The document.
    pub document: Value,
    /// Secret values by variable, for the files that the document refers to.
    pub secrets: BTreeMap<String, Secret>,
    /// What the annotation names.
    pub adopted: Vec<String>,
    /// What could not be told, a sentence each.
    pub notes: Vec<String>,
}

/// Writes a spec for an existing site.
///
/// # Errors
/// Why no spec can describe it: one clause for people.
pub fn compose(existing: &Existing, around: &Surroundings<'_>) -> Result<Imported, String> {
    let site = &existing.site.value;
    let mut notes = Vec::new();
    let is_suspended = is_suspended(existing)?;
    note_port(existing, &mut notes)?;
    let name = name(existing, around.taken)?;
    let mut adopted = vec![existing.site.id.to_string()];
    let mut spec = Map::new();
    spec.insert("domain".into(), json!(site.domain));
    if is_suspended {
        spec.insert("state".into(), json!("suspended"));
    }
    spec.insert("source".into(), source(existing, around.defaults, &mut notes)?);
    spec.insert("hosting".into(), hosting(site, around.defaults));
    let issuer = certificate(existing, &mut spec, &mut notes);
    spec.insert("dns".into(), dns(existing, &mut adopted, &mut notes));
    let mut variables = sort(&existing.environment, around, issuer);
    spec.insert("database".into(), database(existing, &name, around, &mut variables, &mut adopted, &mut notes));
    // Who undoes an import by removing the file must find everything as it was.
    spec.insert("deletionPolicy".into(), json!("Retain"));
    let Variables { members, plain, secrets, lost, .. } = variables;
    spec.extend(members);
    let file = |variable: &String| json!({ "secretRef": { "file": (around.secret_file)(&name, variable) } });
    let own = secrets.keys().filter(|variable| *variable != DATABASE_URL);
    let environment: Map<String, Value> = plain
        .into_iter()
        .map(|(variable, text)| (variable, json!(text)))
        .chain(own.map(|variable| (variable.clone(), file(variable))))
        .collect();
    if !environment.is_empty() {
        spec.insert("environment".into(), Value::Object(environment));
    }
    notes.extend(lost);
    let metadata = json!({ "name": name, "annotations": { ADOPT_ANNOTATION: adopted.join(",") } });
    let document = json!({ "apiVersion": "sitewright/v1", "kind": "ClientSpec", "metadata": metadata, "spec": spec });
    Ok(Imported { name, document, secrets, adopted, notes })
}

/// The variable that names the database.
pub const DATABASE_URL: &str = "DATABASE_URL";

/// Only what stands still and is nobody's can be described.
fn is_suspended(existing: &Existing) -> Result<bool, String> {
    let value = |name: &str| existing.environment.get(name).map(Secret::expose);
    if let Some(mark) = value(MARK_VARIABLE).and_then(Mark::from_variable) {
        return Err(format!(
            "it carries the mark of installation {}; `sitewright orphans` lists what is ours",
            mark.instance
        ));
    }
    if value(DATABASE_URL).is_none() || value("PAYLOAD_SECRET").is_none() {
        return Err("its environment holds no DATABASE_URL and PAYLOAD_SECRET, so it is no site of the CMS".into());
    }
    match &existing.site.value.status {
        SiteStatus::Suspended => Ok(true),
        status if status.is_idle() => Ok(false),
        other => Err(format!("the host says `{}`; import it when it stands still", other.as_str())),
    }
}

/// The port is not fixed: a process of another name may hold it when the first release of ours starts, and it must be able
/// to give way then.
fn note_port(existing: &Existing, notes: &mut Vec<String>) -> Result<(), String> {
    let ports: Vec<u16> = existing.virtual_host.ports.iter().copied().collect();
    let [port] = ports.as_slice() else {
        return Err(format!(
            "its virtual host goes to the ports {ports:?}; one is expected, mend it in the host's panel"
        ));
    };
    if existing.environment.get("PORT").is_none_or(|text| text.expose().trim() != port.to_string()) {
        notes.push(format!(
            "PORT of its environment is not {port}, to which its virtual host goes; the first deploy moves it to a port of ours"
        ));
    }
    Ok(())
}

/// The name that the site goes by already, else one from its domain.
fn name(existing: &Existing, taken: &BTreeSet<String>) -> Result<String, String> {
    let domain = existing.site.value.domain.as_str();
    let said = existing.environment.get("CLIENT_ID").map(|id| id.expose().to_owned());
    let label = domain.split('.').next().map(str::to_owned);
    let whole: String = domain.replace('.', "-").chars().take(CLIENT_NAME_CHARS_MAX).collect();
    let usable = |name: &String| ClientName::parse(name).is_ok() && !taken.contains(name);
    let found = [said, label, Some(whole.trim_end_matches('-').to_owned())].into_iter().flatten().find(usable);
    found.ok_or_else(|| {
        "neither its CLIENT_ID nor its domain gives a client name that is free; write its spec by hand".into()
    })
}

fn source(existing: &Existing, defaults: &Defaults, notes: &mut Vec<String>) -> Result<Value, String> {
    if let Some(found) = &existing.repository {
        return Ok(json!({ "repository": found.slug, "branch": found.branch }));
    }
    let Some(repository) = &defaults.repository else {
        return Err("no repository is installed at the host, and PLOI_GIT_REPO names none".into());
    };
    notes.push(format!(
        "no repository is installed at the host; the spec names {repository}, and a deploy waits until it is installed there"
    ));
    Ok(json!({ "repository": repository, "branch": defaults.branch.as_deref().unwrap_or(BRANCH_DEFAULT) }))
}

fn hosting(site: &Site, defaults: &Defaults) -> Value {
    let mut hosting = json!({ "server": site.server });
    if site.system_user != defaults.system_user.as_deref().unwrap_or(SYSTEM_USER_DEFAULT) {
        hosting["systemUser"] = json!(site.system_user);
    }
    hosting
}

/// Whether a certificate is in use; an alias that it does not cover is not asked for, or one would be ordered for it.
fn certificate(existing: &Existing, spec: &mut Map<String, Value>, notes: &mut Vec<String>) -> bool {
    let domain = &existing.site.value.domain;
    let active =
        existing.certificates.iter().map(|live| &live.value).filter(|one| one.status == CertificateStatus::Active);
    let best = active.filter(|one| one.names.contains(domain)).max_by_key(|one| (one.names.len(), one.expires_at));
    let mut aliases = existing.aliases.clone();
    match best {
        Some(certificate) => {
            for alias in existing.aliases.difference(&certificate.names) {
                notes.push(format!(
                    "the alias {alias} is served without a certificate; add it to spec.aliases to have it covered"
                ));
                aliases.remove(alias);
            }
        }
        None => {
            notes.push("no certificate is in use; remove spec.tls to have one ordered".into());
            spec.insert("tls".into(), json!({ "issuer": "none" }));
        }
    }
    if !aliases.is_empty() {
        spec.insert("aliases".into(), json!(aliases));
    }
    best.is_some()
}

/// The address records that lead here and are nobody's; else the records stay with whoever makes them.
fn dns(existing: &Existing, adopted: &mut Vec<String>, notes: &mut Vec<String>) -> Value {
    let domain = existing.site.value.domain.as_str();
    let leads_here = |live: &&Live<Record>| {
        let record = &live.value;
        record.kind == RecordType::A && record.content == existing.address.to_string() && live.mark.is_none()
    };
    let of_domain: Vec<&Live<Record>> = existing.records.iter().filter(|live| live.value.name == domain).collect();
    let [own] = of_domain.as_slice() else {
        let what = if of_domain.is_empty() { "no" } else { "more than one" };
        notes.push(format!(
            "{domain} has {what} address record in a zone that is seen; its records are left to whoever makes them"
        ));
        return json!({ "provider": "none" });
    };
    if !leads_here(own) {
        notes.push(format!(
            "{domain} has {} {}, not A {} without a mark; its records are left to whoever makes them",
            own.value.kind, own.value.content, existing.address
        ));
        return json!({ "provider": "none" });
    }
    let of_aliases = existing.records.iter().filter(|live| live.value.name != domain && live.mark.is_none());
    adopted.push(own.id.to_string());
    adopted.extend(of_aliases.map(|live| live.id.to_string()));
    let ttl = match own.value.ttl {
        Ttl::Auto => json!("auto"),
        Ttl::Seconds(seconds) => json!(seconds),
    };
    json!({ "proxied": own.value.proxied, "ttl": ttl })
}

fn database(
    existing: &Existing,
    client: &str,
    around: &Surroundings<'_>,
    variables: &mut Variables,
    adopted: &mut Vec<String>,
    notes: &mut Vec<String>,
) -> Value {
    match &existing.database {
        ExistingDatabase::Here { name, is_login_shared } => {
            adopted.push(name.to_string());
            if *is_login_shared {
                notes.push(format!("it enters {name} by a login that others use too; give it one of its own"));
            }
            json!({ "name": name, "reclaimPolicy": "Retain" })
        }
        ExistingDatabase::Elsewhere => {
            let url = existing.environment.get(DATABASE_URL).cloned();
            variables.secrets.extend(url.map(|url| (DATABASE_URL.to_owned(), url)));
            notes.push("its DATABASE_URL is not how sites reach the server of PLATFORM_DATABASE_URL; it is kept as it is, and the database is not managed".into());
            json!({ "provider": "external", "urlFrom": { "secretRef": { "file": (around.secret_file)(client, DATABASE_URL) } } })
        }
    }
}
