//! One client: from a YAML file to a live site, and back.

use sitewright::status::Truth;

use crate::rig::{Rig, ZONE, spec};

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
