//! Somebody changes a DNS record by hand; the next look finds it, and the record comes home. Records of others stay.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use sitewright::app;
use sitewright::app::demo::Demo;
use sitewright::config::{Settings, StateLocation};
use sitewright::provider::ploi::sim::PloiDelays;

const ZONE: &str = "agency.example";
const SPEC: &str = "\
apiVersion: sitewright/v1
kind: ClientSpec
metadata: { name: bakery }
spec:
  domain: bakery.agency.example
  source: { repository: agency/cms, branch: main }
";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let specs = directory.path().join("specs");
    std::fs::create_dir(&specs)?;
    std::fs::write(specs.join("bakery.yaml"), SPEC)?;
    let state = StateLocation::Sqlite(directory.path().join("state.db"));
    let demo = app::demo::open(&Settings { specs, state, listen: None, ..Settings::default() }).await?;
    demo.simulators.servers.ploi.set_delays(PloiDelays::quick());
    converge(&demo).await?;
    let (cloudflare, zone) = (&demo.simulators.servers.cloudflare, zone(&demo)?);
    show("as it was made", &cloudflare.records(&zone));

    // Behind our back: ours points elsewhere, and a stranger adds a record of their own.
    let ours = cloudflare.records(&zone).pop().context("a record")?;
    let wanted = ours["content"].clone();
    let id = ours["id"].as_str().context("an id")?;
    let by_hand = json!({ "content": "203.0.113.66" });
    let strange = json!({ "type": "TXT", "name": ZONE, "content": "\"not ours\"", "ttl": 300 });
    cloudflare.change_by_hand(&zone, id, &by_hand).map_err(|refused| anyhow::anyhow!("{refused}"))?;
    cloudflare.create_by_hand(&zone, &strange).map_err(|refused| anyhow::anyhow!("{refused}"))?;
    show("changed by hand", &cloudflare.records(&zone));

    let writes_before = demo.simulators.servers.world.faults.writes().len();
    converge(&demo).await?;
    let records = cloudflare.records(&zone);
    show("after the next pass", &records);
    for call in demo.simulators.servers.world.faults.writes().iter().skip(writes_before) {
        println!("  it took: {} {} {}", call.provider, call.method, call.path);
    }
    let is_home = |record: &Value| record["id"] == id && record["content"] == wanted;
    ensure!(records.len() == 2 && records.iter().any(is_home), "the record did not come home");
    Ok(())
}

async fn converge(demo: &Demo) -> anyhow::Result<()> {
    let ready = demo.app.controller.clone().run_once(Duration::from_secs(120)).await?;
    ensure!(ready, "the client did not converge");
    Ok(())
}

fn zone(demo: &Demo) -> anyhow::Result<String> {
    demo.simulators.servers.zone(ZONE).context("the zone is in the account")
}

fn show(when: &str, records: &[Value]) {
    println!("{when}:");
    for record in records {
        println!("  {} {} -> {}", record["type"], record["name"], record["content"]);
    }
}
