//! PostgreSQL: one shared server, one database per client, owned by our admin (contracts/postgres.md).

mod address;
mod backup;
mod catalog;
pub mod cluster;
mod flow;
mod found;
pub mod memory;
mod rehearsal;
mod session;
pub mod sql;
mod sqlstate;
mod tls;
mod tools;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use tokio_postgres_rustls::MakeRustlsConnect;

pub use address::PostgresSettings;
pub use backup::prune_backups;
pub use catalog::{read as read_catalog, statement as catalog_statement};
pub use flow::{Place, Step, database_steps, login_steps};
pub use found::{Found, FoundDatabase, FoundRole, look as found_statement};
pub use sql::{Effect, Identifier, Literal, Statement};
pub use tls::SslMode;

use crate::provider::error::{ErrorClass, ProviderError};
use crate::provider::tally::Tally;
use crate::provider::{Answer, Databases, DropPermit};
use crate::resource::database::{Catalog, Database, DatabaseState};
use crate::resource::name::SqlName;
use crate::resource::removal::Backup;
use crate::resource::secret::Secret;
use address::Address;
use found::{Bearing, bearing};
use session::{Lane, Session, Turn};

/// Our name in errors, plans and budgets.
pub const PROVIDER: &str = "postgres";

/// What the admin is and may do on the server.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub struct Rights {
    /// The role.
    pub role: String,
    /// `rolsuper`: more than is needed.
    pub superuser: bool,
    /// `rolcreatedb`: needed.
    pub create_databases: bool,
    /// `rolcreaterole`: needed.
    pub create_roles: bool,
    /// `PG_VERSION_NUM`.
    pub server_version: i32,
    /// The maintenance database.
    pub database: String,
    /// Whether every role may connect there, and so read the names and marks of all databases (decisions 14).
    pub public_connect: bool,
}

/// A PostgreSQL server as its admin sees it. At most three sessions: one that reads, one that changes (so changes come one
/// after the other), and a short one inside a client's database or as a client's login.
pub struct Postgres {
    address: Address,
    tls: Option<MakeRustlsConnect>,
    tally: Arc<Tally>,
    reader: Lane,
    writer: Lane,
}

impl Postgres {
    /// Reads the settings; connects only when it is asked something. Fails with `Invalid` and a clause that shows nothing
    /// of the address.
    pub fn new(settings: &PostgresSettings) -> Answer<Postgres> {
        Postgres::counted(settings, Arc::default())
    }

    /// The same, counting its statements together with others' calls.
    pub fn counted(settings: &PostgresSettings, tally: Arc<Tally>) -> Answer<Postgres> {
        let failed = |clause| ProviderError::new(PROVIDER, "read the settings", ErrorClass::Invalid(clause));
        let address = Address::parse(settings).map_err(failed)?;
        let tls = tls::connector(address.ssl_mode, address.root.as_ref()).map_err(failed)?;
        let lane = || Lane::new(address.config.clone(), tls.clone(), tally.clone());
        Ok(Postgres { reader: lane(), writer: lane(), tls, tally, address })
    }

    /// What stands under a client's names, in one statement.
    pub async fn look(&self, database: &Database) -> Answer<Found> {
        look(&mut self.reader.enter().await, database).await
    }

    /// What the admin may do, for `doctor` (contracts/postgres.md 5): reads, changes nothing.
    pub async fn rights(&self) -> Answer<Rights> {
        let statement = sql::rights();
        let text = one_text(&statement, self.reader.enter().await.run(&statement).await?)?;
        serde_json::from_str(&text).map_err(|error| garbage(&statement, &error))
    }

    /// Whether this machine can dump that server's databases; `Invalid` says what to install.
    pub async fn check_dump_tools(&self, server_version: i32) -> Answer<()> {
        let failed = |class| ProviderError::new(PROVIDER, "look for pg_dump", class);
        backup::dump_tools(server_version).await.map(|_| ()).map_err(failed)
    }

    /// Sends statements as they are, one by one: what [`Databases::ensure_database`] and [`Databases::ensure_login`] are
    /// made of. Tests stop it in the middle.
    pub async fn run_steps(&self, database: &Database, steps: &[Step]) -> Answer<()> {
        self.run_in(&mut self.writer.enter().await, database, steps).await
    }

    async fn run_in(&self, turn: &mut Turn<'_>, database: &Database, steps: &[Step]) -> Answer<()> {
        let mut inside: Option<Session> = None;
        for (done, step) in steps.iter().enumerate() {
            let answer = match (step.place, inside.take()) {
                (Place::Maintenance, session) => {
                    inside = session;
                    turn.run(&step.statement).await
                }
                (Place::Client, None) => match self.enter_client_database(database).await {
                    Ok(session) => inside.insert(session).run(&step.statement).await,
                    Err(error) => Err(error),
                },
                (Place::Client, Some(session)) => inside.insert(session).run(&step.statement).await,
            };
            answer.map_err(|error| half_done(error, done))?;
        }
        Ok(())
    }

    async fn enter_client_database(&self, database: &Database) -> Answer<Session> {
        let mut config = self.address.config.clone();
        config.dbname(database.name.as_str());
        Session::open(&config, self.tls.as_ref(), &self.tally, &format!("connect to {}", database.name)).await
    }

    /// Everything up to the mark `ready`, over what is found now.
    async fn make_database(&self, turn: &mut Turn<'_>, database: &Database, intended: bool) -> Answer<()> {
        let failed = |class| refusal("ensure", &database.name, class);
        let found = look(turn, database).await?;
        found.check_role(&database.name, database, intended).map_err(failed)?;
        found.check_database(database, intended).map_err(failed)?;
        let steps = database_steps(database, &found).map_err(failed)?;
        self.run_in(turn, database, &steps).await
    }

    async fn make_login(
        &self,
        turn: &mut Turn<'_>,
        database: &Database,
        password: &Secret,
        intended: bool,
    ) -> Answer<()> {
        let failed = |class| refusal("ensure", &database.login, class);
        let found = look(turn, database).await?;
        found.check_role(&database.name, database, false).map_err(failed)?;
        found.check_role(&database.login, database, intended).map_err(failed)?;
        let steps = login_steps(database, &found, password).map_err(failed)?;
        self.run_in(turn, database, &steps).await
    }

    /// Closes the door, looks once more, and drops; opens the door again when somebody is still inside.
    async fn drop_empty(&self, turn: &mut Turn<'_>, permit: &DropPermit) -> Answer<()> {
        let failed = |class| refusal("drop", &permit.database.name, class);
        let name = Identifier::new(&permit.database.name).map_err(failed)?;
        turn.run(&sql::refuse_connections(&name)).await?;
        let dropped = match check_permit(&look(turn, &permit.database).await?, permit) {
            Ok(()) => match turn.run(&sql::drop_database(&name)).await {
                Err(error) if error.class == ErrorClass::NotFound => Ok(()),
                other => other.map(|_| ()),
            },
            Err(class) => Err(failed(class)),
        };
        if dropped.as_ref().is_err_and(|error| !error.is_ambiguous()) {
            turn.run(&sql::allow_connections(&name)).await?;
        }
        dropped
    }

    /// Logins first, then their group; only those that carry our mark.
    async fn drop_roles(&self, turn: &mut Turn<'_>, database: &Database, found: &Found) -> Answer<()> {
        for name in found::logins(database).iter().chain([&database.name]) {
            let is_ours = |role: &FoundRole| bearing(role.comment.as_deref(), &database.mark) == Bearing::Ours;
            if found.role(name).is_some_and(is_ours) {
                let role = Identifier::new(name).map_err(|class| refusal("drop", name, class))?;
                match turn.run(&sql::drop_role(&role)).await {
                    Err(error) if error.class == ErrorClass::NotFound => {}
                    other => other.map(|_| ())?,
                }
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Databases for Postgres {
    fn name(&self) -> &'static str {
        PROVIDER
    }

    /// The cluster's system identifier: made by initdb, kept by its replicas.
    async fn server_id(&self) -> Answer<Option<String>> {
        let statement = sql::server_id();
        match self.reader.enter().await.run(&statement).await {
            Ok(rows) => one_text(&statement, rows).map(Some),
            Err(error) if matches!(error.class, ErrorClass::Forbidden(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn catalog(&self) -> Answer<Catalog> {
        let statement = catalog::statement();
        let text = one_text(&statement, self.reader.enter().await.run(&statement).await?)?;
        catalog::read(&text).map_err(|error| garbage(&statement, &error))
    }

    async fn ensure_database(&self, database: &Database, intended: bool) -> Answer<()> {
        let mut turn = self.writer.enter().await;
        match self.make_database(&mut turn, database, intended).await {
            // Made by somebody between our look and our create: the second look says by whom.
            Err(error) if matches!(error.class, ErrorClass::Exists(_)) => {
                self.make_database(&mut turn, database, intended).await?;
            }
            other => other?,
        }
        let found = look(&mut turn, database).await?;
        let failed = |class| refusal("ensure", &database.name, class);
        if found.database.as_ref().is_none_or(|made| made.public_connect) {
            return Err(failed(ErrorClass::Forbidden(format!(
                "everybody may still connect to {}; run `REVOKE ALL ON DATABASE {} FROM PUBLIC` as its owner",
                database.name, database.name
            ))));
        }
        let name = Identifier::new(&database.name).map_err(failed)?;
        turn.run(&sql::mark_database(&name, &database.mark_in(DatabaseState::Ready))).await.map(|_| ())
    }

    async fn ensure_login(&self, database: &Database, password: &Secret, intended: bool) -> Answer<()> {
        let mut turn = self.writer.enter().await;
        match self.make_login(&mut turn, database, password, intended).await {
            Err(error) if matches!(error.class, ErrorClass::Exists(_)) => {
                self.make_login(&mut turn, database, password, intended).await
            }
            other => other,
        }
    }

    async fn close_login(&self, database: &Database) -> Answer<()> {
        let mut turn = self.writer.enter().await;
        let found = look(&mut turn, database).await?;
        if found.role(&database.login).is_none() {
            return Ok(());
        }
        let failed = |class| refusal("close", &database.login, class);
        found.check_role(&database.login, database, false).map_err(failed)?;
        let login = Identifier::new(&database.login).map_err(failed)?;
        turn.run(&sql::close_login(&login)).await?;
        // A crash may have come before the membership without which its sessions cannot be ended.
        turn.run(&sql::join_self(&login)).await?;
        turn.run(&sql::end_sessions(&Literal::new(database.login.as_str()))).await.map(|_| ())
    }

    async fn mark_database(&self, database: &Database, state: DatabaseState) -> Answer<()> {
        let mut turn = self.writer.enter().await;
        let failed = |class| refusal("mark", &database.name, class);
        let found = look(&mut turn, database).await?;
        if found.database.is_none() {
            return Err(failed(ErrorClass::NotFound));
        }
        found.check_database(database, false).map_err(failed)?;
        let name = Identifier::new(&database.name).map_err(failed)?;
        turn.run(&sql::mark_database(&name, &database.mark_in(state))).await.map(|_| ())
    }

    async fn back_up(&self, database: &Database, directory: &Path, now: jiff::Timestamp) -> Answer<Backup> {
        let failed = |class| refusal("back up", &database.name, class);
        let found = self.look(database).await?;
        found.check_database(database, false).map_err(failed)?;
        let Some(there) = &found.database else { return Err(failed(ErrorClass::NotFound)) };
        if !there.allow_connections {
            // A drop was begun and stopped; a dump needs a session.
            let name = Identifier::new(&database.name).map_err(failed)?;
            self.writer.enter().await.run(&sql::allow_connections(&name)).await?;
        }
        let dump = backup::take(&self.address, database, (there.oid, found.server_version), directory, now).await?;
        self.rehearse(&dump, there.oid).await?;
        let backup = dump.keep().await?;
        let again = self.look(database).await?;
        match again.database.is_some_and(|after| after.oid == there.oid) {
            true => Ok(backup),
            false => Err(failed(ErrorClass::Busy("it was replaced while the dump was taken".into()))),
        }
    }

    async fn drop_database(&self, permit: &DropPermit) -> Answer<()> {
        let mut turn = self.writer.enter().await;
        let found = look(&mut turn, &permit.database).await?;
        if found.database.is_some() {
            check_permit(&found, permit).map_err(|class| refusal("drop", &permit.database.name, class))?;
            self.drop_empty(&mut turn, permit).await?;
        }
        self.drop_roles(&mut turn, &permit.database, &found).await
    }

    async fn can_log_in(&self, database: &Database, password: &Secret) -> Answer<bool> {
        let mut config = self.address.config.clone();
        config.dbname(database.name.as_str()).user(database.login.as_str()).password(password.expose());
        let call = format!("log in as {}", database.login);
        let session = match Session::open(&config, self.tls.as_ref(), &self.tally, &call).await {
            Ok(session) => session,
            Err(error) => {
                return match error.class {
                    ErrorClass::Unauthorized(_) | ErrorClass::Forbidden(_) | ErrorClass::NotFound => Ok(false),
                    _ => Err(error),
                };
            }
        };
        session.run(&sql::ping()).await.map(|_| true)
    }

    fn site_url(&self, database: &SqlName, login: &SqlName, password: &Secret) -> Secret {
        self.address.site_url(database, login, password)
    }
}

/// A server that goes away between two statements leaves something behind: only for the first one it means that nothing
/// was changed.
fn half_done(error: ProviderError, done: usize) -> ProviderError {
    match error.class {
        ErrorClass::Unavailable(text) if done > 0 => ProviderError { class: ErrorClass::Unanswered(text), ..error },
        _ => error,
    }
}

async fn look(turn: &mut Turn<'_>, database: &Database) -> Answer<Found> {
    let statement = found::look(database);
    let text = one_text(&statement, turn.run(&statement).await?)?;
    serde_json::from_str(&text).map_err(|error| garbage(&statement, &error))
}

/// The very database that was backed up, still ours, and nobody in it.
fn check_permit(found: &Found, permit: &DropPermit) -> Result<(), ErrorClass> {
    let Some(there) = &found.database else { return Ok(()) };
    if there.oid != permit.oid {
        return Err(ErrorClass::Invalid(format!(
            "it is not the database that was backed up (oid {} instead of {})",
            there.oid, permit.oid
        )));
    }
    if !found.is_marked(&permit.database.mark) {
        return Err(ErrorClass::Invalid("it does not carry this client's mark".into()));
    }
    match there.sessions {
        0 => Ok(()),
        sessions => Err(ErrorClass::Busy(format!("{sessions} sessions are open; it is dropped when they have ended"))),
    }
}

fn one_text(statement: &Statement, rows: session::Rows) -> Answer<String> {
    rows.into_iter().flatten().flatten().next().ok_or_else(|| garbage(statement, &"no row"))
}

fn garbage(statement: &Statement, error: &dyn std::fmt::Display) -> ProviderError {
    let class = ErrorClass::Unavailable(format!("the answer cannot be read: {error}"));
    ProviderError::new(PROVIDER, statement.shown(), class)
}

fn refusal(what: &str, name: &SqlName, class: ErrorClass) -> ProviderError {
    ProviderError::new(PROVIDER, format!("{what} {name}"), class)
}
