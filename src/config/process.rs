//! The running process as a source of settings: its environment, its files, systemd's credentials.

use std::io::Read as _;

use crate::config::Source;

/// Largest file that a setting is read from, in bytes: a token or a settings file is far smaller, and a device file
/// must not be read for ever.
const FILE_BYTES_MAX: u64 = 256 * 1024;

/// Looks things up in this process.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProcessSource;

impl Source for ProcessSource {
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn variables(&self) -> Vec<String> {
        std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()).collect()
    }

    fn file(&self, path: &str) -> Result<Option<String>, String> {
        let file = match std::fs::File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.to_string()),
        };
        let mut text = String::new();
        file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(|error| error.to_string())?;
        if text.len() as u64 > FILE_BYTES_MAX {
            return Err(format!("it has more than {FILE_BYTES_MAX} bytes"));
        }
        Ok(Some(text))
    }

    fn credential(&self, name: &str) -> Result<Option<String>, String> {
        let Some(directory) = std::env::var_os("CREDENTIALS_DIRECTORY") else { return Ok(None) };
        let path = std::path::Path::new(&directory).join(name);
        self.file(&path.to_string_lossy())
    }
}
