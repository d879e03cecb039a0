//! What monitors ask: alive, ready, which version.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Serialize;

use crate::api::Api;
use crate::api::problem::Problem;

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
