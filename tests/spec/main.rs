//! From the text of a file to a client's wanted state, and everything that can be wrong on the way.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests fail like the tests themselves

mod bad_files;
mod changes;
mod features;
mod fleet;
mod good_files;
mod hostile;
mod imported;
mod settings;
mod wanted;

use sitewright::spec::finding::Finding;
use sitewright::spec::parse::{Parsed, parse};
use sitewright::spec::validate::Rules;

/// A spec with nearly every member.
pub const FULL: &str = include_str!("fixtures/full.yaml");
/// A spec with the members that [`FULL`] lacks.
pub const LATER: &str = include_str!("fixtures/later.yaml");
/// Everything a spec must have; tests append members of `spec`.
pub const HEAD: &str =
    "apiVersion: sitewright/v1\nkind: ClientSpec\nmetadata:\n  name: shop\nspec:\n  domain: shop.example\n";

/// Rules with a base domain.
pub fn rules() -> Rules {
    Rules { base_domain: Some("agency.example".into()), ..Rules::default() }
}

/// A text that must be good.
pub fn good(text: &str) -> Parsed {
    parse(text.as_bytes(), &rules()).unwrap_or_else(|findings| panic!("{}", shown(&findings)))
}

/// The findings of a text that must be bad.
pub fn bad(text: &str) -> Vec<Finding> {
    match parse(text.as_bytes(), &rules()) {
        Ok(_) => panic!("this should be refused:\n{text}"),
        Err(findings) => findings,
    }
}

/// All findings as people see them.
pub fn shown(findings: &[Finding]) -> String {
    findings.iter().map(|finding| finding.render("shop.yaml")).collect::<Vec<_>>().join("\n")
}
