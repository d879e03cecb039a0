//! What `plan` costs over a converged fleet, against plain reading of the same files.
//!
//! One client is converged over the simulators; its record and its lines in every listing are copied N times under other
//! names. Measured is what `sitewright plan` does from there: the state is opened and copied, the files are read, parsed
//! and checked against each other, wishes made, listings looked through, plans decided and put into the document. Not
//! measured are the process's start and the providers' answers: the listings are prepared in memory.
//! `cargo bench --bench plan_idle -- 1000 10000` names the sizes.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use sitewright::api::plan::PlanDocument;
use sitewright::app;
use sitewright::app::demo::Demo;
use sitewright::config::{Settings, StateLocation};
use sitewright::controller::clock::Clock;
use sitewright::controller::known_secrets::KnownSecrets;
use sitewright::controller::providers::Providers;
use sitewright::controller::running::Controller;
use sitewright::plan::database::remembered;
use sitewright::provider::ploi::sim::PloiDelays;
use sitewright::provider::postgres::memory::MemoryDatabases;
use sitewright::provider::{Answer, Databases, Dns, NewSite, RecordOutcome, SiteRef, Sites};
use sitewright::resource::kind::ResourceKind;
use sitewright::resource::mark::Mark;
use sitewright::resource::name::{ClientName, HostName, Instance, RemoteId, ServerId};
use sitewright::resource::owned::EnvironmentSeen;
use sitewright::resource::reading::Live;
use sitewright::resource::record::{Record, RecordChange, Zone};
use sitewright::resource::secret::Secret;
use sitewright::resource::site::{Server, Site};
use sitewright::spec::parse::parse;
use sitewright::spec::validate::Rules;
use sitewright::store::seal::StateKey;
use sitewright::store::{ClientRecord, Store};

const TEMPLATE: &str = "c00000";
const SIZES: [usize; 2] = [1_000, 10_000];
/// Measured this often; the median is printed.
const ROUNDS: usize = 3;

/// A spec of 26 lines, as clients have them.
fn spec(name: &str) -> String {
    format!(
        "apiVersion: sitewright/v1
kind: ClientSpec
metadata:
  name: {name}
  labels: {{ tier: gold, sector: retail }}
spec:
  displayName: Client {name}
  domain: {name}.agency.example
  plan: professional
  template: b2b
  contact: {{ name: Noor Visser, email: noor@{name}.example }}
  features: [ecommerce, blog, forms, auth]
  disabledCollections: [cases]
  settings: {{ shopModel: b2b, primaryColor: \"#00897B\" }}
  source:
    repository: agency/cms
    branch: main
  dns:
    ttl: auto
  environment:
    PRIMARY_COLOR: \"#00897B\"
    SMTP_HOST: smtp.mail.example
  health:
    path: /api/health
    interval: 24h
  notify: {{ email: [ops@agency.example] }}
"
    )
}

/// Listings as the providers would give them.
struct Prepared {
    server: Server,
    sites: Vec<Live<Site>>,
    zones: Vec<Zone>,
    records: Vec<Live<Record>>,
}

const NO_WRITE: &str = "a plan over a converged fleet writes nothing";

#[async_trait]
impl Sites for Prepared {
    async fn server(&self, _: &ServerId) -> Answer<Server> {
        Ok(self.server.clone())
    }
    async fn sites(&self, _: &ServerId) -> Answer<Vec<Live<Site>>> {
        Ok(self.sites.clone())
    }
    async fn create_site(&self, _: &NewSite) -> Answer<RemoteId> {
        unreachable!("{NO_WRITE}")
    }
    async fn suspend(&self, _: &SiteRef) -> Answer<()> {
        unreachable!("{NO_WRITE}")
    }
    async fn resume(&self, _: &SiteRef) -> Answer<()> {
        unreachable!("{NO_WRITE}")
    }
    async fn delete_site(&self, _: &SiteRef) -> Answer<()> {
        unreachable!("{NO_WRITE}")
    }
}

#[async_trait]
impl Dns for Prepared {
    fn name(&self) -> &'static str {
        "cloudflare"
    }
    async fn zones(&self) -> Answer<Vec<Zone>> {
        Ok(self.zones.clone())
    }
    async fn records(&self, _: &Zone) -> Answer<Vec<Live<Record>>> {
        Ok(self.records.clone())
    }
    async fn apply(&self, _: &Zone, _: &Mark, _: &[RecordChange]) -> Vec<RecordOutcome> {
        unreachable!("{NO_WRITE}")
    }
}

/// One converged client and the world around it.
struct Template {
    record: ClientRecord,
    secrets: BTreeMap<String, Secret>,
    site: Live<Site>,
    entry: Live<Record>,
    prepared: Prepared,
    server_document: serde_json::Value,
    providers: Providers,
    instance: Instance,
    demo: Demo,
}

async fn template(directory: &Path) -> Template {
    let specs = directory.join("specs");
    std::fs::create_dir_all(&specs).unwrap();
    std::fs::write(specs.join("one.yaml"), spec(TEMPLATE)).unwrap();
    let state = StateLocation::Sqlite(directory.join("state.db"));
    let demo = app::demo::open(&Settings { specs, state, listen: None, ..Settings::default() }).await.unwrap();
    demo.simulators.servers.ploi.set_delays(PloiDelays::quick());
    assert!(demo.app.controller.clone().run_once(Duration::from_secs(120)).await.unwrap(), "the template converges");
    let record = demo.app.store.client(&ClientName::trusted(TEMPLATE)).await.unwrap().unwrap();
    let providers = demo.app.providers.clone();
    let server_id = record.owned.allocation.port.clone().unwrap().0;
    let sites = &providers.hosts["ploi"].sites;
    let zones = providers.dns["cloudflare"].zones().await.unwrap();
    let zone = zones.iter().find(|zone| zone.name == "agency.example").unwrap().clone();
    Template {
        secrets: record.secrets.clone(),
        site: sites.sites(&server_id).await.unwrap().pop().unwrap(),
        entry: providers.dns["cloudflare"].records(&zone).await.unwrap().pop().unwrap(),
        prepared: Prepared {
            server: sites.server(&server_id).await.unwrap(),
            sites: Vec::new(),
            zones,
            records: Vec::new(),
        },
        server_document: demo.app.store.document(&format!("server/{server_id}")).await.unwrap().unwrap(),
        instance: record.owned.mark.instance.clone(),
        record,
        providers,
        demo,
    }
}

impl Template {
    /// The record of another client: the same one under its own name, uid, port and ids.
    fn copy(&self, number: usize) -> ClientRecord {
        let name = format!("c{number:05}");
        let old = self.record.owned.mark.uid.to_string();
        let uid = format!("01J0000000000000000000{number:04X}");
        let text = serde_json::to_string(&self.record).unwrap().replace(TEMPLATE, &name).replace(&old, &uid);
        let mut record: ClientRecord = serde_json::from_str(&text).unwrap();
        record.secrets = self.secrets.clone();
        let port = 4_001 + number as u16;
        record.owned.allocation.port = record.owned.allocation.port.map(|(server, _)| (server, port));
        // What was written last was the original's; the copy's digests follow below, without a look at the simulator.
        record.owned.attempts.clear();
        for resource in &mut record.owned.resources {
            match resource.kind {
                ResourceKind::Site => resource.id = RemoteId::trusted(number.to_string()),
                ResourceKind::Record => resource.id = RemoteId::trusted(format!("r{number}")),
                _ => {}
            }
        }
        if let Some(vhost) = record.owned.details.vhost.as_mut() {
            vhost.value.ports = [port].into();
        }
        record.accepted.as_mut().unwrap().file = format!("{name}.yaml");
        record
    }

    fn list(&mut self, number: usize, record: &ClientRecord) {
        let name = format!("c{number:05}");
        let mut site = self.site.clone();
        site.id = RemoteId::trusted(number.to_string());
        site.value.domain = HostName::parse(&format!("{name}.agency.example")).unwrap();
        self.prepared.sites.push(site);
        let mut entry = self.entry.clone();
        entry.id = RemoteId::trusted(format!("r{number}"));
        entry.value.name = format!("{name}.agency.example");
        entry.mark = Some(record.owned.mark.clone());
        self.prepared.records.push(entry);
    }
}

/// The whole installation of N clients on the disk, and what the measured part needs.
struct Fleet {
    settings: Settings,
    providers: Providers,
    key: StateKey,
    instance: Instance,
}

impl Fleet {
    fn controller(&self, store: Arc<dyn Store>) -> Arc<Controller> {
        let options = app::options::options(&self.settings, self.instance.clone(), KnownSecrets::default()).unwrap();
        let digests = self.key.digest_key().unwrap();
        Arc::new(Controller::new(options, self.providers.clone(), store, digests, Clock::system()))
    }
}

async fn fleet(template: &mut Template, directory: &Path, clients: usize) -> Fleet {
    let specs = directory.join("specs");
    std::fs::create_dir_all(&specs).unwrap();
    let settings = Settings {
        specs: specs.clone(),
        state: StateLocation::Sqlite(directory.join("state.db")),
        state_key: directory.join("key"),
        debounce_quiet: Duration::ZERO,
        ..template.demo.app.settings.clone()
    };
    let key = StateKey::load_or_create(&settings.state_key).unwrap();
    template.prepared.sites.clear();
    template.prepared.records.clear();
    let databases = MemoryDatabases::default();
    let memory: Arc<dyn Store> = Arc::new(sitewright::store::memory::MemoryStore::default());
    memory.instance(Some(&template.instance)).await.unwrap();
    memory.put_document("server/1", Some(&template.server_document)).await.unwrap();
    for number in 1..=clients {
        let record = template.copy(number);
        std::fs::write(specs.join(format!("c{number:05}.yaml")), spec(record.name.as_str())).unwrap();
        let database = remembered(&record.owned, record.name.as_str()).unwrap();
        databases.ensure_database(&database, true).await.unwrap();
        databases.ensure_login(&database, &Secret::new("unused"), true).await.unwrap();
        template.list(number, &record);
        memory.save(&record).await.unwrap();
    }
    let prepared = Arc::new(Prepared {
        server: template.prepared.server.clone(),
        sites: template.prepared.sites.clone(),
        zones: template.prepared.zones.clone(),
        records: template.prepared.records.clone(),
    });
    let mut providers = template.providers.clone();
    providers.hosts.get_mut("ploi").unwrap().sites = prepared.clone();
    providers.dns.insert("cloudflare".to_owned(), prepared);
    providers.databases.insert("postgres".to_owned(), Arc::new(databases));
    let fleet = Fleet { settings, providers, key, instance: template.instance.clone() };
    settle_digests(&fleet, memory).await;
    fleet
}

/// Environment and script hold each client's own name: their digests are what a first look makes of them.
async fn settle_digests(fleet: &Fleet, memory: Arc<dyn Store>) {
    let disk = app::open_store(&fleet.settings, app::Access::Own).await.unwrap();
    disk.instance(Some(&fleet.instance)).await.unwrap();
    let document = memory.document("server/1").await.unwrap();
    disk.put_document("server/1", document.as_ref()).await.unwrap();
    for (name, preview) in fleet.controller(memory.clone()).preview(&[]).await.unwrap() {
        let mut record = memory.client(&name).await.unwrap().unwrap();
        let site = preview.desired.site.value().unwrap();
        let environment = site.environment.value().unwrap();
        let details = &mut record.owned.details;
        details.environment.as_mut().unwrap().value = EnvironmentSeen {
            digest: Some(environment.digest.clone()),
            digests: environment.digests.clone(),
            mark: Some(record.owned.mark.clone()),
        };
        details.script.as_mut().unwrap().value = Some(site.script_digest.clone());
        let live = record.owned.releases.live.as_mut().unwrap();
        live.fingerprint.environment = environment.digest.clone();
        live.fingerprint.script = site.script_digest.clone();
        disk.save(&record).await.unwrap();
    }
}

/// Time and CPU of the whole process, from the kernel's own count (proc(5): fields 14 and 15 of stat, in ticks of 10 ms).
#[derive(Clone, Copy, Default)]
struct Cost {
    wall: Duration,
    cpu: Duration,
}

fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

async fn measured<T>(work: impl Future<Output = T>) -> (Cost, T) {
    let (began, before) = (Instant::now(), cpu());
    let value = work.await;
    (Cost { wall: began.elapsed(), cpu: cpu() - before }, value)
}

fn read_plainly(specs: &Path) -> usize {
    let entries = std::fs::read_dir(specs).unwrap();
    entries.map(|entry| std::fs::read(entry.unwrap().path()).unwrap().len()).sum()
}

/// How many files are good.
fn read_and_parse(specs: &Path, rules: &Rules) -> usize {
    let texts = std::fs::read_dir(specs).unwrap().map(|entry| std::fs::read(entry.unwrap().path()).unwrap());
    texts.filter(|text| parse(text, rules).is_ok()).count()
}

fn median(mut costs: Vec<Cost>) -> Cost {
    costs.sort_by_key(|cost| cost.cpu);
    costs[costs.len() / 2]
}

fn print(what: &str, cost: Cost, clients: usize) {
    println!(
        "  {what:<34} {:>9.1} ms wall {:>8.0} ms CPU {:>8.1} µs CPU a client",
        cost.wall.as_secs_f64() * 1e3,
        cost.cpu.as_secs_f64() * 1e3,
        cost.cpu.as_secs_f64() * 1e6 / clients as f64
    );
}

fn resident_megabytes() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

async fn round(template: &mut Template, clients: usize) {
    let directory = tempfile::tempdir().unwrap();
    let fleet = fleet(template, directory.path(), clients).await;
    let faults = template.demo.simulators.servers.world.faults.clone();
    faults.clear_calls();
    let mut costs: [Vec<Cost>; 5] = Default::default();
    for _ in 0..ROUNDS {
        let specs = fleet.settings.specs.clone();
        // Ten times over, since a single reading of a thousand files is shorter than a tick.
        let (cost, bytes) = measured(async { (0..10).map(|_| read_plainly(&specs)).sum::<usize>() / 10 }).await;
        assert!(bytes > clients * 500);
        costs[0].push(Cost { wall: cost.wall / 10, cpu: cost.cpu / 10 });
        let (cost, store) = measured(async {
            let disk = app::open_store(&fleet.settings, app::Access::Look).await.unwrap();
            app::scratch_copy(&*disk, &fleet.settings).await.unwrap()
        })
        .await;
        costs[1].push(cost);
        let controller = fleet.controller(store);
        let (cost, previews) = measured(controller.preview(&[])).await;
        costs[2].push(cost);
        let previews = previews.unwrap();
        assert_eq!(previews.len(), clients);
        let busy = previews.iter().find(|(_, preview)| !preview.plan.is_converged());
        assert!(busy.is_none(), "{:#?}", busy.map(|(name, preview)| (name, &preview.plan)));
        let (cost, document) = measured(async { PlanDocument::of(&previews, &fleet.settings) }).await;
        assert!(!document.has_work());
        costs[3].push(cost);
        let (cost, good) =
            measured(async { read_and_parse(&specs, &app::options::rules(&fleet.settings).unwrap().0) }).await;
        assert_eq!(good, clients);
        costs[4].push(cost);
    }
    let calls: Vec<String> = faults.calls().iter().map(|call| format!("{} {}", call.method, call.path)).collect();
    let [reading, state, preview, document, parsing] = costs.map(median);
    println!("{clients} clients, nothing to do (medians of {ROUNDS}):");
    print("plain reading of the files", reading, clients);
    print("reading, parsing, validating alone", parsing, clients);
    print("the state: open and copy", state, clients);
    print("files to plans", preview, clients);
    print("the plan document", document, clients);
    let whole = state.cpu + preview.cpu + document.cpu;
    let over = |floor: Cost| whole.as_secs_f64() / floor.cpu.as_secs_f64();
    println!(
        "  CPU of the last three over plain reading: {:.0}; over reading and parsing: {:.1}",
        over(reading),
        over(parsing)
    );
    println!("  resident at the end: {:.0} MB; calls to simulators: {} {calls:?}", resident_megabytes(), calls.len());
}

#[tokio::main]
async fn main() {
    let named: Vec<usize> = std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    let sizes = if named.is_empty() { SIZES.to_vec() } else { named };
    let directory = tempfile::tempdir().unwrap();
    let mut template = template(directory.path()).await;
    for clients in sizes {
        round(&mut template, clients).await;
    }
}
