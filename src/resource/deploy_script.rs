//! The deploy script: constant text under a block of quoted data lines (design 4, decisions 1-2, 5, 7).
//!
//! The host runs it as the site's system user. A deploy may pass `SW_COMMIT` and `SW_BRANCH` as variables of its run;
//! the script checks both. What it leaves at the site, all below `<site>/.sitewright` (0700):
//!
//! ```text
//!  releases/<n>/   git worktree of one release, without a .env        current -> releases/<n>    the one that serves
//!  runs/<n>.env    the environment it was built with (0600)           start.sh -> runs/<n>.sh    starts the one that serves
//!  runs/<n>.sh     what pm2 runs: that environment, that directory, the start command
//! ```

use std::time::Duration;

use crate::resource::env_file::EnvError;
use crate::resource::name::{ClientName, HostName, RepositorySlug};
use crate::resource::shell;

/// Longest script in characters (contracts/ploi.md 6.7).
pub const SCRIPT_CHARS_MAX: usize = 65_535;
/// What starts the release that serves, below the site's directory; `pm2 start` takes it with `--interpreter bash`.
pub const START_FILE: &str = ".sitewright/start.sh";
/// Begins the last line of a failed run; the reason follows.
const REASON_MARKER: &str = "sitewright: reason=";
/// Names that pm2 takes for all processes, or for a whole namespace of them.
const PROCESS_NAMES_RESERVED: [&str; 2] = ["all", "default"];
/// The program; every client has the same. First what makes a release, then what makes it the one that serves.
pub const PROGRAM: &str = concat!(include_str!("deploy.sh"), include_str!("deploy_process.sh"));

/// Everything that differs between two clients' scripts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptData {
    /// The client as its process is called: the name it had when that was started first.
    pub client: ClientName,
    /// The root domain; the last part of the site's directory.
    pub domain: HostName,
    /// The system user that owns the directory.
    pub system_user: String,
    /// What must be cloned there.
    pub repository: RepositorySlug,
    /// The branch of deploys that name none (panel).
    pub branch: String,
    /// Heap of the build in MiB.
    pub build_memory_mib: u64,
    /// Time for a whole deploy, whole seconds.
    pub timeout: Duration,
    /// Path of the look, begins with `/`.
    pub health_path: String,
    /// Whether migrations run.
    pub migrate: Migrate,
    /// Whether an answer other than 2xx stops a release.
    pub health_gate: bool,
    /// Whether the previous release is started when the new one fails on its own port.
    pub rollback_on_failure: bool,
    /// The operator's lines.
    pub commands: Commands,
}

/// `spec.deploy.migrate`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Migrate {
    /// Checked, backed up, then run.
    Safe,
    /// Never run.
    Off,
}

/// Shell lines of the settings (`deploy.commands.*`): the operator's own, run by `bash -c` in the release's directory
/// with the site's environment and nothing else of the caller's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commands {
    /// Installs exactly what the lock file says.
    pub install: String,
    /// Builds.
    pub build: String,
    /// Says whether a migration waits: exit 0 none, 10 one that is safe, 11 one that destroys data, else: not known.
    /// Empty: the script's own look at Payload's migrations.
    pub check: String,
    /// Runs the waiting migrations.
    pub migrate: String,
    /// Serves on `$PORT` until it is stopped.
    pub start: String,
}

impl Default for Commands {
    fn default() -> Self {
        Commands {
            // Builds need development packages, which both leave out where NODE_ENV is production.
            install: "if [ -f pnpm-lock.yaml ]; then pnpm install --frozen-lockfile --prod=false; else npm ci --include=dev; fi"
                .into(),
            build: "npm run build".into(),
            check: String::new(),
            migrate: "npx --no-install payload migrate".into(),
            start: "npm run start".into(),
        }
    }
}

/// The script of one client: data lines, then [`PROGRAM`].
///
/// # Errors
/// A value that cannot be a data line or a part of a path; [`EnvError::variable`] names the data line.
pub fn render(data: &ScriptData) -> Result<String, EnvError> {
    check(data)?;
    let yes_no = |on: bool| if on { "yes" } else { "no" }.to_owned();
    let migrate = match data.migrate {
        Migrate::Safe => "safe",
        Migrate::Off => "off",
    };
    let lines: [(&'static str, String); 17] = [
        ("SW_CLIENT", data.client.as_str().to_owned()),
        ("SW_DOMAIN", data.domain.as_str().to_owned()),
        ("SW_SYSTEM_USER", data.system_user.clone()),
        ("SW_SITE_DIR", site_directory(&data.system_user, &data.domain)),
        ("SW_REPOSITORY", data.repository.as_str().to_owned()),
        ("SW_DEFAULT_BRANCH", data.branch.clone()),
        ("SW_BUILD_MEMORY_MIB", data.build_memory_mib.to_string()),
        ("SW_TIMEOUT_SECONDS", data.timeout.as_secs().to_string()),
        ("SW_HEALTH_PATH", data.health_path.clone()),
        ("SW_MIGRATE", migrate.to_owned()),
        ("SW_HEALTH_GATE", yes_no(data.health_gate)),
        ("SW_ROLLBACK", yes_no(data.rollback_on_failure)),
        ("SW_INSTALL_COMMAND", data.commands.install.clone()),
        ("SW_BUILD_COMMAND", data.commands.build.clone()),
        ("SW_CHECK_COMMAND", data.commands.check.clone()),
        ("SW_MIGRATE_COMMAND", data.commands.migrate.clone()),
        ("SW_START_COMMAND", data.commands.start.clone()),
    ];
    let mut text = String::with_capacity(PROGRAM.len() + 2048);
    for (name, value) in &lines {
        text.push_str(&shell::data_line(name, value).map_err(|error| EnvError::new(name, error.0))?);
    }
    text.push_str(PROGRAM);
    if text.chars().count() > SCRIPT_CHARS_MAX {
        return Err(EnvError::new(
            "deploy.commands",
            format!(
                "the deploy script exceeds the {SCRIPT_CHARS_MAX} characters that the host takes; shorten the commands"
            ),
        ));
    }
    Ok(text)
}

/// Where a site lives on its server, which is also its web root: `/home/<user>/<domain>` (contracts/ploi.md 6.9).
pub fn site_directory(system_user: &str, domain: &HostName) -> String {
    format!("/home/{system_user}/{domain}")
}

fn check(data: &ScriptData) -> Result<(), EnvError> {
    let part_ok = |text: &str| !text.is_empty() && text != "." && text != ".." && !text.contains('/');
    for (name, part) in [
        ("SW_SYSTEM_USER", data.system_user.as_str()),
        ("SW_DOMAIN", data.domain.as_str()),
        ("SW_CLIENT", data.client.as_str()),
    ] {
        if !part_ok(part) {
            return Err(EnvError::new(
                name,
                "the value becomes one part of a path and cannot be empty, `.`, `..` or hold a slash",
            ));
        }
    }
    if PROCESS_NAMES_RESERVED.contains(&data.client.as_str()) {
        return Err(EnvError::new(
            "SW_CLIENT",
            "pm2 takes this name for every process of the server, not for one; give the client another name",
        ));
    }
    if !data.health_path.starts_with('/') || data.health_path.contains(char::is_whitespace) {
        return Err(EnvError::new("SW_HEALTH_PATH", "a health path begins with a slash and holds no white space"));
    }
    if data.timeout.as_secs() == 0 || data.build_memory_mib == 0 {
        return Err(EnvError::new("SW_TIMEOUT_SECONDS", "a deploy needs at least one second and one MiB of memory"));
    }
    for (name, line) in [
        ("SW_INSTALL_COMMAND", &data.commands.install),
        ("SW_BUILD_COMMAND", &data.commands.build),
        ("SW_START_COMMAND", &data.commands.start),
    ] {
        if line.trim().is_empty() {
            return Err(EnvError::new(name, "this command cannot be empty; write `true` for one that does nothing"));
        }
    }
    if data.migrate == Migrate::Safe && data.commands.migrate.trim().is_empty() {
        return Err(EnvError::new("SW_MIGRATE_COMMAND", "this command cannot be empty while migrations are on"));
    }
    Ok(())
}

/// Why a run failed, in its own words (`PortTaken`, `BuildFailed`, …): the last marker line of its output.
pub fn reason(output: &str) -> Option<&str> {
    let word = output.lines().rev().find_map(|line| line.trim_end().strip_prefix(REASON_MARKER))?;
    let shape = (1..=40).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_alphabetic());
    shape.then_some(word)
}

/// The digest of a script. Line ends and trailing blank lines do not count (hosts rewrite them), nor does the health path:
/// it is looked at after a deploy and is no reason for one (interface 2); the next deploy takes it along.
pub fn digest_of(text: &str, key: &crate::resource::secret::DigestKey) -> crate::resource::secret::Digest {
    let counted: Vec<&str> = text.lines().filter(|line| !line.starts_with("SW_HEALTH_PATH=")).collect();
    key.digest(counted.join("\n").trim_end().as_bytes())
}
