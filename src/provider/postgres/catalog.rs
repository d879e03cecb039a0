//! The one statement that shows every database and every role of ours (contracts/postgres.md 3, decisions 37).

use serde::Deserialize;

use crate::provider::postgres::sql::Statement;
use crate::resource::database::{Catalog, DatabaseRow, RoleRow};

/// Sessions are counted once for all databases: a count per row would walk all sessions each time. A database that was
/// dropped after the statement's snapshot still has its row, but no privileges (NULL): it is gone.
const CATALOG: &str = r"
WITH sessions AS (
    SELECT datid, count(*) AS n FROM pg_stat_activity WHERE usesysid IS NOT NULL GROUP BY datid
)
SELECT json_build_object(
    'server_version', current_setting('server_version_num')::int,
    'databases', (
        SELECT coalesce(json_agg(json_build_object(
            'name', d.datname,
            'oid', d.oid::bigint,
            'owner', pg_get_userbyid(d.datdba),
            'comment', shobj_description(d.oid, 'pg_database'),
            'public_connect', has_database_privilege('public', d.oid, 'CONNECT'),
            'allow_connections', d.datallowconn,
            'sessions', coalesce(s.n, 0)) ORDER BY d.datname), '[]')
        FROM pg_database d LEFT JOIN sessions s ON s.datid = d.oid
        WHERE NOT d.datistemplate AND has_database_privilege('public', d.oid, 'CONNECT') IS NOT NULL),
    'roles', (
        SELECT coalesce(json_agg(json_build_object(
            'name', r.rolname,
            'login', r.rolcanlogin,
            'comment', shobj_description(r.oid, 'pg_authid'),
            'member_of', (
                SELECT coalesce(json_agg(DISTINCT g.rolname), '[]')
                FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid
                WHERE m.member = r.oid)) ORDER BY r.rolname), '[]')
        FROM pg_roles r
        WHERE r.rolname LIKE 'client\_%' OR shobj_description(r.oid, 'pg_authid') LIKE 'sitewright/v1%')
)::text";

/// The statement.
pub fn statement() -> Statement {
    Statement::read(CATALOG.trim().to_owned(), "read the catalog")
}

#[derive(Deserialize)]
struct Wire {
    server_version: i32,
    databases: Vec<WireDatabase>,
    roles: Vec<WireRole>,
}

#[derive(Deserialize)]
struct WireDatabase {
    name: String,
    oid: u32,
    owner: String,
    comment: Option<String>,
    public_connect: bool,
    allow_connections: bool,
    sessions: i64,
}

#[derive(Deserialize)]
struct WireRole {
    name: String,
    login: bool,
    comment: Option<String>,
    member_of: Vec<String>,
}

/// Reads the answer.
pub fn read(text: &str) -> Result<Catalog, serde_json::Error> {
    let wire: Wire = serde_json::from_str(text)?;
    let database = |row: WireDatabase| DatabaseRow {
        name: row.name,
        oid: row.oid,
        owner: row.owner,
        comment: row.comment,
        public_connect: row.public_connect,
        allow_connections: row.allow_connections,
        sessions: row.sessions,
    };
    let role =
        |row: WireRole| RoleRow { name: row.name, login: row.login, comment: row.comment, member_of: row.member_of };
    Ok(Catalog {
        databases: wire.databases.into_iter().map(database).collect(),
        roles: wire.roles.into_iter().map(role).collect(),
        server_version: wire.server_version,
    })
}
