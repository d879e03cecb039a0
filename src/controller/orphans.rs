//! Orphans: things that carry this installation's mark and that no client of the state stands for. They are listed and
//! never touched.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::controller::providers::Providers;
use crate::provider::{Answer, Host, SiteRef};
use crate::resource::database::{DatabaseMark, PROVIDER};
use crate::resource::kind::ResourceKind;
use crate::resource::mark::{MARK_VARIABLE, Mark};
use crate::resource::name::{Instance, RemoteId, ServerId, Uid};
use crate::resource::secret::Secret;
use crate::store::ClientRecord;

/// One marked thing without a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Orphan {
    /// What it is.
    pub kind: ResourceKind,
    /// Where it is.
    pub provider: String,
    /// The provider's id.
    pub id: String,
    /// Its natural name.
    pub name: String,
    /// The incarnation that made it.
    pub uid: Uid,
    /// The client's name, where the mark tells it.
    pub client: Option<String>,
}

/// Looks for them.
pub struct OrphanLook<'a> {
    providers: &'a Providers,
    instance: &'a Instance,
    known: BTreeSet<&'a Uid>,
    sites: BTreeSet<&'a RemoteId>,
    servers: BTreeSet<ServerId>,
}

impl<'a> OrphanLook<'a> {
    /// Against the clients of a state; `server`: the one that specs may leave open.
    pub fn new(
        providers: &'a Providers,
        instance: &'a Instance,
        records: &'a [ClientRecord],
        server: Option<ServerId>,
    ) -> Self {
        let owned = records.iter().flat_map(|record| &record.owned.resources);
        let ports = records.iter().filter_map(|record| record.owned.allocation.port.as_ref());
        OrphanLook {
            providers,
            instance,
            known: records.iter().map(|record| &record.owned.mark.uid).collect(),
            sites: owned.filter(|one| one.kind == ResourceKind::Site).map(|one| &one.id).collect(),
            servers: ports.map(|(server, _)| server.clone()).chain(server).collect(),
        }
    }

    /// All of them: complete or an error, never a part. Costs the listings, and one call for each site that is nobody's.
    pub async fn all(&self) -> Answer<Vec<Orphan>> {
        let mut found = self.databases().await?;
        found.extend(self.records().await?);
        for host in self.providers.hosts.values() {
            for server in &self.servers {
                found.extend(self.sites(host, server).await?);
            }
        }
        Ok(found)
    }

    fn is_orphan(&self, mark: &Mark) -> bool {
        mark.instance == *self.instance && !self.known.contains(&mark.uid)
    }

    async fn databases(&self) -> Answer<Vec<Orphan>> {
        let mut found = Vec::new();
        for databases in self.providers.databases.values() {
            let catalog = databases.catalog().await?;
            let of_databases = catalog
                .databases
                .iter()
                .map(|row| (ResourceKind::Database, &row.name, row.oid.to_string(), &row.comment));
            let of_roles =
                catalog.roles.iter().map(|row| (ResourceKind::Role, &row.name, row.name.clone(), &row.comment));
            for (kind, name, id, comment) in of_databases.chain(of_roles) {
                let Some(mark) = comment.as_deref().and_then(DatabaseMark::from_comment) else { continue };
                if self.is_orphan(&mark.owner()) {
                    let client = Some(mark.client);
                    found.push(Orphan {
                        kind,
                        provider: PROVIDER.into(),
                        id,
                        name: name.clone(),
                        uid: mark.uid,
                        client,
                    });
                }
            }
        }
        Ok(found)
    }

    async fn records(&self) -> Answer<Vec<Orphan>> {
        let mut found = Vec::new();
        for (provider, dns) in &self.providers.dns {
            for zone in dns.zones().await? {
                let records = dns.records(&zone).await?;
                let marked = records.into_iter().filter_map(|live| live.mark.clone().map(|mark| (live, mark)));
                found.extend(marked.filter(|(_, mark)| self.is_orphan(mark)).map(|(live, mark)| Orphan {
                    kind: ResourceKind::Record,
                    provider: provider.clone(),
                    id: live.id.to_string(),
                    name: live.value.to_string(),
                    uid: mark.uid,
                    client: None,
                }));
            }
        }
        Ok(found)
    }

    async fn sites(&self, host: &Host, server: &ServerId) -> Answer<Vec<Orphan>> {
        let mut found = Vec::new();
        for live in host.sites.sites(server).await?.iter().filter(|live| !self.sites.contains(&live.id)) {
            if let Some(mark) = mark_of(host, &SiteRef::of(server, live)).await?.filter(|mark| self.is_orphan(mark)) {
                found.push(Orphan {
                    kind: ResourceKind::Site,
                    provider: host.name.to_owned(),
                    id: live.id.to_string(),
                    name: live.value.domain.to_string(),
                    uid: mark.uid,
                    client: None,
                });
            }
        }
        Ok(found)
    }
}

async fn mark_of(host: &Host, site: &SiteRef) -> Answer<Option<Mark>> {
    let variables = host.variables(site).await?;
    Ok(variables.get(MARK_VARIABLE).map(Secret::expose).and_then(Mark::from_variable))
}
