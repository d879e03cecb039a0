//! The examples do what they say: each is run as a reader would run it, and checks its own outcome.

#![allow(clippy::expect_used, clippy::unwrap_used)] // a test that cannot go on says so

use std::path::PathBuf;
use std::process::{Command, Output};

/// Cargo builds the examples beside the tests, in a folder of their own.
fn example(name: &str) -> Output {
    let mut folder = std::env::current_exe().expect("this test has a path");
    folder.pop();
    if folder.ends_with("deps") {
        folder.pop();
    }
    let program: PathBuf = folder.join("examples").join(name);
    let mut command = Command::new(&program);
    // Nothing of this machine's own installation counts.
    for (variable, _) in std::env::vars_os() {
        let name = variable.to_string_lossy().into_owned();
        if name.starts_with("SITEWRIGHT_") || sitewright::config::PROVIDER_VARIABLES.contains(&name.as_str()) {
            command.env_remove(variable);
        }
    }
    command.output().unwrap_or_else(|error| panic!("{}: {error}", program.display()))
}

fn said(output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn one_client_converges() {
    let said = said(&example("converge_one"));
    assert!(said.contains("bakery: Active at https://bakery.agency.example"), "{said}");
    assert!(said.contains("Ready True"), "{said}");
}

#[test]
fn a_changed_record_comes_home_by_one_write_and_a_strangers_stays() {
    let said = said(&example("drift"));
    let after = said.split("after the next pass:").nth(1).unwrap_or_default();
    assert!(after.contains(r#""A" "bakery.agency.example" -> "192.0.2.10""#), "{said}");
    assert!(after.contains("not ours"), "{said}");
    assert_eq!(after.matches("it took:").count(), 1, "{said}");
}
