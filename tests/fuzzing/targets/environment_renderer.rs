//! A site's environment as a file: refused, or read back as it was meant, by us and by dotenv's readers alike.

use sitewright::resource::env_file::{EnvValue, Environment, check, json, parse, render};

use super::pieces;

/// Names and values in turn; one name is sometimes made a good one, so that its value is tried too.
pub fn run(data: &[u8]) {
    let texts = pieces::texts(data);
    let variable = |at: usize, name: &str| match name.strip_prefix('?') {
        Some(_) => format!("V{at}"),
        None => name.to_owned(),
    };
    let wanted: Environment = texts
        .chunks(2)
        .enumerate()
        .map(|(at, pair)| (variable(at, &pair[0]), EnvValue::Plain(pair.get(1).cloned().unwrap_or_default())))
        .collect();
    match render(&wanted) {
        Ok(text) => {
            let read = parse(text.expose());
            assert_eq!(read.len(), wanted.len(), "{}", text.expose());
            for (name, value) in &wanted {
                assert_eq!(read.get(name).map(|found| found.expose()), Some(value.expose()), "{name}");
            }
        }
        Err(error) => {
            let shown = error.to_string();
            assert!(!shown.contains(|c: char| c.is_control()) && shown.len() < 1024, "{shown:?}");
        }
    }
    carries_json(&texts);
}

/// Whatever JSON holds, its text is carried.
fn carries_json(texts: &[String]) {
    let text = json(&serde_json::json!(texts));
    let fits = text.len() < 64 * 1024 && !text.contains(|c: char| c.is_control());
    if fits && !text.ends_with('\\') {
        assert_eq!(check("CLIENT_SETTINGS", &EnvValue::Plain(text)), Ok(()));
    }
}
