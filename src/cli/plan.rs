//! `plan [CLIENT…]`: observe and print what would happen; writes nothing anywhere.

pub mod text;

use std::time::Duration;

use clap::ValueEnum;

use crate::api::plan::PlanDocument;
use crate::api::view;
use crate::app::{self, Access};
use crate::cli::session::{self, Session};
use crate::cli::{Exit, terminal};
use crate::config::Settings;
use crate::resource::name::ClientName;

/// Arguments of `plan`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only these clients
    clients: Vec<String>,
    /// Exit 2 when there is something to do, 0 when there is not
    #[arg(long)]
    detailed_exitcode: bool,
    /// How it is printed
    #[arg(long, short, value_enum, default_value_t)]
    output: PlanFormat,
}

/// How a plan is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum PlanFormat {
    /// For people
    #[default]
    Text,
    /// One JSON document
    Json,
    /// One YAML document
    Yaml,
    /// For a comment at a pull request
    Markdown,
}

/// Plans, and prints.
///
/// # Errors
/// The state or the settings cannot be used; a named client is not there.
pub async fn run(session: &Session, args: &Args) -> anyhow::Result<Exit> {
    let names: Vec<ClientName> =
        args.clients.iter().map(|name| session::client_name(name)).collect::<Result<_, _>>()?;
    // What is asked for now is planned now, also a file that was saved a moment ago.
    let settings = Settings { debounce_quiet: Duration::ZERO, ..session.settings().clone() };
    let app = app::open(&settings, Access::Look).await?;
    let previews = app.controller.preview(&names).await?;
    let document = PlanDocument::of(&previews, &settings);
    match args.output {
        PlanFormat::Text => terminal::print(&text::text(&document))?,
        PlanFormat::Json => terminal::print(&format!("{}\n", serde_json::to_string_pretty(&document)?))?,
        PlanFormat::Yaml => terminal::print(&serde_yaml::to_string(&document)?)?,
        PlanFormat::Markdown => terminal::print(&text::markdown(&document))?,
    }
    let overview = view::overview(&*app.store, &session.lens()?).await?;
    let mut failed = false;
    if let Some(problem) = &overview.directory {
        terminal::error(problem);
        failed = true;
    }
    for file in &overview.files {
        if names.is_empty() || file.client.as_ref().is_none_or(|client| names.contains(client)) {
            terminal::error(&file.problem.message);
            failed = true;
        }
    }
    for name in &names {
        let is_planned = previews.iter().any(|(planned, _)| planned == name);
        if !is_planned && !overview.files.iter().any(|file| file.client.as_ref() == Some(name)) {
            terminal::error(&session::unknown(name.as_str()));
            failed = true;
        }
    }
    Ok(match (failed, args.detailed_exitcode && document.has_work()) {
        (true, _) => Exit::Failed,
        (false, true) => Exit::Changes,
        (false, false) => Exit::Done,
    })
}
