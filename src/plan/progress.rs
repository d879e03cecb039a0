//! Folds what a look shows into what is remembered: ended runs, deploys and orders, and intents that found their end.
//!
//! Pure like the rest of the room. It decides nothing about the future; it only closes what has ended, so that the plan
//! that follows sees one consistent memory.

use std::time::Duration;

use jiff::Timestamp;

use crate::plan::dns::{key_text, zone_in};
use crate::plan::draft::{Policy, growing, later};
use crate::resource::certificate::{Certificate, CertificateStatus};
use crate::resource::kind::ResourceKind;
use crate::resource::observed::Observed;
use crate::resource::owned::{Attempt, CertificateOrder, Intent, MarkState, Owned, OwnedResource, ProcessState};
use crate::resource::reading::{Live, Reading, Seen};
use crate::resource::record::Record;
use crate::resource::release::{FailedDeploy, InFlight, Released};
use crate::resource::site::{Purpose, RunState, SiteStatus};

/// First wait after a failed certificate order; doubles (Let's Encrypt counts failures, contracts/ploi.md 6.10).
pub const CERTIFICATE_RETRY: Duration = Duration::from_secs(60 * 60);
/// Longest wait after failed certificate orders.
pub const CERTIFICATE_RETRY_MAX: Duration = Duration::from_secs(32 * 60 * 60);
/// How long an order may stay pending before it counts as failed: failure is not a state at the host.
pub const CERTIFICATE_PATIENCE: Duration = Duration::from_secs(10 * 60);
/// First wait after a failed script.
pub const SCRIPT_RETRY: Duration = Duration::from_secs(30);
/// Longest wait after failed scripts.
pub const SCRIPT_RETRY_MAX: Duration = Duration::from_secs(15 * 60);
/// Longest piece of a script's output or a deploy's log that a message carries, in characters.
pub const EXCERPT_CHARS_MAX: usize = 300;

/// Something that ended, for the events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// CamelCase.
    pub reason: &'static str,
    /// One sentence.
    pub message: String,
    /// Whether a person should look.
    pub warning: bool,
}

/// Folds one look into the memory; gives what ended.
pub fn absorb(
    owned: &mut Owned,
    observed: &Observed,
    deploy_timeout: Duration,
    policy: &Policy,
    now: Timestamp,
) -> Vec<Told> {
    let mut told = Vec::new();
    absorb_mark(owned, observed);
    absorb_runs(owned, observed, now, &mut told);
    absorb_repository(owned, observed, policy, now, &mut told);
    absorb_deploy(owned, observed, deploy_timeout, policy, now, &mut told);
    absorb_certificate(owned, observed, policy, now, &mut told);
    absorb_records(owned, observed, policy, now);
    absorb_removal(owned, observed, policy, now, &mut told);
    told
}

/// A mark that was seen once is written: from now on a missing one is a loss. What was written and is shown needs no hold.
fn absorb_mark(owned: &mut Owned, observed: &Observed) {
    if let Reading::Known(seen) = &observed.environment
        && seen.mark.as_ref() == Some(&owned.mark)
        && let Some(site) = owned.resources.iter_mut().find(|r| r.kind == ResourceKind::Site)
    {
        site.mark = MarkState::Written;
    }
}

fn absorb_runs(owned: &mut Owned, observed: &Observed, now: Timestamp, told: &mut Vec<Told>) {
    for (purpose, reading) in &observed.runs {
        let Reading::Known(RunState::Finished { exit_code, output }) = reading else { continue };
        if owned.runs.remove(purpose).is_none() {
            continue;
        }
        if *exit_code == 0 {
            run_succeeded(owned, *purpose, now);
        } else {
            run_failed(owned, *purpose, *exit_code, output, now, told);
        }
    }
}

fn run_succeeded(owned: &mut Owned, purpose: Purpose, now: Timestamp) {
    owned.attempts.remove(&run_kind(purpose));
    let mut process = |value| owned.details.process = Some(Seen { value, at: now });
    match purpose {
        Purpose::ClearPlaceholder => owned.details.placeholder_cleared = Some(Seen { value: true, at: now }),
        Purpose::ReloadWebServer => {
            owned.details.vhost_loaded = true;
            owned.vhost_before = None;
        }
        Purpose::StartProcess => process(ProcessState::Running),
        Purpose::StopProcess => process(ProcessState::Stopped),
        Purpose::DeleteProcess => process(ProcessState::Gone),
        Purpose::CheckServer => {}
    }
}

fn run_failed(owned: &mut Owned, purpose: Purpose, exit_code: i32, output: &str, now: Timestamp, told: &mut Vec<Told>) {
    let kind = run_kind(purpose);
    let reason = if purpose == Purpose::ReloadWebServer { "VirtualHostRejected" } else { "ScriptFailed" };
    let failures = owned.attempts.get(&kind).map_or(1, |a| a.failures + 1);
    let next_at = later(now, growing(SCRIPT_RETRY, failures, SCRIPT_RETRY_MAX));
    let message =
        format!("{purpose:?} ended with exit code {exit_code}: {}; tried again at {next_at:.0}", excerpt(output));
    told.push(Told { reason, message: message.clone(), warning: true });
    owned.attempts.insert(kind, Attempt { failures, next_at, reason: reason.into(), message, permanent: false });
}

fn run_kind(purpose: Purpose) -> ResourceKind {
    match purpose {
        Purpose::ClearPlaceholder => ResourceKind::Placeholder,
        Purpose::ReloadWebServer => ResourceKind::VirtualHost,
        Purpose::StartProcess | Purpose::StopProcess | Purpose::DeleteProcess => ResourceKind::Process,
        Purpose::CheckServer => ResourceKind::Site,
    }
}

/// An installation is asynchronous and fails silently: a repository is there, or none is after the settle time.
fn absorb_repository(owned: &mut Owned, observed: &Observed, policy: &Policy, now: Timestamp, told: &mut Vec<Told>) {
    let orders = owned.intents.iter().filter(|i| i.kind == ResourceKind::Repository);
    let Some(intent) = orders.max_by_key(|intent| intent.at).cloned() else { return };
    match &observed.repository {
        // There is only one at a time: whatever came, no other order can come any more.
        Reading::Known(Some(_)) => {
            owned.intents.retain(|i| i.kind != ResourceKind::Repository);
            owned.attempts.remove(&ResourceKind::Repository);
        }
        Reading::Known(None) if is_idle(observed) && later(intent.at, policy.settle) <= now => {
            owned.intents.retain(|i| i.kind != ResourceKind::Repository);
            let failures = owned.attempts.get(&ResourceKind::Repository).map_or(1, |a| a.failures + 1);
            let next_at = later(now, growing(SCRIPT_RETRY, failures, SCRIPT_RETRY_MAX));
            let message = format!(
                "the host took the order to install {} and nothing is installed; check that its Git account sees the repository and that the branch exists; tried again at {next_at:.0}",
                intent.key
            );
            told.push(Told { reason: "RepositoryNotInstalled", message: message.clone(), warning: true });
            owned.details.placeholder_cleared = None;
            owned.details.repository = None; // it may have come about since: the next attempt looks first
            owned.attempts.insert(
                ResourceKind::Repository,
                Attempt { failures, next_at, reason: "RepositoryNotInstalled".into(), message, permanent: false },
            );
        }
        _ => {}
    }
}

fn is_idle(observed: &Observed) -> bool {
    observed.site.known().and_then(Option::as_ref).is_some_and(|live| live.value.status.is_idle())
}

/// `active` right after a deploy means nothing: only a change against the noted baseline ends one.
fn absorb_deploy(
    owned: &mut Owned,
    observed: &Observed,
    timeout: Duration,
    policy: &Policy,
    now: Timestamp,
    told: &mut Vec<Told>,
) {
    let Some(mut in_flight) = owned.releases.in_flight.take() else { return };
    let Some(live) = observed.site.known().and_then(Option::as_ref) else {
        owned.releases.in_flight = Some(in_flight);
        return;
    };
    let newer_log =
        observed.deploy_log.known().is_some_and(|log| log.id.is_some() && log.id != in_flight.baseline.log_id);
    let evidence =
        in_flight.seen_deploying || live.value.last_deploy_at != in_flight.baseline.last_deploy_at || newer_log;
    match &live.value.status {
        SiteStatus::Deploying if later(in_flight.requested_at, timeout) <= now => {
            fail(owned, observed, in_flight, "TimedOut", now, told);
        }
        SiteStatus::Deploying => {
            in_flight.seen_deploying = true;
            owned.intents.retain(|i| i.kind != ResourceKind::Release);
            owned.releases.in_flight = Some(in_flight);
        }
        SiteStatus::Active if evidence => succeed(owned, in_flight, now, told),
        SiteStatus::DeployFailed if evidence => fail(owned, observed, in_flight, "BuildFailed", now, told),
        SiteStatus::Active | SiteStatus::DeployFailed if later(in_flight.requested_at, policy.settle) <= now => {
            let lost = owned.intents.iter().any(|i| i.kind == ResourceKind::Release);
            owned.intents.retain(|i| i.kind != ResourceKind::Release);
            if lost {
                told.push(Told {
                    reason: "DeployLost",
                    message: format!(
                        "the order of release {} left no trace within the settle time; it is sent again",
                        in_flight.number
                    ),
                    warning: true,
                });
            } else {
                fail(owned, observed, in_flight, "NotStarted", now, told);
            }
        }
        _ => owned.releases.in_flight = Some(in_flight),
    }
}

fn succeed(owned: &mut Owned, in_flight: InFlight, now: Timestamp, told: &mut Vec<Told>) {
    told.push(Told { reason: "Released", message: format!("release {} serves", in_flight.number), warning: false });
    owned.intents.retain(|i| i.kind != ResourceKind::Release);
    owned.attempts.remove(&ResourceKind::Release);
    owned.releases.failed = None;
    owned.details.probe = None;
    owned.details.process = Some(Seen { value: ProcessState::Running, at: now });
    owned.releases.live = Some(Released {
        number: in_flight.number,
        fingerprint: in_flight.fingerprint,
        started_at: in_flight.requested_at,
        finished_at: now,
    });
}

fn fail(
    owned: &mut Owned,
    observed: &Observed,
    in_flight: InFlight,
    reason: &str,
    now: Timestamp,
    told: &mut Vec<Told>,
) {
    let log = observed.deploy_log.known().map(|log| log.excerpt.clone()).unwrap_or_default();
    let reason = named_reason(&log).unwrap_or(reason).to_owned();
    let earlier =
        owned.releases.failed.as_ref().filter(|f| f.fingerprint == in_flight.fingerprint).map_or(0, |f| f.failures);
    told.push(Told {
        reason: "DeployFailed",
        message: format!("release {} failed ({reason}): {}", in_flight.number, excerpt(&log)),
        warning: true,
    });
    owned.intents.retain(|i| i.kind != ResourceKind::Release);
    owned.releases.failed = Some(FailedDeploy {
        number: in_flight.number,
        fingerprint: in_flight.fingerprint,
        at: now,
        reason,
        excerpt: log,
        failures: earlier + 1,
    });
}

/// The deploy script names its failure on a line of its own.
fn named_reason(log: &str) -> Option<&str> {
    let word = log.rsplit_once("sitewright: reason=")?.1;
    let end = word.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(word.len());
    (end > 0).then(|| &word[..end])
}

/// The last lines of a text, cut for a message.
fn excerpt(text: &str) -> String {
    let one_line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let skip = one_line.chars().count().saturating_sub(EXCERPT_CHARS_MAX);
    if one_line.is_empty() { "it said nothing".into() } else { one_line.chars().skip(skip).collect() }
}

fn absorb_certificate(owned: &mut Owned, observed: &Observed, policy: &Policy, now: Timestamp, told: &mut Vec<Told>) {
    let Some(order) = owned.order.clone() else { return };
    let Reading::Known(all) = &observed.certificates else { return };
    let ordered = |live: &&Live<Certificate>| {
        order.id.as_ref().map_or_else(|| live.value.names == order.names && !known(owned, live), |id| *id == live.id)
    };
    let found = all.iter().find(ordered);
    match found.map(|live| &live.value.status) {
        Some(CertificateStatus::Active) => certificate_issued(owned, found, &order, now, told),
        Some(CertificateStatus::Pending(_)) if later(order.at, CERTIFICATE_PATIENCE.max(policy.settle)) > now => {}
        None if later(order.at, policy.settle) > now => {}
        _ => certificate_failed(owned, &order, now, told),
    }
}

fn known(owned: &Owned, live: &Live<Certificate>) -> bool {
    owned.resources.iter().any(|r| r.kind == ResourceKind::Certificate && r.id == live.id)
}

fn certificate_issued(
    owned: &mut Owned,
    found: Option<&Live<Certificate>>,
    order: &CertificateOrder,
    now: Timestamp,
    told: &mut Vec<Told>,
) {
    let Some(live) = found else { return };
    owned.order = None;
    owned.failed_orders = 0;
    owned.intents.retain(|i| i.kind != ResourceKind::Certificate);
    owned.attempts.remove(&ResourceKind::Certificate);
    owned.details.vhost = None; // a certificate touches the virtual host: it is read again (decisions 19)
    owned.details.probe = None;
    let names: Vec<&str> = order.names.iter().map(|n| n.as_str()).collect();
    told.push(Told {
        reason: "CertificateIssued",
        message: format!("a certificate for {} is in use", names.join(", ")),
        warning: false,
    });
    owned.resources.push(OwnedResource {
        kind: ResourceKind::Certificate,
        provider: owned.first(ResourceKind::Site).map_or_else(String::new, |site| site.provider.clone()),
        name: names.join(","),
        id: live.id.clone(),
        mark: MarkState::Written,
        since: now,
    });
}

/// An order that left nothing, or nothing in use, is a failed attempt with its backoff; never resent at once (decisions 9).
fn certificate_failed(owned: &mut Owned, order: &CertificateOrder, now: Timestamp, told: &mut Vec<Told>) {
    owned.order = None;
    owned.intents.retain(|i| i.kind != ResourceKind::Certificate);
    owned.failed_orders += 1;
    let failures = owned.failed_orders;
    let next_at = later(now, growing(CERTIFICATE_RETRY, failures, CERTIFICATE_RETRY_MAX));
    let names: Vec<&str> = order.names.iter().map(|n| n.as_str()).collect();
    let message = format!(
        "the order of {:.0} for {} gave no certificate; the site's log at the host says why; ordered again at {next_at:.0}",
        order.at,
        names.join(", ")
    );
    told.push(Told { reason: "CertificateFailed", message: message.clone(), warning: true });
    owned.attempts.insert(
        ResourceKind::Certificate,
        Attempt { failures, next_at, reason: "CertificateFailed".into(), message, permanent: false },
    );
}

/// A record that shows our mark ends the intent for its key, and so does the settle time in a zone that was looked at; a
/// record that no listing shows any more is forgotten.
fn absorb_records(owned: &mut Owned, observed: &Observed, policy: &Policy, now: Timestamp) {
    let (Reading::Known(records), Reading::Known(zones)) = (&observed.records, &observed.zones) else { return };
    let ours: Vec<String> = records
        .iter()
        .filter(|(_, live)| live.mark.as_ref() == Some(&owned.mark))
        .map(|(zone, live)| key_text(zone, &live.value))
        .collect();
    let may_still_come = |intent: &Intent| {
        later(intent.at, policy.settle) > now || !zones.iter().any(|zone| zone.id.as_str() == zone_in(&intent.key))
    };
    owned.intents.retain(|intent| {
        intent.kind != ResourceKind::Record || (!ours.contains(&intent.key) && may_still_come(intent))
    });
    let shown = |known: &OwnedResource| records.iter().any(|(_, live)| live.id == known.id);
    let is_young = |known: &OwnedResource| later(known.since, policy.settle) > now;
    owned.resources.retain(|known| known.kind != ResourceKind::Record || shown(known) || is_young(known));
}

fn absorb_removal(owned: &mut Owned, observed: &Observed, policy: &Policy, now: Timestamp, told: &mut Vec<Told>) {
    let site_is_gone = site_is_gone(owned, observed, policy, now);
    let addresses_are_gone = addresses_are_gone(owned, observed, policy, now);
    let Some(removal) = owned.removal.as_mut() else { return };
    match addresses_are_gone {
        Some(true) => {
            removal.records_gone_at.get_or_insert(now);
        }
        Some(false) => removal.records_gone_at = None,
        None => {}
    }
    if removal.site_gone_at.is_none() && site_is_gone {
        removal.site_gone_at = Some(now);
        owned.resources.retain(|r| !matches!(r.kind, ResourceKind::Site | ResourceKind::Certificate));
        told.push(Told { reason: "SiteGone", message: "the site is gone".into(), warning: false });
    }
}

/// Whether a complete listing shows no address of this client, and no record that it made or asked for can still appear.
fn addresses_are_gone(owned: &Owned, observed: &Observed, policy: &Policy, now: Timestamp) -> Option<bool> {
    let records = observed.records.known()?;
    let is_ours = |live: &Live<Record>| live.value.kind.is_address() && owned.is_ours(live);
    let is_unseen = |known: &&OwnedResource| {
        known.kind == ResourceKind::Record && !records.iter().any(|(_, live)| live.id == known.id)
    };
    let made = owned.resources.iter().filter(is_unseen).map(|known| known.since);
    let asked_for = owned.intents.iter().filter(|intent| intent.kind == ResourceKind::Record).map(|intent| intent.at);
    let may_still_come = made.chain(asked_for).any(|at| later(at, policy.settle) > now);
    Some(!may_still_come && !records.iter().any(|(_, live)| is_ours(live)))
}

/// Whether a complete listing shows no site of this client, and none that it made or asked for can still appear.
/// Somebody else's site under its domain is not its own.
fn site_is_gone(owned: &Owned, observed: &Observed, policy: &Policy, now: Timestamp) -> bool {
    let Reading::Known(listed) = &observed.site else { return false };
    let has_settled = |at| later(at, policy.settle) <= now;
    let known = owned.first(ResourceKind::Site);
    let asked_for = owned.intents.iter().find(|intent| intent.kind == ResourceKind::Site);
    match listed {
        Some(live) if known.is_some_and(|known| known.id == live.id) => false,
        Some(_) if asked_for.is_some() => false,
        _ => {
            known.is_none_or(|known| has_settled(known.since)) && asked_for.is_none_or(|intent| has_settled(intent.at))
        }
    }
}
