//! The dashboard: pages made here, readable without a script, made live by one.
//!
//! ```text
//!  /  /clients/{name}  /deployments/{id}  /deletions  /providers  /new ─▶ HTML, whole
//!  dashboard.js: news of /api/v1/events ─▶ the same page once more ─▶ what differs is put into place
//! ```
//!
//! One renderer: the script makes no figure of its own, so what a page shows is what `status -o json` says, live or not.
//! Acting goes through the API's own requests, with the token that a person types; pages carry no secret.

pub mod actions;
pub mod budgets;
pub mod client;
pub mod deployment;
pub mod draft;
pub mod fields;
pub mod fleet;
pub mod frame;
pub mod history;
pub mod html;
pub mod panels;
pub mod plan;
pub mod removals;
pub mod save;
pub mod standing;
mod subject;
pub mod wizard;

use std::path::PathBuf;

use axum::extract::{Query, RawQuery, State};
use axum::http::{HeaderValue, header};
use axum::response::{Html, IntoResponse, Response};
use jiff::Timestamp;

use crate::api::dashboard::budgets::Gauge;
use crate::api::dashboard::draft::{Answers, Draft, FORM_BYTES_MAX};
use crate::api::dashboard::fleet::FleetQuery;
use crate::api::dashboard::panels::Panels;
use crate::api::dashboard::subject::Subject;
use crate::api::dashboard::wizard::Surroundings;
use crate::api::input::{Name, Number, unfit, unknown_number};
use crate::api::problem::Problem;
use crate::api::view::{self, ClientView, is_gone};
use crate::api::{Api, LookAt, clients, deletions};
use crate::controller::accounts;
use crate::resource::name::ClientName;
use crate::store::history::{DeploymentState, Write};
use crate::store::{ClientRecord, Event, Store, Stored};

const STYLE: &str = include_str!("dashboard.css");
const SCRIPT: &str = include_str!("dashboard.js");
const ICON: &str = include_str!("dashboard.svg");
/// Deploys that are read for a client's page: those shown, and those that may be gone back to.
const DEPLOYMENTS_READ: usize = 50;
/// Events read at once, going back from the newest.
const EVENTS_STEP: i64 = 2_000;
/// Writes read at once.
const WRITES_PAGE: usize = 500;

/// What the settings say of the dashboard.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The specs directory, where specs may be saved from the wizard (`dashboard.save`).
    pub save: Option<PathBuf>,
    /// Which providers have a panel to link to.
    pub panels: Panels,
}

type Answer = Result<Html<String>, Problem>;

/// `/`.
pub async fn fleet(State(api): State<Api>, Query(query): Query<FleetQuery>) -> Answer {
    let lens = api.lens.as_the_daemon(&*api.store).await?;
    let around = view::around(&*api.store, Vec::new()).await?;
    let deletions = deletions::deletions(&*api.store, &api.lens).await?;
    let fleet = fleet::pick(&api.store.clients().await?, around, &query, &lens);
    Ok(Html(fleet::render(&fleet, &query, &deletions, Timestamp::now())))
}

/// `/clients/{name}`.
pub async fn client(State(api): State<Api>, Name(name): Name) -> Answer {
    let lens = api.lens.as_the_daemon(&*api.store).await?;
    let record = clients::record(&api, &name).await?;
    let subject = subject(&api, &record, view::client(&record, &lens)).await?;
    Ok(Html(client::render(&subject, &api.dashboard.panels, Timestamp::now())))
}

async fn subject(api: &Api, record: &ClientRecord, client: ClientView) -> Stored<Subject> {
    let store = &*api.store;
    let deployments = store.deployments(Some(&record.name), None, DEPLOYMENTS_READ).await?;
    let telling =
        deployments.first().filter(|one| matches!(one.state, DeploymentState::Running | DeploymentState::Failed));
    let log = match telling {
        Some(one) => store.deployment_log(one.id).await?,
        None => None,
    };
    let events = newest_events(store, &record.name, history::EVENTS_SHOWN).await?;
    let pass = events.iter().find_map(|event| event.reconcile.clone());
    let writes = match pass {
        Some(pass) => writes_of(store, &record.name, &pass).await?,
        None => Vec::new(),
    };
    Ok(Subject {
        server: record.owned.allocation.port.as_ref().map(|(server, _)| server.to_string()),
        pin: record.owned.releases.pin.clone(),
        acts: api.token.is_some(),
        client,
        deployments,
        log,
        events,
        writes,
    })
}

/// Newest first. The table is read forwards alone, so this goes back in growing steps until enough is found.
async fn newest_events(store: &dyn Store, name: &ClientName, limit: usize) -> Stored<Vec<Event>> {
    let Some((oldest, newest)) = store.kept_events().await? else { return Ok(Vec::new()) };
    let mut step = EVENTS_STEP;
    loop {
        let after = (newest - step).max(oldest - 1);
        let reach = usize::try_from(newest - after).unwrap_or(usize::MAX);
        let mut found = store.events(Some(name), after, reach).await?;
        if found.len() >= limit || after < oldest {
            found.reverse();
            return Ok(found);
        }
        step = step.saturating_mul(8);
    }
}

/// Writes of one pass, oldest first.
async fn writes_of(store: &dyn Store, name: &ClientName, pass: &str) -> Stored<Vec<Write>> {
    let mut found = Vec::new();
    let mut after = 0;
    loop {
        let page = store.writes(Some(name), after, WRITES_PAGE).await?;
        let Some(last) = page.last() else { return Ok(found) };
        after = last.id;
        found.extend(page.into_iter().filter(|write| write.reconcile.as_deref() == Some(pass)));
    }
}

/// `/clients/{name}/plan`: a fresh look.
pub async fn client_plan(State(api): State<Api>, Name(name): Name) -> Answer {
    clients::record(&api, &name).await?;
    let plan = clients::look(&api, LookAt::Client(name.clone())).await?;
    Ok(Html(plan::render(name.as_str(), &plan, Timestamp::now())))
}

/// `/deployments/{id}`.
pub async fn deployment(State(api): State<Api>, Number(id): Number) -> Answer {
    let one = api.store.deployment(id).await?.ok_or_else(unknown_number)?;
    let log = api.store.deployment_log(id).await?.unwrap_or_default();
    Ok(Html(deployment::render(&one, &log, Timestamp::now())))
}

/// `/deletions`.
pub async fn removals(State(api): State<Api>) -> Answer {
    let deletions = deletions::deletions(&*api.store, &api.lens).await?;
    let around = view::around(&*api.store, Vec::new()).await?;
    let page = removals::render(&deletions, around.recovery.as_ref(), api.token.is_some(), Timestamp::now());
    Ok(Html(page))
}

/// `/providers`.
pub async fn providers(State(api): State<Api>) -> Answer {
    let around = view::around(&*api.store, Vec::new()).await?;
    let mut gauges = Vec::new();
    for view in around.providers {
        let kept = api.store.document(&accounts::document(&view.name)).await?;
        let noted = kept.and_then(|value| serde_json::from_value(value).ok());
        gauges.extend(noted.map(|noted| Gauge { view, noted }));
    }
    Ok(Html(budgets::render(&gauges, around.calls.as_ref(), Timestamp::now())))
}

/// What the wizard's query says, checked.
async fn draft(api: &Api, query: Option<String>) -> Result<(Answers, Draft, Vec<ClientRecord>, view::Lens), Problem> {
    let query = query.unwrap_or_default();
    if query.len() > FORM_BYTES_MAX {
        return Err(unfit(format!("a form has at most {FORM_BYTES_MAX} bytes")));
    }
    let lens = api.lens.as_the_daemon(&*api.store).await?;
    let records: Vec<ClientRecord> = api.store.clients().await?;
    let answers = Answers::read(&query);
    let draft = Draft::of(&answers, &records, &lens);
    Ok((answers, draft, records, lens))
}

/// `/new`: the wizard.
pub async fn wizard(State(api): State<Api>, RawQuery(query): RawQuery) -> Answer {
    let (answers, draft, records, lens) = draft(&api, query).await?;
    let record = records.iter().find(|record| Some(&record.name) == draft.name.as_ref() && !is_gone(record));
    let around = Surroundings {
        features: lens.rules.catalogue.names().collect(),
        client: record.map(|record| view::client(record, &lens)),
        base_domain: lens.rules.base_domain.as_deref(),
        saves: api.dashboard.save.is_some() && api.token.is_some(),
    };
    Ok(Html(wizard::render(&answers, &draft, &around, Timestamp::now())))
}

/// `/new.yaml`: the draft as a file.
pub async fn draft_file(State(api): State<Api>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let (_, draft, ..) = draft(&api, query).await?;
    let name = draft.name.as_ref().map_or("client", ClientName::as_str);
    let place = HeaderValue::try_from(format!("attachment; filename=\"{name}.yaml\""));
    let place = place.unwrap_or(HeaderValue::from_static("attachment")); // a name holds letters, digits and hyphens alone
    let kind = HeaderValue::from_static("application/yaml");
    Ok(([(header::CONTENT_TYPE, kind), (header::CONTENT_DISPOSITION, place)], draft.text).into_response())
}

/// `/new/plan`: what the draft would lead to, by a fresh look.
pub async fn draft_plan(State(api): State<Api>, RawQuery(query): RawQuery) -> Answer {
    let (_, draft, ..) = draft(&api, query).await?;
    let Some(name) = draft.name.filter(|_| draft.findings.is_empty()) else {
        return Err(unfit("the draft has mistakes; mend them first"));
    };
    let plan = clients::look(&api, LookAt::Draft { name: name.clone(), text: draft.text }).await?;
    Ok(Html(plan::render(name.as_str(), &plan, Timestamp::now())))
}

fn asset(kind: &'static str, body: &'static str) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-cache")], body)
}

/// The style sheet.
pub async fn style() -> impl IntoResponse {
    asset("text/css; charset=utf-8", STYLE)
}

/// The live script.
pub async fn script() -> impl IntoResponse {
    asset("text/javascript; charset=utf-8", SCRIPT)
}

/// The icon.
pub async fn icon() -> impl IntoResponse {
    asset("image/svg+xml", ICON)
}
