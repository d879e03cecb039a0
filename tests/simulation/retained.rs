//! A database that is to stay outlives its client, with its login closed, and is taken up again when the client returns.

use sitewright::provider::ploi::sim::SERVER_ID;

use crate::life::{PATIENCE, quiet_world, spec};
use crate::many::in_virtual_time;
use crate::planted::Planted;
use crate::world::{Sim, ZONE};

fn keeping(note: &str) -> String {
    spec("shop", "www", note).replace("reclaimPolicy: Delete", "reclaimPolicy: Retain")
}

async fn live(planted: Option<&'static Planted>) -> Result<(), String> {
    let mut sim = quiet_world(planted).await;
    sim.specs.write("shop.yaml", &keeping("one"));
    sim.start();
    sim.until_told("shop", &keeping("one")).await?;
    let before = sim.record("shop").await.ok_or("no record")?;
    sim.specs.remove("shop.yaml");
    let ended = async |sim: &Sim| match sim.record("shop").await {
        Some(record) => record.owned.removal.is_some_and(|removal| removal.finished_at.is_some()),
        None => true,
    };
    if !sim.until(PATIENCE, ended).await {
        return Err("L1: the removal does not end".to_owned());
    }
    sim.still().await?;
    {
        let server = sim.databases.lock();
        let closed = server.roles.get("client_shop_a").is_some_and(|role| !role.login);
        if !server.databases.contains_key("client_shop") || !closed {
            return Err("S3: the database that was to stay is gone, or its login is open".to_owned());
        }
    }
    if sim.ploi.site_id(SERVER_ID, &format!("shop.{ZONE}")).is_some() {
        return Err("S1: the site is left".to_owned());
    }
    sim.specs.write("shop.yaml", &keeping("two"));
    sim.until_told("shop", &keeping("two")).await?;
    let after = sim.record("shop").await.ok_or("no record")?;
    if (&after.owned.mark, &after.secrets) != (&before.owned.mark, &before.secrets) {
        return Err("the client that returned is another one".to_owned());
    }
    sim.check_living("shop", "www", "two")?;
    sim.verdict()
}

/// What a planted bug does to this life.
pub fn catches(planted: &'static Planted) -> Option<String> {
    in_virtual_time(live(Some(planted))).err()
}

#[test]
fn a_retained_database_outlives_its_client_and_is_taken_up_again() {
    in_virtual_time(live(None)).unwrap();
}
