//! Lanes: how urgent a call is. Set around work by whoever knows why it is done, read where its calls leave.

use std::future::Future;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

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
    pub(super) fn index(self) -> usize {
        self as usize
    }
}

tokio::task_local! {
    static LANE: LaneInForce;
}

/// Runs a future whose calls use this lane. Tasks spawned inside do not inherit it.
pub async fn in_lane<F: Future>(lane: Lane, future: F) -> F::Output {
    LANE.scope(LaneInForce::Fixed(lane), future).await
}

/// The lane in force; [`Lane::People`] where none was set.
pub fn current_lane() -> Lane {
    LaneInForce::here().now()
}

/// The lane of work that is under way; that of shared work may become more urgent meanwhile.
#[derive(Clone)]
pub(super) enum LaneInForce {
    Fixed(Lane),
    Shared(watch::Receiver<Waiting>),
}

/// How many wait in each lane.
type Waiting = [usize; LANES.len()];

fn most_urgent(waiting: &Waiting) -> Lane {
    LANES.into_iter().find(|lane| waiting[lane.index()] > 0).unwrap_or(Lane::Drift)
}

impl LaneInForce {
    pub(super) fn here() -> Self {
        LANE.try_with(Clone::clone).unwrap_or(LaneInForce::Fixed(Lane::People))
    }

    pub(super) fn now(&self) -> Lane {
        match self {
            LaneInForce::Fixed(lane) => *lane,
            LaneInForce::Shared(waiting) => most_urgent(&waiting.borrow()),
        }
    }

    /// Resolves once a more urgent lane than this is in force.
    pub(super) async fn above(&mut self, lane: Lane) {
        if let LaneInForce::Shared(waiting) = self
            && waiting.wait_for(|waiting| most_urgent(waiting) < lane).await.is_ok()
        {
            return;
        }
        std::future::pending().await
    }
}

/// Work that one does and several wait for: its calls use the lane of the most urgent of them, whenever he comes.
#[derive(Default)]
pub struct SharedLane(watch::Sender<Waiting>);

/// A place among those who wait, until it is dropped.
pub struct Place<'a> {
    shared: &'a SharedLane,
    lane: Lane,
}

impl SharedLane {
    /// Waits in the lane in force, also if the work is one's own.
    pub fn wait(&self) -> Place<'_> {
        let lane = current_lane();
        self.0.send_modify(|waiting| waiting[lane.index()] += 1);
        Place { shared: self, lane }
    }

    /// Runs the work.
    pub async fn run<F: Future>(&self, work: F) -> F::Output {
        LANE.scope(LaneInForce::Shared(self.0.subscribe()), work).await
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.shared.0.send_modify(|waiting| {
            let places = &mut waiting[self.lane.index()];
            *places = places.saturating_sub(1);
        });
    }
}
