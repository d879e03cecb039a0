//! What one look at the world shows of one client. Every part may be unknown on its own.

use std::collections::BTreeMap;

use crate::resource::certificate::Certificate;
use crate::resource::database::Catalog;
use crate::resource::name::HostName;
use crate::resource::owned::{EnvironmentSeen, Probe, Published, ServerCheck};
use crate::resource::reading::{Live, Reading};
use crate::resource::record::{Record, Zone};
use crate::resource::release::DeployLog;
use crate::resource::secret::Digest;
use crate::resource::site::{Purpose, Repository, RunState, Server, Site};
use crate::resource::vhost::VirtualHost;

/// The world around one client.
#[derive(Debug, Clone)]
pub struct Observed {
    /// The server of the site.
    pub server: Reading<Server>,
    /// What the server lacks for builds.
    pub server_check: Reading<Option<ServerCheck>>,
    /// The site under the client's domain, ours or not.
    pub site: Reading<Option<Live<Site>>>,
    /// Sites that build on that server, this client's not among them.
    pub builds_elsewhere: Reading<std::collections::BTreeSet<HostName>>,
    /// The installed repository.
    pub repository: Reading<Option<Repository>>,
    /// The environment.
    pub environment: Reading<EnvironmentSeen>,
    /// Digest of the deploy script.
    pub script: Reading<Option<Digest>>,
    /// The virtual host.
    pub vhost: Reading<VirtualHost>,
    /// Aliases.
    pub aliases: Reading<std::collections::BTreeSet<HostName>>,
    /// Certificates.
    pub certificates: Reading<Vec<Live<Certificate>>>,
    /// The newest deploy log; read only while a deploy is under way.
    pub deploy_log: Reading<DeployLog>,
    /// Script runs we started.
    pub runs: BTreeMap<Purpose, Reading<RunState>>,
    /// The database server.
    pub catalog: Reading<Catalog>,
    /// The zones we see.
    pub zones: Reading<Vec<Zone>>,
    /// Records of the client's names and all that carry its mark, by zone id.
    pub records: Reading<Vec<(Zone, Live<Record>)>>,
    /// What the authoritative servers say.
    pub published: Reading<BTreeMap<HostName, Published>>,
    /// The last look from outside.
    pub probe: Reading<Probe>,
}

impl Observed {
    /// Nothing is known, for one reason.
    pub fn unknown(reason: &str) -> Self {
        Observed {
            server: Reading::unknown(reason),
            server_check: Reading::unknown(reason),
            site: Reading::unknown(reason),
            builds_elsewhere: Reading::unknown(reason),
            repository: Reading::unknown(reason),
            environment: Reading::unknown(reason),
            script: Reading::unknown(reason),
            vhost: Reading::unknown(reason),
            aliases: Reading::unknown(reason),
            certificates: Reading::unknown(reason),
            deploy_log: Reading::unknown(reason),
            runs: BTreeMap::new(),
            catalog: Reading::unknown(reason),
            zones: Reading::unknown(reason),
            records: Reading::unknown(reason),
            published: Reading::unknown(reason),
            probe: Reading::unknown(reason),
        }
    }
}
