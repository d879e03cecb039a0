//! Cloudflare's DNS API over its own state, strict where the real one is strict (contracts/cloudflare.md 1 and 2).
//!
//! Served on loopback below `/client/v4`; what it holds is published into the world's DNS after the propagation delay.

mod records;
mod routes;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::provider::cloudflare::text::decode_txt;
use crate::provider::world::dns::{DnsTable, Entry};
use crate::provider::world::faults::{Faults, guard};
use records::{Refusal, Stored};

/// Provider name in the log of calls and in fault rules.
pub const NAME: &str = "cloudflare";
/// How long earlier states are kept for stale listings.
const HISTORY_MAX: Duration = Duration::from_secs(300);

/// A zone's plan: how much fits in, and what is refused (contracts/cloudflare.md 1.9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    /// 200 records, comments of 100 characters, no tags, 200 operations in a batch.
    Free,
    /// 3,500 records, comments of 500 characters, 20 tags, 3,500 operations in a batch.
    Enterprise,
}

impl Plan {
    fn records_max(self) -> usize {
        if self == Plan::Free { 200 } else { 3_500 }
    }
    fn operations_max(self) -> usize {
        if self == Plan::Free { 200 } else { 3_500 }
    }
    fn comment_chars_max(self) -> usize {
        if self == Plan::Free { 100 } else { 500 }
    }
    fn tags_max(self) -> usize {
        if self == Plan::Free { 0 } else { 20 }
    }
    fn ttl_min(self) -> u64 {
        if self == Plan::Free { 60 } else { 30 }
    }
    fn legacy_id(self) -> &'static str {
        if self == Plan::Free { "free" } else { "enterprise" }
    }
}

/// In which of the two shapes errors come (contracts/cloudflare.md 1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorShape {
    /// The root cause stands in `errors[0]`.
    Direct,
    /// `errors[0]` is 1004 and the root cause stands in its `error_chain`.
    Chained,
}

/// What a test or a person turns.
#[derive(Debug, Clone)]
pub struct Knobs {
    /// How long a listing still shows the state before a write.
    pub stale_list: Duration,
    /// Shape of errors.
    pub error_shape: ErrorShape,
    /// Calls per window before everything is answered 429.
    pub rate: (u32, Duration),
    /// Whether a 429 carries `Retry-After`.
    pub retry_after: bool,
    /// Names whose `proxied` is accepted and not applied (contracts/cloudflare.md 4, lesson 21).
    pub never_proxied: BTreeSet<String>,
    /// Further records that fit into any zone regardless of its plan (large test fleets).
    pub records_extra: usize,
    /// What the token may do in each zone.
    pub permissions: Vec<String>,
    /// The `ssl` setting of every zone.
    pub ssl_mode: String,
}

impl Default for Knobs {
    fn default() -> Self {
        Knobs {
            stale_list: Duration::ZERO,
            error_shape: ErrorShape::Direct,
            rate: (1_200, Duration::from_secs(300)),
            retry_after: true,
            never_proxied: BTreeSet::new(),
            records_extra: 0,
            permissions: ["#dns_records:edit", "#dns_records:read", "#zone:read"].map(str::to_owned).to_vec(),
            ssl_mode: "full".into(),
        }
    }
}

/// The simulated account.
pub struct CloudflareSim {
    token: String,
    table: Arc<DnsTable>,
    state: Mutex<State>,
}

struct State {
    knobs: Knobs,
    zones: BTreeMap<String, ZoneState>,
    next_id: u64,
    rate: RateWindow,
    /// Ids of records that the change under way touched.
    unpublished: Vec<String>,
}

struct RateWindow {
    began: Instant,
    calls: u32,
    blocked_until: Option<Instant>,
}

struct ZoneState {
    id: String,
    name: String,
    plan: Plan,
    status: String,
    paused: bool,
    records: BTreeMap<String, Stored>,
    /// What each write replaced, oldest first.
    history: Vec<(Instant, String, Option<Stored>)>,
}

impl CloudflareSim {
    /// An account without zones that accepts one token and publishes into a DNS table.
    pub fn new(token: &str, table: Arc<DnsTable>) -> Arc<Self> {
        Arc::new(CloudflareSim {
            token: token.to_owned(),
            table,
            state: Mutex::new(State {
                knobs: Knobs::default(),
                zones: BTreeMap::new(),
                next_id: 1,
                rate: RateWindow { began: Instant::now(), calls: 0, blocked_until: None },
                unpublished: Vec::new(),
            }),
        })
    }

    /// The API below `/client/v4`, with the call log and faults around it.
    pub fn router(self: &Arc<Self>, faults: Arc<Faults>) -> Router {
        guard(routes::router(self.clone()), NAME, faults)
    }

    /// Adds an active zone; gives its id.
    pub fn add_zone(&self, name: &str, plan: Plan) -> String {
        let mut state = self.state.lock();
        let id = state.fresh_id(0xc1);
        let servers = name_servers();
        self.table.add_zone(name, &servers);
        state.zones.insert(
            id.clone(),
            ZoneState {
                id: id.clone(),
                name: name.to_ascii_lowercase(),
                plan,
                status: "active".into(),
                paused: false,
                records: BTreeMap::new(),
                history: Vec::new(),
            },
        );
        id
    }

    /// Sets a zone's status (`pending`, `moved`, …).
    pub fn set_zone_status(&self, zone: &str, status: &str) {
        if let Some(zone) = self.state.lock().zones.get_mut(zone) {
            zone.status = status.to_owned();
        }
    }

    /// Turns the knobs.
    pub fn turn(&self, turn: impl FnOnce(&mut Knobs)) {
        turn(&mut self.state.lock().knobs);
    }

    /// Every record of a zone as the API shows it, without staleness, ordered by id.
    pub fn records(&self, zone: &str) -> Vec<Value> {
        let state = self.state.lock();
        state.zones.get(zone).map(|z| z.records.values().map(Stored::shown).collect()).unwrap_or_default()
    }

    /// What somebody does in the dashboard: creates a record from an API body. Fails with the API's error body.
    pub fn create_by_hand(&self, zone: &str, body: &Value) -> Result<String, Value> {
        self.by_hand(zone, |state| state.create(zone, body)).map(|stored| stored.id)
    }

    /// What somebody does in the dashboard: changes members of a record.
    pub fn change_by_hand(&self, zone: &str, id: &str, body: &Value) -> Result<(), Value> {
        self.by_hand(zone, |state| state.change(zone, id, body)).map(|_| ())
    }

    /// What somebody does in the dashboard: removes a record.
    pub fn delete_by_hand(&self, zone: &str, id: &str) -> Result<(), Value> {
        self.by_hand(zone, |state| state.delete(zone, id)).map(|_| ())
    }

    fn by_hand(&self, zone: &str, act: impl FnOnce(&mut State) -> Result<Stored, Refusal>) -> Result<Stored, Value> {
        let mut state = self.state.lock();
        if !state.zones.contains_key(zone) {
            return Err(json!({ "message": "no such zone" }));
        }
        let shape = state.knobs.error_shape;
        self.transact(&mut state, zone, act).map_err(|refusal| refusal.body(shape))
    }

    /// Makes one change; only a change that was made reaches DNS.
    fn transact<T>(
        &self,
        state: &mut State,
        zone: &str,
        act: impl FnOnce(&mut State) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let result = act(state);
        let touched = std::mem::take(&mut state.unpublished);
        if let Some(zone) = state.zones.get(zone).filter(|_| result.is_ok()) {
            touched.iter().for_each(|id| self.publish(&zone.name, id, zone.records.get(id)));
        }
        result
    }

    /// Makes the world's DNS follow one record.
    fn publish(&self, zone: &str, id: &str, stored: Option<&Stored>) {
        let Some(stored) = stored else { return self.table.remove(zone, id) };
        let content = if stored.kind == "TXT" { decode_txt(&stored.content) } else { stored.content.clone() };
        let entry = Entry {
            name: stored.name.clone(),
            kind: stored.kind.clone(),
            content,
            ttl: u32::try_from(stored.ttl).ok().filter(|ttl| *ttl != 1).unwrap_or(300),
            priority: stored.priority.unwrap_or(0),
            proxied: stored.proxied,
        };
        self.table.put(zone, id, entry);
    }
}

/// The name servers that every zone of the account is delegated to.
fn name_servers() -> Vec<String> {
    ["ada.ns.cloudflare.example", "bob.ns.cloudflare.example"].map(str::to_owned).to_vec()
}

impl State {
    /// An id of 32 hexadecimal digits that says by its first two what it names.
    fn fresh_id(&mut self, kind: u8) -> String {
        let id = format!("{kind:02x}{:030x}", self.next_id);
        self.next_id += 1;
        id
    }

    /// Counts a call. Beyond the limit everything is blocked for a whole window (contracts/cloudflare.md 1.10).
    fn admit(&mut self) -> Admission {
        let now = Instant::now();
        let (limit, window) = self.knobs.rate;
        if let Some(until) = self.rate.blocked_until {
            if until > now {
                return Admission::Blocked(until - now);
            }
            self.rate = RateWindow { began: now, calls: 0, blocked_until: None };
        }
        if self.rate.began + window <= now {
            self.rate = RateWindow { began: now, calls: 0, blocked_until: None };
        }
        self.rate.calls += 1;
        if self.rate.calls > limit {
            self.rate.blocked_until = Some(now + window);
            return Admission::Blocked(window);
        }
        Admission::Open { remaining: limit - self.rate.calls, resets_in: (self.rate.began + window) - now }
    }
}

/// Whether a call is let in.
enum Admission {
    Open { remaining: u32, resets_in: Duration },
    Blocked(Duration),
}

impl ZoneState {
    /// Remembers what a write replaced, for stale listings.
    fn remember(&mut self, id: &str, before: Option<Stored>) {
        let now = Instant::now();
        self.history.retain(|(at, _, _)| *at + HISTORY_MAX > now);
        self.history.push((now, id.to_owned(), before));
    }

    /// The records as a listing shows them: the state of some time ago.
    fn listed(&self, stale: Duration) -> Vec<Stored> {
        let now = Instant::now();
        let mut records = self.records.clone();
        for (_, id, before) in self.history.iter().rev().take_while(|(at, _, _)| *at + stale > now) {
            match before {
                Some(stored) => records.insert(id.clone(), stored.clone()),
                None => records.remove(id),
            };
        }
        records.into_values().collect()
    }

    fn shown(&self, permissions: &[String]) -> Value {
        json!({
            "id": self.id, "name": self.name, "status": self.status, "paused": self.paused, "type": "full",
            "development_mode": 0, "name_servers": name_servers(), "original_name_servers": null,
            "account": { "id": format!("{:032x}", 0xacc), "name": "Simulated agency" },
            "plan": { "id": self.plan.legacy_id(), "name": self.plan.legacy_id(), "legacy_id": self.plan.legacy_id() },
            "permissions": permissions, "created_on": "2026-01-01T00:00:00Z", "modified_on": "2026-01-01T00:00:00Z",
            "activated_on": "2026-01-01T00:00:00Z",
        })
    }
}
