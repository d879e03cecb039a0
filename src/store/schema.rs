//! The tables of the SQLite state, its versions, and the checks a file must pass before it is used.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use crate::store::seal::{make_private_directory, problem, sync_directory};
use crate::store::{StoreError, Stored};

/// `SWrt`: tells our file from any other SQLite database.
pub(super) const APPLICATION_ID: i32 = 0x5357_7274;
/// How long a statement waits for another process (a status command, a backup tool) to let go.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Beginnings of the names of file systems whose files live on another machine.
const NETWORK_FILE_SYSTEMS: [&str; 8] = ["nfs", "cifs", "smb", "9p", "ceph", "glusterfs", "fuse.sshfs", "fuse.gluster"];
/// Each entry brings a state from version `index` to `index + 1`. Entries are never changed, only added.
const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE meta (
        key TEXT PRIMARY KEY,
        value BLOB NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE client (
        name TEXT PRIMARY KEY,
        uid TEXT NOT NULL,
        record TEXT NOT NULL
    ) STRICT;
    CREATE TABLE secret (
        client TEXT NOT NULL REFERENCES client (name) ON DELETE CASCADE,
        name TEXT NOT NULL,
        sealed BLOB NOT NULL,
        PRIMARY KEY (client, name)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE port (
        server TEXT NOT NULL,
        port INTEGER NOT NULL CHECK (port BETWEEN 1 AND 65535),
        uid TEXT NOT NULL,
        PRIMARY KEY (server, port),
        UNIQUE (uid, server)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE event (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        client TEXT,
        event TEXT NOT NULL
    ) STRICT;
    CREATE INDEX event_of_client ON event (client, id);
    CREATE TABLE request (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        at TEXT NOT NULL,
        ask TEXT NOT NULL,
        answer TEXT
    ) STRICT;
    CREATE INDEX open_request ON request (id) WHERE answer IS NULL;
    CREATE TABLE document (
        key TEXT PRIMARY KEY,
        value TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
",
    "
    CREATE TABLE deployment (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        client TEXT NOT NULL,
        uid TEXT NOT NULL,
        number INTEGER NOT NULL,
        deployment TEXT NOT NULL,
        log TEXT NOT NULL DEFAULT '',
        UNIQUE (uid, number)
    ) STRICT;
    CREATE INDEX deployment_of_client ON deployment (client, id);
    CREATE TABLE write (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        client TEXT NOT NULL,
        write TEXT NOT NULL
    ) STRICT;
    CREATE INDEX write_of_client ON write (client, id);
",
];

/// The version this program writes.
pub const SCHEMA_VERSION: i64 = MIGRATIONS.len() as i64;

/// Whether an opened state may be changed in its shape and has to prove its soundness.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opening {
    /// By the one daemon: every page is checked.
    Exclusive,
    /// Beside a daemon.
    Shared,
}

/// The file lock of the one writer. Let go when dropped, and by the system when the process dies in any way.
pub(super) struct WriterLock {
    _file: File,
}

impl WriterLock {
    /// Takes the lock beside a state, or says who holds it.
    pub fn take(state: &Path) -> Stored<WriterLock> {
        let mut path = state.as_os_str().to_owned();
        path.push(".lock");
        let path = PathBuf::from(path);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(|e| problem(&path, format!("the lock cannot be opened: {e}")))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let read = file.read_to_string(&mut holder);
                let holder = if read.is_ok() && !holder.trim().is_empty() { holder.trim() } else { "another process" };
                return Err(problem(state, format!("in use by {holder}; stop it first, or use its API")));
            }
            Err(TryLockError::Error(error)) => return Err(problem(&path, error)),
        }
        let name = format!("process {} (since {})\n", std::process::id(), jiff::Timestamp::now());
        file.set_len(0)
            .and_then(|()| file.seek(SeekFrom::Start(0)))
            .and_then(|_| file.write_all(name.as_bytes()))
            .map_err(|e| problem(&path, e))?;
        Ok(WriterLock { _file: file })
    }
}

/// Opens a state that is sound, ours and of our version; makes it where there is none. Never empties anything.
pub(super) fn open(path: &Path, opening: Opening) -> Stored<Connection> {
    let directory = make_private_directory(path)?;
    check_file_system(&directory)?;
    match fs::symlink_metadata(path) {
        Ok(meta) => check_file(path, &meta)?,
        Err(error) if error.kind() == ErrorKind::NotFound => make(path, &directory)?,
        Err(error) => return Err(problem(path, error)),
    }
    let mut connection = connect(path)?;
    check_contents(path, &connection, opening)?;
    let version = version(path, &connection)?;
    if version > SCHEMA_VERSION {
        return Err(StoreError::Newer { path: path.display().to_string(), found: version, known: SCHEMA_VERSION });
    }
    if version < SCHEMA_VERSION {
        // Beside an older daemon the shape must not change under its feet.
        let _lock = match opening {
            Opening::Exclusive => None,
            Opening::Shared => Some(WriterLock::take(path)?),
        };
        migrate(path, &mut connection)?;
    }
    Ok(connection)
}

/// Locks and shared memory do not work over a network, and the file would be destroyed.
fn check_file_system(directory: &Path) -> Stored<()> {
    let (Ok(real), Ok(mounts)) = (directory.canonicalize(), fs::read_to_string("/proc/self/mountinfo")) else {
        return Ok(()); // not Linux, or closed off: nothing can be said
    };
    match file_system(&real, &mounts) {
        Some(kind) if NETWORK_FILE_SYSTEMS.iter().any(|network| kind.starts_with(network)) => Err(problem(
            directory,
            format!("a state cannot live on a network file system ({kind}); give a local path in `state`"),
        )),
        _ => Ok(()),
    }
}

/// The type of the file system a path is on, from the text of `/proc/self/mountinfo`; later mounts cover earlier ones.
fn file_system<'a>(path: &Path, mounts: &'a str) -> Option<&'a str> {
    let entry = |line: &'a str| {
        let (mount, kind) = line.split_once(" - ")?;
        let point = mount.split(' ').nth(4)?.replace("\\040", " ");
        path.starts_with(&point).then_some((point.len(), kind.split(' ').next()?))
    };
    mounts.lines().filter_map(entry).max_by_key(|(length, _)| *length).map(|(_, kind)| kind)
}

/// A file with a second name can be opened under both, and the two write-ahead logs would destroy it.
fn check_file(path: &Path, meta: &fs::Metadata) -> Stored<()> {
    if !meta.is_file() {
        return Err(problem(path, "not a regular file (links are refused too); give the path of the file itself"));
    }
    if meta.nlink() != 1 {
        return Err(problem(path, format!("the file has {} names (hard links); remove the others", meta.nlink())));
    }
    if meta.len() == 0 {
        return Err(problem(
            path,
            "the file is empty, so what it held is lost; restore a backup, or remove it to begin anew",
        ));
    }
    if meta.mode() & 0o077 != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(|e| problem(path, e))?;
    }
    Ok(())
}

/// Built under another name and linked in place when complete: an empty file under the right name is always damage.
fn make(path: &Path, directory: &Path) -> Stored<()> {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    if fs::exists(&log).unwrap_or(true) {
        return Err(problem(
            path,
            "the file is gone but its write-ahead log is there; restore the file, or remove both",
        ));
    }
    let draft = directory.join(format!(".state-{}", crate::store::seal::new_secret(12)?.expose()));
    let made = build(&draft, path);
    let removed = fs::remove_file(&draft);
    made?;
    removed.and_then(|()| sync_directory(directory)).map_err(|e| problem(path, e))
}

fn build(draft: &Path, path: &Path) -> Stored<()> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(draft);
    file.map_err(|e| problem(draft, e))?;
    let mut connection = Connection::open(draft).map_err(|e| problem(draft, e))?;
    connection.pragma_update(None, "application_id", APPLICATION_ID).map_err(|e| problem(draft, e))?;
    migrate(draft, &mut connection)?;
    connection.close().map_err(|(_, e)| problem(draft, e))?;
    match fs::hard_link(draft, path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(problem(path, error)),
        _ => Ok(()), // somebody else's complete state is as good
    }
}

fn connect(path: &Path) -> Stored<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(|e| problem(path, e))?;
    let set = || -> rusqlite::Result<()> {
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.pragma_update(None, "trusted_schema", false)?;
        connection.pragma_update(None, "cell_size_check", true)
    };
    set().map_err(|e| problem(path, format!("{e}; if the file is damaged restore a backup, it was not changed")))?;
    Ok(connection)
}

fn check_contents(path: &Path, connection: &Connection, opening: Opening) -> Stored<()> {
    let id: i32 =
        connection.pragma_query_value(None, "application_id", |row| row.get(0)).map_err(|e| problem(path, e))?;
    if id != APPLICATION_ID {
        return Err(problem(path, "this database belongs to another program; give another path in `state`"));
    }
    if opening == Opening::Exclusive {
        let finding: String =
            connection.pragma_query_value(None, "quick_check", |row| row.get(0)).map_err(|e| problem(path, e))?;
        if finding != "ok" {
            return Err(problem(
                path,
                format!("the file is damaged ({finding}); restore a backup, it was not changed"),
            ));
        }
    }
    Ok(())
}

fn version(path: &Path, connection: &Connection) -> Stored<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(|e| problem(path, e))
}

/// All missing steps in one transaction: a crash leaves the old version or the new one.
fn migrate(path: &Path, connection: &mut Connection) -> Stored<()> {
    let step = |connection: &mut Connection| -> rusqlite::Result<()> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let from: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
        for sql in MIGRATIONS.iter().skip(usize::try_from(from).unwrap_or(usize::MAX)) {
            transaction.execute_batch(sql)?;
        }
        transaction.pragma_update(None, "user_version", SCHEMA_VERSION.max(from))?;
        transaction.commit()
    };
    step(connection).map_err(|e| problem(path, format!("the upgrade to version {SCHEMA_VERSION} failed: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// D13.
    #[test]
    fn the_innermost_mount_counts() {
        let mounts = "22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n\
                      40 22 0:50 / /srv/team rw master:2 - nfs4 files.example:/team rw\n\
                      41 40 254:1 / /srv/team/local\\040disk rw - xfs /dev/vdb rw\n";
        let kind = |path: &str| file_system(Path::new(path), mounts);
        assert_eq!(kind("/var/lib/sitewright"), Some("ext4"));
        assert_eq!(kind("/srv/team/state"), Some("nfs4"));
        assert_eq!(kind("/srv/teamwork"), Some("ext4"));
        assert_eq!(kind("/srv/team/local disk/state"), Some("xfs"));
    }

    /// D4. What is acknowledged is on the disk: WAL without FULL would lose the newest commits with the power.
    #[test]
    fn every_connection_syncs_at_each_commit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.db");
        drop(Connection::open(&path).unwrap());
        let connection = connect(&path).unwrap();
        let journal: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
        let synchronous: i64 = connection.pragma_query_value(None, "synchronous", |row| row.get(0)).unwrap();
        assert_eq!((journal.as_str(), synchronous), ("wal", 2), "2 is FULL");
    }
}
