//! Hostile bytes: bounded work, a located finding, never a panic.

use std::fmt::Write as _;

use proptest::prelude::*;
use sitewright::spec::parse::{claimed_name, parse};
use sitewright::spec::tree;

use crate::{FULL, HEAD, LATER, bad, rules, shown};

fn refused(text: &str, words: &str) {
    let findings = bad(text);
    assert!(findings.iter().any(|finding| finding.message.contains(words)), "{words}: {}", shown(&findings));
    assert!(findings.iter().all(|finding| finding.line >= 1 && finding.column >= 1));
    assert!(findings.len() <= tree::FINDINGS_MAX);
}

#[test]
fn a_file_beyond_the_size_is_refused_before_it_is_read() {
    let mut text = format!("{HEAD}# ");
    text.push_str(&"x".repeat(300 * 1024 - text.len()));
    refused(&text, "at most 262144");
    let mut fits = format!("{HEAD}#");
    fits.push_str(&"x".repeat(tree::FILE_BYTES_MAX - fits.len()));
    assert!(parse(fits.as_bytes(), &rules()).is_ok(), "exactly the limit is fine");
}

/// C17.
#[test]
fn an_alias_bomb_is_refused() {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let uses = vec![format!("*a{}", level - 1); 10].join(", ");
        writeln!(text, "a{level}: &a{level} [{uses}]").unwrap();
    }
    refused(&text, "aliases included");
}

#[test]
fn a_large_text_repeated_by_aliases_is_refused() {
    let mut text = format!("{HEAD}  settings:\n    a: &a \"{}\"\n    b: [", "x".repeat(200 * 1024));
    text.push_str(&["*a"; 90].join(", "));
    text.push_str("]\n");
    refused(&text, "bytes of text");
}

/// C17.
#[test]
fn many_aliases_many_values_and_deep_nesting_are_refused() {
    let aliases = format!("{HEAD}  settings: {{ a: &a x, b: [{}] }}\n", ["*a"; 200].join(", "));
    refused(&aliases, "aliases are used");
    let values = format!("{HEAD}  settings: {{ b: [{}] }}\n", ["x"; 20_000].join(","));
    refused(&values, "more than 10000 values");
    for (open, close) in [("[", "]"), ("{a: ", "}")] {
        let deep = format!("{HEAD}  settings: {{ b: {}{} }}\n", open.repeat(20_000), close.repeat(20_000));
        assert!(parse(deep.as_bytes(), &rules()).is_err());
    }
    let mut block = format!("{HEAD}  settings:\n");
    for level in 0..60 {
        writeln!(block, "{}a:", " ".repeat(4 + level)).unwrap();
    }
    assert!(parse(block.as_bytes(), &rules()).is_err());
}

#[test]
fn bytes_that_are_no_text_are_located() {
    let mut bytes = HEAD.as_bytes().to_vec();
    bytes.extend_from_slice(b"  plan: \xff\n");
    let findings = parse(&bytes, &rules()).unwrap_err();
    assert_eq!((findings[0].line, findings[0].column), (7, 9));
    assert!(findings[0].message.contains("UTF-8"));
}

/// A value that a message repeats may hold, as escapes, what the file itself must not.
#[test]
fn a_value_in_a_message_neither_steers_the_terminal_nor_fills_it() {
    for value in [r"a\e[31mb\nc", r"\u202egnp", &"x".repeat(9_000)] {
        let text = HEAD.replace("shop.example", &format!("\"{value}\""));
        for finding in bad(&text) {
            assert!(!finding.message.contains(sitewright::spec::finding::is_hidden), "{:?}", finding.message);
            assert!(finding.message.chars().count() <= 501, "{}", finding.message);
        }
    }
}

/// C1.
#[test]
fn every_prefix_of_a_spec_is_read_or_refused() {
    let rules = rules();
    for text in [FULL, LATER] {
        for end in 0..=text.len() {
            let prefix = &text.as_bytes()[..end];
            let _ = claimed_name(prefix);
            if let Err(findings) = parse(prefix, &rules) {
                assert!(!findings.is_empty());
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn mutated_specs_are_read_or_refused(
        which in 0..2usize,
        edits in prop::collection::vec((0..3usize, any::<prop::sample::Index>(), "[-\\[\\]{}&*!|>'\"#%@`:,? \ta-z0-9\u{e9}\\n]{1,6}"), 1..8),
    ) {
        let mut text: Vec<char> = [FULL, LATER][which].chars().collect();
        for (kind, index, piece) in edits {
            let at = index.index(text.len().max(1)).min(text.len());
            match kind {
                0 => drop(text.splice(at..at, piece.chars())),
                1 => drop(text.splice(at..(at + piece.len()).min(text.len()), [])),
                _ => drop(text.splice(at..(at + piece.chars().count()).min(text.len()), piece.chars())),
            }
        }
        let text: String = text.into_iter().collect();
        let lines = text.lines().count() + 1;
        if let Err(findings) = parse(text.as_bytes(), &rules()) {
            prop_assert!(!findings.is_empty());
            prop_assert!(findings.iter().all(|finding| finding.line <= lines));
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(parse(&bytes, &rules()).is_err());
    }
}
