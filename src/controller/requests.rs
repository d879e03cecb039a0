//! What people ask from other processes: rows in the state, taken up within a moment (decisions 33).

use jiff::Timestamp;

use crate::controller::absence::Absences;
use crate::controller::doubts::Doubts;
use crate::controller::fleet::PAUSE_ALL;
use crate::controller::identities::Identities;
use crate::controller::recovery::Recovery;
use crate::resource::name::{ClientName, Commit};
use crate::resource::release::Pin;
use crate::store::history::{DEPLOYMENTS_MAX, DeploymentState};
use crate::store::{Ask, ClientRecord, Pause, Request, Store, Stored};

/// What a request leaves to the loop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// This client gets a pass now.
    Pass(ClientName),
    /// All get one.
    PassAll,
    /// This client is gone from the state.
    Gone(ClientName),
    /// The directory is scanned now.
    Scan,
    /// Nothing.
    Nothing,
}

/// Takes one request up: its effect, and the sentence that answers it.
pub async fn take(request: &Request, store: &dyn Store, now: Timestamp) -> Stored<(Effect, Result<String, String>)> {
    match &request.ask {
        Ask::Reconcile(name) => {
            change(store, name, |record| {
                record.owned.attempts.clear();
                record.owned.fights.clear();
                if let Some(take_over) = record.owned.take_over.as_mut().filter(|take_over| take_over.is_settled) {
                    take_over.accepted.clear(); // a person wants the spec, also where something else was found
                }
                "a pass begins now".into()
            })
            .await
        }
        Ask::Deploy(name) => {
            change(store, name, |record| {
                record.owned.releases.requested += 1;
                record.owned.releases.pin = None;
                record.owned.releases.failed = None;
                record.owned.attempts.clear();
                format!("release {} is asked for", record.owned.releases.next_number)
            })
            .await
        }
        Ask::Rollback { client, to, reason, until } => {
            let pin = match earlier_release(store, client, *to).await? {
                Ok((branch, commit)) => {
                    Pin { number: *to, branch, commit, reason: reason.clone(), since: now, until: *until, source: None }
                }
                Err(sentence) => return Ok((Effect::Nothing, Err(sentence))),
            };
            change(store, client, |record| {
                record.owned.releases.pin = Some(pin);
                record.owned.releases.failed = None;
                record.owned.attempts.clear();
                format!("release {to} is what counts now; the database stays as it is")
            })
            .await
        }
        Ask::Pause { client: Some(name), reason, until } => {
            let pause = Pause { reason: reason.clone(), since: now, until: *until };
            change(store, name, |record| {
                record.pause = Some(pause);
                "paused; nothing is written until it is resumed".into()
            })
            .await
        }
        Ask::Pause { client: None, reason, until } => {
            let pause = Pause { reason: reason.clone(), since: now, until: *until };
            store.put_document(PAUSE_ALL, serde_json::to_value(pause).ok().as_ref()).await?;
            Ok((Effect::PassAll, Ok("all clients are paused; nothing is written until they are resumed".into())))
        }
        Ask::Resume(Some(name)) => {
            change(store, name, |record| {
                record.pause = None;
                "resumed".into()
            })
            .await
        }
        Ask::Resume(None) => {
            store.put_document(PAUSE_ALL, None).await?;
            Ok((Effect::PassAll, Ok("resumed".into())))
        }
        Ask::Forget(name) => forget(store, name).await,
        Ask::Approve(hash) => {
            if let Some(recovery) = Recovery::load(store).await?
                && recovery.hash() == *hash
            {
                return Ok((Effect::PassAll, Ok(recovery.approve(store).await?)));
            }
            let mut doubts = Doubts::load(store).await?;
            if let Some((place, clients)) = doubts.approve(hash) {
                let answer = format!("{} clients count as gone from {place}; a pass puts them back", clients.len());
                doubts.save(store).await?;
                return Ok((Effect::PassAll, Ok(answer)));
            }
            let mut identities = Identities::load(store).await?;
            if let Some(place) = identities.approve(hash) {
                let answer = format!("{place} is the one that stands there now");
                identities.save(store).await?;
                return Ok((Effect::PassAll, Ok(answer)));
            }
            let mut absences = Absences::load(store).await?;
            let answer = absences.approve(hash);
            if answer.is_ok() {
                absences.save(store).await?;
            }
            Ok((Effect::Scan, answer))
        }
    }
}

/// Only who is on the way out already: a client with a file would be a new one at the next scan.
async fn forget(store: &dyn Store, name: &ClientName) -> Stored<(Effect, Result<String, String>)> {
    let Some(record) = store.client(name).await? else {
        return Ok((Effect::Nothing, Err(format!("no client is called {name}; `sitewright status` lists them"))));
    };
    if record.owned.removal.is_none() {
        let why =
            "its file is there, or its absence does not count yet; take the file away and wait until it is offline";
        return Ok((Effect::Nothing, Err(format!("{name} is not on its way out: {why}"))));
    }
    store.forget(name).await?;
    Ok((Effect::Gone(name.clone()), Ok(format!("{name} is forgotten; what is left of it stands as it stood"))))
}

/// The newest release that served another commit than the one that serves, or why there is none.
pub async fn served_before(store: &dyn Store, record: &ClientRecord) -> Stored<Result<u64, String>> {
    let client = &record.name;
    let Some(live) = record.owned.releases.live.as_ref() else {
        return Ok(Err(format!("nothing of {client} serves yet, so there is nothing to go back from")));
    };
    let serving = live.fingerprint.commit.as_ref().map(ToString::to_string);
    let rows = store.deployments(Some(client), None, DEPLOYMENTS_MAX).await?;
    let earlier = rows.into_iter().find(|row| {
        row.uid == record.owned.mark.uid
            && row.state == DeploymentState::Succeeded
            && row.number < live.number
            && row.commit.is_some()
            && row.commit != serving
    });
    Ok(earlier.map(|row| row.number).ok_or_else(|| {
        format!("no earlier release of {client} with another commit is remembered; `sitewright deployments {client}` lists them")
    }))
}

/// Branch and commit of a release that served once, or why it cannot serve again.
async fn earlier_release(
    store: &dyn Store,
    client: &ClientName,
    number: u64,
) -> Stored<Result<(String, Commit), String>> {
    let Some(record) = store.client(client).await? else {
        return Ok(Err(format!("no client is called {client}; `sitewright status` lists them")));
    };
    let rows = store.deployments(Some(client), None, DEPLOYMENTS_MAX).await?;
    let row = rows.into_iter().find(|row| row.uid == record.owned.mark.uid && row.number == number);
    let Some(row) = row else {
        return Ok(Err(format!(
            "no release {number} of {client} is known; `sitewright deployments {client}` lists them"
        )));
    };
    if row.state != DeploymentState::Succeeded {
        return Ok(Err(format!("release {number} of {client} never served; choose one that did")));
    }
    let serving = record.owned.releases.live.as_ref().map(|live| &live.fingerprint.repository);
    if serving.is_some_and(|serving| *serving != row.repository) {
        let why = format!("was built from {}, which is not the client's repository any more", row.repository);
        return Ok(Err(format!("release {number} of {client} {why}; name it in spec.source")));
    }
    Ok(row.commit.and_then(|commit| Commit::parse(&commit).ok()).map(|commit| (row.branch, commit)).ok_or_else(|| {
        format!("the commit of release {number} of {client} was not known (GITHUB_TOKEN shows it); pin one in spec.source.commit")
    }))
}

async fn change(
    store: &dyn Store,
    name: &ClientName,
    change: impl FnOnce(&mut ClientRecord) -> String,
) -> Stored<(Effect, Result<String, String>)> {
    let Some(mut record) = store.client(name).await? else {
        return Ok((Effect::Nothing, Err(format!("no client is called {name}; `sitewright status` lists them"))));
    };
    let answer = change(&mut record);
    record.reached_generation = 0; // what follows is done for a person
    store.save(&record).await?;
    Ok((Effect::Pass(name.clone()), Ok(answer)))
}
