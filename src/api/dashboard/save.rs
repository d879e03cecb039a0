//! Writes a spec into the specs directory, where the settings switch that on (`dashboard.save`): a whole file or none, and
//! never over another one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::Api;
use crate::api::dashboard::draft;
use crate::api::input::Body;
use crate::api::problem::Problem;
use crate::store::seal::new_uid;

/// A spec to save.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SpecBody {
    /// Its text; the file is named after `metadata.name`.
    text: String,
}

/// What was saved.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Saved {
    /// The file, below the specs directory.
    pub file: String,
    /// What follows.
    pub message: String,
}

/// Saves a new client's spec.
pub async fn save(State(api): State<Api>, Body(body): Body<SpecBody>) -> Result<(StatusCode, Json<Saved>), Problem> {
    let Some(specs) = api.dashboard.save.clone() else {
        let detail = "this interface writes no specs; set dashboard.save, or put the file into the specs directory";
        return Err(Problem::new(StatusCode::FORBIDDEN, detail));
    };
    let lens = api.lens.as_the_daemon(&*api.store).await?;
    let parsed = draft::check(&body.text, &api.store.clients().await?, &lens).map_err(|findings| {
        let said: Vec<String> = findings.iter().map(ToString::to_string).collect();
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, said.join("; "))
    })?;
    let file = format!("{}.yaml", parsed.spec.metadata.name);
    let target = file.clone();
    let written = tokio::task::spawn_blocking(move || write(&specs, &target, &body.text)).await;
    match written.map_err(io::Error::other).flatten() {
        Ok(()) => {
            let message = format!("{file} is saved; the daemon takes it up within moments");
            Ok((StatusCode::CREATED, Json(Saved { file, message })))
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let detail = format!("{file} is there already and is left as it is; choose another name");
            Err(Problem::new(StatusCode::CONFLICT, detail))
        }
        Err(error) => {
            tracing::error!(%error, file, "a spec could not be saved");
            let detail = format!("{file} could not be written into the specs directory; the daemon's log says why");
            Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail))
        }
    }
}

/// Beside its place first (the watcher passes over names that begin with a dot), on the disk, then linked into place: a
/// link, unlike a rename, fails where a file is there already.
fn write(specs: &Path, file: &str, text: &str) -> io::Result<()> {
    let unique = new_uid().map_err(io::Error::other)?;
    let beside = specs.join(format!(".{file}.{unique}"));
    let linked = fill(&beside, text).and_then(|()| fs::hard_link(&beside, specs.join(file)));
    let removed = fs::remove_file(&beside);
    linked?;
    removed?;
    File::open(specs)?.sync_all()
}

fn fill(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_written_whole_and_never_over_another() {
        let specs = tempfile::tempdir().expect("a directory");
        write(specs.path(), "shop.yaml", "one\n").expect("written");
        let again = write(specs.path(), "shop.yaml", "two\n").expect_err("it is there");
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(specs.path().join("shop.yaml")).expect("readable"), "one\n");
        assert_eq!(fs::read_dir(specs.path()).expect("listed").count(), 1, "nothing is left beside it");
    }
}
