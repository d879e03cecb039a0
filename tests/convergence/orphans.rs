//! What stays behind without a client: listed, never touched; and a client that a person lets go of.

use serde_json::Value;

use crate::rig::{Rig, ZONE, spec};

fn kinds(orphans: &Value) -> Vec<String> {
    let all = orphans["orphans"].as_array().expect("a list");
    let mut kinds: Vec<String> = all.iter().map(|one| one["kind"].as_str().expect("a kind").to_owned()).collect();
    kinds.sort();
    kinds
}

/// D6.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_lost_state_left_behind_is_listed_and_stands() {
    let mut rig = Rig::new().await;
    rig.set("SITEWRIGHT_INSTANCE", "agency");
    rig.write("orphan-left.yaml", &spec("orphan-left", ""));
    rig.write("orphan-kept.yaml", &spec("orphan-kept", ""));
    assert!(rig.once().await);
    let (none, _) = rig.json(&["orphans", "-o", "json"]).await;
    assert_eq!(kinds(&none), Vec::<String>::new());
    for entry in std::fs::read_dir(rig.path(".sitewright")).expect("a directory").flatten() {
        if entry.file_name().to_string_lossy().starts_with("state.db") {
            std::fs::remove_file(entry.path()).expect("the state is lost");
        }
    }
    rig.remove("orphan-left.yaml");
    rig.clear_calls();
    rig.run(&["run", "--once", "--timeout", "20s"]).await;
    let (orphans, exit) = rig.json(&["orphans", "-o", "json"]).await;
    assert_eq!(exit, Some(0));
    assert_eq!(kinds(&orphans), ["Database", "Record", "Role", "Role", "Site"], "{orphans:#}");
    let told = orphans.to_string();
    assert!(told.contains("orphan-left") && !told.contains("orphan-kept"), "{told}");
    assert_eq!(
        rig.writes(),
        Vec::<String>::new(),
        "what was taken back waits for a person, what is nobody's is left alone"
    );
    let status = rig.status().await;
    assert_eq!(status["recovery"]["clients"], serde_json::json!(["orphan-kept"]), "{status:#}");
    let (plan, _) = rig.json(&["plan", "-o", "json"]).await;
    let held = plan["clients"][0]["waiting"].to_string();
    assert!(plan["clients"][0]["actions"] == serde_json::json!([]) && held.contains("RecoveryMode"), "{plan:#}");
    let hash = status["recovery"]["hash"].as_str().expect("a hash").to_owned();
    assert!(rig.run(&["approve", &hash]).await.status.success());
    assert!(rig.once().await, "the state is trusted again");
    assert_eq!(rig.simulators.ploi.sites_count(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_on_its_way_out_can_be_forgotten_and_what_is_left_is_named() {
    let mut rig = Rig::new().await;
    rig.set("SITEWRIGHT_DELETION_GRACE", "7d");
    rig.write("forget-me.yaml", &spec("forget-me", ""));
    rig.write("forget-not.yaml", &spec("forget-not", ""));
    let _daemon = rig.daemon();
    rig.ready("forget-me").await;
    let refused = rig.run(&["forget", "forget-me", "--yes"]).await;
    assert_eq!(refused.status.code(), Some(1), "its file is there");
    rig.remove("forget-me.yaml");
    rig.until("forget-me", 30, |record| record.owned.removal.is_some()).await;
    let asked = rig.run(&["forget", "forget-me"]).await;
    assert_eq!(asked.status.code(), Some(1), "nobody can be asked");
    let forgotten = rig.run(&["forget", "forget-me", "--yes"]).await;
    let told = String::from_utf8_lossy(&forgotten.stderr).into_owned();
    assert_eq!(forgotten.status.code(), Some(0), "{told}");
    assert!(told.contains(&format!("forget-me.{ZONE}")) && told.contains("client_forget_me"), "{told}");
    assert!(rig.client("forget-me").await.is_none());
    assert!(
        rig.simulators.ploi.site_id(1, &format!("forget-me.{ZONE}")).is_some(),
        "nothing at a provider was touched"
    );
}
