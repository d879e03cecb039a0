//! Sites that exist and are no client yet: everything that a spec for them needs is read, nothing is written.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use crate::controller::former_life::login_of;
use crate::controller::providers::Providers;
use crate::provider::{Answer, Databases, Host, SiteRef};
use crate::resource::database::Catalog;
use crate::resource::name::{HostName, RemoteId, ServerId, SqlName};
use crate::resource::reading::Live;
use crate::resource::record::Record;
use crate::resource::secret::Secret;
use crate::resource::site::Site;
use crate::resource::vhost;
use crate::spec::import::{DATABASE_URL, Existing, ExistingDatabase};

/// The port of an address of PostgreSQL that names none.
const POSTGRES_PORT: u16 = 5432;

/// A site with what a spec for it needs, or why none can be written: one clause.
pub struct Found {
    /// Its root domain.
    pub domain: HostName,
    /// What was read of it.
    pub site: Result<Existing, String>,
}

/// Who has a site already.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// Clients by the sites that are theirs.
    pub sites: BTreeMap<RemoteId, String>,
    /// Clients by the host names that their specs claim.
    pub hosts: BTreeMap<HostName, String>,
}

impl Known {
    /// The clients' names: none is given out twice.
    pub fn clients(&self) -> BTreeSet<String> {
        self.sites.values().chain(self.hosts.values()).cloned().collect()
    }
}

/// Looks for them on one server.
pub struct ExistingLook<'a> {
    /// What is configured.
    pub providers: &'a Providers,
    /// Who has a site already.
    pub known: &'a Known,
    /// `PLATFORM_DATABASE_URL`: in the installation's own database lives no client.
    pub platform: Option<&'a Secret>,
}

/// A database as an address names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    host: String,
    port: u16,
    database: String,
}

/// A site with its environment, before it is known who else uses its database.
struct Candidate {
    live: Live<Site>,
    /// Of its server.
    address: Ipv4Addr,
    environment: BTreeMap<String, Secret>,
}

impl ExistingLook<'_> {
    /// Every site of a server, in the listing's order. Costs the listings, and five calls for each site that is nobody's.
    ///
    /// # Errors
    /// An account cannot be seen whole: then nothing is said of any site.
    pub async fn on(&self, host: &Host, server: &ServerId) -> Answer<Vec<Found>> {
        let address = host.sites.server(server).await?.address;
        let listed = host.sites.sites(server).await?;
        let mut found = Vec::new();
        let mut candidates = Vec::new();
        for live in listed {
            match self.owner(&live) {
                Some(client) => {
                    let site = Err(format!("it is the client {client} already"));
                    found.push(Found { domain: live.value.domain.clone(), site });
                }
                None => {
                    let environment = host.variables(&SiteRef::of(server, &live)).await?;
                    candidates.push(Candidate { live, address, environment });
                }
            }
        }
        let records = self.records(&candidates).await?;
        let databases = self.providers.databases.values().next();
        let catalog = match databases {
            Some(databases) => databases.catalog().await?,
            None => Catalog::default(),
        };
        for candidate in &candidates {
            let database = self.database(candidate, &candidates, databases.map(|one| &**one), &catalog);
            let site = match database {
                Err(why) => Err(why),
                Ok(database) => self.read(host, server, candidate, database, &records).await,
            };
            found.push(Found { domain: candidate.live.value.domain.clone(), site });
        }
        Ok(found)
    }

    fn owner(&self, live: &Live<Site>) -> Option<&String> {
        self.known.sites.get(&live.id).or_else(|| self.known.hosts.get(&live.value.domain))
    }

    /// One call a piece; a site of which one cannot be read is told with the reason.
    async fn read(
        &self,
        host: &Host,
        server: &ServerId,
        candidate: &Candidate,
        database: ExistingDatabase,
        records: &[Live<Record>],
    ) -> Result<Existing, String> {
        let site = SiteRef::of(server, &candidate.live);
        let (Some(repositories), Some(virtual_hosts), Some(aliases), Some(certificates)) =
            (&host.repositories, &host.virtual_hosts, &host.aliases, &host.certificates)
        else {
            return Err(format!("sites of {} cannot be described yet", host.name));
        };
        let unread = |error: crate::provider::error::ProviderError| error.to_string();
        let text = virtual_hosts.virtual_host(&site).await.map_err(unread)?;
        let virtual_host =
            vhost::read(&text).map_err(|problem| format!("its virtual host cannot be read: {problem}"))?;
        let aliases = aliases.aliases(&site).await.map_err(unread)?;
        let of_site = |live: &&Live<Record>| {
            let name = &live.value.name;
            live.value.kind.is_address()
                && (*name == site.domain.as_str() || aliases.iter().any(|alias| name == alias.as_str()))
        };
        Ok(Existing {
            site: candidate.live.clone(),
            address: candidate.address,
            environment: candidate.environment.clone(),
            repository: repositories.repository(&site).await.map_err(unread)?,
            virtual_host,
            certificates: certificates.certificates(&site).await.map_err(unread)?,
            records: records.iter().filter(of_site).cloned().collect(),
            aliases,
            database,
        })
    }

    /// Records of every zone that holds a site's domain or may hold an alias: all that are seen.
    async fn records(&self, candidates: &[Candidate]) -> Answer<Vec<Live<Record>>> {
        let mut found = Vec::new();
        if candidates.is_empty() {
            return Ok(found);
        }
        for dns in self.providers.dns.values() {
            for zone in dns.zones().await? {
                found.extend(dns.records(&zone).await?);
            }
        }
        Ok(found)
    }

    /// Where a site's data lives, and whether it is its alone.
    fn database(
        &self,
        candidate: &Candidate,
        all: &[Candidate],
        databases: Option<&dyn Databases>,
        catalog: &Catalog,
    ) -> Result<ExistingDatabase, String> {
        let Some(place) = place(candidate) else { return Ok(ExistingDatabase::Elsewhere) };
        let others = || all.iter().filter(|other| other.live.id != candidate.live.id);
        if let Some(other) = others().find(|other| self::place(other).as_ref() == Some(&place)) {
            return Err(format!(
                "it shares the database {} with {}; give one of them its own first",
                place.database, other.live.value.domain
            ));
        }
        let Some((login, rendered)) = rendered(candidate, &place, databases) else {
            return Ok(ExistingDatabase::Elsewhere);
        };
        let platform = self.platform.and_then(|url| url::Url::parse(url.expose()).ok());
        if platform.as_ref().is_some_and(|url| url.path().trim_start_matches('/') == place.database) {
            let why = format!(
                "its DATABASE_URL names {}, the installation's own; give it one of its own first",
                place.database
            );
            return Err(why);
        }
        let row = catalog.databases.iter().find(|row| row.name == rendered.as_str());
        let row = row.ok_or_else(|| format!("its database {rendered} is not at the server"))?;
        if row.comment.is_some() {
            let whose = row.mark().map_or_else(
                || "a comment of somebody else's".into(),
                |mark| format!("the mark of client {}", mark.client),
            );
            return Err(format!("its database {rendered} carries {whose}"));
        }
        let is_platforms = platform.is_some_and(|url| url.username() == login.as_str());
        let is_login_shared = is_platforms || others().any(|other| self::login(other).as_ref() == Some(&login));
        Ok(ExistingDatabase::Here { name: rendered, is_login_shared })
    }
}

/// Login and name of a database whose address we would write again as it stands: then its site notices nothing.
fn rendered(candidate: &Candidate, place: &Place, databases: Option<&dyn Databases>) -> Option<(SqlName, SqlName)> {
    let (login, password) = login_of(candidate.environment.get(DATABASE_URL)?.expose())?;
    let name = SqlName::parse(&place.database).ok()?;
    let (found, ours) = (url(candidate)?, databases?.site_url(&name, &login, &password));
    let ours = url::Url::parse(ours.expose()).ok()?;
    let parameters = |url: &url::Url| url.query_pairs().into_owned().collect::<BTreeSet<_>>();
    (endpoint(&found)? == endpoint(&ours)? && parameters(&found) == parameters(&ours)).then_some((login, name))
}

fn url(candidate: &Candidate) -> Option<url::Url> {
    url::Url::parse(candidate.environment.get(DATABASE_URL)?.expose()).ok()
}

fn login(candidate: &Candidate) -> Option<SqlName> {
    login_of(candidate.environment.get(DATABASE_URL)?.expose()).map(|(login, _)| login)
}

fn place(candidate: &Candidate) -> Option<Place> {
    let url = url(candidate)?;
    let (host, port) = endpoint(&url)?;
    Some(Place { host, port, database: url.path().trim_start_matches('/').to_owned() })
}

/// Host and port; this machine has one name.
fn endpoint(url: &url::Url) -> Option<(String, u16)> {
    let host = url.host_str()?.to_ascii_lowercase();
    let here = ["localhost", "127.0.0.1", "[::1]"].contains(&host.as_str());
    Some((if here { "localhost".into() } else { host }, url.port().unwrap_or(POSTGRES_PORT)))
}
