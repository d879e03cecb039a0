//! A pass that panics takes nobody else with it, and is made again.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use sitewright::store::ClientRecord;

use crate::fate::{Course, Fate};
use crate::life::spec;
use crate::many::in_virtual_time;
use crate::planted::{Bug, Planted};
use crate::world::Sim;

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
        let fate = Fate::new(Course::Told { crashes: Vec::new(), lost: false }, Duration::ZERO, 0);
        let mut sim = Sim::new(fate, Some(&PLANTED)).await;
        sim.people_the_world();
        sim.specs.write("shop.yaml", &spec("shop", "www", "one"));
        sim.specs.write("blog.yaml", &spec("blog", "www", "one"));
        sim.start();
        sim.until_ready("shop", 0).await.unwrap();
        sim.until_ready("blog", 0).await.unwrap();
        assert!(PANICKED.load(Ordering::Relaxed) > PANICS, "all of them happened");
        sim.verdict().unwrap();
    });
}
