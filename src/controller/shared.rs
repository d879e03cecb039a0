//! A reading that many clients share: one look under way at a time, served to everybody for whom it is fresh enough.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;

use crate::controller::clock::Clock;
use crate::plan::draft::{growing, later};
use crate::provider::Answer;
use crate::provider::error::{ErrorClass, ProviderError};
use crate::provider::http::lane::SharedLane;
use crate::resource::reading::Reading;

/// What is kept of the last look.
struct Look<V> {
    at: Timestamp,
    reading: Reading<V>,
    /// Looks that failed in a row.
    failures: u32,
    /// A failed look is not repeated before this.
    closed_until: Timestamp,
}

struct Slot<V> {
    last: tokio::sync::Mutex<Option<Look<V>>>,
    /// A look is as urgent as the most urgent of those who wait for it, whoever began it.
    lane: SharedLane,
}

impl<V> Default for Slot<V> {
    fn default() -> Self {
        Slot { last: tokio::sync::Mutex::default(), lane: SharedLane::default() }
    }
}

/// Readings by key.
pub struct Shared<K, V> {
    slots: Mutex<BTreeMap<K, Arc<Slot<V>>>>,
    pause_first: Duration,
    pause_longest: Duration,
}

impl<K, V> Default for Shared<K, V> {
    fn default() -> Self {
        Self::with_pauses(Duration::ZERO, Duration::ZERO)
    }
}

impl<K, V> Shared<K, V> {
    /// After a failed look nobody looks for `first`, doubled for each further failure up to `longest`.
    pub fn with_pauses(first: Duration, longest: Duration) -> Self {
        Shared { slots: Mutex::new(BTreeMap::new()), pause_first: first, pause_longest: longest }
    }
}

impl<K: Ord + Clone, V: Clone> Shared<K, V> {
    /// The reading that was begun at `fresh` or later; looks when there is none. A failed look is shared as well, and for a
    /// while longer, so that neither a hundred clients nor the hundred passes of one ask a provider that is down.
    pub async fn get<F, Fut>(&self, key: &K, fresh: Timestamp, clock: &Clock, look: F) -> Reading<V>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Answer<V>>,
    {
        let slot = self.slots.lock().entry(key.clone()).or_default().clone();
        let _place = slot.lane.wait();
        let mut last_look = slot.last.lock().await;
        // The time before the look: what changes during it may be missing.
        let at = clock.now();
        // How old a look may be is said of good ones: a failed one holds for its pause and no longer.
        let holds = |last: &&Look<V>| match last.failures {
            0 => last.at >= fresh,
            _ => last.closed_until > at || (last.at >= fresh && self.pause_longest.is_zero()),
        };
        if let Some(last) = last_look.as_ref().filter(holds) {
            return last.reading.clone();
        }
        let failures = last_look.as_ref().map_or(0, |last| last.failures);
        *last_look = Some(match slot.lane.run(look()).await {
            Ok(value) => Look { at, reading: Reading::Known(value), failures: 0, closed_until: at },
            Err(error) => {
                let pause = self.pause(&error, failures + 1);
                let closed_until = later(clock.now(), pause);
                Look { at, reading: doubt(&error, closed_until), failures: failures + 1, closed_until }
            }
        });
        last_look.as_ref().map_or_else(|| Reading::unknown("not looked at"), |last| last.reading.clone())
    }

    fn pause(&self, error: &ProviderError, failures: u32) -> Duration {
        match error.class {
            ErrorClass::Throttled { after } if !self.pause_longest.is_zero() => after,
            _ => growing(self.pause_first, failures, self.pause_longest),
        }
    }
}

/// A failed look as a reading: with its next time, and named where only a person can end it.
pub fn doubt<T>(error: &ProviderError, again_at: Timestamp) -> Reading<T> {
    let text = format!("{error}; asked again at {again_at:.0}");
    if error.is_permanent() { Reading::refused(error.reason(), text) } else { Reading::unknown(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_secs(5);

    /// Zones and servers are good for an hour: one bad minute of their provider must not be.
    #[tokio::test(start_paused = true)]
    async fn a_failed_look_is_repeated_after_its_pause_however_old_a_good_one_may_be() {
        let (clock, shared) = (Clock::system(), Shared::with_pauses(PAUSE, PAUSE));
        let long_ago = clock.now();
        let failure = || ProviderError::new("sim", "GET zones", ErrorClass::Unavailable("answer 503".into()));
        let failed = shared.get(&1, long_ago, &clock, || async { Err(failure()) }).await;
        assert!(failed.known().is_none());
        let shared_failure = shared.get(&1, long_ago, &clock, || async { Ok("asked too soon") }).await;
        assert!(shared_failure.known().is_none());
        tokio::time::advance(PAUSE).await;
        let again = shared.get(&1, long_ago, &clock, || async { Ok("there") }).await;
        assert_eq!(again.known(), Some(&"there"));
        let kept = shared.get(&1, long_ago, &clock, || async { Ok("asked again") }).await;
        assert_eq!(kept.known(), Some(&"there"));
    }
}
