//! Releases: one deploy per fingerprint, one at a time per site, build slots per server (decisions 1, 2, 8, 9).

use crate::plan::change::{FieldChange, Op, PREREQUISITES, Step};
use crate::plan::draft::{Draft, Input, Stage, growing, later};
use crate::plan::pin;
use crate::plan::take_over;
use crate::resource::desired::DesiredSite;
use crate::resource::kind::{ResourceKind, ResourceRef};
use crate::resource::reading::{Reading, Wanted};
use crate::resource::release::{FailedDeploy, Fingerprint, Released};
use crate::resource::site::SiteStatus;
use crate::resource::take_over::FOUND_RELEASE;

/// Plans the release; `prepared` says whether database and pieces are ready for a build.
pub fn plan(input: &Input<'_>, draft: &mut Draft<'_>, prepared: Stage) -> Stage {
    let Wanted::Value(site) = &input.desired.site else { return Stage::NotYet };
    let resource = site.piece(ResourceKind::Release, site.domain.as_str());
    let releases = &input.owned.releases;
    if let Some(in_flight) = &releases.in_flight {
        let due = later(in_flight.requested_at, site.deploy_timeout);
        let message = format!(
            "release {} is being built since {:.0}; it may take until {due:.0}",
            in_flight.number, in_flight.requested_at
        );
        let until = later(input.now, input.policy.deploy_poll).min(due);
        return draft.wait(resource, "Building", message, Some(until));
    }
    if take_over::leaves_installation(input) {
        return take_over::settle_release(input, draft);
    }
    let Some(wanted) = fingerprint(input, site) else {
        return draft.wait(resource, PREREQUISITES, "the release waits for its environment", None);
    };
    if releases.live.as_ref().is_some_and(|live| serves(input, site, live, &wanted)) {
        let number = releases.live.as_ref().map_or(0, |live| live.number);
        let (reason, message) = match &releases.pin {
            Some(pin) => ("RolledBack", pin::sentence(pin, number)),
            None => ("Released", format!("release {number} serves{}", commit_text(&wanted))),
        };
        return draft.settle(ResourceKind::Release, reason, message);
    }
    if prepared == Stage::NotYet {
        return draft.wait(resource, PREREQUISITES, "the release waits for what it is built from and into", None);
    }
    if let Some(failed) = &releases.failed
        && failed.fingerprint == wanted
    {
        let due = retry_at(input, failed);
        if due > input.now {
            let message = format!(
                "release {} failed ({}); it is tried again at {due:.0}, or at once with another commit, environment or script",
                failed.number, failed.reason
            );
            return draft.wait(resource, &failed.reason, message, Some(due));
        }
    }
    if let Reading::Known(Some(live)) = &input.observed.site
        && live.value.status == SiteStatus::Deploying
    {
        return draft.wait(
            resource,
            "DeployByOthers",
            "a deploy that somebody else asked for runs; ours follows when it ends",
            Some(later(input.now, input.policy.deploy_poll)),
        );
    }
    deploy_when_free(input, draft, resource, site, wanted)
}

fn deploy_when_free(
    input: &Input<'_>,
    draft: &mut Draft<'_>,
    resource: ResourceRef,
    site: &DesiredSite,
    wanted: Fingerprint,
) -> Stage {
    match &input.observed.builds_elsewhere {
        Reading::Unknown { reason } => draft.unknown(resource, reason),
        Reading::Known(builds) if builds.len() >= input.policy.build_slots => {
            let message = format!(
                "{} builds run on server {} and {} may; this one follows",
                builds.len(),
                site.server,
                input.policy.build_slots
            );
            draft.wait(resource, "BuildSlots", message, Some(later(input.now, input.policy.deploy_poll)))
        }
        Reading::Known(_) => {
            let changes = changes(input, &wanted);
            let reason = if input.owned.releases.live.is_some() {
                "what serves differs from what is wanted"
            } else {
                "nothing was released yet"
            };
            let step =
                Step::Deploy { branch: wanted.branch.clone(), commit: wanted.commit.clone(), fingerprint: wanted };
            draft.act(Op::Deploy, resource, changes, reason, step)
        }
    }
}

/// What a release would be made of now; `None` while the environment cannot be made.
pub fn fingerprint(input: &Input<'_>, site: &DesiredSite) -> Option<Fingerprint> {
    let pin = input.owned.releases.pin.as_ref();
    Some(Fingerprint {
        repository: site.repository.to_string(),
        branch: pin.map_or(&site.branch, |pin| &pin.branch).clone(),
        commit: pin.map(|pin| pin.commit.clone()).or_else(|| site.commit.clone()),
        environment: site.environment.value()?.digest.clone(),
        script: site.script_digest.clone(),
        requested: input.owned.releases.requested,
    })
}

/// Whether a build is to come: nothing serves, or something else than what is wanted.
pub fn is_due(input: &Input<'_>, site: &DesiredSite) -> bool {
    let serves = |live: &Released| fingerprint(input, site).is_none_or(|wanted| serves(input, site, live, &wanted));
    !input.owned.releases.live.as_ref().is_some_and(serves)
}

/// Whether what serves is good enough. An unknown branch head is no reason to deploy, nor is a new one when nobody follows it.
/// One that was found serves while what it is made from stands as it was found: neither a push nor another version of our
/// own script is a reason to make it ours.
fn serves(input: &Input<'_>, site: &DesiredSite, live: &Released, wanted: &Fingerprint) -> bool {
    let is_found = live.number == FOUND_RELEASE;
    if is_found && !take_over::is_unchanged(input, site) {
        return false;
    }
    let (live, pinned) = (&live.fingerprint, site.pinned || input.owned.releases.pin.is_some());
    let commit = match (&live.commit, &wanted.commit) {
        (_, None) => true,
        (None, Some(_)) => !pinned,
        (Some(live), Some(wanted)) => live == wanted || (!pinned && (is_found || !input.policy.follow_head)),
    };
    commit
        && live.repository == wanted.repository
        && live.branch == wanted.branch
        && live.environment == wanted.environment
        && (is_found || live.script == wanted.script)
        && live.requested == wanted.requested
}

fn retry_at(input: &Input<'_>, failed: &FailedDeploy) -> jiff::Timestamp {
    later(failed.at, growing(input.policy.deploy_retry, failed.failures, input.policy.deploy_retry_max))
}

fn changes(input: &Input<'_>, wanted: &Fingerprint) -> Vec<FieldChange> {
    let text = |commit: &Option<crate::resource::name::Commit>| commit.as_ref().map(ToString::to_string);
    let Some(live) = &input.owned.releases.live else {
        return vec![
            FieldChange::shown("branch", None, Some(wanted.branch.clone())),
            FieldChange::shown("commit", None, text(&wanted.commit)),
        ];
    };
    let live = &live.fingerprint;
    let mut changes = Vec::new();
    if live.branch != wanted.branch {
        changes.push(FieldChange::shown("branch", Some(live.branch.clone()), Some(wanted.branch.clone())));
    }
    if live.commit != wanted.commit && wanted.commit.is_some() {
        changes.push(FieldChange::shown("commit", text(&live.commit), text(&wanted.commit)));
    }
    if live.environment != wanted.environment {
        changes.push(FieldChange::masked("environment"));
    }
    if live.script != wanted.script {
        changes.push(FieldChange::shown("deploy script", Some("(old)".into()), Some("(new)".into())));
    }
    if live.requested != wanted.requested {
        changes.push(FieldChange::shown(
            "asked for",
            Some(live.requested.to_string()),
            Some(wanted.requested.to_string()),
        ));
    }
    changes
}

fn commit_text(wanted: &Fingerprint) -> String {
    wanted
        .commit
        .as_ref()
        .map_or_else(|| format!(" branch {}", wanted.branch), |commit| format!(" commit {}", commit.short()))
}
