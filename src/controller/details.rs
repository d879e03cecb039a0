//! What no listing shows of a site: read at once where it is missing, else remembered and audited in turn.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;

use crate::controller::clock::Clock;
use crate::controller::shared::doubt;
use crate::plan::draft::{growing, later};
use crate::provider::error::{ErrorClass, ProviderError};
use crate::provider::http::lane::{Lane, in_lane};
use crate::provider::tally::{CallPurpose, counted_as};
use crate::provider::{Answer, Host, SiteRef, VirtualHosts};
use crate::resource::certificate::{Certificate, CertificateStatus};
use crate::resource::desired::DesiredSite;
use crate::resource::kind::ResourceKind;
use crate::resource::mark::{MARK_VARIABLE, Mark};
use crate::resource::name::RemoteId;
use crate::resource::observed::Observed;
use crate::resource::owned::{Details, EnvironmentSeen, Owned, READ_BACK};
use crate::resource::reading::{Live, Reading, Seen};
use crate::resource::secret::{Digest, DigestKey, Secret};
use crate::resource::site::Piece;
use crate::resource::vhost::{self, VirtualHost};
use crate::resource::{deploy_script, env_file};

/// How many overdue details one pass may read again: the audit never crowds a pass.
const AUDITS_A_PASS: usize = 1;

/// How often details are read.
#[derive(Debug, Clone, Copy)]
pub struct DetailPace {
    /// Again at least this often, as far as the audit's share allows.
    pub audit: Duration,
    /// What is under way is asked about this often; what could not be read is read again after this.
    pub poll: Duration,
    /// The longest pause after failed reads.
    pub longest: Duration,
}

/// Reads details of sites.
pub struct DetailReader {
    clock: Clock,
    pace: DetailPace,
    digests: DigestKey,
    /// Details that may still be audited in this cycle.
    audits: Mutex<usize>,
    /// Details whose last read failed, by site and kind.
    doubts: Mutex<BTreeMap<(RemoteId, ResourceKind), Doubt>>,
}

/// What one pass may still read again.
struct Left {
    audits: usize,
    /// Read in any case.
    looked_for: Vec<ResourceKind>,
}

/// A detail that could not be read.
struct Doubt {
    failures: u32,
    again_at: Timestamp,
    reading: Reading<()>,
}

impl DetailReader {
    /// Nothing is audited before a share is granted.
    pub fn new(clock: Clock, pace: DetailPace, digests: DigestKey) -> Self {
        DetailReader { clock, pace, digests, audits: Mutex::new(0), doubts: Mutex::default() }
    }

    /// A new cycle begins: this many details may be audited in it.
    pub fn grant_audits(&self, count: usize) {
        *self.audits.lock() = count;
    }

    /// Reads what is not remembered, and what the audit's share allows of what is remembered too long.
    pub async fn read(&self, host: &Host, site: &SiteRef, wanted: &DesiredSite, owned: &mut Owned) {
        let is_polled = self.is_certificate_polled(owned);
        let looked_for = self.looked_for(owned, wanted);
        let details = &mut owned.details;
        let has = |piece| wanted.pieces.contains(&piece);
        let (id, mut left) = (&site.id, Left { audits: AUDITS_A_PASS, looked_for });
        let audits = &mut left;
        if let Some(repositories) = host.repositories.as_ref().filter(|_| has(Piece::Repository)) {
            let read = repositories.repository(site);
            self.refresh(id, ResourceKind::Repository, &mut details.repository, audits, read).await;
        }
        if has(Piece::Environment) {
            let read = self.environment(host, site);
            self.refresh(id, ResourceKind::Environment, &mut details.environment, audits, read).await;
        }
        if has(Piece::DeployScript) {
            let read = self.deploy_script(host, site);
            self.refresh(id, ResourceKind::DeployScript, &mut details.script, audits, read).await;
        }
        if let Some(aliases) = host.aliases.as_ref().filter(|_| has(Piece::Alias)) {
            self.refresh(id, ResourceKind::Alias, &mut details.aliases, audits, aliases.aliases(site)).await;
        }
        if let Some(virtual_hosts) = host.virtual_hosts.as_ref().filter(|_| has(Piece::VirtualHost)) {
            let read = virtual_host(host.name, &**virtual_hosts, site);
            self.refresh(id, ResourceKind::VirtualHost, &mut details.vhost, audits, read).await;
        }
        let read_since = |kind: &ResourceKind, until: &Timestamp| match kind {
            ResourceKind::Repository => details.repository.as_ref().is_some_and(|seen| seen.at >= *until),
            ResourceKind::Environment => details.environment.as_ref().is_some_and(|seen| seen.at >= *until),
            ResourceKind::DeployScript => details.script.as_ref().is_some_and(|seen| seen.at >= *until),
            ResourceKind::Alias => details.aliases.as_ref().is_some_and(|seen| seen.at >= *until),
            ResourceKind::VirtualHost => details.vhost.as_ref().is_some_and(|seen| seen.at >= *until),
            _ => true,
        };
        let mut unanswered = std::mem::take(&mut details.unanswered);
        unanswered.retain(|kind, until| !read_since(kind, until));
        details.unanswered = unanswered;
        if let Some(certificates) = host.certificates.as_ref().filter(|_| has(Piece::Certificate)) {
            let (kind, slot, read) =
                (ResourceKind::Certificate, &mut details.certificates, certificates.certificates(site));
            match is_polled {
                true => in_lane(Lane::Polling, self.put(id, kind, slot, read)).await,
                false => self.refresh(id, kind, slot, audits, read).await,
            }
        }
    }

    /// What matters of a site's environment as it stands.
    pub async fn environment(&self, host: &Host, site: &SiteRef) -> Answer<EnvironmentSeen> {
        let text = host.environments.environment(site).await?;
        Ok(digest_environment(text.as_ref(), &self.digests))
    }

    async fn deploy_script(&self, host: &Host, site: &SiteRef) -> Answer<Option<Digest>> {
        let text = host.releases.deploy_script(site).await?;
        Ok(text.map(|text| deploy_script::digest_of(&text, &self.digests)))
    }

    /// Pieces that are read although they are remembered: what was written and is not shown yet, before it is written
    /// again; and what was written without an answer, once nothing of it can still arrive.
    fn looked_for(&self, owned: &Owned, wanted: &DesiredSite) -> Vec<ResourceKind> {
        let (details, now) = (&owned.details, self.clock.now());
        let environment = details.environment.as_ref();
        let script = details.script.as_ref();
        let written = wanted.environment.value().map(|wanted| &wanted.digest);
        let shown = [
            (
                ResourceKind::Environment,
                environment.map(|s| s.at),
                environment.and_then(|s| s.value.digest.as_ref()) == written,
            ),
            (
                ResourceKind::DeployScript,
                script.map(|s| s.at),
                script.and_then(|s| s.value.as_ref()) == Some(&wanted.script_digest),
            ),
        ];
        let holds = |kind: &ResourceKind| owned.attempts.get(kind).is_some_and(|attempt| attempt.reason == READ_BACK);
        let is_time = |at: &Option<Timestamp>| at.is_none_or(|at| later(at, self.pace.poll) <= now);
        let awaited = shown.into_iter().filter(|(kind, at, is_shown)| !is_shown && holds(kind) && is_time(at));
        let unanswered = details.unanswered.iter().filter(|(_, until)| **until <= now).map(|(kind, _)| *kind);
        awaited.map(|(kind, ..)| kind).chain(unanswered).collect()
    }

    /// Whether a certificate is on its way and was not asked about for a while.
    fn is_certificate_polled(&self, owned: &Owned) -> bool {
        let seen = owned.details.certificates.as_ref();
        let pending = |seen: &Seen<Vec<Live<Certificate>>>| {
            seen.value.iter().any(|c| matches!(c.value.status, CertificateStatus::Pending(_)))
        };
        (owned.order.is_some() || seen.is_some_and(pending))
            && seen.is_none_or(|seen| later(seen.at, self.pace.poll) <= self.clock.now())
    }

    /// Reads a detail if it is due.
    async fn refresh<T>(
        &self,
        site: &RemoteId,
        kind: ResourceKind,
        slot: &mut Option<Seen<T>>,
        left: &mut Left,
        read: impl Future<Output = Answer<T>>,
    ) {
        if let Some(purpose) = self.due(site, kind, slot.as_ref().map(|seen| seen.at), left) {
            counted_as(purpose, self.put(site, kind, slot, read)).await;
        }
    }

    /// Never read: at once. Read too long ago: when the cycle's share and this pass still allow it.
    fn due(&self, site: &RemoteId, kind: ResourceKind, at: Option<Timestamp>, left: &mut Left) -> Option<CallPurpose> {
        let now = self.clock.now();
        if self.doubts.lock().get(&(site.clone(), kind)).is_some_and(|doubt| doubt.again_at > now) {
            return None;
        }
        let Some(at) = at.filter(|_| !left.looked_for.contains(&kind)) else { return Some(CallPurpose::Besides) };
        if later(at, self.pace.audit) > now || left.audits == 0 {
            return None;
        }
        let mut share = self.audits.lock();
        *share = share.checked_sub(1)?;
        left.audits -= 1;
        Some(CallPurpose::Audit)
    }

    /// What was read is remembered; a read that failed changes nothing but when the next one is made.
    async fn put<T>(
        &self,
        site: &RemoteId,
        kind: ResourceKind,
        slot: &mut Option<Seen<T>>,
        read: impl Future<Output = Answer<T>>,
    ) {
        let at = self.clock.now();
        let answer = read.await;
        let key = (site.clone(), kind);
        let mut doubts = self.doubts.lock();
        match answer {
            Ok(value) => {
                doubts.remove(&key);
                *slot = Some(Seen { value, at });
            }
            Err(error) => {
                tracing::debug!(%error, "a detail was not read; what is remembered stays");
                let failures = doubts.get(&key).map_or(0, |doubt| doubt.failures) + 1;
                let again_at = later(self.clock.now(), growing(self.pace.poll, failures, self.pace.longest));
                doubts.insert(key, Doubt { failures, again_at, reading: doubt(&error, again_at) });
            }
        }
    }

    /// What is remembered of the details; where nothing is, why the last read failed.
    pub fn show(&self, site: &RemoteId, details: &Details, observed: &mut Observed) {
        let doubts = self.doubts.lock();
        let doubt = |kind| match doubts.get(&(site.clone(), kind)).map(|doubt| &doubt.reading) {
            Some(Reading::Unknown { reason }) => reason.clone(),
            _ => "not read yet".to_owned(),
        };
        fn known<T: Clone>(seen: &Option<Seen<T>>, doubt: impl FnOnce() -> String) -> Reading<T> {
            seen.as_ref().map_or_else(|| Reading::unknown(doubt()), |seen| Reading::Known(seen.value.clone()))
        }
        observed.repository = known(&details.repository, || doubt(ResourceKind::Repository));
        observed.environment = known(&details.environment, || doubt(ResourceKind::Environment));
        observed.script = known(&details.script, || doubt(ResourceKind::DeployScript));
        observed.vhost = known(&details.vhost, || doubt(ResourceKind::VirtualHost));
        observed.aliases = known(&details.aliases, || doubt(ResourceKind::Alias));
        observed.certificates = known(&details.certificates, || doubt(ResourceKind::Certificate));
    }
}

async fn virtual_host(host: &'static str, virtual_hosts: &dyn VirtualHosts, site: &SiteRef) -> Answer<VirtualHost> {
    let text = virtual_hosts.virtual_host(site).await?;
    vhost::read(&text).map_err(|problem| {
        let class = ErrorClass::Unavailable(format!("the text cannot be read: {problem}"));
        ProviderError::new(host, format!("virtual host of {}", site.domain), class)
    })
}

/// What matters of an environment text: digests and the mark.
pub fn digest_environment(text: Option<&Secret>, digests: &DigestKey) -> EnvironmentSeen {
    let Some(text) = text else { return EnvironmentSeen::default() };
    let values = env_file::parse(text.expose());
    let digests_of_values =
        values.iter().map(|(name, value)| (name.clone(), digests.digest(value.expose().as_bytes()))).collect();
    EnvironmentSeen {
        digest: Some(env_file::digest_of(&digests_of_values, digests)),
        digests: digests_of_values.into(),
        mark: values.get(MARK_VARIABLE).and_then(|value| Mark::from_variable(value.expose())),
    }
}
