//! Listings that are complete in themselves and lack what is ours: believed of one client, doubted of many.

use std::time::Duration;

use axum::http::Response;
use bytes::Bytes;
use futures::FutureExt as _;
use serde_json::Value;
use sitewright::controller::doubts::{DOUBTS, Doubt};
use sitewright::provider::ploi::sim::SERVER_ID;
use sitewright::status::{ConditionType, Truth};
use sitewright::store::{Ask, Store as _};

use crate::life::{quiet_world, spec};
use crate::many::in_virtual_time;
use crate::planted::{Bug, Planted};
use crate::world::{RESYNC, Sim, ZONE};

const CLIENTS: [&str; 3] = ["shop", "blog", "cafe"];

async fn three_clients(planted: Option<&'static Planted>) -> Sim {
    let mut sim = quiet_world(planted).await;
    for client in CLIENTS {
        sim.specs.write(&format!("{client}.yaml"), &spec(client, "www", "one"));
    }
    sim.start();
    for client in CLIENTS {
        sim.until_ready(client, 0).await.unwrap();
    }
    sim.still().await.unwrap();
    sim.world.faults.clear_calls();
    sim
}

/// The hash that ends the doubt about a place.
async fn hash(sim: &Sim, place: &str) -> Option<String> {
    let doubts = sim.disk.document(DOUBTS).await.unwrap()?;
    let doubt: Doubt = serde_json::from_value(doubts.get(place)?.clone()).unwrap();
    Some(doubt.hash(place))
}

async fn told(sim: &Sim, client: &str, kind: ConditionType) -> (Truth, String, String) {
    let status = sim.record(client).await.unwrap().status;
    let condition = status.condition(kind).unwrap();
    (condition.status, condition.reason.clone(), condition.message.clone())
}

/// B13, B24.
#[test]
fn sites_that_are_missing_all_at_once_are_put_back_only_when_a_person_says_that_they_are_gone() {
    in_virtual_time(async {
        let mut sim = three_clients(None).await;
        for client in ["shop", "blog"] {
            assert!(sim.ploi.remove_site(SERVER_ID, &format!("{client}.{ZONE}")));
        }
        sim.pass(RESYNC * 3).await;
        assert_eq!(sim.world.faults.writes(), [], "nothing is made of a listing that nobody believes");
        let hash = hash(&sim, "server 1 at ploi").await.expect("it is in doubt");
        let (truth, reason, message) = told(&sim, "shop", ConditionType::SiteReady).await;
        assert_eq!((truth, reason.as_str()), (Truth::False, "NotBelieved"));
        assert!(message.contains("2 of 3 clients") && message.contains("blog, shop"), "{message}");
        assert!(message.contains("credential") && message.contains(&format!("approve {hash}")), "{message}");
        // Whoever is shown as ever waits as well: the listing as a whole is no witness.
        assert_eq!(told(&sim, "cafe", ConditionType::SiteReady).await.0, Truth::False);
        sim.disk.ask(&Ask::Approve(hash), sim.now()).now_or_never().expect("memory answers at once").unwrap();
        let is_back = async |sim: &Sim| sim.ploi.site_id(SERVER_ID, &format!("shop.{ZONE}")).is_some();
        assert!(sim.until(RESYNC * 3, is_back).await);
        for client in CLIENTS {
            sim.until_ready(client, 0).await.unwrap();
            sim.check_living(client, "www", "one").unwrap();
        }
        sim.still().await.unwrap();
        assert!(sim.disk.document(DOUBTS).await.unwrap().is_none(), "a listing that shows all of them is no doubt");
        sim.verdict().unwrap();
    });
}

/// B24.
#[test]
fn a_single_site_that_vanished_is_put_back() {
    in_virtual_time(async {
        let mut sim = three_clients(None).await;
        assert!(sim.ploi.remove_site(SERVER_ID, &format!("shop.{ZONE}")));
        let is_back = async |sim: &Sim| sim.ploi.site_id(SERVER_ID, &format!("shop.{ZONE}")).is_some();
        assert!(sim.until(RESYNC * 3, is_back).await);
        sim.until_ready("shop", 0).await.unwrap();
        sim.check_living("shop", "www", "one").unwrap();
        assert!(sim.disk.document(DOUBTS).await.unwrap().is_none());
        sim.verdict().unwrap();
    });
}

static FILTERED: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

/// A credential that lost its right to see shop and blog: what it is shown is well-formed and complete in itself.
fn filtered(method: &str, path: &str, answer: Result<Response<Bytes>, String>) -> Result<Response<Bytes>, String> {
    let is_listing = method == "GET" && path.contains("/dns_records?");
    if !is_listing || !FILTERED.load(std::sync::atomic::Ordering::Relaxed) {
        return answer;
    }
    let (mut head, body) = answer?.into_parts();
    let mut page: Value = serde_json::from_slice(&body).unwrap();
    let hidden = |row: &Value| ["shop.", "blog."].iter().any(|name| row["name"].as_str().unwrap().contains(name));
    page["result"].as_array_mut().unwrap().retain(|row| !hidden(row));
    let count = page["result"].as_array().unwrap().len();
    page["result_info"]["count"] = count.into();
    page["result_info"]["total_count"] = count.into();
    head.headers.remove("content-length");
    Ok(Response::from_parts(head, page.to_string().into()))
}

static FILTER: Planted = Planted { name: "a-filtered-listing", bug: Bug::Answer(filtered) };

/// B33. Also a client that goes meanwhile keeps its site: an address that is not seen is not gone.
#[test]
fn a_credential_that_sees_less_makes_and_removes_nothing() {
    in_virtual_time(async {
        let mut sim = three_clients(Some(&FILTER)).await;
        FILTERED.store(true, std::sync::atomic::Ordering::Relaxed);
        sim.pass(RESYNC * 2).await;
        sim.specs.remove("shop.yaml");
        sim.pass(Duration::from_secs(4 * 3600)).await;
        let writes = sim.world.faults.writes();
        FILTERED.store(false, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(writes, [], "nothing is written, and the site of who goes stands");
        let (truth, reason, _) = told(&sim, "blog", ConditionType::DNSReady).await;
        assert_eq!((truth, reason.as_str()), (Truth::False, "NotBelieved"));
        sim.until_gone("shop").await.unwrap();
        for client in ["blog", "cafe"] {
            sim.until_ready(client, 0).await.unwrap();
            sim.check_living(client, "www", "one").unwrap();
        }
        assert!(sim.disk.document(DOUBTS).await.unwrap().is_none(), "the doubt ends by itself");
        sim.verdict().unwrap();
    });
}
