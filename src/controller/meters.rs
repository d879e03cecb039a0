//! What the loop counts of itself, for `/metrics`: passes, their time, the queue, the time from a commit to a site that is
//! ready. Names follow controller-runtime and Crossplane under our own prefix.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::resource::name::Uid;
use crate::store::ClientRecord;

/// Prefix of every name.
pub const PREFIX: &str = "sitewright";
/// Upper bounds of the time of a pass, in seconds: from a look at memory alone to one that waits for a slow provider.
const PASS_SECONDS: [f64; 12] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
/// Upper bounds of the time from an accepted spec to ready, in seconds: from a record alone to a first build with DNS.
const READY_SECONDS: [f64; 10] = [1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0];

/// How a pass ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ended {
    /// Nothing moves any more.
    Success,
    /// It goes on when it is time.
    RequeueAfter,
    /// The state could not be used.
    Error,
    /// A fault of this program.
    Panic,
}

impl Ended {
    const ALL: [Ended; 4] = [Ended::Success, Ended::RequeueAfter, Ended::Error, Ended::Panic];
}

impl EncodeLabelValue for Ended {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        let word = match self {
            Ended::Success => "success",
            Ended::RequeueAfter => "requeue_after",
            Ended::Error => "error",
            Ended::Panic => "panic",
        };
        EncodeLabelValue::encode(&word, encoder)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PassLabels {
    result: Ended,
}

/// The loop's own counters.
pub struct Meters {
    registry: Registry,
    passes: Family<PassLabels, Counter>,
    seconds: Histogram,
    active: Gauge,
    waiting: Gauge,
    heartbeat: Gauge<f64, AtomicU64>,
    to_ready: Histogram,
    since: Timestamp,
    reached: Mutex<BTreeMap<Uid, u64>>,
}

impl Meters {
    /// Everything at zero; `since` is when the process began.
    pub fn new(workers: usize, since: Timestamp) -> Self {
        let mut registry = Registry::with_prefix(PREFIX);
        let passes = Family::<PassLabels, Counter>::default();
        for result in Ended::ALL {
            drop(passes.get_or_create(&PassLabels { result })); // a series from the start, at zero
        }
        let (seconds, to_ready) = (Histogram::new(PASS_SECONDS), Histogram::new(READY_SECONDS));
        let (active, waiting, most) = (Gauge::default(), Gauge::default(), Gauge::<i64, AtomicI64>::default());
        let heartbeat = Gauge::default();
        most.set(i64::try_from(workers).unwrap_or(i64::MAX));
        registry.register("reconcile", "Passes over clients, by how they ended", passes.clone());
        registry.register_with_unit("reconcile_time", "Time of a pass", Unit::Seconds, seconds.clone());
        registry.register("active_workers", "Passes under way", active.clone());
        registry.register("max_concurrent_reconciles", "Passes that may be under way at once", most);
        registry.register("workqueue_depth", "Clients whose pass is due", waiting.clone());
        registry.register_with_unit(
            "heartbeat_timestamp",
            "When the loop last turned with a good answer from the state",
            Unit::Seconds,
            heartbeat.clone(),
        );
        registry.register_with_unit(
            "commit_to_ready",
            "From a spec that was accepted to the pass after which nothing was left to do",
            Unit::Seconds,
            to_ready.clone(),
        );
        let reached = Mutex::default();
        Meters { registry, passes, seconds, active, waiting, heartbeat, to_ready, since, reached }
    }

    /// A pass ended.
    pub fn pass(&self, ended: Ended, took: Duration) {
        self.passes.get_or_create(&PassLabels { result: ended }).inc();
        self.seconds.observe(took.as_secs_f64());
    }

    /// The loop turned.
    pub fn beat(&self, now: Timestamp) {
        self.heartbeat.set(now.as_duration().as_secs_f64());
    }

    /// A generation of a client was reached. Each counts once, and only where its spec came while this process ran: of
    /// others nobody knows how long they took.
    pub fn reached(&self, record: &ClientRecord, now: Timestamp) {
        let Some(accepted) = record.accepted.as_ref().filter(|accepted| accepted.at >= self.since) else { return };
        let before = self.reached.lock().insert(record.owned.mark.uid.clone(), record.generation);
        if before != Some(record.generation) {
            self.to_ready.observe(now.duration_since(accepted.at).as_secs_f64().max(0.0));
        }
    }

    /// Everything as OpenMetrics text, without its end; so many clients are due and under way.
    pub fn text(&self, due: usize, under_way: usize) -> String {
        self.waiting.set(i64::try_from(due).unwrap_or(i64::MAX));
        self.active.set(i64::try_from(under_way).unwrap_or(i64::MAX));
        let mut text = String::new();
        let _ = encode(&mut text, &self.registry); // writing to a String cannot fail
        text.strip_suffix("# EOF\n").map(str::to_owned).unwrap_or(text)
    }
}
