//! The deploy script: refused, or one quoted word a line above a program that no value changes; and what its log says.

use std::time::Duration;

use sitewright::resource::deploy_script::{Commands, Migrate, PROGRAM, ScriptData, reason, render};
use sitewright::resource::name::{ClientName, HostName, RepositorySlug};
use sitewright::resource::secret::{Secret, mask};

use super::canned::TOKEN;
use super::pieces;

/// Data lines above the program.
const LINES: usize = 17;

/// The values in turn; each is also a log.
pub fn run(data: &[u8]) {
    let texts = pieces::texts(data);
    let text = |at: usize| texts.get(at).cloned().unwrap_or_default();
    let number = |at: usize| text(at).parse().unwrap_or(1);
    let data = ScriptData {
        client: ClientName::trusted(text(0)),
        domain: HostName::trusted(text(1)),
        system_user: text(2),
        repository: RepositorySlug::trusted(text(3)),
        branch: text(4),
        build_memory_mib: number(5),
        timeout: Duration::from_secs(number(6)),
        health_path: text(7),
        migrate: if text(8) == "off" { Migrate::Off } else { Migrate::Safe },
        health_gate: text(9).is_empty(),
        rollback_on_failure: text(9).is_empty(),
        commands: Commands { install: text(10), build: text(11), check: text(12), migrate: text(13), start: text(14) },
    };
    match render(&data) {
        Ok(script) => rendered(&script, &data),
        Err(error) => assert!(!error.to_string().contains(|c: char| c.is_control()), "{error:?}"),
    }
    for log in texts.iter().take(LINES) {
        if let Some(reason) = reason(log) {
            assert!(reason.len() <= 40 && reason.bytes().all(|b| b.is_ascii_alphabetic()));
            assert!(log.contains(&format!("sitewright: reason={reason}")));
        }
        assert!(!mask(log, vec![Secret::new(TOKEN)]).contains(TOKEN), "a log shows a secret");
    }
}

fn rendered(script: &str, data: &ScriptData) {
    let lines = script.strip_suffix(PROGRAM).expect("the program stands untouched below the data lines");
    assert_eq!((lines.matches('\n').count(), lines.ends_with('\n')), (LINES, true), "{lines}");
    let words: Vec<String> = lines.lines().map(word).collect();
    let site = format!("/home/{}/{}", data.system_user, data.domain);
    let numbers = [data.build_memory_mib.to_string(), data.timeout.as_secs().to_string()];
    let Commands { install, build, check, migrate, start } = &data.commands;
    let wanted = [data.client.as_str(), data.domain.as_str(), &data.system_user, &site, data.repository.as_str()]
        .into_iter()
        .chain([data.branch.as_str(), &numbers[0], &numbers[1], &data.health_path])
        .collect::<Vec<_>>();
    assert_eq!(words[..9], wanted);
    assert_eq!(words[12..], [install, build, check, migrate, start].map(String::clone));
    assert!(words.iter().all(|word| !word.contains('\0')));
}

/// The value that a POSIX shell reads from `SW_NAME='…'`: quotes by its own grammar, and nothing outside them.
fn word(line: &str) -> String {
    let (name, mut rest) = line.split_once('=').expect("an assignment");
    let good = |b: u8| b.is_ascii_uppercase() || b == b'_';
    assert!(name.starts_with("SW_") && name.bytes().all(good), "{line}");
    let mut value = String::new();
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix("\\'") {
            value.push('\'');
            rest = after;
        } else {
            let inner = rest.strip_prefix('\'').expect("nothing stands outside quotes");
            let (quoted, after) = inner.split_once('\'').expect("a quote has its partner");
            value.push_str(quoted);
            rest = after;
        }
    }
    value
}
