//! One change of one converged client makes the calls of that change and no other, and visitors notice nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sitewright::store::ClientRecord;
use tokio::task::JoinHandle;

use crate::rig::{Rig, ZONE};

const CLIENT: &str = "single";
const REPOSITORY: &str = "agency/cms";

/// A spec whose parts can be changed one by one.
#[derive(Clone)]
struct Spec {
    labels: &'static str,
    branch: &'static str,
    color: &'static str,
    text: &'static str,
    health: &'static str,
    notify: &'static str,
}

impl Spec {
    fn text(&self) -> String {
        let Spec { labels, branch, color, text, health, notify } = self;
        format!(
            "apiVersion: sitewright/v1\nkind: ClientSpec\nmetadata:\n  name: {CLIENT}\n  labels: {{ tier: {labels} }}\nspec:\n  domain: {CLIENT}.{ZONE}\n  source: {{ repository: {REPOSITORY}, branch: {branch} }}\n  environment: {{ COLOR: \"{color}\" }}\n  dns: {{ records: [ {{ type: TXT, name: \"@\", content: \"{text}\" }} ] }}\n  health: {{ path: {health} }}\n  notify: {{ email: [{notify}] }}\n"
        )
    }
}

/// A visitor who comes again and again, each time over a new connection.
struct Visitor {
    stop: Arc<AtomicBool>,
    visits: Arc<AtomicU64>,
    failures: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Visitor {
    fn begin(rig: &Rig) -> Visitor {
        let edge: SocketAddr = rig.environment["SITEWRIGHT_PROBE_CONNECT_TO"].parse().expect("an address");
        let root = std::fs::read(&rig.environment["SITEWRIGHT_PROBE_CA"]).expect("the root");
        let domain = format!("{CLIENT}.{ZONE}");
        let client = reqwest::Client::builder()
            .no_proxy()
            .pool_max_idle_per_host(0)
            .tls_certs_only([reqwest::Certificate::from_pem(&root).expect("a certificate")])
            .resolve(&domain, edge)
            .build()
            .expect("a client");
        let url = format!("https://{domain}:{}/api/health", edge.port());
        let (stop, visits, failures) =
            (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default(), Arc::<Mutex<Vec<String>>>::default());
        let task = {
            let (stop, visits, failures) = (stop.clone(), visits.clone(), failures.clone());
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let said = match client.get(&url).send().await {
                        Ok(answer) if answer.status() == 200 && answer.headers()["X-Client-Id"] == CLIENT => None,
                        Ok(answer) => Some(format!("{answer:?}")),
                        Err(error) => Some(format!("{error:?}")),
                    };
                    failures.lock().extend(said);
                    visits.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            })
        };
        Visitor { stop, visits, failures, task }
    }

    fn visits(&self) -> u64 {
        self.visits.load(Ordering::Relaxed)
    }

    /// What went wrong, all in all.
    async fn end(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.expect("the visitor goes home");
        std::mem::take(&mut self.failures.lock())
    }
}

/// Waits until the loop has looked at the account twice more: whatever it wanted to write, it has written by then.
async fn two_cycles(rig: &Rig) {
    let listings = || rig.calls().iter().filter(|call| call.path.contains("/sites?")).count();
    let (before, deadline) = (listings(), Instant::now() + Duration::from_secs(60));
    while listings() < before + 2 {
        assert!(Instant::now() < deadline, "the loop stands still");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Writes made by one change, ids left out; `done` says that the change has come through.
async fn writes_of(rig: &Rig, change: impl FnOnce(), done: impl Fn(&ClientRecord) -> bool) -> Vec<String> {
    rig.clear_calls();
    change();
    rig.until(CLIENT, 60, |record| {
        record.status.is_ready()
            && record.observed_generation == record.generation
            && record.owned.releases.in_flight.is_none()
            && done(record)
    })
    .await;
    two_cycles(rig).await;
    let last =
        |path: &str| path.rsplit('/').find(|part| !part.contains(|c: char| c.is_ascii_digit())).map(str::to_owned);
    rig.writes()
        .iter()
        .map(|call| {
            let (method, path) = call.rsplit_once(' ').expect("a path");
            format!("{method} {}", last(path).unwrap_or_default())
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_change_costs_its_own_calls_and_no_visitor_notices() {
    let mut rig = Rig::new().await;
    rig.set("SITEWRIGHT_RESYNC", "1s");
    let first = Spec {
        labels: "gold",
        branch: "main",
        color: "red",
        text: "one",
        health: "/api/health",
        notify: "ops@agency.example",
    };
    rig.write("single.yaml", &first.text());
    let mut daemon = rig.daemon();
    let record = rig.ready(CLIENT).await;
    two_cycles(&rig).await;
    let visitor = Visitor::begin(&rig);
    let accepted = |spec: &Spec| {
        let text = spec.text();
        move |record: &ClientRecord| record.accepted.as_ref().is_some_and(|accepted| accepted.text == text)
    };
    let released =
        |number: u64| move |r: &ClientRecord| r.owned.releases.live.as_ref().is_some_and(|l| l.number >= number);
    let number = record.owned.releases.live.as_ref().expect("a release").number;

    let environment = Spec { color: "blue", ..first };
    let writes = writes_of(&rig, || rig.write("single.yaml", &environment.text()), released(number + 1)).await;
    assert_eq!(writes, ["ploi PATCH env", "ploi POST deploy"], "the environment");

    let records = Spec { text: "two", ..environment };
    let published = |record: &serde_json::Value| record["content"].as_str().is_some_and(|text| text.contains("two"));
    let there = |_: &ClientRecord| rig.records().iter().any(published);
    let writes = writes_of(&rig, || rig.write("single.yaml", &records.text()), there).await;
    assert_eq!(writes.len(), 1, "one record: {writes:?}");
    assert!(writes[0].starts_with("cloudflare"), "{writes:?}");

    let push = |branch: &str| rig.simulators.world.state().git.push(REPOSITORY, branch);
    let writes = writes_of(&rig, || drop(push("main")), released(number + 2)).await;
    assert_eq!(writes, ["ploi POST deploy"], "a commit");

    push("next");
    let branch = Spec { branch: "next", ..records };
    let writes = writes_of(&rig, || rig.write("single.yaml", &branch.text()), released(number + 3)).await;
    assert_eq!(writes, ["ploi PATCH script", "ploi POST deploy"], "a branch");

    let labels = Spec { labels: "silver", ..branch };
    let health = Spec { health: "/", ..labels };
    let notify = Spec { notify: "night@agency.example", ..health };
    for spec in [&labels, &health, &notify] {
        let writes = writes_of(&rig, || rig.write("single.yaml", &spec.text()), accepted(spec)).await;
        assert_eq!(writes, Vec::<String>::new(), "{}", spec.text());
    }

    let visits = visitor.visits();
    assert!(visits > 50, "the visitor came {visits} times only");
    assert_eq!(visitor.end().await, Vec::<String>::new());
    let last = rig.client(CLIENT).await.and_then(|r| r.owned.releases.live).expect("a release");
    assert_eq!(last.number, number + 3, "three changes, three releases");
    assert!(daemon.is_running());
}
