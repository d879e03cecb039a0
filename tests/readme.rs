//! The README says nothing that is not so: commands, flags, settings, defaults, suites and files that it names are there.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use sitewright::cli::Cli;
use sitewright::config::keys::{KEYS, PROVIDER_KEYS};

/// Longest README that somebody reads to its end, in lines.
const LINES_MAX: usize = 400;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn readme() -> String {
    std::fs::read_to_string(root().join("README.md")).expect("README.md")
}

/// Text without fenced blocks.
fn prose(text: &str) -> Vec<String> {
    let mut fenced = false;
    let mut lines = Vec::new();
    for line in text.lines() {
        if line.starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            lines.push(line.to_owned());
        }
    }
    lines
}

/// The code spans of a line.
fn spans(line: &str) -> Vec<&str> {
    line.split('`').skip(1).step_by(2).collect()
}

/// Words as a shell takes them, as far as the README needs it.
fn words(command: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for c in command.chars() {
        match c {
            '"' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            c => words.last_mut().expect("never empty").push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Whether the command line knows every word; what is merely not complete is known.
fn is_known(command: &str) -> Result<(), String> {
    match Cli::try_parse_from(words(command)) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::MissingRequiredArgument => Ok(()),
        Err(error) if error.kind() == ErrorKind::InvalidValue && error.to_string().contains("a value is required") => {
            Ok(())
        }
        Err(error) => Err(format!("`{command}`: {error}")),
    }
}

fn is_variable(span: &str) -> bool {
    span.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')
}

/// Rows of the table below a heading, cell by cell.
fn table(text: &str, heading: &str) -> Vec<Vec<String>> {
    let section = text.split(&format!("\n## {heading}\n")).nth(1).expect("the heading is there");
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()).collect()
}

#[test]
fn every_command_and_flag_that_is_named_exists() {
    let text = readme();
    let mut named = 0;
    for line in prose(&text) {
        let spans = spans(&line);
        let commands: Vec<&&str> = spans.iter().filter(|span| span.starts_with("sitewright ")).collect();
        for command in &commands {
            is_known(command).unwrap_or_else(|problem| panic!("{problem}"));
            named += 1;
        }
        if commands.is_empty() || !line.starts_with('|') {
            continue;
        }
        for flag in spans.iter().filter(|span| span.starts_with('-')) {
            let known = commands.iter().any(|command| is_known(&format!("{command} {flag}")).is_ok());
            assert!(known, "no command of this line knows `{flag}`: {line}");
        }
    }
    assert!(named > 20, "the README names its commands");
}

#[test]
fn every_command_that_exists_is_in_the_table() {
    let named: BTreeSet<String> = table(&readme(), "Commands")
        .iter()
        .flat_map(|row| spans(&row[0]).iter().map(|span| words(span)[1].clone()).collect::<Vec<_>>())
        .collect();
    let there: BTreeSet<String> = Cli::command().get_subcommands().map(|command| command.get_name().into()).collect();
    assert_eq!(named, there);
}

#[test]
fn the_settings_table_is_the_table_of_the_program() {
    let rows = table(&readme(), "Settings");
    let told: BTreeMap<String, Option<String>> = rows
        .iter()
        .map(|row| (row[0].trim_matches('`').to_owned(), spans(&row[1]).first().map(|text| (*text).to_owned())))
        .collect();
    assert_eq!(told.len(), rows.len(), "a key stands there twice");
    let there: BTreeMap<String, Option<String>> =
        KEYS.iter().map(|key| (key.name.to_owned(), key.default.map(str::to_owned))).collect();
    assert_eq!(told, there);
    assert!(rows.iter().all(|row| !row[2].is_empty()), "every key has a meaning");
}

#[test]
fn every_variable_of_a_provider_is_explained_and_none_is_invented() {
    let text = readme();
    let section = text.split("\n## Credentials").nth(1).and_then(|rest| rest.split("\n## ").next()).expect("a section");
    let named: BTreeSet<&str> =
        section.lines().flat_map(spans).filter(|span| span.contains('_') && is_variable(span)).collect();
    let there: BTreeSet<&str> = PROVIDER_KEYS.iter().map(|key| key.name).collect();
    assert_eq!(named, there);
}

#[test]
fn suites_examples_and_files_that_are_named_exist() {
    let text = readme();
    let mut seen = 0;
    for span in prose(&text).iter().flat_map(|line| spans(line)) {
        let words = words(span);
        for pair in words.windows(2).filter(|_| span.starts_with("cargo ")) {
            let name = &pair[1];
            let candidates = match pair[0].as_str() {
                "--test" => [format!("tests/{name}.rs"), format!("tests/{name}/main.rs")],
                "--example" => [format!("examples/{name}.rs"), format!("examples/{name}/main.rs")],
                "--bench" => [format!("benches/{name}.rs"), format!("benches/{name}/main.rs")],
                _ => continue,
            };
            assert!(candidates.iter().any(|path| root().join(path).exists()), "{span}: {candidates:?}");
            seen += 1;
        }
        let first = ["src/", "deploy/", "specs/", "examples/", "tests/", "benches/", ".ci/"];
        if first.iter().any(|folder| span.starts_with(folder)) {
            assert!(root().join(span).exists(), "{span} is not there");
            seen += 1;
        }
    }
    assert!(seen > 10, "the README names suites and files");
    assert!(text.contains("\n```sh\nbash .ci/test\n```\n") && root().join(".ci/test").is_file());
}

#[test]
fn the_spec_that_is_shown_is_good() {
    let text = readme();
    let spec = text.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a spec");
    let rules = sitewright::spec::validate::Rules::default();
    if let Err(findings) = sitewright::spec::parse::parse(spec.as_bytes(), &rules) {
        panic!("{}", findings.iter().map(|finding| finding.render("README.md")).collect::<Vec<_>>().join("\n"));
    }
}

#[test]
fn it_can_be_read_to_its_end() {
    assert!(readme().lines().count() <= LINES_MAX);
}
