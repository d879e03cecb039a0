//! What can go wrong at a provider, as decisions a caller can take.

use std::time::Duration;

/// A failed call. `Display` is one sentence without secrets; the class decides what happens next.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{provider} {call}: {class}")]
pub struct ProviderError {
    /// `ploi`, `cloudflare`, `postgres`, …
    pub provider: &'static str,
    /// What was asked, for people: `GET servers/1/sites`. Never holds a body, a query value or a token.
    pub call: String,
    /// What it means.
    pub class: ErrorClass,
}

/// The classes of failure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ErrorClass {
    /// Not reached, or a read failed with 5xx, time-out, reset or garbage: nothing was changed. Try again later.
    #[error("not reachable ({0})")]
    Unavailable(String),
    /// A write was sent and its outcome is not known (time-out, reset, 5xx, garbage): look before sending again.
    #[error("no usable answer, the write may have happened ({0})")]
    Unanswered(String),
    /// Too many requests; nobody calls this account before the time is over.
    #[error("rate limit reached, open again in {}", humantime::format_duration(Duration::from_secs(after.as_secs())))]
    Throttled {
        /// How long the lane stays closed.
        after: Duration,
    },
    /// 401: the credential is not accepted. Only a person can help.
    #[error("credential not accepted ({0})")]
    Unauthorized(String),
    /// 403: the credential may not do this. Only a person can help.
    #[error("not allowed ({0})")]
    Forbidden(String),
    /// 404: no such thing (any more).
    #[error("not found")]
    NotFound,
    /// The natural key is taken: look whose it is.
    #[error("already there ({0})")]
    Exists(String),
    /// A quota of the account or zone is used up.
    #[error("quota used up ({0})")]
    Quota(String),
    /// The provider refuses what we sent: only another spec, or a mended program, can help.
    #[error("refused ({0})")]
    Invalid(String),
    /// Complete and well-formed, and not to be believed: only a person can say that it is so.
    #[error("not believed: {0}")]
    Implausible(String),
    /// Not sent: what it was meant for changed while it waited for its turn.
    #[error("not sent, what it was meant for changed meanwhile")]
    Withdrawn,
    /// Busy now; the same call may pass later.
    #[error("busy ({0})")]
    Busy(String),
}

/// Words of somebody else, on one line and cut.
pub(in crate::provider) fn one_line(text: &str, chars_max: usize) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(chars_max).collect()
}

impl ProviderError {
    /// An error of a class.
    pub fn new(provider: &'static str, call: impl Into<String>, class: ErrorClass) -> Self {
        ProviderError { provider, call: call.into(), class }
    }

    /// Whether the write may have happened.
    pub fn is_ambiguous(&self) -> bool {
        matches!(self.class, ErrorClass::Unanswered(_))
    }

    /// Whether only a person or another spec can help.
    pub fn is_permanent(&self) -> bool {
        matches!(
            self.class,
            ErrorClass::Unauthorized(_)
                | ErrorClass::Forbidden(_)
                | ErrorClass::Invalid(_)
                | ErrorClass::Quota(_)
                | ErrorClass::Implausible(_)
        )
    }

    /// CamelCase reason for a condition.
    pub fn reason(&self) -> &'static str {
        match self.class {
            ErrorClass::Unavailable(_) => "ProviderUnavailable",
            ErrorClass::Unanswered(_) => "AnswerLost",
            ErrorClass::Throttled { .. } => "RateLimited",
            ErrorClass::Unauthorized(_) => "CredentialRefused",
            ErrorClass::Forbidden(_) => "PermissionMissing",
            ErrorClass::NotFound => "NotFound",
            ErrorClass::Exists(_) => "AlreadyThere",
            ErrorClass::Quota(_) => "QuotaExceeded",
            ErrorClass::Invalid(_) => "RefusedByProvider",
            ErrorClass::Implausible(_) => "NotBelieved",
            ErrorClass::Withdrawn => "Withdrawn",
            ErrorClass::Busy(_) => "Busy",
        }
    }
}
