//! What must survive a restart: one record per client, allocations, events, requests and a few documents.
//!
//! Contract: every method that changes something has reached the disk (fsync) when it returns. Secrets are sealed before
//! they reach the engine. A store that cannot write says so; nobody goes on without it.

pub mod history;
pub mod memory;
mod port;
pub mod schema;
pub mod seal;
pub mod sqlite;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::resource::mark::Mark;
use crate::resource::name::{ClientName, Instance, ServerId, Uid};
use crate::resource::owned::Owned;
use crate::resource::secret::Secret;
use crate::status::Status;
use crate::store::history::History;

/// Everything remembered of one client. Written as a whole, in one transaction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClientRecord {
    /// The client.
    pub name: ClientName,
    /// The last good spec, with where it came from.
    pub accepted: Option<AcceptedSpec>,
    /// Counts changes of `spec` (not of labels, annotations, comments or the file's name).
    pub generation: u64,
    /// The newest generation that a pass has planned.
    pub observed_generation: u64,
    /// The newest generation after which nothing was left to do; 0 again when a person asks for something.
    #[serde(default)]
    pub reached_generation: u64,
    /// What is ours, begun, read.
    pub owned: Owned,
    /// Generated secrets by name: `payload_secret`, `database_password`, `admin_password`. Sealed at rest; never in `Debug`.
    #[serde(skip)]
    pub secrets: BTreeMap<String, Secret>,
    /// A pause that a person set.
    pub pause: Option<Pause>,
    /// What was last told.
    pub status: Status,
}

impl ClientRecord {
    /// A client of which nothing is known but its name and its mark.
    pub fn new(name: ClientName, mark: Mark) -> Self {
        ClientRecord {
            name,
            accepted: None,
            generation: 0,
            observed_generation: 0,
            reached_generation: 0,
            owned: Owned::nothing(mark),
            secrets: BTreeMap::new(),
            pause: None,
            status: Status::pending(),
        }
    }
}

/// A spec text that passed every check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcceptedSpec {
    /// The text.
    pub text: String,
    /// File it came from, relative to the specs directory.
    pub file: String,
    /// SHA-256 of the canonical `spec` part: a change of it is a new generation.
    pub spec_hash: String,
    /// When.
    pub at: Timestamp,
}

/// A pause of one client (or, under the document `pause`, of all).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Pause {
    /// Why, by whom: a person's words.
    pub reason: String,
    /// When it was set.
    pub since: Timestamp,
    /// When it ends by itself.
    pub until: Option<Timestamp>,
}

/// One thing that happened, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Number, growing; 0 before it is stored.
    pub id: i64,
    /// When.
    pub at: Timestamp,
    /// Whom it is about; `None`: the installation or the specs directory.
    pub client: Option<ClientName>,
    /// `Normal` or `Warning`.
    pub kind: EventKind,
    /// CamelCase.
    pub reason: String,
    /// One sentence, redacted.
    pub message: String,
    /// The pass that told it: the same id stands in its log records and in the audit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reconcile: Option<String>,
}

/// How an event is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[allow(missing_docs)]
pub enum EventKind {
    Normal,
    Warning,
}

/// What a person asks of the daemon from another process (decisions 33).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ask {
    /// Look at a client now, backoff forgotten.
    Reconcile(ClientName),
    /// Deploy the branch head (or the pinned commit) once more; ends a rollback.
    Deploy(ClientName),
    /// Serve an earlier release, whatever the branch says, until the spec's source changes.
    Rollback {
        /// Whose.
        client: ClientName,
        /// The release's number.
        to: u64,
        /// Why, in a person's words.
        reason: String,
        /// When the branch counts again by itself.
        until: Option<Timestamp>,
    },
    /// Stop writing for one client, or for all.
    Pause {
        /// `None`: all.
        client: Option<ClientName>,
        /// Why.
        reason: String,
        /// Until when.
        until: Option<Timestamp>,
    },
    /// Go on.
    Resume(Option<ClientName>),
    /// Let go of a client whose file is gone, whatever is left of it.
    Forget(ClientName),
    /// Release a held set of removals, by its hash.
    Approve(String),
}

/// One request with its fate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Number.
    pub id: i64,
    /// When it was made.
    pub at: Timestamp,
    /// What is asked.
    pub ask: Ask,
    /// `None` while nobody took it; then done, or refused with a sentence.
    pub answer: Option<Result<String, String>>,
}

/// Why the state could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The engine failed; the sentence names the file and the engine's words.
    #[error("state {path}: {problem}")]
    Engine {
        /// Where.
        path: String,
        /// What.
        problem: String,
    },
    /// The state was written by a newer program.
    #[error("state {path} has version {found}, this program knows up to {known}; use the newer program")]
    Newer {
        /// Where.
        path: String,
        /// Version found.
        found: i64,
        /// Version known.
        known: i64,
    },
    /// The state has seen a time that the machine's clock says is far ahead.
    #[error(
        "the clock of this machine shows {machine:.0} and this state was in use at {seen:.0} already: set the clock right and start again; if that earlier time was wrong, move the state away, it is rebuilt from the marks"
    )]
    Ahead {
        /// The newest moment that was lived.
        seen: Timestamp,
        /// The machine's clock.
        machine: Timestamp,
    },
    /// A sealed value does not open with this key.
    #[error(
        "a sealed secret of {client} does not open with the key in use; restore the key file that belongs to this state"
    )]
    Sealed {
        /// Whose.
        client: String,
    },
    /// Every port of the range is taken.
    #[error("no port is free on server {server} in {}-{}; widen hosting.ploi.portRange", range.start(), range.end())]
    PortsExhausted {
        /// The server.
        server: ServerId,
        /// The range.
        range: RangeInclusive<u16>,
    },
    /// A fixed port belongs to somebody else.
    #[error("port {port} on server {server} belongs to {holder}")]
    PortHeld {
        /// The port.
        port: u16,
        /// The server.
        server: ServerId,
        /// The uid that holds it, or `a foreign site`.
        holder: String,
    },
}

/// Events that are kept, the newest: about 30 MB, and weeks of a busy fleet.
pub const EVENTS_MAX: i64 = 100_000;
/// Requests that are kept once they are answered, the newest: enough for a command that waits to find its answer.
pub const ANSWERED_REQUESTS_MAX: i64 = 10_000;

/// Result of a store call.
pub type Stored<T> = Result<T, StoreError>;

/// The memory of an installation.
#[async_trait]
pub trait Store: History {
    /// The installation id, made at first use (`wanted` wins over a made one only while no client is known).
    async fn instance(&self, wanted: Option<&Instance>) -> Stored<Instance>;
    /// All clients, by name.
    async fn clients(&self) -> Stored<Vec<ClientRecord>>;
    /// One client.
    async fn client(&self, name: &ClientName) -> Stored<Option<ClientRecord>>;
    /// Writes one client as a whole.
    async fn save(&self, record: &ClientRecord) -> Stored<()>;
    /// Writes one client in the place of one of another name, which is there no more; its ports stay. One transaction.
    async fn rename(&self, old: &ClientName, record: &ClientRecord) -> Stored<()>;
    /// Removes one client; its ports are freed.
    async fn forget(&self, name: &ClientName) -> Stored<()>;
    /// Gives out a port for life: the one this uid has already, else `fixed`, else the lowest of the range that neither the
    /// store nor `taken` (ports in observed virtual hosts) holds. One transaction.
    async fn allocate_port(
        &self,
        server: &ServerId,
        uid: &Uid,
        fixed: Option<u16>,
        range: RangeInclusive<u16>,
        taken: &BTreeSet<u16>,
    ) -> Stored<u16>;
    /// Frees the ports of a uid (its site was seen gone, or a port turned out to be taken).
    async fn free_ports(&self, uid: &Uid) -> Stored<()>;
    /// Appends; gives the number. Keeps the newest 100,000.
    async fn append_event(&self, event: &Event) -> Stored<i64>;
    /// Events after a number, oldest first, at most `limit`; of one client where given.
    async fn events(&self, client: Option<&ClientName>, after: i64, limit: usize) -> Stored<Vec<Event>>;
    /// Numbers of the oldest and the newest event that are kept; `None` before the first.
    async fn kept_events(&self) -> Stored<Option<(i64, i64)>>;
    /// Puts a request.
    async fn ask(&self, ask: &Ask, at: Timestamp) -> Stored<i64>;
    /// Requests nobody answered, oldest first.
    async fn open_requests(&self) -> Stored<Vec<Request>>;
    /// One request.
    async fn request(&self, id: i64) -> Stored<Option<Request>>;
    /// Answers one.
    async fn answer(&self, id: i64, answer: &Result<String, String>) -> Stored<()>;
    /// A named JSON document (absence evidence, held set, retained databases, account readings, …).
    async fn document(&self, key: &str) -> Stored<Option<serde_json::Value>>;
    /// Writes one; `None` removes it.
    async fn put_document(&self, key: &str, value: Option<&serde_json::Value>) -> Stored<()>;
}
