//! The replaced system's calls: taken as before, answered from what is true.

use serde_json::json;
use sitewright::status::{Condition, ConditionType, Phase, Truth};
use sitewright::store::ClientRecord;

use crate::raw::Call;
use crate::rig::{Rig, TOKEN, event, record};

fn start(target: &str, body: &str) -> Call {
    let mut call = Call::new("POST", target).with("content-type", "application/json");
    call.body = body.as_bytes().to_vec();
    call
}

/// The conditions of a client that has come so far.
fn conditions(done: usize) -> Vec<Condition> {
    let condition = |(index, kind): (usize, ConditionType)| Condition {
        kind,
        status: if index < done { Truth::True } else { Truth::False },
        reason: "Told".into(),
        message: "as the test says".into(),
        last_transition_time: jiff::Timestamp::UNIX_EPOCH,
        observed_generation: 1,
    };
    ConditionType::SUMMED.into_iter().enumerate().map(condition).collect()
}

fn with(record: &ClientRecord, change: impl FnOnce(&mut ClientRecord)) -> ClientRecord {
    let mut record = record.clone();
    change(&mut record);
    record
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provisioning_is_a_look_and_its_progress_that_of_the_conditions() {
    let rig = Rig::new().await;
    let shop = with(&record("shop", "gold", Phase::Provisioning), |shop| shop.reached_generation = 0);
    rig.save(std::slice::from_ref(&shop)).await;
    rig.app.store.append_event(&event(Some("shop"), "before the job")).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(2)).await; // the job's moment is another one
    let call = start("/api/platform/provision", r#"{"clientId":"shop","provider":"ploi","verbose":true}"#);
    let answer = call.with("x-payload-secret", TOKEN).send(rig.address).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let job = answer.json();
    let id = job["jobId"].as_str().unwrap().to_owned();
    assert_eq!(job, json!({ "jobId": id, "status": "pending", "statusUrl": format!("/api/provisioning/status/{id}") }));
    assert_eq!(rig.asked().await, ["Reconcile(ClientName(\"shop\"))"]);
    let status = async || rig.get(job["statusUrl"].as_str().unwrap()).await.json();
    let now = status().await;
    assert_eq!((&now["status"], &now["progress"]), (&json!("pending"), &json!(9)), "{now}");
    rig.app.store.answer(id.parse().unwrap(), &Ok("a pass begins now".into())).await.unwrap();
    let words = [
        "pending",
        "creating_database",
        "creating_project",
        "creating_project",
        "configuring_env",
        "configuring_dns",
        "deploying",
        "configuring_domains",
        "configuring_domains",
        "configuring_domains",
        "pending",
    ];
    let mut last = 0;
    for (done, word) in words.into_iter().enumerate() {
        rig.save(&[with(&shop, |shop| shop.status.conditions = conditions(done))]).await;
        let now = status().await;
        assert_eq!(now["status"], word, "{done} conditions are true");
        let progress = now["progress"].as_u64().unwrap();
        assert!(progress >= last && progress < 100, "{done}: {now}");
        last = progress;
    }
    let ready = record("shop", "gold", Phase::Active);
    rig.save(std::slice::from_ref(&ready)).await;
    let done = status().await;
    assert_eq!((&done["status"], &done["progress"]), (&json!("completed"), &json!(100)), "{done}");
    assert_eq!(done["deploymentUrl"], "https://shop.example");
    rig.save(&[with(&ready, |shop| shop.reached_generation = 0)]).await;
    assert_ne!(status().await["status"], "completed", "ready as of an earlier look is not done");
    rig.save(&[with(&shop, |shop| shop.status.phase = Phase::Failed)]).await;
    assert_eq!(status().await["status"], "failed");
    rig.app.store.append_event(&event(Some("shop"), "after it")).await.unwrap();
    let logs = rig.get(done["logsUrl"].as_str().unwrap()).await.json();
    assert_eq!(logs["logs"].as_array().map(Vec::len), Some(1), "{logs}");
    assert_eq!((&logs["logs"][0]["message"], &logs["logs"][0]["level"]), (&json!("Told: after it"), &json!("info")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_has_the_same_lock_as_every_write_and_makes_nothing_up() {
    let rig = Rig::new().await;
    rig.save(&[record("shop", "gold", Phase::Active)]).await;
    let body = r#"{"clientId":"shop"}"#;
    for target in ["/api/platform/provision", "/api/provisioning/start"] {
        assert_eq!(start(target, body).send(rig.address).await.status, 401);
        assert_eq!(start(target, body).with("x-payload-secret", "").send(rig.address).await.status, 401);
        assert_eq!(start(target, body).with("x-payload-secret", "changeme").send(rig.address).await.status, 401);
        let bearer = start(target, body).with("authorization", &format!("Bearer {TOKEN}"));
        assert_eq!(bearer.clone().with("origin", "https://evil.example").send(rig.address).await.status, 403);
        assert_eq!(bearer.send(rig.address).await.status, 202);
    }
    // Elsewhere that header opens nothing.
    let elsewhere = start("/api/v1/clients/shop/deploy", "{}").with("x-payload-secret", TOKEN);
    assert_eq!(elsewhere.send(rig.address).await.status, 401);
    for (body, status) in [
        (r#"{"clientId":"nobody"}"#, 404),
        (r#"{"clientId":"Not One"}"#, 404),
        (r#"{"clientId":"shop","provider":"vercel"}"#, 422),
        (r#"{"clientId":"shop","extraEnv":{}}"#, 422),
        (r#"{"provider":"ploi"}"#, 422),
        (r#"{"clientId":7}"#, 422),
    ] {
        assert_eq!(rig.post("/api/platform/provision", body).await.status, status, "{body}");
    }
    assert_eq!(rig.asked().await.len(), 2);
    // Only a job is a job.
    let deploy = rig.post("/api/v1/clients/shop/deploy", "{}").await.json()["id"].clone();
    for id in [deploy.to_string(), "999".into(), "x".into(), "-1".into()] {
        for what in ["status", "logs"] {
            assert_eq!(rig.get(&format!("/api/provisioning/{what}/{id}")).await.status, 404, "{what} {id}");
        }
    }
}
