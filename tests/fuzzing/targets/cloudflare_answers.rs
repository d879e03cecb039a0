//! Cloudflare's answers: listings are whole or fail, and a write that is taken for done is shown as it was asked for.

use std::collections::BTreeSet;

use sitewright::provider::Dns;
use sitewright::provider::cloudflare::Cloudflare;
use sitewright::resource::mark::Mark;
use sitewright::resource::name::{Instance, RemoteId, Uid, ZoneId};
use sitewright::resource::record::{Record, RecordChange, RecordType, Ttl, Zone};

use super::canned::{client, in_virtual_time, is_presentable};

/// The first byte says what is asked, the rest is what comes back.
pub fn run(data: &[u8]) {
    let Some((first, answers)) = data.split_first() else { return };
    let dns = Cloudflare::new(client(answers), Vec::new());
    in_virtual_time(async {
        match first % 3 {
            0 => zones(&dns).await,
            1 => records(&dns).await,
            _ => writes(&dns).await,
        }
    });
}

async fn zones(dns: &Cloudflare) {
    match dns.zones().await {
        Ok(zones) => {
            let ids: BTreeSet<&str> = zones.iter().map(|zone| zone.id.as_str()).collect();
            assert_eq!(ids.len(), zones.len(), "a zone came twice");
        }
        Err(error) => is_presentable(&error),
    }
}

async fn records(dns: &Cloudflare) {
    match dns.records(&zone()).await {
        Ok(records) => {
            let ids: BTreeSet<&str> = records.iter().map(|live| live.id.as_str()).collect();
            assert_eq!(ids.len(), records.len(), "a record came twice");
            let normal = |record: &Record| !record.name.ends_with('.') && !record.name.contains(char::is_uppercase);
            assert!(records.iter().all(|live| !live.value.name.is_ascii() || normal(&live.value)));
        }
        Err(error) => is_presentable(&error),
    }
}

async fn writes(dns: &Cloudflare) {
    let changes = changes();
    let mark = Mark { instance: Instance::trusted("here"), uid: Uid::trusted("01UID") };
    let outcomes = dns.apply(&zone(), &mark, &changes).await;
    assert_eq!(outcomes.len(), changes.len());
    for (change, outcome) in changes.iter().zip(outcomes) {
        match (change, outcome) {
            (_, Err(error)) => is_presentable(&error),
            (RecordChange::Delete { .. }, Ok(shown)) => assert_eq!(shown, None),
            (change, Ok(shown)) => {
                let shown = shown.expect("a write that is done shows its record");
                assert_eq!((&shown.value, shown.mark.as_ref()), (change.record(), Some(&mark)));
            }
        }
    }
}

fn zone() -> Zone {
    let id = ZoneId::trusted("z1");
    Zone { id, name: "agency.example".into(), active: true, writable: true, ssl_mode: None }
}

/// One change of each kind.
fn changes() -> Vec<RecordChange> {
    let record = |name: &str, kind, content: &str| Record::new(name, kind, content, Ttl::Seconds(300), false, None);
    let (old, new) = ("192.0.2.1", "192.0.2.2");
    vec![
        RecordChange::Create { to: record("txt.agency.example", RecordType::TXT, "v=1; \"it's\"") },
        RecordChange::Update {
            id: RemoteId::trusted("r2"),
            from: record("shop.agency.example", RecordType::A, old),
            to: record("shop.agency.example", RecordType::A, new),
        },
        RecordChange::Delete { id: RemoteId::trusted("r3"), from: record("old.agency.example", RecordType::A, old) },
    ]
}
