//! What a person does by hand, over the control port: pushes, edits behind our back, and the knobs of the simulated Ploi.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::provider::ploi::sim::{Knobs, PloiSim, SERVER_ID};

type Sim = State<Arc<PloiSim>>;

/// `GET|PUT /ploi/knobs` (members that are absent take their defaults), `POST /ploi/sites` `{domain, env?, port}` (a site
/// of somebody else), `POST /ploi/remove` `{domain}`, `POST /ploi/edit` `{domain, piece: env|vhost, from, to}`,
/// `POST /git/push` `{repository, branch}`.
pub fn router(sim: Arc<PloiSim>) -> Router {
    Router::new()
        .route("/ploi/knobs", get(knobs).put(turn))
        .route("/ploi/sites", post(foreign_site))
        .route("/ploi/remove", post(remove))
        .route("/ploi/edit", post(edit))
        .route("/git/push", post(push))
        .with_state(sim)
}

async fn knobs(State(sim): Sim) -> Json<Knobs> {
    Json(sim.knobs())
}

async fn turn(State(sim): Sim, Json(knobs): Json<Knobs>) -> StatusCode {
    sim.turn(|all| *all = knobs);
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
struct Foreign {
    domain: String,
    env: Option<String>,
    port: u16,
}

async fn foreign_site(State(sim): Sim, Json(site): Json<Foreign>) -> (StatusCode, Json<Value>) {
    let id = sim.add_foreign_site(SERVER_ID, &site.domain, site.env.as_deref(), site.port);
    (StatusCode::CREATED, Json(json!({ "id": id })))
}

#[derive(Deserialize)]
struct Named {
    domain: String,
}

fn done(found: bool) -> StatusCode {
    if found { StatusCode::NO_CONTENT } else { StatusCode::NOT_FOUND }
}

async fn remove(State(sim): Sim, Json(site): Json<Named>) -> StatusCode {
    done(sim.remove_site(SERVER_ID, &site.domain))
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Piece {
    Env,
    Vhost,
}

#[derive(Deserialize)]
struct Edit {
    domain: String,
    piece: Piece,
    from: String,
    to: String,
}

async fn edit(State(sim): Sim, Json(edit): Json<Edit>) -> StatusCode {
    let replaced = |text: &str| text.replace(&edit.from, &edit.to);
    done(match edit.piece {
        Piece::Env => sim.edit_env(SERVER_ID, &edit.domain, |text| Some(replaced(text))),
        Piece::Vhost => sim.edit_vhost(SERVER_ID, &edit.domain, replaced),
    })
}

#[derive(Deserialize)]
struct Push {
    repository: String,
    branch: String,
}

async fn push(State(sim): Sim, Json(push): Json<Push>) -> Json<Value> {
    let commit = sim.world.state().git.push(&push.repository, &push.branch);
    Json(json!({ "commit": commit }))
}
