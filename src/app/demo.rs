//! The whole installation over simulators, for `sitewright demo`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;

use crate::app::options::options;
use crate::app::simulation::{self, BASE_DOMAIN, SimulatorOptions, Simulators};
use crate::app::{Access, App, assemble, open_store, state_key};
use crate::config::{Rate, Settings, StateLocation};
use crate::controller::clock::Clock;
use crate::controller::known_secrets::KnownSecrets;
use crate::controller::running::Controller;
use crate::provider::postgres;
use crate::provider::postgres::cluster::Cluster;
use crate::provider::postgres::memory::MemoryDatabases;
use crate::resource::secret::Secret;
use crate::store::seal::{StateKey, new_uid};
use crate::store::sqlite::SqliteStore;

/// An installation over simulators; `notes` say what is real and what is shortened (decisions 35).
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
pub async fn open(settings: &Settings) -> anyhow::Result<Demo> {
    let directory = simulation::directory(settings);
    begin_afresh(&directory)?;
    let simulators = simulation::serve(&SimulatorOptions {
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
    if demo.api_token.is_none() {
        let token = new_uid()?.to_string();
        notes.push(format!("the dashboard's actions ask for this token: {token}"));
        demo.api_token = Some(Secret::new(token));
    }
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
            "see a site: curl --cacert {} --connect-to ::{edge} https://plastimed01.{BASE_DOMAIN}/api/health",
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
    demo.base_domain.get_or_insert_with(|| BASE_DOMAIN.to_owned());
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
