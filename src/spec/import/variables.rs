//! The variables of an existing environment: what members of a spec say better, what may stand in it, what is secret.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::resource::env_file::{self, EnvValue};
use crate::resource::secret::Secret;
use crate::spec::client_spec::{Plan, Template};
use crate::spec::environment::RESERVED_VARIABLES;
use crate::spec::import::Surroundings;

/// Words in a variable's name that say that its value is secret. Rather one too many than one too few.
const SECRET_WORDS: [&str; 19] = [
    "SECRET",
    "TOKEN",
    "PASS",
    "PWD",
    "KEY",
    "CREDENTIAL",
    "PRIVATE",
    "AUTH",
    "SALT",
    "SIGN",
    "DSN",
    "JWT",
    "COOKIE",
    "CERT",
    "LICEN",
    "HASH",
    "WEBHOOK",
    "SESSION",
    "ACCESS",
];
/// What the build puts into pages that everybody reads.
const PUBLIC_PREFIX: &str = "NEXT_PUBLIC_";
/// A single word of so many characters, letters and digits mixed, is a key and no name.
const KEY_CHARS_MIN: usize = 16;
/// Settings that the CMS also reads as variables of their own.
const SETTINGS: [(&str, &[&str]); 2] =
    [("primaryColor", &["PRIMARY_COLOR"]), ("shopModel", &["SHOP_MODEL", "NEXT_PUBLIC_SHOP_MODEL"])];

/// An environment, taken apart.
#[derive(Debug, Clone, Default)]
pub struct Variables {
    /// Members of `spec`.
    pub members: Map<String, Value>,
    /// What may stand in the spec.
    pub plain: BTreeMap<String, String>,
    /// What may not.
    pub secrets: BTreeMap<String, Secret>,
    /// What no spec carries, a sentence each; never a value.
    pub lost: Vec<String>,
}

/// Takes an environment apart.
pub fn sort(environment: &BTreeMap<String, Secret>, around: &Surroundings<'_>, certified: bool) -> Variables {
    let mut sorted = Variables::default();
    let taken = members(environment, around, &mut sorted);
    for (name, value) in environment {
        let is_ours = RESERVED_VARIABLES.contains(&name.as_str()) || around.catalogue.feature_of(name).is_some();
        let is_shared = around.shared.get(name) == Some(value);
        if is_ours || is_shared || taken.contains(name.as_str()) {
            continue;
        }
        if let Err(error) = env_file::check(name, &EnvValue::Secret(value.clone())) {
            sorted.lost.push(format!("{error}; the variable goes with the first write of the environment"));
        } else if is_secret(name, value.expose()) {
            sorted.secrets.insert(name.clone(), value.clone());
        } else {
            sorted.plain.insert(name.clone(), value.expose().to_owned());
        }
    }
    let server_url = environment.get("NEXT_PUBLIC_SERVER_URL").map(Secret::expose).unwrap_or_default();
    if server_url.starts_with("https://") != certified && !server_url.is_empty() {
        sorted.lost.push("NEXT_PUBLIC_SERVER_URL changes its scheme with the first write of the environment".into());
    }
    sorted
}

/// Members that the environment tells; gives the variables that they stand for, besides reserved ones.
fn members<'a>(
    environment: &'a BTreeMap<String, Secret>,
    around: &Surroundings<'_>,
    sorted: &mut Variables,
) -> BTreeSet<&'a str> {
    let text = |name: &str| environment.get(name).map(Secret::expose).filter(|text| !text.is_empty());
    let members = &mut sorted.members;
    if let Some(name) = text("CLIENT_NAME").or_else(|| text("SITE_NAME")) {
        members.insert("displayName".into(), json!(name));
    }
    let word = |name: &str| text(name).map(|word| Value::String(word.to_owned()));
    if let Some(word) = word("TEMPLATE_ID").filter(|word| serde_json::from_value::<Template>(word.clone()).is_ok()) {
        members.insert("template".into(), word);
    }
    if let Some(word) = word("CLIENT_PLAN").filter(|word| serde_json::from_value::<Plan>(word.clone()).is_ok()) {
        members.insert("plan".into(), word);
    }
    if let Some(list) = text("DISABLED_COLLECTIONS") {
        let names: Vec<&str> = list.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
        members.insert("disabledCollections".into(), json!(names));
    }
    let mut settings: Map<String, Value> =
        text("CLIENT_SETTINGS").and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default();
    let mut taken = BTreeSet::new();
    for (setting, variables) in SETTINGS {
        let values: BTreeSet<&str> = variables.iter().filter_map(|name| text(name)).collect();
        if let [value] = values.iter().copied().collect::<Vec<_>>().as_slice()
            && settings.get(setting).is_none_or(|known| known == value)
        {
            settings.insert(setting.into(), json!(value));
            taken.extend(environment.keys().map(String::as_str).filter(|name| variables.contains(name)));
        }
    }
    if !settings.is_empty() {
        members.insert("settings".into(), Value::Object(settings));
    }
    features(environment, around, sorted);
    taken
}

/// A feature is on where all its switches are; a switch that no feature explains is told.
fn features(environment: &BTreeMap<String, Secret>, around: &Surroundings<'_>, sorted: &mut Variables) {
    let is_on = |name: &str| environment.get(name).is_some_and(|value| value.expose() == "true");
    let all_on = |feature: &&str| {
        let switches = around.catalogue.switches([*feature]);
        let mut own = switches.iter().filter(|(_, on)| **on).peekable();
        own.peek().is_some() && own.all(|(name, _)| is_on(name))
    };
    let listed: Vec<&str> = around.catalogue.names().filter(all_on).collect();
    for (name, on) in around.catalogue.switches(listed.iter().copied()) {
        if is_on(name) && !on {
            sorted.lost.push(format!(
                "{name} is on without the rest of its feature; it goes off with the first write of the environment"
            ));
        }
    }
    if !listed.is_empty() {
        sorted.members.insert("features".into(), json!(listed));
    }
}

/// Whether a value must not stand in a file that is committed.
fn is_secret(name: &str, value: &str) -> bool {
    if name.starts_with(PUBLIC_PREFIX) {
        return false;
    }
    let named = SECRET_WORDS.iter().any(|word| name.contains(word));
    let holds_login = value.split("://").skip(1).any(|rest| rest.split('/').next().unwrap_or_default().contains('@'));
    let is_key = value.split(['/', ',', ' ', '?', '&', '=', ';', '\n']).any(|word| {
        let mixed = word.contains(|c: char| c.is_ascii_digit()) && word.contains(|c: char| c.is_ascii_alphabetic());
        word.chars().count() >= KEY_CHARS_MIN && mixed && !word.contains('.')
    });
    named || holds_login || is_key || value.contains('\n')
}

#[cfg(test)]
mod tests {
    use super::is_secret;

    #[test]
    fn what_may_be_a_secret_is_taken_for_one() {
        let secret = [
            ("SMTP_PASSWORD", "x"),
            ("STRIPE_API", "sk_live_4eC39HqLyjWDarjtT1zdp7dc"),
            ("REDIS_URL", "redis://user:pw@cache.example:6379/0"),
            ("SENTRY", "https://0a1b2c3d4e5f60718293@errors.example/7"),
            ("FEED_URL", "https://feed.example/hook/0a1b2c3d4e5f60718293a4"),
            ("MAPS_APIKEY", "short"),
        ];
        let plain = [
            ("SMTP_HOST", "smtp.provider42.example"),
            ("LOCALE", "nl-NL"),
            ("CATALOGUE_URL", "https://shop.example/feed/products"),
            ("NEXT_PUBLIC_MAPS_KEY", "pk.eyJ1IjoiYWdlbmN5IiwiYSI6ImNrbDF"),
        ];
        for (name, value) in secret {
            assert!(is_secret(name, value), "{name}");
        }
        for (name, value) in plain {
            assert!(!is_secret(name, value), "{name}");
        }
    }
}
