//! Settings as plain data: flags over environment over `sitewright.yaml` over defaults (interface 3).
//!
//! `load` asks a [`Source`] for what it needs, so that nothing here reads the process by itself. It reports every
//! error at once and tells of each value where it came from.

pub mod keys;
pub mod process;
pub mod raw;
pub mod value;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::raw::{Origin, Raw};
use crate::config::value::{
    address, count, duration, endpoint, instance, list, listen, log_format, path, port_range, rate, repository, share,
    state, text, url,
};
use crate::resource::secret::Secret;

pub use crate::config::keys::PROVIDER_VARIABLES;

/// Where the lookups of `load` go: the process, or a test's own map.
pub trait Source {
    /// A variable of the environment.
    fn variable(&self, name: &str) -> Option<String>;
    /// Names of all variables, for warnings about unknown ones.
    fn variables(&self) -> Vec<String>;
    /// The text of a file; `Ok(None)` when there is none. The error is one clause.
    fn file(&self, path: &str) -> Result<Option<String>, String>;
    /// A credential that systemd handed over, by file name; `Ok(None)` when there is none.
    fn credential(&self, name: &str) -> Result<Option<String>, String>;
}

/// Where the state lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StateLocation {
    /// A file on this machine.
    Sqlite(PathBuf),
    /// A server, so that several replicas can run; the address holds a password.
    Postgres(Secret),
}

/// Whether a new branch head deploys by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Follow {
    /// It does.
    Head,
    /// Only when something else changes, and on demand.
    Manual,
}

/// How logs are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For collectors.
    Json,
}

/// An account's budget of calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Calls.
    pub calls: u32,
    /// In this time.
    pub per: Duration,
}

/// When removals count and how far they go.
#[derive(Debug, Clone, PartialEq)]
pub struct Deletion {
    /// From offline to the site's removal.
    pub grace: Duration,
    /// From offline to the database's drop.
    pub database_grace: Duration,
    /// Largest share of the fleet that goes within 24 h, 0 to 1.
    pub max_share: f64,
    /// Largest number that goes within 24 h.
    pub max_per_day: u32,
}

/// How sites are built; `None`: the built-in command.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeployCommands {
    /// Installs.
    pub install: Option<String>,
    /// Builds.
    pub build: Option<String>,
    /// Says whether migrations are pending.
    pub check: Option<String>,
    /// Runs them.
    pub migrate: Option<String>,
    /// Serves.
    pub start: Option<String>,
}

/// How deploys are made and watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deploy {
    /// Time between two looks at a running one.
    pub poll: Duration,
    /// How long one may take, unless the spec says otherwise.
    pub timeout: Duration,
    /// First pause after a failed build; doubles to six hours.
    pub retry: Duration,
    /// Whether a new head deploys by itself.
    pub follow: Follow,
    /// The operator's commands.
    pub commands: DeployCommands,
}

/// Names and how they are published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dns {
    /// How long the authoritative servers may take.
    pub propagation_timeout: Duration,
    /// Stands in for the name servers, `host:port`.
    pub server: Option<String>,
    /// How long the removal of an address record is waited out before the site is suspended; `None`: the record's TTL.
    pub drain: Option<Duration>,
}

/// How sites are looked at.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Probe {
    /// HTTPS looks connect here, `host:port`.
    pub connect_to: Option<String>,
    /// Plain looks connect here, `host:port`.
    pub connect_to_plain: Option<String>,
    /// A further trusted root, PEM file.
    pub ca: Option<PathBuf>,
}

/// Ploi.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PloiHosting {
    /// Ports that are given out.
    pub port_range: RangeInclusive<u16>,
    /// Builds at once on one server.
    pub build_slots: u32,
    /// The linked Git account; `None`: the only one.
    pub source_provider: Option<String>,
    /// System user of sites that name none; `None`: `ploi`.
    pub system_user: Option<String>,
}

/// How sites reach their databases, where that is another way than ours.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SiteDatabase {
    /// `host` or `host:port`.
    pub site_host: Option<String>,
    /// Query parameters of the address, such as `sslmode=no-verify`.
    pub site_parameters: Option<String>,
    /// A private root for our own connection, PEM file.
    pub ca: Option<PathBuf>,
}

/// Who is told, and how.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Notify {
    /// Sender of mail.
    pub from: Option<String>,
    /// Operators.
    pub to: Vec<String>,
    /// Receives every notice; its path is often a secret.
    pub webhook: Option<Secret>,
    /// When, in UTC, the daily digest is sent; `None`: never.
    pub digest: Option<jiff::civil::Time>,
}

/// The variables of the providers, by their own names.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // each is the variable of that name
pub struct ProviderSettings {
    pub ploi_api_token: Option<Secret>,
    pub ploi_server_id: Option<String>,
    pub ploi_git_repo: Option<String>,
    pub ploi_git_branch: Option<String>,
    pub ploi_api_url: String,
    pub cloudflare_api_token: Option<Secret>,
    /// Empty: every zone that the token sees.
    pub cloudflare_zone_ids: Vec<String>,
    pub cloudflare_api_url: String,
    pub platform_database_url: Option<Secret>,
    pub platform_base_url: Option<String>,
    pub vercel_api_token: Option<Secret>,
    pub vercel_team_id: Option<String>,
    pub vercel_api_url: String,
    pub railway_api_key: Option<Secret>,
    pub railway_api_url: String,
    pub resend_api_key: Option<Secret>,
    pub resend_api_url: String,
    pub github_token: Option<Secret>,
    pub github_api_url: String,
}

/// All settings. `Settings::default()` is what an empty environment gives; every field may be changed in code.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The watched directory.
    pub specs: PathBuf,
    /// The state.
    pub state: StateLocation,
    /// Key that encrypts secrets at rest.
    pub state_key: PathBuf,
    /// HTTP; `None`: off.
    pub listen: Option<SocketAddr>,
    /// Lets the API write, and be read from elsewhere than loopback.
    pub api_token: Option<Secret>,
    /// Names besides loopback's under which the API may be written to, each with its port where only that one counts.
    pub api_hosts: Vec<String>,
    /// Installation id; `None`: made at first start.
    pub instance: Option<String>,
    /// Completes domains without a dot.
    pub base_domain: Option<String>,
    /// Full pass over every client.
    pub resync: Duration,
    /// A file counts once it has stood still for this long.
    pub debounce_quiet: Duration,
    /// Longest wait for that.
    pub debounce_max: Duration,
    /// Complete scans without a spec before it counts as removed.
    pub absence_scans: u32,
    /// Time over which they must spread.
    pub absence_window: Duration,
    /// Removals.
    pub deletion: Deletion,
    /// How long a lost create is looked for.
    pub settle: Duration,
    /// Deploys.
    pub deploy: Deploy,
    /// Oldest a remembered detail may be.
    pub audit_period: Duration,
    /// Names.
    pub dns: Dns,
    /// Looks.
    pub probe: Probe,
    /// Ploi.
    pub ploi: PloiHosting,
    /// Budgets by provider.
    pub rates: BTreeMap<String, Rate>,
    /// Dumps.
    pub backup_directory: PathBuf,
    /// How many of them stay, per client.
    pub backup_keep: u32,
    /// Replaces the built-in feature catalogue.
    pub features: Option<PathBuf>,
    /// Databases as sites see them.
    pub database: SiteDatabase,
    /// Names copied from the daemon's environment; `NAME!` is required.
    pub shared_environment: Vec<String>,
    /// Notices.
    pub notify: Notify,
    /// Log filter.
    pub log: String,
    /// Log format; `None`: text on a terminal, else JSON.
    pub log_format: Option<LogFormat>,
    /// Clients worked on at once.
    pub workers: u32,
    /// Providers.
    pub providers: ProviderSettings,
}

impl Default for Settings {
    fn default() -> Self {
        let mut raw = Raw::default();
        build(&mut raw)
    }
}

/// What `load` gives.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// Every value with its origin, secrets masked: what `sitewright config` prints.
    pub rows: Vec<Row>,
    /// What a person should know: unknown variables, values that are there twice.
    pub warnings: Vec<String>,
}

/// One line of `sitewright config`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Row {
    /// The key, or the provider's variable.
    pub key: &'static str,
    /// The value as text; `None`: not set. Secrets show as `(secret)`.
    pub value: Option<String>,
    /// Where it came from.
    pub origin: Origin,
}

/// Reads all settings. `flags` are pairs of key and value, as the command line gave them (`config` names the file).
///
/// # Errors
/// One sentence for each value that cannot be used, all at once; values of secrets are not shown.
pub fn load(flags: &[(&str, String)], source: &dyn Source) -> Result<Loaded, Vec<String>> {
    let mut raw = Raw::read(flags, source);
    let settings = build(&mut raw);
    if raw.errors.is_empty() {
        Ok(Loaded { settings, rows: raw.rows(), warnings: raw.warnings })
    } else {
        Err(raw.errors)
    }
}

fn build(raw: &mut Raw) -> Settings {
    let platform_base_url = raw.optional("PLATFORM_BASE_URL", text);
    let base_domain = raw.optional("baseDomain", value::domain);
    let derived = platform_base_url.as_deref().and_then(|url| value::domain(url).ok());
    Settings {
        specs: raw.required("specs", path),
        state: raw.required("state", state),
        state_key: raw.required("stateKey", path),
        listen: raw.required("listen", listen),
        api_token: raw.secret("apiToken"),
        api_hosts: raw.optional("api.hosts", value::hosts).unwrap_or_default(),
        instance: raw.optional("instance", instance),
        base_domain: base_domain.or(derived),
        resync: raw.required("resync", duration),
        debounce_quiet: raw.required("debounce.quiet", duration),
        debounce_max: raw.required("debounce.max", duration),
        absence_scans: raw.required("absence.scans", count),
        absence_window: raw.required("absence.window", duration),
        deletion: Deletion {
            grace: raw.required("deletion.grace", duration),
            database_grace: raw.required("deletion.databaseGrace", duration),
            max_share: raw.required("deletion.maxShare", share),
            max_per_day: raw.required("deletion.maxPerDay", count),
        },
        settle: raw.required("settle", duration),
        deploy: deploy(raw),
        audit_period: raw.required("audit.period", duration),
        dns: Dns {
            propagation_timeout: raw.required("dns.propagationTimeout", duration),
            server: raw.optional("dns.server", endpoint),
            drain: raw.optional("dns.drain", duration),
        },
        probe: Probe {
            connect_to: raw.optional("probe.connectTo", endpoint),
            connect_to_plain: raw.optional("probe.connectToPlain", endpoint),
            ca: raw.optional("probe.ca", path),
        },
        ploi: PloiHosting {
            port_range: raw.required("hosting.ploi.portRange", port_range),
            build_slots: raw.required("hosting.ploi.buildSlots", count),
            source_provider: raw.optional("hosting.ploi.sourceProvider", text),
            system_user: raw.optional("hosting.ploi.systemUser", text),
        },
        rates: rates(raw),
        backup_directory: raw.required("backup.directory", path),
        backup_keep: raw.required("backup.keep", count),
        features: raw.optional("features", path),
        database: SiteDatabase {
            site_host: raw.optional("database.siteHost", address),
            site_parameters: raw.optional("database.siteParameters", text),
            ca: raw.optional("database.ca", path),
        },
        shared_environment: raw.required("sharedEnvironment", value::shared),
        notify: Notify {
            from: raw.optional("notify.from", text),
            to: raw.optional("notify.to", list).unwrap_or_default(),
            webhook: raw.secret_url("notify.webhook"),
            digest: raw.required("notify.digest", value::daytime),
        },
        log: raw.required("log", text),
        log_format: raw.optional("log.format", log_format),
        workers: raw.required("workers", count),
        providers: providers(raw, platform_base_url),
    }
}

fn deploy(raw: &mut Raw) -> Deploy {
    Deploy {
        poll: raw.required("deploy.poll", duration),
        timeout: raw.required("deploy.timeout", duration),
        retry: raw.required("deploy.retry", duration),
        follow: raw.required("deploy.follow", value::follow),
        commands: DeployCommands {
            install: raw.optional("deploy.commands.install", text),
            build: raw.optional("deploy.commands.build", text),
            check: raw.optional("deploy.commands.check", text),
            migrate: raw.optional("deploy.commands.migrate", text),
            start: raw.optional("deploy.commands.start", text),
        },
    }
}

fn rates(raw: &mut Raw) -> BTreeMap<String, Rate> {
    let keys: Vec<&'static str> =
        keys::KEYS.iter().map(|key| key.name).filter(|name| name.starts_with("rate.")).collect();
    keys.into_iter().map(|key| (key.trim_start_matches("rate.").to_owned(), raw.required(key, rate))).collect()
}

fn providers(raw: &mut Raw, platform_base_url: Option<String>) -> ProviderSettings {
    ProviderSettings {
        ploi_api_token: raw.secret("PLOI_API_TOKEN"),
        ploi_server_id: raw.optional("PLOI_SERVER_ID", text),
        ploi_git_repo: raw.optional("PLOI_GIT_REPO", repository),
        ploi_git_branch: raw.optional("PLOI_GIT_BRANCH", text),
        ploi_api_url: raw.required("PLOI_API_URL", url),
        cloudflare_api_token: raw.secret("CLOUDFLARE_API_TOKEN"),
        cloudflare_zone_ids: raw.optional("CLOUDFLARE_ZONE_ID", list).unwrap_or_default(),
        cloudflare_api_url: raw.required("CLOUDFLARE_API_URL", url),
        platform_database_url: raw.secret("PLATFORM_DATABASE_URL"),
        platform_base_url,
        vercel_api_token: raw.secret("VERCEL_API_TOKEN"),
        vercel_team_id: raw.optional("VERCEL_TEAM_ID", text),
        vercel_api_url: raw.required("VERCEL_API_URL", url),
        railway_api_key: raw.secret("RAILWAY_API_KEY"),
        railway_api_url: raw.required("RAILWAY_API_URL", url),
        resend_api_key: raw.secret("RESEND_API_KEY"),
        resend_api_url: raw.required("RESEND_API_URL", url),
        github_token: raw.secret("GITHUB_TOKEN"),
        github_api_url: raw.required("GITHUB_API_URL", url),
    }
}
