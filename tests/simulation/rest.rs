//! A client that waits costs nothing: no turn of the loop on the spot, and few calls.

use std::time::Duration;

use crate::fate::{Course, Fate};
use crate::life::spec;
use crate::many::in_virtual_time;
use crate::world::Sim;

/// The grace of this life; its spec asks for a look at the site every hour.
const GRACE: Duration = Duration::from_secs(24 * 3600);
/// Calls in a day: a handful for each of the ninety-six cycles.
const CALLS_MAX: usize = 1_000;

#[test]
fn a_client_in_its_grace_is_left_alone() {
    in_virtual_time(async {
        let fate = Fate::new(Course::Told { crashes: Vec::new(), lost: false }, Duration::ZERO, 0);
        let mut sim = Sim::new(fate, None).await;
        sim.set_grace(GRACE);
        sim.people_the_world();
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
