//! Builds of ours on each server, from the moment one is decided: a listing shows them only later.

use std::collections::{BTreeMap, BTreeSet};

use parking_lot::Mutex;

use crate::resource::name::{HostName, ServerId};

/// Who builds where.
#[derive(Default)]
pub struct BuildSlots(Mutex<BTreeMap<ServerId, BTreeSet<HostName>>>);

impl BuildSlots {
    /// Takes a slot for a site, unless `limit` others hold one, or are `listed` as building by the host. Gives who
    /// builds when none is free.
    ///
    /// # Errors
    /// The sites that hold the slots.
    pub fn take(
        &self,
        server: &ServerId,
        site: &HostName,
        listed: &BTreeSet<HostName>,
        limit: usize,
    ) -> Result<(), BTreeSet<HostName>> {
        let mut all = self.0.lock();
        let held = all.entry(server.clone()).or_default();
        let others: BTreeSet<HostName> = held.union(listed).filter(|other| *other != site).cloned().collect();
        if others.len() >= limit {
            return Err(others);
        }
        held.insert(site.clone());
        Ok(())
    }

    /// A site of ours that builds since before this process began.
    pub fn note(&self, server: &ServerId, site: &HostName) {
        self.0.lock().entry(server.clone()).or_default().insert(site.clone());
    }

    /// The site builds no more.
    pub fn free(&self, server: &ServerId, site: &HostName) {
        if let Some(held) = self.0.lock().get_mut(server) {
            held.remove(site);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_and_others_share_the_slots_and_nobody_is_counted_twice() {
        let slots = BuildSlots::default();
        let server = ServerId::trusted("1");
        let name = |text: &str| HostName::trusted(text);
        let listed = BTreeSet::from([name("foreign.example")]);
        assert_eq!(slots.take(&server, &name("a.example"), &listed, 2), Ok(()));
        assert_eq!(slots.take(&server, &name("a.example"), &listed, 2), Ok(()), "its own slot is no other's");
        assert_eq!(
            slots.take(&server, &name("b.example"), &listed, 2),
            Err([name("a.example"), name("foreign.example")].into())
        );
        let shown = BTreeSet::from([name("a.example")]);
        assert_eq!(slots.take(&server, &name("b.example"), &shown, 2), Ok(()), "listed and held is one build");
        slots.free(&server, &name("a.example"));
        assert_eq!(slots.take(&server, &name("c.example"), &BTreeSet::new(), 2), Ok(()));
    }
}
