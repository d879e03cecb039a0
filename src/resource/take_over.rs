//! What is remembered of a client that was taken over as it stood: the differences that are left as they were found.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Number of the release that serves already when a client is taken over; the first one of ours is 1.
pub const FOUND_RELEASE: u64 = 0;

/// A taking over: its first look accepts every difference, so that it costs no write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct TakeOver {
    /// The first look is over; a difference that is found later is written.
    pub is_settled: bool,
    /// Accepted differences by resource.
    pub accepted: BTreeMap<String, Difference>,
}

/// What was wanted and what was seen, as texts that hold digests where a value is secret. It is accepted for as long as
/// neither of them moves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// Wanted.
    pub wanted: String,
    /// Seen.
    pub seen: String,
}

impl TakeOver {
    /// Whether exactly this difference was accepted.
    pub fn accepts(&self, resource: &str, difference: &Difference) -> bool {
        self.accepted.get(resource) == Some(difference)
    }
}
