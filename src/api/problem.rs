//! Errors of the HTTP interface: `application/problem+json` (RFC 9457).

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::store::StoreError;

/// One error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    status: StatusCode,
    detail: String,
}

impl Problem {
    /// An error with what to do about it.
    pub fn new(status: StatusCode, detail: &str) -> Self {
        Problem { status, detail: detail.to_owned() }
    }
}

impl From<StoreError> for Problem {
    /// The engine's words stay in the log: they name paths of this machine.
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "the state cannot be read");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the state cannot be read; the daemon's log says why")
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or("Error"),
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        let mut response = (self.status, body.to_string()).into_response();
        let kind = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
