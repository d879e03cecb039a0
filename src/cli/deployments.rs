//! `deployments [CLIENT]`: every deploy that is remembered, the newest first.

use comfy_table::Cell;
use jiff::Timestamp;
use serde::Serialize;

use crate::app::Access;
use crate::cli::session::{self, Session};
use crate::cli::terminal::{self, Format};
use crate::cli::{Exit, when};
use crate::store::history::{Deployment, DeploymentState};

/// Arguments of `deployments`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Of one client alone
    client: Option<String>,
    /// At most this many, the newest
    #[arg(long, short = 'n', default_value_t = 20)]
    limit: usize,
    /// How it is printed; json and yaml show the configuration too
    #[arg(long, short, value_enum, default_value_t)]
    output: Format,
}

#[derive(Serialize)]
struct Document {
    deployments: Vec<Deployment>,
}

/// Prints deploys.
///
/// # Errors
/// The state cannot be read; there is no such client.
pub async fn run(session: &Session, args: &Args) -> anyhow::Result<Exit> {
    let name = args.client.as_deref().map(session::client_name).transpose()?;
    let store = session.store(Access::Look).await?;
    let deployments = store.deployments(name.as_ref(), None, args.limit).await?;
    if let Some(name) = &name
        && deployments.is_empty()
    {
        session::record(&*store, name).await?; // a client that went still has its deploys
    }
    let document = Document { deployments };
    terminal::print_data(args.output, &document, || text(&document.deployments, session::now()))?;
    Ok(Exit::Done)
}

fn text(deployments: &[Deployment], now: Timestamp) -> String {
    if deployments.is_empty() {
        return "nothing was deployed yet\n".into();
    }
    let mut table = terminal::table(&["CLIENT", "RELEASE", "STATE", "COMMIT", "STARTED", "TOOK", "HEALTH", "BECAUSE"]);
    for one in deployments {
        let took = one.finished_at.map_or_else(String::new, |end| when::took(one.started_at, end));
        table.add_row([
            Cell::new(&one.client),
            Cell::new(one.number),
            Cell::new(state(one)),
            Cell::new(one.commit.as_deref().map_or("-", |commit| commit.get(..12).unwrap_or(commit))),
            Cell::new(when::absolute(one.started_at, now)),
            Cell::new(took),
            Cell::new(one.health.as_deref().unwrap_or("-")),
            Cell::new(terminal::one_line(&one.trigger)),
        ]);
    }
    terminal::render(&table)
}

/// `failed (BuildFailed)`.
fn state(one: &Deployment) -> String {
    let word = match one.state {
        DeploymentState::Running => "running",
        DeploymentState::Succeeded => "succeeded",
        DeploymentState::Failed => "failed",
        DeploymentState::Lost => "lost",
    };
    let reason = one.reason.as_deref().map(|reason| format!(" ({})", terminal::one_line(reason)));
    format!("{word}{}", reason.unwrap_or_default())
}
