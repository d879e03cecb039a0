//! Taking a client down: what is remembered from the moment its file was accepted as gone (design 5).

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::resource::record::Record;

/// What becomes of a client whose spec goes. Remembered when the spec was accepted, so that removing the file cannot
/// remove the protection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub enum DeletionPolicy {
    /// Take it down.
    Delete,
    /// Forget it and leave every resource as it is.
    Retain,
}

/// What becomes of the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub enum ReclaimPolicy {
    /// Keep it, with its login closed.
    Retain,
    /// Back it up and drop it after `deletion.databaseGrace`.
    Delete,
}

/// A client on its way out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removal {
    /// When its absence was accepted: it goes offline from here.
    pub offline_since: Timestamp,
    /// Time that passed while nobody was there to see it: it counts towards no grace.
    #[serde(default)]
    pub uncounted: Duration,
    /// When the last address record was seen gone; the TTL is waited from here.
    pub records_gone_at: Option<Timestamp>,
    /// The longest TTL (seconds) among the address records that were removed.
    pub ttl_seconds: u32,
    /// Whole bodies of the records we removed, for the way back.
    pub removed_records: BTreeSet<Record>,
    /// Whether the host was asked to remove the site: from then on nobody wonders that no listing shows it.
    #[serde(default)]
    pub site_removal_sent: bool,
    /// When the site was seen gone.
    pub site_gone_at: Option<Timestamp>,
    /// The verified backup of the database.
    pub backup: Option<Backup>,
    /// What happens to the database, as accepted while the spec lived.
    pub reclaim: ReclaimPolicy,
    /// When everything was done that is done to a client that goes; what is left then is meant to stay.
    #[serde(default)]
    pub finished_at: Option<Timestamp>,
}

impl Removal {
    /// A removal that begins now.
    pub fn begun(offline_since: Timestamp, reclaim: ReclaimPolicy) -> Self {
        Removal {
            offline_since,
            uncounted: Duration::ZERO,
            records_gone_at: None,
            ttl_seconds: 0,
            removed_records: BTreeSet::new(),
            site_removal_sent: false,
            site_gone_at: None,
            backup: None,
            reclaim,
            finished_at: None,
        }
    }
}

/// A dump that was restored on trial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backup {
    /// File name below the backup directory.
    pub file: String,
    /// SHA-256 of the file, hexadecimal.
    pub sha256: String,
    /// Bytes.
    pub bytes: u64,
    /// When it was verified.
    pub verified_at: Timestamp,
    /// The database it was taken of.
    pub oid: u32,
}
