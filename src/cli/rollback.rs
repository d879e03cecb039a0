//! `rollback CLIENT`: an earlier release once more, whatever the branch says.

use std::time::Duration;

use anyhow::Context as _;
use jiff::Timestamp;

use crate::cli::pause::{reason, until};
use crate::cli::request::{Fate, about, put, tell};
use crate::cli::session::Session;
use crate::cli::wait::{Goal, Waiter};
use crate::cli::{Exit, when};
use crate::controller::requests::served_before;
use crate::store::Ask;

/// Arguments of `rollback`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The client
    client: String,
    /// The release's number (`sitewright deployments CLIENT` lists them); the one that served before without it
    #[arg(long, value_name = "RELEASE")]
    to: Option<u64>,
    /// Why, for whoever finds it rolled back
    #[arg(long, value_parser = reason)]
    reason: String,
    /// Ends by itself: after 2h, at 2026-12-01T08:00:00Z, on 2026-12-01
    #[arg(long, value_name = "WHEN", value_parser = until)]
    until: Option<Timestamp>,
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
/// The state cannot be used; there is no such client; nothing served before.
pub async fn run(session: &Session, args: &Args) -> anyhow::Result<Exit> {
    let (store, client) = about(session, &args.client).await?;
    let record = store.client(&client).await?.context("the client is gone")?;
    let to = match args.to {
        Some(number) => number,
        None => served_before(&*store, &record).await?.map_err(anyhow::Error::msg)?,
    };
    let ask = Ask::Rollback { client: client.clone(), to, reason: args.reason.clone(), until: args.until };
    let fate = put(session, &*store, ask).await?;
    let exit = tell(session, &fate, "the rollback");
    if !args.wait || matches!(fate, Fate::Refused(_)) {
        return Ok(exit);
    }
    Waiter { store, name: client, timeout: args.timeout }.until(&Goal::RolledBack(to)).await
}
