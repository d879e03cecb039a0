//! What every command begins with: flags, settings, the lens on records, the state.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::Args;
use jiff::Timestamp;

use crate::api::view::{self, Lens};
use crate::app::{self, Access};
use crate::cli::terminal;
use crate::config::process::ProcessSource;
use crate::config::{Loaded, Settings};
use crate::resource::name::ClientName;
use crate::store::{ClientRecord, Store};

/// Flags of every command; they win over the environment and the settings file (interface 3).
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Settings")]
pub struct Flags {
    /// Settings file [default: ./sitewright.yaml, where it is there]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The watched directory [default: specs]
    #[arg(long, global = true, value_name = "DIRECTORY")]
    pub specs: Option<PathBuf>,
    /// The state [default: sqlite:.sitewright/state.db]
    #[arg(long, global = true, value_name = "ADDRESS")]
    pub state: Option<String>,
    /// What is logged, as in RUST_LOG [default: info]
    #[arg(long, global = true, value_name = "FILTER")]
    pub log: Option<String>,
    /// Answer every question with yes
    #[arg(long, short = 'y', global = true)]
    pub yes: bool,
}

impl Flags {
    fn pairs(&self) -> Vec<(&'static str, String)> {
        let path = |path: &PathBuf| path.to_string_lossy().into_owned();
        let pairs = [
            ("config", self.config.as_ref().map(path)),
            ("specs", self.specs.as_ref().map(path)),
            ("state", self.state.clone()),
            ("log", self.log.clone()),
        ];
        pairs.into_iter().filter_map(|(key, value)| value.map(|value| (key, value))).collect()
    }
}

/// Flags and settings of this process.
pub struct Session {
    /// The settings with their origins.
    pub loaded: Loaded,
    /// Whether questions are answered with yes.
    pub yes: bool,
}

impl Session {
    /// Reads the settings; `None` after saying everything that is wrong with them.
    pub fn load(flags: &Flags) -> Option<Session> {
        match crate::config::load(&flags.pairs(), &ProcessSource) {
            Ok(loaded) => {
                loaded.warnings.iter().for_each(|warning| terminal::warn(warning));
                Some(Session { loaded, yes: flags.yes })
            }
            Err(errors) => {
                errors.iter().for_each(|error| terminal::error(error));
                None
            }
        }
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.loaded.settings
    }

    /// The state.
    ///
    /// # Errors
    /// It cannot be opened.
    pub async fn store(&self, access: Access) -> anyhow::Result<Arc<dyn Store>> {
        app::open_store(self.settings(), access).await
    }

    /// What views need to read a record.
    ///
    /// # Errors
    /// The feature catalogue cannot be read.
    pub fn lens(&self) -> anyhow::Result<Lens> {
        let (rules, defaults) = app::options::rules(self.settings())?;
        let deletion = &self.settings().deletion;
        Ok(Lens { rules, defaults, grace: deletion.grace, database_grace: deletion.database_grace })
    }
}

/// Now, by the machine's clock.
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// A client's name from the command line; a text that is none is as unknown as a client that is not there.
///
/// # Errors
/// It is no client's name.
pub fn client_name(text: &str) -> anyhow::Result<ClientName> {
    ClientName::parse(text).with_context(|| unknown(text))
}

/// The client's record.
///
/// # Errors
/// There is none, or nothing of it but what was kept.
pub async fn record(store: &dyn Store, name: &ClientName) -> anyhow::Result<ClientRecord> {
    match store.client(name).await? {
        Some(record) if view::is_gone(&record) => {
            bail!("{name} was taken down; `sitewright deletions` shows what was kept of it")
        }
        Some(record) => Ok(record),
        None => bail!("{}", unknown(name.as_str())),
    }
}

/// The sentence about a client that is not there.
pub fn unknown(name: &str) -> String {
    format!("no client is called {}; `sitewright status` lists them", terminal::clean(name))
}
