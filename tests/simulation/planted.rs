//! The suite proves itself: each protocol bug that is planted here must be caught by the lives.
//!
//! What the loop heals by itself is no bug here: a write that was lost and taken for done is read back, a port that was
//! forgotten is still held by the state. The bugs are planted at the seams of the loop (what it remembers, what it is answered, what it is told), so that the
//! product holds no switch for them.

use std::time::Duration;

use axum::http::Response;
use bytes::Bytes;
use jiff::Timestamp;
use sitewright::config::Settings;
use sitewright::resource::database::Catalog;
use sitewright::resource::kind::ResourceKind;
use sitewright::resource::owned::{AdministratorState, MarkState};
use sitewright::resource::removal::ReclaimPolicy;
use sitewright::store::ClientRecord;

/// What a line carries back.
type Answered = Result<Response<Bytes>, String>;

/// A bug at one seam.
#[derive(Clone, Copy)]
pub enum Bug {
    /// Of the settings: a limit is not kept.
    Limit(fn(&mut Settings)),
    /// Of the memory: what is written down is not what was found out.
    Memory(fn(&mut ClientRecord)),
    /// Of the reading: an answer (of this method and path) is taken for another.
    Answer(fn(&str, &str, Answered) -> Answered),
    /// Of the reading of databases; `None`: the look failed.
    Catalog(fn(Option<Catalog>) -> Option<Catalog>),
    /// A write is sent twice.
    Twice(fn(&str, &str) -> bool),
}

/// A planted bug and its name.
pub struct Planted {
    pub name: &'static str,
    pub bug: Bug,
}

fn forget_kind(record: &mut ClientRecord, kind: ResourceKind) {
    record.owned.resources.retain(|resource| resource.kind != kind);
}

fn forget_intents(record: &mut ClientRecord, kind: ResourceKind) {
    record.owned.intents.retain(|intent| intent.kind != kind);
}

fn good(body: &'static str) -> Answered {
    let mut answer = Response::new(Bytes::from_static(body.as_bytes()));
    answer.headers_mut().insert("content-type", "application/json".parse().unwrap());
    Ok(answer)
}

fn failed(answer: &Answered) -> bool {
    answer.as_ref().map_or(true, |answer| !answer.status().is_success() || !is_json(answer))
}

fn is_json(answer: &Response<Bytes>) -> bool {
    answer.body().is_empty() || serde_json::from_slice::<serde_json::Value>(answer.body()).is_ok()
}

const NO_SITES: &str = r#"{"data":[],"links":{},"meta":{"current_page":1,"last_page":1,"per_page":50,"total":0}}"#;
const NO_RECORDS: &str = r#"{"success":true,"errors":[],"messages":[],"result":[],"result_info":{"page":1,"per_page":5000,"count":0,"total_count":0,"total_pages":1}}"#;

const BUGS: &[Planted] = &[
    Planted { name: "settle-zero", bug: Bug::Limit(|s| s.settle = Duration::ZERO) },
    Planted { name: "no-site-grace", bug: Bug::Limit(|s| s.deletion.grace = Duration::ZERO) },
    Planted { name: "site-grace-half", bug: Bug::Limit(|s| s.deletion.grace /= 2) },
    Planted { name: "no-database-grace", bug: Bug::Limit(|s| s.deletion.database_grace = s.deletion.grace) },
    Planted { name: "no-drain", bug: Bug::Limit(|s| s.dns.drain = Some(Duration::ZERO)) },
    Planted {
        name: "one-scan-is-enough",
        bug: Bug::Limit(|s| (s.absence_scans, s.absence_window) = (1, Duration::ZERO)),
    },
    Planted { name: "no-window-of-absence", bug: Bug::Limit(|s| s.absence_window = Duration::from_secs(3)) },
    Planted { name: "no-intent-of-a-site", bug: Bug::Memory(|r| forget_intents(r, ResourceKind::Site)) },
    Planted { name: "no-intent-of-a-record", bug: Bug::Memory(|r| forget_intents(r, ResourceKind::Record)) },
    Planted { name: "no-intent-of-a-database", bug: Bug::Memory(|r| forget_intents(r, ResourceKind::Database)) },
    Planted { name: "no-intent-of-a-role", bug: Bug::Memory(|r| forget_intents(r, ResourceKind::Role)) },
    Planted {
        name: "an-intent-is-old-at-once",
        bug: Bug::Memory(|r| r.owned.intents.iter_mut().for_each(|i| i.at = Timestamp::UNIX_EPOCH)),
    },
    Planted { name: "a-deploy-is-not-noted", bug: Bug::Memory(|r| r.owned.releases.in_flight = None) },
    Planted { name: "an-order-is-not-noted", bug: Bug::Memory(|r| r.owned.order = None) },
    Planted { name: "a-run-is-not-noted", bug: Bug::Memory(|r| r.owned.runs.clear()) },
    Planted { name: "the-release-is-forgotten", bug: Bug::Memory(|r| r.owned.releases.live = None) },
    Planted { name: "the-site-is-forgotten", bug: Bug::Memory(|r| forget_kind(r, ResourceKind::Site)) },
    Planted { name: "the-database-is-forgotten", bug: Bug::Memory(|r| forget_kind(r, ResourceKind::Database)) },
    Planted { name: "the-secrets-are-forgotten", bug: Bug::Memory(|r| r.secrets.clear()) },
    Planted {
        name: "the-script-is-forgotten",
        bug: Bug::Memory(|r| {
            r.owned.details.script = Some(sitewright::resource::reading::Seen {
                value: None,
                at: r.status.next_attempt.unwrap_or(Timestamp::UNIX_EPOCH),
            })
        }),
    },
    Planted {
        name: "the-administrator-is-forgotten",
        bug: Bug::Memory(|r| r.owned.administrator = AdministratorState::NotMade),
    },
    Planted {
        name: "the-backup-is-forgotten",
        bug: Bug::Memory(|r| {
            if let Some(removal) = &mut r.owned.removal {
                removal.backup = None
            }
        }),
    },
    Planted { name: "the-removal-is-forgotten", bug: Bug::Memory(|r| r.owned.removal = None) },
    Planted {
        name: "the-end-of-the-site-is-forgotten",
        bug: Bug::Memory(|r| {
            if let Some(removal) = &mut r.owned.removal {
                removal.site_gone_at = None
            }
        }),
    },
    Planted {
        name: "the-grace-began-long-ago",
        bug: Bug::Memory(|r| {
            if let Some(removal) = &mut r.owned.removal {
                removal.offline_since = Timestamp::UNIX_EPOCH
            }
        }),
    },
    Planted {
        name: "every-database-may-go",
        bug: Bug::Memory(|r| {
            if let Some(removal) = &mut r.owned.removal {
                removal.reclaim = ReclaimPolicy::Delete
            }
        }),
    },
    Planted {
        name: "every-database-stays",
        bug: Bug::Memory(|r| {
            if let Some(removal) = &mut r.owned.removal {
                removal.reclaim = ReclaimPolicy::Retain
            }
        }),
    },
    Planted { name: "the-web-server-is-never-asked", bug: Bug::Memory(|r| r.owned.details.vhost_loaded = true) },
    Planted {
        name: "the-mark-is-taken-for-written",
        bug: Bug::Memory(|r| r.owned.resources.iter_mut().for_each(|one| one.mark = MarkState::Written)),
    },
    Planted { name: "the-generation-is-taken-for-planned", bug: Bug::Memory(|r| r.observed_generation = r.generation) },
    Planted {
        name: "sites-unknown-are-none",
        bug: Bug::Answer(|method, path, answer| {
            if method == "GET" && path.contains("/sites?") && failed(&answer) { good(NO_SITES) } else { answer }
        }),
    },
    Planted {
        name: "records-unknown-are-none",
        bug: Bug::Answer(|method, path, answer| {
            if method == "GET" && path.contains("/dns_records?") && failed(&answer) { good(NO_RECORDS) } else { answer }
        }),
    },
    Planted {
        name: "sites-are-never-seen",
        bug: Bug::Answer(
            |method, path, answer| if method == "GET" && path.contains("/sites?") { good(NO_SITES) } else { answer },
        ),
    },
    Planted {
        name: "records-are-never-seen",
        bug: Bug::Answer(
            |method, path, answer| {
                if method == "GET" && path.contains("/dns_records?") { good(NO_RECORDS) } else { answer }
            },
        ),
    },
    Planted {
        name: "a-lost-answer-is-a-refusal",
        bug: Bug::Answer(|method, _, answer| {
            if method != "GET" && answer.is_err() {
                let mut no = Response::new(Bytes::from_static(b"{\"message\":\"no\"}"));
                *no.status_mut() = axum::http::StatusCode::UNPROCESSABLE_ENTITY;
                Ok(no)
            } else {
                answer
            }
        }),
    },
    Planted {
        name: "certificates-are-never-seen",
        bug: Bug::Answer(
            |method, path, answer| {
                if method == "GET" && path.contains("/certificates") { good(NO_SITES) } else { answer }
            },
        ),
    },
    Planted { name: "databases-are-never-seen", bug: Bug::Catalog(|seen| seen.map(|_| Catalog::default())) },
    Planted {
        name: "marks-of-databases-are-not-read",
        bug: Bug::Catalog(|seen| {
            seen.map(|mut all| {
                all.databases.iter_mut().for_each(|row| row.comment = None);
                all
            })
        }),
    },
    Planted {
        name: "deploys-are-sent-twice",
        bug: Bug::Twice(|method, path| method == "POST" && path.ends_with("/deploy")),
    },
    Planted {
        name: "orders-are-sent-twice",
        bug: Bug::Twice(|method, path| method == "POST" && path.ends_with("/certificates")),
    },
    Planted {
        name: "records-are-sent-twice",
        bug: Bug::Twice(|method, path| method == "POST" && path.contains("dns_records")),
    },
];

#[test]
#[cfg_attr(
    debug_assertions,
    ignore = "minutes long without optimisation: cargo test --profile simulation --test simulation every_planted"
)]
fn every_planted_bug_is_caught() {
    let named = std::env::var("SITEWRIGHT_PLANTED").ok();
    let bugs: Vec<&'static Planted> =
        BUGS.iter().filter(|planted| named.as_ref().is_none_or(|named| named == planted.name)).collect();
    let caught = parking_lot::Mutex::new(0);
    let missed = crate::many::side_by_side(&bugs, |planted| match caught_by(planted) {
        Some(how) => {
            *caught.lock() += 1;
            println!(
                "{}: {}",
                planted.name,
                how.lines().next().unwrap_or_default().chars().take(160).collect::<String>()
            );
            None
        }
        None => Some(planted.name.to_owned()),
    });
    println!("{} of {} planted bugs caught", caught.into_inner(), bugs.len());
    assert!(missed.is_empty(), "these were not caught: {missed:?}");
}

/// Seeds that are tried on one bug.
const SEEDS: u64 = 60;

/// What first did not hold, and in which life.
fn caught_by(planted: &'static Planted) -> Option<String> {
    let told = crate::exhaustive::catches(planted).or_else(|| crate::retained::catches(planted));
    told.or_else(|| (0..SEEDS).find_map(|seed| crate::seeds::catches(seed, planted)))
}
