//! `/metrics`: what the loop counts of itself, and how every client and account stands, as OpenMetrics text.
//!
//! What stands in the state is read anew at each scrape: a client that is gone takes its series along.

use std::sync::atomic::AtomicU64;

use jiff::Timestamp;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use crate::api::deletions::Deletions;
use crate::api::view::{ClientView, Overview};
use crate::controller::meters::PREFIX;
use crate::provider::tally::Answers;
use crate::status::{Phase, Truth};

/// The content type of [`text`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Number = Gauge<f64, AtomicU64>;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ConditionLabels {
    client: String,
    r#type: String,
    status: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ClientLabels {
    client: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InfoLabels {
    client: String,
    uid: String,
    domain: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PhaseLabels {
    phase: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WindowLabels {
    client: String,
    window: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ProviderLabels {
    provider: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AnswerLabels {
    provider: &'static str,
    code: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BuildLabels {
    version: &'static str,
}

/// What stands, and `loop_text` of [`crate::controller::meters::Meters::text`] before it.
pub fn text(loop_text: &str, overview: &Overview, deletions: &Deletions, answers: &Answers) -> String {
    let mut registry = Registry::with_prefix(PREFIX);
    let build = Family::<BuildLabels, Gauge>::default();
    build.get_or_create(&BuildLabels { version: env!("CARGO_PKG_VERSION") }).set(1);
    registry.register("build_info", "The program", build);
    clients(&overview.clients, &mut registry);
    looks(&overview.clients, &mut registry);
    installation(overview, deletions, &mut registry);
    providers(overview, answers, &mut registry);
    let mut text = loop_text.to_owned();
    let _ = encode(&mut text, &registry); // writing to a String cannot fail
    text
}

fn clients(all: &[ClientView], registry: &mut Registry) {
    let info = Family::<InfoLabels, Gauge>::default();
    let condition = Family::<ConditionLabels, Gauge>::default();
    let phase = Family::<PhaseLabels, Gauge>::default();
    let next = Family::<ClientLabels, Number>::default();
    let deployed = Family::<ClientLabels, Number>::default();
    for one in Phase::ALL {
        phase.get_or_create(&PhaseLabels { phase: format!("{one:?}") }).set(0);
    }
    for client in all {
        let name = client.name.clone();
        let domain = client.domain.clone().unwrap_or_default();
        info.get_or_create(&InfoLabels { client: name.clone(), uid: client.uid.clone(), domain }).set(1);
        phase.get_or_create(&PhaseLabels { phase: format!("{:?}", client.phase) }).inc();
        for one in &client.conditions {
            for (truth, status) in [(Truth::True, "True"), (Truth::False, "False"), (Truth::Unknown, "Unknown")] {
                let labels = ConditionLabels { client: name.clone(), r#type: format!("{:?}", one.kind), status };
                condition.get_or_create(&labels).set(i64::from(one.status == truth));
            }
        }
        set(&next, &name, client.next_attempt);
        set(&deployed, &name, client.last_deployment.as_ref().and_then(|last| last.finished_at));
    }
    registry.register("client_info", "One client", info);
    registry.register("client_condition", "1 for the status that each condition has, 0 for the others", condition);
    registry.register("clients", "Clients by phase", phase);
    registry.register_with_unit("client_next_attempt_timestamp", "When its next pass is due", Unit::Seconds, next);
    let help = "When the newest deploy ended";
    registry.register_with_unit("client_last_deployment_timestamp", help, Unit::Seconds, deployed);
}

fn looks(all: &[ClientView], registry: &mut Registry) {
    let uptime = Family::<WindowLabels, Number>::default();
    let incident = Family::<ClientLabels, Gauge>::default();
    let certificate = Family::<ClientLabels, Number>::default();
    for client in all {
        let Some(health) = &client.health else { continue };
        let windows = [("24h", health.uptime_24h), ("7d", health.uptime_7d), ("30d", health.uptime_30d)];
        for (window, share) in windows {
            if let Some(share) = share {
                uptime.get_or_create(&WindowLabels { client: client.name.clone(), window }).set(share);
            }
        }
        let open = i64::from(health.incident.is_some());
        incident.get_or_create(&ClientLabels { client: client.name.clone() }).set(open);
        set(&certificate, &client.name, health.certificate_expires_at);
    }
    let help = "Share of the watched time in which the site was well";
    registry.register_with_unit("client_uptime", help, Unit::Other("ratio".to_owned()), uptime);
    registry.register("client_incident_open", "1 while three looks in a row failed", incident);
    let help = "End of the served certificate's validity";
    registry.register_with_unit("certificate_expiry_timestamp", help, Unit::Seconds, certificate);
}

fn installation(overview: &Overview, deletions: &Deletions, registry: &mut Registry) {
    let mut gauge = |name: &str, help: &str, value: usize| {
        let gauge = Gauge::<i64>::default();
        gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        registry.register(name, help, gauge);
    };
    gauge("deletions_held", "Removals that wait for an approval", deletions.held.as_ref().map_or(0, |h| h.names.len()));
    gauge("deletions_scheduled", "Clients on their way out", deletions.scheduled.len());
    gauge("specs_refused", "Files of the specs directory that are not in force", overview.files.len());
    gauge("specs_unreadable", "1 while the specs directory tells nothing", usize::from(overview.directory.is_some()));
    gauge("recovery", "1 while a lost or older state holds everything back", usize::from(overview.recovery.is_some()));
    gauge("paused", "1 while all clients are paused", usize::from(overview.pause.is_some()));
}

fn providers(overview: &Overview, answers: &Answers, registry: &mut Registry) {
    let limit = Family::<ProviderLabels, Gauge>::default();
    let remaining = Family::<ProviderLabels, Gauge>::default();
    let circuit = Family::<ProviderLabels, Gauge>::default();
    let requests = Family::<AnswerLabels, Counter>::default();
    for provider in &overview.providers {
        let labels = ProviderLabels { provider: provider.name.clone() };
        limit.get_or_create(&labels).set(i64::from(provider.limit));
        remaining.get_or_create(&labels).set(i64::from(provider.remaining));
        circuit.get_or_create(&labels).set(i64::from(provider.circuit != "closed"));
    }
    for ((provider, status), count) in answers {
        let code = status.map_or_else(|| "none".to_owned(), |status| status.to_string());
        requests.get_or_create(&AnswerLabels { provider, code }).inc_by(*count);
    }
    registry.register("provider_rate_limit", "Calls that a window may hold", limit);
    registry.register("provider_rate_remaining", "Calls that could start now", remaining);
    registry.register("provider_circuit_state", "1 while nobody calls", circuit);
    registry.register("provider_requests", "Calls by their HTTP status; `none`: no answer", requests);
}

fn set(family: &Family<ClientLabels, Number>, client: &str, at: Option<Timestamp>) {
    if let Some(at) = at {
        family.get_or_create(&ClientLabels { client: client.to_owned() }).set(at.as_duration().as_secs_f64());
    }
}
