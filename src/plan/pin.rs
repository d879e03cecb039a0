//! Rollbacks: a pinned release is what is wanted until the spec names another source, its time is over, or a person deploys.

use jiff::Timestamp;

use crate::plan::progress::Told;
use crate::resource::desired::Desired;
use crate::resource::owned::Owned;
use crate::resource::release::{Pin, PinnedSource};

/// Brings the pin up to date with the spec and the clock; gives the sentence of one that ended.
pub fn keep(owned: &mut Owned, desired: &Desired, now: Timestamp) -> Option<Told> {
    let site = desired.site.value()?;
    let pin = owned.releases.pin.as_mut()?;
    let source = PinnedSource {
        repository: site.repository.to_string(),
        branch: site.branch.clone(),
        commit: site.commit.clone().filter(|_| site.pinned),
    };
    let is_over = pin.until.is_some_and(|until| until <= now);
    let why = match &pin.source {
        Some(before) if *before != source => "the spec names another source",
        _ if is_over => "its time is over",
        _ => {
            pin.source = Some(source);
            return None;
        }
    };
    let message = format!("the rollback to release {} ended: {why}", pin.number);
    owned.releases.pin = None;
    Some(Told { reason: "RollbackEnded", message, warning: false })
}

/// What a release in force by a pin says, with what ends it.
pub fn sentence(pin: &Pin, serving: u64) -> String {
    let until = pin.until.map_or_else(String::new, |until| format!(" until {until:.0}"));
    format!(
        "release {serving} serves commit {} of release {}, rolled back at {:.0}{until} ({}); another spec.source or `sitewright deploy` ends it",
        pin.commit.short(),
        pin.number,
        pin.since,
        pin.reason
    )
}
