//! Looks at a site from outside: what name servers say of it, and whether it answers.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::controller::clock::Clock;
use crate::plan::draft::later;
use crate::provider::Outside;
use crate::provider::tally::Tally;
use crate::resource::certificate::CertificateStatus;
use crate::resource::desired::{Desired, DesiredSite, DesiredState};
use crate::resource::name::HostName;
use crate::resource::observed::Observed;
use crate::resource::owned::{Details, Owned, ProbeOutcome, Published};
use crate::resource::reading::{Reading, Seen};

/// How long an answer of the name servers is trusted once it is right.
const PUBLISHED_AGE_MAX: Duration = Duration::from_secs(10 * 60);

/// Looks from outside, each in its own time; what they showed is remembered with the client.
pub struct OutsideLooks {
    outside: Arc<dyn Outside>,
    tally: Arc<Tally>,
    clock: Clock,
    poll: Duration,
}

impl OutsideLooks {
    /// What is not as it should be is looked at again every `poll`.
    pub fn new(outside: Arc<dyn Outside>, tally: Arc<Tally>, clock: Clock, poll: Duration) -> Self {
        OutsideLooks { outside, tally, clock, poll }
    }

    /// Name servers are asked only after we published (a negative answer would be cached); the site once it can answer.
    pub async fn look(&self, desired: &Desired, wanted: &DesiredSite, owned: &mut Owned, observed: &Observed) {
        let now = self.clock.now();
        if let (Some(server), Some(records)) = (observed.server.known(), observed.records.known())
            && let Some(domain) = desired.dns.value().and_then(Option::as_ref).and_then(|dns| dns.hosts.first())
            && records.iter().any(|(_, live)| live.value.name == domain.as_str() && owned.holds_record(live))
            && published_is_due(&owned.details, domain, IpAddr::V4(server.address), self.poll, now)
        {
            let names = std::iter::once(domain).chain(&wanted.aliases);
            owned.details.published = Some(Seen { value: self.ask_name_servers(names).await, at: now });
        }
        let certified = owned
            .details
            .certificates
            .as_ref()
            .is_some_and(|seen| seen.value.iter().any(|c| c.value.status == CertificateStatus::Active));
        let can_answer = owned.releases.live.is_some()
            && (!desired.certificate || certified)
            && desired.state == DesiredState::Active;
        if can_answer && probe_is_due(&owned.details, desired, self.poll, now) {
            let client = desired.client.as_str();
            let mut probe = self.outside.probe(&wanted.domain, desired.certificate, &desired.health, client).await;
            if matches!(probe.outcome, ProbeOutcome::Unreachable(_)) && self.tally.is_cut_off() {
                probe.outcome = ProbeOutcome::CutOff;
            }
            if matches!(probe.outcome, ProbeOutcome::WrongSite(_)) {
                owned.details.vhost = None; // decisions 19: a failed identity look triggers a read at once
            }
            owned.details.probe = Some(Seen { value: probe, at: now });
        }
    }

    async fn ask_name_servers<'n>(&self, names: impl Iterator<Item = &'n HostName>) -> BTreeMap<HostName, Published> {
        let asked = names.map(|name| async move {
            let said = match self.outside.published(name).await {
                Ok(said) => said,
                Err(error) => Published::Disagree(error.to_string()),
            };
            (name.clone(), said)
        });
        futures::future::join_all(asked).await.into_iter().collect()
    }
}

fn published_is_due(details: &Details, domain: &HostName, expected: IpAddr, poll: Duration, now: Timestamp) -> bool {
    let Some(seen) = &details.published else { return true };
    let right = |said: &Published| matches!(said, Published::Addresses(all) if all.as_slice() == [expected]);
    let wait = if seen.value.get(domain).is_some_and(right) { PUBLISHED_AGE_MAX } else { poll };
    later(seen.at, wait) <= now
}

fn probe_is_due(details: &Details, desired: &Desired, poll: Duration, now: Timestamp) -> bool {
    let Some(seen) = &details.probe else { return true };
    let good = seen.value.outcome == ProbeOutcome::Healthy && seen.value.https == desired.certificate;
    let wait = if good { desired.health.interval } else { poll.min(desired.health.interval) };
    later(seen.at, wait) <= now
}

/// What was seen of the site from outside.
pub fn show(details: &Details, observed: &mut Observed) {
    if let Some(seen) = &details.published {
        observed.published = Reading::Known(seen.value.clone());
    }
    if let Some(seen) = &details.probe {
        observed.probe = Reading::Known(seen.value.clone());
    }
}
