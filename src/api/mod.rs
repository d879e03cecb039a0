//! FACE 1: the HTTP interface, read-only so far, and a plain status page (interface 6).
//!
//! Without a token it answers on loopback alone, and only to requests whose `Host` is loopback: a page elsewhere that made
//! its own name point here (DNS rebinding) gets nothing.

pub mod deletions;
pub mod metrics;
pub mod page;
pub mod problem;
pub mod view;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::api::problem::Problem;
use crate::api::view::{ClientView, Lens};
use crate::controller::running::Controller;
use crate::resource::name::ClientName;
use crate::resource::secret::Secret;
use crate::store::Store;

/// Nothing is loaded but our own style sheet; nothing runs; nobody frames the page.
const CONTENT_SECURITY_POLICY: &str =
    "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// The longest that open connections are waited for at a stop.
const STOP_PATIENCE: Duration = Duration::from_secs(2);

/// What the face shows, and to whom.
#[derive(Clone)]
pub struct Api {
    store: Arc<dyn Store>,
    lens: Arc<Lens>,
    token: Option<Secret>,
    controller: Option<Arc<Controller>>,
}

impl Api {
    /// A face over a state. With a token every address may be listened on, and reading needs it there.
    pub fn new(store: Arc<dyn Store>, lens: Lens, token: Option<Secret>) -> Self {
        Api { store, lens: Arc::new(lens), token, controller: None }
    }

    /// The same face of a process that runs the loop: `/metrics` tells of it.
    pub fn with_controller(mut self, controller: Arc<Controller>) -> Self {
        self.controller = Some(controller);
        self
    }
}

/// Takes the address.
///
/// # Errors
/// It is taken already; it is not loopback and there is no token.
pub async fn listen(address: SocketAddr, api: &Api) -> anyhow::Result<TcpListener> {
    if !address.ip().is_loopback() && api.token.is_none() {
        bail!(
            "listen {address}: without apiToken the API is served on loopback alone; set apiToken, or listen on 127.0.0.1"
        );
    }
    TcpListener::bind(address)
        .await
        .with_context(|| format!("listen {address}: the address cannot be taken; name another one, or `off`"))
}

/// Serves until `stop` turns true.
///
/// # Errors
/// The listener broke.
pub async fn serve(listener: TcpListener, api: Api, mut stop: watch::Receiver<bool>) -> anyhow::Result<()> {
    let mut stopped = stop.clone();
    let graceful = axum::serve(listener, router(api)).with_graceful_shutdown(async move {
        let _ = stop.wait_for(|stop| *stop).await; // a dropped sender means stop as well
    });
    tokio::select! {
        ended = graceful => Ok(ended?),
        // A connection that somebody keeps open holds no stop up.
        () = async { let _ = stopped.wait_for(|stop| *stop).await; tokio::time::sleep(STOP_PATIENCE).await } => Ok(()),
    }
}

/// All routes.
pub fn router(api: Api) -> Router {
    Router::new()
        .route("/", get(status_page))
        .route("/style.css", get(style))
        .route("/healthz", get(healthy))
        .route("/readyz", get(ready))
        .route("/version", get(version))
        .route("/metrics", get(measured))
        .route("/api/v1/clients", get(clients))
        .route("/api/v1/clients/{name}", get(client))
        .route("/api/v1/deletions", get(deletions))
        .fallback(not_found)
        .method_not_allowed_fallback(not_allowed)
        .layer(from_fn_with_state(api.clone(), guard))
        .with_state(api)
}

/// Lets nobody in whom the rules of the module do not allow, and puts the headers of caution on every answer.
async fn guard(State(api): State<Api>, request: Request, next: Next) -> Response {
    let mut response = match admit(&api, request.uri(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_SECURITY_POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

fn admit(api: &Api, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
    if matches!(uri.path(), "/healthz" | "/readyz") {
        return Ok(()); // load balancers know no token, and these say nothing of a client
    }
    let host = uri.authority().map(|authority| authority.as_str());
    let host = host.or_else(|| headers.get(header::HOST).and_then(|host| host.to_str().ok()));
    if host.is_some_and(is_loopback_host) {
        return Ok(());
    }
    let Some(token) = &api.token else {
        let detail =
            "this address answers to localhost, 127.0.0.1 and [::1] alone; set apiToken to reach it by another name";
        return Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, detail));
    };
    let given = headers.get(header::AUTHORIZATION).and_then(|given| given.to_str().ok());
    match given.and_then(|given| given.strip_prefix("Bearer ")) {
        Some(given) if Secret::new(given) == *token => Ok(()),
        _ => Err(Problem::new(StatusCode::UNAUTHORIZED, "send `Authorization: Bearer` with the apiToken")),
    }
}

/// `localhost`, or an address of this machine alone, with or without a port.
fn is_loopback_host(host: &str) -> bool {
    if let Ok(address) = host.parse::<SocketAddr>() {
        return address.ip().is_loopback();
    }
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if let Ok(address) = bare.parse::<IpAddr>() {
        return address.is_loopback();
    }
    let name = match host.split_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        Some(_) => return false,
        None => host,
    };
    name.eq_ignore_ascii_case("localhost")
}

async fn healthy() -> &'static str {
    "ok\n"
}

/// Ready once the state answers.
async fn ready(State(api): State<Api>) -> Result<&'static str, Problem> {
    match api.store.open_requests().await {
        Ok(_) => Ok("ok\n"),
        Err(error) => {
            tracing::error!(%error, "the state cannot be read");
            Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the state cannot be read"))
        }
    }
}

async fn version() -> Json<serde_json::Value> {
    Json(serde_json::json!({ "name": env!("CARGO_PKG_NAME"), "version": env!("CARGO_PKG_VERSION") }))
}

async fn measured(State(api): State<Api>) -> Result<impl IntoResponse, Problem> {
    let (text, answers) = api.controller.as_ref().map(|controller| controller.measured()).unwrap_or_default();
    let overview = view::overview(&*api.store, &api.lens).await?;
    let deletions = deletions::deletions(&*api.store, &api.lens).await?;
    let body = metrics::text(&text, &overview, &deletions, &answers);
    Ok(([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], body))
}

async fn clients(State(api): State<Api>) -> Result<Json<view::Overview>, Problem> {
    Ok(Json(view::overview(&*api.store, &api.lens).await?))
}

async fn client(State(api): State<Api>, Path(name): Path<String>) -> Result<Json<impl Serialize>, Problem> {
    let unknown = || Problem::new(StatusCode::NOT_FOUND, "no client is called that; GET /api/v1/clients lists them");
    let name = ClientName::parse(&name).map_err(|_| unknown())?;
    let client: ClientView = view::one(&*api.store, &name, &api.lens).await?.ok_or_else(unknown)?;
    Ok(Json(client))
}

async fn deletions(State(api): State<Api>) -> Result<Json<deletions::Deletions>, Problem> {
    Ok(Json(deletions::deletions(&*api.store, &api.lens).await?))
}

async fn status_page(State(api): State<Api>) -> Result<Html<String>, Problem> {
    let overview = view::overview(&*api.store, &api.lens).await?;
    let deletions = deletions::deletions(&*api.store, &api.lens).await?;
    Ok(Html(page::render(&overview, &deletions, jiff::Timestamp::now())))
}

async fn style() -> impl IntoResponse {
    let headers =
        [(header::CONTENT_TYPE, "text/css; charset=utf-8"), (header::CACHE_CONTROL, "max-age=3600, must-revalidate")];
    (headers, page::STYLE)
}

async fn not_found(uri: Uri) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, &format!("there is nothing at {}", uri.path()))
}

async fn not_allowed(method: Method) -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, &format!("{method} is not possible here; this interface reads only"))
}

#[cfg(test)]
mod tests;
