//! The daily digest: how the fleet stands, what is open, what comes.

use std::fmt::Write as _;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::controller::notices::Notices;
use crate::plan::draft::later;
use crate::resource::letter::LetterEvent;
use crate::store::history::DeploymentState;
use crate::store::{ClientRecord, Stored};

/// Certificates that end this soon are named.
const CERTIFICATES_AHEAD: Duration = Duration::from_secs(21 * 24 * 3600);
/// Deploys that are counted at most.
const DEPLOYS_MAX: usize = 1_000;
/// Clients that are named at most, of each kind; the rest is counted.
const NAMED_MAX: usize = 50;
/// A day.
const DAY: Duration = Duration::from_secs(24 * 3600);

impl Notices {
    /// Writes the digest of a day once, from its hour on.
    pub(super) async fn write_digest(&self, now: Timestamp) -> Stored<()> {
        let Some(hour) = self.channels.digest_at else { return Ok(()) };
        let today = now.to_zoned(TimeZone::UTC);
        let known = self.book.lock().await.as_ref().and_then(|book| book.digest_of);
        if today.time() < hour || known == Some(today.date()) {
            return Ok(());
        }
        let records: Vec<ClientRecord> = self.store.clients().await?;
        let deploys = self.store.deployments(None, None, DEPLOYS_MAX).await?;
        let of_the_day = deploys.iter().filter(|deploy| later(deploy.started_at, DAY) > now);
        let (mut good, mut bad) = (0, 0);
        of_the_day.for_each(|deploy| match deploy.state {
            DeploymentState::Succeeded => good += 1,
            DeploymentState::Failed | DeploymentState::Lost => bad += 1,
            DeploymentState::Running => {}
        });
        let (subject, mut text) = fleet(&records, now);
        let _ = writeln!(text, "\nDeploys of the last day: {good} served, {bad} did not."); // a String takes everything
        let to = &self.channels.operators;
        self.change(|book, ways| {
            // The first start of an installation is no reason to write: there is no day to tell of.
            if book.digest_of.is_some() && !records.is_empty() {
                book.write(LetterEvent::Digest, subject, text, to, ways, now);
            }
            book.digest_of = Some(today.date());
        })
        .await
    }
}

fn fleet(records: &[ClientRecord], now: Timestamp) -> (String, String) {
    let staying: Vec<&ClientRecord> = records.iter().filter(|record| record.owned.removal.is_none()).collect();
    let ready = staying.iter().filter(|record| record.status.is_ready()).count();
    let subject = format!("Sitewright: {ready} of {} ready", staying.len());
    let mut text = format!("{ready} of {} clients are ready.\n", staying.len());
    let not_ready = staying.iter().filter(|record| !record.status.is_ready());
    section(&mut text, "Not ready", not_ready.map(|record| format!("{}: {}", record.name, record.status.message)));
    let down = staying.iter().filter_map(|record| {
        let incident = record.owned.uptime.incident()?;
        Some(format!("{} since {:.0}: {}", record.name, incident.began, incident.cause))
    });
    section(&mut text, "Down", down);
    let ending = staying.iter().filter_map(|record| {
        let probe = record.owned.details.probe.as_ref()?;
        let at = probe.value.certificate_expires_at.filter(|at| *at <= later(now, CERTIFICATES_AHEAD))?;
        Some(format!("{} at {at:.0}", record.name))
    });
    section(&mut text, "Certificates that end soon", ending);
    let leaving = records.iter().filter_map(|record| {
        let removal = record.owned.removal.as_ref().filter(|removal| removal.finished_at.is_none())?;
        Some(format!("{}, offline since {:.0}", record.name, removal.offline_since))
    });
    section(&mut text, "On their way out (`sitewright deletions` says what undoes it)", leaving);
    (subject, text)
}

fn section(text: &mut String, title: &str, lines: impl Iterator<Item = String>) {
    let lines: Vec<String> = lines.collect();
    if lines.is_empty() {
        return;
    }
    let _ = writeln!(text, "\n{title}:"); // a String takes everything, here and below
    for line in lines.iter().take(NAMED_MAX) {
        let _ = writeln!(text, "- {line}");
    }
    if lines.len() > NAMED_MAX {
        let _ = writeln!(text, "- and {} more", lines.len() - NAMED_MAX);
    }
}
