//! The world of one life: simulators, databases, a disk, a directory of specs, and the process that lives in it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use futures::FutureExt as _;
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use sitewright::app::options::options;
use sitewright::config::Settings;
use sitewright::controller::clock::Clock;
use sitewright::controller::file_events::Events;
use sitewright::controller::known_secrets::KnownSecrets;
use sitewright::controller::lifetime;
use sitewright::controller::options::Options;
use sitewright::controller::providers::Providers;
use sitewright::controller::running::Controller;
use sitewright::controller::watcher::{DirectoryProblem, FileReading, Scan, SpecSource, Stamp};
use sitewright::provider::cloudflare::Cloudflare;
use sitewright::provider::cloudflare::sim::{CloudflareSim, Plan};
use sitewright::provider::github::GitHub;
use sitewright::provider::http::HttpClient;
use sitewright::provider::http::budget::Budget;
use sitewright::provider::ploi::sim::{LIMIT_UNLIMITED, PloiDelays, PloiSim, SERVER_ID};
use sitewright::provider::ploi::{self, Redact};
use sitewright::provider::world::dns::DnsTable;
use sitewright::provider::world::faults::{Faults, guard};
use sitewright::provider::world::{Resolved, World, git};
use sitewright::resource::name::{ClientName, Instance};
use sitewright::resource::secret::Secret;
use sitewright::store::memory::MemoryStore;
use sitewright::store::seal::StateKey;
use sitewright::store::{ClientRecord, Store as _};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::databases::{Server, SimDatabases};
use crate::durable::Durable;
use crate::fate::{Fate, Gate};
use crate::invariants::{Monitor, Seen};
use crate::line::{Replica, SimLine};
use crate::planted::{Bug, Planted};
use crate::visitors::Visitors;

pub const ZONE: &str = "agency.example";
/// Each life begins in the same instant.
const BEGIN: &str = "2026-01-01T00:00:00.5Z";
const TOKEN: &str = "simulated";
pub const SETTLE: Duration = Duration::from_secs(90);
pub const RESYNC: Duration = Duration::from_secs(900);

/// A text and the number of its version.
type Version = (Arc<[u8]>, u32);

/// Specs without a disk; a version of each text, and a notice at every change.
#[derive(Default)]
pub struct Specs {
    files: Mutex<BTreeMap<String, Version>>,
    versions: Mutex<u32>,
    gone: Mutex<BTreeMap<String, Instant>>,
    changed: Arc<Notify>,
    /// Why the directory cannot be read now.
    pub problem: Mutex<Option<String>>,
}

impl Specs {
    pub fn write(&self, file: &str, text: &str) {
        let mut versions = self.versions.lock();
        *versions += 1;
        self.files.lock().insert(file.to_owned(), (text.as_bytes().into(), *versions));
        self.changed.notify_one();
    }

    pub fn remove(&self, file: &str) {
        self.files.lock().remove(file);
        self.gone.lock().entry(file.to_owned()).or_insert_with(Instant::now);
        self.changed.notify_one();
    }

    /// For how long no scan has found a file that was taken away.
    pub fn gone_for(&self, file: &str) -> Option<Duration> {
        self.gone.lock().get(file).map(Instant::elapsed)
    }
}

#[async_trait]
impl SpecSource for Specs {
    async fn scan(&self, _before: Option<Scan>) -> Result<Scan, DirectoryProblem> {
        if let Some(problem) = self.problem.lock().clone() {
            return Err(DirectoryProblem { path: "specs".into(), problem });
        }
        let read =
            |(bytes, version): &Version| FileReading::Read { bytes: bytes.clone(), stamp: Stamp::of_version(*version) };
        self.gone.lock().retain(|file, _| !self.files.lock().contains_key(file));
        let files = self.files.lock().iter().map(|(file, text)| (file.clone(), read(text))).collect();
        Ok(Scan { root: (1, 1), files, ..Scan::default() })
    }

    fn events(&self) -> Events {
        Events::noticed(self.changed.clone())
    }
}

/// A world with at most one process in it.
pub struct Sim {
    pub world: Arc<World>,
    pub ploi: Arc<PloiSim>,
    pub cloudflare: Arc<CloudflareSim>,
    pub dns: Arc<DnsTable>,
    pub databases: Arc<Mutex<Server>>,
    pub disk: Arc<MemoryStore>,
    pub fate: Arc<Fate>,
    pub replica: Arc<Replica>,
    pub specs: Arc<Specs>,
    pub monitor: Arc<Monitor>,
    pub zone: String,
    settings: Settings,
    instance: Instance,
    routers: [(&'static str, &'static str, Router); 3],
    planted: Option<&'static Planted>,
    process: Option<Arc<Gate>>,
    /// How far the machine's clock is ahead of the world's; a process reads it when it begins.
    pub wrong_by: SignedDuration,
    began: Instant,
}

fn settings() -> Settings {
    let second = Duration::from_secs;
    let mut settings = Settings { base_domain: Some(ZONE.into()), ..Settings::default() };
    settings.resync = RESYNC;
    settings.settle = SETTLE;
    settings.debounce_quiet = second(1);
    settings.absence_window = second(60);
    settings.deletion.grace = second(600);
    settings.deletion.database_grace = second(1200);
    settings.deletion.max_share = 1.0;
    settings.deletion.max_per_day = 100;
    settings.dns.drain = Some(second(60));
    settings.deploy.poll = second(20);
    settings.deploy.retry = second(60);
    settings.workers = 4;
    settings.providers.ploi_server_id = Some(SERVER_ID.to_string());
    settings.providers.ploi_git_repo = Some("agency/cms".into());
    settings.providers.ploi_git_branch = Some("main".into());
    settings
}

fn delays() -> PloiDelays {
    let second = Duration::from_secs;
    PloiDelays {
        building: second(8),
        repository: second(6),
        deploying_shows: second(2),
        deploy: second(30),
        certificate: second(15),
        script: second(4),
        site_shows: Duration::ZERO,
        delete: second(5),
        env_settles: Duration::ZERO,
    }
}

impl Sim {
    pub async fn new(fate: Arc<Fate>, planted: Option<&'static Planted>) -> Sim {
        let faults = Arc::new(Faults::default());
        let world = World::beginning(BEGIN.parse().unwrap(), faults.clone()).unwrap();
        let dns = Arc::new(DnsTable::default());
        dns.set_delay(Duration::from_secs(5));
        let table = dns.clone();
        world
            .set_resolve(Arc::new(move |name| Resolved { addresses: table.lookup(name), origins: table.origin(name) }));
        world.state().git.token = Some(TOKEN.into());
        world.state().git.push("agency/cms", "main");
        let ploi = PloiSim::new(world.clone(), TOKEN, LIMIT_UNLIMITED, delays());
        let cloudflare = CloudflareSim::new(TOKEN, dns.clone());
        let zone = cloudflare.add_zone(ZONE, Plan::Enterprise);
        let routers = [
            ("ploi", "http://127.0.0.1/api", ploi::sim::router(ploi.clone())),
            ("cloudflare", "http://127.0.0.1/client/v4", cloudflare.router(faults.clone())),
            ("github", "http://127.0.0.1", guard(git::router(world.clone()), "git", faults.clone())),
        ];
        let disk = Arc::new(MemoryStore::default());
        let instance = disk.instance(Some(&Instance::parse("simulated").unwrap())).await.unwrap();
        let databases = Arc::<Mutex<Server>>::default();
        let specs = Arc::<Specs>::default();
        let settings_kept = settings();
        let seen =
            Seen { world: &world, ploi: &ploi, cloudflare: (&cloudflare, &zone), dns: &dns, databases: &databases };
        let monitor = Arc::new(Monitor::new(seen, &disk, &specs, &settings_kept));
        let mut settings = settings();
        if let Some(Planted { bug: Bug::Limit(change), .. }) = planted {
            change(&mut settings);
        }
        Sim {
            world,
            ploi,
            cloudflare,
            dns,
            databases,
            disk,
            fate,
            replica: Arc::default(),
            specs,
            monitor,
            zone,
            settings,
            planted,
            instance,
            routers,
            process: None,
            wrong_by: SignedDuration::ZERO,
            began: Instant::now(),
        }
    }

    /// Another grace of sites and databases for the next process.
    pub fn set_grace(&mut self, grace: Duration) {
        self.settings.deletion.grace = grace;
        self.settings.deletion.database_grace = grace;
    }

    /// Puts another disk into the stopped machine.
    pub async fn replace_disk(&mut self, disk: MemoryStore) {
        assert!(self.process.is_none(), "the machine runs");
        disk.instance(Some(&self.instance)).await.unwrap();
        self.disk = Arc::new(disk);
        self.monitor.watch(&self.disk);
    }

    /// Time since the world began.
    pub fn age(&self) -> Duration {
        self.began.elapsed()
    }

    pub fn now(&self) -> Timestamp {
        self.world.now()
    }

    /// Begins a process; an earlier one is ended.
    pub fn start(&mut self) {
        self.stop();
        let gate = Gate::new(self.fate.clone());
        let controller = Controller::new(
            self.options(),
            self.providers(&gate),
            Arc::new(Durable { disk: self.disk.clone(), gate: gate.clone(), planted: self.planted }),
            StateKey::from_bytes([7; 32]).digest_key().unwrap(),
            self.clock(),
        );
        let (keep, stop) = watch::channel(false);
        self.process = Some(gate.clone());
        let fate = self.fate.clone();
        tokio::spawn(async move {
            let ended = Arc::new(controller).run(stop).await;
            drop(keep);
            // A start that the disk refused ends the process; whoever supervises it starts it again.
            if ended.is_err() {
                gate.end();
                fate.crashed.notify_one();
            }
        });
    }

    /// Ends the process where it stands.
    pub fn stop(&mut self) {
        if let Some(gate) = self.process.take() {
            gate.end();
        }
    }

    /// The machine's clock, with what it is wrong by, as a process takes it up.
    fn clock(&self) -> Clock {
        let machine = self.now().checked_add(self.wrong_by).unwrap();
        lifetime::clock(&*self.disk, machine).now_or_never().expect("memory answers at once").unwrap()
    }

    fn options(&self) -> Options {
        let mut options = options(&self.settings, self.instance.clone(), KnownSecrets::default()).unwrap();
        options.specs = self.specs.clone();
        options.requests_every = Duration::from_secs(60);
        // The share counts those that are left (decisions 28): all may go on one day here, and a bystander stays.
        options.absence.max_share_percent = 1_000;
        options
    }

    fn client(&self, provider: &'static str, gate: &Arc<Gate>) -> HttpClient {
        let (_, base, router) = self.routers.iter().find(|(name, ..)| *name == provider).unwrap();
        let rate = &self.settings.rates[provider];
        let budget = Arc::new(Budget::new(rate.calls, rate.per));
        let monitor = self.monitor.clone();
        let line = SimLine {
            provider,
            gate: gate.clone(),
            router: router.clone(),
            replica: self.replica.clone(),
            planted: self.planted,
            monitor: Arc::new(move |method, path, body| monitor.call(provider, method, path, body)),
        };
        HttpClient::new(provider, base.parse().unwrap(), Secret::new(TOKEN), budget).unwrap().over(Arc::new(line))
    }

    fn providers(&self, gate: &Arc<Gate>) -> Providers {
        let (monitor, world) = (self.monitor.clone(), self.world.clone());
        let databases = SimDatabases {
            server: self.databases.clone(),
            gate: gate.clone(),
            planted: self.planted,
            monitor: Arc::new(move |permit| {
                monitor.drop_database(permit);
                // The users of a site live in its database.
                let gone = format!("/{}", permit.database.name);
                world.state().administrators.retain(|address, _| !address.ends_with(&gone));
            }),
        };
        let visitors = Arc::new(Visitors { world: self.world.clone(), dns: self.dns.clone(), gate: gate.clone() });
        let mut budgets = BTreeMap::new();
        let mut client = |provider| {
            let client = self.client(provider, gate);
            budgets.insert(provider, client.budget.clone());
            client
        };
        let host = ploi::host(ploi::Ploi::new(client("ploi"), None, Redact::new(|_| Vec::new())));
        let dns = Arc::new(Cloudflare::new(client("cloudflare"), Vec::new()));
        let git = Arc::new(GitHub::new(client("github")));
        Providers {
            hosts: [("ploi".to_owned(), host)].into(),
            dns: [("cloudflare".to_owned(), dns as _)].into(),
            databases: [("postgres".to_owned(), Arc::new(databases) as _)].into(),
            cms: visitors.clone(),
            outside: visitors,
            git: Some(git),
            budgets,
            mail: None,
            hook: None,
            tally: Arc::default(),
        }
    }

    pub async fn record(&self, client: &str) -> Option<ClientRecord> {
        self.disk.client(&ClientName::trusted(client)).await.unwrap()
    }

    /// Lets time pass until a condition holds, at most for `patience`; a process that died is started again.
    pub async fn until(&mut self, patience: Duration, holds: impl AsyncFn(&Sim) -> bool) -> bool {
        let deadline = Instant::now() + patience;
        loop {
            if holds(self).await {
                return true;
            }
            let fate = self.fate.clone();
            tokio::select! {
                biased;
                () = fate.crashed.notified() => {
                    self.stop();
                    self.start();
                }
                () = fate.saved.notified() => {}
                () = tokio::time::sleep_until(deadline) => return holds(self).await,
            }
        }
    }

    /// Lets time pass.
    pub async fn pass(&mut self, time: Duration) {
        self.until(time, async |_| false).await;
    }
}
