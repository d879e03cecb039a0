//! What the state counts of an account, at every instant at which the process may die.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use sitewright::controller::accounts::{Accounts, Standing, document};
use sitewright::controller::clock::Clock;
use sitewright::provider::http::Budget;
use sitewright::store::Store;
use sitewright::store::memory::MemoryStore;
use tokio::time::{Instant, sleep};

const LIMIT: u32 = 20;
const WINDOW: Duration = Duration::from_secs(60);
/// Longer than it takes until a reservation is given back.
const A_WHILE: Duration = Duration::from_secs(10);

struct Bench {
    budget: Arc<Budget>,
    store: Arc<MemoryStore>,
    clock: Clock,
    /// When calls left.
    calls: Mutex<Vec<Instant>>,
}

impl Bench {
    fn new() -> Bench {
        let budget = Arc::new(Budget::new(LIMIT, WINDOW));
        Bench { budget, store: Arc::default(), clock: Clock::system(), calls: Mutex::default() }
    }

    /// Does something while the account is kept.
    async fn kept<T>(&self, work: impl Future<Output = T>) -> T {
        let budgets = BTreeMap::from([("test", self.budget.clone())]);
        let accounts = Accounts::new(budgets, Arc::default(), self.store.clone(), self.clock);
        accounts.kept_during(async { Ok(work.await) }).await.expect("a state in memory")
    }

    /// Calls one after the other, at most one in `pause`.
    async fn call(&self, pause: Duration, until: Instant) {
        while Instant::now() < until {
            let permit = self.budget.acquire().await.expect("never closed");
            self.calls.lock().push(Instant::now());
            sleep(Duration::from_millis(30)).await;
            drop(permit);
            sleep(pause).await;
        }
    }

    async fn standing(&self) -> Standing {
        let kept = self.store.document(&document("test")).await.expect("a state in memory");
        serde_json::from_value(kept.expect("it is kept")).expect("a standing")
    }

    /// Calls that a process which began now would still allow itself.
    async fn left(&self) -> u32 {
        let Standing { at, budget } = self.standing().await;
        let age = Duration::try_from(self.clock.now().duration_since(at)).expect("it was before");
        let next = Budget::new(LIMIT, WINDOW);
        next.restore(&budget, age);
        next.snapshot().remaining
    }

    fn calls_in_the_last_window(&self) -> u32 {
        let now = Instant::now();
        self.calls.lock().iter().filter(|at| **at + WINDOW > now).count() as u32
    }
}

#[tokio::test(start_paused = true)]
async fn whenever_the_process_dies_the_state_counts_every_call_that_left() {
    for (callers, pause) in [(8, 0), (1, 900), (2, 7_000), (1, 45_000)] {
        let bench = Bench::new();
        let until = Instant::now() + WINDOW * 5;
        let callers = (0..callers).map(|_| bench.call(Duration::from_millis(pause), until));
        let watch = async {
            while Instant::now() < until {
                sleep(Duration::from_millis(97)).await;
                let (left, used) = (bench.left().await, bench.calls_in_the_last_window());
                assert!(
                    left + used <= LIMIT,
                    "{used} calls of {LIMIT} were made and {left} are left, pause {pause} ms"
                );
            }
        };
        bench.kept(futures::future::join(futures::future::join_all(callers), watch)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn at_rest_nothing_is_reserved_and_nothing_is_written() {
    let bench = Bench::new();
    let rest = async {
        bench.call(Duration::from_secs(1), Instant::now() + A_WHILE).await;
        let left = bench.left().await;
        assert!(
            (LIMIT - 10 - LIMIT / 10..=LIMIT - 10).contains(&left),
            "ten calls left, and at most a reservation: {left}"
        );
        sleep(WINDOW * 3).await;
        let first = bench.standing().await;
        assert_eq!(first.budget.reserved, 0);
        sleep(WINDOW * 10).await;
        assert_eq!(bench.standing().await, first);
    };
    bench.kept(rest).await;
    assert_eq!(bench.left().await, LIMIT);
}
