//! Commands as a user runs them: exit codes, what goes where, and that a mistake changes nothing.

#![allow(clippy::expect_used)] // a helper that fails is a failed test

mod requests;
mod usage;
mod validate;

use std::path::Path;
use std::process::Output;

use assert_cmd::Command;
use tempfile::TempDir;

/// A spec that passes every check without settings.
pub const GOOD: &str = "apiVersion: sitewright/v1\nkind: ClientSpec\nmetadata:\n  name: shop\nspec:\n  domain: shop.example\n  source: { repository: example/cms }\n  hosting: { provider: ploi, server: \"1\" }\n";

/// A machine of its own: an empty directory, an empty environment.
pub struct Machine {
    directory: TempDir,
}

impl Machine {
    /// An empty one.
    pub fn begin() -> Self {
        Machine { directory: tempfile::tempdir().expect("a directory") }
    }

    /// One with a specs directory that holds these files.
    pub fn with_specs(files: &[(&str, &str)]) -> Self {
        let machine = Machine::begin();
        std::fs::create_dir(machine.path().join("specs")).expect("specs");
        for (name, text) in files {
            machine.write(&format!("specs/{name}"), text);
        }
        machine
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Writes a file.
    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path().join(name), text).expect("written");
    }

    /// The command, not run.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("sitewright"));
        command.current_dir(self.path()).env_clear().args(arguments);
        command
    }

    /// Runs it.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(&self.command(arguments).output().expect("it starts"))
    }
}

/// What a command did.
#[derive(Debug)]
pub struct Ran {
    /// Exit code.
    pub code: i32,
    /// Data.
    pub out: String,
    /// Messages.
    pub err: String,
}

impl Ran {
    /// Of an output.
    pub fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
        Ran { code: output.status.code().expect("no signal"), out: text(&output.stdout), err: text(&output.stderr) }
    }

    /// The data as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }
}
