//! Looks at the world for one client at a time, over account listings that all clients share.
//!
//! One listing per account serves everybody whose look may be that old; only one is under way at a time. What no listing
//! shows is remembered in the client's record and read again when it is missing, or in turn within the audit's share.
//! A failed look is `Unknown` with its reason, never "not there".

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;

use crate::controller::clock::Clock;
use crate::controller::known_secrets::KnownSecrets;
use crate::controller::listings::{CatalogListing, RecordListing, SiteListing};
use crate::controller::providers::Providers;
use crate::controller::servers::{Pace, Servers};
use crate::controller::shared::{Shared, doubt};
use crate::plan::dns::{zone_in, zone_of};
use crate::plan::draft::{Policy, growing, later};
use crate::provider::error::{ErrorClass, ProviderError};
use crate::provider::{Host, SiteRef};
use crate::resource::certificate::CertificateStatus;
use crate::resource::database::Catalog;
use crate::resource::desired::{Desired, DesiredDns, DesiredSite};
use crate::resource::kind::ResourceKind;
use crate::resource::mark::{MARK_VARIABLE, Mark};
use crate::resource::name::{HostName, RemoteId, ServerId, SqlName, ZoneId};
use crate::resource::observed::Observed;
use crate::resource::owned::{Details, EnvironmentSeen, Owned, ProbeOutcome, Published, READ_BACK};
use crate::resource::reading::{Live, Reading, Seen, Wanted};
use crate::resource::record::{Record, Zone};
use crate::resource::secret::{DigestKey, Secret, mask};
use crate::resource::site::{Piece, RunState, Server, Site, SiteStatus};
use crate::resource::vhost;
use crate::resource::{deploy_script, env_file};

/// How long an answer of the name servers is trusted once it is right.
const PUBLISHED_AGE_MAX: Duration = Duration::from_secs(10 * 60);
/// How many overdue details one pass may read again: the audit never crowds a pass.
const AUDITS_A_PASS: usize = 1;

/// The eyes of the loop.
pub struct Observer {
    providers: Providers,
    clock: Clock,
    policy: Policy,
    audit_period: Duration,
    digests: DigestKey,
    /// Servers: identity, checks and foreign ports, remembered across restarts.
    pub servers: Servers,
    identities: Shared<ServerId, Server>,
    sites: Shared<ServerId, Arc<SiteListing>>,
    zones: Shared<String, Arc<Vec<Zone>>>,
    records: Shared<ZoneId, Arc<RecordListing>>,
    catalogs: Shared<String, Arc<CatalogListing>>,
    audits: Mutex<AuditShare>,
    /// Details whose last read failed, by site and kind.
    doubts: Mutex<BTreeMap<(RemoteId, ResourceKind), Doubt>>,
    /// The longest pause after failed looks.
    longest: Duration,
    known_secrets: KnownSecrets,
}

/// A detail that could not be read.
struct Doubt {
    failures: u32,
    again_at: Timestamp,
    reading: Reading<()>,
}

/// Details that may be read again in this cycle.
struct AuditShare {
    left: usize,
    done: u64,
}

/// What one look needs to know of its client.
pub struct Look<'a> {
    /// Wanted.
    pub desired: &'a Desired,
    /// Remembered; the details are refreshed in place.
    pub owned: &'a mut Owned,
    /// Listings must not be older than this.
    pub fresh: Timestamp,
}

impl Observer {
    /// An observer over the configured providers. What fails is not asked again for a while, growing up to `longest`.
    pub fn new(
        providers: Providers,
        clock: Clock,
        policy: Policy,
        (audit_period, longest): (Duration, Duration),
        digests: DigestKey,
        servers: Servers,
        known_secrets: KnownSecrets,
    ) -> Self {
        let first = policy.deploy_poll;
        Observer {
            providers,
            clock,
            policy,
            audit_period,
            digests,
            servers,
            identities: Shared::with_pauses(first, longest),
            sites: Shared::with_pauses(first, longest),
            zones: Shared::with_pauses(first, longest),
            records: Shared::with_pauses(first, longest),
            catalogs: Shared::with_pauses(first, longest),
            doubts: Mutex::default(),
            longest,
            known_secrets,
            audits: Mutex::new(AuditShare { left: 0, done: 0 }),
        }
    }

    /// A new cycle begins: this many details may be audited in it.
    pub fn grant_audits(&self, count: usize) {
        self.audits.lock().left = count;
    }

    /// Details that were read again for the audit since the start.
    pub fn audits_done(&self) -> u64 {
        self.audits.lock().done
    }

    /// One look at everything around a client.
    pub async fn observe(&self, look: Look<'_>) -> Observed {
        let Look { desired, owned, fresh } = look;
        let mut observed = Observed::unknown("not looked at");
        let (catalog, zones) = futures::future::join(self.catalog(desired, owned, fresh), self.zones(desired)).await;
        observed.catalog = catalog;
        observed.records = self.records_of(desired, owned, &zones, fresh).await;
        observed.zones = zones;
        if let Wanted::Value(site) = &desired.site {
            match self.providers.hosts.get(&site.provider) {
                Some(host) => self.observe_site(host, site, desired, owned, fresh, &mut observed).await,
                None => observed.site = Reading::unknown(format!("the host {} is not configured", site.provider)),
            }
        }
        observed
    }

    /// What the server shows of the client's own names.
    async fn catalog(&self, desired: &Desired, owned: &Owned, fresh: Timestamp) -> Reading<Catalog> {
        let Wanted::Value(Some(database)) = &desired.database else {
            return Reading::unknown("no database is managed");
        };
        let Some((name, databases)) = self.providers.databases.iter().next() else {
            return Reading::unknown("no database server is configured");
        };
        let read = || async { databases.catalog().await.map(|catalog| Arc::new(CatalogListing::new(catalog))) };
        let allocation = &owned.allocation;
        let allocated = [&allocation.database, &allocation.login].into_iter().flatten();
        let of_ours = |kind| matches!(kind, ResourceKind::Database | ResourceKind::Role);
        let remembered = owned.resources.iter().filter(|r| of_ours(r.kind)).map(|r| r.name.as_str());
        let names: BTreeSet<&str> = [&database.name, &database.login]
            .into_iter()
            .chain(allocated)
            .map(SqlName::as_str)
            .chain(remembered)
            .collect();
        self.catalogs.get(name, fresh, &self.clock, read).await.map(|catalog| catalog.concerning(&names))
    }

    /// Zones are identities: read once an audit period.
    async fn zones(&self, desired: &Desired) -> Reading<Vec<Zone>> {
        let Some(dns) = dns_of(desired).and_then(|wanted| self.providers.dns.get(&wanted.provider)) else {
            return Reading::unknown("no DNS is managed");
        };
        let horizon = earlier(self.clock.now(), self.audit_period);
        let read = || async { dns.zones().await.map(Arc::new) };
        self.zones.get(&dns.name().to_owned(), horizon, &self.clock, read).await.map(|zones| (*zones).clone())
    }

    /// Records of the client's names, and every record that carries its mark, in all zones that may hold them.
    async fn records_of(
        &self,
        desired: &Desired,
        owned: &Owned,
        zones: &Reading<Vec<Zone>>,
        fresh: Timestamp,
    ) -> Reading<Vec<(Zone, Live<Record>)>> {
        let (Some(wanted), Reading::Known(zones)) = (dns_of(desired), zones) else {
            return zones.as_ref().map(|_| Vec::new());
        };
        let Some(dns) = self.providers.dns.get(&wanted.provider) else { return Reading::unknown("no DNS is managed") };
        let names: BTreeSet<&str> =
            wanted.hosts.iter().map(HostName::as_str).chain(wanted.records.iter().map(|r| r.name.as_str())).collect();
        let old: Vec<&str> = owned
            .resources
            .iter()
            .filter(|r| r.kind == ResourceKind::Record)
            .filter_map(|r| r.name.split_once(' '))
            .map(|(_, name)| name)
            .collect();
        let concerned: BTreeSet<&ZoneId> =
            names.iter().chain(&old).filter_map(|name| zone_of(zones, name)).map(|zone| &zone.id).collect();
        // Where an answer was lost it is looked, whatever the file says by now.
        let asked = owned.intents.iter().filter(|i| i.kind == ResourceKind::Record).map(|i| zone_in(&i.key));
        let asked: BTreeSet<&str> = asked.collect();
        let mut found = Vec::new();
        for zone in zones.iter().filter(|zone| concerned.contains(&zone.id) || asked.contains(zone.id.as_str())) {
            let read = || async { dns.records(zone).await.map(|records| Arc::new(RecordListing::new(records))) };
            match self.records.get(&zone.id, fresh, &self.clock, read).await {
                Reading::Known(all) => {
                    found.extend(all.concerning(&names, &desired.mark).map(|live| (zone.clone(), live.clone())))
                }
                Reading::Unknown { reason } => return Reading::unknown(reason),
            }
        }
        Reading::Known(found)
    }

    /// All sites of a server.
    pub async fn sites(&self, host: &Host, server: &ServerId, fresh: Timestamp) -> Reading<Arc<SiteListing>> {
        let read = || async { host.sites.sites(server).await.map(|sites| Arc::new(SiteListing::new(sites))) };
        self.sites.get(server, fresh, &self.clock, read).await
    }

    async fn identity(&self, host: &Host, id: &ServerId) -> Reading<Server> {
        let read = || self.servers.identity(host, id, self.audit_period, &self.clock);
        self.identities.get(id, earlier(self.clock.now(), self.audit_period), &self.clock, read).await
    }

    async fn observe_site(
        &self,
        host: &Host,
        wanted: &DesiredSite,
        desired: &Desired,
        owned: &mut Owned,
        fresh: Timestamp,
        observed: &mut Observed,
    ) {
        let (listing, server) =
            futures::future::join(self.sites(host, &wanted.server, fresh), self.identity(host, &wanted.server)).await;
        observed.server = server;
        let pace = Pace { period: self.audit_period, poll: self.policy.deploy_poll };
        observed.server_check = self.servers.check(host, &wanted.server, pace, &self.clock).await;
        let listing = match listing {
            Reading::Known(listing) => listing,
            Reading::Unknown { reason } => {
                observed.site = Reading::unknown(reason.clone());
                observed.builds_elsewhere = Reading::unknown(reason);
                // The site itself does not need its host's API: whether it serves is looked at all the same.
                if owned.resource(ResourceKind::Site, wanted.domain.as_str()).is_some() {
                    self.observe_outside(desired, wanted, owned, observed).await;
                    show_outside(&owned.details, observed);
                }
                return;
            }
        };
        let site = listing.of(&wanted.domain).cloned();
        observed.builds_elsewhere = Reading::Known(listing.building_beside(&wanted.domain));
        observed.site = Reading::Known(site.clone());
        let Some(live) = site else { return };
        let reference = SiteRef {
            server: wanted.server.clone(),
            id: live.id.clone(),
            domain: wanted.domain.clone(),
            system_user: live.value.system_user.clone(),
        };
        let ours = owned.resource(ResourceKind::Site, wanted.domain.as_str()).is_some_and(|known| known.id == live.id);
        if !ours {
            observed.environment = self.foreign_environment(host, &reference, owned, desired).await;
            return;
        }
        self.observe_runs(host, wanted, owned, observed).await;
        self.observe_pieces(host, &reference, &live.value, wanted, owned).await;
        self.observe_deploy(host, &reference, &live.value, owned, observed).await;
        self.observe_outside(desired, wanted, owned, observed).await;
        self.show_details(&reference.id, &owned.details, observed);
    }

    /// Whose a site under our domain is stands in its environment; read only when nothing else makes it ours.
    async fn foreign_environment(
        &self,
        host: &Host,
        site: &SiteRef,
        owned: &Owned,
        desired: &Desired,
    ) -> Reading<EnvironmentSeen> {
        if owned.intent(ResourceKind::Site, site.domain.as_str()).is_some() || desired.adopt.contains(site.id.as_str())
        {
            return Reading::unknown("not needed");
        }
        match host.environments.environment(site).await {
            Ok(text) => Reading::Known(digest_environment(text.as_ref(), &self.digests)),
            Err(error) => Reading::unknown(error.to_string()),
        }
    }

    async fn observe_runs(&self, host: &Host, wanted: &DesiredSite, owned: &Owned, observed: &mut Observed) {
        let Some(scripts) = &host.scripts else { return };
        for (purpose, run) in &owned.runs {
            let state = match scripts.run_state(&wanted.server, &run.id).await {
                // A script that fails prints what it likes.
                Ok(RunState::Finished { exit_code, output }) => {
                    let output = mask(&output, self.known_secrets.of(&wanted.domain));
                    Reading::Known(RunState::Finished { exit_code, output })
                }
                Ok(state) => Reading::Known(state),
                Err(error) => Reading::unknown(error.to_string()),
            };
            observed.runs.insert(*purpose, state);
        }
    }

    /// Reads what is not remembered, and what the audit's share allows of what is remembered too long.
    async fn observe_pieces(&self, host: &Host, site: &SiteRef, live: &Site, wanted: &DesiredSite, owned: &mut Owned) {
        if !live.status.is_idle() {
            return;
        }
        let mut audits = AUDITS_A_PASS;
        let now = self.clock.now();
        let awaited = awaited(owned, wanted);
        let details = &mut owned.details;
        let mut due = |kind, at: Option<Timestamp>| {
            let polled = awaited.contains(&kind) && at.is_none_or(|at| later(at, self.policy.deploy_poll) <= now);
            polled || self.is_due(&site.id, kind, at, &mut audits)
        };
        let has = |piece| wanted.pieces.contains(&piece);
        if let Some(repositories) = host
            .repositories
            .as_ref()
            .filter(|_| has(Piece::Repository) && due(ResourceKind::Repository, age(&details.repository)))
        {
            self.put(
                &site.id,
                ResourceKind::Repository,
                &mut details.repository,
                repositories.repository(site).await,
                now,
            );
        }
        if has(Piece::Environment) && due(ResourceKind::Environment, age(&details.environment)) {
            self.put(
                &site.id,
                ResourceKind::Environment,
                &mut details.environment,
                host.environments.environment(site).await.map(|text| digest_environment(text.as_ref(), &self.digests)),
                now,
            );
        }
        if has(Piece::DeployScript) && due(ResourceKind::DeployScript, age(&details.script)) {
            self.put(
                &site.id,
                ResourceKind::DeployScript,
                &mut details.script,
                host.releases
                    .deploy_script(site)
                    .await
                    .map(|text| text.map(|text| deploy_script::digest_of(&text, &self.digests))),
                now,
            );
        }
        if let Some(aliases) =
            host.aliases.as_ref().filter(|_| has(Piece::Alias) && due(ResourceKind::Alias, age(&details.aliases)))
        {
            self.put(&site.id, ResourceKind::Alias, &mut details.aliases, aliases.aliases(site).await, now);
        }
        if let Some(virtual_hosts) = host
            .virtual_hosts
            .as_ref()
            .filter(|_| has(Piece::VirtualHost) && due(ResourceKind::VirtualHost, age(&details.vhost)))
        {
            let read = virtual_hosts.virtual_host(site).await.and_then(|text| {
                vhost::read(&text).map_err(|problem| {
                    let class = ErrorClass::Unavailable(format!("the text cannot be read: {problem}"));
                    ProviderError::new(host.name, format!("virtual host of {}", site.domain), class)
                })
            });
            self.put(&site.id, ResourceKind::VirtualHost, &mut details.vhost, read, now);
        }
        let pending = owned.order.is_some()
            || details
                .certificates
                .as_ref()
                .is_some_and(|seen| seen.value.iter().any(|c| matches!(c.value.status, CertificateStatus::Pending(_))));
        let polled = pending && age(&details.certificates).is_none_or(|at| later(at, self.policy.deploy_poll) <= now);
        if let Some(certificates) = host.certificates.as_ref().filter(|_| {
            has(Piece::Certificate) && (polled || due(ResourceKind::Certificate, age(&details.certificates)))
        }) {
            self.put(
                &site.id,
                ResourceKind::Certificate,
                &mut details.certificates,
                certificates.certificates(site).await,
                now,
            );
        }
    }

    /// Never read: at once. Read too long ago: when the cycle's share and this pass still allow it.
    fn is_due(&self, site: &RemoteId, kind: ResourceKind, at: Option<Timestamp>, audits: &mut usize) -> bool {
        let key = (site.clone(), kind);
        if self.doubts.lock().get(&key).is_some_and(|doubt| doubt.again_at > self.clock.now()) {
            return false;
        }
        let Some(at) = at else { return true };
        if later(at, self.audit_period) > self.clock.now() || *audits == 0 {
            return false;
        }
        let mut share = self.audits.lock();
        if share.left == 0 {
            return false;
        }
        share.left -= 1;
        share.done += 1;
        *audits -= 1;
        true
    }

    /// What was read is remembered; a read that failed changes nothing but when the next one is made.
    fn put<T>(
        &self,
        site: &RemoteId,
        kind: ResourceKind,
        slot: &mut Option<Seen<T>>,
        answer: crate::provider::Answer<T>,
        at: Timestamp,
    ) {
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
                let again_at = later(self.clock.now(), growing(self.policy.deploy_poll, failures, self.longest));
                doubts.insert(key, Doubt { failures, again_at, reading: doubt(&error, again_at) });
            }
        }
    }

    /// What is remembered of the details; where nothing is, why the last read failed.
    fn show_details(&self, site: &RemoteId, details: &Details, observed: &mut Observed) {
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
        show_outside(details, observed);
    }

    /// The log is asked only where the listing alone cannot tell how a deploy ended.
    async fn observe_deploy(&self, host: &Host, site: &SiteRef, live: &Site, owned: &Owned, observed: &mut Observed) {
        let Some(in_flight) = &owned.releases.in_flight else { return };
        let told = in_flight.seen_deploying || live.last_deploy_at != in_flight.baseline.last_deploy_at;
        let ask = match live.status {
            SiteStatus::DeployFailed => true,
            SiteStatus::Active => !told,
            _ => false,
        };
        if ask {
            observed.deploy_log = match host.releases.deploy_log(site).await {
                Ok(log) => Reading::Known(log),
                Err(error) => Reading::unknown(error.to_string()),
            };
        }
    }

    /// Name servers are asked only after we published (a negative answer would be cached); the site once it can answer.
    async fn observe_outside(&self, desired: &Desired, wanted: &DesiredSite, owned: &mut Owned, observed: &Observed) {
        let now = self.clock.now();
        if let (Some(server), Some(records)) = (observed.server.known(), observed.records.known())
            && let Some(domain) = dns_of(desired).and_then(|dns| dns.hosts.first())
            && records
                .iter()
                .any(|(_, live)| live.value.name == domain.as_str() && live.mark.as_ref() == Some(&desired.mark))
        {
            let expected = std::net::IpAddr::V4(server.address);
            if published_is_due(&owned.details, domain, expected, self.policy.deploy_poll, now) {
                let names = std::iter::once(domain).chain(&wanted.aliases);
                owned.details.published = Some(Seen { value: self.ask_name_servers(names).await, at: now });
            }
        }
        let certified = owned
            .details
            .certificates
            .as_ref()
            .is_some_and(|seen| seen.value.iter().any(|c| c.value.status == CertificateStatus::Active));
        let can_answer = owned.releases.live.is_some()
            && (!desired.certificate || certified)
            && desired.state == crate::resource::desired::DesiredState::Active;
        if can_answer && probe_is_due(&owned.details, desired, self.policy.deploy_poll, now) {
            let probe = self
                .providers
                .outside
                .probe(&wanted.domain, desired.certificate, &desired.health, desired.client.as_str())
                .await;
            if matches!(probe.outcome, ProbeOutcome::WrongSite(_)) {
                owned.details.vhost = None; // decisions 19: a failed identity look triggers a read at once
            }
            owned.details.probe = Some(Seen { value: probe, at: now });
        }
    }

    async fn ask_name_servers<'n>(&self, names: impl Iterator<Item = &'n HostName>) -> BTreeMap<HostName, Published> {
        let asked = names.map(|name| async move {
            let said = match self.providers.outside.published(name).await {
                Ok(said) => said,
                Err(error) => Published::Disagree(error.to_string()),
            };
            (name.clone(), said)
        });
        futures::future::join_all(asked).await.into_iter().collect()
    }
}

fn dns_of(desired: &Desired) -> Option<&DesiredDns> {
    desired.dns.value().and_then(Option::as_ref)
}

/// What was written and is not shown yet: it is looked for before it is written again.
fn awaited(owned: &Owned, wanted: &DesiredSite) -> Vec<ResourceKind> {
    let environment = owned.details.environment.as_ref().and_then(|seen| seen.value.digest.as_ref());
    let script = owned.details.script.as_ref().and_then(|seen| seen.value.as_ref());
    let shown = [
        (ResourceKind::Environment, environment == wanted.environment.value().map(|wanted| &wanted.digest)),
        (ResourceKind::DeployScript, script == Some(&wanted.script_digest)),
    ];
    let holds = |kind: &ResourceKind| owned.attempts.get(kind).is_some_and(|attempt| attempt.reason == READ_BACK);
    shown.into_iter().filter(|(kind, is_shown)| !is_shown && holds(kind)).map(|(kind, _)| kind).collect()
}

fn age<T>(seen: &Option<Seen<T>>) -> Option<Timestamp> {
    seen.as_ref().map(|seen| seen.at)
}

fn published_is_due(
    details: &Details,
    domain: &HostName,
    expected: std::net::IpAddr,
    poll: Duration,
    now: Timestamp,
) -> bool {
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
fn show_outside(details: &Details, observed: &mut Observed) {
    if let Some(seen) = &details.published {
        observed.published = Reading::Known(seen.value.clone());
    }
    if let Some(seen) = &details.probe {
        observed.probe = Reading::Known(seen.value.clone());
    }
}

/// What matters of an environment text: digests and the mark.
pub fn digest_environment(text: Option<&Secret>, digests: &DigestKey) -> EnvironmentSeen {
    let Some(text) = text else { return EnvironmentSeen::default() };
    let values = env_file::parse(text.expose());
    let digests_of_values =
        values.iter().map(|(name, value)| (name.clone(), digests.digest(value.expose().as_bytes()))).collect();
    EnvironmentSeen {
        digest: Some(env_file::digest_of(&digests_of_values, digests)),
        digests: digests_of_values,
        mark: values.get(MARK_VARIABLE).and_then(|value| Mark::from_variable(value.expose())),
    }
}

/// A timestamp moved back by a duration; stops at the beginning of time.
pub fn earlier(at: Timestamp, by: Duration) -> Timestamp {
    jiff::SignedDuration::try_from(by).ok().and_then(|by| at.checked_sub(by).ok()).unwrap_or(Timestamp::MIN)
}
