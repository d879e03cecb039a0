//! Fights: a field that is set back again and again because somebody else keeps writing it. After a few rounds it is left
//! to a person, by name; another spec, or time, begins anew.

use std::time::Duration;

use jiff::Timestamp;

use crate::plan::change::{Action, Op, Plan, Refused};
use crate::plan::draft::later;
use crate::resource::owned::{Fight, Owned};

/// So many times a field is set back before it is left alone.
pub const ROUNDS_MAX: u32 = 3;
/// A field that was left in peace for this long is no fight any more.
pub const PEACE: Duration = Duration::from_secs(24 * 3600);

/// What an action sets, as people would name it; nothing where it sets nothing back (releases and runs follow others).
fn fields(action: &Action) -> Vec<String> {
    if !matches!(action.op, Op::Create | Op::Update | Op::Delete) {
        return Vec::new();
    }
    let resource = format!("{} {}", action.resource.kind, action.resource.name);
    match action.changes.as_slice() {
        [] => vec![resource],
        changes => changes.iter().map(|change| format!("{} of {resource}", change.path)).collect(),
    }
}

/// Notes what was set back: changed again, although the spec that had made it stands as it stood.
pub fn note(owned: &mut Owned, done: &[&Action], now: Timestamp) {
    owned.fights.retain(|_, fight| later(fight.last, PEACE) > now);
    for field in done.iter().flat_map(|action| fields(action)) {
        let fight = owned.fights.entry(field).or_insert(Fight { rounds: 0, since: now, last: now });
        fight.rounds += 1;
        fight.last = now;
    }
}

/// Refuses what was set back too often. A new generation has no fights: the caller forgets them with the old spec.
pub fn refuse(owned: &Owned, plan: &mut Plan, now: Timestamp) {
    let lost = |action: &Action| {
        fields(action).into_iter().find_map(|field| {
            let fight = owned.fights.get(&field)?;
            (fight.rounds >= ROUNDS_MAX && later(fight.last, PEACE) > now).then(|| (field, fight.clone()))
        })
    };
    let mut kept = Vec::new();
    for action in std::mem::take(&mut plan.actions) {
        match lost(&action) {
            Some((field, fight)) => plan.refused.push(Refused {
                message: format!(
                    "{field} was set back {} times since {:.0} and changed again each time: find who else writes it, or put his value into the spec; left alone until {:.0}",
                    fight.rounds,
                    fight.since,
                    later(fight.last, PEACE)
                ),
                resource: action.resource,
                reason: "NotConverging".into(),
            }),
            None => kept.push(action),
        }
    }
    plan.actions = kept;
}
