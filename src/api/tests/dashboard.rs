//! The pages without a browser: well-formed, escaped, bounded.

use jiff::ToSpan as _;

use super::*;
use crate::api::dashboard::fleet::WINDOW;
use crate::resource::kind::ResourceRef;
use crate::store::history::{Deployment, DeploymentKind, DeploymentState, History as _, Write};
use crate::store::{Event, EventKind};

/// The fleet's page stays below this however many clients there are: some two hundred milliseconds on a slow line.
const FLEET_BYTES_MAX: usize = 160 * 1024;
/// A text that would break out of every place it could be put into.
const NASTY: &str = "</pre></title>--><script>alert(1)</script>\"'><img src=x onerror=alert(1)>&amp;\u{1b}[2J\u{202e}";

/// Elements without an end.
const VOID: [&str; 5] = ["meta", "link", "input", "img", "wbr"];

/// Every element that begins ends, in order; attributes are quoted; ids are unique. No text holds a `<`.
fn assert_well_formed(page: &str, path: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut ids = std::collections::BTreeSet::new();
    let body = page.strip_prefix("<!doctype html>").expect("a doctype");
    for (at, _) in body.match_indices('<') {
        let tag = &body[at + 1..at + body[at..].find('>').expect("a tag ends")];
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "{path}: … {}", &body[at.saturating_sub(80)..at]);
            continue;
        }
        let name = tag.split([' ', '/']).next().unwrap_or_default();
        assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric()) && !name.is_empty(), "{path}: <{tag}>");
        assert_eq!(tag.matches('"').count() % 2, 0, "{path}: <{tag}>");
        let unquoted: String = tag.split('"').step_by(2).collect();
        assert!(!unquoted.contains(" on") && !unquoted.contains("style="), "{path}: <{tag}>");
        if let Some(id) = tag.split(" id=\"").nth(1).and_then(|rest| rest.split('"').next()) {
            assert!(ids.insert(id.to_owned()), "{path}: id {id} twice");
        }
        if !VOID.contains(&name) && !tag.ends_with('/') {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{path}: {open:?} never ends");
    assert_eq!(page.matches("<script").count(), 1, "{path}: our own module alone");
    assert!(page.contains("<script type=\"module\" src=\"/dashboard.js\"></script>"), "{path}");
    assert!(!page.contains('\u{1b}') && !page.contains('\u{202e}'), "{path}");
}

fn nasty(name: &str) -> ClientRecord {
    let mut record = record(name);
    record.status.message = NASTY.into();
    for condition in &mut record.status.conditions {
        condition.message = NASTY.into();
        condition.reason = NASTY.into();
    }
    for resource in &mut record.owned.resources {
        resource.name = NASTY.into();
    }
    record.pause =
        Some(crate::store::Pause { reason: NASTY.into(), since: Timestamp::UNIX_EPOCH, until: Some(Timestamp::MAX) });
    record
}

/// A state in which everything that others wrote is hostile; gives the deploy's number.
async fn hostile() -> (Arc<MemoryStore>, i64) {
    let mut gone = leaving("gone", ReclaimPolicy::Delete);
    gone.accepted.as_mut().expect("a spec").file = NASTY.into();
    let shop = nasty("shop");
    let store = store(&[shop.clone(), gone, nasty("blog")]).await;
    let problem = FileProblem {
        file: NASTY.into(),
        client: None,
        problem: SpecProblem { reason: "Invalid".into(), message: NASTY.into() },
    };
    store.put_document(FILES, serde_json::to_value([problem]).ok().as_ref()).await.expect("noted");
    store.put_document(crate::controller::fleet::DIRECTORY, Some(&NASTY.into())).await.expect("noted");
    let event = Event {
        id: 0,
        at: Timestamp::now(),
        client: Some(shop.name.clone()),
        kind: EventKind::Warning,
        reason: NASTY.into(),
        message: NASTY.into(),
        reconcile: Some("pass".into()),
    };
    store.append_event(&event).await.expect("noted");
    let write = Write {
        id: 0,
        at: Timestamp::now(),
        client: shop.name.clone(),
        reconcile: Some("pass".into()),
        op: "create".into(),
        resource: ResourceRef { kind: ResourceKind::Record, provider: NASTY.into(), name: NASTY.into(), id: None },
        changes: Vec::new(),
        reason: NASTY.into(),
        failure: Some(NASTY.into()),
    };
    store.append_write(&write).await.expect("noted");
    let mut deployment = Deployment {
        id: 0,
        client: shop.name.clone(),
        uid: shop.owned.mark.uid.clone(),
        number: 1,
        kind: DeploymentKind::First,
        trigger: NASTY.into(),
        repository: NASTY.into(),
        branch: NASTY.into(),
        commit: Some(NASTY.into()),
        started_at: Timestamp::UNIX_EPOCH,
        finished_at: Some(Timestamp::now()),
        state: DeploymentState::Succeeded,
        reason: Some(NASTY.into()),
        configuration: [(NASTY.to_owned(), NASTY.to_owned())].into(),
        health: Some(NASTY.into()),
        reconcile: None,
    };
    store.put_deployment(&deployment).await.expect("noted");
    deployment.number = 2;
    deployment.state = DeploymentState::Failed;
    let id = store.put_deployment(&deployment).await.expect("noted");
    store.put_deployment_log(id, NASTY).await.expect("noted");
    (store, id)
}

/// H6.
#[tokio::test]
async fn every_page_is_well_formed_whatever_others_wrote() {
    let (store, id) = hostile().await;
    let query: String = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("name", NASTY)
        .append_pair("domain", NASTY)
        .append_pair("labels", NASTY)
        .append_pair("environment", NASTY)
        .append_pair("template", NASTY)
        .append_pair("q", NASTY)
        .append_pair("selector", NASTY)
        .finish();
    for token in [None, Some("right")] {
        let router = router(face(store.clone(), token));
        let pages = [
            "/".to_owned(),
            format!("/?{query}"),
            "/clients/shop".to_owned(),
            "/clients/gone".to_owned(),
            format!("/deployments/{id}"),
            "/deletions".to_owned(),
            "/providers".to_owned(),
            "/new".to_owned(),
            format!("/new?{query}"),
        ];
        for path in pages {
            let (status, headers, page) = ask(&router, &path, "localhost", None).await;
            assert_eq!(status, StatusCode::OK, "{path}");
            let policy = headers[header::CONTENT_SECURITY_POLICY].to_str().expect("text");
            assert!(policy.contains("script-src 'self'") && !policy.contains("unsafe"), "{policy}");
            assert_well_formed(&page, &path);
            assert!(!page.contains("<img src=x"), "{path}");
        }
    }
}

#[tokio::test]
async fn a_thousand_clients_are_one_window_of_bounded_size() {
    let records: Vec<ClientRecord> = (0..1_000)
        .map(|number| {
            let mut record = record(&format!("client-{number:04}"));
            record.status.message =
                "release 12 is being built since 2026-11-21T22:05:30Z; it may take until 2026-11-21T22:50:30Z".into();
            record
        })
        .collect();
    let router = router(face(store(&records).await, None));
    let (_, _, first) = ask(&router, "/", "localhost", None).await;
    assert!(first.len() < FLEET_BYTES_MAX, "{} bytes", first.len());
    assert_eq!(first.matches("<tr id=").count(), WINDOW);
    assert!(first.contains("1–100 of 1000") && first.contains("<b data-count=\"waiting\">1000</b>"), "all are counted");
    let (_, _, last) = ask(&router, "/?page=10", "localhost", None).await;
    assert!(last.contains("client-0999") && !last.contains("rel=\"next\""));
    let (_, _, beyond) = ask(&router, "/?page=99", "localhost", None).await;
    assert!(beyond.contains("client-0999"), "a window that is not there is the last one");
    let (_, _, found) = ask(&router, "/?q=client-0123.exam&selector=tier%3Dgold", "localhost", None).await;
    assert_eq!(found.matches("<tr id=").count(), 1, "by its domain");
    let (_, _, none) = ask(&router, "/?standing=broken", "localhost", None).await;
    assert!(none.contains("No client fits that"));
}

#[tokio::test]
async fn what_is_not_known_says_so() {
    let mut unread = record("shop");
    unread.accepted = None;
    unread.status = Status::pending();
    unread.owned.allocation.port = None;
    let router = router(face(store(&[unread]).await, None));
    let (_, _, page) = ask(&router, "/clients/shop", "localhost", None).await;
    for said in [
        "its domain is not known",
        "no pass has looked at it",
        "none is given out yet",
        "Nothing was deployed yet",
        "Nothing happened that is still kept",
    ] {
        assert!(page.contains(said), "{said}");
    }
    let (_, _, page) = ask(&router, "/providers", "localhost", None).await;
    assert!(page.contains("Nothing is known of any account yet") && page.contains("no cycle has begun yet"));
    assert_eq!(ask(&router, "/clients/nobody", "localhost", None).await.0, StatusCode::NOT_FOUND);
    assert_eq!(ask(&router, "/deployments/7", "localhost", None).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn only_what_may_be_asked_for_can_be_pressed() {
    let store = store(&[record("shop")]).await;
    let (_, _, reads) = ask(&router(face(store.clone(), None)), "/clients/shop", "localhost", None).await;
    assert!(!reads.contains("data-ask") && reads.contains("sitewright reconcile shop"));
    let (_, _, acts) = ask(&router(face(store, Some("right"))), "/clients/shop", "localhost", None).await;
    assert!(acts.contains("data-ask=\"/api/v1/clients/shop/reconcile\""));
    assert!(!acts.contains("right\""), "the token is no part of a page");
}

#[tokio::test]
async fn the_newest_events_come_first_however_many_there_are() {
    let store = store(&[record("shop"), record("busy")]).await;
    let at = Timestamp::UNIX_EPOCH;
    let event = |client: &str, number: i64| Event {
        id: 0,
        at: at + number.seconds(),
        client: Some(ClientName::trusted(client)),
        kind: EventKind::Normal,
        reason: "Told".into(),
        message: format!("{client} number {number}."),
        reconcile: None,
    };
    for number in 0..40 {
        store.append_event(&event("shop", number)).await.expect("noted");
    }
    for number in 0..3_000 {
        store.append_event(&event("busy", number)).await.expect("noted");
    }
    let router = router(face(store, None));
    let (_, _, page) = ask(&router, "/clients/shop", "localhost", None).await;
    let place = |number: u32| page.find(&format!("shop number {number}."));
    assert!(place(39) < place(38) && place(39).is_some(), "newest first");
    assert!(place(10).is_some() && place(9).is_none(), "thirty of them");
}

#[tokio::test]
async fn from_elsewhere_a_browser_gets_the_page_that_asks_for_the_token() {
    let router = router_over(&[record("shop")], Some("right")).await;
    for (accept, shows) in [("text/html,*/*", true), ("*/*", false)] {
        let peer = ConnectInfo(SocketAddr::from(([192, 0, 2, 7], 4711)));
        let request = Request::builder().uri("/clients/shop").header(header::HOST, "ops.example");
        let request = request.header(header::ACCEPT, accept).extension(peer).body(Body::empty()).expect("a request");
        let response = router.clone().oneshot(request).await.expect("an answer");
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        let bytes = axum::body::to_bytes(response.into_body(), 64 * 1024).await.expect("a body");
        let page = String::from_utf8_lossy(&bytes);
        assert_eq!(page.contains("data-locked"), shows, "{accept}");
        assert!(!page.contains("shop.example") && !page.contains("Deploying"), "it says nothing of anybody");
        if shows {
            assert_well_formed(&page, "locked");
        }
    }
}
