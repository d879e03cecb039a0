//! One reader of the state's events for all who listen.
//!
//! Commands of other processes write events too, so the table itself is read, every [`POLL`] and only while somebody
//! listens. Guarantee: whoever took a seat and then read the table to its end misses nothing and sees nothing twice that
//! it tells apart by number: what the table did not show yet comes through the hub.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, broadcast, watch};
use tokio::time::sleep;

use crate::api::clients::EventView;
use crate::store::Store;

/// Between two looks at the table.
const POLL: Duration = Duration::from_millis(250);
/// After a look that failed.
const RETRY: Duration = Duration::from_secs(5);
/// Events read at once. Fewer than a reader's queue holds, so that one page never drops a reader that keeps up.
const PAGE: usize = 250;
/// A full page is followed by the next one after this pause: readers write to their sockets meanwhile.
const PAGE_PAUSE: Duration = Duration::from_millis(5);
/// Events that wait for a reader at most; one that is further behind is dropped.
const QUEUE_EVENTS: usize = 1_024;

/// The reader, and those who listen.
pub struct Hub {
    store: Arc<dyn Store>,
    live: broadcast::Sender<Arc<EventView>>,
    /// Whether the table is being read. Locked while somebody sits down, so that nobody sits down at a reader that leaves.
    reading: Mutex<bool>,
    closed: watch::Sender<bool>,
}

/// A place among those who listen.
pub struct Seat {
    /// Events behind the moment of sitting down, in order of their numbers; told when it is too far behind.
    pub live: broadcast::Receiver<Arc<EventView>>,
}

impl Hub {
    /// Nobody listens yet.
    pub fn new(store: Arc<dyn Store>) -> Arc<Hub> {
        let (live, _) = broadcast::channel(QUEUE_EVENTS);
        Arc::new(Hub { store, live, reading: Mutex::new(false), closed: watch::Sender::new(false) })
    }

    /// Sits down. Every event that is not in the table when this returns comes through the seat.
    ///
    /// # Errors
    /// The table cannot be read.
    pub async fn sit_down(self: &Arc<Self>) -> crate::store::Stored<Seat> {
        let mut reading = self.reading.lock().await;
        let live = self.live.subscribe();
        if !*reading {
            let newest = self.store.kept_events().await?.map_or(0, |(_, newest)| newest);
            *reading = true;
            tokio::spawn(self.clone().read(newest));
        }
        Ok(Seat { live })
    }

    /// Ends all streams; for a stop.
    pub fn close(&self) {
        self.closed.send_replace(true);
    }

    /// Turns true when all streams shall end.
    pub fn closed(&self) -> watch::Receiver<bool> {
        self.closed.subscribe()
    }

    /// Reads behind a number, until nobody listens any more.
    async fn read(self: Arc<Self>, mut newest: i64) {
        let mut closed = self.closed();
        loop {
            {
                let mut reading = self.reading.lock().await;
                if self.live.receiver_count() == 0 || *closed.borrow() {
                    *reading = false;
                    return;
                }
            }
            let pause = match self.store.events(None, newest, PAGE).await {
                Ok(page) => {
                    let pause = if page.len() < PAGE { POLL } else { PAGE_PAUSE };
                    for event in page {
                        newest = event.id;
                        let _ = self.live.send(Arc::new(event.into())); // nobody may be left, which the next turn sees
                    }
                    pause
                }
                Err(error) => {
                    tracing::error!(%error, "events cannot be read");
                    RETRY
                }
            };
            tokio::select! { () = sleep(pause) => {}, _ = closed.wait_for(|closed| *closed) => {} }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory::MemoryStore;

    #[tokio::test(start_paused = true)]
    async fn the_table_is_read_only_while_somebody_listens() {
        let hub = Hub::new(Arc::new(MemoryStore::default()));
        let (first, second) = (hub.sit_down().await, hub.sit_down().await);
        assert!(*hub.reading.lock().await);
        drop(first);
        sleep(POLL * 2).await;
        assert!(*hub.reading.lock().await, "one is left");
        drop(second);
        sleep(POLL * 2).await;
        assert!(!*hub.reading.lock().await);
        let again = hub.sit_down().await;
        assert!(*hub.reading.lock().await);
        hub.close();
        sleep(POLL * 2).await;
        assert!(!*hub.reading.lock().await, "a stop ends it");
        drop(again);
    }
}
