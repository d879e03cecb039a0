//! The ways in which an action fails.

use crate::provider::error::{ErrorClass, ProviderError};
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
