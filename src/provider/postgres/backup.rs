//! Dumps: taken, listed, restored on trial, hashed and put in place only when all of that worked (contracts/postgres.md 6).

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use aws_lc_rs::digest;
use jiff::Timestamp;
use tokio::process::Command;
use tokio::time::timeout;

use crate::provider::Answer;
use crate::provider::error::{ErrorClass, ProviderError};
use crate::provider::postgres::PROVIDER;
use crate::provider::postgres::address::Address;
use crate::provider::postgres::tools::{self, Tools};
use crate::resource::database::Database;
use crate::resource::hex::hex;
use crate::resource::name::SqlName;
use crate::resource::removal::Backup;

/// How long a dump may take: some 100 GB over a slow disk.
const DUMP_DEADLINE: Duration = Duration::from_secs(4 * 60 * 60);
/// How long the dump waits for a lock that a migration holds.
const LOCK_WAIT: &str = "60s";
/// Longest part of a program's complaint that is passed on.
const COMPLAINT_CHARS_MAX: usize = 300;
/// Ends the name of a finished dump.
const SUFFIX: &str = ".dump";
/// Ends the name of one under way.
const DRAFT_SUFFIX: &str = ".partial";
/// Read at once while hashing.
const HASH_BYTES: usize = 1 << 20;

/// A dump that is readable and not in place yet; gone when it is dropped.
pub(super) struct Dump {
    database: SqlName,
    tools: Tools,
    draft: Draft,
    directory: PathBuf,
    file: String,
    taken_at: Timestamp,
    oid: u32,
}

fn failed(database: &SqlName, class: ErrorClass) -> ProviderError {
    ProviderError::new(PROVIDER, format!("back up {database}"), class)
}

fn local(database: &SqlName, directory: &Path, error: &io::Error) -> ProviderError {
    failed(database, ErrorClass::Unavailable(format!("{}: {error}", directory.display())))
}

/// Takes a dump of the database that has this oid, and lists it back.
pub(super) async fn take(
    address: &Address,
    database: &Database,
    (oid, server_version): (u32, i32),
    directory: &Path,
    now: Timestamp,
) -> Answer<Dump> {
    let failed = |class| failed(&database.name, class);
    let local = |error: io::Error| local(&database.name, directory, &error);
    let tools = dump_tools(server_version).await.map_err(failed)?;
    DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(local)?;
    remove_drafts(directory, &database.name).map_err(local)?;
    let file = format!("{}-{}-{oid}{SUFFIX}", database.name, now.strftime("%Y%m%dT%H%M%S%3fZ"));
    let draft = Draft::new(directory.join(format!("{file}{DRAFT_SUFFIX}"))).map_err(local)?;

    let mut dump = tools.command("pg_dump");
    connect_by_environment(&mut dump, address, &database.name);
    dump.args(["--format=custom", "--no-password", &format!("--lock-wait-timeout={LOCK_WAIT}")]);
    dump.arg(format!("--file={}", draft.0.display()));
    run(dump, "pg_dump").await.map_err(failed)?;

    let mut list = tools.command("pg_restore");
    list.arg("--list").arg(&draft.0);
    let listing = run(list, "pg_restore --list").await.map_err(failed)?;
    let listing = String::from_utf8_lossy(&listing.stdout);
    if !listing.contains(&format!("dbname: {}", database.name)) {
        return Err(failed(ErrorClass::Unavailable("the dump does not list the database it was taken of".into())));
    }

    let (database, directory) = (database.name.clone(), directory.to_owned());
    Ok(Dump { database, tools, draft, directory, file, taken_at: now, oid })
}

impl Dump {
    /// Restores it into another, empty database; the first complaint of the server is a failure.
    pub(super) async fn restore_into(&self, address: &Address, target: &SqlName) -> Answer<()> {
        let mut restore = self.tools.command("pg_restore");
        connect_by_environment(&mut restore, address, target);
        restore.args(["--no-owner", "--no-privileges", "--exit-on-error", "--single-transaction", "--no-password"]);
        restore.arg(format!("--dbname={target}")).arg(&self.draft.0);
        run(restore, "pg_restore").await.map(|_| ()).map_err(|class| failed(&self.database, class))
    }

    /// Hashes it and puts it in place.
    pub(super) async fn keep(self) -> Answer<Backup> {
        let (from, to, within) = (self.draft.0.clone(), self.directory.join(&self.file), self.directory.clone());
        let finished = tokio::task::spawn_blocking(move || finish(&from, &to, &within)).await;
        let (sha256, bytes) = finished
            .map_err(io::Error::other)
            .and_then(|done| done)
            .map_err(|error| local(&self.database, &self.directory, &error))?;
        Ok(Backup { file: self.file, sha256, bytes, verified_at: self.taken_at, oid: self.oid })
    }
}

/// A dump under way: only the owner reads it, and it goes when it is not finished.
struct Draft(PathBuf);

impl Draft {
    fn new(path: PathBuf) -> io::Result<Draft> {
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        Ok(Draft(path))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Renamed away when the dump is good.
        let _ = fs::remove_file(&self.0);
    }
}

/// The oldest programs that know this server: their dump is read by the server's own version, too.
pub(super) async fn dump_tools(server_version: i32) -> Result<Tools, ErrorClass> {
    let server_major = server_version / 10_000;
    let found = tools::find(&["pg_dump", "pg_restore"]).await;
    let newest = found.last().map(|tools| tools.major);
    found.into_iter().find(|tools| tools.major >= server_major).ok_or_else(|| {
        let have = newest.map_or("none is installed".to_owned(), |major| format!("the newest here is {major}"));
        ErrorClass::Invalid(format!(
            "pg_dump {server_major} or newer is needed and {have}; install postgresql-client-{server_major}"
        ))
    })
}

/// Nothing of the address is in the arguments, which every user of the machine can read.
fn connect_by_environment(command: &mut Command, address: &Address, database: &SqlName) {
    let (host, port) = address.host_and_port();
    command.env("PGHOST", host).env("PGPORT", port.to_string()).env("PGDATABASE", database.as_str());
    command.env("PGSSLMODE", address.ssl_mode.word()).env("PGCONNECT_TIMEOUT", "10");
    if let Some(user) = address.config.get_user() {
        command.env("PGUSER", user);
    }
    if let Some(password) = address.config.get_password() {
        command.env("PGPASSWORD", String::from_utf8_lossy(password).as_ref());
    }
    if let Some(root) = &address.root {
        command.env("PGSSLROOTCERT", root);
    }
}

async fn run(mut command: Command, what: &str) -> Result<Output, ErrorClass> {
    match timeout(DUMP_DEADLINE, command.output()).await {
        Ok(Ok(output)) if output.status.success() => Ok(output),
        Ok(Ok(output)) => {
            let complaint: String = String::from_utf8_lossy(&output.stderr)
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ")
                .chars()
                .filter(|c| !c.is_control())
                .take(COMPLAINT_CHARS_MAX)
                .collect();
            Err(ErrorClass::Unavailable(format!("{what} ended with {}: {complaint}", output.status)))
        }
        Ok(Err(error)) => Err(ErrorClass::Unavailable(format!("{what} cannot be run: {error}"))),
        Err(_) => Err(ErrorClass::Unavailable(format!(
            "{what} did not end within {}",
            humantime::format_duration(DUMP_DEADLINE)
        ))),
    }
}

/// On the disk, hashed, and under its final name.
fn finish(draft: &Path, target: &Path, directory: &Path) -> io::Result<(String, u64)> {
    let mut file = File::open(draft)?;
    let mut hash = digest::Context::new(&digest::SHA256);
    let mut bytes = 0;
    let mut buffer = vec![0; HASH_BYTES];
    loop {
        let count = file.read(&mut buffer)?;
        let Some(part) = buffer.get(..count).filter(|part| !part.is_empty()) else { break };
        hash.update(part);
        bytes += count as u64;
    }
    file.sync_all()?;
    fs::rename(draft, target)?;
    File::open(directory)?.sync_all()?;
    Ok((hex(hash.finish().as_ref()), bytes))
}

/// Removes all but the newest `keep` (at least one) dumps of a database from a directory, and gives what it removed.
/// Their names carry the time, so the order needs no clock and no file times.
pub fn prune_backups(directory: &Path, database: &SqlName, keep: usize) -> io::Result<Vec<PathBuf>> {
    let mut dumps = files_of(directory, database, SUFFIX)?;
    dumps.sort();
    dumps.truncate(dumps.len().saturating_sub(keep.max(1)));
    for dump in &dumps {
        fs::remove_file(dump)?;
    }
    Ok(dumps)
}

/// What a process left behind that was killed in the middle of a dump: a client has one pass, and so one dump, at a time.
fn remove_drafts(directory: &Path, database: &SqlName) -> io::Result<()> {
    files_of(directory, database, DRAFT_SUFFIX)?.iter().try_for_each(fs::remove_file)
}

fn files_of(directory: &Path, database: &SqlName, suffix: &str) -> io::Result<Vec<PathBuf>> {
    let prefix = format!("{database}-"); // no database name holds a hyphen
    let is_one = |name: &str| name.starts_with(&prefix) && name.ends_with(suffix);
    let entries = fs::read_dir(directory)?.collect::<io::Result<Vec<_>>>()?;
    Ok(entries
        .into_iter()
        .filter(|entry| is_one(&entry.file_name().to_string_lossy()))
        .map(|entry| entry.path())
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pruning_keeps_the_newest_and_everybody_elses() {
        let dir = tempfile::tempdir().unwrap();
        let names = [
            "client_a-20260101T000000000Z-5.dump",
            "client_a-20260102T000000000Z-5.dump",
            "client_a-20260103T000000000Z-5.dump",
            "client_a_b-20250101T000000000Z-6.dump",
            "client_a-20260104T000000000Z-5.dump.partial",
        ];
        for name in names {
            fs::write(dir.path().join(name), "x").unwrap();
        }
        let gone = prune_backups(dir.path(), &SqlName::trusted("client_a"), 2).unwrap();
        assert_eq!(gone, [dir.path().join(names[0])]);
        assert_eq!(prune_backups(dir.path(), &SqlName::trusted("client_a"), 0).unwrap(), [dir.path().join(names[1])]);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
    }
}
