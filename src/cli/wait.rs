//! `wait CLIENT --for …`: exit 0 when it has come, 1 at the timeout.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, sleep};

use crate::api::view;
use crate::app::Access;
use crate::cli::session::{self, Session};
use crate::cli::{Exit, terminal, when};
use crate::resource::name::{ClientName, Commit};
use crate::status::{ConditionType, Truth};
use crate::store::{ClientRecord, Store};

/// How often the state is looked at.
const POLL: Duration = Duration::from_millis(200);

/// Arguments of `wait`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The client
    client: String,
    /// Ready, Gone, or a condition with its status, such as CertificateReady=True
    #[arg(long = "for", value_name = "GOAL")]
    goal: Goal,
    /// How long to wait
    #[arg(long, value_parser = when::duration, default_value = "30m")]
    timeout: Duration,
}

/// What is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Goal {
    /// A condition with a status.
    Condition(ConditionType, Truth),
    /// The client is not there any more.
    Gone,
    /// Ready, after the pass that was due at this time is over; ends early when a person is needed.
    ReadyAfter(Option<Timestamp>),
    /// The deploy with this number of requests ended.
    Deployed(u64),
    /// What this earlier release was made of serves again.
    RolledBack(u64),
}

impl FromStr for Goal {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.strip_prefix("condition=").unwrap_or(text); // as kubectl says it
        if text == "Gone" {
            return Ok(Goal::Gone);
        }
        let (condition, status) = text.split_once('=').unwrap_or((text, "True"));
        let read = |word: &str| serde_json::Value::String(word.to_owned());
        let kind = serde_json::from_value(read(condition)).map_err(|_| {
            format!(
                "`{condition}` is no condition; there are Ready, {}, Stalled, Paused, Terminating, and Gone",
                summed()
            )
        })?;
        let status = serde_json::from_value(read(status))
            .map_err(|_| format!("`{status}` is no status; there are True, False and Unknown"))?;
        Ok(Goal::Condition(kind, status))
    }
}

fn summed() -> String {
    ConditionType::SUMMED.iter().map(|kind| format!("{kind:?}")).collect::<Vec<_>>().join(", ")
}

/// How one look at the record relates to the goal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reached {
    /// It has come.
    Yes,
    /// It will not come by itself.
    Never(String),
    /// Not yet, with where it stands.
    NotYet(String),
}

/// Looks at one record.
pub fn reached(goal: &Goal, record: Option<&ClientRecord>) -> Reached {
    let Some(record) = record.filter(|record| !view::is_gone(record)) else {
        return if *goal == Goal::Gone { Reached::Yes } else { Reached::Never("the client is gone".into()) };
    };
    let status = &record.status;
    let not_yet = || Reached::NotYet(view::without_time(&status.message).to_owned());
    let is = |kind, truth| status.condition(kind).is_some_and(|condition| condition.status == truth);
    match goal {
        Goal::Gone => not_yet(),
        // A status of an older generation says nothing about the spec that is there now.
        Goal::Condition(ConditionType::Ready, Truth::True) if record.observed_generation < record.generation => {
            not_yet()
        }
        Goal::Condition(kind, truth) if is(*kind, *truth) => Reached::Yes,
        Goal::Condition(..) => not_yet(),
        Goal::ReadyAfter(before) if status.next_attempt == *before => not_yet(),
        Goal::ReadyAfter(_) if status.is_ready() && record.observed_generation == record.generation => Reached::Yes,
        Goal::ReadyAfter(_) if is(ConditionType::Stalled, Truth::True) => Reached::Never(status.message.clone()),
        Goal::ReadyAfter(_) => not_yet(),
        Goal::Deployed(request) => deployed(*request, record),
        Goal::RolledBack(release) => rolled_back(*release, record),
    }
}

fn deployed(request: u64, record: &ClientRecord) -> Reached {
    let releases = &record.owned.releases;
    if releases.live.as_ref().is_some_and(|live| live.fingerprint.requested >= request) {
        return Reached::Yes;
    }
    match releases.failed.as_ref().filter(|failed| failed.fingerprint.requested >= request) {
        Some(failed) => Reached::Never(format!("release {} failed: {}", failed.number, failed.reason)),
        None => Reached::NotYet(view::without_time(&record.status.message).to_owned()),
    }
}

fn rolled_back(release: u64, record: &ClientRecord) -> Reached {
    let releases = &record.owned.releases;
    let Some(pin) = releases.pin.as_ref().filter(|pin| pin.number == release) else {
        return Reached::Never(format!("the rollback to release {release} is not in force"));
    };
    let is_it = |commit: &Option<Commit>| commit.as_ref() == Some(&pin.commit);
    if releases.live.as_ref().is_some_and(|live| is_it(&live.fingerprint.commit)) {
        return Reached::Yes;
    }
    match releases.failed.as_ref().filter(|failed| is_it(&failed.fingerprint.commit)) {
        Some(failed) => Reached::Never(format!("release {} failed: {}", failed.number, failed.reason)),
        None => Reached::NotYet(view::without_time(&record.status.message).to_owned()),
    }
}

/// Waits for a client.
pub struct Waiter {
    /// The state.
    pub store: Arc<dyn Store>,
    /// The client.
    pub name: ClientName,
    /// The longest wait.
    pub timeout: Duration,
}

impl Waiter {
    /// Waits until the goal is reached, cannot be reached, or the time is over; says each new sentence on the way.
    ///
    /// # Errors
    /// The state cannot be read.
    pub async fn until(&self, goal: &Goal) -> anyhow::Result<Exit> {
        let deadline = Instant::now() + self.timeout;
        let mut told = String::new();
        loop {
            match reached(goal, self.store.client(&self.name).await?.as_ref()) {
                Reached::Yes => {
                    terminal::say(&format!("{}: done", self.name));
                    return Ok(Exit::Done);
                }
                Reached::Never(why) => {
                    terminal::error(&format!("{}: {why}", self.name));
                    return Ok(Exit::Failed);
                }
                Reached::NotYet(sentence) if Instant::now() >= deadline => {
                    let waited = humantime::format_duration(self.timeout);
                    terminal::error(&format!("{}: not within {waited}; now: {sentence}", self.name));
                    return Ok(Exit::Failed);
                }
                Reached::NotYet(sentence) if sentence != told => {
                    terminal::say(&format!("{}: {}", self.name, terminal::one_line(&sentence)));
                    told = sentence;
                }
                Reached::NotYet(_) => {}
            }
            sleep(POLL.min(deadline.saturating_duration_since(Instant::now()))).await;
        }
    }
}

/// Waits.
///
/// # Errors
/// The state cannot be read; there is no such client.
pub async fn run(session: &Session, args: &Args) -> anyhow::Result<Exit> {
    let name = session::client_name(&args.client)?;
    let store = session.store(Access::Look).await?;
    if args.goal != Goal::Gone {
        session::record(&*store, &name).await?;
    }
    Waiter { store, name, timeout: args.timeout }.until(&args.goal).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goals_read_as_the_interface_says() {
        assert_eq!("Ready".parse(), Ok(Goal::Condition(ConditionType::Ready, Truth::True)));
        assert_eq!("Deployed=False".parse(), Ok(Goal::Condition(ConditionType::Deployed, Truth::False)));
        assert_eq!("condition=DNSReady".parse(), Ok(Goal::Condition(ConditionType::DNSReady, Truth::True)));
        assert_eq!("Gone".parse(), Ok(Goal::Gone));
        assert!("Redy".parse::<Goal>().is_err_and(|why| why.contains("CertificateReady")));
        assert!("Ready=yes".parse::<Goal>().is_err_and(|why| why.contains("Unknown")));
    }

    #[test]
    fn gone_is_reached_by_a_client_that_is_not_there_and_ready_never() {
        assert_eq!(reached(&Goal::Gone, None), Reached::Yes);
        let ready = Goal::Condition(ConditionType::Ready, Truth::True);
        assert!(matches!(reached(&ready, None), Reached::Never(_)));
    }
}
