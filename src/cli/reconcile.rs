//! `reconcile CLIENT`: a pass now, with every backoff forgotten.

use std::time::Duration;

use crate::cli::request::{Fate, about, put, tell};
use crate::cli::session::Session;
use crate::cli::wait::{Goal, Waiter};
use crate::cli::{Exit, when};
use crate::store::Ask;

/// Arguments of `reconcile`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The client
    client: String,
    /// Follow until it is ready, or needs a person
    #[arg(long)]
    wait: bool,
    /// How long to follow
    #[arg(long, value_parser = when::duration, default_value = "30m", requires = "wait")]
    timeout: Duration,
}

/// Asks, and follows where it is told to.
///
/// # Errors
/// The state cannot be used; there is no such client.
pub async fn run(session: &Session, args: &Args) -> anyhow::Result<Exit> {
    let (store, name) = about(session, &args.client).await?;
    let before = store.client(&name).await?.and_then(|record| record.status.next_attempt);
    let fate = put(session, &*store, Ask::Reconcile(name.clone())).await?;
    let exit = tell(session, &fate, "the pass");
    if !args.wait || matches!(fate, Fate::Refused(_)) {
        return Ok(exit);
    }
    Waiter { store, name, timeout: args.timeout }.until(&Goal::ReadyAfter(before)).await
}
