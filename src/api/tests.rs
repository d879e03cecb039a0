//! The HTTP face against a state built in code: shapes, refusals, caution.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, Request, StatusCode, header};
use futures::StreamExt as _;
use jiff::Timestamp;
use tower::ServiceExt as _;

use super::*;
use crate::api::listener::listen;
use crate::controller::absence::{Absences, Held};
use crate::controller::fleet::{FILES, FileProblem, SpecProblem};
use crate::resource::kind::ResourceKind;
use crate::resource::mark::Mark;
use crate::resource::name::{Instance, RemoteId, ServerId, Uid};
use crate::resource::owned::{MarkState, Owned, OwnedResource};
use crate::resource::removal::{ReclaimPolicy, Removal};
use crate::spec::defaults::Defaults;
use crate::spec::validate::Rules;
use crate::status::{Condition, ConditionType, Phase, Status, Truth};
use crate::store::memory::MemoryStore;
use crate::store::{AcceptedSpec, ClientRecord, Event, EventKind};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn lens() -> Lens {
    Lens { rules: Rules::default(), defaults: Defaults::default(), grace: 7 * DAY, database_grace: 14 * DAY }
}

fn spec_text(name: &str) -> String {
    format!(
        "apiVersion: sitewright/v1\nkind: ClientSpec\nmetadata:\n  name: {name}\n  labels: {{ tier: gold }}\nspec:\n  domain: {name}.example\n"
    )
}

fn record(name: &str) -> ClientRecord {
    let mark = Mark { instance: Instance::trusted("test"), uid: Uid::trusted("01J00000000000000000000000") };
    let mut owned = Owned::nothing(mark);
    owned.allocation.port = Some((ServerId::trusted("1"), 4001));
    owned.resources.push(OwnedResource {
        kind: ResourceKind::Site,
        provider: "ploi".into(),
        name: format!("{name}.example"),
        id: RemoteId::trusted("77"),
        mark: MarkState::Written,
        since: Timestamp::UNIX_EPOCH,
    });
    let ready = Condition {
        kind: ConditionType::Ready,
        status: Truth::False,
        reason: "Building".into(),
        message: "the release builds".into(),
        last_transition_time: Timestamp::UNIX_EPOCH,
        observed_generation: 2,
    };
    ClientRecord {
        name: ClientName::trusted(name),
        accepted: Some(AcceptedSpec {
            text: spec_text(name),
            file: format!("{name}.yaml"),
            spec_hash: "00".into(),
            at: Timestamp::UNIX_EPOCH,
        }),
        generation: 2,
        observed_generation: 1,
        reached_generation: 1,
        owned,
        secrets: Default::default(),
        pause: None,
        status: Status {
            phase: Phase::Deploying,
            message: "<b>the release builds</b>".into(),
            next_attempt: Some(Timestamp::UNIX_EPOCH),
            conditions: vec![ready],
        },
    }
}

fn leaving(name: &str, reclaim: ReclaimPolicy) -> ClientRecord {
    let mut record = record(name);
    record.owned.removal = Some(Removal::begun(Timestamp::UNIX_EPOCH, reclaim));
    record
}

pub(super) async fn store(records: &[ClientRecord]) -> Arc<MemoryStore> {
    let store = Arc::new(MemoryStore::default());
    for record in records {
        store.save(record).await.expect("saved");
    }
    store
}

async fn ask(router: &Router, path: &str, host: &str, token: Option<&str>) -> (StatusCode, HeaderMap, String) {
    ask_from([127, 0, 0, 1], router, path, host, token).await
}

async fn ask_from(
    address: [u8; 4],
    router: &Router,
    path: &str,
    host: &str,
    token: Option<&str>,
) -> (StatusCode, HeaderMap, String) {
    let peer = ConnectInfo(SocketAddr::from((address, 4711)));
    let mut request = Request::builder().uri(path).header(header::HOST, host).extension(peer);
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    let request = request.body(Body::empty()).expect("a request");
    let response = router.clone().oneshot(request).await.expect("an answer");
    let (parts, body) = response.into_parts();
    let bytes = axum::body::to_bytes(body, 1024 * 1024).await.expect("a body");
    (parts.status, parts.headers, String::from_utf8_lossy(&bytes).into_owned())
}

fn parts(store: Arc<MemoryStore>, token: Option<&str>) -> Parts {
    let beats = watch::Sender::new(Some(Instant::now())).subscribe();
    let look: Look = Arc::new(|_| Box::pin(async { Ok(None) }));
    Parts { store, lens: lens(), token: token.map(Secret::new), hosts: Vec::new(), beats, controller: None, look }
}

pub(super) fn face(store: Arc<MemoryStore>, token: Option<&str>) -> Api {
    Api::new(parts(store, token))
}

async fn router_over(records: &[ClientRecord], token: Option<&str>) -> Router {
    router(face(store(records).await, token))
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).expect("json")
}

#[tokio::test]
async fn a_client_has_the_members_of_the_interface() {
    let router = router_over(&[record("shop")], None).await;
    let (status, _, body) = ask(&router, "/api/v1/clients", "127.0.0.1:7117", None).await;
    assert_eq!(status, StatusCode::OK);
    let overview = json(&body);
    let client = &overview["clients"][0];
    let expected = serde_json::json!({
        "name": "shop", "uid": "01J00000000000000000000000", "generation": 2, "observedGeneration": 1,
        "phase": "Deploying", "domain": "shop.example", "url": "https://shop.example", "port": 4001,
        "nextAttempt": "1970-01-01T00:00:00Z", "lastDeployment": null, "labels": {"tier": "gold"},
        "resources": [{"kind": "Site", "provider": "ploi", "id": "77", "name": "shop.example"}],
        "conditions": [{
            "type": "Ready", "status": "False", "reason": "Building", "message": "the release builds",
            "lastTransitionTime": "1970-01-01T00:00:00Z", "observedGeneration": 2
        }],
    });
    for (member, value) in expected.as_object().expect("members") {
        assert_eq!(&client[member], value, "{member}");
    }
    assert_eq!(overview["providers"], serde_json::json!([]));
    let (_, _, one) = ask(&router, "/api/v1/clients/shop", "localhost", None).await;
    assert_eq!(json(&one), *client, "one client looks as it does in the list");
}

#[tokio::test]
async fn deletions_have_the_members_of_the_interface() {
    let mut kept = leaving("kept", ReclaimPolicy::Retain);
    if let Some(removal) = kept.owned.removal.as_mut() {
        removal.finished_at = Some(Timestamp::UNIX_EPOCH);
    }
    let store = store(&[leaving("blog", ReclaimPolicy::Delete), leaving("shop", ReclaimPolicy::Retain), kept]).await;
    let held = Held {
        hash: "abcdefabcdef".into(),
        names: [ClientName::trusted("other")].into(),
        reason: "too many".into(),
        since: Timestamp::UNIX_EPOCH,
    };
    Absences { held: Some(held), ..Absences::default() }.save(&*store).await.expect("saved");
    let deletions = serde_json::to_value(deletions::deletions(&*store, &lens()).await.expect("read")).expect("json");
    assert_eq!(
        deletions["scheduled"],
        serde_json::json!([
            {
                "name": "blog", "phase": "Offline", "offlineSince": "1970-01-01T00:00:00Z",
                "siteRemovalAt": "1970-01-08T00:00:00Z", "databaseDropAt": "1970-01-15T00:00:00Z",
                "databasePolicy": "Delete", "undo": "put blog.yaml back: it comes back as it was"
            },
            {
                "name": "shop", "phase": "Offline", "offlineSince": "1970-01-01T00:00:00Z",
                "siteRemovalAt": "1970-01-08T00:00:00Z", "databaseDropAt": null,
                "databasePolicy": "Retain", "undo": "put shop.yaml back: it comes back as it was"
            },
        ])
    );
    assert_eq!(
        deletions["held"],
        serde_json::json!({
            "hash": "abcdefabcdef", "names": ["other"], "reason": "too many", "since": "1970-01-01T00:00:00Z"
        })
    );
    assert_eq!(
        deletions["retained"],
        serde_json::json!([
            {"name": "kept", "kind": "Site", "provider": "ploi", "id": "77", "since": "1970-01-01T00:00:00Z"}
        ])
    );
}

#[tokio::test]
async fn a_client_that_was_taken_down_is_no_client_any_more() {
    let mut gone = leaving("gone", ReclaimPolicy::Retain);
    if let Some(removal) = gone.owned.removal.as_mut() {
        removal.finished_at = Some(Timestamp::UNIX_EPOCH);
    }
    let router = router_over(&[gone], None).await;
    assert_eq!(ask(&router, "/api/v1/clients/gone", "localhost", None).await.0, StatusCode::NOT_FOUND);
    let (_, _, body) = ask(&router, "/api/v1/clients", "localhost", None).await;
    assert_eq!(json(&body)["clients"], serde_json::json!([]));
}

#[tokio::test]
async fn errors_are_problem_documents() {
    let router = router_over(&[], None).await;
    for (path, status) in [("/api/v1/clients/none", 404), ("/nothing", 404), ("/api/v1/clients/Not%20One", 404)] {
        let (code, headers, body) = ask(&router, path, "localhost:7117", None).await;
        assert_eq!(code.as_u16(), status, "{path}");
        assert_eq!(headers[header::CONTENT_TYPE], "application/problem+json", "{path}");
        assert_eq!(json(&body)["status"], status, "{path}");
        assert!(json(&body)["detail"].is_string(), "{path}");
    }
}

/// H9.
#[tokio::test]
async fn a_foreign_host_name_gets_nothing_without_a_token() {
    let router = router_over(&[record("shop")], None).await;
    for host in
        ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "192.0.2.1:7117", "localhost:x", ""]
    {
        let (status, _, body) = ask(&router, "/api/v1/clients", host, None).await;
        assert_eq!(status, StatusCode::MISDIRECTED_REQUEST, "{host}");
        assert!(!body.contains("shop"), "{host}");
    }
    for host in ["localhost", "LOCALHOST:80", "127.0.0.1", "127.0.0.1:7117", "[::1]:7117", "[::1]"] {
        assert_eq!(ask(&router, "/api/v1/clients", host, None).await.0, StatusCode::OK, "{host}");
    }
    assert_eq!(ask(&router, "/healthz", "lb.example", None).await.0, StatusCode::OK);
}

/// H9.
#[tokio::test]
async fn elsewhere_the_token_opens() {
    let router = router_over(&[record("shop")], Some("right")).await;
    for token in [None, Some("wrong"), Some("")] {
        let (status, headers, _) = ask(&router, "/", "ops.example", token).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
        assert_eq!(headers[header::WWW_AUTHENTICATE], "Bearer");
    }
    assert_eq!(ask(&router, "/", "ops.example", Some("right")).await.0, StatusCode::OK);
}

/// Anybody can send a header: the name of loopback opens to loopback alone.
#[tokio::test]
async fn a_host_of_loopback_counts_only_from_loopback() {
    let router = router_over(&[record("shop")], Some("right")).await;
    for (from, status) in
        [([127, 0, 0, 1], StatusCode::OK), ([127, 8, 8, 8], StatusCode::OK), ([192, 0, 2, 7], StatusCode::UNAUTHORIZED)]
    {
        assert_eq!(ask_from(from, &router, "/api/v1/clients", "localhost", None).await.0, status, "{from:?}");
    }
    assert_eq!(ask_from([192, 0, 2, 7], &router, "/", "localhost", Some("right")).await.0, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn a_loop_that_does_not_turn_is_not_ready() {
    let beats = watch::Sender::new(None);
    let parts = Parts { beats: beats.subscribe(), ..parts(store(&[]).await, None) };
    let router = router(Api::new(parts));
    let ready = async || ask(&router, "/readyz", "lb.example", None).await.0;
    assert_eq!(ready().await, StatusCode::SERVICE_UNAVAILABLE, "before the first scan");
    beats.send_replace(Some(Instant::now()));
    assert_eq!(ready().await, StatusCode::OK);
    tokio::time::advance(Duration::from_secs(11)).await;
    assert_eq!(ready().await, StatusCode::SERVICE_UNAVAILABLE, "it does not turn any more");
    assert_eq!(ask(&router, "/healthz", "lb.example", None).await.0, StatusCode::OK, "the process answers");
    beats.send_replace(Some(Instant::now()));
    assert_eq!(ready().await, StatusCode::OK);
}

/// Whoever waits for a quiet client does not ask for all that was between when it connects again.
#[tokio::test(start_paused = true)]
async fn a_quiet_stream_beats_with_the_number_it_has_seen() {
    let store = store(&[record("shop")]).await;
    let router = router(face(store.clone(), None));
    let peer = ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 4711)));
    let request = Request::get("/api/v1/events?client=shop").header(header::HOST, "localhost").extension(peer);
    let answer = router.oneshot(request.body(Body::empty()).expect("a request")).await.expect("an answer");
    let mut body = answer.into_body().into_data_stream();
    let mut next = async || String::from_utf8(body.next().await.expect("more").expect("whole").to_vec()).expect("text");
    assert!(next().await.contains("retry: 2000"));
    let begun = Instant::now();
    assert_eq!(next().await, ": beat\nid: 0\n\n");
    assert_eq!(begun.elapsed(), Duration::from_secs(15));
    let event = |client: &str| Event {
        id: 0,
        at: Timestamp::UNIX_EPOCH,
        client: Some(ClientName::trusted(client)),
        kind: EventKind::Normal,
        reason: "Told".into(),
        message: "something".into(),
        reconcile: None,
    };
    // What happens to others is silence, however much it is.
    let begun = Instant::now();
    let others = async {
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            store.append_event(&event("other")).await.expect("told");
        }
    };
    let beat = tokio::select! { beat = next() => beat, () = others => unreachable!("it goes on") };
    assert!(beat.starts_with(": beat\nid: 1"), "{beat}");
    assert_eq!(begun.elapsed(), Duration::from_secs(15));
    let newest = store.append_event(&event("shop")).await.expect("told");
    assert!(next().await.starts_with(&format!("id: {newest}\ndata: {{")));
}

#[tokio::test]
async fn an_open_address_needs_a_token() {
    let address = SocketAddr::from(([0, 0, 0, 0], 0));
    let without = face(store(&[]).await, None);
    assert!(listen(address, &without).await.is_err_and(|error| error.to_string().contains("apiToken")));
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    assert!(listen(loopback, &without).await.is_ok());
}

/// H6.
#[tokio::test]
async fn the_page_escapes_what_others_wrote_and_runs_nothing() {
    let store = store(&[record("shop")]).await;
    let problem = FileProblem {
        file: "<img>.yaml".into(),
        client: None,
        problem: SpecProblem { reason: "Invalid".into(), message: "</pre><script>alert(1)</script>".into() },
    };
    store.put_document(FILES, serde_json::to_value([problem]).ok().as_ref()).await.expect("noted");
    let router = router(face(store, None));
    let (status, headers, body) = ask(&router, "/", "localhost", None).await;
    assert_eq!(status, StatusCode::OK);
    let policy = headers[header::CONTENT_SECURITY_POLICY].to_str().expect("text");
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    assert!(body.contains("&lt;b&gt;the release builds&lt;/b&gt;"));
    assert!(body.contains("&lt;img&gt;.yaml") && !body.contains("<script") && !body.contains("style=\""));
}
