//! The mass guard: how many clients may go in a day, and which set a person must approve by its hash (decisions 28).

use std::collections::BTreeSet;

use crate::resource::hex::hex;
use crate::resource::name::ClientName;

/// What the guard looks at.
#[derive(Debug, Clone)]
pub struct Removals<'a> {
    /// All clients with an accepted spec that were not removed yet, those that are missing now included.
    pub accepted: usize,
    /// Clients that went offline in the last 24 hours.
    pub gone_today: usize,
    /// Clients whose absence has its evidence and that are not on their way out yet.
    pub missing: &'a BTreeSet<ClientName>,
    /// `deletion.maxShare`, in per cent.
    pub max_share_percent: u32,
    /// `deletion.maxPerDay`.
    pub max_per_day: usize,
    /// The hash that a person approved.
    pub approved: Option<&'a str>,
}

/// What the guard says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Guard {
    /// All of them may go.
    Allow,
    /// None of them may go until `approve` names this hash.
    Hold {
        /// Names exactly this set.
        hash: String,
        /// One sentence.
        reason: String,
    },
}

/// Judges a set of removals: all of it or nothing of it.
pub fn guard(removals: &Removals<'_>) -> Guard {
    let hash = set_hash(removals.missing);
    if removals.missing.is_empty() || removals.approved == Some(hash.as_str()) {
        return Guard::Allow;
    }
    let share = removals.accepted * removals.max_share_percent as usize / 100;
    let allowed = share.max(1).min(removals.max_per_day);
    let wanted = removals.missing.len();
    if wanted == removals.accepted {
        let reason = format!("all {wanted} clients would go; the last client never goes without approval");
        return Guard::Hold { hash, reason };
    }
    if removals.gone_today + wanted > allowed {
        let reason = format!(
            "{wanted} of {} clients would go and {} went in the last 24 hours; {allowed} a day go without approval (deletion.maxShare {} %, deletion.maxPerDay {})",
            removals.accepted, removals.gone_today, removals.max_share_percent, removals.max_per_day
        );
        return Guard::Hold { hash, reason };
    }
    Guard::Allow
}

/// Twelve hexadecimal digits that name a set of clients.
pub fn set_hash(names: &BTreeSet<ClientName>) -> String {
    hash_of(names.iter().map(ClientName::as_str))
}

/// Twelve hexadecimal digits that name these lines, for a person's `approve`.
pub fn hash_of<'a>(lines: impl Iterator<Item = &'a str>) -> String {
    let text: Vec<&str> = lines.collect();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.join("\n").as_bytes());
    hex(digest.as_ref()).chars().take(12).collect()
}
