//! What people ask of the daemon: rows in the state, as the commands put them (decisions 33), and what became of them.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::Api;
use crate::api::clients::record;
use crate::api::input::{Body, Name, Number, unknown_number};
use crate::api::problem::Problem;
use crate::controller::absence::Absences;
use crate::controller::recovery::Recovery;
use crate::controller::requests::served_before;
use crate::resource::name::ClientName;
use crate::store::{Ask, Event, EventKind, Request};

/// Longest reason of a pause, in characters.
const REASON_CHARS_MAX: usize = 500;

/// An object without members.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// A way back.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RollbackBody {
    /// The release's number in the client's history; without it the one that served before.
    to: Option<u64>,
    /// Why, for whoever finds it rolled back.
    #[schemars(length(min = 1, max = REASON_CHARS_MAX))]
    reason: String,
    /// When the branch counts again by itself.
    until: Option<Timestamp>,
}

/// A pause.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PauseBody {
    /// Why, for whoever finds it paused.
    #[schemars(length(min = 1, max = REASON_CHARS_MAX))]
    reason: String,
    /// When it ends by itself.
    until: Option<Timestamp>,
}

/// The end of a pause.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ResumeBody {
    /// Why, kept as an event.
    #[schemars(length(min = 1, max = REASON_CHARS_MAX))]
    reason: Option<String>,
}

/// An approval.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApproveBody {
    /// The hash that `GET /api/v1/deletions` shows of the held set, or `GET /api/v1/clients` of recovery.
    hash: String,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)] // each is the command of its name
pub enum Operation {
    Reconcile,
    Deploy,
    Rollback,
    Pause,
    Resume,
    Forget,
    Approve,
}

/// How far a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub enum RequestState {
    /// Nobody took it up yet.
    Waiting,
    /// Taken up; the message says what follows.
    Done,
    /// Refused; the message says why.
    Refused,
}

/// A request and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RequestView {
    /// Its number.
    pub id: i64,
    /// When it was made.
    pub at: Timestamp,
    /// What is asked for.
    pub operation: Operation,
    /// For whom; `null`: for all.
    pub client: Option<String>,
    /// How far it is.
    pub state: RequestState,
    /// The answer.
    pub message: Option<String>,
    /// Where this can be read again.
    pub url: String,
}

impl From<Request> for RequestView {
    fn from(Request { id, at, ask, answer }: Request) -> Self {
        let (operation, client) = match ask {
            Ask::Reconcile(name) => (Operation::Reconcile, Some(name)),
            Ask::Deploy(name) => (Operation::Deploy, Some(name)),
            Ask::Rollback { client, .. } => (Operation::Rollback, Some(client)),
            Ask::Pause { client, .. } => (Operation::Pause, client),
            Ask::Resume(client) => (Operation::Resume, client),
            Ask::Forget(name) => (Operation::Forget, Some(name)),
            Ask::Approve(_) => (Operation::Approve, None),
        };
        let (state, message) = match answer {
            None => (RequestState::Waiting, None),
            Some(Ok(sentence)) => (RequestState::Done, Some(sentence)),
            Some(Err(sentence)) => (RequestState::Refused, Some(sentence)),
        };
        let client = client.map(|name| name.to_string());
        RequestView { id, at, operation, client, state, message, url: format!("/api/v1/requests/{id}") }
    }
}

/// Taken in: `202` with the request and where its fate can be read.
pub struct Accepted(RequestView);

impl IntoResponse for Accepted {
    fn into_response(self) -> Response {
        let place = [(header::LOCATION, self.0.url.clone())];
        (StatusCode::ACCEPTED, place, Json(self.0)).into_response()
    }
}

/// Puts a request; the loop takes it up within a moment.
pub async fn put(api: &Api, ask: Ask) -> Result<Request, Problem> {
    let at = Timestamp::now();
    let id = api.store.ask(&ask, at).await?;
    Ok(Request { id, at, ask, answer: None })
}

async fn accept(api: &Api, ask: Ask) -> Result<Accepted, Problem> {
    put(api, ask).await.map(|request| Accepted(request.into()))
}

/// A look at a client now.
pub async fn reconcile(State(api): State<Api>, Name(name): Name, _: Body<Nothing>) -> Result<Accepted, Problem> {
    record(&api, &name).await?;
    accept(&api, Ask::Reconcile(name)).await
}

/// One more deploy.
pub async fn deploy(State(api): State<Api>, Name(name): Name, _: Body<Nothing>) -> Result<Accepted, Problem> {
    record(&api, &name).await?;
    accept(&api, Ask::Deploy(name)).await
}

/// An earlier release once more, until the spec's source changes.
pub async fn rollback(
    State(api): State<Api>,
    Name(name): Name,
    Body(body): Body<RollbackBody>,
) -> Result<Accepted, Problem> {
    let (reason, until) = (reason(&body.reason)?, ahead(body.until)?);
    let record = record(&api, &name).await?;
    let to = match body.to {
        Some(number) => number,
        None => {
            let earlier = served_before(&*api.store, &record).await?;
            earlier.map_err(|sentence| Problem::new(StatusCode::CONFLICT, sentence))?
        }
    };
    accept(&api, Ask::Rollback { client: name, to, reason, until }).await
}

/// Nothing is written for a client until it is resumed.
pub async fn pause(State(api): State<Api>, Name(name): Name, Body(body): Body<PauseBody>) -> Result<Accepted, Problem> {
    let (reason, end) = (reason(&body.reason)?, ahead(body.until)?);
    record(&api, &name).await?;
    let until = end.map(|at| format!(" until {at:.0}")).unwrap_or_default();
    let message = format!("a person paused it{until}: {reason}");
    let ask = Ask::Pause { client: Some(name.clone()), reason, until: end };
    let accepted = accept(&api, ask).await?;
    note(&api, name, "Paused", message).await?;
    Ok(accepted)
}

/// Goes on after a pause.
pub async fn resume(
    State(api): State<Api>,
    Name(name): Name,
    Body(body): Body<ResumeBody>,
) -> Result<Accepted, Problem> {
    let why = body.reason.as_deref().map(reason).transpose()?.map(|why| format!(": {why}")).unwrap_or_default();
    record(&api, &name).await?;
    let accepted = accept(&api, Ask::Resume(Some(name.clone()))).await?;
    note(&api, name, "Resumed", format!("a person resumed it{why}")).await?;
    Ok(accepted)
}

/// Releases a held set of removals by its hash, or ends recovery; a hash of neither is refused at once.
pub async fn approve(State(api): State<Api>, Body(body): Body<ApproveBody>) -> Result<Accepted, Problem> {
    let hash = body.hash.trim().to_ascii_lowercase();
    let recovers = Recovery::load(&*api.store).await?.is_some_and(|recovery| recovery.hash() == hash);
    if !recovers {
        let mut absences = Absences::load(&*api.store).await?;
        absences.approve(&hash).map_err(|sentence| Problem::new(StatusCode::CONFLICT, sentence))?;
    }
    accept(&api, Ask::Approve(hash)).await
}

/// What became of a request.
pub async fn one(State(api): State<Api>, Number(id): Number) -> Result<Json<RequestView>, Problem> {
    let request = api.store.request(id).await?.ok_or_else(unknown_number)?;
    Ok(Json(request.into()))
}

/// A body of the right shape whose content cannot be used.
pub fn unusable(why: &str) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, why)
}

/// A moment in the future.
fn ahead(until: Option<Timestamp>) -> Result<Option<Timestamp>, Problem> {
    match until {
        Some(until) if until <= Timestamp::now() => Err(unusable("until: that moment is over; name one in the future")),
        until => Ok(until),
    }
}

/// A person's words on one line.
fn reason(text: &str) -> Result<String, Problem> {
    let words: Vec<&str> =
        text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|w| !w.is_empty()).collect();
    let line = words.join(" ");
    match line.chars().count() {
        0 => Err(unusable("reason: say why, in a few words")),
        1..=REASON_CHARS_MAX => Ok(line),
        _ => Err(unusable(&format!("reason: at most {REASON_CHARS_MAX} characters; the rest belongs elsewhere"))),
    }
}

/// Who paused what and why is history.
async fn note(api: &Api, client: ClientName, reason: &str, message: String) -> Result<(), Problem> {
    let (at, kind, reason) = (Timestamp::now(), EventKind::Normal, reason.to_owned());
    api.store.append_event(&Event { id: 0, at, client: Some(client), kind, reason, message, reconcile: None }).await?;
    Ok(())
}
