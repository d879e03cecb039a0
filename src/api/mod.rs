//! FACE 1: the HTTP interface, and the dashboard (interface 6).
//!
//! ```text
//!  listener ─▶ gate ─▶ router ─▶ clients, requests, stream, provisioning, health, dashboard
//!              who may   └── operations: the one table, of which the OpenAPI document is made too
//! ```
//!
//! Reading shows what the state holds; writing puts requests into it, as the commands do. Nothing here touches a provider,
//! but for a plan, which looks and writes nothing.

pub mod clients;
pub mod dashboard;
pub mod deletions;
pub mod deployments;
pub mod document;
pub mod gate;
pub mod health;
pub mod hub;
pub mod input;
pub mod listener;
pub mod metrics;
pub mod moment;
pub mod operation;
pub mod operations;
pub mod plan;
pub mod problem;
pub mod provisioning;
pub mod requests;
pub mod stream;
pub mod view;

use std::sync::Arc;

use axum::Router;
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::from_fn_with_state;
use futures::future::BoxFuture;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use crate::api::gate::{Host, guard};
use crate::api::hub::Hub;
use crate::api::operations::operations;
use crate::api::plan::PlanDocument;
use crate::api::problem::Problem;
use crate::api::view::Lens;
use crate::controller::running::Controller;
use crate::resource::name::ClientName;
use crate::resource::secret::Secret;
use crate::store::Store;

/// What a plan is made for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LookAt {
    /// A client that is there.
    Client(ClientName),
    /// A client that would be there with this spec, whose text was checked.
    Draft {
        /// Its name.
        name: ClientName,
        /// The text.
        text: String,
    },
}

/// Looks at a client afresh and plans it, writing nothing; `None` where there is nothing to plan by. Whoever put the
/// installation together knows how.
pub type Look = Arc<dyn Fn(LookAt) -> BoxFuture<'static, anyhow::Result<Option<PlanDocument>>> + Send + Sync>;

/// What a face is made of.
pub struct Parts {
    /// The state.
    pub store: Arc<dyn Store>,
    /// What views need to read a record.
    pub lens: Lens,
    /// Without one nothing is written through this face, and it is read on loopback alone.
    pub token: Option<Secret>,
    /// Names besides loopback's under which it may be written to: `host` or `host:port`.
    pub hosts: Vec<String>,
    /// When the loop last turned.
    pub beats: watch::Receiver<Option<Instant>>,
    /// The loop, where this process runs it: `/metrics` tells of it.
    pub controller: Option<Arc<Controller>>,
    /// How a plan is made.
    pub look: Look,
    /// What the settings say of the dashboard.
    pub dashboard: dashboard::Options,
}

/// What the face shows, and to whom.
#[derive(Clone)]
pub struct Api {
    store: Arc<dyn Store>,
    lens: Arc<Lens>,
    token: Option<Secret>,
    hosts: Arc<[Host]>,
    beats: watch::Receiver<Option<Instant>>,
    controller: Option<Arc<Controller>>,
    look: Look,
    dashboard: Arc<dashboard::Options>,
    plans: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    hub: Arc<Hub>,
}

impl Api {
    /// A face of these parts.
    pub fn new(parts: Parts) -> Self {
        Api {
            hub: Hub::new(parts.store.clone()),
            store: parts.store,
            lens: Arc::new(parts.lens),
            token: parts.token,
            hosts: parts.hosts.iter().filter_map(|host| Host::parse(host)).collect(),
            beats: parts.beats,
            controller: parts.controller,
            look: parts.look,
            dashboard: Arc::new(parts.dashboard),
            plans: Arc::new(Semaphore::new(clients::PLANS_AT_ONCE)),
            streams: Arc::new(Semaphore::new(stream::STREAMS_MAX)),
        }
    }
}

/// All routes.
pub fn router(api: Api) -> Router {
    let mut router = Router::new();
    for operation in operations() {
        router = router.route(operation.path, operation.handler);
    }
    router
        .fallback(not_found)
        .method_not_allowed_fallback(not_allowed)
        .layer(from_fn_with_state(api.clone(), guard))
        .with_state(api)
}

async fn not_found(uri: Uri) -> Problem {
    Problem::unknown(format!("there is nothing at {}; /openapi.json lists what there is", uri.path()))
}

async fn not_allowed(method: Method, uri: Uri) -> Problem {
    let detail = format!("{method} is not possible at {}; /openapi.json lists what is", uri.path());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail)
}

#[cfg(test)]
mod tests;
