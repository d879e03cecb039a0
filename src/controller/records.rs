//! Writes of client records: a pass works on its copy for as long as its calls take, and meanwhile files, people and scans
//! change the same record. Nobody's change is lost: each write puts the pass's part over what the others wrote.

use std::sync::Arc;

use tokio::sync::{Mutex, MutexGuard};

use crate::store::{ClientRecord, Store, StoreError, Stored};

/// The records of an installation, as far as this process changes them.
pub struct Records {
    store: Arc<dyn Store>,
    turn: Mutex<()>,
}

impl Records {
    /// Over the state.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Records { store, turn: Mutex::new(()) }
    }

    /// Held by whoever reads a record (or the evidence of absences), changes it and writes it, without calls in between.
    pub async fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// Writes a pass's copy. `seen` is what the state held when the copy was taken or last written; what others changed
    /// since then is taken over into the copy, and `seen` becomes what was written.
    ///
    /// # Errors
    /// The state cannot be used, or the client was forgotten meanwhile: nothing must be sent for it any more.
    pub async fn save(&self, seen: &mut ClientRecord, mine: &mut ClientRecord) -> Stored<()> {
        let _turn = self.turn().await;
        let Some(stored) = self.store.client(&mine.name).await? else {
            return Err(StoreError::Engine {
                path: format!("record of {}", mine.name),
                problem: "the client was forgotten while a pass was under way".into(),
            });
        };
        take_over(mine, seen, &stored);
        if *mine != stored || mine.secrets != stored.secrets {
            self.store.save(mine).await?;
        }
        seen.clone_from(mine);
        Ok(())
    }
}

/// What a pass never writes itself, or only ends: the accepted spec, the pause, the begin and the end of a removal, and
/// what a person asked for.
fn take_over(mine: &mut ClientRecord, seen: &ClientRecord, stored: &ClientRecord) {
    if stored.accepted != seen.accepted {
        mine.accepted.clone_from(&stored.accepted);
    }
    if stored.generation != seen.generation {
        mine.generation = stored.generation;
    }
    if stored.reached_generation != seen.reached_generation {
        mine.reached_generation = stored.reached_generation;
    }
    if stored.pause != seen.pause {
        mine.pause.clone_from(&stored.pause);
    }
    let (ours, before, now) = (&mut mine.owned, &seen.owned, &stored.owned);
    if now.removal != before.removal {
        ours.removal.clone_from(&now.removal);
    }
    if now.attempts != before.attempts {
        ours.attempts.clone_from(&now.attempts);
    }
    if now.take_over != before.take_over {
        ours.take_over.clone_from(&now.take_over);
    }
    if now.fights != before.fights {
        ours.fights.clone_from(&now.fights);
    }
    if now.releases.pin != before.releases.pin {
        ours.releases.pin.clone_from(&now.releases.pin);
    }
    if now.releases.requested != before.releases.requested {
        ours.releases.requested = now.releases.requested;
    }
    if now.releases.failed != before.releases.failed {
        ours.releases.failed.clone_from(&now.releases.failed);
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::resource::mark::Mark;
    use crate::resource::name::{ClientName, Instance, Uid};
    use crate::resource::removal::{ReclaimPolicy, Removal};
    use crate::store::Pause;
    use crate::store::memory::MemoryStore;

    fn record() -> ClientRecord {
        let mark = Mark { instance: Instance::trusted("test"), uid: Uid::trusted("uid") };
        ClientRecord { generation: 1, ..ClientRecord::new(ClientName::trusted("acme"), mark) }
    }

    /// C27.
    #[tokio::test]
    async fn what_others_write_during_a_pass_survives_its_end() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        let records = Records::new(store.clone());
        store.save(&record()).await.unwrap();
        let (mut seen, mut mine) = (record(), record());
        mine.owned.vhost_before = Some("server {}".into());
        let mut theirs = record();
        theirs.generation = 2;
        theirs.pause = Some(Pause { reason: "audit".into(), since: Timestamp::UNIX_EPOCH, until: None });
        theirs.owned.removal = Some(Removal::begun(Timestamp::UNIX_EPOCH, ReclaimPolicy::Retain));
        theirs.owned.releases.requested = 1;
        store.save(&theirs).await.unwrap();
        records.save(&mut seen, &mut mine).await.unwrap();
        let both = store.client(&mine.name).await.unwrap().unwrap();
        theirs.owned.vhost_before = Some("server {}".into());
        assert_eq!(both, theirs);
        // Later writes of the same pass may change what was taken over.
        mine.owned.removal = None;
        records.save(&mut seen, &mut mine).await.unwrap();
        assert_eq!(store.client(&mine.name).await.unwrap().unwrap().owned.removal, None);
    }

    #[tokio::test]
    async fn a_forgotten_client_does_not_come_back_by_a_pass_that_ends() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        let records = Records::new(store.clone());
        let (mut seen, mut mine) = (record(), record());
        assert!(records.save(&mut seen, &mut mine).await.is_err());
        assert!(store.client(&mine.name).await.unwrap().is_none());
    }
}
