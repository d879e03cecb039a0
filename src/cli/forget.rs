//! `forget CLIENT`: ends a removal that cannot end by itself; the state lets go of what is left, and names it.

use std::fmt::Write as _;

use crate::app::Access;
use crate::cli::request::{about, put_or_do, tell};
use crate::cli::session::{self, Session};
use crate::cli::{Exit, terminal};
use crate::store::{Ask, ClientRecord};

/// Arguments of `forget`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A client whose file is gone
    client: String,
}

/// Forgets after a confirmation; nothing at any provider is touched.
///
/// # Errors
/// The state cannot be used; there is no such client; nobody can be asked.
pub async fn run(session: &Session, args: &Args) -> anyhow::Result<Exit> {
    let (_, name) = about(session, &args.client).await?;
    let record = session::record(&*session.store(Access::Look).await?, &name).await?;
    terminal::say(&left_behind(&record));
    let question = format!("Forget {name}? Its secrets go with it and cannot be had back. [y/N]");
    if !session.yes && !terminal::confirmed(&question, "say --yes to forget it")? {
        return Ok(Exit::Failed);
    }
    let store = session.store(Access::Ask).await?;
    let fate = put_or_do(session, &*store, Ask::Forget(name)).await?;
    Ok(tell(session, &fate, "the end"))
}

fn left_behind(record: &ClientRecord) -> String {
    if record.owned.resources.is_empty() {
        return format!("nothing of {} is known to be left", record.name);
    }
    let mut text = format!("left behind of {}, for you to remove or to keep:", record.name);
    for resource in &record.owned.resources {
        // Writing to a String cannot fail.
        let name = terminal::one_line(&resource.name);
        let _ = write!(text, "\n  {} {}/{name} (id {})", resource.kind, resource.provider, resource.id);
    }
    text
}
