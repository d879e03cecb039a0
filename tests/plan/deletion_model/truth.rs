//! What the model knows by itself, and what it forbids: told by the life, never by the code under test.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use sitewright::controller::absence::AbsenceRules;
use sitewright::plan::change::{Action, Step};
use sitewright::plan::draft::{Policy, later};
use sitewright::resource::name::ClientName;
use sitewright::resource::record::{RecordChange, RecordType};
use sitewright::resource::removal::ReclaimPolicy;
use sitewright::resource::site::Purpose;

use crate::deletion_model::world::World;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A client that goes, since when, and what its last good file said of its database.
#[derive(Debug, Clone, Copy)]
pub struct Leaving {
    pub since: Timestamp,
    pub reclaim: ReclaimPolicy,
}

#[derive(Debug, Default)]
pub struct Truth {
    /// Complete scans of one root, in one process or several, in which somebody was not there.
    absent: BTreeMap<ClientName, Vec<Timestamp>>,
    root: (u64, u64),
    /// Who went without approval, and when.
    begun: BTreeMap<ClientName, Timestamp>,
    /// The set that a person approved, until one of it comes back.
    approved: Option<BTreeSet<ClientName>>,
    pub leaving: Option<Leaving>,
    /// The last backup that was answered: of what, when.
    pub backup: Option<(u32, Timestamp)>,
}

impl Truth {
    pub fn approve(&mut self, names: BTreeSet<ClientName>) {
        self.approved = Some(names);
    }

    /// One complete scan.
    pub fn scanned(
        &mut self,
        accepted: &BTreeSet<ClientName>,
        present: &BTreeSet<ClientName>,
        root: (u64, u64),
        now: Timestamp,
    ) {
        if std::mem::replace(&mut self.root, root) != root {
            self.absent.clear();
        }
        self.absent.retain(|name, _| accepted.contains(name) && !present.contains(name));
        for name in accepted.difference(present) {
            self.absent.entry(name.clone()).or_default().push(now);
        }
        if self.approved.as_ref().is_some_and(|set| !set.is_disjoint(present)) {
            self.approved = None;
        }
    }

    /// Whether these may go: each with its evidence, all of them within the day's number or by approval.
    pub fn judge_gone(
        &mut self,
        gone: &BTreeSet<ClientName>,
        accepted: usize,
        is_first: bool,
        rules: &AbsenceRules,
        now: Timestamp,
    ) -> Result<(), String> {
        for name in gone {
            let scans = self.absent.remove(name).unwrap_or_default();
            let spans = scans.first().is_some_and(|first| later(*first, rules.window) <= now);
            if is_first || scans.len() < rules.scans as usize || !spans {
                return Err(format!("{name} goes after {} scans (a start's first: {is_first})", scans.len()));
            }
        }
        if self.approved.take_if(|set| set == gone).is_some() {
            return Ok(());
        }
        self.begun.retain(|name, at| later(*at, DAY) > now && !gone.contains(name));
        let share = accepted * rules.max_share_percent as usize / 100;
        let most = share.max(1).min(rules.max_per_day);
        if self.begun.len() + gone.len() > most || gone.len() == accepted {
            return Err(format!("{} go and {} went, of {accepted}; {most} a day", gone.len(), self.begun.len()));
        }
        self.begun.extend(gone.iter().map(|name| (name.clone(), now)));
        Ok(())
    }

    /// Whether an action may be taken in this world.
    pub fn judge(&self, action: &Action, world: &World, policy: &Policy, now: Timestamp) -> Result<(), String> {
        let broken = match (&action.step, self.leaving) {
            (Step::ChangeRecord { change: RecordChange::Delete { id, from }, .. }, leaving) => {
                let ours = if from.kind == RecordType::A { world.address } else { world.mail };
                rule(ours.is_some_and(|ours| ours.to_string() == id.as_str()), "the record is a stranger's")
                    .or(rule(leaving.is_some(), "its file is there"))
                    .or(leaving.filter(|_| from.kind != RecordType::A).and_then(|l| graced(l, policy, now)))
            }
            (step, None) => rule(!is_removal(step), "its file is there"),
            (Step::Drop { oid, .. }, Some(leaving)) => self.may_not_drop(*oid, leaving, world, policy, now),
            (step, Some(leaving)) => may_not_take_down(step, leaving, world, policy, now),
        };
        broken.or_else(|| touches_strangers(&action.step, world)).map_or(Ok(()), |why| Err(why.to_owned()))
    }

    fn may_not_drop(
        &self,
        oid: u32,
        leaving: Leaving,
        world: &World,
        policy: &Policy,
        now: Timestamp,
    ) -> Option<&'static str> {
        let there = world.database.as_ref().map(|there| there.oid);
        let fresh = |(of, at): (u32, Timestamp)| Some(of) == there && later(at, DAY) > now;
        rule(leaving.reclaim == ReclaimPolicy::Delete, "its policy keeps the database")
            .or(rule(!world.has_our_site(), "its site is there"))
            .or(rule(later(leaving.since, policy.database_grace) <= now, "the database's grace runs"))
            .or(rule(world.sessions == 0, "somebody is connected"))
            .or(rule(world.login != Some(true), "its login is open"))
            .or(rule(there == Some(oid), "it is another database"))
            .or(rule(self.backup.is_some_and(fresh), "no fresh backup of this very database"))
    }
}

/// The reason why not, unless it holds.
fn rule(holds: bool, why: &'static str) -> Option<&'static str> {
    (!holds).then_some(why)
}

fn graced(leaving: Leaving, policy: &Policy, now: Timestamp) -> Option<&'static str> {
    rule(later(leaving.since, policy.deletion_grace) <= now, "the grace runs")
}

fn offline(world: &World, now: Timestamp) -> Option<&'static str> {
    rule(world.address.is_none(), "an address record leads there")
        .or(rule(world.cached_until <= now, "caches lead there"))
}

fn is_removal(step: &Step) -> bool {
    matches!(
        step,
        Step::SuspendSite
            | Step::DeleteSite
            | Step::StartRun(Purpose::StopProcess | Purpose::DeleteProcess)
            | Step::CloseLogin(_)
            | Step::RetainDatabase(_)
            | Step::BackUp(_)
            | Step::Drop { .. }
            | Step::DropRoles(_)
    )
}

fn may_not_take_down(
    step: &Step,
    leaving: Leaving,
    world: &World,
    policy: &Policy,
    now: Timestamp,
) -> Option<&'static str> {
    let site_gone = || rule(!world.has_our_site(), "its site is there");
    let drops = || rule(leaving.reclaim == ReclaimPolicy::Delete, "its policy keeps the database");
    match step {
        Step::SuspendSite | Step::StartRun(Purpose::StopProcess) => offline(world, now),
        Step::StartRun(Purpose::DeleteProcess) => offline(world, now).or(graced(leaving, policy, now)),
        Step::DeleteSite => {
            offline(world, now).or(graced(leaving, policy, now)).or(rule(!world.process_runs, "its process runs"))
        }
        Step::CloseLogin(_) | Step::BackUp(_) => site_gone().or(drops()),
        Step::RetainDatabase(_) => site_gone(),
        Step::DropRoles(_) => site_gone().or(drops()).or(rule(world.database.is_none(), "the database is there")),
        Step::CreateSite | Step::ResumeSite | Step::Deploy { .. } | Step::StartRun(Purpose::StartProcess) => {
            Some("it serves again while its file is gone")
        }
        Step::ChangeRecord { .. } => Some("a record is made while its file is gone"),
        _ => None,
    }
}

/// A stranger's site or database of the same name is nobody's to touch.
fn touches_strangers(step: &Step, world: &World) -> Option<&'static str> {
    let site = world.site.is_none() || world.has_our_site();
    let database = world.database.is_none() || world.has_our_database();
    match step {
        Step::SuspendSite | Step::ResumeSite | Step::DeleteSite | Step::Deploy { .. } | Step::StartRun(_) => {
            rule(site, "the site is a stranger's")
        }
        Step::EnsureDatabase(_)
        | Step::CloseLogin(_)
        | Step::RetainDatabase(_)
        | Step::BackUp(_)
        | Step::Drop { .. } => rule(database, "the database is a stranger's"),
        _ => None,
    }
}
