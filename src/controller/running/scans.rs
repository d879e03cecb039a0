//! Scans: when the directory is looked at, and what follows from a look.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use crate::controller::fleet::DIRECTORY;
use crate::controller::former_life::is_blank;
use crate::controller::running::Controller;
use crate::store::{EventKind, Stored};

impl Controller {
    /// Events say "look soon"; a scan follows when the directory stood still, at the latest after the longest debounce.
    pub(super) async fn watch_directory(self: Arc<Self>) {
        let mut events = self.options.specs.events();
        let changed = events.changed();
        loop {
            tokio::select! {
                biased;
                () = changed.notified() => {}
                () = self.scan_now.notified() => {}
                // What is watched may have been replaced without an event.
                () = sleep(self.options.resync) => {
                    events.arm();
                    continue;
                }
            }
            let longest = Instant::now() + self.options.debounce_max;
            let mut quiet = Instant::now() + self.options.quiet;
            while quiet < longest {
                tokio::select! {
                    biased;
                    () = sleep_until(quiet.min(longest)) => break,
                    () = changed.notified() => quiet = Instant::now() + self.options.quiet,
                    () = self.scan_now.notified() => break,
                }
            }
            if let Err(error) = self.scan().await {
                tracing::error!(%error, "the scan's outcome cannot be recorded");
            }
            events.arm();
        }
    }

    /// One complete scan: good files are accepted, absences weighed, whoever changed gets a pass.
    pub async fn scan(&self) -> Stored<()> {
        let _scanning = self.scanning.lock().await;
        let before = self.scanned.lock().clone();
        let scan = match self.options.specs.scan(before).await {
            Ok(scan) => scan,
            Err(problem) => return self.cannot_scan(problem.to_string()).await,
        };
        // From here to the end nobody else changes records or evidence.
        let turn = self.reconciler.records.turn().await;
        self.tell_directory(None).await?;
        let admission = self.fleet.admit(&scan, &*self.store, self.clock.now()).await?;
        *self.files_rest_in.lock() = admission.again_in;
        if let Some(wait) = admission.again_in {
            self.scan_in(wait);
        }
        let weighed = match admission.incomplete {
            true => Ok(()),
            false => self.weigh_absences(&scan, &admission.present).await,
        };
        drop(turn);
        for (old, new) in &admission.moved {
            self.queue.forget(old);
            self.reconciler.moved(old, new).await?;
        }
        if self.scanned.lock().replace(scan).is_none() {
            self.look_back().await?;
        }
        admission.changed.into_iter().for_each(|name| self.add_urgent(name));
        weighed
    }

    pub(super) fn scan_in(&self, wait: Duration) {
        let notice = self.scan_now.clone();
        tokio::spawn(async move {
            sleep(wait).await;
            notice.notify_one();
        });
    }

    /// Whoever is new to the state may be old in the world: what carries our marks is found before anything else is done.
    async fn look_back(&self) -> Stored<()> {
        for record in self.store.clients().await?.into_iter().filter(is_blank) {
            self.reconciler.look_back(record).await?;
        }
        Ok(())
    }

    async fn cannot_scan(&self, problem: String) -> Stored<()> {
        self.fleet.cannot_see();
        self.tell_directory(Some(problem)).await
    }

    async fn tell_directory(&self, problem: Option<String>) -> Stored<()> {
        let known = self.store.document(DIRECTORY).await?.and_then(|value| value.as_str().map(str::to_owned));
        if known == problem {
            return Ok(());
        }
        self.store.put_document(DIRECTORY, problem.as_ref().map(|text| serde_json::json!(text)).as_ref()).await?;
        match problem {
            Some(problem) => self.reconciler.event(None, EventKind::Warning, "DirectoryUnreadable", &problem).await,
            None => {
                self.reconciler
                    .event(None, EventKind::Normal, "DirectoryReadable", "the specs directory can be read again")
                    .await
            }
        }
    }
}
