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
    /// The database in which no client lives: the installation's own.
    pub maintenance: Option<&'a str>,
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
        let here = databases.and_then(server_of).is_some_and(|(host, port)| (host, port) == (place.host, place.port));
        if !here {
            return Ok(ExistingDatabase::Elsewhere);
        }
        if self.maintenance == Some(place.database.as_str()) {
            return Err(format!(
                "its DATABASE_URL names {}, the installation's own; give it one of its own first",
                place.database
            ));
        }
        let row = catalog.databases.iter().find(|row| row.name == place.database);
        let row = row.ok_or_else(|| format!("its database {} is not at the server", place.database))?;
        if let Some(mark) = row.mark() {
            return Err(format!("its database {} carries the mark of client {}", row.name, mark.client));
        }
        let name = SqlName::parse(&row.name).map_err(|error| format!("its database {}: {error}", row.name))?;
        let login = login(candidate).filter(|login| {
            let role = catalog.role(login).filter(|role| role.login && role.comment.is_none());
            role.is_some() && !others().any(|other| self::login(other).as_ref() == Some(login))
        });
        Ok(ExistingDatabase::Here { name, login })
    }
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

/// Where sites reach the configured server.
fn server_of(databases: &dyn Databases) -> Option<(String, u16)> {
    let any = SqlName::trusted("any");
    endpoint(&url::Url::parse(databases.site_url(&any, &any, &Secret::new("any")).expose()).ok()?)
}

/// Host and port; this machine has one name.
fn endpoint(url: &url::Url) -> Option<(String, u16)> {
    let host = url.host_str()?.to_ascii_lowercase();
    let here = ["localhost", "127.0.0.1", "[::1]"].contains(&host.as_str());
    Some((if here { "localhost".into() } else { host }, url.port().unwrap_or(POSTGRES_PORT)))
}
