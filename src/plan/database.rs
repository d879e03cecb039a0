//! The database and its login role: made once, isolated, never taken from somebody else.

use crate::plan::change::{AS_FOUND, FieldChange, Op, PREREQUISITES, Step};
use crate::plan::draft::{Draft, Input, Stage};
use crate::plan::take_over;
use crate::resource::database::{Catalog, Database, DatabaseMark, DatabaseState, PROVIDER, RoleRow};
use crate::resource::kind::{ResourceKind, ResourceRef};
use crate::resource::name::RemoteId;
use crate::resource::owned::{MarkState, Owned};
use crate::resource::reading::{Reading, Wanted};

/// Database first, then its login.
pub fn plan(input: &Input<'_>, draft: &mut Draft<'_>) -> Stage {
    let database = match &input.desired.database {
        Wanted::Missing { reason, message } => {
            return draft.refuse(
                reference(ResourceKind::Database, input.desired.client.as_str(), None),
                reason,
                message,
            );
        }
        Wanted::Value(None) => {
            return draft.settle(ResourceKind::Database, "NotManaged", "the site brings its own database");
        }
        Wanted::Value(Some(database)) => database,
    };
    let catalog = match &input.observed.catalog {
        Reading::Known(catalog) => catalog,
        Reading::Unknown { reason } => {
            return draft.unknown(reference(ResourceKind::Database, database.name.as_str(), None), reason);
        }
    };
    if input.owned.take_over.is_some()
        && let Some(left) = leave(input, draft, database, catalog)
    {
        return left;
    }
    let is_refused = plan_database(input, draft, database, catalog) == Claim::Refused;
    let is_held = draft.plan.waiting.iter().any(|waiting| waiting.resource.kind == ResourceKind::Database);
    if is_refused || is_held {
        return Stage::NotYet;
    }
    plan_login(input, draft, database, catalog)
}

/// A database that was taken over is used as it was found, with the login that it was found with, for good: to isolate it
/// would take its tables away from the role that owns them. `None`: it is ours, nobody's, or there is none of that name yet.
fn leave(input: &Input<'_>, draft: &mut Draft<'_>, database: &Database, catalog: &Catalog) -> Option<Stage> {
    let name = database.name.as_str();
    let known = input.owned.resource(ResourceKind::Database, name);
    let is_expected = known.is_some_and(|known| known.mark == MarkState::Pending)
        || (known.is_none() && input.desired.adopt.contains(name));
    let Some(row) = catalog.database(&database.name) else {
        if is_expected {
            let message = format!(
                "database {name} was taken over and is not at the server any more; nothing empty is put in its place: restore it from a backup, or make an empty one by hand"
            );
            return Some(draft.refuse(reference(ResourceKind::Database, name, None), "DatabaseVanished", message));
        }
        let sentence = format!("database {name} is not made yet");
        let is_left = take_over::leaves_installation(input) && known.is_none();
        return is_left.then(|| draft.settle(ResourceKind::Database, AS_FOUND, sentence));
    };
    if !is_expected || row.comment.is_some() {
        return None;
    }
    if known.is_none() {
        let step = Step::Adopt { id: RemoteId::trusted(name), mark: MarkState::Pending };
        let resource = reference(ResourceKind::Database, name, Some(row.oid.to_string()));
        draft.act(Op::Adopt, resource, Vec::new(), "the annotation sitewright/adopt names it", step);
    }
    let sentence = format!("database {name} keeps its login, and is not isolated");
    Some(draft.settle(ResourceKind::Database, AS_FOUND, sentence))
}

#[derive(PartialEq, Eq)]
enum Claim {
    Going,
    Refused,
}

fn plan_database(input: &Input<'_>, draft: &mut Draft<'_>, database: &Database, catalog: &Catalog) -> Claim {
    let row = catalog.database(&database.name);
    let resource = reference(ResourceKind::Database, database.name.as_str(), row.map(|row| row.oid.to_string()));
    let mark = row.and_then(|row| row.mark());
    let group = catalog.role(&database.name);
    let group_comment =
        group.and_then(|role| role.comment.as_deref()).map(|c| DatabaseMark::from_comment(c).map(|m| m.owner()));
    let known = input.owned.resource(ResourceKind::Database, database.name.as_str());
    let intended = input.owned.intent(ResourceKind::Database, database.name.as_str()).is_some();
    if let Some(row) = row
        && !is_ours(input, row.comment.as_deref(), database.name.as_str(), known.map(|k| k.mark), intended)
    {
        if known.is_some_and(|k| k.mark == MarkState::Written) {
            draft.refuse(resource, "OwnershipLost", format!("database {} (oid {}) no longer carries our mark; put its comment back or take it over with the annotation sitewright/adopt: \"{}\"", database.name, row.oid, database.name));
        } else {
            draft.refuse(resource, "Conflict", format!("database {} (oid {}) exists and is not ours; choose another spec.database.name, or take it over with the annotation sitewright/adopt: \"{}\"", database.name, row.oid, database.name));
        }
        return Claim::Refused;
    }
    let was_made = known.is_some_and(|known| known.mark == MarkState::Written);
    if row.is_none() && was_made && !intended && !input.desired.adopt.contains(database.name.as_str()) {
        draft.refuse(resource, "DatabaseVanished", format!("database {} was made here and is not at the server any more; nothing empty is put in its place: restore it from a backup, or let the client begin anew with the annotation sitewright/adopt: \"{}\"", database.name, database.name));
        return Claim::Refused;
    }
    if row.is_none()
        && group.is_some()
        && !intended
        && group_comment.flatten() != Some(input.desired.mark.clone())
        && !input.desired.adopt.contains(database.name.as_str())
    {
        draft.refuse(reference(ResourceKind::Role, database.name.as_str(), None), "Conflict", format!("role {} exists and is not ours; choose another spec.database.name, or take it over with the annotation sitewright/adopt: \"{}\"", database.name, database.name));
        return Claim::Refused;
    }
    let complete = row.is_some_and(|row| !row.public_connect && row.allow_connections)
        && group.is_some()
        && mark.as_ref().is_some_and(|mark| mark.state == DatabaseState::Ready && mark.owner() == input.desired.mark);
    match (row, complete) {
        (None, _) => {
            draft.act(
                Op::Create,
                resource,
                vec![FieldChange::shown("name", None, Some(database.name.to_string()))],
                "there is no such database",
                Step::EnsureDatabase(database.clone()),
            );
        }
        (Some(_), false) => {
            draft.act(
                Op::Update,
                resource,
                Vec::new(),
                "it is not complete: a mark, its isolation or its group role is missing",
                Step::EnsureDatabase(database.clone()),
            );
        }
        (Some(_), true) if known.is_none_or(|k| k.mark == MarkState::Pending) || intended => {
            draft.act(
                Op::Adopt,
                resource,
                Vec::new(),
                "it carries our mark",
                Step::Adopt { id: RemoteId::trusted(database.name.as_str()), mark: MarkState::Written },
            );
        }
        (Some(_), true) => {}
    }
    Claim::Going
}

fn plan_login(input: &Input<'_>, draft: &mut Draft<'_>, database: &Database, catalog: &Catalog) -> Stage {
    let resource = reference(ResourceKind::Role, database.login.as_str(), None);
    let role = catalog.role(&database.login);
    let known = input.owned.resource(ResourceKind::Role, database.login.as_str());
    let intended = input.owned.intent(ResourceKind::Role, database.login.as_str()).is_some();
    let mark = role.and_then(|role| role.comment.as_deref()).and_then(DatabaseMark::from_comment).map(|m| m.owner());
    let is_ours = |role: &RoleRow| {
        is_ours(input, role.comment.as_deref(), database.login.as_str(), known.map(|k| k.mark), intended)
    };
    if role.is_some_and(|role| !is_ours(role)) {
        if known.is_some_and(|k| k.mark == MarkState::Written) {
            return draft.refuse(resource, "OwnershipLost", format!("role {} no longer carries our mark; put its comment back, or take it over with the annotation sitewright/adopt: \"{}\"", database.login, database.login));
        }
        return draft.refuse(resource, "Conflict", format!("role {} exists and is not ours; choose another spec.database.name, or take it over with the annotation sitewright/adopt: \"{}\"", database.login, database.login));
    }
    let database_settled =
        draft.plan.actions.iter().all(|a| a.resource.kind != ResourceKind::Database || a.op == Op::Adopt);
    match role {
        None => draft.act(
            Op::Create,
            resource,
            vec![FieldChange::masked("password")],
            "there is no such login",
            Step::EnsureLogin(database.clone()),
        ),
        Some(role)
            if !role.login || !role.member_of.iter().any(|group| group == database.name.as_str()) || mark.is_none() =>
        {
            draft.act(
                Op::Update,
                resource,
                Vec::new(),
                "it may not log in, or is not in its group",
                Step::EnsureLogin(database.clone()),
            )
        }
        Some(_) if known.is_none() && !intended && input.owned.login_read_back => draft.act(
            Op::Adopt,
            resource,
            Vec::new(),
            "it carries our mark, and the site knows its password",
            Step::Adopt { id: RemoteId::trusted(database.login.as_str()), mark: MarkState::Written },
        ),
        Some(_) if known.is_none() && !intended && !may_set_password(input) => draft.wait(
            resource,
            PREREQUISITES,
            "a site that is not ours by now may use this login: its password is set when that site is ours",
            None,
        ),
        Some(_) if known.is_none() || intended => draft.act(
            Op::Update,
            resource,
            Vec::new(),
            "its password is set to the one we keep",
            Step::EnsureLogin(database.clone()),
        ),
        Some(_) if database_settled => draft.settle(
            ResourceKind::Database,
            "Ready",
            format!("database {} is ours alone; {} may log in", database.name, database.login),
        ),
        Some(_) => Stage::NotYet,
    }
}

/// Whether nobody is locked out by a new password: there is no site yet, or it is ours and is told.
fn may_set_password(input: &Input<'_>) -> bool {
    match (&input.observed.site, input.owned.first(ResourceKind::Site)) {
        (_, None) if input.desired.site.value().is_none() => true,
        (Reading::Known(None), _) => true,
        (Reading::Known(Some(live)), Some(known)) => live.id == known.id,
        (Reading::Unknown { .. }, known) => known.is_some(),
        (Reading::Known(Some(_)), None) => false,
    }
}

/// Ours by its mark, by an open intent, by a create that we settled and whose mark is pending, or by a person's word. Words
/// of somebody else's in the place of a mark say that somebody was faster.
fn is_ours(input: &Input<'_>, comment: Option<&str>, id: &str, known: Option<MarkState>, intended: bool) -> bool {
    let is_adopted = input.desired.adopt.contains(id);
    match comment {
        Some(text) => {
            is_adopted || DatabaseMark::from_comment(text).is_some_and(|mark| mark.owner() == input.desired.mark)
        }
        None => is_adopted || intended || known == Some(MarkState::Pending),
    }
}

fn reference(kind: ResourceKind, name: &str, id: Option<String>) -> ResourceRef {
    ResourceRef { kind, provider: PROVIDER.into(), name: name.to_owned(), id }
}

/// The database that this client's memory names, for its removal.
pub fn remembered(owned: &Owned, client: &str) -> Option<Database> {
    Some(Database {
        name: owned.allocation.database.clone()?,
        login: owned.allocation.login.clone()?,
        mark: owned.mark.clone(),
        client: client.to_owned(),
    })
}
