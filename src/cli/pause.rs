//! `pause` and `resume`: nothing is written for a client, or for all, in between. Works with and without a daemon.

use std::sync::Arc;

use clap::ArgGroup;
use jiff::Timestamp;

use crate::app::Access;
use crate::cli::request::{Fate, about, put_or_do, tell};
use crate::cli::session::{self, Session};
use crate::cli::{Exit, when};
use crate::resource::name::ClientName;
use crate::store::{Ask, Event, EventKind, Store};

/// Arguments of `pause`.
#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("pause_whom").required(true).args(["client", "all"]))]
pub struct PauseArgs {
    /// The client
    client: Option<String>,
    /// All clients
    #[arg(long)]
    all: bool,
    /// Why, for whoever finds it paused
    #[arg(long, value_parser = reason)]
    reason: String,
    /// Ends by itself: after 2h, at 2026-12-01T08:00:00Z, on 2026-12-01
    #[arg(long, value_name = "WHEN", value_parser = until)]
    until: Option<Timestamp>,
}

/// Arguments of `resume`.
#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("resume_whom").required(true).args(["client", "all"]))]
pub struct ResumeArgs {
    /// The client
    client: Option<String>,
    /// All clients: lifts the pause of all; clients that are paused on their own stay so
    #[arg(long)]
    all: bool,
    /// Why, kept with the request
    #[arg(long, value_parser = reason)]
    reason: Option<String>,
}

/// A reason that says something.
///
/// # Errors
/// It is empty.
pub fn reason(text: &str) -> Result<String, String> {
    let text = crate::cli::terminal::one_line(text);
    if text.is_empty() { Err("say why, in a few words".into()) } else { Ok(text) }
}

/// A moment in the future, as [`when::moment`] reads it.
///
/// # Errors
/// It is none, or it is over.
pub fn until(text: &str) -> Result<Timestamp, String> {
    when::moment(text, session::now())
}

/// Pauses.
///
/// # Errors
/// The state cannot be used; there is no such client.
pub async fn pause(session: &Session, args: &PauseArgs) -> anyhow::Result<Exit> {
    let (store, client) = whom(session, args.client.as_deref()).await?;
    let ask = Ask::Pause { client: client.clone(), reason: args.reason.clone(), until: args.until };
    let fate = put_or_do(session, &*store, ask).await?;
    let until = args.until.map(|at| format!(" until {at:.0}")).unwrap_or_default();
    note(&*store, client, "Paused", &format!("a person paused it{until}: {}", args.reason), &fate).await?;
    Ok(tell(session, &fate, "the pause"))
}

/// Resumes.
///
/// # Errors
/// The state cannot be used; there is no such client.
pub async fn resume(session: &Session, args: &ResumeArgs) -> anyhow::Result<Exit> {
    let (store, client) = whom(session, args.client.as_deref()).await?;
    let fate = put_or_do(session, &*store, Ask::Resume(client.clone())).await?;
    let why = args.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    note(&*store, client, "Resumed", &format!("a person resumed it{why}"), &fate).await?;
    Ok(tell(session, &fate, "the resumption"))
}

async fn whom(session: &Session, client: Option<&str>) -> anyhow::Result<(Arc<dyn Store>, Option<ClientName>)> {
    match client {
        Some(client) => about(session, client).await.map(|(store, name)| (store, Some(name))),
        None => Ok((session.store(Access::Ask).await?, None)),
    }
}

/// Who paused what and why is history.
async fn note(
    store: &dyn Store,
    client: Option<ClientName>,
    reason: &str,
    message: &str,
    fate: &Fate,
) -> anyhow::Result<()> {
    if !matches!(fate, Fate::Refused(_)) {
        let (reason, message) = (reason.to_owned(), message.to_owned());
        let event =
            Event { id: 0, at: session::now(), client, kind: EventKind::Normal, reason, message, reconcile: None };
        store.append_event(&event).await?;
    }
    Ok(())
}
