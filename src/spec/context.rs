//! Everything outside the file that decides what a client is wanted to be, as plain data.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::resource::deploy_script::Commands;
use crate::resource::mark::Mark;
use crate::resource::name::Commit;
use crate::resource::owned::Allocation;
use crate::resource::secret::{DigestKey, Secret};
use crate::resource::site::Pieces;
use crate::spec::defaults::Defaults;
use crate::spec::features::Catalogue;
use crate::spec::secret_ref::SecretRef;

/// Name of the generated secret that signs the site's sessions.
pub const PAYLOAD_SECRET: &str = "payload_secret";

/// What comes from the settings and the store for one client.
#[derive(Debug, Clone, PartialEq)]
pub struct Context {
    /// The client's ownership mark.
    pub mark: Mark,
    /// Port and names that were given out for life.
    pub allocation: Allocation,
    /// Generated secrets by name; [`PAYLOAD_SECRET`] goes into the environment.
    pub secrets: BTreeMap<String, Secret>,
    /// The address at which the site reaches its database, or why there is none. Not asked for `provider: external`.
    pub database_url: Result<Secret, Unavailable>,
    /// Secret references of this spec with what they gave; the error is one clause for people, without the value.
    pub references: BTreeMap<SecretRef, Result<Secret, String>>,
    /// The shared environment.
    pub shared: Vec<SharedVariable>,
    /// What specs may leave open.
    pub defaults: Defaults,
    /// `PLATFORM_BASE_URL` as it was set; handed to sites.
    pub platform_base_url: Option<String>,
    /// `deploy.timeout`.
    pub deploy_timeout: Duration,
    /// `deploy.commands`.
    pub commands: Commands,
    /// Who is configured.
    pub providers: Providers,
    /// Head of the branch, as far as it is known.
    pub branch_head: Option<Commit>,
    /// The features there are.
    pub catalogue: Arc<Catalogue>,
    /// Makes the digests that stand for secrets.
    pub digest_key: DigestKey,
}

/// Why something is not there: the pair that goes to a condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unavailable {
    /// CamelCase.
    pub reason: &'static str,
    /// One sentence with the way out.
    pub message: String,
}

/// Providers that have their credentials, by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Providers {
    /// Hosts with the pieces they let us set.
    pub hosts: BTreeMap<String, Pieces>,
    /// Providers of databases.
    pub databases: BTreeSet<String>,
    /// Publishers of names.
    pub dns: BTreeSet<String>,
}

/// One name of the setting `sharedEnvironment`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedVariable {
    /// The variable, without the `!`.
    pub name: String,
    /// Whether sites must have it (`NAME!`).
    pub required: bool,
    /// Its value in the daemon's environment.
    pub value: Option<Secret>,
}

impl SharedVariable {
    /// One entry of the setting, `NAME` or `NAME!`, with the value that the daemon has.
    pub fn new(entry: &str, value: Option<Secret>) -> Self {
        let name = entry.strip_suffix('!').unwrap_or(entry);
        SharedVariable { name: name.to_owned(), required: name.len() < entry.len(), value }
    }
}
