//! Providers in trouble: unknown is told as unknown, a refused credential as what it is, nothing is written on doubt, calls
//! stay few, and everything comes back without a restart.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;
use sitewright::provider::world::faults::{Effect, Rule};
use sitewright::status::{ConditionType, Truth};
use tokio::net::{TcpListener, TcpStream};

use crate::rig::{Rig, cluster, spec};

/// Calls that one account may see in a second of trouble, at the pace of these tests (a poll of 200 ms, a cycle of 1 s).
const CALLS_A_SECOND_MAX: usize = 8;

/// A status with a body that says nothing more, in a shape that every provider's client reads.
fn status(code: u16, retry_after: Option<u64>) -> Effect {
    let body =
        json!({ "success": false, "result": null, "errors": [{ "code": 1, "message": "No." }], "message": "No." });
    Effect::Status { code, body: Some(body), retry_after }
}

/// A fault, and the status and reason that the condition must have.
fn faults() -> Vec<(&'static str, Effect, Truth, &'static str)> {
    let unknown = |name, effect| (name, effect, Truth::Unknown, "NotObserved");
    vec![
        ("401", status(401, None), Truth::False, "CredentialRefused"),
        ("403", status(403, None), Truth::False, "PermissionMissing"),
        unknown("404", status(404, None)),
        unknown("409", status(409, None)),
        unknown("429 with Retry-After", status(429, Some(2))),
        unknown("429", status(429, None)),
        unknown("500", status(500, None)),
        unknown("503", status(503, None)),
        unknown("reset before", Effect::LostBefore),
        unknown("reset after", Effect::LostAfter),
        unknown("garbage", Effect::Garbage),
        unknown("empty", Effect::Empty),
        ("422", status(422, None), Truth::False, "RefusedByProvider"),
    ]
}

fn rule(provider: &str, method: Option<&str>, path: Option<&str>, effect: Effect) -> Rule {
    Rule {
        provider: Some(provider.into()),
        method: method.map(str::to_owned),
        path: path.map(str::to_owned),
        writes: false,
        skip: 0,
        times: u32::MAX,
        effect,
    }
}

async fn quick_rig() -> Rig {
    let mut rig = Rig::roomy().await;
    rig.set("SITEWRIGHT_RESYNC", "1s");
    rig.set("SITEWRIGHT_RATE_PLOI", "1000000/2s");
    rig.set("SITEWRIGHT_RATE_CLOUDFLARE", "1000000/2s");
    rig
}

/// Every fault on every read of one provider, against a client that has converged.
async fn converged_under_faults(name: &str, provider: &str, kind: ConditionType) {
    let rig = quick_rig().await;
    rig.write("one.yaml", &spec(name, ""));
    let mut daemon = rig.daemon();
    rig.ready(name).await;
    for (what, effect, truth, reason) in faults() {
        rig.clear_calls();
        rig.simulators.world.faults.add(rule(provider, Some("GET"), None, effect));
        let record = rig
            .until(name, 30, |record| {
                record.status.condition(kind).is_some_and(|c| c.status == truth && c.reason == reason)
            })
            .await;
        let told = &record.status.condition(kind).expect("told").message;
        assert!(told.contains("asked again at 20") && told.contains("nothing is changed"), "{what}: {told}");
        assert!(!record.status.is_ready(), "{what}");
        let count = rig.calls().iter().filter(|call| call.provider == provider).count();
        tokio::time::sleep(Duration::from_secs(2)).await;
        let calls = rig.calls().iter().filter(|call| call.provider == provider).count() - count;
        assert!(calls <= 2 * CALLS_A_SECOND_MAX, "{what}: {calls} calls within 2 s");
        assert_eq!(rig.writes(), Vec::<String>::new(), "{what}");
        // What the provider has no say in keeps its last word.
        let record = rig.client(name).await.expect("it is known");
        let healthy = record.status.condition(ConditionType::Healthy).expect("told").status;
        assert_ne!(healthy, Truth::False, "{what}: {:#?}", record.status);
        rig.simulators.world.faults.clear();
        rig.ready(name).await;
        assert_eq!(rig.writes(), Vec::<String>::new(), "{what}");
    }
    assert!(daemon.is_running());
}

/// B7, B32.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_in_trouble_costs_a_converged_client_no_write() {
    converged_under_faults("errhost", "ploi", ConditionType::SiteReady).await;
}

/// B7, B32.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dns_account_in_trouble_costs_a_converged_client_no_write() {
    converged_under_faults("errdns", "cloudflare", ConditionType::DNSReady).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_begins_in_trouble_waits_without_guessing_and_goes_on_after_it() {
    let rig = quick_rig().await;
    let _daemon = rig.daemon();
    let cases = [
        ("errlist", "ploi", "GET", "/sites", status(503, None)),
        ("errenv", "ploi", "GET", "/env", status(500, None)),
        ("errvhost", "ploi", "GET", "/nginx-configuration", Effect::Garbage),
        ("errrec", "cloudflare", "GET", "/dns_records", Effect::Empty),
        ("errzone", "cloudflare", "GET", "/zones", status(403, None)),
    ];
    let count = cases.len();
    for (name, provider, method, path, effect) in cases {
        rig.clear_calls();
        rig.simulators.world.faults.add(rule(provider, Some(method), Some(path), effect));
        rig.write(&format!("{name}.yaml"), &spec(name, ""));
        rig.until(name, 30, |record| record.observed_generation == 1 && !record.status.conditions.is_empty()).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let calls = rig.calls().len();
        assert!(!rig.client(name).await.expect("it is known").status.is_ready(), "{name}");
        tokio::time::sleep(Duration::from_secs(2)).await;
        let more = rig.calls().len() - calls;
        assert!(more <= 4 * CALLS_A_SECOND_MAX, "{name}: {more} calls within 2 s");
        rig.simulators.world.faults.clear();
        rig.ready(name).await;
    }
    assert_eq!(rig.simulators.ploi.sites_count(), count);
}

/// B2.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_fails_is_told_and_never_doubled() {
    let rig = quick_rig().await;
    let _daemon = rig.daemon();
    let refused = Effect::Status {
        code: 422,
        body: Some(json!({ "message": "No.", "errors": { "root_domain": ["Not today."] } })),
        retry_after: None,
    };
    let cases = [
        ("errw401", "ploi", "/sites", status(401, None), "CredentialRefused"),
        ("errw403", "ploi", "/sites", status(403, None), "PermissionMissing"),
        ("errw422", "ploi", "/sites", refused, "RefusedByProvider"),
        ("errw429", "ploi", "/sites", status(429, Some(2)), "RateLimited"),
        ("errw500", "ploi", "/sites", status(500, None), "AnswerLost"),
        ("errwlost", "ploi", "/sites", Effect::LostAfter, "AnswerLost"),
        ("errwbad", "ploi", "/sites", Effect::Garbage, "AnswerLost"),
        ("errd403", "cloudflare", "/dns_records", status(403, None), "PermissionMissing"),
        ("errd500", "cloudflare", "/dns_records", status(500, None), "AnswerLost"),
        ("errdlost", "cloudflare", "/dns_records", Effect::LostAfter, "AnswerLost"),
        ("errdempty", "cloudflare", "/dns_records", Effect::Empty, "AnswerLost"),
    ];
    let count = cases.len();
    for (name, provider, path, effect, reason) in cases {
        rig.clear_calls();
        rig.simulators.world.faults.add(Rule { times: 1, ..rule(provider, Some("POST"), Some(path), effect) });
        rig.write(&format!("{name}.yaml"), &spec(name, ""));
        let deadline = std::time::Instant::now() + Duration::from_secs(30);
        loop {
            let told = rig.events().await;
            if told.iter().any(|e| e.reason == reason && e.client.as_ref().is_some_and(|c| c.as_str() == name)) {
                break;
            }
            assert!(std::time::Instant::now() < deadline, "{name}: {told:#?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        // What only a person can help is tried again after a minute; the person says that it is mended.
        rig.run(&["reconcile", name]).await;
        rig.ready(name).await;
        let creates = rig
            .calls()
            .iter()
            .filter(|c| c.method == "POST" && c.provider == provider && c.path.ends_with(path))
            .count();
        assert!(creates <= 2, "{name}: {creates} creates");
    }
    assert_eq!(rig.simulators.ploi.sites_count(), count);
    assert_eq!(rig.records().len(), count, "one address a client, none doubled");
}

/// A way to the database server that can be cut.
async fn cut_able(port: u16, open: Arc<AtomicBool>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let here = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            if !open.load(Ordering::Relaxed) {
                continue; // dropped: the connection breaks
            }
            let open = open.clone();
            tokio::spawn(async move {
                let Ok(mut far) = TcpStream::connect(("127.0.0.1", port)).await else { return };
                let cut = async {
                    while open.load(Ordering::Relaxed) {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                };
                tokio::select! { _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}, () = cut => {} }
            });
        }
    });
    here
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_server_that_is_away_is_unknown_and_nothing_is_written() {
    let mut rig = quick_rig().await;
    let open = Arc::new(AtomicBool::new(true));
    let real = cluster().await.port();
    let port = cut_able(real, open.clone()).await;
    let url = rig.environment["PLATFORM_DATABASE_URL"].replace(&format!(":{real}/"), &format!(":{port}/"));
    rig.set("PLATFORM_DATABASE_URL", &url);
    rig.set("SITEWRIGHT_DATABASE_SITE_HOST", &format!("127.0.0.1:{real}"));
    rig.write("errpg.yaml", &spec("errpg", ""));
    let _daemon = rig.daemon();
    rig.ready("errpg").await;
    rig.clear_calls();
    open.store(false, Ordering::Relaxed);
    let record = rig
        .until("errpg", 30, |record| {
            record.status.condition(ConditionType::DatabaseReady).is_some_and(|c| c.status == Truth::Unknown)
        })
        .await;
    let told = &record.status.condition(ConditionType::DatabaseReady).expect("told").message;
    assert!(told.contains("asked again at 20"), "{told}");
    tokio::time::sleep(Duration::from_secs(2)).await;
    // A client that begins meanwhile makes nothing up.
    rig.write("errpgnew.yaml", &spec("errpgnew", ""));
    rig.until("errpgnew", 30, |record| {
        record.status.condition(ConditionType::DatabaseReady).is_some_and(|c| c.status == Truth::Unknown)
    })
    .await;
    assert!(!rig.writes().iter().any(|call| call.contains("/deploy ") || call.ends_with("/deploy")));
    open.store(true, Ordering::Relaxed);
    rig.ready("errpg").await;
    rig.ready("errpgnew").await;
}
