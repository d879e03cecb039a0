//! A site at a host, its states, and the small things it is made of.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::resource::name::{HostName, RepositorySlug, ServerId};

/// Why a site cannot be wanted completely yet: which ports others hold is not known. The one such reason that says nothing
/// against the spec.
pub const PORTS_UNKNOWN: &str = "PortsUnknown";

/// A server as the host describes it. Ploi gives no IPv6 address (decisions 18).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// Its id.
    pub id: ServerId,
    /// Its name, for people.
    pub name: String,
    /// The IPv4 address that address records point to.
    pub address: std::net::Ipv4Addr,
    /// Whether the host says it is up.
    pub active: bool,
}

/// A site, as far as an account listing shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Site {
    /// Where it runs.
    pub server: ServerId,
    /// Its root domain: the natural key within the server.
    pub domain: HostName,
    /// The system user that owns its directory.
    pub system_user: String,
    /// What the host says of it.
    pub status: SiteStatus,
    /// Whether a repository is installed.
    pub has_repository: bool,
    /// When the host last finished (or began, it does not say) a deploy; the host's own text, compared only for change.
    pub last_deploy_at: Option<String>,
    /// Whether pushes deploy by themselves (reported, never toggled: decisions 8).
    pub quick_deploy: bool,
    /// While a deploy runs: what it has printed so far, as it is; whoever shows it masks it first.
    pub deploy_log: Option<String>,
}

/// A site's state. Unknown texts are transitional: never an error and never ready (contracts/ploi.md 5).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SiteStatus {
    /// Idle; a deploy that was just asked for may not show yet.
    Active,
    /// A deploy runs.
    Deploying,
    /// Idle after a failed deploy.
    DeployFailed,
    /// Serves the host's suspended page.
    Suspended,
    /// On its way out.
    Deleting,
    /// Anything else, in the host's words: `created`, `building`, `repository-installing`, …
    Transitional(String),
}

impl SiteStatus {
    /// Only an idle site may be mutated (contracts/ploi.md 7).
    pub fn is_idle(&self) -> bool {
        matches!(self, SiteStatus::Active | SiteStatus::DeployFailed)
    }

    /// The host's word.
    pub fn as_str(&self) -> &str {
        match self {
            SiteStatus::Active => "active",
            SiteStatus::Deploying => "deploying",
            SiteStatus::DeployFailed => "deploy-failed",
            SiteStatus::Suspended => "suspended",
            SiteStatus::Deleting => "deleting",
            SiteStatus::Transitional(text) => text,
        }
    }
}

/// What is installed in a site's directory. The branch is data of a deploy and not compared (decisions 2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repository {
    /// `owner/name`.
    pub slug: RepositorySlug,
    /// Branch as installed; only a new site gets the wanted one.
    pub branch: String,
}

/// The pieces that a host lets us set. The plan skips the others, so a second host needs no change there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Piece {
    /// A file in the way of the clone must be cleared by a script first.
    Placeholder,
    /// The repository is installed on its own.
    Repository,
    /// The environment.
    Environment,
    /// A deploy script.
    DeployScript,
    /// A virtual host text that carries the port and the ACME root.
    VirtualHost,
    /// Further host names.
    Alias,
    /// A named process that outlives a site's removal.
    Process,
    /// Certificates are ordered by us.
    Certificate,
    /// Whether the server can build is worth a look of its own.
    ServerCheck,
}

/// All pieces of a host.
pub type Pieces = BTreeSet<Piece>;

/// What a script at the server is run for. Each is idempotent: running one twice is running it once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Purpose {
    /// Remove the files that a new site holds and that block the clone.
    ClearPlaceholder,
    /// `nginx -t`, then reload.
    ReloadWebServer,
    /// Start the client's process again from its current release.
    StartProcess,
    /// Stop the client's process and save the process list.
    StopProcess,
    /// Stop and forget the client's process.
    DeleteProcess,
    /// Read-only look at what a build needs.
    CheckServer,
}

impl Purpose {
    /// Each of them.
    pub const ALL: [Purpose; 6] = [
        Purpose::ClearPlaceholder,
        Purpose::ReloadWebServer,
        Purpose::StartProcess,
        Purpose::StopProcess,
        Purpose::DeleteProcess,
        Purpose::CheckServer,
    ];
}

/// The state of a script run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RunState {
    /// Not begun or under way.
    Pending,
    /// Ended; the exit code decides, the output (cut, redacted) explains.
    Finished {
        /// Exit code of the script.
        exit_code: i32,
        /// Its output, cut to a few kilobytes.
        output: String,
    },
}
