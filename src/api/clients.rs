//! Clients: pages of all, one, its plan by a fresh look, its events.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::IntoResponse;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use url::form_urlencoded::Serializer;

use crate::api::input::{Asked, Name, unfit, unknown_client};
use crate::api::plan::PlanDocument;
use crate::api::problem::Problem;
use crate::api::view::{self, CallsView, ClientView, Lens, Overview, ProviderView, is_gone};
use crate::api::{Api, deletions};
use crate::resource::name::ClientName;
use crate::status::Phase;
use crate::store::{ClientRecord, Event, EventKind};

/// Entries of a page where nobody says how many.
const PAGE_DEFAULT: usize = 100;
/// The longest page.
pub const PAGE_MAX: usize = 500;
/// Plans that are made at once: each reads every spec file and spends calls of the accounts.
pub const PLANS_AT_ONCE: usize = 2;
/// The longest that a plan may take; a provider's limit may hold its calls up.
const PLAN_PATIENCE: Duration = Duration::from_secs(60);
/// When a plan may well be asked for again.
const PLAN_AGAIN: Duration = Duration::from_secs(5);

/// Which clients.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientsQuery {
    /// Only clients with these labels, all of them: `tier=gold,region=eu`.
    selector: Option<String>,
    /// Only clients in one of these phases: `Failed,Deploying`.
    phase: Option<String>,
    /// The longest page, 1 to 500.
    #[schemars(range(min = 1, max = PAGE_MAX))]
    limit: Option<usize>,
    /// Goes on behind this: the `next` of the page before.
    cursor: Option<String>,
}

/// A page of clients, and what concerns all.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct ClientPage {
    /// The page and its surroundings.
    #[serde(flatten)]
    pub overview: Overview,
    /// The `cursor` of the next page; `null` on the last one. The header `Link` holds the whole address.
    pub next: Option<String>,
}

/// The accounts.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct ProvidersPage {
    /// As the daemon last saw them.
    pub providers: Vec<ProviderView>,
    /// What the newest cycle asked of them so far.
    pub calls: Option<CallsView>,
}

/// Which events.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EventsQuery {
    /// Only events behind this number.
    #[schemars(range(min = 0))]
    after: Option<i64>,
    /// The longest page, 1 to 500.
    #[schemars(range(min = 1, max = PAGE_MAX))]
    limit: Option<usize>,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct EventView {
    /// Its number; they grow.
    pub id: i64,
    /// When.
    pub at: Timestamp,
    /// Whom it is about; `null`: the installation or the specs directory.
    pub client: Option<String>,
    /// How it is meant.
    pub kind: EventKind,
    /// CamelCase.
    pub reason: String,
    /// One sentence.
    pub message: String,
    /// The pass that told it: the same id stands in its log records.
    pub reconcile: Option<String>,
}

/// A page of events, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct EventPage {
    /// The events.
    pub events: Vec<EventView>,
    /// The `after` of the next page; `null` where nothing more happened yet.
    pub next: Option<i64>,
}

impl From<Event> for EventView {
    fn from(event: Event) -> Self {
        EventView {
            id: event.id,
            at: event.at,
            client: event.client.map(|client| client.to_string()),
            kind: event.kind,
            reason: event.reason,
            message: event.message,
            reconcile: event.reconcile,
        }
    }
}

/// What a query asks for, read.
struct Filter {
    labels: Vec<(String, String)>,
    phases: Option<BTreeSet<String>>,
}

impl Filter {
    fn of(query: &ClientsQuery) -> Result<Filter, Problem> {
        let label = |text: &str| match text.split_once('=') {
            Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
            _ => Err(unfit("selector: labels such as tier=gold are expected, with commas between them")),
        };
        let phase = |text: &str| {
            let known = serde_json::from_value::<Phase>(text.into());
            known.map(|_| text.to_owned()).map_err(|error| unfit(format!("phase: {error}")))
        };
        let labels = query.selector.iter().flat_map(|text| text.split(',')).map(label).collect::<Result<_, _>>()?;
        let phases = query.phase.as_ref().map(|text| text.split(',').map(phase).collect()).transpose()?;
        Ok(Filter { labels, phases })
    }

    /// The client as it is shown, where it is asked for. The phase is looked at first: labels need the spec read.
    fn view(&self, record: &ClientRecord, lens: &Lens) -> Option<ClientView> {
        let phase = format!("{:?}", record.status.phase);
        if is_gone(record) || self.phases.as_ref().is_some_and(|phases| !phases.contains(&phase)) {
            return None;
        }
        let client = view::client(record, lens);
        self.labels.iter().all(|(key, value)| client.labels.get(key) == Some(value)).then_some(client)
    }
}

/// How long a page is to be.
///
/// # Errors
/// It is empty, or longer than 500.
pub fn page(limit: Option<usize>) -> Result<usize, Problem> {
    let limit = limit.unwrap_or(PAGE_DEFAULT);
    let fits = (1..=PAGE_MAX).contains(&limit);
    if fits { Ok(limit) } else { Err(unfit(format!("limit: 1 to {PAGE_MAX} is expected"))) }
}

/// Behind which event to begin.
///
/// # Errors
/// It is below zero: no event has such a number.
pub fn behind(after: Option<i64>) -> Result<Option<i64>, Problem> {
    match after {
        Some(..0) => Err(unfit("after: the number of an event, or 0, is expected")),
        after => Ok(after),
    }
}

/// A page of clients, by name.
pub async fn list(State(api): State<Api>, Asked(query): Asked<ClientsQuery>) -> Result<impl IntoResponse, Problem> {
    let (limit, filter) = (page(query.limit)?, Filter::of(&query)?);
    let lens = api.lens.as_the_daemon(&*api.store).await?;
    let records = api.store.clients().await?;
    let ahead =
        records.iter().filter(|record| query.cursor.as_deref().is_none_or(|cursor| record.name.as_str() > cursor));
    let mut clients: Vec<ClientView> = ahead.filter_map(|record| filter.view(record, &lens)).take(limit + 1).collect();
    let has_more = clients.len() > limit;
    clients.truncate(limit);
    let next = clients.last().map(|last| last.name.clone()).filter(|_| has_more);
    let link = next.as_ref().map(|next| [(header::LINK, link(&query, next))]);
    let overview = view::around(&*api.store, clients).await?;
    Ok((link.into_iter().flatten().collect::<HeaderMap>(), Json(ClientPage { overview, next })))
}

/// The next page (RFC 8288).
fn link(query: &ClientsQuery, next: &str) -> HeaderValue {
    let limit = query.limit.map(|limit| limit.to_string());
    let given = [("selector", &query.selector), ("phase", &query.phase), ("limit", &limit)];
    let given = given.into_iter().filter_map(|(key, value)| value.as_ref().map(|value| (key, value.as_str())));
    let query = Serializer::new(String::new()).extend_pairs(given).append_pair("cursor", next).finish();
    let link = format!("</api/v1/clients?{query}>; rel=\"next\"");
    HeaderValue::try_from(link).unwrap_or(HeaderValue::from_static("")) // escaped: always one
}

/// One client.
pub async fn one(State(api): State<Api>, Name(name): Name) -> Result<Json<ClientView>, Problem> {
    view::one(&*api.store, &name, &api.lens).await?.map(Json).ok_or_else(unknown_client)
}

/// The record of a client that is there, or on its way out.
pub async fn record(api: &Api, name: &ClientName) -> Result<ClientRecord, Problem> {
    api.store.client(name).await?.filter(|record| !is_gone(record)).ok_or_else(unknown_client)
}

/// What would be done for a client now: a fresh look, as the command `plan` takes it; nothing is written.
pub async fn plan(State(api): State<Api>, Name(name): Name) -> Result<Json<PlanDocument>, Problem> {
    record(&api, &name).await?;
    let busy = || Problem::busy(format!("{PLANS_AT_ONCE} plans are being made already; ask again"), PLAN_AGAIN);
    let _seat = api.plans.try_acquire().map_err(|_| busy())?;
    let late = || {
        let detail =
            format!("the providers took longer than {PLAN_PATIENCE:?}; ask again, or look at /api/v1/providers");
        Problem::new(StatusCode::GATEWAY_TIMEOUT, detail)
    };
    match timeout(PLAN_PATIENCE, (api.look)(name.clone())).await.map_err(|_| late())? {
        Ok(Some(document)) => Ok(Json(document)),
        Ok(None) => {
            let detail =
                format!("nothing can be planned for {name} now; GET /api/v1/clients/{name} says how it stands");
            Err(Problem::new(StatusCode::CONFLICT, detail))
        }
        Err(error) => {
            tracing::error!(client = %name, error = format!("{error:#}"), "a plan could not be made");
            Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "no plan could be made; the daemon's log says why"))
        }
    }
}

/// What happened to a client, oldest first. One that went still has its events; one that never was has none.
pub async fn events(
    State(api): State<Api>,
    Name(name): Name,
    Asked(query): Asked<EventsQuery>,
) -> Result<Json<EventPage>, Problem> {
    let (limit, after) = (page(query.limit)?, behind(query.after)?.unwrap_or(0));
    let mut events = api.store.events(Some(&name), after, limit + 1).await?;
    if events.is_empty() && api.store.events(Some(&name), 0, 1).await?.is_empty() {
        record(&api, &name).await?;
    }
    let has_more = events.len() > limit;
    events.truncate(limit);
    let next = events.last().map(|last| last.id).filter(|_| has_more);
    Ok(Json(EventPage { events: events.into_iter().map(EventView::from).collect(), next }))
}

/// Everything about removals.
pub async fn removals(State(api): State<Api>) -> Result<Json<deletions::Deletions>, Problem> {
    Ok(Json(deletions::deletions(&*api.store, &api.lens).await?))
}

/// The accounts.
pub async fn providers(State(api): State<Api>) -> Result<Json<ProvidersPage>, Problem> {
    let Overview { providers, calls, .. } = view::around(&*api.store, Vec::new()).await?;
    Ok(Json(ProvidersPage { providers, calls }))
}
