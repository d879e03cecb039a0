//! One client from a spec text to a live site, over simulators in this process: the library as `sitewright demo` uses it.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use sitewright::api::plan::PlanDocument;
use sitewright::api::view::{Lens, overview};
use sitewright::app;
use sitewright::cli::plan::text;
use sitewright::config::{Settings, StateLocation};
use sitewright::provider::ploi::sim::PloiDelays;

const SPEC: &str = "\
apiVersion: sitewright/v1
kind: ClientSpec
metadata: { name: bakery }
spec:
  domain: bakery.agency.example
  source: { repository: agency/cms, branch: main }
  dns: { records: [{ type: TXT, name: \"@\", content: \"v=spf1 -all\" }] }
";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // A directory with one file is all that anybody edits.
    let directory = tempfile::tempdir()?;
    let specs = directory.path().join("specs");
    std::fs::create_dir(&specs)?;
    std::fs::write(specs.join("bakery.yaml"), SPEC)?;

    // Settings are plain data; the composition root makes an installation of them. Here: over simulators.
    let state = StateLocation::Sqlite(directory.path().join("state.db"));
    let settings = Settings { specs, state, listen: None, ..Settings::default() };
    let demo = app::demo::open(&settings).await?;
    demo.simulators.servers.ploi.set_delays(PloiDelays::quick());

    // The same loop as the daemon's, until nothing is due.
    let ready = demo.app.controller.clone().run_once(Duration::from_secs(120)).await?;

    let plan = PlanDocument::of(&demo.app.controller.preview(&[]).await?, &settings);
    anstream::println!("what is left to do:\n{}", text::text(&plan).trim_end());

    let (rules, defaults) = app::options::rules(&settings)?;
    let deletion = &settings.deletion;
    let lens = Lens { rules, defaults, grace: deletion.grace, database_grace: deletion.database_grace };
    let client = overview(&*demo.app.store, &lens).await?.clients.pop().context("the client is known")?;
    println!("\n{}: {:?} at {}", client.name, client.phase, client.url.as_deref().unwrap_or("no address"));
    for condition in &client.conditions {
        println!("  {:?} {:?}: {}", condition.kind, condition.status, condition.reason);
    }
    ensure!(ready && !plan.has_work(), "the client did not converge: {}", client.message);
    Ok(())
}
