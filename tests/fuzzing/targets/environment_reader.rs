//! An environment file of somebody else: read leniently, and what can be written again reads the same.

use sitewright::resource::env_file::{EnvValue, Environment, FILE_BYTES_MAX, VARIABLES_MAX, check, parse, render};

/// Any text as a file.
pub fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let read = parse(&text);
    assert!(read.len() <= VARIABLES_MAX);
    let held: usize = read.iter().map(|(name, value)| name.len() + value.expose().len()).sum();
    assert!(held <= text.len().min(FILE_BYTES_MAX), "more was read than stands there");
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    assert!(read.keys().all(|name| !name.is_empty() && name.chars().all(plain)));
    let again: Environment = read
        .into_iter()
        .map(|(name, value)| (name, EnvValue::Plain(value.expose().to_owned())))
        .filter(|(name, value)| check(name, value).is_ok())
        .collect();
    if let Ok(text) = render(&again) {
        let second = parse(text.expose());
        assert!(again.iter().all(|(name, value)| second.get(name).is_some_and(|s| s.expose() == value.expose())));
        assert_eq!(second.len(), again.len());
    }
}
