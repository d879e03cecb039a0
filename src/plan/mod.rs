//! Decides what to do about one client. Total, deterministic and pure: same input, same plan.
//!
//! The order of the stages is the order of decisions 3: site, placeholder, repository, environment (a `.env` in the
//! directory blocks the clone), virtual host, deploy script; records follow the verified virtual host, so that
//! propagation overlaps the build and early visitors never see another client's site; release; certificate after the
//! authoritative answer; health; administrator. The database goes side by side with all of it until the release.

pub mod certificate;
pub mod change;
pub mod database;
pub mod dns;
pub mod draft;
pub mod fights;
pub mod health;
pub mod lost_creates;
pub mod pin;
pub mod policy;
pub mod process;
pub mod progress;
pub mod release;
pub mod removal;
pub mod site;
pub mod take_over;
pub mod texts;
pub mod virtual_host;

use crate::plan::change::Plan;
use crate::plan::draft::{Draft, Input, Stage};
use crate::resource::desired::DesiredState;

/// The plan of a client: towards its spec, or out of the world once its absence was accepted.
pub fn plan(input: Input<'_>) -> Plan {
    let mut draft = Draft::new(input.owned, input.policy, input.now);
    if let Some(removal) = &input.owned.removal {
        removal::plan(&input, removal, &mut draft);
        return draft.plan;
    }
    if input.desired.state == DesiredState::Suspended {
        site::plan_suspended(&input, &mut draft);
        return draft.plan;
    }
    let database = database::plan(&input, &mut draft);
    let (site, prepared) = site::plan(&input, &mut draft);
    let dns = dns::plan(&input, &mut draft);
    let release = release::plan(&input, &mut draft, both(database, prepared));
    let certificate = certificate::plan(&input, &mut draft, site, dns);
    let healthy = health::plan(&input, &mut draft, both(release, certificate));
    health::plan_administrator(&input, &mut draft, healthy);
    take_over::finish(&input, &mut draft);
    draft.plan
}

/// Both are done.
pub(in crate::plan) fn both(one: Stage, other: Stage) -> Stage {
    if one == Stage::Done && other == Stage::Done { Stage::Done } else { Stage::NotYet }
}
