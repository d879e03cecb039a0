//! Cloudflare's JSON: envelopes, zones, records, and what its error codes mean (contracts/cloudflare.md 1).

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::provider::cloudflare::text::{Caa, decode_txt, encode_txt};
use crate::provider::error::ErrorClass;
use crate::provider::http::HttpRefusal;
use crate::resource::mark::Mark;
use crate::resource::name::{RemoteId, ZoneId};
use crate::resource::reading::Live;
use crate::resource::record::{Record, RecordChange, RecordType, Ttl, Zone};

/// The permission that lets us write records (contracts/cloudflare.md 1.3).
const EDIT_PERMISSION: &str = "#dns_records:edit";

/// Every answer's frame.
#[derive(Debug, Deserialize)]
pub(super) struct Envelope<T> {
    pub(super) success: bool,
    pub(super) result: Option<T>,
    pub(super) result_info: Option<ResultInfo>,
}

/// Where a page stands in a listing.
#[derive(Debug, Deserialize)]
pub(super) struct ResultInfo {
    pub(super) count: usize,
    pub(super) total_count: usize,
}

/// A zone.
#[derive(Debug, Deserialize)]
pub(super) struct ZoneJson {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) status: String,
    #[serde(default)]
    pub(super) paused: bool,
    pub(super) permissions: Option<Vec<String>>,
}

impl ZoneJson {
    pub(super) fn into_zone(self, ssl_mode: Option<String>) -> Zone {
        Zone {
            id: ZoneId::trusted(self.id),
            name: self.name.trim_end_matches('.').to_ascii_lowercase(),
            active: self.status == "active" && !self.paused,
            writable: self.permissions.is_none_or(|list| list.iter().any(|p| p == EDIT_PERMISSION)),
            ssl_mode,
        }
    }
}

/// A zone setting.
#[derive(Debug, Deserialize)]
pub(super) struct SettingJson {
    pub(super) value: String,
}

/// A record.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct RecordJson {
    pub(super) id: String,
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) content: String,
    pub(super) ttl: u32,
    #[serde(default)]
    pub(super) proxied: bool,
    pub(super) priority: Option<u16>,
    pub(super) data: Option<Value>,
    pub(super) comment: Option<String>,
}

impl RecordJson {
    /// The record in normal form with its mark; `None` for a type that is never ours.
    pub(super) fn to_live(&self) -> Option<Live<Record>> {
        let kind = kind_of(&self.kind)?;
        let content = match kind {
            RecordType::TXT => decode_txt(&self.content),
            RecordType::CAA => self.caa().map_or_else(|| self.content.clone(), |caa| caa.content()),
            _ => self.content.clone(),
        };
        let ttl = if self.ttl == 1 { Ttl::Auto } else { Ttl::Seconds(self.ttl) };
        Some(Live {
            id: RemoteId::trusted(&self.id),
            mark: self.comment.as_deref().and_then(Mark::from_comment),
            value: Record::new(&self.name, kind, &content, ttl, self.proxied, self.priority),
        })
    }

    fn caa(&self) -> Option<Caa> {
        let from_data = self.data.as_ref().and_then(|data| {
            Some(Caa {
                flags: data.get("flags")?.as_u64()?.try_into().ok()?,
                tag: data.get("tag")?.as_str()?.to_ascii_lowercase(),
                value: data.get("value")?.as_str()?.to_owned(),
            })
        });
        from_data.or_else(|| Caa::parse(&self.content))
    }
}

fn kind_of(text: &str) -> Option<RecordType> {
    Some(match text {
        "A" => RecordType::A,
        "AAAA" => RecordType::AAAA,
        "CNAME" => RecordType::CNAME,
        "TXT" => RecordType::TXT,
        "MX" => RecordType::MX,
        "CAA" => RecordType::CAA,
        _ => return None,
    })
}

/// A record as Cloudflare is going to show it: what an answer is compared with.
pub(super) fn as_shown(record: &Record) -> Record {
    match (record.kind, Caa::parse(&record.content)) {
        (RecordType::CAA, Some(caa)) => Record { content: caa.content(), ..record.clone() },
        _ => record.clone(),
    }
}

/// Members of a new record.
pub(super) fn create_body(record: &Record, comment: &str) -> Value {
    let mut body = Map::new();
    body.insert("type".into(), json!(record.kind.to_string()));
    body.insert("name".into(), json!(record.name));
    own_members(&mut body, record, comment);
    Value::Object(body)
}

/// Only the members we own: PUT would wipe tags and settings of others (contracts/cloudflare.md 1.5).
pub(super) fn patch_body(from: &Record, to: &Record, comment: &str) -> Map<String, Value> {
    let mut body = Map::new();
    if from.kind != to.kind {
        body.insert("type".into(), json!(to.kind.to_string()));
    }
    if from.name != to.name {
        body.insert("name".into(), json!(to.name));
    }
    own_members(&mut body, to, comment);
    body
}

fn own_members(body: &mut Map<String, Value>, record: &Record, comment: &str) {
    match (record.kind, Caa::parse(&record.content)) {
        (RecordType::CAA, Some(caa)) => {
            body.insert("data".into(), json!({ "flags": caa.flags, "tag": caa.tag, "value": caa.value }));
        }
        (RecordType::TXT, _) => {
            body.insert("content".into(), json!(encode_txt(&record.content)));
        }
        _ => {
            body.insert("content".into(), json!(record.content));
        }
    }
    let ttl = match record.ttl {
        Ttl::Auto => 1,
        Ttl::Seconds(seconds) => seconds,
    };
    body.insert("ttl".into(), json!(ttl));
    if record.kind.is_address() {
        body.insert("proxied".into(), json!(record.proxied));
    }
    if let Some(priority) = record.priority {
        body.insert("priority".into(), json!(priority));
    }
    body.insert("comment".into(), json!(comment));
}

/// Why a change must not be sent: checked before every write (contracts/cloudflare.md 4, lessons 24 and 25).
pub(super) fn objection(zone: &Zone, change: &RecordChange) -> Option<String> {
    let within = |name: &str| name == zone.name || name.strip_suffix(&zone.name).is_some_and(|h| h.ends_with('.'));
    let names = match change {
        RecordChange::Update { from, to, .. } => vec![&from.name, &to.name],
        other => vec![&other.record().name],
    };
    if let Some(name) = names.into_iter().find(|name| !within(name)) {
        return Some(format!("`{name}` does not lie in the zone {}; nothing was sent", zone.name));
    }
    if matches!(change, RecordChange::Delete { .. }) {
        return None;
    }
    let record = change.record();
    let content = record.content.as_str();
    let fits = match record.kind {
        RecordType::A => content.parse::<std::net::Ipv4Addr>().is_ok(),
        RecordType::AAAA => content.parse::<std::net::Ipv6Addr>().is_ok(),
        RecordType::CNAME | RecordType::MX => {
            !content.is_empty() && content.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
        }
        RecordType::TXT => !content.is_empty(),
        RecordType::CAA => Caa::parse(content).is_some(),
    };
    (!fits).then(|| format!("the content is not one of type {}; nothing was sent", record.kind))
}

/// Which members of an accepted write are not as they were sent; `None` when all are (lesson 21).
pub(super) fn not_applied(wanted: &Record, comment: &str, shown: &RecordJson) -> Option<String> {
    let Some(live) = shown.to_live() else { return Some("type".into()) };
    let (wanted, found) = (as_shown(wanted), live.value);
    let differs = [
        ("name", wanted.name != found.name),
        ("type", wanted.kind != found.kind),
        ("content", wanted.content != found.content),
        ("ttl", wanted.ttl != found.ttl),
        ("proxied", wanted.proxied != found.proxied),
        ("priority", wanted.priority != found.priority),
        ("comment", shown.comment.as_deref() != Some(comment)),
    ];
    let names: Vec<&str> = differs.iter().filter(|(_, differs)| *differs).map(|(name, _)| *name).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

#[derive(Debug, Deserialize)]
struct Failure {
    #[serde(default)]
    errors: Vec<FailureItem>,
}

#[derive(Debug, Deserialize)]
struct FailureItem {
    #[serde(default)]
    code: i64,
    #[serde(default)]
    message: String,
    #[serde(default)]
    error_chain: Vec<FailureItem>,
}

/// What a refusal means: `error_chain` first, then `errors`, by code and never by text (contracts/cloudflare.md 1.1, 1.11).
pub(super) fn class_of(refusal: &HttpRefusal) -> ErrorClass {
    let failure: Failure = serde_json::from_slice(&refusal.body).unwrap_or(Failure { errors: Vec::new() });
    let inner = failure.errors.iter().flat_map(|item| &item.error_chain);
    inner
        .chain(&failure.errors)
        .find_map(|item| class_of_code(item.code, format!("{}, code {}", one_line(&item.message), item.code)))
        .unwrap_or_else(|| refusal.class())
}

fn class_of_code(code: i64, text: String) -> Option<ErrorClass> {
    Some(match code {
        1000 | 6003 | 6103 | 6105 | 6111 => ErrorClass::Unauthorized(text),
        9109 | 10_000 => ErrorClass::Forbidden(text),
        81_044 => ErrorClass::NotFound,
        81_045 | 9300 => ErrorClass::Quota(text),
        81_053 | 81_054 | 81_057 | 81_058 => ErrorClass::Exists(text),
        6007 | 7000 | 7003 | 9000..=9999 => ErrorClass::Invalid(text),
        _ => return None,
    })
}

fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect()
}
