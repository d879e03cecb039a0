//! The call budget of one account: a sliding window that is never exceeded, shared by lanes so that nobody starves.
//!
//! A call takes a slot when it may leave and gives it back one window after it reached the provider. So in *any* window at
//! most `limit` calls arrive, whichever way the provider cuts its own windows (reliability.md R8, contracts/ploi.md 2,
//! contracts/cloudflare.md 1.10).

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio::time::Instant;

/// Longest time for which an account is closed: a longer `Retry-After` is taken for nonsense (reliability.md B6).
pub const CLOSED_MAX: Duration = Duration::from_secs(3600);
/// Shortest time for which an account is closed after a 429 (reliability.md B6).
pub const CLOSED_MIN: Duration = Duration::from_secs(1);
/// How long after its start a call may still be on its way to the provider; its slot's window counts from there at the latest.
const ARRIVAL_MAX: Duration = Duration::from_secs(2);
/// A call that has waited this part of the window may take what is kept for the lanes above: nothing starves, little is wasted.
const AGED_DIVISOR: u32 = 4;
/// One call of a lane weighs this, divided by the lane's share in percent.
const SHARE_UNIT: u64 = 1_000_000;

/// Who wants to call; earlier lanes go first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Lane {
    /// Ownership read again before a write, deletions that were begun.
    Safety,
    /// What a person changed.
    People,
    /// Asking how far an asynchronous operation is.
    Polling,
    /// Looking for drift, audits.
    Drift,
}

/// All lanes, in their order.
pub const LANES: [Lane; 4] = [Lane::Safety, Lane::People, Lane::Polling, Lane::Drift];

impl Lane {
    /// Share of the window, in percent, that a waiting lane gets whatever the others want (reliability.md R8).
    fn floor_percent(self) -> u32 {
        match self {
            Lane::Safety => 15,
            Lane::People => 45,
            Lane::Polling => 25,
            Lane::Drift => 15,
        }
    }

    /// How full the window may be, in percent, for a call of this lane to start: the rest is kept for the lanes above, so
    /// that a safety read need not wait for a whole window behind a burst.
    fn ceiling_percent(self) -> u32 {
        match self {
            Lane::Safety => 100,
            Lane::People => 95,
            Lane::Polling => 90,
            Lane::Drift => 85,
        }
    }

    fn index(self) -> usize {
        self as usize
    }
}

tokio::task_local! {
    static LANE: Lane;
}

/// Runs a future whose calls use this lane. Tasks spawned inside do not inherit it.
pub async fn in_lane<F: Future>(lane: Lane, future: F) -> F::Output {
    LANE.scope(lane, future).await
}

/// The lane in force; [`Lane::People`] where none was set.
pub fn current_lane() -> Lane {
    LANE.try_with(|lane| *lane).unwrap_or(Lane::People)
}

/// What an account's budget looks like at an instant: for status, and for the state, so that a restart does not forget.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetState {
    /// Calls that a window may hold: the configured number, or fewer when the provider said so.
    pub limit: u32,
    /// The window.
    pub window: Duration,
    /// Calls that could start now.
    pub remaining: u32,
    /// Time until every slot is free again.
    pub resets_in: Duration,
    /// Time until anybody may call again; zero when open.
    pub closed_for: Duration,
    /// Calls since the start of this process.
    pub calls: u64,
}

/// The account is closed for everybody for this long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed {
    /// Time that is left.
    pub after: Duration,
}

/// Calls of one account: `limit` per `window`, closed for everyone after a 429.
pub struct Budget {
    inner: Arc<Mutex<Inner>>,
}

struct Slot {
    at: Instant,
    lane: Option<Lane>,
}

struct Waiter {
    since: Instant,
    answer: oneshot::Sender<Result<Permit, Closed>>,
}

struct Inner {
    limit: u32,
    window: Duration,
    used: VecDeque<Slot>,
    /// How many of `used` each lane has.
    used_by: [u32; LANES.len()],
    in_flight: [u32; LANES.len()],
    waiting: [VecDeque<Waiter>; LANES.len()],
    closed_until: Option<Instant>,
    calls: [u64; LANES.len()],
    /// Calls of each lane, weighed with the inverse of its share.
    served: [u64; LANES.len()],
    /// What the lane that was served last had before: where a lane that was quiet joins in.
    progress: u64,
}

/// One call that may be made now. Its slot is held until one window after it was dropped (or surely arrived).
pub struct Permit {
    inner: Arc<Mutex<Inner>>,
    lane: Lane,
    started: Instant,
    delivered: bool,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut inner = self.inner.lock();
        let slot = &mut inner.in_flight[self.lane.index()];
        *slot = slot.saturating_sub(1);
        if self.delivered {
            let at = Instant::now().min(self.started + ARRIVAL_MAX);
            let place = inner.used.partition_point(|s| s.at <= at);
            inner.used.insert(place, Slot { at, lane: Some(self.lane) });
            inner.used_by[self.lane.index()] += 1;
        }
        let refused = inner.dispatch(&self.inner);
        drop(inner);
        drop(refused);
    }
}

impl Budget {
    /// A full budget of `limit` calls (at least one) per `window` (at least a second).
    pub fn new(limit: u32, window: Duration) -> Self {
        Budget {
            inner: Arc::new(Mutex::new(Inner {
                limit: limit.max(1),
                window: window.max(Duration::from_secs(1)),
                used: VecDeque::new(),
                used_by: [0; LANES.len()],
                in_flight: [0; LANES.len()],
                waiting: Default::default(),
                closed_until: None,
                calls: [0; LANES.len()],
                served: [0; LANES.len()],
                progress: 0,
            })),
        }
    }

    /// Waits for a slot in the lane in force ([`in_lane`]). An account that is closed fails at once, also for those who
    /// wait already: nobody sleeps through a block, the caller comes back when it is over.
    pub async fn acquire(&self) -> Result<Permit, Closed> {
        let lane = current_lane();
        let (sender, mut receiver) = oneshot::channel();
        self.with_dispatch(|inner| {
            if inner.waiting[lane.index()].is_empty() {
                // What a lane did not use while nobody waited in it is not owed to it.
                inner.served[lane.index()] = inner.served[lane.index()].max(inner.progress);
            }
            inner.waiting[lane.index()].push_back(Waiter { since: Instant::now(), answer: sender });
        });
        loop {
            let next = self.inner.lock().next_change();
            tokio::select! {
                biased;
                answer = &mut receiver => {
                    // The sender lives in the queue until it answers, so a lost one can only mean a budget that is gone.
                    let mut permit = answer.unwrap_or(Err(Closed { after: CLOSED_MIN }))?;
                    permit.delivered = true;
                    self.inner.lock().calls[lane.index()] += 1;
                    return Ok(permit);
                }
                () = tokio::time::sleep_until(next) => self.with_dispatch(|_| ()),
            }
        }
    }

    /// Closes the account for everyone, for between [`CLOSED_MIN`] and [`CLOSED_MAX`]. Never shortens a block.
    pub fn close_for(&self, duration: Duration) {
        let until = Instant::now() + duration.clamp(CLOSED_MIN, CLOSED_MAX);
        self.with_dispatch(|inner| inner.closed_until = Some(inner.closed_until.map_or(until, |old| old.max(until))));
    }

    /// Learns a limit that the provider states; only ever downwards, so that the configured number stays the most.
    /// A policy with another window counts when it allows fewer calls per second than ours.
    pub fn learn_limit(&self, limit: u32, window: Option<Duration>) {
        self.with_dispatch(|inner| {
            let limit = limit.max(1);
            match window.filter(|w| *w >= Duration::from_secs(1) && *w != inner.window) {
                None => inner.limit = inner.limit.min(limit),
                Some(window) => {
                    if f64::from(limit) / window.as_secs_f64() < f64::from(inner.limit) / inner.window.as_secs_f64() {
                        inner.limit = limit;
                        inner.window = window;
                    }
                }
            }
        });
    }

    /// Learns how many calls the provider says are left, and for how long that holds (the window when it is not said):
    /// other tools on the same account eat the same budget.
    pub fn learn_remaining(&self, remaining: u32, resets_in: Option<Duration>) {
        self.with_dispatch(|inner| {
            let now = Instant::now();
            inner.expire(now);
            let theirs = inner.limit.saturating_sub(remaining);
            let unseen = theirs.saturating_sub(inner.taken());
            let left = resets_in.unwrap_or(inner.window).min(inner.window);
            let at = now.checked_sub(inner.window.saturating_sub(left)).unwrap_or(now);
            let place = inner.used.partition_point(|s| s.at <= at);
            for _ in 0..unseen {
                inner.used.insert(place, Slot { at, lane: None });
            }
        });
    }

    /// How the budget stands.
    pub fn snapshot(&self) -> BudgetState {
        let mut inner = self.inner.lock();
        let now = Instant::now();
        inner.expire(now);
        let newest = inner.used.back().map_or(Duration::ZERO, |s| (s.at + inner.window).saturating_duration_since(now));
        let busy = inner.in_flight.iter().any(|n| *n > 0);
        BudgetState {
            limit: inner.limit,
            window: inner.window,
            remaining: inner.limit.saturating_sub(inner.taken()),
            resets_in: if busy { inner.window } else { newest },
            closed_for: inner.closed_until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now)),
            calls: inner.calls.iter().sum(),
        }
    }

    /// Calls of one lane since the start of this process.
    pub fn calls_in(&self, lane: Lane) -> u64 {
        self.inner.lock().calls[lane.index()]
    }

    /// Takes a snapshot of an earlier process over; `age` is the time since it was taken. What was used then counts until
    /// its reset, a block goes on; a learned limit is not kept, because the account may have another plan now.
    pub fn restore(&self, snapshot: &BudgetState, age: Duration) {
        let resets_in = snapshot.resets_in.saturating_sub(age);
        let closed_for = snapshot.closed_for.saturating_sub(age).min(CLOSED_MAX);
        if !resets_in.is_zero() {
            let used = snapshot.limit.saturating_sub(snapshot.remaining);
            let limit = self.inner.lock().limit;
            self.learn_remaining(limit.saturating_sub(used), Some(resets_in));
        }
        if !closed_for.is_zero() {
            self.close_for(closed_for);
        }
    }

    fn with_dispatch(&self, change: impl FnOnce(&mut Inner)) {
        let mut inner = self.inner.lock();
        change(&mut inner);
        let refused = inner.dispatch(&self.inner);
        drop(inner);
        // Permits that nobody took give their slots back when they are dropped, which takes the lock again.
        drop(refused);
    }
}

impl Inner {
    fn expire(&mut self, now: Instant) {
        while let Some(slot) = self.used.front().filter(|s| s.at + self.window <= now) {
            if let Some(lane) = slot.lane {
                self.used_by[lane.index()] = self.used_by[lane.index()].saturating_sub(1);
            }
            self.used.pop_front();
        }
    }

    /// Slots that are not free.
    fn taken(&self) -> u32 {
        let used = u32::try_from(self.used.len()).unwrap_or(u32::MAX);
        used.saturating_add(self.in_flight.iter().sum())
    }

    fn taken_by(&self, lane: Lane) -> u32 {
        self.used_by[lane.index()].saturating_add(self.in_flight[lane.index()])
    }

    fn share(&self, percent: u32) -> u32 {
        (u64::from(self.limit) * u64::from(percent)).div_ceil(100).try_into().unwrap_or(self.limit)
    }

    /// The lane whose first waiter goes next. Among the lanes that may start a call it is the one that had the least of
    /// its share so far, so that under pressure each gets its floor and a lane that was quiet is served at once.
    fn next_lane(&self, now: Instant) -> Option<Lane> {
        let taken = self.taken();
        if taken >= self.limit {
            return None;
        }
        let may_start = |lane: &Lane| {
            let Some(first) = self.waiting[lane.index()].front() else { return false };
            let is_aged = now.duration_since(first.since) >= self.window / AGED_DIVISOR;
            let is_short = self.taken_by(*lane) < self.share(lane.floor_percent());
            let percent = if is_short { Lane::People.ceiling_percent() } else { 0 };
            is_aged || taken < self.share(lane.ceiling_percent().max(percent))
        };
        LANES.into_iter().filter(may_start).min_by_key(|lane| (self.served[lane.index()], *lane))
    }

    /// Gives free slots to those who wait. What comes back was not taken and must be dropped without the lock.
    fn dispatch(&mut self, shared: &Arc<Mutex<Inner>>) -> Vec<Result<Permit, Closed>> {
        let now = Instant::now();
        self.expire(now);
        let mut refused = Vec::new();
        if let Some(until) = self.closed_until {
            if until > now {
                let closed = Closed { after: until - now };
                let waiting = self.waiting.iter_mut().flat_map(|queue| queue.drain(..));
                refused.extend(waiting.filter_map(|w| w.answer.send(Err(closed)).err()));
                return refused;
            }
            self.closed_until = None;
        }
        loop {
            for queue in &mut self.waiting {
                while queue.front().is_some_and(|w| w.answer.is_closed()) {
                    queue.pop_front();
                }
            }
            let Some(lane) = self.next_lane(now) else { break };
            let Some(waiter) = self.waiting[lane.index()].pop_front() else { break };
            self.in_flight[lane.index()] += 1;
            self.progress = self.served[lane.index()];
            self.served[lane.index()] += SHARE_UNIT / u64::from(lane.floor_percent());
            let permit = Permit { inner: shared.clone(), lane, started: now, delivered: false };
            refused.extend(waiter.answer.send(Ok(permit)).err());
        }
        refused
    }

    /// When a waiter should look again: a slot comes free, or somebody has waited long enough to go first.
    fn next_change(&self) -> Instant {
        let now = Instant::now();
        let free = self.used.front().map(|s| s.at + self.window);
        let aged = self.waiting.iter().filter_map(|q| q.front()).map(|w| w.since + self.window / AGED_DIVISOR);
        aged.chain(free).filter(|at| *at > now).min().unwrap_or(now + self.window)
    }
}
