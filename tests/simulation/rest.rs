//! A client that waits costs nothing: no turn of the loop on the spot, and few calls.

use std::time::Duration;

use sitewright::provider::world::faults::{Effect, Rule};

use crate::life::{quiet_world, spec};
use crate::many::in_virtual_time;

/// The grace of this life; its spec asks for a look at the site every hour.
const GRACE: Duration = Duration::from_secs(24 * 3600);
/// Calls in a day: a handful for each of the ninety-six cycles.
const CALLS_MAX: usize = 1_000;

#[test]
fn a_client_in_its_grace_is_left_alone() {
    in_virtual_time(async {
        let mut sim = quiet_world(None).await;
        sim.set_grace(GRACE);
        sim.specs.write("shop.yaml", &spec("shop", "www", "one"));
        sim.start();
        sim.until_ready("shop", 0).await.unwrap();
        sim.specs.remove("shop.yaml");
        sim.world.faults.clear_calls();
        sim.pass(GRACE).await;
        let calls = sim.world.faults.calls().len();
        println!("{calls} calls in a day of grace");
        assert!(calls < CALLS_MAX, "{calls} calls");
        sim.until_gone("shop").await.unwrap();
        sim.check_gone("shop").unwrap();
        sim.verdict().unwrap();
    });
}

/// How long a host may be closed for work on it.
const MAINTENANCE: Duration = Duration::from_secs(6 * 3600);

/// B9. Nothing is made again or taken down when it is back.
#[test]
fn a_host_that_is_closed_for_hours_is_asked_now_and_then_and_nothing_is_made_anew() {
    in_virtual_time(async {
        let mut sim = quiet_world(None).await;
        sim.specs.write("shop.yaml", &spec("shop", "www", "one"));
        sim.start();
        sim.until_ready("shop", 0).await.unwrap();
        sim.still().await.unwrap();
        sim.world.faults.clear_calls();
        sim.world.faults.add(Rule::always("ploi", Effect::Status { code: 503, body: None, retry_after: None }));
        sim.pass(MAINTENANCE).await;
        let calls = sim.world.faults.calls().into_iter().filter(|call| call.provider == "ploi").count();
        println!("{calls} calls in six hours of maintenance");
        assert!(calls > 0 && calls <= 20 * 360, "{calls} calls: no more than a handful a minute");
        sim.world.faults.clear();
        sim.pass(Duration::from_secs(1800)).await;
        sim.until_ready("shop", 0).await.unwrap();
        assert_eq!(sim.world.faults.writes(), [], "nothing was written, neither meanwhile nor after it");
        sim.check_living("shop", "www", "one").unwrap();
        sim.verdict().unwrap();
    });
}
