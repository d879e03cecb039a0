//! DNS records in normal form: equal records need no call (contracts/cloudflare.md 1.8).

use std::fmt;

use serde::{Deserialize, Serialize};

/// The record types that a spec may ask for (interface 1); a listing may show others, which are never ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[allow(missing_docs, clippy::upper_case_acronyms)] // the field's own names
pub enum RecordType {
    A,
    AAAA,
    CNAME,
    TXT,
    MX,
    CAA,
}

impl RecordType {
    /// A, AAAA and CNAME: one family per name (decisions 12).
    pub fn is_address(self) -> bool {
        matches!(self, RecordType::A | RecordType::AAAA | RecordType::CNAME)
    }
}

impl fmt::Display for RecordType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// Time to live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Ttl {
    /// The provider's choice (Cloudflare: 1 on the wire, 300 s in effect); always so while proxied.
    Auto,
    /// Seconds, 60 to 86,400.
    Seconds(u32),
}

impl Ttl {
    /// How long caches may keep an answer, in seconds.
    pub fn effective_seconds(self) -> u32 {
        match self {
            Ttl::Auto => 300,
            Ttl::Seconds(seconds) => seconds,
        }
    }
}

/// One record in normal form.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Record {
    /// Fully qualified, lower-case, ASCII, without trailing dot. May begin with `_` labels.
    pub name: String,
    /// The type.
    pub kind: RecordType,
    /// Normalised by [`Record::new`]: TXT decoded and joined, addresses in RFC 5952 form, host names lower-case without dot,
    /// CAA as `flags tag "value"`.
    pub content: String,
    /// Time to live; [`Ttl::Auto`] while proxied.
    pub ttl: Ttl,
    /// Through the provider's proxy (address family only).
    pub proxied: bool,
    /// MX only.
    pub priority: Option<u16>,
}

impl Record {
    /// Normalises every member. The content is what the type means (a TXT value *without* quotes or chunking).
    pub fn new(name: &str, kind: RecordType, content: &str, ttl: Ttl, proxied: bool, priority: Option<u16>) -> Self {
        let host = |text: &str| text.trim().trim_end_matches('.').to_ascii_lowercase();
        let content = match kind {
            RecordType::A | RecordType::AAAA => content
                .trim()
                .parse::<std::net::IpAddr>()
                .map_or_else(|_| content.trim().to_owned(), |ip| ip.to_string()),
            RecordType::CNAME | RecordType::MX => host(content),
            RecordType::TXT => content.to_owned(),
            RecordType::CAA => content.trim().to_owned(),
        };
        let proxied = proxied && kind.is_address();
        Record {
            name: host(name),
            kind,
            content,
            ttl: if proxied { Ttl::Auto } else { ttl },
            proxied,
            priority: if kind == RecordType::MX { Some(priority.unwrap_or(0)) } else { None },
        }
    }

    /// The natural key (decisions 12): the name for the address family, else name, type and content.
    pub fn key(&self) -> RecordKey {
        if self.kind.is_address() {
            RecordKey::Address { name: self.name.clone() }
        } else {
            RecordKey::Value { name: self.name.clone(), kind: self.kind, content: self.content.clone() }
        }
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

/// What makes two records the same record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum RecordKey {
    /// One address record per name.
    Address { name: String },
    /// Any number per name, told apart by content.
    Value { name: String, kind: RecordType, content: String },
}

/// A zone that the account shows us.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Zone {
    /// Its id.
    pub id: crate::resource::name::ZoneId,
    /// Its name, canonical.
    pub name: String,
    /// Whether it is served (status `active` and not paused).
    pub active: bool,
    /// Whether the credential may edit records there, when the provider tells.
    pub writable: bool,
    /// The zone's SSL mode when it was read (`off`, `flexible`, `full`, `strict`); `None` when it cannot be read.
    pub ssl_mode: Option<String>,
}

/// One wanted change of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum RecordChange {
    Create { to: Record },
    Update { id: crate::resource::name::RemoteId, from: Record, to: Record },
    Delete { id: crate::resource::name::RemoteId, from: Record },
}

impl RecordChange {
    /// The record as it is meant to be, or was.
    pub fn record(&self) -> &Record {
        match self {
            RecordChange::Create { to } | RecordChange::Update { to, .. } => to,
            RecordChange::Delete { from, .. } => from,
        }
    }
}
