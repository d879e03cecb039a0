//! What the loop is told once, at its start; plain data made from the settings.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::controller::absence::AbsenceRules;
use crate::controller::known_secrets::KnownSecrets;
use crate::controller::watcher::SpecSource;
use crate::plan::draft::Policy;
use crate::resource::deploy_script::Commands;
use crate::resource::name::Instance;
use crate::resource::secret::Secret;
use crate::spec::defaults::Defaults;
use crate::spec::validate::Rules;

/// Looks a variable of the daemon's environment up; `None` when it is not set.
pub type Lookup = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Everything the loop needs besides providers and store.
#[derive(Clone)]
pub struct Options {
    /// The watched directory.
    pub specs: Arc<dyn SpecSource>,
    /// A file is read once it stood still for this long.
    pub quiet: Duration,
    /// Events are not held back longer than this.
    pub debounce_max: Duration,
    /// When a missing file means a removal.
    pub absence: AbsenceRules,
    /// Requests of other processes are looked for this often (decisions 33).
    pub requests_every: Duration,
    /// Full pass over every client.
    pub resync: Duration,
    /// The plan's limits.
    pub policy: Policy,
    /// Remembered details are read again at least this often, as far as the budget allows.
    pub audit_period: Duration,
    /// Details that may be audited in one cycle.
    pub audits_a_cycle: usize,
    /// Passes side by side.
    pub workers: usize,
    /// Ports that may be given out.
    pub port_range: RangeInclusive<u16>,
    /// Rules of specs.
    pub rules: Rules,
    /// What specs may leave open.
    pub defaults: Defaults,
    /// `deploy.commands`.
    pub commands: Commands,
    /// `deploy.timeout`.
    pub deploy_timeout: Duration,
    /// `PLATFORM_BASE_URL` as it was set.
    pub platform_base_url: Option<String>,
    /// `sharedEnvironment`.
    pub shared_environment: Vec<String>,
    /// Where backups go.
    pub backups: PathBuf,
    /// The installation.
    pub instance: Instance,
    /// The daemon's environment, for secret references and shared variables.
    pub environment: Lookup,
    /// The credentials of this program, which no site gets.
    pub credentials: Vec<Secret>,
    /// Where the secrets of each site are noted, so that logs are masked.
    pub known_secrets: KnownSecrets,
    /// Who is told of everything, by mail.
    pub operators: Vec<String>,
    /// When, in UTC, the daily digest is written; `None`: never.
    pub digest_at: Option<jiff::civil::Time>,
    /// Backups of one database that stay.
    pub backups_kept: usize,
}
