//! A daemon that is asked to end while a write is under way: it is finished, noted, and never made twice.

use std::sync::Arc;
use std::time::Duration;

use sitewright::provider::world::faults::{Call, Effect, Moment, Rule};
use sitewright::resource::kind::ResourceKind;
use tokio::sync::Notify;

use crate::rig::{Rig, spec};

/// How long the host takes for the site: longer than anybody needs to ask for the end.
const SLOW_MS: u64 = 2_000;

/// Less than the settle time: what was sent has arrived when it is looked for for the last time.
const LATE_MS: u64 = 500;

fn is_create(call: &Call) -> bool {
    call.method == "POST" && call.path.ends_with("/sites")
}

/// The host takes so long for the site; tells when it was ordered.
fn slow_host(rig: &Rig, delay: u64) -> Arc<Notify> {
    let (faults, arrived) = (&rig.simulators.world.faults, Arc::new(Notify::new()));
    faults.add(Rule {
        provider: Some("ploi".into()),
        method: Some("POST".into()),
        path: Some("/sites".into()),
        writes: true,
        skip: 0,
        times: 1,
        effect: Effect::DelayMs(delay),
    });
    let notice = arrived.clone();
    *faults.hook.lock() = Some(Arc::new(move |call: &Call, moment| {
        if moment == Moment::Before && is_create(call) {
            notice.notify_one();
        }
    }));
    arrived
}

async fn ordered(arrived: &Notify) {
    tokio::time::timeout(Duration::from_secs(60), arrived.notified()).await.expect("the site is ordered");
}

/// A12.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_under_way_at_the_end_is_finished_and_noted() {
    let rig = Rig::roomy().await;
    let arrived = slow_host(&rig, SLOW_MS);
    rig.write("ending.yaml", &spec("ending", ""));
    let mut daemon = rig.daemon();
    ordered(&arrived).await;
    assert!(daemon.terminate().success(), "an asked-for end is no failure");
    drop(daemon);
    let record = rig.client("ending").await.expect("it is known");
    assert!(record.owned.first(ResourceKind::Site).is_some(), "its answer was waited for: {:?}", record.owned.intents);
    assert!(record.owned.intents.iter().all(|intent| intent.kind != ResourceKind::Site), "{:?}", record.owned.intents);
    let writes = rig.calls().into_iter().filter(|call| call.provider == "ploi" && call.method != "GET");
    assert_eq!(writes.count(), 1, "nothing new was begun after the request to end");
    let _daemon = rig.daemon();
    rig.ready("ending").await;
    assert_eq!(rig.calls().into_iter().filter(is_create).count(), 1);
}

/// A13.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_killed_while_it_ends_makes_nothing_twice() {
    let rig = Rig::roomy().await;
    let arrived = slow_host(&rig, LATE_MS);
    rig.write("ending-killed.yaml", &spec("ending-killed", ""));
    let mut daemon = rig.daemon();
    ordered(&arrived).await;
    daemon.ask_to_end();
    assert!(daemon.is_running(), "it waits for the answer");
    daemon.kill();
    drop(daemon);
    let record = rig.client("ending-killed").await.expect("it is known");
    assert!(record.owned.intents.iter().any(|intent| intent.kind == ResourceKind::Site), "{:?}", record.owned.intents);
    let _daemon = rig.daemon();
    rig.ready("ending-killed").await;
    assert_eq!(rig.calls().into_iter().filter(is_create).count(), 1);
    assert_eq!(rig.simulators.ploi.sites_count(), 1);
}
