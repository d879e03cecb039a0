//! What is told of a client: conditions, the phase for people, and the one sentence (interface 5).

pub mod diagnosis;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Conditions in the order in which people read them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[allow(missing_docs)] // the names are the interface's own
pub enum ConditionType {
    Ready,
    SpecValid,
    DatabaseReady,
    SiteReady,
    RepositoryReady,
    EnvironmentReady,
    DNSReady,
    Deployed,
    CertificateReady,
    Healthy,
    AdminReady,
    Reconciling,
    Stalled,
    Paused,
    Terminating,
}

/// `True`, `False` or `Unknown`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[allow(missing_docs)]
pub enum Truth {
    True,
    False,
    Unknown,
}

/// One condition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Which.
    #[serde(rename = "type")]
    pub kind: ConditionType,
    /// How it stands.
    pub status: Truth,
    /// CamelCase.
    pub reason: String,
    /// One sentence.
    pub message: String,
    /// When `status` last changed.
    pub last_transition_time: Timestamp,
    /// The generation it speaks of.
    pub observed_generation: u64,
}

/// For people, derived from the conditions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[allow(missing_docs)]
pub enum Phase {
    Pending,
    Provisioning,
    Deploying,
    Active,
    Suspended,
    Failed,
    Paused,
    Offline,
    Terminating,
}

impl Phase {
    /// Each of them.
    pub const ALL: [Phase; 9] = [
        Phase::Pending,
        Phase::Provisioning,
        Phase::Deploying,
        Phase::Active,
        Phase::Suspended,
        Phase::Failed,
        Phase::Paused,
        Phase::Offline,
        Phase::Terminating,
    ];
}

/// What was last told of a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The phase.
    pub phase: Phase,
    /// The one sentence: what blocks now, observed against expected, when it is tried again, what a person can do.
    pub message: String,
    /// When the next pass is due.
    pub next_attempt: Option<Timestamp>,
    /// All conditions, in the order of [`ConditionType`].
    pub conditions: Vec<Condition>,
}

impl Status {
    /// A client that no pass has looked at.
    pub fn pending() -> Self {
        Status {
            phase: Phase::Pending,
            message: "no pass has looked at it yet".into(),
            next_attempt: None,
            conditions: Vec::new(),
        }
    }

    /// The condition of that type.
    pub fn condition(&self, kind: ConditionType) -> Option<&Condition> {
        self.conditions.iter().find(|condition| condition.kind == kind)
    }

    /// Whether the world matches the spec.
    pub fn is_ready(&self) -> bool {
        self.condition(ConditionType::Ready).is_some_and(|ready| ready.status == Truth::True)
    }
}

impl ConditionType {
    /// The conditions that `Ready` sums up.
    pub const SUMMED: [ConditionType; 10] = [
        ConditionType::SpecValid,
        ConditionType::DatabaseReady,
        ConditionType::SiteReady,
        ConditionType::RepositoryReady,
        ConditionType::EnvironmentReady,
        ConditionType::DNSReady,
        ConditionType::Deployed,
        ConditionType::CertificateReady,
        ConditionType::Healthy,
        ConditionType::AdminReady,
    ];
}
