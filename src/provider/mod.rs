//! The outside world behind narrow traits, one per capability; one folder per provider.
//!
//! Contract of every method: reads are complete or fail; a delete of what is gone is `Ok`; a write whose outcome is not
//! known fails with [`error::ErrorClass::Unanswered`] and is never repeated inside a provider. No method waits for an
//! asynchronous result: the caller looks again.

pub mod cloudflare;
pub mod error;
pub mod github;
pub mod http;
pub mod outside;
pub mod ploi;
pub mod postgres;
pub mod resend;
pub mod tally;
pub mod webhook;
pub mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;

use crate::resource::certificate::Certificate;
use crate::resource::database::{Catalog, Database, DatabaseState};
use crate::resource::env_file;
use crate::resource::letter::Letter;
use crate::resource::name::{Commit, HostName, RemoteId, ServerId, SqlName};
use crate::resource::reading::Live;
use crate::resource::record::{Record, RecordChange, Zone};
use crate::resource::release::{Baseline, DeployLog};
use crate::resource::removal::Backup;
use crate::resource::secret::Secret;
use crate::resource::site::{Pieces, Purpose, Repository, RunState, Server, Site};
use error::ProviderError;

/// Result of a provider call.
pub type Answer<T> = Result<T, ProviderError>;

/// A site's address within a host, for every call about one site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteRef {
    /// The server.
    pub server: ServerId,
    /// The site's id.
    pub id: RemoteId,
    /// Its root domain: checked against the listing before destructive calls, and part of paths on the server.
    pub domain: HostName,
    /// The system user that owns its directory.
    pub system_user: String,
}

impl SiteRef {
    /// A site as a listing shows it.
    pub fn of(server: &ServerId, live: &Live<Site>) -> SiteRef {
        SiteRef {
            server: server.clone(),
            id: live.id.clone(),
            domain: live.value.domain.clone(),
            system_user: live.value.system_user.clone(),
        }
    }
}

/// A new site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSite {
    /// The server.
    pub server: ServerId,
    /// The root domain.
    pub domain: HostName,
    /// The system user.
    pub system_user: String,
}

/// Sites of an account. The natural key is (server, domain).
#[async_trait]
pub trait Sites: Send + Sync {
    /// A server: address and state.
    async fn server(&self, server: &ServerId) -> Answer<Server>;
    /// Every site of the server, all pages; fails rather than return a part.
    async fn sites(&self, server: &ServerId) -> Answer<Vec<Live<Site>>>;
    /// Creates; [`error::ErrorClass::Exists`] when the domain is taken on that server.
    async fn create_site(&self, site: &NewSite) -> Answer<RemoteId>;
    /// Serves the suspended page from now on.
    async fn suspend(&self, site: &SiteRef) -> Answer<()>;
    /// Serves the site again.
    async fn resume(&self, site: &SiteRef) -> Answer<()>;
    /// Asks for removal; the site is gone when the listing no longer shows it. Gone already is `Ok`.
    async fn delete_site(&self, site: &SiteRef) -> Answer<()>;
}

/// The environment of a site: replaced as a whole.
#[async_trait]
pub trait Environments: Send + Sync {
    /// The text as it stands; `None` when there is no file (yet).
    async fn environment(&self, site: &SiteRef) -> Answer<Option<Secret>>;
    /// Replaces it.
    async fn write_environment(&self, site: &SiteRef, text: &Secret) -> Answer<()>;
}

/// The repository of a site; installing and removing are asynchronous (site status).
#[async_trait]
pub trait Repositories: Send + Sync {
    /// What is installed.
    async fn repository(&self, site: &SiteRef) -> Answer<Option<Repository>>;
    /// Installs; the site shows `repository-installing` until it is done.
    async fn install_repository(&self, site: &SiteRef, repository: &Repository) -> Answer<()>;
    /// Removes; the site shows `repository-uninstalling` until it is done.
    async fn remove_repository(&self, site: &SiteRef) -> Answer<()>;
    /// Whether the host can see a repository: asked before another one replaces it.
    async fn is_reachable(&self, repository: &Repository) -> Answer<bool>;
}

/// Deploys and what is known of them.
#[async_trait]
pub trait Releases: Send + Sync {
    /// The deploy script; `None` when there is none.
    async fn deploy_script(&self, site: &SiteRef) -> Answer<Option<String>>;
    /// Replaces the deploy script.
    async fn write_deploy_script(&self, site: &SiteRef, text: &str) -> Answer<()>;
    /// Asks for one deploy of a branch or commit. Never sent while one runs.
    async fn deploy(&self, site: &SiteRef, branch: &str, commit: Option<&Commit>) -> Answer<()>;
    /// The newest log entry of type `deploy`, redacted and cut.
    async fn deploy_log(&self, site: &SiteRef) -> Answer<DeployLog>;
    /// What must be noted before a deploy is asked for.
    async fn baseline(&self, site: &SiteRef) -> Answer<Baseline>;
}

/// Virtual host texts.
#[async_trait]
pub trait VirtualHosts: Send + Sync {
    /// The text as it stands (a slow, live read).
    async fn virtual_host(&self, site: &SiteRef) -> Answer<String>;
    /// Replaces it. Takes effect at the next reload ([`Scripts::start`] with [`Purpose::ReloadWebServer`]).
    async fn write_virtual_host(&self, site: &SiteRef, text: &str) -> Answer<()>;
}

/// Further host names of a site.
#[async_trait]
pub trait Aliases: Send + Sync {
    /// As a set.
    async fn aliases(&self, site: &SiteRef) -> Answer<BTreeSet<HostName>>;
    /// Makes the set exactly this; reads back and fails with `Busy` while it is not.
    async fn set_aliases(&self, site: &SiteRef, wanted: &BTreeSet<HostName>) -> Answer<()>;
}

/// Certificates of a site.
#[async_trait]
pub trait Certificates: Send + Sync {
    /// All of them.
    async fn certificates(&self, site: &SiteRef) -> Answer<Vec<Live<Certificate>>>;
    /// Orders one over all names, `root` first, skipping the host's own DNS check (decisions 16).
    async fn order(&self, site: &SiteRef, root: &HostName, names: &BTreeSet<HostName>) -> Answer<Option<RemoteId>>;
    /// Removes one. Gone already is `Ok`.
    async fn delete_certificate(&self, site: &SiteRef, certificate: &RemoteId) -> Answer<()>;
}

/// What a script is run with; values are validated types and reach the script as quoted data lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptRun {
    /// What for.
    pub purpose: Purpose,
    /// The client's process name.
    pub process: String,
    /// The site.
    pub site: SiteRef,
}

/// One-off scripts at a server, with a real exit code.
#[async_trait]
pub trait Scripts: Send + Sync {
    /// Starts one; the id is asked for its result.
    async fn start(&self, run: &ScriptRun) -> Answer<RemoteId>;
    /// How far a run is.
    async fn run_state(&self, server: &ServerId, id: &RemoteId) -> Answer<RunState>;
}

/// A host: its capabilities as traits. What is `None` is a piece the host does not have, and the plan does not ask for it.
#[derive(Clone)]
pub struct Host {
    /// `ploi`, `vercel`.
    pub name: &'static str,
    /// The pieces the plan may ask for.
    pub pieces: Pieces,
    /// Sites.
    pub sites: Arc<dyn Sites>,
    /// Environments.
    pub environments: Arc<dyn Environments>,
    /// Deploys.
    pub releases: Arc<dyn Releases>,
    /// Repositories.
    pub repositories: Option<Arc<dyn Repositories>>,
    /// Virtual hosts.
    pub virtual_hosts: Option<Arc<dyn VirtualHosts>>,
    /// Aliases.
    pub aliases: Option<Arc<dyn Aliases>>,
    /// Certificates.
    pub certificates: Option<Arc<dyn Certificates>>,
    /// Scripts.
    pub scripts: Option<Arc<dyn Scripts>>,
}

impl Host {
    /// A site's environment by variables; empty where there is none.
    pub async fn variables(&self, site: &SiteRef) -> Answer<BTreeMap<String, Secret>> {
        let text = self.environments.environment(site).await?;
        Ok(text.map(|text| env_file::parse(text.expose())).unwrap_or_default())
    }
}

/// What became of a mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Posted {
    /// The provider took it, under this id; that it arrived is another matter.
    Accepted(String),
    /// One with the same key went out before, with another text.
    Before,
}

/// Mail.
#[async_trait]
pub trait Mail: Send + Sync {
    /// Sends a letter. The same letter again within a day sends nothing (contracts/resend.md, Idempotency).
    async fn post(&self, letter: &Letter) -> Answer<Posted>;
}

/// A webhook for people.
#[async_trait]
pub trait Hook: Send + Sync {
    /// Posts a text.
    async fn post(&self, text: &str) -> Answer<()>;
}

/// Outcome of one record change within a batch, in the order of the changes.
pub type RecordOutcome = Answer<Option<Live<Record>>>;

/// DNS records.
#[async_trait]
pub trait Dns: Send + Sync {
    /// `cloudflare`.
    fn name(&self) -> &'static str;
    /// Every zone that is configured, or that the credential sees.
    async fn zones(&self) -> Answer<Vec<Zone>>;
    /// Every record of the zone of the types we know, normalised; fails rather than return a part.
    async fn records(&self, zone: &Zone) -> Answer<Vec<Live<Record>>>;
    /// Applies changes of one zone, in batches, single where a batch fails, so that one bad record stops nobody.
    /// Created and updated records carry `mark`; comments of others are kept. One outcome per change; a created or
    /// updated record comes back as the provider shows it.
    async fn apply(
        &self,
        zone: &Zone,
        mark: &crate::resource::mark::Mark,
        changes: &[RecordChange],
    ) -> Vec<RecordOutcome>;
}

/// What the provider of databases can do, with its own statements re-runnable at any point.
#[async_trait]
pub trait Databases: Send + Sync {
    /// `postgres`.
    fn name(&self) -> &'static str;
    /// What tells this server from every other one; `None` where the credential may not read it.
    async fn server_id(&self) -> Answer<Option<String>>;
    /// One statement over all databases and the roles that are ours.
    async fn catalog(&self) -> Answer<Catalog>;
    /// Group role, database, marks, isolation: every statement re-runnable; ends with the mark `ready`.
    /// Refuses (`Exists`) when the name carries somebody else's mark, or none and `intended` is false.
    async fn ensure_database(&self, database: &Database, intended: bool) -> Answer<()>;
    /// The login role with this password (sent as a SCRAM verifier), member of the group, open for login.
    async fn ensure_login(&self, database: &Database, password: &Secret, intended: bool) -> Answer<()>;
    /// Closes the login and ends its sessions.
    async fn close_login(&self, database: &Database) -> Answer<()>;
    /// Writes the state into the database's mark.
    async fn mark_database(&self, database: &Database, state: DatabaseState) -> Answer<()>;
    /// Dumps to a file below `directory`, verifies that the dump lists, and says what it made.
    async fn back_up(&self, database: &Database, directory: &std::path::Path, now: jiff::Timestamp) -> Answer<Backup>;
    /// Drops what the permit names, and nothing else: sessions are counted again, the oid and mark are compared again.
    async fn drop_database(&self, permit: &DropPermit) -> Answer<()>;
    /// Whether the login works with this password (a real login).
    async fn can_log_in(&self, database: &Database, password: &Secret) -> Answer<bool>;
    /// The address a site uses: `postgres://login:password@host/name?parameters`.
    fn site_url(&self, database: &SqlName, login: &SqlName, password: &Secret) -> Secret;
}

/// What a drop needs to name. Only `plan::removal::may_drop` decides whether one may be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DropPermit {
    /// The database and its roles.
    pub database: Database,
    /// The very database that was backed up.
    pub oid: u32,
}

/// The CMS of a site, over its own public address (decisions 24).
#[async_trait]
pub trait Cms: Send + Sync {
    /// Creates the first administrator: `Ok(true)` made, `Ok(false)` there is one already (403).
    async fn first_register(&self, domain: &HostName, email: &str, name: &str, password: &Secret) -> Answer<bool>;
    /// Whether this login works.
    async fn log_in(&self, domain: &HostName, email: &str, password: &Secret) -> Answer<bool>;
}

/// Looks at a site from outside, and at what name servers say.
#[async_trait]
pub trait Outside: Send + Sync {
    /// One request for the health path; never fails: what cannot be reached is an outcome.
    async fn probe(
        &self,
        domain: &HostName,
        https: bool,
        health: &crate::resource::desired::DesiredHealth,
        client: &str,
    ) -> crate::resource::owned::Probe;
    /// Asks each authoritative server of the name's zone for its addresses (decisions 18).
    async fn published(&self, host: &HostName) -> Answer<crate::resource::owned::Published>;
}

/// Branch heads at the Git host; one conditional request per repository and cycle.
#[async_trait]
pub trait Git: Send + Sync {
    /// The head of a branch; `None` when it cannot be seen (no token, no such branch).
    async fn head(&self, repository: &crate::resource::name::RepositorySlug, branch: &str) -> Answer<Option<Commit>>;
}
