//! Answers in Ploi's shapes, and bodies as its framework reads them (contracts/ploi.md 1, 3, 4).

use axum::Json;
use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

/// Items of a page when none or too many are asked for.
const PER_PAGE_DEFAULT: usize = 15;
/// Most items of a page.
const PER_PAGE_MAX: usize = 50;

/// An answer that ends a handler early; boxed, because it is large and rare.
pub struct Refused(Box<Response>);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        *self.0
    }
}

impl From<Response> for Refused {
    fn from(response: Response) -> Self {
        Refused(Box::new(response))
    }
}

/// `Ok` and refusal look the same to axum.
pub type Reply = Result<Response, Refused>;

/// A JSON body; nothing where the content type is another one.
pub struct Payload(pub Value);

impl<S: Send + Sync> FromRequest<S> for Payload {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Self::Rejection> {
        let is_json = request
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|v| v.to_str().ok())
            .is_some_and(|kind| kind.starts_with("application/json"));
        let bytes = Bytes::from_request(request, state).await.map_err(IntoResponse::into_response)?;
        let value = if is_json { serde_json::from_slice(&bytes).unwrap_or(Value::Null) } else { Value::Null };
        Ok(Payload(value))
    }
}

impl Payload {
    /// A member that is a text and not empty.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(Value::as_str).filter(|text| !text.is_empty())
    }

    /// A required text.
    pub fn required(&self, key: &str) -> Result<&str, Refused> {
        self.text(key).ok_or_else(|| invalid(key, &format!("The {} field is required.", key.replace('_', " "))))
    }
}

/// 200 with a body.
pub fn ok(value: Value) -> Reply {
    Ok(Json(value).into_response())
}

/// 201 with a body.
pub fn created(value: Value) -> Reply {
    Ok((StatusCode::CREATED, Json(value)).into_response())
}

/// 200 with a message.
pub fn message(text: &str) -> Reply {
    ok(json!({ "message": text }))
}

/// 404.
pub fn missing() -> Refused {
    said(StatusCode::NOT_FOUND, "Not found").into()
}

/// A status with a message.
pub fn said(status: StatusCode, text: &str) -> Response {
    (status, Json(json!({ "message": text }))).into_response()
}

/// 422 of one field.
pub fn invalid(field: &str, text: &str) -> Refused {
    let body = json!({ "message": "The given data was invalid.", "errors": { field: [text] } });
    (StatusCode::UNPROCESSABLE_ENTITY, Json(body)).into_response().into()
}

/// 422 about the state of a thing.
pub fn not_now(text: &str) -> Refused {
    said(StatusCode::UNPROCESSABLE_ENTITY, text).into()
}

/// No such route.
pub async fn no_route() -> Response {
    said(StatusCode::NOT_FOUND, "The route could not be found.")
}

/// No such verb.
pub async fn wrong_verb() -> Response {
    said(StatusCode::METHOD_NOT_ALLOWED, "The method is not supported for this route.")
}

/// `page`, `per_page`, `search`; numbers that are none count as absent.
#[derive(Debug, Default, Deserialize)]
pub struct Window {
    page: Option<String>,
    per_page: Option<String>,
    /// Part of a name.
    pub search: Option<String>,
}

/// One page of a list. More than 50 items are silently 15.
pub fn page(window: &Window, path: &str, items: Vec<Value>, totals_lie: bool) -> Reply {
    let number = |text: &Option<String>| text.as_deref().and_then(|t| t.parse::<usize>().ok()).filter(|n| *n > 0);
    let size = number(&window.per_page).filter(|n| *n <= PER_PAGE_MAX).unwrap_or(PER_PAGE_DEFAULT);
    let current = number(&window.page).unwrap_or(1);
    let total = items.len();
    let last = total.div_ceil(size).max(1);
    let first = (current - 1).saturating_mul(size);
    let data: Vec<Value> = items.into_iter().skip(first).take(size).collect();
    let url = |n: usize| format!("http://ploi.io/api/{path}?page={n}");
    let at = |n: usize| if data.is_empty() { Value::Null } else { json!(n) };
    let body = json!({
        "links": {
            "first": url(1), "last": url(last),
            "prev": (current > 1).then(|| url(current - 1)), "next": (current < last).then(|| url(current + 1)),
        },
        "meta": {
            "current_page": current, "from": at(first + 1), "last_page": last,
            "links": [{ "url": null, "label": "Previous", "active": false }],
            "path": format!("http://ploi.io/api/{path}"), "per_page": size, "to": at(first + data.len()),
            "total": total + usize::from(totals_lie),
        },
        "data": data,
    });
    ok(body)
}
