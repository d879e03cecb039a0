//! One client: from a YAML file to a live site, and back.

use sitewright::status::Truth;

use crate::rig::{Rig, ZONE, spec};

/// G1.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_a_file_to_a_live_site_and_back() {
    let rig = Rig::new().await;
    rig.write("sole.yaml", &spec("sole", "  admin: { email: admin@sole.example, name: Admin }\n  dns: { records: [ { type: TXT, name: \"@\", content: \"v=spf1 -all\" } ] }\n"));
    let mut daemon = rig.daemon();
    let record = rig.ready("sole").await;
    assert!(
        record
            .status
            .conditions
            .iter()
            .filter(|c| !matches!(
                format!("{:?}", c.kind).as_str(),
                "Reconciling" | "Stalled" | "Paused" | "Terminating"
            ))
            .all(|c| c.status == Truth::True),
        "{:#?}",
        record.status
    );
    let port = record.owned.allocation.port.clone().expect("a port").1;
    assert_eq!(rig.simulators.ploi.sites_count(), 1);
    assert_eq!(rig.records().len(), 2, "{:#?}", rig.records());
    assert!(
        rig.simulators
            .ploi
            .vhost_of(1, &format!("sole.{ZONE}"))
            .expect("a vhost")
            .contains(&format!("localhost:{port}"))
    );
    // A database kept, the site gone; put the file back and port, database and secrets return.
    rig.write("other.yaml", &spec("other", ""));
    rig.ready("other").await;
    rig.remove("sole.yaml");
    rig.gone("sole").await;
    assert_eq!(rig.simulators.ploi.sites_count(), 1);
    let kept = rig.client("sole").await.expect("its database is kept");
    rig.write("sole.yaml", &spec("sole", ""));
    let back = rig.ready("sole").await;
    assert_eq!(back.owned.allocation.port.clone().expect("a port").1, port);
    assert_eq!(back.owned.allocation.database, kept.owned.allocation.database);
    assert_eq!(back.secrets, record.secrets);
    assert!(daemon.is_running());
}

/// What removes the repository takes the environment along, and our mark with it: that is no loss.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_repository_replaces_this_one_and_the_environment_comes_back() {
    let rig = Rig::new().await;
    rig.simulators.world.state().git.push("agency/shop", "main");
    rig.write("mover.yaml", &spec("mover", ""));
    let _daemon = rig.daemon();
    rig.ready("mover").await;
    let domain = format!("mover.{ZONE}");
    let before = rig.simulators.ploi.env_of(1, &domain).expect("an environment");
    rig.write("mover.yaml", &spec("mover", "").replace("agency/cms", "agency/shop"));
    let moved = |r: &sitewright::store::ClientRecord| {
        let live = r.owned.releases.live.as_ref();
        r.status.is_ready() && live.is_some_and(|live| live.fingerprint.repository == "agency/shop")
    };
    let record = rig.until("mover", 60, moved).await;
    assert_eq!(rig.simulators.ploi.env_of(1, &domain), Some(before));
    assert_eq!(rig.simulators.ploi.deploys_ended(1, &domain), 2);
    assert!(record.owned.intents.is_empty(), "{:?}", record.owned.intents);
}
