//! The page of faults says nothing that is not so: every fault once and in order, every test that it names is there and runs.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::path::Path;

/// Faults of each group.
const GROUPS: [(char, usize); 8] =
    [('A', 15), ('B', 41), ('C', 28), ('D', 16), ('E', 7), ('F', 10), ('G', 12), ('H', 12)];
/// A reason of this many characters says something.
const REASON_CHARS_MIN: usize = 10;

#[derive(Debug, PartialEq, Eq)]
enum Shown {
    Tested(Vec<String>),
    Open(String),
    Later(String),
    NotHere(String),
}

struct Row {
    id: String,
    shown: Shown,
}

fn rows() -> Vec<Row> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fault_matrix.md");
    let page = std::fs::read_to_string(page).expect("the page of faults");
    let table = page.lines().filter(|line| line.starts_with("| ")).skip(1);
    table.map(|line| row(line).unwrap_or_else(|| panic!("not a row: {line}"))).collect()
}

fn row(line: &str) -> Option<Row> {
    let cells: Vec<&str> = line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ").collect();
    let [id, fault, shown] = cells[..] else { return None };
    assert!(fault.len() >= REASON_CHARS_MIN, "{id} has no words");
    let shown = if let Some(what) = shown.strip_prefix("open: ") {
        Shown::Open(what.to_owned())
    } else if let Some(why) = shown.strip_prefix("later: ") {
        Shown::Later(why.to_owned())
    } else if let Some(why) = shown.strip_prefix("not here: ") {
        Shown::NotHere(why.to_owned())
    } else {
        let tests = shown.split(", ").map(|test| Some(test.strip_prefix('`')?.strip_suffix('`')?.to_owned()));
        Shown::Tested(tests.collect::<Option<_>>()?)
    };
    Some(Row { id: id.to_owned(), shown })
}

/// What is wrong with a test that is named, if anything is.
fn flaw(test: &str) -> Option<String> {
    let Some((file, name)) = test.split_once("::") else { return Some(format!("{test} names no test")) };
    let folder = if file.starts_with("src/") { "" } else { "tests/" };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("{folder}{file}"));
    let Ok(text) = std::fs::read_to_string(path) else { return Some(format!("{file} is not there")) };
    let Some(at) = text.find(&format!("fn {name}(")) else { return Some(format!("{name} is not in {file}")) };
    // The rest of the function's own line, then its attributes.
    let before = || text[..at].lines().rev().map(str::trim).skip_while(|line| line.is_empty() || *line == "async");
    let attributes = || before().take_while(|line| line.starts_with("#["));
    if !attributes().any(|line| line.contains("test")) {
        return Some(format!("{name} is no test"));
    }
    let is_silent = attributes().any(|line| line == "#[ignore]");
    is_silent.then(|| format!("{name} is ignored without a reason"))
}

#[test]
fn every_fault_is_there_once_and_in_order() {
    let expected = GROUPS.iter().flat_map(|(group, count)| (1..=*count).map(move |n| format!("{group}{n}")));
    let found: Vec<String> = rows().into_iter().map(|row| row.id).collect();
    assert_eq!(found, expected.collect::<Vec<_>>());
}

#[test]
fn every_test_that_is_named_is_there_and_every_gap_has_its_reason() {
    let (mut flaws, mut counts) = (Vec::new(), [0; 4]);
    for Row { id, shown } in rows() {
        match &shown {
            Shown::Tested(tests) => {
                counts[0] += 1;
                flaws.extend(tests.iter().filter_map(|test| flaw(test)).map(|flaw| format!("{id}: {flaw}")));
            }
            Shown::Later(why) => {
                counts[1] += 1;
                assert!(why.len() >= REASON_CHARS_MIN, "{id} gives no reason");
            }
            Shown::Open(why) => {
                counts[2] += 1;
                assert!(why.len() >= REASON_CHARS_MIN, "{id} gives no reason");
            }
            Shown::NotHere(why) => {
                counts[3] += 1;
                assert!(why.len() >= REASON_CHARS_MIN, "{id} gives no reason");
            }
        }
        if id.starts_with('F') && !matches!(shown, Shown::Later(_)) {
            flaws.push(format!("{id}: there is one daemon, so it is for later"));
        }
    }
    assert!(flaws.is_empty(), "{}", flaws.join("\n"));
    let [tested, later, open, not_here] = counts;
    println!("{tested} faults are tested, {later} are for later, {open} are open, {not_here} cannot happen here");
}

#[test]
fn a_test_that_is_not_there_is_noticed() {
    assert!(flaw("fault_matrix.rs::every_fault_is_there_once_and_in_order").is_none());
    assert!(flaw("fault_matrix.rs::no_such_test").is_some());
    assert!(flaw("no_such_file.rs::x").is_some());
    assert!(flaw("fault_matrix.rs::flaw").is_some_and(|flaw| flaw.contains("no test")));
}
