//! Rules over all files together: what two clients cannot share.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::resource::name::HostName;
use crate::spec::client_spec::ClientSpec;
use crate::spec::defaults::Defaults;
use crate::spec::finding::{Finding, Located};
use crate::spec::parse::Parsed;
use crate::spec::placement::{DatabaseProvider, HostingProvider};

/// One good file.
#[derive(Debug, Clone, PartialEq)]
pub struct FleetFile {
    /// The file, as it was named to us.
    pub file: String,
    /// What it holds.
    pub parsed: Arc<Parsed>,
}

/// Where something that must be unique is claimed.
#[derive(Debug, Clone)]
struct Claim {
    owner: usize,
    path: String,
}

/// Names, domains, aliases, fixed ports of a server and database names (with the names of their roles) that two files
/// claim: one finding in each of them, naming the other. Sorted by file and place.
pub fn validate_fleet(files: &[FleetFile], defaults: &Defaults) -> Vec<Located> {
    let mut claims: BTreeMap<(&'static str, String), Vec<Claim>> = BTreeMap::new();
    for (owner, file) in files.iter().enumerate() {
        for (what, value, path) in claims_of(&file.parsed.spec, defaults) {
            claims.entry((what, value)).or_default().push(Claim { owner, path });
        }
    }
    let mut found = Vec::new();
    for ((what, value), claims) in &claims {
        for claim in claims {
            let Some(other) = claims.iter().find(|other| other.owner != claim.owner) else { continue };
            let (Some(here), Some(there)) = (files.get(claim.owner), files.get(other.owner)) else { continue };
            let place = there.parsed.places.at(&other.path);
            let message = format!("{what} {value} is claimed by {}:{}:{} too", there.file, place.line, place.column);
            let help = "one client alone can have it; change or remove one of the two";
            let finding = Finding::at(here.parsed.places.at(&claim.path), &claim.path, message).with_help(help);
            found.push(Located { file: here.file.clone(), finding });
        }
    }
    found.sort();
    // A shared database name is shared by its roles as well; once is enough.
    found.dedup_by(|a, b| a.file == b.file && a.finding.path == b.finding.path);
    found
}

fn claims_of(spec: &ClientSpec, defaults: &Defaults) -> Vec<(&'static str, String, String)> {
    let mut claims = vec![("the client", spec.metadata.name.clone(), "metadata.name".to_owned())];
    if let Ok(domain) = spec.domain(defaults) {
        claims.push(("the host name", domain.to_string(), "spec.domain".to_owned()));
    }
    for (index, alias) in spec.spec.aliases.iter().enumerate() {
        if let Ok(host) = HostName::parse(alias) {
            claims.push(("the host name", host.to_string(), format!("spec.aliases[{index}]")));
        }
    }
    if let (Some(port), HostingProvider::Ploi) = (spec.fixed_port(), spec.spec.hosting.provider) {
        let server = spec.server(defaults).map(|id| format!(" of server {id}")).unwrap_or_default();
        claims.push(("the port", format!("{port}{server}"), "spec.hosting.port".to_owned()));
    }
    if let (DatabaseProvider::Postgres, Ok(name)) = (spec.spec.database.provider, spec.database_name()) {
        // The group role has the database's name and the logins append to it, so `foo` and `foo-a` collide in roles.
        for suffix in ["", "_a", "_b"] {
            claims.push(("the database or role", format!("{name}{suffix}"), "spec.database.name".to_owned()));
        }
    }
    claims
}
