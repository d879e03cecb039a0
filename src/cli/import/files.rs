//! Files of imported clients: specs that never replace another file, secrets that nobody else reads.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::resource::secret::Secret;

/// Where secrets lie below the directory; a name that scans pass over.
const SECRETS: &str = ".secrets";

/// A directory of specs.
pub struct Folder(PathBuf);

impl Folder {
    /// The directory, made where it is missing. References to its secrets are absolute: a daemon may run elsewhere.
    ///
    /// # Errors
    /// It cannot be made or named.
    pub fn at(path: &Path) -> anyhow::Result<Folder> {
        let problem = || format!("the directory {} cannot be used", path.display());
        std::fs::create_dir_all(path).with_context(problem)?;
        Ok(Folder(path.canonicalize().with_context(problem)?))
    }

    /// The file of a client's spec.
    pub fn spec(&self, client: &str) -> PathBuf {
        self.0.join(format!("{client}.yaml"))
    }

    /// The file of a client's secret.
    pub fn secret(&self, client: &str, variable: &str) -> PathBuf {
        self.0.join(SECRETS).join(client).join(variable)
    }

    /// Writes a spec, whole or not at all.
    ///
    /// # Errors
    /// A file of that name is there, or none can be made: one clause.
    pub fn put_spec(&self, client: &str, text: &str) -> Result<(), String> {
        let (target, beside) = (self.spec(client), self.0.join(format!(".{client}.yaml.new")));
        let problem = |error: std::io::Error| format!("{} cannot be written: {error}", target.display());
        std::fs::write(&beside, text).map_err(problem)?;
        let linked = std::fs::hard_link(&beside, &target); // unlike a rename, it never replaces a file
        let _ = std::fs::remove_file(&beside); // a leftover is passed over by every scan
        linked.map_err(problem)
    }

    /// Writes a secret that only its owner reads; the one that lies there already stays.
    ///
    /// # Errors
    /// Another value lies there, or the file cannot be made: one clause, without the value.
    pub fn put_secret(&self, client: &str, variable: &str, value: &Secret) -> Result<PathBuf, String> {
        let path = self.secret(client, variable);
        let problem = |error: std::io::Error| format!("{} cannot be written: {error}", path.display());
        DirBuilder::new().recursive(true).mode(0o700).create(path.parent().unwrap_or(&self.0)).map_err(problem)?;
        self.keep_out_of_git().map_err(problem)?;
        let text = format!("{}\n", value.expose());
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
            Ok(mut file) => file.write_all(text.as_bytes()).map(|()| path.clone()).map_err(problem),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                let there = std::fs::read_to_string(&path).map_err(problem)?;
                let is_same = Secret::new(there) == Secret::new(text);
                is_same
                    .then(|| path.clone())
                    .ok_or_else(|| format!("{} holds another value already; nothing is overwritten", path.display()))
            }
            Err(error) => Err(problem(error)),
        }
    }

    /// Specs are committed, secrets are not.
    fn keep_out_of_git(&self) -> std::io::Result<()> {
        let path = self.0.join(SECRETS).join(".gitignore");
        if path.exists() { Ok(()) } else { std::fs::write(path, "*\n") }
    }
}
