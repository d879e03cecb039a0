//! A mail provider on loopback, and a webhook that keeps what it is told (contracts/resend.md).

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::time::{Duration, Instant};

/// How long a key is kept.
const KEY_AGE_MAX: Duration = Duration::from_secs(24 * 3600);
/// Most recipients of one mail.
const RECIPIENTS_MAX: usize = 50;
/// Longest idempotency key, in characters.
const KEY_CHARS_MAX: usize = 256;

/// One account.
pub struct ResendSim {
    token: String,
    domain: String,
    state: Mutex<Account>,
}

#[derive(Default)]
struct Account {
    mails: Vec<Value>,
    keys: BTreeMap<String, (Instant, Bytes, String)>,
    told: Vec<String>,
}

impl ResendSim {
    /// An account with one verified domain.
    pub fn new(token: &str, domain: &str) -> Arc<Self> {
        Arc::new(ResendSim { token: token.into(), domain: domain.into(), state: Mutex::default() })
    }

    /// Every mail that was accepted, in its order.
    pub fn mails(&self) -> Vec<Value> {
        self.state.lock().mails.clone()
    }

    /// Every text that the webhook was told.
    pub fn told(&self) -> Vec<String> {
        self.state.lock().told.clone()
    }

    /// Its routes: `POST /emails`, and `POST /hook` of another provider.
    pub fn router(self: &Arc<Self>) -> Router {
        Router::new().route("/emails", post(send)).route("/hook", post(hook)).with_state(self.clone())
    }
}

fn refuse(status: StatusCode, name: &str, message: &str) -> Response {
    let body = json!({ "statusCode": status.as_u16(), "name": name, "message": message });
    (status, Json(body)).into_response()
}

async fn send(State(sim): State<Arc<ResendSim>>, headers: HeaderMap, body: Bytes) -> Response {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let authorization = header(header::AUTHORIZATION.as_str());
    if authorization.is_empty() {
        return refuse(StatusCode::UNAUTHORIZED, "missing_api_key", "Missing API key in the authorization header");
    }
    if authorization != format!("Bearer {}", sim.token) {
        return refuse(StatusCode::FORBIDDEN, "invalid_api_key", "API key is invalid");
    }
    if header(header::USER_AGENT.as_str()).is_empty() {
        return refuse(StatusCode::FORBIDDEN, "validation_error", "A User-Agent header is required");
    }
    let key = header("idempotency-key");
    if headers.contains_key("idempotency-key") && (key.is_empty() || key.len() > KEY_CHARS_MAX) {
        return refuse(StatusCode::BAD_REQUEST, "invalid_idempotency_key", "The key must have 1 to 256 characters");
    }
    if let Some(answer) = known(&sim, &key, &body) {
        return answer;
    }
    let mail: Value = match serde_json::from_slice(&body) {
        Ok(mail) => mail,
        Err(_) => return refuse(StatusCode::BAD_REQUEST, "validation_error", "The body is no JSON"),
    };
    if let Err((status, name, message)) = check(&mail, &sim.domain) {
        return refuse(status, name, &message);
    }
    let mut account = sim.state.lock();
    let id = format!("00000000-0000-4000-8000-{:012}", account.mails.len() + 1);
    account.mails.push(mail);
    if !key.is_empty() {
        account.keys.insert(key, (Instant::now(), body, id.clone()));
    }
    Json(json!({ "id": id })).into_response()
}

/// A key that is kept answers by itself: the same id for the same body, a conflict for another one.
fn known(sim: &ResendSim, key: &str, body: &Bytes) -> Option<Response> {
    let account = sim.state.lock();
    let (at, before, id) = account.keys.get(key)?;
    if at.elapsed() > KEY_AGE_MAX {
        return None;
    }
    if before != body {
        let message = "This idempotency key was used with another payload";
        return Some(refuse(StatusCode::CONFLICT, "invalid_idempotent_request", message));
    }
    Some(Json(json!({ "id": id })).into_response())
}

type Flaw = (StatusCode, &'static str, String);

fn check(mail: &Value, domain: &str) -> Result<(), Flaw> {
    let flaw = |name, message: String| (StatusCode::UNPROCESSABLE_ENTITY, name, message);
    let text = |member: &str| mail.get(member).and_then(Value::as_str).filter(|text| !text.is_empty());
    for member in ["from", "subject"] {
        if text(member).is_none() {
            return Err(flaw("missing_required_field", format!("Missing `{member}` field.")));
        }
    }
    if text("text").is_none() && text("html").is_none() {
        return Err(flaw("missing_required_field", "Missing `html` or `text` field.".into()));
    }
    let to: Vec<&str> = match mail.get("to") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    if to.is_empty() || to.len() > RECIPIENTS_MAX {
        return Err(flaw("missing_required_field", "Missing `to` field.".into()));
    }
    if let Some(bad) = to.iter().find(|to| to.ends_with("@example.com") || to.ends_with("@test.com")) {
        return Err(flaw("validation_error", format!("Invalid `to` field: {bad}")));
    }
    let sender = text("from").unwrap_or_default().trim_end_matches('>');
    if !sender.ends_with(&format!("@{domain}")) {
        let message = format!("The domain of {sender} is not verified.");
        return Err((StatusCode::FORBIDDEN, "validation_error", message));
    }
    let tag = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    let tags = mail.get("tags").and_then(Value::as_array).into_iter().flatten();
    for value in tags.flat_map(|one| [&one["name"], &one["value"]]) {
        if !value.as_str().is_some_and(tag) {
            return Err(flaw("validation_error", "Tags hold ASCII letters, digits, _ and - alone.".into()));
        }
    }
    Ok(())
}

async fn hook(State(sim): State<Arc<ResendSim>>, body: Bytes) -> Response {
    let text = serde_json::from_slice::<Value>(&body).ok().and_then(|value| value["text"].as_str().map(str::to_owned));
    match text.filter(|text| !text.is_empty()) {
        Some(text) => {
            sim.state.lock().told.push(text);
            (StatusCode::OK, "ok").into_response()
        }
        None => (StatusCode::BAD_REQUEST, "no_text").into_response(),
    }
}
