//! The suite of `Store`, over every engine; and what only a file on a disk can do wrong.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write as _};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use sitewright::resource::field::FieldChange;
use sitewright::resource::kind::{ResourceKind, ResourceRef};
use sitewright::resource::mark::Mark;
use sitewright::resource::name::{ClientName, Instance, ServerId, Uid};
use sitewright::resource::owned::Owned;
use sitewright::resource::secret::Secret;
use sitewright::status::{Phase, Status};
use sitewright::store::history::{
    DEPLOYMENTS_MAX, Deployment, DeploymentKind, DeploymentState, History as _, LOG_BYTES_MAX, Write,
};
use sitewright::store::memory::MemoryStore;
use sitewright::store::schema::SCHEMA_VERSION;
use sitewright::store::seal::{StateKey, new_uid};
use sitewright::store::sqlite::SqliteStore;
use sitewright::store::{AcceptedSpec, Ask, ClientRecord, EVENTS_MAX, Event, EventKind, Pause, Store, StoreError};

const NOW: &str = "2026-11-20T12:00:00Z";

fn now() -> jiff::Timestamp {
    NOW.parse().unwrap()
}

fn key() -> StateKey {
    StateKey::from_bytes([7; 32])
}

fn name(text: &str) -> ClientName {
    ClientName::parse(text).unwrap()
}

fn record(client: &str) -> ClientRecord {
    let mark = Mark { instance: Instance::parse("test").unwrap(), uid: Uid::trusted(format!("uid-{client}")) };
    ClientRecord {
        name: name(client),
        accepted: Some(AcceptedSpec {
            text: "apiVersion: sitewright/v1\n".into(),
            file: format!("{client}.yaml"),
            spec_hash: "00".into(),
            at: now(),
        }),
        generation: 3,
        observed_generation: 2,
        reached_generation: 2,
        owned: Owned::nothing(mark),
        secrets: [("database_password", "canary-pw-7f3a"), ("payload_secret", "canary-ps-91bc")]
            .map(|(key, value)| (key.to_owned(), Secret::new(format!("{value}-{client}"))))
            .into(),
        pause: Some(Pause { reason: "holiday".into(), since: now(), until: None }),
        status: Status { phase: Phase::Pending, message: "waits".into(), next_attempt: None, conditions: Vec::new() },
    }
}

fn event(client: Option<&str>, message: &str) -> Event {
    Event {
        id: 0,
        at: now(),
        client: client.map(name),
        kind: EventKind::Normal,
        reason: "Tested".into(),
        message: message.into(),
        reconcile: None,
    }
}

/// Every engine, each fresh. The directory lives as long as the engine.
fn engines() -> Vec<(Arc<dyn Store>, Option<tempfile::TempDir>)> {
    let dir = tempfile::tempdir().unwrap();
    let sqlite = SqliteStore::open_exclusive(&dir.path().join("state.db"), &key()).unwrap();
    vec![(Arc::new(MemoryStore::default()), None), (Arc::new(sqlite), Some(dir))]
}

#[tokio::test]
async fn a_record_comes_back_whole_and_goes_when_it_is_forgotten() {
    for (store, _dir) in engines() {
        assert_eq!(store.client(&name("acme")).await.unwrap(), None);
        for client in ["zeta", "acme"] {
            store.save(&record(client)).await.unwrap();
        }
        let mut changed = record("acme");
        changed.generation = 4;
        changed.secrets.remove("payload_secret");
        changed.secrets.insert("admin_password".into(), Secret::new("new"));
        store.save(&changed).await.unwrap();
        assert_eq!(store.client(&name("acme")).await.unwrap(), Some(changed.clone()));
        assert_eq!(store.clients().await.unwrap(), [changed, record("zeta")]);
        store.forget(&name("acme")).await.unwrap();
        store.forget(&name("acme")).await.unwrap();
        assert_eq!(store.clients().await.unwrap(), [record("zeta")]);
    }
}

#[tokio::test]
async fn the_instance_stays_once_a_client_is_known() {
    for (store, _dir) in engines() {
        let made = store.instance(None).await.unwrap();
        assert_eq!(store.instance(None).await.unwrap(), made);
        let wanted = Instance::parse("production").unwrap();
        assert_eq!(store.instance(Some(&wanted)).await.unwrap(), wanted);
        store.save(&record("acme")).await.unwrap();
        let other = Instance::parse("other").unwrap();
        assert_eq!(store.instance(Some(&other)).await.unwrap(), wanted);
        assert_eq!(store.instance(None).await.unwrap(), wanted);
    }
}

#[tokio::test]
async fn ports_are_the_lowest_free_and_for_life() {
    for (store, _dir) in engines() {
        let (one, two) = (ServerId::trusted("1"), ServerId::trusted("2"));
        let (a, b, c) = (Uid::trusted("a"), Uid::trusted("b"), Uid::trusted("c"));
        let (none, taken) = (BTreeSet::new(), BTreeSet::from([4001, 4003]));
        let lowest = async |uid: &Uid, server: &ServerId, taken: &BTreeSet<u16>| {
            store.allocate_port(server, uid, None, 4001..=4004, taken).await
        };
        assert_eq!(lowest(&a, &one, &taken).await.unwrap(), 4002, "4001 is in a foreign virtual host");
        assert_eq!(lowest(&a, &one, &none).await.unwrap(), 4002, "for life");
        assert_eq!(lowest(&b, &one, &taken).await.unwrap(), 4004);
        assert_eq!(lowest(&b, &two, &none).await.unwrap(), 4001, "servers do not share ports");
        assert!(matches!(lowest(&c, &one, &taken).await, Err(StoreError::PortsExhausted { .. })));
        store.free_ports(&a).await.unwrap();
        assert_eq!(lowest(&c, &one, &taken).await.unwrap(), 4002);
    }
}

#[tokio::test]
async fn a_fixed_port_is_given_or_refused_never_replaced() {
    for (store, _dir) in engines() {
        let server = ServerId::trusted("1");
        let taken = BTreeSet::from([5000]);
        let fixed = async |uid: &str, port| {
            store.allocate_port(&server, &Uid::trusted(uid), Some(port), 4001..=4004, &taken).await
        };
        assert_eq!(fixed("a", 4003).await.unwrap(), 4003);
        assert_eq!(fixed("a", 4003).await.unwrap(), 4003);
        let held = fixed("b", 4003).await.unwrap_err().to_string();
        assert!(held.contains("4003") && held.ends_with("belongs to a"), "{held}");
        assert!(fixed("b", 5000).await.unwrap_err().to_string().ends_with("a foreign site"));
        assert_eq!(fixed("b", 4004).await.unwrap(), 4004, "a refusal leaves nothing behind");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_callers_at_once_get_fifty_ports() {
    for (store, _dir) in engines() {
        let server = ServerId::trusted("1");
        let calls = (0..50).map(|n| {
            let (store, server) = (Arc::clone(&store), server.clone());
            tokio::spawn(async move {
                store.allocate_port(&server, &Uid::trusted(format!("u{n}")), None, 4001..=9999, &BTreeSet::new()).await
            })
        });
        let mut ports = BTreeSet::new();
        for call in calls.collect::<Vec<_>>() {
            ports.insert(call.await.unwrap().unwrap());
        }
        assert_eq!(ports, (4001..=4050).collect());
    }
}

#[tokio::test]
async fn forgetting_a_client_frees_its_port() {
    for (store, _dir) in engines() {
        let server = ServerId::trusted("1");
        store.save(&record("acme")).await.unwrap();
        let uid = record("acme").owned.mark.uid;
        store.allocate_port(&server, &uid, None, 4001..=4001, &BTreeSet::new()).await.unwrap();
        store.forget(&name("acme")).await.unwrap();
        let next = store.allocate_port(&server, &new_uid().unwrap(), None, 4001..=4001, &BTreeSet::new()).await;
        assert_eq!(next.unwrap(), 4001);
    }
}

#[tokio::test]
async fn a_renamed_client_keeps_its_port_and_its_secrets() {
    for (store, _dir) in engines() {
        let (server, none) = (ServerId::trusted("1"), BTreeSet::new());
        let mut moved = record("acme");
        store.save(&moved).await.unwrap();
        let uid = moved.owned.mark.uid.clone();
        assert_eq!(store.allocate_port(&server, &uid, Some(4003), 4001..=4004, &none).await.unwrap(), 4003);
        store.put_deployment(&deployment("acme", 1)).await.unwrap();
        moved.name = name("bakery");
        store.rename(&name("acme"), &moved).await.unwrap();
        assert_eq!(store.clients().await.unwrap(), [moved.clone()]);
        assert_eq!(store.client(&moved.name).await.unwrap().unwrap().secrets, moved.secrets);
        assert_eq!(store.allocate_port(&server, &uid, None, 4001..=4004, &none).await.unwrap(), 4003);
        let history = store.deployments(Some(&moved.name), None, 9).await.unwrap();
        assert_eq!(history.iter().map(|row| &row.client).collect::<Vec<_>>(), [&moved.name], "its history goes along");
    }
}

#[tokio::test]
async fn events_are_read_in_pages_and_by_client() {
    for (store, _dir) in engines() {
        let mut ids = Vec::new();
        assert_eq!(store.kept_events().await.unwrap(), None);
        for n in 0..6 {
            let client = (n % 2 == 0).then_some("acme");
            ids.push(store.append_event(&event(client, &n.to_string())).await.unwrap());
        }
        assert!(ids.is_sorted() && ids[0] > 0);
        assert_eq!(store.kept_events().await.unwrap(), Some((ids[0], ids[5])));
        let page = store.events(None, ids[1], 2).await.unwrap();
        assert_eq!(page.iter().map(|e| e.message.as_str()).collect::<Vec<_>>(), ["2", "3"]);
        assert_eq!(page.iter().map(|e| e.id).collect::<Vec<_>>(), ids[2..4]);
        let of_client = store.events(Some(&name("acme")), 0, 100).await.unwrap();
        assert_eq!(of_client.iter().map(|e| e.message.as_str()).collect::<Vec<_>>(), ["0", "2", "4"]);
        assert!(store.events(None, ids[5], 100).await.unwrap().is_empty());
    }
}

/// D16. A state that somehow holds a million events, asked by client and by number, and what the next event leaves of them.
#[tokio::test]
async fn a_million_events_are_cut_to_the_newest_and_read_by_an_index() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let store = SqliteStore::open_exclusive(&path, &key()).unwrap();
    store.append_event(&event(Some("acme"), "the first")).await.unwrap();
    sql(
        &path,
        "INSERT INTO event (client, event) SELECT 'client-' || (n % 1000), e FROM
            (WITH RECURSIVE many(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM many WHERE n < 1000000) SELECT n FROM many),
            (SELECT event AS e FROM event WHERE id = 1)",
    );
    let id = store.append_event(&event(Some("acme"), "the last")).await.unwrap();
    assert_eq!(id, 1_000_002);
    let all = store.events(None, 0, usize::MAX).await.unwrap();
    assert_eq!(all.len() as i64, EVENTS_MAX);
    assert_eq!(all.last().unwrap().message, "the last");
    assert_eq!(store.events(Some(&name("client-7")), 0, usize::MAX).await.unwrap().len(), 100);
    drop(store);
    let pages: i64 = answer(&path, "SELECT page_count - freelist_count FROM pragma_page_count, pragma_freelist_count");
    let page: i64 = answer(&path, "PRAGMA page_size");
    assert!(pages * page < 100 << 20, "{} bytes are in use", pages * page);
    for question in ["id > 5", "client = 'client-7' AND id > 5"] {
        let plan: String =
            explained(&path, &format!("SELECT id, event FROM event WHERE {question} ORDER BY id LIMIT 10"));
        assert!(plan.starts_with("SEARCH event USING"), "{question}: {plan}");
    }
}

fn answer<T: rusqlite::types::FromSql>(path: &Path, text: &str) -> T {
    rusqlite::Connection::open(path).unwrap().query_row(text, [], |row| row.get(0)).unwrap()
}

fn explained(path: &Path, query: &str) -> String {
    let plan = format!("EXPLAIN QUERY PLAN {query}");
    rusqlite::Connection::open(path).unwrap().query_row(&plan, [], |row| row.get("detail")).unwrap()
}

#[tokio::test]
async fn requests_wait_until_they_are_answered() {
    for (store, _dir) in engines() {
        let pause = Ask::Pause { client: None, reason: "move".into(), until: Some(now()) };
        let first = store.ask(&Ask::Reconcile(name("acme")), now()).await.unwrap();
        let second = store.ask(&pause, now()).await.unwrap();
        let open = store.open_requests().await.unwrap();
        assert_eq!(open.iter().map(|r| r.id).collect::<Vec<_>>(), [first, second]);
        assert_eq!(open[1].ask, pause);
        store.answer(first, &Err("there is no such client".into())).await.unwrap();
        assert_eq!(store.open_requests().await.unwrap().len(), 1);
        let answered = store.request(first).await.unwrap().unwrap();
        assert_eq!(answered.answer, Some(Err("there is no such client".into())));
        assert_eq!(store.request(99).await.unwrap(), None);
        assert!(store.answer(99, &Ok(String::new())).await.is_err());
    }
}

#[tokio::test]
async fn documents_are_written_replaced_and_removed() {
    for (store, _dir) in engines() {
        let (one, two) = (serde_json::json!({"held": ["a"]}), serde_json::json!(null));
        assert_eq!(store.document("absence").await.unwrap(), None);
        store.put_document("absence", Some(&one)).await.unwrap();
        assert_eq!(store.document("absence").await.unwrap(), Some(one));
        store.put_document("absence", Some(&two)).await.unwrap();
        assert_eq!(store.document("absence").await.unwrap(), Some(two));
        store.put_document("absence", None).await.unwrap();
        assert_eq!(store.document("absence").await.unwrap(), None);
    }
}

#[tokio::test]
async fn everything_survives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let (server, uid) = (ServerId::trusted("1"), Uid::trusted("a"));
    let instance = {
        let store = SqliteStore::open_exclusive(&path, &key()).unwrap();
        store.save(&record("acme")).await.unwrap();
        store.allocate_port(&server, &uid, Some(4010), 4001..=9999, &BTreeSet::new()).await.unwrap();
        store.append_event(&event(None, "before")).await.unwrap();
        store.instance(None).await.unwrap()
    };
    let store = SqliteStore::open_exclusive(&path, &key()).unwrap();
    assert_eq!(store.clients().await.unwrap(), [record("acme")]);
    assert_eq!(store.allocate_port(&server, &uid, None, 4001..=9999, &BTreeSet::new()).await.unwrap(), 4010);
    assert_eq!(store.events(None, 0, 10).await.unwrap()[0].message, "before");
    assert_eq!(store.instance(None).await.unwrap(), instance);
}

#[tokio::test]
async fn no_secret_reaches_the_disk_in_the_clear() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let store = SqliteStore::open_exclusive(&path, &key()).unwrap();
    store.save(&record("acme")).await.unwrap();
    let mut seen = 0;
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let entry = entry.unwrap();
        let bytes = std::fs::read(entry.path()).unwrap();
        assert!(!bytes.windows(6).any(|part| part == b"canary"), "{:?}", entry.path());
        assert_eq!(entry.metadata().unwrap().mode() & 0o077, 0, "{:?} is private", entry.path());
        // The search itself works: the client's name is in the clear.
        seen += usize::from(bytes.windows(9).any(|part| part == b"acme.yaml"));
    }
    assert!(seen > 0 && dir.path().join("state.db-wal").exists());
    drop(store);
    let bytes = std::fs::read(&path).unwrap();
    assert!(!bytes.windows(6).any(|part| part == b"canary"));
}

#[tokio::test]
async fn another_key_is_refused_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    SqliteStore::open_exclusive(&path, &key()).unwrap();
    let other = StateKey::from_bytes([8; 32]);
    assert!(matches!(SqliteStore::open_exclusive(&path, &other), Err(StoreError::Sealed { .. })));
    assert!(matches!(SqliteStore::open_shared(&path, &other), Err(StoreError::Sealed { .. })));
    SqliteStore::open_exclusive(&path, &key()).unwrap();
}

/// D12.
#[tokio::test]
async fn one_daemon_holds_the_state_and_commands_work_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("deep/state.db");
    let daemon = SqliteStore::open_exclusive(&path, &key()).unwrap();
    let refusal = SqliteStore::open_exclusive(&path, &key()).err().unwrap().to_string();
    assert!(refusal.contains(&format!("process {}", std::process::id())), "{refusal}");
    let command = SqliteStore::open_shared(&path, &key()).unwrap();
    let id = command.ask(&Ask::Resume(None), now()).await.unwrap();
    assert_eq!(daemon.open_requests().await.unwrap()[0].id, id);
    daemon.save(&record("acme")).await.unwrap();
    assert_eq!(command.clients().await.unwrap(), [record("acme")]);
    drop((daemon, command));
    SqliteStore::open_exclusive(&path, &key()).unwrap();
    assert_eq!(path.parent().unwrap().metadata().unwrap().mode() & 0o777, 0o700);
}

fn sql(path: &Path, text: &str) {
    rusqlite::Connection::open(path).unwrap().execute_batch(text).unwrap();
}

/// D10.
#[tokio::test]
async fn a_newer_version_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    SqliteStore::open_exclusive(&path, &key()).unwrap().save(&record("acme")).await.unwrap();
    sql(&path, "PRAGMA user_version = 99");
    let refused = SqliteStore::open_exclusive(&path, &key()).err().unwrap();
    assert!(matches!(refused, StoreError::Newer { found: 99, .. }), "{refused}");
    sql(&path, &format!("PRAGMA user_version = {SCHEMA_VERSION}"));
    assert_eq!(SqliteStore::open_exclusive(&path, &key()).unwrap().clients().await.unwrap().len(), 1);
}

/// D11.
#[tokio::test]
async fn a_state_of_the_first_version_is_brought_up_with_all_it_holds() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    SqliteStore::open_exclusive(&path, &key()).unwrap().save(&record("acme")).await.unwrap();
    sql(&path, "DROP TABLE deployment; DROP TABLE write; PRAGMA user_version = 1");
    let store = SqliteStore::open_exclusive(&path, &key()).unwrap();
    assert_eq!(store.client(&name("acme")).await.unwrap(), Some(record("acme")));
    assert_eq!(store.put_deployment(&deployment("acme", 1)).await.unwrap(), 1);
}

fn deployment(client: &str, number: u64) -> Deployment {
    Deployment {
        id: 0,
        client: name(client),
        uid: Uid::trusted(format!("uid-{client}")),
        number,
        kind: DeploymentKind::Update,
        trigger: "commit changed".into(),
        repository: "agency/cms".into(),
        branch: "main".into(),
        commit: Some("1a2b3c4d".into()),
        started_at: now(),
        finished_at: None,
        state: DeploymentState::Running,
        reason: None,
        configuration: [("PAYLOAD_SECRET".to_owned(), "(secret)".to_owned())].into(),
        health: None,
        reconcile: Some("01J".into()),
    }
}

#[tokio::test]
async fn deploys_are_one_row_each_from_begin_to_end_and_the_newest_stay() {
    for (store, _dir) in engines() {
        for number in 1..=3 {
            store.put_deployment(&deployment("acme", number)).await.unwrap();
            store.put_deployment(&deployment("bolt", number)).await.unwrap();
        }
        let of_acme = store.deployments(Some(&name("acme")), None, 2).await.unwrap();
        assert_eq!(of_acme.iter().map(|row| row.number).collect::<Vec<_>>(), [3, 2]);
        let older = store.deployments(Some(&name("acme")), Some(of_acme[1].id), 9).await.unwrap();
        assert_eq!(older.iter().map(|row| row.number).collect::<Vec<_>>(), [1]);
        let ended = Deployment { state: DeploymentState::Succeeded, finished_at: Some(now()), ..of_acme[0].clone() };
        store.put_deployment_log(ended.id, "begun").await.unwrap();
        assert_eq!(store.put_deployment(&ended).await.unwrap(), ended.id, "the same row");
        assert_eq!(store.deployment(ended.id).await.unwrap(), Some(ended.clone()));
        assert_eq!(store.deployment_log(ended.id).await.unwrap().as_deref(), Some("begun"), "its log stays");
        let long = format!("ä{}", "x".repeat(LOG_BYTES_MAX - 1));
        store.put_deployment_log(ended.id, &long).await.unwrap();
        let kept = store.deployment_log(ended.id).await.unwrap().unwrap();
        assert_eq!(kept, long.trim_start_matches('ä'), "the end stays, cut where a character begins");
        assert_eq!(store.deployment_log(999).await.unwrap(), None);
        for number in 4..4 + DEPLOYMENTS_MAX as u64 {
            store.put_deployment(&deployment("acme", number)).await.unwrap();
        }
        let kept = store.deployments(Some(&name("acme")), None, usize::MAX).await.unwrap();
        assert_eq!((kept.len(), kept.last().unwrap().number), (DEPLOYMENTS_MAX, 4));
        assert_eq!(store.deployments(None, None, usize::MAX).await.unwrap().len(), DEPLOYMENTS_MAX + 3);
    }
}

#[tokio::test]
async fn writes_come_back_in_their_order() {
    for (store, _dir) in engines() {
        let write = |client: &str, reason: &str| Write {
            id: 0,
            at: now(),
            client: name(client),
            reconcile: None,
            op: "update".into(),
            resource: ResourceRef {
                kind: ResourceKind::Record,
                provider: "cloudflare".into(),
                name: "A acme.example".into(),
                id: None,
            },
            changes: vec![FieldChange::shown("content", Some("192.0.2.1".into()), Some("192.0.2.2".into()))],
            reason: reason.into(),
            failure: None,
        };
        for (client, reason) in [("acme", "first"), ("bolt", "second"), ("acme", "third")] {
            store.append_write(&write(client, reason)).await.unwrap();
        }
        let all = store.writes(None, 0, 9).await.unwrap();
        assert_eq!(all.iter().map(|row| row.reason.as_str()).collect::<Vec<_>>(), ["first", "second", "third"]);
        assert_eq!(all[0], Write { id: all[0].id, ..write("acme", "first") });
        let of_acme = store.writes(Some(&name("acme")), all[0].id, 9).await.unwrap();
        assert_eq!(of_acme.iter().map(|row| row.reason.as_str()).collect::<Vec<_>>(), ["third"]);
    }
}

/// D5, D13.
#[tokio::test]
async fn damaged_foreign_and_linked_files_are_refused_and_not_changed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let store = SqliteStore::open_exclusive(&path, &key()).unwrap();
    for n in 0..200 {
        store.save(&record(&format!("client-{n}"))).await.unwrap();
    }
    drop(store);
    let good = std::fs::read(&path).unwrap();
    let mut torn = good.clone();
    let middle = good.len() / 2;
    torn[middle..middle + 4096].fill(0xA5);
    for (what, bytes) in
        [("torn", torn), ("garbage", vec![b'x'; 8192]), ("cut", good[..good.len() / 3].to_vec()), ("empty", Vec::new())]
    {
        std::fs::write(&path, &bytes).unwrap();
        assert!(SqliteStore::open_exclusive(&path, &key()).is_err(), "{what}");
        assert_eq!(std::fs::read(&path).unwrap(), bytes, "{what} is not changed");
    }
    std::fs::write(&path, &good).unwrap();
    std::fs::hard_link(&path, dir.path().join("second")).unwrap();
    let linked = SqliteStore::open_exclusive(&path, &key()).err().unwrap().to_string();
    assert!(linked.contains("2 names"), "{linked}");
    std::fs::remove_file(dir.path().join("second")).unwrap();
    let foreign = dir.path().join("foreign.db");
    sql(&foreign, "CREATE TABLE theirs (x); INSERT INTO theirs VALUES (1)");
    let refused = SqliteStore::open_exclusive(&foreign, &key()).err().unwrap().to_string();
    assert!(refused.contains("another program"), "{refused}");
    assert_eq!(SqliteStore::open_exclusive(&path, &key()).unwrap().clients().await.unwrap().len(), 200);
}

/// Names the state for the child process; in an ordinary run this test has nothing to do.
const CHILD_STATE: &str = "SITEWRIGHT_TEST_CHILD_STATE";

#[tokio::test]
async fn child_that_saves_until_it_is_killed() {
    let Some(path) = std::env::var_os(CHILD_STATE) else { return };
    let store = SqliteStore::open_exclusive(Path::new(&path), &key()).unwrap();
    for n in 0.. {
        store.save(&record(&format!("client-{n}"))).await.unwrap();
        writeln!(std::io::stderr(), "saved {n}").unwrap();
    }
}

#[tokio::test]
async fn a_killed_process_loses_no_acknowledged_save_and_leaves_no_lock() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let mut saved = 0;
    for round in 0..3 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["store::child_that_saves_until_it_is_killed", "--exact", "--nocapture"])
            .env(CHILD_STATE, &path)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let wanted = 20 + round * 15;
        let mut last = 0;
        while last < wanted {
            let line = lines.next().expect("the child saves until it is killed").unwrap();
            if let Some(n) = line.strip_prefix("saved ") {
                last = n.parse().unwrap();
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // What was acknowledged before the kill was seen counts, too.
        last = lines.map_while(Result::ok).filter_map(|l| l.strip_prefix("saved ")?.parse().ok()).max().unwrap_or(last);
        saved = saved.max(last);
        let store = SqliteStore::open_exclusive(&path, &key()).unwrap();
        for n in 0..=saved {
            let client = format!("client-{n}");
            assert_eq!(store.client(&name(&client)).await.unwrap(), Some(record(&client)), "round {round}");
        }
    }
}
