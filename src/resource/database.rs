//! A client's database, its roles, and what one catalog statement shows of all of them (contracts/postgres.md 1-3).

use serde::{Deserialize, Serialize};

use crate::resource::mark::{MARK_PREFIX, Mark};
use crate::resource::name::{Instance, SqlName, Uid};

/// The one provider of databases.
pub const PROVIDER: &str = "postgres";

/// One row of the catalog: any non-template database of the server, ours or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseRow {
    /// `datname`.
    pub name: String,
    /// `oid`: binds an approval to this very database.
    pub oid: u32,
    /// Owner role.
    pub owner: String,
    /// Raw comment.
    pub comment: Option<String>,
    /// Whether PUBLIC may connect (isolation is missing then).
    pub public_connect: bool,
    /// Whether connections are allowed at all.
    pub allow_connections: bool,
    /// Sessions right now.
    pub sessions: i64,
}

impl DatabaseRow {
    /// The mark and state in the comment, when it is one of ours in form.
    pub fn mark(&self) -> Option<DatabaseMark> {
        self.comment.as_deref().and_then(DatabaseMark::from_comment)
    }
}

/// One role that is marked, or named after one of our databases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleRow {
    /// `rolname`.
    pub name: String,
    /// `rolcanlogin`.
    pub login: bool,
    /// Raw comment.
    pub comment: Option<String>,
    /// Roles it is a member of.
    pub member_of: Vec<String>,
}

/// Everything one statement shows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Catalog {
    /// All non-template databases.
    pub databases: Vec<DatabaseRow>,
    /// All roles that carry one of our marks, and all that are named `client_*`.
    pub roles: Vec<RoleRow>,
    /// `PG_VERSION_NUM` of the server, for the choice of `pg_dump`.
    pub server_version: i32,
}

impl Catalog {
    /// The database of that name.
    pub fn database(&self, name: &SqlName) -> Option<&DatabaseRow> {
        self.databases.iter().find(|row| row.name == name.as_str())
    }

    /// The role of that name.
    pub fn role(&self, name: &SqlName) -> Option<&RoleRow> {
        self.roles.iter().find(|row| row.name == name.as_str())
    }
}

/// The mark of a database or role: `sitewright/v1 {"instance":…,"uid":…,"client":…,"state":…}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseMark {
    /// The installation.
    pub instance: Instance,
    /// The incarnation.
    pub uid: Uid,
    /// The client's name, for people who look at the server.
    pub client: String,
    /// How far it is.
    pub state: DatabaseState,
}

/// How far a database is; the last statement of a flow writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DatabaseState {
    /// Statements are missing yet; run them all again.
    Creating,
    /// Complete and isolated.
    Ready,
    /// Kept after its client went; its login is closed.
    Retained,
    /// Renamed away, waiting for its drop.
    Trash,
}

impl DatabaseMark {
    /// The comment text.
    pub fn comment(&self) -> String {
        let json = serde_json::json!({
            "instance": self.instance, "uid": self.uid, "client": self.client, "state": self.state,
        });
        format!("{MARK_PREFIX} {json}")
    }

    /// Reads [`DatabaseMark::comment`] back; `None` for any other text.
    pub fn from_comment(text: &str) -> Option<DatabaseMark> {
        serde_json::from_str(text.strip_prefix(MARK_PREFIX)?.trim_start()).ok()
    }

    /// The owner alone.
    pub fn owner(&self) -> Mark {
        Mark { instance: self.instance.clone(), uid: self.uid.clone() }
    }
}

/// What a client's database is wanted to be (decisions 13): group role of the same name, one login role at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Database {
    /// Database and group role.
    pub name: SqlName,
    /// The login role in use: `<name>_a` or `<name>_b`.
    pub login: SqlName,
    /// The owner.
    pub mark: Mark,
    /// The client, for the mark.
    pub client: String,
}

impl Database {
    /// The mark in a given state.
    pub fn mark_in(&self, state: DatabaseState) -> DatabaseMark {
        DatabaseMark {
            instance: self.mark.instance.clone(),
            uid: self.mark.uid.clone(),
            client: self.client.clone(),
            state,
        }
    }
}
