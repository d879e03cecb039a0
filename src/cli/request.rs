//! Requests to the daemon: rows in the state, answered within a moment, or waiting for the next start (decisions 33).

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::time::{Instant, sleep};

use crate::app::Access;
use crate::cli::session::{self, Session};
use crate::cli::{Exit, daemon, terminal};
use crate::controller::requests::take;
use crate::resource::name::ClientName;
use crate::store::{Ask, Request, Store};

/// How long an answer is waited for: the daemon looks every 250 ms.
const ANSWER_PATIENCE: Duration = Duration::from_secs(2);
/// How often the answer is looked for.
const ANSWER_POLL: Duration = Duration::from_millis(50);

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// Answered with a sentence.
    Done(String),
    /// Refused with a sentence.
    Refused(String),
    /// Nobody took it up yet.
    Waits,
}

/// The state for a request about a client that must be there.
///
/// # Errors
/// The state cannot be opened; there is no such client.
pub async fn about(session: &Session, client: &str) -> anyhow::Result<(Arc<dyn Store>, ClientName)> {
    let name = session::client_name(client)?;
    // First by a look, so that a mistyped name makes no state.
    session::record(&*session.store(Access::Look).await?, &name).await?;
    Ok((session.store(Access::Ask).await?, name))
}

/// Puts a request and waits a moment for its answer.
///
/// # Errors
/// The state cannot be read or written.
pub async fn put(session: &Session, store: &dyn Store, ask: Ask) -> anyhow::Result<Fate> {
    let id = store.ask(&ask, session::now()).await?;
    if !daemon::is_running(session.settings()) {
        return Ok(Fate::Waits);
    }
    let deadline = Instant::now() + ANSWER_PATIENCE;
    loop {
        let request = store.request(id).await?.context("the request is gone from the state; ask again")?;
        match request.answer {
            Some(Ok(sentence)) => return Ok(Fate::Done(sentence)),
            Some(Err(sentence)) => return Ok(Fate::Refused(sentence)),
            None if Instant::now() >= deadline => return Ok(Fate::Waits),
            None => sleep(ANSWER_POLL).await,
        }
    }
}

/// Like [`put`]; without a daemon the request is carried out here, so that the next start finds it done: a pause that a
/// starting daemon would read too late is none.
///
/// # Errors
/// The state cannot be read or written.
pub async fn put_or_do(session: &Session, store: &dyn Store, ask: Ask) -> anyhow::Result<Fate> {
    if daemon::is_running(session.settings()) {
        return put(session, store, ask).await;
    }
    let now = session::now();
    let id = store.ask(&ask, now).await?;
    let (_, answer) = take(&Request { id, at: now, ask, answer: None }, store, now).await?;
    store.answer(id, &answer).await?;
    Ok(match answer {
        Ok(sentence) => Fate::Done(sentence),
        Err(sentence) => Fate::Refused(sentence),
    })
}

/// Says what became of a request; `what` names it where nobody took it up.
pub fn tell(session: &Session, fate: &Fate, what: &str) -> Exit {
    match fate {
        Fate::Done(sentence) => {
            terminal::say(&terminal::clean(sentence));
            Exit::Done
        }
        Fate::Refused(sentence) => {
            terminal::error(sentence);
            Exit::Failed
        }
        Fate::Waits if daemon::is_running(session.settings()) => {
            terminal::say(&format!("{what} is noted; the daemon is busy and takes it up next"));
            Exit::Done
        }
        Fate::Waits => {
            terminal::say(&format!("{what} is noted and waits: no daemon is running; `sitewright run` takes it up"));
            Exit::Done
        }
    }
}
