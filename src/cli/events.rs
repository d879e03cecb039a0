//! `events [CLIENT]`: what happened, oldest first; `--follow` goes on.

use std::time::Duration;

use serde::Serialize;

use crate::app::Access;
use crate::cli::Exit;
use crate::cli::session::{self, Session};
use crate::cli::terminal::{self, CYAN, DIM, Format, YELLOW, paint};
use crate::resource::name::ClientName;
use crate::store::{Event, EventKind, Store};

/// How often `--follow` looks.
const FOLLOW_POLL: Duration = Duration::from_millis(250);
/// Events read at once from the state.
const PAGE: usize = 1_000;

/// Arguments of `events`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Of one client alone
    client: Option<String>,
    /// Go on, until Ctrl-C
    #[arg(long, short)]
    follow: bool,
    /// At most this many, the newest
    #[arg(long, short = 'n', default_value_t = 50)]
    limit: usize,
    /// How it is printed; json and yaml print one document, with --follow one a line or document
    #[arg(long, short, value_enum, default_value_t)]
    output: Format,
}

#[derive(Serialize)]
struct Document<'a> {
    events: &'a [Event],
}

/// Prints events.
///
/// # Errors
/// The state cannot be read; there is no such client.
pub async fn run(session: &Session, args: &Args) -> anyhow::Result<Exit> {
    let name = args.client.as_deref().map(session::client_name).transpose()?;
    let store = session.store(Access::Look).await?;
    let known = newest(&*store, name.as_ref(), args.limit).await?;
    if let Some(name) = &name
        && known.is_empty()
    {
        session::record(&*store, name).await?; // a client that went still has its events; one that never was has none
    }
    if !args.follow {
        terminal::print_data(args.output, &Document { events: &known }, || known.iter().map(line).collect())?;
        return Ok(Exit::Done);
    }
    follow(&*store, name.as_ref(), args.output, known).await
}

/// The newest events, oldest first.
///
/// # Errors
/// The state cannot be read.
pub async fn newest(store: &dyn Store, client: Option<&ClientName>, limit: usize) -> anyhow::Result<Vec<Event>> {
    let mut newest: Vec<Event> = Vec::new();
    let mut after = 0;
    loop {
        let page = store.events(client, after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(newest) };
        after = last.id;
        newest.extend(page);
        newest.drain(..newest.len().saturating_sub(limit));
    }
}

async fn follow(
    store: &dyn Store,
    client: Option<&ClientName>,
    format: Format,
    known: Vec<Event>,
) -> anyhow::Result<Exit> {
    let mut after = known.last().map_or(0, |event| event.id);
    let mut page = known;
    loop {
        for event in &page {
            match format {
                Format::Text => terminal::print(&line(event))?,
                Format::Json => terminal::print(&format!("{}\n", serde_json::to_string(event)?))?,
                Format::Yaml => terminal::print(&format!("---\n{}", serde_yaml::to_string(event)?))?,
            }
            after = after.max(event.id);
        }
        tokio::select! {
            () = tokio::time::sleep(FOLLOW_POLL) => {}
            _ = tokio::signal::ctrl_c() => return Ok(Exit::Done),
        }
        page = store.events(client, after, PAGE).await?;
    }
}

/// One event on one line.
pub fn line(event: &Event) -> String {
    let style = match event.kind {
        EventKind::Normal => CYAN,
        EventKind::Warning => YELLOW,
    };
    let client = event.client.as_ref().map_or("-", ClientName::as_str);
    format!(
        "{}  {:<20}  {}  {}\n",
        paint(DIM, format_args!("{:.0}", event.at)),
        client,
        paint(style, &event.reason),
        terminal::one_line(&event.message)
    )
}
