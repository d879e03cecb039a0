//! The site and what is in its directory, up to the point where a release can be built.

use std::time::Duration;

use crate::plan::change::{FieldChange, Op, Step};
use crate::plan::draft::{Draft, Input, Stage, later};
use crate::plan::texts::{plan_environment, plan_script};
use crate::plan::{process, release, take_over, virtual_host};
use crate::resource::desired::DesiredSite;
use crate::resource::kind::{ResourceKind, ResourceRef};
use crate::resource::owned::MarkState;
use crate::resource::reading::{Live, Reading, Wanted};
use crate::resource::site::{PORTS_UNKNOWN, Piece, Purpose, Repository, Site, SiteStatus};
use crate::resource::take_over::Difference;

/// What the host does to a site takes minutes; after this long a person is asked (reliability.md B21).
pub const BUSY_MAX: Duration = Duration::from_secs(15 * 60);

/// Plans the site. Gives whether the site is ours and idle or building (first), and whether a release may be built (second).
pub fn plan(input: &Input<'_>, draft: &mut Draft<'_>) -> (Stage, Stage) {
    let Some(wanted) = wanted_site(input, draft) else { return (Stage::NotYet, Stage::NotYet) };
    let Some(live) = plan_site(input, draft, wanted) else { return (Stage::NotYet, Stage::NotYet) };
    match &live.value.status {
        SiteStatus::Active | SiteStatus::DeployFailed => {}
        SiteStatus::Deploying => {
            // Nothing is mutated while it builds; the release says what is waited for.
            draft.settle(ResourceKind::Site, "Ready", format!("site {} is there", wanted.domain));
            return (Stage::Done, building(input, draft, wanted));
        }
        SiteStatus::Suspended => {
            draft.act(
                Op::Update,
                wanted.site(Some(live)),
                vec![FieldChange::shown("status", Some("suspended".into()), Some("active".into()))],
                "the client is wanted active",
                Step::ResumeSite,
            );
            return (Stage::NotYet, Stage::NotYet);
        }
        other => {
            busy(input, draft, wanted.site(Some(live)), other, "the site is touched again when it is `active`");
            return (Stage::NotYet, Stage::NotYet);
        }
    }
    // Reported, never toggled (decisions 8): a push then deploys without us.
    let pushes =
        if live.value.quick_deploy { "; quick deploy is on at the host, so pushes deploy by themselves" } else { "" };
    draft.settle(ResourceKind::Site, "Ready", format!("site {} is there{pushes}", wanted.domain));
    (Stage::Done, plan_pieces(input, draft, wanted))
}

fn wanted_site<'a>(input: &Input<'a>, draft: &mut Draft<'_>) -> Option<&'a DesiredSite> {
    match &input.desired.site {
        Wanted::Value(site) => Some(site),
        Wanted::Missing { reason, message } => {
            let resource = ResourceRef {
                kind: ResourceKind::Site,
                provider: "host".into(),
                name: input.desired.client.to_string(),
                id: None,
            };
            if *reason == PORTS_UNKNOWN {
                draft.unknown(resource, message); // a look that failed says nothing against the spec
            } else {
                draft.refuse(resource, reason, message);
            }
            None
        }
    }
}

/// The site itself: created, adopted, or a conflict that nobody touches. `Some` only for a site that is ours.
fn plan_site<'a>(input: &Input<'a>, draft: &mut Draft<'_>, wanted: &DesiredSite) -> Option<&'a Live<Site>> {
    let live = match &input.observed.site {
        Reading::Unknown { reason } => {
            draft.unknown(wanted.site(None), reason);
            return None;
        }
        Reading::Known(None) => {
            if let Some(known) = input.owned.resource(ResourceKind::Site, wanted.domain.as_str())
                && later(known.since, input.policy.settle) > input.now
            {
                let until = draft.look_again(later(known.since, input.policy.settle));
                draft.wait(
                    wanted.site(None),
                    "NotVisible",
                    format!("site {} was created and no listing shows it yet", known.id),
                    Some(until),
                );
                return None;
            }
            let changes = vec![
                FieldChange::shown("domain", None, Some(wanted.domain.to_string())),
                FieldChange::shown("port", None, Some(wanted.port.to_string())),
            ];
            draft.create(wanted.domain.as_str(), wanted.site(None), changes, "there is no such site", Step::CreateSite);
            return None;
        }
        Reading::Known(Some(live)) => live,
    };
    if live.value.domain != wanted.domain {
        refuse_renamed(draft, wanted.site(Some(live)), live);
        return None;
    }
    match input.owned.resource(ResourceKind::Site, wanted.domain.as_str()) {
        Some(known) if known.id == live.id => own_mark(input, draft, wanted, live, known.mark),
        _ => claim(input, draft, wanted, live),
    }
}

/// Our id stands for another domain by now: whatever it is, it is not what we made, and another one beside it would be one
/// too many.
pub fn refuse_renamed(draft: &mut Draft<'_>, resource: ResourceRef, live: &Live<Site>) -> Stage {
    let message = format!(
        "site {} is called {} at the host by now, so it is neither touched nor made again: give it back its domain there, or remove it there if it may go",
        live.id, live.value.domain
    );
    draft.refuse(resource, "OwnershipLost", message)
}

/// The host is busy with the site: that is waited for, and after a while told to a person. Nothing is sent again meanwhile.
pub fn busy(input: &Input<'_>, draft: &mut Draft<'_>, resource: ResourceRef, status: &SiteStatus, then: &str) -> Stage {
    let status = status.as_str();
    match input.owned.details.busy_since.filter(|since| later(*since, BUSY_MAX) <= input.now) {
        None => draft.wait(resource, "SiteBusy", format!("the host says `{status}`; {then}"), None),
        Some(since) => draft.refuse(
            resource,
            "SiteStuck",
            format!(
                "the host says `{status}` since {since:.0}, which takes minutes as a rule: look at the site in the host's panel, or ask its support; {then}"
            ),
        ),
    }
}

/// A site that is ours by memory: its mark must agree once it was written (decisions 10).
fn own_mark<'a>(
    input: &Input<'a>,
    draft: &mut Draft<'_>,
    wanted: &DesiredSite,
    live: &'a Live<Site>,
    mark: MarkState,
) -> Option<&'a Live<Site>> {
    if mark == MarkState::Written
        && let Some(seen) = input.observed.environment.known()
        && seen.mark.as_ref() != Some(&input.desired.mark)
    {
        if input.desired.adopt.contains(live.id.as_str()) {
            draft.act(
                Op::Adopt,
                wanted.site(Some(live)),
                Vec::new(),
                "the annotation sitewright/adopt names it",
                Step::Adopt { id: live.id.clone(), mark: MarkState::Pending },
            );
            return None;
        }
        draft.refuse(wanted.site(Some(live)), "OwnershipLost", format!("the environment of site {} (id {}) no longer carries our mark SITEWRIGHT_OWNER; put the line back, or take the site over with the annotation sitewright/adopt: \"{}\"", wanted.domain, live.id, live.id));
        return None;
    }
    Some(live)
}

/// A site under our domain that memory does not know: ours by an open intent, by its mark or by a person's word, else a conflict.
fn claim<'a>(
    input: &Input<'a>,
    draft: &mut Draft<'_>,
    wanted: &DesiredSite,
    live: &'a Live<Site>,
) -> Option<&'a Live<Site>> {
    let resource = wanted.site(Some(live));
    if input.owned.intent(ResourceKind::Site, wanted.domain.as_str()).is_some() {
        draft.act(
            Op::Adopt,
            resource,
            Vec::new(),
            "it is the one we asked for",
            Step::Adopt { id: live.id.clone(), mark: MarkState::Pending },
        );
        return None;
    }
    if input.desired.adopt.contains(live.id.as_str()) {
        draft.act(
            Op::Adopt,
            resource,
            Vec::new(),
            "the annotation sitewright/adopt names it",
            Step::Adopt { id: live.id.clone(), mark: MarkState::Pending },
        );
        return None;
    }
    match &input.observed.environment {
        Reading::Unknown { reason } => draft.unknown(resource, reason),
        Reading::Known(seen) if seen.mark.as_ref() == Some(&input.desired.mark) => {
            draft.act(Op::Adopt, resource, Vec::new(), "it carries our mark", Step::Adopt { id: live.id.clone(), mark: MarkState::Written })
        }
        Reading::Known(_) => draft.refuse(resource, "Conflict", format!("site {} (id {}) exists on server {} and is not ours; remove it, choose another domain, or take it over with the annotation sitewright/adopt: \"{}\"", wanted.domain, live.id, wanted.server, live.id)),
    };
    None
}

/// While the host deploys, the pieces are as they were when the deploy was asked for.
fn building(input: &Input<'_>, draft: &mut Draft<'_>, wanted: &DesiredSite) -> Stage {
    draft.settle(ResourceKind::Repository, "Ready", format!("{} is installed", wanted.repository));
    if input.owned.details.environment.is_some() {
        draft.settle(ResourceKind::Environment, "Ready", "the environment was written before the deploy");
    }
    Stage::Done
}

/// Server check, placeholder, repository, environment, virtual host, script, aliases.
fn plan_pieces(input: &Input<'_>, draft: &mut Draft<'_>, wanted: &DesiredSite) -> Stage {
    let has = |piece| wanted.pieces.contains(&piece);
    let mut stage = Stage::Done;
    if has(Piece::ServerCheck) && !take_over::leaves_installation(input) {
        stage = crate::plan::both(stage, plan_server_check(input, draft, wanted));
    }
    if has(Piece::Repository) {
        let repository = plan_repository(input, draft, wanted);
        if repository == Stage::NotYet {
            return Stage::NotYet;
        }
    }
    if has(Piece::Environment) {
        stage = crate::plan::both(stage, plan_environment(input, draft, wanted));
    }
    if has(Piece::Alias) {
        stage = crate::plan::both(stage, plan_aliases(input, draft, wanted));
    }
    if has(Piece::VirtualHost) {
        stage = crate::plan::both(stage, virtual_host::plan(input, draft, wanted));
    }
    if has(Piece::DeployScript) {
        stage = crate::plan::both(stage, plan_script(input, draft, wanted));
    }
    if has(Piece::Process) {
        process::start(input, draft, wanted);
    }
    stage
}

/// Each missing item is named before a build wastes ten minutes (decisions 6).
fn plan_server_check(input: &Input<'_>, draft: &mut Draft<'_>, wanted: &DesiredSite) -> Stage {
    let resource = ResourceRef {
        kind: ResourceKind::Site,
        provider: wanted.provider.clone(),
        name: format!("server {}", wanted.server),
        id: None,
    };
    match &input.observed.server_check {
        Reading::Known(Some(check)) if check.missing.is_empty() => Stage::Done,
        Reading::Known(Some(check)) => draft.refuse(
            resource,
            "ServerNotPrepared",
            format!(
                "server {} cannot build: {}; install what is missing, it is looked at again within audit.period",
                wanted.server,
                check.missing.join("; ")
            ),
        ),
        Reading::Known(None) if !release::is_due(input, wanted) => Stage::Done,
        Reading::Known(None) => draft.act(
            Op::Run,
            resource,
            Vec::new(),
            "what the server can build with was not looked at of late",
            Step::StartRun(Purpose::CheckServer),
        ),
        Reading::Unknown { reason } => draft.wait(
            resource,
            "ServerCheck",
            format!("the look at what server {} can build with is under way ({reason})", wanted.server),
            None,
        ),
    }
}

fn plan_repository(input: &Input<'_>, draft: &mut Draft<'_>, wanted: &DesiredSite) -> Stage {
    let resource = wanted.piece(ResourceKind::Repository, wanted.repository.as_str());
    let install = Repository { slug: wanted.repository.clone(), branch: wanted.branch.clone() };
    match &input.observed.repository {
        Reading::Unknown { reason } => draft.unknown(resource, reason),
        Reading::Known(found) if let Some(left) = leave_repository(input, draft, wanted, found) => left,
        Reading::Known(Some(found)) if found.slug == wanted.repository => {
            draft.settle(ResourceKind::Repository, "Ready", format!("{} is installed", wanted.repository))
        }
        Reading::Known(Some(found)) => {
            let changes = vec![FieldChange::shown(
                "repository",
                Some(found.slug.to_string()),
                Some(wanted.repository.to_string()),
            )];
            draft.act(
                Op::Delete,
                resource,
                changes,
                "another repository is installed",
                Step::RemoveRepository { next: install },
            )
        }
        // An installation would put its files into a directory that serves.
        Reading::Known(None) if take_over::serves_found(input) => {
            let message = format!(
                "no repository is installed where a site serves already, so none of ours is put over it; install {} in the host's panel",
                wanted.repository
            );
            draft.refuse(resource, "RepositoryMissing", message)
        }
        Reading::Known(None) => {
            if wanted.pieces.contains(&Piece::Placeholder)
                && input.owned.details.placeholder_cleared.as_ref().is_none_or(|seen| !seen.value)
                && plan_placeholder(input, draft, wanted) == Stage::NotYet
            {
                return Stage::NotYet;
            }
            let changes = vec![
                FieldChange::shown("repository", None, Some(wanted.repository.to_string())),
                FieldChange::shown("branch", None, Some(wanted.branch.clone())),
            ];
            // An order of another one may still come, and two would race.
            let asked_for = input.owned.intents.iter().find(|intent| intent.kind == ResourceKind::Repository);
            draft.create(
                asked_for.map_or(wanted.repository.as_str(), |intent| &intent.key),
                resource,
                changes,
                "no repository is installed",
                Step::InstallRepository(install),
            )
        }
    }
}

fn leave_repository(
    input: &Input<'_>,
    draft: &mut Draft<'_>,
    wanted: &DesiredSite,
    found: &Option<Repository>,
) -> Option<Stage> {
    let difference = take_over::of_repository(wanted, found).filter(|_| take_over::leaves_installation(input))?;
    let resource = wanted.piece(ResourceKind::Repository, wanted.repository.as_str());
    let sentence = match found {
        Some(found) => format!("{} is installed, not {}", found.slug, wanted.repository),
        None => format!("{} is not installed at the host", wanted.repository),
    };
    take_over::accept(input, draft, resource, ResourceKind::Repository.to_string(), difference, sentence)
}

/// A new site holds files of root's that block the clone (contracts/ploi.md 9.2).
fn plan_placeholder(input: &Input<'_>, draft: &mut Draft<'_>, wanted: &DesiredSite) -> Stage {
    let resource = wanted.piece(ResourceKind::Placeholder, wanted.domain.as_str());
    match input.run(Purpose::ClearPlaceholder) {
        Some(why) => draft.wait(
            resource,
            "PlaceholderClearing",
            format!("the script that clears the host's placeholder runs ({why})"),
            None,
        ),
        None => draft.act(
            Op::Run,
            resource,
            Vec::new(),
            "the host's placeholder blocks the clone",
            Step::StartRun(Purpose::ClearPlaceholder),
        ),
    }
}

fn plan_aliases(input: &Input<'_>, draft: &mut Draft<'_>, wanted: &DesiredSite) -> Stage {
    let resource = wanted.piece(ResourceKind::Alias, wanted.domain.as_str());
    match &input.observed.aliases {
        Reading::Unknown { reason } => draft.unknown(resource, reason),
        Reading::Known(found) if *found == wanted.aliases => {
            draft.settle(ResourceKind::Alias, "Ready", format!("{} aliases are served", wanted.aliases.len()))
        }
        Reading::Known(found) => {
            let list = |set: &std::collections::BTreeSet<crate::resource::name::HostName>| {
                set.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
            };
            let difference = Difference { wanted: list(&wanted.aliases), seen: list(found) };
            let sentence = format!("the host serves `{}` besides, not `{}`", difference.seen, difference.wanted);
            let name = ResourceKind::Alias.to_string();
            if let Some(left) = take_over::accept(input, draft, resource.clone(), name, difference, sentence) {
                return left;
            }
            let changes = vec![FieldChange::shown("aliases", Some(list(found)), Some(list(&wanted.aliases)))];
            draft.act(
                Op::Update,
                resource,
                changes,
                "the host serves other names",
                Step::SetAliases(wanted.aliases.clone()),
            )
        }
    }
}

/// A client that is held suspended: its changes wait, its process stands still (decisions 32).
pub fn plan_suspended(input: &Input<'_>, draft: &mut Draft<'_>) {
    let Some(wanted) = wanted_site(input, draft) else { return };
    let Some(live) = plan_site(input, draft, wanted) else { return };
    match &live.value.status {
        SiteStatus::Suspended => {}
        status if status.is_idle() => {
            draft.act(
                Op::Update,
                wanted.site(Some(live)),
                vec![FieldChange::shown("status", Some(status.as_str().into()), Some("suspended".into()))],
                "the client is wanted suspended",
                Step::SuspendSite,
            );
            return;
        }
        other => {
            busy(input, draft, wanted.site(Some(live)), other, "it is suspended when it is idle");
            return;
        }
    }
    if wanted.pieces.contains(&Piece::Process)
        && process::end(input, draft, wanted, Purpose::StopProcess) == Stage::NotYet
    {
        return;
    }
    draft.settle(ResourceKind::Site, "Suspended", "suspended on purpose; nothing is deleted");
}
