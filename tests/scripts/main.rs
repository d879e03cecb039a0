//! What we write for shells and web servers, read and run by the real ones.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod bench;
mod deploy;
mod deploy_faults;
mod env_file;
mod tree;
mod vhost;

/// Where a program is, or `None` after saying aloud that a test skips for want of it.
pub fn program(name: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/usr/bin".into(), "/bin".into()])
        .map(|folder| folder.join(name))
        .find(|file| file.is_file());
    if found.is_none() {
        eprintln!("SKIPPED: {name} is not installed here");
    }
    found
}
