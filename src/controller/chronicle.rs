//! Writes the history: each deploy from its order to its end, and each write to a provider. It follows what passes have
//! made durable already, so a crash in between costs no deploy: the next pass of the client finds what is missing.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use parking_lot::Mutex;

use crate::controller::clock::Clock;
use crate::controller::failure::Failure;
use crate::controller::pass::pass_id;
use crate::plan::change::{Action, Op, Plan};
use crate::resource::desired::Desired;
use crate::resource::env_file::EnvValue;
use crate::resource::field::FieldChange;
use crate::resource::name::ClientName;
use crate::resource::release::{Fingerprint, Releases};
use crate::status::{ConditionType, Truth};
use crate::store::history::{Deployment, DeploymentKind, DeploymentState, Write};
use crate::store::{ClientRecord, Store, Stored};

/// Rows that are looked through for what has not ended: more than one is under way only after a crash.
const OPEN_ROWS_MAX: usize = 5;

/// What a pass saw and did of a client's releases.
pub struct Seen<'a> {
    /// What was wanted.
    pub desired: &'a Desired,
    /// What was planned.
    pub plan: &'a Plan,
    /// What the deploy under way has printed, or printed to its end; masked.
    pub log: Option<&'a str>,
}

/// Numbers of the releases of a client that the history shows as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Noted {
    running: Option<u64>,
    live: Option<u64>,
    failed: Option<u64>,
    health: Option<String>,
    /// Bytes of the log that was seen; a log only grows.
    log_bytes: Option<usize>,
}

/// The writer of the history.
pub struct Chronicle {
    store: Arc<dyn Store>,
    clock: Clock,
    noted: Mutex<BTreeMap<ClientName, Noted>>,
}

impl Chronicle {
    /// Over the state.
    pub fn new(store: Arc<dyn Store>, clock: Clock) -> Self {
        Chronicle { store, clock, noted: Mutex::default() }
    }

    /// A write to a provider has ended, well or not. What never left is none.
    ///
    /// # Errors
    /// The state cannot be written.
    pub async fn note_write(&self, client: &ClientName, action: &Action, result: &Result<(), Failure>) -> Stored<()> {
        let was_sent = match result {
            Ok(()) => true,
            Err(failure) => matches!(failure, Failure::Provider(_)) && !failure.is_withdrawn(),
        };
        if action.op == Op::Adopt || !was_sent {
            return Ok(());
        }
        let write = Write {
            id: 0,
            at: self.clock.now(),
            client: client.clone(),
            reconcile: pass_id(),
            op: action.op.word().to_owned(),
            resource: action.resource.clone(),
            changes: action.changes.clone(),
            reason: action.reason.clone(),
            failure: result.as_ref().err().map(ToString::to_string),
        };
        self.store.append_write(&write).await.map(|_| ())
    }

    /// Brings the deploys of a client up to what its record says after a pass.
    ///
    /// # Errors
    /// The state cannot be read or written.
    pub async fn note_releases(&self, record: &ClientRecord, seen: &Seen<'_>) -> Stored<()> {
        let releases = &record.owned.releases;
        let now = Noted {
            running: releases.in_flight.as_ref().map(|running| running.number),
            live: releases.live.as_ref().map(|live| live.number),
            failed: releases.failed.as_ref().map(|failed| failed.number),
            health: health(record),
            log_bytes: seen.log.map(str::len),
        };
        if self.noted.lock().get(&record.name) == Some(&now) {
            return Ok(());
        }
        let rows: Vec<Deployment> = self
            .store
            .deployments(Some(&record.name), None, OPEN_ROWS_MAX)
            .await?
            .into_iter()
            .filter(|row| row.uid == record.owned.mark.uid)
            .collect();
        let ended = self.end(record, &rows, &now).await?;
        let begun = self.begin(record, &rows, seen).await?;
        if let (Some(log), Some(id)) = (seen.log, ended.or(begun)) {
            self.store.put_deployment_log(id, log).await?;
        }
        self.noted.lock().insert(record.name.clone(), now);
        Ok(())
    }

    /// Ends the rows whose deploy is not under way any more, and notes what was seen of the one that serves. Gives the row
    /// that ended.
    async fn end(&self, record: &ClientRecord, rows: &[Deployment], now: &Noted) -> Stored<Option<i64>> {
        let mut ended = None;
        for row in rows {
            let mut next = row.clone();
            if row.state == DeploymentState::Running && Some(row.number) != now.running {
                end(&mut next, &record.owned.releases, self.clock.now());
                ended.get_or_insert(row.id);
            }
            if Some(row.number) == now.live && now.health.is_some() {
                next.health.clone_from(&now.health);
            }
            if next != *row {
                self.store.put_deployment(&next).await?;
            }
        }
        Ok(ended)
    }

    /// A row for the deploy under way. Gives it.
    async fn begin(&self, record: &ClientRecord, rows: &[Deployment], seen: &Seen<'_>) -> Stored<Option<i64>> {
        let Some(running) = &record.owned.releases.in_flight else { return Ok(None) };
        if let Some(row) = rows.iter().find(|row| row.number == running.number) {
            return Ok(Some(row.id));
        }
        let releases = &record.owned.releases;
        let changes = seen.plan.actions.iter().find(|action| action.op == Op::Deploy).map(|action| &*action.changes);
        let Fingerprint { repository, branch, commit, .. } = running.fingerprint.clone();
        let row = Deployment {
            id: 0,
            client: record.name.clone(),
            uid: record.owned.mark.uid.clone(),
            number: running.number,
            kind: kind(releases, &running.fingerprint),
            trigger: trigger(releases, changes.unwrap_or_default()),
            repository,
            branch,
            commit: commit.map(|commit| commit.to_string()),
            started_at: running.requested_at,
            finished_at: None,
            state: DeploymentState::Running,
            reason: None,
            configuration: configuration(seen.desired),
            health: None,
            reconcile: pass_id(),
        };
        self.store.put_deployment(&row).await.map(Some)
    }
}

/// What the record knows of the end of a deploy.
fn end(row: &mut Deployment, releases: &Releases, now: Timestamp) {
    let live = releases.live.as_ref().filter(|live| live.number == row.number);
    let failed = releases.failed.as_ref().filter(|failed| failed.number == row.number);
    (row.state, row.finished_at, row.reason) = match (live, failed) {
        (Some(live), _) => (DeploymentState::Succeeded, Some(live.finished_at), None),
        (_, Some(failed)) => (DeploymentState::Failed, Some(failed.at), Some(failed.reason.clone())),
        _ => (DeploymentState::Lost, Some(now), None),
    };
}

fn kind(releases: &Releases, made_of: &Fingerprint) -> DeploymentKind {
    let Some(live) = &releases.live else { return DeploymentKind::First };
    let is_pinned = releases.pin.as_ref().is_some_and(|pin| made_of.commit.as_ref() == Some(&pin.commit));
    if is_pinned && live.fingerprint.commit != made_of.commit {
        return DeploymentKind::Rollback;
    }
    match live.fingerprint.requested == made_of.requested {
        true => DeploymentKind::Update,
        false => DeploymentKind::Requested,
    }
}

/// `commit changed from 1a2b to 3c4d; environment changed`.
fn trigger(releases: &Releases, changes: &[FieldChange]) -> String {
    if releases.live.is_none() {
        return "nothing was released before".into();
    }
    let said = changes.iter().map(|change| match (&change.from, &change.to) {
        _ if change.path == "asked for" => "a person asked for it".to_owned(),
        (Some(from), Some(to)) => format!("{} changed from {from} to {to}", change.path),
        _ => format!("{} changed", change.path),
    });
    let said: Vec<String> = said.collect();
    if said.is_empty() { "what serves differed from what was wanted".into() } else { said.join("; ") }
}

/// The site's variables, secrets masked.
fn configuration(desired: &Desired) -> BTreeMap<String, String> {
    let environment = desired.site.value().and_then(|site| site.environment.value());
    let values = environment.into_iter().flat_map(|environment| &environment.values);
    values
        .map(|(name, value)| match value {
            EnvValue::Plain(text) => (name.clone(), text.clone()),
            EnvValue::Secret(_) => (name.clone(), "(secret)".to_owned()),
        })
        .collect()
}

/// What a look at the release that serves came to; `None` while nobody looked.
fn health(record: &ClientRecord) -> Option<String> {
    record.owned.details.probe.as_ref()?;
    let condition = record.status.condition(ConditionType::Healthy)?;
    (condition.status != Truth::Unknown).then(|| condition.reason.clone())
}
