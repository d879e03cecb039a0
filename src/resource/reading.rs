//! What is known of the world, and how far: `Reading`, `Live`, `Seen`, `Wanted`.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::resource::mark::Mark;
use crate::resource::name::RemoteId;

/// One look at the world. An unknown never leads to a write and never counts as "not there".
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading<T> {
    /// A complete, error-free look.
    Known(T),
    /// The look failed or was never made; the reason is one clause for people.
    Unknown {
        /// Why it is not known, for people.
        reason: String,
    },
}

/// Stands between the reason and the text of [`Reading::refused`]; no message of a provider holds it.
const REFUSED: &str = "\u{1f}";

/// Takes the reason of a doubt apart: the CamelCase reason where [`Reading::refused`] gave one, and the text.
pub fn reason_and_text(doubt: &str) -> (Option<&str>, &str) {
    doubt.split_once(REFUSED).map_or((None, doubt), |(reason, text)| (Some(reason), text))
}

impl<T> Reading<T> {
    /// An unknown with its reason.
    pub fn unknown(reason: impl Into<String>) -> Self {
        Reading::Unknown { reason: reason.into() }
    }

    /// An unknown that only a person can end (a credential is refused, a right is missing): `reason` is the CamelCase
    /// reason of the condition.
    pub fn refused(reason: &str, text: impl std::fmt::Display) -> Self {
        Reading::Unknown { reason: format!("{reason}{REFUSED}{text}") }
    }

    /// The value, when it is known.
    pub fn known(&self) -> Option<&T> {
        match self {
            Reading::Known(value) => Some(value),
            Reading::Unknown { .. } => None,
        }
    }

    /// Changes the value, keeps the doubt.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Reading<U> {
        match self {
            Reading::Known(value) => Reading::Known(change(value)),
            Reading::Unknown { reason } => Reading::Unknown { reason },
        }
    }

    /// Borrows the value, keeps the doubt.
    pub fn as_ref(&self) -> Reading<&T> {
        match self {
            Reading::Known(value) => Reading::Known(value),
            Reading::Unknown { reason } => Reading::Unknown { reason: reason.clone() },
        }
    }
}

/// A thing that exists at a provider: the value that is compared, and beside it what is not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Live<T> {
    /// The provider's id.
    pub id: RemoteId,
    /// Our kind of ownership mark as far as this reading shows one; `None` where the thing carries none or a foreign comment.
    pub mark: Option<Mark>,
    /// What is compared with the wanted value.
    pub value: T,
}

/// A remembered reading with its age.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen<T> {
    /// What was read.
    pub value: T,
    /// When.
    pub at: Timestamp,
}

/// A wanted value, or the reason why it cannot be made yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted<T> {
    /// Complete.
    Value(T),
    /// Cannot be made; the pair goes to the condition as it is.
    Missing {
        /// CamelCase reason of the condition.
        reason: &'static str,
        /// One sentence with the way out.
        message: String,
    },
}

impl<T> Wanted<T> {
    /// The value, when it could be made.
    pub fn value(&self) -> Option<&T> {
        match self {
            Wanted::Value(value) => Some(value),
            Wanted::Missing { .. } => None,
        }
    }
}
