//! Many lives: each on one thread in its own time, as many threads as there are cores.

use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

/// Runs a future in virtual time, on this thread.
pub fn in_virtual_time<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(future)
}

/// Judges every item; gives what failed, by index.
pub fn side_by_side<T: Sync>(items: &[T], judge: impl Fn(&T) -> Option<String> + Sync) -> Vec<(usize, String)> {
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(index) else { break };
                    if let Some(failure) = judge(item) {
                        failures.lock().push((index, failure));
                    }
                }
            });
        }
    });
    let mut failures = failures.into_inner();
    failures.sort();
    failures
}
