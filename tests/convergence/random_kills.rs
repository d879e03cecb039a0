//! The plug pulled at random instants: whatever the daemon was at, a whole fleet comes right, with one of everything.
//!
//! Each daemon is killed after a time between the start of the program and a round of its work; meanwhile files come, change
//! and go, listings and reads lag, and a write now and then loses its answer, never arrives, or arrives late. Then there is
//! calm. `SITEWRIGHT_KILLS_RANDOM=3000` kills as often; a failure names its seed, and `SITEWRIGHT_SEED` throws the same dice
//! again: what a real process has done by a given instant stays its own affair.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use parking_lot::Mutex;
use sitewright::provider::world::faults::{Call, Effect, Faults, Moment, Rule};
use tokio::task::JoinSet;

use crate::random_fleet::Fleet;
use crate::rig::Daemon;
use crate::strangers::catalog_of;

/// Kills of all fleets together, unless `SITEWRIGHT_KILLS_RANDOM` says how many.
const KILLS: usize = 200;
/// Fleets at once: most of a life is waiting.
const FLEETS: usize = 4;
/// The shortest and the longest life, in milliseconds: from a program that has read nothing yet to several rounds.
const LIFE_MS: (f64, f64) = (1.0, 3_000.0);
/// A file changes in one life of so many.
const LIVES_AN_ACT: usize = 3;
/// One write of so many goes wrong.
const WRITES_A_FAULT: usize = 12;
/// The longest that a write arrives late; the settle time is two seconds.
const LATE_MAX_MS: u64 = 900;
/// A person looks at what is held once in so many lives.
const LIVES_A_LOOK: usize = 12;
/// The longest that a fleet may take to come right.
const PATIENCE: Duration = Duration::from_secs(180);

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name} is no number: {value}")))
}

/// As many short lives as long ones, by order of magnitude.
fn life(dice: &mut Rng) -> Duration {
    let (shortest, longest) = LIFE_MS;
    Duration::from_secs_f64(shortest * (longest / shortest).powf(dice.f64()) / 1_000.0)
}

/// Lets writes go wrong as the dice say.
fn trouble(faults: &Arc<Faults>, dice: Rng) {
    let (rules, dice) = (faults.clone(), Mutex::new(dice));
    *faults.hook.lock() = Some(Arc::new(move |call: &Call, moment| {
        let mut dice = dice.lock();
        if moment != Moment::Before || dice.usize(..WRITES_A_FAULT) != 0 {
            return;
        }
        let effect = match dice.u8(..3) {
            0 => Effect::LostBefore,
            1 => Effect::LostAfter,
            _ => Effect::DelayMs(dice.u64(..LATE_MAX_MS)),
        };
        let rule = Rule {
            provider: Some(call.provider.clone()),
            method: Some(call.method.clone()),
            path: Some(call.path.clone()),
            writes: true,
            skip: 0,
            times: 1,
            effect,
        };
        rules.rules.lock().insert(0, rule);
    }));
}

/// Lives that end at random; gives how many of them had called a provider.
async fn storm(fleet: &mut Fleet, dice: &mut Rng, kills: usize) -> Result<usize, String> {
    trouble(&fleet.rig.simulators.world.faults, dice.fork());
    let mut at_work = 0;
    for number in 1..=kills {
        let (life, act) = (life(dice), (dice.usize(..LIVES_AN_ACT) == 0).then(|| dice.f64()));
        fleet.rig.clear_calls();
        let mut daemon = fleet.rig.daemon();
        match act {
            Some(part) => {
                tokio::time::sleep(life.mul_f64(part)).await;
                let done = fleet.act(dice);
                println!("life {number}: {done}");
                tokio::time::sleep(life.mul_f64(1.0 - part)).await;
            }
            None => tokio::time::sleep(life).await,
        }
        let ended_by_itself = !daemon.is_running();
        daemon.kill();
        if ended_by_itself {
            return Err(format!("life {number} ended by itself after at most {life:?}"));
        }
        at_work += usize::from(!fleet.rig.calls().is_empty());
        fleet.check_twins().map_err(|flaw| format!("after life {number}: {flaw}"))?;
        fleet.forget_users().await;
        if number % LIVES_A_LOOK == 0 {
            fleet.approve_what_is_held().await;
        }
    }
    Ok(at_work)
}

/// Nothing goes wrong any more, and everything comes right.
async fn calm(fleet: &mut Fleet) -> Result<Daemon, String> {
    let faults = &fleet.rig.simulators.world.faults;
    *faults.hook.lock() = None;
    faults.clear();
    fleet.wake();
    let daemon = fleet.rig.daemon();
    let begun = Instant::now();
    loop {
        let mut late = Vec::new();
        for client in &fleet.clients {
            let record = fleet.rig.client(&client.name).await;
            if !fleet.has_settled(client, record.as_ref()) {
                late.push((client.name.clone(), client.has_file, record));
            }
        }
        if late.is_empty() {
            return Ok(daemon);
        }
        if begun.elapsed() > PATIENCE {
            let told = late.iter().map(|(name, has_file, record)| {
                let stand = record.as_ref().map(|r| (&r.status, &r.owned.intents, &r.owned.removal));
                format!("{name}, file {has_file}: {stand:#?}")
            });
            return Err(format!("not come right: {}", told.collect::<Vec<_>>().join("\n")));
        }
        // An order that never arrived waits for hours, or for somebody who asks (decisions 9).
        let is_refused = |attempt: &str| attempt == "CertificateFailed";
        for (name, _, record) in &late {
            if record.as_ref().is_some_and(|r| r.owned.attempts.values().any(|a| is_refused(&a.reason))) {
                fleet.rig.run(&["reconcile", name]).await;
            }
        }
        fleet.approve_what_is_held().await;
        fleet.forget_users().await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// A further run finds nothing to write, at a provider or in the database server.
async fn still(fleet: &Fleet, prefix: &str) -> Result<(), String> {
    let of_server = format!("client\\_{prefix}");
    let before = catalog_of(&of_server).await;
    fleet.rig.clear_calls();
    fleet.rig.run(&["run", "--once", "--timeout", "3m"]).await;
    let writes = fleet.rig.writes();
    if !writes.is_empty() {
        return Err(format!("a further run writes: {writes:#?}"));
    }
    let after = catalog_of(&of_server).await;
    if before == after { Ok(()) } else { Err(format!("a further run changes databases: {after:#?}")) }
}

async fn whole(fleet: &mut Fleet, dice: &mut Rng, kills: usize, prefix: &str) -> Result<usize, String> {
    let at_work = storm(fleet, dice, kills).await?;
    drop(calm(fleet).await?);
    fleet.check().await?;
    still(fleet, prefix).await?;
    Ok(at_work)
}

async fn live(seed: u64, number: usize, kills: usize) -> Result<usize, String> {
    let mut dice = Rng::with_seed(seed.wrapping_add(number as u64));
    let prefix = format!("rk{number}");
    let mut fleet = Fleet::new(&prefix, &mut dice).await;
    let ended = whole(&mut fleet, &mut dice, kills, &prefix).await;
    if let Some(directory) = std::env::var_os("SITEWRIGHT_KILL_LOGS") {
        let to = std::path::Path::new(&directory).join(format!("{prefix}-{seed}.log"));
        std::fs::copy(fleet.rig.path("daemon.log"), to).expect("a copy of the log");
    }
    ended.map_err(|why| format!("fleet {number}: {why}"))
}

/// A1, A2, A3, A4, A5, A6, A7, A8, A9, A15, B3.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_whose_daemon_is_killed_at_random_instants_comes_right() {
    let seed = variable("SITEWRIGHT_SEED").unwrap_or_else(|| fastrand::u64(..1_000_000));
    let kills = variable("SITEWRIGHT_KILLS_RANDOM").map_or(KILLS, |kills| usize::try_from(kills).expect("a number"));
    let begun = Instant::now();
    let mut lives = JoinSet::new();
    for number in 0..FLEETS {
        lives.spawn(live(seed, number, kills.div_ceil(FLEETS)));
    }
    let (mut at_work, mut failed) = (0, Vec::new());
    for end in lives.join_all().await {
        match end {
            Ok(lives) => at_work += lives,
            Err(why) => failed.push(why),
        }
    }
    let all = kills.div_ceil(FLEETS) * FLEETS;
    println!("seed {seed}: {all} kills, {at_work} of them at work, in {:?}", begun.elapsed());
    assert!(failed.is_empty(), "SITEWRIGHT_SEED={seed} failed:\n{}", failed.join("\n"));
    assert!(at_work > 0, "no daemon lived long enough to be killed at work");
}
