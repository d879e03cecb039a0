//! What it costs to look at a fleet in which nothing changed: the listings, one statement, and not one write.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use sitewright::provider::postgres::cluster::Cluster;

use crate::rig::{Rig, ZONE, spec};

const CLIENTS: usize = 120;
const FOREIGN_SITES: u16 = 30;
const RECORDS: usize = 600;
const PLOI_LIMIT: u32 = 100_000;
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
async fn a_converged_fleet_costs_its_listings_and_one_statement() {
    let folder = tempfile::tempdir().expect("a directory");
    let settings = [("log_statement", "all"), ("max_connections", "300")];
    let cluster = Cluster::start_with(folder.path(), &settings).await.expect("a PostgreSQL of its own");
    let rig = fleet(&cluster).await;
    assert!(rig.once().await, "the fleet converges");
    let clients = rig.store().clients().await.expect("the state");
    assert_eq!(clients.len(), CLIENTS);
    let foreign: BTreeSet<u16> = (0..FOREIGN_SITES).map(|number| FIRST_PORT + 2 * number).collect();
    let ports: BTreeSet<u16> = clients.iter().filter_map(|c| c.owned.allocation.port.as_ref().map(|p| p.1)).collect();
    assert_eq!(ports.len(), CLIENTS, "one port each");
    assert!(ports.is_disjoint(&foreign), "a stranger's port was given out");
    assert_eq!(rig.simulators.ploi.sites_count(), CLIENTS + usize::from(FOREIGN_SITES));

    rig.clear_calls();
    let catalogs = statements(&cluster);
    let output = rig.run(&["run", "--once"]).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    assert_eq!(rig.writes(), Vec::<String>::new());
    let mut counted: BTreeMap<&str, usize> = BTreeMap::new();
    for call in rig.calls() {
        *counted.entry(kind(&call.provider, &call.path)).or_default() += 1;
    }
    let expected = BTreeMap::from([
        ("sites", 3),
        ("records", 2),
        // The audit's share: which zones there are and how they do TLS, and one branch head for all.
        ("zones", 1),
        ("zone settings", 2),
        ("branch heads", 1),
    ]);
    counted.remove("probes");
    assert_eq!(counted, expected, "{said}");
    assert_eq!(statements(&cluster) - catalogs, 1, "catalog statements");
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
