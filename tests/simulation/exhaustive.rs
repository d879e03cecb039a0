//! Every crash point of a life, alone and in pairs, clean and crossed with lost answers and stale listings.
//!
//! A crash just before a step finds the disk and the world as a crash just after the step before it: one moment a step is
//! enough, and none is left out.

use std::time::Duration;

use crate::fate::{Course, Crash, Fate, Moment};
use crate::life::whole_life;
use crate::many::{in_virtual_time, side_by_side};
use crate::planted::Planted;
use crate::world::Sim;

/// Stale listings lag by less than the settle time.
const LAG: Duration = Duration::from_secs(40);
/// Every so many crash points are tried; all of them where the compiler optimises.
const STRIDE: usize = if cfg!(debug_assertions) { 25 } else { 1 };
/// Steps beyond a life without faults that are tried as well: a crash makes a life longer.
const BEYOND: usize = 40;

/// Steps between two crashes of a process that dies again and again; the first of them are those of its start.
const EVERY: std::ops::RangeInclusive<usize> = 9..=24;

/// What surrounds a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Weather {
    Clean,
    /// The first answer of every create is lost.
    Lost,
    /// Listings lag behind.
    Stale,
    /// Both.
    LostStale,
}

const WEATHERS: [Weather; 4] = [Weather::Clean, Weather::Lost, Weather::Stale, Weather::LostStale];

#[derive(Debug, Clone)]
struct Told {
    weather: Weather,
    crashes: Vec<Crash>,
}

/// Lives a life; gives its steps, or what did not hold.
async fn live(told: &Told, log: bool, planted: Option<&'static Planted>) -> Result<usize, String> {
    let course = Course::Told {
        crashes: told.crashes.clone(),
        lost: matches!(told.weather, Weather::Lost | Weather::LostStale),
    };
    let fate = Fate::new(course, Duration::ZERO, u32::try_from(told.crashes.len()).unwrap());
    if log {
        fate.keep_log();
    }
    let mut sim = Sim::new(fate, planted).await;
    if matches!(told.weather, Weather::Stale | Weather::LostStale) {
        sim.replica.lag(LAG);
    }
    let end = whole_life(&mut sim).await;
    match end {
        Ok(()) => Ok(sim.fate.steps()),
        Err(why) if log => Err(format!("{told:?}: {why}\n{}", sim.story().await)),
        Err(why) => Err(why),
    }
}

fn steps(weather: Weather) -> usize {
    in_virtual_time(live(&Told { weather, crashes: Vec::new() }, true, None)).unwrap_or_else(|why| panic!("{why}"))
}

/// What a planted bug does to a few lives: each weather, and a crash here and there.
pub fn catches(planted: &'static Planted) -> Option<String> {
    let calm = WEATHERS.into_iter().map(|weather| Told { weather, crashes: Vec::new() });
    let crashes = (5..220).step_by(9).map(|step| Told { weather: Weather::Lost, crashes: vec![after(step)] });
    calm.chain(crashes).find_map(|told| {
        let end = in_virtual_time(live(&told, false, Some(planted)));
        end.err().map(|why| format!("{told:?}: {why}"))
    })
}

fn after(step: usize) -> Crash {
    Crash { step, moment: Moment::After }
}

fn all_hold(lives: &[Told]) {
    let failures = side_by_side(lives, |told| in_virtual_time(live(told, false, None)).err());
    let first = failures.first().map(|(index, _)| in_virtual_time(live(&lives[*index], true, None)).unwrap_err());
    assert!(
        failures.is_empty(),
        "{} of {} lives failed; the first: {}",
        failures.len(),
        lives.len(),
        first.unwrap_or_default()
    );
}

/// A1, A2, A4, A5, A6, A7, A8, B17. `SITEWRIGHT_LIFE=lost:12,40` tells one life again, with its steps.
#[test]
fn every_crash_point_of_a_life_in_every_weather() {
    let mut lives = Vec::new();
    for weather in WEATHERS {
        let first = Crash { step: 0, moment: Moment::Before };
        lives.push(Told { weather, crashes: vec![first] });
        let count = steps(weather);
        lives.extend((0..count).step_by(STRIDE).map(|step| Told { weather, crashes: vec![after(step)] }));
        println!("{weather:?}: {count} crash points, every {STRIDE}. tried");
    }
    all_hold(&lives);
    println!("{} lives with one crash, 0 violations", lives.len());
}

/// A9. A process that dies again and again gets a little further each time.
#[test]
fn a_life_that_is_cut_off_every_few_steps_still_comes_to_its_end() {
    let beyond = 20 * steps(Weather::Clean);
    for every in EVERY {
        let crashes = (every..beyond).step_by(every).map(after).collect();
        let lived = in_virtual_time(live(&Told { weather: Weather::Clean, crashes }, false, None));
        let lived = lived.unwrap_or_else(|why| panic!("every {every} steps: {why}"));
        assert!(lived < beyond, "every {every} steps: it came to its end only when nobody cut it off any more");
        println!("cut off every {every} steps: {lived} steps");
    }
}

/// A15.
#[test]
#[ignore = "53,000 lives: cargo test --profile simulation --test simulation -- --ignored every_pair"]
fn every_pair_of_crash_points_of_a_life() {
    let count = steps(Weather::Clean);
    let pairs = (0..count).flat_map(|one| (one + 1..count + BEYOND).map(move |other| vec![after(one), after(other)]));
    let lives: Vec<Told> = pairs.map(|crashes| Told { weather: Weather::Clean, crashes }).collect();
    all_hold(&lives);
    println!("{} lives with two crashes, 0 violations", lives.len());
}

#[test]
fn a_named_life_is_told_again() {
    let Ok(named) = std::env::var("SITEWRIGHT_LIFE") else { return };
    let (weather, crashes) = named.split_once(':').expect("weather:step,step");
    let weather = WEATHERS.into_iter().find(|w| format!("{w:?}").eq_ignore_ascii_case(weather)).expect("a weather");
    let crashes = crashes.split(',').filter_map(|step| step.parse().ok()).map(after).collect();
    let end = in_virtual_time(live(&Told { weather, crashes }, true, None));
    println!("{end:?}");
    assert!(end.is_ok(), "{}", end.unwrap_err());
}
