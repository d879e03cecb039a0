//! A mail as it is sent: byte-stable, so that the same one never goes twice.

use serde::{Deserialize, Serialize};

use crate::resource::secret::Secret;

/// One mail to a few people.
#[derive(Debug, Clone)]
pub struct Letter {
    /// The same key never sends two mails within a day (contracts/resend.md, Idempotency); 1 to 256 characters.
    pub key: String,
    /// 1 to 50 addresses.
    pub to: Vec<String>,
    /// One line.
    pub subject: String,
    /// Plain text. A secret as a whole: the welcome to an administrator holds a password.
    pub text: Secret,
    /// What it is about.
    pub event: LetterEvent,
}

/// What a mail is about; its tag at the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LetterEvent {
    /// Something needs people.
    Problem,
    /// It is well again.
    Recovery,
    /// The state of the fleet, once a day.
    Digest,
    /// To the first administrator of a site.
    Welcome,
}

impl LetterEvent {
    /// In one word.
    pub fn word(self) -> &'static str {
        match self {
            LetterEvent::Problem => "problem",
            LetterEvent::Recovery => "recovery",
            LetterEvent::Digest => "digest",
            LetterEvent::Welcome => "welcome",
        }
    }
}
