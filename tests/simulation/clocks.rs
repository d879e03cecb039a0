//! Clocks that jump and daemons that were away: a grace is lived through, nothing ends at once, and no wait begins anew.

use std::time::Duration;

use futures::FutureExt as _;
use jiff::{SignedDuration, ToSpan as _};
use sitewright::controller::lifetime;
use sitewright::provider::ploi::sim::SERVER_ID;
use sitewright::store::Store as _;

use crate::life::{quiet_world, spec};
use crate::many::in_virtual_time;
use crate::world::{Sim, ZONE};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

fn has_site(sim: &Sim) -> bool {
    sim.ploi.site_id(SERVER_ID, &format!("shop.{ZONE}")).is_some()
}

/// A client whose file was taken away a moment ago, in a world of this grace.
async fn leaving(grace: Duration) -> Sim {
    let mut sim = quiet_world(None).await;
    sim.set_grace(grace);
    sim.specs.write("shop.yaml", &spec("shop", "www", "one"));
    sim.start();
    sim.until_ready("shop", 0).await.unwrap();
    sim.specs.remove("shop.yaml");
    let goes = async |sim: &Sim| sim.record("shop").await.is_some_and(|record| record.owned.removal.is_some());
    assert!(sim.until(HOUR, goes).await);
    sim
}

async fn has_gone(sim: &mut Sim, patience: Duration) -> bool {
    sim.until(patience, async |sim| sim.record("shop").await.is_none()).await
}

/// E6.
#[test]
fn a_daemon_that_was_away_for_a_month_ends_no_grace_on_its_return() {
    in_virtual_time(async {
        let mut sim = leaving(DAY * 2).await;
        sim.pass(DAY * 2 - HOUR).await;
        sim.stop();
        sim.pass(DAY * 30).await;
        sim.start();
        sim.pass(DAY - HOUR).await;
        assert!(has_site(&sim), "people get a day to see it coming");
        let message = sim.record("shop").await.unwrap().status.message;
        assert!(message.contains("time in which nobody was here not counted"), "{message}");
        let told = sim.story().await;
        assert!(told.contains("GraceProlonged") && told.contains("does not count towards its grace"), "{told}");
        assert!(has_gone(&mut sim, HOUR * 4).await, "and then it goes");
        sim.check_gone("shop").unwrap();
        sim.verdict().unwrap();
    });
}

/// E6. What an earlier process had gathered of an absence is as old as the daemon was away.
#[test]
fn the_evidence_of_an_absence_is_gathered_anew_after_a_month() {
    in_virtual_time(async {
        let mut sim = quiet_world(None).await;
        sim.specs.write("shop.yaml", &spec("shop", "www", "one"));
        sim.start();
        sim.until_ready("shop", 0).await.unwrap();
        sim.specs.remove("shop.yaml");
        sim.pass(Duration::from_secs(30)).await;
        sim.stop();
        sim.pass(DAY * 30).await;
        sim.start();
        sim.pass(Duration::from_secs(50)).await;
        let goes = async |sim: &Sim| sim.record("shop").await.is_some_and(|record| record.owned.removal.is_some());
        assert!(!goes(&sim).await, "the window of absence is not over");
        assert!(sim.until(Duration::from_secs(120), goes).await);
    });
}

/// E1. The machine comes up with a clock that is a year ahead: the monitor knows how late it really is.
#[test]
fn a_clock_that_jumped_a_year_ahead_ends_no_grace() {
    in_virtual_time(async {
        let mut sim = leaving(DAY * 3).await;
        sim.pass(DAY).await;
        sim.stop();
        sim.wrong_by = SignedDuration::from_hours(365 * 24);
        sim.start();
        sim.pass(DAY * 3 / 2).await;
        assert!(has_site(&sim), "two and a half days of three were lived");
        // It stays wrong over another start, and is not counted again.
        sim.start();
        assert!(has_gone(&mut sim, DAY).await);
        sim.check_gone("shop").unwrap();
        sim.verdict().unwrap();
    });
}

/// E2. An hour back: what was waited for is not waited for again.
#[test]
fn a_clock_that_jumped_back_an_hour_stalls_nothing() {
    in_virtual_time(async {
        let mut sim = leaving(Duration::from_secs(1200)).await;
        sim.pass(Duration::from_secs(300)).await;
        sim.stop();
        sim.wrong_by = SignedDuration::from_hours(-1);
        sim.start();
        assert!(has_gone(&mut sim, HOUR * 3 / 4).await, "its grace goes on where it was");
        sim.check_gone("shop").unwrap();
        sim.verdict().unwrap();
    });
}

/// E2. Ten years back: one of the two clocks is wrong, and nobody but a person knows which.
#[test]
fn a_clock_that_lies_far_behind_the_state_is_refused_with_both_times() {
    in_virtual_time(async {
        let mut sim = quiet_world(None).await;
        sim.start();
        sim.pass(DAY).await;
        sim.stop();
        let machine = sim.now().checked_sub((10 * 365 * 24).hours()).unwrap();
        let begun = lifetime::clock(&*sim.disk, machine).now_or_never().expect("memory answers at once");
        let refused = begun.map(|_| ()).unwrap_err().to_string();
        assert!(refused.contains("2016-01-0") && refused.contains("2026-01-0"), "{refused}");
        assert!(refused.contains("set the clock right"), "{refused}");
        assert!(sim.disk.document(lifetime::ALIVE).await.unwrap().is_some());
    });
}
