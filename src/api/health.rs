//! What monitors ask: alive, ready, which version, what was counted.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use schemars::JsonSchema;
use serde::Serialize;

use crate::api::problem::Problem;
use crate::api::{Api, deletions, metrics, view};

/// The loop turns four times a second; one that did not for this long is stuck, or cannot use the state.
const BEAT_AGE_MAX: Duration = Duration::from_secs(10);
/// When a monitor may well ask again.
const ASK_AGAIN: Duration = Duration::from_secs(2);

/// The program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Version {
    /// Its name.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
}

/// This process answers.
pub async fn healthy() -> &'static str {
    "ok\n"
}

/// The first scan is done, the loop turns, and the state answers.
pub async fn ready(State(api): State<Api>) -> Result<&'static str, Problem> {
    let beat = *api.beats.borrow();
    match beat {
        None => return Err(Problem::busy("the first scan of the specs is not done yet", ASK_AGAIN)),
        Some(beat) if beat.elapsed() > BEAT_AGE_MAX => {
            let detail = format!("the loop has not turned for {:?}; the daemon's log says why", beat.elapsed());
            return Err(Problem::busy(detail, ASK_AGAIN));
        }
        Some(_) => {}
    }
    match api.store.open_requests().await {
        Ok(_) => Ok("ok\n"),
        Err(error) => {
            tracing::error!(%error, "the state cannot be read");
            Err(Problem::busy("the state cannot be read; the daemon's log says why", ASK_AGAIN))
        }
    }
}

/// Which program this is.
pub async fn version() -> Json<Version> {
    Json(Version { name: env!("CARGO_PKG_NAME"), version: env!("CARGO_PKG_VERSION") })
}

/// What the loop counted and how everybody stands, for a scraper.
pub async fn measured(State(api): State<Api>) -> Result<impl IntoResponse, Problem> {
    let (text, answers) = api.controller.as_ref().map(|controller| controller.measured()).unwrap_or_default();
    let overview = view::overview(&*api.store, &api.lens).await?;
    let deletions = deletions::deletions(&*api.store, &api.lens).await?;
    let body = metrics::text(&text, &overview, &deletions, &answers);
    Ok(([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], body))
}
