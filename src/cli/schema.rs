//! `schema`: the JSON Schema of a spec, for editors and pipelines.

use crate::cli::{Exit, terminal};

/// Prints it.
///
/// # Errors
/// Stdout cannot be written.
pub fn run() -> anyhow::Result<Exit> {
    terminal::print(&crate::spec::schema::text())?;
    Ok(Exit::Done)
}
