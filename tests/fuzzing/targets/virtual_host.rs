//! The virtual host editor: refused, or mended to exactly what was asked, with every other byte as it was.

use std::collections::{BTreeMap, BTreeSet};

use sitewright::resource::name::HostName;
use sitewright::resource::nginx::statements;
use sitewright::resource::vhost::{mend, name_as_well, read};

use super::pieces;

const ROOT: &str = "/home/ploi/shop.example";

/// Two bytes of a port, then the text; a second piece is the root that is asked for.
pub fn run(data: &[u8]) {
    let Some((port, rest)) = data.split_first_chunk::<2>() else { return };
    let texts = pieces::texts(rest);
    let text = texts[0].as_str();
    let _ = read(text);
    mended(text, u16::from_be_bytes(*port), texts.get(1).map_or(ROOT, String::as_str));
    named(text);
}

fn mended(text: &str, port: u16, root: &str) {
    let Ok(after) = mend(text, port, root) else { return };
    let before = read(text).expect("what was mended can be read");
    assert!(read(&after).expect("what was mended can be read").is_right(port, root), "{after}");
    assert!(!before.is_right(port, root) || after == text, "a right text was changed");
    assert_eq!(mend(&after, port, root).as_deref(), Ok(after.as_str()), "mending twice changes the text");
    let added = format!(" root {root};");
    let without = without_added(text, &after, &added);
    let (old, new) = (parts(text), parts(&without));
    assert_eq!(old.len(), new.len(), "statements came or went:\n{text}\n{after}");
    for ((gap, statement), (other_gap, other)) in old.iter().zip(&new) {
        assert_eq!(gap, other_gap, "what stands between two statements was changed");
        let is_root = *other == format!("root {root}");
        assert!(is_root || portless(statement) == portless(other), "`{statement}` became `{other}`");
    }
}

/// The mended text without the statements that were put at the beginning of a block.
fn without_added(text: &str, after: &str, added: &str) -> String {
    let (old, new) = (blocks(text), blocks(after));
    assert_eq!(old.len(), new.len(), "a block came or went");
    let mut without = after.to_owned();
    for ((_, before), (body, now)) in old.iter().zip(&new).rev().filter(|(old, new)| old.1 != new.1) {
        assert!(*now == before + 1 && after[*body..].starts_with(added), "a block holds other statements:\n{after}");
        without.replace_range(*body..body + added.len(), "");
    }
    without
}

/// Where every block begins, and how many statements it holds.
fn blocks(text: &str) -> Vec<(usize, usize)> {
    let all = statements(text).expect("nginx");
    let mut held: BTreeMap<usize, usize> = BTreeMap::new();
    all.iter().filter_map(|s| s.block).for_each(|block| *held.entry(block).or_default() += 1);
    let opened = all.iter().filter_map(|s| s.opens);
    opened.map(|block| (block.body, held.get(&block.id).copied().unwrap_or(0))).collect()
}

/// Every statement with what stands before it; the last one is the end of the text.
fn parts(text: &str) -> Vec<(&str, &str)> {
    let mut at = 0;
    let all = statements(text).expect("nginx");
    let mut parts: Vec<(&str, &str)> = all
        .iter()
        .map(|statement| {
            let part = (&text[at..statement.start], &text[statement.start..statement.end]);
            at = statement.end;
            part
        })
        .collect();
    parts.push((&text[at..], ""));
    parts
}

/// A statement that sends somewhere, without the numbers behind a colon.
fn portless(statement: &str) -> String {
    if !statement.contains("proxy_pass") && !statement.contains("server") {
        return statement.to_owned();
    }
    let mut pieces = statement.split(':');
    let mut plain = pieces.next().unwrap_or_default().to_owned();
    pieces.for_each(|piece| plain.push_str(piece.trim_start_matches(|c: char| c.is_ascii_digit())));
    plain
}

fn named(text: &str) {
    let host = |name: &str| HostName::parse(name).expect("a host");
    let names: BTreeSet<HostName> = [host("book.shop.example"), host("more.shop.example")].into();
    let Ok(after) = name_as_well(text, &host("shop.example"), &names) else { return };
    assert!(read(&after).expect("what was named can be read").lacking(&names).is_empty());
    let more = " book.shop.example more.shop.example";
    assert_eq!(after.replace(more, ""), text.replace(more, ""), "other bytes were changed");
}
