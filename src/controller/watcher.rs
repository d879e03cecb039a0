//! The specs directory: what a complete scan shows of it, and when the next scan is worth making.
//!
//! A scan is the truth; events only say "look soon". The root is resolved anew each time (git-sync and ConfigMaps swap
//! links), links are followed inside the resolved root only, and what cannot be read is a problem, never an absence.

use std::collections::BTreeMap;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;

use notify::Watcher as _;

/// Largest file that is read (interface 1).
pub const FILE_BYTES_MAX: u64 = 256 * 1024;
/// Most files a directory may hold: beyond it something else is wrong.
pub const FILES_MAX: usize = 20_000;
/// Deepest folder below the root.
pub const DEPTH_MAX: usize = 16;

/// What the directory held at one moment.
#[derive(Debug, Clone, Default)]
pub struct Scan {
    /// Device and inode of the resolved root: another root is other evidence.
    pub root: (u64, u64),
    /// Every spec file, by its path relative to the root.
    pub files: BTreeMap<String, FileReading>,
    /// Entries that were passed over, with why.
    pub passed_over: Vec<String>,
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileReading {
    /// Its bytes and the stamp that tells whether it changed.
    Read {
        /// Content.
        bytes: Arc<[u8]>,
        /// Stamp.
        stamp: Stamp,
    },
    /// Larger than [`FILE_BYTES_MAX`].
    TooLarge(u64),
    /// Could not be read.
    Unreadable(String),
}

/// Size, times and inode: equal stamps mean an unchanged file. The change time catches edits that set the modification time back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    modified_ns: i128,
    changed_ns: i128,
}

/// Why a directory tells nothing. Nobody can approve it away (decisions 28).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the specs directory {path} {problem}; nothing is removed while that is so")]
pub struct DirectoryProblem {
    /// Where.
    pub path: String,
    /// What.
    pub problem: String,
}

impl Scan {
    /// Reads the whole directory. Unchanged files are not read again when `before` holds them.
    pub fn take(path: &Path, before: Option<&Scan>) -> Result<Scan, DirectoryProblem> {
        let problem = |problem: String| DirectoryProblem { path: path.display().to_string(), problem };
        let link = std::fs::symlink_metadata(path).map_err(|e| problem(away(&e)))?;
        let root = std::fs::canonicalize(path).map_err(|e| {
            problem(if link.is_symlink() { format!("is a link that leads nowhere ({e})") } else { away(&e) })
        })?;
        let metadata = std::fs::metadata(&root).map_err(|e| problem(away(&e)))?;
        if !metadata.is_dir() {
            return Err(problem("is not a directory".into()));
        }
        let mut scan = Scan { root: (metadata.dev(), metadata.ino()), ..Scan::default() };
        scan.walk(&root, &root, 0, before).map_err(problem)?;
        Ok(scan)
    }

    fn walk(&mut self, root: &Path, folder: &Path, depth: usize, before: Option<&Scan>) -> Result<(), String> {
        if depth > DEPTH_MAX {
            return Err(format!("is deeper than {DEPTH_MAX} folders"));
        }
        let entries = std::fs::read_dir(folder)
            .map_err(|e| format!("holds a folder {} that cannot be read ({e})", folder.display()))?;
        for entry in entries {
            let entry = entry.map_err(|e| format!("could not be listed to its end ({e})"))?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else {
                self.passed_over.push(format!("{}: its name is not UTF-8", entry.path().display()));
                continue;
            };
            if name.starts_with('.') || name.starts_with('_') {
                continue;
            }
            self.visit(root, &entry.path(), name, depth, before)?;
        }
        Ok(())
    }

    fn visit(
        &mut self,
        root: &Path,
        path: &Path,
        name: &str,
        depth: usize,
        before: Option<&Scan>,
    ) -> Result<(), String> {
        let shown = path.strip_prefix(root).unwrap_or(path).display().to_string();
        let is_spec = name.ends_with(".yaml") || name.ends_with(".yml");
        let metadata = match std::fs::symlink_metadata(path)
            .and_then(|m| if m.is_symlink() { follow(root, path) } else { Ok(m) })
        {
            Ok(metadata) => metadata,
            // Gone between listing and looking: the next scan tells; meanwhile it is unreadable, not absent.
            Err(error) if is_spec => {
                self.files.insert(shown, FileReading::Unreadable(error.to_string()));
                return Ok(());
            }
            Err(error) => {
                self.passed_over.push(format!("{shown}: {error}"));
                return Ok(());
            }
        };
        if metadata.is_dir() {
            return self.walk(root, path, depth + 1, before);
        }
        if !is_spec {
            return Ok(());
        }
        let kind = metadata.file_type();
        if !kind.is_file() || kind.is_fifo() {
            self.passed_over.push(format!("{shown}: not a regular file"));
            return Ok(());
        }
        if self.files.len() >= FILES_MAX {
            return Err(format!("holds more than {FILES_MAX} spec files"));
        }
        let reading = read_file(path, &metadata, before.and_then(|scan| scan.files.get(&shown)));
        self.files.insert(shown, reading);
        Ok(())
    }
}

fn away(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "is not there".into(),
        std::io::ErrorKind::PermissionDenied => "may not be read".into(),
        _ => format!("cannot be read ({error})"),
    }
}

/// A link's target, when it lies inside the root.
fn follow(root: &Path, path: &Path) -> std::io::Result<std::fs::Metadata> {
    let target = std::fs::canonicalize(path)?;
    if !target.starts_with(root) {
        return Err(std::io::Error::other("a link out of the specs directory is not followed"));
    }
    std::fs::metadata(target)
}

fn read_file(path: &Path, metadata: &std::fs::Metadata, before: Option<&FileReading>) -> FileReading {
    let stamp = stamp(metadata);
    if let Some(FileReading::Read { stamp: old, .. }) = before
        && *old == stamp
        && let Some(same) = before
    {
        return same.clone();
    }
    if stamp.bytes > FILE_BYTES_MAX {
        return FileReading::TooLarge(stamp.bytes);
    }
    match std::fs::read(path) {
        Ok(bytes) if bytes.len() as u64 > FILE_BYTES_MAX => FileReading::TooLarge(bytes.len() as u64),
        Ok(bytes) => FileReading::Read { bytes: bytes.into(), stamp },
        Err(error) => FileReading::Unreadable(error.to_string()),
    }
}

fn stamp(metadata: &std::fs::Metadata) -> Stamp {
    let nanoseconds = |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
    Stamp {
        device: metadata.dev(),
        inode: metadata.ino(),
        bytes: metadata.len(),
        modified_ns: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
        changed_ns: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
    }
}

impl Stamp {
    /// The stamp of a text that is no file: each version has another, and it has always stood still.
    pub fn of_version(version: u32) -> Stamp {
        let modified_ns = i128::from(version);
        Stamp { device: 0, inode: 0, bytes: 0, modified_ns, changed_ns: modified_ns }
    }

    /// How long the file has stood still, by the machine's clock; zero for a time in the future.
    pub fn still_for(&self) -> Duration {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let newest = self.modified_ns.max(self.changed_ns);
        let age = i128::try_from(now.as_nanos()).unwrap_or(i128::MAX) - newest;
        Duration::from_nanos(u64::try_from(age.max(0)).unwrap_or(u64::MAX))
    }
}

/// Where specs come from.
#[async_trait]
pub trait SpecSource: Send + Sync {
    /// Everything that is there now; unchanged files need not be read again when `before` holds them.
    async fn scan(&self, before: Option<Scan>) -> Result<Scan, DirectoryProblem>;
    /// Tells when a look is worth while.
    fn events(&self) -> Events;
}

/// A directory on the disk.
pub struct Directory(pub PathBuf);

#[async_trait]
impl SpecSource for Directory {
    async fn scan(&self, before: Option<Scan>) -> Result<Scan, DirectoryProblem> {
        let path = self.0.clone();
        let broken = |problem| DirectoryProblem { path: self.0.display().to_string(), problem };
        let taken = tokio::task::spawn_blocking(move || Scan::take(&path, before.as_ref())).await;
        taken.unwrap_or_else(|error| Err(broken(format!("the scan broke off: {error}"))))
    }

    fn events(&self) -> Events {
        Events::watch(&self.0)
    }
}

/// File events of the directory, folded into one notice: "something may have changed".
pub struct Events {
    path: PathBuf,
    changed: Arc<Notify>,
    watcher: Option<notify::RecommendedWatcher>,
    armed: Option<PathBuf>,
}

impl Events {
    /// Begins to watch; without events (NFS, exhausted watches) the timer alone serves.
    pub fn watch(path: &Path) -> Self {
        let changed = Arc::new(Notify::new());
        let notice = changed.clone();
        let handler = move |event: notify::Result<notify::Event>| {
            // Reads make events as well: reacting to our own scan would never end.
            if !matches!(&event, Ok(event) if event.kind.is_access()) {
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
        let resolved = std::fs::canonicalize(&self.path).ok();
        if resolved == self.armed && resolved.is_some() {
            return;
        }
        if let Some(old) = self.armed.take() {
            let _ = watcher.unwatch(&old); // it may be gone already
        }
        let absolute = std::path::absolute(&self.path).unwrap_or_else(|_| self.path.clone());
        if let Some(parent) = absolute.parent() {
            let _ = watcher.watch(parent, notify::RecursiveMode::NonRecursive); // a hint: the timer serves without it
        }
        if let Some(root) = resolved {
            match watcher.watch(&root, notify::RecursiveMode::Recursive) {
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
