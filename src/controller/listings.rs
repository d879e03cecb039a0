//! Account listings that all clients share, found by name in one step: what a client costs must not grow with the fleet.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::resource::database::Catalog;
use crate::resource::mark::Mark;
use crate::resource::name::{HostName, RemoteId};
use crate::resource::reading::Live;
use crate::resource::record::Record;
use crate::resource::site::{Site, SiteStatus};

/// The sites of a server.
#[derive(Debug)]
pub struct SiteListing {
    sites: Vec<Live<Site>>,
    by_domain: HashMap<HostName, usize>,
    building: BTreeSet<HostName>,
}

impl SiteListing {
    /// Over a complete listing.
    pub fn new(sites: Vec<Live<Site>>) -> Self {
        let mut by_domain = HashMap::with_capacity(sites.len());
        for (at, live) in sites.iter().enumerate() {
            by_domain.entry(live.value.domain.clone()).or_insert(at);
        }
        let deploys = sites.iter().filter(|live| live.value.status == SiteStatus::Deploying);
        let building = deploys.map(|live| live.value.domain.clone()).collect();
        SiteListing { sites, by_domain, building }
    }

    /// All of them, in the listing's order.
    pub fn all(&self) -> &[Live<Site>] {
        &self.sites
    }

    /// The site under a domain.
    pub fn of(&self, domain: &HostName) -> Option<&Live<Site>> {
        self.by_domain.get(domain).and_then(|at| self.sites.get(*at))
    }

    /// The site with an id.
    pub fn with_id(&self, id: &RemoteId) -> Option<&Live<Site>> {
        self.sites.iter().find(|live| live.id == *id)
    }

    /// Domains of the other sites that are being built.
    pub fn building_beside(&self, domain: &HostName) -> BTreeSet<HostName> {
        self.building.iter().filter(|one| *one != domain).cloned().collect()
    }
}

/// The records of a zone.
#[derive(Debug)]
pub struct RecordListing {
    records: Vec<Live<Record>>,
    by_name: HashMap<String, Vec<usize>>,
    by_mark: BTreeMap<Mark, Vec<usize>>,
}

impl RecordListing {
    /// Over a complete listing.
    pub fn new(records: Vec<Live<Record>>) -> Self {
        let mut by_name: HashMap<String, Vec<usize>> = HashMap::with_capacity(records.len());
        let mut by_mark: BTreeMap<Mark, Vec<usize>> = BTreeMap::new();
        for (at, live) in records.iter().enumerate() {
            by_name.entry(live.value.name.clone()).or_default().push(at);
            if let Some(mark) = &live.mark {
                by_mark.entry(mark.clone()).or_default().push(at);
            }
        }
        RecordListing { records, by_name, by_mark }
    }

    /// Records of these names, and every record that carries the mark, in the listing's order.
    pub fn concerning(&self, names: &BTreeSet<&str>, mark: &Mark) -> impl Iterator<Item = &Live<Record>> {
        let named = names.iter().filter_map(|name| self.by_name.get(*name));
        let places: BTreeSet<usize> = named.chain(self.by_mark.get(mark)).flatten().copied().collect();
        places.into_iter().filter_map(|at| self.records.get(at))
    }

    /// Records of one name.
    pub fn under(&self, name: &str) -> impl Iterator<Item = &Live<Record>> {
        self.by_name.get(name).into_iter().flatten().filter_map(|at| self.records.get(*at))
    }
}

/// The databases and roles of a server.
#[derive(Debug)]
pub struct CatalogListing {
    catalog: Catalog,
    databases: HashMap<String, usize>,
    roles: HashMap<String, usize>,
}

impl CatalogListing {
    /// Over a complete catalog.
    pub fn new(catalog: Catalog) -> Self {
        let databases = catalog.databases.iter().enumerate().map(|(at, row)| (row.name.clone(), at)).collect();
        let roles = catalog.roles.iter().enumerate().map(|(at, row)| (row.name.clone(), at)).collect();
        CatalogListing { catalog, databases, roles }
    }

    /// The part that is about these names.
    pub fn concerning(&self, names: &BTreeSet<&str>) -> Catalog {
        let database = |name: &&str| self.databases.get(*name).and_then(|at| self.catalog.databases.get(*at)).cloned();
        let role = |name: &&str| self.roles.get(*name).and_then(|at| self.catalog.roles.get(*at)).cloned();
        Catalog {
            databases: names.iter().filter_map(database).collect(),
            roles: names.iter().filter_map(role).collect(),
            server_version: self.catalog.server_version,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::database::{DatabaseRow, RoleRow};
    use crate::resource::name::{Instance, ServerId, Uid};
    use crate::resource::record::{RecordType, Ttl};

    fn site(domain: &str, status: SiteStatus) -> Live<Site> {
        let value = Site {
            server: ServerId::trusted("1"),
            domain: HostName::parse(domain).unwrap(),
            system_user: "ploi".into(),
            status,
            has_repository: true,
            last_deploy_at: None,
            quick_deploy: false,
            deploy_log: None,
        };
        Live { id: RemoteId::trusted(domain), mark: None, value }
    }

    #[test]
    fn a_site_is_found_by_its_domain_and_its_own_build_is_not_one_beside_it() {
        let listing = SiteListing::new(vec![
            site("a.example", SiteStatus::Deploying),
            site("b.example", SiteStatus::Active),
            site("c.example", SiteStatus::Deploying),
        ]);
        let name = |text: &str| HostName::parse(text).unwrap();
        assert_eq!(listing.of(&name("b.example")).unwrap().id.as_str(), "b.example");
        assert!(listing.of(&name("d.example")).is_none());
        assert_eq!(listing.building_beside(&name("a.example")), [name("c.example")].into());
        assert_eq!(listing.building_beside(&name("b.example")).len(), 2);
        assert_eq!(listing.all().len(), 3);
    }

    #[test]
    fn records_come_by_name_or_by_mark_once_and_in_order() {
        let mark = |uid: &str| Mark { instance: Instance::parse("one").unwrap(), uid: Uid::trusted(uid) };
        let record = |name: &str, mark: Option<Mark>| Live {
            id: RemoteId::trusted(name),
            mark,
            value: Record::new(name, RecordType::TXT, "text", Ttl::Auto, false, None),
        };
        let listing = RecordListing::new(vec![
            record("z.example", Some(mark("u1"))),
            record("a.example", None),
            record("m.example", Some(mark("u2"))),
            record("b.example", Some(mark("u1"))),
        ]);
        let found = |names: &[&str], uid: &str| {
            let names = names.iter().copied().collect();
            listing.concerning(&names, &mark(uid)).map(|live| live.value.name.clone()).collect::<Vec<_>>()
        };
        assert_eq!(found(&["b.example", "a.example"], "u1"), ["z.example", "a.example", "b.example"]);
        assert_eq!(found(&["m.example"], "u9"), ["m.example"]);
        assert!(found(&[], "u9").is_empty());
    }

    #[test]
    fn a_catalog_shows_a_client_what_bears_its_names_also_where_it_is_somebody_elses() {
        let database = |name: &str| DatabaseRow {
            name: name.into(),
            oid: 1,
            owner: "stranger".into(),
            comment: None,
            public_connect: true,
            allow_connections: true,
            sessions: 0,
        };
        let role = |name: &str| RoleRow { name: name.into(), login: true, comment: None, member_of: Vec::new() };
        let listing = CatalogListing::new(Catalog {
            databases: vec![database("client_a"), database("client_b")],
            roles: vec![role("client_a"), role("client_a_a"), role("client_b")],
            server_version: 15,
        });
        let part = listing.concerning(&["client_a", "client_a_a"].into());
        assert_eq!(part.databases, [database("client_a")]);
        assert_eq!(part.roles, [role("client_a"), role("client_a_a")]);
        assert_eq!(part.server_version, 15);
    }
}
