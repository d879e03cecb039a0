//! `logs CLIENT`: what a deploy printed; `--follow` while it runs.

use std::time::Duration;

use anyhow::Context as _;
use serde::Serialize;

use crate::app::Access;
use crate::cli::Exit;
use crate::cli::session::{self, Session};
use crate::cli::terminal::{self, Format};
use crate::resource::name::ClientName;
use crate::store::Store;
use crate::store::history::{DEPLOYMENTS_MAX, Deployment, DeploymentState};

/// How often `--follow` looks; the host is looked at every `deploy.poll`.
const FOLLOW_POLL: Duration = Duration::from_millis(250);

/// Arguments of `logs`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The client
    client: String,
    /// The release's number; the newest without it
    #[arg(long)]
    release: Option<u64>,
    /// Go on until the deploy has ended; exit 1 where it did not end well
    #[arg(long, short)]
    follow: bool,
    /// How it is printed
    #[arg(long, short, value_enum, default_value_t)]
    output: Format,
}

#[derive(Serialize)]
struct Document<'a> {
    deployment: &'a Deployment,
    log: &'a str,
}

/// Prints a log.
///
/// # Errors
/// The state cannot be read; there is no such client or release.
pub async fn run(session: &Session, args: &Args) -> anyhow::Result<Exit> {
    let name = session::client_name(&args.client)?;
    let store = session.store(Access::Look).await?;
    let deployment = wanted(&*store, &name, args.release).await?;
    if args.follow && args.output == Format::Text {
        return follow(&*store, deployment.id).await;
    }
    let log = store.deployment_log(deployment.id).await?.unwrap_or_default();
    let document = Document { deployment: &deployment, log: &log };
    terminal::print_data(args.output, &document, || shown(&log))?;
    Ok(Exit::Done)
}

async fn wanted(store: &dyn Store, name: &ClientName, release: Option<u64>) -> anyhow::Result<Deployment> {
    let rows = store.deployments(Some(name), None, DEPLOYMENTS_MAX).await?;
    if rows.is_empty() {
        session::record(store, name).await?;
    }
    let mut rows = rows.into_iter();
    match release {
        None => rows.next().with_context(|| format!("nothing was deployed for {name} yet")),
        Some(number) => rows.find(|row| row.number == number).with_context(|| {
            format!("no release {number} of {name} is remembered; `sitewright deployments {name}` lists them")
        }),
    }
}

/// Prints what is new; where the text was replaced by another one (the host's final log), that from its beginning.
async fn follow(store: &dyn Store, id: i64) -> anyhow::Result<Exit> {
    let mut printed = String::new();
    loop {
        let row = store.deployment(id).await?.context("the deploy is no longer remembered")?;
        let log = store.deployment_log(id).await?.unwrap_or_default();
        if let Some(new) = log.strip_prefix(printed.as_str()) {
            terminal::print(&terminal::clean(new))?;
        } else {
            terminal::print(&shown(&log))?;
        }
        printed = log;
        if row.state != DeploymentState::Running {
            let ended = row.reason.as_deref().map_or_else(String::new, |reason| format!(": {reason}"));
            terminal::say(&format!("release {} {:?}{ended}", row.number, row.state));
            return Ok(if row.state == DeploymentState::Succeeded { Exit::Done } else { Exit::Failed });
        }
        tokio::select! {
            () = tokio::time::sleep(FOLLOW_POLL) => {}
            _ = tokio::signal::ctrl_c() => return Ok(Exit::Done),
        }
    }
}

fn shown(log: &str) -> String {
    let clean = terminal::clean(log);
    if clean.is_empty() || clean.ends_with('\n') { clean } else { format!("{clean}\n") }
}
