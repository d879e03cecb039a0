//! Answers that a proxy, a tired host or a newer API spoils on their way: what is missing in them is never "there is none",
//! and what a write came to stays open.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::CONTENT_LENGTH;
use axum::response::Response;
use parking_lot::Mutex;
use serde_json::{Value, json};
use sitewright::provider::cloudflare::Cloudflare;
use sitewright::provider::cloudflare::sim::{CloudflareSim, Plan};
use sitewright::provider::error::{ErrorClass, ProviderError};
use sitewright::provider::http::{Budget, HttpClient, HttpLimits};
use sitewright::provider::ploi::sim::{PloiDelays, PloiSim, router};
use sitewright::provider::ploi::{Ploi, Redact};
use sitewright::provider::world::World;
use sitewright::provider::world::dns::DnsTable;
use sitewright::provider::world::faults::Faults;
use sitewright::provider::{Dns, NewSite, Sites};
use sitewright::resource::mark::Mark;
use sitewright::resource::name::{HostName, Instance, ServerId, Uid};
use sitewright::resource::record::{Record, RecordChange, RecordType, Ttl, Zone};
use sitewright::resource::secret::Secret;
use tower::ServiceExt as _;

use crate::loopback::Served;

const TOKEN: &str = "token-of-the-bench";
const SERVER_NUMBER: u64 = 1;
const ZONE: &str = "agency.example";
/// Pages that either client reads at most.
const PAGES_MAX: usize = 1_000;

/// What is done to a body.
type Change = Arc<dyn Fn(Vec<u8>) -> Vec<u8> + Send + Sync>;

/// Stands between a client and a simulator.
#[derive(Clone, Default)]
struct Spoiler(Arc<Mutex<Option<Change>>>);

impl Spoiler {
    fn spoil(&self, change: impl Fn(Vec<u8>) -> Vec<u8> + Send + Sync + 'static) {
        *self.0.lock() = Some(Arc::new(change));
    }

    fn spoil_json(&self, change: impl Fn(&mut Value) + Send + Sync + 'static) {
        self.spoil(move |body| {
            let mut value = serde_json::from_slice(&body).unwrap_or_default();
            change(&mut value);
            value.to_string().into_bytes()
        });
    }

    fn before(&self, inner: Router) -> Router {
        let spoiler = self.clone();
        Router::new().fallback(move |request: Request| async move {
            let (mut parts, body) = inner.oneshot(request).await.expect("an answer").into_parts();
            let mut body = axum::body::to_bytes(body, usize::MAX).await.expect("a body").to_vec();
            if let Some(change) = spoiler.0.lock().clone() {
                body = change(body);
            }
            parts.headers.remove(CONTENT_LENGTH);
            Response::from_parts(parts, Body::from(body))
        })
    }
}

fn http(provider: &'static str, served: &Served, path: &str) -> HttpClient {
    let budget = Arc::new(Budget::new(1_000_000, Duration::from_secs(60)));
    let limits = HttpLimits { retry_delay: Duration::from_millis(1), ..HttpLimits::default() };
    HttpClient::new(provider, served.url(path), Secret::new(TOKEN), budget).expect("a client").with_limits(limits)
}

/// A host with three sites and a zone with three records.
struct Bench {
    spoiler: Spoiler,
    ploi: Ploi,
    dns: Cloudflare,
    zone: Zone,
    faults: Arc<Faults>,
    _served: [Served; 2],
}

impl Bench {
    async fn new() -> Bench {
        let (spoiler, faults) = (Spoiler::default(), Arc::new(Faults::default()));
        let sim = PloiSim::new(World::new(faults.clone()).unwrap(), TOKEN, 1_000_000, PloiDelays::quick());
        let table = Arc::new(DnsTable::default());
        let cloudflare = CloudflareSim::new(TOKEN, table);
        cloudflare.turn(|knobs| knobs.rate = (1_000_000, Duration::from_secs(60)));
        let zone_id = cloudflare.add_zone(ZONE, Plan::Free);
        for n in 0..3 {
            sim.add_foreign_site(SERVER_NUMBER, &format!("s{n}.example.com"), None, 4100);
            let body = json!({ "type": "A", "name": format!("n{n}"), "content": "192.0.2.1", "ttl": 300 });
            cloudflare.create_by_hand(&zone_id, &body).expect("created");
        }
        let host = Served::start(spoiler.before(router(sim))).await;
        let records = Served::start(spoiler.before(cloudflare.router(faults.clone()))).await;
        let ploi = Ploi::new(http("ploi", &host, "/api"), None, Redact::nothing_known());
        let dns = Cloudflare::new(http("cloudflare", &records, "/client/v4"), Vec::new());
        let zone = dns.zones().await.expect("zones").remove(0);
        Bench { spoiler, ploi, dns, zone, faults, _served: [host, records] }
    }

    async fn sites(&self) -> Result<usize, ProviderError> {
        self.ploi.sites(&ServerId::trusted("1")).await.map(|sites| sites.len())
    }

    async fn records(&self) -> Result<usize, ProviderError> {
        self.dns.records(&self.zone).await.map(|records| records.len())
    }

    /// Neither listing is believed.
    async fn believes_nothing(&self, what: &str) {
        for listing in [self.sites().await, self.records().await] {
            let error = listing.expect_err(what);
            assert!(matches!(error.class, ErrorClass::Unavailable(_)), "{what}: {error}");
        }
    }

    /// A site and a record are ordered; what came of it must stay open.
    async fn leaves_writes_open(&self, what: &str, label: &str) {
        let domain = HostName::parse(&format!("{label}.example.com")).expect("a host name");
        let new = NewSite { server: ServerId::trusted("1"), domain, system_user: "ploi".into() };
        let site = self.ploi.create_site(&new).await.expect_err(what);
        assert!(site.is_ambiguous(), "{what}: {site}");
        let mark = Mark { instance: Instance::trusted("test"), uid: Uid::trusted("01JACME") };
        let to = Record::new(&format!("{label}.{ZONE}"), RecordType::A, "192.0.2.9", Ttl::Auto, false, None);
        let outcomes = self.dns.apply(&self.zone, &mark, &[RecordChange::Create { to }]).await;
        let record = outcomes.into_iter().next().expect("an outcome").expect_err(what);
        assert!(record.is_ambiguous(), "{what}: {record}");
    }
}

fn cut(at: usize) -> impl Fn(Vec<u8>) -> Vec<u8> {
    move |mut body| {
        body.truncate(at.min(body.len().saturating_sub(1)));
        body
    }
}

/// B11.
#[tokio::test]
async fn an_answer_that_is_cut_at_any_byte_is_no_answer() {
    let bench = Bench::new().await;
    assert_eq!((bench.sites().await.unwrap(), bench.records().await.unwrap()), (3, 3));
    let longest = Arc::new(AtomicUsize::new(0));
    let seen = longest.clone();
    bench.spoiler.spoil(move |body| {
        seen.fetch_max(body.len(), Ordering::Relaxed);
        body
    });
    assert_eq!((bench.sites().await.unwrap(), bench.records().await.unwrap()), (3, 3));
    let longest = longest.load(Ordering::Relaxed);
    assert!(longest > 500, "{longest}");
    for at in 0..longest {
        bench.spoiler.spoil(cut(at));
        bench.believes_nothing(&format!("cut at {at}")).await;
    }
    for at in (0..60).step_by(7) {
        bench.spoiler.spoil(cut(at));
        bench.leaves_writes_open(&format!("cut at {at}"), &format!("cut{at}")).await;
    }
}

/// B12.
#[tokio::test]
async fn a_page_for_people_is_no_answer() {
    let bench = Bench::new().await;
    let pages = ["<!DOCTYPE html><title>Log in</title>", "<html>checking your browser</html>", "Welcome", ""];
    for (number, page) in pages.into_iter().enumerate() {
        bench.spoiler.spoil(|_| page.as_bytes().to_vec());
        bench.believes_nothing(page).await;
        bench.leaves_writes_open(page, &format!("page{number}")).await;
    }
}

/// Every object of an answer gets a member that nobody knows yet.
fn grow(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.values_mut().for_each(grow);
            members.insert("zz_new".into(), json!({ "since": "v9", "list": [1, null, "x"] }));
        }
        Value::Array(items) => items.iter_mut().for_each(grow),
        _ => {}
    }
}

/// B14.
#[tokio::test]
async fn members_that_nobody_knows_yet_change_nothing() {
    let bench = Bench::new().await;
    let server = ServerId::trusted("1");
    let before = (bench.ploi.sites(&server).await.unwrap(), bench.dns.records(&bench.zone).await.unwrap());
    bench.spoiler.spoil_json(grow);
    let after = (bench.ploi.sites(&server).await.unwrap(), bench.dns.records(&bench.zone).await.unwrap());
    assert_eq!(before, after);
    assert_eq!(bench.dns.zones().await.unwrap(), std::slice::from_ref(&bench.zone));
}

/// B16.
#[tokio::test]
async fn an_item_of_another_shape_never_makes_the_listing_shorter() {
    let bench = Bench::new().await;
    let spoilt = |member: &'static str, to: Value| {
        move |answer: &mut Value| {
            for list in ["data", "result"] {
                if let Some(item) = answer[list].get_mut(1) {
                    item[member] = to.clone();
                }
            }
        }
    };
    for (member, to) in
        [("id", json!(null)), ("id", json!({})), ("domain", json!(null)), ("domain", json!(7)), ("status", json!([]))]
    {
        bench.spoiler.spoil_json(spoilt(member, to.clone()));
        assert!(bench.sites().await.is_err() || bench.sites().await.unwrap() == 3, "{member} {to}");
    }
    for (member, to) in [("id", json!(null)), ("name", json!(null)), ("type", json!(7)), ("content", json!({}))] {
        bench.spoiler.spoil_json(spoilt(member, to.clone()));
        assert!(bench.records().await.is_err() || bench.records().await.unwrap() == 3, "{member} {to}");
    }
}

/// B20.
#[tokio::test]
async fn pages_that_never_end_are_left_after_a_while() {
    let bench = Bench::new().await;
    // The same page again and again.
    bench.spoiler.spoil_json(|answer| {
        answer["meta"]["last_page"] = json!(1_000_000);
        answer["result_info"]["total_count"] = json!(1_000_000);
        answer["result_info"]["total_pages"] = json!(1_000_000);
    });
    bench.believes_nothing("the same page again").await;
    // Always one page more, of things that nobody saw before.
    let number = Arc::new(Mutex::new(0u64));
    bench.spoiler.spoil_json(move |answer| {
        let mut number = number.lock();
        *number += 1;
        for list in ["data", "result"] {
            let items = answer[list].as_array().cloned().unwrap_or_default();
            let fresh = |item: Value| {
                *number += 1;
                let mut item = item;
                item["id"] = json!(*number);
                item
            };
            answer[list] = items.into_iter().map(fresh).collect();
        }
        let page = *number;
        (answer["meta"]["last_page"], answer["meta"]["total"]) = (json!(page + 1_000_000), json!(1_000_000));
        answer["result_info"]["total_count"] = json!(1_000_000);
    });
    bench.faults.clear_calls();
    bench.believes_nothing("always one page more").await;
    let calls = bench.faults.calls().len();
    assert!(calls <= 2 * PAGES_MAX, "{calls} calls");
}
