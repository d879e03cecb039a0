//! Requests beside no daemon: they wait and say so, a pause holds at once, a stale hash is refused.

use std::collections::BTreeSet;
use std::path::PathBuf;

use jiff::Timestamp;
use sitewright::controller::absence::{Absences, Held};
use sitewright::resource::mark::Mark;
use sitewright::resource::name::{ClientName, Instance, Uid};
use sitewright::resource::owned::{AdministratorState, Owned};
use sitewright::resource::secret::Secret;
use sitewright::status::Status;
use sitewright::store::seal::StateKey;
use sitewright::store::sqlite::SqliteStore;
use sitewright::store::{AcceptedSpec, Ask, ClientRecord, Store};

use crate::{GOOD, Machine};

/// Opens the state of a machine as the daemon would, without its lock.
fn open(machine: &Machine) -> SqliteStore {
    let path = |name: &str| -> PathBuf { machine.path().join(".sitewright").join(name) };
    std::fs::create_dir_all(machine.path().join(".sitewright")).expect("made");
    let key = StateKey::load_or_create(&path("key")).expect("a key");
    SqliteStore::open_shared(&path("state.db"), &key).expect("a state")
}

fn record() -> ClientRecord {
    let mark = Mark { instance: Instance::trusted("test"), uid: Uid::trusted("01J00000000000000000000000") };
    let mut owned = Owned::nothing(mark);
    owned.administrator = AdministratorState::Made { email: "admin@shop.example".into() };
    ClientRecord {
        name: ClientName::trusted("shop"),
        accepted: Some(AcceptedSpec {
            text: GOOD.into(),
            file: "shop.yaml".into(),
            spec_hash: "00".into(),
            at: Timestamp::UNIX_EPOCH,
        }),
        generation: 1,
        observed_generation: 0,
        reached_generation: 0,
        owned,
        secrets: [("admin_password".to_owned(), Secret::new("correct-horse"))].into(),
        pause: None,
        status: Status::pending(),
    }
}

async fn machine() -> (Machine, SqliteStore) {
    let machine = Machine::begin();
    let store = open(&machine);
    store.save(&record()).await.expect("saved");
    (machine, store)
}

#[tokio::test]
async fn a_request_waits_for_a_daemon_and_says_so() {
    let (machine, store) = machine().await;
    let ran = machine.run(&["reconcile", "shop"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.err.contains("no daemon is running") && ran.out.is_empty(), "{ran:?}");
    assert_eq!(machine.run(&["deploy", "shop"]).code, 0);
    let open: Vec<Ask> = store.open_requests().await.expect("read").into_iter().map(|request| request.ask).collect();
    let shop = ClientName::trusted("shop");
    assert_eq!(open, [Ask::Reconcile(shop.clone()), Ask::Deploy(shop)]);
}

/// G8.
#[tokio::test]
async fn a_pause_holds_at_once_and_is_lifted_again() {
    let (machine, store) = machine().await;
    let ran = machine.run(&["pause", "shop", "--reason", "migration", "--until", "2h"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let paused = store.client(&ClientName::trusted("shop")).await.expect("read").expect("there");
    let pause = paused.pause.expect("paused");
    assert_eq!(pause.reason, "migration");
    assert!(pause.until.is_some_and(|until| until > pause.since));
    assert!(store.open_requests().await.expect("read").is_empty(), "nothing waits to be done a second time");
    assert!(machine.run(&["describe", "shop"]).out.contains("migration"));
    assert_eq!(machine.run(&["resume", "shop"]).code, 0);
    let resumed = store.client(&ClientName::trusted("shop")).await.expect("read").expect("there");
    assert_eq!(resumed.pause, None);
    assert_eq!(machine.run(&["pause", "--all", "--reason", "storm"]).code, 0);
    assert_eq!(machine.run(&["status", "-o", "json"]).json()["pause"]["reason"], "storm");
    assert!(machine.run(&["events"]).out.contains("storm"), "who paused and why is history");
}

#[tokio::test]
async fn a_stale_hash_is_refused_and_the_right_one_taken() {
    let (machine, store) = machine().await;
    assert_eq!(machine.run(&["approve", "abcdefabcdef"]).code, 1, "nothing is held");
    let names: BTreeSet<ClientName> = [ClientName::trusted("shop")].into();
    let held = Held { hash: "111111111111".into(), names, reason: "too many".into(), since: Timestamp::UNIX_EPOCH };
    Absences { held: Some(held), ..Absences::default() }.save(&store).await.expect("saved");
    let stale = machine.run(&["approve", "222222222222"]);
    assert_eq!(stale.code, 1);
    assert!(stale.err.contains("111111111111"), "{stale:?}");
    assert_eq!(Absences::load(&store).await.expect("read").approved, None);
    let right = machine.run(&["approve", "111111111111"]);
    assert_eq!(right.code, 0, "{right:?}");
    assert!(right.err.contains("shop"), "who goes is named: {right:?}");
    assert_eq!(Absences::load(&store).await.expect("read").approved.as_deref(), Some("111111111111"));
}

#[tokio::test]
async fn a_password_reaches_no_pipe() {
    let (machine, store) = machine().await;
    let ran = machine.run(&["secret", "shop", "admin", "--yes"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(!ran.out.contains("correct-horse") && !ran.err.contains("correct-horse"), "{ran:?}");
    assert!(store.events(None, 0, 10).await.expect("read").is_empty(), "what was not shown is not audited as shown");
}

#[tokio::test]
async fn status_shows_the_client_and_selects_by_label() {
    let (machine, _store) = machine().await;
    let ran = machine.run(&["status"]);
    assert!(ran.out.starts_with("NAME") && ran.out.contains("https://shop.example"), "{ran:?}");
    assert_eq!(machine.run(&["status", "shop", "-o", "json"]).json()["clients"][0]["phase"], "Pending");
    let none = machine.run(&["status", "-l", "tier=gold", "-o", "json"]);
    assert_eq!((none.code, none.json()["clients"].clone()), (0, serde_json::json!([])));
    assert!(machine.run(&["status", "-o", "yaml"]).out.contains("name: shop"));
}

#[tokio::test]
async fn a_wait_ends_at_its_timeout_with_where_it_stands() {
    let (machine, _store) = machine().await;
    let ran = machine.run(&["wait", "shop", "--for", "Ready", "--timeout", "0s"]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("no pass has looked at it yet"), "{ran:?}");
}
