//! Every statement this provider sends. Names and texts get into one only as [`Identifier`] and [`Literal`].

use std::fmt;
use std::time::Duration;

use postgres_protocol::escape::{escape_identifier, escape_literal};

use crate::provider::error::ErrorClass;
use crate::resource::database::DatabaseMark;
use crate::resource::name::SqlName;

/// How long a read may take: the catalog of thousands of databases takes well under a second.
pub const READ_DEADLINE: Duration = Duration::from_secs(30);
/// How long a change may take: `CREATE DATABASE` copies a template's files and waits 5 s for its sessions.
pub const CHANGE_DEADLINE: Duration = Duration::from_secs(60);
/// Sessions of all logins of one client together (contracts/postgres.md 2).
pub const DATABASE_CONNECTIONS_MAX: u32 = 20;
/// Sessions of one login; lower, so that both logins of a rotation fit (contracts/postgres.md 2).
pub const LOGIN_CONNECTIONS_MAX: u32 = 15;

/// A quoted name that PostgreSQL will not cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identifier(String);

impl Identifier {
    /// Refuses what is not a database name of ours in form: reserved, too long, or of other characters.
    pub fn new(name: &SqlName) -> Result<Identifier, ErrorClass> {
        SqlName::parse(name.as_str()).map_err(|e| ErrorClass::Invalid(e.to_string()))?;
        Ok(Identifier(escape_identifier(name.as_str())))
    }
}

impl fmt::Display for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A quoted text.
#[derive(Clone, PartialEq, Eq)]
pub struct Literal(String);

impl Literal {
    /// Quotes any text; a NUL cannot be in one and is left out.
    pub fn new(text: &str) -> Literal {
        Literal(escape_literal(&text.replace('\0', "")))
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a statement whose answer is lost may have changed something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Changes nothing.
    Read,
    /// Changes something.
    Change,
}

/// One statement, sent on its own in autocommit.
#[derive(Clone, PartialEq, Eq)]
pub struct Statement {
    text: String,
    /// For people, in errors: holds names, never a text or a verifier.
    shown: String,
    /// What a lost answer means.
    pub effect: Effect,
}

impl fmt::Debug for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl Statement {
    fn change(text: String, shown: impl Into<String>) -> Statement {
        Statement { text, shown: shown.into(), effect: Effect::Change }
    }

    pub(super) fn read(text: String, shown: impl Into<String>) -> Statement {
        Statement { text, shown: shown.into(), effect: Effect::Read }
    }

    /// The SQL.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What it does, for people.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// How long its answer is waited for.
    pub fn deadline(&self) -> Duration {
        match self.effect {
            Effect::Read => READ_DEADLINE,
            Effect::Change => CHANGE_DEADLINE,
        }
    }
}

/// `CREATE ROLE … NOLOGIN`: the group that owns the objects.
pub fn create_group(group: &Identifier) -> Statement {
    Statement::change(format!("CREATE ROLE {group} NOLOGIN"), format!("CREATE ROLE {group}"))
}

/// The login with its verifier.
pub fn create_login(login: &Identifier, verifier: &Literal) -> Statement {
    Statement::change(
        format!("CREATE ROLE {login} LOGIN CONNECTION LIMIT {LOGIN_CONNECTIONS_MAX} PASSWORD {verifier}"),
        format!("CREATE ROLE {login}"),
    )
}

/// Opens a login that is there, with a new verifier.
pub fn open_login(login: &Identifier, verifier: &Literal) -> Statement {
    Statement::change(
        format!("ALTER ROLE {login} LOGIN CONNECTION LIMIT {LOGIN_CONNECTIONS_MAX} PASSWORD {verifier}"),
        format!("ALTER ROLE {login} LOGIN"),
    )
}

/// Closes a login.
pub fn close_login(login: &Identifier) -> Statement {
    plain(format!("ALTER ROLE {login} NOLOGIN"))
}

/// What the login makes belongs to the group.
pub fn act_as_group(login: &Identifier, group: &Identifier) -> Statement {
    plain(format!("ALTER ROLE {login} SET role TO {group}"))
}

/// Membership of the login in the group.
pub fn join_group(group: &Identifier, login: &Identifier) -> Statement {
    plain(format!("GRANT {group} TO {login}"))
}

/// Membership of the admin: needed to dump what the group owns and to end the login's sessions (contracts/postgres.md 6).
pub fn join_self(role: &Identifier) -> Statement {
    plain(format!("GRANT {role} TO CURRENT_USER"))
}

/// The mark of a role.
pub fn mark_role(role: &Identifier, mark: &DatabaseMark) -> Statement {
    let comment = Literal::new(&mark.comment());
    Statement::change(format!("COMMENT ON ROLE {role} IS {comment}"), format!("COMMENT ON ROLE {role}"))
}

/// The database, from the template nobody is connected to.
pub fn create_database(name: &Identifier) -> Statement {
    Statement::change(
        format!(
            "CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8' CONNECTION LIMIT {DATABASE_CONNECTIONS_MAX}"
        ),
        format!("CREATE DATABASE {name}"),
    )
}

/// `t` or `f`: whether a database is the admin's own and carries no word of anybody, as every client's does; no row where
/// there is none of that name.
pub fn is_bare_database(name: &Literal) -> Statement {
    Statement::read(
        format!(
            "SELECT pg_get_userbyid(datdba) = current_user AND shobj_description(oid, 'pg_database') IS NULL FROM pg_database WHERE datname = {name}"
        ),
        "SELECT FROM pg_database",
    )
}

/// The mark of a database.
pub fn mark_database(name: &Identifier, mark: &DatabaseMark) -> Statement {
    let comment = Literal::new(&mark.comment());
    Statement::change(format!("COMMENT ON DATABASE {name} IS {comment}"), format!("COMMENT ON DATABASE {name}"))
}

/// Nobody connects by default any more.
pub fn isolate(name: &Identifier) -> Statement {
    plain(format!("REVOKE ALL ON DATABASE {name} FROM PUBLIC"))
}

/// The group connects.
pub fn let_group_in(name: &Identifier, group: &Identifier) -> Statement {
    plain(format!("GRANT CONNECT, TEMPORARY ON DATABASE {name} TO {group}"))
}

/// Nothing to do from PostgreSQL 15 on.
pub fn close_schema() -> Statement {
    plain("REVOKE CREATE ON SCHEMA public FROM PUBLIC".into())
}

/// The group makes its tables in `public`.
pub fn open_schema(group: &Identifier) -> Statement {
    plain(format!("GRANT USAGE, CREATE ON SCHEMA public TO {group}"))
}

/// New sessions are let in again.
pub fn allow_connections(name: &Identifier) -> Statement {
    plain(format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true"))
}

/// New sessions are refused, superusers' too.
pub fn refuse_connections(name: &Identifier) -> Statement {
    plain(format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false"))
}

/// Ends every session of a login. Needs membership in that very login (contracts/postgres.md 6).
pub fn end_sessions(login: &Literal) -> Statement {
    Statement::change(
        format!(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
             WHERE usename = {login} AND pid <> pg_backend_pid()"
        ),
        "pg_terminate_backend",
    )
}

/// Never with FORCE: a session that is still there is a reason to stop (reliability B40).
pub fn drop_database(name: &Identifier) -> Statement {
    plain(format!("DROP DATABASE {name}"))
}

/// A role that owns nothing.
pub fn drop_role(role: &Identifier) -> Statement {
    plain(format!("DROP ROLE {role}"))
}

/// The admin of a throw-away server: what Sitewright needs and no more (contracts/postgres.md 10).
pub(super) fn create_admin(admin: &Identifier, verifier: &Literal) -> Statement {
    Statement::change(
        format!("CREATE ROLE {admin} LOGIN CREATEDB CREATEROLE PASSWORD {verifier}"),
        format!("CREATE ROLE {admin}"),
    )
}

/// Which cluster this is.
pub(super) fn server_id() -> Statement {
    Statement::read("SELECT system_identifier::text FROM pg_control_system()".into(), "read which server this is")
}

/// What the admin is, as one JSON text.
pub(super) fn rights() -> Statement {
    let text = "SELECT json_build_object(
            'role', r.rolname,
            'superuser', r.rolsuper,
            'create_databases', r.rolcreatedb OR r.rolsuper,
            'create_roles', r.rolcreaterole OR r.rolsuper,
            'server_version', current_setting('server_version_num')::int,
            'database', current_database(),
            'public_connect', has_database_privilege('public', current_database(), 'CONNECT'))::text
        FROM pg_roles r WHERE r.rolname = current_user";
    Statement::read(text.into(), "read our rights")
}

/// Proves a login.
pub fn ping() -> Statement {
    Statement::read("SELECT 1".into(), "SELECT 1")
}

/// For statements that hold nothing but names.
fn plain(text: String) -> Statement {
    Statement::change(text.clone(), text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// C20, H3.
    #[test]
    fn names_that_postgresql_would_cut_or_keep_for_itself_are_refused() {
        for bad in ["", "postgres", "template1", "pg_x", "a\"b", "Üx", &"a".repeat(64)] {
            assert!(matches!(Identifier::new(&SqlName::trusted(bad)), Err(ErrorClass::Invalid(_))), "{bad}");
        }
        assert_eq!(Identifier::new(&SqlName::trusted("client_a")).unwrap().to_string(), "\"client_a\"");
    }

    /// H3.
    #[test]
    fn a_text_stays_inside_its_quotes() {
        assert_eq!(Literal::new("it's").to_string(), "'it''s'");
        assert_eq!(Literal::new(r"a\'; DROP").to_string(), r" E'a\\''; DROP'");
        assert_eq!(Literal::new("a\0b").to_string(), "'ab'");
    }

    #[test]
    fn a_verifier_is_not_shown() {
        let login = Identifier::new(&SqlName::trusted("client_a_a")).unwrap();
        let statement = create_login(&login, &Literal::new("SCRAM-SHA-256$canary"));
        assert!(statement.text().contains("canary"));
        assert!(!format!("{statement:?}{}", statement.shown()).contains("canary"));
    }
}
