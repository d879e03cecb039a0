//! What it costs to look at a fleet in which nothing changed: the listings, one statement, and not one write.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::json;
use sitewright::controller::accounts::{Standing, document};
use sitewright::provider::http::budget::BudgetState;
use sitewright::provider::postgres::cluster::Cluster;

use crate::rig::{Rig, ZONE, spec};

const CLIENTS: usize = 120;
const FOREIGN_SITES: u16 = 30;
const RECORDS: usize = 600;
const PLOI_LIMIT: u32 = 100_000;
/// Calls a minute of an account that is nearly used up, and how soon one after the other may be made again.
const TIGHT_LIMIT: u32 = 60;
const SLOT_EVERY_MS: u64 = 400;
/// Half of the clients live here.
const OTHER_ZONE: &str = "bureau.example";
/// The first port that is given out; strangers sit on every second one from here.
const FIRST_PORT: u16 = 4001;
/// Begins the one statement that reads the catalog, and nothing else.
const CATALOG: &str = "WITH sessions AS";

/// 120 converged clients beside 30 sites and 480 records of other people.
async fn fleet(cluster: &Cluster) -> Rig {
    let mut rig = Rig::with(|options| {
        options.zones.push(OTHER_ZONE.to_owned());
        options.ploi_limit = PLOI_LIMIT; // the budget has its own tests; here it would only take minutes
    })
    .await;
    rig.set("PLATFORM_DATABASE_URL", cluster.admin_url().expose());
    rig.set("SITEWRIGHT_HOSTING_PLOI_BUILD_SLOTS", "50");
    rig.set("SITEWRIGHT_RESYNC", "60s");
    rig.set("SITEWRIGHT_DEPLOY_POLL", "1s");
    rig.set("RUST_LOG", "info");
    for number in 0..FOREIGN_SITES {
        let domain = format!("stranger-{number}.example");
        rig.simulators.ploi.add_foreign_site(1, &domain, None, FIRST_PORT + 2 * number);
    }
    for zone in [ZONE, OTHER_ZONE] {
        let id = rig.simulators.zone(zone).expect("the zone");
        for number in 0..(RECORDS - CLIENTS) / 2 {
            let record =
                json!({ "type": "TXT", "name": format!("by-hand-{number}.{zone}"), "content": "\"kept\"", "ttl": 300 });
            rig.simulators.cloudflare.create_by_hand(&id, &record).expect("a record");
        }
    }
    for number in 0..CLIENTS {
        let name = format!("fleet-{number}");
        let text = spec(&name, "");
        let text = if number % 2 == 0 { text } else { text.replace(ZONE, OTHER_ZONE) };
        rig.write(&format!("{name}.yaml"), &text);
    }
    rig
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_converged_fleet_costs_its_listings_and_whoever_is_edited_goes_before_it() {
    let folder = tempfile::tempdir().expect("a directory");
    let settings = [("log_statement", "all"), ("max_connections", "300")];
    let cluster = Cluster::start_with(folder.path(), &settings).await.expect("a PostgreSQL of its own");
    let mut rig = fleet(&cluster).await;
    assert!(rig.once().await, "the fleet converges");
    let clients = rig.store().clients().await.expect("the state");
    assert_eq!(clients.len(), CLIENTS);
    let foreign: BTreeSet<u16> = (0..FOREIGN_SITES).map(|number| FIRST_PORT + 2 * number).collect();
    let ports: BTreeSet<u16> = clients.iter().filter_map(|c| c.owned.allocation.port.as_ref().map(|p| p.1)).collect();
    assert_eq!(ports.len(), CLIENTS, "one port each");
    assert!(ports.is_disjoint(&foreign), "a stranger's port was given out");
    assert_eq!(rig.simulators.ploi.sites_count(), CLIENTS + usize::from(FOREIGN_SITES));

    looks_cost_their_listings(&rig, &cluster).await;
    an_edit_goes_first(&mut rig).await;
}

/// A run over the fleet as it is: the fewest calls there can be, told as they were.
async fn looks_cost_their_listings(rig: &Rig, cluster: &Cluster) {
    rig.clear_calls();
    let catalogs = statements(cluster);
    let output = rig.run(&["run", "--once"]).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}");
    assert_eq!(rig.writes(), Vec::<String>::new());
    let mut counted: BTreeMap<&str, usize> = BTreeMap::new();
    for call in rig.calls() {
        *counted.entry(kind(&call.provider, &call.path)).or_default() += 1;
    }
    let expected = BTreeMap::from([
        ("sites", 3),
        ("records", 2),
        // The audit's share: which zones there are and how they do TLS, one branch head for all, and (told, no call over
        // HTTP) which database server this is.
        ("zones", 1),
        ("zone settings", 2),
        ("branch heads", 1),
    ]);
    counted.remove("probes");
    assert_eq!(counted, expected, "{said}");
    let catalogs = statements(cluster) - catalogs;
    assert_eq!(catalogs, 1, "catalog statements");
    let calls = "3 site listings, 2 record listings, 1 catalog statement; audit: 5; besides: 0";
    assert_eq!(told, format!("calls: {calls}\n"), "what is told is what was counted");
    let status = rig.run(&["status"]).await;
    let status = String::from_utf8_lossy(&status.stdout);
    assert!(status.contains(&format!("calls: {calls} (in the cycle that began ")), "{status}");
    let (outcome, code) = rig.json(&["run", "--once", "-o", "json"]).await;
    let calls = json!({ "siteListings": 3, "recordListings": 2, "catalogStatements": 1, "audit": 5, "besides": 0 });
    assert_eq!((outcome, code), (json!({ "ready": true, "calls": calls }), Some(0)));
}

/// The account is used up and gives one call after the other; every client is due for an audit, and one is edited.
async fn an_edit_goes_first(rig: &mut Rig) {
    let free_one_by_one: Vec<(u64, u32)> = (1..=u64::from(TIGHT_LIMIT)).map(|n| (n * SLOT_EVERY_MS, 1)).collect();
    let budget = BudgetState {
        limit: TIGHT_LIMIT,
        window: Duration::from_secs(60),
        remaining: 0,
        resets_in: Duration::from_secs(60),
        closed_for: Duration::ZERO,
        used: free_one_by_one,
        reserved: 0,
    };
    rig.set("SITEWRIGHT_RATE_PLOI", &format!("{TIGHT_LIMIT}/1m"));
    rig.set("SITEWRIGHT_RESYNC", "30m"); // a tenth of it is one audit for each client
    rig.set("SITEWRIGHT_DEPLOY_POLL", "30s");
    let standing = serde_json::to_value(Standing { at: Timestamp::now(), budget }).expect("JSON");
    rig.store().put_document(&document("ploi"), Some(&standing)).await.expect("the state");
    for mut client in rig.store().clients().await.expect("the state") {
        if let Some(environment) = client.owned.details.environment.as_mut() {
            environment.at = Timestamp::UNIX_EPOCH;
        }
        rig.store().save(&client).await.expect("the state");
    }
    rig.clear_calls();
    let edited = rig.simulators.ploi.site_id(1, &format!("fleet-7.{OTHER_ZONE}")).expect("its site");
    let (of_edited, of_others) = (format!("/sites/{edited}/"), "/sites/");
    let others = || {
        let calls = rig.calls();
        calls.iter().filter(|c| c.path.contains(of_others) && !c.path.contains(&of_edited)).count()
    };
    let _daemon = rig.daemon();
    until("the audit begins", || others() > 0).await;
    let text = spec("fleet-7", "  environment: { NOTE: \"edited\" }\n").replace(ZONE, OTHER_ZONE);
    rig.write("fleet-7.yaml", &text);
    let before = others();
    until("the edit is written", || rig.writes().iter().any(|write| write.contains(&of_edited))).await;
    let meanwhile = others() - before;
    assert!(meanwhile <= 3, "{meanwhile} audits went before the edit");
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(90);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}: not within 90 s");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// What a call is for, by the call alone.
fn kind(provider: &str, path: &str) -> &'static str {
    let path = path.split('?').next().unwrap_or_default();
    match provider {
        "cms" => "probes",
        "git" => "branch heads",
        "ploi" if path.ends_with("/sites") => "sites",
        "cloudflare" if path.ends_with("/dns_records") => "records",
        "cloudflare" if path.ends_with("/zones") => "zones",
        "cloudflare" if path.contains("/settings/") => "zone settings",
        _ => "something else",
    }
}

/// Catalog statements that the server has logged so far.
fn statements(cluster: &Cluster) -> usize {
    let log = std::fs::read(cluster.log()).expect("the server's log");
    String::from_utf8_lossy(&log).matches(CATALOG).count()
}
