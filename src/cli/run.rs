//! `run`: the daemon. `--once` ends when every client has settled.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde::Serialize;
use tokio::sync::watch;

use crate::api::plan::PlanDocument;
use crate::api::view::Lens;
use crate::api::{Api, Look, Parts, listener};
use crate::app::{self, Access, App};
use crate::cli::progress::Progress;
use crate::cli::session::Session;
use crate::cli::terminal::{self, Format};
use crate::cli::{Exit, service, when};
use crate::config::Row;
use crate::config::raw::Origin;
use crate::provider::tally::Calls;
use crate::telemetry;

/// Arguments of `run`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Until every client has settled; exit 0 when all are ready, 1 when not
    #[arg(long)]
    once: bool,
    /// Plan and report for every client, write nothing at any provider
    #[arg(long)]
    observe: bool,
    /// How long `--once` may take
    #[arg(long, value_parser = when::duration, default_value = "30m", requires = "once")]
    timeout: Duration,
    /// How the outcome of `--once` is printed
    #[arg(long, short, value_enum, default_value_t, requires = "once")]
    output: Format,
}

/// What a single run came to.
#[derive(Debug, Serialize)]
struct Outcome {
    /// Whether every client is.
    ready: bool,
    /// What was asked of the providers.
    calls: Calls,
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
    if args.observe {
        app.controller.fleet().only_observe();
        progress.say("observing only: nothing is written at any provider");
    }
    if !args.once {
        let ended = serve(session, &app, &progress).await;
        progress.finish().await;
        return ended;
    }
    let ended = once(&app, args.timeout).await;
    progress.finish().await;
    let outcome = ended?;
    terminal::print_data(args.output, &outcome, || format!("calls: {}\n", outcome.calls))?;
    Ok(if outcome.ready { Exit::Done } else { Exit::Failed })
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

async fn once(app: &App, timeout: Duration) -> anyhow::Result<Outcome> {
    let ready = tokio::select! {
        ready = app.controller.clone().run_once(timeout) => ready?,
        stopped = stop_signal() => {
            stopped?;
            bail!("stopped before every client had settled; the next run goes on where this one was");
        }
    };
    Ok(Outcome { ready, calls: app.controller.asked().calls })
}

/// The loop and the HTTP face, until a signal. A second signal ends it at once.
///
/// # Errors
/// The address is taken; the state cannot be used.
pub async fn serve(session: &Session, app: &App, progress: &Progress) -> anyhow::Result<Exit> {
    let (stopper, stop) = watch::channel(false);
    let face = match app.settings.listen {
        Some(address) => {
            let api = face(app, session.lens()?);
            let listener = listener::listen(address, &api).await?;
            progress.say(format!("status page: http://{}/", listener.local_addr()?));
            Some(tokio::spawn(listener::serve(listener, api, stop.clone())))
        }
        None => None,
    };
    let mut controller = tokio::spawn(app.controller.clone().run(stop));
    let supervision = tokio::spawn(service::tell(app.controller.clone()));
    tokio::select! {
        stopped = stop_signal() => stopped?,
        ended = &mut controller => {
            ended.context("the loop broke off")??;
            bail!("the loop ended by itself; start it again");
        }
    }
    supervision.abort();
    service::stopping();
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

/// The HTTP face of an installation.
pub fn face(app: &App, lens: Lens) -> Api {
    Api::new(Parts {
        store: app.store.clone(),
        lens,
        token: app.settings.api_token.clone(),
        hosts: app.settings.api_hosts.clone(),
        beats: app.controller.beats(),
        controller: Some(app.controller.clone()),
        look: look(app),
    })
}

/// A plan beside the loop: over a copy of the state, so that what it notes reaches no disk.
fn look(app: &App) -> Look {
    let (controller, store, settings) = (app.controller.clone(), app.store.clone(), Arc::new(app.settings.clone()));
    Arc::new(move |name| {
        let (controller, store, settings) = (controller.clone(), store.clone(), settings.clone());
        Box::pin(async move {
            let copy = app::scratch_copy(&*store, &settings).await?;
            let previews = controller.over(copy).preview(&[name]).await?;
            Ok((!previews.is_empty()).then(|| PlanDocument::of(&previews, &settings)))
        })
    })
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
