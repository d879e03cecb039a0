//! The simulators, with the zones and repositories that a directory of specs names.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::{Settings, StateLocation};
use crate::controller::watcher::{FileReading, Scan};
use crate::provider::ploi::sim::PloiDelays;
use crate::provider::world::serve::{self, Ports};
use crate::spec::defaults::Defaults;
use crate::spec::parse::parse;
use crate::spec::validate::Rules;

/// Base domain of specs without a dot where none is set, in simulations only.
pub const BASE_DOMAIN: &str = "compassdigital.example";
/// Repository and branch of specs that name none, in simulations only.
const SOURCE: (&str, &str) = ("compassdigital/cms", "main");

/// What the simulators serve, and where.
#[derive(Debug, Clone, Default)]
pub struct SimulatorOptions {
    /// Ports on 127.0.0.1; 0 lets the system choose.
    pub ports: Ports,
    /// A specs directory: the zones and repositories that it names exist in the simulation.
    pub specs: Option<PathBuf>,
    /// Completes domains of those specs.
    pub base_domain: Option<String>,
    /// Further zones.
    pub zones: Vec<String>,
    /// Where the root certificate goes.
    pub directory: PathBuf,
    /// Ploi's limit, calls a minute; 0: the largest plan's.
    pub ploi_limit: u32,
}

/// Simulators that are being served.
pub struct Simulators {
    /// Variables that point `run` at them, in the order in which they are printed.
    pub variables: Vec<(String, String)>,
    /// The control port: faults, calls, changes by hand.
    pub control: SocketAddr,
    /// The servers themselves; dropping them ends them.
    pub servers: serve::Simulators,
}

/// Serves the simulators alone, for `sitewright sim`.
///
/// # Errors
/// A port is taken, or the root certificate cannot be written.
pub async fn serve(wanted: &SimulatorOptions) -> anyhow::Result<Simulators> {
    let base = wanted.base_domain.clone().unwrap_or_else(|| BASE_DOMAIN.to_owned());
    let named = named_by_specs(wanted.specs.as_deref(), &base);
    let mut zones: BTreeSet<String> = named.zones;
    zones.extend(wanted.zones.iter().cloned());
    zones.insert(base);
    let mut options = serve::Options::quick(&wanted.directory);
    options.ports = wanted.ports;
    options.zones = zones.into_iter().collect();
    (options.repository, options.branch) = (SOURCE.0.to_owned(), SOURCE.1.to_owned());
    options.delays = PloiDelays::watchable();
    options.propagation = Duration::from_secs(2);
    if wanted.ploi_limit > 0 {
        options.ploi_limit = wanted.ploi_limit;
    }
    let servers = serve::serve(options).await?;
    {
        let mut state = servers.world.state();
        for (repository, branch) in &named.sources {
            if (repository.as_str(), branch.as_str()) != SOURCE {
                state.git.push(repository, branch);
            }
        }
    }
    Ok(Simulators { variables: servers.variables(), control: servers.control, servers })
}

#[derive(Default)]
struct Named {
    zones: BTreeSet<String>,
    sources: BTreeSet<(String, String)>,
}

/// Zones (the last two labels of each domain) and repositories that the specs of a directory name. Broken files name nothing.
fn named_by_specs(specs: Option<&Path>, base_domain: &str) -> Named {
    let mut named = Named::default();
    let Some(scan) = specs.and_then(|path| Scan::take(path, None).ok()) else { return named };
    let rules = Rules { base_domain: Some(base_domain.to_owned()), ..Rules::default() };
    let defaults = Defaults { base_domain: rules.base_domain.clone(), ..Defaults::default() };
    for reading in scan.files.values() {
        let FileReading::Read { bytes, .. } = reading else { continue };
        let Ok(parsed) = parse(bytes, &rules) else { continue };
        if let Ok(domain) = parsed.spec.domain(&defaults) {
            let labels: Vec<&str> = domain.as_str().rsplit('.').take(2).collect();
            named.zones.insert(labels.into_iter().rev().collect::<Vec<_>>().join("."));
        }
        if let Some(repository) = &parsed.spec.spec.source.repository {
            named.sources.insert((repository.clone(), parsed.spec.branch(&defaults)));
        }
    }
    named
}

/// Beside the state, so that nothing of a demo meets a real installation.
pub fn directory(settings: &Settings) -> PathBuf {
    let state = match &settings.state {
        StateLocation::Sqlite(path) => path.parent().map(PathBuf::from).unwrap_or_default(),
        StateLocation::Postgres(_) => PathBuf::from(".sitewright"),
    };
    state.join("demo")
}
