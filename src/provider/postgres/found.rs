//! What stands under the names of one client, read just before it is changed, and whether it may be.

use serde::Deserialize;

use crate::provider::error::ErrorClass;
use crate::provider::postgres::sql::{Literal, Statement};
use crate::resource::database::{Database, DatabaseMark};
use crate::resource::mark::Mark;
use crate::resource::name::SqlName;

/// What stands under the names of one client.
#[derive(Debug, Clone, Deserialize)]
pub struct Found {
    /// The role we are.
    pub me: String,
    /// `PG_VERSION_NUM` of the server.
    pub server_version: i32,
    /// The database of that name.
    pub database: Option<FoundDatabase>,
    /// The group role and the login roles, as far as they are there.
    pub roles: Vec<FoundRole>,
}

/// A database.
#[derive(Debug, Clone, Deserialize)]
pub struct FoundDatabase {
    /// `oid`.
    pub oid: u32,
    /// Owner role.
    pub owner: String,
    /// Raw comment.
    pub comment: Option<String>,
    /// Whether PUBLIC may connect.
    pub public_connect: bool,
    /// Whether anybody may.
    pub allow_connections: bool,
    /// Sessions of anybody; autovacuum does not count.
    pub sessions: i64,
}

/// A role.
#[derive(Debug, Clone, Deserialize)]
pub struct FoundRole {
    /// `rolname`.
    pub name: String,
    /// `rolcanlogin`.
    pub login: bool,
    /// `rolsuper`, `rolcreaterole`, `rolcreatedb`, `rolreplication` or `rolbypassrls`.
    pub powerful: bool,
    /// Raw comment.
    pub comment: Option<String>,
}

/// Both logins of a rotation.
pub(super) fn logins(database: &Database) -> Vec<SqlName> {
    let mut names: Vec<SqlName> =
        ["a", "b"].map(|letter| SqlName::trusted(format!("{}_{letter}", database.name))).into();
    if !names.contains(&database.login) {
        names.push(database.login.clone());
    }
    names
}

/// The statement that reads a [`Found`] as one JSON text; a database that is dropped meanwhile is none (see `catalog.rs`).
pub fn look(database: &Database) -> Statement {
    let name = Literal::new(database.name.as_str());
    let roles: Vec<String> = std::iter::once(&database.name)
        .chain(&logins(database))
        .map(|role| Literal::new(role.as_str()).to_string())
        .collect();
    let text = format!(
        "SELECT json_build_object(
            'me', current_user,
            'server_version', current_setting('server_version_num')::int,
            'database', (SELECT json_build_object(
                'oid', d.oid::bigint,
                'owner', pg_get_userbyid(d.datdba),
                'comment', shobj_description(d.oid, 'pg_database'),
                'public_connect', has_database_privilege('public', d.oid, 'CONNECT'),
                'allow_connections', d.datallowconn,
                'sessions', (SELECT count(*) FROM pg_stat_activity a WHERE a.datid = d.oid AND a.usesysid IS NOT NULL))
                FROM pg_database d
                WHERE d.datname = {name} AND has_database_privilege('public', d.oid, 'CONNECT') IS NOT NULL),
            'roles', (SELECT coalesce(json_agg(json_build_object(
                'name', r.rolname,
                'login', r.rolcanlogin,
                'powerful', r.rolsuper OR r.rolcreaterole OR r.rolcreatedb OR r.rolreplication OR r.rolbypassrls,
                'comment', shobj_description(r.oid, 'pg_authid'))), '[]')
                FROM pg_roles r WHERE r.rolname IN ({})))::text",
        roles.join(", ")
    );
    Statement::read(text, format!("look at {}", database.name))
}

/// How a thing stands to an owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bearing {
    /// Carries our mark.
    Ours,
    /// Carries no comment at all.
    Unmarked,
    /// Carries another comment.
    Foreign,
}

/// Reads a comment.
pub(super) fn bearing(comment: Option<&str>, mark: &Mark) -> Bearing {
    match comment {
        None => Bearing::Unmarked,
        Some(text) if DatabaseMark::from_comment(text).is_some_and(|found| found.owner() == *mark) => Bearing::Ours,
        Some(_) => Bearing::Foreign,
    }
}

impl Found {
    /// The role of that name.
    pub fn role(&self, name: &SqlName) -> Option<&FoundRole> {
        self.roles.iter().find(|role| role.name == name.as_str())
    }

    /// Whether the database carries this owner's mark.
    pub fn is_marked(&self, mark: &Mark) -> bool {
        self.database.as_ref().is_some_and(|d| bearing(d.comment.as_deref(), mark) == Bearing::Ours)
    }

    /// Refuses what is not ours: somebody else's mark always, none at all unless a create of ours (or a person's word)
    /// accounts for it.
    pub(super) fn check_database(&self, wanted: &Database, intended: bool) -> Result<(), ErrorClass> {
        let Some(found) = &self.database else { return Ok(()) };
        let name = &wanted.name;
        match bearing(found.comment.as_deref(), &wanted.mark) {
            Bearing::Ours => Ok(()),
            // What we create is owned by us; a name of another owner was never our create.
            Bearing::Unmarked if intended && found.owner == self.me => Ok(()),
            Bearing::Unmarked if intended => Err(ErrorClass::Exists(format!(
                "database {name} belongs to role {}; run `ALTER DATABASE {name} OWNER TO {}` as its owner before it is adopted",
                found.owner, self.me
            ))),
            Bearing::Unmarked => Err(ErrorClass::Exists(format!(
                "database {name} belongs to role {} and carries no mark; {}",
                found.owner,
                way_out(name)
            ))),
            Bearing::Foreign => Err(ErrorClass::Exists(format!(
                "database {name} {}; {}",
                stranger(found.comment.as_deref()),
                way_out(name)
            ))),
        }
    }

    /// The same for the group role or a login role.
    pub(super) fn check_role(&self, name: &SqlName, wanted: &Database, intended: bool) -> Result<(), ErrorClass> {
        let Some(found) = self.role(name) else { return Ok(()) };
        match bearing(found.comment.as_deref(), &wanted.mark) {
            Bearing::Ours => Ok(()),
            // Our roles can do nothing on the server; one that can was never our create.
            Bearing::Unmarked if intended && !found.powerful => Ok(()),
            Bearing::Unmarked if intended => Err(ErrorClass::Exists(format!(
                "role {name} has rights on the whole server, so it is not taken over; rename it or the client's database"
            ))),
            Bearing::Unmarked => Err(ErrorClass::Exists(format!("role {name} carries no mark; {}", way_out(name)))),
            Bearing::Foreign => Err(ErrorClass::Exists(format!(
                "role {name} {}; {}",
                stranger(found.comment.as_deref()),
                way_out(name)
            ))),
        }
    }
}

/// Whose it is, as far as its comment says; a comment of another form is not repeated.
fn stranger(comment: Option<&str>) -> String {
    match comment.and_then(DatabaseMark::from_comment) {
        Some(mark) => format!(
            "carries the mark of client {} (instance {}, uid {})",
            mark.client.chars().filter(|c| !c.is_control()).take(63).collect::<String>(),
            mark.instance,
            mark.uid
        ),
        None => "carries a comment that is not ours".into(),
    }
}

fn way_out(name: &SqlName) -> String {
    format!(
        "give spec.database.name another value, or clear its comment and take it over with the annotation sitewright/adopt: \"{name}\""
    )
}
