//! `deploy CLIENT`: the branch head (or the pinned commit) once more.

use std::time::Duration;

use crate::cli::request::{Fate, about, put, tell};
use crate::cli::session::Session;
use crate::cli::wait::{Goal, Waiter};
use crate::cli::{Exit, when};
use crate::store::Ask;

/// Arguments of `deploy`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The client
    client: String,
    /// Follow until it serves, or failed
    #[arg(long)]
    wait: bool,
    /// How long to follow
    #[arg(long, value_parser = when::duration, default_value = "45m", requires = "wait")]
    timeout: Duration,
}

/// Asks, and follows where it is told to.
///
/// # Errors
/// The state cannot be used; there is no such client.
pub async fn run(session: &Session, args: &Args) -> anyhow::Result<Exit> {
    let (store, name) = about(session, &args.client).await?;
    let asked_before = store.client(&name).await?.map_or(0, |record| record.owned.releases.requested);
    let fate = put(session, &*store, Ask::Deploy(name.clone())).await?;
    let exit = tell(session, &fate, "the deploy");
    if !args.wait || matches!(fate, Fate::Refused(_)) {
        return Ok(exit);
    }
    Waiter { store, name, timeout: args.timeout }.until(&Goal::Deployed(asked_before + 1)).await
}
