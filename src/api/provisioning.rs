//! The calls of the system that Sitewright replaces: old callers ask for a provisioning and get a look at a client that has
//! its spec; the progress they read is that of its conditions, nothing is made up (interface 6, seed-system.md 2 and 3).

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::Api;
use crate::api::clients::record;
use crate::api::input::{Body, Number, unknown_number};
use crate::api::problem::Problem;
use crate::api::requests::{put, unusable};
use crate::api::view;
use crate::resource::name::ClientName;
use crate::status::{ConditionType, Phase, Truth};
use crate::store::{Ask, ClientRecord, EventKind, Request};

/// Where a provisioning may be asked for, with the secret in a header of its own.
pub const PATHS: [&str; 2] = ["/api/platform/provision", "/api/provisioning/start"];
/// That header; its value is the apiToken.
pub const SECRET_HEADER: &str = "x-payload-secret";
/// Lines of a job's log, the newest.
const LOG_LINES_MAX: usize = 1_000;
/// Events read at once from the table.
const PAGE: usize = 1_000;

/// Which client is to be provisioned.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ProvisionBody {
    /// The client's name; its spec must be there.
    client_id: String,
    /// Must be the host that its spec names, where it is given: the spec decides.
    provider: Option<String>,
    /// Taken, and of no effect: logs are always kept.
    #[serde(rename = "verbose")]
    _verbose: Option<bool>,
}

/// How far a job is, in the words of the replaced system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)] // the words are the replaced system's own
pub enum JobState {
    Pending,
    CreatingDatabase,
    CreatingProject,
    ConfiguringEnv,
    ConfiguringDns,
    Deploying,
    ConfiguringDomains,
    Completed,
    Failed,
}

/// A job that was taken in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobAccepted {
    /// Its number, as text.
    pub job_id: String,
    /// `pending`.
    pub status: JobState,
    /// Where its progress can be read.
    pub status_url: String,
}

/// How far a job is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobStatus {
    /// Its number, as text.
    pub job_id: String,
    /// The client.
    pub client_id: String,
    /// How far it is.
    pub status: JobState,
    /// Per cent of the client's conditions that are true; 100 when nothing is left to do.
    pub progress: u8,
    /// What it is at, and what blocks.
    pub message: String,
    /// When it was asked for.
    pub started_at: Timestamp,
    /// Where the site is served.
    pub deployment_url: Option<String>,
    /// Where its log can be read.
    pub logs_url: String,
}

/// What happened to a client since a job was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobLogs {
    /// The job's number, as text.
    pub job_id: String,
    /// The newest thousand lines, oldest first.
    pub logs: Vec<JobLine>,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct JobLine {
    /// When.
    pub timestamp: Timestamp,
    /// How it is meant.
    pub level: JobLevel,
    /// What happened.
    pub message: String,
}

/// How a line is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum JobLevel {
    Info,
    Warning,
}

/// Asks for a look at a client; the spec says everything else.
pub async fn start(State(api): State<Api>, Body(body): Body<ProvisionBody>) -> Result<impl IntoResponse, Problem> {
    let unknown = || Problem::unknown("no client is called that; put its spec into the watched directory first");
    let name = ClientName::parse(&body.client_id).map_err(|_| unknown())?;
    let record = record(&api, &name).await.map_err(|_| unknown())?;
    if let Some(wanted) = &body.provider {
        let lens = api.lens.as_the_daemon(&*api.store).await?;
        let named = lens.spec(&record).and_then(|spec| serde_json::to_value(spec.spec.hosting.provider).ok());
        if named.as_ref().and_then(|named| named.as_str()) != Some(wanted) {
            return Err(unusable(
                "provider: the spec names another host, and the spec decides; leave it out, or change the spec",
            ));
        }
    }
    let request = put(&api, Ask::Reconcile(name)).await?;
    let job = JobAccepted {
        job_id: request.id.to_string(),
        status: JobState::Pending,
        status_url: format!("/api/provisioning/status/{}", request.id),
    };
    Ok((StatusCode::ACCEPTED, Json(job)))
}

/// How far a job is.
pub async fn status(State(api): State<Api>, Number(id): Number) -> Result<Json<JobStatus>, Problem> {
    let (request, name) = job(&api, id).await?;
    let record = api.store.client(&name).await?.filter(|record| !view::is_gone(record));
    let lens = api.lens.as_the_daemon(&*api.store).await?;
    let (status, message) = progress(&request, record.as_ref());
    Ok(Json(JobStatus {
        job_id: id.to_string(),
        client_id: name.to_string(),
        status,
        progress: record.as_ref().map_or(0, |record| per_cent(status, record)),
        message,
        started_at: request.at,
        deployment_url: record.and_then(|record| view::client(&record, &lens).url),
        logs_url: format!("/api/provisioning/logs/{id}"),
    }))
}

/// What happened since a job was asked for.
pub async fn logs(State(api): State<Api>, Number(id): Number) -> Result<Json<JobLogs>, Problem> {
    let (request, name) = job(&api, id).await?;
    let mut logs: Vec<JobLine> = Vec::new();
    let mut after = 0;
    loop {
        let page = api.store.events(Some(&name), after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = last.id;
        let since = page.into_iter().filter(|event| event.at >= request.at);
        logs.extend(since.map(|event| JobLine {
            timestamp: event.at,
            level: if event.kind == EventKind::Warning { JobLevel::Warning } else { JobLevel::Info },
            message: format!("{}: {}", event.reason, event.message),
        }));
        logs.drain(..logs.len().saturating_sub(LOG_LINES_MAX));
    }
    Ok(Json(JobLogs { job_id: id.to_string(), logs }))
}

/// Jobs are requests for a look; no other request is one.
async fn job(api: &Api, id: i64) -> Result<(Request, ClientName), Problem> {
    match api.store.request(id).await? {
        Some(request) => match request.ask.clone() {
            Ask::Reconcile(name) => Ok((request, name)),
            _ => Err(unknown_number()),
        },
        None => Err(unknown_number()),
    }
}

/// The word of the replaced system, and one sentence.
fn progress(request: &Request, record: Option<&ClientRecord>) -> (JobState, String) {
    match &request.answer {
        None => return (JobState::Pending, "the daemon has not taken it up yet".into()),
        Some(Err(refused)) => return (JobState::Failed, refused.clone()),
        Some(Ok(_)) => {}
    }
    let Some(record) = record else {
        return (JobState::Failed, "the client is gone; `sitewright deletions` shows what was kept of it".into());
    };
    let status = &record.status;
    let is_true = |kind| status.condition(kind).is_some_and(|condition| condition.status == Truth::True);
    let state = if status.is_ready() && record.reached_generation == record.generation {
        JobState::Completed
    } else if status.phase == Phase::Failed || is_true(ConditionType::Stalled) {
        JobState::Failed
    } else if matches!(status.phase, Phase::Paused | Phase::Offline | Phase::Terminating) {
        JobState::Pending
    } else {
        let open = ConditionType::SUMMED.into_iter().find(|kind| !is_true(*kind));
        open.map_or(JobState::Pending, at) // everything is true, and a pass looks at it once more
    };
    (state, status.message.clone())
}

/// What a condition that is not true yet was called.
fn at(open: ConditionType) -> JobState {
    match open {
        ConditionType::DatabaseReady => JobState::CreatingDatabase,
        ConditionType::SiteReady | ConditionType::RepositoryReady => JobState::CreatingProject,
        ConditionType::EnvironmentReady => JobState::ConfiguringEnv,
        ConditionType::DNSReady => JobState::ConfiguringDns,
        ConditionType::Deployed => JobState::Deploying,
        ConditionType::CertificateReady | ConditionType::Healthy | ConditionType::AdminReady => {
            JobState::ConfiguringDomains
        }
        _ => JobState::Pending,
    }
}

fn per_cent(state: JobState, record: &ClientRecord) -> u8 {
    if state == JobState::Completed {
        return 100;
    }
    let is_true = |kind: &&ConditionType| record.status.condition(**kind).is_some_and(|c| c.status == Truth::True);
    let (done, all) = (ConditionType::SUMMED.iter().filter(is_true).count(), ConditionType::SUMMED.len());
    u8::try_from(done * 99 / all).unwrap_or(99) // all true, and not looked at yet, is not done
}
