//! A client that is moved to another name, with the plug pulled at every step of it: one client comes out, under the new
//! name, with everything that it had.

use std::time::Duration;

use sitewright::provider::ploi::sim::SERVER_ID;

use crate::fate::{Course, Crash, Fate, Moment};
use crate::life::spec;
use crate::many::{in_virtual_time, side_by_side};
use crate::world::{Sim, ZONE};

/// Every so many steps are tried; all of them where the compiler optimises.
const STRIDE: usize = if cfg!(debug_assertions) { 3 } else { 1 };

pub fn moved() -> String {
    let name = "  name: store\n  annotations: { sitewright/moved-from: shop }\n";
    spec("shop", "www", "one").replace("  name: shop\n", name)
}

/// Gives the steps at the beginning and at the end of the move.
async fn live(crash: Option<usize>) -> Result<(usize, usize), String> {
    let crashes = crash.map(|step| Crash { step, moment: Moment::After }).into_iter().collect();
    let mut sim = Sim::new(Fate::new(Course::Told { crashes, lost: false }, Duration::ZERO, 1), None).await;
    sim.people_the_world();
    sim.specs.write("shop.yaml", &spec("shop", "www", "one"));
    sim.start();
    sim.until_ready("shop", 0).await?;
    let before = sim.record("shop").await.ok_or("no record")?;
    let site = sim.ploi.site_id(SERVER_ID, &format!("shop.{ZONE}"));
    let begun = sim.fate.steps();
    sim.specs.remove("shop.yaml");
    sim.specs.write("store.yaml", &moved());
    sim.until_told("store", &moved()).await?;
    sim.still().await?;
    let ended = sim.fate.steps();
    let after = sim.record("store").await.ok_or("no record")?;
    let kept = |record: &sitewright::store::ClientRecord| {
        let owned = &record.owned;
        (owned.mark.clone(), owned.allocation.port.clone(), owned.allocation.database.clone(), record.secrets.clone())
    };
    if kept(&after) != kept(&before) || sim.record("shop").await.is_some() {
        return Err("the client that was moved is another one, or there are two".to_owned());
    }
    sim.check_living("shop", "www", "one")?;
    let environment = sim.ploi.env_of(SERVER_ID, &format!("shop.{ZONE}")).unwrap_or_default();
    if sim.ploi.site_id(SERVER_ID, &format!("shop.{ZONE}")) != site || !environment.contains("CLIENT_ID='store'") {
        return Err("the site is another one, or does not know its new name".to_owned());
    }
    sim.specs.remove("store.yaml");
    sim.until_gone("store").await?;
    sim.check_gone("shop")?;
    sim.check_strangers()?;
    sim.verdict()?;
    Ok((begun, ended))
}

#[test]
fn a_client_is_moved_whole_wherever_the_plug_is_pulled() {
    let (begun, ended) = in_virtual_time(live(None)).unwrap_or_else(|why| panic!("{why}"));
    assert!(ended > begun + 5, "the move has steps of its own: {begun} to {ended}");
    let steps: Vec<usize> = (begun..ended).step_by(STRIDE).collect();
    let failures = side_by_side(&steps, |step| in_virtual_time(live(Some(*step))).err());
    let told: Vec<String> = failures.iter().map(|(index, why)| format!("step {}: {why}", steps[*index])).collect();
    assert!(told.is_empty(), "{}", told.join("\n"));
}
