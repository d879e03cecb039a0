//! What a service manager is told: ready, how it stands, alive, stopping (sd_notify(3)). Without one nothing is sent.

use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::Instant;

use crate::controller::running::Controller;

/// How often the line of `systemctl status` is brought up to date.
const STATUS_EVERY: Duration = Duration::from_secs(10);
/// The manager is told twice within its time, so that one late turn is no restart (sd_watchdog_enabled(3)).
const SIGNALS_A_DEADLINE: u32 = 2;

/// Tells the manager after the first scan that we are ready, and from then on that the loop turns. Goes on until it is
/// dropped.
pub async fn tell(controller: Arc<Controller>) {
    let mut beats = controller.beats();
    let alive_every = sd_notify::watchdog_enabled().map(|deadline| deadline / SIGNALS_A_DEADLINE);
    let mut ready = false;
    let (mut told_alive, mut told_status) = (Instant::now(), Instant::now());
    while beats.changed().await.is_ok() {
        let now = Instant::now();
        let is_due = |told: Instant, every: Duration| !ready || now.duration_since(told) >= every;
        let alive = alive_every.is_some_and(|every| is_due(told_alive, every));
        let status = is_due(told_status, STATUS_EVERY).then(|| sentence(&controller));
        let mut news = Vec::new();
        if !ready {
            news.push(NotifyState::Ready);
        }
        if let Some(status) = &status {
            news.push(NotifyState::Status(status));
            told_status = now;
        }
        if alive {
            news.push(NotifyState::Watchdog);
            told_alive = now;
        }
        send(&news);
        ready = true;
    }
}

/// Tells the manager that this process ends on purpose.
pub fn stopping() {
    send(&[NotifyState::Stopping]);
}

fn sentence(controller: &Controller) -> String {
    match controller.fleet().names().len() {
        1 => "keeps 1 client as its spec says".to_owned(),
        clients => format!("keeps {clients} clients as their specs say"),
    }
}

fn send(news: &[NotifyState<'_>]) {
    if news.is_empty() {
        return;
    }
    if let Err(error) = sd_notify::notify(news) {
        tracing::warn!(%error, "the service manager was not told");
    }
}
