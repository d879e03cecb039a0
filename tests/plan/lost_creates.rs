//! A client goes, or its file changes, while the answer to one of its creates is open: nothing is forgotten before it was
//! looked for, and nothing is remembered for ever.

use std::time::Duration;

use sitewright::resource::database::{Catalog, DatabaseRow, DatabaseState, RoleRow};
use sitewright::resource::kind::ResourceKind;
use sitewright::resource::name::{RemoteId, RepositorySlug};
use sitewright::resource::owned::{MarkState, OwnedResource};
use sitewright::resource::reading::{Reading, Wanted};
use sitewright::resource::removal::{ReclaimPolicy, Removal};
use sitewright::resource::site::{Repository, SiteStatus};

use crate::case::{Case, a_record, at, database_comment, live, mark, row, site};

const DOMAIN: &str = "acme.agency.example";
/// As `plan::dns::key_text` writes it.
const ADDRESS: &str = "z1 address acme.agency.example";
const DAY: i64 = 24 * 60;

/// Nothing is remembered but that this create was sent a moment before the client went.
fn asked(kind: ResourceKind, key: &str) -> Case {
    let mut case = Case::new_client();
    case.ask_for(kind, key, at(0));
    case.owned.removal = Some(Removal::begun(at(0), ReclaimPolicy::Delete));
    case
}

fn catalog(case: &mut Case) -> &mut Catalog {
    let Reading::Known(catalog) = &mut case.observed.catalog else { panic!("a catalog") };
    catalog
}

/// The plan that follows this look.
fn after_a_look(case: &mut Case) -> Vec<String> {
    case.absorb();
    case.lines()
}

fn asked_for_each() -> [(ResourceKind, &'static str); 4] {
    [
        (ResourceKind::Site, DOMAIN),
        (ResourceKind::Record, ADDRESS),
        (ResourceKind::Database, "client_acme"),
        (ResourceKind::Role, "client_acme_a"),
    ]
}

#[test]
fn whatever_was_asked_for_is_looked_for_until_the_settle_time_is_over() {
    for (kind, key) in asked_for_each() {
        let mut case = asked(kind, key);
        let lines = after_a_look(&mut case);
        assert!(lines.iter().any(|l| l.starts_with('…') && l.contains("[Settling]")), "{kind:?}: {lines:?}");
        assert!(case.actions().is_empty(), "{kind:?}: {lines:?}");
        case.now = at(14 * DAY + 1);
        let lines = after_a_look(&mut case);
        assert!(case.plan().is_converged(), "{kind:?} never came about: {lines:?}");
    }
}

#[test]
fn nobody_is_forgotten_because_a_listing_failed() {
    for (kind, key) in asked_for_each() {
        let mut case = asked(kind, key);
        let why = "the provider does not answer";
        match kind {
            ResourceKind::Site => case.observed.site = Reading::unknown(why),
            ResourceKind::Record => case.observed.records = Reading::unknown(why),
            _ => case.observed.catalog = Reading::unknown(why),
        }
        case.now = at(30 * DAY);
        let lines = after_a_look(&mut case);
        assert!(!case.plan().is_converged(), "{kind:?} may be there: {lines:?}");
        assert!(case.actions().is_empty(), "{kind:?}: {lines:?}");
    }
}

#[test]
fn nobody_is_forgotten_because_a_provider_lost_its_credential() {
    let mut case = asked(ResourceKind::Record, ADDRESS);
    case.desired.dns = Wanted::Missing { reason: "ProviderNotConfigured", message: "no token".into() };
    case.observed.records = Reading::unknown("no DNS is managed");
    case.now = at(30 * DAY);
    case.absorb();
    assert!(!case.plan().is_converged(), "{:?}", case.lines());
}

#[test]
fn a_site_that_came_about_is_taken_in_and_goes_like_any_other() {
    let mut case = asked(ResourceKind::Site, DOMAIN);
    case.observed.site = Reading::Known(Some(site(SiteStatus::Transitional("building".into()))));
    for now in [at(0), at(30 * DAY)] {
        case.now = now;
        case.absorb();
        assert_eq!(case.actions(), ["= Site ploi/acme.agency.example (71)"]);
        assert_eq!(case.owned.removal.as_ref().and_then(|r| r.site_gone_at), None);
    }
}

#[test]
fn an_address_that_came_about_goes_and_its_caches_are_waited_out_from_then() {
    let mut case = asked(ResourceKind::Record, ADDRESS);
    case.absorb();
    let gone_at = |case: &Case| case.owned.removal.as_ref().and_then(|r| r.records_gone_at);
    assert_eq!(gone_at(&case), None, "it may still come");
    case.observed.records = Reading::Known(vec![live("r1", Some(mark()), a_record())]);
    case.absorb();
    assert_eq!(case.actions(), ["- Record cloudflare/A acme.agency.example (r1)"]);
    case.observed.records = Reading::Known(vec![]);
    case.now = at(2);
    case.absorb();
    assert_eq!(gone_at(&case), Some(at(2)));
}

#[test]
fn what_is_half_made_is_completed_so_that_it_can_be_told_from_a_strangers() {
    let role = |name: &str, login| RoleRow { name: name.into(), login, comment: None, member_of: vec![] };
    let mut case = asked(ResourceKind::Database, "client_acme");
    case.now = at(2);
    catalog(&mut case).roles.push(role("client_acme", false));
    assert_eq!(case.actions(), ["~ Database postgres/client_acme"]);
    catalog(&mut case).databases.push(row(None));
    assert_eq!(case.actions(), ["~ Database postgres/client_acme"]);
    let mut case = asked(ResourceKind::Role, "client_acme_a");
    case.now = at(2);
    catalog(&mut case).roles.push(role("client_acme_a", true));
    assert_eq!(case.actions(), ["~ Role postgres/client_acme_a"]);
}

#[test]
fn what_somebody_else_made_of_that_name_meanwhile_is_left_alone_and_holds_nobody_back() {
    for comment in ["a note".to_owned(), database_comment(DatabaseState::Ready).replace("01JACME", "01JOTHER")] {
        let theirs =
            RoleRow { name: "client_acme_a".into(), login: true, comment: Some(comment.clone()), member_of: vec![] };
        for (kind, key) in [(ResourceKind::Database, "client_acme"), (ResourceKind::Role, "client_acme_a")] {
            let mut case = asked(kind, key);
            catalog(&mut case).databases.push(DatabaseRow { comment: Some(comment.clone()), ..row(None) });
            catalog(&mut case).roles.push(theirs.clone());
            case.now = at(30 * DAY);
            let lines = after_a_look(&mut case);
            assert!(case.plan().is_converged(), "{lines:?}");
        }
    }
}

#[test]
fn a_site_of_somebody_else_under_our_domain_does_not_keep_a_client_for_ever() {
    for owned in [false, true] {
        let mut case = Case::converged();
        if !owned {
            case.owned.resources.retain(|r| r.kind != ResourceKind::Site);
        }
        case.owned.removal = Some(Removal::begun(at(0), ReclaimPolicy::Delete));
        case.observed.records = Reading::Known(vec![]);
        let mut theirs = site(SiteStatus::Active);
        theirs.id = RemoteId::trusted("99");
        case.observed.site = Reading::Known(Some(theirs));
        case.now = at(8 * DAY);
        case.absorb();
        let gone_at = case.owned.removal.as_ref().and_then(|r| r.site_gone_at);
        assert_eq!(gone_at, Some(at(8 * DAY)), "ours is not there");
        assert!(!case.actions().iter().any(|a| a.contains("Site")), "{:?}", case.actions());
    }
}

fn made(kind: ResourceKind, provider: &str, name: &str, id: &str) -> Case {
    let mut case = Case::new_client();
    case.owned.resources.push(OwnedResource {
        kind,
        provider: provider.into(),
        name: name.into(),
        id: RemoteId::trusted(id),
        mark: MarkState::Pending,
        since: at(0),
    });
    case.owned.removal = Some(Removal::begun(at(0), ReclaimPolicy::Delete));
    case.policy.deletion_grace = Duration::ZERO;
    case.policy.drain = Some(Duration::ZERO);
    case
}

#[test]
fn a_site_that_was_made_a_moment_ago_is_not_gone_because_a_listing_lags() {
    let mut case = made(ResourceKind::Site, "ploi", DOMAIN, "71");
    assert_eq!(case.absorb(), Vec::<&str>::new());
    assert!(case.lines().iter().any(|l| l.contains("[NotVisible]")), "{:?}", case.lines());
    case.now = at(1);
    assert_eq!(case.absorb(), ["SiteGone"]);
}

#[test]
fn a_record_that_was_made_a_moment_ago_is_not_gone_because_a_listing_lags() {
    let mut case = made(ResourceKind::Record, "cloudflare", "A acme.agency.example", "r1");
    case.absorb();
    assert!(case.lines().iter().any(|l| l.contains("[NotVisible]")), "{:?}", case.lines());
    assert_eq!(case.owned.removal.as_ref().and_then(|r| r.records_gone_at), None, "it will be seen, and go");
    case.observed.records = Reading::Known(vec![live("r1", Some(mark()), a_record())]);
    assert_eq!(case.actions(), ["- Record cloudflare/A acme.agency.example (r1)"]);
    case.observed.records = Reading::Known(vec![]);
    case.now = at(1);
    case.absorb();
    assert!(case.plan().is_converged(), "{:?}", case.lines());
    assert_eq!(case.owned.removal.as_ref().and_then(|r| r.records_gone_at), Some(at(1)));
}

#[test]
fn a_lost_record_that_is_not_wanted_any_more_is_looked_for_and_then_forgotten() {
    let mut case = Case::converged();
    let key = "z1 TXT acme.agency.example the text before";
    case.ask_for(ResourceKind::Record, key, at(0));
    case.absorb();
    assert_eq!(case.owned.intents.len(), 1, "it may still come");
    case.now = at(1);
    case.observed.records = Reading::unknown("the provider does not answer");
    case.absorb();
    assert_eq!(case.owned.intents.len(), 1, "nobody looked");
    case.observed.records = Case::converged().observed.records;
    case.absorb();
    assert!(case.owned.intents.is_empty(), "{:?}", case.owned.intents);
}

#[test]
fn a_lost_record_in_a_zone_that_is_not_seen_any_more_is_not_forgotten() {
    let mut case = asked(ResourceKind::Record, "z2 address www.acme.example");
    case.now = at(30 * DAY);
    case.absorb();
    assert_eq!(case.owned.intents.len(), 1, "no listing shows that zone");
    assert!(!case.plan().is_converged(), "{:?}", case.lines());
}

#[test]
fn a_lost_installation_is_waited_for_also_where_another_repository_is_wanted_by_now() {
    let mut case = Case::converged();
    case.observed.repository = Reading::Known(None);
    case.ask_for(ResourceKind::Repository, "agency/old", at(0));
    case.absorb();
    assert!(case.actions().is_empty(), "two installations would race: {:?}", case.actions());
    assert!(case.lines().iter().any(|l| l.contains("[Settling]")), "{:?}", case.lines());
    let slug = |text: &str| Repository { slug: RepositorySlug::trusted(text), branch: "main".into() };
    case.observed.repository = Reading::Known(Some(slug("agency/old")));
    case.absorb();
    assert!(case.owned.intents.is_empty());
    assert_eq!(case.actions(), ["- Repository ploi/agency/cms"]);
}

#[test]
fn whatever_is_installed_ends_every_order_of_a_repository() {
    let mut case = Case::converged();
    case.ask_for(ResourceKind::Repository, "agency/old", at(0));
    case.ask_for(ResourceKind::Repository, "agency/cms", at(0));
    case.absorb();
    assert!(case.owned.intents.is_empty(), "{:?}", case.owned.intents);
}
