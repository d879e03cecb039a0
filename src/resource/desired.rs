//! What one client is wanted to be: the spec with every default, name, secret and shared variable filled in.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::resource::database::Database;
use crate::resource::env_file::Environment;
use crate::resource::kind::{ResourceKind, ResourceRef};
use crate::resource::mark::Mark;
use crate::resource::name::{ClientName, Commit, HostName, RepositorySlug, ServerId};
use crate::resource::reading::{Live, Wanted};
use crate::resource::record::{Record, Ttl};
use crate::resource::removal::{DeletionPolicy, ReclaimPolicy};
use crate::resource::secret::Digest;
use crate::resource::site::{Pieces, Site};

/// What a living spec asks for.
#[derive(Debug, Clone)]
pub struct Desired {
    /// The client.
    pub client: ClientName,
    /// What its process is called: the name that the client had when it was started first.
    pub process: ClientName,
    /// Its ownership mark.
    pub mark: Mark,
    /// Serve it, or hold it suspended.
    pub state: DesiredState,
    /// The database; `Missing` with `ProviderNotConfigured` where its provider is not there. `Value(None)`: the site brings its own.
    pub database: Wanted<Option<Database>>,
    /// What happens to the database when the client goes.
    pub reclaim: ReclaimPolicy,
    /// What happens to everything when the client goes.
    pub deletion: DeletionPolicy,
    /// The site; `Missing` with `ProviderNotConfigured` where the host is not there.
    pub site: Wanted<DesiredSite>,
    /// The records; `Value(None)` for `dns.provider: none`.
    pub dns: Wanted<Option<DesiredDns>>,
    /// Whether a certificate is wanted.
    pub certificate: bool,
    /// How the site is looked at.
    pub health: DesiredHealth,
    /// The first administrator.
    pub admin: Option<DesiredAdmin>,
    /// Resources that a person said are ours (annotation `sitewright/adopt`), by id.
    pub adopt: BTreeSet<String>,
}

/// `spec.state`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DesiredState {
    /// Serve.
    Active,
    /// The host serves its suspended page; nothing is deleted.
    Suspended,
}

/// The site and everything in its directory.
#[derive(Debug, Clone)]
pub struct DesiredSite {
    /// `ploi`, `vercel`.
    pub provider: String,
    /// What this host lets us set.
    pub pieces: Pieces,
    /// The server.
    pub server: ServerId,
    /// The system user.
    pub system_user: String,
    /// The root domain.
    pub domain: HostName,
    /// Further names.
    pub aliases: BTreeSet<HostName>,
    /// The port the process listens on.
    pub port: u16,
    /// The repository.
    pub repository: RepositorySlug,
    /// The branch.
    pub branch: String,
    /// The pinned commit, or the branch head when it is known.
    pub commit: Option<Commit>,
    /// Whether the spec pinned it.
    pub pinned: bool,
    /// The whole environment, or why it cannot be made (a shared variable or a secret is missing).
    pub environment: Wanted<DesiredEnvironment>,
    /// The deploy script's text; constant for a client until its data lines change.
    pub script: String,
    /// Keyed digest of the script.
    pub script_digest: Digest,
    /// How long a deploy may take.
    pub deploy_timeout: Duration,
}

impl DesiredSite {
    /// Where Ploi keeps the site's files, and looks for challenges (contracts/ploi.md 6.9).
    pub fn acme_root(&self) -> String {
        format!("/home/{}/{}", self.system_user, self.domain)
    }

    /// The reference of the site itself.
    pub fn site(&self, live: Option<&Live<Site>>) -> ResourceRef {
        ResourceRef {
            kind: ResourceKind::Site,
            provider: self.provider.clone(),
            name: self.domain.to_string(),
            id: live.map(|live| live.id.to_string()),
        }
    }

    /// The reference of a piece of the site.
    pub fn piece(&self, kind: ResourceKind, name: &str) -> ResourceRef {
        ResourceRef { kind, provider: self.provider.clone(), name: name.to_owned(), id: None }
    }
}

/// The environment with its digest.
#[derive(Debug, Clone)]
pub struct DesiredEnvironment {
    /// All variables.
    pub values: Environment,
    /// The file, rendered; secret as a whole.
    pub text: crate::resource::secret::Secret,
    /// Keyed digest of the rendered file.
    pub digest: Digest,
    /// Keyed digest of each value: lets a plan name what changed without keeping it.
    pub digests: Arc<BTreeMap<String, Digest>>,
}

/// Records that are wanted besides the address itself.
#[derive(Debug, Clone)]
pub struct DesiredDns {
    /// `cloudflare`.
    pub provider: String,
    /// Host names that get an address record: the domain first, then aliases. Aliases outside our zones are waited for instead.
    pub hosts: Vec<HostName>,
    /// Time to live of the address records.
    pub ttl: Ttl,
    /// Proxied once the first certificate is verified at the origin (decisions 16).
    pub proxied: bool,
    /// TXT, MX, CAA and further address records of `spec.dns.records`, fully qualified.
    pub records: BTreeSet<Record>,
}

/// How a healthy site answers.
#[derive(Debug, Clone)]
pub struct DesiredHealth {
    /// Path, begins with `/`.
    pub path: String,
    /// Longest wait for an answer.
    pub timeout: Duration,
    /// Time between looks.
    pub interval: Duration,
    /// Whether the answer must name the client.
    pub identity: bool,
}

/// The first administrator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DesiredAdmin {
    /// Login.
    pub email: String,
    /// Display name.
    pub name: String,
}
