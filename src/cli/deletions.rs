//! `deletions`: what waits to be deleted and when, what is held, what is kept.

use comfy_table::Cell;
use jiff::Timestamp;

use crate::api::deletions::{self, Deletions};
use crate::app::Access;
use crate::cli::session::{self, Session};
use crate::cli::terminal::{self, BOLD, Format, YELLOW, paint};
use crate::cli::{Exit, when};

/// Arguments of `deletions`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How it is printed
    #[arg(long, short, value_enum, default_value_t)]
    output: Format,
}

/// Prints everything about removals.
///
/// # Errors
/// The state cannot be read.
pub async fn run(session: &Session, args: &Args) -> anyhow::Result<Exit> {
    let store = session.store(Access::Look).await?;
    let deletions = deletions::deletions(&*store, &session.lens()?).await?;
    terminal::print_data(args.output, &deletions, || text(&deletions, session::now()))?;
    Ok(Exit::Done)
}

fn text(deletions: &Deletions, now: Timestamp) -> String {
    let mut parts = Vec::new();
    if let Some(held) = &deletions.held {
        parts.push(format!(
            "{} {} since {}\n  {}\n  `sitewright approve {}` releases exactly these: {}\n",
            paint(YELLOW, "held:"),
            held.names.len(),
            when::absolute(held.since, now),
            terminal::one_line(&held.reason),
            held.hash,
            held.names.join(", "),
        ));
    }
    if !deletions.scheduled.is_empty() {
        let mut table = terminal::table(&["NAME", "PHASE", "OFFLINE SINCE", "SITE REMOVED", "DATABASE", "UNDO"]);
        for client in &deletions.scheduled {
            let database = client
                .database_drop_at
                .map_or_else(|| "kept".to_owned(), |at| format!("dropped {}", when::relative(at, now)));
            table.add_row([
                Cell::new(&client.name),
                terminal::phase_cell(client.phase),
                Cell::new(format!("{:.0}", client.offline_since)),
                Cell::new(when::absolute(client.site_removal_at, now)),
                Cell::new(database),
                Cell::new(terminal::one_line(&client.undo)),
            ]);
        }
        parts.push(format!("{}\n{}", paint(BOLD, "On their way out"), terminal::render(&table)));
    }
    if !deletions.missing.is_empty() {
        let lines = deletions.missing.iter().map(|missing| {
            format!(
                "  {}: its file is not there since {} ({} scans)\n",
                missing.name,
                when::absolute(missing.since, now),
                missing.scans
            )
        });
        parts.push(format!("{}\n{}", paint(BOLD, "Missing, evidence is gathered"), lines.collect::<String>()));
    }
    if !deletions.retained.is_empty() {
        let mut table = terminal::table(&["NAME", "KIND", "PROVIDER", "ID", "KEPT SINCE"]);
        for kept in &deletions.retained {
            let cells = [&kept.name, &kept.kind.to_string(), &kept.provider, &kept.id, &format!("{:.0}", kept.since)];
            table.add_row(cells.map(|text| Cell::new(terminal::one_line(text))));
        }
        parts.push(format!("{}\n{}", paint(BOLD, "Kept"), terminal::render(&table)));
    }
    if parts.is_empty() { "nothing waits to be deleted\n".into() } else { parts.join("\n") }
}
