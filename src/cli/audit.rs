//! `audit [CLIENT]`: every write to a provider, before and after, oldest first.

use std::fmt::Write as _;

use serde::Serialize;

use crate::app::Access;
use crate::cli::Exit;
use crate::cli::session::{self, Session};
use crate::cli::terminal::{self, DIM, Format, RED, paint};
use crate::resource::name::ClientName;
use crate::store::Store;
use crate::store::history::Write;

/// Rows read at once from the state.
const PAGE: usize = 1_000;

/// Arguments of `audit`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Of one client alone
    client: Option<String>,
    /// At most this many, the newest
    #[arg(long, short = 'n', default_value_t = 50)]
    limit: usize,
    /// How it is printed
    #[arg(long, short, value_enum, default_value_t)]
    output: Format,
}

#[derive(Serialize)]
struct Document {
    writes: Vec<Write>,
}

/// Prints writes.
///
/// # Errors
/// The state cannot be read; there is no such client.
pub async fn run(session: &Session, args: &Args) -> anyhow::Result<Exit> {
    let name = args.client.as_deref().map(session::client_name).transpose()?;
    let store = session.store(Access::Look).await?;
    let writes = newest(&*store, name.as_ref(), args.limit).await?;
    if let Some(name) = &name
        && writes.is_empty()
    {
        session::record(&*store, name).await?;
    }
    let document = Document { writes };
    terminal::print_data(args.output, &document, || document.writes.iter().map(text).collect())?;
    Ok(Exit::Done)
}

async fn newest(store: &dyn Store, client: Option<&ClientName>, limit: usize) -> anyhow::Result<Vec<Write>> {
    let mut newest: Vec<Write> = Vec::new();
    let mut after = 0;
    loop {
        let page = store.writes(client, after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(newest) };
        after = last.id;
        newest.extend(page);
        newest.drain(..newest.len().saturating_sub(limit));
    }
}

fn text(write: &Write) -> String {
    let mut out = format!(
        "{}  {:<20}  {} {}: {}\n",
        paint(DIM, format_args!("{:.0}", write.at)),
        write.client,
        write.op,
        terminal::one_line(&write.resource.to_string()),
        terminal::one_line(&write.reason),
    );
    for change in &write.changes {
        let side = |value: &Option<String>| terminal::one_line(value.as_deref().unwrap_or("-"));
        let _ = writeln!(out, "    {}: {} -> {}", change.path, side(&change.from), side(&change.to));
    }
    if let Some(failure) = &write.failure {
        let _ = writeln!(out, "    {}", paint(RED, terminal::one_line(failure)));
    }
    out
}
