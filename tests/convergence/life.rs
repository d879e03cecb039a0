//! One client from its file to its end, with at most one fault in each phase.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sitewright::provider::ploi::sim::PloiDelays;
use sitewright::provider::postgres::cluster::ADMIN;
use sitewright::resource::name::ClientName;
use sitewright::resource::owned::ProcessState;
use sitewright::status;
use sitewright::store::{ClientRecord, Store};
use tokio::sync::OnceCell;

use crate::kill_points::{Phase, Point, Trigger, Write};
use crate::one_of_everything::{Wanted, check_gone, check_living};
use crate::rig::{Rig, ZONE, cluster};
use crate::sql_proxy;
use crate::strangers::Neighbours;

/// Holds the first alias: a zone that is concerned by nothing else.
const ALIAS_ZONE: &str = "aliases.example";
/// The repository after the update.
const OTHER_REPOSITORY: &str = "agency/shop";
/// The longest a phase may take, faults and their waits included.
const PATIENCE: Duration = Duration::from_secs(120);
/// The simulated account's limit.
const CALLS_A_MINUTE: u32 = 1_000_000;
/// What listings and reads lag behind: less than the settle time, more than a poll.
const LAG: Duration = Duration::from_millis(400);
/// Statements that only look: struck once a phase, not at every repetition.
pub const LOOKS: [&str; 3] = ["sql LOOK", "sql CATALOG", "sql SERVER"];
/// Orders of certificates are not sent again at once: a failed attempt waits for its backoff, or for a person.
const ORDER: &str = "ploi POST /api/servers/N/sites/N/certificates";

/// The phases of a life, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Course(pub &'static [Phase]);

/// Every course.
pub const COURSES: [Course; 4] = [
    Course(&[Phase::Provision, Phase::Update, Phase::Drop]),
    Course(&[Phase::Provision, Phase::Update, Phase::Retire]),
    Course(&[Phase::Provision, Phase::Suspend, Phase::Resume]),
    Course(&[Phase::Provision, Phase::Leave, Phase::Return]),
];

/// A client and the world around it.
pub struct Life {
    rig: Rig,
    /// Opened once it is there: looked into at every poll.
    store: OnceCell<Arc<dyn Store>>,
    client: String,
    trigger: Arc<Trigger>,
    neighbours: Neighbours,
    course: Course,
    points: Vec<Point>,
}

/// How a client stands in its file.
#[derive(Clone, Copy)]
struct Spec {
    repository: &'static str,
    alias: (&'static str, &'static str),
    text: &'static str,
    note: &'static str,
    state: &'static str,
}

const FIRST: Spec =
    Spec { repository: "agency/cms", alias: ("www", ALIAS_ZONE), text: "first", note: "one", state: "active" };
const SUSPENDED: Spec = Spec { state: "suspended", ..FIRST };
const SECOND: Spec =
    Spec { repository: OTHER_REPOSITORY, alias: ("shop", ZONE), text: "second", note: "two", state: "active" };

impl Spec {
    fn alias(&self, client: &str) -> String {
        format!("{}.{client}.{}", self.alias.0, self.alias.1)
    }

    fn text(&self, client: &str, reclaim: &str) -> String {
        let Spec { repository, text, note, state, .. } = self;
        let alias = self.alias(client);
        format!(
            "apiVersion: sitewright/v1\nkind: ClientSpec\nmetadata:\n  name: {client}\nspec:\n  domain: {client}.{ZONE}\n  source: {{ repository: {repository}, branch: main }}\n  aliases: [ {alias} ]\n  admin: {{ email: admin@{client}.example, name: Admin }}\n  database: {{ reclaimPolicy: {reclaim} }}\n  environment: {{ NOTE: \"{note}\" }}\n  dns: {{ records: [ {{ type: TXT, name: \"@\", content: \"{text}\" }} ] }}\n  state: {state}\n"
        )
    }
}

impl Life {
    /// A life with a fault is one in which everything lags; without, it takes the writes that there must be.
    pub async fn new(client: String, course: Course, points: Vec<Point>) -> Life {
        let mut rig = Rig::with(|options| {
            // Polls come as fast as writes here: what they do to a minute's budget is another test's.
            options.ploi_limit = CALLS_A_MINUTE;
            options.zones.push(ALIAS_ZONE.to_owned());
            let lag = if points.is_empty() { Duration::ZERO } else { LAG };
            options.delays = PloiDelays { site_shows: lag, env_settles: lag, ..PloiDelays::quick() };
        })
        .await;
        if !points.is_empty() {
            rig.simulators.cloudflare.turn(|knobs| knobs.stale_list = LAG);
        }
        rig.simulators.ploi.turn(|knobs| knobs.vhost_edits_survive = false);
        rig.simulators.world.state().git.push(OTHER_REPOSITORY, "main");
        let trigger = Arc::new(Trigger::default());
        trigger.hook(&rig.simulators.world.faults);
        let server = cluster().await;
        let address = ([127, 0, 0, 1], server.port()).into();
        let proxy = sql_proxy::serve(address, ADMIN, format!("client_{client}"), trigger.clone()).await;
        let url = server.admin_url().expose().replace(&format!(":{}/", server.port()), &format!(":{}/", proxy.port()));
        rig.set("PLATFORM_DATABASE_URL", &url);
        if course.0.contains(&Phase::Return) {
            rig.set("SITEWRIGHT_DELETION_GRACE", "1h");
        }
        // The last client never goes without approval: this one stays, and nothing is done for it.
        let bystander = crate::rig::spec("bystander", "  reconcile: { mode: paused }\n");
        rig.write("bystander.yaml", &bystander);
        let neighbours = Neighbours::move_in(&rig, &client).await;
        Life { rig, store: OnceCell::new(), client, trigger, neighbours, course, points }
    }

    fn start(&self) {
        let daemon = self.rig.daemon();
        *self.trigger.daemon.lock() = Some(daemon);
    }

    async fn record(&self) -> Option<ClientRecord> {
        if !self.rig.path(".sitewright/state.db").exists() {
            return None;
        }
        let store = self.store.get_or_init(async || self.rig.store()).await;
        store.client(&ClientName::trusted(&self.client)).await.ok().flatten()
    }

    fn stop(&self) {
        self.trigger.daemon.lock().take();
    }

    fn arm(&self, phase: Phase) -> Option<&Point> {
        let point = self.points.iter().find(|point| point.phase == phase);
        self.trigger.arm(point);
        point
    }

    fn write(&self, spec: Spec) {
        let reclaim = if self.course.0.contains(&Phase::Retire) { "Retain" } else { "Delete" };
        self.rig.write(&format!("{}.yaml", self.client), &spec.text(&self.client, reclaim));
    }

    fn remove(&self) {
        self.rig.remove(&format!("{}.yaml", self.client));
    }

    /// Restarts the daemon when it was killed, until the phase has come to its end.
    async fn until(&self, point: Option<&Point>, ended: impl Fn(Option<&ClientRecord>) -> bool) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if self.trigger.has_fired() && self.trigger.daemon.lock().is_none() {
                self.start();
            }
            let record = self.record().await;
            // A pass that began for the living may still be under way when the removal begins.
            let is_leaving =
                |r: &ClientRecord| matches!(r.status.phase, status::Phase::Offline | status::Phase::Terminating);
            if self.trigger.is_dark() && record.as_ref().is_some_and(is_leaving) {
                self.trigger.lighten(&self.rig.simulators.world.faults);
            }
            let struck = point.is_none_or(|point| {
                self.trigger.has_fired() && (!point.mode.kills() || self.trigger.daemon.lock().is_some())
            });
            if struck && ended(record.as_ref()) {
                return Ok(());
            }
            if Instant::now() > deadline {
                let why = if struck { "it does not come to its end" } else { "its write never came" };
                let writes = self.trigger.seen().iter().map(|w| w.label.clone()).collect::<Vec<_>>().join("\n    ");
                return Err(format!(
                    "{why}: {:#?}\n  writes:\n    {writes}",
                    record.map(|r| (r.status, r.owned.intents))
                ));
            }
            self.ask_for_another_order(record.as_ref()).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// An order that never arrived waits for hours, or for somebody who asks (decisions 9).
    async fn ask_for_another_order(&self, record: Option<&ClientRecord>) {
        let waits = record.is_some_and(|r| r.owned.attempts.values().any(|a| a.reason == "CertificateFailed"));
        let lost = |point: &Point| point.write.label == ORDER && !point.mode.happens();
        if waits && self.points.iter().any(lost) {
            self.rig.run(&["reconcile", &self.client]).await;
        }
    }

    /// Nothing is written when all is as it should be.
    async fn still(&self) -> Result<(), String> {
        self.stop();
        self.trigger.arm(None);
        self.rig.run(&["run", "--once", "--timeout", "3m"]).await;
        let seen = self.trigger.seen();
        let writes: Vec<&str> =
            seen.iter().map(|write| write.label.as_str()).filter(|label| !LOOKS.contains(label)).collect();
        if writes.is_empty() { Ok(()) } else { Err(format!("a further run writes: {}", writes.join(", "))) }
    }

    async fn stand(&self, phase: Phase) -> Result<(), String> {
        let orders = 1 + self.points.iter().filter(|p| p.write.label == ORDER && !p.mode.happens()).count();
        let wanted = |spec: Spec, deploys| Wanted {
            client: &self.client,
            alias: spec.alias(&self.client),
            text: spec.text,
            note: spec.note,
            suspended: phase == Phase::Suspend,
            deploys,
            orders,
        };
        match phase {
            Phase::Provision | Phase::Suspend | Phase::Resume | Phase::Return => {
                check_living(&self.rig, &self.neighbours, &wanted(FIRST, 1..=1)).await?;
            }
            Phase::Update => check_living(&self.rig, &self.neighbours, &wanted(SECOND, 2..=2)).await?,
            // The first may have been under way.
            Phase::Amend => check_living(&self.rig, &self.neighbours, &wanted(SECOND, 1..=2)).await?,
            Phase::Leave => {}
            Phase::Drop | Phase::Retire | Phase::Abandon => {
                check_gone(&self.rig, &self.neighbours, &self.client, phase).await?;
            }
        }
        self.neighbours.check(&self.rig).await
    }

    /// The file changes while the daemon is dead.
    async fn while_it_is_dead(&self, change: impl FnOnce()) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        while self.trigger.daemon.lock().is_some() {
            if Instant::now() > deadline {
                return Err("its write never came".into());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        change();
        Ok(())
    }

    /// One phase with its fault; gives the writes it took.
    async fn phase(&self, phase: Phase) -> Result<Vec<Write>, String> {
        let point = self.arm(phase);
        let generation = self.record().await.map_or(0, |record| record.generation);
        match phase {
            Phase::Provision | Phase::Abandon | Phase::Amend | Phase::Resume | Phase::Return => self.write(FIRST),
            Phase::Update => self.write(SECOND),
            Phase::Suspend => self.write(SUSPENDED),
            Phase::Leave | Phase::Drop | Phase::Retire => self.remove(),
        }
        self.start();
        match phase {
            Phase::Abandon => {
                let go = || {
                    self.remove();
                    // What is open is not to be mended for the living before the removal begins.
                    self.trigger.darken(&self.rig.simulators.world.faults);
                };
                self.while_it_is_dead(go).await?;
            }
            Phase::Amend => self.while_it_is_dead(|| self.write(SECOND)).await?,
            _ => {}
        }
        let generation = if phase == Phase::Amend { generation + 1 } else { generation };
        let settled = |record: Option<&ClientRecord>| match phase {
            Phase::Leave => record.is_some_and(|r| {
                r.owned.removal.is_some()
                    && r.owned.details.process.as_ref().is_some_and(|seen| seen.value == ProcessState::Stopped)
            }),
            Phase::Drop | Phase::Retire | Phase::Abandon => {
                record.is_none_or(|r| r.owned.removal.as_ref().is_some_and(|removal| removal.finished_at.is_some()))
            }
            _ => record.is_some_and(|r| {
                r.generation > generation && r.observed_generation == r.generation && r.status.is_ready()
            }),
        };
        self.until(point, settled).await?;
        let seen = self.trigger.seen();
        self.still().await?;
        self.stand(phase).await?;
        Ok(seen)
    }

    /// The whole life, up to its last fault; the error names the point that it followed.
    pub async fn run(self) -> Result<Vec<(Phase, Vec<Write>)>, String> {
        let mut writes = Vec::new();
        let is_last = |phase| self.points.last().is_some_and(|point| point.phase == phase);
        for phase in self.course.0.iter().copied() {
            let point = self.points.iter().find(|point| point.phase == phase);
            let told = point.map_or_else(|| phase.to_string(), |point| format!("{point} ({:?})", point.write));
            match self.phase(phase).await {
                Ok(seen) => writes.push((phase, seen)),
                Err(why) => {
                    self.stop();
                    self.keep_log();
                    return Err(format!("{told}: {why}"));
                }
            }
            self.keep_log();
            if is_last(phase) {
                break;
            }
        }
        Ok(writes)
    }

    fn keep_log(&self) {
        if let Some(directory) = std::env::var_os("SITEWRIGHT_KILL_LOGS") {
            let to = std::path::Path::new(&directory).join(format!("{}.log", self.client));
            std::fs::copy(self.rig.path("daemon.log"), to).expect("a copy of the log");
        }
    }
}
