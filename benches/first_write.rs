//! From a saved spec to the first request that writes, the debounce subtracted, with other clients around.
//!
//! The daemon's loop, the simulators and the clock are in this process; the state is SQLite on the disk. One client is
//! converged; the others lie in the same directory and the same state and are paused by their specs, so that each scan
//! reads, checks and weighs them all. Each save changes one record of the first client, and the clock stops at the first
//! writing request that a simulator takes in. `cargo bench --bench first_write -- 1000 60` names the others and the saves.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sitewright::app;
use sitewright::app::demo::Demo;
use sitewright::config::{Settings, StateLocation};
use sitewright::provider::ploi::sim::PloiDelays;
use sitewright::provider::world::faults::Faults;
use sitewright::resource::name::ClientName;
use tokio::sync::watch;

const OTHERS: usize = 1_000;
const SAVES: usize = 60;
/// How often the simulators are asked whether a write came: the finest step of what is printed.
const LOOK_EVERY: Duration = Duration::from_micros(100);
/// `debounce.quiet` of the demo's settings: the part of each delay that is wanted.
const DEBOUNCE: Duration = Duration::from_millis(300);
/// A save that leads to no write ends the program.
const PATIENCE: Duration = Duration::from_secs(60);

fn spec(text: &str) -> String {
    format!(
        "apiVersion: sitewright/v1
kind: ClientSpec
metadata: {{ name: bakery }}
spec:
  domain: bakery.agency.example
  source: {{ repository: agency/cms, branch: main }}
  dns: {{ records: [{{ type: TXT, name: \"@\", content: \"{text}\" }}] }}
  health: {{ path: /api/health, interval: 1h }}
"
    )
}

fn other(number: usize) -> String {
    format!(
        "apiVersion: sitewright/v1
kind: ClientSpec
metadata: {{ name: c{number:05}, labels: {{ tier: gold }} }}
spec:
  domain: c{number:05}.agency.example
  features: [ecommerce, blog]
  settings: {{ primaryColor: \"#00897B\" }}
  reconcile: {{ mode: paused }}
"
    )
}

/// Saves as a careful editor does: beside it, then renamed into place. The moment is that of the rename.
fn save(specs: &Path, text: &str) -> Instant {
    let beside = specs.join(".bakery.new");
    std::fs::write(&beside, spec(text)).unwrap();
    let now = Instant::now();
    std::fs::rename(&beside, specs.join("bakery.yaml")).unwrap();
    now
}

/// Waits in a thread of its own, since the runtime's timers step by milliseconds; gives the moment of the first write.
async fn first_write(faults: Arc<Faults>) -> Instant {
    let look = move || {
        let deadline = Instant::now() + PATIENCE;
        while faults.writes().is_empty() {
            assert!(Instant::now() < deadline, "a save led to no write within {PATIENCE:?}");
            std::thread::sleep(LOOK_EVERY);
        }
        Instant::now()
    };
    tokio::task::spawn_blocking(look).await.unwrap()
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "{what} took longer than {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits until the newest spec is in force, planned and reached, and nothing was written for a while.
async fn settled(demo: &Demo, generation: u64) {
    let name = ClientName::trusted("bakery");
    until("to settle", async || {
        let record = demo.app.store.client(&name).await.unwrap();
        record
            .is_some_and(|r| r.generation >= generation && r.observed_generation == r.generation && r.status.is_ready())
    })
    .await;
    tokio::time::sleep(Duration::from_millis(200)).await;
}

fn percentile(sorted: &[Duration], percent: usize) -> f64 {
    let at = (sorted.len() * percent).div_ceil(100).clamp(1, sorted.len());
    sorted[at - 1].as_secs_f64() * 1e3
}

#[tokio::main]
async fn main() {
    let named: Vec<usize> = std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    let others = named.first().copied().unwrap_or(OTHERS);
    let saves = named.get(1).copied().unwrap_or(SAVES).max(1);
    let directory = tempfile::tempdir().unwrap();
    let specs = directory.path().join("specs");
    std::fs::create_dir(&specs).unwrap();
    for number in 1..=others {
        std::fs::write(specs.join(format!("c{number:05}.yaml")), other(number)).unwrap();
    }
    save(&specs, "save 0");
    let state = StateLocation::Sqlite(directory.path().join("state.db"));
    let settings = Settings { specs: specs.clone(), state, listen: None, ..Settings::default() };
    let demo = app::demo::open(&settings).await.unwrap();
    demo.simulators.servers.ploi.set_delays(PloiDelays::quick());
    let (stopper, stop) = watch::channel(false);
    let running = tokio::spawn(demo.app.controller.clone().run(stop));
    settled(&demo, 1).await;

    let faults = demo.simulators.servers.world.faults.clone();
    let (mut delays, mut written) = (Vec::new(), 0);
    for number in 1..=saves {
        faults.clear_calls();
        let began = save(&specs, &format!("save {number}"));
        let ended = first_write(faults.clone()).await;
        delays.push(ended.duration_since(began).saturating_sub(DEBOUNCE));
        settled(&demo, number as u64 + 1).await;
        written += faults.writes().len();
    }
    stopper.send(true).unwrap();
    running.await.unwrap().unwrap();

    delays.sort();
    println!("{saves} saves of one client among {others} others, debounce of {DEBOUNCE:?} subtracted:");
    println!(
        "  p50 {:.1} ms, p99 {:.1} ms, least {:.1} ms, most {:.1} ms",
        percentile(&delays, 50),
        percentile(&delays, 99),
        percentile(&delays, 1),
        percentile(&delays, 100)
    );
    println!("  writing requests: {written}");
}
