//! The same trait over a catalog in memory: for a first look on a machine without PostgreSQL. Keeps no data of clients.

use std::collections::BTreeMap;
use std::path::Path;

use async_trait::async_trait;
use parking_lot::Mutex;

use crate::provider::error::{ErrorClass, ProviderError};
use crate::provider::{Answer, Databases, DropPermit};
use crate::resource::database::{Catalog, Database, DatabaseMark, DatabaseRow, DatabaseState, RoleRow};
use crate::resource::name::SqlName;
use crate::resource::removal::Backup;
use crate::resource::secret::Secret;

/// First object id that is given out, as PostgreSQL's own for user objects.
const FIRST_OID: u32 = 16_384;

/// Databases that exist by name only.
#[derive(Default)]
pub struct MemoryDatabases {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    databases: BTreeMap<String, DatabaseRow>,
    roles: BTreeMap<String, RoleRow>,
    passwords: BTreeMap<String, Secret>,
    made: u32,
}

fn refuse(call: &str, class: ErrorClass) -> ProviderError {
    ProviderError::new(super::PROVIDER, call, class)
}

fn foreign(comment: Option<&str>, database: &Database, intended: bool) -> bool {
    match comment.and_then(DatabaseMark::from_comment) {
        Some(mark) => mark.owner() != database.mark,
        None => !intended,
    }
}

#[async_trait]
impl Databases for MemoryDatabases {
    fn name(&self) -> &'static str {
        super::PROVIDER
    }

    async fn server_id(&self) -> Answer<Option<String>> {
        Ok(None)
    }

    async fn catalog(&self) -> Answer<Catalog> {
        let state = self.state.lock();
        Ok(Catalog {
            databases: state.databases.values().cloned().collect(),
            roles: state.roles.values().cloned().collect(),
            server_version: 0,
        })
    }

    async fn ensure_database(&self, database: &Database, intended: bool) -> Answer<()> {
        let mut state = self.state.lock();
        let name = database.name.to_string();
        if state.databases.get(&name).is_some_and(|row| foreign(row.comment.as_deref(), database, intended)) {
            return Err(refuse("create database", ErrorClass::Exists(format!("database {name} is not ours"))));
        }
        let comment = Some(database.mark_in(DatabaseState::Ready).comment());
        state.made += 1;
        let oid = FIRST_OID + state.made;
        let row = state.databases.entry(name.clone()).or_insert_with(|| DatabaseRow {
            name: name.clone(),
            oid,
            owner: "memory".into(),
            comment: None,
            public_connect: false,
            allow_connections: true,
            sessions: 0,
        });
        row.comment.clone_from(&comment);
        state.roles.insert(name.clone(), RoleRow { name, login: false, comment, member_of: Vec::new() });
        Ok(())
    }

    async fn ensure_login(&self, database: &Database, password: &Secret, intended: bool) -> Answer<()> {
        let mut state = self.state.lock();
        let name = database.login.to_string();
        if state.roles.get(&name).is_some_and(|row| foreign(row.comment.as_deref(), database, intended)) {
            return Err(refuse("create role", ErrorClass::Exists(format!("role {name} is not ours"))));
        }
        let role = RoleRow {
            name: name.clone(),
            login: true,
            comment: Some(database.mark_in(DatabaseState::Ready).comment()),
            member_of: vec![database.name.to_string()],
        };
        state.passwords.insert(name.clone(), password.clone());
        state.roles.insert(name, role);
        Ok(())
    }

    async fn close_login(&self, database: &Database) -> Answer<()> {
        if let Some(role) = self.state.lock().roles.get_mut(database.login.as_str()) {
            role.login = false;
        }
        Ok(())
    }

    async fn mark_database(&self, database: &Database, state: DatabaseState) -> Answer<()> {
        if let Some(row) = self.state.lock().databases.get_mut(database.name.as_str()) {
            row.comment = Some(database.mark_in(state).comment());
        }
        Ok(())
    }

    async fn back_up(&self, _database: &Database, _directory: &Path, _now: jiff::Timestamp) -> Answer<Backup> {
        Err(refuse("dump", ErrorClass::Invalid("a catalog in memory holds no data to dump; nothing is dropped".into())))
    }

    async fn drop_database(&self, _permit: &DropPermit) -> Answer<()> {
        Err(refuse("drop", ErrorClass::Invalid("nothing is dropped without a backup".into())))
    }

    async fn can_log_in(&self, database: &Database, password: &Secret) -> Answer<bool> {
        let state = self.state.lock();
        let open = state.roles.get(database.login.as_str()).is_some_and(|role| role.login);
        Ok(open && state.passwords.get(database.login.as_str()) == Some(password))
    }

    /// No server is behind it: the host name says so.
    fn site_url(&self, database: &SqlName, login: &SqlName, password: &Secret) -> Secret {
        Secret::new(format!("postgres://{login}:{}@memory.invalid/{database}", password.expose()))
    }
}
