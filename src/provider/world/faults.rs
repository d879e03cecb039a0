//! Faults to order, and the log of every call: what tests and the control port turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Json;
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What happens to a call instead of, before or after its effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Effect {
    /// Answer this status and body; nothing happens.
    Status {
        /// Status code.
        code: u16,
        /// JSON body; the provider's usual one when absent.
        body: Option<serde_json::Value>,
        /// `Retry-After`, seconds.
        retry_after: Option<u64>,
    },
    /// Nothing happens and the connection breaks.
    LostBefore,
    /// It happens and the connection breaks before the answer.
    LostAfter,
    /// Nothing happens and no answer ever comes.
    Hang,
    /// It happens and the answer is not what the API documents.
    Garbage,
    /// It happens and a 200 comes with an empty body.
    Empty,
    /// It happens after this many milliseconds.
    DelayMs(u64),
}

/// When an effect is due.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    /// `ploi`, `cloudflare`; any when absent.
    pub provider: Option<String>,
    /// `GET`, …; any when absent.
    pub method: Option<String>,
    /// Part of the path; any when absent.
    pub path: Option<String>,
    /// Only calls that change something.
    #[serde(default)]
    pub writes: bool,
    /// Pass this many matching calls first.
    #[serde(default)]
    pub skip: u32,
    /// Then hit this many.
    pub times: u32,
    /// With this.
    pub effect: Effect,
}

impl Rule {
    /// Every call to a provider, from now on.
    pub fn always(provider: &str, effect: Effect) -> Self {
        Rule {
            provider: Some(provider.to_owned()),
            method: None,
            path: None,
            writes: false,
            skip: 0,
            times: u32::MAX,
            effect,
        }
    }
}

/// One call as the simulators saw it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// `ploi`, `cloudflare`, `cms`, …
    pub provider: String,
    /// Method.
    pub method: String,
    /// Path with query.
    pub path: String,
    /// Status answered; 0 when the connection was broken on purpose.
    pub status: u16,
}

impl Call {
    /// Whether it could change something.
    pub fn is_write(&self) -> bool {
        self.method != "GET" && self.method != "HEAD"
    }
}

/// Around which instant of a write a hook is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Arrived, nothing happened yet.
    Before,
    /// It happened; no answer has left.
    After,
}

/// Called at every write: crash tests kill a process here.
pub type Hook = Arc<dyn Fn(&Call, Moment) + Send + Sync>;

/// The faults in force and the calls so far.
#[derive(Default)]
pub struct Faults {
    /// Rules, first match wins.
    pub rules: Mutex<Vec<Rule>>,
    /// Every call since the start or the last clearing, in order of arrival.
    pub calls: Mutex<Vec<Call>>,
    /// The hook of a crash test.
    pub hook: Mutex<Option<Hook>>,
    /// How often the log was cleared: a call that began before a clearing must not write its status into a later one.
    clearings: AtomicU64,
}

/// Where a call stands in the log.
struct LogPlace {
    index: usize,
    clearing: u64,
}

impl Faults {
    /// Puts a rule behind the others.
    pub fn add(&self, rule: Rule) {
        self.rules.lock().push(rule);
    }

    /// Removes all rules.
    pub fn clear(&self) {
        self.rules.lock().clear();
    }

    /// Every call since the start or the last clearing.
    pub fn calls(&self) -> Vec<Call> {
        self.calls.lock().clone()
    }

    /// The calls among them that could change something.
    pub fn writes(&self) -> Vec<Call> {
        self.calls.lock().iter().filter(|call| call.is_write()).cloned().collect()
    }

    /// Forgets the calls.
    pub fn clear_calls(&self) {
        let mut calls = self.calls.lock();
        self.clearings.fetch_add(1, Ordering::Relaxed);
        calls.clear();
    }

    /// Logs a call that did not come over a guarded router (SQL, DNS, a probe at the edge).
    pub fn note(&self, call: Call) {
        self.calls.lock().push(call);
    }

    /// The effect that is due for a call; counts the call against its rule. A rule that still lets calls pass leaves them
    /// to the rules behind it.
    pub fn due(&self, call: &Call) -> Option<Effect> {
        let mut rules = self.rules.lock();
        let hit = rules.iter_mut().find_map(|rule| {
            if !rule.matches(call) || rule.times == 0 {
                return None;
            }
            if rule.skip > 0 {
                rule.skip -= 1;
                return None;
            }
            rule.times -= 1;
            Some(rule.effect.clone())
        });
        rules.retain(|rule| rule.times > 0);
        hit
    }

    fn begin(&self, call: &Call) -> LogPlace {
        let mut calls = self.calls.lock();
        calls.push(call.clone());
        LogPlace { index: calls.len() - 1, clearing: self.clearings.load(Ordering::Relaxed) }
    }

    fn end(&self, place: &LogPlace, status: StatusCode) {
        let mut calls = self.calls.lock();
        if self.clearings.load(Ordering::Relaxed) == place.clearing
            && let Some(call) = calls.get_mut(place.index)
        {
            call.status = status.as_u16();
        }
    }

    fn tell(&self, call: &Call, moment: Moment) {
        let hook = self.hook.lock().clone();
        if let Some(hook) = hook.filter(|_| call.is_write()) {
            hook(call, moment);
        }
    }
}

impl Rule {
    fn matches(&self, call: &Call) -> bool {
        self.provider.as_ref().is_none_or(|p| *p == call.provider)
            && self.method.as_ref().is_none_or(|m| m.eq_ignore_ascii_case(&call.method))
            && self.path.as_ref().is_none_or(|p| call.path.contains(p.as_str()))
            && (!self.writes || call.is_write())
    }
}

/// Puts the call log, the faults and the hook around a simulator's router. Paths are logged as this router sees them.
pub fn guard(router: Router, provider: &'static str, faults: Arc<Faults>) -> Router {
    router.layer(middleware::from_fn(move |request: Request, next: Next| {
        let faults = faults.clone();
        async move { pass(provider, faults, request, next).await }
    }))
}

async fn pass(provider: &'static str, faults: Arc<Faults>, request: Request, next: Next) -> Response {
    let uri = request.uri();
    let call = Call {
        provider: provider.into(),
        method: request.method().to_string(),
        path: uri.path_and_query().map_or_else(|| uri.path().to_owned(), ToString::to_string),
        status: 0,
    };
    let place = faults.begin(&call);
    faults.tell(&call, Moment::Before);
    match faults.due(&call) {
        None => happen(faults, call, place, request, next).await,
        Some(Effect::Status { code, body, retry_after }) => {
            let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            faults.end(&place, status);
            ordered(provider, status, body, retry_after)
        }
        Some(Effect::LostBefore) => broken(),
        Some(Effect::Hang) => std::future::pending().await,
        Some(Effect::LostAfter) => {
            let unlogged = LogPlace { index: usize::MAX, ..place };
            happen(faults, call, unlogged, request, next).await;
            broken()
        }
        Some(Effect::Garbage) => {
            happen(faults, call, place, request, next).await;
            (StatusCode::OK, [(header::CONTENT_TYPE, "text/html")], "<html><body>One moment, please").into_response()
        }
        Some(Effect::Empty) => {
            happen(faults, call, place, request, next).await;
            StatusCode::OK.into_response()
        }
        Some(Effect::DelayMs(delay)) => {
            // In a task of its own: it happens also when the caller has gone by then.
            let late = tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(delay)).await;
                happen(faults, call, place, request, next).await
            });
            late.await.unwrap_or_else(|_| broken())
        }
    }
}

async fn happen(faults: Arc<Faults>, call: Call, place: LogPlace, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    faults.end(&place, response.status());
    faults.tell(&Call { status: response.status().as_u16(), ..call }, Moment::After);
    response
}

/// The answer a rule asks for.
fn ordered(provider: &str, status: StatusCode, body: Option<Value>, retry_after: Option<u64>) -> Response {
    let mut response = (status, Json(body.unwrap_or_else(|| usual_body(provider, status)))).into_response();
    if let Some(value) = retry_after.and_then(|seconds| HeaderValue::from_str(&seconds.to_string()).ok()) {
        response.headers_mut().insert(header::RETRY_AFTER, value);
    }
    response
}

/// An error body of the shape this provider uses (contracts/cloudflare.md 1.1, contracts/ploi.md 3).
fn usual_body(provider: &str, status: StatusCode) -> Value {
    let reason = status.canonical_reason().unwrap_or("error");
    match provider {
        "cloudflare" => json!({
            "success": false, "messages": [], "result": null,
            "errors": [{ "code": 10_000, "message": reason }],
        }),
        _ => json!({ "message": reason }),
    }
}

/// An answer whose body fails before its announced length: the server closes the connection in the middle.
fn broken() -> Response {
    let cut = futures::stream::once(async { Err::<Bytes, _>(std::io::Error::other("broken on purpose")) });
    let mut response = Response::new(Body::from_stream(cut));
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("64"));
    response
}
