//! `approve HASH`: releases a held set of removals, exactly that one (decisions 28), believes a listing or another server, or ends recovery.

use crate::app::Access;
use crate::cli::request::{Fate, put_or_do, tell};
use crate::cli::session::Session;
use crate::cli::{Exit, terminal};
use crate::controller::absence::Absences;
use crate::controller::doubts::Doubts;
use crate::controller::identities::Identities;
use crate::controller::recovery::Recovery;
use crate::store::Ask;

/// Arguments of `approve`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The hash that `sitewright deletions` or `sitewright status` shows
    #[arg(value_parser = hash)]
    hash: String,
}

fn hash(text: &str) -> Result<String, String> {
    let text = text.trim().to_ascii_lowercase();
    if text.is_empty() { Err("name the hash that `sitewright deletions` shows".into()) } else { Ok(text) }
}

/// Approves; a hash that is not the held set's is a failure.
///
/// # Errors
/// The state cannot be used.
pub async fn run(session: &Session, args: &Args) -> anyhow::Result<Exit> {
    let look = session.store(Access::Look).await?;
    if let Some(recovery) = Recovery::load(&*look).await?.filter(|recovery| recovery.hash() == args.hash) {
        let names: Vec<&str> = recovery.clients.iter().map(|name| name.as_str()).collect();
        terminal::say(&format!("this trusts the state again; taken back were: {}", names.join(", ")));
        return ask(session, args).await;
    }
    if let Some((place, clients)) = Doubts::load(&*look).await?.approve(&args.hash) {
        let names: Vec<&str> = clients.iter().map(|name| name.as_str()).collect();
        terminal::say(&format!("these count as gone from {place} and are put back: {}", names.join(", ")));
        return ask(session, args).await;
    }
    if let Some(place) = Identities::load(&*look).await?.approve(&args.hash) {
        terminal::say(&format!("this takes what stands there now for {place}"));
        return ask(session, args).await;
    }
    let mut absences = Absences::load(&*look).await?;
    if let Err(sentence) = absences.approve(&args.hash) {
        terminal::error(&sentence);
        return Ok(Exit::Failed);
    }
    if let Some(held) = &absences.held {
        let names: Vec<&str> = held.names.iter().map(|name| name.as_str()).collect();
        terminal::say(&format!("this takes down: {}", names.join(", ")));
    }
    ask(session, args).await
}

async fn ask(session: &Session, args: &Args) -> anyhow::Result<Exit> {
    let store = session.store(Access::Ask).await?;
    let fate: Fate = put_or_do(session, &*store, Ask::Approve(args.hash.clone())).await?;
    Ok(tell(session, &fate, "the approval"))
}
