//! The control port of the simulators: which calls came, and which faults are due. On loopback, for tests and for people.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};

use super::faults::{Call, Faults, Rule};

/// `GET /calls` (oldest first), `DELETE /calls`; `GET /faults`, `POST /faults` (one rule), `DELETE /faults`.
pub fn router(faults: Arc<Faults>) -> Router {
    Router::new()
        .route("/calls", get(calls).delete(clear_calls))
        .route("/faults", get(rules).post(add_rule).delete(clear_rules))
        .with_state(faults)
}

async fn calls(State(faults): State<Arc<Faults>>) -> Json<Vec<Call>> {
    Json(faults.calls())
}

async fn clear_calls(State(faults): State<Arc<Faults>>) -> StatusCode {
    faults.clear_calls();
    StatusCode::NO_CONTENT
}

async fn rules(State(faults): State<Arc<Faults>>) -> Json<Vec<Rule>> {
    Json(faults.rules.lock().clone())
}

async fn add_rule(State(faults): State<Arc<Faults>>, Json(rule): Json<Rule>) -> StatusCode {
    faults.add(rule);
    StatusCode::CREATED
}

async fn clear_rules(State(faults): State<Arc<Faults>>) -> StatusCode {
    faults.clear();
    StatusCode::NO_CONTENT
}
