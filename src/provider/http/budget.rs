//! The call budget of one account: a sliding window that is never exceeded, shared by lanes so that nobody starves.
//!
//! A call takes a slot when it may leave and gives it back one window after it reached the provider. So in *any* window at
//! most `limit` calls arrive, whichever way the provider cuts its own windows (reliability.md R8, contracts/ploi.md 2,
//! contracts/cloudflare.md 1.10).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use crate::provider::http::lane::{LANES, Lane, LaneInForce};

/// Longest time for which an account is closed: a longer `Retry-After` is taken for nonsense (reliability.md B6).
pub const CLOSED_MAX: Duration = Duration::from_secs(3600);
/// Shortest time for which an account is closed after a 429 (reliability.md B6).
pub const CLOSED_MIN: Duration = Duration::from_secs(1);
/// How long after its start a call may still be on its way to the provider; its slot's window counts from there at the latest.
const ARRIVAL_MAX: Duration = Duration::from_secs(2);
/// A call that has waited this part of the window may take what is kept for the lanes above: nothing starves, little is wasted.
const AGED_DIVISOR: u32 = 4;
const NANOS_A_MILLI: u128 = 1_000_000;
/// One call of a lane weighs this, divided by the lane's share in percent.
const SHARE_UNIT: u64 = 1_000_000;

/// Share of the window, in percent, that a waiting lane gets whatever the others want (reliability.md R8).
fn floor_percent(lane: Lane) -> u32 {
    match lane {
        Lane::Safety => 15,
        Lane::People => 45,
        Lane::Polling => 25,
        Lane::Drift => 15,
    }
}

/// How full the window may be, in percent, for a call of this lane to start: the rest is kept for the lanes above, so
/// that a safety read need not wait for a whole window behind a burst.
fn ceiling_percent(lane: Lane) -> u32 {
    match lane {
        Lane::Safety => 100,
        Lane::People => 95,
        Lane::Polling => 90,
        Lane::Drift => 85,
    }
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
    /// Calls whose slots are taken: in how many milliseconds they come free, and how many.
    pub used: Vec<(u64, u32)>,
    /// Calls that may have left since this was noted, without being among those.
    pub reserved: u32,
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
    /// Calls that may still leave before somebody notes them; `None`: nobody notes any.
    reserved: Option<u32>,
    /// Wakes who notes them.
    news: Arc<Notify>,
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

impl Permit {
    /// The call is not made: its slot is free at once.
    pub fn give_back(mut self) {
        self.delivered = false;
    }
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
                reserved: None,
                news: Arc::default(),
                served: [0; LANES.len()],
                progress: 0,
            })),
        }
    }

    /// Waits for a slot in the lane in force ([`crate::provider::http::lane::in_lane`]); goes over to a more urgent one as
    /// soon as that is in force. An account that is closed fails at once, also for those who wait already: nobody sleeps
    /// through a block, the caller comes back when it is over.
    pub async fn acquire(&self) -> Result<Permit, Closed> {
        let mut wanted = LaneInForce::here();
        let since = Instant::now();
        loop {
            let lane = wanted.now();
            let mut receiver = self.queue(lane, since);
            loop {
                let next = self.inner.lock().next_change();
                tokio::select! {
                    biased;
                    answer = &mut receiver => {
                        // The sender lives in the queue until it answers, so a lost one can only mean a budget that is gone.
                        let mut permit = answer.unwrap_or(Err(Closed { after: CLOSED_MIN }))?;
                        permit.delivered = true;
                        return Ok(permit);
                    }
                    () = wanted.above(lane) => break,
                    () = tokio::time::sleep_until(next) => self.with_dispatch(|_| ()),
                }
            }
        }
    }

    fn queue(&self, lane: Lane, since: Instant) -> oneshot::Receiver<Result<Permit, Closed>> {
        let (answer, receiver) = oneshot::channel();
        self.with_dispatch(|inner| {
            if inner.waiting[lane.index()].is_empty() {
                // What a lane did not use while nobody waited in it is not owed to it.
                inner.served[lane.index()] = inner.served[lane.index()].max(inner.progress);
            }
            inner.waiting[lane.index()].push_back(Waiter { since, answer });
        });
        receiver
    }

    /// Closes the account for everyone, for between [`CLOSED_MIN`] and [`CLOSED_MAX`]. Never shortens a block.
    pub fn close_for(&self, duration: Duration) {
        let until = Instant::now() + duration.clamp(CLOSED_MIN, CLOSED_MAX);
        self.with_dispatch(|inner| {
            inner.closed_until = Some(inner.closed_until.map_or(until, |old| old.max(until)));
            inner.news.notify_one();
        });
    }

    /// Learns a limit that the provider states; only ever downwards, so that the configured number stays the most.
    /// A policy with another window counts when it allows fewer calls per second than ours: a shorter window is taken
    /// over, of a longer one its part that falls on ours, or one burst could hold it all.
    pub fn learn_limit(&self, limit: u32, window: Option<Duration>) {
        self.with_dispatch(|inner| {
            let limit = limit.max(1);
            match window.filter(|w| *w >= Duration::from_secs(1) && *w != inner.window) {
                None => inner.limit = inner.limit.min(limit),
                Some(window) => {
                    let part = f64::from(limit) * inner.window.as_secs_f64() / window.as_secs_f64();
                    if part >= f64::from(inner.limit) {
                        return;
                    }
                    if window < inner.window {
                        (inner.limit, inner.window) = (limit, window);
                    } else {
                        inner.limit = (part as u32).max(1);
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
            inner.take(unseen, resets_in.unwrap_or(inner.window), now);
            if unseen > 0 {
                inner.news.notify_one();
            }
        });
    }

    /// How the budget stands.
    pub fn snapshot(&self) -> BudgetState {
        let mut inner = self.inner.lock();
        let now = Instant::now();
        inner.expire(now);
        let used = inner.used_until(now);
        BudgetState {
            limit: inner.limit,
            window: inner.window,
            remaining: inner.limit.saturating_sub(inner.taken()),
            resets_in: used.last().map_or(Duration::ZERO, |(ahead, _)| Duration::from_millis(*ahead)),
            closed_for: inner.closed_until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now)),
            used,
            reserved: inner.reserved.unwrap_or(0),
        }
    }

    /// From now on only so many calls leave until this is said again: whoever notes calls counts them beforehand, so that
    /// a killed process leaves none uncounted. `None`: calls leave unnoted.
    pub fn reserve(&self, calls: Option<u32>) {
        self.with_dispatch(|inner| inner.reserved = calls);
    }

    /// Resolves when a call waits for a reservation alone, others turned out to use the account, or it was closed.
    pub async fn news(&self) {
        let news = self.inner.lock().news.clone();
        news.notified().await;
    }

    /// Whether a call waits.
    pub fn is_waited_for(&self) -> bool {
        self.inner.lock().waiting.iter().flatten().any(|waiter| !waiter.answer.is_closed())
    }

    /// Takes a snapshot of an earlier process over, before anything was called; `age` is the time since it was taken. What
    /// was used then counts until it comes free, what was reserved for a window from now, a block goes on; a learned limit
    /// is not kept, because the account may have another plan now.
    pub fn restore(&self, snapshot: &BudgetState, age: Duration) {
        self.with_dispatch(|inner| {
            let now = Instant::now();
            inner.expire(now);
            if inner.taken() > 0 {
                return;
            }
            for (ahead, calls) in &snapshot.used {
                inner.take(*calls, Duration::from_millis(*ahead).saturating_sub(age), now);
            }
            inner.take(snapshot.reserved, inner.window, now);
        });
        let closed_for = snapshot.closed_for.saturating_sub(age).min(CLOSED_MAX);
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

    /// Takes slots that come free after `left`.
    fn take(&mut self, calls: u32, left: Duration, now: Instant) {
        if left.is_zero() {
            return;
        }
        let at = now.checked_sub(self.window.saturating_sub(left)).unwrap_or(now);
        let place = self.used.partition_point(|s| s.at <= at);
        for _ in 0..calls {
            self.used.insert(place, Slot { at, lane: None });
        }
    }

    /// What is taken, by the milliseconds until it comes free. A call under way may arrive only now.
    fn used_until(&self, now: Instant) -> Vec<(u64, u32)> {
        let ahead = |at: Instant| {
            let wait = (at + self.window).saturating_duration_since(now).as_nanos();
            u64::try_from(wait.div_ceil(NANOS_A_MILLI)).unwrap_or(u64::MAX)
        };
        let under_way = self.in_flight.iter().flat_map(|calls| (0..*calls).map(|_| now));
        let mut used: Vec<(u64, u32)> = Vec::new();
        for at in self.used.iter().map(|slot| ahead(slot.at)).chain(under_way.map(ahead)) {
            match used.last_mut() {
                Some((last, calls)) if *last == at => *calls += 1,
                _ => used.push((at, 1)),
            }
        }
        used
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
            let is_short = self.taken_by(*lane) < self.share(floor_percent(*lane));
            let percent = if is_short { ceiling_percent(Lane::People) } else { 0 };
            is_aged || taken < self.share(ceiling_percent(*lane).max(percent))
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
            if self.reserved == Some(0) {
                self.news.notify_one();
                break;
            }
            let Some(waiter) = self.waiting[lane.index()].pop_front() else { break };
            self.in_flight[lane.index()] += 1;
            self.reserved = self.reserved.map(|calls| calls - 1);
            self.progress = self.served[lane.index()];
            self.served[lane.index()] += SHARE_UNIT / u64::from(floor_percent(lane));
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
