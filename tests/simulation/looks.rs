//! What looks show of a host: work that never ends, good ends that turn bad, statuses that nobody saw, an id that stands for
//! something else, and answers that are older than what was known.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::http::Response;
use bytes::Bytes;
use parking_lot::Mutex;
use sitewright::provider::ploi::sim::{PloiDelays, SERVER_ID};
use sitewright::status::{ConditionType, Truth};
use tokio::time::Instant;

use crate::life::{PATIENCE, empty_world, quiet_world, spec, whole_life};
use crate::many::in_virtual_time;
use crate::planted::{Bug, Planted};
use crate::world::{RESYNC, SETTLE, Sim, ZONE};

const MINUTE: Duration = Duration::from_secs(60);

fn shop() -> String {
    format!("shop.{ZONE}")
}

/// Writes since the calls were cleared, without those of others.
fn writes(sim: &Sim) -> Vec<String> {
    sim.world.faults.writes().iter().map(|call| format!("{} {}", call.method, call.path)).collect()
}

async fn stalled(sim: &Sim) -> Option<(String, String)> {
    let status = sim.record("shop").await?.status;
    let stalled = status.condition(ConditionType::Stalled).filter(|it| it.status == Truth::True)?;
    Some((stalled.reason.clone(), stalled.message.clone()))
}

/// B21.
#[test]
fn a_site_that_is_installed_for_ever_is_told_after_a_while_and_not_made_again() {
    in_virtual_time(async {
        let mut sim = quiet_world(None).await;
        sim.ploi.set_delays(PloiDelays { building: MINUTE * 60 * 24 * 365, ..sim.ploi.delays() });
        sim.specs.write("shop.yaml", &spec("shop", "www", "one"));
        sim.start();
        let is_made = async |sim: &Sim| sim.ploi.site_id(SERVER_ID, &shop()).is_some();
        assert!(sim.until(PATIENCE, is_made).await);
        sim.pass(MINUTE * 10).await;
        assert_eq!(stalled(&sim).await, None, "installations take minutes");
        sim.pass(MINUTE * 10 + RESYNC).await;
        let (reason, message) = stalled(&sim).await.expect("a person is asked");
        assert_eq!(reason, "SiteStuck");
        assert!(message.contains("`created` since 2026-01-01T00:0") && message.contains("panel"), "{message}");
        let creates = writes(&sim).iter().filter(|call| call.ends_with("/sites")).count();
        assert_eq!(creates, 1, "it is not made again");
        assert!(sim.ploi.set_status(SERVER_ID, &shop(), "active"));
        sim.until_ready("shop", 0).await.unwrap();
        sim.check_living("shop", "www", "one").unwrap();
        sim.verdict().unwrap();
    });
}

/// B22. What was seen good is believed for as long as it is seen good.
#[test]
fn a_good_end_that_turns_bad_is_taken_as_it_stands() {
    in_virtual_time(async {
        let mut sim = quiet_world(None).await;
        sim.specs.write("shop.yaml", &spec("shop", "www", "one"));
        sim.start();
        let builds = async |sim: &Sim| sim.record("shop").await.is_some_and(|r| r.owned.details.vhost.is_some());
        assert!(sim.until(PATIENCE, builds).await);
        // The host takes its `active` back in the middle of the work.
        sim.pass(MINUTE * 2).await;
        assert!(sim.ploi.set_status(SERVER_ID, &shop(), "building"));
        sim.pass(MINUTE).await;
        sim.world.faults.clear_calls();
        sim.pass(MINUTE * 5).await;
        let of_site = |call: &String| call.contains("/sites");
        assert_eq!(writes(&sim).into_iter().filter(of_site).collect::<Vec<_>>(), Vec::<String>::new());
        let status = sim.record("shop").await.unwrap().status;
        assert_ne!(status.condition(ConditionType::SiteReady).unwrap().status, Truth::True, "{status:?}");
        assert!(sim.ploi.set_status(SERVER_ID, &shop(), "active"));
        sim.until_ready("shop", 0).await.unwrap();
        // And long after the end: a failed deploy of somebody else leaves the release that serves.
        sim.still().await.unwrap();
        assert!(sim.ploi.set_status(SERVER_ID, &shop(), "deploy-failed"));
        sim.still().await.unwrap();
        sim.until_ready("shop", 0).await.unwrap();
        sim.check_living("shop", "www", "one").unwrap();
        sim.verdict().unwrap();
    });
}

/// B23. Everything is over before anybody looks: no status in between is ever seen.
#[test]
fn a_life_in_which_no_status_between_two_looks_is_seen_is_a_life_like_any_other() {
    in_virtual_time(async {
        let mut sim = empty_world(None).await;
        let never = Duration::ZERO;
        sim.ploi.set_delays(PloiDelays {
            building: never,
            repository: never,
            deploying_shows: never,
            deploy: never,
            certificate: never,
            script: never,
            delete: never,
            env_settles: never,
            site_shows: never,
        });
        whole_life(&mut sim).await.unwrap();
    });
}

/// B41. A person gives our site another domain, or the host mixes up its ids: what stands there is left alone.
#[test]
fn an_id_that_stands_for_another_domain_is_neither_touched_nor_made_again() {
    in_virtual_time(async {
        let mut sim = quiet_world(None).await;
        sim.specs.write("shop.yaml", &spec("shop", "www", "one"));
        sim.start();
        sim.until_ready("shop", 0).await.unwrap();
        sim.still().await.unwrap();
        let other = format!("other.{ZONE}");
        assert!(sim.ploi.rename_site(SERVER_ID, &shop(), &other));
        sim.pass(RESYNC * 2).await;
        sim.specs.write("shop.yaml", &spec("shop", "www", "two"));
        sim.pass(RESYNC * 2).await;
        let of_host = |call: &String| call.contains("/servers/");
        let touched: Vec<String> = writes(&sim).into_iter().filter(of_host).collect();
        assert_eq!(touched, Vec::<String>::new(), "neither it nor another one beside it");
        let (reason, message) = stalled(&sim).await.expect("a person is asked");
        assert_eq!(reason, "OwnershipLost");
        assert!(message.contains(&format!("is called {other} at the host")), "{message}");
        // Nor when its client goes.
        sim.specs.remove("shop.yaml");
        sim.pass(PATIENCE).await;
        let touched: Vec<String> = writes(&sim).into_iter().filter(of_host).collect();
        assert_eq!(touched, Vec::<String>::new());
        assert!(sim.ploi.rename_site(SERVER_ID, &other, &shop()));
        sim.until_gone("shop").await.unwrap();
        sim.check_gone("shop").unwrap();
        sim.verdict().unwrap();
    });
}

/// Answers of one listing, with their times.
type Answers = Vec<(Instant, Response<Bytes>)>;

/// What listings answered of late, by path.
static EARLIER: Mutex<BTreeMap<String, Answers>> = Mutex::new(BTreeMap::new());

/// How many of them told of something else than the newest.
static FELL_BACK: AtomicU32 = AtomicU32::new(0);

/// Every second look at a listing is shown the oldest answer of the last minute.
fn falls_back(method: &str, path: &str, answer: Result<Response<Bytes>, String>) -> Result<Response<Bytes>, String> {
    let is_listing = ["/sites?", "/dns_records?", "/certificates?"].iter().any(|part| path.contains(part));
    let newest = match &answer {
        Ok(newest) if method == "GET" && is_listing && newest.status().is_success() => newest.clone(),
        _ => return answer,
    };
    let mut earlier = EARLIER.lock();
    let seen = earlier.entry(path.to_owned()).or_default();
    seen.retain(|(at, _)| at.elapsed() < SETTLE * 2 / 3);
    seen.push((Instant::now(), newest));
    let shown = if seen.len().is_multiple_of(2) { 0 } else { seen.len() - 1 };
    let answer = seen[shown].1.clone();
    if seen.last().is_some_and(|(_, newest)| newest.body() != answer.body()) {
        FELL_BACK.fetch_add(1, Ordering::Relaxed);
    }
    Ok(answer)
}

static FALLS_BACK: Planted = Planted { name: "listings-fall-back", bug: Bug::Answer(falls_back) };

/// B18. A look shows what an earlier look had shown already otherwise: what is gone is there again, what is new is not.
#[test]
fn answers_that_fall_back_behind_what_was_seen_double_nothing_and_bring_nothing_back() {
    in_virtual_time(async {
        let mut sim = empty_world(Some(&FALLS_BACK)).await;
        whole_life(&mut sim).await.unwrap();
        let fell_back = FELL_BACK.load(Ordering::Relaxed);
        assert!(fell_back > 10, "{fell_back} looks fell back");
    });
}
