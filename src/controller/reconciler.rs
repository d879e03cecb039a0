//! One pass for one client: wanted, found, planned, done, told. Read this first.
//!
//! 1. The client's record and its last good spec come from the store; a pause ends the pass here.
//! 2. Names, ports and secrets are given out and durable before anything uses them.
//! 3. The observer looks; what has ended since the last pass is folded into the memory.
//! 4. `plan` decides; the executor makes it true (or nobody does: `observe` stops here).
//! 5. Plan and outcomes become conditions and one sentence; the client comes back when it is time.
//!
//! A pass takes no input but the client's name and never sleeps: whatever must be waited for is state.

mod doubting;
mod telling;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;

use crate::controller::build_slots::BuildSlots;
use crate::controller::chronicle::{self, Chronicle};
use crate::controller::clock::Clock;
use crate::controller::executor::{Executor, Outcome};
use crate::controller::fleet::{Fleet, Mode};
use crate::controller::ledger::Ledger;
use crate::controller::meters::Meters;
use crate::controller::notices::Notices;
use crate::controller::observer::{Look, Observer, earlier};
use crate::controller::pass::in_pass;
use crate::controller::providers::Providers;
use crate::controller::records::Records;
use crate::controller::site_steps::leave_site;
use crate::controller::standing::PlanStanding;
use crate::controller::told::findings;
use crate::controller::wishes::Wishes;
use crate::controller::workbench::Workbench;
use crate::plan::change::Action;
use crate::plan::change::{Op, PREREQUISITES, Plan};
use crate::plan::draft::{Input, Policy, later};
use crate::plan::fights;
use crate::plan::health;
use crate::plan::pin;
use crate::plan::progress::{Told, absorb};
use crate::plan::{self};
use crate::provider::http::lane::{Lane, in_lane};
use crate::provider::http::leave::while_it_holds;
use crate::resource::desired::{Desired, DesiredState};
use crate::resource::kind::ResourceKind;
use crate::resource::name::{ClientName, HostName};
use crate::resource::observed::Observed;
use crate::resource::reading::Reading;
use crate::resource::secret::DigestKey;
use crate::resource::site::Piece;
use crate::status::Status;
use crate::status::diagnosis::tell;
use crate::store::{ClientRecord, EventKind, Store, Stored};

/// The longest pause between a write and the look that follows it; an installation that polls faster looks sooner.
const AFTER_WRITE: Duration = Duration::from_secs(1);

/// A client for which nothing but routine is due within this time has settled (decisions 29).
const SETTLED_AHEAD: Duration = Duration::from_secs(60);

/// When a client comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Not before this.
    At(Timestamp),
    /// Nothing moves; the next routine look is at this time.
    Settled(Timestamp),
    /// Only when somebody asks: it is gone, paused, or dormant.
    OnDemand,
}

impl Next {
    /// When a daemon looks again; `None`: when somebody asks.
    pub fn in_a_daemon(self) -> Option<Timestamp> {
        match self {
            Next::At(at) | Next::Settled(at) => Some(at),
            Next::OnDemand => None,
        }
    }

    /// When a single run looks again: routine is left to the next run, or a large fleet would never have settled.
    pub fn in_a_single_run(self) -> Option<Timestamp> {
        match self {
            Next::At(at) => Some(at),
            Next::Settled(_) | Next::OnDemand => None,
        }
    }
}

/// Makes passes.
pub struct Reconciler {
    pub(in crate::controller) store: Arc<dyn Store>,
    pub(in crate::controller) records: Arc<Records>,
    pub(in crate::controller) chronicle: Chronicle,
    pub(in crate::controller) providers: Providers,
    pub(in crate::controller) observer: Observer,
    pub(in crate::controller) clock: Clock,
    pub(in crate::controller) fleet: Arc<Fleet>,
    pub(in crate::controller) wishes: Wishes,
    pub(in crate::controller) policy: Policy,
    pub(in crate::controller) digests: DigestKey,
    pub(in crate::controller) backups: PathBuf,
    pub(in crate::controller) resync: Duration,
    pub(in crate::controller) cycle: Mutex<Timestamp>,
    pub(in crate::controller) written: Mutex<BTreeMap<ClientName, Timestamp>>,
    pub(in crate::controller) slots: BuildSlots,
    pub(in crate::controller) due: Mutex<BTreeMap<ClientName, Timestamp>>,
    pub(in crate::controller) meters: Arc<Meters>,
    pub(in crate::controller) notices: Arc<Notices>,
}

/// What a pass came to, also for `plan` on the command line.
pub struct Preview {
    /// Wanted.
    pub desired: Arc<Desired>,
    /// Decided.
    pub plan: Plan,
}

/// What a look came to.
struct Looked {
    /// Decided.
    plan: Plan,
    /// What the deploy under way, or one that just ended, printed so far; masked.
    log: Option<String>,
}

impl Reconciler {
    /// One pass. Fails only when the state cannot be read or written: then nothing was sent.
    /// Gives how urgent it was.
    pub async fn reconcile(&self, name: &ClientName) -> Stored<(Lane, Next)> {
        let Some(record) = self.store.client(name).await? else { return Ok((Lane::Drift, Next::OnDemand)) };
        let lane = lane_of(&record);
        // On the heap: a pass is the largest future there is, and wrappers would move it about.
        Ok((lane, in_pass(name, in_lane(lane, Box::pin(self.pass(record)))).await?))
    }

    async fn pass(&self, record: ClientRecord) -> Stored<Next> {
        if record.owned.removal.as_ref().is_some_and(|removal| removal.finished_at.is_some()) {
            return Ok(Next::OnDemand);
        }
        if let Some(reason) = self.fleet.pause_in_force(&*self.store, &record, self.clock.now()).await? {
            return self.tell_paused(record, reason).await;
        }
        let Some(spec) = self.fleet.spec(&record.name) else {
            return self.tell_unreadable(record).await;
        };
        let Some(mut record) = self.look_back(record).await? else {
            return Ok(Next::At(later(self.clock.now(), self.policy.deploy_poll)));
        };
        let standing = PlanStanding::new(self.store.clone(), self.fleet.clone(), self.clock, &record);
        let mut seen = record.clone();
        let generation = record.generation;
        let mut told = Vec::new();
        let fresh = self.fresh(&record);
        let desired = self.wishes.desired(&spec, &mut record, &self.observer, fresh, &mut told).await?;
        if record.owned.allocation != seen.owned.allocation || record.secrets != seen.secrets {
            self.records.save(&mut seen, &mut record).await?; // durable before use
        }
        let Looked { mut plan, log } = self.look_and_plan(&desired, &mut record, &mut told).await;
        self.hold_back(&record, &mut plan).await?;
        if self.is_executed(&record.name, &plan) && record != seen {
            self.records.save(&mut seen, &mut record).await?; // what was seen is durable before anything follows from it
        }
        let execution = Box::pin(self.execute(&desired, &plan, &mut seen, &mut record));
        let outcomes = while_it_holds(Arc::new(standing), execution).await;
        if record.reached_generation == generation {
            let is_done = |action: &&Action| outcomes.iter().any(|o| o.result.is_ok() && o.is_of(action));
            let repaired: Vec<&Action> = plan.actions.iter().filter(is_done).collect();
            fights::note(&mut record.owned, &repaired, self.clock.now());
        }
        // What was accepted meanwhile is planned by the next pass.
        record.observed_generation = generation;
        if !self.is_executed(&record.name, &plan) && plan.waiting.iter().all(|wait| wait.reason == PREREQUISITES) {
            record.reached_generation = generation;
        }
        let looked = Looked { plan, log };
        self.finish(seen, record, &desired, &looked, &outcomes, told).await
    }

    /// What a pass would do; writes nothing anywhere.
    pub async fn preview(&self, name: &ClientName) -> Stored<Option<Preview>> {
        let (Some(record), Some(spec)) = (self.store.client(name).await?, self.fleet.spec(name)) else {
            return Ok(None);
        };
        let Some(mut record) = self.look_back(record).await? else { return Ok(None) };
        let mut told = Vec::new();
        let fresh = self.fresh(&record);
        let desired = self.wishes.desired(&spec, &mut record, &self.observer, fresh, &mut told).await?;
        let Looked { mut plan, .. } = self.look_and_plan(&desired, &mut record, &mut told).await;
        self.hold_back(&record, &mut plan).await?;
        if let Some(site) = desired.site.value() {
            self.slots.free(&site.server, &site.domain); // a look builds nothing
        }
        Ok(Some(Preview { desired, plan }))
    }

    async fn look_and_plan(&self, desired: &Desired, record: &mut ClientRecord, told: &mut Vec<Told>) -> Looked {
        let fresh = self.fresh(record);
        let mut observed = self.observer.observe(Look { desired, owned: &mut record.owned, fresh }).await;
        told.extend(health::keep(&mut record.owned, desired.health.interval)); // before what ended forgets the look
        told.extend(absorb(&mut record.owned, desired, &observed, &self.policy, self.clock.now()));
        told.extend(pin::keep(&mut record.owned, desired, self.clock.now()));
        let mut plan = self.plan(desired, &observed, record);
        if let Err(builds) = self.take_slot(desired, &observed, record, &plan) {
            observed.builds_elsewhere = Reading::Known(builds);
            plan = self.plan(desired, &observed, record);
        }
        Looked { plan, log: observed.deploy_log.known().map(|log| log.text.clone()) }
    }

    fn plan(&self, desired: &Desired, observed: &Observed, record: &ClientRecord) -> Plan {
        let now = self.clock.now();
        plan::plan(Input { desired, observed, owned: &record.owned, policy: &self.policy, now })
    }

    /// Two passes that see the same free slot at once must not both take it. Gives who builds when none is free.
    fn take_slot(
        &self,
        desired: &Desired,
        observed: &Observed,
        record: &ClientRecord,
        plan: &Plan,
    ) -> Result<(), BTreeSet<HostName>> {
        let Some(site) = desired.site.value() else { return Ok(()) };
        let deploys = plan.actions.iter().any(|action| action.op == Op::Deploy);
        if !deploys {
            if record.owned.releases.in_flight.is_none() {
                self.slots.free(&site.server, &site.domain);
            }
            return Ok(());
        }
        let listed = observed.builds_elsewhere.known().cloned().unwrap_or_default();
        self.slots.take(&site.server, &site.domain, &listed, self.policy.build_slots)
    }

    async fn execute(
        &self,
        desired: &Desired,
        plan: &Plan,
        seen: &mut ClientRecord,
        record: &mut ClientRecord,
    ) -> Vec<Outcome> {
        if !self.is_executed(&record.name, plan) {
            return Vec::new();
        }
        let ledger = Ledger::new(&self.records, self.clock, seen.clone(), record.clone());
        let bench = Workbench {
            providers: &self.providers,
            ledger: &ledger,
            clock: self.clock,
            desired,
            policy: &self.policy,
            backups: &self.backups,
            servers: &self.observer.servers,
            digests: &self.digests,
            chronicle: &self.chronicle,
        };
        let executor = Executor { bench };
        let outcomes = executor.execute(plan).await;
        (*seen, *record) = ledger.into_parts();
        self.written.lock().insert(record.name.clone(), self.clock.now());
        outcomes
    }

    fn is_executed(&self, name: &ClientName, plan: &Plan) -> bool {
        !plan.actions.is_empty() && self.fleet.mode(name) == Mode::Enforce
    }

    /// How old a shared listing may be for this client: a converged one lives on the cycle's, one that moves on recent ones.
    fn fresh(&self, record: &ClientRecord) -> Timestamp {
        let cycle = *self.cycle.lock();
        let written = self.written.lock().get(&record.name).copied().unwrap_or(Timestamp::MIN);
        if record.status.is_ready() && record.owned.removal.is_none() && record.owned.intents.is_empty() {
            return cycle.max(written);
        }
        earlier(self.clock.now(), self.policy.deploy_poll).max(written).max(cycle)
    }

    async fn finish(
        &self,
        mut seen: ClientRecord,
        mut record: ClientRecord,
        desired: &Desired,
        Looked { plan, log }: &Looked,
        outcomes: &[Outcome],
        told: Vec<Told>,
    ) -> Stored<Next> {
        let now = self.clock.now();
        if record.owned.removal.is_some() && plan.is_converged() && self.is_gone(&record) {
            return self.end_removal(record).await;
        }
        let next = self.next_pass(&record, desired, plan, outcomes, now);
        let mut findings = findings(plan, outcomes);
        findings.push(self.spec_finding(&record.name));
        let situation = self.situation(&record, desired, next.in_a_daemon().unwrap_or(now));
        let status = tell(&record.status, &findings, &situation, now);
        self.tell_events(&record, &status, outcomes, told).await?;
        record.status = status;
        self.records.save(&mut seen, &mut record).await?;
        if record.reached_generation == record.generation {
            self.meters.reached(&record, now);
        }
        if let Some(spec) = self.fleet.spec(&record.name) {
            let domain = desired.site.value().map(|site| &site.domain);
            self.notices.see(&record, &spec, domain).await?;
        }
        self.chronicle.note_releases(&record, &chronicle::Seen { desired, plan, log: log.as_deref() }).await?;
        Ok(next)
    }

    fn is_gone(&self, record: &ClientRecord) -> bool {
        record.owned.first(ResourceKind::Site).is_none()
            || record.owned.removal.as_ref().is_some_and(|r| r.site_gone_at.is_some())
    }

    /// Everything was done. What is meant to stay (a retained database, with its secrets) keeps the record; else it is forgotten.
    async fn end_removal(&self, mut record: ClientRecord) -> Stored<Next> {
        let _turn = self.records.turn().await;
        let stored = self.store.client(&record.name).await?;
        if stored.is_none_or(|stored| stored.owned.removal.is_none()) {
            return Ok(Next::At(self.clock.now())); // the file came back in this very moment
        }
        let keeps = record.owned.first(ResourceKind::Database).is_some();
        let sentence = if keeps {
            "taken down; its database is kept, with its login closed"
        } else {
            "taken down; nothing of it is left"
        };
        self.event(Some(&record.name), EventKind::Normal, "Removed", sentence).await?;
        self.store.free_ports(&record.owned.mark.uid).await?;
        if !keeps {
            self.store.forget(&record.name).await?;
            self.notices.forget(&record.name).await?;
            self.fleet.forget(&record.name);
            self.wishes.forget(&record.name);
            return Ok(Next::OnDemand);
        }
        let now = self.clock.now();
        record.owned.allocation.former_port = record.owned.allocation.port.take().map(|(_, port)| port);
        record.owned.details = crate::resource::owned::Details::default();
        record.owned.releases.live = None;
        leave_site(&mut record);
        record.owned.intents.clear(); // whatever they stood for was looked for before this end
        if let Some(removal) = record.owned.removal.as_mut() {
            removal.finished_at = Some(now);
        }
        record.status = Status::pending();
        self.store.save(&record).await?;
        self.fleet.forget(&record.name);
        Ok(Next::OnDemand)
    }

    /// When the client comes back, and when because something moves.
    fn next_pass(
        &self,
        record: &ClientRecord,
        desired: &Desired,
        plan: &Plan,
        outcomes: &[Outcome],
        now: Timestamp,
    ) -> Next {
        let resync = later(now, self.fleet.interval(&record.name).unwrap_or(self.resync));
        let written = outcomes.iter().any(|o| o.result.is_ok() && o.op != Op::Adopt);
        let adopted = outcomes.iter().any(|o| o.result.is_ok() && o.op == Op::Adopt);
        let failed = record.owned.attempts.values().map(|attempt| attempt.next_at).filter(|at| *at > now).min();
        let moves = plan.waiting.iter().filter(|wait| wait.reason != PREREQUISITES);
        let waits = moves.map(|w| w.until.unwrap_or_else(|| later(now, self.policy.deploy_poll))).min();
        // A look that is due and was not made has its reason (the client is offline, say): nobody comes back for it at once.
        let probe = record.owned.details.probe.as_ref().map(|seen| later(seen.at, desired.health.interval));
        let probe = probe.filter(|at| *at > now);
        let all_good = outcomes.iter().all(|o| o.result.is_ok());
        let cut_short = all_good && outcomes.len() < plan.actions.len() && self.is_executed(&record.name, plan);
        let soon = if adopted {
            Some(now)
        } else if written || cut_short {
            Some(later(now, AFTER_WRITE.min(self.policy.deploy_poll)))
        } else {
            None
        };
        let routine = probe.map_or(resync, |probe| probe.min(resync));
        let unread = wants_look(record, desired).then(|| later(now, self.policy.deploy_poll));
        let moving = [failed, waits, soon, unread].into_iter().flatten().min();
        let next = moving.map_or(routine, |at| at.min(routine));
        // Whatever a plan says, a pass that changed nothing is not made again in the same moment.
        let next = if adopted { next } else { next.max(later(now, AFTER_WRITE.min(self.policy.deploy_poll))) };
        self.due.lock().insert(record.name.clone(), next);
        match moving {
            Some(at) if at <= later(now, SETTLED_AHEAD) => Next::At(next),
            _ => Next::Settled(next),
        }
    }
}

/// How urgent a client's calls are: until what a person wants has been reached, it is his; then it is drift.
pub(in crate::controller) fn lane_of(record: &ClientRecord) -> Lane {
    if record.owned.removal.is_some() {
        Lane::Safety
    } else if record.reached_generation < record.generation {
        Lane::People
    } else {
        Lane::Drift
    }
}

/// Whether this pass dropped what was known of the virtual host (a certificate came, say): that is looked at soon, not when
/// the routine comes round (decisions 19).
fn wants_look(record: &ClientRecord, desired: &Desired) -> bool {
    let has = desired.site.value().is_some_and(|site| site.pieces.contains(&Piece::VirtualHost));
    let serves = desired.state == DesiredState::Active && record.owned.removal.is_none();
    has && serves && record.owned.releases.live.is_some() && record.owned.details.vhost.is_none()
}
