//! What is shown of clients and providers: the shapes of `status -o json`, shared by both faces (interface 4).

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::controller::accounts::{self, ASKED, Asked, Standing};
use crate::controller::fleet::{DIRECTORY, FILES, FileProblem, PAUSE_ALL};
use crate::controller::recovery::Recovery;
use crate::controller::running::{LIMITS, Limits};
use crate::plan::draft::later;
use crate::provider::tally::Calls;
use crate::resource::kind::ResourceKind;
use crate::resource::name::ClientName;
use crate::resource::owned::{Owned, OwnedResource};
use crate::resource::release::{Fingerprint, Releases};
use crate::resource::take_over::FOUND_RELEASE;
use crate::resource::uptime::Incident;
use crate::spec::client_spec::ClientSpec;
use crate::spec::defaults::Defaults;
use crate::spec::parse::parse;
use crate::spec::placement::Issuer;
use crate::spec::validate::Rules;
use crate::status::{Condition, ConditionType, Phase, Truth};
use crate::store::history::DeploymentState;
use crate::store::{ClientRecord, Pause, Store, Stored};

/// What a view needs from the settings to read a record.
#[derive(Debug, Clone)]
pub struct Lens {
    /// Rules of specs.
    pub rules: Rules,
    /// What specs leave open.
    pub defaults: Defaults,
    /// From offline to the site's removal.
    pub grace: Duration,
    /// From offline to the database's drop.
    pub database_grace: Duration,
}

impl Lens {
    /// The same lens with the limits of the daemon that last ran over this state.
    pub async fn as_the_daemon(&self, store: &dyn Store) -> Stored<Self> {
        let mut lens = self.clone();
        let kept = store.document(LIMITS).await?.and_then(|value| serde_json::from_value::<Limits>(value).ok());
        if let Some(limits) = kept {
            lens.grace = limits.grace;
            lens.database_grace = limits.database_grace;
            lens.rules.base_domain.clone_from(&limits.base_domain);
            lens.defaults.base_domain = limits.base_domain;
        }
        Ok(lens)
    }

    /// The spec in force of a client; `None` where none was accepted or today's rules refuse it.
    pub fn spec(&self, record: &ClientRecord) -> Option<ClientSpec> {
        let accepted = record.accepted.as_ref()?;
        parse(accepted.text.as_bytes(), &self.rules).ok().map(|parsed| parsed.spec)
    }
}

/// Everything `status` shows.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Overview {
    /// Every client that is there or on its way out, by name.
    pub clients: Vec<ClientView>,
    /// The accounts, as the daemon last saw them.
    pub providers: Vec<ProviderView>,
    /// What the newest cycle asked of them so far.
    pub calls: Option<CallsView>,
    /// Files that are not in force.
    pub files: Vec<FileProblem>,
    /// Why the specs directory tells nothing.
    pub directory: Option<String>,
    /// What holds everything back since the state was lost or went back in time.
    pub recovery: Option<RecoveryView>,
    /// The pause of all clients.
    pub pause: Option<Pause>,
}

/// One client.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClientView {
    /// Its name.
    pub name: String,
    /// Its incarnation.
    pub uid: String,
    /// Newest generation.
    pub generation: u64,
    /// Newest generation that a pass planned.
    pub observed_generation: u64,
    /// For people.
    pub phase: Phase,
    /// Root domain; `None` while no spec can be read.
    pub domain: Option<String>,
    /// Where it is served.
    pub url: Option<String>,
    /// Port on its server.
    pub port: Option<u16>,
    /// The one sentence.
    pub message: String,
    /// When the next pass is due.
    pub next_attempt: Option<Timestamp>,
    /// Conditions, in the order in which people read them.
    pub conditions: Vec<Condition>,
    /// What is its own at the providers.
    pub resources: Vec<ResourceView>,
    /// The newest deploy.
    pub last_deployment: Option<DeploymentView>,
    /// How it answered, as far as it was looked at.
    pub health: Option<HealthView>,
    /// Labels of the spec.
    pub labels: BTreeMap<String, String>,
    /// File of the spec, below the specs directory.
    pub file: Option<String>,
    /// The pause of this client.
    pub pause: Option<Pause>,
}

/// How a site answered over time.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HealthView {
    /// The newest look.
    pub looked_at: Timestamp,
    /// Share of the watched time of the day before that look in which it was well, 0 to 1; none where nobody watched.
    pub uptime_24h: Option<f64>,
    /// Of the last 7 days.
    pub uptime_7d: Option<f64>,
    /// Of the last 30 days.
    pub uptime_30d: Option<f64>,
    /// The incident that lasts.
    pub incident: Option<Incident>,
    /// Incidents of the last 30 days, the newest first.
    pub incidents: Vec<Incident>,
    /// End of the served certificate's validity.
    pub certificate_expires_at: Option<Timestamp>,
}

impl HealthView {
    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn of(owned: &Owned) -> Option<Self> {
        let (_, looked_at) = owned.uptime.looks?;
        let uptime = |days| owned.uptime.ratio(Self::DAY * days, looked_at);
        Some(HealthView {
            looked_at,
            uptime_24h: uptime(1),
            uptime_7d: uptime(7),
            uptime_30d: uptime(30),
            incident: owned.uptime.incident().cloned(),
            incidents: owned.uptime.incidents.iter().rev().cloned().collect(),
            certificate_expires_at: owned.details.probe.as_ref().and_then(|seen| seen.value.certificate_expires_at),
        })
    }
}

/// One resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ResourceView {
    /// Its kind.
    pub kind: ResourceKind,
    /// Who provides it.
    pub provider: String,
    /// The provider's id.
    pub id: String,
    /// Its natural name.
    pub name: String,
}

/// The newest deploy of a client.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeploymentView {
    /// Number in the client's history.
    pub number: u64,
    /// How far it is.
    pub state: DeploymentState,
    /// `owner/name`.
    pub repository: String,
    /// The branch.
    pub branch: String,
    /// The commit, as far as it is known.
    pub commit: Option<String>,
    /// When it was asked for.
    pub started_at: Option<Timestamp>,
    /// When it was seen to have ended.
    pub finished_at: Option<Timestamp>,
    /// Why it failed.
    pub reason: Option<String>,
    /// The end of the log of a failed one.
    pub log: Option<String>,
}

/// How an account stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProviderView {
    /// `ploi`, `cloudflare`, …
    pub name: String,
    /// Calls that a window may hold.
    pub limit: u32,
    /// Calls that could start now.
    pub remaining: u32,
    /// When every slot is free again.
    pub resets_at: Option<Timestamp>,
    /// `closed` as an electrician says it: calls pass; `open`: nobody calls until the time is over.
    pub circuit: String,
}

impl ProviderView {
    /// How an account stands by now, when it stood so then.
    pub fn of(name: String, Standing { at, budget }: &Standing, now: Timestamp) -> Self {
        let is_ahead = |wait| Some(later(*at, wait)).filter(|end| *end > now);
        let blocked = is_ahead(budget.closed_for);
        let still_used = |(ahead, _): &&(u64, u32)| is_ahead(Duration::from_millis(*ahead)).is_some();
        let used: u32 = budget.used.iter().filter(still_used).map(|(_, calls)| calls).sum();
        ProviderView {
            name,
            limit: budget.limit,
            remaining: if blocked.is_some() { 0 } else { budget.limit.saturating_sub(used) },
            resets_at: blocked.max(is_ahead(budget.resets_in)),
            circuit: if blocked.is_some() { "open".into() } else { "closed".into() },
        }
    }
}

/// What a cycle asked of the providers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct CallsView {
    /// When the cycle began.
    pub since: Timestamp,
    /// By what they were for.
    #[serde(flatten)]
    pub calls: Calls,
}

/// A state that is not trusted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RecoveryView {
    /// Since when.
    pub since: Timestamp,
    /// Clients that were taken back by their marks.
    pub clients: Vec<String>,
    /// What `approve` must name.
    pub hash: String,
    /// One sentence with the way out.
    pub message: String,
}

impl RecoveryView {
    fn of(recovery: &Recovery) -> Self {
        RecoveryView {
            since: recovery.since,
            clients: recovery.clients.iter().map(ToString::to_string).collect(),
            hash: recovery.hash(),
            message: recovery.sentence(),
        }
    }
}

/// Reads everything that `status` shows.
pub async fn overview(store: &dyn Store, lens: &Lens) -> Stored<Overview> {
    let lens = lens.as_the_daemon(store).await?;
    let records = store.clients().await?;
    let clients = records.iter().filter(|record| !is_gone(record)).map(|record| client(record, &lens)).collect();
    around(store, clients).await
}

/// Some clients, and what concerns all.
pub async fn around(store: &dyn Store, clients: Vec<ClientView>) -> Stored<Overview> {
    let asked: Option<Asked> = document(store, ASKED).await?;
    Ok(Overview {
        clients,
        providers: providers(store, asked.iter().flat_map(|asked| &asked.accounts)).await?,
        calls: asked.map(|Asked { since, calls, .. }| CallsView { since, calls }),
        files: document(store, FILES).await?.unwrap_or_default(),
        directory: document(store, DIRECTORY).await?,
        recovery: Recovery::load(store).await?.as_ref().map(RecoveryView::of),
        pause: document(store, PAUSE_ALL).await?,
    })
}

async fn providers(store: &dyn Store, names: impl Iterator<Item = &String>) -> Stored<Vec<ProviderView>> {
    let mut views = Vec::new();
    for name in names {
        let standing: Option<Standing> = document(store, &accounts::document(name)).await?;
        views.extend(standing.map(|standing| ProviderView::of(name.clone(), &standing, Timestamp::now())));
    }
    Ok(views)
}

/// One client; `None` when there is none of that name, or nothing of it but a retained database.
pub async fn one(store: &dyn Store, name: &ClientName, lens: &Lens) -> Stored<Option<ClientView>> {
    let lens = lens.as_the_daemon(store).await?;
    Ok(store.client(name).await?.filter(|record| !is_gone(record)).map(|record| client(&record, &lens)))
}

/// Whether everything was done that is done to a client that goes.
pub fn is_gone(record: &ClientRecord) -> bool {
    record.owned.removal.as_ref().is_some_and(|removal| removal.finished_at.is_some())
}

async fn document<T: serde::de::DeserializeOwned>(store: &dyn Store, key: &str) -> Stored<Option<T>> {
    Ok(store.document(key).await?.and_then(|value| serde_json::from_value(value).ok()))
}

/// What is shown of one record.
pub fn client(record: &ClientRecord, lens: &Lens) -> ClientView {
    let spec = lens.spec(record);
    let domain = spec.as_ref().and_then(|spec| spec.domain(&lens.defaults).ok()).map(|domain| domain.to_string());
    let scheme = match spec.as_ref().map(|spec| spec.spec.tls.issuer) {
        Some(Issuer::None) => "http",
        _ => "https",
    };
    ClientView {
        name: record.name.to_string(),
        uid: record.owned.mark.uid.to_string(),
        generation: record.generation,
        observed_generation: record.observed_generation,
        phase: record.status.phase,
        url: domain.as_ref().map(|domain| format!("{scheme}://{domain}")),
        domain,
        port: record.owned.allocation.port.as_ref().map(|(_, port)| *port),
        message: record.status.message.clone(),
        next_attempt: record.status.next_attempt,
        conditions: record.status.conditions.clone(),
        resources: record.owned.resources.iter().map(resource).collect(),
        last_deployment: last_deployment(&record.owned.releases),
        health: HealthView::of(&record.owned),
        labels: spec.map(|spec| spec.metadata.labels).unwrap_or_default(),
        file: record.accepted.as_ref().map(|accepted| accepted.file.clone()),
        pause: record.pause.clone(),
    }
}

fn resource(owned: &OwnedResource) -> ResourceView {
    ResourceView {
        kind: owned.kind,
        provider: owned.provider.clone(),
        id: owned.id.to_string(),
        name: owned.name.clone(),
    }
}

fn last_deployment(releases: &Releases) -> Option<DeploymentView> {
    let view = |number, fingerprint: &Fingerprint, state| DeploymentView {
        number,
        state,
        repository: fingerprint.repository.clone(),
        branch: fingerprint.branch.clone(),
        commit: fingerprint.commit.as_ref().map(ToString::to_string),
        started_at: None,
        finished_at: None,
        reason: None,
        log: None,
    };
    let running = releases.in_flight.as_ref().map(|running| DeploymentView {
        started_at: Some(running.requested_at),
        ..view(running.number, &running.fingerprint, DeploymentState::Running)
    });
    let failed = releases.failed.as_ref().map(|failed| DeploymentView {
        finished_at: Some(failed.at),
        reason: Some(failed.reason.clone()),
        log: Some(failed.excerpt.clone()).filter(|log| !log.is_empty()),
        ..view(failed.number, &failed.fingerprint, DeploymentState::Failed)
    });
    let ours = releases.live.as_ref().filter(|live| live.number != FOUND_RELEASE);
    let live = ours.map(|live| DeploymentView {
        started_at: Some(live.started_at),
        finished_at: Some(live.finished_at),
        ..view(live.number, &live.fingerprint, DeploymentState::Succeeded)
    });
    [live, failed, running].into_iter().flatten().max_by_key(|deployment| deployment.number)
}

/// The one sentence without the time of the next look, which moves with every pass.
pub fn without_time(message: &str) -> &str {
    message.split("; next look at ").next().unwrap_or_default()
}

impl ClientView {
    /// The condition of that type.
    pub fn condition(&self, kind: ConditionType) -> Option<&Condition> {
        self.conditions.iter().find(|condition| condition.kind == kind)
    }

    /// `True`, `False` or `Unknown`.
    pub fn ready(&self) -> Truth {
        self.condition(ConditionType::Ready).map_or(Truth::Unknown, |ready| ready.status)
    }
}
