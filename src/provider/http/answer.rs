//! What an answer's status, headers and body mean before a provider reads its own codes out of it.

use std::time::Duration;

use bytes::Bytes;
use reqwest::{Method, StatusCode, header::HeaderMap};
use serde::de::DeserializeOwned;

use crate::provider::error::{ErrorClass, one_line};
use crate::provider::http::budget::Budget;

/// Longest message of a provider that is shown to people.
const MESSAGE_CHARS_MAX: usize = 300;

/// A usable answer: any 2xx.
#[derive(Debug, Clone)]
pub struct HttpAnswer {
    /// Status code.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// Body, at most [`crate::provider::http::BODY_BYTES_MAX`].
    pub body: Bytes,
}

/// A refused call, before a provider gives its codes a meaning.
#[derive(Debug, Clone)]
pub struct HttpRefusal {
    /// Status code, 400 to 499, never 401, 403, 408 or 429.
    pub status: StatusCode,
    /// Body.
    pub body: Bytes,
}

impl HttpAnswer {
    /// Reads the body as JSON. The error names the member that does not fit and never a value: for a read it is
    /// [`ErrorClass::Unavailable`], for a write [`ErrorClass::Unanswered`].
    pub fn json<T: DeserializeOwned>(&self, method: &Method) -> Result<T, ErrorClass> {
        let mut reader = serde_json::Deserializer::from_slice(&self.body);
        let value = serde_path_to_error::deserialize(&mut reader).map_err(|e| (e.path().to_string(), e.inner().line()));
        let value = value.and_then(|v| reader.end().map(|()| v).map_err(|e| ("end".to_owned(), e.line())));
        value.map_err(|(path, line)| {
            // Members that we do not know are called whatever the answer calls them.
            let (code, path) = (self.status.as_u16(), one_line(&path, MESSAGE_CHARS_MAX));
            unclear(method, format!("{code} with a body of another shape at `{path}`, line {line}"))
        })
    }
}

impl HttpRefusal {
    /// The class where the provider has no better one: 404 is [`ErrorClass::NotFound`], 409 and 423 are
    /// [`ErrorClass::Busy`], everything else is [`ErrorClass::Invalid`] with the provider's own message.
    pub fn class(&self) -> ErrorClass {
        match self.status {
            StatusCode::NOT_FOUND => ErrorClass::NotFound,
            StatusCode::CONFLICT | StatusCode::LOCKED => ErrorClass::Busy(self.message()),
            _ => ErrorClass::Invalid(self.message()),
        }
    }

    /// The provider's own sentence, cut and on one line; the status where it says nothing.
    pub fn message(&self) -> String {
        spoken(self.status, &self.body)
    }
}

/// A result that cannot be relied on: nothing happened for a read, nobody knows for a write.
pub(super) fn unclear(method: &Method, problem: String) -> ErrorClass {
    if is_read(method) { ErrorClass::Unavailable(problem) } else { ErrorClass::Unanswered(problem) }
}

/// Whether calls of this method change nothing.
pub(super) fn is_read(method: &Method) -> bool {
    *method == Method::GET || *method == Method::HEAD
}

/// What became of an answer with this status.
pub(super) enum Verdict {
    /// 2xx, or a 304 to a conditional read.
    Usable,
    /// For the provider to read.
    Refused,
    /// The same for every provider.
    Failed(ErrorClass),
}

/// Sorts an answer by its status. 404 and other 4xx are the provider's to read; a redirect is not followed, because it
/// would carry the credential to wherever it points.
pub(super) fn verdict(method: &Method, status: StatusCode, body: &Bytes) -> Verdict {
    match status.as_u16() {
        200..=299 | 304 => Verdict::Usable,
        401 => Verdict::Failed(ErrorClass::Unauthorized(spoken(status, body))),
        403 => Verdict::Failed(ErrorClass::Forbidden(spoken(status, body))),
        408 => Verdict::Failed(unclear(method, "408 request time-out".into())),
        400..=499 => Verdict::Refused,
        300..=399 => Verdict::Failed(unclear(method, format!("{} redirect, not followed", status.as_u16()))),
        code => Verdict::Failed(unclear(method, format!("answer {code}"))),
    }
}

/// The sentence in an error body: `error`, `errors[0].message` (with its code), the first of `errors.<field>`, or `message`.
fn spoken(status: StatusCode, body: &Bytes) -> String {
    let value: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |v: &serde_json::Value| v.as_str().map(str::to_owned);
    let first_error = || match value.get("errors") {
        Some(serde_json::Value::Array(items)) => items.first().and_then(|item| {
            let message = item.get("message").and_then(text).or_else(|| text(item))?;
            let code = item.get("code").and_then(serde_json::Value::as_i64);
            Some(code.map_or(message.clone(), |code| format!("{message}, code {code}")))
        }),
        Some(serde_json::Value::Object(fields)) => {
            fields.values().find_map(|v| text(v).or_else(|| v.get(0).and_then(text)))
        }
        _ => None,
    };
    let sentence = value
        .get("error")
        .and_then(text)
        .or_else(first_error)
        .or_else(|| value.get("message").and_then(text))
        .unwrap_or_else(|| "no reason given".into());
    format!("{}: {}", status.as_u16(), one_line(&sentence, MESSAGE_CHARS_MAX).trim())
}

/// Whether an answer is about too many calls: 429, or the 403 of a host that says the same with headers (GitHub).
pub(super) fn is_throttle(status: StatusCode, headers: &HeaderMap) -> bool {
    let is_spent = || headers.get("x-ratelimit-remaining").is_some_and(|left| left.as_bytes() == b"0");
    status == StatusCode::TOO_MANY_REQUESTS
        || (status == StatusCode::FORBIDDEN && (headers.contains_key("retry-after") || is_spent()))
}

/// How long a 429 closes the account: `Retry-After` in seconds or as a date (measured from the answer's own `Date`, so
/// that our clock does not matter), else the reset of `Ratelimit`, else a whole window.
pub(super) fn retry_after(headers: &HeaderMap, window: Duration) -> Duration {
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).map(str::trim);
    let date = |name: &str| text(name).and_then(|t| jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(t).ok());
    let seconds = |t: &str| t.parse::<u64>().ok().map(Duration::from_secs);
    let until_date = || {
        let now = date("date").unwrap_or_else(jiff::Timestamp::now);
        date("retry-after").map(|then| Duration::try_from(then.duration_since(now)).unwrap_or(Duration::ZERO))
    };
    text("retry-after")
        .and_then(seconds)
        .or_else(until_date)
        .or_else(|| text("ratelimit").and_then(|t| parameter(t, "t")).map(Duration::from_secs))
        .unwrap_or(window)
}

/// Takes what an answer says of the account's limit: `X-RateLimit-Limit`, `X-RateLimit-Remaining` (contracts/ploi.md 2);
/// `Ratelimit`, `Ratelimit-Policy` (contracts/cloudflare.md 1.10).
pub(super) fn learn(budget: &Budget, headers: &HeaderMap) {
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
    let number = |name: &str| text(name).and_then(|t| t.trim().parse::<u32>().ok());
    let small = |t: &str, key: &str| parameter(t, key).and_then(|n| u32::try_from(n).ok());
    if let Some(limit) = number("x-ratelimit-limit") {
        budget.learn_limit(limit, None);
    }
    if let Some(remaining) = number("x-ratelimit-remaining") {
        budget.learn_remaining(remaining, None);
    }
    for policy in text("ratelimit-policy").into_iter().flat_map(|t| t.split(',')) {
        if let (Some(quota), Some(window)) = (small(policy, "q"), parameter(policy, "w")) {
            budget.learn_limit(quota, Some(Duration::from_secs(window)));
        }
    }
    for policy in text("ratelimit").into_iter().flat_map(|t| t.split(',')) {
        if let (Some(remaining), Some(reset)) = (small(policy, "r"), parameter(policy, "t")) {
            budget.learn_remaining(remaining, Some(Duration::from_secs(reset)));
        }
    }
}

/// The number behind `key=` in `"name";key=1;other=2`.
fn parameter(text: &str, key: &str) -> Option<u64> {
    text.split(';').find_map(|part| part.trim().strip_prefix(key)?.strip_prefix('=')?.trim().parse().ok())
}
