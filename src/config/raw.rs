//! The texts of all settings with their origins, before they are read as values.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use serde_json::Value;

use crate::config::keys::{KEYS, Key, PROVIDER_KEYS, Show, variable};
use crate::config::value::{Read, url};
use crate::config::{Row, Source};
use crate::resource::secret::Secret;

/// The settings file that is read when it is there.
pub const FILE_DEFAULT: &str = "sitewright.yaml";
/// Variables of ours that are not settings: the settings file, the owner's mark of a site, the demo's own.
const OTHER_VARIABLES: [&str; 2] = ["SITEWRIGHT_CONFIG", "SITEWRIGHT_OWNER"];
/// Largest settings file, in bytes: a full one has a few kilobytes.
const FILE_BYTES_MAX: usize = 64 * 1024;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Origin {
    /// The command line.
    Flag,
    /// A variable of the environment.
    Environment(String),
    /// A file that a variable named, or a credential of systemd.
    SecretFile(String),
    /// The settings file.
    File(String),
    /// Nobody said anything.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Flag => f.write_str("flag"),
            Origin::Environment(name) => write!(f, "environment {name}"),
            Origin::SecretFile(path) => write!(f, "file {path}"),
            Origin::File(path) => write!(f, "settings file {path}"),
            Origin::Default => f.write_str("default"),
        }
    }
}

/// All texts. No `Debug`: some are secrets.
#[derive(Default)]
pub struct Raw {
    found: BTreeMap<&'static str, (String, Origin)>,
    /// One sentence each.
    pub errors: Vec<String>,
    /// One sentence each.
    pub warnings: Vec<String>,
}

fn all_keys() -> impl Iterator<Item = &'static Key> {
    KEYS.iter().chain(PROVIDER_KEYS)
}

fn key_of(name: &str) -> Option<&'static Key> {
    all_keys().find(|key| key.name == name)
}

impl Raw {
    /// Gathers every text by precedence: flag, variable, its file, credential, settings file.
    pub fn read(flags: &[(&str, String)], source: &dyn Source) -> Raw {
        let mut raw = Raw::default();
        raw.settings_file(flags, source);
        for key in all_keys() {
            raw.environment(key, source);
        }
        if !matches!(raw.found.get("log"), Some((_, Origin::Environment(_) | Origin::SecretFile(_))))
            && let Some(filter) = set(source.variable("RUST_LOG"))
        {
            raw.found.insert("log", (filter, Origin::Environment("RUST_LOG".into())));
        }
        for (name, value) in flags {
            match KEYS.iter().find(|key| key.name == *name) {
                Some(key) => drop(raw.found.insert(key.name, (value.clone(), Origin::Flag))),
                None if *name == "config" => {}
                None => raw.errors.push(format!("the flag for `{name}` belongs to no setting")),
            }
        }
        raw.unknown_variables(source);
        raw
    }

    fn settings_file(&mut self, flags: &[(&str, String)], source: &dyn Source) {
        let flag = flags.iter().find(|(name, _)| *name == "config").map(|(_, path)| path.clone());
        let named = flag.or_else(|| set(source.variable("SITEWRIGHT_CONFIG")));
        let path = named.clone().unwrap_or_else(|| FILE_DEFAULT.to_owned());
        let text = match source.file(&path) {
            Ok(Some(text)) => text,
            Ok(None) if named.is_none() => return,
            Ok(None) => return self.errors.push(format!("{path}: there is no such settings file; mend the path")),
            Err(why) => return self.errors.push(format!("{path}: the settings file cannot be read: {why}")),
        };
        if text.len() > FILE_BYTES_MAX {
            return self.errors.push(format!("{path}: a settings file has at most {FILE_BYTES_MAX} bytes"));
        }
        let options = serde_yaml::options! { strict_booleans: true, with_snippet: false };
        let value = match serde_yaml::from_str_with_options::<Value>(&text, options) {
            Ok(value) => value,
            Err(error) => {
                let place = error.location().map(|at| format!("{}:{}: ", at.line(), at.column())).unwrap_or_default();
                return self.errors.push(format!("{path}:{place}this is not YAML; check indentation and quotes there"));
            }
        };
        match value {
            Value::Null => {}
            Value::Object(_) => self.flatten("", &value, &path),
            _ => self.errors.push(format!("{path}: a map of settings is expected")),
        }
    }

    /// Keys nest as their dots say; a key may also be written with its dots.
    fn flatten(&mut self, prefix: &str, value: &Value, path: &str) {
        if let Some(key) = KEYS.iter().find(|key| key.name == prefix)
            && !value.is_object()
        {
            match scalar(value) {
                Some(text) => drop(self.found.insert(key.name, (text, Origin::File(path.to_owned())))),
                None if value.is_null() => {}
                None => self.errors.push(format!("{path}: {prefix}: one value, or a list of texts, is expected")),
            }
            return;
        }
        match value {
            Value::Object(members) => {
                for (name, member) in members {
                    let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
                    self.flatten(&key, member, path);
                }
            }
            _ if PROVIDER_KEYS.iter().any(|key| key.name == prefix) => {
                self.errors.push(format!("{path}: {prefix} is read from the environment alone; set it there"));
            }
            _ => {
                let near = near(prefix, KEYS.iter().map(|key| key.name));
                let hint = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
                self.errors.push(format!("{path}: `{prefix}` is not a setting{hint}"));
            }
        }
    }

    fn environment(&mut self, key: &'static Key, source: &dyn Source) {
        let name = variable(key.name);
        let file_name = format!("{name}_FILE");
        let direct = set(source.variable(&name));
        let file = set(source.variable(&file_name));
        if let Some(text) = direct {
            if file.is_some() {
                self.warnings.push(format!("{name} and {file_name} are both set; {name} counts, remove one of them"));
            }
            self.found.insert(key.name, (text, Origin::Environment(name)));
        } else if let Some(path) = file {
            match source.file(&path) {
                Ok(Some(text)) => drop(self.found.insert(key.name, (one_line(text), Origin::SecretFile(path)))),
                Ok(None) => self.errors.push(format!("{file_name}: there is no file {path}; mend the path")),
                Err(why) => self.errors.push(format!("{file_name}: {path} cannot be read: {why}")),
            }
        } else {
            match source.credential(&name) {
                Ok(Some(text)) => {
                    self.found.insert(key.name, (one_line(text), Origin::SecretFile(format!("credential {name}"))));
                }
                Ok(None) => {}
                Err(why) => self.errors.push(format!("the credential {name} cannot be read: {why}")),
            }
        }
    }

    fn unknown_variables(&mut self, source: &dyn Source) {
        let known: Vec<String> = KEYS.iter().map(|key| variable(key.name)).collect();
        let mut unknown: Vec<String> =
            source.variables().into_iter().filter(|name| name.starts_with("SITEWRIGHT_")).collect();
        unknown.retain(|name| {
            let bare = name.strip_suffix("_FILE").unwrap_or(name);
            !known.iter().any(|known| known == bare || known == name) && !OTHER_VARIABLES.contains(&name.as_str())
        });
        unknown.sort();
        for name in unknown {
            let near = near(&name, known.iter().map(String::as_str));
            let hint = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
            self.warnings.push(format!("{name} is not a setting and is passed over{hint}"));
        }
    }

    /// The text of a key; its default where nobody said anything.
    fn text(&self, name: &str) -> Option<String> {
        match self.found.get(name) {
            Some((text, _)) => Some(text.clone()),
            None => key_of(name).and_then(|key| key.default).map(str::to_owned),
        }
    }

    /// A value that has a default; the default also stands in for a value that cannot be read, which is reported.
    pub fn required<T>(&mut self, name: &str, read: fn(&str) -> Read<T>) -> T {
        if let Some(value) = self.optional(name, read) {
            return value;
        }
        let default = key_of(name).and_then(|key| key.default).unwrap_or_default();
        match read(default) {
            Ok(value) => value,
            // Every key that is asked for here has a default that reads: a test holds the table to that.
            Err(expected) => unreachable!("the default of {name}: {expected}"),
        }
    }

    /// A value that may be missing.
    pub fn optional<T>(&mut self, name: &str, read: fn(&str) -> Read<T>) -> Option<T> {
        let text = self.text(name)?;
        match read(&text) {
            Ok(value) => Some(value),
            Err(expected) => {
                let origin = self.found.get(name).map_or(Origin::Default, |(_, origin)| origin.clone());
                let shown = match key_of(name).map(|key| key.show) {
                    Some(Show::Plain) => format!(", this is `{}`", printable(&text)),
                    _ => String::new(),
                };
                self.errors.push(format!("setting {name} ({origin}): {expected}{shown}"));
                None
            }
        }
    }

    /// A secret; an empty one would let everybody in, so it is none.
    pub fn secret(&mut self, name: &str) -> Option<Secret> {
        set(self.text(name)).map(Secret::new)
    }

    /// A secret that is an http or https address.
    pub fn secret_url(&mut self, name: &str) -> Option<Secret> {
        let text = self.text(name)?;
        // The query of a hook is often its secret, so it is allowed here, and never shown.
        if url(text.split('?').next().unwrap_or_default()).is_err() {
            self.errors.push(format!("setting {name}: an http or https address is expected"));
            return None;
        }
        Some(Secret::new(text))
    }

    /// Every key with its text and origin, secrets masked.
    pub fn rows(&self) -> Vec<Row> {
        let row = |key: &'static Key| {
            let text = self.text(key.name);
            let origin = self.found.get(key.name).map_or(Origin::Default, |(_, origin)| origin.clone());
            let value = text.map(|text| match key.show {
                Show::Secret => "(secret)".to_owned(),
                Show::SecretAddress if text.contains("://") => "(secret address)".to_owned(),
                _ => printable(&text),
            });
            Row { key: key.name, value, origin }
        };
        all_keys().map(row).collect()
    }
}

/// An empty variable is one that is not set: container tools write them so.
fn set(value: Option<String>) -> Option<String> {
    value.filter(|text| !text.is_empty())
}

/// Files end in a line break that is not part of the value.
fn one_line(text: String) -> String {
    let bare = text.strip_suffix('\n').unwrap_or(&text);
    bare.strip_suffix('\r').unwrap_or(bare).to_owned()
}

fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(on) => Some(on.to_string()),
        Value::Array(items) => items
            .iter()
            .map(|item| item.as_str().map(str::to_owned))
            .collect::<Option<Vec<_>>>()
            .map(|items| items.join(",")),
        _ => None,
    }
}

/// Least share of neighbouring letter pairs that two names have in common before one is suggested for the other.
const LIKENESS_MIN: f64 = 0.6;

/// The known name that shares most letter pairs with a text.
fn near<'a>(text: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let pairs = |text: &str| {
        let lower = text.to_ascii_lowercase().into_bytes();
        lower.windows(2).map(<[u8]>::to_vec).collect::<Vec<_>>()
    };
    let mine = pairs(text);
    let likeness = |name: &str| {
        let theirs = pairs(name);
        let common = mine.iter().filter(|pair| theirs.contains(pair)).count();
        2.0 * common as f64 / (mine.len() + theirs.len()).max(1) as f64
    };
    let best = known.map(|name| (likeness(name), name)).max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 >= LIKENESS_MIN).then_some(best.1)
}
