//! Somebody else's things in the way, and things that lost our mark: told with the way out, never touched.

use std::time::Duration;

use serde_json::json;
use sitewright::status::{ConditionType, Truth};

use crate::rig::{Rig, ZONE, cluster, spec};
use crate::strangers::{catalog_of, connect, rows, superuser};

/// The server of the simulated Ploi account.
const SERVER: u64 = 1;

/// The spec with the annotation that takes something over.
fn adopting(name: &str, id: &str, more: &str) -> String {
    let line = format!("  name: {name}\n");
    spec(name, more).replace(&line, &format!("{line}  annotations: {{ sitewright/adopt: \"{id}\" }}\n"))
}

impl Rig {
    /// Waits until a condition has this reason; gives its message.
    async fn told(&self, name: &str, kind: ConditionType, reason: &str) -> String {
        let found = |record: &sitewright::store::ClientRecord| {
            record.status.condition(kind).filter(|c| c.reason == reason).cloned()
        };
        let record = self.until(name, 60, |record| found(record).is_some()).await;
        let condition = found(&record).expect("just seen");
        assert_eq!(condition.status, Truth::False, "{condition:?}");
        assert!(!record.status.is_ready());
        condition.message
    }
}

/// B27.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_the_way_is_told_untouched_and_taken_over_by_name_only() {
    let mut rig = Rig::roomy().await;
    rig.set("SITEWRIGHT_RESYNC", "1s");
    rig.set("SITEWRIGHT_DELETION_MAX_SHARE", "100%");
    rig.set("SITEWRIGHT_DELETION_MAX_PER_DAY", "50");
    let domain = |name: &str| format!("{name}.{ZONE}");
    // Somebody else's: a site with an environment and a bare one, three records, a database with a table, a group role, a login role.
    let site = rig
        .simulators
        .ploi
        .add_foreign_site(SERVER, &domain("wsite"), Some("SECRET_OF_OTHERS='x'\n"), 4001)
        .to_string();
    let bare = rig.simulators.ploi.add_foreign_site(SERVER, &domain("wbare"), None, 4002).to_string();
    let a = rig.record_by_hand(&json!({ "type": "A", "name": domain("wrec"), "content": "203.0.113.77", "ttl": 600 }));
    let cname = rig.record_by_hand(
        &json!({ "type": "CNAME", "name": domain("wcname"), "content": "elsewhere.example", "ttl": 600 }),
    );
    let txt = rig.record_by_hand(&json!({ "type": "TXT", "name": domain("wtxt"), "content": "\"v=spf1 -all\"", "ttl": 600, "comment": "by Eve" }));
    let admin = connect(&cluster().await.admin_url()).await;
    admin.batch_execute("CREATE DATABASE client_wdb").await.expect("a database by hand");
    superuser("client_wdb").await.batch_execute("CREATE TABLE keepsake AS SELECT 7 AS n").await.expect("a table");
    admin.batch_execute("CREATE ROLE client_wgroup NOLOGIN").await.expect("a group by hand");
    admin.batch_execute("CREATE ROLE client_wlogin_a LOGIN PASSWORD 'theirs'").await.expect("a login by hand");

    let txt_line = "  dns: { records: [ { type: TXT, name: \"@\", content: \"v=spf1 -all\" } ] }\n";
    let clients = [
        ("wsite", ConditionType::SiteReady, site.as_str(), ""),
        ("wbare", ConditionType::SiteReady, bare.as_str(), ""),
        ("wrec", ConditionType::DNSReady, a.as_str(), ""),
        ("wcname", ConditionType::DNSReady, cname.as_str(), ""),
        ("wtxt", ConditionType::DNSReady, txt.as_str(), txt_line),
        ("wdb", ConditionType::DatabaseReady, "client_wdb", ""),
        ("wgroup", ConditionType::DatabaseReady, "client_wgroup", ""),
        ("wlogin", ConditionType::DatabaseReady, "client_wlogin_a", ""),
    ];
    let theirs = async || {
        let mut all = rig.site_snapshot(&domain("wsite")).await;
        all.extend(rig.site_snapshot(&domain("wbare")).await);
        all.extend([&a, &cname, &txt].map(|id| rig.record_snapshot(id)));
        for prefix in ["client_wdb", "client_wgroup", "client_wlogin_a"] {
            all.push(json!(catalog_of(prefix).await));
        }
        all.push(json!(rows(&superuser("client_wdb").await, "SELECT * FROM keepsake").await));
        all
    };
    let before = theirs().await;
    for (name, _, _, more) in clients {
        rig.write(&format!("{name}.yaml"), &spec(name, more));
    }
    rig.write("wfree.yaml", &spec("wfree", ""));
    let _daemon = rig.daemon();
    for (name, kind, id, _) in clients {
        let message = rig.told(name, kind, "Conflict").await;
        assert!(message.contains(&format!("sitewright/adopt: \"{id}\"")), "{name}: {message}");
        assert!(message.contains(id), "{name}: {message}");
    }
    rig.ready("wfree").await;
    tokio::time::sleep(Duration::from_secs(3)).await; // some more passes
    assert_eq!(theirs().await, before, "a conflict touched what is somebody else's");

    // The specs go: nothing of it is touched either.
    for (name, ..) in clients {
        rig.remove(&format!("{name}.yaml"));
    }
    for (name, ..) in clients {
        rig.gone(name).await;
    }
    assert_eq!(theirs().await, before, "a removal touched what is somebody else's");

    // Taken over by name. (A site that holds an environment and no repository cannot take a clone: wsite stays away.)
    let taken = clients.into_iter().filter(|(name, ..)| *name != "wsite");
    for (name, _, id, more) in taken.clone() {
        rig.write(&format!("{name}.yaml"), &adopting(name, id, more));
    }
    for (name, ..) in taken {
        rig.ready(name).await;
    }
    assert_eq!(rig.simulators.ploi.site_id(SERVER, &domain("wbare")).map(|id| id.to_string()), Some(bare));
    assert_eq!(rows(&superuser("client_wdb").await, "SELECT * FROM keepsake").await, ["7"]);
    for id in [&a, &cname, &txt] {
        let comment = rig.record_snapshot(id)["comment"].as_str().unwrap_or_default().to_owned();
        assert!(comment.contains("sitewright/v1 rig"), "{comment}");
    }
}

/// B30.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_lost_our_mark_is_told_and_not_written_until_a_person_says_so() {
    let mut rig = Rig::roomy().await;
    rig.set("SITEWRIGHT_RESYNC", "1s");
    rig.set("SITEWRIGHT_AUDIT_PERIOD", "5s");
    let names = ["lenv", "lrec", "ldb", "lrole"];
    let txt_line = "  dns: { records: [ { type: TXT, name: \"@\", content: \"v=spf1 -all\" } ] }\n";
    for name in names {
        rig.write(&format!("{name}.yaml"), &spec(name, txt_line));
    }
    let _daemon = rig.daemon();
    for name in names {
        rig.ready(name).await;
    }
    let domain = |name: &str| format!("{name}.{ZONE}");
    let record = rig.records().into_iter().find(|r| r["name"] == domain("lrec") && r["type"] == "A").expect("its A");
    let record_id = record["id"].as_str().expect("an id").to_owned();
    let zone = rig.simulators.zone(ZONE).expect("the zone");

    rig.clear_calls();
    let without = |text: &str| {
        let kept: Vec<&str> = text.lines().filter(|line| !line.starts_with("SITEWRIGHT_OWNER=")).collect();
        Some(kept.join("\n") + "\n")
    };
    assert!(rig.simulators.ploi.edit_env(SERVER, &domain("lenv"), without));
    // Somebody took the record: another address, another note.
    let taken = json!({ "comment": "Eve's now", "content": "203.0.113.78" });
    rig.simulators.cloudflare.change_by_hand(&zone, &record_id, &taken).expect("changed by hand");
    let root = superuser("postgres").await;
    root.batch_execute("COMMENT ON DATABASE client_ldb IS NULL").await.expect("unmarked");
    root.batch_execute("COMMENT ON ROLE client_lrole_a IS NULL; ALTER ROLE client_lrole_a NOLOGIN")
        .await
        .expect("unmarked");
    let shown = async || {
        let mut all = rig.site_snapshot(&domain("lenv")).await;
        all.push(rig.record_snapshot(&record_id));
        all.push(json!(catalog_of("client_ldb").await));
        all.push(json!(catalog_of("client_lrole").await));
        all
    };
    let before = shown().await;
    let site_id = rig.simulators.ploi.site_id(SERVER, &domain("lenv")).expect("the site").to_string();
    let lost = [
        ("lenv", ConditionType::SiteReady, site_id.as_str()),
        ("lrec", ConditionType::DNSReady, record_id.as_str()),
        ("ldb", ConditionType::DatabaseReady, "client_ldb"),
        ("lrole", ConditionType::DatabaseReady, "client_lrole_a"),
    ];
    for (name, kind, id) in lost {
        let message = rig.told(name, kind, "OwnershipLost").await;
        assert!(message.contains(&format!("sitewright/adopt: \"{id}\"")), "{name}: {message}");
    }
    tokio::time::sleep(Duration::from_secs(3)).await; // some more passes
    // The look at what the server can build with (once an audit period, here 5 s) is a script; nothing else is sent.
    let writes: Vec<String> = rig.writes().into_iter().filter(|call| !call.ends_with("/scripts/run")).collect();
    assert_eq!(writes, Vec::<String>::new());
    assert_eq!(shown().await, before);

    for (name, _, id) in lost {
        rig.write(&format!("{name}.yaml"), &adopting(name, id, txt_line));
    }
    for (name, ..) in lost {
        rig.ready(name).await;
    }
    assert!(
        rig.simulators.ploi.env_of(SERVER, &domain("lenv")).expect("its environment").contains("SITEWRIGHT_OWNER=")
    );
    assert_eq!(rig.record_snapshot(&record_id)["content"], record["content"]);
}
