//! Clients whose file is gone: from the evidence to the begin of their removal.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use crate::controller::absence::{Absences, Presence};
use crate::controller::recovery::Recovery;
use crate::controller::running::Controller;
use crate::controller::watcher::Scan;
use crate::plan::draft::later;
use crate::resource::name::ClientName;
use crate::resource::removal::{DeletionPolicy, ReclaimPolicy, Removal};
use crate::store::{ClientRecord, EventKind, Stored};

impl Controller {
    pub(super) async fn weigh_absences(&self, scan: &Scan, present: &BTreeSet<ClientName>) -> Stored<()> {
        if Recovery::load(&*self.store).await?.is_some() {
            return Ok(()); // a state that is older than the world is no witness of what went
        }
        if self.fleet.only_observes() {
            return Ok(()); // a grace that ran while the client was served would be none
        }
        let records = self.store.clients().await?;
        let accepted: BTreeSet<ClientName> = records
            .iter()
            .filter(|r| r.accepted.is_some() && r.owned.removal.is_none())
            .map(|r| r.name.clone())
            .collect();
        let mut absences = Absences::load(&*self.store).await?;
        let known = absences.clone();
        let first = !std::mem::replace(&mut *self.weighed.lock(), true);
        let gone = absences.weigh(
            &Presence { accepted: &accepted, present, root: scan.root, first, now: self.clock.now() },
            &self.options.absence,
        );
        if absences != known {
            absences.save(&*self.store).await?;
        }
        if absences.held != known.held
            && let Some(held) = &absences.held
        {
            let message = format!("{}; `sitewright approve {}` releases them", held.reason, held.hash);
            self.reconciler.event(None, EventKind::Warning, "RemovalsHeld", &message).await?;
        }
        for record in records.into_iter().filter(|r| gone.contains(&r.name)) {
            self.begin_removal(record).await?;
        }
        if !absences.missing.is_empty() && absences.held.is_none() {
            self.scan_in(self.options.absence.window / self.options.absence.scans.max(1) + Duration::from_millis(10));
        }
        Ok(())
    }

    /// The policy that counts is the one that was accepted while the spec lived.
    async fn begin_removal(&self, mut record: ClientRecord) -> Stored<()> {
        let name = record.name.clone();
        let spec = self.fleet.spec(&name);
        let policy = spec.as_ref().map_or(DeletionPolicy::Retain, |spec| spec.spec.deletion_policy);
        if policy == DeletionPolicy::Retain {
            self.reconciler
                .event(
                    Some(&name),
                    EventKind::Normal,
                    "Forgotten",
                    "its spec is gone and its deletionPolicy is Retain: everything is left as it is",
                )
                .await?;
            self.store.forget(&name).await?;
            self.reconciler.observer.servers.forget_ours().await;
            self.fleet.forget(&name);
            self.queue.forget(&name);
            return Ok(());
        }
        let reclaim = spec.map_or(ReclaimPolicy::Retain, |spec| spec.spec.database.reclaim_policy);
        let now = self.clock.now();
        record.owned.removal = Some(Removal::begun(now, reclaim));
        record.owned.attempts.clear();
        self.store.save(&record).await?;
        let due: Timestamp = later(now, self.options.policy.deletion_grace);
        self.reconciler.event(Some(&name), EventKind::Warning, "Offline", &format!("its spec is gone: it goes offline now and its site is removed at {due:.0}; put the file back to undo")).await?;
        self.add_urgent(name);
        Ok(())
    }
}
