//! Somebody else writes the same field: it is set back a few times, then left to a person, by name.

use futures::FutureExt as _;
use sitewright::plan::fights::ROUNDS_MAX;
use sitewright::resource::name::ClientName;
use sitewright::status::{ConditionType, Truth};
use sitewright::store::{Ask, Store as _};

use crate::life::{PATIENCE, quiet_world, spec};
use crate::many::in_virtual_time;
use crate::world::{RESYNC, Sim, ZONE};

fn text_record(sim: &Sim) -> Option<String> {
    let records = sim.cloudflare.records(&sim.zone);
    let ours = records.iter().find(|r| r["type"] == "TXT" && r["name"] == format!("shop.{ZONE}"));
    ours.and_then(|record| record["id"].as_str().map(str::to_owned))
}

fn stalled(record: &sitewright::store::ClientRecord) -> Option<(String, String)> {
    let is_it = |c: &&sitewright::status::Condition| c.kind == ConditionType::Stalled && c.status == Truth::True;
    record.status.conditions.iter().find(is_it).map(|c| (c.reason.clone(), c.message.clone()))
}

/// B24, B28, G11.
#[test]
fn a_field_that_somebody_else_keeps_writing_is_left_to_a_person_by_name() {
    in_virtual_time(async {
        let mut sim = quiet_world(None).await;
        sim.specs.write("shop.yaml", &spec("shop", "www", "one"));
        sim.start();
        sim.until_ready("shop", 0).await.unwrap();
        sim.still().await.unwrap();
        for round in 0..ROUNDS_MAX {
            let id = text_record(&sim).expect("it was set back");
            sim.cloudflare.delete_by_hand(&sim.zone, &id).unwrap();
            sim.pass(RESYNC * 2).await;
            assert!(stalled(&sim.record("shop").await.unwrap()).is_none(), "round {round}");
        }
        let id = text_record(&sim).expect("it was set back once more");
        sim.cloudflare.delete_by_hand(&sim.zone, &id).unwrap();
        sim.pass(RESYNC * 2).await;
        let (reason, message) = stalled(&sim.record("shop").await.unwrap()).expect("a person is asked");
        assert_eq!(reason, "NotConverging");
        assert!(message.contains("TXT") && message.contains(&format!("shop.{ZONE}")), "{message}");
        assert_eq!(text_record(&sim), None);
        sim.still().await.unwrap();
        // The person has looked: it begins anew.
        let ask = Ask::Reconcile(ClientName::trusted("shop"));
        sim.disk.ask(&ask, sim.now()).now_or_never().expect("memory answers at once").unwrap();
        let is_back = async |sim: &Sim| text_record(sim).is_some();
        assert!(sim.until(PATIENCE, is_back).await);
        sim.until_ready("shop", 0).await.unwrap();
        sim.verdict().unwrap();
    });
}
