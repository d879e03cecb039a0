//! A client's file: it is read, or refused with findings that stand in the file and can be shown.

use sitewright::spec::finding::{Finding, is_hidden};
use sitewright::spec::parse::{Parsed, claimed_name, parse};
use sitewright::spec::tree::{FILE_BYTES_MAX, FINDINGS_MAX};
use sitewright::spec::validate::Rules;

/// Any bytes as a file.
pub fn run(data: &[u8]) {
    let rules = Rules { base_domain: Some("agency.example".into()), ..Rules::default() };
    match parse(data, &rules) {
        Ok(parsed) => read(data, &parsed, &rules),
        Err(findings) => refused(data, &findings),
    }
}

/// What was read is whose it says it is, and means the same written the other way.
fn read(data: &[u8], parsed: &Parsed, rules: &Rules) {
    assert!(std::str::from_utf8(data).is_ok() && data.len() <= FILE_BYTES_MAX);
    let name = claimed_name(data).expect("a good file names its client");
    assert_eq!(name.as_str(), parsed.spec.metadata.name);
    let again = serde_json::to_string(&parsed.spec).expect("a spec is JSON");
    // JSON has texts that YAML shows only as escapes, and repeats what aliases stood for.
    if again.len() <= FILE_BYTES_MAX && !again.contains(is_hidden) {
        match parse(again.as_bytes(), rules) {
            Ok(second) => assert_eq!(second.spec, parsed.spec, "{again}"),
            Err(findings) => panic!("{}\n{again}", findings[0].render("again")),
        }
    }
}

fn refused(data: &[u8], findings: &[Finding]) {
    let _ = claimed_name(data);
    let lines = data.split(|byte| matches!(byte, b'\n' | b'\r')).count() + 1;
    assert!((1..=FINDINGS_MAX).contains(&findings.len()));
    for finding in findings {
        assert!((1..=lines).contains(&finding.line) && finding.column >= 1, "{finding:?}");
        let shown = finding.render("shop.yaml");
        let steers = |c: char| is_hidden(c) && c != '\n' && c != '\t';
        assert!(!shown.contains(steers), "a finding with a hidden character: {shown:?}");
        assert!(!finding.message.contains('\n') && shown.len() < 16 * 1024, "{shown}");
    }
}
