//! A pass that panics takes nobody else with it, and is made again.

use std::sync::atomic::{AtomicU32, Ordering};

use sitewright::store::ClientRecord;

use crate::life::{quiet_world, spec};
use crate::many::in_virtual_time;
use crate::planted::{Bug, Planted};

/// More than there are workers: each of them dies once, were it not for the catch.
const PANICS: u32 = 12;
static PANICKED: AtomicU32 = AtomicU32::new(0);

fn panics_at_times(record: &mut ClientRecord) {
    let has_begun = !record.owned.resources.is_empty();
    if record.name.as_str() == "blog" && has_begun && PANICKED.fetch_add(1, Ordering::Relaxed) < PANICS {
        panic!("planted");
    }
}

static PLANTED: Planted = Planted { name: "a-pass-panics", bug: Bug::Memory(panics_at_times) };

/// A10.
#[test]
fn a_pass_that_panics_stops_nobody_else_and_is_made_again() {
    in_virtual_time(async {
        let mut sim = quiet_world(Some(&PLANTED)).await;
        sim.specs.write("shop.yaml", &spec("shop", "www", "one"));
        sim.specs.write("blog.yaml", &spec("blog", "www", "one"));
        sim.start();
        sim.until_ready("shop", 0).await.unwrap();
        sim.until_ready("blog", 0).await.unwrap();
        assert!(PANICKED.load(Ordering::Relaxed) > PANICS, "all of them happened");
        sim.verdict().unwrap();
    });
}
