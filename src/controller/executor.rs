//! Makes a plan true: intent on the disk, provider call, outcome on the disk. The only caller of anything that changes the
//! outside world.
//!
//! Actions of one track go one after another and stop at the first that fails; the tracks (database, records, site) go
//! side by side. A restart at any instant finds either the intent, or the outcome, or neither and then nothing was sent.

use std::collections::BTreeMap;

use futures::future;

use crate::controller::databases::{DatabaseSteps, NO_DATABASE};
use crate::controller::failure::Failure;
use crate::controller::ledger::{close_intent, put_resource};
use crate::controller::site_steps::{SiteSteps, begin_site};
use crate::controller::workbench::Workbench;
use crate::plan::change::{Action, Op, Plan, Step};
use crate::plan::dns::key_text;
use crate::plan::draft::{Policy, growing, later};
use crate::provider::error::{ErrorClass, ProviderError};
use crate::provider::http::leave::may_leave;
use crate::resource::kind::{ResourceKind, ResourceRef};
use crate::resource::name::RemoteId;
use crate::resource::owned::{Attempt, MarkState, OwnedResource, READ_BACK};
use crate::resource::record::{Record, RecordChange, Zone};
use crate::resource::release::{Fingerprint, Released};
use crate::resource::take_over::{Difference, FOUND_RELEASE};
use crate::store::{ClientRecord, StoreError};

/// First wait after a call that failed for no fault of the spec.
pub const RETRY: std::time::Duration = std::time::Duration::from_secs(5);
/// Longest wait between attempts at something that fails.
pub const RETRY_MAX: std::time::Duration = std::time::Duration::from_secs(15 * 60);
/// First wait after a call that only a person or another spec can help; still tried, so that help needs no restart.
pub const RETRY_PERMANENT: std::time::Duration = std::time::Duration::from_secs(60);

/// What became of one action.
#[derive(Debug)]
pub struct Outcome {
    /// Its verb.
    pub op: Op,
    /// Its resource.
    pub resource: ResourceRef,
    /// Why it was made.
    pub reason: String,
    /// Done, or how it failed.
    pub result: Result<(), Failure>,
}

impl Outcome {
    /// Whether it is the end of this action.
    pub fn is_of(&self, action: &Action) -> bool {
        (self.op, &self.resource) == (action.op, &action.resource)
    }
}

/// Executes plans.
pub struct Executor<'a> {
    /// Everything an action may need.
    pub bench: Workbench<'a>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Track {
    Database,
    Records,
    Site,
}

impl Executor<'_> {
    /// Executes every action; gives their outcomes. Actions after a failure in the same track are not tried.
    pub async fn execute(&self, plan: &Plan) -> Vec<Outcome> {
        let of = |track: Track| plan.actions.iter().filter(move |a| track_of(&a.step) == track).collect::<Vec<_>>();
        let (database, records, site) = future::join3(
            self.run_track(of(Track::Database)),
            self.run_records(of(Track::Records)),
            self.run_track(of(Track::Site)),
        )
        .await;
        database.into_iter().chain(records).chain(site).collect()
    }

    async fn run_track(&self, actions: Vec<&Action>) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        for action in actions {
            if !may_leave().await {
                break;
            }
            let result = self.step(action).await;
            if result.as_ref().is_err_and(Failure::is_withdrawn) {
                break;
            }
            let failed = result.is_err();
            self.remember(action, &result).await;
            outcomes.push(outcome(action, result));
            if failed {
                break;
            }
        }
        outcomes
    }

    async fn step(&self, action: &Action) -> Result<(), Failure> {
        let databases = DatabaseSteps { bench: &self.bench };
        let sites = SiteSteps { bench: &self.bench };
        match &action.step {
            Step::Adopt { id, mark } => self.adopt(&action.resource, id, *mark).await,
            Step::Accept { resource, difference } => self.accept(resource, difference).await,
            Step::KeepRelease(fingerprint) => self.keep_release(fingerprint).await,
            Step::EnsureDatabase(database) => databases.ensure(database).await,
            Step::EnsureLogin(database) => databases.ensure_login(database).await,
            Step::CloseLogin(database) => databases.close_login(database).await,
            Step::RetainDatabase(database) => databases.retain(database).await,
            Step::BackUp(database) => databases.back_up(database).await,
            Step::Drop { database, oid, .. } => databases.drop_database(database, *oid).await,
            Step::DropRoles(database) => databases.drop_database(database, NO_DATABASE).await,
            Step::ChangeRecord { .. } => Ok(()), // in batches: run_records
            _ => sites.step(action).await,
        }
    }

    /// Our memory alone. What we asked for and got no answer about begins as it would have with its answer.
    async fn adopt(&self, resource: &ResourceRef, id: &RemoteId, mark: MarkState) -> Result<(), Failure> {
        let ours = OwnedResource {
            kind: resource.kind,
            provider: resource.provider.clone(),
            name: resource.name.clone(),
            id: id.clone(),
            mark,
            since: self.bench.clock.now(),
        };
        if ours.kind == ResourceKind::Site {
            self.bench.servers.note_ours(id).await;
        }
        self.bench
            .ledger
            .update(|record| {
                let was_asked_for = record.owned.intent(ours.kind, &ours.name).is_some();
                close_intent(record, ours.kind, &ours.name);
                match ours.kind {
                    ResourceKind::Site if was_asked_for => begin_site(record),
                    ResourceKind::Database if was_asked_for => record.owned.made_database = true,
                    _ => {}
                }
                match ours.kind {
                    ResourceKind::Record => remember_record(record, ours),
                    _ => put_resource(record, ours),
                }
            })
            .await?;
        Ok(())
    }

    /// Our memory alone: this stands as it was found.
    async fn accept(&self, resource: &str, difference: &Difference) -> Result<(), Failure> {
        let (resource, difference) = (resource.to_owned(), difference.clone());
        self.bench
            .ledger
            .update(|record| {
                let take_over = record.owned.take_over.as_mut();
                take_over.map(|take_over| take_over.accepted.insert(resource, difference))
            })
            .await?;
        Ok(())
    }

    /// Our memory alone: what serves counts as wanted, and what is found from now on is written.
    async fn keep_release(&self, fingerprint: &Fingerprint) -> Result<(), Failure> {
        let (fingerprint, at) = (fingerprint.clone(), self.bench.clock.now());
        let found = Released { number: FOUND_RELEASE, fingerprint, started_at: at, finished_at: at };
        self.bench
            .ledger
            .update(|record| {
                record.owned.releases.live = Some(found);
                if let Some(take_over) = record.owned.take_over.as_mut() {
                    take_over.is_settled = true;
                }
            })
            .await?;
        Ok(())
    }

    /// All changes of one zone go as one batch; the provider falls back to single writes.
    async fn run_records(&self, actions: Vec<&Action>) -> Vec<Outcome> {
        let mut zones: BTreeMap<String, (Zone, String, Vec<&Action>)> = BTreeMap::new();
        for action in actions {
            if let Step::ChangeRecord { zone, .. } = &action.step {
                let entry = zones
                    .entry(zone.id.to_string())
                    .or_insert_with(|| (zone.clone(), action.resource.provider.clone(), Vec::new()));
                entry.2.push(action);
            }
        }
        let mut outcomes = Vec::new();
        for (zone, provider, actions) in zones.into_values() {
            outcomes.extend(self.run_zone(&zone, &provider, actions).await);
        }
        outcomes
    }

    async fn run_zone(&self, zone: &Zone, provider: &str, actions: Vec<&Action>) -> Vec<Outcome> {
        let changes: Vec<RecordChange> = actions.iter().filter_map(|a| record_change(a)).cloned().collect();
        let refused = |reason: &'static str, message: String| {
            let failure = || Failure::Rule { reason, message: message.clone() };
            actions.iter().map(|action| outcome(action, Err(failure()))).collect()
        };
        let Some(dns) = self.bench.providers.dns.get(provider) else {
            return refused("ProviderNotConfigured", format!("the DNS provider {provider} is not configured"));
        };
        let keys: Vec<String> = changes
            .iter()
            .filter(|c| matches!(c, RecordChange::Create { .. }))
            .map(|c| key_text(zone, c.record()))
            .collect();
        if !may_leave().await {
            return Vec::new();
        }
        if let Err(error) = self.begin_records(&keys, &changes).await {
            return refused("StateNotWritable", error.to_string());
        }
        let answers = dns.apply(zone, &self.bench.desired.mark, &changes).await;
        let mut outcomes = Vec::new();
        for ((action, change), answer) in actions.iter().zip(&changes).zip(answers) {
            let result = self.record_outcome(zone, provider, change, answer).await;
            self.remember(action, &result).await;
            outcomes.push(outcome(action, result));
        }
        outcomes
    }

    async fn begin_records(&self, keys: &[String], changes: &[RecordChange]) -> Result<(), StoreError> {
        self.bench
            .ledger
            .update(|record| {
                for change in changes {
                    if let RecordChange::Delete { from, .. } = change {
                        note_deletion(record, from);
                    }
                }
            })
            .await?;
        self.bench.ledger.intend(ResourceKind::Record, keys).await
    }

    async fn record_outcome(
        &self,
        zone: &Zone,
        provider: &str,
        change: &RecordChange,
        answer: crate::provider::RecordOutcome,
    ) -> Result<(), Failure> {
        let key = key_text(zone, change.record());
        let name = change.record().to_string();
        let since = self.bench.clock.now();
        match answer {
            Ok(Some(live)) => {
                let resource = OwnedResource {
                    kind: ResourceKind::Record,
                    provider: provider.into(),
                    name,
                    id: live.id,
                    mark: MarkState::Written,
                    since,
                };
                self.bench
                    .ledger
                    .update(|record| {
                        close_intent(record, ResourceKind::Record, &key);
                        remember_record(record, resource);
                        record.owned.details.published = None;
                    })
                    .await?;
                Ok(())
            }
            Ok(None) => {
                self.bench.ledger.update(|record| record_gone(record, change)).await?;
                Ok(())
            }
            Err(error) => {
                let taken = matches!(error.class, ErrorClass::Exists(_));
                let ours = taken && self.bench.ledger.was_sent_before(ResourceKind::Record, &key).await;
                if !error.is_ambiguous() && !ours {
                    self.bench.ledger.close(ResourceKind::Record, &key).await?;
                }
                Err(error.into())
            }
        }
    }

    /// Success clears what held this kind back; failure holds it back for a growing time. Either goes to the audit.
    async fn remember(&self, action: &Action, result: &Result<(), Failure>) {
        let (kind, failure) = (action.resource.kind, result.as_ref().err());
        let now = self.bench.clock.now();
        let policy = self.bench.policy;
        let saved = self
            .bench
            .ledger
            .update(|record| match failure {
                None => {
                    if record.owned.attempts.get(&kind).is_none_or(|attempt| attempt.reason != READ_BACK) {
                        record.owned.attempts.remove(&kind);
                    }
                }
                Some(failure) => {
                    if failure.is_ambiguous() {
                        record.owned.details.unanswered.insert(kind, later(now, policy.settle));
                    }
                    let attempt = next_attempt(record.owned.attempts.get(&kind), failure, policy, now);
                    record.owned.attempts.insert(kind, attempt);
                }
            })
            .await;
        let client = self.bench.ledger.read(|record| record.name.clone()).await;
        let audited = self.bench.chronicle.note_write(&client, action, result).await;
        if let Err(error) = saved.and(audited) {
            tracing::error!(%error, "the outcome of an action could not be recorded; it is looked for again after a restart");
        }
    }
}

fn outcome(action: &Action, result: Result<(), Failure>) -> Outcome {
    Outcome { op: action.op, resource: action.resource.clone(), reason: action.reason.clone(), result }
}

fn record_change(action: &Action) -> Option<&RecordChange> {
    match &action.step {
        Step::ChangeRecord { change, .. } => Some(change),
        _ => None,
    }
}

/// Several records may share a name: the id tells them apart.
fn remember_record(record: &mut ClientRecord, resource: OwnedResource) {
    record.owned.resources.retain(|r| !(r.kind == ResourceKind::Record && r.id == resource.id));
    record.owned.resources.push(resource);
}

fn record_gone(record: &mut ClientRecord, change: &RecordChange) {
    let RecordChange::Delete { id, from } = change else { return };
    record.owned.resources.retain(|r| !(r.kind == ResourceKind::Record && r.id == *id));
    note_deletion(record, from);
}

/// Body and TTL of a record that goes are durable before it goes: the way back and the wait for caches need them, whatever
/// becomes of the answer.
fn note_deletion(record: &mut ClientRecord, from: &Record) {
    if let Some(removal) = record.owned.removal.as_mut() {
        removal.removed_records.insert(from.clone());
        if from.kind.is_address() {
            removal.ttl_seconds = removal.ttl_seconds.max(from.ttl.effective_seconds());
        }
    }
}

/// When this kind of work is tried again, and what is said until then.
fn next_attempt(before: Option<&Attempt>, failure: &Failure, policy: &Policy, now: jiff::Timestamp) -> Attempt {
    let failures = before.map_or(1, |attempt| attempt.failures + 1);
    let wait = match failure {
        Failure::Provider(ProviderError { class: ErrorClass::Throttled { after }, .. }) => *after,
        Failure::Provider(ProviderError { class: ErrorClass::Exists(_) | ErrorClass::Busy(_), .. }) => {
            growing(policy.deploy_poll, failures, RETRY_MAX)
        }
        failure if failure.is_permanent() => growing(RETRY_PERMANENT, failures, RETRY_MAX),
        _ => growing(RETRY, failures, RETRY_MAX),
    };
    let next_at = later(now, wait);
    let help = if failure.is_permanent() { "; mend the cause, it is tried again" } else { "; tried again" };
    Attempt {
        failures,
        next_at,
        reason: failure.reason().to_owned(),
        message: format!("{failure}{help} at {next_at:.0}"),
        permanent: failure.is_permanent(),
    }
}

fn track_of(step: &Step) -> Track {
    match step {
        Step::EnsureDatabase(_)
        | Step::EnsureLogin(_)
        | Step::CloseLogin(_)
        | Step::RetainDatabase(_)
        | Step::BackUp(_)
        | Step::DropRoles(_)
        | Step::Drop { .. } => Track::Database,
        Step::ChangeRecord { .. } => Track::Records,
        _ => Track::Site,
    }
}
