//! A change of one thing leads to that one thing.

use std::sync::Arc;

use sitewright::plan::draft::later;
use sitewright::resource::kind::ResourceKind;
use sitewright::resource::name::Commit;
use sitewright::resource::owned::{Attempt, READ_BACK};
use sitewright::resource::reading::{Reading, Wanted};
use sitewright::resource::record::{Record, RecordType, Ttl};
use sitewright::resource::release::FailedDeploy;
use sitewright::resource::site::SiteStatus;

use crate::case::{Case, a_record, at, digest, fingerprint, host, live, mark, site, txt_record};

#[test]
fn one_environment_value_is_one_write_then_one_deploy() {
    let mut case = Case::converged();
    let Wanted::Value(environment) = &mut case.site_wanted().environment else { panic!("an environment") };
    environment.digest = digest("other environment");
    Arc::make_mut(&mut environment.digests).insert("SMTP_HOST".into(), digest("other.example.net"));
    assert_eq!(case.actions(), ["~ Environment ploi/acme.agency.example"]);
    assert_eq!(case.plan().actions[0].changes[0].path, "env.SMTP_HOST");
    assert_eq!(case.plan().actions[0].changes[0].to.as_deref(), Some("(secret, changed)"));
    let Reading::Known(seen) = &mut case.observed.environment else { panic!("a reading") };
    seen.digest = Some(digest("other environment"));
    assert_eq!(case.actions(), ["^ Release ploi/acme.agency.example"]);
}

#[test]
fn a_virtual_host_that_leaves_a_served_alias_out_is_mended() {
    let mut case = Case::converged();
    case.site_wanted().aliases.insert(host("www.acme.example"));
    case.observed.aliases = Reading::Known([host("www.acme.example")].into());
    assert_eq!(case.actions(), ["~ VirtualHost ploi/acme.agency.example"]);
    let Reading::Known(vhost) = &mut case.observed.vhost else { panic!("a reading") };
    vhost.names.insert("www.acme.example".into());
    assert!(case.actions().is_empty());
}

#[test]
fn the_server_is_looked_at_before_a_build_and_not_in_between() {
    let mut case = Case::converged();
    case.observed.server_check = Reading::Known(None);
    assert!(case.actions().is_empty(), "nothing is to be built");
    case.site_wanted().commit = Some(Commit::trusted("2222222222222222222222222222222222222222"));
    assert_eq!(case.actions(), ["$ Site ploi/server 1"]);
}

#[test]
fn one_record_is_one_record_call() {
    let mut case = Case::converged();
    case.dns_wanted().ttl = Ttl::Seconds(120);
    assert_eq!(case.actions(), ["~ Record cloudflare/A acme.agency.example (r1)"]);
}

#[test]
fn a_record_that_left_the_spec_goes_and_a_new_one_comes() {
    let mut case = Case::converged();
    let other = Record::new(
        "acme.agency.example",
        RecordType::TXT,
        "v=spf1 include:spf.example.net -all",
        Ttl::Auto,
        false,
        None,
    );
    let records = &mut case.dns_wanted().records;
    records.remove(&txt_record());
    records.insert(other);
    assert_eq!(
        case.actions(),
        ["+ Record cloudflare/TXT acme.agency.example", "- Record cloudflare/TXT acme.agency.example (r2)"]
    );
}

#[test]
fn a_new_head_is_one_deploy_and_an_unseen_one_is_none() {
    let mut case = Case::converged();
    case.site_wanted().commit = Some(Commit::trusted("2222222222222222222222222222222222222222"));
    assert_eq!(case.actions(), ["^ Release ploi/acme.agency.example"]);
    case.policy.follow_head = false;
    assert!(case.actions().is_empty(), "nobody follows the head");
    case.policy.follow_head = true;
    case.site_wanted().commit = None;
    assert!(case.actions().is_empty(), "not seen is not changed");
}

#[test]
fn the_branch_is_a_deploy_and_never_touches_the_repository() {
    let mut case = Case::converged();
    case.site_wanted().branch = "next".into();
    case.site_wanted().script_digest = digest("script for next");
    assert_eq!(case.actions(), ["~ DeployScript ploi/acme.agency.example"]);
    case.observed.script = Reading::Known(Some(digest("script for next")));
    assert_eq!(case.actions(), ["^ Release ploi/acme.agency.example"]);
}

#[test]
fn a_failed_release_waits_longer_each_time_and_another_commit_starts_afresh() {
    let mut case = Case::converged();
    case.site_wanted().commit = Some(Commit::trusted("2222222222222222222222222222222222222222"));
    let failed =
        sitewright::resource::release::Fingerprint { commit: case.site_wanted().commit.clone(), ..fingerprint() };
    case.owned.releases.failed = Some(FailedDeploy {
        number: 2,
        fingerprint: failed,
        at: at(-6),
        reason: "BuildFailed".into(),
        excerpt: String::new(),
        failures: 1,
    });
    assert_eq!(case.actions(), ["^ Release ploi/acme.agency.example"], "five minutes are over");
    if let Some(failed) = case.owned.releases.failed.as_mut() {
        failed.failures = 3;
    }
    assert!(case.actions().is_empty(), "twenty minutes are not");
    case.site_wanted().commit = Some(Commit::trusted("3333333333333333333333333333333333333333"));
    assert_eq!(case.actions(), ["^ Release ploi/acme.agency.example"]);
}

#[test]
fn nothing_is_written_while_the_host_deploys() {
    let mut case = Case::converged();
    case.observed.site = Reading::Known(Some(site(SiteStatus::Deploying)));
    case.observed.script = Reading::Known(None);
    case.observed.certificates = Reading::Known(vec![]);
    assert!(case.actions().is_empty(), "{:?}", case.actions());
}

#[test]
fn a_proxied_site_is_unproxied_until_its_certificate_was_seen() {
    let mut case = Case::converged();
    case.dns_wanted().proxied = true;
    assert_eq!(case.actions(), ["~ Record cloudflare/A acme.agency.example (r1)"], "one call switches it");
    case.observed.certificates = Reading::Known(vec![]);
    assert!(!case.actions().iter().any(|a| a.contains("Record")));
}

#[test]
fn a_suspended_client_is_suspended_then_its_process_stops_and_changes_wait() {
    let mut case = Case::converged();
    case.desired.state = sitewright::resource::desired::DesiredState::Suspended;
    case.site_wanted().script_digest = digest("another script");
    assert_eq!(case.actions(), ["~ Site ploi/acme.agency.example (71)"]);
    case.observed.site = Reading::Known(Some(site(SiteStatus::Suspended)));
    assert_eq!(case.actions(), ["$ Process ploi/acme"]);
}

#[test]
fn an_alias_that_points_elsewhere_is_told_with_the_record_to_make_and_blocks_nobody() {
    let mut case = Case::converged();
    case.site_wanted().aliases.insert(host("www.acme.example"));
    case.observed.aliases = Reading::Known([host("www.acme.example")].into());
    let Reading::Known(vhost) = &mut case.observed.vhost else { panic!("a reading") };
    vhost.names.insert("www.acme.example".into());
    let plan = case.plan();
    assert!(plan.is_converged(), "{plan}");
    assert!(plan.settled.iter().any(|s| s.message.contains("www.acme.example A 192.0.2.10")));
}

#[test]
fn a_resumed_client_gets_its_process_back_without_a_deploy() {
    let mut case = Case::converged();
    case.owned.details.process = Some(sitewright::resource::reading::Seen {
        value: sitewright::resource::owned::ProcessState::Stopped,
        at: at(-1),
    });
    case.observed.site = Reading::Known(Some(site(SiteStatus::Suspended)));
    assert_eq!(case.actions(), ["~ Site ploi/acme.agency.example (71)"]);
    case.observed.site = Reading::Known(Some(site(SiteStatus::Active)));
    assert_eq!(case.actions(), ["$ Process ploi/acme"]);
}

#[test]
fn another_port_is_switched_to_only_when_a_release_listens_there() {
    let mut case = Case::converged();
    case.site_wanted().port = 4002;
    let Wanted::Value(environment) = &mut case.site_wanted().environment else { panic!("an environment") };
    environment.digest = digest("environment with the new port");
    assert_eq!(
        case.actions(),
        ["~ Environment ploi/acme.agency.example"],
        "the virtual host stays where the old release listens"
    );
    let Reading::Known(seen) = &mut case.observed.environment else { panic!("a reading") };
    seen.digest = Some(digest("environment with the new port"));
    assert_eq!(case.actions(), ["^ Release ploi/acme.agency.example"]);
    if let Some(live) = case.owned.releases.live.as_mut() {
        live.fingerprint.environment = digest("environment with the new port");
    }
    assert_eq!(case.actions(), ["~ VirtualHost ploi/acme.agency.example"]);
}

#[test]
fn a_certificate_that_ends_soon_is_renewed_while_it_still_counts() {
    let mut case = Case::converged();
    case.now = at(60 * 24 * 60);
    let plan = case.plan();
    assert_eq!(case.actions(), ["~ Certificate ploi/acme.agency.example"]);
    assert!(plan.settled.iter().any(|s| s.reason == "Renewing"), "{plan}");
}

/// The provider's own check for identical records is not ours: the answer said that it is there.
#[test]
fn a_record_that_was_made_a_moment_ago_is_not_made_again_because_a_listing_lags() {
    let mut case = Case::converged();
    case.observed.records = Reading::Known(vec![live("r1", Some(mark()), a_record())]);
    let made = case.owned.resources.iter_mut().find(|known| known.id.as_str() == "r2").expect("the text record");
    made.since = at(0);
    assert!(case.actions().is_empty(), "{:?}", case.actions());
    assert!(case.lines().iter().any(|l| l.contains("[NotVisible]")), "{:?}", case.lines());
    case.now = at(1);
    assert_eq!(case.actions(), ["+ Record cloudflare/TXT acme.agency.example"]);
}

#[test]
fn what_was_written_and_is_not_shown_yet_is_looked_at_again_soon_and_written_again_late() {
    let mut case = Case::converged();
    case.observed.script = Reading::Known(None);
    let hold = Attempt {
        failures: 0,
        next_at: at(1),
        reason: READ_BACK.into(),
        message: "not shown yet".into(),
        permanent: false,
    };
    case.owned.attempts.insert(ResourceKind::DeployScript, hold);
    assert!(case.actions().is_empty(), "{:?}", case.actions());
    assert_eq!(case.plan().waiting[0].until, Some(later(at(0), case.policy.deploy_poll)));
    case.now = at(1);
    assert_eq!(case.actions(), ["+ DeployScript ploi/acme.agency.example"]);
}
