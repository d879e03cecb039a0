//! The simulated Git host: repositories, branches and commits, and the one call of GitHub's API that asks for a branch head.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::World;

use crate::resource::hex::hex;

/// Hexadecimal digits of a full commit id.
const COMMIT_DIGITS: usize = 40;
/// The media type by which GitHub answers the bare commit id.
const SHA_MEDIA_TYPE: &str = "application/vnd.github.sha";

/// All repositories by `owner/name`.
#[derive(Debug, Default)]
pub struct GitHost {
    repositories: BTreeMap<String, Repository>,
    /// The token that the API asks for; any when absent.
    pub token: Option<String>,
    pushes: u64,
}

#[derive(Debug, Default)]
struct Repository {
    reachable: bool,
    branches: BTreeMap<String, String>,
    commits: BTreeSet<String>,
}

impl GitHost {
    /// Pushes one new commit to a branch; repository and branch come into being as needed. Gives the commit.
    pub fn push(&mut self, slug: &str, branch: &str) -> String {
        self.pushes += 1;
        let seed = format!("{slug}\n{branch}\n{}", self.pushes);
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, seed.as_bytes());
        let mut commit: String = hex(digest.as_ref());
        commit.truncate(COMMIT_DIGITS);
        let repository = self.repositories.entry(slug.to_owned()).or_default();
        repository.reachable |= repository.commits.is_empty();
        repository.commits.insert(commit.clone());
        repository.branches.insert(branch.to_owned(), commit.clone());
        commit
    }

    /// Whether the host's linked account can see the repository from now on.
    pub fn set_reachable(&mut self, slug: &str, reachable: bool) {
        self.repositories.entry(slug.to_owned()).or_default().reachable = reachable;
    }

    /// Whether it can be cloned.
    pub fn is_reachable(&self, slug: &str) -> bool {
        self.repositories.get(slug).is_some_and(|r| r.reachable)
    }

    /// All repositories that the linked account sees.
    pub fn reachable(&self) -> Vec<String> {
        self.repositories.iter().filter(|(_, r)| r.reachable).map(|(slug, _)| slug.clone()).collect()
    }

    /// The head of a branch.
    pub fn head(&self, slug: &str, branch: &str) -> Option<String> {
        self.repositories.get(slug).filter(|r| r.reachable)?.branches.get(branch).cloned()
    }

    /// The full id of a commit that a full or abbreviated one names.
    pub fn commit(&self, slug: &str, id: &str) -> Option<String> {
        let repository = self.repositories.get(slug).filter(|r| r.reachable)?;
        let mut found = repository.commits.iter().filter(|commit| commit.starts_with(id));
        let first = found.next().cloned();
        first.filter(|_| found.next().is_none() && !id.is_empty())
    }
}

/// `GET /repos/{owner}/{name}/commits/{ref}`, with `ETag` and 304, as `GITHUB_API_URL` is asked.
pub fn router(world: Arc<World>) -> axum::Router {
    axum::Router::new()
        .route("/repos/{owner}/{name}/commits/{*reference}", axum::routing::get(commit))
        .with_state(world)
}

async fn commit(
    State(world): State<Arc<World>>,
    Path((owner, name, reference)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Response {
    let text =
        |name: header::HeaderName| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    let said = |status: StatusCode, message: &str| (status, Json(json!({ "message": message }))).into_response();
    if text(header::USER_AGENT).is_empty() {
        return said(StatusCode::FORBIDDEN, "Request forbidden by administrative rules. A User-Agent is required.");
    }
    let state = world.state();
    let bearer = text(header::AUTHORIZATION);
    if state.git.token.as_ref().is_some_and(|token| bearer != format!("Bearer {token}")) {
        return said(StatusCode::UNAUTHORIZED, "Bad credentials");
    }
    let slug = format!("{owner}/{name}");
    if !state.git.is_reachable(&slug) {
        return said(StatusCode::NOT_FOUND, "Not Found");
    }
    let Some(commit) = state.git.head(&slug, &reference).or_else(|| state.git.commit(&slug, &reference)) else {
        return said(StatusCode::UNPROCESSABLE_ENTITY, &format!("No commit found for SHA: {reference}"));
    };
    let etag = format!("\"{commit}\"");
    let tags = [(header::ETAG, etag.clone())];
    if text(header::IF_NONE_MATCH).trim_start_matches("W/") == etag {
        return (StatusCode::NOT_MODIFIED, tags).into_response();
    }
    if text(header::ACCEPT).contains(SHA_MEDIA_TYPE) {
        return (tags, commit).into_response();
    }
    (tags, Json(json!({ "sha": commit, "commit": { "message": "A change" } }))).into_response()
}
