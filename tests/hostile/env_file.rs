//! Environment files: bash sees nothing but quoted words, and three readers see the values that were meant.

use std::collections::BTreeMap;

use fastrand::Rng;
use sitewright::resource::env_file::{self, EnvValue, Environment};

use crate::bash::{Shapes, bash};
use crate::{renderings, values};

/// Files that real bash is given.
const SAMPLE: usize = 20;

/// The file of one to four hostile values; `None` where one of them is refused.
fn file(dice: &mut Rng) -> Option<(String, BTreeMap<String, String>)> {
    let mut meant = BTreeMap::new();
    for number in 0..dice.usize(1..5) {
        let name = if dice.u8(0..16) == 0 { values::nearly("NAME", dice) } else { format!("V{number}") };
        let value = if dice.bool() { values::any(dice) } else { values::nearly("it has words", dice) };
        meant.insert(name, value);
    }
    let environment: Environment =
        meant.iter().map(|(name, value)| (name.clone(), EnvValue::Plain(value.clone()))).collect();
    env_file::render(&environment).ok().map(|text| (text.expose().to_owned(), meant))
}

#[test]
fn environment_files() {
    let mut shapes = Shapes::new();
    let harmless: Vec<_> = (0..5).map(|count| shapes.of(&"A='x'\n".repeat(count))).collect();
    renderings("environment_files", 15, |dice| {
        let Some((text, meant)) = file(dice) else { return false };
        assert!(shapes.of(&text) == harmless[meant.len()], "the tree changed: {text}");
        let ours: BTreeMap<String, String> =
            env_file::parse(&text).into_iter().map(|(name, value)| (name, value.expose().to_owned())).collect();
        assert_eq!(ours, meant, "our own reader");
        let dotenv: Result<BTreeMap<String, String>, _> = dotenvy::from_read_iter(text.as_bytes()).collect();
        assert_eq!(dotenv.expect("dotenv's grammar"), meant, "dotenv: {text}");
        true
    });
}

#[test]
fn real_bash_reads_the_same_environment() {
    let folder = tempfile::tempdir().unwrap();
    let files = (0..).filter_map(|seed| file(&mut Rng::with_seed(seed)));
    for (text, meant) in files.take(SAMPLE) {
        std::fs::write(folder.path().join("site.env"), text).unwrap();
        let names: Vec<String> = meant.keys().map(|name| format!("\"${name}\"")).collect();
        let seen = bash(folder.path(), &format!(". ./site.env; printf '%s\\0' {}", names.join(" ")));
        assert_eq!(seen, meant.into_values().collect::<Vec<_>>());
    }
    assert!(!folder.path().join("canary").exists(), "a value was executed");
}
