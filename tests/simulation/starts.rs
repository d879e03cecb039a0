//! A start with everybody due at once: the providers' budgets hold from the first second, and everybody is looked at.

use std::time::Duration;

use tokio::time::Instant;

use crate::life::quiet_world;
use crate::many::in_virtual_time;
use crate::world::{RESYNC, Sim, ZONE};

/// A change of each of them costs more calls than a minute has.
const CLIENTS: usize = 20;
/// Calls a minute at the host: the documented budget of its smallest plan.
const CALLS_MAX: usize = 60;
const WINDOW: Duration = Duration::from_secs(60);

fn spec(number: usize) -> String {
    format!(
        "apiVersion: sitewright/v1\nkind: ClientSpec\nmetadata:\n  name: c{number}\nspec:\n  domain: c{number}.{ZONE}\n  health: {{ interval: 1h }}\n"
    )
}

/// The most calls to the host within any window, looked at every second.
async fn densest(sim: &mut Sim, time: Duration) -> usize {
    let (begin, mut seen) = (Instant::now(), Vec::new());
    while begin.elapsed() < time {
        let calls = sim.world.faults.calls().iter().filter(|call| call.provider == "ploi").count();
        seen.push((Instant::now(), calls));
        sim.pass(Duration::from_secs(1)).await;
    }
    let within = |(at, count): &(Instant, usize)| {
        let after = seen.iter().take_while(|(later, _)| *later < *at + WINDOW).last();
        after.map_or(0, |(_, reached)| reached - count)
    };
    seen.iter().map(within).max().unwrap_or_default()
}

/// E7.
#[test]
fn a_start_with_everybody_due_spreads_its_work_within_the_budget() {
    in_virtual_time(async {
        let mut sim = quiet_world(None).await;
        for number in 0..CLIENTS {
            sim.specs.write(&format!("c{number}.yaml"), &spec(number));
        }
        sim.start();
        let all_ready = async |sim: &Sim| {
            for number in 0..CLIENTS {
                if !sim.record(&format!("c{number}")).await.is_some_and(|record| record.status.is_ready()) {
                    return false;
                }
            }
            true
        };
        while !all_ready(&sim).await {
            sim.pass(RESYNC).await;
            assert!(sim.age() < Duration::from_secs(48 * 3600), "a fleet comes up");
        }
        sim.stop();
        // Everything that a look can find out is old by now, and every spec has changed.
        sim.pass(Duration::from_secs(7200)).await;
        for number in 0..CLIENTS {
            let text = spec(number) + &format!("  environment: {{ NOTE: \"{number}\" }}\n");
            sim.specs.write(&format!("c{number}.yaml"), &text);
        }
        sim.world.faults.clear_calls();
        sim.start();
        let most = densest(&mut sim, Duration::from_secs(1800)).await;
        println!("{most} calls in the densest minute");
        assert!(most <= CALLS_MAX, "{most} calls in one minute");
        assert!(most > CALLS_MAX / 2, "{most} calls: the budget is used, or this test shows nothing");
        while !all_ready(&sim).await {
            sim.pass(RESYNC).await;
            assert!(sim.age() < Duration::from_secs(96 * 3600), "everybody is served");
        }
        sim.verdict().unwrap();
    });
}
