//! A client that was taken over is left as it was found until something of it is due: no write is made for a mark alone.
//!
//! The first look accepts every difference, resource by resource, and counts what serves as the wanted release. From then
//! on a difference stands while neither side moves. Repository, environment, deploy script, database and release stand or
//! fall together: a release of ours is made from our own pieces, or the sites of others would be restarted by their scripts.

use crate::plan::change::{AS_FOUND, FieldChange, Op, Step};
use crate::plan::draft::{Draft, Input, Stage};
use crate::plan::release;
use crate::resource::desired::DesiredSite;
use crate::resource::kind::{ResourceKind, ResourceRef};
use crate::resource::owned::EnvironmentSeen;
use crate::resource::reading::Wanted;
use crate::resource::secret::Digest;
use crate::resource::site::Repository;
use crate::resource::take_over::{Difference, FOUND_RELEASE};

/// Whether the first look is under way: everything it finds is accepted.
pub fn is_open(input: &Input<'_>) -> bool {
    input.owned.take_over.as_ref().is_some_and(|take_over| !take_over.is_settled)
}

/// Whether repository, environment, deploy script, database and release are left as they were found.
pub fn leaves_installation(input: &Input<'_>) -> bool {
    if is_open(input) {
        return true;
    }
    let due = |site| release::is_due(input, site);
    serves_found(input) && input.owned.take_over.is_some() && input.desired.site.value().is_none_or(|site| !due(site))
}

/// Whether the release that serves is the one that was found: a directory of somebody else's.
pub fn serves_found(input: &Input<'_>) -> bool {
    input.owned.releases.live.as_ref().is_some_and(|live| live.number == FOUND_RELEASE)
}

/// Whether what the found release is made from stands as it was accepted. What cannot be seen was not seen to change.
pub fn is_unchanged(input: &Input<'_>, site: &DesiredSite) -> bool {
    let Some(take_over) = &input.owned.take_over else { return false };
    let observed = input.observed;
    let stands = |kind: ResourceKind, difference: Option<Difference>| {
        difference.is_none_or(|difference| take_over.accepts(&kind.to_string(), &difference))
    };
    let environment = match &site.environment {
        Wanted::Value(wanted) => observed.environment.known().and_then(|seen| of_environment(&wanted.digest, seen)),
        Wanted::Missing { .. } => None,
    };
    stands(ResourceKind::Environment, environment)
        && stands(ResourceKind::DeployScript, observed.script.known().and_then(|seen| of_script(site, seen)))
        && stands(ResourceKind::Repository, observed.repository.known().and_then(|seen| of_repository(site, seen)))
}

/// What the environment differs in.
pub fn of_environment(wanted: &Digest, seen: &EnvironmentSeen) -> Option<Difference> {
    let text = |digest: Option<&Digest>| digest.map_or_else(|| "none".to_owned(), |digest| digest.as_str().to_owned());
    difference(text(Some(wanted)), text(seen.digest.as_ref()))
}

/// What the deploy script differs in.
pub fn of_script(site: &DesiredSite, seen: &Option<Digest>) -> Option<Difference> {
    let seen = seen.as_ref().map_or_else(|| "none".to_owned(), |digest| digest.as_str().to_owned());
    // Ours changes with our own versions too, and that is nobody's wish.
    (seen != site.script_digest.as_str()).then(|| Difference { wanted: "ours".to_owned(), seen })
}

/// What is installed, where it is not the wanted repository.
pub fn of_repository(site: &DesiredSite, seen: &Option<Repository>) -> Option<Difference> {
    let seen = seen.as_ref().map_or_else(|| "none".to_owned(), |found| found.slug.to_string());
    difference(site.repository.to_string(), seen)
}

fn difference(wanted: String, seen: String) -> Option<Difference> {
    (wanted != seen).then_some(Difference { wanted, seen })
}

/// Accepts a difference at the first look, and leaves one that stands accepted; `None`: it is to be written. `name` tells
/// the resource from others of the client; where there is one of a kind, the kind does.
pub fn accept(
    input: &Input<'_>,
    draft: &mut Draft<'_>,
    resource: ResourceRef,
    name: String,
    difference: Difference,
    sentence: impl Into<String>,
) -> Option<Stage> {
    let take_over = input.owned.take_over.as_ref()?;
    let kind = resource.kind;
    if !take_over.accepts(&name, &difference) {
        if take_over.is_settled {
            return None;
        }
        let step = Step::Accept { resource: name, difference };
        draft.act(Op::Adopt, resource, Vec::new(), "it is left as it was found", step);
    }
    Some(draft.settle(kind, AS_FOUND, sentence))
}

/// The release that was found, with one sentence about all that is left with it.
pub fn settle_release(input: &Input<'_>, draft: &mut Draft<'_>) -> Stage {
    let left = draft.plan.settled.iter().filter(|settled| settled.reason == AS_FOUND);
    let left: Vec<&str> = left.map(|settled| settled.message.as_str()).collect();
    let way_out =
        format!("our marks follow with the next change, or with `sitewright deploy {}`", input.desired.client);
    let message = match left.is_empty() {
        true => format!("it is left as it was found; {way_out}"),
        false => format!("it is left as it was found: {}; {way_out}", left.join(", ")),
    };
    draft.settle(ResourceKind::Release, AS_FOUND, message)
}

/// While the first look is under way nothing is written. It ends once everything was seen, and what serves counts as wanted.
pub fn finish(input: &Input<'_>, draft: &mut Draft<'_>) {
    if !is_open(input) {
        return;
    }
    draft.plan.actions.retain(|action| action.op == Op::Adopt || matches!(action.step, Step::ResumeSite));
    let Wanted::Value(site) = &input.desired.site else { return };
    let Some(fingerprint) = release::fingerprint(input, site) else { return };
    // What is in the site's directory is looked at only while the site stands still.
    let is_idle = input.observed.site.known().and_then(Option::as_ref).is_some_and(|live| live.value.status.is_idle());
    let is_ours = input.owned.resource(ResourceKind::Site, site.domain.as_str()).is_some();
    if is_idle && is_ours && draft.plan.actions.is_empty() && !is_held_up(draft) {
        let resource = site.piece(ResourceKind::Release, site.domain.as_str());
        let changes = vec![FieldChange::shown("branch", None, Some(fingerprint.branch.clone()))];
        let step = Step::KeepRelease(fingerprint);
        draft.act(Op::Adopt, resource, changes, "what serves is the release that was found", step);
    }
}

/// Something of which the first look has not seen enough, or that a person must decide. What name servers say, and who
/// answers, is not part of it.
fn is_held_up(draft: &Draft<'_>) -> bool {
    use ResourceKind::{Administrator, Certificate, Health, Record, Release};
    let is_part = |kind: ResourceKind| !matches!(kind, Administrator | Health | Release);
    let is_moving = |kind: ResourceKind| matches!(kind, Certificate | Record);
    let plan = &draft.plan;
    plan.refused.iter().any(|refused| is_part(refused.resource.kind))
        || plan.waiting.iter().any(|wait| {
            let kind = wait.resource.kind;
            is_part(kind) && (wait.unknown || !is_moving(kind))
        })
}
