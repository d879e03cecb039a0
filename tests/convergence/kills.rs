//! A pulled plug at every write: the daemon dies before it, after it, or loses the answer, and still there is one of
//! everything in the end, and nobody else's thing was touched. Listings and reads lag.
//!
//! A first life of each course without faults learns the writes of each phase. Each further life meets at most one fault
//! in each phase. `SITEWRIGHT_KILLS=all` meets every write in every way; `SITEWRIGHT_KILL=provision:7:after` (several with
//! commas) replays what a failure names.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::kill_points::{Mode, Phase, Point, Write};
use crate::life::{COURSES, Course, LOOKS, Life};

/// Lives at once: most of a life is waiting.
const LIVES_AT_ONCE: usize = 6;

/// A write of a phase and its place among them.
type Target = (Phase, usize, Write);

/// The writes of a phase that can be struck.
fn targets(phase: Phase, seen: &[Write]) -> Vec<Target> {
    let struck = seen.iter().filter(|write| !LOOKS.contains(&write.label.as_str()) || write.occurrence == 1);
    struck.enumerate().map(|(number, write)| (phase, number, write.clone())).collect()
}

/// What the lives without faults wrote.
async fn learn() -> Vec<Target> {
    let lives = COURSES.into_iter().enumerate().map(|(at, course)| async move {
        Life::new(format!("learn{at}"), course, Vec::new()).await.run().await.expect("a life without faults")
    });
    let phases: BTreeMap<Phase, Vec<Write>> = futures::future::join_all(lives).await.into_iter().flatten().collect();
    phases.iter().filter(|(phase, _)| **phase != Phase::Leave).flat_map(|(phase, seen)| targets(*phase, seen)).collect()
}

/// Points of the phases that were learned: every mode of every write, or one mode of each so that every mode comes as well.
/// Where a database is kept, only what is not done on the way to a drop.
fn points(targets: &[Target], all: bool) -> Vec<Point> {
    let turn = |number: usize| Mode::ALL[number % Mode::ALL.len()];
    let point =
        |(phase, number, write): &Target, mode| Point { phase: *phase, number: *number, write: write.clone(), mode };
    let of = |target: &Target| match all {
        true => Mode::ALL.map(|mode| point(target, mode)).to_vec(),
        false => vec![point(target, turn(target.1))],
    };
    let is_told = |(phase, _, write): &&Target| {
        let drops = || targets.iter().any(|(other, _, same)| *other == Phase::Drop && same == write);
        all || *phase != Phase::Retire || !drops()
    };
    targets.iter().filter(is_told).flat_map(of).collect()
}

/// Points of a provision at which the file is another one, or gone, before the daemon comes back: all of them, or every third.
fn crossed(targets: &[Target], phase: Phase, all: bool) -> Vec<Point> {
    let made = targets.iter().filter(|(of, number, _)| *of == Phase::Provision && (all || number % 3 == 0));
    let point = |number: usize, write: &Write, mode| Point { phase, number, write: write.clone(), mode };
    made.flat_map(|(_, number, write)| match all {
        true => Mode::DEADLY.map(|mode| point(*number, write, mode)).to_vec(),
        false => vec![point(*number, write, Mode::DEADLY[number / 3 % 2])],
    })
    .collect()
}

/// Lives that meet at most one point of each phase, every point once.
fn deal(points: Vec<Point>) -> Vec<(Course, Vec<Point>)> {
    let mut left: BTreeMap<Phase, Vec<Point>> = BTreeMap::new();
    for point in points.into_iter().rev() {
        left.entry(point.phase).or_default().push(point);
    }
    let crossed = [Course(&[Phase::Abandon]), Course(&[Phase::Amend])];
    let mut lives = Vec::new();
    // From the back: what only one course holds is dealt first, with what several share along the way.
    for course in COURSES.into_iter().chain(crossed) {
        let own = |left: &BTreeMap<Phase, Vec<Point>>| {
            let phases = course.0.iter().filter(|phase| course.0.len() == 1 || **phase > Phase::Update);
            phases.clone().any(|phase| left.get(phase).is_some_and(|points| !points.is_empty()))
        };
        while own(&left) {
            lives.push((course, take_one_of_each(course, &mut left)));
        }
    }
    while left.values().any(|points| !points.is_empty()) {
        lives.push((COURSES[0], take_one_of_each(COURSES[0], &mut left)));
    }
    lives
}

fn take_one_of_each(course: Course, left: &mut BTreeMap<Phase, Vec<Point>>) -> Vec<Point> {
    course.0.iter().filter_map(|phase| left.get_mut(phase).and_then(Vec::pop)).collect()
}

/// A1, A2, A3, A4, A5, A7, A8, A11, B1, B2, C14, G1.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_killed_at_whichever_write_there_is_one_of_everything() {
    let targets = learn().await;
    for (phase, number, write) in &targets {
        println!("{phase}:{number} {} ({})", write.label, write.occurrence);
    }
    let named = std::env::var("SITEWRIGHT_KILL").ok();
    let all = named.is_some() || std::env::var("SITEWRIGHT_KILLS").is_ok_and(|value| value == "all");
    let mut points = points(&targets, all);
    points.extend([Phase::Abandon, Phase::Amend].into_iter().flat_map(|phase| crossed(&targets, phase, all)));
    if let Some(named) = &named {
        points.retain(|point| named.split(',').any(|name| name == point.to_string()));
        assert!(!points.is_empty(), "{named} names no point");
    }
    let count = points.len();
    let room = Arc::new(Semaphore::new(LIVES_AT_ONCE));
    let mut lives = JoinSet::new();
    for (index, (course, points)) in deal(points).into_iter().enumerate() {
        let room = room.clone();
        lives.spawn(async move {
            let _place = room.acquire_owned().await.expect("the room stays open");
            Life::new(format!("kl{index}"), course, points).await.run().await
        });
    }
    let ends = lives.join_all().await;
    let lived = ends.len();
    let failed: Vec<String> = ends.into_iter().filter_map(Result::err).collect();
    println!("{count} points of {} writes in {lived} lives, {} failed", targets.len(), failed.len());
    assert!(failed.is_empty(), "{} of {count} points failed:\n{}", failed.len(), failed.join("\n"));
}
