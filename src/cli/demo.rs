//! `demo`: the whole loop on simulators, until Ctrl-C. Watches the directory of `--specs`.

use crate::app;
use crate::cli::session::Session;
use crate::cli::{Exit, run};
use crate::telemetry;

/// Arguments of `demo`; the watched directory is the flag `--specs` of every command.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs the demo.
///
/// # Errors
/// A simulator cannot be served.
pub async fn run(session: &Session, _args: &Args) -> anyhow::Result<Exit> {
    let logs = run::wants_logs(session);
    if logs {
        telemetry::init(&session.settings().log, session.settings().log_format)?;
    }
    let demo = app::demo::open(session.settings()).await?;
    let progress = run::display(session, &demo.app, logs)?;
    demo.notes.iter().for_each(|note| progress.say(note));
    let ended = run::serve(session, &demo.app, &progress).await;
    progress.finish().await;
    drop(demo.simulators);
    ended
}
