//! Looks at the world for one client at a time, over account listings that all clients share.
//!
//! One listing per account serves everybody whose look may be that old; only one is under way at a time. What no listing
//! shows is remembered in the client's record and read again when it is missing, or in turn within the audit's share.
//! A failed look is `Unknown` with its reason, never "not there".

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::controller::clock::Clock;
use crate::controller::details::{DetailPace, DetailReader};
use crate::controller::doubts::{Listed, Plausibility};
use crate::controller::known_secrets::KnownSecrets;
use crate::controller::listings::{CatalogListing, RecordListing, SiteListing};
use crate::controller::outside::{self, OutsideLooks};
use crate::controller::providers::Providers;
use crate::controller::servers::{Pace, Servers};
use crate::controller::shared::Shared;
use crate::plan::dns::{zone_in, zone_of};
use crate::plan::draft::Policy;
use crate::provider::error::{ErrorClass, ProviderError};
use crate::provider::http::lane::{Lane, in_lane};
use crate::provider::tally::{CallPurpose, counted_as};
use crate::provider::{Answer, Dns, Host, SiteRef};
use crate::resource::database::Catalog;
use crate::resource::desired::{Desired, DesiredDns, DesiredSite};
use crate::resource::kind::ResourceKind;
use crate::resource::mark::Mark;
use crate::resource::name::{HostName, ServerId, SqlName, ZoneId};
use crate::resource::observed::Observed;
use crate::resource::owned::{EnvironmentSeen, Owned, OwnedResource};
use crate::resource::reading::{Live, Reading, Wanted};
use crate::resource::record::{Record, Zone};
use crate::resource::release::DeployLog;
use crate::resource::secret::{DigestKey, mask};
use crate::resource::site::{RunState, Server, Site, SiteStatus};
use crate::store::{ClientRecord, Stored};

/// The eyes of the loop.
pub struct Observer {
    providers: Providers,
    clock: Clock,
    policy: Policy,
    audit_period: Duration,
    /// Servers: identity, checks and foreign ports, remembered across restarts.
    pub servers: Servers,
    identities: Shared<ServerId, Server>,
    sites: Shared<ServerId, Arc<SiteListing>>,
    zones: Shared<String, Arc<Vec<Zone>>>,
    records: Shared<ZoneId, Arc<RecordListing>>,
    catalogs: Shared<String, Arc<CatalogListing>>,
    /// Whether a database server is the one that is known.
    database_servers: Shared<String, ()>,
    details: DetailReader,
    outside: OutsideLooks,
    known_secrets: KnownSecrets,
    plausibility: Plausibility,
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
        plausibility: Plausibility,
    ) -> Self {
        let first = policy.deploy_poll;
        let pace = DetailPace { audit: audit_period, poll: first, longest };
        Observer {
            details: DetailReader::new(clock, pace, digests),
            outside: OutsideLooks::new(providers.outside.clone(), providers.tally.clone(), clock, first),
            providers,
            clock,
            policy,
            audit_period,
            servers,
            identities: Shared::with_pauses(first, longest),
            sites: Shared::with_pauses(first, longest),
            zones: Shared::with_pauses(first, longest),
            records: Shared::with_pauses(first, longest),
            catalogs: Shared::with_pauses(first, longest),
            database_servers: Shared::with_pauses(first, longest),
            known_secrets,
            plausibility,
        }
    }

    /// A new cycle begins: this many details may be audited in it.
    pub fn grant_audits(&self, count: usize) {
        self.details.grant_audits(count);
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
        self.catalog_of(&names, fresh).await
    }

    /// What the server shows of these names.
    pub async fn catalog_of(&self, names: &BTreeSet<&str>, fresh: Timestamp) -> Reading<Catalog> {
        let Some((name, databases)) = self.providers.databases.iter().next() else {
            return Reading::unknown("no database server is configured");
        };
        let met = || {
            counted_as(CallPurpose::Audit, async {
                let Some(shown) = databases.server_id().await? else { return Ok(()) };
                let place = format!("the database server {}", databases.name());
                self.believed(databases.name(), &place, self.plausibility.meet(&place, &shown).await)
            })
        };
        let horizon = earlier(self.clock.now(), self.audit_period);
        if let Reading::Unknown { reason } = self.database_servers.get(name, horizon, &self.clock, met).await {
            return Reading::unknown(reason);
        }
        let read = || {
            counted_as(CallPurpose::CatalogStatement, async {
                databases.catalog().await.map(|catalog| Arc::new(CatalogListing::new(catalog)))
            })
        };
        self.catalogs.get(name, fresh, &self.clock, read).await.map(|catalog| catalog.concerning(names))
    }

    /// Zones are identities: read once an audit period.
    async fn zones(&self, desired: &Desired) -> Reading<Vec<Zone>> {
        match dns_of(desired).and_then(|wanted| self.providers.dns.get(&wanted.provider)) {
            Some(dns) => self.zones_at(dns).await,
            None => Reading::unknown("no DNS is managed"),
        }
    }

    async fn zones_at(&self, dns: &Arc<dyn Dns>) -> Reading<Vec<Zone>> {
        let horizon = earlier(self.clock.now(), self.audit_period);
        let read = || counted_as(CallPurpose::Audit, async { dns.zones().await.map(Arc::new) });
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
        let old: Vec<&str> =
            owned.resources.iter().filter(|r| r.kind == ResourceKind::Record).filter_map(record_name).collect();
        let concerned: BTreeSet<&ZoneId> =
            names.iter().chain(&old).filter_map(|name| zone_of(zones, name)).map(|zone| &zone.id).collect();
        // Where an answer was lost it is looked, whatever the file says by now.
        let asked = owned.intents.iter().filter(|i| i.kind == ResourceKind::Record).map(|i| zone_in(&i.key));
        let asked: BTreeSet<&str> = asked.collect();
        let mut found = Vec::new();
        for zone in zones.iter().filter(|zone| concerned.contains(&zone.id) || asked.contains(zone.id.as_str())) {
            match self.records_in(dns, zone, zones, fresh).await {
                Reading::Known(all) => {
                    found.extend(all.concerning(&names, &desired.mark).map(|live| (zone.clone(), live.clone())))
                }
                Reading::Unknown { reason } => return Reading::unknown(reason),
            }
        }
        Reading::Known(found)
    }

    async fn records_in(
        &self,
        dns: &Arc<dyn Dns>,
        zone: &Zone,
        zones: &[Zone],
        fresh: Timestamp,
    ) -> Reading<Arc<RecordListing>> {
        let is_expected = |record: &ClientRecord, known: &OwnedResource| {
            let in_zone = |name: &str| zone_of(zones, name).is_some_and(|holder| holder.id == zone.id);
            let removed = record.owned.removal.iter().flat_map(|removal| &removal.removed_records);
            known.kind == ResourceKind::Record
                && record_name(known).is_some_and(in_zone)
                && !removed.into_iter().any(|gone| gone.to_string() == known.name)
        };
        let read = || {
            counted_as(CallPurpose::RecordListing, async {
                let records = dns.records(zone).await?;
                let ids = records.iter().map(|live| live.id.clone()).collect();
                let marks: BTreeSet<&Mark> = records.iter().filter_map(|live| live.mark.as_ref()).collect();
                let is_shown = |record: &ClientRecord, _: &OwnedResource| marks.contains(&record.owned.mark);
                let place = format!("zone {} at {}", zone.name, dns.name());
                let (is_expected, is_shown) = (&is_expected, &is_shown);
                self.believe(dns.name(), Listed { place, things: "records", ids: &ids, is_expected, is_shown }).await?;
                Ok(Arc::new(RecordListing::new(records)))
            })
        };
        self.records.get(&zone.id, fresh, &self.clock, read).await
    }

    /// The marks of all records under one name, whichever account keeps them.
    pub async fn marks_at(&self, name: &HostName, fresh: Timestamp) -> Reading<Vec<Mark>> {
        let mut marks = Vec::new();
        for dns in self.providers.dns.values() {
            let zones = match self.zones_at(dns).await {
                Reading::Known(zones) => zones,
                Reading::Unknown { reason } => return Reading::unknown(reason),
            };
            let Some(zone) = zone_of(&zones, name.as_str()) else { continue };
            match self.records_in(dns, zone, &zones, fresh).await {
                Reading::Known(all) => marks.extend(all.under(name.as_str()).filter_map(|live| live.mark.clone())),
                Reading::Unknown { reason } => return Reading::unknown(reason),
            }
        }
        Reading::Known(marks)
    }

    /// All sites of a server.
    pub async fn sites(&self, host: &Host, server: &ServerId, fresh: Timestamp) -> Reading<Arc<SiteListing>> {
        let is_expected = |record: &ClientRecord, known: &OwnedResource| {
            let is_there = record.owned.allocation.port.as_ref().is_some_and(|(on, _)| on == server);
            let is_asked_to_go = record.owned.removal.as_ref().is_some_and(|removal| removal.site_removal_sent);
            known.kind == ResourceKind::Site && is_there && !is_asked_to_go
        };
        let read = || {
            counted_as(CallPurpose::SiteListing, async {
                let sites = host.sites.sites(server).await?;
                let ids = sites.iter().map(|live| live.id.clone()).collect();
                let domains: BTreeSet<&str> = sites.iter().map(|live| live.value.domain.as_str()).collect();
                let is_shown = |_: &ClientRecord, known: &OwnedResource| domains.contains(known.name.as_str());
                let place = format!("server {server} at {}", host.name);
                let (is_expected, is_shown) = (&is_expected, &is_shown);
                self.believe(host.name, Listed { place, things: "a site", ids: &ids, is_expected, is_shown }).await?;
                Ok(Arc::new(SiteListing::new(sites)))
            })
        };
        self.sites.get(server, fresh, &self.clock, read).await
    }

    async fn believe(&self, provider: &'static str, listed: Listed<'_>) -> Answer<()> {
        let place = format!("listing of {}", listed.place);
        self.believed(provider, &place, self.plausibility.judge(listed).await)
    }

    /// What is not believed is a look that failed.
    fn believed(&self, provider: &'static str, place: &str, judged: Stored<Result<(), String>>) -> Answer<()> {
        let doubt = match judged {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(why)) => ErrorClass::Implausible(why),
            Err(error) => ErrorClass::Unavailable(error.to_string()),
        };
        Err(ProviderError::new(provider, place, doubt))
    }

    async fn identity(&self, host: &Host, id: &ServerId) -> Reading<Server> {
        let read = || counted_as(CallPurpose::Audit, self.servers.identity(host, id, self.audit_period, &self.clock));
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
                    self.outside.look(desired, wanted, owned, observed).await;
                    outside::show(&owned.details, observed);
                }
                return;
            }
        };
        // Where nothing stands under our domain, our own site may stand under another one by now.
        let known = owned.resource(ResourceKind::Site, wanted.domain.as_str());
        let renamed = || known.and_then(|known| listing.with_id(&known.id));
        let site = listing.of(&wanted.domain).or_else(renamed).cloned();
        observed.builds_elsewhere = Reading::Known(listing.building_beside(&wanted.domain));
        observed.site = Reading::Known(site.clone());
        let Some(live) = site.filter(|live| live.value.domain == wanted.domain) else { return };
        let reference = SiteRef::of(&wanted.server, &live);
        let ours = owned.resource(ResourceKind::Site, wanted.domain.as_str()).is_some_and(|known| known.id == live.id);
        if !ours {
            observed.environment = self.foreign_environment(host, &reference, owned, desired).await;
            return;
        }
        self.observe_runs(host, wanted, owned, observed).await;
        if live.value.status.is_idle() {
            self.details.read(host, &reference, wanted, owned).await;
        }
        self.observe_deploy(host, &reference, &live.value, owned, observed).await;
        self.outside.look(desired, wanted, owned, observed).await;
        self.details.show(&reference.id, &owned.details, observed);
        outside::show(&owned.details, observed);
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
        match self.details.environment(host, site).await {
            Ok(seen) => Reading::Known(seen),
            Err(error) => Reading::unknown(error.to_string()),
        }
    }

    async fn observe_runs(&self, host: &Host, wanted: &DesiredSite, owned: &Owned, observed: &mut Observed) {
        let Some(scripts) = &host.scripts else { return };
        for (purpose, run) in &owned.runs {
            let state = match in_lane(Lane::Polling, scripts.run_state(&wanted.server, &run.id)).await {
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

    /// What a listing shows of a deploy under way; the host's own log is asked for once, when it has ended (and where the
    /// listing alone cannot tell whether it has).
    async fn observe_deploy(&self, host: &Host, site: &SiteRef, live: &Site, owned: &Owned, observed: &mut Observed) {
        if owned.releases.in_flight.is_none() {
            return;
        }
        if let (SiteStatus::Deploying, Some(log)) = (&live.status, &live.deploy_log) {
            let text = mask(log, self.known_secrets.of(&live.domain));
            observed.deploy_log = Reading::Known(DeployLog { id: None, text });
        }
        if matches!(live.status, SiteStatus::Active | SiteStatus::DeployFailed) {
            observed.deploy_log = match in_lane(Lane::Polling, host.releases.deploy_log(site)).await {
                Ok(log) => Reading::Known(log),
                Err(error) => Reading::unknown(error.to_string()),
            };
        }
    }
}

/// The host name in `A www.example`, as records are remembered.
fn record_name(known: &OwnedResource) -> Option<&str> {
    known.name.split_once(' ').map(|(_, name)| name)
}

fn dns_of(desired: &Desired) -> Option<&DesiredDns> {
    desired.dns.value().and_then(Option::as_ref)
}

/// A timestamp moved back by a duration; stops at the beginning of time.
pub fn earlier(at: Timestamp, by: Duration) -> Timestamp {
    jiff::SignedDuration::try_from(by).ok().and_then(|by| at.checked_sub(by).ok()).unwrap_or(Timestamp::MIN)
}
