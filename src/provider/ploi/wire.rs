//! Ploi's JSON as it really comes: envelopes that differ, numbers as text, empty bodies, errors inside a 200.
//!
//! Contract: contracts/ploi.md 3, 4, 6. Nothing here calls anything; every function reads one body and gives our nouns or a
//! clause that says what is wrong with it.

use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::Value;

use crate::provider::error::one_line;
use crate::resource::certificate::{Certificate, CertificateStatus};
use crate::resource::name::{HostName, RemoteId, RepositorySlug, ServerId};
use crate::resource::reading::Live;
use crate::resource::release::tail;
use crate::resource::site::{Repository, RunState, Server, Site, SiteStatus};

/// Longest part of Ploi's own words that goes into an error: enough for a sentence, too short for a file.
const WORDS_CHARS_MAX: usize = 300;
/// How much of a log or output is kept, from its end: a failed build says why in its last lines.
pub const EXCERPT_BYTES_MAX: usize = 8 * 1024;
/// The system user of a site whose object does not name one (contracts/ploi.md 6.3).
const SYSTEM_USER_DEFAULT: &str = "ploi";

/// What is wrong with a body, as one clause.
pub type Flaw = String;

/// One page of a list (contracts/ploi.md 4).
#[derive(Debug)]
pub struct Page {
    /// Its items.
    pub items: Vec<Value>,
    /// Its number, as Ploi says.
    pub current: u64,
    /// The last page's number.
    pub last: u64,
    /// Items on all pages.
    pub total: u64,
}

/// The body as JSON; `Null` when it is empty.
pub fn json(body: &[u8]) -> Result<Value, Flaw> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Value::Null);
    }
    serde_json::from_slice(body).map_err(|_| "the answer is not JSON".to_owned())
}

/// Ploi's own words for a failure, in the order in which its command line looks: `error`, `errors`, `message`
/// (contracts/ploi.md 3). Cut, on one line.
pub fn words(body: &[u8]) -> String {
    let Ok(value) = json(body) else { return "no readable reason".to_owned() };
    let text = ["error", "errors", "message"]
        .iter()
        .filter_map(|key| value.get(key))
        .map(flat)
        .find(|text| !text.is_empty())
        .unwrap_or_else(|| "no reason given".to_owned());
    one_line(&text, WORDS_CHARS_MAX)
}

/// Every text within a value, `field: text` for members, joined.
fn flat(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(flat).filter(|t| !t.is_empty()).collect::<Vec<_>>().join("; "),
        Value::Object(map) => map
            .iter()
            .map(|(key, item)| (key, flat(item)))
            .filter(|(_, text)| !text.is_empty())
            .map(|(key, text)| format!("{key}: {text}"))
            .collect::<Vec<_>>()
            .join("; "),
        _ => String::new(),
    }
}

/// The `error` that a 2xx may hold (contracts/ploi.md 3), cut and on one line.
pub fn error_inside(value: &Value) -> Option<String> {
    let text = flat(value.get("error")?);
    (!text.is_empty()).then(|| one_line(&text, WORDS_CHARS_MAX))
}

/// Whether a 422 says that the root domain is taken, wherever it says so (contracts/ploi.md 3).
pub fn is_taken(body: &[u8]) -> bool {
    let Ok(value) = json(body) else { return false };
    let all = ["errors", "message", "error"].iter().filter_map(|key| value.get(key)).map(flat).collect::<String>();
    let all = all.to_ascii_lowercase().replace('_', " ");
    all.contains("root domain") && all.contains("already been taken")
}

/// Whether a 422 names fields: validation then, else it is about the site's state (contracts/ploi.md 3, 7).
pub fn names_fields(body: &[u8]) -> bool {
    json(body).is_ok_and(|value| value.get("errors").is_some_and(|e| !flat(e).is_empty()))
}

/// One page.
pub fn page(body: &[u8]) -> Result<Page, Flaw> {
    let mut value = json(body)?;
    let number = |value: &Value, key: &str| value.pointer(&format!("/meta/{key}")).and_then(integer);
    let (Some(current), Some(last), Some(total)) =
        (number(&value, "current_page"), number(&value, "last_page"), number(&value, "total"))
    else {
        return Err("the listing does not say how many pages it has".to_owned());
    };
    match value.get_mut("data").map(Value::take) {
        Some(Value::Array(items)) => Ok(Page { items, current, last, total }),
        _ => Err("the listing has no `data`".to_owned()),
    }
}

/// A number, also where it comes as text.
pub fn integer(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// A text, also where it comes as a number; `None` for null, false and empty.
pub fn text(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn flag(value: Option<&Value>) -> bool {
    match value {
        Some(Value::Bool(flag)) => *flag,
        Some(Value::Number(number)) => number.as_u64() == Some(1),
        Some(Value::String(text)) => matches!(text.as_str(), "1" | "true"),
        _ => false,
    }
}

/// The object of a single resource: `{"data": {…}}`, or the object itself.
pub fn single(value: &Value) -> &Value {
    value.get("data").filter(|data| data.is_object()).unwrap_or(value)
}

/// The id of an object, number or text.
pub fn id(value: &Value) -> Option<RemoteId> {
    text(value.get("id")).map(RemoteId::trusted)
}

/// A host name of the account: canonical where it is one, else as it came in lower case (a foreign site may be named oddly
/// and must not spoil the listing).
fn host(text: &str) -> HostName {
    HostName::parse(text).unwrap_or_else(|_| HostName::trusted(text.trim().to_ascii_lowercase()))
}

/// A server (contracts/ploi.md 6.2).
pub fn server(value: &Value, asked: &ServerId) -> Result<Server, Flaw> {
    let value = single(value);
    let address = text(value.get("ip_address")).ok_or("the server shows no `ip_address`")?;
    Ok(Server {
        id: asked.clone(),
        name: text(value.get("name")).unwrap_or_else(|| asked.to_string()),
        address: address.parse().map_err(|_| "the server's `ip_address` is not an IPv4 address".to_owned())?,
        active: text(value.get("status")).as_deref() == Some("active"),
    })
}

/// A site (contracts/ploi.md 6.3). `deploy_webhook_url` holds a secret and is not read at all.
pub fn site(value: &Value, server: &ServerId) -> Result<Live<Site>, Flaw> {
    let id = id(value).ok_or("a site without an id")?;
    let domain = text(value.get("domain")).ok_or("a site without a `domain`")?;
    Ok(Live {
        id,
        mark: None,
        value: Site {
            server: server.clone(),
            domain: host(&domain),
            system_user: text(value.get("system_user")).unwrap_or_else(|| SYSTEM_USER_DEFAULT.to_owned()),
            status: site_status(text(value.get("status")).as_deref()),
            has_repository: flag(value.get("has_repository")),
            last_deploy_at: text(value.get("last_deploy_at")),
            quick_deploy: flag(value.get("quick_deploy")),
            deploy_log: text(value.get("current_deploy_log")).filter(|log| !log.is_empty()),
        },
    })
}

/// A site's status; a word we do not know is transitional (contracts/ploi.md 5).
fn site_status(word: Option<&str>) -> SiteStatus {
    match word {
        Some("active") => SiteStatus::Active,
        Some("deploying") => SiteStatus::Deploying,
        Some("deploy-failed") => SiteStatus::DeployFailed,
        Some("suspended") => SiteStatus::Suspended,
        Some("deleting") => SiteStatus::Deleting,
        Some(other) => SiteStatus::Transitional(other.to_owned()),
        None => SiteStatus::Transitional("unknown".to_owned()),
    }
}

/// What is installed (contracts/ploi.md 6.6): `data` is a site-like object, `repository` null or absent when there is none.
pub fn repository(value: &Value) -> Result<Option<Repository>, Flaw> {
    if !single(value).is_object() {
        // An empty 200 says nothing, least of all that nothing is installed.
        return Err("the answer is no site".to_owned());
    }
    let Some(found) = single(value).get("repository").filter(|r| r.is_object()) else { return Ok(None) };
    let provider = text(found.get("provider"));
    let (user, name) = (text(found.get("user")), text(found.get("name")));
    let Some(name) = name.filter(|_| provider.as_deref() != Some("none")) else { return Ok(None) };
    let slug = match user {
        Some(user) if !name.contains('/') => format!("{user}/{name}"),
        _ => name,
    };
    Ok(Some(Repository {
        // A custom clone URL is not `owner/name`; it is kept as it is so that it differs from every wanted one.
        slug: RepositorySlug::parse(&slug).unwrap_or_else(|_| RepositorySlug::trusted(slug)),
        branch: text(found.get("branch")).unwrap_or_default(),
    }))
}

/// A whole file in any of its envelopes: the first of `keys` at the top or under `data`, a `data` string, a bare string, or
/// a body that is no JSON at all where the file's own text came. `None` when it is empty (contracts/ploi.md 6.7 to 6.9).
pub fn file(body: &[u8], keys: &[&str]) -> Result<Option<String>, Flaw> {
    let value = json(body)?;
    let places = [Some(&value), value.get("data")];
    let found = places.iter().flatten().find_map(|place| match place {
        Value::String(text) => Some(text.clone()),
        Value::Object(map) => keys.iter().find_map(|key| map.get(*key)).map(|v| v.as_str().unwrap_or("").to_owned()),
        _ => None,
    });
    match found {
        Some(text) => Ok(Some(text).filter(|t| !t.trim().is_empty())),
        None if value.is_null() || value.get("data").is_some_and(Value::is_null) => Ok(None),
        None => Err(format!("the answer holds none of {}", keys.join(", "))),
    }
}

/// A certificate (contracts/ploi.md 6.10).
pub fn certificate(value: &Value) -> Result<Live<Certificate>, Flaw> {
    let id = id(value).ok_or("a certificate without an id")?;
    let names = text(value.get("domain")).unwrap_or_default();
    let status = match text(value.get("status")).as_deref() {
        Some("active") => CertificateStatus::Active,
        Some("failed") => CertificateStatus::Failed,
        Some("deleting") => CertificateStatus::Deleting,
        Some(other) => CertificateStatus::Pending(other.to_owned()),
        None => CertificateStatus::Pending("unknown".to_owned()),
    };
    Ok(Live {
        id,
        mark: None,
        value: Certificate {
            names: names.split(',').map(str::trim).filter(|n| !n.is_empty()).map(host).collect(),
            status,
            custom: text(value.get("type")).as_deref() == Some("custom"),
            expires_at: text(value.get("expires_at")).as_deref().and_then(timestamp),
        },
    })
}

/// A date-time: RFC 3339, or without a zone and then UTC (contracts/ploi.md 9.9).
pub fn timestamp(text: &str) -> Option<Timestamp> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Some(at);
    }
    let civil: DateTime = text.trim().replacen(' ', "T", 1).parse().ok()?;
    civil.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

/// Aliases (contracts/ploi.md 6.11): hosts as texts, or as objects that name one; the root domain is none of them.
pub fn aliases(value: &Value, root: &HostName) -> Result<BTreeSet<HostName>, Flaw> {
    let list = single(value).get("aliases").or_else(|| value.get("data")).or_else(|| value.get("aliases"));
    let Some(Value::Array(items)) = list else { return Err("the answer has no `aliases`".to_owned()) };
    let name = |item: &Value| match item {
        Value::String(text) => Some(host(text)),
        other => text(other.get("domain").or_else(|| other.get("alias"))).map(|t| host(&t)),
    };
    let hosts: Option<BTreeSet<HostName>> = items.iter().map(name).collect();
    let mut hosts = hosts.ok_or("an alias without a name")?;
    hosts.remove(root);
    Ok(hosts)
}

/// How far a one-off script is (contracts/ploi.md 6.13); words we do not know are pending.
pub fn run_state(value: &Value) -> Result<RunState, Flaw> {
    let value = single(value);
    let status = text(value.get("status")).ok_or("a script run without a `status`")?;
    if status != "finished" && status != "failed" {
        return Ok(RunState::Pending);
    }
    let code = value.get("exit_code").and_then(|v| match v {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    });
    Ok(RunState::Finished {
        // Ended without an exit code was not seen to succeed.
        exit_code: code.and_then(|c| i32::try_from(c).ok()).unwrap_or(-1),
        output: tail(&text(value.get("output")).unwrap_or_default(), EXCERPT_BYTES_MAX).to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn bytes(value: Value) -> Vec<u8> {
        value.to_string().into_bytes()
    }

    #[test]
    fn an_environment_is_read_from_every_envelope() {
        let text = "A='1'\n";
        for body in [json!({"content": text}), json!({"data": text}), json!({"data": {"content": text}}), json!(text)] {
            assert_eq!(file(&bytes(body), &["content"]).unwrap().as_deref(), Some(text));
        }
        assert_eq!(file(b"", &["content"]).unwrap(), None);
        assert_eq!(file(&bytes(json!({"content": null})), &["content"]).unwrap(), None);
        assert!(file(&bytes(json!({"message": "hm"})), &["content"]).is_err());
    }

    #[test]
    fn a_taken_domain_is_seen_in_errors_and_in_message() {
        let field = json!({"message": "The given data was invalid.", "errors": {"root_domain": ["The root domain has already been taken."]}});
        assert!(is_taken(&bytes(field)));
        assert!(is_taken(&bytes(json!({"message": "Root domain has already been taken"}))));
        assert!(!is_taken(&bytes(json!({"message": "The root domain is too long."}))));
    }

    #[test]
    fn words_look_at_error_then_errors_then_message() {
        assert_eq!(words(&bytes(json!({"message": "m", "errors": {"f": ["e"]}, "error": "x"}))), "x");
        assert_eq!(words(&bytes(json!({"message": "m", "errors": {"f": ["e"]}}))), "f: e");
        assert_eq!(words(b"<html>"), "no readable reason");
        assert_eq!(error_inside(&json!({"error": "a\u{1b}[2J\nb"})).as_deref(), Some("a [2J b"));
    }

    #[test]
    fn a_time_without_zone_is_utc() {
        let with = timestamp("2026-10-29T05:34:30+00:00").unwrap();
        assert_eq!(timestamp("2026-10-29 05:34:30"), Some(with));
        assert_eq!(timestamp("soon"), None);
    }

    #[test]
    fn a_listing_without_page_numbers_is_no_listing() {
        assert!(page(&bytes(json!({"data": []}))).is_err());
        let whole = json!({"data": [{}], "meta": {"current_page": "1", "last_page": 1, "total": 1}});
        assert_eq!(page(&bytes(whole)).unwrap().items.len(), 1);
    }

    /// B15.
    #[test]
    fn an_unknown_status_is_neither_ready_nor_an_error() {
        let site = site(
            &json!({"id": "7", "domain": "Shop.Example.com.", "status": "wordpress-installing"}),
            &ServerId::trusted("1"),
        )
        .unwrap();
        assert_eq!(site.value.status, SiteStatus::Transitional("wordpress-installing".into()));
        assert_eq!(site.value.domain.as_str(), "shop.example.com");
        assert_eq!(site.value.system_user, "ploi");
    }

    #[test]
    fn a_run_without_exit_code_did_not_succeed() {
        let done = run_state(&json!({"data": {"status": "finished", "exit_code": null, "output": null}})).unwrap();
        assert_eq!(done, RunState::Finished { exit_code: -1, output: String::new() });
        assert_eq!(run_state(&json!({"data": {"status": "running"}})).unwrap(), RunState::Pending);
    }

    #[test]
    fn a_split_repository_is_compared_as_one_slug() {
        let body =
            json!({"data": {"repository": {"branch": "main", "user": "acme", "name": "shop", "provider": "github"}}});
        assert_eq!(repository(&body).unwrap().unwrap().slug.as_str(), "acme/shop");
        assert_eq!(repository(&json!({"data": {"repository": null}})).unwrap(), None);
        assert!(repository(&Value::Null).is_err(), "an empty answer is not an absent repository");
    }
}
