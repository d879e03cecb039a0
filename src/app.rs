//! Composition root: settings become a state, providers and a controller; the one place that names every provider.

pub mod demo;
pub mod draft;
pub mod options;
pub mod simulation;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use jiff::Timestamp;

use crate::app::options::options;
use crate::config::{Settings, StateLocation};
use crate::controller::accounts;
use crate::controller::clock::Clock;
use crate::controller::doubts::DOUBTS;
use crate::controller::fleet::{DIRECTORY, FILES, PAUSE_ALL};
use crate::controller::identities::IDENTITIES;
use crate::controller::known_secrets::KnownSecrets;
use crate::controller::lifetime;
use crate::controller::providers::Providers;
use crate::controller::recovery::RECOVERY;
use crate::controller::running::Controller;
use crate::provider::cloudflare::Cloudflare;
use crate::provider::github::GitHub;
use crate::provider::http::HttpClient;
use crate::provider::http::budget::Budget;
use crate::provider::outside::Prober;
use crate::provider::outside::cms::SiteCms;
use crate::provider::outside::connection::{Connector, Route};
use crate::provider::ploi::{self, Redact};
use crate::provider::postgres::{self, Postgres, PostgresSettings};
use crate::provider::resend::{self, Resend};
use crate::provider::webhook::{self, Webhook};
use crate::resource::name::{Instance, ZoneId};
use crate::resource::secret::Secret;
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
    /// The database server, for its rights.
    pub postgres: Option<Arc<Postgres>>,
    /// The loop, not started.
    pub controller: Arc<Controller>,
}

/// Notices that may go to a webhook: what Slack takes.
const NOTICES_RATE: (u32, Duration) = (1, Duration::from_secs(1));

/// Puts an installation together. With [`Access::Look`] the store is a copy in memory: what the controller notes while it
/// plans reaches no disk.
///
/// # Errors
/// The state cannot be opened, or a setting of a provider cannot be used.
pub async fn open(settings: &Settings, access: Access) -> anyhow::Result<App> {
    let disk = open_store(settings, access).await?;
    let store = if access == Access::Look { scratch_copy(&*disk, settings).await? } else { disk };
    let clock = lifetime::clock(&*store, Timestamp::now()).await?;
    assemble(settings, store, clock).await
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
            budgets: BTreeMap::new(),
            mail: None,
            hook: None,
            tally: Arc::default(),
        },
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
        let server = PostgresSettings {
            url: url.clone(),
            site_host: settings.database.site_host.clone(),
            site_parameters: settings.database.site_parameters.clone(),
            ca: settings.database.ca.clone(),
        };
        let postgres = Arc::new(Postgres::counted(&server, accounts.providers.tally.clone())?);
        accounts.postgres = Some(postgres.clone());
        accounts.providers.databases.insert(postgres::PROVIDER.to_owned(), postgres);
    }
    if let Some(token) = &given.github_token {
        let http = accounts.client(settings, "github", &given.github_api_url, token)?;
        accounts.providers.git = Some(Arc::new(GitHub::new(http)));
    }
    if let (Some(token), Some(from)) = (&given.resend_api_key, &settings.notify.from) {
        let http = notifier(settings, resend::NAME, &given.resend_api_url, token)?;
        accounts.providers.mail = Some(Arc::new(Resend::new(http, from.clone())));
    }
    if let Some(address) = &settings.notify.webhook {
        let http = notifier(settings, webhook::NAME, address.expose(), &Secret::new(""))?;
        accounts.providers.hook = Some(Arc::new(Webhook::new(http)));
    }
    Ok(accounts)
}

/// A client for notices: its calls are none of a cycle's cost.
fn notifier(settings: &Settings, name: &'static str, address: &str, token: &Secret) -> anyhow::Result<HttpClient> {
    let (calls, per) = settings.rates.get(name).map_or(NOTICES_RATE, |rate| (rate.calls, rate.per));
    let base = url::Url::parse(address).map_err(|_| anyhow::anyhow!("the address of the {name} is none"))?;
    Ok(HttpClient::new(name, base, token.clone(), Arc::new(Budget::new(calls, per)))?)
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
        self.providers.budgets.insert(name, budget.clone());
        let base = url::Url::parse(url).with_context(|| format!("the address of {name}"))?;
        Ok(HttpClient::new(name, base, token.clone(), budget)?.counted(self.providers.tally.clone()))
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
    let mut keys: BTreeSet<String> =
        [FILES, PAUSE_ALL, DIRECTORY, RECOVERY, DOUBTS, IDENTITIES].map(str::to_owned).into();
    // What is known of servers saves the plan reading every foreign virtual host anew, and a look that is not due.
    keys.extend(settings.providers.ploi_server_id.iter().map(|id| format!("server/{id}")));
    // A look spends from the same budgets as the daemon beside it.
    keys.extend(settings.rates.keys().map(|account| accounts::document(account)));
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
