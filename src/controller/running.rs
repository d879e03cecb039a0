//! The daemon: scans, requests, timers and workers around one queue, and an orderly stop.

mod removals;
mod scans;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use jiff::Timestamp;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::controller::accounts::{Accounts, Asked};
use crate::controller::build_slots::BuildSlots;
use crate::controller::chronicle::Chronicle;
use crate::controller::clock::Clock;
use crate::controller::doubts::Plausibility;
use crate::controller::fleet::Fleet;
use crate::controller::lifetime;
use crate::controller::meters::{Ended, Meters};
use crate::controller::notices::{Channels, Notices};
use crate::controller::observer::Observer;
use crate::controller::options::Options;
use crate::controller::providers::Providers;
use crate::controller::queue::{Take, WorkQueue};
use crate::controller::reconciler::{Next, Preview, Reconciler, lane_of};
use crate::controller::records::Records;
use crate::controller::requests::{Effect, take};
use crate::controller::servers::Servers;
use crate::controller::watcher::Scan;
use crate::controller::wishes::Wishes;
use crate::provider::http::lane::Lane;
use crate::provider::tally::Answers;
use crate::resource::kind::ResourceKind;
use crate::resource::name::{ClientName, HostName};
use crate::resource::secret::DigestKey;
use crate::store::{EventKind, Store, Stored};

/// How often a single run asks whether everybody has settled.
const SETTLED_LOOK: Duration = Duration::from_millis(20);
/// A pass that cannot use the state tries again after this long.
const STATE_RETRY: Duration = Duration::from_secs(5);
/// A pass that panicked is made again after this long: it may well panic again.
const PANIC_RETRY: Duration = Duration::from_secs(60);
/// One of this many workers is kept free for clients that somebody waits for.
const URGENT_WORKERS_DIVISOR: usize = 4;
/// The longest a stop waits for passes under way.
const STOP_PATIENCE: Duration = Duration::from_secs(30);
/// The document of the limits the daemon keeps, so that commands beside it tell its times and not their own.
pub const LIMITS: &str = "limits";

/// What commands need of the daemon's settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// From offline to the site's removal.
    pub grace: Duration,
    /// From offline to the database's drop.
    pub database_grace: Duration,
    /// Completes domains without a dot.
    pub base_domain: Option<String>,
}

/// A controller over one installation.
pub struct Controller {
    options: Options,
    store: Arc<dyn Store>,
    clock: Clock,
    accounts: Accounts,
    fleet: Arc<Fleet>,
    queue: Arc<WorkQueue>,
    reconciler: Arc<Reconciler>,
    scan_now: Arc<Notify>,
    /// One scan at a time: an older look at a file must not come after a newer one.
    scanning: tokio::sync::Mutex<()>,
    scanned: Mutex<Option<Scan>>,
    /// Whether a complete scan of this process was weighed: what earlier ones saw is never completed by the first.
    weighed: Mutex<bool>,
    files_rest_in: Mutex<Option<Duration>>,
    beats: watch::Sender<Option<Instant>>,
    meters: Arc<Meters>,
}

impl Controller {
    /// Puts the parts together. Nothing is read or sent yet.
    pub fn new(
        options: Options,
        providers: Providers,
        store: Arc<dyn Store>,
        digests: DigestKey,
        clock: Clock,
    ) -> Self {
        let fleet = Arc::new(Fleet::new(options.clone()));
        let servers = Servers::new(store.clone());
        let records = Arc::new(Records::new(store.clone()));
        let plausibility = Plausibility::new(store.clone(), records.clone(), clock, options.policy.settle);
        let observer = Observer::new(
            providers.clone(),
            clock,
            options.policy.clone(),
            (options.audit_period, options.resync),
            digests.clone(),
            servers,
            options.known_secrets.clone(),
            plausibility,
        );
        let meters = Arc::new(Meters::new(options.workers, clock.now()));
        let accounts = Accounts::new(providers.budgets.clone(), providers.tally.clone(), store.clone(), clock);
        let wishes = Wishes::new(options.clone(), providers.clone(), digests.clone(), clock, store.clone());
        let channels = Channels {
            mail: providers.mail.clone(),
            hook: providers.hook.clone(),
            operators: options.operators.clone(),
            digest_at: options.digest_at,
        };
        let notices = Arc::new(Notices::new(channels, options.instance.clone(), store.clone(), clock));
        let reconciler = Reconciler {
            store: store.clone(),
            records,
            chronicle: Chronicle::new(store.clone(), clock),
            providers,
            observer,
            clock,
            fleet: fleet.clone(),
            wishes,
            policy: options.policy.clone(),
            digests,
            backups: options.backups.clone(),
            resync: options.resync,
            cycle: Mutex::new(clock.now()),
            written: Mutex::default(),
            slots: BuildSlots::default(),
            due: Mutex::default(),
            meters: meters.clone(),
            notices,
        };
        Controller {
            options,
            store,
            clock,
            accounts,
            fleet,
            queue: Arc::default(),
            reconciler: Arc::new(reconciler),
            scan_now: Arc::default(),
            scanning: tokio::sync::Mutex::default(),
            scanned: Mutex::default(),
            weighed: Mutex::default(),
            files_rest_in: Mutex::default(),
            beats: watch::Sender::new(None),
            meters,
        }
    }

    /// Runs until `stop` turns true; then finishes what is under way, at most for a while.
    pub async fn run(self: Arc<Self>, stop: watch::Receiver<bool>) -> Stored<()> {
        self.accounts.kept_during(self.clone().serve(stop)).await
    }

    async fn serve(self: Arc<Self>, mut stop: watch::Receiver<bool>) -> Stored<()> {
        self.tell_limits().await?;
        self.take_up().await?;
        self.scan().await?;
        self.begin_cycle();
        let workers = self.workers(&stop, Next::in_a_daemon);
        let helpers = [
            tokio::spawn(self.clone().watch_directory()),
            tokio::spawn(self.clone().serve_requests()),
            tokio::spawn(self.clone().tick()),
            tokio::spawn(self.clone().tell_people()),
        ];
        let _ = stop.wait_for(|stopped| *stopped).await; // a dropped sender means stop as well
        for helper in helpers {
            helper.abort();
        }
        let _ = tokio::time::timeout(STOP_PATIENCE, futures::future::join_all(workers)).await; // what is cut off is found again by its intent
        Ok(())
    }

    /// Runs until nothing but routine is due within a minute; gives whether every client is ready.
    pub async fn run_once(self: Arc<Self>, timeout: Duration) -> Stored<bool> {
        self.accounts.kept_during(self.clone().settle(timeout)).await
    }

    async fn settle(self: Arc<Self>, timeout: Duration) -> Stored<bool> {
        let deadline = Instant::now() + timeout;
        self.tell_limits().await?;
        self.take_up().await?;
        self.scan().await?;
        // A file that was saved a moment ago belongs to this run: nobody scans again for it later.
        loop {
            let rest = self.files_rest_in.lock().take();
            let Some(wait) = rest.filter(|wait| Instant::now() + *wait < deadline) else { break };
            sleep(wait).await;
            self.scan().await?;
        }
        self.begin_cycle();
        let (stopper, stop) = watch::channel(false);
        let workers = self.workers(&stop, Next::in_a_single_run);
        let requests = tokio::spawn(self.clone().serve_requests());
        while Instant::now() < deadline {
            match self.queue.next_due() {
                Some(_) => sleep(SETTLED_LOOK).await,
                None => break,
            }
        }
        requests.abort();
        let _ = stopper.send(true); // every worker may have ended
        let _ = tokio::time::timeout(STOP_PATIENCE, futures::future::join_all(workers)).await;
        self.reconciler.notices.turn().await?;
        let records = self.store.clients().await?;
        let mut living = records.iter().filter(|r| r.owned.removal.is_none());
        let bad_files = self
            .store
            .document(crate::controller::fleet::FILES)
            .await?
            .and_then(|v| v.as_array().map(Vec::len))
            .unwrap_or(0);
        Ok(bad_files == 0 && living.all(|r| r.status.is_ready()))
    }

    /// Observes and plans the named clients, or all; writes nothing at any provider.
    pub async fn preview(&self, names: &[ClientName]) -> Stored<Vec<(ClientName, Preview)>> {
        self.accounts.restore().await?;
        self.fleet.restore(&*self.store).await?;
        self.scan().await?;
        let all: BTreeSet<ClientName> =
            if names.is_empty() { self.fleet.names() } else { names.iter().cloned().collect() };
        let mut previews = Vec::new();
        for name in all {
            if let Some(preview) = self.reconciler.preview(&name).await? {
                previews.push((name, preview));
            }
        }
        Ok(previews)
    }

    /// The same for a client that this loop's state knows and the directory does not hold yet, as if its file were there.
    pub async fn preview_draft(&self, name: &ClientName) -> Stored<Option<Preview>> {
        self.accounts.restore().await?;
        self.fleet.restore(&*self.store).await?;
        self.scan().await?;
        self.fleet.suppose_seen(name);
        self.reconciler.preview(name).await
    }

    /// The same rules and providers over another state: a look beside the loop, whose notes go to that state alone. The
    /// calls come out of the same budgets, which stay this loop's to keep. It tells nobody anything.
    pub fn over(&self, store: Arc<dyn Store>) -> Controller {
        let providers =
            Providers { budgets: BTreeMap::new(), mail: None, hook: None, ..self.reconciler.providers.clone() };
        Controller::new(self.options.clone(), providers, store, self.reconciler.digests.clone(), self.clock)
    }

    /// What this cycle has asked of the providers so far; all of a single run is one cycle.
    pub fn asked(&self) -> Asked {
        self.accounts.asked()
    }

    /// When the loop last turned, with a good answer from the state; the first time follows the first scan. Who supervises
    /// this process listens here.
    pub fn beats(&self) -> watch::Receiver<Option<Instant>> {
        self.beats.subscribe()
    }

    /// What the loop counts of itself, as text for `/metrics`, and how the providers answered.
    pub fn measured(&self) -> (String, Answers) {
        let (due, under_way) = self.queue.depth();
        (self.meters.text(due, under_way), self.reconciler.providers.tally.answers())
    }

    /// The fleet, for faces.
    pub fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    fn workers(
        self: &Arc<Self>,
        stop: &watch::Receiver<bool>,
        again: fn(Next) -> Option<Timestamp>,
    ) -> Vec<JoinHandle<()>> {
        let all = self.options.workers;
        let kept_free = all.div_ceil(URGENT_WORKERS_DIVISOR).min(all.saturating_sub(1));
        let take = |number| if number < kept_free { Take::Urgent } else { Take::Any };
        (0..all).map(|number| tokio::spawn(self.clone().work(take(number), stop.clone(), again))).collect()
    }

    async fn work(self: Arc<Self>, take: Take, mut stop: watch::Receiver<bool>, again: fn(Next) -> Option<Timestamp>) {
        loop {
            let name = tokio::select! {
                biased;
                _ = stop.wait_for(|stopped| *stopped) => return,
                name = self.queue.next(take) => name,
            };
            let began = Instant::now();
            // A fault of our own in one client's pass must not cost the others a worker.
            let ended = AssertUnwindSafe(self.reconciler.reconcile(&name)).catch_unwind().await;
            let how = match &ended {
                Ok(Ok((_, Next::At(_)))) => Ended::RequeueAfter,
                Ok(Ok(_)) => Ended::Success,
                Ok(Err(_)) => Ended::Error,
                Err(_) => Ended::Panic,
            };
            self.meters.pass(how, began.elapsed());
            let next = match ended {
                Ok(Ok((lane, next))) => {
                    if lane < Lane::Drift && matches!(next, Next::At(_)) {
                        self.queue.hurry(&name);
                    }
                    again(next).map(|at| self.clock.instant(at))
                }
                Ok(Err(error)) => {
                    tracing::error!(client = %name, %error, "the state cannot be used; nothing is sent until it can");
                    Some(Instant::now() + STATE_RETRY)
                }
                Err(_) => {
                    tracing::error!(client = %name, "a pass panicked, which is a fault of this program; it is made again, the others go on");
                    Some(Instant::now() + PANIC_RETRY)
                }
            };
            self.queue.done(&name, next);
        }
    }

    /// The timer: all clients share one look at each account per cycle.
    async fn tick(self: Arc<Self>) {
        loop {
            sleep(self.options.resync).await;
            if let Err(error) = lifetime::note(&*self.store, self.clock.now()).await {
                tracing::error!(%error, "that this time was lived cannot be recorded");
            }
            if let Err(error) = self.scan().await {
                tracing::error!(%error, "the scan's outcome cannot be recorded");
            }
            self.begin_cycle();
        }
    }

    fn begin_cycle(&self) {
        *self.reconciler.cycle.lock() = self.clock.now();
        self.accounts.begin_cycle();
        self.reconciler.observer.grant_audits(self.options.audits_a_cycle);
        for name in self.fleet.names() {
            // A client with an interval of its own comes when that is over.
            let own = self.fleet.interval(&name).and_then(|_| self.reconciler.due.lock().get(&name).copied());
            self.queue.add(name, own.map_or_else(Instant::now, |due| self.clock.instant(due)));
        }
    }

    async fn tell_people(self: Arc<Self>) {
        self.reconciler.notices.serve().await;
    }

    async fn serve_requests(self: Arc<Self>) {
        loop {
            match self.take_requests().await {
                Ok(()) => {
                    self.meters.beat(self.clock.now());
                    self.beats.send_replace(Some(Instant::now()));
                }
                Err(error) => {
                    tracing::error!(%error, "requests cannot be read");
                    sleep(STATE_RETRY).await;
                }
            }
            sleep(self.options.requests_every).await;
        }
    }

    async fn take_requests(&self) -> Stored<()> {
        for request in self.store.open_requests().await? {
            let turn = self.reconciler.records.turn().await;
            let (effect, answer) = take(&request, &*self.store, self.clock.now()).await?;
            drop(turn);
            self.store.answer(request.id, &answer).await?;
            match effect {
                Effect::Pass(name) => self.add_urgent(name),
                Effect::Gone(name) => {
                    self.reconciler
                        .event(
                            Some(&name),
                            EventKind::Warning,
                            "Forgotten",
                            "a person ended it; what is left of it stands as it stood",
                        )
                        .await?;
                    self.reconciler.observer.servers.forget_ours().await;
                    self.reconciler.notices.forget(&name).await?;
                    self.fleet.forget(&name);
                    self.queue.forget(&name);
                }
                Effect::PassAll => self.fleet.names().into_iter().for_each(|name| self.queue.add(name, Instant::now())),
                Effect::Scan => self.scan_now.notify_one(),
                Effect::Nothing => {}
            }
        }
        Ok(())
    }

    fn add_urgent(&self, name: ClientName) {
        self.queue.hurry(&name);
        self.queue.add(name, Instant::now());
    }

    /// Takes up where an earlier process ended: builds that it asked for still hold their slots, whom somebody waits for is
    /// waited for, the last good specs are in force.
    async fn take_up(&self) -> Stored<()> {
        lifetime::take_up(&*self.store, &self.options.policy, self.clock.now()).await?;
        for record in self.store.clients().await? {
            if lane_of(&record) < Lane::Drift {
                self.queue.hurry(&record.name);
            }
            let site = record.owned.first(ResourceKind::Site).map(|site| HostName::trusted(site.name.clone()));
            if let (Some(site), Some((server, _)), Some(_)) =
                (site, &record.owned.allocation.port, &record.owned.releases.in_flight)
            {
                self.reconciler.slots.note(server, &site);
            }
        }
        self.fleet.restore(&*self.store).await
    }

    async fn tell_limits(&self) -> Stored<()> {
        let limits = Limits {
            grace: self.options.policy.deletion_grace,
            database_grace: self.options.policy.database_grace,
            base_domain: self.options.defaults.base_domain.clone(),
        };
        self.store.put_document(LIMITS, serde_json::to_value(limits).ok().as_ref()).await
    }
}
