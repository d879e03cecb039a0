//! Taking a client down in an order that loses nothing, every step but the last reversible (design 5, decisions 26-27).

use std::time::Duration;

use jiff::Timestamp;

use crate::plan::change::{FieldChange, Op, Step};
use crate::plan::database::remembered;
use crate::plan::dns::record_ref;
use crate::plan::draft::{Draft, Input, Policy, Stage, later};
use crate::plan::progress::zone_is_unseen;
use crate::plan::{lost_creates, process, site};
use crate::resource::certificate::CertificateStatus;
use crate::resource::database::{Catalog, Database, DatabaseMark, DatabaseRow, DatabaseState};
use crate::resource::kind::{ResourceKind, ResourceRef};
use crate::resource::mark::Mark;
use crate::resource::owned::{MarkState, OwnedResource};
use crate::resource::reading::{Live, Reading};
use crate::resource::record::{Record, RecordChange, Zone};
use crate::resource::removal::{Backup, ReclaimPolicy, Removal};
use crate::resource::site::{Piece, Purpose, SiteStatus};

/// So long at least, or its whole grace where that is shorter, a client stays after time that nobody lived through.
pub const NOTICE: Duration = Duration::from_secs(24 * 60 * 60);

/// How old a backup may be at most when a database is dropped (reliability S3e).
pub const BACKUP_AGE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// The plan of a client whose absence was accepted. Converged means: nothing is left but what is meant to stay.
pub fn plan(input: &Input<'_>, removal: &Removal, draft: &mut Draft<'_>) {
    if plan_addresses(input, draft) == Stage::NotYet || lost_creates::plan(input, draft) == Stage::NotYet {
        return;
    }
    if plan_offline(input, removal, draft) == Stage::NotYet {
        return;
    }
    if plan_grace(input, removal, draft) == Stage::NotYet {
        return;
    }
    if plan_site_removal(input, removal, draft) == Stage::NotYet {
        return;
    }
    plan_database_removal(input, removal, draft);
}

/// When a grace is over: it counts the time in which somebody was there.
pub fn due(removal: &Removal, grace: Duration) -> Timestamp {
    later(removal.offline_since, grace.saturating_add(removal.uncounted))
}

/// Time that nobody lived through does not count; and whatever is nearly over gives people a notice first.
pub fn postpone(removal: &mut Removal, unlived: Duration, policy: &Policy, now: Timestamp) {
    removal.uncounted = removal.uncounted.saturating_add(unlived);
    let grace = if removal.site_gone_at.is_some() { policy.database_grace } else { policy.deletion_grace };
    let missing = later(now, NOTICE.min(grace)).duration_since(due(removal, grace));
    removal.uncounted = removal.uncounted.saturating_add(Duration::try_from(missing).unwrap_or_default());
}

/// What the sentence of a prolonged grace adds.
fn uncounted(removal: &Removal) -> &'static str {
    if removal.uncounted.is_zero() { "" } else { ", time in which nobody was here not counted" }
}

/// The grace holds the site and the records that stay with it, also where somebody removed the site before us.
fn plan_grace(input: &Input<'_>, removal: &Removal, draft: &mut Draft<'_>) -> Stage {
    let due = due(removal, input.policy.deletion_grace);
    let what = match removal.site_gone_at {
        None => "the site is",
        Some(_) if has_records(input) => "what is left of its records is",
        Some(_) => return Stage::Done,
    };
    if due <= input.now {
        return Stage::Done;
    }
    let since = removal.offline_since;
    let message = format!(
        "offline since {since:.0}; {what} removed at {due:.0}{}; put the file back to undo",
        uncounted(removal)
    );
    draft.wait(input.client_ref(ResourceKind::Site), "Grace", message, Some(due))
}

fn has_records(input: &Input<'_>) -> bool {
    let ours = |(_, live): &(Zone, Live<Record>)| input.owned.holds_record(live);
    input.observed.records.known().is_some_and(|records| records.iter().any(ours))
}

/// Address records first: nobody may be sent to a site that is about to go. Mail and text records stay through the grace.
fn plan_addresses(input: &Input<'_>, draft: &mut Draft<'_>) -> Stage {
    delete_records(input, draft, "the client goes offline", |kind| kind.is_address())
}

fn may_have_records(input: &Input<'_>) -> bool {
    let asked_for = input.owned.intents.iter().any(|intent| intent.kind == ResourceKind::Record);
    let managed = input.desired.dns.value().is_some_and(Option::is_some);
    managed || asked_for || input.owned.first(ResourceKind::Record).is_some()
}

fn delete_records(
    input: &Input<'_>,
    draft: &mut Draft<'_>,
    reason: &str,
    which: impl Fn(crate::resource::record::RecordType) -> bool,
) -> Stage {
    if !may_have_records(input) {
        return Stage::Done;
    }
    let records = match &input.observed.records {
        Reading::Known(records) => records,
        Reading::Unknown { reason } => {
            return draft.unknown(input.client_ref(ResourceKind::Record), reason);
        }
    };
    let provider = input.client_ref(ResourceKind::Record).provider;
    if refuse_unseen_zones(input, draft) == Stage::NotYet {
        return Stage::NotYet;
    }
    let mut stage = wait_for_young_records(input, draft, records);
    for (zone, live) in records {
        if input.owned.holds_record(live) && which(live.value.kind) {
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

/// A record in a zone that the credential shows no more cannot be removed, and what it points to must not go before it.
fn refuse_unseen_zones(input: &Input<'_>, draft: &mut Draft<'_>) -> Stage {
    let zones = input.observed.zones.known().map(Vec::as_slice).unwrap_or_default();
    let records = input.owned.resources.iter().filter(|known| known.kind == ResourceKind::Record);
    match records.into_iter().find(|known| zone_is_unseen(known, zones)) {
        None => Stage::Done,
        Some(known) => draft.refuse(
            record_ref(&known.provider, &known.name, Some(&known.id)),
            "ZoneNotFound",
            format!(
                "{} was made here, and no zone that the credential sees holds it any more: let the credential see that zone again, or end this with `sitewright forget {}`",
                known.name, input.desired.client
            ),
        ),
    }
}

/// A record that was made a moment ago and that no listing shows yet is not gone: it will be seen, and goes then.
fn wait_for_young_records(input: &Input<'_>, draft: &mut Draft<'_>, records: &[(Zone, Live<Record>)]) -> Stage {
    let mut stage = Stage::Done;
    for known in input.owned.resources.iter().filter(|known| known.kind == ResourceKind::Record) {
        let until = later(known.since, input.policy.settle);
        if until > input.now && !records.iter().any(|(_, live)| live.id == known.id) {
            let message = format!("it was made at {:.0} and no listing shows it yet", known.since);
            let resource = record_ref(&known.provider, &known.name, Some(&known.id));
            stage = draft.wait(resource, "NotVisible", message, Some(draft.look_again(until)));
        }
    }
    stage
}

/// Waits the TTL, then suspends the site and stops its process.
fn plan_offline(input: &Input<'_>, removal: &Removal, draft: &mut Draft<'_>) -> Stage {
    let Some(site) = input.owned.first(ResourceKind::Site) else { return Stage::Done };
    // Somebody may have removed the address before us: caches hold it as long as the one that was wanted.
    let wanted = input.desired.dns.value().and_then(Option::as_ref).map_or(0, |dns| dns.ttl.effective_seconds());
    let ttl = Duration::from_secs(u64::from(removal.ttl_seconds.max(wanted)));
    let drain = input.policy.drain.unwrap_or(ttl);
    let gone_at = if may_have_records(input) { removal.records_gone_at } else { Some(removal.offline_since) };
    let drained = later(gone_at.unwrap_or(input.now), drain);
    if gone_at.is_none() || drained > input.now {
        return draft.wait(
            input.client_ref(ResourceKind::Site),
            "Draining",
            format!("caches may hold the address until {drained:.0}; the site is suspended then"),
            Some(drained),
        );
    }
    match &input.observed.site {
        Reading::Unknown { reason } => draft.unknown(input.client_ref(ResourceKind::Site), reason),
        Reading::Known(None) => Stage::Done,
        Reading::Known(Some(live)) if live.id != site.id => Stage::Done, // somebody else's by now: not ours to touch
        Reading::Known(Some(live)) if live.value.domain.as_str() != site.name => {
            site::refuse_renamed(draft, input.client_ref(ResourceKind::Site), live)
        }
        Reading::Known(Some(live)) => match &live.value.status {
            SiteStatus::Suspended => end_process(input, draft, Purpose::StopProcess),
            SiteStatus::Deleting => Stage::Done,
            status if status.is_idle() => draft.act(
                Op::Update,
                input.client_ref(ResourceKind::Site),
                vec![FieldChange::shown("status", Some(status.as_str().into()), Some("suspended".into()))],
                "the client goes offline",
                Step::SuspendSite,
            ),
            other => {
                site::busy(input, draft, input.client_ref(ResourceKind::Site), other, "it is suspended when it is idle")
            }
        },
    }
}

fn end_process(input: &Input<'_>, draft: &mut Draft<'_>, purpose: Purpose) -> Stage {
    match input.desired.site.value() {
        Some(site) if site.pieces.contains(&Piece::Process) => process::end(input, draft, site, purpose),
        _ => Stage::Done,
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
        Reading::Unknown { reason } => return draft.unknown(input.client_ref(ResourceKind::Site), reason),
        Reading::Known(Some(live)) if live.id == known.id => live,
        Reading::Known(_) => {
            delete_records(input, draft, "the client goes", |_| true);
            let until = later(known.since, input.policy.settle);
            let message = format!("site {} was made a moment ago and no listing shows it yet", known.id);
            return draft.wait(
                input.client_ref(ResourceKind::Site),
                "NotVisible",
                message,
                Some(draft.look_again(until)),
            );
        }
    };
    if live.value.status == SiteStatus::Deleting {
        let resource = input.client_ref(ResourceKind::Site);
        return site::busy(input, draft, resource, &live.value.status, "it is being removed");
    }
    if crate::plan::both(
        delete_records(input, draft, "the client goes", |_| true),
        end_process(input, draft, Purpose::DeleteProcess),
    ) == Stage::NotYet
    {
        return Stage::NotYet;
    }
    plan_certificates(input, draft);
    draft.act(
        Op::Delete,
        input.client_ref(ResourceKind::Site),
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
        let mut resource = input.client_ref(ResourceKind::Certificate);
        resource.id = Some(live.id.to_string());
        draft.act(Op::Delete, resource, Vec::new(), "its site goes", Step::DeleteCertificate(live.id.clone()));
    }
}

fn plan_database_removal(input: &Input<'_>, removal: &Removal, draft: &mut Draft<'_>) {
    let Some(database) = remembered(input.owned, input.desired.client.as_str()) else { return };
    if input.owned.resource(ResourceKind::Database, database.name.as_str()).is_none() {
        return; // never ours, or dropped
    }
    let resource = input.client_ref(ResourceKind::Database);
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
    if row.comment.is_none() && is_as_found(input, &database) {
        if removal.reclaim == ReclaimPolicy::Delete {
            draft.refuse(resource, "NotMarked", format!("database {} was taken over and never carried our mark: it is left as it is, drop it by hand; `sitewright forget` ends this", database.name));
        }
        return;
    }
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

/// A database that was taken over and that nothing of ours was written to.
fn is_as_found(input: &Input<'_>, database: &Database) -> bool {
    let known = input.owned.resource(ResourceKind::Database, database.name.as_str());
    input.owned.take_over.is_some() && known.is_some_and(|known| known.mark == MarkState::Pending)
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
    let due = due(removal, input.policy.database_grace);
    if due > input.now {
        draft.wait(
            resource,
            "DatabaseGrace",
            format!("the database is dropped at {due:.0}{}; put the file back to undo", uncounted(removal)),
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
