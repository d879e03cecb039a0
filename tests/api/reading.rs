//! Reading: pages that lose nobody, plans, readiness.

use std::collections::BTreeSet;

use serde_json::Value;
use sitewright::status::Phase;
use sitewright::store::history::DeploymentState;

use crate::rig::{Rig, deployment, event, record};

fn names(page: &Value) -> Vec<String> {
    let clients = page["clients"].as_array().expect("clients").iter();
    clients.map(|client| client["name"].as_str().expect("a name").to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_follow_one_another_and_lose_nobody() {
    let rig = Rig::new().await;
    let tier = |number: usize| if number.is_multiple_of(3) { "gold" } else { "silver" };
    let phase = |number: usize| if number.is_multiple_of(2) { Phase::Active } else { Phase::Failed };
    let records: Vec<_> = (0..23).map(|n| record(&format!("client{n:02}"), tier(n), phase(n))).collect();
    rig.save(&records).await;
    for (query, expected) in [
        ("limit=5", (0..23).collect::<Vec<usize>>()),
        ("limit=23", (0..23).collect()),
        ("limit=2&selector=tier%3Dgold", (0..23).filter(|n| n % 3 == 0).collect()),
        ("limit=3&phase=Failed", (0..23).filter(|n| n % 2 == 1).collect()),
        ("limit=1&phase=Active,Failed&selector=tier=gold", (0..23).filter(|n| n % 3 == 0).collect()),
        ("phase=Suspended", Vec::new()),
    ] {
        let mut seen = Vec::new();
        let mut target = format!("/api/v1/clients?{query}");
        loop {
            let answer = rig.get(&target).await;
            assert_eq!(answer.status, 200, "{target}: {answer:?}");
            let page = answer.json();
            seen.extend(names(&page));
            let Some(next) = page["next"].as_str() else {
                assert_eq!(answer.header("link"), "", "{target}");
                break;
            };
            let link = answer.header("link");
            target =
                link.strip_prefix('<').and_then(|link| link.strip_suffix(">; rel=\"next\"")).expect(link).to_owned();
            assert!(target.contains(&format!("cursor={next}")), "{target}");
        }
        let expected: Vec<String> = expected.into_iter().map(|n| format!("client{n:02}")).collect();
        assert_eq!(seen, expected, "{query}");
    }
    for query in ["limit=0", "limit=501", "limit=x", "phase=Ready", "selector=gold", "colour=red", "limit=1&limit=2"] {
        let answer = rig.get(&format!("/api/v1/clients?{query}")).await;
        assert_eq!(answer.status, 400, "{query}: {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_and_deploys_come_in_pages() {
    let rig = Rig::new().await;
    let shop = record("shop", "gold", Phase::Active);
    rig.save(std::slice::from_ref(&shop)).await;
    for number in 1..=7 {
        rig.app.store.append_event(&event(Some("shop"), &format!("event {number}"))).await.unwrap();
        rig.app.store.append_event(&event(Some("blog"), "of another")).await.unwrap();
        let id = rig.app.store.put_deployment(&deployment(&shop, number, DeploymentState::Succeeded)).await.unwrap();
        rig.app.store.put_deployment_log(id, &format!("log {number}")).await.unwrap();
    }
    let (mut after, mut told) = (0, Vec::new());
    loop {
        let page = rig.get(&format!("/api/v1/clients/shop/events?limit=3&after={after}")).await.json();
        told.extend(
            page["events"].as_array().unwrap().iter().map(|event| event["message"].as_str().unwrap().to_owned()),
        );
        let Some(next) = page["next"].as_i64() else { break };
        after = next;
    }
    assert_eq!(told, (1..=7).map(|number| format!("event {number}")).collect::<Vec<_>>());
    let (mut before, mut numbers) = (String::new(), Vec::new());
    loop {
        let page = rig.get(&format!("/api/v1/clients/shop/deployments?limit=3{before}")).await.json();
        numbers.extend(page["deployments"].as_array().unwrap().iter().map(|row| row["number"].as_u64().unwrap()));
        let Some(next) = page["next"].as_i64() else { break };
        before = format!("&before={next}");
    }
    assert_eq!(numbers, [7, 6, 5, 4, 3, 2, 1]);
    let log = rig.get("/api/v1/deployments/3/logs").await.json();
    assert_eq!((&log["log"], &log["deployment"]["number"]), (&Value::from("log 3"), &Value::from(3)));
    assert_eq!(rig.get("/api/v1/deployments/3").await.json(), log["deployment"]);
    // A client that is no more still has its history; one that never was has none.
    assert_eq!(rig.get("/api/v1/clients/blog/events").await.status, 200);
    for unknown in ["/api/v1/clients/nobody/events", "/api/v1/clients/nobody/deployments", "/api/v1/deployments/99"] {
        assert_eq!(rig.get(unknown).await.status, 404, "{unknown}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_is_a_fresh_look_and_writes_nothing() {
    let rig = Rig::with(None, &[("shop", "gold"), ("blog", "silver")]).await;
    assert_eq!(rig.get("/api/v1/clients/shop/plan").await.status, 404, "no scan saw it yet");
    rig.run().await;
    let shown = |records: Vec<_>| format!("{records:?}");
    let settled = || async {
        // A pass may still be under way; what is compared begins when two looks agree.
        let mut before = shown(rig.app.store.clients().await.unwrap());
        loop {
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
            let now = shown(rig.app.store.clients().await.unwrap());
            if now == before {
                return now;
            }
            before = now;
        }
    };
    let before = settled().await;
    let events = rig.app.store.kept_events().await.unwrap();
    let answer = rig.get("/api/v1/clients/shop/plan").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let plan = answer.json();
    assert_eq!(plan["clients"].as_array().map(Vec::len), Some(1));
    assert_eq!(plan["clients"][0]["name"], "shop");
    assert_eq!(plan["formatVersion"], 1);
    assert_eq!(plan["hash"].as_str().map(str::len), Some(12));
    assert_eq!(shown(rig.app.store.clients().await.unwrap()), before);
    assert_eq!(rig.app.store.kept_events().await.unwrap(), events);
    // Many at once: some are told to come again, each of the others gets the same plan.
    let many = futures::future::join_all((0..12).map(|_| rig.get("/api/v1/clients/shop/plan"))).await;
    let statuses: BTreeSet<u16> = many.iter().map(|answer| answer.status).collect();
    assert!(statuses.is_subset(&[200, 503].into()) && statuses.contains(&200), "{statuses:?}");
    for answer in many {
        match answer.status {
            200 => assert_eq!(answer.json()["hash"], plan["hash"]),
            _ => assert_eq!(answer.header("retry-after"), "5"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_is_ready_once_its_loop_turns() {
    let rig = Rig::new().await;
    assert_eq!(rig.get("/healthz").await.status, 200);
    let early = rig.get("/readyz").await;
    assert_eq!(early.status, 503);
    assert!(early.json()["detail"].as_str().unwrap().contains("first scan"));
    rig.run().await;
    assert_eq!(rig.get("/readyz").await.status, 200);
}
