//! A pulled plug at every write: the daemon dies before it, after it, or loses the answer, and still there is one of
//! everything in the end.
//!
//! A first life without faults learns the writes of each phase. Each further life meets one fault in each phase.
//! `SITEWRIGHT_KILLS=all` meets every write in every way; `SITEWRIGHT_KILL=provision:7:after` (several with commas)
//! replays what a failure names.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sitewright::provider::postgres::cluster::ADMIN;
use sitewright::store::ClientRecord;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::kill_points::{Mode, Phase, Point, Trigger, Write};
use crate::one_of_everything::{Wanted, check_gone, check_living};
use crate::rig::{Rig, ZONE, cluster};
use crate::sql_proxy;

/// Lives at once: most of a life is waiting.
const LIVES_AT_ONCE: usize = 6;
/// The longest a phase may take, faults and their waits included.
const PATIENCE: Duration = Duration::from_secs(120);
/// The simulated account's limit.
const CALLS_A_MINUTE: u32 = 1_000_000;
/// Statements that only look: struck once a phase, not at every repetition.
const LOOKS: [&str; 2] = ["sql LOOK", "sql CATALOG"];
/// Orders of certificates are not sent again at once: a failed attempt waits for its backoff, or for a person.
const ORDER: &str = "ploi POST /api/servers/N/sites/N/certificates";

/// One client from its file to its end.
struct Life {
    rig: Rig,
    client: String,
    trigger: Arc<Trigger>,
    removal: Phase,
    points: Vec<Point>,
}

fn spec(client: &str, removal: Phase, alias: &str, text: &str, note: &str) -> String {
    let reclaim = if removal == Phase::Retire { "Retain" } else { "Delete" };
    format!(
        "apiVersion: sitewright/v1\nkind: ClientSpec\nmetadata:\n  name: {client}\nspec:\n  domain: {client}.{ZONE}\n  source: {{ repository: agency/cms, branch: main }}\n  aliases: [ {alias}.{client}.{ZONE} ]\n  admin: {{ email: admin@{client}.example, name: Admin }}\n  database: {{ reclaimPolicy: {reclaim} }}\n  environment: {{ NOTE: \"{note}\" }}\n  dns: {{ records: [ {{ type: TXT, name: \"@\", content: \"{text}\" }} ] }}\n"
    )
}

impl Life {
    async fn new(client: String, removal: Phase, points: Vec<Point>) -> Life {
        // Polls come as fast as writes here: what they do to a minute's budget is another test's.
        let mut rig = Rig::with(|options| options.ploi_limit = CALLS_A_MINUTE).await;
        let trigger = Arc::new(Trigger::default());
        trigger.hook(&rig.simulators.world.faults);
        let server = cluster().await;
        let address = ([127, 0, 0, 1], server.port()).into();
        let proxy = sql_proxy::serve(address, ADMIN, format!("client_{client}"), trigger.clone()).await;
        let url = server.admin_url().expose().replace(&format!(":{}/", server.port()), &format!(":{}/", proxy.port()));
        rig.set("PLATFORM_DATABASE_URL", &url);
        // The last client never goes without approval: this one stays, and nothing is done for it.
        let bystander = crate::rig::spec("bystander", "  reconcile: { mode: paused }\n");
        rig.write("bystander.yaml", &bystander);
        Life { rig, client, trigger, removal, points }
    }

    fn start(&self) {
        let daemon = self.rig.daemon();
        *self.trigger.daemon.lock() = Some(daemon);
    }

    fn stop(&self) {
        self.trigger.daemon.lock().take();
    }

    fn arm(&self, phase: Phase) -> Option<&Point> {
        let point = self.points.iter().find(|point| point.phase == phase);
        self.trigger.arm(point);
        point
    }

    /// Restarts the daemon when it was killed, until the phase has come to its end.
    async fn until(&self, point: Option<&Point>, ended: impl Fn(Option<&ClientRecord>) -> bool) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if self.trigger.has_fired() && self.trigger.daemon.lock().is_none() {
                self.start();
            }
            let record = self.rig.client(&self.client).await;
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
        self.rig.once().await;
        let seen = self.trigger.seen();
        let writes: Vec<&str> =
            seen.iter().map(|write| write.label.as_str()).filter(|label| !LOOKS.contains(label)).collect();
        if writes.is_empty() { Ok(()) } else { Err(format!("a further run writes: {}", writes.join(", "))) }
    }

    async fn stand(&self, phase: Phase) -> Result<(), String> {
        let orders = 1 + self.points.iter().filter(|p| p.write.label == ORDER && !p.mode.happens()).count();
        let first = Wanted { client: &self.client, alias: "www", text: "first", note: "one", deploys: 1, orders };
        match phase {
            Phase::Provision => check_living(&self.rig, &first).await,
            Phase::Update => {
                let second = Wanted { alias: "shop", text: "second", note: "two", deploys: 2, ..first };
                check_living(&self.rig, &second).await
            }
            Phase::Drop | Phase::Retire | Phase::Abandon => check_gone(&self.rig, &self.client, phase).await,
        }
    }

    /// The file goes while the daemon is dead.
    async fn abandon(&self, file: &str) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        while self.trigger.daemon.lock().is_some() {
            if Instant::now() > deadline {
                return Err("its write never came".into());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.rig.remove(file);
        Ok(())
    }

    /// One phase with its fault; gives the writes it took.
    async fn phase(&self, phase: Phase) -> Result<Vec<Write>, String> {
        let point = self.arm(phase);
        let generation = self.rig.client(&self.client).await.map_or(0, |record| record.generation);
        let file = format!("{}.yaml", self.client);
        match phase {
            Phase::Provision | Phase::Abandon => {
                self.rig.write(&file, &spec(&self.client, self.removal, "www", "first", "one"));
            }
            Phase::Update => self.rig.write(&file, &spec(&self.client, self.removal, "shop", "second", "two")),
            Phase::Drop | Phase::Retire => self.rig.remove(&file),
        }
        self.start();
        if phase == Phase::Abandon {
            self.abandon(&file).await?;
        }
        let settled = |record: Option<&ClientRecord>| match phase {
            Phase::Provision | Phase::Update => record.is_some_and(|r| {
                r.generation > generation && r.observed_generation == r.generation && r.status.is_ready()
            }),
            Phase::Drop | Phase::Retire | Phase::Abandon => {
                record.is_none_or(|r| r.owned.removal.as_ref().is_some_and(|removal| removal.finished_at.is_some()))
            }
        };
        self.until(point, settled).await?;
        let seen = self.trigger.seen();
        self.still().await?;
        self.stand(phase).await?;
        Ok(seen)
    }

    /// The whole life; the error names the point that it followed.
    async fn run(self) -> Result<Vec<(Phase, Vec<Write>)>, String> {
        let mut writes = Vec::new();
        let wanted = self.points.iter().map(|point| point.phase).max();
        let phases = match self.removal {
            Phase::Abandon => vec![Phase::Abandon],
            removal => vec![Phase::Provision, Phase::Update, removal],
        };
        for phase in phases {
            let point = self.points.iter().find(|point| point.phase == phase);
            let told = point.map_or_else(|| phase.to_string(), |point| format!("{point} ({:?})", point.write));
            match self.phase(phase).await {
                Ok(seen) => writes.push((phase, seen)),
                Err(why) => {
                    self.stop();
                    let log = std::fs::read_to_string(self.rig.path("daemon.log")).unwrap_or_default();
                    if let Some(directory) = std::env::var_os("SITEWRIGHT_KILL_LOGS") {
                        let _ =
                            std::fs::write(std::path::Path::new(&directory).join(format!("{}.log", self.client)), &log);
                    }
                    return Err(format!("{told}: {why}"));
                }
            }
            if !self.points.is_empty() && wanted == Some(phase) {
                break;
            }
        }
        Ok(writes)
    }
}

/// The writes of a phase that can be struck.
fn targets(phase: Phase, seen: &[Write]) -> Vec<(Phase, usize, Write)> {
    let struck = seen.iter().filter(|write| !LOOKS.contains(&write.label.as_str()) || write.occurrence == 1);
    struck.enumerate().map(|(number, write)| (phase, number, write.clone())).collect()
}

/// Places at which a client is given up in the middle of its provision: all of them, or every third.
fn abandoned(targets: &[(Phase, usize, Write)], all: bool) -> Vec<Point> {
    let modes = [Mode::After, Mode::Before];
    let made = targets.iter().filter(|(phase, number, _)| *phase == Phase::Provision && (all || number % 3 == 0));
    let point =
        |number: usize, write: &Write, mode| Point { phase: Phase::Abandon, number, write: write.clone(), mode };
    made.flat_map(|(_, number, write)| match all {
        true => modes.map(|mode| point(*number, write, mode)).to_vec(),
        false => vec![point(*number, write, modes[number / 3 % 2])],
    })
    .collect()
}

/// Points of one phase: every mode of every write, or one mode of each so that every mode comes as well.
fn points_of(targets: &[(Phase, usize, Write)], all: bool) -> Vec<Point> {
    let point = |(phase, number, write): &(Phase, usize, Write), mode| Point {
        phase: *phase,
        number: *number,
        write: write.clone(),
        mode,
    };
    let turn = |number: usize| Mode::ALL[number % Mode::ALL.len()];
    targets
        .iter()
        .flat_map(|target| match all {
            true => Mode::ALL.map(|mode| point(target, mode)).to_vec(),
            false => vec![point(target, turn(target.1))],
        })
        .collect()
}

/// What the lives without faults wrote.
async fn learn() -> Vec<(Phase, usize, Write)> {
    let lives = [Phase::Drop, Phase::Retire].map(|removal| async move {
        Life::new(format!("kl{removal}"), removal, Vec::new()).await.run().await.expect("a life without faults")
    });
    let phases: std::collections::BTreeMap<Phase, Vec<Write>> =
        futures::future::join_all(lives).await.into_iter().flatten().collect();
    phases.iter().flat_map(|(phase, seen)| targets(*phase, seen)).collect()
}

/// Lives that meet at most one point of each phase.
fn deal(points: Vec<Point>) -> Vec<(Phase, Vec<Point>)> {
    let of = |phase| points.iter().filter(move |p| p.phase == phase).cloned().collect::<Vec<_>>();
    let (first, second) = (of(Phase::Provision), of(Phase::Update));
    let removals: Vec<Point> = of(Phase::Drop).into_iter().chain(of(Phase::Retire)).collect();
    let count = first.len().max(second.len()).max(removals.len());
    let abandoned = of(Phase::Abandon).into_iter().map(|point| (Phase::Abandon, vec![point]));
    (0..count)
        .map(|at| {
            let removal = removals.get(at);
            let points = [first.get(at), second.get(at), removal].into_iter().flatten().cloned().collect();
            (removal.map_or(Phase::Drop, |point| point.phase), points)
        })
        .chain(abandoned)
        .collect()
}

#[ignore = "minutes long; run it by name with --ignored"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_killed_at_whichever_write_there_is_one_of_everything() {
    let targets = learn().await;
    for (phase, number, write) in &targets {
        println!("{phase}:{number} {} ({})", write.label, write.occurrence);
    }
    let named = std::env::var("SITEWRIGHT_KILL").ok();
    let all = named.is_some() || std::env::var("SITEWRIGHT_KILLS").is_ok_and(|value| value == "all");
    let mut points = points_of(&targets, all);
    points.extend(abandoned(&targets, all));
    if let Some(named) = &named {
        points.retain(|point| named.split(',').any(|name| name == point.to_string()));
        assert!(!points.is_empty(), "{named} names no point");
    }
    let count = points.len();
    let room = Arc::new(Semaphore::new(LIVES_AT_ONCE));
    let mut lives = JoinSet::new();
    for (index, (removal, points)) in deal(points).into_iter().enumerate() {
        let room = room.clone();
        lives.spawn(async move {
            let _place = room.acquire_owned().await.expect("the room stays open");
            Life::new(format!("kl{index}"), removal, points).await.run().await
        });
    }
    let ends = lives.join_all().await;
    let lived = ends.len();
    let failed: Vec<String> = ends.into_iter().filter_map(Result::err).collect();
    println!("{count} points of {} writes in {lived} lives, {} failed", targets.len(), failed.len());
    assert!(failed.is_empty(), "{} of {count} points failed:\n{}", failed.len(), failed.join("\n"));
}
