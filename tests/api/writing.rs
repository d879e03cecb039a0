//! Writing: what is asked lies in the state as the commands put it, and its fate can be read.

use serde_json::{Value, json};
use sitewright::status::Phase;
use sitewright::store::history::DeploymentState;

use crate::raw::{Answer, Call};
use crate::rig::{Rig, TOKEN, deployment, name, record};

fn detail(answer: &Answer) -> String {
    answer.json()["detail"].as_str().expect("a detail").to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_asked_is_what_the_commands_ask() {
    let rig = Rig::new().await;
    let shop = record("shop", "gold", Phase::Active);
    rig.save(std::slice::from_ref(&shop)).await;
    for (target, body, expected) in [
        ("/api/v1/clients/shop/reconcile", "{}", "Reconcile(ClientName(\"shop\"))"),
        ("/api/v1/clients/shop/deploy", " { } ", "Deploy(ClientName(\"shop\"))"),
        (
            "/api/v1/clients/shop/pause",
            r#"{"reason":" holiday\n of\tthe owner ","until":"2099-01-01T00:00:00Z"}"#,
            "Pause { client: Some(ClientName(\"shop\")), reason: \"holiday of the owner\", until: Some(2099-01-01T00:00:00Z) }",
        ),
        ("/api/v1/clients/shop/resume", r#"{"reason":"back"}"#, "Resume(Some(ClientName(\"shop\")))"),
        (
            "/api/v1/clients/shop/rollback",
            r#"{"to":2,"reason":"broken"}"#,
            "Rollback { client: ClientName(\"shop\"), to: 2, reason: \"broken\", until: None }",
        ),
    ] {
        let answer = rig.post(target, body).await;
        assert_eq!(answer.status, 202, "{target}: {answer:?}");
        let request = answer.json();
        assert_eq!((&request["state"], &request["client"]), (&json!("Waiting"), &json!("shop")));
        assert_eq!(answer.header("location"), request["url"]);
        assert_eq!(rig.get(request["url"].as_str().unwrap()).await.json(), request);
        assert_eq!(rig.asked().await.last().map(String::as_str), Some(expected));
    }
    let events = rig.app.store.events(Some(&name("shop")), 0, 10).await.unwrap();
    let told: Vec<_> = events.iter().map(|event| (event.reason.as_str(), event.message.as_str())).collect();
    let paused = "a person paused it until 2099-01-01T00:00:00Z: holiday of the owner";
    assert_eq!(told, [("Paused", paused), ("Resumed", "a person resumed it: back")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_loop_takes_it_up() {
    let rig = Rig::with(Some(TOKEN), &[("shop", "gold")]).await;
    rig.run().await;
    let fate = async |target: &str, body: &str| -> Value {
        let asked = rig.post(target, body).await;
        assert_eq!(asked.status, 202, "{asked:?}");
        loop {
            let request = rig.get(asked.json()["url"].as_str().unwrap()).await.json();
            if request["state"] != "Waiting" {
                return request;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    let paused = fate("/api/v1/clients/shop/pause", r#"{"reason":"maintenance"}"#).await;
    assert_eq!(paused["state"], "Done", "{paused}");
    let shop = rig.get("/api/v1/clients/shop").await.json();
    assert_eq!(shop["pause"]["reason"], "maintenance");
    assert_eq!(fate("/api/v1/clients/shop/resume", "{}").await["state"], "Done");
    assert_eq!(rig.get("/api/v1/clients/shop").await.json()["pause"], Value::Null);
    let refused = fate("/api/v1/clients/shop/rollback", r#"{"to":9,"reason":"broken"}"#).await;
    assert_eq!(refused["state"], "Refused");
    assert!(refused["message"].as_str().unwrap().contains("no release 9"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_done_is_refused_at_once_and_leaves_nothing() {
    let rig = Rig::new().await;
    let shop = record("shop", "gold", Phase::Active);
    rig.save(std::slice::from_ref(&shop)).await;
    rig.app.store.put_deployment(&deployment(&shop, 1, DeploymentState::Succeeded)).await.unwrap();
    let long = json!({ "reason": "x".repeat(501) }).to_string();
    let huge = json!({ "reason": "x".repeat(20_000) }).to_string();
    for (target, body, status, says) in [
        ("/api/v1/clients/nobody/deploy", "{}", 404, "no client"),
        ("/api/v1/clients/Not%20One/deploy", "{}", 404, "no client"),
        ("/api/v1/clients/%ff/deploy", "{}", 404, "no client"),
        ("/api/v1/clients/shop/deploy", "", 400, "line 1 column 0"),
        ("/api/v1/clients/shop/deploy", "{\"a\":1,}", 422, "unknown field `a`"),
        ("/api/v1/clients/shop/deploy", "{\n  oops", 400, "line 2 column 3"),
        ("/api/v1/clients/shop/deploy", "{}x", 400, "line 1 column 3"),
        ("/api/v1/clients/shop/pause", r#"["holiday"]"#, 422, "an object is expected"),
        ("/api/v1/clients/shop/deploy", "null", 422, "null"),
        ("/api/v1/clients/shop/pause", "{}", 422, "missing field `reason`"),
        ("/api/v1/clients/shop/pause", r#"{"reason":"a","reason":"b"}"#, 422, "duplicate field"),
        ("/api/v1/clients/shop/pause", r#"{"reason":" \n "}"#, 422, "say why"),
        ("/api/v1/clients/shop/pause", r#"{"reason":"a","until":"2001-01-01T00:00:00Z"}"#, 422, "is over"),
        ("/api/v1/clients/shop/pause", r#"{"reason":"a","until":"soon"}"#, 422, "line 1 column"),
        ("/api/v1/clients/shop/pause", &long, 422, "500 characters"),
        ("/api/v1/clients/shop/pause", &huge, 413, "16384 bytes"),
        ("/api/v1/clients/shop/rollback", r#"{"reason":"a"}"#, 409, "nothing of shop serves"),
        ("/api/v1/deletions/approve", r#"{"hash":"0123456789ab"}"#, 409, "nothing is held"),
    ] {
        let answer = rig.post(target, body).await;
        assert_eq!(answer.status, status, "{target} {body:.40}: {answer:?}");
        assert_eq!(answer.header("content-type"), "application/problem+json", "{target}");
        assert!(detail(&answer).contains(says), "{target} {body:.40}: {}", detail(&answer));
    }
    let place = rig.post("/api/v1/clients/shop/deploy", "{\n  oops").await.json();
    assert_eq!((&place["line"], &place["column"]), (&json!(2), &json!(3)));
    // A body that does not say how long it is ends at the same limit.
    let mut chunked =
        Call::new("POST", "/api/v1/clients/shop/pause").asking(TOKEN, "").with("transfer-encoding", "chunked");
    chunked.body = format!("5000\r\n{}\r\n0\r\n\r\n", " ".repeat(0x5000)).into_bytes();
    assert_eq!(chunked.send(rig.address).await.status, 413);
    assert!(rig.asked().await.is_empty());
    assert!(rig.app.store.events(Some(&name("shop")), 0, 10).await.unwrap().is_empty());
}
