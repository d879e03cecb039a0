//! Everything an action may need, and the ways in which one fails: what the executor's steps share.

use crate::controller::chronicle::Chronicle;
use crate::controller::clock::Clock;
use crate::controller::ledger::Ledger;
use crate::controller::providers::Providers;
use crate::controller::servers::Servers;
use crate::plan::draft::Policy;
use crate::provider::Host;
use crate::provider::error::{ErrorClass, ProviderError};
use crate::resource::desired::Desired;
use crate::resource::secret::DigestKey;
use crate::store::StoreError;

/// Why an action failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The provider.
    #[error("{0}")]
    Provider(#[from] ProviderError),
    /// The state could not be written: nothing was sent.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// A rule that is checked right before the write.
    #[error("{message}")]
    Rule {
        /// CamelCase.
        reason: &'static str,
        /// One sentence.
        message: String,
    },
}

impl Failure {
    /// Whether the write may have happened, or may happen yet.
    pub fn is_ambiguous(&self) -> bool {
        matches!(self, Failure::Provider(error) if error.is_ambiguous())
    }

    /// Whether a pause, another spec or a removal came between the plan and the write: nothing was sent, the next pass plans
    /// anew.
    pub fn is_withdrawn(&self) -> bool {
        matches!(self, Failure::Provider(error) if error.class == ErrorClass::Withdrawn)
    }

    /// CamelCase reason for a condition.
    pub fn reason(&self) -> &'static str {
        match self {
            Failure::Provider(error) => error.reason(),
            Failure::Store(_) => "StateNotWritable",
            Failure::Rule { reason, .. } => reason,
        }
    }

    /// Whether only a person or another spec can help.
    pub fn is_permanent(&self) -> bool {
        match self {
            Failure::Provider(error) => error.is_permanent(),
            Failure::Store(_) => false,
            Failure::Rule { .. } => true,
        }
    }
}

/// Everything an action may need.
pub struct Workbench<'a> {
    /// Providers.
    pub providers: &'a Providers,
    /// The record.
    pub ledger: &'a Ledger<'a>,
    /// Time.
    pub clock: Clock,
    /// What is wanted.
    pub desired: &'a Desired,
    /// Limits.
    pub policy: &'a Policy,
    /// Where backups go.
    pub backups: &'a std::path::Path,
    /// Servers: their checks are shared by all clients.
    pub servers: &'a Servers,
    /// Makes the digests that stand for secrets.
    pub digests: &'a DigestKey,
    /// Keeps what was written.
    pub chronicle: &'a Chronicle,
}

impl Workbench<'_> {
    /// The host of the wanted site.
    pub(in crate::controller) fn host(&self, provider: &str) -> Result<&Host, Failure> {
        self.providers.hosts.get(provider).ok_or_else(|| Failure::Rule {
            reason: "ProviderNotConfigured",
            message: format!("the host `{provider}` has no credentials; set them and restart"),
        })
    }
}
