//! Releases: what was asked for, what runs, and how the host tells the difference (decisions 1, 2, 9; contracts/ploi.md 6.7).

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::resource::name::Commit;
use crate::resource::secret::Digest;

/// What a release is made of. Equal fingerprints need no deploy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// `owner/name`.
    pub repository: String,
    /// The branch.
    pub branch: String,
    /// The pinned commit, or the branch head as far as it is known; `None` when the head cannot be seen.
    pub commit: Option<Commit>,
    /// Digest of the whole environment file.
    pub environment: Digest,
    /// Digest of the deploy script.
    pub script: Digest,
    /// Moves with every deploy that a person asks for.
    pub requested: u64,
}

/// What is noted before a deploy is asked for: `active` right after it means nothing, a change against this does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Baseline {
    /// `last_deploy_at` as it stood.
    pub last_deploy_at: Option<String>,
    /// Id of the newest log entry of type `deploy`.
    pub log_id: Option<String>,
}

/// How the host sees a deploy, as far as one look tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeployLog {
    /// Id of the newest log entry of type `deploy`; `None` where there is none, and while a deploy runs.
    pub id: Option<String>,
    /// What it says, redacted.
    pub text: String,
}

/// The end of a text, at most so many bytes, from where a character begins.
pub fn tail(text: &str, bytes_max: usize) -> &str {
    let mut start = text.len().saturating_sub(bytes_max);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    text.get(start..).unwrap_or_default()
}

/// An earlier release that a person wants served, whatever the branch says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// Its number in the client's history.
    pub number: u64,
    /// Its branch.
    pub branch: String,
    /// Its commit.
    pub commit: Commit,
    /// Why, in a person's words.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
    /// When the branch counts again by itself.
    pub until: Option<Timestamp>,
    /// The spec's source as the first pass found it: another one ends the pin. `None` until that pass.
    pub source: Option<PinnedSource>,
}

/// What a spec says of its source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinnedSource {
    /// `owner/name`.
    pub repository: String,
    /// The branch.
    pub branch: String,
    /// The commit that the spec names; `None` where the branch head counts.
    pub commit: Option<Commit>,
}

/// A deploy that was asked for and has not ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InFlight {
    /// Number in the client's history.
    pub number: u64,
    /// What it is made of.
    pub fingerprint: Fingerprint,
    /// What stood before.
    pub baseline: Baseline,
    /// When it was asked for.
    pub requested_at: Timestamp,
    /// Whether the host was seen deploying since.
    pub seen_deploying: bool,
}

/// A deploy that ended well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Released {
    /// Number in the client's history.
    pub number: u64,
    /// What it is made of.
    pub fingerprint: Fingerprint,
    /// When it was asked for.
    pub started_at: Timestamp,
    /// When it was seen to have ended.
    pub finished_at: Timestamp,
}

/// A deploy that did not end well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedDeploy {
    /// Number in the client's history.
    pub number: u64,
    /// What it was made of; another fingerprint starts afresh.
    pub fingerprint: Fingerprint,
    /// When it was seen to have failed.
    pub at: Timestamp,
    /// CamelCase: `BuildFailed`, `PortTaken`, `TimedOut`, …
    pub reason: String,
    /// The end of its log.
    pub excerpt: String,
    /// Failures of this fingerprint so far.
    pub failures: u32,
}

/// All that is remembered of a client's releases.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Releases {
    /// The next number.
    pub next_number: u64,
    /// Asked for, not ended.
    pub in_flight: Option<InFlight>,
    /// The newest that serves.
    pub live: Option<Released>,
    /// The newest that failed, until one succeeds.
    pub failed: Option<FailedDeploy>,
    /// How often a person asked for a deploy.
    pub requested: u64,
    /// The rollback in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin: Option<Pin>,
}
