//! One session with the server: opened late, remade when it broke, every statement with a deadline.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard};
use tokio::time::timeout;
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::provider::Answer;
use crate::provider::error::{ErrorClass, ProviderError};
use crate::provider::postgres::PROVIDER;
use crate::provider::postgres::sql::{Effect, Statement};
use crate::provider::postgres::sqlstate;
use crate::provider::tally::Tally;

/// How long opening a session may take, TLS and SCRAM included.
pub const CONNECT_DEADLINE: Duration = Duration::from_secs(10);

/// Rows of text columns, as the simple protocol gives them.
pub(super) type Rows = Vec<Vec<Option<String>>>;

/// An open session; ends when dropped.
pub(super) struct Session {
    client: Client,
    tally: Arc<Tally>,
}

impl Session {
    /// Opens one. Nothing is changed by it, whatever the outcome.
    pub async fn open(
        config: &Config,
        tls: Option<&MakeRustlsConnect>,
        tally: &Arc<Tally>,
        call: &str,
    ) -> Answer<Session> {
        match timeout(CONNECT_DEADLINE, Self::dial(config, tls)).await {
            Ok(Ok(client)) => Ok(Session { client, tally: tally.clone() }),
            Ok(Err(error)) => Err(sqlstate::of_connection(call, &error)),
            Err(_) => {
                let clause = format!("no session within {}", humantime::format_duration(CONNECT_DEADLINE));
                Err(ProviderError::new(PROVIDER, call, ErrorClass::Unavailable(clause)))
            }
        }
    }

    async fn dial(config: &Config, tls: Option<&MakeRustlsConnect>) -> Result<Client, tokio_postgres::Error> {
        // The task of a connection ends with its client; its error reaches whoever waits for an answer.
        match tls {
            None => {
                let (client, connection) = config.connect(NoTls).await?;
                tokio::spawn(connection);
                Ok(client)
            }
            Some(tls) => {
                let (client, connection) = config.connect(tls.clone()).await?;
                tokio::spawn(connection);
                Ok(client)
            }
        }
    }

    /// Sends one statement and waits for its answer, at most its deadline.
    pub async fn run(&self, statement: &Statement) -> Answer<Rows> {
        let deadline = statement.deadline();
        self.tally.count();
        let messages = match timeout(deadline, self.client.simple_query(statement.text())).await {
            Ok(Ok(messages)) => messages,
            Ok(Err(error)) => return Err(sqlstate::of_statement(statement, &error)),
            Err(_) => {
                let clause = format!("no answer within {}", humantime::format_duration(deadline));
                let class = sqlstate::lost(statement.effect, &clause);
                return Err(ProviderError::new(PROVIDER, statement.shown(), class));
            }
        };
        let row = |message: &SimpleQueryMessage| match message {
            SimpleQueryMessage::Row(row) => {
                Some((0..row.len()).map(|at| row.try_get(at).ok().flatten().map(str::to_owned)).collect())
            }
            _ => None,
        };
        Ok(messages.iter().filter_map(row).collect())
    }

    fn is_over(&self) -> bool {
        self.client.is_closed()
    }
}

/// A place for one session that many callers share, one at a time.
pub(super) struct Lane {
    config: Config,
    tls: Option<MakeRustlsConnect>,
    tally: Arc<Tally>,
    session: Mutex<Option<Session>>,
}

impl Lane {
    /// A lane to the maintenance database.
    pub fn new(config: Config, tls: Option<MakeRustlsConnect>, tally: Arc<Tally>) -> Lane {
        Lane { config, tls, tally, session: Mutex::new(None) }
    }

    /// Waits for its turn.
    pub async fn enter(&self) -> Turn<'_> {
        Turn { lane: self, session: self.session.lock().await }
    }
}

/// The right to use a lane until it is dropped.
pub(super) struct Turn<'a> {
    lane: &'a Lane,
    session: MutexGuard<'a, Option<Session>>,
}

impl Turn<'_> {
    /// Runs a statement; opens a session where none is. A read is sent once more over a new session when the old one turned
    /// out to be broken; a change is never sent twice.
    pub async fn run(&mut self, statement: &Statement) -> Answer<Rows> {
        let reused = self.session.as_ref().is_some_and(|session| !session.is_over());
        match self.attempt(statement).await {
            Err(error)
                if reused && statement.effect == Effect::Read && matches!(error.class, ErrorClass::Unavailable(_)) =>
            {
                self.attempt(statement).await
            }
            other => other,
        }
    }

    async fn attempt(&mut self, statement: &Statement) -> Answer<Rows> {
        let usable = self.session.take().filter(|session| !session.is_over());
        let session = match usable {
            Some(session) => session,
            None => {
                let Lane { config, tls, tally, .. } = self.lane;
                Session::open(config, tls.as_ref(), tally, "connect").await?
            }
        };
        let answer = session.run(statement).await;
        let broken =
            matches!(&answer, Err(e) if matches!(e.class, ErrorClass::Unavailable(_) | ErrorClass::Unanswered(_)));
        if !broken {
            *self.session = Some(session);
        }
        answer
    }
}
