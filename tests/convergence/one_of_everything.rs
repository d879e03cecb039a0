//! What must be true of the whole world after whatever happened: one of everything, all of it ours and remembered.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use serde_json::Value;
use sitewright::resource::kind::ResourceKind;
use sitewright::resource::owned::AdministratorState;
use sitewright::store::ClientRecord;

use crate::kill_points::Phase;
use crate::rig::{Rig, ZONE};
use crate::strangers::{Neighbours, superuser};

/// The server of every simulated account.
const SERVER: u64 = 1;

/// What a phase should leave.
pub struct Wanted<'a> {
    pub client: &'a str,
    pub alias: String,
    pub text: &'a str,
    /// Environment line.
    pub note: &'a str,
    pub suspended: bool,
    pub deploys: RangeInclusive<usize>,
    /// Orders that may have been sent; one certificate comes of them all the same.
    pub orders: usize,
}

/// Collects what is not as it should be.
#[derive(Default)]
pub struct Flaws(Vec<String>);

impl Flaws {
    pub fn expect<T: PartialEq + std::fmt::Debug>(&mut self, what: &str, found: T, wanted: T) {
        if found != wanted {
            self.0.push(format!("{what}: {found:?} instead of {wanted:?}"));
        }
    }

    pub fn end(self) -> Result<(), String> {
        if self.0.is_empty() { Ok(()) } else { Err(self.0.join("\n  ")) }
    }
}

/// Databases and roles of a client, as the server's superuser sees them.
pub struct Stand {
    /// Comments.
    pub databases: Vec<Option<String>>,
    /// Name, whether it may log in, comment.
    pub roles: Vec<(String, bool, Option<String>)>,
}

pub async fn stand(database: &str, neighbours: &Neighbours) -> Stand {
    let client = superuser("postgres").await;
    let pattern = format!("{}\\_%", database.replace('_', "\\_"));
    let databases =
        "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = $1 OR datname LIKE $2";
    let databases = client.query(databases, &[&database, &pattern]).await.expect("rows");
    let roles = "SELECT rolname::text, rolcanlogin, shobj_description(oid, 'pg_authid') FROM pg_roles WHERE (rolname = $1 OR rolname LIKE $2) AND rolname <> $3 ORDER BY 1";
    let roles = client.query(roles, &[&database, &pattern, &neighbours.login()]).await.expect("rows");
    Stand {
        databases: databases.iter().map(|row| row.get(0)).collect(),
        roles: roles.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect(),
    }
}

/// The client's records.
pub fn records(rig: &Rig, neighbours: &Neighbours) -> Vec<Value> {
    let theirs = |record: &Value| neighbours.has_record(&text(record, "id"));
    rig.records().into_iter().filter(|record| !theirs(record)).collect()
}

/// The client's processes, and whether they run.
pub fn processes(rig: &Rig, neighbours: &Neighbours) -> Vec<(String, bool)> {
    let state = rig.simulators.world.state();
    let ours = state.processes.all(SERVER).iter().filter(|p| !neighbours.has_process(&p.name));
    ours.map(|p| (p.name.clone(), p.running)).collect()
}

pub fn text(record: &Value, member: &str) -> String {
    record[member].as_str().unwrap_or_default().to_owned()
}

/// The client serves, and there is one of everything.
pub async fn check_living(rig: &Rig, neighbours: &Neighbours, wanted: &Wanted<'_>) -> Result<(), String> {
    let mut flaws = Flaws::default();
    let Some(record) = rig.client(wanted.client).await else { return Err("nothing is remembered".into()) };
    let domain = format!("{}.{ZONE}", wanted.client);
    let ploi = &rig.simulators.ploi;
    flaws.expect("ready", record.status.is_ready(), true);
    flaws.expect("sites", ploi.sites_count() - Neighbours::SITES, 1);
    flaws.expect("active certificates", ploi.active_certificates(SERVER, &domain), 1);
    flaws.expect("certificates issued", ploi.certificates_issued(), 1);
    let orders = rig.calls().iter().filter(|c| c.method == "POST" && c.path.ends_with("/certificates")).count();
    if orders > wanted.orders {
        flaws.expect("certificate orders sent", orders, wanted.orders);
    }
    let deploys = ploi.deploys_ended(SERVER, &domain);
    if !wanted.deploys.contains(&deploys) {
        flaws.expect("deploys that ran", deploys, *wanted.deploys.end());
    }
    flaws.expect("aliases", ploi.aliases_of(SERVER, &domain), vec![wanted.alias.clone()]);
    let environment = ploi.env_of(SERVER, &domain).unwrap_or_default();
    flaws.expect("the environment is the new one", environment.contains(wanted.note), true);
    flaws.expect("processes", processes(rig, neighbours), vec![(wanted.client.to_owned(), !wanted.suspended)]);
    check_records(&mut flaws, &records(rig, neighbours), &record, wanted);
    check_memory(&mut flaws, &record);
    let administrators = rig.simulators.world.state().administrators.len();
    flaws.expect("administrators", administrators, 1);
    let made = AdministratorState::Made { email: format!("admin@{}.example", wanted.client) };
    flaws.expect("the administrator is ours", &record.owned.administrator, &made);
    let database = format!("client_{}", wanted.client);
    let stand = stand(&database, neighbours).await;
    let uid = record.owned.mark.uid.to_string();
    flaws.expect("databases", stand.databases.len(), 1);
    flaws.expect("the database is ours", stand.databases.iter().flatten().all(|c| c.contains(&uid)), true);
    let roles: Vec<(String, bool, bool)> =
        stand.roles.iter().map(|(n, l, c)| (n.clone(), *l, c.as_deref().is_some_and(|c| c.contains(&uid)))).collect();
    flaws.expect("roles", roles, vec![(database.clone(), false, true), (format!("{database}_a"), true, true)]);
    flaws.end()
}

fn check_records(flaws: &mut Flaws, records: &[Value], record: &ClientRecord, wanted: &Wanted<'_>) {
    let domain = format!("{}.{ZONE}", wanted.client);
    let shown: BTreeSet<(String, String)> = records.iter().map(|r| (text(r, "type"), text(r, "name"))).collect();
    let expected: BTreeSet<(String, String)> =
        [("A", domain.clone()), ("A", wanted.alias.clone()), ("TXT", domain.clone())]
            .map(|(kind, name)| (kind.to_owned(), name))
            .into();
    flaws.expect("records", shown, expected);
    flaws.expect("records under different keys", records.len(), 3);
    let mark = record.owned.mark.comment();
    flaws.expect("records that are ours", records.iter().filter(|r| text(r, "comment").contains(&mark)).count(), 3);
    let right = records.iter().any(|r| text(r, "type") == "TXT" && text(r, "content").contains(wanted.text));
    flaws.expect("the text record is the new one", right, true);
    let ids: BTreeSet<String> = records.iter().map(|r| text(r, "id")).collect();
    let known: BTreeSet<String> =
        record.owned.resources.iter().filter(|r| r.kind == ResourceKind::Record).map(|r| r.id.to_string()).collect();
    flaws.expect("records that are remembered", known, ids);
}

pub fn check_memory(flaws: &mut Flaws, record: &ClientRecord) {
    flaws.expect("open intents", &record.owned.intents, &Vec::new());
    flaws.expect("open runs", record.owned.runs.len(), 0);
    flaws.expect("open orders", record.owned.order.is_some(), false);
    flaws.expect("deploys in flight", record.owned.releases.in_flight.is_some(), false);
    for kind in [ResourceKind::Site, ResourceKind::Certificate, ResourceKind::Database, ResourceKind::Role] {
        let known = record.owned.resources.iter().filter(|r| r.kind == kind).count();
        flaws.expect(&format!("{kind:?}s that are remembered"), known, 1);
    }
    flaws.expect("we know that we made the database", record.owned.made_database, true);
}

/// The client is gone, and nothing of it is left but what is meant to stay.
pub async fn check_gone(rig: &Rig, neighbours: &Neighbours, client: &str, phase: Phase) -> Result<(), String> {
    let mut flaws = Flaws::default();
    flaws.expect("sites", rig.simulators.ploi.sites_count() - Neighbours::SITES, 0);
    flaws.expect("records", records(rig, neighbours).len(), 0);
    flaws.expect("processes", processes(rig, neighbours), Vec::new());
    let record = rig.client(client).await;
    let database = format!("client_{client}");
    let stand = stand(&database, neighbours).await;
    if phase == Phase::Retire {
        let logins: Vec<(String, bool)> = stand.roles.iter().map(|(name, login, _)| (name.clone(), *login)).collect();
        flaws.expect("roles, closed", logins, vec![(database.clone(), false), (format!("{database}_a"), false)]);
        let told = stand.databases.iter().flatten().filter(|comment| comment.contains("retained")).count();
        flaws.expect("databases marked as retained", told, 1);
        flaws.expect("open intents", record.as_ref().map(|r| r.owned.intents.len()), Some(0));
        let removal = record.and_then(|r| r.owned.removal).unwrap_or_else(|| panic!("{client} was removed"));
        flaws.expect("bodies of records for the way back", removal.removed_records.len(), 3);
        flaws.expect("the time caches keep them is known", removal.ttl_seconds > 0, true);
    } else {
        flaws.expect("databases", stand.databases.len(), 0);
        flaws.expect("roles", stand.roles, Vec::new());
        flaws.expect("memory", record.map(|r| r.owned.resources), None);
    }
    if phase == Phase::Drop {
        let backups = std::fs::read_dir(rig.path(".sitewright/backups")).map(Iterator::count).unwrap_or_default();
        flaws.expect("a backup is there", backups > 0, true);
    }
    flaws.end()
}
