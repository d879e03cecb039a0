//! What was: every deploy and every write to a provider, kept after the client's own record has moved on.

use std::collections::BTreeMap;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::resource::field::FieldChange;
use crate::resource::kind::ResourceRef;
use crate::resource::name::{ClientName, Uid};
use crate::store::Stored;

/// Deploys of one client that are kept, the newest.
pub const DEPLOYMENTS_MAX: usize = 200;
/// Most of a deploy's log that is kept, in bytes; its beginning goes first.
pub const LOG_BYTES_MAX: usize = 256 * 1024;
/// Writes that are kept, the newest, over all clients: about 50 MB.
pub const WRITES_MAX: i64 = 100_000;

/// What led to a deploy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub enum DeploymentKind {
    /// Nothing was released before.
    First,
    /// What serves differed from what was wanted.
    Update,
    /// A person asked for it.
    Requested,
    /// A person asked for an earlier release.
    Rollback,
}

/// How far a deploy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub enum DeploymentState {
    /// It was asked for and has not ended.
    Running,
    /// It serves, or served.
    Succeeded,
    /// It ended badly, or too late; the release before it served on.
    Failed,
    /// It left no trace at the host.
    Lost,
}

/// One deploy. `uid` and `number` are its key: a client that came back under the same name has another uid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Deployment {
    /// Number over all clients, growing; 0 before it is stored.
    pub id: i64,
    /// Whose.
    #[schemars(with = "String")]
    pub client: ClientName,
    /// The client's incarnation.
    #[schemars(with = "String")]
    pub uid: Uid,
    /// Number in the client's history.
    pub number: u64,
    /// What led to it.
    pub kind: DeploymentKind,
    /// What led to it, in words: `environment and commit changed`.
    pub trigger: String,
    /// `owner/name`.
    pub repository: String,
    /// The branch.
    pub branch: String,
    /// The commit, as far as it is known.
    pub commit: Option<String>,
    /// When it was asked for.
    pub started_at: Timestamp,
    /// When it was seen to have ended.
    pub finished_at: Option<Timestamp>,
    /// How far it is.
    pub state: DeploymentState,
    /// CamelCase, of a failed one.
    pub reason: Option<String>,
    /// The site's variables as they were sent; a secret shows as `(secret)`.
    pub configuration: BTreeMap<String, String>,
    /// What the look that followed it said: `Healthy`, or why not.
    pub health: Option<String>,
    /// The pass that asked for it.
    pub reconcile: Option<String>,
}

/// One write to a provider, with its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Write {
    /// Number, growing; 0 before it is stored.
    pub id: i64,
    /// When its end was known.
    pub at: Timestamp,
    /// For whom.
    pub client: ClientName,
    /// The pass that sent it.
    pub reconcile: Option<String>,
    /// `create`, `update`, `delete`, …
    pub op: String,
    /// What was written.
    pub resource: ResourceRef,
    /// Before and after.
    pub changes: Vec<FieldChange>,
    /// Why, in one sentence.
    pub reason: String,
    /// `None`: done; else how it failed. What got no answer may have happened.
    pub failure: Option<String>,
}

/// The part of a state that remembers. What it holds decides nothing: a pass never reads it to act.
#[async_trait]
pub trait History: Send + Sync {
    /// Writes a deploy by its uid and number; gives its id. Keeps the newest 200 of a client.
    async fn put_deployment(&self, deployment: &Deployment) -> Stored<i64>;
    /// Replaces the log of a deploy that was put; masked before it comes here, cut to its last 256 KiB.
    async fn put_deployment_log(&self, id: i64, log: &str) -> Stored<()>;
    /// Deploys before an id (or the newest ones), newest first; of one client where given.
    async fn deployments(
        &self,
        client: Option<&ClientName>,
        before: Option<i64>,
        limit: usize,
    ) -> Stored<Vec<Deployment>>;
    /// One deploy.
    async fn deployment(&self, id: i64) -> Stored<Option<Deployment>>;
    /// The log of one; empty where nothing was seen of it.
    async fn deployment_log(&self, id: i64) -> Stored<Option<String>>;
    /// Appends a write; gives its number. Keeps the newest 100,000.
    async fn append_write(&self, write: &Write) -> Stored<i64>;
    /// Writes after a number, oldest first, at most `limit`; of one client where given.
    async fn writes(&self, client: Option<&ClientName>, after: i64, limit: usize) -> Stored<Vec<Write>>;
}
