//! The site and what is in its directory, up to the point where a release can be built.

use crate::plan::change::{Action, FieldChange, Op, Step};
use crate::plan::draft::{Draft, Input, Stage, later};
use crate::resource::desired::{DesiredEnvironment, DesiredSite};
use crate::resource::kind::{ResourceKind, ResourceRef};
use crate::resource::owned::{EnvironmentSeen, MarkState, ProcessState};
use crate::resource::reading::{Live, Reading, Wanted};
use crate::resource::site::{PORTS_UNKNOWN, Piece, Purpose, Repository, RunState, Site, SiteStatus};
use crate::resource::vhost::VirtualHost;

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
                site_ref(wanted, Some(live)),
                vec![FieldChange::shown("status", Some("suspended".into()), Some("active".into()))],
                "the client is wanted active",
                Step::ResumeSite,
            );
            return (Stage::NotYet, Stage::NotYet);
        }
        other => {
            draft.wait(
                site_ref(wanted, Some(live)),
                "SiteBusy",
                format!("the host says `{}`; the site is touched again when it is `active`", other.as_str()),
                None,
            );
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
            draft.unknown(site_ref(wanted, None), reason);
            return None;
        }
        Reading::Known(None) => {
            if let Some(known) = input.owned.resource(ResourceKind::Site, wanted.domain.as_str())
                && later(known.since, input.policy.settle) > input.now
            {
                draft.wait(
                    site_ref(wanted, None),
                    "NotVisible",
                    format!("site {} was created and no listing shows it yet", known.id),
                    Some(later(known.since, input.policy.settle)),
                );
                return None;
            }
            let changes = vec![
                FieldChange::shown("domain", None, Some(wanted.domain.to_string())),
                FieldChange::shown("port", None, Some(wanted.port.to_string())),
            ];
            draft.create(
                wanted.domain.as_str(),
                site_ref(wanted, None),
                changes,
                "there is no such site",
                Step::CreateSite,
            );
            return None;
        }
        Reading::Known(Some(live)) => live,
    };
    match input.owned.resource(ResourceKind::Site, wanted.domain.as_str()) {
        Some(known) if known.id == live.id => own_mark(input, draft, wanted, live, known.mark),
        _ => claim(input, draft, wanted, live),
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
                site_ref(wanted, Some(live)),
                Vec::new(),
                "the annotation sitewright/adopt names it",
                Step::Adopt { id: live.id.clone(), mark: MarkState::Pending },
            );
            return None;
        }
        draft.refuse(site_ref(wanted, Some(live)), "OwnershipLost", format!("the environment of site {} (id {}) no longer carries our mark SITEWRIGHT_OWNER; put the line back, or take the site over with the annotation sitewright/adopt: \"{}\"", wanted.domain, live.id, live.id));
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
    let resource = site_ref(wanted, Some(live));
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
    if has(Piece::ServerCheck) {
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
        stage = crate::plan::both(stage, plan_virtual_host(input, draft, wanted));
    }
    if has(Piece::DeployScript) {
        stage = crate::plan::both(stage, plan_script(input, draft, wanted));
    }
    if has(Piece::Process) {
        plan_process(input, draft, wanted);
    }
    stage
}

/// A process that we stopped is started again from its release; a release that is due starts it by itself.
fn plan_process(input: &Input<'_>, draft: &mut Draft<'_>, wanted: &DesiredSite) {
    let stopped = input.owned.details.process.as_ref().is_some_and(|seen| seen.value == ProcessState::Stopped);
    if !stopped || input.owned.releases.live.is_none() || input.owned.releases.in_flight.is_some() {
        return;
    }
    let resource = piece_ref(ResourceKind::Process, wanted, input.desired.client.as_str());
    match run(input, Purpose::StartProcess) {
        Some(why) => {
            draft.wait(resource, "ProcessStarting", format!("the script that starts the process runs ({why})"), None)
        }
        None => draft.act(
            Op::Run,
            resource,
            Vec::new(),
            "it was stopped and the client is wanted active",
            Step::StartRun(Purpose::StartProcess),
        ),
    };
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
        Reading::Known(None) => draft.act(
            Op::Run,
            resource,
            Vec::new(),
            "what the server can build with was not looked at yet",
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
    let resource = piece_ref(ResourceKind::Repository, wanted, wanted.repository.as_str());
    let install = Repository { slug: wanted.repository.clone(), branch: wanted.branch.clone() };
    match &input.observed.repository {
        Reading::Unknown { reason } => draft.unknown(resource, reason),
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
            draft.create(
                wanted.repository.as_str(),
                resource,
                changes,
                "no repository is installed",
                Step::InstallRepository(install),
            )
        }
    }
}

/// A new site holds files of root's that block the clone (contracts/ploi.md 9.2).
fn plan_placeholder(input: &Input<'_>, draft: &mut Draft<'_>, wanted: &DesiredSite) -> Stage {
    let resource = piece_ref(ResourceKind::Placeholder, wanted, wanted.domain.as_str());
    match run(input, Purpose::ClearPlaceholder) {
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

/// Why a run is not over; `None` when none is under way.
fn run(input: &Input<'_>, purpose: Purpose) -> Option<String> {
    input.owned.runs.get(&purpose)?;
    Some(match input.observed.runs.get(&purpose) {
        Some(Reading::Known(RunState::Pending)) | None => "no end yet".to_owned(),
        Some(Reading::Known(RunState::Finished { exit_code, .. })) => format!("ended with exit code {exit_code}"),
        Some(Reading::Unknown { reason }) => reason.clone(),
    })
}

fn plan_environment(input: &Input<'_>, draft: &mut Draft<'_>, wanted: &DesiredSite) -> Stage {
    let resource = piece_ref(ResourceKind::Environment, wanted, wanted.domain.as_str());
    let environment = match &wanted.environment {
        Wanted::Value(environment) => environment,
        Wanted::Missing { reason, message } => return draft.refuse(resource, reason, message),
    };
    match &input.observed.environment {
        Reading::Unknown { reason } => draft.unknown(resource, reason),
        Reading::Known(seen) if seen.digest.as_ref() == Some(&environment.digest) => draft.settle(
            ResourceKind::Environment,
            "Ready",
            format!("{} variables are written", environment.values.len()),
        ),
        Reading::Known(seen) => {
            let op = if seen.digest.is_none() { Op::Create } else { Op::Update };
            let step = Step::WriteEnvironment { text: environment.text.clone(), digest: environment.digest.clone() };
            draft.act(op, resource, environment_changes(environment, seen), "the environment differs", step)
        }
    }
}

/// Which variables differ; values are never shown, they may hold anything.
fn environment_changes(wanted: &DesiredEnvironment, seen: &EnvironmentSeen) -> Vec<FieldChange> {
    if seen.digest.is_none() {
        return vec![FieldChange::shown("variables", None, Some(wanted.values.len().to_string()))];
    }
    let changed = wanted
        .digests
        .iter()
        .filter(|(name, digest)| seen.digests.get(*name) != Some(digest))
        .map(|(name, _)| FieldChange::masked(format!("env.{name}")));
    let gone = seen
        .digests
        .keys()
        .filter(|name| !wanted.digests.contains_key(*name))
        .map(|name| FieldChange::shown(format!("env.{name}"), Some("(set)".into()), None));
    changed.chain(gone).collect()
}

/// Every `proxy_pass` and the ACME root, then a reload that is proved by its exit code (decisions 19).
fn plan_virtual_host(input: &Input<'_>, draft: &mut Draft<'_>, wanted: &DesiredSite) -> Stage {
    let resource = piece_ref(ResourceKind::VirtualHost, wanted, wanted.domain.as_str());
    let vhost = match &input.observed.vhost {
        Reading::Unknown { reason } => return draft.unknown(resource, reason),
        Reading::Known(vhost) => vhost,
    };
    if let Some(why) = run(input, Purpose::ReloadWebServer) {
        return draft.wait(resource, "Reloading", format!("the web server's reload runs ({why})"), None);
    }
    let root = acme_root(wanted);
    let rejected =
        input.owned.attempts.get(&ResourceKind::VirtualHost).is_some_and(|a| a.reason == "VirtualHostRejected");
    if rejected && let Some(text) = &input.owned.vhost_before {
        // Not held back by the failed attempt: the old text goes back before anything else can reload the web server.
        draft.plan.actions.push(Action {
            op: Op::Update,
            resource,
            changes: Vec::new(),
            reason: "the web server refused our edit; the old text goes back".into(),
            step: Step::RestoreVirtualHost { text: text.clone() },
        });
        return Stage::NotYet;
    }
    if !vhost.is_right(wanted.port, &root) {
        if let Some(stage) = hold_port_switch(input, draft, wanted, vhost) {
            return stage;
        }
        let changes = vec![
            FieldChange::shown("proxy_pass", Some(format!("{:?}", vhost.ports)), Some(wanted.port.to_string())),
            FieldChange::shown("acme root", Some(format!("{:?}", vhost.acme_roots)), Some(root.clone())),
        ];
        return draft.act(
            Op::Update,
            resource,
            changes,
            "it proxies to another port, or looks for challenges elsewhere",
            Step::MendVirtualHost { port: wanted.port, acme_root: root },
        );
    }
    if !input.owned.details.vhost_loaded {
        return draft.act(
            Op::Run,
            resource,
            Vec::new(),
            "the web server has not taken it in",
            Step::StartRun(Purpose::ReloadWebServer),
        );
    }
    draft.settle(ResourceKind::VirtualHost, "Ready", format!("{} goes to port {}", wanted.domain, wanted.port))
}

/// Another port: the release that listens there comes first, the switch after it; until then the old one serves (decisions 31).
fn hold_port_switch(
    input: &Input<'_>,
    draft: &mut Draft<'_>,
    wanted: &DesiredSite,
    vhost: &VirtualHost,
) -> Option<Stage> {
    let live = input.owned.releases.live.as_ref()?;
    let environment = wanted.environment.value()?;
    let serves_elsewhere =
        vhost.ports.len() == 1 && !vhost.ports.contains(&wanted.port) && input.owned.details.vhost_loaded;
    if !serves_elsewhere || live.fingerprint.environment == environment.digest {
        return None;
    }
    Some(draft.settle(
        ResourceKind::VirtualHost,
        "PortSwitch",
        format!("goes to port {} once a release listens there", wanted.port),
    ))
}

/// Where Ploi keeps a site's files (contracts/ploi.md 6.9).
pub fn acme_root(site: &DesiredSite) -> String {
    format!("/home/{}/{}", site.system_user, site.domain)
}

fn plan_script(input: &Input<'_>, draft: &mut Draft<'_>, wanted: &DesiredSite) -> Stage {
    let resource = piece_ref(ResourceKind::DeployScript, wanted, wanted.domain.as_str());
    match &input.observed.script {
        Reading::Unknown { reason } => draft.unknown(resource, reason),
        Reading::Known(Some(found)) if *found == wanted.script_digest => {
            draft.settle(ResourceKind::DeployScript, "Ready", "the deploy script is ours")
        }
        Reading::Known(found) => {
            let op = if found.is_none() { Op::Create } else { Op::Update };
            let step = Step::WriteDeployScript { text: wanted.script.clone(), digest: wanted.script_digest.clone() };
            draft.act(op, resource, Vec::new(), "the deploy script differs", step)
        }
    }
}

fn plan_aliases(input: &Input<'_>, draft: &mut Draft<'_>, wanted: &DesiredSite) -> Stage {
    let resource = piece_ref(ResourceKind::Alias, wanted, wanted.domain.as_str());
    match &input.observed.aliases {
        Reading::Unknown { reason } => draft.unknown(resource, reason),
        Reading::Known(found) if *found == wanted.aliases => {
            draft.settle(ResourceKind::Alias, "Ready", format!("{} aliases are served", wanted.aliases.len()))
        }
        Reading::Known(found) => {
            let list = |set: &std::collections::BTreeSet<crate::resource::name::HostName>| {
                set.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
            };
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
                site_ref(wanted, Some(live)),
                vec![FieldChange::shown("status", Some(status.as_str().into()), Some("suspended".into()))],
                "the client is wanted suspended",
                Step::SuspendSite,
            );
            return;
        }
        other => {
            draft.wait(
                site_ref(wanted, Some(live)),
                "SiteBusy",
                format!("the host says `{}`; it is suspended when it is idle", other.as_str()),
                None,
            );
            return;
        }
    }
    if wanted.pieces.contains(&Piece::Process)
        && stop_process(input, draft, wanted, Purpose::StopProcess, ProcessState::Stopped) == Stage::NotYet
    {
        return;
    }
    draft.settle(ResourceKind::Site, "Suspended", "suspended on purpose; nothing is deleted");
}

/// Stops or deletes the client's process by a script, whose exit code decides (decisions 4).
fn stop_process(
    input: &Input<'_>,
    draft: &mut Draft<'_>,
    wanted: &DesiredSite,
    purpose: Purpose,
    end: ProcessState,
) -> Stage {
    let resource = piece_ref(ResourceKind::Process, wanted, input.desired.client.as_str());
    if input.owned.details.process.as_ref().is_some_and(|p| p.value == end || p.value == ProcessState::Gone)
        || input.owned.details.process.is_none()
    {
        return Stage::Done;
    }
    match run(input, purpose) {
        Some(why) => {
            draft.wait(resource, "ProcessStopping", format!("the script that stops the process runs ({why})"), None)
        }
        None => draft.act(Op::Run, resource, Vec::new(), "its process still runs", Step::StartRun(purpose)),
    }
}

/// The reference of the site itself.
pub fn site_ref(wanted: &DesiredSite, live: Option<&Live<Site>>) -> ResourceRef {
    ResourceRef {
        kind: ResourceKind::Site,
        provider: wanted.provider.clone(),
        name: wanted.domain.to_string(),
        id: live.map(|live| live.id.to_string()),
    }
}

/// The reference of a piece of the site.
pub fn piece_ref(kind: ResourceKind, wanted: &DesiredSite, name: &str) -> ResourceRef {
    ResourceRef { kind, provider: wanted.provider.clone(), name: name.to_owned(), id: None }
}
