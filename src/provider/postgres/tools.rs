//! PostgreSQL's programs on this machine: on `PATH`, and where Debian keeps each version.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

/// Debian keeps the programs of version N in `N/bin` below this directory.
const VERSIONS: &str = "/usr/lib/postgresql";
/// How long a program may take to say its version: Debian's wrapper starts a Perl.
const VERSION_DEADLINE: Duration = Duration::from_secs(10);

/// A directory with programs of one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tools {
    /// The directory.
    pub directory: PathBuf,
    /// Major version.
    pub major: i32,
}

impl Tools {
    /// A program of it, with no setting of the caller's environment that would send it elsewhere.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.directory.join(program));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PG") {
                command.env_remove(name);
            }
        }
        command.stdin(Stdio::null()).kill_on_drop(true);
        command
    }
}

/// Every directory that holds all of `programs`, each with the version its first one says, oldest version first.
pub(super) async fn find(programs: &[&str]) -> Vec<Tools> {
    let mut found: Vec<Tools> = Vec::new();
    for directory in directories() {
        if programs.iter().all(|program| directory.join(program).is_file())
            && let Some(first) = programs.first()
            && let Some(major) = major(&directory.join(first)).await
        {
            found.push(Tools { directory, major });
        }
    }
    found.sort_by_key(|tools| tools.major);
    found
}

/// The versions' own directories first: what is on `PATH` may be a link or Debian's wrapper.
fn directories() -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = std::fs::read_dir(VERSIONS)
        .map(|entries| entries.flatten().map(|entry| entry.path().join("bin")).collect())
        .unwrap_or_default();
    all.sort();
    all.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).filter(|path| path.is_absolute()));
    all
}

async fn major(program: &Path) -> Option<i32> {
    let asked = Command::new(program).arg("--version").stdin(Stdio::null()).kill_on_drop(true).output();
    let output = timeout(VERSION_DEADLINE, asked).await.ok()?.ok()?;
    output.status.success().then(|| major_in(&String::from_utf8_lossy(&output.stdout))).flatten()
}

/// `pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`, `18beta1`.
fn major_in(text: &str) -> Option<i32> {
    let version = text.split_once("(PostgreSQL) ")?.1;
    let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        assert_eq!(major_in("pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n"), Some(15));
        assert_eq!(major_in("initdb (PostgreSQL) 18beta1"), Some(18));
        assert_eq!(major_in("pg_dump: command not found"), None);
    }
}
