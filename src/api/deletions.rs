//! What waits to be deleted, what is held, what is kept: the shape of `deletions -o json` (interface 4).

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::api::view::{Lens, is_gone};
use crate::controller::absence::Absences;
use crate::plan::removal::due;
use crate::resource::kind::ResourceKind;
use crate::resource::removal::{ReclaimPolicy, Removal};
use crate::status::Phase;
use crate::store::{ClientRecord, Store, Stored};

/// Everything about removals.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Deletions {
    /// Clients on their way out.
    pub scheduled: Vec<Scheduled>,
    /// The set that waits for a person.
    pub held: Option<HeldSet>,
    /// What stays of clients that went.
    pub retained: Vec<Retained>,
    /// Clients whose file is not there, with too little evidence yet.
    pub missing: Vec<Missing>,
}

/// One client on its way out.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Scheduled {
    /// The client.
    pub name: String,
    /// `Offline` or `Terminating`.
    pub phase: Phase,
    /// Since when it is offline.
    pub offline_since: Timestamp,
    /// When its site goes.
    pub site_removal_at: Timestamp,
    /// When its database goes; `None`: it stays.
    pub database_drop_at: Option<Timestamp>,
    /// What becomes of the database.
    pub database_policy: ReclaimPolicy,
    /// What brings it back.
    pub undo: String,
}

/// A held set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct HeldSet {
    /// What `approve` must name.
    pub hash: String,
    /// Who would go.
    pub names: Vec<String>,
    /// Why it is held.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
}

/// Something that stays of a client that went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Retained {
    /// The client.
    pub name: String,
    /// What it is.
    pub kind: ResourceKind,
    /// Where it is.
    pub provider: String,
    /// The provider's id.
    pub id: String,
    /// Since when it is kept.
    pub since: Timestamp,
}

/// A client that was not seen, and is not on its way out yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Missing {
    /// The client.
    pub name: String,
    /// First scan without it.
    pub since: Timestamp,
    /// Complete scans without it so far.
    pub scans: u32,
}

/// Reads everything about removals.
pub async fn deletions(store: &dyn Store, lens: &Lens) -> Stored<Deletions> {
    let records = store.clients().await?;
    let absences = Absences::load(store).await?;
    Ok(assemble(&records, &absences, &lens.as_the_daemon(store).await?))
}

fn assemble(records: &[ClientRecord], absences: &Absences, lens: &Lens) -> Deletions {
    let removals =
        || records.iter().filter_map(|record| record.owned.removal.as_ref().map(|removal| (record, removal)));
    let held = absences.held.as_ref();
    let is_held = |name: &str| held.is_some_and(|held| held.names.iter().any(|there| there.as_str() == name));
    Deletions {
        scheduled: removals()
            .filter(|(record, _)| !is_gone(record))
            .map(|(record, removal)| scheduled(record, removal, lens))
            .collect(),
        held: held.map(|held| HeldSet {
            hash: held.hash.clone(),
            names: held.names.iter().map(ToString::to_string).collect(),
            reason: held.reason.clone(),
            since: held.since,
        }),
        retained: removals().flat_map(|(record, removal)| retained(record, removal)).collect(),
        missing: absences
            .missing
            .iter()
            .filter(|(name, _)| !is_held(name.as_str()))
            .map(|(name, seen)| Missing { name: name.to_string(), since: seen.since, scans: seen.scans })
            .collect(),
    }
}

fn scheduled(record: &ClientRecord, removal: &Removal, lens: &Lens) -> Scheduled {
    // Until the first pass after the absence was accepted, the status still speaks of the time before.
    let phase = match record.status.phase {
        Phase::Terminating => Phase::Terminating,
        _ => Phase::Offline,
    };
    let file = record.accepted.as_ref().map_or("its spec file", |accepted| accepted.file.as_str());
    let undo = match phase {
        Phase::Terminating => format!("put {file} back: what is left is kept, what went is made again"),
        _ => format!("put {file} back: it comes back as it was"),
    };
    Scheduled {
        name: record.name.to_string(),
        phase,
        offline_since: removal.offline_since,
        site_removal_at: due(removal, lens.grace),
        database_drop_at: (removal.reclaim == ReclaimPolicy::Delete)
            .then(|| due(removal, lens.database_grace.max(lens.grace))),
        database_policy: removal.reclaim,
        undo,
    }
}

fn retained(record: &ClientRecord, removal: &Removal) -> Vec<Retained> {
    let Some(since) = removal.finished_at else { return Vec::new() };
    let kept = record.owned.resources.iter().map(|resource| Retained {
        name: record.name.to_string(),
        kind: resource.kind,
        provider: resource.provider.clone(),
        id: resource.id.to_string(),
        since,
    });
    kept.collect()
}
