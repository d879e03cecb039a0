//! An account's budget outlives the process: neither a crash loop nor a restart brings more calls than the provider allows.

use std::time::{Duration, Instant};

use sitewright::provider::world::faults::{Effect, Rule};

use crate::rig::{Rig, spec};

const LIMIT: u32 = 30;
/// More work than a minute's calls.
const CLIENTS: usize = 10;
/// A life ends at this call, or when no call came for a while.
const CALLS_A_LIFE: usize = 4;
const LIFE_MAX: Duration = Duration::from_secs(2);
/// Well within the minute of the first call, so that all lives share one budget.
const LIVES: usize = 15;

fn ploi_calls(rig: &Rig) -> Vec<u16> {
    rig.calls().iter().filter(|call| call.provider == "ploi").map(|call| call.status).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_that_is_killed_again_and_again_stays_within_the_limit() {
    let mut rig = Rig::with(|options| options.ploi_limit = LIMIT).await;
    rig.set("SITEWRIGHT_RATE_PLOI", &format!("{LIMIT}/1m"));
    for number in 0..CLIENTS {
        let name = format!("again-{number}");
        rig.write(&format!("{name}.yaml"), &spec(&name, ""));
    }
    for _ in 0..LIVES {
        let (before, begun) = (ploi_calls(&rig).len(), Instant::now());
        let mut daemon = rig.daemon();
        while ploi_calls(&rig).len() < before + CALLS_A_LIFE && begun.elapsed() < LIFE_MAX {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        daemon.kill();
    }
    let calls = ploi_calls(&rig);
    assert!(calls.len() > CALLS_A_LIFE * 3, "the lives were to work: {calls:?}");
    assert!(!calls.contains(&429), "{calls:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_block_outlives_the_process_that_ran_into_it() {
    let rig = Rig::new().await;
    rig.write("one.yaml", &spec("one", ""));
    rig.simulators.world.faults.add(Rule {
        provider: Some("ploi".into()),
        method: None,
        path: None,
        writes: false,
        skip: 2,
        times: 1,
        effect: Effect::Status { code: 429, body: None, retry_after: Some(600) },
    });
    let mut daemon = rig.daemon();
    let deadline = Instant::now() + Duration::from_secs(60);
    let is_blocked = async || {
        let status = rig.status().await;
        let accounts = status["providers"].as_array().cloned().unwrap_or_default();
        accounts.iter().any(|account| account["name"] == "ploi" && account["circuit"] == "open")
    };
    while !is_blocked().await {
        assert!(Instant::now() < deadline, "the block was not noted");
    }
    daemon.kill();
    rig.clear_calls();
    let output = rig.run(&["run", "--once", "--timeout", "3s"]).await;
    assert_eq!(output.status.code(), Some(1), "nothing can be done before the block is over");
    assert!(rig.calls().iter().any(|call| call.provider == "cloudflare"), "others are asked");
    assert_eq!(ploi_calls(&rig), Vec::<u16>::new());
    assert!(is_blocked().await);
}
