//! Every crash point of a life, alone and in pairs, clean and crossed with lost answers and stale listings.

use std::time::Duration;

use crate::fate::{Course, Crash, Fate, Moment};
use crate::life::whole_life;
use crate::world::Sim;

/// Stale listings lag by less than the settle time.
const LAG: Duration = Duration::from_secs(40);

/// What surrounds a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Weather {
    Clean,
    Lost,
    Stale,
}

/// Runs a future in virtual time, on this thread.
pub fn in_virtual_time<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(future)
}

async fn life(crashes: Vec<Crash>, weather: Weather, log: bool) -> (Result<(), String>, Sim) {
    let lives = u32::try_from(crashes.len()).unwrap();
    let course = Course::Told { crashes, lost: weather == Weather::Lost };
    let fate = Fate::new(course, Duration::ZERO, lives);
    if log {
        fate.keep_log();
    }
    let mut sim = Sim::new(fate).await;
    if weather == Weather::Stale {
        sim.replica.lag(LAG);
    }
    let end = whole_life(&mut sim).await;
    (end, sim)
}

#[test]
fn a_life_without_faults() {
    let started = std::time::Instant::now();
    let (end, sim) = in_virtual_time(life(Vec::new(), Weather::Clean, true));
    println!("{} steps in {:?}, {:?} simulated, {} calls", sim.fate.steps(), started.elapsed(), sim.age(), 0);
    println!("{}", sim.fate.log().join("\n"));
    end.unwrap();
    let _ = Moment::Before;
}
