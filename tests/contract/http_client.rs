//! The HTTP client against a server that misbehaves in every documented way.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::routing::get;
use reqwest::Method;
use sitewright::provider::error::ErrorClass;
use sitewright::provider::http::{Budget, HttpClient, HttpLimits};
use sitewright::provider::world::faults::{Effect, Faults, Rule, guard};
use sitewright::resource::secret::Secret;

use crate::loopback::Served;

const TOKEN: &str = "token-that-must-stay-hidden";
const WINDOW: Duration = Duration::from_secs(300);

struct Setup {
    http: HttpClient,
    faults: Arc<Faults>,
    served: Served,
}

fn limits() -> HttpLimits {
    HttpLimits {
        read_timeout: Duration::from_secs(20),
        write_timeout: Duration::from_secs(20),
        body_bytes_max: 10_000,
        retry_delay: Duration::from_millis(1),
    }
}

async fn setup_with(limits: HttpLimits) -> Setup {
    let faults = Arc::new(Faults::default());
    let router = Router::new()
        .route("/things", get(async || "[1,2]").post(async || "{}").delete(async || "{}"))
        .route("/long", get(async || "x".repeat(20_000)).post(async || "x".repeat(20_000)))
        .route("/chunked", get(chunked))
        .route("/moved", get(async || (StatusCode::FOUND, [("location", "/things")], "")))
        .route("/echo", get(echo).post(echo))
        .route("/dated", get(dated))
        .route("/nonsense/{text}", get(nonsense))
        .route("/limits", get(async || ([("x-ratelimit-limit", "60"), ("x-ratelimit-remaining", "7")], "{}")));
    let served = Served::start(guard(router, "test", faults.clone())).await;
    let http = HttpClient::new("test", served.url("/"), Secret::new(TOKEN), Arc::new(Budget::new(1_000, WINDOW)));
    Setup { http: http.expect("a client").with_limits(limits), faults, served }
}

async fn setup() -> Setup {
    setup_with(limits()).await
}

/// A body without an announced length.
async fn chunked() -> impl IntoResponse {
    let parts = (0..40).map(|_| Ok::<_, std::io::Error>(vec![b'x'; 1_000]));
    axum::body::Body::from_stream(futures::stream::iter(parts))
}

/// A refusal that repeats the credential.
async fn echo(headers: HeaderMap) -> impl IntoResponse {
    let sent = headers.get("authorization").and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    (StatusCode::UNAUTHORIZED, axum::Json(serde_json::json!({ "message": format!("bad: {sent}") })))
}

/// A 429 with a date, 90 s after the server's own clock, which is years off.
async fn dated() -> impl IntoResponse {
    let headers = [("date", "Sat, 01 Jan 2000 00:00:00 GMT"), ("retry-after", "Sat, 01 Jan 2000 00:01:30 GMT")];
    (StatusCode::TOO_MANY_REQUESTS, headers, "")
}

/// A 429 that asks for a wait in no known way.
async fn nonsense(axum::extract::Path(text): axum::extract::Path<String>) -> impl IntoResponse {
    (StatusCode::TOO_MANY_REQUESTS, [("retry-after", text)], "")
}

fn always(effect: Effect) -> Rule {
    Rule { provider: None, method: None, path: None, writes: false, skip: 0, times: 1_000, effect }
}

fn status(code: u16) -> Effect {
    Effect::Status { code, body: None, retry_after: None }
}

#[derive(Debug, PartialEq)]
enum Sorted {
    Unavailable,
    Unanswered,
    Throttled,
    Unauthorized,
    Forbidden,
    Refused(u16),
}

fn sorted<T: std::fmt::Debug, R>(
    outcome: Result<Result<T, R>, sitewright::provider::error::ProviderError>,
    code: u16,
) -> Sorted {
    match outcome {
        Ok(Err(_)) => Sorted::Refused(code),
        Ok(Ok(answer)) => panic!("{code} gave {answer:?}"),
        Err(error) => match error.class {
            ErrorClass::Unavailable(_) => Sorted::Unavailable,
            ErrorClass::Unanswered(_) => Sorted::Unanswered,
            ErrorClass::Throttled { .. } => Sorted::Throttled,
            ErrorClass::Unauthorized(_) => Sorted::Unauthorized,
            ErrorClass::Forbidden(_) => Sorted::Forbidden,
            other => panic!("{code} gave {other:?}"),
        },
    }
}

/// B7, B8.
#[tokio::test]
async fn every_status_has_one_meaning_for_reads_and_one_for_writes() {
    for (code, read, write, reads) in [
        (302, Sorted::Unavailable, Sorted::Unanswered, 3),
        (400, Sorted::Refused(400), Sorted::Refused(400), 1),
        (401, Sorted::Unauthorized, Sorted::Unauthorized, 1),
        (403, Sorted::Forbidden, Sorted::Forbidden, 1),
        (404, Sorted::Refused(404), Sorted::Refused(404), 1),
        (405, Sorted::Refused(405), Sorted::Refused(405), 1),
        (408, Sorted::Unavailable, Sorted::Unanswered, 3),
        (409, Sorted::Refused(409), Sorted::Refused(409), 1),
        (422, Sorted::Refused(422), Sorted::Refused(422), 1),
        (429, Sorted::Throttled, Sorted::Throttled, 1),
        (500, Sorted::Unavailable, Sorted::Unanswered, 3),
        (502, Sorted::Unavailable, Sorted::Unanswered, 3),
        (503, Sorted::Unavailable, Sorted::Unanswered, 3),
    ] {
        let reading = setup().await;
        reading.faults.add(always(status(code)));
        assert_eq!(sorted(reading.http.get("things", &[]).await, code), read, "GET {code}");
        assert_eq!(reading.faults.calls().len(), reads, "calls of GET {code}");
        let writing = setup().await;
        writing.faults.add(always(status(code)));
        assert_eq!(sorted(writing.http.send(Method::POST, "things", None).await, code), write, "POST {code}");
        assert_eq!(writing.faults.calls().len(), 1, "a write is sent once, also after {code}");
    }
}

#[tokio::test]
async fn a_read_that_fails_twice_succeeds_at_the_third_try() {
    let setup = setup().await;
    setup.faults.add(Rule { times: 2, ..always(status(503)) });
    let answer = setup.http.get("things", &[]).await.expect("an answer").expect("no refusal");
    assert_eq!(answer.json::<Vec<u8>>(&Method::GET).expect("JSON"), [1, 2]);
    assert_eq!(setup.faults.calls().len(), 3);
}

#[tokio::test]
async fn a_broken_connection_leaves_the_outcome_of_a_write_open() {
    for effect in [Effect::LostBefore, Effect::LostAfter] {
        let setup = setup().await;
        setup.faults.add(always(effect.clone()));
        assert_eq!(sorted(setup.http.send(Method::POST, "things", None).await, 0), Sorted::Unanswered, "{effect:?}");
        assert_eq!(setup.faults.calls().len(), 1);
        assert_eq!(sorted(setup.http.get("things", &[]).await, 0), Sorted::Unavailable, "{effect:?}");
        assert_eq!(setup.faults.calls().len(), 4);
    }
}

/// B1.
#[tokio::test]
async fn silence_ends_with_the_time_out() {
    let short = Duration::from_millis(50);
    let setup = setup_with(HttpLimits { read_timeout: short, write_timeout: short, ..limits() }).await;
    setup.faults.add(always(Effect::Hang));
    assert_eq!(sorted(setup.http.send(Method::DELETE, "things", None).await, 0), Sorted::Unanswered);
    assert_eq!(sorted(setup.http.get("things", &[]).await, 0), Sorted::Unavailable);
}

#[tokio::test]
async fn a_write_that_never_left_did_not_happen() {
    let mut setup = setup().await;
    let closed = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        listener.local_addr().expect("an address")
    };
    let base = format!("http://{closed}/").parse().expect("a URL");
    let budget = setup.http.budget.clone();
    setup.http = HttpClient::new("test", base, Secret::new(TOKEN), budget).expect("a client");
    assert_eq!(sorted(setup.http.send(Method::POST, "things", None).await, 0), Sorted::Unavailable);
}

/// A11.
#[tokio::test]
async fn answers_are_cut_off_at_the_limit_announced_or_not() {
    let setup = setup().await;
    assert_eq!(sorted(setup.http.get("long", &[]).await, 0), Sorted::Unavailable);
    assert_eq!(sorted(setup.http.get("chunked", &[]).await, 0), Sorted::Unavailable);
    assert_eq!(sorted(setup.http.send(Method::POST, "long", None).await, 0), Sorted::Unanswered);
}

/// B36.
#[tokio::test]
async fn a_redirect_is_not_followed() {
    let setup = setup().await;
    assert_eq!(sorted(setup.http.get("moved", &[]).await, 0), Sorted::Unavailable);
    assert!(setup.faults.calls().iter().all(|call| call.path == "/moved"), "{:?}", setup.faults.calls());
}

#[tokio::test]
async fn garbage_is_unclear_and_its_values_are_not_shown() {
    let setup = setup().await;
    setup.faults.add(always(Effect::Garbage));
    let answer = setup.http.send(Method::POST, "things", None).await.expect("an answer").expect("no refusal");
    assert!(matches!(answer.json::<Vec<u8>>(&Method::POST), Err(ErrorClass::Unanswered(_))));
    assert!(matches!(answer.json::<Vec<u8>>(&Method::GET), Err(ErrorClass::Unavailable(_))));
    let secret = sitewright::provider::http::HttpAnswer { body: r#"{"value":"s3cret"}"#.into(), ..answer };
    #[derive(Debug, serde::Deserialize)]
    struct Wanted {
        #[allow(dead_code)]
        value: u8,
    }
    let error = secret.json::<Wanted>(&Method::GET).expect_err("a text is no number").to_string();
    assert!(error.contains("value") && !error.contains("s3cret"), "{error}");
}

#[tokio::test]
async fn errors_show_neither_the_token_nor_the_query() {
    let setup = setup().await;
    let error = setup.http.get("echo", &[("search", "private-name".into())]).await.expect_err("refused");
    assert!(matches!(error.class, ErrorClass::Unauthorized(_)));
    let lost = {
        setup.faults.add(always(Effect::LostBefore));
        setup.http.get("echo", &[("search", "private-name".into())]).await.expect_err("lost")
    };
    for text in [error.to_string(), format!("{error:?}"), lost.to_string(), format!("{lost:?}")] {
        assert!(!text.contains(TOKEN) && !text.contains("private-name"), "{text}");
    }
    assert!(error.to_string().contains("bad: Bearer (secret)"), "{error}");
}

/// B4.
#[tokio::test]
async fn a_429_closes_the_account_for_everybody() {
    let setup = setup().await;
    setup.faults.add(Rule { times: 1, ..always(Effect::Status { code: 429, body: None, retry_after: Some(42) }) });
    let error = setup.http.get("things", &[]).await.expect_err("throttled");
    let ErrorClass::Throttled { after } = error.class else { panic!("{error}") };
    assert!(after > Duration::from_secs(40) && after <= Duration::from_secs(42), "{after:?}");
    for outcome in [setup.http.get("things", &[]).await, setup.http.send(Method::POST, "things", None).await] {
        assert_eq!(sorted(outcome, 0), Sorted::Throttled);
    }
    assert_eq!(setup.faults.calls().len(), 1, "nobody calls while the account is closed");
}

/// B4, B5, B6.
#[tokio::test]
async fn retry_after_comes_as_seconds_as_a_date_as_nonsense_or_not_at_all() {
    let close = |seconds: Option<u64>| Effect::Status { code: 429, body: None, retry_after: seconds };
    for (retry_after, expected) in [(None, 300), (Some(5), 5), (Some(0), 1), (Some(999_999_999), 3_600)] {
        let setup = setup().await;
        setup.faults.add(always(close(retry_after)));
        setup.http.get("things", &[]).await.expect_err("throttled");
        let left = setup.http.budget.snapshot().closed_for.as_secs_f64().ceil();
        assert!((left - f64::from(expected)).abs() < 1.5, "{retry_after:?} closed for {left}");
    }
    let setup = setup().await;
    setup.http.get("dated", &[]).await.expect_err("throttled");
    let left = setup.http.budget.snapshot().closed_for.as_secs_f64().ceil();
    assert!((left - 90.0).abs() < 1.5, "a date closed for {left}");
    drop(setup.served);
    for text in ["soon", "-5", "1e9", "12 monkeys"] {
        let setup = setup_with(limits()).await;
        setup.http.get(&format!("nonsense/{}", text.replace(' ', "%20")), &[]).await.expect_err("throttled");
        let left = setup.http.budget.snapshot().closed_for;
        assert!(left >= Duration::from_millis(500) && left <= Duration::from_secs(3_600), "{text} closed for {left:?}");
    }
}

#[tokio::test]
async fn the_budget_learns_from_the_headers() {
    let setup = setup().await;
    setup.http.get("limits", &[]).await.expect("an answer").expect("no refusal");
    let budget = setup.http.budget.snapshot();
    assert_eq!((budget.limit, budget.remaining), (60, 7));
}

#[tokio::test]
async fn a_credential_never_travels_in_the_clear() {
    let new = |base: &str| {
        let budget = Arc::new(Budget::new(1, WINDOW));
        HttpClient::new("test", base.parse().expect("a URL"), Secret::new(TOKEN), budget)
    };
    for base in ["http://api.example/", "http://192.0.2.1:8080/", "http://[2001:db8::1]/"] {
        let Err(error) = new(base) else { panic!("{base} was accepted") };
        assert!(matches!(error.class, ErrorClass::Invalid(_)), "{error}");
    }
    for base in ["http://localhost:1/", "http://127.0.0.1:1/", "http://[::1]:1/"] {
        assert!(new(base).is_ok(), "{base}");
    }
}
