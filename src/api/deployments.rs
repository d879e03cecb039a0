//! Deploys, as the history keeps them: pages of one client's, one, and what it printed.

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::Api;
use crate::api::clients::{PAGE_MAX, page, record};
use crate::api::input::{Asked, Name, Number, unknown_number};
use crate::api::problem::Problem;
use crate::store::history::Deployment;

/// Which deploys.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeploymentsQuery {
    /// Only deploys before the one of this id.
    before: Option<i64>,
    /// The longest page, 1 to 500.
    #[schemars(range(min = 1, max = PAGE_MAX))]
    limit: Option<usize>,
}

/// A page of deploys, the newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct DeploymentPage {
    /// The deploys.
    pub deployments: Vec<Deployment>,
    /// The `before` of the next page; `null` on the last one.
    pub next: Option<i64>,
}

/// What a deploy printed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct DeploymentLog {
    /// The deploy.
    pub deployment: Deployment,
    /// Its log, secrets masked; the last 256 KiB. It grows while the deploy runs.
    pub log: String,
}

/// Deploys of a client. One that went still has its deploys.
pub async fn list(
    State(api): State<Api>,
    Name(name): Name,
    Asked(query): Asked<DeploymentsQuery>,
) -> Result<Json<DeploymentPage>, Problem> {
    let limit = page(query.limit)?;
    let mut deployments = api.store.deployments(Some(&name), query.before, limit + 1).await?;
    if deployments.is_empty() && api.store.deployments(Some(&name), None, 1).await?.is_empty() {
        record(&api, &name).await?;
    }
    let has_more = deployments.len() > limit;
    deployments.truncate(limit);
    let next = deployments.last().map(|last| last.id).filter(|_| has_more);
    Ok(Json(DeploymentPage { deployments, next }))
}

/// One deploy.
pub async fn one(State(api): State<Api>, Number(id): Number) -> Result<Json<Deployment>, Problem> {
    api.store.deployment(id).await?.map(Json).ok_or_else(unknown_number)
}

/// What a deploy printed.
pub async fn logs(State(api): State<Api>, Number(id): Number) -> Result<Json<DeploymentLog>, Problem> {
    let deployment = api.store.deployment(id).await?.ok_or_else(unknown_number)?;
    let log = api.store.deployment_log(id).await?.unwrap_or_default();
    Ok(Json(DeploymentLog { deployment, log }))
}
