//! When a scan of the specs directory is worth making: file events, which only say "look soon".

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use notify::Watcher as _;
use tokio::sync::Notify;

/// File events of the directory, folded into one notice: "something may have changed".
pub struct Events {
    path: PathBuf,
    changed: Arc<Notify>,
    watcher: Option<notify::RecommendedWatcher>,
    armed: Option<Root>,
}

/// A directory that is watched: its path, device and inode. Another one may come to stand under the same path.
#[derive(PartialEq, Eq)]
struct Root(PathBuf, u64, u64);

impl Root {
    fn of(path: &Path) -> Option<Root> {
        let path = std::fs::canonicalize(path).ok()?;
        let metadata = std::fs::metadata(&path).ok()?;
        Some(Root(path, metadata.dev(), metadata.ino()))
    }
}

/// Whether an event may be about another content. Reads make events as well: reacting to our own scan would never end. An
/// error, and the notice that events were lost, say that nobody knows.
fn is_worth_a_look(event: &notify::Result<notify::Event>) -> bool {
    !matches!(event, Ok(event) if event.kind.is_access())
}

impl Events {
    /// Begins to watch; without events (NFS, exhausted watches) the timer alone serves.
    pub fn watch(path: &Path) -> Self {
        let changed = Arc::new(Notify::new());
        let notice = changed.clone();
        let handler = move |event: notify::Result<notify::Event>| {
            if is_worth_a_look(&event) {
                notice.notify_one();
            }
        };
        let watcher = notify::recommended_watcher(handler)
            .inspect_err(|error| tracing::warn!(%error, "file events are not available; the directory is read by the timer alone"))
            .ok();
        let mut events = Events { path: path.to_path_buf(), changed, watcher, armed: None };
        events.arm();
        events
    }

    /// Notices that somebody else gives.
    pub fn noticed(changed: Arc<Notify>) -> Self {
        Events { path: PathBuf::new(), changed, watcher: None, armed: None }
    }

    /// Watches what the path leads to now, and the folder that holds it, where a link is swapped.
    pub fn arm(&mut self) {
        let Some(watcher) = self.watcher.as_mut() else { return };
        let root = Root::of(&self.path);
        if root == self.armed && root.is_some() {
            return;
        }
        if let Some(Root(old, ..)) = self.armed.take() {
            let _ = watcher.unwatch(&old); // it may be gone already
        }
        let absolute = std::path::absolute(&self.path).unwrap_or_else(|_| self.path.clone());
        if let Some(parent) = absolute.parent() {
            let _ = watcher.unwatch(parent); // another folder may stand there by now
            let _ = watcher.watch(parent, notify::RecursiveMode::NonRecursive); // a hint: the timer serves without it
        }
        if let Some(root) = root {
            match watcher.watch(&root.0, notify::RecursiveMode::Recursive) {
                Ok(()) => self.armed = Some(root),
                Err(error) => {
                    tracing::warn!(%error, "the specs directory gives no events; it is read by the timer alone")
                }
            }
        }
    }

    /// Resolves when something may have changed.
    pub fn changed(&self) -> Arc<Notify> {
        self.changed.clone()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use std::time::Duration;

    use futures::FutureExt as _;
    use notify::event::{AccessKind, AccessMode, EventKind, Flag};

    use super::*;
    use crate::controller::watcher::{FileReading, Scan};

    /// The longest that anybody waits for an event.
    const PATIENCE: Duration = Duration::from_secs(30);
    /// Events that are on their way have come by then.
    const REST: Duration = Duration::from_millis(300);

    fn directory() -> (tempfile::TempDir, PathBuf) {
        let around = tempfile::tempdir().unwrap();
        let specs = around.path().canonicalize().unwrap().join("specs");
        std::fs::create_dir(&specs).unwrap();
        (around, specs)
    }

    /// Waits until nothing more is on its way; gives whether something was.
    async fn rest(events: &Events) -> bool {
        tokio::time::sleep(REST).await;
        events.changed().notified().now_or_never().is_some()
    }

    async fn comes(events: &Events) {
        tokio::time::timeout(PATIENCE, events.changed().notified()).await.expect("an event");
    }

    /// C22. What the kernel says when its queue of events has overflowed, and what it says when it cannot tell.
    #[test]
    fn events_that_were_lost_are_worth_a_look() {
        let overflow = notify::Event::new(EventKind::Other).set_flag(Flag::Rescan);
        assert!(overflow.need_rescan() && is_worth_a_look(&Ok(overflow)));
        assert!(is_worth_a_look(&Err(notify::Error::generic("the queue broke"))));
        let read = EventKind::Access(AccessKind::Close(AccessMode::Read));
        assert!(!is_worth_a_look(&Ok(notify::Event::new(read))));
    }

    /// C24. Another directory under the same path, which an event told, and one that none told because its parent went too.
    #[tokio::test]
    async fn a_directory_that_was_replaced_is_watched_in_its_place() {
        let (around, specs) = directory();
        let inner = specs.join("inner");
        std::fs::create_dir(&inner).unwrap();
        let mut events = Events::watch(&inner);
        for (number, moved) in [&inner, &specs].into_iter().enumerate() {
            std::fs::rename(moved, around.path().join(format!("away{number}"))).unwrap();
            std::fs::create_dir_all(&inner).unwrap();
            rest(&events).await;
            events.arm();
            std::fs::write(inner.join("a.yaml"), "kind: ClientSpec").unwrap();
            comes(&events).await;
        }
    }

    /// C25.
    #[tokio::test]
    async fn our_own_reads_are_no_reason_to_read_again() {
        let (_around, specs) = directory();
        std::fs::write(specs.join("a.yaml"), "kind: ClientSpec").unwrap();
        let events = Events::watch(&specs);
        for _ in 0..100 {
            assert_eq!(Scan::take(&specs, None).unwrap().files.len(), 1);
        }
        assert!(!rest(&events).await, "a read made an event");
        std::fs::write(specs.join("a.yaml"), "kind: Other").unwrap();
        comes(&events).await;
    }

    /// C23. What is written by another name of the file tells the directory nothing, as on a disk without events.
    #[tokio::test]
    async fn a_file_that_is_written_by_another_name_makes_no_event() {
        let (around, specs) = directory();
        let elsewhere = around.path().join("elsewhere");
        std::fs::create_dir(&elsewhere).unwrap();
        std::fs::write(elsewhere.join("a.yaml"), "kind: ClientSpec").unwrap();
        std::fs::hard_link(elsewhere.join("a.yaml"), specs.join("a.yaml")).unwrap();
        let events = Events::watch(&specs);
        std::fs::write(elsewhere.join("a.yaml"), "kind: Other").unwrap();
        assert!(!rest(&events).await, "an event came");
        assert!(matches!(&Scan::take(&specs, None).unwrap().files["a.yaml"],
            FileReading::Read { bytes, .. } if **bytes == *b"kind: Other"));
    }
}
