//! The OpenAPI document and what is served, held against each other in both directions.

use std::collections::BTreeSet;

use jsonschema::Validator;
use serde_json::{Value, json};
use sitewright::api::operations::operations;
use sitewright::controller::absence::{Absences, Held};
use sitewright::controller::accounts::{self, ASKED};
use sitewright::controller::recovery::{RECOVERY, Recovery};
use sitewright::resource::kind::ResourceKind;
use sitewright::resource::name::{RemoteId, ServerId};
use sitewright::resource::owned::{MarkState, OwnedResource};
use sitewright::resource::removal::{ReclaimPolicy, Removal};
use sitewright::status::Phase;
use sitewright::store::Pause;
use sitewright::store::history::DeploymentState;

use crate::raw::{Answer, Call};
use crate::rig::{Rig, TOKEN, deployment, event, name, record};

const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"];

/// The document with every object closed: a member that it does not name is one that it forgot.
pub struct Document(pub Value);

impl Document {
    pub async fn of(rig: &Rig) -> Document {
        let mut document = rig.get("/openapi.json").await.json();
        for schema in document["components"]["schemas"].as_object_mut().expect("schemas").values_mut() {
            close(schema);
        }
        Document(document)
    }

    /// Path, method and description of every operation.
    pub fn operations(&self) -> Vec<(String, String, Value)> {
        let paths = self.0["paths"].as_object().expect("paths");
        let all = paths.iter().flat_map(|(path, item)| {
            let item = item.as_object().expect("methods").iter();
            item.map(move |(method, operation)| (path.clone(), method.to_uppercase(), operation.clone()))
        });
        all.collect()
    }

    fn validator(&self, schema: &Value) -> Validator {
        let whole = json!({ "allOf": [schema], "components": self.0["components"] });
        jsonschema::draft202012::new(&whole).expect("a schema")
    }

    /// What is wrong with an answer, by its own description.
    pub fn flaw(&self, operation: &Value, answer: &Answer) -> Option<String> {
        let described = &operation["responses"][answer.status.to_string()];
        if described.is_null() {
            return Some(format!("status {} is not described", answer.status));
        }
        let kind = answer.header("content-type");
        let schema = &described["content"][kind]["schema"];
        if schema.is_null() {
            return Some(format!("`{kind}` is not described for {}", answer.status));
        }
        if !kind.ends_with("json") {
            return None;
        }
        let errors: Vec<String> = self
            .validator(schema)
            .iter_errors(&answer.json())
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        (!errors.is_empty()).then(|| errors.join("\n"))
    }
}

fn close(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            if members.contains_key("properties") && !members.contains_key("additionalProperties") {
                members.insert("additionalProperties".into(), json!(false));
            }
            members.values_mut().for_each(close);
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}

fn recovery() -> Recovery {
    Recovery { since: jiff::Timestamp::UNIX_EPOCH, clients: [name("planned")].into() }
}

/// A rig whose state has something of everything.
pub async fn full() -> Rig {
    let rig = Rig::with(Some(TOKEN), &[("planned", "gold")]).await;
    rig.run().await;
    let store = &rig.app.store;
    let mut shop = record("shop", "gold", Phase::Active);
    shop.owned.resources.push(OwnedResource {
        kind: ResourceKind::Site,
        provider: "ploi".into(),
        name: "shop.example".into(),
        id: RemoteId::trusted("77"),
        mark: MarkState::Written,
        since: jiff::Timestamp::UNIX_EPOCH,
    });
    shop.owned.allocation.port = Some((ServerId::trusted("1"), 4001));
    shop.pause = Some(Pause { reason: "holiday".into(), since: jiff::Timestamp::UNIX_EPOCH, until: None });
    let mut leaving = record("leaving", "silver", Phase::Offline);
    leaving.owned.removal = Some(Removal::begun(jiff::Timestamp::UNIX_EPOCH, ReclaimPolicy::Delete));
    let mut kept = shop.clone();
    kept.name = name("kept");
    kept.owned.mark = record("kept", "gold", Phase::Active).owned.mark;
    kept.owned.allocation.port = None;
    let mut gone = Removal::begun(jiff::Timestamp::UNIX_EPOCH, ReclaimPolicy::Retain);
    gone.finished_at = Some(jiff::Timestamp::UNIX_EPOCH);
    kept.owned.removal = Some(gone);
    rig.save(&[shop.clone(), leaving, kept]).await;
    // A state that is not trusted weighs no absences, so that the held set stays.
    store.put_document(RECOVERY, serde_json::to_value(recovery()).ok().as_ref()).await.unwrap();
    let held = Held {
        hash: "abcdefabcdef".into(),
        names: [name("other")].into(),
        reason: "too many".into(),
        since: jiff::Timestamp::UNIX_EPOCH,
    };
    let mut absences = Absences::load(&**store).await.unwrap();
    absences.held = Some(held);
    absences.save(&**store).await.unwrap();
    let asked = json!({ "since": "1970-01-01T00:00:00Z", "accounts": ["ploi"], "siteListings": 1, "recordListings": 0,
        "catalogStatements": 2, "audit": 0, "besides": 3 });
    store.put_document(ASKED, Some(&asked)).await.unwrap();
    let budget = serde_json::to_value(
        sitewright::provider::http::budget::Budget::new(60, std::time::Duration::from_secs(60)).snapshot(),
    );
    let standing = json!({ "at": jiff::Timestamp::now(), "budget": budget.unwrap() });
    store.put_document(&accounts::document("ploi"), Some(&standing)).await.unwrap();
    for message in ["one", "two"] {
        store.append_event(&event(Some("shop"), message)).await.unwrap();
    }
    let id = store.put_deployment(&deployment(&shop, 1, DeploymentState::Running)).await.unwrap();
    store.put_deployment_log(id, "building").await.unwrap();
    rig
}

/// A request that the operation answers well, over [`full`].
pub fn good(path: &str, method: &str) -> Call {
    let client = if path.ends_with("/plan") { "planned" } else { "shop" };
    let target = path.replace("{name}", client).replace("{id}", "1");
    let body = match path {
        _ if path.ends_with("/pause") => r#"{"reason":"maintenance","until":"2099-01-01T00:00:00Z"}"#,
        _ if path.ends_with("/rollback") => r#"{"to":1,"reason":"broken"}"#,
        "/api/v1/deletions/approve" => &format!(r#"{{"hash":"{}"}}"#, recovery().hash()),
        "/api/platform/provision" | "/api/provisioning/start" => r#"{"clientId":"shop","provider":"ploi"}"#,
        _ => "{}",
    };
    Call::new(method, &target).asking(TOKEN, body)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_operation_answers_as_the_document_says() {
    let rig = full().await;
    let document = Document::of(&rig).await;
    // The first request is a job: the replaced system's calls have something to tell.
    rig.post("/api/platform/provision", r#"{"clientId":"shop"}"#).await;
    for (path, method, operation) in document.operations() {
        let call = good(&path, &method);
        if path == "/api/v1/events" {
            let open = call.open(rig.address).await;
            assert_eq!((open.status, open.headers["content-type"].as_str()), (200, "text/event-stream"));
            continue;
        }
        let answer = call.send(rig.address).await;
        assert!((200..300).contains(&answer.status), "{method} {path}: {answer:?}");
        let flaw = document.flaw(&operation, &answer);
        assert_eq!(flaw, None, "{method} {path}: {}", String::from_utf8_lossy(&answer.body));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_served_is_described_and_what_is_described_is_served() {
    let rig = full().await;
    rig.post("/api/platform/provision", r#"{"clientId":"shop"}"#).await;
    let document = Document::of(&rig).await;
    let described: BTreeSet<(String, String)> =
        document.operations().into_iter().map(|(path, method, _)| (path, method)).collect();
    let routed: BTreeSet<(String, String)> = operations()
        .into_iter()
        .map(|operation| (operation.path.to_owned(), operation.method.as_str().to_owned()))
        .collect();
    assert_eq!(described, routed);
    assert!(described.len() > 25, "the walk found them");
    let paths: BTreeSet<&String> = described.iter().map(|(path, _)| path).collect();
    for path in paths {
        for method in METHODS {
            let is_there = |method: &str| described.contains(&(path.clone(), method.to_owned()));
            let expected = is_there(method) || (method == "HEAD" && is_there("GET"));
            let status = good(path, method).open(rig.address).await.status;
            assert_eq!(status != 405, expected, "{method} {path} answers {status}");
            assert_ne!(status, 404, "{method} {path}");
        }
    }
    let nowhere = Call::new("GET", "/api/v1/nowhere").send(rig.address).await;
    assert_eq!((nowhere.status, nowhere.header("content-type")), (404, "application/problem+json"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_document_is_a_sound_one() {
    let rig = Rig::new().await;
    let document = Document::of(&rig).await;
    assert_eq!(document.0["openapi"], "3.1.0");
    let mut ids = BTreeSet::new();
    for (path, method, operation) in document.operations() {
        let id = operation["operationId"].as_str().expect("an id").to_owned();
        assert!(ids.insert(id.clone()), "{id} stands there twice");
        let named: BTreeSet<&str> =
            path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
        let parameters = operation["parameters"].as_array().expect("parameters");
        let told = parameters.iter().filter(|parameter| parameter["in"] == "path");
        let told: BTreeSet<&str> = told.map(|parameter| parameter["name"].as_str().unwrap()).collect();
        assert_eq!(named, told, "{method} {path}");
        assert!(parameters.iter().all(|parameter| parameter["schema"].is_object()), "{method} {path}");
        let mut queries = parameters.iter().filter(|parameter| parameter["in"] == "query");
        assert!(queries.all(|parameter| parameter["description"].is_string()), "{method} {path}");
        assert_eq!(operation["requestBody"].is_object(), method == "POST", "{method} {path}");
    }
    // Every reference leads somewhere, and every component is one that something leads to.
    let text = document.0.to_string();
    let parts = text.split("\"#/components/schemas/").skip(1);
    let mut referred: BTreeSet<&str> = parts.map(|part| part.split('"').next().unwrap()).collect();
    referred.extend(["EventView", "StreamNotice"]); // these stand in the words of the stream
    let there: BTreeSet<&str> =
        document.0["components"]["schemas"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(referred, there);
}
