//! The state is lost, or an older copy of it is put back, while the world stands: nothing is destroyed, nothing is made
//! twice, and nothing is written at all until a person has looked.

use std::time::Duration;

use futures::FutureExt as _;
use sitewright::controller::recovery::Recovery;
use sitewright::store::memory::MemoryStore;
use sitewright::store::{Ask, Store, Stored};

use crate::life::{quiet_world, spec};
use crate::many::in_virtual_time;
use crate::moved::moved;
use crate::world::{RESYNC, Sim, ZONE};

/// Clients and their ports, as a backup holds them; documents are younger than any backup.
async fn copy_of(disk: &MemoryStore) -> Stored<MemoryStore> {
    let copy = MemoryStore::default();
    copy.instance(Some(&disk.instance(None).await?)).await?;
    for record in disk.clients().await? {
        if let Some((server, port)) = &record.owned.allocation.port {
            let (uid, range) = (&record.owned.mark.uid, *port..=*port);
            copy.allocate_port(server, uid, Some(*port), range, &Default::default()).await?;
        }
        copy.save(&record).await?;
    }
    Ok(copy)
}

async fn recovery(sim: &Sim) -> Option<Recovery> {
    Recovery::load(&*sim.disk).await.unwrap()
}

fn approve(sim: &Sim, hash: String) {
    sim.disk.ask(&Ask::Approve(hash), sim.now()).now_or_never().expect("memory answers at once").unwrap();
}

/// Writes since the calls were cleared, the web server's and the database server's together.
fn writes(sim: &Sim) -> Vec<String> {
    let calls = sim.world.faults.writes();
    calls.iter().map(|call| format!("{} {} {}", call.provider, call.method, call.path)).collect()
}

/// Sites and databases that were made, and everything that was removed or suspended.
fn made_or_gone(sim: &Sim) -> Vec<String> {
    let tells = |call: &String| call.ends_with("/sites") || call.contains("DELETE") || call.ends_with("/suspend");
    writes(sim).into_iter().filter(tells).collect()
}

/// D5, D6: the file is gone, or damaged and put aside by a person.
#[test]
fn a_lost_state_is_rebuilt_from_the_marks_and_costs_one_deploy_a_client() {
    in_virtual_time(async {
        let mut sim = quiet_world(None).await;
        for client in ["shop", "blog"] {
            sim.specs.write(&format!("{client}.yaml"), &spec(client, "www", "one"));
        }
        sim.start();
        for client in ["shop", "blog"] {
            sim.until_ready(client, 0).await.unwrap();
        }
        sim.still().await.unwrap();
        let before = sim.record("shop").await.unwrap();
        sim.stop();
        sim.replace_disk(MemoryStore::default()).await;
        sim.specs.write("new.yaml", &spec("new", "www", "one"));
        sim.world.faults.clear_calls();
        let statements = sim.databases.lock().history();
        sim.start();
        sim.pass(RESYNC * 3).await;
        let held = recovery(&sim).await.expect("the state is in doubt");
        assert_eq!(held.clients.iter().map(|name| name.as_str()).collect::<Vec<_>>(), ["blog", "shop"]);
        assert_eq!(writes(&sim), Vec::<String>::new(), "nothing is written before a person has looked");
        assert_eq!(sim.databases.lock().history(), statements);
        let waiting = sim.record("new").await.unwrap().status.message;
        assert!(waiting.contains(&held.hash()), "{waiting}");
        approve(&sim, held.hash());
        for client in ["shop", "blog", "new"] {
            sim.until_told(client, &spec(client, "www", "one")).await.unwrap();
        }
        let after = sim.record("shop").await.unwrap();
        assert_eq!(after.owned.mark, before.owned.mark);
        assert_eq!(after.owned.allocation.port, before.owned.allocation.port);
        let site = sim.ploi.site_id(sitewright::provider::ploi::sim::SERVER_ID, &format!("shop.{ZONE}")).unwrap();
        let of_shop: Vec<String> = writes(&sim)
            .into_iter()
            .filter(|call| call.contains(&format!("/sites/{site}/")) || call.contains("shop."))
            .collect();
        assert_eq!(of_shop, [format!("ploi POST /api/servers/1/sites/{site}/deploy")], "one deploy and nothing else");
        sim.still().await.unwrap();
        sim.check_living("shop", "www", "one").unwrap();
        sim.check_living("blog", "www", "one").unwrap();
        sim.check_strangers().unwrap();
        sim.verdict().unwrap();
    });
}

/// A process that begins beside a file that nobody can read has seen nothing yet: its first complete scan is its first.
#[test]
fn evidence_of_an_earlier_process_is_not_completed_by_the_first_complete_scan() {
    in_virtual_time(async {
        let mut sim = quiet_world(None).await;
        sim.specs.write("shop.yaml", &spec("shop", "www", "one"));
        sim.start();
        sim.until_ready("shop", 0).await.unwrap();
        sim.specs.remove("shop.yaml");
        sim.pass(Duration::from_secs(30)).await;
        sim.stop();
        sim.pass(Duration::from_secs(600)).await;
        sim.specs.write("garbage.yaml", "{{{");
        sim.start();
        sim.pass(Duration::from_secs(60)).await;
        sim.specs.remove("garbage.yaml");
        sim.pass(Duration::from_secs(10)).await;
        let goes = async |sim: &Sim| sim.record("shop").await.is_some_and(|record| record.owned.removal.is_some());
        assert!(!goes(&sim).await, "one complete scan is no evidence");
        assert!(sim.until(Duration::from_secs(120), goes).await, "the next one is");
    });
}

/// D8.
#[test]
fn an_older_copy_of_the_state_brings_nobody_back_and_takes_nobody_away() {
    in_virtual_time(async {
        let mut sim = quiet_world(None).await;
        sim.specs.write("shop.yaml", &spec("shop", "www", "one"));
        sim.specs.write("cafe.yaml", &spec("cafe", "www", "one"));
        sim.start();
        sim.until_ready("shop", 0).await.unwrap();
        sim.until_ready("cafe", 0).await.unwrap();
        // The backup is taken while cafe is on its way out; then it returns, shop goes for good, and blog is born.
        sim.specs.remove("cafe.yaml");
        let offline = async |sim: &Sim| sim.record("cafe").await.is_some_and(|record| record.owned.removal.is_some());
        assert!(sim.until(Duration::from_secs(600), offline).await);
        let backup = copy_of(&sim.disk).await.unwrap();
        sim.specs.write("cafe.yaml", &spec("cafe", "www", "two"));
        sim.specs.remove("shop.yaml");
        sim.specs.write("blog.yaml", &spec("blog", "www", "one"));
        sim.until_told("cafe", &spec("cafe", "www", "two")).await.unwrap();
        sim.until_ready("blog", 0).await.unwrap();
        sim.until_gone("shop").await.unwrap();
        sim.still().await.unwrap();
        sim.stop();
        sim.replace_disk(backup).await;
        // Nobody can say whether cafe's file is back: its removal, long due in the copy, stands still.
        *sim.specs.problem.lock() = Some("cannot be read (simulated)".into());
        sim.world.faults.clear_calls();
        sim.start();
        sim.pass(RESYNC * 2).await;
        assert_eq!(writes(&sim), Vec::<String>::new());
        *sim.specs.problem.lock() = None;
        sim.pass(RESYNC * 2).await;
        assert_eq!(writes(&sim), Vec::<String>::new(), "blog is more than the copy knows: nothing is written");
        let held = recovery(&sim).await.expect("the state is in doubt");
        approve(&sim, held.hash());
        sim.until_told("blog", &spec("blog", "www", "one")).await.unwrap();
        sim.until_told("cafe", &spec("cafe", "www", "two")).await.unwrap();
        sim.until_gone("shop").await.unwrap();
        assert_eq!(made_or_gone(&sim), Vec::<String>::new(), "nobody is made again, nobody is taken away");
        sim.still().await.unwrap();
        sim.check_gone("shop").unwrap();
        sim.check_living("blog", "www", "one").unwrap();
        sim.check_living("cafe", "www", "two").unwrap();
        sim.verdict().unwrap();
    });
}

/// D7. The state is lost, and a person had taken the marks from site and records before: what stands under our names without
/// them is a conflict, nothing is made beside it, and the site keeps its way into the database.
#[test]
fn a_lost_state_and_lost_marks_are_a_conflict_and_lock_nobody_out() {
    in_virtual_time(async {
        let mut sim = quiet_world(None).await;
        sim.specs.write("shop.yaml", &spec("shop", "www", "one"));
        sim.start();
        sim.until_ready("shop", 0).await.unwrap();
        sim.still().await.unwrap();
        sim.stop();
        sim.replace_disk(MemoryStore::default()).await;
        let server = sitewright::provider::ploi::sim::SERVER_ID;
        let domain = format!("shop.{ZONE}");
        let without = |text: &str| {
            let kept: Vec<&str> = text.lines().filter(|line| !line.starts_with("SITEWRIGHT_OWNER")).collect();
            Some(kept.join("\n") + "\n")
        };
        assert!(sim.ploi.edit_env(server, &domain, without));
        for record in sim.cloudflare.records(&sim.zone) {
            let comment = serde_json::json!({ "comment": "" });
            sim.cloudflare.change_by_hand(&sim.zone, record["id"].as_str().unwrap(), &comment).unwrap();
        }
        let records = sim.records_of(&domain);
        let password = sim.databases.lock().password_of("client_shop_a");
        sim.world.faults.clear_calls();
        sim.start();
        sim.pass(RESYNC * 2).await;
        let held = recovery(&sim).await.expect("its database carries a mark yet");
        approve(&sim, held.hash());
        sim.pass(RESYNC * 3).await;
        assert_eq!(writes(&sim), Vec::<String>::new(), "neither touched nor made beside it");
        assert_eq!(sim.records_of(&domain), records);
        let status = sim.record("shop").await.unwrap().status;
        let stalled = status.condition(sitewright::status::ConditionType::Stalled).unwrap();
        assert_eq!(stalled.reason, "Conflict", "{}", stalled.message);
        assert!(stalled.message.contains("sitewright/adopt"), "{}", stalled.message);
        assert_eq!(sim.databases.lock().password_of("client_shop_a"), password, "the site knows no other one");
        sim.verdict().unwrap();
    });
}

/// Its marks tell who it is, and its site's environment which database it has had since its first name.
#[test]
fn a_lost_state_finds_a_moved_client_with_the_database_and_the_process_of_its_first_name() {
    in_virtual_time(async {
        let mut sim = quiet_world(None).await;
        sim.specs.write("shop.yaml", &spec("shop", "www", "one"));
        sim.start();
        sim.until_ready("shop", 0).await.unwrap();
        sim.specs.remove("shop.yaml");
        sim.specs.write("store.yaml", &moved());
        sim.until_told("store", &moved()).await.unwrap();
        sim.still().await.unwrap();
        let before = sim.record("store").await.unwrap();
        sim.stop();
        sim.replace_disk(MemoryStore::default()).await;
        sim.start();
        sim.pass(RESYNC * 3).await;
        approve(&sim, recovery(&sim).await.expect("the state is in doubt").hash());
        sim.until_told("store", &moved()).await.unwrap();
        let after = sim.record("store").await.unwrap();
        assert_eq!(after.owned.mark, before.owned.mark);
        assert_eq!(after.owned.allocation.database, before.owned.allocation.database);
        assert_eq!(after.owned.allocation.process, before.owned.allocation.process);
        sim.check_living("shop", "www", "one").unwrap();
        sim.verdict().unwrap();
    });
}
