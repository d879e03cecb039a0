//! The thinnest controller around the decisions: scans, passes, what is durable, and steps that fail as steps do.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use sitewright::controller::absence::{AbsenceRules, Absences, Presence};
use sitewright::plan::change::{Action, Plan, Step};
use sitewright::plan::dns::key_text;
use sitewright::plan::draft::{Input, Policy, later};
use sitewright::plan::progress::absorb;
use sitewright::resource::kind::ResourceKind;
use sitewright::resource::name::{ClientName, RemoteId};
use sitewright::resource::observed::Observed;
use sitewright::resource::owned::{Attempt, Intent, MarkState, Owned, OwnedResource, ProcessState, Run};
use sitewright::resource::reading::Seen;
use sitewright::resource::record::{Record, RecordChange, RecordType};
use sitewright::resource::release::Released;
use sitewright::resource::removal::{Backup, DeletionPolicy, ReclaimPolicy, Removal};
use sitewright::resource::site::Purpose;

use crate::case::{Case, fingerprint, zone};
use crate::deletion_model::planted::Planted;
use crate::deletion_model::world::{Blind, DatabaseThere, SiteThere, Whose, World};

/// How long a failed step is held back.
const RETRY: Duration = Duration::from_secs(5);

/// What a client's file says of its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Will {
    pub deletion: DeletionPolicy,
    pub reclaim: ReclaimPolicy,
}

/// What becomes of one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Done,
    /// Nothing happened, and the answer says so.
    Refused,
    /// Nothing happened, and nobody says so.
    NoAnswer,
    /// It happened, and nobody says so.
    AnswerLost,
    CrashBefore,
    CrashAfter,
}

impl Fate {
    fn happens(self) -> bool {
        matches!(self, Fate::Done | Fate::AnswerLost | Fate::CrashAfter)
    }

    fn is_crash(self) -> bool {
        matches!(self, Fate::CrashBefore | Fate::CrashAfter)
    }
}

/// The process died.
pub struct Crash;

/// The controller: all of it is durable but `has_scanned`.
pub struct Keeper {
    pub case: Case,
    pub rules: AbsenceRules,
    pub absences: Absences,
    /// The client's memory; `None`: forgotten.
    pub record: Option<Owned>,
    pub will: Will,
    /// Other clients that are not on their way out.
    pub others: BTreeSet<ClientName>,
    pub has_scanned: bool,
    pub planted: Option<Planted>,
}

impl Keeper {
    pub fn subject(&self) -> ClientName {
        self.case.desired.client.clone()
    }

    pub fn policy(&self) -> &Policy {
        &self.case.policy
    }

    /// Everybody whose absence would count.
    pub fn accepted(&self) -> BTreeSet<ClientName> {
        let lives = self.record.as_ref().is_some_and(|owned| owned.removal.is_none());
        self.others.iter().cloned().chain(lives.then(|| self.subject())).collect()
    }

    /// Takes files in: whoever is there is not on its way out.
    pub fn admit(&mut self, present: &BTreeSet<ClientName>, will: Will) {
        let subject = self.subject();
        self.others.extend(present.iter().filter(|name| **name != subject).cloned());
        if let Some(owned) = self.record.as_mut().filter(|_| present.contains(&subject)) {
            if self.planted != Some(Planted::KeepsGoing) && owned.removal.take().is_some() {
                owned.attempts.clear();
            }
            self.will = will;
        }
    }

    /// Weighs absences; gives who may go. Their removal is a second write: see [`Keeper::begin`].
    pub fn weigh(&mut self, present: &BTreeSet<ClientName>, root: (u64, u64), now: Timestamp) -> BTreeSet<ClientName> {
        let accepted = self.accepted();
        let first = !self.has_scanned;
        self.has_scanned = true;
        let mut scan = Presence { accepted: &accepted, present, root, first, now };
        let mut rules = self.rules.clone();
        Planted::tamper_with_scan(self.planted, &mut scan, &mut rules, &mut self.absences);
        self.absences.weigh(&scan, &rules)
    }

    pub fn begin(&mut self, name: &ClientName, now: Timestamp) {
        if *name != self.subject() {
            self.others.remove(name);
        } else if self.will.deletion == DeletionPolicy::Retain {
            self.record = None;
        } else if let Some(owned) = self.record.as_mut() {
            let reclaim = match self.planted {
                Some(Planted::IgnoresReclaimPolicy) => ReclaimPolicy::Delete,
                _ => self.will.reclaim,
            };
            owned.removal = Some(Removal::begun(now, reclaim));
            owned.attempts.clear();
        }
    }

    /// The first half of a pass: look, fold in, decide. `None`: there is nothing to do for this client any more.
    pub fn decide(&self, world: &World, blind: Blind, now: Timestamp) -> Option<(Owned, Plan)> {
        let mut mine = self.record.clone()?;
        if mine.removal.as_ref().is_some_and(|removal| removal.finished_at.is_some()) {
            return None;
        }
        let mut observed: Observed = world.look(&self.case, blind);
        let mut policy = self.policy().clone();
        Planted::tamper_with_look(self.planted, &mut observed, &mut policy, &mut mine, now);
        absorb(&mut mine, &self.case.desired, &observed, &policy, now);
        let input = Input { desired: &self.case.desired, observed: &observed, owned: &mine, policy: &policy, now };
        Some((mine.clone(), sitewright::plan::plan(input)))
    }

    /// The second half: do, remember, end.
    pub fn act(
        &mut self,
        mut mine: Owned,
        plan: &Plan,
        world: &mut World,
        now: Timestamp,
        throw: &mut dyn FnMut() -> Fate,
    ) -> Result<(), Crash> {
        world.ended.retain(|purpose| mine.runs.contains_key(purpose)); // what was read is read
        if !plan.actions.is_empty() {
            self.record = Some(mine.clone());
        }
        let mut broken = BTreeSet::new();
        for action in &plan.actions {
            let track = track_of(action);
            if broken.contains(track) {
                continue;
            }
            let fate = throw();
            let done = self.step(action, &mut mine, world, now, fate);
            if fate.is_crash() {
                return Err(Crash);
            }
            self.remember(action.resource.kind, done, &mut mine, now);
            if !done && track != "records" {
                broken.insert(track);
            }
        }
        self.record = Some(mine);
        self.end(plan, now);
        Ok(())
    }

    fn remember(&mut self, kind: ResourceKind, done: bool, mine: &mut Owned, now: Timestamp) {
        if done {
            mine.attempts.remove(&kind);
        } else {
            let (reason, message) = ("Failed".to_owned(), "thrown".to_owned());
            let attempt = Attempt { failures: 1, next_at: later(now, RETRY), reason, message, permanent: false };
            mine.attempts.insert(kind, attempt);
        }
        self.record = Some(mine.clone());
    }

    /// Everything was done: what is meant to stay keeps the memory, else it goes.
    fn end(&mut self, plan: &Plan, now: Timestamp) {
        let Some(owned) = self.record.as_mut() else { return };
        let has_site = owned.first(ResourceKind::Site).is_some();
        let keeps = owned.first(ResourceKind::Database).is_some();
        let Some(removal) = owned.removal.as_mut().filter(|_| plan.is_converged()) else { return };
        if has_site && removal.site_gone_at.is_none() {
            return;
        }
        if !keeps {
            self.record = None;
            return;
        }
        removal.finished_at = Some(now);
        owned.details = sitewright::resource::owned::Details::default();
        owned.releases.live = None;
        owned.intents.clear();
    }

    /// One step with its intent before it and its outcome after it, as the executor keeps them. Gives whether it is known
    /// to be done.
    fn step(&mut self, action: &Action, mine: &mut Owned, world: &mut World, now: Timestamp, fate: Fate) -> bool {
        if let Some(key) = intent_key(action) {
            match mine.intents.iter_mut().find(|i| i.kind == action.resource.kind && i.key == key) {
                Some(intent) => intent.at = now,
                None => mine.intents.push(Intent { id: 1, kind: action.resource.kind, key, at: now, sent: 1 }),
            }
        }
        if let (Step::ChangeRecord { change: RecordChange::Delete { from, .. }, .. }, Some(removal)) =
            (&action.step, mine.removal.as_mut())
        {
            note_deletion(removal, from);
        }
        if let Step::StartRun(Purpose::StopProcess | Purpose::DeleteProcess) = action.step {
            mine.details.process = Some(Seen { value: ProcessState::Ending, at: now });
        }
        if let Step::Drop { .. } | Step::DropRoles(_) = action.step {
            let of_database =
                |known: &&mut OwnedResource| matches!(known.kind, ResourceKind::Database | ResourceKind::Role);
            mine.resources.iter_mut().filter(of_database).for_each(|known| known.mark = MarkState::Pending);
        }
        self.record = Some(mine.clone());
        let id = fate.happens().then(|| effect(&action.step, world, self.case.policy.drain, now)).flatten();
        if fate == Fate::Done {
            outcome(action, id, mine, now);
        } else if fate == Fate::Refused
            && let Some(key) = intent_key(action)
        {
            mine.intents.retain(|intent| !(intent.kind == action.resource.kind && intent.key == key));
        }
        fate == Fate::Done
    }
}

fn note_deletion(removal: &mut Removal, from: &Record) {
    removal.removed_records.insert(from.clone());
    if from.kind.is_address() {
        removal.ttl_seconds = removal.ttl_seconds.max(from.ttl.effective_seconds());
    }
}

fn track_of(action: &Action) -> &'static str {
    match action.resource.kind {
        ResourceKind::Database | ResourceKind::Role => "database",
        ResourceKind::Record => "records",
        _ => "site",
    }
}

fn intent_key(action: &Action) -> Option<String> {
    match &action.step {
        Step::CreateSite | Step::EnsureDatabase(_) | Step::EnsureLogin(_) => Some(action.resource.name.clone()),
        Step::ChangeRecord { change: RecordChange::Create { to }, .. } => Some(key_text(&zone(), to)),
        _ => None,
    }
}

/// What a step does to the world; gives the id of what it made.
fn effect(step: &Step, world: &mut World, drain: Option<Duration>, now: Timestamp) -> Option<u32> {
    match step {
        Step::ChangeRecord { change: RecordChange::Create { to }, .. } => {
            let id = world.fresh_id();
            *(if to.kind == RecordType::A { &mut world.address } else { &mut world.mail }) = Some(id);
            return Some(id);
        }
        Step::ChangeRecord { change: RecordChange::Delete { from, .. }, .. } => match from.kind {
            RecordType::A => world.remove_address(now, drain),
            _ => world.mail = None,
        },
        Step::CreateSite => {
            let id = world.fresh_id();
            world.site = Some(SiteThere { id, whose: Whose::Ours, suspended: false });
            return Some(id);
        }
        Step::SuspendSite | Step::ResumeSite => {
            if let Some(site) = world.site.as_mut() {
                site.suspended = matches!(step, Step::SuspendSite);
            }
        }
        Step::DeleteSite => world.site = None,
        Step::StartRun(purpose) => {
            world.process_runs = *purpose == Purpose::StartProcess;
            world.ended.insert(*purpose);
        }
        Step::Deploy { .. } => world.process_runs = true,
        Step::EnsureDatabase(_) => {
            let oid = world.fresh_id();
            let fresh = DatabaseThere { oid, whose: Whose::Ours, retained: false };
            world.database.get_or_insert(fresh).retained = false;
            world.group = true;
        }
        Step::EnsureLogin(_) => world.login = Some(true),
        Step::CloseLogin(_) => world.login = world.login.map(|_| false),
        Step::RetainDatabase(_) => {
            world.login = world.login.map(|_| false);
            world.database.iter_mut().for_each(|there| there.retained = true);
        }
        Step::BackUp(_) => return world.database.as_ref().map(|there| there.oid),
        Step::Drop { .. } | Step::DropRoles(_) => {
            world.database = None;
            (world.group, world.login) = (false, None);
        }
        _ => {}
    }
    None
}

/// What is remembered of a step that was answered.
fn outcome(action: &Action, id: Option<u32>, mine: &mut Owned, now: Timestamp) {
    let kind = action.resource.kind;
    let remote = |id: u32| RemoteId::trusted(id.to_string());
    match &action.step {
        Step::Adopt { id, mark } => {
            if kind == ResourceKind::Site && mine.intent(kind, &action.resource.name).is_some() {
                begin_site(mine);
            }
            own(mine, action, id.clone(), *mark, now);
        }
        Step::CreateSite => {
            own(mine, action, remote(id.unwrap_or_default()), MarkState::Pending, now);
            begin_site(mine);
        }
        Step::ChangeRecord { change: RecordChange::Create { .. }, .. } => {
            own(mine, action, remote(id.unwrap_or_default()), MarkState::Written, now);
        }
        Step::ChangeRecord { change: RecordChange::Delete { id, .. }, .. } => {
            mine.resources.retain(|known| !(known.kind == kind && known.id == *id));
        }
        Step::EnsureDatabase(_) | Step::EnsureLogin(_) => {
            own(mine, action, RemoteId::trusted(action.resource.name.as_str()), MarkState::Written, now);
        }
        Step::StartRun(purpose) => {
            mine.runs.insert(*purpose, Run { id: RemoteId::trusted("run"), started_at: now });
        }
        Step::Deploy { .. } => {
            let number = mine.releases.next_number;
            mine.releases.next_number += 1;
            mine.releases.live =
                Some(Released { number, fingerprint: fingerprint(), started_at: now, finished_at: now });
            mine.details.process = Some(Seen { value: ProcessState::Running, at: now });
        }
        Step::BackUp(_) => {
            if let (Some(removal), Some(oid)) = (mine.removal.as_mut(), id) {
                let (file, sha256) = ("client_acme.dump".to_owned(), "00".to_owned());
                removal.backup = Some(Backup { file, sha256, bytes: 1, verified_at: now, oid });
            }
        }
        Step::Drop { .. } | Step::DropRoles(_) => {
            mine.resources.retain(|known| !matches!(known.kind, ResourceKind::Database | ResourceKind::Role));
        }
        _ => {}
    }
}

fn begin_site(mine: &mut Owned) {
    mine.details.process = None;
    mine.runs.clear();
    mine.releases.live = None;
}

fn own(mine: &mut Owned, action: &Action, id: RemoteId, mark: MarkState, now: Timestamp) {
    let resource = &action.resource;
    if let Some(key) = intent_key(action).or_else(|| Some(resource.name.clone())) {
        mine.intents.retain(|intent| !(intent.kind == resource.kind && intent.key == key));
    }
    mine.resources.retain(|known| !(known.kind == resource.kind && known.name == resource.name));
    let (kind, provider, name) = (resource.kind, resource.provider.clone(), resource.name.clone());
    mine.resources.push(OwnedResource { kind, provider, name, id, mark, since: now });
}
