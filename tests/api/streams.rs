//! Streams over real sockets: nothing is lost or told twice, whatever happens to a connection; who is too slow is told.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use serde_json::Value;
use sitewright::status::Phase;
use sitewright::store::Store;

use crate::raw::{Call, Message, Open};
use crate::rig::{Rig, event, name, record};

/// Streams at once, as many as there may be.
const STREAMS: usize = 16;
/// Clients in the state meanwhile.
const CLIENTS: usize = 1_000;
/// Events written, 200 a second.
const EVENTS: i64 = 800;
const BATCH: i64 = 10;
const BATCH_EVERY: Duration = Duration::from_millis(50);

/// Opens a stream; waits where every place is taken, since a connection that was cut gives its place back a moment later.
async fn stream(rig: &Rig, query: &str, last: Option<i64>) -> Open {
    let mut call = Call::new("GET", &format!("/api/v1/events{query}"));
    if let Some(last) = last {
        call = call.with("last-event-id", &last.to_string());
    }
    loop {
        let open = call.open(rig.address).await;
        match open.status {
            200 => return open,
            503 => tokio::time::sleep(Duration::from_millis(20)).await,
            status => panic!("{status} for {query}"),
        }
    }
}

fn seed() -> u64 {
    std::env::var("SITEWRIGHT_API_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(|| fastrand::u64(..))
}

fn data(message: &Message) -> Value {
    serde_json::from_str(message.data.as_deref().expect("data")).expect("JSON")
}

/// Reads to the last event, and cuts the connection at random points.
async fn read_with_cuts(rig: Arc<Rig>, seed: u64, client: Option<String>, last: i64) -> Vec<i64> {
    let mut dice = Rng::with_seed(seed);
    let filter = client.as_ref().map(|client| format!("&client={client}")).unwrap_or_default();
    let mut seen: Vec<i64> = Vec::new();
    // What a browser does: the address stays, and the header says where to go on.
    let mut told = None;
    loop {
        let mut open = stream(&rig, &format!("?after=0{filter}"), told).await;
        for _ in 0..dice.usize(1..80) {
            let Some(message) = open.message().await else { break };
            told = message.id.or(told);
            match (message.name.as_deref(), message.id) {
                (None, Some(id)) if message.data.is_some() => seen.push(id),
                (None, _) => {}
                (Some(other), _) => panic!("seed {seed}: {other} {message:?}"),
            }
            if seen.last() == Some(&last) {
                return seen;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixteen_readers_with_cut_connections_lose_nothing_and_see_nothing_twice() {
    let rig = Arc::new(Rig::new().await);
    let records: Vec<_> = (0..CLIENTS).map(|n| record(&format!("client{n:04}"), "gold", Phase::Active)).collect();
    rig.save(&records).await;
    let seed = seed();
    let whom = |number: i64| format!("client{:04}", number % 3);
    let readers: Vec<_> = (0..STREAMS as u64)
        .map(|reader| {
            // One in four listens to one client alone; that client is told of last, so that it ends too.
            let client = reader.is_multiple_of(4).then(|| whom(EVENTS));
            tokio::spawn(read_with_cuts(rig.clone(), seed.wrapping_add(reader), client, EVENTS))
        })
        .collect();
    // Half is written by the daemon's own connection, half by another one, as commands do.
    let beside = rig.beside();
    let mut pace = tokio::time::interval(BATCH_EVERY);
    for number in 1..=EVENTS {
        if number % BATCH == 0 {
            pace.tick().await;
        }
        let event = event(Some(&whom(number)), &format!("event {number}"));
        let store: &dyn Store = if number % 2 == 0 { &beside } else { &*rig.app.store };
        assert_eq!(store.append_event(&event).await.unwrap(), number);
    }
    for (reader, read) in readers.into_iter().enumerate() {
        let seen = read.await.unwrap_or_else(|error| panic!("seed {seed}, reader {reader}: {error}"));
        let expected: Vec<i64> = match reader.is_multiple_of(4) {
            true => (1..=EVENTS).filter(|number| whom(*number) == whom(EVENTS)).collect(),
            false => (1..=EVENTS).collect(),
        };
        assert_eq!(seen, expected, "SITEWRIGHT_API_SEED={seed}, reader {reader}");
    }
}

/// Many at once, in one transaction.
fn tell_at_once(database: &mut rusqlite::Connection, many: i64, message: &str) {
    let told = serde_json::to_string(&event(None, message)).unwrap();
    let transaction = database.transaction().unwrap();
    for _ in 0..many {
        transaction.execute("INSERT INTO event (client, event) VALUES (NULL, ?1)", [&told]).unwrap();
    }
    transaction.commit().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_is_too_slow_is_dropped_with_its_place_told() {
    /// Together more than a queue and every buffer between hold.
    const BATCHES: i64 = 8;
    const BATCH: i64 = 250;
    let rig = Rig::new().await;
    let mut database = rusqlite::Connection::open(rig.database()).unwrap();
    let mut slow = Call::new("GET", "/api/v1/events?after=0").open_narrow(rig.address).await;
    let mut quick = stream(&rig, "?after=0", None).await;
    // It is alive: the first events reach it. From then on it reads nothing.
    let message = "x".repeat(16 * 1024);
    tell_at_once(&mut database, 1, &message);
    assert_eq!(slow.event().await.and_then(|message| message.id), Some(1));
    assert_eq!(quick.event().await.and_then(|message| message.id), Some(1));
    let last = 1 + BATCHES * BATCH;
    for batch in 0..BATCHES {
        tell_at_once(&mut database, BATCH, &message);
        // Whoever keeps up is told of everything, and so is the slow one's queue.
        for number in 1..=BATCH {
            assert_eq!(quick.event().await.and_then(|message| message.id), Some(1 + batch * BATCH + number));
        }
    }
    let mut told = 1;
    let notice = loop {
        let message = slow.event().await.expect("the notice comes before the end");
        if message.name.is_some() {
            break message;
        }
        assert_eq!(message.id, Some(told + 1));
        told += 1;
    };
    assert_eq!((notice.name.as_deref(), notice.id), (Some("lagged"), Some(told)));
    assert_eq!(data(&notice)["after"], told);
    assert!(told < last, "it was slow");
    assert_eq!(slow.message().await, None, "nothing follows");
    let mut again = stream(&rig, "", Some(told)).await;
    for expected in told + 1..=last {
        assert_eq!(again.event().await.and_then(|message| message.id), Some(expected));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_begins_now_or_where_it_is_told_and_a_gap_is_told() {
    let rig = Rig::new().await;
    for number in 1..=10 {
        rig.app.store.append_event(&event(Some("shop"), &format!("event {number}"))).await.unwrap();
    }
    let database = rusqlite::Connection::open(rig.database()).unwrap();
    database.execute("DELETE FROM event WHERE id <= 4", []).unwrap();
    let ids = async |query: &str, last: Option<i64>, count: usize| {
        let mut open = stream(&rig, query, last).await;
        let mut seen = Vec::new();
        while seen.len() < count {
            let message = open.event().await.expect("an event");
            seen.push((message.name.unwrap_or_default(), message.id.unwrap()));
        }
        seen
    };
    let plain = |numbers: std::ops::RangeInclusive<i64>| numbers.map(|id| (String::new(), id)).collect::<Vec<_>>();
    assert_eq!(ids("?after=7", None, 3).await, plain(8..=10));
    assert_eq!(ids("?after=4", None, 6).await, plain(5..=10), "nothing is missing behind 4");
    assert_eq!(ids("?after=9", Some(5), 5).await, plain(6..=10), "the header wins");
    let with_gap: Vec<_> = [("gap".to_owned(), 4)].into_iter().chain(plain(5..=10)).collect();
    assert_eq!(ids("?after=2", None, 7).await, with_gap);
    assert_eq!(ids("", Some(99), 1).await, [("gap".to_owned(), 10)], "a number of another state");
    // Without a number: what happens from now on.
    let mut now = stream(&rig, "?client=shop", None).await;
    now.message().await.expect("the beginning");
    rig.app.store.append_event(&event(Some("blog"), "of another")).await.unwrap();
    rig.app.store.append_event(&event(Some("shop"), "now")).await.unwrap();
    let first = now.event().await.expect("an event");
    assert_eq!((first.id, &data(&first)["message"]), (Some(12), &Value::from("now")));
    for wrong in ["?after=x", "?after=-1", "?client=Not%20One", "?since=1"] {
        let answer = Call::new("GET", &format!("/api/v1/events{wrong}")).open(rig.address).await;
        assert_eq!(answer.status, 400, "{wrong}");
    }
    let answer = Call::new("GET", "/api/v1/events").with("last-event-id", "abc").send(rig.address).await;
    assert_eq!(answer.status, 400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_stream_too_many_is_refused_and_a_stop_ends_all() {
    let mut rig = Rig::new().await;
    rig.save(&[record("shop", "gold", Phase::Active)]).await;
    let mut streams = Vec::new();
    for _ in 0..STREAMS {
        streams.push(stream(&rig, "", None).await);
    }
    let refused = rig.get("/api/v1/events").await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, "2"));
    drop(streams.pop());
    streams.push(stream(&rig, "", None).await);
    rig.stop().await;
    for mut open in streams {
        while open.message().await.is_some() {} // each ends
    }
    assert!(rig.app.store.client(&name("shop")).await.unwrap().is_some());
}
