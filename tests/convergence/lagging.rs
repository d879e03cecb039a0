//! Listings and reads that lag behind writes: what was answered is waited for, not made or written again.

use std::time::Duration;

use sitewright::provider::ploi::sim::PloiDelays;

use crate::rig::{Rig, spec};

/// More than a poll, less than the settle time.
const LAG: Duration = Duration::from_millis(600);

/// B17.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_written_once_although_reads_lag() {
    let rig = Rig::with(|o| o.delays = PloiDelays { site_shows: LAG, env_settles: LAG, ..PloiDelays::quick() }).await;
    rig.simulators.cloudflare.turn(|knobs| knobs.stale_list = LAG);
    let text = "  dns: { records: [ { type: TXT, name: \"@\", content: \"v=spf1 -all\" } ] }\n";
    rig.write("late.yaml", &spec("late", text));
    let _daemon = rig.daemon();
    rig.ready("late").await;
    let writes = rig.writes();
    let count = |of: &str| writes.iter().filter(|call| call.contains(of)).count();
    assert_eq!(count("/sites"), writes.iter().filter(|c| c.contains("/sites/")).count() + 1, "{writes:#?}");
    assert_eq!(count("PATCH /api/servers/1/sites/1/env"), 1, "{writes:#?}");
    assert_eq!(count("dns_records"), 1, "one batch: {writes:#?}");
    assert_eq!(count("/deploy"), 2, "a script and a deploy: {writes:#?}");
}
