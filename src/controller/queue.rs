//! Client names that are due: each at most once, each with its earliest time, never two passes of one client at once.

use std::collections::{BTreeMap, BTreeSet};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::resource::name::ClientName;

/// Which clients a worker takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Take {
    /// Whoever is due.
    Any,
    /// Whom somebody waits for: so that he is served also while every other worker waits for its account's budget.
    Urgent,
}

/// The queue. It carries names only: why a pass runs is for people.
#[derive(Default)]
pub struct WorkQueue {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    due: BTreeMap<ClientName, Instant>,
    running: BTreeSet<ClientName>,
    again: BTreeMap<ClientName, Instant>,
    urgent: BTreeSet<ClientName>,
}

impl WorkQueue {
    /// Asks for a pass not before `at`. An earlier time that stands stays; during a pass it is remembered once.
    pub fn add(&self, name: ClientName, at: Instant) {
        let mut state = self.state.lock();
        let slot = if state.running.contains(&name) { &mut state.again } else { &mut state.due };
        let earliest = slot.get(&name).map_or(at, |there| (*there).min(at));
        slot.insert(name, earliest);
        drop(state);
        self.changed.notify_waiters();
    }

    /// Somebody waits for the next pass of this client.
    pub fn hurry(&self, name: &ClientName) {
        self.state.lock().urgent.insert(name.clone());
    }

    /// The next client whose time has come; marks it running until [`WorkQueue::done`].
    pub async fn next(&self, take: Take) -> ClientName {
        loop {
            // Registered before the look, so that an add in between is not missed.
            let changed = self.changed.notified();
            let wake = match self.take_due(take) {
                Ok(name) => return name,
                Err(wake) => wake,
            };
            match wake {
                Some(at) => tokio::select! { biased; () = sleep_until(at) => {}, () = changed => {} },
                None => changed.await,
            }
        }
    }

    fn take_due(&self, take: Take) -> Result<ClientName, Option<Instant>> {
        let mut state = self.state.lock();
        let may_take = |name: &ClientName| take == Take::Any || state.urgent.contains(name);
        let first = state.due.iter().filter(|(name, _)| may_take(name)).min_by_key(|(_, at)| **at);
        let Some((name, at)) = first.map(|(name, at)| (name.clone(), *at)) else { return Err(None) };
        if at > Instant::now() {
            return Err(Some(at));
        }
        state.due.remove(&name);
        state.urgent.remove(&name);
        state.running.insert(name.clone());
        Ok(name)
    }

    /// Ends a pass; the client comes back at `next`, or earlier when it was asked for meanwhile.
    pub fn done(&self, name: &ClientName, next: Option<Instant>) {
        let mut state = self.state.lock();
        state.running.remove(name);
        let again = state.again.remove(name);
        if let Some(at) = [again, next].into_iter().flatten().min() {
            let earliest = state.due.get(name).map_or(at, |there| (*there).min(at));
            state.due.insert(name.clone(), earliest);
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// Forgets a client that is gone for good.
    pub fn forget(&self, name: &ClientName) {
        let mut state = self.state.lock();
        state.due.remove(name);
        state.again.remove(name);
        state.urgent.remove(name);
    }

    /// Clients whose time has come, and those that are running.
    pub fn depth(&self) -> (usize, usize) {
        let (state, now) = (self.state.lock(), Instant::now());
        (state.due.values().filter(|at| **at <= now).count(), state.running.len())
    }

    /// The earliest time anything is due; now while a pass runs; `None` when nothing is.
    pub fn next_due(&self) -> Option<Instant> {
        let state = self.state.lock();
        if state.running.is_empty() { state.due.values().min().copied() } else { Some(Instant::now()) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn name(text: &str) -> ClientName {
        ClientName::trusted(text)
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_asked_for_twice_runs_once_at_the_earlier_time() {
        let queue = WorkQueue::default();
        let start = Instant::now();
        queue.add(name("acme"), start + Duration::from_secs(10));
        queue.add(name("acme"), start + Duration::from_secs(3));
        assert_eq!(queue.next(Take::Any).await, name("acme"));
        assert_eq!(start.elapsed().as_secs(), 3);
        queue.done(&name("acme"), None);
        assert_eq!(queue.depth(), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_during_a_pass_is_remembered_once() {
        let queue = WorkQueue::default();
        queue.add(name("acme"), Instant::now());
        let running = queue.next(Take::Any).await;
        queue.add(name("acme"), Instant::now());
        queue.add(name("acme"), Instant::now());
        let second = tokio::time::timeout(Duration::from_secs(60), queue.next(Take::Any)).await;
        assert!(second.is_err(), "two passes of one client at once");
        queue.done(&running, Some(Instant::now() + Duration::from_secs(600)));
        assert_eq!(queue.next(Take::Any).await, name("acme"));
        queue.done(&name("acme"), None);
        assert_eq!(queue.depth(), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_that_is_kept_free_takes_only_whom_somebody_waits_for() {
        let queue = WorkQueue::default();
        queue.add(name("routine"), Instant::now());
        queue.add(name("edited"), Instant::now() + Duration::from_secs(1));
        queue.hurry(&name("edited"));
        assert_eq!(queue.next(Take::Urgent).await, name("edited"));
        queue.done(&name("edited"), Some(Instant::now()));
        let second = tokio::time::timeout(Duration::from_secs(60), queue.next(Take::Urgent)).await;
        assert!(second.is_err(), "it stayed urgent after its pass");
        queue.hurry(&name("edited"));
        queue.add(name("edited"), Instant::now());
        assert_eq!(queue.next(Take::Urgent).await, name("edited"));
    }

    #[tokio::test(start_paused = true)]
    async fn an_earlier_client_overtakes_one_that_sleeps() {
        let queue = std::sync::Arc::new(WorkQueue::default());
        queue.add(name("late"), Instant::now() + Duration::from_secs(100));
        let waiting = tokio::spawn({
            let queue = queue.clone();
            async move { queue.next(Take::Any).await }
        });
        tokio::time::sleep(Duration::from_secs(1)).await;
        queue.add(name("now"), Instant::now());
        assert_eq!(waiting.await.ok(), Some(name("now")));
    }
}
