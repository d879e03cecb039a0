//! Mail and the webhook (contracts/resend.md): the simulator by raw requests, then the client against it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use serde_json::{Value, json};
use sitewright::provider::error::ErrorClass;
use sitewright::provider::http::{Budget, HttpClient};
use sitewright::provider::resend::Resend;
use sitewright::provider::resend::sim::ResendSim;
use sitewright::provider::webhook::Webhook;
use sitewright::provider::world::faults::{Effect, Faults, Rule, guard};
use sitewright::provider::{Hook as _, Mail as _, Posted};
use sitewright::resource::letter::{Letter, LetterEvent};
use sitewright::resource::secret::Secret;
use tower::ServiceExt as _;

const TOKEN: &str = "simulated";
const DOMAIN: &str = "agency.example";

async fn raw(sim: &Arc<ResendSim>, headers: &[(&str, &str)], body: Value) -> (StatusCode, Value) {
    let mut request = Request::post("/emails").header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = sim.router().oneshot(request.body(Body::from(body.to_string())).unwrap()).await.unwrap();
    let status = answer.status();
    let bytes = axum::body::to_bytes(answer.into_body(), 65_536).await.unwrap();
    (status, serde_json::from_slice(&bytes).unwrap_or_default())
}

const SIGNED: [(&str, &str); 2] = [("authorization", "Bearer simulated"), ("user-agent", "test/1")];

fn mail() -> Value {
    json!({ "from": "Agency <notices@agency.example>", "to": ["ops@agency.example"], "subject": "s", "text": "t" })
}

fn with(member: &str, value: Value) -> Value {
    let mut mail = mail();
    mail[member] = value;
    mail
}

#[tokio::test]
async fn what_the_provider_refuses_is_refused_by_name() {
    let sim = ResendSim::new(TOKEN, DOMAIN);
    let (status, said) = raw(&sim, &[("user-agent", "test/1")], mail()).await;
    assert_eq!((status.as_u16(), &said["name"]), (401, &json!("missing_api_key")));
    let bad = [("authorization", "Bearer other"), ("user-agent", "test/1")];
    let (status, said) = raw(&sim, &bad, mail()).await;
    assert_eq!((status.as_u16(), &said["name"]), (403, &json!("invalid_api_key")));
    let (status, _) = raw(&sim, &SIGNED[..1], mail()).await;
    assert_eq!(status.as_u16(), 403, "a request without a User-Agent");
    let table = [
        (with("to", json!([])), 422, "missing_required_field"),
        (with("subject", json!("")), 422, "missing_required_field"),
        (with("text", Value::Null), 422, "missing_required_field"),
        (with("to", json!("someone@example.com")), 422, "validation_error"),
        (with("from", json!("a@elsewhere.example")), 403, "validation_error"),
        (with("tags", json!([{ "name": "event", "value": "a b" }])), 422, "validation_error"),
    ];
    for (body, code, name) in table {
        let (status, said) = raw(&sim, &SIGNED, body.clone()).await;
        assert_eq!((status.as_u16(), said["name"].as_str()), (code, Some(name)), "{body}");
        assert_eq!(said["statusCode"], code);
    }
    assert!(sim.mails().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_key_sends_once_a_day() {
    let sim = ResendSim::new(TOKEN, DOMAIN);
    let keyed = [SIGNED[0], SIGNED[1], ("idempotency-key", "problem/1")];
    let (status, first) = raw(&sim, &keyed, mail()).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(raw(&sim, &keyed, mail()).await, (StatusCode::OK, first));
    let (status, said) = raw(&sim, &keyed, with("text", json!("other"))).await;
    assert_eq!((status.as_u16(), &said["name"]), (409, &json!("invalid_idempotent_request")));
    assert_eq!(sim.mails().len(), 1);
    tokio::time::advance(Duration::from_secs(25 * 3600)).await;
    raw(&sim, &keyed, mail()).await;
    assert_eq!(sim.mails().len(), 2, "after a day the key protects nothing");
    let long = "k".repeat(257);
    let (status, said) = raw(&sim, &[SIGNED[0], SIGNED[1], ("idempotency-key", &long)], mail()).await;
    assert_eq!((status.as_u16(), &said["name"]), (400, &json!("invalid_idempotency_key")));
}

/// The simulator over loopback, with faults.
async fn served() -> (Arc<ResendSim>, Arc<Faults>, String) {
    let (sim, faults) = (ResendSim::new(TOKEN, DOMAIN), Arc::new(Faults::default()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let app = guard(sim.router(), "resend", faults.clone());
    tokio::spawn(async move { axum::serve(listener, app).await });
    (sim, faults, address)
}

fn http(name: &'static str, address: &str, token: &str) -> HttpClient {
    let budget = Arc::new(Budget::new(1_000, Duration::from_secs(1)));
    HttpClient::new(name, address.parse().unwrap(), Secret::new(token), budget).unwrap()
}

fn letter(key: &str, text: &str) -> Letter {
    Letter {
        key: key.into(),
        to: vec!["ops@agency.example".into()],
        subject: "shop: Stalled".into(),
        text: Secret::new(text),
        event: LetterEvent::Problem,
    }
}

#[tokio::test]
async fn a_letter_goes_once_whatever_happens_to_its_answer() {
    let (sim, faults, address) = served().await;
    let client = Resend::new(http("resend", &address, TOKEN), "Agency <notices@agency.example>".into());
    assert!(matches!(client.post(&letter("a", "one")).await, Ok(Posted::Accepted(id)) if !id.is_empty()));
    assert_eq!(client.post(&letter("a", "another text")).await.unwrap(), Posted::Before);
    faults.add(Rule { effect: Effect::LostAfter, times: 1, ..rule() });
    let lost = client.post(&letter("b", "two")).await.unwrap_err();
    assert!(lost.is_ambiguous(), "{lost}");
    assert!(matches!(client.post(&letter("b", "two")).await, Ok(Posted::Accepted(_))));
    assert_eq!(sim.mails().iter().map(|mail| mail["text"].clone()).collect::<Vec<_>>(), [json!("one"), json!("two")]);
    assert_eq!(sim.mails()[0]["tags"], json!([{ "name": "event", "value": "problem" }]));

    let stranger = Resend::new(http("resend", &address, TOKEN), "notices@elsewhere.example".into());
    let refused = stranger.post(&letter("c", "three")).await.unwrap_err();
    assert!(matches!(refused.class, ErrorClass::Forbidden(_)), "{refused}");
    let nobody = Resend::new(http("resend", &address, "wrong"), "notices@agency.example".into());
    assert!(nobody.post(&letter("d", "four")).await.unwrap_err().is_permanent());
    let mut bad = letter("e", "five");
    bad.to = vec!["someone@example.com".into()];
    let refused = client.post(&bad).await.unwrap_err();
    assert!(matches!(&refused.class, ErrorClass::Invalid(words) if words.contains("someone@example.com")), "{refused}");
}

fn rule() -> Rule {
    serde_json::from_value(json!({ "provider": "resend", "times": 1, "effect": "lostBefore" })).unwrap()
}

#[tokio::test]
async fn a_webhook_takes_the_text_and_its_address_is_shown_nowhere() {
    let (sim, faults, address) = served().await;
    let hook = Webhook::new(http("webhook", &format!("{address}/hook?token=canary-hook"), ""));
    hook.post("*shop: Stalled*\nthe token was refused").await.unwrap();
    assert_eq!(sim.told(), ["*shop: Stalled*\nthe token was refused"]);
    faults.add(Rule { effect: Effect::LostBefore, ..rule() });
    let lost = hook.post("again").await.unwrap_err();
    assert!(!lost.to_string().contains("canary") && !format!("{lost:?}").contains("canary"), "{lost:?}");
    let refused = Webhook::new(http("webhook", &format!("{address}/nowhere"), "")).post("x").await;
    assert!(refused.is_err());
}

/// What we send fits the provider's own description, where the shelf is there.
#[tokio::test]
async fn our_letters_fit_the_vendors_description() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/contracts/resend.openapi.yaml");
    let Ok(text) = std::fs::read_to_string(&path) else {
        println!("SKIPPED: {} is not there, letters are not held against the OpenAPI description", path.display());
        return;
    };
    let mut schema: Value = serde_yaml::from_str(&text).unwrap();
    schema["$ref"] = json!("#/components/schemas/SendEmailRequest");
    let validator = jsonschema::validator_for(&schema).unwrap();
    let (sim, _, address) = served().await;
    let client = Resend::new(http("resend", &address, TOKEN), "Agency <notices@agency.example>".into());
    client.post(&letter("a", "one")).await.unwrap();
    let sent = sim.mails().pop().unwrap();
    let errors: Vec<String> = validator.iter_errors(&sent).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{errors:?}");
    assert!(!validator.is_valid(&json!({ "to": [] })), "the description refuses something");
}
