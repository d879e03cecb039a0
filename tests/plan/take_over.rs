//! Differences that are accepted when a client is taken over, and what ends them.

use sitewright::plan::change::{AS_FOUND, Op, Step};
use sitewright::resource::desired::DesiredState;
use sitewright::resource::kind::ResourceKind;
use sitewright::resource::name::Commit;
use sitewright::resource::owned::{AdministratorState, EnvironmentSeen, MarkState, OwnedResource};
use sitewright::resource::reading::{Reading, Wanted};
use sitewright::resource::record::Ttl;
use sitewright::resource::release::Released;
use sitewright::resource::removal::{ReclaimPolicy, Removal};
use sitewright::resource::site::SiteStatus;
use sitewright::resource::take_over::{FOUND_RELEASE, TakeOver};

use crate::case::{Case, a_record, at, digest, fingerprint, live, row, site, txt_record};

/// A serving client of another system, before its first look.
fn found() -> Case {
    let mut case = Case::converged();
    case.owned.resources.clear();
    case.owned.releases.live = None;
    case.owned.administrator = AdministratorState::AlreadyThere;
    case.owned.details.process = None;
    case.owned.take_over = Some(TakeOver::default());
    case.desired.adopt = ["71", "r1", "r2", "client_acme"].map(str::to_owned).into();
    case.observed.environment =
        Reading::Known(EnvironmentSeen { digest: Some(digest("theirs")), ..EnvironmentSeen::default() });
    case.observed.script = Reading::Known(Some(digest("their script")));
    case.observed.records = Reading::Known(vec![live("r1", None, a_record()), live("r2", None, txt_record())]);
    if let Reading::Known(catalog) = &mut case.observed.catalog {
        catalog.databases = vec![row(None)];
        catalog.roles.clear();
    }
    case
}

/// Carries out what only changes our memory, pass after pass; nothing else may be planned.
fn take_over(case: &mut Case) {
    for _ in 0..5 {
        let plan = case.plan();
        if plan.actions.is_empty() {
            return;
        }
        for action in plan.actions {
            assert_eq!(action.op, Op::Adopt, "{action:?}");
            match action.step {
                Step::Adopt { id, mark } => case.owned.resources.push(OwnedResource {
                    kind: action.resource.kind,
                    provider: action.resource.provider,
                    name: action.resource.name,
                    id,
                    mark,
                    since: at(-1000),
                }),
                Step::Accept { resource, difference } => {
                    let take_over = case.owned.take_over.as_mut().expect("a taking over");
                    take_over.accepted.insert(resource, difference);
                }
                Step::KeepRelease(fingerprint) => {
                    case.owned.releases.live = Some(Released {
                        number: FOUND_RELEASE,
                        fingerprint,
                        started_at: case.now,
                        finished_at: case.now,
                    });
                    case.owned.take_over.as_mut().expect("a taking over").is_settled = true;
                }
                step => panic!("{step:?}"),
            }
        }
    }
    panic!("the first look does not end: {}", case.plan());
}

fn taken() -> Case {
    let mut case = found();
    take_over(&mut case);
    case
}

#[test]
fn the_first_look_writes_nothing_and_ends_converged_with_what_differs_said() {
    let case = taken();
    let plan = case.plan();
    assert!(plan.is_converged(), "{plan}");
    let left: Vec<ResourceKind> =
        plan.settled.iter().filter(|settled| settled.reason == AS_FOUND).map(|settled| settled.kind).collect();
    for kind in [ResourceKind::Environment, ResourceKind::DeployScript, ResourceKind::Database, ResourceKind::Record] {
        assert!(left.contains(&kind), "{kind}: {plan}");
    }
    let release = plan.settled.iter().find(|settled| settled.kind == ResourceKind::Release).expect("a release");
    assert!(release.message.contains("the deploy script is another one"), "{}", release.message);
    assert!(plan.to_string().contains("≈ Environment"), "{plan}");
}

#[test]
fn the_first_look_waits_for_what_cannot_be_seen() {
    let mut case = found();
    case.observed.script = Reading::unknown("no answer");
    take_over(&mut case);
    assert!(!case.owned.take_over.as_ref().expect("a taking over").is_settled);
    case.observed.script = Reading::Known(Some(digest("their script")));
    take_over(&mut case);
    assert!(case.plan().is_converged());
}

#[test]
fn the_first_look_waits_for_a_deploy_of_others_to_end() {
    let mut case = found();
    case.observed.site = Reading::Known(Some(site(SiteStatus::Deploying)));
    take_over(&mut case);
    assert!(!case.owned.take_over.as_ref().expect("a taking over").is_settled);
    case.observed.site = Reading::Known(Some(site(SiteStatus::Active)));
    take_over(&mut case);
    assert!(case.plan().is_converged(), "{}", case.plan());
}

#[test]
fn no_repository_is_put_into_a_directory_that_serves() {
    let mut case = found();
    case.observed.repository = Reading::Known(None);
    take_over(&mut case);
    assert!(case.plan().is_converged(), "{}", case.plan());
    case.owned.releases.requested += 1;
    assert_eq!(case.actions(), Vec::<String>::new());
    assert!(case.lines().iter().any(|line| line.contains("[RepositoryMissing]")), "{}", case.plan());
}

#[test]
fn another_wish_for_one_record_is_one_record_with_its_mark() {
    let mut case = taken();
    case.dns_wanted().ttl = Ttl::Seconds(900);
    assert_eq!(case.actions(), ["~ Record cloudflare/A acme.agency.example (r1)"]);
}

#[test]
fn another_environment_makes_the_installation_ours_and_no_record() {
    let mut case = taken();
    if let Wanted::Value(environment) = &mut case.site_wanted().environment {
        environment.digest = digest("another");
    }
    let actions = case.actions();
    for part in ["~ Environment", "~ DeployScript"] {
        assert!(actions.iter().any(|action| action.starts_with(part)), "{part}: {actions:?}");
    }
    assert!(!actions.iter().any(|action| action.contains("Record") || action.contains("Database")), "{actions:?}");
}

#[test]
fn neither_a_push_nor_another_version_of_our_script_is_a_reason_to_write() {
    let mut case = taken();
    case.site_wanted().commit = Some(Commit::trusted("2222222222222222222222222222222222222222"));
    case.site_wanted().script_digest = digest("a newer script");
    assert_eq!(case.actions(), Vec::<String>::new());
    case.site_wanted().pinned = true;
    assert!(case.actions().iter().any(|action| action.starts_with("~ Environment")), "{}", case.plan());
}

#[test]
fn a_deploy_that_a_person_asks_for_and_a_change_by_somebody_else_end_it_as_well() {
    let mut asked = taken();
    asked.owned.releases.requested += 1;
    let mut changed = taken();
    changed.observed.environment =
        Reading::Known(EnvironmentSeen { digest: Some(digest("theirs, edited")), ..EnvironmentSeen::default() });
    for case in [asked, changed] {
        assert!(case.actions().iter().any(|action| action.starts_with("~ Environment")), "{}", case.plan());
    }
}

#[test]
fn an_environment_that_cannot_be_read_is_no_change() {
    let mut case = taken();
    case.observed.environment = Reading::unknown("no answer");
    assert_eq!(case.actions(), Vec::<String>::new());
}

#[test]
fn a_database_that_was_taken_over_and_is_gone_is_not_made_anew() {
    for settled in [false, true] {
        let mut case = if settled { taken() } else { found() };
        if let Reading::Known(catalog) = &mut case.observed.catalog {
            catalog.databases.clear();
        }
        let lines = case.lines();
        assert!(lines.iter().any(|line| line.contains("[DatabaseVanished]")), "{lines:?}");
        assert!(!case.actions().iter().any(|action| action.contains("Database")), "{lines:?}");
    }
}

#[test]
fn a_stranger_among_what_is_taken_over_holds_the_rest_up() {
    let mut case = found();
    case.desired.adopt.remove("client_acme");
    take_over(&mut case);
    assert!(case.lines().iter().any(|line| line.contains("[Conflict]")), "{}", case.plan());
    assert!(!case.owned.take_over.as_ref().expect("a taking over").is_settled);
}

#[test]
fn what_was_never_written_goes_by_its_id_and_its_database_stays() {
    for reclaim in [ReclaimPolicy::Retain, ReclaimPolicy::Delete] {
        let mut case = taken();
        case.desired.state = DesiredState::Active;
        case.owned.removal = Some(Removal::begun(at(-60 * 24 * 8), reclaim));
        assert_eq!(case.actions(), ["- Record cloudflare/A acme.agency.example (r1)"]);
        // A record of the same name that is not the one that was named stays.
        case.observed.records = Reading::Known(vec![live("r9", None, a_record()), live("r2", None, txt_record())]);
        case.absorb();
        case.owned.removal.as_mut().expect("a removal").records_gone_at = Some(at(-60 * 24 * 8));
        case.observed.site = Reading::Known(Some(site(SiteStatus::Suspended)));
        let actions = case.actions();
        assert!(!actions.iter().any(|action| action.contains("r9")), "{actions:?}");
        assert!(actions.iter().any(|action| action.contains("r2")), "{actions:?}");
        case.owned.removal.as_mut().expect("a removal").site_gone_at = Some(at(-10));
        case.observed.records = Reading::Known(vec![]);
        case.observed.site = Reading::Known(None);
        assert_eq!(case.actions(), Vec::<String>::new());
        assert_eq!(case.plan().is_converged(), reclaim == ReclaimPolicy::Retain, "{}", case.plan());
    }
}

#[test]
fn a_release_of_ours_needs_no_taking_over_any_more() {
    let mut case = taken();
    case.owned.releases.live =
        Some(Released { number: 1, fingerprint: fingerprint(), started_at: at(-10), finished_at: at(-9) });
    assert!(case.actions().iter().any(|action| action.starts_with("~ Environment")), "{}", case.plan());
    let known = case.owned.resource(ResourceKind::Site, "acme.agency.example").expect("the site");
    assert_eq!(known.mark, MarkState::Pending);
}
