//! A client that goes by another name: held until a person says so, then everything of it goes on under the new one.

use std::time::Duration;

use sitewright::status::ConditionType;

use crate::rig::{Rig, ZONE, spec};
use crate::strangers::catalog_of;

/// The server of the simulated Ploi account.
const SERVER: u64 = 1;

/// A client with the host name of another one; `said` is what its annotation says.
fn called(name: &str, domain_of: &str, said: &str) -> String {
    let text = spec(name, "").replace(&format!("{name}.{ZONE}"), &format!("{domain_of}.{ZONE}"));
    match said {
        "" => text,
        said => text.replace(
            &format!("  name: {name}\n"),
            &format!("  name: {name}\n  annotations: {{ sitewright/moved-from: {said} }}\n"),
        ),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renamed_client_is_held_until_a_person_says_so_and_moves_with_one_deploy() {
    let mut rig = Rig::roomy().await;
    rig.set("SITEWRIGHT_RESYNC", "1s");
    rig.set("SITEWRIGHT_DELETION_MAX_SHARE", "100%");
    rig.write("mvbefore.yaml", &spec("mvbefore", ""));
    rig.write("mvbeside.yaml", &spec("mvbeside", ""));
    let _daemon = rig.daemon();
    let before = rig.ready("mvbefore").await;
    rig.ready("mvbeside").await;
    let domain = format!("mvbefore.{ZONE}");
    let site = rig.simulators.ploi.site_id(SERVER, &domain);
    let records = rig.records();
    let database = catalog_of("client_mvbefore").await;

    // The file of another name claims the same host name: nothing goes, nothing is made, both say why.
    rig.clear_calls();
    rig.remove("mvbefore.yaml");
    rig.write("mvafter.yaml", &called("mvafter", "mvbefore", ""));
    let told = |record: &sitewright::store::ClientRecord| {
        record.status.condition(ConditionType::SpecValid).is_some_and(|c| c.reason == "HostNameClaimed")
    };
    let held = rig.until("mvbefore", 30, told).await;
    assert!(held.status.message.contains("sitewright/moved-from: mvbefore"), "{}", held.status.message);
    tokio::time::sleep(Duration::from_secs(4)).await; // longer than the absence's window, and some more scans
    let status = rig.status().await;
    assert!(status["files"].to_string().contains("HostNameTaken"), "{status:#}");
    assert!(rig.client("mvafter").await.is_none());
    assert!(rig.client("mvbefore").await.is_some_and(|record| record.owned.removal.is_none()));
    assert_eq!(rig.writes(), Vec::<String>::new());

    // Another client's name does not help.
    rig.write("mvafter.yaml", &called("mvafter", "mvbefore", "mvbeside"));
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(rig.client("mvafter").await.is_none());
    assert_eq!(rig.writes(), Vec::<String>::new());

    rig.write("mvafter.yaml", &called("mvafter", "mvbefore", "mvbefore"));
    let after = rig
        .until("mvafter", 60, |r| {
            r.status.is_ready() && r.owned.releases.live.as_ref().is_some_and(|live| live.number == 2)
        })
        .await;
    assert!(rig.client("mvbefore").await.is_none());
    assert_eq!(after.owned.mark, before.owned.mark);
    assert_eq!(after.owned.allocation.port, before.owned.allocation.port);
    assert_eq!(after.owned.allocation.database, before.owned.allocation.database);
    assert_eq!(after.secrets, before.secrets);
    assert_eq!(after.generation, before.generation + 1);
    assert_eq!(rig.simulators.ploi.site_id(SERVER, &domain), site);
    assert_eq!(rig.records(), records);
    assert_eq!(catalog_of("client_mvbefore").await, database);
    let writes = rig.writes();
    let parts: Vec<&str> = writes.iter().filter_map(|call| call.rsplit('/').next()).collect();
    assert_eq!(parts, ["env", "deploy"], "{writes:?}");
    let environment = rig.simulators.ploi.env_of(SERVER, &domain).expect("its environment");
    assert!(environment.contains("CLIENT_ID='mvafter'"));
    let processes: Vec<String> = {
        let state = rig.simulators.world.state();
        state.processes.all(SERVER).iter().map(|process| process.name.clone()).collect()
    };
    assert!(processes.contains(&"mvbefore".to_owned()) && !processes.contains(&"mvafter".to_owned()), "{processes:?}");

    // Its old name is not free while its process carries it; and it goes as any other client does.
    rig.write("mvbefore.yaml", &called("mvbefore", "mvother", ""));
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(rig.client("mvbefore").await.is_none());
    assert!(rig.status().await["files"].to_string().contains("NameInUse"));
    rig.remove("mvbefore.yaml");
    rig.remove("mvafter.yaml");
    rig.gone("mvafter").await;
    assert!(rig.simulators.ploi.site_id(SERVER, &domain).is_none());
    let state = rig.simulators.world.state();
    assert!(state.processes.all(SERVER).iter().all(|process| process.name != "mvbefore"), "its process goes with it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_goes_offline_comes_back_under_another_name() {
    let mut rig = Rig::roomy().await;
    rig.set("SITEWRIGHT_RESYNC", "1s");
    rig.set("SITEWRIGHT_DELETION_GRACE", "7d");
    rig.set("SITEWRIGHT_DELETION_MAX_SHARE", "100%");
    rig.write("mvgone.yaml", &spec("mvgone", ""));
    rig.write("mvstays.yaml", &spec("mvstays", ""));
    let mut daemon = rig.daemon();
    let before = rig.ready("mvgone").await;
    rig.ready("mvstays").await;
    rig.remove("mvgone.yaml");
    rig.until("mvgone", 30, |record| record.owned.removal.is_some()).await;
    daemon.kill();
    rig.write("mvback.yaml", &called("mvback", "mvgone", "mvgone"));
    let _daemon = rig.daemon();
    let after = rig.ready("mvback").await;
    assert_eq!(after.owned.mark, before.owned.mark);
    assert_eq!(after.secrets, before.secrets);
    assert!(rig.client("mvgone").await.is_none());
    assert_eq!(rig.simulators.ploi.sites_count(), 2);
}
