//! The suite over `Dns`: on the simulator always, on the real API when CLOUDFLARE_API_TOKEN and SITEWRIGHT_CONTRACT_ZONE
//! (the name of a zone that may be written to) are set.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use sitewright::provider::Dns;
use sitewright::provider::cloudflare::Cloudflare;
use sitewright::provider::cloudflare::sim::{CloudflareSim, ErrorShape, Plan};
use sitewright::provider::error::ErrorClass;
use sitewright::provider::http::{Budget, HttpClient, HttpLimits};
use sitewright::provider::world::dns::DnsTable;
use sitewright::provider::world::faults::{Effect, Faults, Rule};
use sitewright::resource::mark::Mark;
use sitewright::resource::name::{Instance, RemoteId, Uid, ZoneId};
use sitewright::resource::reading::Live;
use sitewright::resource::record::{Record, RecordChange, RecordType, Ttl, Zone};
use sitewright::resource::secret::Secret;

use crate::loopback::Served;

const TOKEN: &str = "simulated-token";
const ZONE: &str = "agency.example";

fn mark(uid: &str) -> Mark {
    Mark { instance: Instance::parse("test").expect("an instance"), uid: Uid::trusted(format!("{uid:0>26}")) }
}

struct Simulated {
    dns: Cloudflare,
    sim: Arc<CloudflareSim>,
    faults: Arc<Faults>,
    table: Arc<DnsTable>,
    zone: Zone,
    zone_id: String,
    _served: Served,
}

async fn simulated(plan: Plan) -> Simulated {
    let (faults, table) = (Arc::new(Faults::default()), Arc::new(DnsTable::default()));
    let sim = CloudflareSim::new(TOKEN, table.clone());
    let zone_id = sim.add_zone(ZONE, plan);
    let served = Served::start(sim.router(faults.clone())).await;
    let budget = Arc::new(Budget::new(1_200, Duration::from_secs(300)));
    let base = served.url("/client/v4");
    let limits = HttpLimits {
        retry_delay: Duration::from_millis(1),
        write_timeout: Duration::from_secs(20),
        ..HttpLimits::default()
    };
    let http = HttpClient::new("cloudflare", base, Secret::new(TOKEN), budget).expect("a client").with_limits(limits);
    let dns = Cloudflare::new(http, Vec::new());
    let zone = dns.zones().await.expect("zones").remove(0);
    faults.clear_calls();
    Simulated { dns, sim, faults, table, zone, zone_id, _served: served }
}

impl Simulated {
    async fn create(&self, record: &Record) -> Live<Record> {
        let outcome = self.dns.apply(&self.zone, &mark("1"), &[RecordChange::Create { to: record.clone() }]).await;
        outcome.into_iter().next().expect("an outcome").expect("created").expect("a record")
    }

    fn error_of(outcomes: Vec<sitewright::provider::RecordOutcome>) -> ErrorClass {
        outcomes.into_iter().next().expect("an outcome").expect_err("refused").class
    }
}

fn a(name: &str, address: &str) -> Record {
    Record::new(&format!("{name}.{ZONE}"), RecordType::A, address, Ttl::Seconds(300), false, None)
}

fn rule(effect: Effect) -> Rule {
    Rule { provider: None, method: None, path: None, writes: true, skip: 0, times: 1, effect }
}

/// What every provider of DNS must do: created, shown, changed, removed; equal records compare equal on the way back.
async fn suite(dns: &dyn Dns, zone: &Zone, name: &str) {
    let at = |label: &str| format!("{label}.{name}.{}", zone.name);
    let long = "k=".to_owned() + &"x".repeat(600);
    let records = vec![
        Record::new(&at("a"), RecordType::A, "192.0.2.1", Ttl::Seconds(300), false, None),
        Record::new(&at("auto"), RecordType::A, "192.0.2.2", Ttl::Auto, false, None),
        Record::new(&at("six"), RecordType::AAAA, "2001:db8:0:0::1", Ttl::Seconds(120), false, None),
        Record::new(&at("alias"), RecordType::CNAME, "Target.example.net.", Ttl::Auto, false, None),
        Record::new(&at("text"), RecordType::TXT, "v=spf1 include:\"quoted\" -all", Ttl::Auto, false, None),
        Record::new(&at("long"), RecordType::TXT, &long, Ttl::Auto, false, None),
        Record::new(&at("mail"), RecordType::MX, "mx.example.net", Ttl::Seconds(3600), false, Some(10)),
        Record::new(&at("caa"), RecordType::CAA, "0 issue \"letsencrypt.org\"", Ttl::Auto, false, None),
        Record::new(&at("_dmarc"), RecordType::TXT, "v=DMARC1; p=none", Ttl::Auto, false, None),
    ];
    let ours = mark("7");
    let creates: Vec<RecordChange> = records.iter().map(|r| RecordChange::Create { to: r.clone() }).collect();
    let created: Vec<Live<Record>> =
        dns.apply(zone, &ours, &creates).await.into_iter().map(|o| o.expect("created").expect("shown")).collect();
    for (wanted, live) in records.iter().zip(&created) {
        assert_eq!(&live.value, wanted);
        assert_eq!(live.mark.as_ref(), Some(&ours));
    }
    let listed = dns.records(zone).await.expect("a listing");
    for live in &created {
        assert!(listed.contains(live), "{} is not listed as it was created", live.value);
    }
    let moved = Record { content: "192.0.2.77".into(), ..records[0].clone() };
    let swapped = Record::new(&at("alias"), RecordType::A, "192.0.2.3", Ttl::Seconds(60), false, None);
    let changes = [
        RecordChange::Update { id: created[0].id.clone(), from: records[0].clone(), to: moved.clone() },
        RecordChange::Update { id: created[3].id.clone(), from: records[3].clone(), to: swapped.clone() },
    ];
    let changed = dns.apply(zone, &ours, &changes).await;
    let shown: Vec<Record> = changed.into_iter().map(|o| o.expect("changed").expect("shown").value).collect();
    assert_eq!(shown, [moved, swapped]);
    let deletes: Vec<RecordChange> =
        created.iter().map(|l| RecordChange::Delete { id: l.id.clone(), from: l.value.clone() }).collect();
    for _ in 0..2 {
        let gone = dns.apply(zone, &ours, &deletes).await;
        assert!(gone.iter().all(|o| matches!(o, Ok(None))), "deleting what is gone is no error: {gone:?}");
    }
    let left = dns.records(zone).await.expect("a listing");
    assert!(created.iter().all(|live| left.iter().all(|l| l.id != live.id)));
}

/// B25.
#[tokio::test]
async fn the_suite_holds_on_the_simulator() {
    let world = simulated(Plan::Free).await;
    suite(&world.dns, &world.zone, "suite").await;
}

#[tokio::test]
async fn the_suite_holds_on_the_real_api() {
    let (Ok(token), Ok(zone_name)) = (std::env::var("CLOUDFLARE_API_TOKEN"), std::env::var("SITEWRIGHT_CONTRACT_ZONE"))
    else {
        // Past the test harness, which swallows what a passing test prints.
        writeln!(
            std::io::stderr(),
            "SKIPPED: CLOUDFLARE_API_TOKEN and SITEWRIGHT_CONTRACT_ZONE are not set, the real API was not asked"
        )
        .unwrap();
        return;
    };
    let base = "https://api.cloudflare.com/client/v4".parse().expect("a URL");
    let budget = Arc::new(Budget::new(1_200, Duration::from_secs(300)));
    let dns =
        Cloudflare::new(HttpClient::new("cloudflare", base, Secret::new(token), budget).expect("a client"), Vec::new());
    let zones = dns.zones().await.expect("zones");
    let zone = zones.into_iter().find(|z| z.name == zone_name).expect("the zone is visible");
    suite(&dns, &zone, "sitewright-contract").await;
}

#[tokio::test]
async fn zones_say_whether_they_are_served_and_writable() {
    let world = simulated(Plan::Free).await;
    assert!(world.zone.active && world.zone.writable);
    assert_eq!(world.zone.ssl_mode.as_deref(), Some("full"));
    world.sim.set_zone_status(&world.zone_id, "moved");
    world.sim.turn(|knobs| knobs.permissions = vec!["#dns_records:read".into()]);
    let zones = world.dns.zones().await.expect("zones");
    assert!(!zones[0].active && !zones[0].writable);
}

#[tokio::test]
async fn sixty_zones_cost_two_pages_and_each_ssl_mode_is_read_once() {
    let world = simulated(Plan::Free).await;
    for number in 1..60 {
        world.sim.add_zone(&format!("zone{number}.example"), Plan::Free);
    }
    assert_eq!(world.dns.zones().await.expect("zones").len(), 60);
    assert_eq!(world.dns.zones().await.expect("zones").len(), 60);
    let calls = world.faults.calls();
    assert_eq!(calls.iter().filter(|c| c.path.contains("/zones?")).count(), 4);
    assert_eq!(calls.iter().filter(|c| c.path.ends_with("/settings/ssl")).count(), 59);
}

#[tokio::test]
async fn a_foreign_zone_id_and_a_bad_token_are_told_apart_by_a_hint() {
    let world = simulated(Plan::Free).await;
    let base = world._served.url("/client/v4");
    let client = |token: &str, ids: Vec<ZoneId>| {
        let budget = Arc::new(Budget::new(100, Duration::from_secs(60)));
        Cloudflare::new(HttpClient::new("cloudflare", base.clone(), Secret::new(token), budget).expect("a client"), ids)
    };
    let foreign = client(TOKEN, vec![ZoneId::trusted("f".repeat(32))]).zones().await.expect_err("refused");
    assert!(matches!(&foreign.class, ErrorClass::Forbidden(text) if text.contains("zone id")), "{foreign}");
    let stale = client("another", Vec::new()).zones().await.expect_err("refused");
    assert!(matches!(stale.class, ErrorClass::Unauthorized(_)), "{stale}");
    let one = client(TOKEN, vec![ZoneId::trusted(&world.zone_id)]).zones().await.expect("zones");
    assert_eq!(one[0].name, ZONE);
}

/// B19.
#[tokio::test]
async fn five_thousand_and_one_records_are_two_pages_and_a_part_is_never_the_whole() {
    let world = simulated(Plan::Enterprise).await;
    world.sim.turn(|knobs| knobs.records_extra = 10_000);
    for number in 0..5_001 {
        let body = json!({ "type": "A", "name": format!("n{number}"), "content": "192.0.2.1", "ttl": 300 });
        world.sim.create_by_hand(&world.zone_id, &body).expect("created");
    }
    assert_eq!(world.dns.records(&world.zone).await.expect("all").len(), 5_001);
    assert_eq!(world.faults.calls().len(), 2);
    for body in [
        json!({ "success": true, "errors": [], "messages": [], "result": [],
                "result_info": { "page": 1, "per_page": 5000, "count": 0, "total_count": 5001 } }),
        json!({ "success": true, "errors": [], "messages": [], "result": null, "result_info": null }),
        json!({ "success": true, "errors": [], "messages": [], "result": [] }),
    ] {
        let effect = Effect::Status { code: 200, body: Some(body.clone()), retry_after: None };
        world.faults.add(Rule { writes: false, ..rule(effect) });
        let error = world.dns.records(&world.zone).await.expect_err("a part is no listing");
        assert!(matches!(error.class, ErrorClass::Unavailable(_)), "{body} gave {error}");
    }
}

#[tokio::test]
async fn a_thousand_records_of_many_clients_are_five_calls() {
    let world = simulated(Plan::Enterprise).await;
    let clients = (0..100).map(|client| {
        let changes: Vec<RecordChange> =
            (0..10).map(|n| RecordChange::Create { to: a(&format!("c{client}-{n}"), "192.0.2.1") }).collect();
        let (dns, zone) = (&world.dns, &world.zone);
        async move { dns.apply(zone, &mark(&client.to_string()), &changes).await }
    });
    let outcomes = futures::future::join_all(clients).await;
    for (client, outcomes) in outcomes.iter().enumerate() {
        assert_eq!(outcomes.len(), 10);
        for live in outcomes.iter().map(|o| o.as_ref().expect("created").as_ref().expect("shown")) {
            assert_eq!(live.mark, Some(mark(&client.to_string())), "everybody's own mark");
        }
    }
    assert_eq!(world.faults.writes().len(), 5);
}

#[tokio::test]
async fn one_bad_record_stops_nobody_else() {
    let world = simulated(Plan::Free).await;
    let body = json!({ "type": "CNAME", "name": "taken", "content": "elsewhere.example.net", "ttl": 1 });
    world.sim.create_by_hand(&world.zone_id, &body).expect("created");
    for shape in [ErrorShape::Direct, ErrorShape::Chained] {
        world.sim.turn(|knobs| knobs.error_shape = shape);
        let label = format!("{shape:?}").to_lowercase();
        let mut changes: Vec<RecordChange> =
            (0..20).map(|n| RecordChange::Create { to: a(&format!("{label}{n}"), "192.0.2.1") }).collect();
        changes.insert(7, RecordChange::Create { to: a("taken", "192.0.2.1") });
        let outcomes = world.dns.apply(&world.zone, &mark("1"), &changes).await;
        for (place, outcome) in outcomes.iter().enumerate() {
            match outcome {
                Ok(Some(live)) => assert_eq!(&live.value, changes[place].record()),
                Err(error) => {
                    assert_eq!(place, 7);
                    assert!(matches!(error.class, ErrorClass::Exists(_)), "{error}");
                }
                Ok(None) => panic!("a create without a record"),
            }
        }
    }
}

#[tokio::test]
async fn refusals_have_the_class_of_their_code_in_both_shapes() {
    for shape in [ErrorShape::Direct, ErrorShape::Chained] {
        let world = simulated(Plan::Free).await;
        world.sim.turn(|knobs| knobs.error_shape = shape);
        let create = |to: Record| [RecordChange::Create { to }];
        world.create(&a("here", "192.0.2.1")).await;
        let cname = Record::new(&format!("here.{ZONE}"), RecordType::CNAME, "x.example.net", Ttl::Auto, false, None);
        let over_private = Record::new(&format!("private.{ZONE}"), RecordType::A, "10.0.0.1", Ttl::Auto, true, None);
        let brief = Record { ttl: Ttl::Seconds(5), ..a("brief", "192.0.2.1") };
        for (record, exists) in [(a("here", "192.0.2.1"), true), (cname, true), (over_private, false), (brief, false)] {
            let class = Simulated::error_of(world.dns.apply(&world.zone, &mark("1"), &create(record)).await);
            let fits =
                if exists { matches!(class, ErrorClass::Exists(_)) } else { matches!(class, ErrorClass::Invalid(_)) };
            assert!(fits, "{shape:?}: {class:?}");
        }
        let ghost = RemoteId::trusted("d".repeat(32));
        let update = RecordChange::Update { id: ghost, from: a("x", "192.0.2.1"), to: a("x", "192.0.2.2") };
        let class = Simulated::error_of(world.dns.apply(&world.zone, &mark("1"), &[update]).await);
        assert_eq!(class, ErrorClass::NotFound);
    }
}

#[tokio::test]
async fn the_root_cause_is_read_before_its_wrapper() {
    let world = simulated(Plan::Free).await;
    for (code, wanted) in [(81_058, "already there"), (81_045, "quota"), (9_109, "not allowed"), (9_021, "refused")] {
        let chain = json!([{ "code": code, "message": "the root cause" }]);
        let body = json!({ "success": false, "messages": [], "result": null,
                           "errors": [{ "code": 1004, "message": "wrapper", "error_chain": chain }] });
        world.faults.add(rule(Effect::Status { code: 400, body: Some(body), retry_after: None }));
        let changes = [RecordChange::Create { to: a("x", "192.0.2.1") }];
        let text = Simulated::error_of(world.dns.apply(&world.zone, &mark("1"), &changes).await).to_string();
        assert!(text.contains(wanted) && text.contains("the root cause") && text.contains(&code.to_string()), "{text}");
    }
}

#[tokio::test]
async fn a_full_zone_is_a_quota_and_does_not_cost_a_call_per_record() {
    let world = simulated(Plan::Free).await;
    let creates = |from: usize, to: usize| -> Vec<RecordChange> {
        (from..to).map(|n| RecordChange::Create { to: a(&format!("q{n}"), "192.0.2.1") }).collect()
    };
    let first = world.dns.apply(&world.zone, &mark("1"), &creates(0, 130)).await;
    assert!(first.iter().all(Result::is_ok));
    world.faults.clear_calls();
    let second = world.dns.apply(&world.zone, &mark("1"), &creates(130, 330)).await;
    assert_eq!(second.iter().filter(|o| o.is_ok()).count(), 70, "what fits is created");
    let quota =
        |o: &&sitewright::provider::RecordOutcome| matches!(o, Err(e) if matches!(e.class, ErrorClass::Quota(_)));
    assert_eq!(second.iter().filter(quota).count(), 130);
    assert!(world.faults.writes().len() < 25, "{} calls", world.faults.writes().len());
}

#[tokio::test]
async fn a_lost_answer_is_never_sent_again_and_leaves_the_rest_unsent() {
    let world = simulated(Plan::Enterprise).await;
    world.faults.add(rule(Effect::LostAfter));
    let changes: Vec<RecordChange> =
        (0..300).map(|n| RecordChange::Create { to: a(&format!("l{n}"), "192.0.2.1") }).collect();
    let outcomes = world.dns.apply(&world.zone, &mark("1"), &changes).await;
    let ambiguous = outcomes.iter().filter(|o| o.as_ref().is_err_and(|e| e.is_ambiguous())).count();
    let unsent =
        outcomes.iter().filter(|o| matches!(o, Err(e) if matches!(e.class, ErrorClass::Unavailable(_)))).count();
    assert_eq!((ambiguous, unsent), (200, 100));
    assert_eq!(world.faults.writes().len(), 1);
    assert_eq!(world.sim.records(&world.zone_id).len(), 200, "the lost one happened");
}

#[tokio::test]
async fn garbage_and_emptiness_after_a_write_leave_it_open() {
    for effect in [Effect::Garbage, Effect::Empty] {
        let world = simulated(Plan::Free).await;
        world.faults.add(rule(effect.clone()));
        let changes = [RecordChange::Create { to: a("g", "192.0.2.1") }];
        let class = Simulated::error_of(world.dns.apply(&world.zone, &mark("1"), &changes).await);
        assert!(matches!(class, ErrorClass::Unanswered(_)), "{effect:?} gave {class:?}");
    }
}

#[tokio::test]
async fn what_is_accepted_and_not_done_is_found_out() {
    let world = simulated(Plan::Free).await;
    let live = world.create(&a("still", "192.0.2.1")).await;
    world.sim.turn(|knobs| knobs.never_proxied.insert(format!("still.{ZONE}")).then_some(()).expect("new"));
    let to = Record::new(&live.value.name, RecordType::A, "192.0.2.1", Ttl::Auto, true, None);
    let update = RecordChange::Update { id: live.id, from: live.value, to };
    let class = Simulated::error_of(world.dns.apply(&world.zone, &mark("1"), &[update]).await);
    assert!(matches!(&class, ErrorClass::Invalid(text) if text.contains("NotConverged") && text.contains("proxied")));
}

#[tokio::test]
async fn proxied_records_are_as_they_were_asked_for() {
    let world = simulated(Plan::Free).await;
    let wanted = Record::new(&format!("p.{ZONE}"), RecordType::A, "192.0.2.1", Ttl::Seconds(300), true, None);
    let live = world.create(&wanted).await;
    assert_eq!(live.value, wanted);
    assert_eq!(world.dns.records(&world.zone).await.expect("a listing"), [live]);
}

#[tokio::test]
async fn names_outside_the_zone_and_contents_of_another_kind_are_not_sent() {
    let world = simulated(Plan::Free).await;
    let outside = |name: &str| Record::new(name, RecordType::A, "192.0.2.1", Ttl::Auto, false, None);
    let bad = [
        outside("shop.other.example"),
        outside("notagency.example"),
        Record::new(&format!("t.{ZONE}"), RecordType::A, "<html>502</html>", Ttl::Auto, false, None),
        Record::new(&format!("t.{ZONE}"), RecordType::AAAA, "192.0.2.1", Ttl::Auto, false, None),
        Record::new(&format!("t.{ZONE}"), RecordType::TXT, "", Ttl::Auto, false, None),
        Record::new(&format!("t.{ZONE}"), RecordType::CAA, "issue", Ttl::Auto, false, None),
    ];
    for record in bad {
        let from = outside("shop.other.example");
        let id = RemoteId::trusted("d".repeat(32));
        for change in [
            RecordChange::Create { to: record.clone() },
            RecordChange::Update { id: id.clone(), from: from.clone(), to: record.clone() },
        ] {
            let class = Simulated::error_of(world.dns.apply(&world.zone, &mark("1"), &[change]).await);
            assert!(matches!(class, ErrorClass::Invalid(_)), "{record}: {class:?}");
        }
        let delete = RecordChange::Delete { id, from };
        let class = Simulated::error_of(world.dns.apply(&world.zone, &mark("1"), &[delete]).await);
        assert!(matches!(class, ErrorClass::Invalid(_)), "a delete outside the zone: {class:?}");
    }
    assert_eq!(world.faults.writes(), []);
}

/// B14, B29.
#[tokio::test]
async fn comments_tags_and_types_of_others_stay_theirs() {
    let world = simulated(Plan::Enterprise).await;
    let body = json!({ "type": "A", "name": "ours", "content": "192.0.2.1", "ttl": 300, "tags": ["team:web"],
                       "comment": mark("1").comment() });
    let id = world.sim.create_by_hand(&world.zone_id, &body).expect("created");
    let srv = json!({ "type": "NS", "name": "sub", "content": "ns.example.net", "ttl": 300, "comment": "by hand" });
    world.sim.create_by_hand(&world.zone_id, &srv).expect("created");
    let listed = world.dns.records(&world.zone).await.expect("a listing");
    assert_eq!(listed.len(), 1, "types that are never ours are not shown: {listed:?}");
    let update =
        RecordChange::Update { id: RemoteId::trusted(&id), from: listed[0].value.clone(), to: a("ours", "192.0.2.9") };
    world.dns.apply(&world.zone, &mark("1"), &[update]).await.remove(0).expect("changed");
    let shown = world.sim.records(&world.zone_id);
    let ours = shown.iter().find(|r| r["id"] == json!(id)).expect("still there");
    assert_eq!((&ours["content"], &ours["tags"]), (&json!("192.0.2.9"), &json!(["team:web"])));
    assert!(shown.iter().any(|r| r["comment"] == json!("by hand")));
}

#[tokio::test]
async fn a_listing_may_lag_behind_a_write() {
    let world = simulated(Plan::Free).await;
    world.sim.turn(|knobs| knobs.stale_list = Duration::from_secs(3_600));
    let live = world.create(&a("late", "192.0.2.1")).await;
    assert_eq!(world.dns.records(&world.zone).await.expect("a listing"), []);
    world.sim.turn(|knobs| knobs.stale_list = Duration::ZERO);
    assert_eq!(world.dns.records(&world.zone).await.expect("a listing"), [live]);
}

#[tokio::test]
async fn what_is_written_is_published_and_a_failed_batch_is_not() {
    let world = simulated(Plan::Free).await;
    let live = world.create(&a("www", "192.0.2.1")).await;
    assert_eq!(world.table.lookup(&format!("www.{ZONE}")), ["192.0.2.1".parse::<std::net::IpAddr>().expect("ip")]);
    let changes = [
        RecordChange::Delete { id: live.id.clone(), from: live.value.clone() },
        RecordChange::Create { to: Record { ttl: Ttl::Seconds(1_000_000), ..a("bad", "192.0.2.1") } },
    ];
    world.faults.add(Rule { skip: 1, times: 100, ..rule(Effect::LostBefore) });
    world.dns.apply(&world.zone, &mark("1"), &changes).await;
    assert_eq!(world.table.lookup(&format!("www.{ZONE}")).len(), 1, "the refused batch took nothing away");
}

#[tokio::test]
async fn the_rate_limit_of_the_account_is_learned_and_never_provoked() {
    let world = simulated(Plan::Free).await;
    world.sim.turn(|knobs| knobs.rate = (4, Duration::from_secs(300)));
    let mut outcomes = Vec::new();
    for _ in 0..3 {
        let look = tokio::time::timeout(Duration::from_millis(300), world.dns.records(&world.zone));
        outcomes.push(look.await.map(|listing| listing.map(|l| l.len())));
    }
    assert!(outcomes[0].is_ok(), "{outcomes:?}");
    assert!(outcomes[2].is_err(), "the third has to wait, two calls came before: {outcomes:?}");
    assert!(world.faults.calls().iter().all(|call| call.status != 429), "{:?}", world.faults.calls());
}
