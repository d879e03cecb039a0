//! Whether a daemon holds the state.

use std::fs::{File, TryLockError};
use std::path::PathBuf;

use crate::config::{Settings, StateLocation};

/// Whether a daemon holds the state right now. Looks before it touches the lock, so that a daemon which starts at this very
/// moment is not kept out.
pub fn is_running(settings: &Settings) -> bool {
    let StateLocation::Sqlite(path) = &settings.state else { return false };
    let mut lock = path.as_os_str().to_owned();
    lock.push(".lock");
    let lock = PathBuf::from(lock);
    let Ok(text) = std::fs::read_to_string(&lock) else { return false };
    if holder(&text).is_some_and(|process| !PathBuf::from(format!("/proc/{process}")).exists()) {
        return false;
    }
    let Ok(file) = File::open(&lock) else { return false };
    matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
}

/// The process that a lock file names: `process 4711 (since …)`.
fn holder(text: &str) -> Option<u32> {
    text.strip_prefix("process ")?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_decides_and_not_its_text() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("state.db");
        let settings = Settings { state: StateLocation::Sqlite(path.clone()), ..Settings::default() };
        assert!(!is_running(&settings));
        let lock = File::create(directory.path().join("state.db.lock")).expect("a file");
        std::fs::write(directory.path().join("state.db.lock"), format!("process {} (since now)\n", std::process::id()))
            .expect("written");
        assert!(!is_running(&settings), "a text alone is no daemon");
        lock.lock().expect("locked");
        assert!(is_running(&settings));
    }
}
