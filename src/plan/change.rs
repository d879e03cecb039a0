//! What a plan is: actions, and why everything else is not acted on; its text for people.

use std::collections::BTreeSet;
use std::fmt;

use jiff::Timestamp;
use serde::Serialize;

use crate::resource::database::Database;
use crate::resource::desired::DesiredAdmin;
use crate::resource::kind::{ResourceKind, ResourceRef};
use crate::resource::name::{Commit, HostName, RemoteId};
use crate::resource::owned::MarkState;
use crate::resource::record::{RecordChange, Zone};
use crate::resource::release::Fingerprint;
use crate::resource::removal::Backup;
use crate::resource::secret::{Digest, Secret};
use crate::resource::site::{Purpose, Repository};
use crate::resource::take_over::Difference;

/// What to do about one client, and what not, and why.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// Changes, in the order in which they may be made.
    pub actions: Vec<Action>,
    /// What waits, on what, until when.
    pub waiting: Vec<Waiting>,
    /// What a rule forbids, and the way out.
    pub refused: Vec<Refused>,
    /// What is as it should be.
    pub settled: Vec<Settled>,
}

impl Plan {
    /// Nothing to do, nothing waited for, nothing refused.
    pub fn is_converged(&self) -> bool {
        self.actions.is_empty() && self.waiting.is_empty() && self.refused.is_empty()
    }

    /// Actions that must not be made now wait instead, each with this reason, for somebody who will tell.
    pub fn hold(&mut self, is_held: impl Fn(&Action) -> bool, reason: &str, message: &str, until: Timestamp) {
        let (held, free) = std::mem::take(&mut self.actions).into_iter().partition(is_held);
        let held: Vec<Action> = held;
        self.actions = free;
        self.waiting.extend(held.into_iter().map(|action| Waiting {
            resource: action.resource,
            reason: reason.to_owned(),
            message: message.to_owned(),
            until: Some(until),
            unknown: false,
        }));
    }
}

/// One change.
#[derive(Debug, Clone)]
pub struct Action {
    /// Its verb.
    pub op: Op,
    /// The resource.
    pub resource: ResourceRef,
    /// What changes, secrets masked.
    pub changes: Vec<FieldChange>,
    /// Why, one clause.
    pub reason: String,
    /// Everything the executor needs; it has no choices left.
    pub step: Step,
}

/// The verb of an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Op {
    Create,
    Update,
    Delete,
    Deploy,
    /// Ours already at the provider; only our memory changes.
    Adopt,
    /// A script at the server.
    Run,
}

impl Op {
    /// The verb in one word, as plans and the audit write it.
    pub fn word(self) -> &'static str {
        match self {
            Op::Create => "create",
            Op::Update => "update",
            Op::Delete => "delete",
            Op::Deploy => "deploy",
            Op::Adopt => "adopt",
            Op::Run => "run",
        }
    }
}

pub use crate::resource::field::FieldChange;

/// What the executor does.
#[derive(Debug, Clone)]
#[allow(missing_docs)] // each is the provider call of the same name
pub enum Step {
    /// Our memory alone: the resource under this id is ours.
    Adopt {
        id: RemoteId,
        mark: MarkState,
    },
    /// Our memory alone: this difference is left as it was found.
    Accept {
        resource: String,
        difference: Difference,
    },
    /// Our memory alone: what serves is taken for this release, and the taking over is done.
    KeepRelease(Fingerprint),
    EnsureDatabase(Database),
    EnsureLogin(Database),
    CloseLogin(Database),
    RetainDatabase(Database),
    BackUp(Database),
    Drop {
        database: Database,
        oid: u32,
        evidence: Backup,
    },
    /// What a database leaves when it is gone.
    DropRoles(Database),
    CreateSite,
    SuspendSite,
    ResumeSite,
    DeleteSite,
    StartRun(Purpose),
    InstallRepository(Repository),
    RemoveRepository {
        next: Repository,
    },
    WriteEnvironment {
        text: Secret,
        digest: Digest,
    },
    WriteDeployScript {
        text: String,
        digest: Digest,
    },
    MendVirtualHost {
        port: u16,
        acme_root: String,
        /// Aliases that the host knows and the text does not.
        names: BTreeSet<HostName>,
    },
    RestoreVirtualHost {
        text: String,
    },
    SetAliases(BTreeSet<HostName>),
    Deploy {
        fingerprint: Fingerprint,
        branch: String,
        commit: Option<Commit>,
    },
    OrderCertificate {
        root: HostName,
        names: BTreeSet<HostName>,
    },
    DeleteCertificate(RemoteId),
    ChangeRecord {
        zone: Zone,
        change: RecordChange,
    },
    RegisterAdministrator(DesiredAdmin),
}

/// Reason of what waits for another resource of the same client: it moves when that one moves, and is no reason to look again.
pub const PREREQUISITES: &str = "Prerequisites";

/// Reason of what differs from the spec and is left as it was found when the client was taken over.
pub const AS_FOUND: &str = "AsFound";

/// Something that is not as it should be and that time, or somebody else, must move.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Waiting {
    /// The resource.
    pub resource: ResourceRef,
    /// CamelCase.
    pub reason: String,
    /// One sentence.
    pub message: String,
    /// When another look makes sense.
    pub until: Option<Timestamp>,
    /// Whether the state is unknown rather than false.
    pub unknown: bool,
}

/// Something a rule forbids.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// The resource.
    pub resource: ResourceRef,
    /// CamelCase: the rule.
    pub reason: String,
    /// One sentence with the way out.
    pub message: String,
}

/// A resource that is as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Settled {
    /// Its kind.
    pub kind: ResourceKind,
    /// CamelCase.
    pub reason: String,
    /// One sentence.
    pub message: String,
}

impl fmt::Display for Plan {
    /// One line an entry, sorted by nothing but the order of the stages: stable for equal input.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for action in &self.actions {
            let sign = match action.op {
                Op::Create => '+',
                Op::Update => '~',
                Op::Delete => '-',
                Op::Deploy => '^',
                Op::Adopt => '=',
                Op::Run => '$',
            };
            writeln!(f, "{sign} {}: {}", action.resource, action.reason)?;
            for change in &action.changes {
                write_change(f, change)?;
            }
        }
        for waiting in &self.waiting {
            writeln!(f, "… {}: {} [{}]", waiting.resource, waiting.message, waiting.reason)?;
        }
        for refused in &self.refused {
            writeln!(f, "! {}: {} [{}]", refused.resource, refused.message, refused.reason)?;
        }
        for settled in self.settled.iter().filter(|settled| settled.reason == AS_FOUND) {
            writeln!(f, "≈ {}: {}", settled.kind, settled.message)?;
        }
        if self.is_converged() {
            writeln!(f, "nothing to do")?;
        }
        Ok(())
    }
}

fn write_change(f: &mut fmt::Formatter<'_>, change: &FieldChange) -> fmt::Result {
    match (&change.from, &change.to) {
        (None, Some(to)) => writeln!(f, "    {}: {to}", change.path),
        (Some(from), Some(to)) => writeln!(f, "    {}: {from} -> {to}", change.path),
        (Some(from), None) => writeln!(f, "    {}: {from} -> gone", change.path),
        (None, None) => writeln!(f, "    {}", change.path),
    }
}
