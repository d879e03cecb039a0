//! Record writes of one zone: what several clients ask for at the same moment travels in one call (contracts/cloudflare.md 1.6).
//!
//! A batch is one transaction there: it applies as a whole or not at all. A refused batch is halved until the record that
//! is to blame stands alone, so that it stops nobody else; a batch without an answer is never sent again.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::provider::RecordOutcome;
use crate::provider::cloudflare::Account;
use crate::provider::cloudflare::wire::{RecordJson, as_shown, create_body, not_applied, objection, patch_body};
use crate::provider::error::{ErrorClass, ProviderError};
use crate::provider::http::lane::{Lane, current_lane, in_lane};
use crate::resource::mark::Mark;
use crate::resource::name::ZoneId;
use crate::resource::record::{RecordChange, Zone};

/// Operations in one call: what every plan takes (contracts/cloudflare.md 1.9).
pub(super) const BATCH_OPERATIONS_MAX: usize = 200;
/// How long a write waits for others of its zone: far below one call, long enough for passes that end together.
const GATHERING: Duration = Duration::from_millis(2);

/// Gathers the writes of each zone.
pub(super) struct Batcher {
    account: Arc<Account>,
    gathering: Arc<Mutex<HashMap<ZoneId, Gathering>>>,
}

#[derive(Default)]
struct Gathering {
    operations: Vec<Operation>,
    lane: Option<Lane>,
}

struct Operation {
    change: RecordChange,
    comment: String,
    outcome: oneshot::Sender<RecordOutcome>,
}

/// The arrays of a batch's answer, each in the order in which its operations were sent.
#[derive(Debug, Deserialize)]
struct BatchResult {
    patches: Option<Vec<RecordJson>>,
    posts: Option<Vec<RecordJson>>,
}

/// The answer to a single delete, which says nothing that we need.
#[derive(Debug, Deserialize)]
struct Deleted {}

impl Batcher {
    pub(super) fn new(account: Arc<Account>) -> Self {
        Batcher { account, gathering: Arc::default() }
    }

    /// One outcome per change, in the order of the changes.
    pub(super) async fn apply(&self, zone: &Zone, mark: &Mark, changes: &[RecordChange]) -> Vec<RecordOutcome> {
        let path = format!("zones/{}/dns_records", zone.id);
        let mut receivers = Vec::with_capacity(changes.len());
        let mut operations = Vec::new();
        for change in changes {
            let (sender, receiver) = oneshot::channel();
            receivers.push(receiver);
            match objection(zone, change) {
                Some(text) => {
                    let error = self.account.error(&method_of(change), &path, ErrorClass::Invalid(text));
                    sender.send(Err(error)).ok();
                }
                None => operations.push(Operation { change: change.clone(), comment: mark.comment(), outcome: sender }),
            }
        }
        self.gather(zone, operations);
        let mut outcomes = Vec::with_capacity(changes.len());
        for (receiver, change) in receivers.into_iter().zip(changes) {
            let lost = || ErrorClass::Unanswered("the batch ended without an outcome".into());
            let outcome = receiver.await;
            outcomes.push(outcome.unwrap_or_else(|_| Err(self.account.error(&method_of(change), &path, lost()))));
        }
        outcomes
    }

    /// Puts operations to the others of their zone; the first one starts the clock. The call itself runs in a task of its
    /// own: a caller that gives up must not take the writes of others with it.
    fn gather(&self, zone: &Zone, operations: Vec<Operation>) {
        if operations.is_empty() {
            return;
        }
        let lane = current_lane();
        let first = {
            let mut gathering = self.gathering.lock();
            let entry = gathering.entry(zone.id.clone()).or_default();
            let first = entry.operations.is_empty();
            entry.operations.extend(operations);
            entry.lane = Some(entry.lane.map_or(lane, |old| old.min(lane)));
            first
        };
        if first {
            let (account, gathering, zone) = (self.account.clone(), self.gathering.clone(), zone.id.clone());
            tokio::spawn(async move {
                tokio::time::sleep(GATHERING).await;
                let Some(ready) = gathering.lock().remove(&zone) else { return };
                in_lane(ready.lane.unwrap_or(Lane::People), send_all(&account, &zone, ready.operations)).await;
            });
        }
    }
}

/// Sends in the order in which Cloudflare executes a batch, so that what is cut or halved keeps that order.
async fn send_all(account: &Account, zone: &ZoneId, mut operations: Vec<Operation>) {
    operations.sort_by_key(|operation| match operation.change {
        RecordChange::Delete { .. } => 0,
        RecordChange::Update { .. } => 1,
        RecordChange::Create { .. } => 2,
    });
    // A stack of parts that are still to be sent, the next one on top.
    let mut parts: Vec<Vec<Operation>> = Vec::new();
    while !operations.is_empty() {
        let rest = operations.split_off(operations.len().min(BATCH_OPERATIONS_MAX));
        parts.push(std::mem::replace(&mut operations, rest));
    }
    parts.reverse();
    while let Some(mut part) = parts.pop() {
        let stop = if part.len() == 1 {
            match part.pop() {
                Some(operation) => send_single(account, zone, operation).await,
                None => None,
            }
        } else {
            match send_batch(account, zone, &part).await {
                Ok(result) => {
                    settle(account, zone, part, result);
                    None
                }
                Err(error) if is_about_a_record(&error) => {
                    let second = part.split_off(part.len() / 2);
                    parts.push(second);
                    parts.push(part);
                    None
                }
                Err(error) => {
                    tell_all(part, &error);
                    Some(error)
                }
            }
        };
        if let Some(error) = stop {
            let class = match error.class {
                ErrorClass::Unanswered(_) => ErrorClass::Unavailable("not sent: the call before got no answer".into()),
                other => other,
            };
            let unsent = ProviderError { class, ..error };
            parts.into_iter().for_each(|part| tell_all(part, &unsent));
            return;
        }
    }
}

/// Whether one record is to blame, rather than the network, the credential or the account.
fn is_about_a_record(error: &ProviderError) -> bool {
    matches!(
        error.class,
        ErrorClass::NotFound
            | ErrorClass::Exists(_)
            | ErrorClass::Quota(_)
            | ErrorClass::Invalid(_)
            | ErrorClass::Busy(_)
    )
}

async fn send_batch(account: &Account, zone: &ZoneId, part: &[Operation]) -> Result<BatchResult, ProviderError> {
    let (mut deletes, mut patches, mut posts) = (Vec::new(), Vec::new(), Vec::new());
    for operation in part {
        match &operation.change {
            RecordChange::Delete { id, .. } => deletes.push(json!({ "id": id })),
            RecordChange::Update { id, from, to } => {
                let mut body = patch_body(from, to, &operation.comment);
                body.insert("id".into(), json!(id));
                patches.push(Value::Object(body));
            }
            RecordChange::Create { to } => posts.push(create_body(to, &operation.comment)),
        }
    }
    let body = json!({ "deletes": deletes, "patches": patches, "posts": posts });
    account.write(Method::POST, &format!("zones/{zone}/dns_records/batch"), Some(&body)).await
}

/// Hands each record of an answer to the one who asked for it.
fn settle(account: &Account, zone: &ZoneId, part: Vec<Operation>, result: BatchResult) {
    let mut patches = result.patches.unwrap_or_default();
    let mut posts = result.posts.unwrap_or_default();
    for operation in part {
        let shown = match &operation.change {
            RecordChange::Delete { .. } => {
                operation.outcome.send(Ok(None)).ok();
                continue;
            }
            RecordChange::Update { id, .. } => take(&mut patches, |row| row.id == id.as_str()),
            RecordChange::Create { to } => {
                let same = |row: &RecordJson| row.to_live().is_some_and(|live| live.value.key() == as_shown(to).key());
                take(&mut posts, same)
            }
        };
        let outcome = verified(account, zone, &operation, shown);
        operation.outcome.send(outcome).ok();
    }
}

/// Takes the first row that fits; the order within an answer is nowhere promised.
fn take(rows: &mut Vec<RecordJson>, fits: impl Fn(&RecordJson) -> bool) -> Option<RecordJson> {
    rows.iter().position(fits).map(|place| rows.remove(place))
}

/// Sends one operation. Gives the error back when it says that nothing further should be sent.
async fn send_single(account: &Account, zone: &ZoneId, operation: Operation) -> Option<ProviderError> {
    let list = format!("zones/{zone}/dns_records");
    let outcome = match &operation.change {
        RecordChange::Delete { id, .. } => {
            let gone = account.write::<Deleted>(Method::DELETE, &format!("{list}/{id}"), None).await;
            match gone {
                Ok(_) => Ok(None),
                Err(error) if error.class == ErrorClass::NotFound => Ok(None),
                Err(error) => Err(error),
            }
        }
        RecordChange::Update { id, from, to } => {
            let body = Value::Object(patch_body(from, to, &operation.comment));
            let shown = account.write(Method::PATCH, &format!("{list}/{id}"), Some(&body)).await;
            shown.and_then(|shown| verified(account, zone, &operation, Some(shown)))
        }
        RecordChange::Create { to } => {
            let body = create_body(to, &operation.comment);
            let shown = account.write(Method::POST, &list, Some(&body)).await;
            shown.and_then(|shown| verified(account, zone, &operation, Some(shown)))
        }
    };
    // Creates come last: once one is over the quota, so are all that would follow.
    let stops = |error: &&ProviderError| !is_about_a_record(error) || matches!(error.class, ErrorClass::Quota(_));
    let stop = outcome.as_ref().err().filter(stops).cloned();
    operation.outcome.send(outcome).ok();
    stop
}

/// The record as it is shown, once it is known to be the one we asked for: Cloudflare may accept a change and not make it
/// (contracts/cloudflare.md 4, lesson 21).
fn verified(account: &Account, zone: &ZoneId, operation: &Operation, shown: Option<RecordJson>) -> RecordOutcome {
    let path = format!("zones/{zone}/dns_records");
    let fail = |class| Err(account.error(&method_of(&operation.change), &path, class));
    let wanted = operation.change.record();
    let Some(shown) = shown else {
        return fail(ErrorClass::Unanswered(format!("the answer does not show {wanted}")));
    };
    match not_applied(wanted, &operation.comment, &shown) {
        Some(members) => fail(ErrorClass::Invalid(format!(
            "NotConverged: {wanted} was accepted but is shown with another {members}; look at the zone's settings for it"
        ))),
        None => Ok(shown.to_live()),
    }
}

fn tell_all(part: Vec<Operation>, error: &ProviderError) {
    for operation in part {
        operation.outcome.send(Err(error.clone())).ok();
    }
}

fn method_of(change: &RecordChange) -> Method {
    match change {
        RecordChange::Create { .. } => Method::POST,
        RecordChange::Update { .. } => Method::PATCH,
        RecordChange::Delete { .. } => Method::DELETE,
    }
}
