//! Records of the simulated zones: what a body must look like, what is rewritten, what collides, what is refused.

use std::net::{Ipv4Addr, Ipv6Addr};

use axum::http::StatusCode;
use serde_json::{Map, Value, json};

use super::{ErrorShape, State, ZoneState};
use crate::provider::cloudflare::text::{Caa, decode_txt, encode_txt};

/// Longest TXT record, decoded (contracts/cloudflare.md 1.8).
const TXT_BYTES_MAX: usize = 4_096;
/// Largest TTL in seconds.
const TTL_MAX: u64 = 86_400;
/// Members that a write may have; `id` only in a batch.
const MEMBERS: [&str; 11] =
    ["id", "type", "name", "content", "ttl", "proxied", "comment", "tags", "settings", "priority", "data"];

/// One record as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Stored {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) content: String,
    pub(super) ttl: u64,
    pub(super) proxied: bool,
    pub(super) priority: Option<u16>,
    data: Option<Value>,
    pub(super) comment: Option<String>,
    tags: Vec<String>,
    created_on: String,
    modified_on: String,
}

impl Stored {
    pub(super) fn shown(&self) -> Value {
        let mut shown = json!({
            "id": self.id, "name": self.name, "type": self.kind, "content": self.content,
            "proxiable": self.is_proxiable(), "proxied": self.proxied, "ttl": self.ttl,
            "settings": {}, "meta": {}, "comment": self.comment, "tags": self.tags,
            "created_on": self.created_on, "modified_on": self.modified_on,
        });
        if let Some(members) = shown.as_object_mut() {
            self.priority.map(|priority| members.insert("priority".into(), json!(priority)));
            self.data.as_ref().map(|data| members.insert("data".into(), data.clone()));
        }
        shown
    }

    fn is_address(&self) -> bool {
        matches!(self.kind.as_str(), "A" | "AAAA" | "CNAME")
    }

    fn is_proxiable(&self) -> bool {
        let private = self.content.parse::<Ipv4Addr>().is_ok_and(|ip| ip.is_private() || ip.is_loopback());
        self.is_address() && !private
    }
}

/// Why a call is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) code: u32,
    pub(super) message: String,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, code: u32, message: impl Into<String>) -> Self {
        Refusal { status, code, message: message.into() }
    }

    fn bad(code: u32, message: impl Into<String>) -> Self {
        Refusal::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// The body in one of the two shapes; only validation errors are ever wrapped.
    pub(super) fn body(&self, shape: ErrorShape) -> Value {
        let cause = json!({ "code": self.code, "message": self.message });
        let errors = match shape {
            ErrorShape::Chained if (9_000..10_000).contains(&self.code) => {
                json!([{ "code": 1004, "message": "DNS Validation Error", "error_chain": [cause] }])
            }
            _ => json!([cause]),
        };
        json!({ "success": false, "errors": errors, "messages": [], "result": null })
    }
}

impl State {
    /// `POST`: a new record.
    pub(super) fn create(&mut self, zone: &str, body: &Value) -> Result<Stored, Refusal> {
        let id = self.fresh_id(0xd0);
        self.put(zone, blank(id, "A", ""), body)
    }

    /// `PATCH`: members that are not there stay.
    pub(super) fn change(&mut self, zone: &str, id: &str, body: &Value) -> Result<Stored, Refusal> {
        let before = self.zone(zone)?.records.get(id).cloned().ok_or_else(gone)?;
        if members(body)?.keys().all(|key| key == "id") {
            return Err(Refusal::bad(9_207, "No members to change."));
        }
        let mut whole = whole(&before);
        // Another type means another content: what belonged to the old one does not stay.
        if body.get("type").is_some_and(|kind| *kind != json!(before.kind)) {
            for key in ["content", "data", "priority"] {
                whole.remove(key);
            }
        }
        for (key, value) in members(body)? {
            whole.insert(key.clone(), value.clone());
        }
        if body.get("content").is_some() && body.get("data").is_none() {
            whole.remove("data");
        }
        self.put(zone, before, &Value::Object(whole))
    }

    /// `PUT`: members that are not there fall back to their defaults.
    pub(super) fn overwrite(&mut self, zone: &str, id: &str, body: &Value) -> Result<Stored, Refusal> {
        let before = self.zone(zone)?.records.get(id).cloned().ok_or_else(gone)?;
        self.put(zone, before, body)
    }

    /// `DELETE`.
    pub(super) fn delete(&mut self, zone: &str, id: &str) -> Result<Stored, Refusal> {
        let zone = self.zones.get_mut(zone).ok_or_else(foreign)?;
        let stored = zone.records.remove(id).ok_or_else(gone)?;
        zone.remember(id, Some(stored.clone()));
        self.unpublished.push(id.to_owned());
        Ok(stored)
    }

    fn zone(&self, zone: &str) -> Result<&ZoneState, Refusal> {
        self.zones.get(zone).ok_or_else(foreign)
    }

    fn put(&mut self, zone: &str, before: Stored, body: &Value) -> Result<Stored, Refusal> {
        let state = self.zone(zone)?;
        let mut stored = read(state, &before, members(body)?)?;
        if self.knobs.never_proxied.contains(&stored.name) {
            stored.proxied = false;
        }
        collide(state, &stored)?;
        let old = state.records.get(&stored.id).cloned();
        if old.is_none() && state.records.len() >= state.plan.records_max() + self.knobs.records_extra {
            return Err(Refusal::bad(81_045, "The record quota has been exceeded."));
        }
        let zone = self.zones.get_mut(zone).ok_or_else(foreign)?;
        zone.records.insert(stored.id.clone(), stored.clone());
        zone.remember(&stored.id, old);
        self.unpublished.push(stored.id.clone());
        Ok(stored)
    }
}

fn gone() -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, 81_044, "Record does not exist.")
}

/// A zone of somebody else looks like a bad credential (contracts/cloudflare.md 1.11).
pub(super) fn foreign() -> Refusal {
    Refusal::new(StatusCode::FORBIDDEN, 10_000, "Authentication error")
}

fn blank(id: String, kind: &str, name: &str) -> Stored {
    let now = jiff::Timestamp::now().to_string();
    Stored {
        id,
        name: name.to_owned(),
        kind: kind.to_owned(),
        content: String::new(),
        ttl: 1,
        proxied: false,
        priority: None,
        data: None,
        comment: None,
        tags: Vec::new(),
        created_on: now.clone(),
        modified_on: now,
    }
}

/// A stored record as the body that would make it.
fn whole(stored: &Stored) -> Map<String, Value> {
    let mut body = Map::new();
    body.insert("type".into(), json!(stored.kind));
    body.insert("name".into(), json!(stored.name));
    body.insert("ttl".into(), json!(stored.ttl));
    body.insert("comment".into(), json!(stored.comment));
    body.insert("tags".into(), json!(stored.tags));
    if stored.is_address() {
        body.insert("proxied".into(), json!(stored.proxied));
    }
    match &stored.data {
        Some(data) => body.insert("data".into(), data.clone()),
        None => body.insert("content".into(), json!(stored.content)),
    };
    stored.priority.map(|priority| body.insert("priority".into(), json!(priority)));
    body
}

fn members(body: &Value) -> Result<&Map<String, Value>, Refusal> {
    let members = body.as_object().ok_or_else(|| Refusal::bad(9_207, "Request body is invalid."))?;
    match members.keys().find(|key| !MEMBERS.contains(&key.as_str())) {
        Some(key) => Err(Refusal::bad(9_207, format!("Unknown member: {}", key.escape_debug()))),
        None => Ok(members),
    }
}

/// Reads and normalises a whole body.
fn read(zone: &ZoneState, before: &Stored, body: &Map<String, Value>) -> Result<Stored, Refusal> {
    let text = |key: &str| match body.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str())),
        Some(_) => Err(Refusal::bad(9_207, format!("{key} must be a string."))),
    };
    let kind = text("type")?.ok_or_else(|| Refusal::bad(9_000, "DNS record type is required."))?;
    let name = text("name")?.ok_or_else(|| Refusal::bad(9_000, "DNS name is invalid."))?;
    let mut stored = blank(before.id.clone(), kind, &full_name(zone, name)?);
    stored.created_on.clone_from(&before.created_on);
    stored.ttl = ttl(zone, body.get("ttl"))?;
    stored.proxied = match body.get("proxied") {
        None => false,
        Some(Value::Bool(proxied)) => *proxied,
        Some(_) => return Err(Refusal::bad(9_207, "proxied must be a boolean.")),
    };
    stored.comment = comment(zone, text("comment")?)?;
    stored.tags = tags(zone, body.get("tags"))?;
    content(&mut stored, text("content")?, body)?;
    if stored.proxied {
        if !stored.is_address() {
            return Err(Refusal::bad(9_004, "This record type cannot be proxied."));
        }
        if !stored.is_proxiable() {
            return Err(Refusal::bad(9_003, "Target is not allowed for a proxied record."));
        }
        // Whatever was sent: the proxy decides (contracts/cloudflare.md 1.8).
        stored.ttl = 1;
    }
    Ok(stored)
}

/// The name in full and in Punycode: a relative one, or one of another zone, is taken as lying within this zone.
fn full_name(zone: &ZoneState, sent: &str) -> Result<String, Refusal> {
    let bare = sent.trim_end_matches('.');
    let lower = if bare.is_ascii() {
        bare.to_ascii_lowercase()
    } else {
        match url::Host::parse(bare) {
            Ok(url::Host::Domain(ascii)) => ascii,
            _ => return Err(Refusal::bad(9_000, "DNS name is invalid.")),
        }
    };
    let label = |l: &str| l == "*" || l.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    let is_good =
        !lower.is_empty() && lower.len() <= 253 && lower.split('.').all(|l| !l.is_empty() && l.len() <= 63 && label(l));
    match lower.as_str() {
        "@" => Ok(zone.name.clone()),
        _ if !is_good => Err(Refusal::bad(9_000, "DNS name is invalid.")),
        name if name == zone.name || name.ends_with(&format!(".{}", zone.name)) => Ok(lower),
        name => Ok(format!("{name}.{}", zone.name)),
    }
}

fn ttl(zone: &ZoneState, sent: Option<&Value>) -> Result<u64, Refusal> {
    let Some(sent) = sent else { return Ok(1) };
    let good = |ttl: &u64| *ttl == 1 || (zone.plan.ttl_min()..=TTL_MAX).contains(ttl);
    sent.as_u64().filter(good).ok_or_else(|| Refusal::bad(9_021, "Invalid TTL. Must be between 60 and 86400, or 1."))
}

fn comment(zone: &ZoneState, sent: Option<&str>) -> Result<Option<String>, Refusal> {
    let Some(text) = sent.filter(|text| !text.is_empty()) else { return Ok(None) };
    if text.contains(['\r', '\n']) || text.chars().count() > zone.plan.comment_chars_max() {
        return Err(Refusal::bad(9_313, "The comment is too long or holds line breaks."));
    }
    Ok(Some(text.to_owned()))
}

fn tags(zone: &ZoneState, sent: Option<&Value>) -> Result<Vec<String>, Refusal> {
    let list = match sent {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(list)) => list,
        Some(_) => return Err(Refusal::bad(9_207, "tags must be an array.")),
    };
    let tags: Option<Vec<String>> = list.iter().map(|tag| tag.as_str().map(str::to_owned)).collect();
    let mut tags = tags.ok_or_else(|| Refusal::bad(9_207, "tags must be strings."))?;
    if tags.len() > zone.plan.tags_max() {
        let quota = zone.plan.tags_max();
        return Err(Refusal::bad(
            9_300,
            format!("DNS record has {} tags, exceeding the quota of {quota}.", tags.len()),
        ));
    }
    tags.sort();
    Ok(tags)
}

/// Checks and rewrites the content by type.
fn content(stored: &mut Stored, sent: Option<&str>, body: &Map<String, Value>) -> Result<(), Refusal> {
    let given = || sent.filter(|text| !text.is_empty()).ok_or_else(|| Refusal::bad(9_009, "Content is required."));
    match stored.kind.as_str() {
        "A" => {
            let ip: Result<Ipv4Addr, _> = given()?.parse();
            stored.content =
                ip.map_err(|_| Refusal::bad(9_005, "Content for A record must be a valid IPv4 address."))?.to_string();
        }
        "AAAA" => {
            let ip: Result<Ipv6Addr, _> = given()?.parse();
            stored.content = ip
                .map_err(|_| Refusal::bad(9_006, "Content for AAAA record must be a valid IPv6 address."))?
                .to_string();
        }
        "CNAME" | "MX" | "NS" => {
            let host = given()?;
            let bare = if host == "." { host } else { host.trim_end_matches('.') };
            if bare.parse::<std::net::IpAddr>().is_ok() || bare.contains(char::is_whitespace) {
                return Err(Refusal::bad(9_007, "Content must be a host name."));
            }
            stored.content = bare.to_owned();
            if stored.kind == "MX" {
                let priority = body.get("priority").and_then(Value::as_u64).and_then(|n| u16::try_from(n).ok());
                stored.priority = Some(priority.ok_or_else(|| Refusal::bad(9_102, "MX needs a priority."))?);
            }
        }
        "TXT" => {
            let text = given()?;
            let value = decode_txt(text);
            if value.is_empty() || value.len() > TXT_BYTES_MAX {
                return Err(Refusal::bad(9_010, "TXT content is empty or too long."));
            }
            // Sent quoted it is split where it is long; sent unquoted it stays as it is.
            let is_quoted = text.trim_start().starts_with('"') && value != text;
            stored.content = if is_quoted { encode_txt(&value) } else { text.to_owned() };
        }
        "CAA" => {
            let data = body.get("data").ok_or_else(|| Refusal::bad(9_101, "CAA needs data."))?;
            let caa = caa(data).ok_or_else(|| Refusal::bad(9_101, "CAA data is invalid."))?;
            stored.content = caa.content();
            stored.data = Some(data.clone());
        }
        _ => return Err(Refusal::bad(9_000, "DNS record type is invalid.")),
    }
    Ok(())
}

fn caa(data: &Value) -> Option<Caa> {
    Some(Caa {
        flags: data.get("flags")?.as_u64()?.try_into().ok()?,
        tag: data.get("tag")?.as_str()?.to_owned(),
        value: data.get("value")?.as_str()?.to_owned(),
    })
}

/// What may not stand beside what is there (contracts/cloudflare.md 1.11, 1.12).
fn collide(zone: &ZoneState, new: &Stored) -> Result<(), Refusal> {
    let others = || zone.records.values().filter(|other| other.id != new.id && other.name == new.name);
    if others().any(|o| o.kind == new.kind && o.content == new.content && o.priority == new.priority) {
        return Err(Refusal::bad(81_058, "An identical record already exists."));
    }
    if new.kind == "CNAME" && others().any(Stored::is_address) {
        return Err(Refusal::bad(81_053, "An A, AAAA, or CNAME record with that host already exists."));
    }
    if new.is_address() && others().any(|o| o.kind == "CNAME") {
        return Err(Refusal::bad(81_054, "A CNAME record with that host already exists."));
    }
    Ok(())
}
