//! What must hold at every step (reliability.md 2): judged when a write reaches a provider, from what is durable and from
//! the world as it stands.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::Value;
use sitewright::config::Settings;
use sitewright::controller::fleet::PAUSE_ALL;
use sitewright::plan::draft::later;
use sitewright::provider::DropPermit;
use sitewright::provider::cloudflare::sim::CloudflareSim;
use sitewright::provider::ploi::sim::{PloiSim, SERVER_ID};
use sitewright::provider::world::World;
use sitewright::provider::world::dns::DnsTable;
use sitewright::resource::kind::ResourceKind;
use sitewright::resource::name::Uid;
use sitewright::store::memory::MemoryStore;
use sitewright::store::{ClientRecord, Pause, Store as _};

use tokio::time::Instant;

use crate::databases::Server;
use crate::world::Specs;

/// A call that was on its way when the client's file vanished, or somebody paused it, still arrives.
const IN_THE_AIR: Duration = Duration::from_secs(1);

/// Where the monitor looks.
pub struct Seen<'a> {
    pub world: &'a Arc<World>,
    pub ploi: &'a Arc<PloiSim>,
    /// With the one zone.
    pub cloudflare: (&'a Arc<CloudflareSim>, &'a str),
    pub dns: &'a Arc<DnsTable>,
    pub databases: &'a Arc<Mutex<Server>>,
}

/// Watches every write of a life.
pub struct Monitor {
    world: Arc<World>,
    ploi: Arc<PloiSim>,
    cloudflare: (Arc<CloudflareSim>, String),
    dns: Arc<DnsTable>,
    databases: Arc<Mutex<Server>>,
    disk: Mutex<Arc<MemoryStore>>,
    specs: Arc<Specs>,
    site_grace: Duration,
    database_grace: Duration,
    drain: Duration,
    settle: Duration,
    window: Duration,
    violations: Mutex<Vec<String>>,
    checks: Mutex<u64>,
    /// Ids of sites that are not ours.
    foreign: Mutex<Vec<u64>>,
    /// Removals that were seen, with their begin.
    begun: Mutex<BTreeSet<(Uid, Timestamp)>>,
    /// When a domain was seen to lead somewhere.
    pointed: Mutex<BTreeMap<String, Instant>>,
    /// When each write that must not come twice came.
    sent: Mutex<BTreeMap<String, Instant>>,
}

impl Monitor {
    pub fn new(seen: Seen<'_>, disk: &Arc<MemoryStore>, specs: &Arc<Specs>, settings: &Settings) -> Monitor {
        Monitor {
            world: seen.world.clone(),
            ploi: seen.ploi.clone(),
            cloudflare: (seen.cloudflare.0.clone(), seen.cloudflare.1.to_owned()),
            dns: seen.dns.clone(),
            databases: seen.databases.clone(),
            disk: Mutex::new(disk.clone()),
            specs: specs.clone(),
            site_grace: settings.deletion.grace,
            database_grace: settings.deletion.database_grace,
            drain: settings.dns.drain.unwrap_or_default(),
            settle: settings.settle,
            window: settings.absence_window,
            violations: Mutex::default(),
            checks: Mutex::default(),
            foreign: Mutex::default(),
            begun: Mutex::default(),
            pointed: Mutex::default(),
            sent: Mutex::default(),
        }
    }

    /// The machine has another disk.
    pub fn watch(&self, disk: &Arc<MemoryStore>) {
        *self.disk.lock() = disk.clone();
    }

    /// A site that nobody may touch.
    pub fn protect(&self, site: u64) {
        self.foreign.lock().push(site);
    }

    /// Everything that did not hold.
    pub fn violations(&self) -> Vec<String> {
        self.violations.lock().clone()
    }

    /// How often something was judged.
    pub fn checks(&self) -> u64 {
        *self.checks.lock()
    }

    pub fn hold(&self, invariant: &str, holds: bool, what: impl FnOnce() -> String) {
        *self.checks.lock() += 1;
        if !holds {
            self.violations.lock().push(format!("{invariant}: {}", what()));
        }
    }

    fn records(&self) -> Vec<ClientRecord> {
        self.disk.lock().clients().now_or_never().expect("memory answers at once").expect("memory answers")
    }

    fn pause_of_all(&self) -> Option<Pause> {
        let document = self.disk.lock().document(PAUSE_ALL).now_or_never().expect("memory answers at once");
        document.expect("memory answers").and_then(|value| serde_json::from_value(value).ok())
    }

    /// A write arrives at a provider.
    pub fn call(&self, provider: &str, method: &str, path: &str, body: &[u8]) {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let records = self.records();
        self.look_at_names(&records);
        match provider {
            "ploi" => self.ploi(&records, method, path, &body),
            "cloudflare" => self.cloudflare(&records, method, path, &body),
            _ => {}
        }
    }

    /// Which domains lead somewhere, and who goes without its file having been away for the whole window.
    fn look_at_names(&self, records: &[ClientRecord]) {
        for record in records {
            if let Some(domain) = record.owned.first(ResourceKind::Site).map(|site| &site.name)
                && !self.dns.lookup(domain).is_empty()
            {
                self.pointed.lock().insert(domain.clone(), Instant::now());
            }
            let Some(removal) = &record.owned.removal else { continue };
            // Told once: whoever puts the file back and away again unseen does not change when the removal began.
            if !self.begun.lock().insert((record.owned.mark.uid.clone(), removal.offline_since)) {
                continue;
            }
            let offline_for = self.world.now().duration_since(removal.offline_since);
            let offline_for = Duration::try_from(offline_for).unwrap_or_default();
            let accepted = record.accepted.as_ref();
            let away = accepted.and_then(|accepted| self.specs.gone_for(&accepted.file));
            self.hold("S7", away.is_none_or(|away| away >= offline_for + self.window - IN_THE_AIR), || {
                format!("{} goes and its file was away for {away:?} alone", record.name)
            });
        }
    }

    /// What was sent a moment ago and happened must not be sent again before the settle time is over.
    fn sent_once(&self, what: &str) {
        let before = self.sent.lock().insert(what.to_owned(), Instant::now());
        let settled = before.is_none_or(|at| at.elapsed() >= self.settle);
        self.hold("S1", settled, || format!("{what} is sent twice within the settle time"));
    }

    fn ploi(&self, records: &[ClientRecord], method: &str, path: &str, body: &Value) {
        let parts: Vec<&str> = path.trim_start_matches("/api/").split('/').collect();
        match (method, parts.as_slice()) {
            ("POST", ["servers", _, "sites"]) => {
                let domain = body["root_domain"].as_str().unwrap_or_default();
                let intended = |r: &ClientRecord| r.owned.intent(ResourceKind::Site, domain).is_some();
                self.hold("S17", records.iter().any(intended), || format!("site {domain} is made without an intent"));
                self.sent_once(&format!("site {domain}"));
            }
            ("POST", ["servers", _, "scripts", "run"]) => {}
            (_, ["servers", _, "sites", id, rest @ ..]) => self.site(records, method, id, rest),
            _ => self.hold("S2", false, || format!("{method} {path} is nothing we do")),
        }
    }

    fn site(&self, records: &[ClientRecord], method: &str, id: &str, rest: &[&str]) {
        let call = || format!("{method} site {id} {rest:?}");
        let is_foreign = self.foreign.lock().iter().any(|foreign| foreign.to_string() == id);
        self.hold("S2", !is_foreign, || format!("{} touches a stranger's site", call()));
        let holder = records
            .iter()
            .find(|record| record.owned.resources.iter().any(|r| r.kind == ResourceKind::Site && r.id.as_str() == id));
        self.hold("S2", holder.is_some(), || format!("{} touches a site that nobody remembers", call()));
        let Some(record) = holder else { return };
        let paused = record.pause.clone().or_else(|| self.pause_of_all()).map(|pause| later(pause.since, IN_THE_AIR));
        self.hold("S4", paused.is_none_or(|since| since > self.world.now()), || {
            format!("{} while {} is paused", call(), record.name)
        });
        match (method, rest) {
            ("DELETE", []) => self.removal(record),
            ("POST", ["suspend"]) => self.suspension(record),
            ("POST", ["deploy"]) => {
                let number = record.owned.releases.in_flight.as_ref().map(|release| release.number);
                self.sent_once(&format!("release {number:?} of {}", record.owned.mark.uid));
                self.hold("S17", record.owned.releases.in_flight.is_some(), || format!("{} unrecorded", call()));
                let goes = record.owned.removal.as_ref().map(|removal| later(removal.offline_since, IN_THE_AIR));
                self.hold("S7", goes.is_none_or(|since| since > self.world.now()), || {
                    format!("{} of a client that goes", call())
                });
            }
            ("POST", ["certificates"]) => {
                self.hold("S17", record.owned.order.is_some(), || format!("{} unrecorded", call()));
                let domain = record.owned.first(ResourceKind::Site).map(|s| s.name.clone()).unwrap_or_default();
                let points = !self.dns.lookup(&domain).is_empty();
                self.hold("S14", points, || format!("{}: {domain} has no address yet", call()));
            }
            _ => {}
        }
    }

    fn removal(&self, record: &ClientRecord) {
        let name = &record.name;
        let Some(removal) = &record.owned.removal else {
            return self.hold("S7", false, || format!("the site of {name} goes while its spec stands"));
        };
        let due = later(removal.offline_since, self.site_grace);
        self.hold("S14", due <= self.world.now(), || format!("the site of {name} goes before its grace is over"));
        let domain = record.owned.first(ResourceKind::Site).map(|s| s.name.clone()).unwrap_or_default();
        let points = !self.dns.lookup(&domain).is_empty();
        self.hold("S14", !points, || format!("the site of {name} goes while {domain} leads there"));
    }

    fn suspension(&self, record: &ClientRecord) {
        let domain = record.owned.first(ResourceKind::Site).map(|site| site.name.clone()).unwrap_or_default();
        let pointed = self.pointed.lock().get(&domain).map(Instant::elapsed);
        self.hold("S14", pointed.is_none_or(|since| since + IN_THE_AIR * 2 >= self.drain), || {
            format!("the site of {} is suspended {pointed:?} after its name was taken away", record.name)
        });
    }

    fn cloudflare(&self, records: &[ClientRecord], method: &str, path: &str, body: &Value) {
        let posts = match method {
            "POST" if path.ends_with("/batch") => body["posts"].as_array().cloned().unwrap_or_default(),
            "POST" => vec![body.clone()],
            _ => Vec::new(),
        };
        for post in posts {
            let name = post["name"].as_str().unwrap_or_default().to_owned();
            let kind = post["type"].as_str().unwrap_or_default().to_owned();
            let same = |there: &Value| ["name", "type", "content"].iter().all(|key| there[*key] == post[*key]);
            let is_there = self.cloudflare.0.records(&self.cloudflare.1).iter().any(same);
            self.hold("S1", !is_there, || format!("record {kind} {name} is made although it is there"));
            // An address has its name for a key, whichever its type.
            let of_this = |key: &str| key.contains(&name) && (kind.starts_with('A') || key.contains(&kind));
            let intended =
                |r: &ClientRecord| r.owned.intents.iter().any(|i| i.kind == ResourceKind::Record && of_this(&i.key));
            self.hold("S17", records.iter().any(intended), || {
                format!("record {kind} {name} is made without an intent")
            });
        }
    }

    /// A database goes.
    pub fn drop_database(&self, permit: &DropPermit) {
        let name = permit.database.name.as_str();
        let records = self.records();
        let holder = records.iter().find(|r| r.owned.mark == permit.database.mark);
        self.hold("S3", holder.is_some(), || format!("database {name} goes and nobody remembers whose it is"));
        let Some(removal) = holder.and_then(|record| record.owned.removal.as_ref()) else {
            return self.hold("S3", false, || format!("database {name} goes while its client lives"));
        };
        let due = later(removal.offline_since, self.database_grace);
        self.hold("S3", due <= self.world.now(), || format!("database {name} goes before its grace is over"));
        let saved = removal.backup.as_ref().is_some_and(|backup| backup.oid == permit.oid);
        self.hold("S3", saved, || format!("database {name} goes without a backup of it"));
        let domain = holder.and_then(|r| r.owned.first(ResourceKind::Site)).map(|site| site.name.clone());
        let gone = domain.is_none_or(|domain| self.ploi.site_id(SERVER_ID, &domain).is_none());
        self.hold("S3", gone, || format!("database {name} goes before its site"));
    }

    /// What holds of the whole world at any instant.
    pub fn world(&self) {
        let records = self.records();
        let mut ports: Vec<_> = records.iter().filter_map(|r| r.owned.allocation.port.clone()).collect();
        let given = ports.len();
        ports.sort();
        ports.dedup();
        self.hold("S5", ports.len() == given, || "two clients have one port".to_owned());
        let server = self.databases.lock();
        let mut marks: Vec<_> = server.databases.values().filter_map(|row| row.mark()).map(|m| m.uid).collect();
        let made = marks.len();
        marks.sort();
        marks.dedup();
        self.hold("S1", marks.len() == made, || "two databases carry one mark".to_owned());
        drop(server);
        for record in &records {
            let told = !record.status.message.is_empty() || record.status.conditions.is_empty();
            self.hold("S24", told, || format!("{} says nothing", record.name));
        }
    }
}
