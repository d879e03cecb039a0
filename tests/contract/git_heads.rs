//! Heads of branches at a Git host that answers as GitHub documents.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use parking_lot::Mutex;
use sitewright::provider::Git;
use sitewright::provider::error::ErrorClass;
use sitewright::provider::github::GitHub;
use sitewright::provider::http::{Budget, HttpClient, HttpLimits};
use sitewright::provider::world::faults::{Faults, guard};
use sitewright::resource::name::{Commit, RepositorySlug};
use sitewright::resource::secret::Secret;

use crate::loopback::Served;

const FIRST: &str = "1111111111111111111111111111111111111111";
const SECOND: &str = "2222222222222222222222222222222222222222";

struct Host {
    head: Arc<Mutex<&'static str>>,
    faults: Arc<Faults>,
    git: GitHub,
    _served: Served,
}

async fn commit(head: &'static str, name: &str, branch: &str, headers: &HeaderMap) -> Response {
    let spent = [("x-ratelimit-remaining", "0"), ("x-ratelimit-limit", "60")];
    match (name, branch) {
        ("shop", "main" | "feature/a b") if headers.get("if-none-match").is_some_and(|tag| tag == head) => {
            StatusCode::NOT_MODIFIED.into_response()
        }
        ("shop", "main" | "feature/a b") => ([("etag", head)], head).into_response(),
        ("shop", _) => StatusCode::UNPROCESSABLE_ENTITY.into_response(),
        ("empty", _) => StatusCode::CONFLICT.into_response(),
        ("page", _) => "<html>".into_response(),
        ("spent", _) => (StatusCode::FORBIDDEN, spent, "{}").into_response(),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn host() -> Host {
    let (head, faults) = (Arc::new(Mutex::new(FIRST)), Arc::new(Faults::default()));
    let shared = head.clone();
    let answer = move |Path((_, name, branch)): Path<(String, String, String)>, headers: HeaderMap| async move {
        let head = *shared.lock();
        commit(head, &name, &branch, &headers).await
    };
    let router = Router::new().route("/repos/{owner}/{name}/commits/{*branch}", get(answer));
    let served = Served::start(guard(router, "github", faults.clone())).await;
    let budget = Arc::new(Budget::new(5_000, Duration::from_secs(3_600)));
    let limits = HttpLimits { retry_delay: Duration::from_millis(1), ..HttpLimits::default() };
    let http = HttpClient::new("github", served.url("/"), Secret::new("token"), budget).unwrap().with_limits(limits);
    Host { head, faults, git: GitHub::new(http), _served: served }
}

fn slug(name: &str) -> RepositorySlug {
    RepositorySlug::parse(&format!("agency/{name}")).expect("a slug")
}

#[tokio::test]
async fn a_head_is_asked_for_conditionally_and_followed_when_it_moves() {
    let host = host().await;
    let first = Some(Commit::parse(FIRST).unwrap());
    for _ in 0..3 {
        assert_eq!(host.git.head(&slug("shop"), "main").await.expect("a head"), first);
    }
    *host.head.lock() = SECOND;
    assert_eq!(host.git.head(&slug("shop"), "main").await.expect("a head"), Some(Commit::parse(SECOND).unwrap()));
    assert_eq!(
        host.git.head(&slug("shop"), "feature/a b").await.expect("a head"),
        Some(Commit::parse(SECOND).unwrap())
    );
    let statuses: Vec<u16> = host.faults.calls().iter().map(|call| call.status).collect();
    assert_eq!(statuses, [200, 304, 304, 200, 200]);
}

#[tokio::test]
async fn what_cannot_be_seen_has_no_head_and_what_fails_is_an_error() {
    let host = host().await;
    for (name, branch) in [("unknown", "main"), ("shop", "gone"), ("empty", "main")] {
        assert_eq!(host.git.head(&slug(name), branch).await.expect("an answer"), None, "{name} {branch}");
    }
    let garbage = host.git.head(&slug("page"), "main").await.expect_err("no commit");
    assert!(matches!(garbage.class, ErrorClass::Unavailable(_)), "{garbage}");
    let spent = host.git.head(&slug("spent"), "main").await.expect_err("no calls left");
    assert!(matches!(spent.class, ErrorClass::Throttled { .. }), "{spent}");
}
