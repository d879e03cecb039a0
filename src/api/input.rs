//! What requests carry, read strictly: names, numbers, queries and JSON bodies; every refusal is a problem document.

use std::time::Duration;

use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use futures::StreamExt as _;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::api::problem::Problem;
use crate::resource::name::ClientName;

/// The largest body, in bytes: the longest request has a reason of some lines.
const BODY_BYTES_MAX: usize = 16 * 1024;
/// The longest that a body may take to arrive.
const BODY_PATIENCE: Duration = Duration::from_secs(10);

/// The client that the path names. A text that is no name is as unknown as a client that is not there.
pub struct Name(pub ClientName);

impl<S: Send + Sync> FromRequestParts<S> for Name {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(text) = Path::<String>::from_request_parts(parts, state).await.map_err(|_| unknown_client())?;
        ClientName::parse(&text).map(Name).map_err(|_| unknown_client())
    }
}

/// The number that the path names.
pub struct Number(pub i64);

impl<S: Send + Sync> FromRequestParts<S> for Number {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<i64>::from_request_parts(parts, state).await;
        path.map(|Path(number)| Number(number)).map_err(|_| unknown_number())
    }
}

/// Nobody is called that.
pub fn unknown_client() -> Problem {
    Problem::unknown("no client is called that; GET /api/v1/clients lists them")
}

/// Nothing has that number.
pub fn unknown_number() -> Problem {
    Problem::unknown("nothing here has that number; it was never given, or is too old to be kept")
}

/// The query, with nothing in it that its type does not know.
pub struct Asked<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = Query::<T>::try_from_uri(&parts.uri);
        query.map(|Query(query)| Asked(query)).map_err(|error| unfit(error.body_text()))
    }
}

/// A query that cannot be used.
pub fn unfit(why: impl std::fmt::Display) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, format!("{why}; /openapi.json lists what may be asked"))
}

/// A JSON body, with nothing in it that its type does not know.
pub struct Body<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            let detail = "send `Content-Type: application/json` and a JSON object, if only `{}`";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
        }
        let late = || Problem::new(StatusCode::REQUEST_TIMEOUT, format!("the body took longer than {BODY_PATIENCE:?}"));
        let bytes = timeout(BODY_PATIENCE, bytes(request)).await.map_err(|_| late())??;
        json(&bytes).map(Body)
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json")
}

async fn bytes(request: Request) -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::new();
    let mut parts = request.into_body().into_data_stream();
    while let Some(part) = parts.next().await {
        let part = part.map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "the body broke off; send it again"))?;
        if bytes.len() + part.len() > BODY_BYTES_MAX {
            let detail = format!("a body has at most {BODY_BYTES_MAX} bytes");
            return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail));
        }
        bytes.extend_from_slice(&part);
    }
    Ok(bytes)
}

/// Text that is no JSON is a bad request; JSON of another shape cannot be processed. Both name the place.
fn json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    if bytes.trim_ascii_start().starts_with(b"[") {
        // A list would be read as the members in their order.
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "an object is expected as the body, not a list"));
    }
    serde_json::from_slice(bytes).map_err(|error| {
        let status = if error.is_data() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::BAD_REQUEST };
        let detail = format!("the body cannot be used: {error}; /openapi.json says what is expected");
        Problem::new(status, detail).at(error.line(), error.column())
    })
}
