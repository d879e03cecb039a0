//! The call budget under tokio's paused time: never above the limit, nobody starves, little is wasted.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use proptest::prelude::*;
use sitewright::provider::http::Budget;
use sitewright::provider::http::lane::{Lane, SharedLane, in_lane};
use tokio::time::Instant;

const MINUTE: Duration = Duration::from_secs(60);

/// Runs on a clock that jumps to the next timer.
fn paused<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(future)
}

/// The most calls that any window holds.
fn densest(mut at: Vec<Instant>, window: Duration) -> usize {
    at.sort();
    let in_window = |first: &Instant| at.iter().filter(|t| *t >= first && **t < *first + window).count();
    at.iter().map(in_window).max().unwrap_or(0)
}

#[derive(Debug, Clone)]
struct Wanted {
    lane: Lane,
    after: Duration,
    takes: Duration,
}

fn wanted() -> impl Strategy<Value = Wanted> {
    let lane = prop_oneof![Just(Lane::Safety), Just(Lane::People), Just(Lane::Polling), Just(Lane::Drift)];
    (lane, 0..120_000u64, 0..4_000u64).prop_map(|(lane, after, takes)| Wanted {
        lane,
        after: Duration::from_millis(after),
        takes: Duration::from_millis(takes),
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_window_ever_holds_more_than_the_limit_and_everybody_is_served(
        limit in 1..20u32,
        window in 1..90u64,
        calls in prop::collection::vec(wanted(), 1..120),
    ) {
        let window = Duration::from_secs(window);
        let number = calls.len();
        let starts = paused(async move {
            let budget = Arc::new(Budget::new(limit, window));
            let tasks = calls.into_iter().map(|wanted| {
                let budget = budget.clone();
                in_lane(wanted.lane, async move {
                    tokio::time::sleep(wanted.after).await;
                    let permit = budget.acquire().await.expect("never closed");
                    let start = Instant::now();
                    tokio::time::sleep(wanted.takes).await;
                    drop(permit);
                    start
                })
            });
            futures::future::join_all(tasks).await
        });
        prop_assert_eq!(starts.len(), number);
        prop_assert!(densest(starts, window) <= limit as usize);
    }
}

/// Calls of one lane, one after another for each of some workers, until the time is over.
async fn flood(budget: &Arc<Budget>, lane: Lane, workers: usize, until: Instant, log: &Arc<Mutex<Vec<Instant>>>) {
    let work = (0..workers).map(|_| {
        in_lane(lane, async {
            while Instant::now() < until {
                let permit = budget.acquire().await.expect("never closed");
                log.lock().push(Instant::now());
                tokio::time::sleep(Duration::from_millis(50)).await;
                drop(permit);
            }
        })
    });
    futures::future::join_all(work).await;
}

#[test]
fn while_work_waits_hardly_a_call_is_wasted() {
    paused(async {
        let budget = Arc::new(Budget::new(60, MINUTE));
        let log = Arc::new(Mutex::new(Vec::new()));
        let until = Instant::now() + MINUTE * 10;
        flood(&budget, Lane::People, 100, until, &log).await;
        let made = log.lock().iter().filter(|at| **at < until).count();
        assert!((570..=600).contains(&made), "{made} of 600 calls were made");
    });
}

#[test]
fn the_lowest_lane_is_served_under_a_flood_of_the_higher_ones() {
    paused(async {
        let budget = Arc::new(Budget::new(60, MINUTE));
        let (people, drift) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())));
        let until = Instant::now() + MINUTE * 10;
        futures::join!(
            flood(&budget, Lane::People, 200, until, &people),
            flood(&budget, Lane::Drift, 2, until, &drift),
        );
        let (people, drift) = (people.lock().len(), drift.lock().len());
        assert!(drift >= 10, "drift made {drift} calls beside {people}");
        assert!(people > drift, "people made {people} calls, drift {drift}");
    });
}

#[test]
fn a_safety_read_does_not_wait_behind_a_burst() {
    paused(async {
        let budget = Arc::new(Budget::new(100, MINUTE));
        let log = Arc::new(Mutex::new(Vec::new()));
        let begin = Instant::now();
        let burst = flood(&budget, Lane::People, 500, begin + Duration::from_secs(1), &log);
        let safety = async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let asked = Instant::now();
            let permit = in_lane(Lane::Safety, budget.acquire()).await.expect("never closed");
            drop(permit);
            asked.elapsed()
        };
        let waited = tokio::select! { waited = safety => waited, () = burst => panic!("the burst takes minutes") };
        assert_eq!(waited, Duration::ZERO);
    });
}

#[test]
fn shared_work_becomes_as_urgent_as_who_waits_for_it() {
    paused(async {
        let budget = Budget::new(100, MINUTE);
        budget.learn_remaining(5, None); // what is left is kept for the safety of others
        let shared = SharedLane::default();
        let call = in_lane(Lane::Drift, async {
            let _place = shared.wait();
            shared.run(budget.acquire()).await.map(drop).expect("never closed");
            Instant::now()
        });
        let later = in_lane(Lane::Safety, async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let _place = shared.wait();
            std::future::pending::<()>().await
        });
        let begin = Instant::now();
        let left = tokio::select! { left = call => left, () = later => unreachable!("it waits for ever") };
        assert_eq!(left - begin, Duration::from_secs(1), "the call left when somebody urgent came");
    });
}

#[test]
fn calls_leave_under_a_reservation_alone() {
    paused(async {
        let budget = Arc::new(Budget::new(10, MINUTE));
        budget.reserve(Some(2));
        let log = Arc::new(Mutex::new(Vec::new()));
        let until = Instant::now() + Duration::from_secs(1);
        let calls = tokio::spawn({
            let (budget, log) = (budget.clone(), log.clone());
            async move { flood(&budget, Lane::People, 3, until, &log).await }
        });
        budget.news().await;
        assert_eq!((log.lock().len(), budget.snapshot().reserved, budget.is_waited_for()), (2, 0, true));
        budget.reserve(None);
        calls.await.expect("the calls end");
        assert!(log.lock().len() > 2);
    });
}

#[test]
fn what_was_reserved_may_have_left_until_the_end() {
    paused(async {
        let before = Budget::new(10, MINUTE);
        drop(before.acquire().await.expect("free"));
        before.reserve(Some(3));
        let after = Budget::new(10, MINUTE);
        after.restore(&before.snapshot(), Duration::from_secs(50));
        assert_eq!(after.snapshot().remaining, 6);
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_eq!(after.snapshot().remaining, 7, "the call is a minute old");
        tokio::time::sleep(Duration::from_secs(50)).await;
        assert_eq!(after.snapshot().remaining, 10);
    });
}

#[test]
fn a_block_refuses_everybody_and_ends() {
    paused(async {
        let budget = Arc::new(Budget::new(1, MINUTE));
        drop(budget.acquire().await.expect("free"));
        let waiting = tokio::spawn({
            let budget = budget.clone();
            async move { budget.acquire().await.map(drop) }
        });
        tokio::time::sleep(Duration::from_secs(1)).await;
        budget.close_for(Duration::from_secs(300));
        let closed = waiting.await.expect("the task ends").expect_err("refused while waiting");
        assert_eq!(closed.after, Duration::from_secs(300));
        tokio::time::sleep(Duration::from_secs(299)).await;
        let closed = budget.acquire().await.map(drop).expect_err("still closed");
        assert_eq!(closed.after, Duration::from_secs(1));
        budget.close_for(Duration::from_millis(1));
        tokio::time::sleep(Duration::from_secs(1)).await;
        budget.acquire().await.map(drop).expect("open again");
    });
}

#[test]
fn who_gives_up_waiting_takes_nothing_with_him() {
    paused(async {
        let budget = Budget::new(2, MINUTE);
        drop(budget.acquire().await.expect("free"));
        drop(budget.acquire().await.expect("free"));
        for _ in 0..10 {
            let impatient = tokio::time::timeout(Duration::from_secs(1), budget.acquire()).await;
            assert!(impatient.is_err(), "the window is full");
        }
        tokio::time::sleep(MINUTE).await;
        assert_eq!(budget.snapshot().remaining, 2);
    });
}

#[test]
fn a_restart_does_not_forget() {
    paused(async {
        let before = Budget::new(10, MINUTE);
        for _ in 0..8 {
            drop(before.acquire().await.expect("free"));
        }
        before.close_for(Duration::from_secs(30));
        let kept = serde_json::to_string(&before.snapshot()).expect("JSON");
        let kept = serde_json::from_str(&kept).expect("the same");
        let after = Budget::new(10, MINUTE);
        after.restore(&kept, Duration::from_secs(20));
        let state = after.snapshot();
        assert_eq!((state.remaining, state.resets_in.as_secs(), state.closed_for.as_secs()), (2, 40, 10));
        let late = Budget::new(10, MINUTE);
        late.restore(&kept, MINUTE);
        assert_eq!((late.snapshot().remaining, late.snapshot().closed_for), (10, Duration::ZERO));
    });
}

#[test]
fn what_others_use_of_the_account_counts_until_its_reset() {
    paused(async {
        let budget = Budget::new(1_200, MINUTE * 5);
        budget.learn_remaining(50, Some(Duration::from_secs(30)));
        assert_eq!(budget.snapshot().remaining, 50);
        budget.learn_remaining(400, Some(Duration::from_secs(30)));
        assert_eq!(budget.snapshot().remaining, 50, "a later look does not give calls back");
        tokio::time::sleep(Duration::from_secs(30)).await;
        assert_eq!(budget.snapshot().remaining, 1_200);
        budget.learn_limit(2_000, None);
        assert_eq!(budget.snapshot().limit, 1_200, "learned downwards only");
        budget.learn_limit(100, Some(MINUTE));
        assert_eq!((budget.snapshot().limit, budget.snapshot().window), (100, MINUTE));
    });
}

/// Else a burst would hold what is meant for a day, and a header of nonsense more slots than there is memory for.
#[test]
fn a_policy_over_a_longer_window_lowers_the_pace_and_never_raises_the_number() {
    paused(async {
        let budget = Budget::new(60, MINUTE);
        let state = |budget: &Budget| (budget.snapshot().limit, budget.snapshot().window);
        budget.learn_limit(7_200, Some(MINUTE * 60 * 24));
        assert_eq!(state(&budget), (5, MINUTE));
        budget.learn_limit(u32::MAX, Some(Duration::from_secs(u64::MAX)));
        budget.learn_remaining(0, Some(Duration::from_secs(u64::MAX)));
        assert_eq!(state(&budget), (1, MINUTE));
        drop(budget.acquire().await.expect("the account is open again after a window"));
    });
}
