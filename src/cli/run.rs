//! `run`: the daemon. `--once` ends when every client has settled.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::sync::watch;

use crate::api;
use crate::api::view::{PROVIDERS, ProviderView};
use crate::app::{self, Access, App};
use crate::cli::progress::Progress;
use crate::cli::session::{self, Session};
use crate::cli::{Exit, service, when};
use crate::config::Row;
use crate::config::raw::Origin;
use crate::provider::http::budget::Budget;
use crate::store::Store;
use crate::telemetry;

/// How often the accounts' standing is noted: often enough for people, and one small write.
const PUBLISH_EVERY: Duration = Duration::from_secs(2);

/// Arguments of `run`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Until every client has settled; exit 0 when all are ready, 1 when not
    #[arg(long)]
    once: bool,
    /// How long `--once` may take
    #[arg(long, value_parser = when::duration, default_value = "30m", requires = "once")]
    timeout: Duration,
}

/// Runs until it is told to stop, or has settled.
///
/// # Errors
/// The state is held by another daemon or cannot be used; a setting of a provider cannot be used.
pub async fn run(session: &Session, args: &Args) -> anyhow::Result<Exit> {
    // A person at a terminal, or behind `--once`, sees the display; a collector gets logs, and so does whoever asked.
    let watched = args.once || std::io::stderr().is_terminal();
    let logs = wants_logs(session) || !watched;
    if logs {
        telemetry::init(&session.settings().log, session.settings().log_format)?;
        let specs = session.settings().specs.display();
        tracing::info!(version = env!("CARGO_PKG_VERSION"), %specs, "the daemon starts");
    }
    let app = app::open(session.settings(), Access::Own).await?;
    let progress = display(session, &app, logs)?;
    let ended = if args.once { once(&app, args.timeout).await } else { serve(session, &app, &progress).await };
    progress.finish().await;
    ended
}

/// Whether somebody asked for logs: the live display and a log would tear each other apart, and say the same.
pub fn wants_logs(session: &Session) -> bool {
    let is_set = |row: &Row| matches!(row.key, "log" | "log.format") && row.origin != Origin::Default;
    session.loaded.rows.iter().any(is_set)
}

/// What shows a running installation: its log, or the display.
///
/// # Errors
/// The feature catalogue cannot be read.
pub fn display(session: &Session, app: &App, logs: bool) -> anyhow::Result<Progress> {
    let (store, lens) = (app.store.clone(), session.lens()?);
    Ok(if logs { Progress::messages_alone(store, lens) } else { Progress::start(store, lens) })
}

async fn once(app: &App, timeout: Duration) -> anyhow::Result<Exit> {
    let accounts = tokio::spawn(publish_accounts(app.store.clone(), app.budgets.clone()));
    let ready = tokio::select! {
        ready = app.controller.clone().run_once(timeout) => ready?,
        stopped = stop_signal() => {
            stopped?;
            bail!("stopped before every client had settled; the next run goes on where this one was");
        }
    };
    accounts.abort();
    Ok(if ready { Exit::Done } else { Exit::Failed })
}

/// The loop and the HTTP face, until a signal. A second signal ends it at once.
///
/// # Errors
/// The address is taken; the state cannot be used.
pub async fn serve(session: &Session, app: &App, progress: &Progress) -> anyhow::Result<Exit> {
    let (stopper, stop) = watch::channel(false);
    let face = match app.settings.listen {
        Some(address) => {
            let api = api::Api::new(app.store.clone(), session.lens()?, app.settings.api_token.clone());
            let listener = api::listen(address, &api).await?;
            progress.say(format!("status page: http://{}/", listener.local_addr()?));
            Some(tokio::spawn(api::serve(listener, api, stop.clone())))
        }
        None => None,
    };
    let mut controller = tokio::spawn(app.controller.clone().run(stop));
    let supervision = tokio::spawn(service::tell(app.controller.clone()));
    let accounts = tokio::spawn(publish_accounts(app.store.clone(), app.budgets.clone()));
    tokio::select! {
        stopped = stop_signal() => stopped?,
        ended = &mut controller => {
            ended.context("the loop broke off")??;
            bail!("the loop ended by itself; start it again");
        }
    }
    supervision.abort();
    service::stopping();
    accounts.abort();
    progress.say("stopping; what is under way is finished first (once more Ctrl-C stops now)");
    let _ = stopper.send(true); // both may have ended
    tokio::select! {
        ended = &mut controller => ended.context("the loop broke off")??,
        stopped = stop_signal() => {
            stopped?;
            progress.say("stopped at once; what was cut off is found again by its intent");
            return Ok(Exit::Done);
        }
    }
    if let Some(face) = face {
        face.await.context("the HTTP face broke off")??;
    }
    Ok(Exit::Done)
}

/// Keeps in the state how the accounts stand, for `status` in other processes.
async fn publish_accounts(store: Arc<dyn Store>, budgets: Vec<(&'static str, Arc<Budget>)>) {
    let mut told = Vec::new();
    loop {
        let now = session::now();
        let accounts: Vec<ProviderView> =
            budgets.iter().map(|(name, budget)| ProviderView::of(name, &budget.snapshot(), now)).collect();
        // The time of the reset moves with every look; alone it is no news.
        let news: Vec<_> =
            accounts.iter().map(|account| (account.limit, account.remaining, account.circuit.clone())).collect();
        if news != told
            && let Ok(value) = serde_json::to_value(&accounts)
        {
            match store.put_document(PROVIDERS, Some(&value)).await {
                Ok(()) => told = news,
                Err(error) => tracing::warn!(%error, "how the accounts stand could not be noted"),
            }
        }
        tokio::time::sleep(PUBLISH_EVERY).await;
    }
}

/// Resolves at Ctrl-C or SIGTERM.
///
/// # Errors
/// Signals cannot be listened for.
pub async fn stop_signal() -> anyhow::Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        pressed = tokio::signal::ctrl_c() => pressed?,
        _ = terminate.recv() => {}
    }
    Ok(())
}
