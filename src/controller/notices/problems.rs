//! What is wrong, from the state of things.

use std::time::Duration;

use jiff::Timestamp;

use crate::controller::absence::Held;
use crate::controller::notices::book::Problem;
use crate::controller::recovery::Recovery;
use crate::plan::draft::later;
use crate::status::{ConditionType, Truth};
use crate::store::ClientRecord;

/// What needs a person is told after this long: a provider's hiccup is over by then.
const STALLED_DELAY: Duration = Duration::from_secs(60);
/// A client that is on its way is told of after this long: a first build with DNS takes less.
const NOT_READY_DELAY: Duration = Duration::from_secs(30 * 60);
/// A certificate that ends this soon should have been renewed a week ago (decisions 20).
const CERTIFICATE_AHEAD: Duration = Duration::from_secs(14 * 24 * 3600);
/// A directory that is being replaced looks broken for a moment.
const DIRECTORY_DELAY: Duration = Duration::from_secs(5 * 60);
/// A file that is being edited is wrong for a while.
const FILES_DELAY: Duration = Duration::from_secs(5 * 60);

/// What is wrong with a client.
pub(super) fn of_client(record: &ClientRecord, now: Timestamp) -> Vec<Problem> {
    let mut problems = Vec::new();
    let stalled = record.status.condition(ConditionType::Stalled).filter(|one| one.status == Truth::True);
    if let Some(stalled) = stalled {
        problems.push(problem("Stalled", &stalled.reason, &stalled.message, STALLED_DELAY));
    }
    if let Some(incident) = record.owned.uptime.incident() {
        let message = format!("The site is down since {:.0}: {}.", incident.began, incident.cause);
        problems.push(problem("Healthy", "Down", &message, Duration::ZERO));
    }
    if problems.is_empty() && !record.status.is_ready() {
        problems.push(problem("Ready", "NotReady", &record.status.message, NOT_READY_DELAY));
    }
    let expires = record.owned.details.probe.as_ref().and_then(|seen| seen.value.certificate_expires_at);
    if let Some(expires) = expires.filter(|expires| *expires <= later(now, CERTIFICATE_AHEAD)) {
        let message = format!("Its certificate ends at {expires:.0} and was not renewed.");
        problems.push(problem("CertificateReady", "ExpiresSoon", &message, Duration::ZERO));
    }
    problems
}

/// What is wrong with the installation.
pub(super) fn of_installation(
    directory: Option<&str>,
    files: usize,
    recovery: Option<&Recovery>,
    held: Option<&Held>,
) -> Vec<Problem> {
    let directory = directory.map(|text| problem("Directory", "Unreadable", text, DIRECTORY_DELAY));
    let files = (files > 0).then(|| {
        let text = format!("{files} of the spec files are not in force; `sitewright validate` names each place.");
        problem("Specs", "Refused", &text, FILES_DELAY)
    });
    let recovery = recovery.map(|one| problem("Recovery", "StateLost", &one.sentence(), Duration::ZERO));
    let held = held.map(|held| {
        let names: Vec<&str> = held.names.iter().map(|name| name.as_str()).collect();
        let text = format!("{} `sitewright approve {}` releases: {}", held.reason, held.hash, names.join(", "));
        problem("Deletions", "Held", &text, Duration::ZERO)
    });
    [directory, files, recovery, held].into_iter().flatten().collect()
}

fn problem(condition: &'static str, reason: &str, message: &str, delay: Duration) -> Problem {
    Problem { condition, reason: reason.to_owned(), message: message.to_owned(), delay }
}
