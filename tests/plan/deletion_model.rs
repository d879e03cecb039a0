//! Thrown lives of one client among others, from the file that goes to what is left: after every transition the model, which
//! knows the world by itself, judges what the decisions were.
//!
//! `SITEWRIGHT_DELETIONS=100000` lives as many; `SITEWRIGHT_DELETION_SEED=17` tells one again, with its steps.

mod keeper;
mod planted;
mod truth;
mod world;

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use sitewright::controller::absence::{AbsenceRules, Absences};
use sitewright::plan::change::Step;
use sitewright::plan::draft::{Policy, later};
use sitewright::resource::kind::ResourceKind;
use sitewright::resource::name::{ClientName, RemoteId};
use sitewright::resource::owned::{Owned, ProcessState};
use sitewright::resource::reading::{Seen, Wanted};
use sitewright::resource::record::Ttl;
use sitewright::resource::removal::{DeletionPolicy, ReclaimPolicy};
use sitewright::resource::site::Piece;

use crate::case::{Case, at};
use crate::deletion_model::keeper::{Fate, Keeper, Will};
use crate::deletion_model::planted::Planted;
use crate::deletion_model::truth::{Leaving, Truth};
use crate::deletion_model::world::{Blind, DatabaseThere, SiteThere, Whose, World};

/// Lives of a plain run, without and with optimisation.
const LIVES: u64 = if cfg!(debug_assertions) { 500 } else { 10_000 };
/// Transitions of one life before it is calm.
const TRANSITIONS: usize = 100;
/// Calm rounds within which everything must have come to its end: 26 days.
const CALM_ROUNDS: usize = 80;
/// Within this many lives a planted bug is caught.
const LIVES_TO_CATCH: u64 = 300;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

struct Life {
    dice: fastrand::Rng,
    world: World,
    truth: Truth,
    keeper: Keeper,
    now: Timestamp,
    everybody: Vec<ClientName>,
    present: BTreeSet<ClientName>,
    file: Will,
    root: u64,
    readable: bool,
    blind: Blind,
    paused: bool,
    calm: bool,
    /// Somebody dropped our database: nothing empty may take its place before a person says so (B24).
    vanished: bool,
    steps: Option<Vec<String>>,
}

impl Life {
    fn new(seed: u64, planted: Option<Planted>, tells: bool) -> Life {
        let mut dice = fastrand::Rng::with_seed(seed);
        let world = World::serving(if dice.bool() { Ttl::Auto } else { Ttl::Seconds(7200) });
        let file = will(&mut dice);
        let others = 0..dice.usize(0..25);
        let everybody: Vec<ClientName> = [ClientName::trusted("acme")]
            .into_iter()
            .chain(others.map(|i| ClientName::trusted(format!("other{i:02}"))))
            .collect();
        let keeper = Keeper {
            case: case(&mut dice, world.ttl),
            rules: AbsenceRules { scans: 3, window: 10 * MINUTE, max_share_percent: 10, max_per_day: 5 },
            absences: Absences::default(),
            record: Some(owned()),
            will: file,
            others: everybody.iter().skip(1).cloned().collect(),
            has_scanned: false,
            planted,
        };
        let mut present: BTreeSet<ClientName> = everybody.iter().cloned().collect();
        if dice.bool() {
            present.remove(&everybody[0]);
        }
        let steps = tells.then(Vec::new);
        let (truth, blind) = (Truth::default(), Blind::default());
        let (now, root, readable) = (at(0), 1, true);
        let (paused, calm, vanished) = (false, false, false);
        Life {
            dice,
            world,
            truth,
            keeper,
            now,
            everybody,
            present,
            file,
            root,
            readable,
            blind,
            paused,
            calm,
            vanished,
            steps,
        }
    }

    fn note(&mut self, step: impl FnOnce() -> String) {
        let now = self.now;
        if let Some(steps) = &mut self.steps {
            steps.push(format!("{now:.0} {}", step()));
        }
    }

    fn live(&mut self) -> Result<(), String> {
        for _ in 0..TRANSITIONS {
            if self.keeper.record.is_none() {
                break; // forgotten: whoever comes back under that name is somebody else
            }
            self.transition()?;
        }
        self.calm_down();
        for round in 0..CALM_ROUNDS {
            self.pass_time([MINUTE, 11 * MINUTE, DAY][round % 3]);
            self.scan()?;
            self.approve();
            self.pass()?;
            self.pass()?;
        }
        self.judge_end()
    }

    fn transition(&mut self) -> Result<(), String> {
        match self.dice.u32(0..100) {
            0..30 => return self.scan(),
            30..65 => return self.pass(),
            65..76 => {
                let by = [MINUTE, 11 * MINUTE, HOUR, 8 * HOUR, DAY, 2 * DAY];
                let by = by[self.dice.usize(0..by.len())];
                self.pass_time(by);
            }
            76..83 => self.files(),
            83..90 => self.hand(),
            90..92 => self.approve(),
            92..94 => self.restart(),
            94..95 => self.paused = !self.paused,
            95..96 => self.readable = !self.readable,
            96..97 => self.root += 1,
            _ => {
                let mut blind = || self.dice.u32(0..4) == 0;
                self.blind = Blind { records: blind(), site: blind(), catalog: blind() };
            }
        }
        Ok(())
    }

    fn pass_time(&mut self, by: Duration) {
        self.now = later(self.now, by);
    }

    /// Files go, come back, and change what they say.
    fn files(&mut self) {
        let subject = self.everybody[0].clone();
        let somebody = self.everybody[self.dice.usize(0..self.everybody.len())].clone();
        match self.dice.u32(0..10) {
            0..3 => drop(self.present.remove(&subject)),
            3..4 => drop(self.present.insert(subject)),
            4..5 => drop(self.present.remove(&somebody)),
            5..6 => drop(self.present.insert(somebody)),
            6..7 => self.present.clear(),
            7..8 => self.present.extend(self.everybody.iter().cloned()),
            _ => self.file = will(&mut self.dice),
        }
        let (present, file) = (self.present.clone(), self.file);
        self.note(|| format!("files: {present:?}, {file:?}"));
    }

    /// People at the providers; what they do after the end stays, because nobody looks any more.
    fn hand(&mut self) {
        if self.has_ended() {
            return;
        }
        // A restore in place of ours may bring our mark along.
        let whose = if self.dice.bool() && self.world.has_our_database() { Whose::Ours } else { Whose::Stranger };
        let id = self.world.fresh_id();
        match self.dice.u32(0..12) {
            0..5 => self.world.sessions = self.dice.i64(0..3),
            5..6 => self.world.remove_address(self.now, self.keeper.policy().drain),
            6..7 => self.world.site = None,
            7..8 if !self.asks_for_site() => {
                self.world.site.get_or_insert(SiteThere { id, whose: Whose::Stranger, suspended: false });
            }
            7..8 => {} // a site carries no mark at first: whose it is nobody could tell
            8..9 => {
                self.vanished = true;
                self.world.database = None;
            }
            9..10 => self.world.login = self.world.login.map(|open| !open),
            _ => self.world.database = Some(DatabaseThere { oid: id, whose, retained: self.dice.bool() }),
        }
        let world = self.world.clone();
        self.note(|| format!("a hand: {world:?}"));
    }

    fn asks_for_site(&self) -> bool {
        let intents = self.keeper.record.iter().flat_map(|owned| &owned.intents);
        intents.into_iter().any(|intent| intent.kind == ResourceKind::Site)
    }

    fn has_ended(&self) -> bool {
        let removal = self.keeper.record.as_ref().and_then(|owned| owned.removal.as_ref());
        removal.is_some_and(|removal| removal.finished_at.is_some())
    }

    fn approve(&mut self) {
        let Some(held) = self.keeper.absences.held.clone() else { return };
        if self.keeper.absences.approve(&held.hash).is_ok() {
            self.note(|| format!("approved: {:?}", held.names));
            self.truth.approve(held.names);
        }
    }

    /// Only what is durable survives.
    fn restart(&mut self) {
        self.note(|| "restart".into());
        let absences = serde_json::to_value(&self.keeper.absences).expect("writable");
        self.keeper.absences = serde_json::from_value(absences).expect("readable");
        let record = serde_json::to_value(&self.keeper.record).expect("writable");
        self.keeper.record = serde_json::from_value(record).expect("readable");
        self.keeper.has_scanned = false;
    }

    fn scan(&mut self) -> Result<(), String> {
        let took = Duration::from_secs(self.dice.u64(1..400));
        self.pass_time(took);
        if !self.readable {
            return Ok(());
        }
        let present = self.present.clone();
        self.keeper.admit(&present, self.file);
        if present.contains(&self.everybody[0]) {
            self.truth.leaving = None;
        }
        if !self.calm && self.dice.u32(0..10) == 0 {
            self.keeper.has_scanned = true;
            return Ok(()); // a file that nobody can attribute: no evidence at all
        }
        let (accepted, is_first, root) = (self.keeper.accepted(), !self.keeper.has_scanned, (1, self.root));
        self.truth.scanned(&accepted, &present, root, self.now);
        let gone = self.keeper.weigh(&present, root, self.now);
        self.note(|| format!("scan: {} of {} there, gone {gone:?}", present.len(), accepted.len()));
        if gone.is_empty() {
            return Ok(());
        }
        self.truth.judge_gone(&gone, accepted.len(), is_first, &self.keeper.rules, self.now)?;
        for name in &gone {
            if !self.calm && self.dice.u32(0..20) == 0 {
                self.restart(); // the evidence is used up, and not every removal began
                return Ok(());
            }
            if *name == self.everybody[0] && self.keeper.will.deletion == DeletionPolicy::Delete {
                self.truth.leaving = Some(Leaving { since: self.now, reclaim: self.keeper.will.reclaim });
            }
            self.keeper.begin(name, self.now);
        }
        Ok(())
    }

    fn pass(&mut self) -> Result<(), String> {
        let took = Duration::from_secs(self.dice.u64(1..90));
        self.pass_time(took);
        if self.paused {
            return Ok(());
        }
        let Some((mine, plan)) = self.keeper.decide(&self.world, self.blind, self.now) else { return Ok(()) };
        self.note(|| format!("pass:\n{plan}"));
        for action in &plan.actions {
            self.truth
                .judge(action, &self.world, self.keeper.policy(), self.now)
                .map_err(|why| format!("`{:?} {}` although {why}", action.op, action.resource))?;
        }
        let (calm, dice) = (self.calm, &mut self.dice);
        let mut thrown = Vec::new();
        let mut throw = || {
            let fate = if calm { Fate::Done } else { fate(dice) };
            thrown.push(fate);
            fate
        };
        let oid = self.world.database.as_ref().map(|there| there.oid);
        let ended = self.keeper.act(mine, &plan, &mut self.world, self.now, &mut throw);
        if plan.actions.iter().any(|action| matches!(action.step, Step::BackUp(_)))
            && thrown.last() == Some(&Fate::Done)
        {
            self.truth.backup = oid.map(|oid| (oid, self.now));
        }
        self.note(|| format!("thrown: {thrown:?}"));
        if ended.is_err() {
            self.restart();
        }
        Ok(())
    }

    fn calm_down(&mut self) {
        self.note(|| "calm".into());
        (self.calm, self.paused, self.readable, self.blind) = (true, false, true, Blind::default());
        self.world.sessions = 0;
    }

    /// Calm for weeks: all of it serves, or all of it is gone but for what is meant to stay, or a stranger is in the way.
    fn judge_end(&self) -> Result<(), String> {
        let (world, subject) = (&self.world, &self.everybody[0]);
        let offline = world.address.is_none() && world.mail.is_none() && !world.has_our_site();
        let kept = world.database.as_ref().is_some_and(|there| there.retained) && world.login != Some(true);
        let stranger = world.database.is_some() && !world.has_our_database();
        let good = match &self.keeper.record {
            None if self.keeper.will.deletion == DeletionPolicy::Retain => true,
            None => offline && !world.has_our_database() && world.login.is_none() && !world.group,
            Some(_) if self.present.contains(subject) => self.serves(),
            Some(_) if self.has_ended() => {
                offline && (kept || !world.has_our_database()) && self.keeper.will.reclaim == ReclaimPolicy::Retain
            }
            Some(owned) => offline && stranger && owned.removal.is_some(),
        };
        if good { Ok(()) } else { Err(format!("calm for weeks, and this is left: {world:?}")) }
    }

    fn serves(&self) -> bool {
        let world = &self.world;
        let site_blocked = world.site.is_some() && !world.has_our_site();
        let stranger = world.database.is_some() && !world.has_our_database();
        let database_blocked = stranger || (self.vanished && world.database.is_none());
        let site = site_blocked || world.site.as_ref().is_some_and(|site| !site.suspended);
        let ready = world.database.as_ref().is_some_and(|there| !there.retained) && world.login == Some(true);
        let runs = world.process_runs || site_blocked || database_blocked;
        site && runs && (database_blocked || ready) && world.address.is_some() && world.mail.is_some()
    }
}

fn will(dice: &mut fastrand::Rng) -> Will {
    Will {
        deletion: if dice.u32(0..8) == 0 { DeletionPolicy::Retain } else { DeletionPolicy::Delete },
        reclaim: if dice.u32(0..3) == 0 { ReclaimPolicy::Retain } else { ReclaimPolicy::Delete },
    }
}

fn fate(dice: &mut fastrand::Rng) -> Fate {
    match dice.u32(0..100) {
        0..4 => Fate::Refused,
        4..7 => Fate::NoAnswer,
        7..11 => Fate::AnswerLost,
        11..13 => Fate::CrashBefore,
        13..15 => Fate::CrashAfter,
        _ => Fate::Done,
    }
}

/// A host that makes sites and runs processes: the pieces inside a site go with it.
fn case(dice: &mut fastrand::Rng, ttl: Ttl) -> Case {
    let mut case = Case::converged();
    case.site_wanted().pieces = BTreeSet::from([Piece::Process]);
    case.dns_wanted().ttl = ttl;
    case.desired.certificate = false;
    case.desired.admin = None;
    case.observed.certificates = sitewright::resource::reading::Reading::Known(vec![]);
    debug_assert!(matches!(case.desired.dns, Wanted::Value(Some(_))));
    let mut pick = |all: [Duration; 3]| all[dice.usize(0..3)];
    case.policy = Policy {
        deletion_grace: pick([HOUR, DAY, 3 * DAY]),
        database_grace: pick([HOUR, 2 * DAY, 6 * DAY]),
        drain: Some(pick([Duration::ZERO, 20 * MINUTE, HOUR])).filter(|drain| !drain.is_zero()),
        ..Policy::default()
    };
    case
}

/// The memory of a client that serves.
fn owned() -> Owned {
    let mut owned = Case::converged().owned;
    owned.resources.retain(|known| known.kind != ResourceKind::Certificate);
    let mut records = 1..;
    for known in owned.resources.iter_mut().filter(|known| known.kind == ResourceKind::Record) {
        known.id = RemoteId::trusted(records.next().unwrap_or(0).to_string());
    }
    owned.releases.next_number = 2;
    owned.details.process = Some(Seen { value: ProcessState::Running, at: at(0) });
    owned
}

/// The first life of these that goes wrong, with its reason.
fn first_failure(seeds: std::ops::Range<u64>, planted: Option<Planted>) -> Option<(u64, String)> {
    let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get) as u64;
    let share = |thread: u64| {
        let mut seeds = seeds.clone().filter(move |seed| seed % threads == thread);
        seeds.find_map(|seed| Life::new(seed, planted, false).live().err().map(|why| (seed, why)))
    };
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..threads).map(|thread| scope.spawn(move || share(thread))).collect();
        all.into_iter().filter_map(|found| found.join().expect("no life panics")).min()
    })
}

/// One life again, with its steps.
fn tell(seed: u64) -> Result<(), String> {
    let mut life = Life::new(seed, None, true);
    let outcome = life.live();
    life.steps.iter().flatten().for_each(|step| println!("{step}"));
    outcome
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

/// A8, B40, C12, C13, C14, G1, G2, G9.
#[test]
fn nothing_is_taken_down_before_its_time_and_everything_comes_to_its_end() {
    if let Some(seed) = number("SITEWRIGHT_DELETION_SEED") {
        return tell(seed).expect("life");
    }
    let lives = number("SITEWRIGHT_DELETIONS").unwrap_or(LIVES);
    if let Some((seed, why)) = first_failure(0..lives, None) {
        drop(tell(seed));
        panic!("{why}; SITEWRIGHT_DELETION_SEED={seed} tells it again");
    }
}

#[test]
fn every_protection_that_is_left_out_is_noticed() {
    let missed: Vec<Planted> =
        Planted::ALL.into_iter().filter(|planted| first_failure(0..LIVES_TO_CATCH, Some(*planted)).is_none()).collect();
    assert!(missed.is_empty(), "nobody notices {missed:?}");
}
