//! A database server in memory, statement by statement: what is half done stays half done.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use sitewright::provider::error::{ErrorClass, ProviderError};
use sitewright::provider::{Answer, Databases, DropPermit};
use sitewright::resource::database::{Catalog, Database, DatabaseMark, DatabaseRow, DatabaseState, RoleRow};
use sitewright::resource::name::SqlName;
use sitewright::resource::removal::Backup;
use sitewright::resource::secret::Secret;

use crate::fate::{Gate, Moment, Place, Turn};
use crate::planted::{Bug, Planted};

/// First object id that is given out.
const FIRST_OID: u32 = 16_384;

/// What stands on the disk of the database server.
#[derive(Default)]
pub struct Server {
    pub databases: BTreeMap<String, DatabaseRow>,
    pub roles: BTreeMap<String, RoleRow>,
    passwords: BTreeMap<String, Secret>,
    made: u32,
    /// What tells it from another server.
    pub id: u64,
    /// Every database that was made, and every one that was dropped, by name and oid.
    pub created: Vec<(String, u32)>,
    pub dropped: Vec<(String, u32)>,
}

impl Server {
    /// How many databases were made, and how many dropped.
    pub fn history(&self) -> (usize, usize) {
        (self.created.len(), self.dropped.len())
    }

    /// With what a login comes in.
    pub fn password_of(&self, login: &str) -> Option<String> {
        self.passwords.get(login).map(|password| password.expose().to_owned())
    }
}

/// A drop as the monitor sees it, before it happens.
pub type DropMonitor = Arc<dyn Fn(&DropPermit) + Send + Sync>;

/// What one process has of the server.
pub struct SimDatabases {
    pub server: Arc<Mutex<Server>>,
    pub gate: Arc<Gate>,
    pub planted: Option<&'static Planted>,
    pub monitor: DropMonitor,
}

fn refuse(call: &str, class: ErrorClass) -> ProviderError {
    ProviderError::new("postgres", call, class)
}

fn owner(comment: Option<&str>) -> Option<DatabaseMark> {
    comment.and_then(DatabaseMark::from_comment)
}

/// Somebody else's mark always refuses; none at all unless a create of ours accounts for it.
fn check(comment: Option<&str>, wanted: &Database, intended: bool) -> Result<(), ErrorClass> {
    match (comment, owner(comment)) {
        (_, Some(mark)) if mark.owner() == wanted.mark => Ok(()),
        (None, _) if intended => Ok(()),
        _ => Err(ErrorClass::Exists("it is not ours".into())),
    }
}

impl SimDatabases {
    /// One statement that changes something.
    async fn statement<T>(&self, label: &str, creates: bool, run: impl FnOnce(&mut Server) -> T) -> Answer<T> {
        let broken = |class: fn(String) -> ErrorClass| Err(refuse(label, class("connection closed".into())));
        match self.gate.turn(Place::Write { creates }, &format!("sql {label}")).await {
            Turn::Crash(Moment::Before) => {
                self.gate.die().await;
                broken(ErrorClass::Unavailable)
            }
            Turn::Crash(Moment::After) => {
                run(&mut self.server.lock());
                self.gate.die().await;
                broken(ErrorClass::Unanswered)
            }
            Turn::LostBefore | Turn::Status(_) | Turn::Late(_) => broken(ErrorClass::Unanswered),
            Turn::LostAfter | Turn::StatusAfter(_) | Turn::Garbage | Turn::Cut => {
                run(&mut self.server.lock());
                broken(ErrorClass::Unanswered)
            }
            Turn::Pass | Turn::NoDisk => Ok(run(&mut self.server.lock())),
        }
    }

    async fn look<T>(&self, label: &str, look: impl FnOnce(&Server) -> T) -> Answer<T> {
        match self.gate.turn(Place::Read, &format!("sql {label}")).await {
            Turn::Pass => Ok(look(&self.server.lock())),
            _ => Err(refuse(label, ErrorClass::Unavailable("connection closed".into()))),
        }
    }

    async fn mark_role(&self, name: &str, database: &Database) -> Answer<()> {
        let comment = Some(database.mark_in(DatabaseState::Ready).comment());
        let mark = |server: &mut Server| {
            if let Some(role) = server.roles.get_mut(name) {
                role.comment = comment;
            }
        };
        self.statement(&format!("COMMENT ON ROLE {name}"), false, mark).await
    }

    async fn write_mark(&self, database: &Database, state: DatabaseState) -> Answer<()> {
        let comment = Some(database.mark_in(state).comment());
        let name = database.name.as_str();
        let mark = |server: &mut Server| {
            if let Some(row) = server.databases.get_mut(name) {
                row.comment = comment;
            }
        };
        self.statement(&format!("COMMENT ON DATABASE {name} {state:?}"), false, mark).await
    }
}

#[async_trait]
impl Databases for SimDatabases {
    fn name(&self) -> &'static str {
        "postgres"
    }

    async fn server_id(&self) -> Answer<Option<String>> {
        self.look("SERVER", |server| Some(server.id.to_string())).await
    }

    async fn catalog(&self) -> Answer<Catalog> {
        let all = |server: &Server| Catalog {
            databases: server.databases.values().cloned().collect(),
            roles: server.roles.values().cloned().collect(),
            server_version: 150_000,
        };
        let seen = self.look("CATALOG", all).await;
        let Some(Planted { bug: Bug::Catalog(change), .. }) = self.planted else { return seen };
        change(seen.ok()).ok_or_else(|| refuse("CATALOG", ErrorClass::Unavailable("connection closed".into())))
    }

    async fn ensure_database(&self, database: &Database, intended: bool) -> Answer<()> {
        let name = database.name.as_str();
        let (row, role) = self.look("LOOK", |s| (s.databases.get(name).cloned(), s.roles.get(name).cloned())).await?;
        let refused = |class| refuse("ensure", class);
        if let Some(role) = &role {
            check(role.comment.as_deref(), database, intended).map_err(refused)?;
        }
        if let Some(row) = &row {
            check(row.comment.as_deref(), database, intended).map_err(refused)?;
        }
        if role.is_none() {
            let made = RoleRow { name: name.into(), login: false, comment: None, member_of: Vec::new() };
            let create = |server: &mut Server| match server.roles.contains_key(name) {
                true => Err(ErrorClass::Exists("role".into())),
                false => {
                    server.roles.insert(name.to_owned(), made);
                    Ok(())
                }
            };
            self.statement(&format!("CREATE ROLE {name}"), true, create).await?.map_err(refused)?;
        }
        self.mark_role(name, database).await?;
        if row.is_none() {
            let create = |server: &mut Server| {
                if server.databases.contains_key(name) {
                    return Err(ErrorClass::Exists("database".into()));
                }
                server.made += 1;
                let oid = FIRST_OID + server.made;
                let row = DatabaseRow {
                    name: name.to_owned(),
                    oid,
                    owner: "sitewright".into(),
                    comment: None,
                    public_connect: true,
                    allow_connections: true,
                    sessions: 0,
                };
                server.created.push((name.to_owned(), oid));
                server.databases.insert(name.to_owned(), row);
                Ok(())
            };
            self.statement(&format!("CREATE DATABASE {name}"), true, create).await?.map_err(refused)?;
        }
        if row.as_ref().and_then(|row| owner(row.comment.as_deref())).is_none() {
            self.write_mark(database, DatabaseState::Creating).await?;
        }
        let isolate = |server: &mut Server| {
            if let Some(row) = server.databases.get_mut(name) {
                (row.public_connect, row.allow_connections) = (false, true);
            }
        };
        self.statement(&format!("REVOKE {name}"), false, isolate).await?;
        self.write_mark(database, DatabaseState::Ready).await
    }

    async fn ensure_login(&self, database: &Database, password: &Secret, intended: bool) -> Answer<()> {
        let (login, group) = (database.login.as_str(), database.name.as_str());
        let there = self.look("LOOK", |s| s.roles.get(login).cloned()).await?;
        if let Some(role) = &there {
            check(role.comment.as_deref(), database, intended).map_err(|class| refuse("ensure", class))?;
        }
        let open = |server: &mut Server| {
            let fresh = RoleRow { name: login.into(), login: true, comment: None, member_of: Vec::new() };
            server.roles.entry(login.to_owned()).or_insert(fresh).login = true;
            server.passwords.insert(login.to_owned(), password.clone());
        };
        self.statement(&format!("CREATE ROLE {login}"), there.is_none(), open).await?;
        self.mark_role(login, database).await?;
        let join = |server: &mut Server| {
            if let Some(role) = server.roles.get_mut(login) {
                role.member_of = vec![group.to_owned()];
            }
        };
        self.statement(&format!("GRANT {group} TO {login}"), false, join).await
    }

    async fn close_login(&self, database: &Database) -> Answer<()> {
        let login = database.login.as_str();
        let close = |server: &mut Server| {
            if let Some(role) = server.roles.get_mut(login) {
                role.login = false;
            }
        };
        self.statement(&format!("ALTER ROLE {login} NOLOGIN"), false, close).await
    }

    async fn mark_database(&self, database: &Database, state: DatabaseState) -> Answer<()> {
        let found = self.look("LOOK", |s| s.databases.get(database.name.as_str()).cloned()).await?;
        let row = found.ok_or_else(|| refuse("mark", ErrorClass::NotFound))?;
        check(row.comment.as_deref(), database, false).map_err(|class| refuse("mark", class))?;
        self.write_mark(database, state).await
    }

    async fn back_up(&self, database: &Database, _directory: &Path, now: jiff::Timestamp) -> Answer<Backup> {
        let name = database.name.as_str();
        let found = self.look("pg_dump", |s| s.databases.get(name).cloned()).await?;
        let row = found.ok_or_else(|| refuse("dump", ErrorClass::NotFound))?;
        check(row.comment.as_deref(), database, false).map_err(|class| refuse("dump", class))?;
        let made =
            Backup { file: format!("{name}.dump"), sha256: "0".repeat(64), bytes: 1, verified_at: now, oid: row.oid };
        self.statement(&format!("pg_dump {name}"), false, |_| made).await
    }

    async fn drop_database(&self, permit: &DropPermit) -> Answer<()> {
        let name = permit.database.name.as_str();
        let found = self.look("LOOK", |s| s.databases.get(name).cloned()).await?;
        if let Some(row) = found {
            check(row.comment.as_deref(), &permit.database, false).map_err(|class| refuse("drop", class))?;
            if row.oid != permit.oid {
                return Err(refuse("drop", ErrorClass::Invalid("another database".into())));
            }
            let monitor = self.monitor.clone();
            let drop = |server: &mut Server| {
                monitor(permit);
                if let Some(row) = server.databases.remove(name) {
                    server.dropped.push((name.to_owned(), row.oid));
                }
            };
            self.statement(&format!("DROP DATABASE {name}"), false, drop).await?;
        }
        for role in [permit.database.login.as_str(), name] {
            let there = self.look("LOOK", |s| s.roles.get(role).cloned()).await?;
            if there.is_some_and(|role| check(role.comment.as_deref(), &permit.database, false).is_ok()) {
                let drop = |server: &mut Server| drop(server.roles.remove(role));
                self.statement(&format!("DROP ROLE {role}"), false, drop).await?;
            }
        }
        Ok(())
    }

    async fn can_log_in(&self, database: &Database, password: &Secret) -> Answer<bool> {
        let login = database.login.as_str();
        self.look("login", |server| {
            server.roles.get(login).is_some_and(|role| role.login) && server.passwords.get(login) == Some(password)
        })
        .await
    }

    fn site_url(&self, database: &SqlName, login: &SqlName, password: &Secret) -> Secret {
        Secret::new(format!("postgres://{login}:{}@database.invalid/{database}", password.expose()))
    }
}
