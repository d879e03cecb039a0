//! Unknown is never absent, foreign is never touched.

use proptest::prelude::*;
use sitewright::plan::change::Op;
use sitewright::resource::database::DatabaseState;
use sitewright::resource::kind::ResourceKind;
use sitewright::resource::mark::Mark;
use sitewright::resource::name::Uid;
use sitewright::resource::owned::EnvironmentSeen;
use sitewright::resource::reading::Reading;
use sitewright::resource::site::SiteStatus;

use crate::case::{Case, a_record, at, database_comment, live, mark, row, site};

fn somebody() -> Mark {
    Mark { uid: Uid::trusted("01JOTHER"), ..mark() }
}

#[test]
fn a_site_of_somebody_else_is_a_conflict_with_the_way_out() {
    let mut case = Case::new_client();
    case.observed.site = Reading::Known(Some(site(SiteStatus::Active)));
    case.observed.environment = Reading::Known(EnvironmentSeen::default());
    assert!(!case.actions().iter().any(|a| a.contains("ploi")));
    assert!(case.lines().iter().any(|l| l.contains("[Conflict]") && l.contains("sitewright/adopt: \"71\"")));
    case.desired.adopt.insert("71".into());
    assert!(case.actions().contains(&"= Site ploi/acme.agency.example (71)".to_owned()));
}

#[test]
fn a_site_that_carries_our_mark_is_taken_in_after_a_lost_state() {
    let mut case = Case::converged();
    case.owned.resources.clear();
    assert!(case.actions().contains(&"= Site ploi/acme.agency.example (71)".to_owned()));
    assert!(!case.plan().actions.iter().any(|a| a.op == Op::Create), "{:?}", case.actions());
}

/// B24.
#[test]
fn a_database_that_vanished_is_not_put_back_empty() {
    let mut case = Case::converged();
    let Reading::Known(catalog) = &mut case.observed.catalog else { panic!("a reading") };
    catalog.databases.clear();
    assert!(case.actions().is_empty(), "{:?}", case.actions());
    assert!(case.lines().iter().any(|l| l.contains("[DatabaseVanished]") && l.contains("restore it")));
    let name = case.owned.allocation.database.clone().expect("a name");
    case.desired.adopt.insert(name.to_string());
    assert!(case.actions().iter().any(|action| action.starts_with("+ Database")), "{:?}", case.actions());
}

#[test]
fn a_lost_mark_stops_every_write_to_the_site() {
    let mut case = Case::converged();
    let Reading::Known(seen) = &mut case.observed.environment else { panic!("a reading") };
    seen.mark = Some(somebody());
    case.observed.script = Reading::Known(None);
    assert!(case.actions().is_empty());
    assert!(case.lines().iter().any(|l| l.contains("[OwnershipLost]")));
}

#[test]
fn a_record_of_somebody_else_is_a_conflict_and_stays() {
    let mut case = Case::converged();
    case.observed.records = Reading::Known(vec![live("r9", None, a_record())]);
    assert!(!case.actions().iter().any(|a| a.contains("r9") || a.contains("A acme")));
    assert!(case.lines().iter().any(|l| l.contains("[Conflict]") && l.contains("sitewright/adopt: \"r9\"")));
}

#[test]
fn a_cname_where_the_address_belongs_is_a_conflict_too() {
    let mut case = Case::converged();
    let cname = sitewright::resource::record::Record::new(
        "acme.agency.example",
        sitewright::resource::record::RecordType::CNAME,
        "parked.example.net",
        sitewright::resource::record::Ttl::Auto,
        false,
        None,
    );
    case.observed.records = Reading::Known(vec![live("r9", Some(somebody()), cname)]);
    assert!(case.lines().iter().any(|l| l.contains("[Conflict]")));
    assert!(!case.actions().iter().any(|a| a.contains("A acme")));
}

#[test]
fn a_database_of_somebody_else_is_a_conflict_and_stays() {
    for comment in
        [None, Some("a note".to_owned()), Some(database_comment(DatabaseState::Ready).replace("01JACME", "01JOTHER"))]
    {
        let mut case = Case::new_client();
        let Reading::Known(catalog) = &mut case.observed.catalog else { panic!("a catalog") };
        catalog.databases.push(row(comment));
        assert!(!case.actions().iter().any(|a| a.contains("postgres")), "{:?}", case.actions());
        assert!(case.lines().iter().any(|l| l.contains("[Conflict]")));
    }
}

/// Which parts of a look are unknown.
fn blinded(mask: u16, case: &mut Case) {
    let o = &mut case.observed;
    let why = "the provider does not answer";
    macro_rules! blind {
        ($($bit:literal $field:ident),* $(,)?) => { $(if mask & (1 << $bit) != 0 { o.$field = Reading::unknown(why); })* };
    }
    blind!(0 server, 1 site, 2 repository, 3 environment, 4 script, 5 vhost, 6 aliases, 7 certificates, 8 catalog, 9 zones, 10 records, 11 published, 12 probe, 13 builds_elsewhere, 14 server_check);
}

fn kinds_behind(mask: u16) -> Vec<ResourceKind> {
    let all = [
        (1, ResourceKind::Site),
        (2, ResourceKind::Repository),
        (3, ResourceKind::Environment),
        (4, ResourceKind::DeployScript),
        (5, ResourceKind::VirtualHost),
        (6, ResourceKind::Alias),
        (7, ResourceKind::Certificate),
        (8, ResourceKind::Database),
        (8, ResourceKind::Role),
        (9, ResourceKind::Record),
        (10, ResourceKind::Record),
        (13, ResourceKind::Release),
    ];
    all.into_iter().filter(|(bit, _)| mask & (1 << bit) != 0).map(|(_, kind)| kind).collect()
}

proptest! {
    /// Whatever is unknown, no write goes to a resource whose state is unknown, neither for a new client nor for a converged one.
    #[test]
    fn an_unknown_never_leads_to_a_write(mask in 0u16..(1 << 15), fresh in any::<bool>()) {
        let mut case = if fresh { Case::new_client() } else { Case::converged() };
        blinded(mask, &mut case);
        let blind = kinds_behind(mask);
        for action in case.plan().actions {
            prop_assert!(!blind.contains(&action.resource.kind), "{} although it is unknown", action.resource);
        }
    }

    /// A converged client stays converged, or says what it does not know: never an action.
    #[test]
    fn a_converged_client_in_the_dark_does_nothing(mask in 0u16..(1 << 15)) {
        let mut case = Case::converged();
        blinded(mask, &mut case);
        let plan = case.plan();
        prop_assert!(plan.actions.is_empty(), "{plan}");
        prop_assert!(mask == 0 || !plan.waiting.is_empty() || plan.is_converged());
    }

    /// Same input, same plan.
    #[test]
    fn the_plan_is_a_function_of_its_input(mask in 0u16..(1 << 15), fresh in any::<bool>()) {
        let mut case = if fresh { Case::new_client() } else { Case::converged() };
        blinded(mask, &mut case);
        prop_assert_eq!(case.plan().to_string(), case.plan().to_string());
    }
}

/// B27. Our order is open, and meanwhile somebody made a database of that name and wrote about it.
#[test]
fn a_database_with_words_of_somebody_else_is_not_what_we_asked_for() {
    let mut case = Case::new_client();
    case.ask_for(ResourceKind::Database, "client_acme", at(0));
    let Reading::Known(catalog) = &mut case.observed.catalog else { panic!("a catalog") };
    catalog.databases = vec![row(None)];
    assert!(case.actions().contains(&"~ Database postgres/client_acme (16400)".to_owned()), "{:?}", case.actions());
    let Reading::Known(catalog) = &mut case.observed.catalog else { panic!("a catalog") };
    catalog.databases = vec![row(Some("the shop of somebody else".into()))];
    assert!(!case.actions().iter().any(|a| a.contains("Database")), "{:?}", case.actions());
    assert!(case.lines().iter().any(|l| l.contains("[Conflict]")), "{:?}", case.lines());
}

/// B31. A person copied a record of ours with its comment to a name of his own, and to one of ours.
#[test]
fn a_record_with_a_copied_mark_is_told_and_left() {
    use sitewright::resource::record::{Record, RecordType, Ttl};
    let of_others = Record::new("panel.agency.example", RecordType::A, "198.51.100.7", Ttl::Auto, false, None);
    let beside = Record::new("acme.agency.example", RecordType::TXT, "verification=1", Ttl::Auto, false, None);
    let mut case = Case::converged();
    let Reading::Known(records) = &mut case.observed.records else { panic!("records") };
    records.push(live("r8", Some(mark()), of_others));
    records.push(live("r9", Some(mark()), beside));
    case.absorb();
    assert!(case.actions().is_empty(), "{:?}", case.actions());
    let told = case.plan().settled.into_iter().find(|settled| settled.reason == "MarkCopied").expect("it is told");
    assert!(told.message.contains("A panel.agency.example 198.51.100.7 (id r8)"), "{}", told.message);
    assert!(told.message.contains("(id r9) carries our mark and we did not make it"), "{}", told.message);
    // Nor does it go with the client, and it holds nobody up.
    case.owned.removal = Some(sitewright::resource::removal::Removal::begun(
        at(-60 * 24 * 30),
        sitewright::resource::removal::ReclaimPolicy::Retain,
    ));
    case.absorb();
    assert_eq!(case.actions(), ["- Record cloudflare/A acme.agency.example (r1)"]);
    let Reading::Known(records) = &mut case.observed.records else { panic!("records") };
    records.retain(|(_, live)| live.id.as_str() != "r1");
    case.owned.resources.retain(|known| known.id.as_str() != "r1");
    case.absorb();
    assert!(case.owned.removal.as_ref().is_some_and(|removal| removal.records_gone_at.is_some()));
}

/// B31. What we asked for and got no answer about is ours when it shows, also where nobody wants it any more.
#[test]
fn a_record_that_we_asked_for_is_ours_although_its_answer_was_lost() {
    use sitewright::resource::record::{Record, RecordType, Ttl};
    let asked_for = Record::new("acme.agency.example", RecordType::TXT, "old text", Ttl::Auto, false, None);
    let mut case = Case::converged();
    let (zone, shown) = live("r7", Some(mark()), asked_for);
    case.ask_for(ResourceKind::Record, &sitewright::plan::dns::key_text(&zone, &shown.value), at(0));
    let Reading::Known(records) = &mut case.observed.records else { panic!("records") };
    records.push((zone, shown));
    case.absorb();
    assert!(case.owned.intents.is_empty());
    assert_eq!(case.actions(), ["- Record cloudflare/TXT acme.agency.example (r7)"]);
}

/// B41.
#[test]
fn a_site_of_ours_under_another_domain_is_left_alone() {
    let mut case = Case::converged();
    let mut renamed = site(SiteStatus::Active);
    renamed.value.domain = crate::case::host("other.agency.example");
    case.observed.site = Reading::Known(Some(renamed));
    case.observed.script = Reading::Known(None);
    assert!(!case.actions().iter().any(|a| a.contains("ploi")), "{:?}", case.actions());
    assert!(case.lines().iter().any(|l| l.contains("[OwnershipLost]") && l.contains("other.agency.example")));
}

/// B33. The zone of a record of ours is not shown any more: the record is remembered, and what it leads to stands.
#[test]
fn a_zone_that_is_not_seen_any_more_is_no_witness_that_its_records_are_gone() {
    let mut case = Case::converged();
    case.owned.removal = Some(sitewright::resource::removal::Removal::begun(
        at(-60 * 24 * 30),
        sitewright::resource::removal::ReclaimPolicy::Delete,
    ));
    case.observed.zones = Reading::Known(vec![]);
    case.observed.records = Reading::Known(vec![]);
    case.absorb();
    assert!(case.owned.first(ResourceKind::Record).is_some(), "it is not forgotten");
    assert!(case.owned.removal.as_ref().is_some_and(|removal| removal.records_gone_at.is_none()));
    assert!(case.actions().is_empty(), "{:?}", case.actions());
    assert!(case.lines().iter().any(|l| l.contains("[ZoneNotFound]") && l.contains("sitewright forget acme")));
}

/// D7. The state is lost, and the site under our domain carries no mark: it may still come in with the password it knows.
#[test]
fn a_login_keeps_its_password_while_the_site_that_uses_it_is_not_ours() {
    let mut case = Case::converged();
    case.owned.resources.clear();
    let Reading::Known(seen) = &mut case.observed.environment else { panic!("a reading") };
    seen.mark = None;
    assert!(!case.actions().iter().any(|a| a.contains("Role")), "{:?}", case.actions());
    case.observed.site = Reading::Known(None);
    assert!(case.actions().contains(&"~ Role postgres/client_acme_a".to_owned()), "{:?}", case.actions());
}
