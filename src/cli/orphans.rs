//! `orphans`: what carries this installation's mark and belongs to no client; looked for, never touched.

use comfy_table::Cell;
use serde::Serialize;

use crate::app::{self, Access};
use crate::cli::Exit;
use crate::cli::session::Session;
use crate::cli::terminal::{self, Format};
use crate::controller::orphans::{Orphan, OrphanLook};
use crate::resource::name::{Instance, ServerId};

/// Arguments of `orphans`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How it is printed
    #[arg(long, short, value_enum, default_value_t)]
    output: Format,
}

#[derive(Serialize)]
struct Found {
    orphans: Vec<Orphan>,
}

/// Looks at every account and prints what is marked and nobody's.
///
/// # Errors
/// The state cannot be read, or an account cannot be seen whole: then nothing is said of any.
pub async fn run(session: &Session, args: &Args) -> anyhow::Result<Exit> {
    let settings = session.settings();
    let app = app::open(settings, Access::Look).await?;
    let instance = app.store.instance(None).await?;
    let records = app.store.clients().await?;
    let server = settings.providers.ploi_server_id.as_deref().map(ServerId::trusted);
    let orphans = OrphanLook::new(&app.providers, &instance, &records, server).all().await?;
    let found = Found { orphans };
    terminal::print_data(args.output, &found, || text(&found.orphans, &instance))?;
    Ok(Exit::Done)
}

fn text(orphans: &[Orphan], instance: &Instance) -> String {
    if orphans.is_empty() {
        return format!("nothing carries the mark of {instance} without a client\n");
    }
    let mut table = terminal::table(&["KIND", "PROVIDER", "ID", "NAME", "MADE FOR"]);
    for one in orphans {
        let client = one.client.clone().unwrap_or_else(|| one.uid.to_string());
        let cells = [&one.kind.to_string(), &one.provider, &one.id, &one.name, &client];
        table.add_row(cells.map(|text| Cell::new(terminal::one_line(text))));
    }
    format!(
        "{}\nnothing removes these: put the client's file back and they are taken in again, or remove them by hand\n",
        terminal::render(&table)
    )
}
