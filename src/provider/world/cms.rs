//! How a client's site answers: health with its identity, the first administrator, and a page.

use std::collections::BTreeMap;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use serde_json::{Value, json};

use super::World;
use super::process::{DatabaseLogin, Process, database_login};

/// First administrators by database: (e-mail, password).
pub type Administrators = BTreeMap<String, (String, String)>;

/// The header by which a site names its client (interface 1, `spec.health.identity`).
const CLIENT_HEADER: &str = "X-Client-Id";

/// Provider name of the sites in the log of calls and in fault rules.
pub const NAME: &str = "cms";

/// Answers one request as the process would.
pub async fn answer(world: &World, process: &Process, method: &str, path: &str, body: &[u8]) -> Response {
    let client = process.environment.get("CLIENT_ID").cloned().unwrap_or_else(|| process.name.clone());
    let url = process.environment.get("DATABASE_URL").map(String::as_str);
    let login = database_login(url).await;
    let mut response = match (method, path.trim_end_matches('/')) {
        ("GET" | "HEAD", "/api/health") => health(&client, &process.commit, &login),
        (_, path) if path.starts_with("/api/") && matches!(login, DatabaseLogin::Refused(_)) => {
            errors(StatusCode::INTERNAL_SERVER_ERROR, "Something went wrong.")
        }
        ("POST", "/api/users/first-register") => first_register(world, &database(process), body),
        ("POST", "/api/users/login") => log_in(world, &database(process), body),
        (_, path) if path.starts_with("/api/") => errors(StatusCode::NOT_FOUND, "Route not found"),
        _ => Html(format!("<!doctype html><title>{client}</title><h1>{client}</h1>")).into_response(),
    };
    if let Ok(value) = client.parse() {
        response.headers_mut().insert(CLIENT_HEADER, value);
    }
    response
}

/// What tells two databases apart: the address without password and parameters; without one, the process itself.
fn database(process: &Process) -> String {
    let url = process.environment.get("DATABASE_URL").and_then(|text| url::Url::parse(text).ok());
    url.map_or_else(
        || format!("{}@{}", process.name, process.user),
        |url| format!("{}:{}{}", url.host_str().unwrap_or_default(), url.port().unwrap_or(5432), url.path()),
    )
}

fn errors(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({ "errors": [{ "message": message }] }))).into_response()
}

fn health(client: &str, commit: &str, login: &DatabaseLogin) -> Response {
    let (status, word, database) = match login {
        DatabaseLogin::Refused(why) => (StatusCode::SERVICE_UNAVAILABLE, "error", why.as_str()),
        _ => (StatusCode::OK, "ok", "ok"),
    };
    (status, Json(json!({ "status": word, "client": client, "commit": commit, "database": database }))).into_response()
}

fn credentials(body: &[u8]) -> Option<(String, String)> {
    let value: Value = serde_json::from_slice(body).ok()?;
    let text = |key: &str| value.get(key).and_then(Value::as_str).filter(|t| !t.is_empty()).map(str::to_owned);
    Some((text("email")?, text("password")?))
}

fn first_register(world: &World, database: &str, body: &[u8]) -> Response {
    let Some((email, password)) = credentials(body) else {
        return errors(StatusCode::BAD_REQUEST, "The following field is invalid: email");
    };
    let mut state = world.state();
    if state.administrators.contains_key(database) {
        return errors(StatusCode::FORBIDDEN, "You are not allowed to perform this action.");
    }
    state.administrators.insert(database.to_owned(), (email.clone(), password));
    Json(json!({ "message": "Registered successfully.", "token": "simulated", "user": { "id": 1, "email": email } }))
        .into_response()
}

fn log_in(world: &World, database: &str, body: &[u8]) -> Response {
    let known = world.state().administrators.get(database).cloned();
    match (known, credentials(body)) {
        (Some(known), Some(given)) if known == given => Json(
            json!({ "message": "Authentication Passed", "token": "simulated", "user": { "id": 1, "email": given.0 } }),
        )
        .into_response(),
        _ => errors(StatusCode::UNAUTHORIZED, "The email or password provided is incorrect."),
    }
}
