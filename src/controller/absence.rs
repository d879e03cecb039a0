//! When a client whose file is gone may be taken down: evidence over several scans, then the mass guard (decisions 28-29).
//!
//! Evidence is durable. A start's first scan adds to it and never completes it; another root starts it anew; a scan that
//! could not read everything is no evidence at all.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::plan::draft::later;
use crate::plan::policy::{Guard, Removals, guard, set_hash};
use crate::resource::name::ClientName;
use crate::store::{Store, Stored};

/// Window of the daily limit.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Name of the document.
const DOCUMENT: &str = "absence";

/// The limits of removals, from the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AbsenceRules {
    /// Complete scans in which a client must be absent.
    pub scans: u32,
    /// Time those scans must span.
    pub window: Duration,
    /// `deletion.maxShare`, per cent.
    pub max_share_percent: u32,
    /// `deletion.maxPerDay`.
    pub max_per_day: usize,
}

/// All that is remembered of absences.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Absences {
    /// Clients that were not seen, with the evidence so far.
    pub missing: BTreeMap<ClientName, Evidence>,
    /// Removals that began, for the daily limit.
    pub begun: Vec<(ClientName, Timestamp)>,
    /// A set that the guard holds.
    pub held: Option<Held>,
    /// The hash that a person approved; used up by the set it names.
    pub approved: Option<String>,
}

/// Evidence that one client is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// First scan without it.
    pub since: Timestamp,
    /// Complete scans without it.
    pub scans: u32,
    /// The root they were made of.
    pub root: (u64, u64),
}

/// A held set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// What `approve` must name.
    pub hash: String,
    /// Who would go.
    pub names: BTreeSet<ClientName>,
    /// One sentence.
    pub reason: String,
    /// When it was held first.
    pub since: Timestamp,
}

/// One complete scan, as far as absence goes.
#[derive(Debug, Clone)]
pub struct Presence<'a> {
    /// Clients that are not on their way out.
    pub accepted: &'a BTreeSet<ClientName>,
    /// Clients that some file is about, good or broken.
    pub present: &'a BTreeSet<ClientName>,
    /// The root.
    pub root: (u64, u64),
    /// Whether this process saw the directory before.
    pub first: bool,
    /// Now.
    pub now: Timestamp,
}

impl Absences {
    /// As the store remembers them.
    pub async fn load(store: &dyn Store) -> Stored<Self> {
        let kept = store.document(DOCUMENT).await?;
        Ok(kept.and_then(|value| serde_json::from_value(value).ok()).unwrap_or_default())
    }

    /// Writes them.
    pub async fn save(&self, store: &dyn Store) -> Stored<()> {
        store.put_document(DOCUMENT, serde_json::to_value(self).ok().as_ref()).await
    }

    /// Adds one scan; gives the clients that may go now. Pure but for its own memory.
    pub fn weigh(&mut self, scan: &Presence<'_>, rules: &AbsenceRules) -> BTreeSet<ClientName> {
        self.missing.retain(|name, _| scan.accepted.contains(name) && !scan.present.contains(name));
        for name in scan.accepted.difference(scan.present) {
            let evidence =
                self.missing.entry(name.clone()).or_insert(Evidence { since: scan.now, scans: 0, root: scan.root });
            if evidence.root != scan.root {
                *evidence = Evidence { since: scan.now, scans: 0, root: scan.root };
            }
            evidence.scans += 1;
        }
        // Whoever is there again is not held, whatever else this scan is good for; an approval goes with its set.
        if self.held.as_ref().is_some_and(|held| held.names.iter().any(|name| !self.missing.contains_key(name))) {
            (self.held, self.approved) = (None, None);
        }
        if scan.first {
            return BTreeSet::new();
        }
        let complete = |e: &Evidence| e.scans >= rules.scans && later(e.since, rules.window) <= scan.now;
        let gone: BTreeSet<ClientName> =
            self.missing.iter().filter(|(_, e)| complete(e)).map(|(name, _)| name.clone()).collect();
        self.judge(gone, scan, rules)
    }

    fn judge(&mut self, gone: BTreeSet<ClientName>, scan: &Presence<'_>, rules: &AbsenceRules) -> BTreeSet<ClientName> {
        if gone.is_empty() {
            (self.held, self.approved) = (None, None);
            return gone;
        }
        // While others of the same vanishing are still gathering evidence, the set is not whole: it is judged as one.
        if self.missing.len() > gone.len() {
            return BTreeSet::new();
        }
        // An approval is for one set: what it named is not held any more, so it is void, also for the same set another day.
        self.approved.take_if(|hash| *hash != set_hash(&gone));
        self.begun.retain(|(_, at)| later(*at, DAY) > scan.now);
        let removals = Removals {
            accepted: scan.accepted.len(),
            // One that comes and goes, or whose removal a crash cut off, counts once.
            gone_today: self.begun.iter().filter(|(name, _)| !gone.contains(name)).count(),
            missing: &gone,
            max_share_percent: rules.max_share_percent,
            max_per_day: rules.max_per_day,
            approved: self.approved.as_deref(),
        };
        match guard(&removals) {
            Guard::Allow => {
                self.held = None;
                if self.approved.take().is_none() {
                    // An approved set does not use up the day's limit: a person counted it.
                    self.begun.retain(|(name, _)| !gone.contains(name));
                    self.begun.extend(gone.iter().map(|name| (name.clone(), scan.now)));
                }
                for name in &gone {
                    self.missing.remove(name);
                }
                gone
            }
            Guard::Hold { hash, reason } => {
                let since = self.held.as_ref().filter(|held| held.hash == hash).map_or(scan.now, |held| held.since);
                self.held = Some(Held { hash, names: gone, reason, since });
                BTreeSet::new()
            }
        }
    }

    /// A person approves a held set by its hash.
    pub fn approve(&mut self, hash: &str) -> Result<String, String> {
        match &self.held {
            Some(held) if held.hash == hash => {
                self.approved = Some(hash.to_owned());
                Ok(format!("{} clients are released and go with the next scan", held.names.len()))
            }
            Some(held) => {
                Err(format!("the held set is {} now, not {hash}; look at `sitewright deletions` again", held.hash))
            }
            None => Err("nothing is held; look at `sitewright deletions`".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(count: usize) -> BTreeSet<ClientName> {
        (0..count).map(|i| ClientName::trusted(format!("client{i:02}"))).collect()
    }

    fn rules() -> AbsenceRules {
        AbsenceRules { scans: 3, window: Duration::from_secs(60), max_share_percent: 10, max_per_day: 5 }
    }

    struct Directory {
        absences: Absences,
        accepted: BTreeSet<ClientName>,
        now: Timestamp,
        root: (u64, u64),
        scans: usize,
    }

    impl Directory {
        fn of(count: usize) -> Self {
            Directory {
                absences: Absences::default(),
                accepted: names(count),
                now: Timestamp::UNIX_EPOCH,
                root: (1, 1),
                scans: 0,
            }
        }

        fn scan(&mut self, present: &BTreeSet<ClientName>) -> BTreeSet<ClientName> {
            self.now = later(self.now, Duration::from_secs(30));
            self.scans += 1;
            let first = self.scans == 1;
            let scan = Presence { accepted: &self.accepted, present, root: self.root, first, now: self.now };
            self.absences.weigh(&scan, &rules())
        }
    }

    #[test]
    fn one_of_twenty_five_goes_after_three_scans_over_the_window() {
        let mut directory = Directory::of(25);
        let all = names(25);
        let mut present = all.clone();
        assert!(directory.scan(&all).is_empty());
        let gone = present.pop_last().into_iter().collect::<BTreeSet<_>>();
        assert!(directory.scan(&present).is_empty());
        assert!(directory.scan(&present).is_empty());
        assert_eq!(directory.scan(&present), gone);
    }

    /// C11.
    #[test]
    fn twenty_of_twenty_five_are_held_with_names_and_hash_until_approved() {
        let mut directory = Directory::of(25);
        let present = names(5);
        for _ in 0..10 {
            assert!(directory.scan(&present).is_empty());
        }
        let held = directory.absences.held.clone().expect("held");
        assert_eq!(held.names.len(), 20);
        assert!(directory.absences.approve("000000000000").is_err());
        directory.absences.approve(&held.hash).expect("the right hash");
        assert_eq!(directory.scan(&present).len(), 20);
        assert!(directory.absences.held.is_none());
    }

    /// G2.
    #[test]
    fn an_approval_is_void_when_the_set_changes() {
        let mut directory = Directory::of(25);
        for _ in 0..5 {
            directory.scan(&names(5));
        }
        let held = directory.absences.held.clone().expect("held");
        directory.absences.approve(&held.hash).expect("the right hash");
        let fewer = names(6); // one came back
        assert!(directory.scan(&fewer).is_empty());
        assert_ne!(directory.absences.held.clone().expect("held anew").hash, held.hash);
        for _ in 0..5 {
            assert!(directory.scan(&names(5)).is_empty(), "the old approval is not good for the old set either");
        }
    }

    #[test]
    fn an_approval_is_void_when_one_came_back_at_the_first_scan_of_a_start() {
        let mut directory = Directory::of(25);
        for _ in 0..5 {
            directory.scan(&names(5));
        }
        let held = directory.absences.held.clone().expect("held");
        directory.absences.approve(&held.hash).expect("the right hash");
        directory.scans = 0; // the process is another one
        assert!(directory.scan(&names(6)).is_empty());
        for _ in 0..5 {
            assert!(directory.scan(&names(5)).is_empty(), "the same set another day is another set");
        }
    }

    #[test]
    fn an_approval_that_was_void_releases_nobody_from_the_count_of_the_day() {
        let mut directory = Directory::of(25);
        for _ in 0..5 {
            directory.scan(&names(5));
        }
        let held = directory.absences.held.clone().expect("held");
        directory.absences.approve(&held.hash).expect("the right hash");
        assert_eq!(directory.scan(&names(24)).len(), 1, "one of twenty-five needs nobody");
        assert_eq!(directory.absences.begun.len(), 1);
        directory.accepted = names(24);
        for _ in 0..3 {
            directory.scan(&names(24));
        }
        assert_eq!(directory.absences.approved, None);
    }

    /// C8.
    #[test]
    fn an_empty_directory_is_held_also_with_one_client() {
        let mut directory = Directory::of(1);
        for _ in 0..10 {
            assert!(directory.scan(&BTreeSet::new()).is_empty());
        }
        assert!(directory.absences.held.is_some());
    }

    /// C9.
    #[test]
    fn a_start_never_completes_the_evidence_and_another_root_starts_it_anew() {
        let mut directory = Directory::of(25);
        let mut present = names(25);
        present.pop_last();
        for _ in 0..3 {
            assert!(directory.scan(&present).len() <= 1);
        }
        let mut again = Directory::of(25);
        again.absences.missing = BTreeMap::from([(
            ClientName::trusted("client24"),
            Evidence { since: Timestamp::UNIX_EPOCH, scans: 9, root: (1, 1) },
        )]);
        again.now = later(Timestamp::UNIX_EPOCH, Duration::from_secs(3600));
        assert!(again.scan(&present).is_empty(), "the first scan of a start completes nothing");
        again.root = (1, 2);
        assert!(again.scan(&present).is_empty(), "another root is other evidence");
        assert!(again.scan(&present).is_empty());
        assert_eq!(again.scan(&present).len(), 1);
    }

    /// C12.
    #[test]
    fn six_single_removals_in_a_day_stop_at_the_limit() {
        let mut directory = Directory::of(100);
        let mut present = names(100);
        let mut gone = 0;
        for _ in 0..8 {
            present.pop_last();
            for _ in 0..4 {
                let now_gone = directory.scan(&present);
                gone += now_gone.len();
                directory.accepted.retain(|name| !now_gone.contains(name));
            }
        }
        assert_eq!(gone, 5);
        assert_eq!(directory.absences.held.as_ref().map(|held| held.names.len()), Some(3));
    }
}
