//! The suite of `Databases`, on a real PostgreSQL server that is thrown away afterwards, as an admin who is no superuser.

use std::path::PathBuf;
use std::process::Command;

use sitewright::provider::error::ErrorClass;
use sitewright::provider::postgres::cluster::Cluster;
use sitewright::provider::postgres::{
    Found, Place, Postgres, PostgresSettings, Step, catalog_statement, database_steps, found_statement, login_steps,
    read_catalog,
};
use sitewright::provider::{Databases, DropPermit};
use sitewright::resource::database::{Database, DatabaseState};
use sitewright::resource::mark::Mark;
use sitewright::resource::name::{Instance, SqlName, Uid};
use sitewright::resource::secret::Secret;
use tokio::sync::OnceCell;
use tokio_postgres::{NoTls, SimpleQueryMessage};

/// One server for all tests of this program; its guardian stops it when the program ends.
static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();

pub(crate) async fn cluster() -> &'static Cluster {
    let start = async || {
        // Every statement is logged, so that a test can look for what must not be there.
        let settings = [("log_statement", "all"), ("log_line_prefix", "%a|"), ("max_connections", "200")];
        Cluster::start_with(&std::env::temp_dir(), &settings).await.unwrap()
    };
    CLUSTER.get_or_init(start).await
}

pub(crate) fn server(url: Secret) -> Postgres {
    Postgres::new(&PostgresSettings { url, site_host: None, site_parameters: None, ca: None }).unwrap()
}

pub(crate) async fn admin() -> Postgres {
    server(cluster().await.admin_url())
}

pub(crate) fn database(name: &str) -> Database {
    Database {
        name: SqlName::parse(&format!("client_{name}")).unwrap(),
        login: SqlName::parse(&format!("client_{name}_a")).unwrap(),
        mark: Mark { instance: Instance::parse("test").unwrap(), uid: Uid::trusted(format!("uid-{name}")) },
        client: name.to_owned(),
    }
}

pub(crate) fn password(text: &str) -> Secret {
    Secret::new(format!("canary-{text}"))
}

async fn made(name: &str) -> (Postgres, Database, Secret) {
    let (server, database, password) = (admin().await, database(name), password(name));
    server.ensure_database(&database, false).await.unwrap();
    server.ensure_login(&database, &password, false).await.unwrap();
    (server, database, password)
}

/// A plain session, as a site or a person has one.
pub(crate) async fn connect(url: &Secret) -> Result<tokio_postgres::Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url.expose(), NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

pub(crate) async fn superuser(database: &str) -> tokio_postgres::Client {
    let url = cluster().await.superuser_url();
    connect(&Secret::new(url.expose().replace("/postgres?", &format!("/{database}?")))).await.unwrap()
}

pub(crate) async fn value(client: &tokio_postgres::Client, sql: &str) -> Option<String> {
    client.simple_query(sql).await.unwrap().iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    })
}

async fn code(client: &tokio_postgres::Client, sql: &str) -> String {
    match client.simple_query(sql).await {
        Ok(_) => "done".into(),
        Err(error) => error.code().map_or("no code".into(), |code| code.code().to_owned()),
    }
}

/// Everything the server knows of a database and the roles named after it.
async fn fingerprint(name: &str) -> String {
    let sql = format!(
        "SELECT json_build_array(
            (SELECT json_build_array(d.*, shobj_description(d.oid, 'pg_database')) FROM pg_database d WHERE datname = '{name}'),
            (SELECT json_agg(json_build_array(a.*, shobj_description(a.oid, 'pg_authid')) ORDER BY rolname)
               FROM pg_authid a WHERE rolname LIKE '{name}%'),
            (SELECT json_agg(m.* ORDER BY m.roleid, m.member) FROM pg_auth_members m
               JOIN pg_roles r ON r.oid IN (m.roleid, m.member) WHERE r.rolname LIKE '{name}%'),
            (SELECT json_agg(s.* ORDER BY s.setrole) FROM pg_db_role_setting s JOIN pg_roles r ON r.oid = s.setrole
               WHERE r.rolname LIKE '{name}%'))::text"
    );
    value(&superuser("postgres").await, &sql).await.unwrap()
}

#[tokio::test]
async fn a_site_gets_a_database_in_which_it_can_work() {
    let (server, database, password) = made("works").await;
    assert!(server.can_log_in(&database, &password).await.unwrap());
    assert!(!server.can_log_in(&database, &Secret::new("wrong")).await.unwrap());
    let site = connect(&server.site_url(&database.name, &database.login, &password)).await.unwrap();
    site.batch_execute("CREATE TYPE mood AS ENUM ('good'); CREATE TABLE t (id serial, m mood)").await.unwrap();
    let owner = value(&site, "SELECT tableowner FROM pg_tables WHERE tablename = 't'").await;
    assert_eq!(owner.as_deref(), Some("client_works"), "the group owns the objects, not the login");

    let catalog = server.catalog().await.unwrap();
    let row = catalog.database(&database.name).unwrap();
    assert_eq!(row.mark(), Some(database.mark_in(DatabaseState::Ready)));
    assert_eq!(row.owner, "sitewright_admin");
    assert!(!row.public_connect && row.allow_connections && row.sessions >= 1);
    let login = catalog.role(&database.login).unwrap();
    assert!(login.login && login.member_of == ["client_works"]);
    assert!(login.comment.as_deref().unwrap().contains("uid-works"));
    let group = catalog.role(&database.name).unwrap();
    assert!(!group.login && group.comment.as_deref().unwrap().contains("uid-works"));
    assert!((130_000..200_000).contains(&catalog.server_version));
    assert!(catalog.databases.iter().all(|row| !row.name.starts_with("template")));
}

#[tokio::test]
async fn one_client_cannot_enter_the_database_of_another() {
    let (server, one, password) = made("iso_one").await;
    let (_, two, _) = made("iso_two").await;
    let refused = connect(&server.site_url(&two.name, &one.login, &password)).await.err().unwrap();
    let error = refused.as_db_error().unwrap();
    assert_eq!(error.code().code(), "42501");
    assert_eq!(error.detail(), Some("User does not have CONNECT privilege."));
}

#[tokio::test]
async fn a_client_cannot_touch_its_mark_nor_open_nor_drop_its_database() {
    let (server, database, password) = made("forger").await;
    let before = fingerprint("client_forger").await;
    let site = connect(&server.site_url(&database.name, &database.login, &password)).await.unwrap();
    for sql in [
        "COMMENT ON DATABASE client_forger IS 'mine'",
        "COMMENT ON ROLE client_forger IS 'mine'",
        "COMMENT ON ROLE client_forger_a IS 'mine'",
        "ALTER DATABASE client_forger CONNECTION LIMIT 100",
        "ALTER ROLE client_forger_a CREATEDB",
        "CREATE ROLE another",
    ] {
        assert_eq!(code(&site, sql).await, "42501", "{sql}");
    }
    // Without the grant option this is no error in PostgreSQL, only a warning: what counts is that nothing changed.
    site.simple_query("RESET ROLE").await.unwrap();
    code(&site, "GRANT CONNECT ON DATABASE client_forger TO PUBLIC").await;
    drop(site);
    let elsewhere = server.site_url(&SqlName::trusted("postgres"), &database.login, &password);
    let elsewhere = connect(&elsewhere).await.unwrap();
    assert_eq!(code(&elsewhere, "DROP DATABASE client_forger").await, "42501");
    assert_eq!(fingerprint("client_forger").await, before);
}

/// Sends the first `n` statements, as a process does that dies after the `n`th.
async fn stopped_after(server: &Postgres, database: &Database, steps: &[Step], n: usize) {
    server.run_steps(database, &steps[..n]).await.unwrap();
}

/// B39.
#[tokio::test]
async fn a_crash_after_any_statement_is_mended_by_the_next_run() {
    let server = admin().await;
    let nothing = Found { me: "sitewright_admin".into(), server_version: 150_000, database: None, roles: Vec::new() };
    let (database_len, login_len) = {
        let any = database("any");
        let steps = database_steps(&any, &nothing).unwrap();
        assert_eq!(steps.iter().filter(|step| step.place == Place::Client).count(), 2);
        (steps.len(), login_steps(&any, &nothing, &password("any")).unwrap().len())
    };
    assert_eq!((database_len, login_len), (9, 5), "a new statement is tested here, too");
    for n in 0..=database_len {
        let wanted = database(&format!("crash_{n}"));
        stopped_after(&server, &wanted, &database_steps(&wanted, &nothing).unwrap(), n).await;
        let unmarked = n == 1 || n == 4;
        let refused = server.ensure_database(&wanted, false).await;
        assert_eq!(refused.is_err(), unmarked, "without an intent an unmarked thing is not ours ({n})");
        server.ensure_database(&wanted, true).await.unwrap();
        let row = server.catalog().await.unwrap().database(&wanted.name).cloned().unwrap();
        assert_eq!(row.mark(), Some(wanted.mark_in(DatabaseState::Ready)), "{n}");
        assert!(!row.public_connect, "{n}");

        let m = n % (login_len + 1);
        let secret = password(&format!("crash_{n}"));
        let steps = login_steps(&wanted, &server.look(&wanted).await.unwrap(), &password("forgotten")).unwrap();
        stopped_after(&server, &wanted, &steps, m).await;
        server.ensure_login(&wanted, &secret, true).await.unwrap();
        let site = connect(&server.site_url(&wanted.name, &wanted.login, &secret)).await.unwrap();
        site.batch_execute("CREATE TABLE t ()").await.unwrap();
        let owner = value(&site, "SELECT tableowner FROM pg_tables WHERE tablename = 't'").await;
        assert_eq!(owner.as_deref(), Some(wanted.name.as_str()), "{n}/{m}");
    }
}

#[tokio::test]
async fn running_again_changes_nothing() {
    let (server, database, password) = made("again").await;
    let before = fingerprint("client_again").await;
    server.ensure_database(&database, false).await.unwrap();
    assert_eq!(fingerprint("client_again").await, before);
    server.ensure_login(&database, &password, false).await.unwrap();
    assert!(server.can_log_in(&database, &password).await.unwrap());
}

#[tokio::test]
async fn what_is_in_the_way_is_named_and_not_touched() {
    let server = admin().await;
    let root = superuser("postgres").await;
    let other = r#"sitewright/v1 {"instance":"other","uid":"u9","client":"bob","state":"ready"}"#;
    for sql in [
        "CREATE DATABASE client_theirs",
        "CREATE DATABASE client_noted",
        "COMMENT ON DATABASE client_noted IS 'accounting, do not touch'",
        "CREATE DATABASE client_bobs",
        &format!("COMMENT ON DATABASE client_bobs IS '{other}'"),
        "CREATE ROLE client_person LOGIN PASSWORD 'x'",
        "CREATE ROLE client_boss SUPERUSER",
        "CREATE ROLE client_half_a LOGIN",
    ] {
        root.simple_query(sql).await.unwrap();
    }
    let theirs = superuser("client_theirs").await;
    theirs.batch_execute("CREATE TABLE kept (x int); INSERT INTO kept VALUES (1)").await.unwrap();
    for (name, intended, words) in [
        ("theirs", false, vec!["role root_su", "sitewright/adopt: \"client_theirs\""]),
        ("theirs", true, vec!["ALTER DATABASE client_theirs OWNER TO sitewright_admin"]),
        ("noted", false, vec!["comment that is not ours"]),
        ("noted", true, vec!["comment that is not ours", "sitewright/adopt"]),
        ("bobs", false, vec!["client bob", "instance other", "uid u9"]),
        ("bobs", true, vec!["client bob"]),
        ("person", false, vec!["role client_person", "sitewright/adopt: \"client_person\""]),
        ("boss", true, vec!["rights on the whole server"]),
    ] {
        let full = format!("client_{name}");
        let before = fingerprint(&full).await;
        let error = server.ensure_database(&database(name), intended).await.unwrap_err();
        assert!(matches!(error.class, ErrorClass::Exists(_)), "{name}: {error}");
        for word in words {
            assert!(error.to_string().contains(word), "{name}: {error}");
        }
        assert_eq!(fingerprint(&full).await, before, "{name}");
    }
    assert_eq!(value(&theirs, "SELECT count(*) FROM kept").await.as_deref(), Some("1"));

    let half = database("half");
    server.ensure_database(&half, false).await.unwrap();
    let before = fingerprint("client_half").await;
    let error = server.ensure_login(&half, &password("half"), false).await.unwrap_err();
    assert!(matches!(error.class, ErrorClass::Exists(_)), "{error}");
    let error = server.close_login(&half).await.unwrap_err();
    assert!(matches!(error.class, ErrorClass::Exists(_)), "{error}");
    assert_eq!(fingerprint("client_half").await, before);
}

#[tokio::test]
async fn a_password_reaches_the_server_only_as_a_verifier() {
    let (server, database, old) = made("verifier").await;
    let new = password("verifier-second");
    server.ensure_login(&database, &new, false).await.unwrap();
    assert!(!server.can_log_in(&database, &old).await.unwrap());
    assert!(server.can_log_in(&database, &new).await.unwrap());
    let log = std::fs::read_to_string(cluster().await.log()).unwrap();
    assert!(log.contains(r#"CREATE ROLE "client_verifier_a" LOGIN CONNECTION LIMIT 15 PASSWORD 'SCRAM-SHA-256$"#));
    assert!(!log.contains("canary"));
    let root = superuser("postgres").await;
    let kept = value(&root, "SELECT rolpassword FROM pg_authid WHERE rolname = 'client_verifier_a'").await;
    assert!(kept.unwrap().starts_with("SCRAM-SHA-256$4096:"));
}

#[tokio::test]
async fn the_rights_of_the_admin_are_told() {
    let server = admin().await;
    let rights = server.rights().await.unwrap();
    assert_eq!(rights.role, "sitewright_admin");
    assert!(!rights.superuser && rights.create_databases && rights.create_roles && rights.public_connect);
    server.check_dump_tools(rights.server_version).await.unwrap();
    let error = server.check_dump_tools(990_000).await.unwrap_err();
    assert!(error.to_string().contains("postgresql-client-99"), "{error}");
}

/// B34. What initdb gave it tells a server from every other one, also to an admin who is no superuser.
#[tokio::test]
async fn a_server_says_which_one_it_is() {
    let id = admin().await.server_id().await.unwrap().expect("it may be read");
    let control = value(&superuser("postgres").await, "SELECT system_identifier::text FROM pg_control_system()").await;
    assert_eq!(Some(id), control);
}

#[tokio::test]
async fn the_catalog_is_one_statement() {
    let url = Secret::new(format!("{}&application_name=count_me", cluster().await.admin_url().expose()));
    let server = server(url);
    server.catalog().await.unwrap();
    let log = std::fs::read_to_string(cluster().await.log()).unwrap();
    assert_eq!(log.lines().filter(|line| line.starts_with("count_me|") && line.contains("statement:")).count(), 1);
    server.catalog().await.unwrap();
    let log = std::fs::read_to_string(cluster().await.log()).unwrap();
    assert_eq!(log.lines().filter(|line| line.starts_with("count_me|") && line.contains("statement:")).count(), 2);
}

/// A statement sees the rows of its snapshot, but privileges as they are: a database dropped in between has none.
#[tokio::test]
async fn a_database_that_is_dropped_while_we_look_is_gone_and_no_error() {
    let (server, vanishing, _) = made("vanishing").await;
    let (early, late) = (superuser("postgres").await, superuser("postgres").await);
    early.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1").await.unwrap();
    late.batch_execute("DROP DATABASE client_vanishing").await.unwrap();
    let rows = value(&early, "SELECT count(*) FROM pg_database WHERE datname = 'client_vanishing'").await;
    assert_eq!(rows.as_deref(), Some("1"), "the snapshot is from before the drop");
    let seen = read_catalog(&value(&early, catalog_statement().text()).await.unwrap()).unwrap();
    assert!(seen.database(&vanishing.name).is_none());
    let found = value(&early, found_statement(&vanishing).text()).await.unwrap();
    assert!(found.contains(r#""database" : null"#), "{found}");
    assert!(server.catalog().await.unwrap().database(&vanishing.name).is_none());
}

#[tokio::test]
async fn closing_a_login_ends_its_sessions_and_ensuring_it_opens_it_again() {
    let (server, database, password) = made("closed").await;
    let site = connect(&server.site_url(&database.name, &database.login, &password)).await.unwrap();
    site.simple_query("SELECT 1").await.unwrap();
    server.close_login(&database).await.unwrap();
    assert!(!server.can_log_in(&database, &password).await.unwrap());
    while !site.is_closed() {
        tokio::task::yield_now().await;
    }
    server.close_login(&database).await.unwrap();
    server.mark_database(&database, DatabaseState::Retained).await.unwrap();
    let row = server.catalog().await.unwrap().database(&database.name).cloned().unwrap();
    assert_eq!(row.mark().unwrap().state, DatabaseState::Retained);
    server.ensure_database(&database, false).await.unwrap();
    server.ensure_login(&database, &password, false).await.unwrap();
    assert!(server.can_log_in(&database, &password).await.unwrap());
    let absent = crate::databases::database("absent");
    server.close_login(&absent).await.unwrap();
    let error = server.mark_database(&absent, DatabaseState::Retained).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::NotFound);
}

/// A program of the newest version here.
fn program(name: &str) -> PathBuf {
    let mut found: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .map(|entries| entries.flatten().map(|entry| entry.path().join("bin").join(name)).collect())
        .unwrap_or_default();
    found.retain(|path| path.is_file());
    found.sort();
    found.pop().unwrap_or_else(|| PathBuf::from(name))
}

#[tokio::test]
async fn a_backup_can_be_restored() {
    use std::os::unix::fs::MetadataExt;
    let (server, database, password) = made("dumped").await;
    let site = connect(&server.site_url(&database.name, &database.login, &password)).await.unwrap();
    site.batch_execute("CREATE TABLE t (x int); INSERT INTO t SELECT generate_series(1, 1000)").await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("backups");
    let now = "2026-11-20T12:00:00Z".parse().unwrap();
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("client_dumped-20260101T000000000Z-1.dump.partial"), "killed").unwrap();
    let backup = server.back_up(&database, &folder, now).await.unwrap();
    let file = folder.join(&backup.file);
    let meta = file.metadata().unwrap();
    assert_eq!((meta.mode() & 0o777, meta.len()), (0o600, backup.bytes));
    assert_eq!(backup.oid, server.catalog().await.unwrap().database(&database.name).unwrap().oid);
    let sum = Command::new("sha256sum").arg(&file).output().unwrap();
    assert!(String::from_utf8_lossy(&sum.stdout).starts_with(&backup.sha256));
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1, "no draft is left");

    superuser("postgres").await.simple_query("CREATE DATABASE restored").await.unwrap();
    let target = cluster().await.superuser_url().expose().replace("/postgres?", "/restored?");
    let restored = Command::new(program("pg_restore")).arg("--dbname").arg(target).arg(&file).status().unwrap();
    assert!(restored.success());
    assert_eq!(value(&superuser("restored").await, "SELECT sum(x) FROM t").await.as_deref(), Some("500500"));

    let absent = crate::databases::database("absent_dump");
    assert_eq!(server.back_up(&absent, &folder, now).await.unwrap_err().class, ErrorClass::NotFound);
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
}

/// G6. A dump of what only stands because of the order in which it was made: pg_dump is content, pg_restore is not.
#[tokio::test]
async fn a_dump_that_cannot_be_restored_is_no_backup_and_the_trial_leaves_nothing() {
    let (server, database, password) = made("unrestorable").await;
    let site = connect(&server.site_url(&database.name, &database.login, &password)).await.unwrap();
    site.batch_execute(
        "CREATE FUNCTION twice(x int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT x * 2';
         CREATE FUNCTION four(x int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN twice(twice(x)); END';
         CREATE TABLE t (x int); INSERT INTO t VALUES (1); CREATE INDEX ON t (four(x))",
    )
    .await
    .unwrap();
    let dir = tempfile::tempdir().unwrap();
    let now = "2026-11-20T12:00:00Z".parse().unwrap();
    let trial = format!("sitewright_trial_{}", oid(&server, &database).await);
    superuser("postgres").await.simple_query(&format!("CREATE DATABASE {trial}")).await.unwrap();
    let foreign = server.back_up(&database, dir.path(), now).await.unwrap_err();
    assert!(matches!(foreign.class, ErrorClass::Exists(_)), "{foreign}");
    superuser("postgres").await.simple_query(&format!("DROP DATABASE {trial}")).await.unwrap();

    let refused = server.back_up(&database, dir.path(), now).await.unwrap_err();
    assert!(refused.to_string().contains("pg_restore ended with"), "{refused}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "no dump is left that could be taken for one");
    let left = format!("SELECT count(*) FROM pg_database WHERE datname = '{trial}'");
    assert_eq!(value(&superuser("postgres").await, &left).await.as_deref(), Some("0"));
}

async fn oid(server: &Postgres, database: &Database) -> u32 {
    server.catalog().await.unwrap().database(&database.name).unwrap().oid
}

/// A session that was closed is still counted until its process on the server has ended.
async fn until_empty(server: &Postgres, database: &Database) {
    while server.catalog().await.unwrap().database(&database.name).unwrap().sessions > 0 {
        tokio::task::yield_now().await;
    }
}

/// B25, B40, G12.
#[tokio::test]
async fn a_drop_needs_the_very_database_our_mark_and_nobody_inside() {
    let (server, database, password) = made("dropped").await;
    let permit = DropPermit { oid: oid(&server, &database).await, database: database.clone() };
    let other_oid = DropPermit { oid: permit.oid + 1, ..permit.clone() };
    assert!(matches!(server.drop_database(&other_oid).await.unwrap_err().class, ErrorClass::Invalid(_)));
    let mut other_mark = permit.clone();
    other_mark.database.mark.uid = Uid::trusted("uid-next");
    assert!(matches!(server.drop_database(&other_mark).await.unwrap_err().class, ErrorClass::Invalid(_)));

    let site = connect(&server.site_url(&database.name, &database.login, &password)).await.unwrap();
    let error = server.drop_database(&permit).await.unwrap_err();
    assert!(matches!(error.class, ErrorClass::Busy(_)), "{error}");
    site.batch_execute("CREATE TABLE still_here ()").await.unwrap();
    assert!(server.can_log_in(&database, &password).await.unwrap(), "a refused drop closes nothing");

    server.close_login(&database).await.unwrap();
    until_empty(&server, &database).await;
    server.drop_database(&permit).await.unwrap();
    let catalog = server.catalog().await.unwrap();
    assert!(catalog.database(&database.name).is_none());
    assert!(catalog.roles.iter().all(|role| !role.name.starts_with("client_dropped")));
    server.drop_database(&permit).await.unwrap();
}

/// B39.
#[tokio::test]
async fn a_drop_that_stopped_half_way_goes_on_or_is_taken_back() {
    let (server, wanted, password) = made("halfway").await;
    let root = superuser("postgres").await;
    root.simple_query("ALTER DATABASE client_halfway ALLOW_CONNECTIONS false").await.unwrap();
    server.ensure_database(&wanted, false).await.unwrap();
    assert!(server.can_log_in(&wanted, &password).await.unwrap(), "the client came back");

    let permit = DropPermit { oid: oid(&server, &wanted).await, database: wanted.clone() };
    root.simple_query("ALTER DATABASE client_halfway ALLOW_CONNECTIONS false").await.unwrap();
    root.simple_query("DROP DATABASE client_halfway").await.unwrap();
    server.drop_database(&permit).await.unwrap();
    assert!(server.catalog().await.unwrap().roles.iter().all(|role| !role.name.starts_with("client_halfway")));
}

#[tokio::test]
async fn a_drop_leaves_the_same_name_of_another_incarnation_alone() {
    let (server, database, _) = made("reborn").await;
    let permit = DropPermit { oid: oid(&server, &database).await, database: database.clone() };
    until_empty(&server, &database).await;
    server.drop_database(&permit).await.unwrap();
    let mut next = database.clone();
    next.mark.uid = Uid::trusted("uid-next");
    server.ensure_database(&next, false).await.unwrap();
    let before = fingerprint("client_reborn").await;
    assert!(matches!(server.drop_database(&permit).await.unwrap_err().class, ErrorClass::Invalid(_)));
    assert_eq!(fingerprint("client_reborn").await, before);
}
