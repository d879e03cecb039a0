//! `config`: every setting with its origin, secrets masked.

use crate::cli::Exit;
use crate::cli::session::Session;
use crate::cli::terminal::{self, DIM, Format, paint};

/// Arguments of `config`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How it is printed
    #[arg(long, short, value_enum, default_value_t)]
    output: Format,
}

/// Prints all settings.
///
/// # Errors
/// Stdout cannot be written.
pub fn run(session: &Session, args: &Args) -> anyhow::Result<Exit> {
    let rows = &session.loaded.rows;
    terminal::print_data(args.output, rows, || {
        let width = rows.iter().map(|row| row.key.len()).max().unwrap_or(0);
        let lines = rows.iter().map(|row| {
            let value = row.value.as_deref().map_or_else(|| paint(DIM, "not set"), terminal::one_line);
            format!("{:width$}  {value}  {}\n", row.key, paint(DIM, format_args!("({})", row.origin)))
        });
        lines.collect()
    })?;
    Ok(Exit::Done)
}
