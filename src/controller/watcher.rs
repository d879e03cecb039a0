//! The specs directory: what a complete scan shows of it.
//!
//! A scan is the truth; events (`file_events`) only say "look soon". The root is resolved anew each time (git-sync and
//! ConfigMaps swap links), links are followed inside the resolved root only, and what cannot be read is a problem, never an
//! absence.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::controller::file_events::Events;
use crate::resource::name::Instance;

/// Largest file that is read (interface 1).
pub const FILE_BYTES_MAX: u64 = 256 * 1024;
/// Most files a directory may hold: beyond it something else is wrong.
pub const FILES_MAX: usize = 20_000;
/// Deepest folder below the root.
pub const DEPTH_MAX: usize = 16;
/// A file of this name in the directory holds the name of the installation that it is for. It need not be there.
pub const OWNER: &str = ".sitewright-root";

/// What the directory held at one moment.
#[derive(Debug, Clone, Default)]
pub struct Scan {
    /// Device and inode of the resolved root: another root is other evidence.
    pub root: (u64, u64),
    /// Every spec file, by its path relative to the root.
    pub files: BTreeMap<String, FileReading>,
    /// Entries that were passed over, with why.
    pub passed_over: Vec<String>,
    /// What [`OWNER`] holds, if it is there.
    pub owner: Option<String>,
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
        scan.owner = owner(&root).map_err(problem)?;
        scan.walk(&root, &root, 0, before).map_err(problem)?;
        Ok(scan)
    }

    /// The scan, unless the directory says that it is for another installation: it tells nothing about this one's clients.
    pub fn of(self, path: &Path, instance: &Instance) -> Result<Scan, DirectoryProblem> {
        match &self.owner {
            Some(other) if other != instance.as_str() => Err(DirectoryProblem {
                path: path.display().to_string(),
                problem: format!(
                    "is for the installation `{other}`, as its file {OWNER} says, and this one is `{instance}`: set `specs` to the directory of this one, or write its name there"
                ),
            }),
            _ => Ok(self),
        }
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
        let (target, metadata) = match look(root, path) {
            Ok(found) => found,
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
        if !metadata.is_file() {
            self.passed_over.push(format!("{shown}: not a regular file"));
            return Ok(());
        }
        if self.files.len() >= FILES_MAX {
            return Err(format!("holds more than {FILES_MAX} spec files"));
        }
        let known = before.and_then(|scan| scan.files.get(&shown));
        let mut reading = read_file(&target, &metadata, known);
        // Careful tools put a new file in the place of the old one: what stands there now is looked at like the first, once.
        if matches!(reading, FileReading::Unreadable(_))
            && let Ok((target, metadata)) = look(root, path)
        {
            reading = read_file(&target, &metadata, known);
        }
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

/// Whom the directory is for, if it says so.
fn owner(root: &Path) -> Result<Option<String>, String> {
    let path = root.join(OWNER);
    let reading = match std::fs::symlink_metadata(&path) {
        Ok(metadata) => read_file(&path, &metadata, None),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => FileReading::Unreadable(error.to_string()),
    };
    match reading {
        FileReading::Read { bytes, .. } => Ok(Some(String::from_utf8_lossy(&bytes).trim().to_owned())),
        FileReading::TooLarge(bytes) => {
            Err(format!("holds a file {OWNER} of {bytes} bytes, where one name is expected"))
        }
        FileReading::Unreadable(why) => Err(format!("holds a file {OWNER} that cannot be read ({why})")),
    }
}

/// What a name leads to: itself, or a link's target when that lies inside the root.
fn look(root: &Path, path: &Path) -> std::io::Result<(PathBuf, Metadata)> {
    let metadata = std::fs::symlink_metadata(path)?;
    if !metadata.is_symlink() {
        return Ok((path.to_owned(), metadata));
    }
    let target = std::fs::canonicalize(path)?;
    if !target.starts_with(root) {
        return Err(std::io::Error::other("a link out of the specs directory is not followed"));
    }
    let metadata = std::fs::symlink_metadata(&target)?;
    Ok((target, metadata))
}

/// Reads the very file that was looked at; what was put in its place since then is not read.
fn read_file(path: &Path, seen: &Metadata, before: Option<&FileReading>) -> FileReading {
    let stamp = stamp(seen);
    if let Some(FileReading::Read { stamp: old, .. }) = before
        && *old == stamp
        && let Some(same) = before
    {
        return same.clone();
    }
    if stamp.bytes > FILE_BYTES_MAX {
        return FileReading::TooLarge(stamp.bytes);
    }
    let mut bytes = Vec::new();
    match open(path, seen).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)) {
        Ok(length) if length as u64 > FILE_BYTES_MAX => FileReading::TooLarge(length as u64),
        Ok(_) => FileReading::Read { bytes: bytes.into(), stamp },
        Err(error) => FileReading::Unreadable(error.to_string()),
    }
}

/// Opens a file that was looked at. A link is not followed, a pipe not waited for, another file not read.
fn open(path: &Path, seen: &Metadata) -> std::io::Result<std::fs::File> {
    let file = std::fs::File::options().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)?;
    let found = file.metadata()?;
    if !found.is_file() || (found.dev(), found.ino()) != (seen.dev(), seen.ino()) {
        return Err(std::io::Error::other("something else was put in its place while it was read"));
    }
    Ok(file)
}

fn stamp(metadata: &Metadata) -> Stamp {
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
pub struct Directory {
    /// Where.
    pub path: PathBuf,
    /// The installation that looks at it.
    pub instance: Instance,
}

#[async_trait]
impl SpecSource for Directory {
    async fn scan(&self, before: Option<Scan>) -> Result<Scan, DirectoryProblem> {
        let path = self.path.clone();
        let broken = |problem| DirectoryProblem { path: self.path.display().to_string(), problem };
        let taken = tokio::task::spawn_blocking(move || Scan::take(&path, before.as_ref())).await;
        let scan = taken.unwrap_or_else(|error| Err(broken(format!("the scan broke off: {error}"))))?;
        scan.of(&self.path, &self.instance)
    }

    fn events(&self) -> Events {
        Events::watch(&self.path)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use std::os::unix::fs::symlink;

    use super::*;

    fn directory() -> (tempfile::TempDir, PathBuf) {
        let around = tempfile::tempdir().unwrap();
        let specs = around.path().canonicalize().unwrap().join("specs");
        std::fs::create_dir(&specs).unwrap();
        (around, specs)
    }

    /// H12. Between the look at a file and its opening, something else is put in its place.
    #[test]
    fn what_takes_the_place_of_a_file_that_was_looked_at_is_not_read() {
        let (around, specs) = directory();
        let (path, secret, pipe) = (specs.join("a.yaml"), around.path().join("secret"), around.path().join("pipe"));
        std::fs::write(&secret, "password: hidden").unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let place = |target: &Path| {
            std::fs::remove_file(&path).unwrap();
            symlink(target, &path).unwrap();
        };
        let acts: [(&str, &dyn Fn()); 4] = [
            ("a link to a file", &|| place(&secret)),
            ("a link to a pipe", &|| place(&pipe)),
            ("a pipe", &|| std::fs::rename(&pipe, &path).unwrap()),
            ("another file", &|| std::fs::rename(&secret, &path).unwrap()),
        ];
        for (what, act) in acts {
            let _ = std::fs::remove_file(&path);
            std::fs::write(&path, "kind: ClientSpec").unwrap();
            let (target, seen) = look(&specs, &path).unwrap();
            assert!(matches!(read_file(&target, &seen, None), FileReading::Read { .. }), "{what}");
            act();
            assert!(matches!(read_file(&target, &seen, None), FileReading::Unreadable(_)), "{what} was read");
        }
        let scan = Scan::take(&specs, None).unwrap();
        assert!(matches!(scan.files["a.yaml"], FileReading::Read { .. }), "another file is looked at anew: {scan:?}");
    }

    /// C10.
    #[test]
    fn a_directory_of_another_installation_tells_nothing() {
        let (_around, specs) = directory();
        let ours = Instance::parse("agency").unwrap();
        let take = || Scan::take(&specs, None).and_then(|scan| scan.of(&specs, &ours));
        std::fs::write(specs.join("a.yaml"), "kind: ClientSpec").unwrap();
        assert_eq!(take().unwrap().files.len(), 1, "it need not say whose it is");
        std::fs::write(specs.join(OWNER), "agency\n").unwrap();
        assert_eq!(take().unwrap().files.len(), 1);
        for (owner, words) in [("staging\n", "for the installation `staging`"), ("", "for the installation ``")] {
            std::fs::write(specs.join(OWNER), owner).unwrap();
            let problem = take().unwrap_err().to_string();
            assert!(problem.contains(words) && problem.contains("this one is `agency`"), "{problem}");
        }
        std::fs::remove_file(specs.join(OWNER)).unwrap();
        symlink("a.yaml", specs.join(OWNER)).unwrap();
        assert!(take().unwrap_err().to_string().contains("cannot be read"), "a link is not followed for it");
    }
}
