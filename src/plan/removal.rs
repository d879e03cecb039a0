//! Taking a client down in an order that loses nothing, every step but the last reversible (design 5, decisions 26-27).

use crate::plan::change::{FieldChange, Op, Step};
use crate::plan::database::{PROVIDER, remembered};
use crate::plan::dns::record_ref;
use crate::plan::draft::{Draft, Input, Stage, later};
use crate::resource::certificate::CertificateStatus;
use crate::resource::database::{Catalog, Database, DatabaseMark, DatabaseRow, DatabaseState};
use crate::resource::kind::{ResourceKind, ResourceRef};
use crate::resource::mark::Mark;
use crate::resource::owned::{MarkState, OwnedResource, ProcessState};
use crate::resource::reading::Reading;
use crate::resource::record::RecordChange;
use crate::resource::removal::{Backup, ReclaimPolicy, Removal};
use crate::resource::site::{Purpose, RunState, SiteStatus};

/// How old a backup may be at most when a database is dropped (reliability S3e).
pub const BACKUP_AGE_MAX: std::time::Duration = std::time::Duration::from_secs(24 * 60 * 60);

/// The plan of a client whose absence was accepted. Converged means: nothing is left but what is meant to stay.
pub fn plan(input: &Input<'_>, removal: &Removal, draft: &mut Draft<'_>) {
    if plan_addresses(input, draft) == Stage::NotYet {
        return;
    }
    if plan_lost_creates(input, draft) == Stage::NotYet || plan_offline(input, removal, draft) == Stage::NotYet {
        return;
    }
    let due = later(removal.offline_since, input.policy.deletion_grace);
    if removal.site_gone_at.is_none() && due > input.now {
        let resource = client_ref(input, ResourceKind::Site);
        draft.wait(
            resource,
            "Grace",
            format!(
                "offline since {:.0}; the site is removed at {due:.0}; put the file back to undo",
                removal.offline_since
            ),
            Some(due),
        );
        return;
    }
    if plan_site_removal(input, removal, draft) == Stage::NotYet {
        return;
    }
    plan_database_removal(input, removal, draft);
}

fn client_ref(input: &Input<'_>, kind: ResourceKind) -> ResourceRef {
    let known = input.owned.first(kind);
    ResourceRef {
        kind,
        provider: known.map_or_else(|| "host".into(), |k| k.provider.clone()),
        name: known.map_or_else(|| input.desired.client.to_string(), |k| k.name.clone()),
        id: known.map(|k| k.id.to_string()),
    }
}

/// Address records first: nobody may be sent to a site that is about to go. Mail and text records stay through the grace.
fn plan_addresses(input: &Input<'_>, draft: &mut Draft<'_>) -> Stage {
    delete_records(input, draft, "the client goes offline", |kind| kind.is_address())
}

fn delete_records(
    input: &Input<'_>,
    draft: &mut Draft<'_>,
    reason: &str,
    which: impl Fn(crate::resource::record::RecordType) -> bool,
) -> Stage {
    if input.owned.first(ResourceKind::Record).is_none() && input.desired.dns.value().is_none_or(Option::is_none) {
        return Stage::Done;
    }
    let records = match &input.observed.records {
        Reading::Known(records) => records,
        Reading::Unknown { reason } => {
            return draft.unknown(record_ref("dns", input.desired.client.as_str(), None), reason);
        }
    };
    let provider = client_ref(input, ResourceKind::Record).provider;
    let mut stage = Stage::Done;
    for (zone, live) in records {
        if live.mark.as_ref() == Some(&input.desired.mark) && which(live.value.kind) {
            let change = RecordChange::Delete { id: live.id.clone(), from: live.value.clone() };
            let changes = vec![FieldChange::shown("content", Some(live.value.content.clone()), None)];
            stage = draft.act(
                Op::Delete,
                record_ref(&provider, &live.value.to_string(), Some(&live.id)),
                changes,
                reason,
                Step::ChangeRecord { zone: zone.clone(), change },
            );
        }
    }
    stage
}

/// What was asked for and never answered is looked for first: what came of it goes with the rest, or nobody would know it.
fn plan_lost_creates(input: &Input<'_>, draft: &mut Draft<'_>) -> Stage {
    for intent in &input.owned.intents {
        let kind = intent.kind;
        if !matches!(kind, ResourceKind::Site | ResourceKind::Record | ResourceKind::Database | ResourceKind::Role)
            || input.owned.resource(kind, &intent.key).is_some()
        {
            continue;
        }
        let mut resource = client_ref(input, kind);
        resource.name.clone_from(&intent.key);
        match (kind, &input.observed.site) {
            (ResourceKind::Site, Reading::Known(Some(live))) if live.value.domain.as_str() == intent.key => {
                let step = Step::Adopt { id: live.id.clone(), mark: MarkState::Pending };
                return draft.act(Op::Adopt, resource, Vec::new(), "it is the one we asked for", step);
            }
            _ => {}
        }
        let until = later(intent.at, input.policy.settle);
        if until > input.now {
            let message = format!(
                "a create was sent at {:.0} and its answer is not known; it is looked for until {until:.0}",
                intent.at
            );
            return draft.wait(resource, "Settling", message, Some(until));
        }
    }
    plan_half_made(input, draft)
}

/// A database or login of which only a part came about, without its mark perhaps, is completed: then it can go, or be kept.
fn plan_half_made(input: &Input<'_>, draft: &mut Draft<'_>) -> Stage {
    let (Some(database), Reading::Known(catalog)) =
        (remembered(input.owned, input.desired.client.as_str()), &input.observed.catalog)
    else {
        return Stage::Done;
    };
    let is_open = |kind, name: &str| input.owned.intent(kind, name).is_some();
    let reference = |kind, name: &str| ResourceRef { kind, provider: PROVIDER.into(), name: name.into(), id: None };
    let made = catalog.database(&database.name).is_some() || catalog.role(&database.name).is_some();
    if made && is_open(ResourceKind::Database, database.name.as_str()) {
        let resource = reference(ResourceKind::Database, database.name.as_str());
        let reason = "it was begun; what is half made cannot be told from a stranger's";
        return draft.act(Op::Update, resource, Vec::new(), reason, Step::EnsureDatabase(database));
    }
    if catalog.role(&database.login).is_some() && is_open(ResourceKind::Role, database.login.as_str()) {
        let resource = reference(ResourceKind::Role, database.login.as_str());
        let reason = "it was begun; what is half made cannot be told from a stranger's";
        return draft.act(Op::Update, resource, Vec::new(), reason, Step::EnsureLogin(database));
    }
    Stage::Done
}

/// Waits the TTL, then suspends the site and stops its process.
fn plan_offline(input: &Input<'_>, removal: &Removal, draft: &mut Draft<'_>) -> Stage {
    let Some(site) = input.owned.first(ResourceKind::Site) else { return Stage::Done };
    let drain = input.policy.drain.unwrap_or(std::time::Duration::from_secs(u64::from(removal.ttl_seconds)));
    let drained = later(removal.records_gone_at.unwrap_or(input.now), drain);
    if removal.records_gone_at.is_none() || drained > input.now {
        return draft.wait(
            client_ref(input, ResourceKind::Site),
            "Draining",
            format!("caches may hold the address until {drained:.0}; the site is suspended then"),
            Some(drained),
        );
    }
    match &input.observed.site {
        Reading::Unknown { reason } => draft.unknown(client_ref(input, ResourceKind::Site), reason),
        Reading::Known(None) => Stage::Done,
        Reading::Known(Some(live)) if live.id != site.id => Stage::Done, // somebody else's by now: not ours to touch
        Reading::Known(Some(live)) => match &live.value.status {
            SiteStatus::Suspended => stop(input, draft, Purpose::StopProcess, ProcessState::Stopped),
            SiteStatus::Deleting => Stage::Done,
            status if status.is_idle() => draft.act(
                Op::Update,
                client_ref(input, ResourceKind::Site),
                vec![FieldChange::shown("status", Some(status.as_str().into()), Some("suspended".into()))],
                "the client goes offline",
                Step::SuspendSite,
            ),
            other => draft.wait(
                client_ref(input, ResourceKind::Site),
                "SiteBusy",
                format!("the host says `{}`; the site is suspended when it is idle", other.as_str()),
                None,
            ),
        },
    }
}

fn stop(input: &Input<'_>, draft: &mut Draft<'_>, purpose: Purpose, end: ProcessState) -> Stage {
    let resource = ResourceRef {
        kind: ResourceKind::Process,
        provider: client_ref(input, ResourceKind::Site).provider,
        name: input.desired.client.to_string(),
        id: None,
    };
    let reached = |process: ProcessState| process == end || process == ProcessState::Gone;
    if input.owned.details.process.as_ref().is_none_or(|seen| reached(seen.value)) {
        return Stage::Done;
    }
    match input.owned.runs.get(&purpose) {
        Some(_) if matches!(input.observed.runs.get(&purpose), Some(Reading::Known(RunState::Finished { .. }))) => {
            Stage::NotYet
        }
        Some(_) => draft.wait(
            resource,
            "ProcessStopping",
            "the script that ends the process runs",
            Some(later(input.now, input.policy.deploy_poll)),
        ),
        None => draft.act(
            Op::Run,
            resource,
            Vec::new(),
            "a process left behind keeps port, memory and sessions",
            Step::StartRun(purpose),
        ),
    }
}

/// Remaining records, process, certificates, site; then the host must show it gone.
fn plan_site_removal(input: &Input<'_>, removal: &Removal, draft: &mut Draft<'_>) -> Stage {
    if removal.site_gone_at.is_some() {
        return delete_records(input, draft, "the client goes", |_| true);
    }
    let Some(known) = input.owned.first(ResourceKind::Site) else {
        return delete_records(input, draft, "the client goes", |_| true);
    };
    let live = match &input.observed.site {
        Reading::Unknown { reason } => return draft.unknown(client_ref(input, ResourceKind::Site), reason),
        Reading::Known(None) => return delete_records(input, draft, "the client goes", |_| true),
        Reading::Known(Some(live)) if live.id != known.id => {
            return delete_records(input, draft, "the client goes", |_| true);
        }
        Reading::Known(Some(live)) => live,
    };
    if live.value.status == SiteStatus::Deleting {
        return draft.wait(
            client_ref(input, ResourceKind::Site),
            "Deleting",
            "the host is removing the site",
            Some(later(input.now, input.policy.deploy_poll)),
        );
    }
    if crate::plan::both(
        delete_records(input, draft, "the client goes", |_| true),
        stop(input, draft, Purpose::DeleteProcess, ProcessState::Gone),
    ) == Stage::NotYet
    {
        return Stage::NotYet;
    }
    plan_certificates(input, draft);
    draft.act(
        Op::Delete,
        client_ref(input, ResourceKind::Site),
        vec![FieldChange::shown("domain", Some(known.name.clone()), None)],
        "its grace is over",
        Step::DeleteSite,
    )
}

fn plan_certificates(input: &Input<'_>, draft: &mut Draft<'_>) {
    let Reading::Known(all) = &input.observed.certificates else { return };
    let ours =
        |id| input.owned.resources.iter().any(|r: &OwnedResource| r.kind == ResourceKind::Certificate && r.id == id);
    for live in all.iter().filter(|live| live.value.status != CertificateStatus::Deleting && ours(live.id.clone())) {
        let mut resource = client_ref(input, ResourceKind::Certificate);
        resource.id = Some(live.id.to_string());
        draft.act(Op::Delete, resource, Vec::new(), "its site goes", Step::DeleteCertificate(live.id.clone()));
    }
}

fn plan_database_removal(input: &Input<'_>, removal: &Removal, draft: &mut Draft<'_>) {
    let Some(database) = remembered(input.owned, input.desired.client.as_str()) else { return };
    if input.owned.resource(ResourceKind::Database, database.name.as_str()).is_none() {
        return; // never ours, or dropped
    }
    let resource = client_ref(input, ResourceKind::Database);
    let catalog = match &input.observed.catalog {
        Reading::Known(catalog) => catalog,
        Reading::Unknown { reason } => {
            draft.unknown(resource, reason);
            return;
        }
    };
    let Some(row) = catalog.database(&database.name) else {
        if removal.reclaim == ReclaimPolicy::Delete {
            // Dropped, and the answer or what follows was lost; or dropped by somebody else. Its roles are what is left.
            draft.act(Op::Delete, resource, Vec::new(), "its database is gone", Step::DropRoles(database));
        }
        return;
    };
    if row.mark().map(|mark| mark.owner()) != Some(input.owned.mark.clone()) {
        draft.refuse(
            resource,
            "OwnershipLost",
            format!(
                "database {} (oid {}) no longer carries our mark; it is left as it is; `sitewright forget` ends this",
                database.name, row.oid
            ),
        );
        return;
    }
    match removal.reclaim {
        ReclaimPolicy::Retain => plan_retain(draft, resource, database, catalog, row),
        ReclaimPolicy::Delete => plan_drop(input, removal, draft, resource, database, catalog, row),
    }
}

fn plan_retain(draft: &mut Draft<'_>, resource: ResourceRef, database: Database, catalog: &Catalog, row: &DatabaseRow) {
    let closed = !has_open_login(catalog, &database);
    let told = row.mark().is_some_and(|mark| mark.state == DatabaseState::Retained);
    if !closed || !told {
        draft.act(
            Op::Update,
            resource,
            vec![FieldChange::shown("login", Some("open".into()), Some("closed".into()))],
            "the database is kept, its login is closed",
            Step::RetainDatabase(database),
        );
    }
}

/// Whether the client's own login may still come in; a role of that name that is somebody else's does not count.
fn has_open_login(catalog: &Catalog, database: &Database) -> bool {
    let mark = |comment: &str| DatabaseMark::from_comment(comment).map(|mark| mark.owner());
    catalog
        .role(&database.login)
        .is_some_and(|role| role.login && role.comment.as_deref().and_then(mark).as_ref() == Some(&database.mark))
}

fn plan_drop(
    input: &Input<'_>,
    removal: &Removal,
    draft: &mut Draft<'_>,
    resource: ResourceRef,
    database: Database,
    catalog: &Catalog,
    row: &DatabaseRow,
) {
    if has_open_login(catalog, &database) {
        draft.act(
            Op::Update,
            resource,
            vec![FieldChange::shown("login", Some("open".into()), Some("closed".into()))],
            "the site is gone, its login is closed",
            Step::CloseLogin(database),
        );
        return;
    }
    let due = later(removal.offline_since, input.policy.database_grace);
    if due > input.now {
        draft.wait(
            resource,
            "DatabaseGrace",
            format!("the database is dropped at {due:.0}; put the file back to undo"),
            Some(due),
        );
        return;
    }
    let fresh =
        removal.backup.as_ref().filter(|b| b.oid == row.oid && later(b.verified_at, BACKUP_AGE_MAX) > input.now);
    let Some(backup) = fresh else {
        draft.act(Op::Run, resource, Vec::new(), "a verified backup comes before the drop", Step::BackUp(database));
        return;
    };
    let evidence = DropEvidence {
        removal,
        row,
        mark: &input.owned.mark,
        backup,
        now: input.now,
        grace_over_at: due,
        site_is_gone: removal.site_gone_at.is_some(),
    };
    match may_drop(&evidence) {
        Ok(()) => {
            let step = Step::Drop { database, oid: row.oid, evidence: backup.clone() };
            draft.act(
                Op::Delete,
                resource,
                vec![FieldChange::shown("oid", Some(row.oid.to_string()), None)],
                "its grace is over and its backup is verified",
                step,
            );
        }
        Err(why) => {
            draft.wait(
                resource,
                "DropHeld",
                format!("the database is not dropped: {why}"),
                Some(later(input.now, input.policy.settle)),
            );
        }
    }
}

/// Everything that must be true before a database is dropped, as arguments.
pub struct DropEvidence<'a> {
    /// What was remembered when the client went.
    pub removal: &'a Removal,
    /// The database as the catalog shows it now.
    pub row: &'a DatabaseRow,
    /// Ours.
    pub mark: &'a Mark,
    /// The verified backup.
    pub backup: &'a Backup,
    /// Now.
    pub now: jiff::Timestamp,
    /// The end of the grace.
    pub grace_over_at: jiff::Timestamp,
    /// Whether the site was seen gone.
    pub site_is_gone: bool,
}

/// Whether a database may be dropped: policy remembered, grace over, site gone, mark ours, nobody connected, backup of this
/// very database verified within a day. The one place that says yes.
pub fn may_drop(evidence: &DropEvidence<'_>) -> Result<(), String> {
    let rules: [(bool, &str); 7] = [
        (evidence.removal.reclaim == ReclaimPolicy::Delete, "the policy accepted with the spec keeps it"),
        (evidence.site_is_gone, "its site was not seen gone"),
        (evidence.now >= evidence.grace_over_at, "its grace is not over"),
        (evidence.row.mark().map(|m| m.owner()).as_ref() == Some(evidence.mark), "its mark is not ours"),
        (evidence.row.sessions == 0, "somebody is connected to it"),
        (evidence.backup.oid == evidence.row.oid, "the backup is of another database"),
        (later(evidence.backup.verified_at, BACKUP_AGE_MAX) > evidence.now, "the backup is older than a day"),
    ];
    rules.iter().find(|(kept, _)| !kept).map_or(Ok(()), |(_, why)| Err((*why).to_owned()))
}
