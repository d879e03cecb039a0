//! What we remember of a client: what is ours, what was begun, what was read and when. All of it survives a pulled plug.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::resource::certificate::Certificate;
use crate::resource::kind::ResourceKind;
use crate::resource::mark::Mark;
use crate::resource::name::{ClientName, HostName, RemoteId, ServerId, SqlName};
use crate::resource::reading::{Live, Seen};
use crate::resource::record::Record;
use crate::resource::release::Releases;
use crate::resource::removal::Removal;
use crate::resource::secret::Digest;
use crate::resource::site::{Purpose, Repository};
use crate::resource::take_over::TakeOver;
use crate::resource::uptime::Uptime;
use crate::resource::vhost::VirtualHost;

/// Everything remembered of one client that a plan needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owned {
    /// Whose it is.
    pub mark: Mark,
    /// Names and numbers given out for life.
    pub allocation: Allocation,
    /// Resources we created or adopted, by kind and natural name.
    pub resources: Vec<OwnedResource>,
    /// Writes that were begun and whose end is not recorded.
    pub intents: Vec<Intent>,
    /// Remembered readings of what no listing shows.
    pub details: Details,
    /// Script runs that were started, by purpose.
    pub runs: BTreeMap<Purpose, Run>,
    /// Releases.
    pub releases: Releases,
    /// Failures that hold the next attempt back, by resource kind.
    pub attempts: BTreeMap<ResourceKind, Attempt>,
    /// The certificate order under way.
    pub order: Option<CertificateOrder>,
    /// Fields that were set back although the spec stood still, by their names.
    #[serde(default)]
    pub fights: BTreeMap<String, Fight>,
    /// The login's password was read back from the site: it is the one that the server knows.
    #[serde(default)]
    pub login_read_back: bool,
    /// Orders in a row that gave no certificate.
    #[serde(default)]
    pub failed_orders: u32,
    /// How the site answered over time.
    #[serde(default)]
    pub uptime: Uptime,
    /// The first administrator.
    pub administrator: AdministratorState,
    /// Since when the administrator that we made waits for a welcome.
    #[serde(default)]
    pub welcome_due: Option<Timestamp>,
    /// Set from the moment the client's absence was accepted.
    pub removal: Option<Removal>,
    /// Whether we made the database in this incarnation: an administrator that is there already is alarming then.
    #[serde(default)]
    pub made_database: bool,
    /// The host's text before our last edit of the virtual host, until a reload proved the edit good.
    pub vhost_before: Option<String>,
    /// Set while what serves was there before us, and was taken over by a person's word.
    #[serde(default)]
    pub take_over: Option<TakeOver>,
}

impl Owned {
    /// A client that has nothing yet.
    pub fn nothing(mark: Mark) -> Self {
        Owned {
            mark,
            allocation: Allocation::default(),
            resources: Vec::new(),
            intents: Vec::new(),
            details: Details::default(),
            runs: BTreeMap::new(),
            releases: Releases { next_number: 1, ..Releases::default() },
            attempts: BTreeMap::new(),
            order: None,
            fights: BTreeMap::new(),
            login_read_back: false,
            failed_orders: 0,
            uptime: Uptime::default(),
            administrator: AdministratorState::NotMade,
            welcome_due: None,
            removal: None,
            made_database: false,
            vhost_before: None,
            take_over: None,
        }
    }

    /// The resource of that kind and natural name.
    pub fn resource(&self, kind: ResourceKind, name: &str) -> Option<&OwnedResource> {
        self.resources.iter().find(|r| r.kind == kind && r.name == name)
    }

    /// The first resource of that kind.
    pub fn first(&self, kind: ResourceKind) -> Option<&OwnedResource> {
        self.resources.iter().find(|r| r.kind == kind)
    }

    /// Whether a record is this client's: it carries the mark, and we made it or took it over, or it is an address of the
    /// client's own site (a mark alone may have been copied); or it was taken over by its id and not written since
    /// (decisions 10).
    pub fn holds_record(&self, live: &Live<Record>) -> bool {
        let is_known = |known: &OwnedResource| match known.kind {
            ResourceKind::Record => known.id == live.id,
            ResourceKind::Site => live.value.kind.is_address() && known.name == live.value.name,
            _ => false,
        };
        let is_taken_over = |known: &OwnedResource| {
            known.kind == ResourceKind::Record && known.id == live.id && known.mark == MarkState::Pending
        };
        match &live.mark {
            Some(mark) => *mark == self.mark && self.resources.iter().any(is_known),
            None => self.resources.iter().any(is_taken_over),
        }
    }

    /// The open intent for a natural key.
    pub fn intent(&self, kind: ResourceKind, key: &str) -> Option<&Intent> {
        self.intents.iter().find(|i| i.kind == kind && i.key == key)
    }
}

/// Given out once, unique over living and tombstoned clients.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Allocation {
    /// The server and the port on it.
    pub port: Option<(ServerId, u16)>,
    /// The port before its site went: taken again on return if it is still free (decisions 27).
    #[serde(default)]
    pub former_port: Option<u16>,
    /// The database (and group role).
    pub database: Option<SqlName>,
    /// The login role in use.
    pub login: Option<SqlName>,
    /// What its process is called, where that is not the client's name: the one it had when the process was started first.
    #[serde(default)]
    pub process: Option<ClientName>,
}

/// Whether the mark of a resource is known to be written (decisions 10).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum MarkState {
    /// Created and settled by us; ours until the mark was written once.
    Pending,
    /// Written once: from now on a missing mark is `OwnershipLost`.
    Written,
}

/// A thing at a provider that is ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnedResource {
    /// Kind.
    pub kind: ResourceKind,
    /// Provider.
    pub provider: String,
    /// Natural name.
    pub name: String,
    /// The provider's id.
    pub id: RemoteId,
    /// How far its mark is.
    pub mark: MarkState,
    /// When it became ours.
    pub since: Timestamp,
}

/// A write that is not idempotent and was begun: recorded and fsynced before it was sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// Number in the state.
    pub id: i64,
    /// Kind of the resource.
    pub kind: ResourceKind,
    /// Its natural key.
    pub key: String,
    /// When it was recorded, before the call.
    pub at: Timestamp,
    /// How often the write was sent under this intent.
    pub sent: u32,
}

/// A script that was started and whose end is not recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The host's id of the run.
    pub id: RemoteId,
    /// When it was started.
    pub started_at: Timestamp,
}

/// The reason of an attempt that did not fail: it was written, and the host does not show it yet.
pub const READ_BACK: &str = "ReadBack";

/// Failures of one kind of work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Failures in a row.
    pub failures: u32,
    /// Not before.
    pub next_at: Timestamp,
    /// CamelCase reason of the last failure.
    pub reason: String,
    /// One sentence about it.
    pub message: String,
    /// Whether only another spec (or a person) can help; then `next_at` is the far future or the resync.
    pub permanent: bool,
}

/// A certificate that was ordered and is not active yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateOrder {
    /// All names, root first on the wire.
    pub names: BTreeSet<HostName>,
    /// When.
    pub at: Timestamp,
    /// The host's id, when the answer came.
    pub id: Option<RemoteId>,
}

/// How far the first administrator is (decisions 24).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AdministratorState {
    /// Nothing was sent.
    NotMade,
    /// The call was sent (its password is durable); the answer is not recorded.
    Sent,
    /// Made by us.
    Made {
        /// The login that was made.
        email: String,
    },
    /// Somebody made one before us in an imported or returned client.
    AlreadyThere,
    /// Somebody made one before us in a database that is new: alarming.
    Taken,
}

/// Readings that no listing shows, with their age; secrets only as keyed digests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Details {
    /// The server's check.
    pub server_check: Option<Seen<ServerCheck>>,
    /// The placeholder was cleared.
    pub placeholder_cleared: Option<Seen<bool>>,
    /// The installed repository.
    pub repository: Option<Seen<Option<Repository>>>,
    /// The environment.
    pub environment: Option<Seen<EnvironmentSeen>>,
    /// Digest of the deploy script; `None` inside where there is none.
    pub script: Option<Seen<Option<Digest>>>,
    /// The virtual host.
    pub vhost: Option<Seen<VirtualHost>>,
    /// Whether the web server took the virtual host in (reload succeeded after the last edit).
    pub vhost_loaded: bool,
    /// Aliases at the host.
    pub aliases: Option<Seen<BTreeSet<HostName>>>,
    /// Since when the host is busy with the site and says neither that it is done nor that it failed.
    #[serde(default)]
    pub busy_since: Option<Timestamp>,
    /// Certificates at the host.
    pub certificates: Option<Seen<Vec<Live<Certificate>>>>,
    /// Names and addresses the authoritative servers gave.
    pub published: Option<Seen<BTreeMap<HostName, Published>>>,
    /// The last look at the site.
    pub probe: Option<Seen<Probe>>,
    /// Whether the process was seen stopped by our script.
    pub process: Option<Seen<ProcessState>>,
    /// Pieces whose write got no answer: until then it may still arrive, after it the piece is read once more.
    #[serde(default)]
    pub unanswered: BTreeMap<ResourceKind, Timestamp>,
}

/// A field that somebody else writes as well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fight {
    /// How often it was set back.
    pub rounds: u32,
    /// The first time.
    pub since: Timestamp,
    /// The newest time.
    pub last: Timestamp,
}

/// What an environment looked like when it was last read or written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct EnvironmentSeen {
    /// Digest of the whole text; `None`: there is no file.
    pub digest: Option<Digest>,
    /// Digest of each value, where the text could be read as an environment.
    pub digests: Arc<BTreeMap<String, Digest>>,
    /// The mark it carries.
    pub mark: Option<Mark>,
}

/// What a server lacks for a build; empty is good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct ServerCheck {
    /// Each missing item, as one clause for people.
    pub missing: Vec<String>,
}

/// What all authoritative servers of a name say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Published {
    /// All agree on these addresses (sorted; empty: the name has none).
    Addresses(Vec<std::net::IpAddr>),
    /// They do not agree yet.
    Disagree(String),
}

/// One look at a site from outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// Whether it was by https with a verified certificate.
    pub https: bool,
    /// The outcome.
    pub outcome: ProbeOutcome,
    /// End of the served certificate's validity.
    pub certificate_expires_at: Option<Timestamp>,
    /// Host names of the served certificate.
    pub certificate_names: BTreeSet<HostName>,
}

/// What a look found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProbeOutcome {
    /// No look: nobody out there answers this machine, so the site's silence says nothing of the site.
    CutOff,
    /// A 2xx and, where asked for, this client's identity.
    Healthy,
    /// An answer, but not a good one: one clause.
    Unhealthy(String),
    /// Somebody else's site answers under this name: who.
    WrongSite(String),
    /// TLS did not verify: one clause.
    Tls(String),
    /// No answer: one clause.
    Unreachable(String),
}

impl ProbeOutcome {
    /// What is wrong with the site, in one clause; `Some(None)` where it is well, `None` where nobody could look.
    pub fn cause(&self) -> Option<Option<String>> {
        match self {
            ProbeOutcome::CutOff => None,
            ProbeOutcome::Healthy => Some(None),
            ProbeOutcome::Unhealthy(what) => Some(Some(what.clone())),
            ProbeOutcome::WrongSite(who) => Some(Some(format!("another site ({who})"))),
            ProbeOutcome::Tls(what) => Some(Some(format!("TLS that does not verify ({what})"))),
            ProbeOutcome::Unreachable(what) => Some(Some(format!("no answer ({what})"))),
        }
    }
}

/// A named process, as our own scripts left it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProcessState {
    /// Started by a release or by us.
    Running,
    /// A script that ends it was begun, and its end was not seen yet.
    Ending,
    /// Stopped by us.
    Stopped,
    /// Deleted by us.
    Gone,
}
