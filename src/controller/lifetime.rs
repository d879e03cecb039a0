//! The time that this installation lived through: graces count it alone. A daemon that was away for long, or a clock that
//! jumped while nobody looked, ends no grace; and no time is lived twice.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::controller::absence::Absences;
use crate::controller::clock::Clock;
use crate::plan::draft::{Policy, later};
use crate::plan::removal::postpone;
use crate::store::{Event, EventKind, Store, StoreError, Stored};

/// The document of the newest moment that was lived.
pub const ALIVE: &str = "alive";
/// A daemon that was away for longer saw nothing of that time, and a clock that moved further while it was down is not
/// believed. A single run once a day stays below it.
pub const AWAY_MAX: Duration = Duration::from_secs(48 * 60 * 60);
/// So exactly is it remembered.
const NOTED_EVERY: Duration = Duration::from_secs(5 * 60);

#[derive(Serialize, Deserialize)]
struct Alive {
    at: Timestamp,
}

async fn alive(store: &dyn Store) -> Stored<Option<Timestamp>> {
    let kept = store.document(ALIVE).await?;
    Ok(kept.and_then(|value| serde_json::from_value::<Alive>(value).ok()).map(|alive| alive.at))
}

/// The clock of a process that begins when the machine's clock shows `machine`. A clock that is a little behind what the
/// state has seen goes on from there, so that no wait begins anew.
///
/// # Errors
/// The state cannot be read, or it has seen a time that lies far ahead of the machine's: one of the two is wrong.
pub async fn clock(store: &dyn Store, machine: Timestamp) -> Stored<Clock> {
    let Some(seen) = alive(store).await?.filter(|seen| *seen > machine) else { return Ok(Clock::at(machine)) };
    if seen.duration_since(machine) > SignedDuration::try_from(AWAY_MAX).unwrap_or(SignedDuration::MAX) {
        return Err(StoreError::Ahead { seen, machine });
    }
    Ok(Clock::at(seen))
}

/// Notes that this moment was lived, if the last note is not a recent one: a process that dies a moment after its begin, again
/// and again, writes nothing here.
pub async fn note(store: &dyn Store, now: Timestamp) -> Stored<()> {
    if alive(store).await?.is_some_and(|seen| later(seen, NOTED_EVERY) > now) {
        return Ok(());
    }
    store.put_document(ALIVE, serde_json::to_value(Alive { at: now }).ok().as_ref()).await
}

/// At the begin of a process: time that nobody lived through counts towards no grace, and the evidence of absences is
/// gathered anew. Whoever dies in here begins again and waits longer, never shorter.
pub async fn take_up(store: &dyn Store, policy: &Policy, now: Timestamp) -> Stored<()> {
    let away = alive(store).await?.map(|seen| now.duration_since(seen));
    let away = away.and_then(|away| Duration::try_from(away).ok()).filter(|away| *away > AWAY_MAX);
    if let Some(away) = away {
        let mut absences = Absences::load(store).await?;
        absences.missing.clear();
        // A jump of the clock must not make room for another day's removals.
        absences.begun.iter_mut().for_each(|(_, at)| *at = later(*at, away));
        absences.save(store).await?;
        for mut record in store.clients().await? {
            let name = record.name.clone();
            let Some(removal) = record.owned.removal.as_mut().filter(|removal| removal.finished_at.is_none()) else {
                continue;
            };
            postpone(removal, away, policy, now);
            let message = format!(
                "nobody was here for {}, or the clock jumped: that time does not count towards its grace",
                humantime::format_duration(Duration::from_secs(away.as_secs()))
            );
            tracing::warn!(client = %name, "{message}");
            store.save(&record).await?;
            let (kind, reason) = (EventKind::Warning, "GraceProlonged".to_owned());
            store
                .append_event(&Event { id: 0, at: now, client: Some(name), kind, reason, message, reconcile: None })
                .await?;
        }
    }
    note(store, now).await
}
