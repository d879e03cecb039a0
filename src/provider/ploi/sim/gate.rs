//! What every call passes: user agent, token, and the account's budget (contracts/ploi.md 1, 2).

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tokio::time::Instant;

use super::{PloiSim, reply};

/// The window of the limit.
const WINDOW: Duration = Duration::from_secs(60);

/// Calls of the running minute, of the whole account.
#[derive(Debug)]
pub struct Bucket {
    limit: u32,
    used: u32,
    began: Instant,
}

impl Bucket {
    /// `limit` calls a minute.
    pub fn new(limit: u32) -> Bucket {
        Bucket { limit, used: 0, began: Instant::now() }
    }

    /// Takes one call; gives what remains, or the seconds until the next.
    fn take(&mut self) -> Result<u32, u64> {
        let passed = self.began.elapsed();
        if passed >= WINDOW {
            (self.began, self.used) = (Instant::now(), 0);
        } else if self.used >= self.limit {
            return Err((WINDOW - passed).as_secs().max(1));
        }
        self.used += 1;
        Ok(self.limit - self.used)
    }
}

fn text(request: &Request, name: header::HeaderName) -> String {
    request.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned()
}

/// The gate.
pub async fn pass(State(sim): State<Arc<PloiSim>>, request: Request, next: Next) -> Response {
    if text(&request, header::USER_AGENT).is_empty() {
        return reply::said(StatusCode::FORBIDDEN, "A User-Agent header is required.");
    }
    if text(&request, header::AUTHORIZATION) != format!("Bearer {}", sim.token) {
        return reply::said(StatusCode::UNAUTHORIZED, "Unauthenticated.");
    }
    let (limit, taken) = {
        let mut bucket = sim.bucket.lock();
        (bucket.limit, bucket.take())
    };
    let (mut response, remaining) = match taken {
        Ok(remaining) => (inside(&sim, request, next).await, remaining),
        Err(seconds) => {
            let words = "Too many requests, please slow down with sending requests.";
            let mut response = reply::said(StatusCode::TOO_MANY_REQUESTS, words);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            (response, 0)
        }
    };
    response.headers_mut().insert("X-RateLimit-Limit", HeaderValue::from(limit));
    response.headers_mut().insert("X-RateLimit-Remaining", HeaderValue::from(remaining));
    response
}

/// A write may be turned into a 200 that holds an `error` (contracts/ploi.md 3).
async fn inside(sim: &PloiSim, request: Request, next: Next) -> Response {
    let fails = request.method() != Method::GET && {
        let mut knobs = sim.knobs.lock();
        let left = knobs.errors_inside;
        knobs.errors_inside = left.saturating_sub(1);
        left > 0
    };
    if fails {
        return axum::Json(json!({ "error": "Something went wrong on our side." })).into_response();
    }
    next.run(request).await
}
