//! Composition root: settings become a state, providers and a controller; the one file that names every provider.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::config::{Follow, Rate, Settings, StateLocation};
use crate::controller::absence::AbsenceRules;
use crate::controller::clock::Clock;
use crate::controller::fleet::{FILES, PAUSE_ALL};
use crate::controller::known_secrets::KnownSecrets;
use crate::controller::options::Options;
use crate::controller::providers::Providers;
use crate::controller::running::{Controller, DIRECTORY};
use crate::controller::watcher::{FileReading, Scan};
use crate::plan::draft::Policy;
use crate::provider::cloudflare::Cloudflare;
use crate::provider::github::GitHub;
use crate::provider::http::HttpClient;
use crate::provider::http::budget::Budget;
use crate::provider::outside::Prober;
use crate::provider::outside::cms::SiteCms;
use crate::provider::outside::connection::{Connector, Route};
use crate::provider::ploi::sim::PloiDelays;
use crate::provider::ploi::{self, Redact};
use crate::provider::postgres::cluster::Cluster;
use crate::provider::postgres::memory::MemoryDatabases;
use crate::provider::postgres::{self, Postgres, PostgresSettings};
use crate::provider::world::serve::{self, Ports};
use crate::resource::deploy_script::Commands;
use crate::resource::name::{Instance, RepositorySlug, ServerId, ZoneId};
use crate::resource::secret::Secret;
use crate::spec::defaults::Defaults;
use crate::spec::features::Catalogue;
use crate::spec::parse::parse;
use crate::spec::validate::Rules;
use crate::store::Store;
use crate::store::memory::MemoryStore;
use crate::store::seal::StateKey;
use crate::store::sqlite::SqliteStore;

/// What a process means to do with the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Read. Makes nothing: where there is no state, an empty one in memory stands in.
    Look,
    /// Read, and put requests beside a running daemon. Makes the state where there is none.
    Ask,
    /// Be the one daemon: takes the writer's lock, or fails naming who holds it.
    Own,
}

/// An installation, put together.
pub struct App {
    /// What it was made from.
    pub settings: Settings,
    /// The state.
    pub store: Arc<dyn Store>,
    /// What is configured.
    pub providers: Providers,
    /// Budgets of the accounts, for status.
    pub budgets: Vec<(&'static str, Arc<Budget>)>,
    /// The database server, for its rights.
    pub postgres: Option<Arc<Postgres>>,
    /// The loop, not started.
    pub controller: Arc<Controller>,
}

/// Puts an installation together. With [`Access::Look`] the store is a copy in memory: what the controller notes while it
/// plans reaches no disk.
///
/// # Errors
/// The state cannot be opened, or a setting of a provider cannot be used.
pub async fn open(settings: &Settings, access: Access) -> anyhow::Result<App> {
    let disk = open_store(settings, access).await?;
    let store = if access == Access::Look { scratch_copy(&*disk, settings).await? } else { disk };
    assemble(settings, store, Clock::system()).await
}

async fn assemble(settings: &Settings, store: Arc<dyn Store>, clock: Clock) -> anyhow::Result<App> {
    let key = state_key(settings)?;
    let wanted = settings.instance.as_deref().map(Instance::parse).transpose().context("instance")?;
    let instance = store.instance(wanted.as_ref()).await?;
    let known_secrets = KnownSecrets::default();
    let accounts = accounts(settings, &known_secrets)?;
    let options = options(settings, instance, known_secrets)?;
    let controller = Controller::new(options, accounts.providers.clone(), store.clone(), key.digest_key()?, clock);
    Ok(App {
        settings: settings.clone(),
        store,
        providers: accounts.providers,
        budgets: accounts.budgets,
        postgres: accounts.postgres,
        controller: Arc::new(controller),
    })
}

/// The key on the disk; a look at a machine without one gets a passing key, since nothing is sealed there.
fn state_key(settings: &Settings) -> anyhow::Result<StateKey> {
    match StateKey::load(&settings.state_key)? {
        Some(key) => Ok(key),
        None => Ok(StateKey::from_bytes([0; 32])),
    }
}

/// Everything that has credentials.
struct Accounts {
    providers: Providers,
    budgets: Vec<(&'static str, Arc<Budget>)>,
    postgres: Option<Arc<Postgres>>,
}

fn accounts(settings: &Settings, known_secrets: &KnownSecrets) -> anyhow::Result<Accounts> {
    let given = &settings.providers;
    let connector = Arc::new(Connector::new(route(settings)?)?);
    let mut accounts = Accounts {
        providers: Providers {
            hosts: BTreeMap::new(),
            dns: BTreeMap::new(),
            databases: BTreeMap::new(),
            cms: Arc::new(SiteCms::new(connector.clone())),
            outside: Arc::new(Prober::new(connector)),
            git: None,
        },
        budgets: Vec::new(),
        postgres: None,
    };
    if let Some(token) = &given.ploi_api_token {
        let http = accounts.client(settings, ploi::NAME, &given.ploi_api_url, token)?;
        let secrets = known_secrets.clone();
        let redact = Redact::new(move |site| secrets.of(&site.domain));
        let client = ploi::Ploi::new(http, settings.ploi.source_provider.clone(), redact);
        accounts.providers.hosts.insert(ploi::NAME.to_owned(), ploi::host(client));
    }
    if let Some(token) = &given.cloudflare_api_token {
        let http = accounts.client(settings, "cloudflare", &given.cloudflare_api_url, token)?;
        let zones = given.cloudflare_zone_ids.iter().map(ZoneId::trusted).collect();
        accounts.providers.dns.insert("cloudflare".to_owned(), Arc::new(Cloudflare::new(http, zones)));
    }
    if let Some(url) = &given.platform_database_url {
        let postgres = Arc::new(Postgres::new(&PostgresSettings {
            url: url.clone(),
            site_host: settings.database.site_host.clone(),
            site_parameters: settings.database.site_parameters.clone(),
            ca: settings.database.ca.clone(),
        })?);
        accounts.postgres = Some(postgres.clone());
        accounts.providers.databases.insert(postgres::PROVIDER.to_owned(), postgres);
    }
    if let Some(token) = &given.github_token {
        let http = accounts.client(settings, "github", &given.github_api_url, token)?;
        accounts.providers.git = Some(Arc::new(GitHub::new(http)));
    }
    Ok(accounts)
}

impl Accounts {
    /// An HTTP client with the account's own budget.
    fn client(
        &mut self,
        settings: &Settings,
        name: &'static str,
        url: &str,
        token: &Secret,
    ) -> anyhow::Result<HttpClient> {
        let rate = settings.rates.get(name);
        let (calls, per) = rate.map_or((60, Duration::from_secs(60)), |rate| (rate.calls, rate.per));
        let budget = Arc::new(Budget::new(calls, per));
        self.budgets.push((name, budget.clone()));
        let base = url::Url::parse(url).with_context(|| format!("the address of {name}"))?;
        Ok(HttpClient::new(name, base, token.clone(), budget)?)
    }
}

fn route(settings: &Settings) -> anyhow::Result<Route> {
    let endpoint = |key: &str, text: &Option<String>| text.as_deref().map(|text| resolve(key, text)).transpose();
    let extra_roots_pem = match &settings.probe.ca {
        Some(path) => {
            let read = std::fs::read_to_string(path);
            Some(read.with_context(|| format!("probe.ca: {} cannot be read", path.display()))?)
        }
        None => None,
    };
    Ok(Route {
        dns_server: endpoint("dns.server", &settings.dns.server)?,
        connect_to: endpoint("probe.connectTo", &settings.probe.connect_to)?,
        connect_to_plain: endpoint("probe.connectToPlain", &settings.probe.connect_to_plain)?,
        extra_roots_pem,
    })
}

fn resolve(key: &str, text: &str) -> anyhow::Result<SocketAddr> {
    let mut found = text.to_socket_addrs().with_context(|| format!("{key}: `{text}` cannot be resolved"))?;
    found.next().with_context(|| format!("{key}: `{text}` has no address"))
}

/// What the loop is told, from the settings.
///
/// # Errors
/// As [`rules`].
pub fn options(settings: &Settings, instance: Instance, known_secrets: KnownSecrets) -> anyhow::Result<Options> {
    let (rules, defaults) = rules(settings)?;
    let ploi_rate =
        settings.rates.get("ploi").map_or(60.0, |rate| f64::from(rate.calls) / rate.per.as_secs_f64().max(1.0) * 60.0);
    let audits = ploi_rate / 60.0 * settings.resync.as_secs_f64() * AUDIT_SHARE;
    Ok(Options {
        specs: settings.specs.clone(),
        quiet: settings.debounce_quiet,
        debounce_max: settings.debounce_max,
        absence: AbsenceRules {
            scans: settings.absence_scans,
            window: settings.absence_window,
            max_share_percent: percent(settings.deletion.max_share),
            max_per_day: settings.deletion.max_per_day as usize,
        },
        resync: settings.resync,
        policy: policy(settings),
        audit_period: settings.audit_period,
        audits_a_cycle: audits as usize,
        workers: settings.workers.max(1) as usize,
        port_range: settings.ploi.port_range.clone(),
        rules,
        defaults,
        commands: commands(settings),
        deploy_timeout: settings.deploy.timeout,
        platform_base_url: settings.providers.platform_base_url.clone(),
        shared_environment: settings.shared_environment.clone(),
        backups: settings.backup_directory.clone(),
        backups_kept: settings.backup_keep as usize,
        instance,
        environment: Arc::new(|name| std::env::var(name).ok()),
        known_secrets,
    })
}

/// The share of the budget that goes into reading remembered details again (decisions 37).
const AUDIT_SHARE: f64 = 0.1;

fn percent(share: f64) -> u32 {
    (share * 100.0).round().clamp(0.0, 100.0) as u32
}

fn policy(settings: &Settings) -> Policy {
    Policy {
        settle: settings.settle,
        deploy_poll: settings.deploy.poll,
        deploy_retry: settings.deploy.retry,
        build_slots: settings.ploi.build_slots.max(1) as usize,
        propagation_timeout: settings.dns.propagation_timeout,
        deletion_grace: settings.deletion.grace,
        database_grace: settings.deletion.database_grace,
        drain: settings.dns.drain,
        follow_head: settings.deploy.follow == Follow::Head,
        ..Policy::default()
    }
}

fn commands(settings: &Settings) -> Commands {
    let own = &settings.deploy.commands;
    let usual = Commands::default();
    Commands {
        install: own.install.clone().unwrap_or(usual.install),
        build: own.build.clone().unwrap_or(usual.build),
        check: own.check.clone().unwrap_or(usual.check),
        migrate: own.migrate.clone().unwrap_or(usual.migrate),
        start: own.start.clone().unwrap_or(usual.start),
    }
}

/// An installation over simulators, for `sitewright demo`; `notes` say what is real and what is shortened (decisions 35).
pub struct Demo {
    /// The installation.
    pub app: App,
    /// Sentences for people.
    pub notes: Vec<String>,
    /// Ends the simulators when dropped.
    pub simulators: Simulators,
    /// The throw-away database server, where one was started.
    cluster: Option<Cluster>,
}

impl Demo {
    /// Where the state and everything else of this demo lies, for commands in another terminal.
    pub fn directory(&self) -> PathBuf {
        self.app.settings.backup_directory.parent().map(PathBuf::from).unwrap_or_default()
    }

    /// Whether a real database server stands behind the simulated sites.
    pub fn has_real_database(&self) -> bool {
        self.cluster.is_some() || self.app.postgres.is_some()
    }
}

/// Puts the demo together; its settings are those of `settings` with simulators for providers and short graces.
///
/// # Errors
/// A simulator cannot be served on loopback, or the state cannot be opened.
pub async fn open_demo(settings: &Settings) -> anyhow::Result<Demo> {
    let directory = simulator_directory(settings);
    begin_afresh(&directory)?;
    let simulators = serve_simulators(&SimulatorOptions {
        specs: Some(settings.specs.clone()),
        base_domain: settings.base_domain.clone(),
        directory: directory.clone(),
        ..SimulatorOptions::default()
    })
    .await?;
    let mut notes = vec![
        "Ploi, Cloudflare, Git, DNS, the certificate authority and the sites are simulated on loopback".to_owned(),
    ];
    let cluster = match &settings.providers.platform_database_url {
        Some(_) => None,
        None => Cluster::start(&directory.join("postgres")).await.ok(),
    };
    let mut demo = demo_settings(settings, &simulators, &directory);
    if let Some(cluster) = &cluster {
        demo.providers.platform_database_url = Some(cluster.admin_url());
        notes.push("PostgreSQL is real: a throw-away server on loopback".to_owned());
    } else if demo.providers.platform_database_url.is_some() {
        notes.push("PostgreSQL is real: the server of PLATFORM_DATABASE_URL".to_owned());
    }
    notes.push("shortened: removal after 3 scans over 2 s, site kept 60 s, database kept 120 s".to_owned());
    notes.push(format!(
        "from another terminal: export SITEWRIGHT_STATE=sqlite:{} SITEWRIGHT_STATE_KEY={}; sitewright status",
        directory.join("state.db").display(),
        directory.join("key").display()
    ));
    if let (Some(edge), Some(root)) = (&demo.probe.connect_to, &demo.probe.ca) {
        notes.push(format!(
            "see a site: curl --cacert {} --connect-to ::{edge} https://plastimed01.{DEMO_BASE_DOMAIN}/api/health",
            root.display()
        ));
    }
    let store = open_store(&demo, Access::Own).await?;
    let mut app = assemble(&demo, store.clone(), Clock::system()).await?;
    if app.postgres.is_none() {
        let catalog = Arc::new(MemoryDatabases::default());
        app.providers.databases.insert(postgres::PROVIDER.to_owned(), catalog);
        notes.push("no PostgreSQL was found: databases live in memory only".to_owned());
        app.controller = Arc::new(Controller::new(
            options(&demo, store.instance(None).await?, KnownSecrets::default())?,
            app.providers.clone(),
            store,
            state_key(&demo)?.digest_key()?,
            Clock::system(),
        ));
    }
    Ok(Demo { app, notes, simulators, cluster })
}

/// A simulated world begins empty, so the memory of an earlier one goes; a demo that still runs keeps its own.
fn begin_afresh(directory: &Path) -> anyhow::Result<()> {
    let state = directory.join("state.db");
    if state.exists() {
        let key = StateKey::load_or_create(&directory.join("key"))?;
        drop(SqliteStore::open_exclusive(&state, &key).context("another demo runs in this directory")?);
        std::fs::remove_dir_all(directory).with_context(|| format!("{} cannot be removed", directory.display()))?;
    }
    Ok(())
}

/// Beside the state, so that nothing of a demo meets a real installation.
pub fn simulator_directory(settings: &Settings) -> PathBuf {
    let state = match &settings.state {
        StateLocation::Sqlite(path) => path.parent().map(PathBuf::from).unwrap_or_default(),
        StateLocation::Postgres(_) => PathBuf::from(".sitewright"),
    };
    state.join("demo")
}

fn demo_settings(settings: &Settings, simulators: &Simulators, directory: &Path) -> Settings {
    let mut demo = settings.clone();
    let second = Duration::from_secs;
    demo.state = StateLocation::Sqlite(directory.join("state.db"));
    demo.state_key = directory.join("key");
    demo.backup_directory = directory.join("backups");
    demo.debounce_quiet = Duration::from_millis(300);
    // A first look must not fail over a port that somebody else has.
    demo.listen = settings.listen.map(|address| match std::net::TcpListener::bind(address) {
        Ok(_) => address,
        Err(_) => SocketAddr::new(address.ip(), 0),
    });
    demo.resync = second(30);
    demo.absence_scans = 3;
    demo.absence_window = second(2);
    demo.deletion.grace = second(60);
    demo.deletion.database_grace = second(120);
    demo.deletion.max_share = 0.5;
    demo.dns.drain = Some(second(5));
    demo.deploy.poll = second(1);
    demo.settle = second(10);
    demo.rates.insert("ploi".to_owned(), Rate { calls: 240, per: second(60) });
    demo.base_domain.get_or_insert_with(|| DEMO_BASE_DOMAIN.to_owned());
    let known = |name: &str| simulators.variables.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
    let given = &mut demo.providers;
    given.ploi_api_token = known("PLOI_API_TOKEN").map(Secret::new);
    given.ploi_api_url = known("PLOI_API_URL").unwrap_or_default();
    given.ploi_server_id = known("PLOI_SERVER_ID");
    given.ploi_git_repo = known("PLOI_GIT_REPO");
    given.ploi_git_branch = known("PLOI_GIT_BRANCH");
    given.cloudflare_api_token = known("CLOUDFLARE_API_TOKEN").map(Secret::new);
    given.cloudflare_api_url = known("CLOUDFLARE_API_URL").unwrap_or_default();
    given.cloudflare_zone_ids = Vec::new();
    given.github_token = known("GITHUB_TOKEN").map(Secret::new);
    given.github_api_url = known("GITHUB_API_URL").unwrap_or_default();
    demo.dns.server = known("SITEWRIGHT_DNS_SERVER");
    demo.probe.connect_to = known("SITEWRIGHT_PROBE_CONNECT_TO");
    demo.probe.connect_to_plain = known("SITEWRIGHT_PROBE_CONNECT_TO_PLAIN");
    demo.probe.ca = known("SITEWRIGHT_PROBE_CA").map(PathBuf::from);
    demo
}

/// Base domain of specs without a dot where none is set, in simulations only.
pub const DEMO_BASE_DOMAIN: &str = "compassdigital.example";
/// Repository and branch of specs that name none, in simulations only.
const DEMO_SOURCE: (&str, &str) = ("compassdigital/cms", "main");

/// Ports of the simulators on 127.0.0.1; 0 lets the system choose.
pub type SimulatorPorts = Ports;

/// What the simulators serve, and where.
#[derive(Debug, Clone, Default)]
pub struct SimulatorOptions {
    /// Ports on 127.0.0.1; 0 lets the system choose.
    pub ports: Ports,
    /// A specs directory: the zones and repositories that it names exist in the simulation.
    pub specs: Option<PathBuf>,
    /// Completes domains of those specs.
    pub base_domain: Option<String>,
    /// Further zones.
    pub zones: Vec<String>,
    /// Where the root certificate goes.
    pub directory: PathBuf,
    /// Ploi's limit, calls a minute; 0: the largest plan's.
    pub ploi_limit: u32,
}

/// Simulators that are being served.
pub struct Simulators {
    /// Variables that point `run` at them, in the order in which they are printed.
    pub variables: Vec<(String, String)>,
    /// The control port: faults, calls, changes by hand.
    pub control: SocketAddr,
    /// The servers themselves; dropping them ends them.
    pub servers: serve::Simulators,
}

/// Serves the simulators alone, for `sitewright sim`.
///
/// # Errors
/// A port is taken, or the root certificate cannot be written.
pub async fn serve_simulators(wanted: &SimulatorOptions) -> anyhow::Result<Simulators> {
    let base = wanted.base_domain.clone().unwrap_or_else(|| DEMO_BASE_DOMAIN.to_owned());
    let named = named_by_specs(wanted.specs.as_deref(), &base);
    let mut zones: BTreeSet<String> = named.zones;
    zones.extend(wanted.zones.iter().cloned());
    zones.insert(base);
    let mut options = serve::Options::quick(&wanted.directory);
    options.ports = wanted.ports;
    options.zones = zones.into_iter().collect();
    (options.repository, options.branch) = (DEMO_SOURCE.0.to_owned(), DEMO_SOURCE.1.to_owned());
    options.delays = PloiDelays::watchable();
    options.propagation = Duration::from_secs(2);
    if wanted.ploi_limit > 0 {
        options.ploi_limit = wanted.ploi_limit;
    }
    let servers = serve::serve(options).await?;
    {
        let mut state = servers.world.state();
        for (repository, branch) in &named.sources {
            if (repository.as_str(), branch.as_str()) != DEMO_SOURCE {
                state.git.push(repository, branch);
            }
        }
    }
    Ok(Simulators { variables: servers.variables(), control: servers.control, servers })
}

#[derive(Default)]
struct Named {
    zones: BTreeSet<String>,
    sources: BTreeSet<(String, String)>,
}

/// Zones (the last two labels of each domain) and repositories that the specs of a directory name. Broken files name nothing.
fn named_by_specs(specs: Option<&Path>, base_domain: &str) -> Named {
    let mut named = Named::default();
    let Some(scan) = specs.and_then(|path| Scan::take(path, None).ok()) else { return named };
    let rules = Rules { base_domain: Some(base_domain.to_owned()), ..Rules::default() };
    let defaults = Defaults { base_domain: rules.base_domain.clone(), ..Defaults::default() };
    for reading in scan.files.values() {
        let FileReading::Read { bytes, .. } = reading else { continue };
        let Ok(parsed) = parse(bytes, &rules) else { continue };
        if let Ok(domain) = parsed.spec.domain(&defaults) {
            let labels: Vec<&str> = domain.as_str().rsplit('.').take(2).collect();
            named.zones.insert(labels.into_iter().rev().collect::<Vec<_>>().join("."));
        }
        if let Some(repository) = &parsed.spec.spec.source.repository {
            named.sources.insert((repository.clone(), parsed.spec.branch(&defaults)));
        }
    }
    named
}

/// Opens the state.
///
/// # Errors
/// It cannot be opened, belongs to another key or a newer program, or (with [`Access::Own`]) somebody else holds it.
pub async fn open_store(settings: &Settings, access: Access) -> anyhow::Result<Arc<dyn Store>> {
    let path = match &settings.state {
        StateLocation::Sqlite(path) => path.clone(),
        StateLocation::Postgres(_) => {
            bail!("a state on PostgreSQL is not supported by this version; use `--state sqlite:PATH`")
        }
    };
    let key_path = settings.state_key.clone();
    let opened = tokio::task::spawn_blocking(move || -> anyhow::Result<Arc<dyn Store>> {
        if access == Access::Look && !path.exists() {
            return Ok(Arc::new(MemoryStore::default()));
        }
        if access == Access::Look && !key_path.exists() {
            bail!(
                "state {}: its key {} is not there; restore the key file that belongs to it, or name it with stateKey",
                path.display(),
                key_path.display()
            );
        }
        let key = StateKey::load_or_create(&key_path)?;
        Ok(match access {
            Access::Own => Arc::new(SqliteStore::open_exclusive(&path, &key)?),
            Access::Look | Access::Ask => Arc::new(SqliteStore::open_shared(&path, &key)?),
        })
    });
    opened.await.context("the state could not be opened")?
}

/// A copy of a state in memory: a plan may note in it what it likes.
///
/// # Errors
/// The state cannot be read.
pub async fn scratch_copy(store: &dyn Store, settings: &Settings) -> anyhow::Result<Arc<dyn Store>> {
    let copy = MemoryStore::default();
    let wanted = settings.instance.as_deref().and_then(|text| crate::resource::name::Instance::parse(text).ok());
    let instance = store.instance(wanted.as_ref()).await?;
    copy.instance(Some(&instance)).await?;
    let mut keys: BTreeSet<String> = [FILES, PAUSE_ALL, DIRECTORY].map(str::to_owned).into();
    // What is known of servers saves the plan reading every foreign virtual host anew, and a look that is not due.
    keys.extend(settings.providers.ploi_server_id.iter().map(|id| format!("server/{id}")));
    for record in store.clients().await? {
        if let Some((server, port)) = &record.owned.allocation.port {
            keys.insert(format!("server/{server}"));
            let range = *port..=*port;
            copy.allocate_port(server, &record.owned.mark.uid, Some(*port), range, &Default::default()).await?;
        }
        copy.save(&record).await?;
    }
    for key in &keys {
        if let Some(value) = store.document(key).await? {
            copy.put_document(key, Some(&value)).await?;
        }
    }
    Ok(Arc::new(copy))
}

/// The rules of specs, and what specs may leave open.
///
/// # Errors
/// The feature catalogue cannot be read, or a setting is not the name it should be.
pub fn rules(settings: &Settings) -> anyhow::Result<(Rules, Defaults)> {
    let catalogue = match &settings.features {
        Some(path) => read_catalogue(path)?,
        None => Catalogue::built_in(),
    };
    let repository = settings.providers.ploi_git_repo.as_deref().map(RepositorySlug::parse).transpose();
    let rules = Rules { base_domain: settings.base_domain.clone(), catalogue, ports: settings.ploi.port_range.clone() };
    let defaults = Defaults {
        base_domain: settings.base_domain.clone(),
        repository: repository.context("PLOI_GIT_REPO")?,
        branch: settings.providers.ploi_git_branch.clone(),
        server: settings.providers.ploi_server_id.clone().map(ServerId::trusted),
        system_user: settings.ploi.system_user.clone(),
    };
    Ok((rules, defaults))
}

fn read_catalogue(path: &PathBuf) -> anyhow::Result<Catalogue> {
    let text = std::fs::read_to_string(path).with_context(|| {
        format!("the feature catalogue {} cannot be read; mend the setting `features`", path.display())
    })?;
    Ok(Catalogue::parse(&text)?)
}
