//! Creates of a client that goes whose answers never came: each is looked for before anything else is taken down. What
//! came of it goes with the rest; forgotten, nobody would ever know whose it is.

use crate::plan::both;
use crate::plan::change::{Op, Step};
use crate::plan::database::remembered;
use crate::plan::draft::{Draft, Input, Stage, later};
use crate::resource::database::{Catalog, Database, DatabaseMark};
use crate::resource::kind::{ResourceKind, ResourceRef};
use crate::resource::mark::Mark;
use crate::resource::owned::{Intent, MarkState};
use crate::resource::reading::Reading;

/// Done once every open create has its end: found and taken in, or not there after the settle time. What lives in the site
/// goes with the site.
pub fn plan(input: &Input<'_>, draft: &mut Draft<'_>) -> Stage {
    let mut stage = Stage::Done;
    for intent in &input.owned.intents {
        let looked = match intent.kind {
            ResourceKind::Site => plan_site(input, draft, intent),
            ResourceKind::Record => plan_record(input, draft, intent),
            ResourceKind::Database | ResourceKind::Role => plan_database(input, draft, intent),
            _ => Stage::Done,
        };
        stage = both(stage, looked);
    }
    stage
}

fn plan_site(input: &Input<'_>, draft: &mut Draft<'_>, intent: &Intent) -> Stage {
    let resource = asked_for(input, intent);
    let known = input.owned.resource(ResourceKind::Site, &intent.key);
    match &input.observed.site {
        Reading::Unknown { reason } => draft.unknown(resource, reason),
        Reading::Known(Some(live)) if known.is_some_and(|known| known.id == live.id) => Stage::Done,
        Reading::Known(Some(live)) if live.value.domain.as_str() == intent.key => {
            let step = Step::Adopt { id: live.id.clone(), mark: MarkState::Pending };
            let resource = ResourceRef { id: Some(live.id.to_string()), ..resource };
            draft.act(Op::Adopt, resource, Vec::new(), "it is the one we asked for", step)
        }
        Reading::Known(_) => settle(input, draft, intent),
    }
}

/// A record carries its mark from the start: once a listing shows it, it goes like the others. Its intent ends with that, or
/// with the settle time; one that is older stands for a zone that nobody could look at.
fn plan_record(input: &Input<'_>, draft: &mut Draft<'_>, intent: &Intent) -> Stage {
    if settle(input, draft, intent) == Stage::NotYet {
        return Stage::NotYet;
    }
    draft.unknown(asked_for(input, intent), "its zone is not among those that the credential sees")
}

/// A database or login of which only a part came about, without its mark perhaps, is completed: then it can go, or be kept.
fn plan_database(input: &Input<'_>, draft: &mut Draft<'_>, intent: &Intent) -> Stage {
    let resource = asked_for(input, intent);
    let catalog = match &input.observed.catalog {
        Reading::Unknown { reason } => return draft.unknown(resource, reason),
        Reading::Known(catalog) => catalog,
    };
    let Some(database) = remembered(input.owned, input.desired.client.as_str()) else { return Stage::Done };
    let step = match intent.kind {
        ResourceKind::Database if is_begun(catalog, &database) => Step::EnsureDatabase(database),
        ResourceKind::Role if is_login_begun(catalog, &database) => Step::EnsureLogin(database),
        _ => return settle(input, draft, intent),
    };
    let reason = "it was begun; what is half made cannot be told from a stranger's";
    draft.act(Op::Update, resource, Vec::new(), reason, step)
}

fn is_begun(catalog: &Catalog, database: &Database) -> bool {
    let group = catalog.role(&database.name);
    match catalog.database(&database.name) {
        Some(row) => may_be_ours(row.comment.as_deref(), &database.mark),
        None => group.is_some_and(|role| may_be_ours(role.comment.as_deref(), &database.mark)),
    }
}

fn is_login_begun(catalog: &Catalog, database: &Database) -> bool {
    catalog.role(&database.login).is_some_and(|role| may_be_ours(role.comment.as_deref(), &database.mark))
}

/// Ours by its mark, or without any yet; any other comment is somebody else's, who was faster.
fn may_be_ours(comment: Option<&str>, mark: &Mark) -> bool {
    comment.is_none_or(|text| DatabaseMark::from_comment(text).is_some_and(|found| found.owner() == *mark))
}

fn settle(input: &Input<'_>, draft: &mut Draft<'_>, intent: &Intent) -> Stage {
    let until = later(intent.at, input.policy.settle);
    if until <= input.now {
        return Stage::Done;
    }
    let message =
        format!("a create was sent at {:.0} and its answer is not known; it is looked for until {until:.0}", intent.at);
    draft.wait(asked_for(input, intent), "Settling", message, Some(draft.look_again(until)))
}

fn asked_for(input: &Input<'_>, intent: &Intent) -> ResourceRef {
    ResourceRef { name: intent.key.clone(), id: None, ..input.client_ref(intent.kind) }
}
