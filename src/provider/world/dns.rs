//! What the simulated world's DNS holds: records by zone, visible from the moment they have spread.

pub mod server;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Address that stands for the proxy's network in front of proxied names (documentation range, nobody's own).
pub const PROXY_ADDRESSES: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(203, 0, 113, 253)), IpAddr::V4(Ipv4Addr::new(203, 0, 113, 254))];
/// CNAMEs that are followed for one question: a longer chain is a circle.
const CHAIN_MAX: usize = 8;

/// One published record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Fully qualified, lower-case, without trailing dot.
    pub name: String,
    /// `A`, `CNAME`, …
    pub kind: String,
    /// What it says; TXT decoded, CAA as `flags tag "value"`.
    pub content: String,
    /// Seconds.
    pub ttl: u32,
    /// MX only.
    pub priority: u16,
    /// Answered with [`PROXY_ADDRESSES`] instead of its content.
    pub proxied: bool,
}

/// All zones of the world.
#[derive(Default)]
pub struct DnsTable {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    delay: Duration,
    zones: HashMap<String, ZoneRows>,
}

#[derive(Default)]
struct ZoneRows {
    name_servers: Vec<String>,
    by_name: HashMap<String, Vec<Row>>,
    names: HashMap<String, String>,
}

struct Row {
    id: String,
    entry: Entry,
    from: Instant,
    until: Option<Instant>,
}

impl Row {
    fn is_visible(&self, now: Instant) -> bool {
        self.from <= now && self.until.is_none_or(|until| until > now)
    }
}

/// What the servers of a zone answer for a name and type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// No zone here holds the name.
    NoZone,
    /// The zone has nothing at or below this name.
    NoName {
        /// The zone.
        zone: String,
    },
    /// The name exists (or a name below it), without this type. Also with the CNAME chain that led there.
    Entries {
        /// The zone of the question.
        zone: String,
        /// CNAMEs on the way and the final records; may be empty.
        entries: Vec<Entry>,
    },
}

impl DnsTable {
    /// How long a change takes until it is visible.
    pub fn set_delay(&self, delay: Duration) {
        self.inner.lock().delay = delay;
    }

    /// Makes a zone known (again: its records stay).
    pub fn add_zone(&self, zone: &str, name_servers: &[String]) {
        self.inner.lock().zones.entry(canonical(zone)).or_default().name_servers = name_servers.to_vec();
    }

    /// The name servers of a zone.
    pub fn name_servers(&self, zone: &str) -> Vec<String> {
        self.inner.lock().zones.get(zone).map(|z| z.name_servers.clone()).unwrap_or_default()
    }

    /// Publishes a record under an id of its zone, in place of the one that had this id.
    pub fn put(&self, zone: &str, id: &str, entry: Entry) {
        let mut inner = self.inner.lock();
        let due = Instant::now() + inner.delay;
        let rows = inner.zones.entry(canonical(zone)).or_default();
        rows.close(id, due);
        let name = canonical(&entry.name);
        rows.names.insert(id.to_owned(), name.clone());
        let row = Row { id: id.to_owned(), entry, from: due, until: None };
        rows.by_name.entry(name).or_default().push(row);
    }

    /// Takes a record back.
    pub fn remove(&self, zone: &str, id: &str) {
        let mut inner = self.inner.lock();
        let due = Instant::now() + inner.delay;
        if let Some(rows) = inner.zones.get_mut(&canonical(zone)) {
            rows.close(id, due);
        }
    }

    /// What authoritative servers answer now. `kind` as `A`; `NS` and `SOA` of an apex are the server's own business.
    pub fn find(&self, name: &str, kind: &str) -> Found {
        let inner = self.inner.lock();
        let now = Instant::now();
        let mut name = canonical(name);
        let Some((zone, _)) = inner.zone_of(&name) else { return Found::NoZone };
        let zone = zone.to_owned();
        let mut chain: Vec<Entry> = Vec::new();
        for _ in 0..CHAIN_MAX {
            let Some((_, rows)) = inner.zone_of(&name) else { break };
            let visible: Vec<&Entry> = rows.visible(&name, now);
            if visible.is_empty() && chain.is_empty() && !rows.has_below(&name, now) && name != zone {
                return Found::NoName { zone };
            }
            if visible.iter().any(|e| e.proxied) && (kind == "A" || kind == "AAAA") {
                chain.extend(visible.first().map(|e| proxy_entries(e, kind)).unwrap_or_default());
                break;
            }
            if let Some(alias) = visible.iter().find(|e| e.kind == "CNAME" && kind != "CNAME") {
                chain.push((*alias).clone());
                name = canonical(&alias.content);
                continue;
            }
            chain.extend(visible.into_iter().filter(|e| e.kind == kind).cloned());
            break;
        }
        Found::Entries { zone, entries: chain }
    }

    /// The addresses that a visitor of the world gets.
    pub fn lookup(&self, host: &str) -> Vec<IpAddr> {
        let addresses = |kind| match self.find(host, kind) {
            Found::Entries { entries, .. } => {
                entries.iter().filter(|e| e.kind == kind).filter_map(|e| e.content.parse().ok()).collect()
            }
            _ => Vec::new(),
        };
        let mut found: Vec<IpAddr> = addresses("A");
        found.extend(addresses("AAAA"));
        found
    }

    /// The addresses behind the proxy, or the same as [`DnsTable::lookup`] where nothing is proxied: where an edge sends a
    /// visitor on to.
    pub fn origin(&self, host: &str) -> Vec<IpAddr> {
        let inner = self.inner.lock();
        let now = Instant::now();
        let mut name = canonical(host);
        for _ in 0..CHAIN_MAX {
            let Some((_, rows)) = inner.zone_of(&name) else { return Vec::new() };
            let visible = rows.visible(&name, now);
            match visible.iter().find(|e| e.kind == "CNAME") {
                Some(alias) => name = canonical(&alias.content),
                None => return visible.iter().filter_map(|e| e.content.parse().ok()).collect(),
            }
        }
        Vec::new()
    }
}

impl Inner {
    /// The longest zone that holds a name.
    fn zone_of(&self, name: &str) -> Option<(&str, &ZoneRows)> {
        let mut suffix = name;
        loop {
            if let Some((zone, rows)) = self.zones.get_key_value(suffix) {
                return Some((zone, rows));
            }
            suffix = suffix.split_once('.')?.1;
        }
    }
}

impl ZoneRows {
    fn close(&mut self, id: &str, due: Instant) {
        let Some(name) = self.names.remove(id) else { return };
        let Some(rows) = self.by_name.get_mut(&name) else { return };
        let now = Instant::now();
        rows.iter_mut().filter(|row| row.id == id && row.until.is_none()).for_each(|row| row.until = Some(due));
        rows.retain(|row| row.until.is_none_or(|until| until > now));
        if rows.is_empty() {
            self.by_name.remove(&name);
        }
    }

    fn visible(&self, name: &str, now: Instant) -> Vec<&Entry> {
        let rows = self.by_name.get(name).map(Vec::as_slice).unwrap_or_default();
        rows.iter().filter(|row| row.is_visible(now)).map(|row| &row.entry).collect()
    }

    /// Whether a name below this one exists: then this one exists too, empty (RFC 4592).
    fn has_below(&self, name: &str, now: Instant) -> bool {
        let below = |other: &str| other.strip_suffix(name).is_some_and(|head| head.ends_with('.'));
        self.by_name.iter().any(|(other, rows)| below(other) && rows.iter().any(|row| row.is_visible(now)))
    }
}

fn proxy_entries(entry: &Entry, kind: &str) -> Vec<Entry> {
    let family = PROXY_ADDRESSES.iter().filter(|ip| ip.is_ipv4() == (kind == "A"));
    family.map(|ip| Entry { kind: kind.to_owned(), content: ip.to_string(), proxied: false, ..entry.clone() }).collect()
}

fn canonical(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}
