//! Faults, hooks and the control port, over a counter that only writes move.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use parking_lot::Mutex;
use serde_json::{Value, json};
use sitewright::provider::world::control;
use sitewright::provider::world::faults::{Effect, Faults, Moment, Rule, guard};

use crate::loopback::Served;

struct Counter {
    count: Arc<AtomicU32>,
    faults: Arc<Faults>,
    served: Served,
    client: reqwest::Client,
}

async fn counter() -> Counter {
    let (count, faults) = (Arc::new(AtomicU32::new(0)), Arc::new(Faults::default()));
    let counted = count.clone();
    let add = move || async move { counted.fetch_add(1, Ordering::SeqCst).to_string() };
    let router = Router::new().route("/count", get(async || "0").post(add));
    let served = Served::start(guard(router, "counter", faults.clone())).await;
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).pool_max_idle_per_host(0).build().unwrap();
    Counter { count, faults, served, client }
}

impl Counter {
    async fn post(&self) -> Result<(u16, String), reqwest::Error> {
        let answer = self.client.post(self.served.url("/count?by=1")).send().await?;
        Ok((answer.status().as_u16(), answer.text().await?))
    }

    fn counted(&self) -> u32 {
        self.count.load(Ordering::SeqCst)
    }
}

fn once(effect: Effect) -> Rule {
    Rule { provider: None, method: None, path: None, writes: true, skip: 0, times: 1, effect }
}

#[tokio::test]
async fn each_effect_leaves_the_world_as_it_says() {
    let status = Effect::Status { code: 418, body: Some(json!({ "a": 1 })), retry_after: None };
    for (effect, happened, answer) in [
        (status, 0, Some((418, "{\"a\":1}"))),
        (Effect::LostBefore, 0, None),
        (Effect::LostAfter, 1, None),
        (Effect::Garbage, 1, Some((200, "<html><body>One moment, please"))),
        (Effect::Empty, 1, Some((200, ""))),
        (Effect::DelayMs(1), 1, Some((200, "0"))),
    ] {
        let counter = counter().await;
        counter.faults.add(once(effect.clone()));
        let said = counter.post().await;
        match (&said, answer) {
            (Ok((code, body)), Some(wanted)) => assert_eq!((*code, body.as_str()), wanted, "{effect:?}"),
            (Err(_), None) => (),
            _ => panic!("{effect:?} gave {said:?}"),
        }
        assert_eq!(counter.counted(), happened, "{effect:?}");
        assert_eq!(
            counter.faults.writes()[0].status,
            answer.map_or(0, |(code, _)| if code == 418 { 418 } else { 200 })
        );
        assert_eq!(counter.post().await.expect("only once").0, 200, "{effect:?}");
    }
}

#[tokio::test]
async fn a_late_effect_happens_although_the_caller_has_gone() {
    let counter = counter().await;
    let (sender, happened) = tokio::sync::oneshot::channel();
    let sender = Mutex::new(Some(sender));
    *counter.faults.hook.lock() = Some(Arc::new(move |_, moment| {
        if moment == Moment::After
            && let Some(sender) = sender.lock().take()
        {
            sender.send(()).ok();
        }
    }));
    counter.faults.add(once(Effect::DelayMs(200)));
    let impatient = counter.client.post(counter.served.url("/count")).timeout(Duration::from_millis(50));
    assert!(impatient.send().await.is_err());
    happened.await.expect("it happens all the same");
    assert_eq!(counter.counted(), 1);
}

#[tokio::test]
async fn hooks_see_every_write_before_and_after_it_happens() {
    let counter = counter().await;
    let log = Arc::new(Mutex::new(Vec::new()));
    let (count, seen) = (counter.count.clone(), log.clone());
    *counter.faults.hook.lock() = Some(Arc::new(move |call, moment| {
        seen.lock().push((moment, call.status, count.load(Ordering::SeqCst)));
    }));
    counter.client.get(counter.served.url("/count")).send().await.expect("an answer");
    counter.post().await.expect("an answer");
    counter.faults.add(once(Effect::LostAfter));
    counter.post().await.expect_err("lost");
    counter.faults.add(once(Effect::LostBefore));
    counter.post().await.expect_err("lost");
    let (before, after) = (Moment::Before, Moment::After);
    assert_eq!(*log.lock(), [(before, 0, 0), (after, 200, 1), (before, 0, 1), (after, 200, 2), (before, 0, 2)]);
}

#[tokio::test]
async fn rules_pick_their_calls() {
    let counter = counter().await;
    let refuse = |code| Effect::Status { code, body: None, retry_after: None };
    counter.faults.add(Rule { provider: Some("another".into()), ..once(refuse(501)) });
    counter.faults.add(Rule { path: Some("/elsewhere".into()), ..once(refuse(502)) });
    counter.faults.add(Rule { method: Some("get".into()), writes: false, ..once(refuse(503)) });
    counter.faults.add(Rule { path: Some("by=1".into()), skip: 1, times: 2, ..once(refuse(504)) });
    let mut codes = Vec::new();
    for _ in 0..4 {
        codes.push(counter.post().await.expect("an answer").0);
    }
    assert_eq!(codes, [200, 504, 504, 200]);
    assert_eq!(counter.faults.rules.lock().len(), 3, "a rule that is used up is gone");
    counter.faults.clear();
    counter.faults.clear_calls();
    assert_eq!((counter.faults.rules.lock().len(), counter.faults.calls()), (0, vec![]));
}

#[tokio::test]
async fn the_control_port_orders_faults_and_shows_calls() {
    let counter = counter().await;
    let control = Served::start(control::router(counter.faults.clone())).await;
    let client = &counter.client;
    let rule = json!({ "method": "POST", "times": 1, "effect": { "status": { "code": 503, "retryAfter": 7 } } });
    let ordered = client.post(control.url("/faults")).json(&rule).send().await.expect("an answer");
    assert_eq!(ordered.status(), 201);
    let rules: Value = client.get(control.url("/faults")).send().await.unwrap().json().await.unwrap();
    assert_eq!(rules[0]["effect"]["status"]["code"], 503);
    assert_eq!(counter.post().await.expect("an answer").0, 503);
    let calls: Value = client.get(control.url("/calls")).send().await.unwrap().json().await.unwrap();
    let expected = json!([{ "provider": "counter", "method": "POST", "path": "/count?by=1", "status": 503 }]);
    assert_eq!(calls, expected);
    client.delete(control.url("/calls")).send().await.expect("an answer");
    client.post(control.url("/faults")).json(&rule).send().await.expect("an answer");
    client.delete(control.url("/faults")).send().await.expect("an answer");
    assert_eq!((counter.faults.calls(), counter.faults.rules.lock().len()), (vec![], 0));
    let nonsense = json!({ "times": 1, "effect": "explode" });
    let refused = client.post(control.url("/faults")).json(&nonsense).send().await.expect("an answer");
    assert!(refused.status().is_client_error());
}
