//! One client's record during a pass: every change reaches the disk before the next step.

use jiff::Timestamp;
use tokio::sync::Mutex;

use crate::controller::clock::Clock;
use crate::controller::records::Records;
use crate::resource::kind::ResourceKind;
use crate::resource::name::RemoteId;
use crate::resource::owned::{Intent, MarkState, OwnedResource};
use crate::store::{ClientRecord, Stored};

/// The record, shared by the tracks of one pass.
pub struct Ledger<'a> {
    records: &'a Records,
    clock: Clock,
    state: Mutex<(ClientRecord, ClientRecord)>,
}

impl<'a> Ledger<'a> {
    /// A ledger over a record; `seen` is what the state holds of it.
    pub fn new(records: &'a Records, clock: Clock, seen: ClientRecord, record: ClientRecord) -> Self {
        Ledger { records, clock, state: Mutex::new((seen, record)) }
    }

    /// Changes the record and writes it; nothing is changed in memory when the disk refuses.
    pub async fn update<T>(&self, change: impl FnOnce(&mut ClientRecord) -> T) -> Stored<T> {
        let mut state = self.state.lock().await;
        let (seen, record) = &mut *state;
        let mut next = record.clone();
        let result = change(&mut next);
        if next != *record || next.secrets != record.secrets {
            self.records.save(seen, &mut next).await?;
            *record = next;
        }
        Ok(result)
    }

    /// Looks at the record.
    pub async fn read<T>(&self, look: impl FnOnce(&ClientRecord) -> T) -> T {
        look(&self.state.lock().await.1)
    }

    /// Write-ahead: the intent is on the disk when this returns. Counts how often the write is sent under it.
    pub async fn intend(&self, kind: ResourceKind, keys: &[String]) -> Stored<()> {
        let now = self.clock.now();
        self.update(|record| keys.iter().for_each(|key| open_intent(record, kind, key, now))).await
    }

    /// The end of an intent is known.
    pub async fn close(&self, kind: ResourceKind, key: &str) -> Stored<()> {
        self.update(|record| close_intent(record, kind, key)).await
    }

    /// Whether a create that was answered "already there" can only be our own earlier one.
    pub async fn was_sent_before(&self, kind: ResourceKind, key: &str) -> bool {
        self.read(|record| record.owned.intent(kind, key).is_some_and(|intent| intent.sent > 1)).await
    }

    /// A resource is ours; its intent ends with that, in one write.
    pub async fn own(
        &self,
        kind: ResourceKind,
        provider: &str,
        name: &str,
        id: RemoteId,
        mark: MarkState,
        key: &str,
    ) -> Stored<()> {
        let since = self.clock.now();
        self.update(|record| {
            close_intent(record, kind, key);
            put_resource(record, OwnedResource { kind, provider: provider.into(), name: name.into(), id, mark, since });
        })
        .await
    }

    /// At the end of the pass: what the state holds, and the record as it stands.
    pub fn into_parts(self) -> (ClientRecord, ClientRecord) {
        self.state.into_inner()
    }
}

/// Begins an intent within a larger change, or counts one more sending of it.
pub fn open_intent(record: &mut ClientRecord, kind: ResourceKind, key: &str, now: Timestamp) {
    let next_id = record.owned.intents.iter().map(|i| i.id).max().unwrap_or(0) + 1;
    match record.owned.intents.iter_mut().find(|i| i.kind == kind && i.key == *key) {
        Some(intent) => {
            intent.sent += 1;
            intent.at = now;
        }
        None => record.owned.intents.push(Intent { id: next_id, kind, key: key.into(), at: now, sent: 1 }),
    }
}

/// Ends an intent within a larger change.
pub fn close_intent(record: &mut ClientRecord, kind: ResourceKind, key: &str) {
    record.owned.intents.retain(|intent| !(intent.kind == kind && intent.key == key));
}

/// Adds a resource, or replaces the one of the same kind and name.
pub fn put_resource(record: &mut ClientRecord, resource: OwnedResource) {
    record.owned.resources.retain(|there| !(there.kind == resource.kind && there.name == resource.name));
    record.owned.resources.push(resource);
}
