//! A disk that refuses: nothing leaves that is not written down, and everything goes on when it takes writes again.

use std::time::Duration;

use crate::life::{quiet_world, spec};
use crate::many::in_virtual_time;
use crate::world::RESYNC;

/// D1, D3. It is full, or it fails: to the loop a save that did not happen, whatever the reason.
#[test]
fn while_nothing_can_be_saved_nothing_is_sent_and_nobody_waits_for_a_person_afterwards() {
    in_virtual_time(async {
        let mut sim = quiet_world(None).await;
        sim.specs.write("cafe.yaml", &spec("cafe", "www", "one"));
        sim.start();
        sim.until_ready("cafe", 0).await.unwrap();
        sim.fate.refuse_saves(true);
        sim.specs.write("shop.yaml", &spec("shop", "www", "one"));
        sim.specs.write("cafe.yaml", &spec("cafe", "www", "two"));
        sim.pass(Duration::from_secs(1)).await; // what is on its way arrives
        sim.world.faults.clear_calls();
        let statements = sim.databases.lock().history();
        sim.pass(RESYNC * 4).await;
        assert_eq!(sim.world.faults.writes(), [], "nothing is sent that is not on the disk");
        assert_eq!(sim.databases.lock().history(), statements);
        sim.fate.refuse_saves(false);
        for (client, note) in [("shop", "one"), ("cafe", "two")] {
            sim.until_told(client, &spec(client, "www", note)).await.unwrap();
            sim.check_living(client, "www", note).unwrap();
        }
        sim.still().await.unwrap();
        sim.verdict().unwrap();
    });
}
