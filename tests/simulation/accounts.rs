//! A credential that leads somewhere else: to another account, or to another server under the same address.

use axum::http::Response;
use bytes::Bytes;
use futures::FutureExt as _;
use sitewright::controller::identities::Identities;
use sitewright::provider::world::faults::{Effect, Rule};
use sitewright::status::{ConditionType, Truth};
use sitewright::store::{Ask, Store as _};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::life::{quiet_world, spec};
use crate::many::in_virtual_time;
use crate::planted::{Bug, Planted};
use crate::world::{RESYNC, Sim};

/// The hash in the sentence of a client.
fn hash_in(message: &str) -> Option<&str> {
    message.split("approve ").nth(1)?.split('`').next()
}

/// B34. `PLATFORM_DATABASE_URL` leads to another server by now.
#[test]
fn another_database_server_is_not_written_to_until_a_person_says_that_it_moved() {
    in_virtual_time(async {
        let mut sim = quiet_world(None).await;
        sim.specs.write("shop.yaml", &spec("shop", "www", "one"));
        sim.start();
        sim.until_ready("shop", 0).await.unwrap();
        sim.still().await.unwrap();
        sim.stop();
        sim.databases.lock().id = 2;
        let before = sim.databases.lock().history();
        sim.specs.write("blog.yaml", &spec("blog", "www", "one"));
        sim.start();
        sim.pass(RESYNC * 3).await;
        assert_eq!(sim.databases.lock().history(), before, "nothing is made on a server that nobody knows");
        let told = sim.record("blog").await.unwrap().status.message;
        assert!(told.contains("is 2 and was 0 before") && told.contains("check the credential"), "{told}");
        let status = sim.record("shop").await.unwrap().status;
        assert_ne!(status.condition(ConditionType::DatabaseReady).unwrap().status, Truth::True, "{status:?}");
        let hash = hash_in(&told).expect("a way out").to_owned();
        sim.disk.ask(&Ask::Approve(hash), sim.now()).now_or_never().expect("memory answers at once").unwrap();
        for client in ["shop", "blog"] {
            sim.until_ready(client, 0).await.unwrap();
            sim.check_living(client, "www", "one").unwrap();
        }
        assert_ne!(Identities::load(&*sim.disk).await.unwrap(), Identities::default());
        sim.verdict().unwrap();
    });
}

static ELSEWHERE: AtomicBool = AtomicBool::new(false);

/// Cloudflare answers with the zones of somebody else.
fn of_somebody_else(
    method: &str,
    path: &str,
    answer: Result<Response<Bytes>, String>,
) -> Result<Response<Bytes>, String> {
    if method != "GET" || !path.contains("/zones?") || !ELSEWHERE.load(Ordering::Relaxed) {
        return answer;
    }
    let (mut head, body) = answer?.into_parts();
    head.headers.remove("content-length");
    let text = String::from_utf8_lossy(&body).replace("agency.example", "somebody.example");
    Ok(Response::from_parts(head, text.into()))
}

static OTHER_ZONES: Planted = Planted { name: "zones-of-somebody-else", bug: Bug::Answer(of_somebody_else) };

async fn reason(sim: &Sim, client: &str, kind: ConditionType) -> String {
    sim.record(client).await.unwrap().status.condition(kind).unwrap().reason.clone()
}

/// B34. Tokens of other accounts: Ploi knows no such server there, Cloudflare shows other zones.
#[test]
fn the_tokens_of_other_accounts_write_nothing_and_remove_nothing() {
    in_virtual_time(async {
        let mut sim = quiet_world(Some(&OTHER_ZONES)).await;
        sim.specs.write("shop.yaml", &spec("shop", "www", "one"));
        sim.specs.write("cafe.yaml", &spec("cafe", "www", "one"));
        sim.start();
        sim.until_ready("shop", 0).await.unwrap();
        sim.until_ready("cafe", 0).await.unwrap();
        sim.still().await.unwrap();
        sim.stop();
        ELSEWHERE.store(true, Ordering::Relaxed);
        sim.world.faults.add(Rule::always("ploi", Effect::Status { code: 404, body: None, retry_after: None }));
        sim.specs.write("blog.yaml", &spec("blog", "www", "one"));
        sim.specs.remove("cafe.yaml");
        sim.world.faults.clear_calls();
        sim.start();
        sim.pass(RESYNC * 16).await;
        let writes = sim.world.faults.writes();
        ELSEWHERE.store(false, Ordering::Relaxed);
        sim.world.faults.clear();
        assert_eq!(writes, [], "neither made nor removed");
        assert_eq!(reason(&sim, "shop", ConditionType::DNSReady).await, "ZoneNotFound");
        assert_eq!(reason(&sim, "cafe", ConditionType::DNSReady).await, "ZoneNotFound");
        sim.until_gone("cafe").await.unwrap();
        sim.check_gone("cafe").unwrap();
        for client in ["shop", "blog"] {
            sim.until_ready(client, 0).await.unwrap();
            sim.check_living(client, "www", "one").unwrap();
        }
        sim.verdict().unwrap();
    });
}
