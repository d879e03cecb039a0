//! A site that stops answering: looks, incidents, and a network of our own that is away.

use std::time::Duration;

use sitewright::provider::ploi::sim::SERVER_ID;
use sitewright::resource::name::ClientName;
use sitewright::store::Store as _;

use crate::life::{PATIENCE, quiet_world, spec};
use crate::many::in_virtual_time;
use crate::world::Sim;

const MINUTE: Duration = Duration::from_secs(60);

async fn told(sim: &Sim, reason: &str) -> Vec<String> {
    let events = sim.disk.events(Some(&ClientName::trusted("shop")), 0, 9_999).await.unwrap();
    events.into_iter().filter(|event| event.reason == reason).map(|event| event.message).collect()
}

async fn ready_shop() -> Sim {
    let mut sim = quiet_world(None).await;
    sim.specs.write("shop.yaml", &spec("shop", "www", "one").replace("interval: 1h", "interval: 1m"));
    sim.start();
    sim.until_ready("shop", 0).await.unwrap();
    sim.pass(10 * MINUTE).await;
    sim
}

#[test]
fn three_failed_looks_are_an_incident_with_begin_end_and_cause() {
    in_virtual_time(async {
        let mut sim = ready_shop().await;
        let uptime = sim.record("shop").await.unwrap().owned.uptime;
        assert!(uptime.looks.is_some_and(|(first, last)| last > first) && uptime.breaks.is_empty(), "{uptime:?}");
        assert!(sim.world.state().processes.stop(SERVER_ID, "ploi", "shop"));
        let opened = async |sim: &Sim| !told(sim, "IncidentOpened").await.is_empty();
        assert!(sim.until(PATIENCE, opened).await);
        assert!(told(&sim, "IncidentOpened").await[0].contains("502"), "{:?}", told(&sim, "IncidentOpened").await);
        assert!(sim.world.state().processes.restart(SERVER_ID, "ploi", "shop"));
        let closed = async |sim: &Sim| !told(sim, "IncidentClosed").await.is_empty();
        assert!(sim.until(PATIENCE, closed).await);
        let uptime = sim.record("shop").await.unwrap().owned.uptime;
        assert_eq!((uptime.incidents.len(), uptime.incident()), (1, None));
        let share = uptime.ratio(Duration::from_secs(24 * 3600), sim.now()).unwrap();
        assert!(share < 1.0 && share > 0.5, "{share}");
    });
}
