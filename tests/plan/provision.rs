//! From nothing to a live site, one look at a time.

use sitewright::resource::kind::ResourceKind;
use sitewright::resource::name::RemoteId;
use sitewright::resource::owned::{Attempt, MarkState, OwnedResource};
use sitewright::resource::reading::{Reading, Seen};
use sitewright::resource::site::{Repository, SiteStatus};
use sitewright::resource::vhost::VirtualHost;
use std::collections::BTreeSet;

use crate::case::{Case, at, host, site};

fn with_site(case: &mut Case) {
    case.observed.site = Reading::Known(Some(site(SiteStatus::Active)));
    case.owned.resources.push(OwnedResource {
        kind: ResourceKind::Site,
        provider: "ploi".into(),
        name: "acme.agency.example".into(),
        id: RemoteId::trusted("71"),
        mark: MarkState::Pending,
        since: at(-5),
    });
}

#[test]
fn a_converged_client_needs_nothing() {
    assert_eq!(Case::converged().plan().to_string(), "nothing to do\n");
}

#[test]
fn a_new_client_begins_with_database_and_site_side_by_side() {
    assert_eq!(
        Case::new_client().actions(),
        ["+ Database postgres/client_acme", "+ Role postgres/client_acme_a", "+ Site ploi/acme.agency.example"]
    );
}

/// Without its group role it would only fail, and say that ours is a stranger's.
#[test]
fn a_login_waits_while_its_database_is_held_back() {
    let mut case = Case::new_client();
    case.owned.attempts.insert(
        ResourceKind::Database,
        Attempt { failures: 1, next_at: at(1), reason: "AnswerLost".into(), message: "lost".into(), permanent: false },
    );
    assert_eq!(case.actions(), ["+ Site ploi/acme.agency.example"]);
}

/// B15.
#[test]
fn a_site_that_is_being_built_is_not_touched() {
    let mut case = Case::new_client();
    with_site(&mut case);
    case.observed.site = Reading::Known(Some(site(SiteStatus::Transitional("building".into()))));
    assert!(!case.actions().iter().any(|a| a.contains("ploi")), "{:?}", case.actions());
    assert!(case.lines().iter().any(|l| l.contains("the host says `building`")));
}

#[test]
fn the_placeholder_goes_before_the_repository_and_the_repository_before_the_environment() {
    let mut case = Case::new_client();
    with_site(&mut case);
    assert!(case.actions().contains(&"$ Placeholder ploi/acme.agency.example".to_owned()));
    assert!(!case.actions().iter().any(|a| a.contains("Repository") || a.contains("Environment")));
    case.owned.details.placeholder_cleared = Some(Seen { value: true, at: at(0) });
    assert!(case.actions().contains(&"+ Repository ploi/agency/cms".to_owned()));
    assert!(!case.actions().iter().any(|a| a.contains("Environment")), "a .env in the directory blocks the clone");
}

#[test]
fn environment_virtual_host_and_script_follow_the_repository_in_one_pass() {
    let mut case = Case::new_client();
    with_site(&mut case);
    case.observed.repository = Case::converged().observed.repository;
    let actions: Vec<String> = case.actions().into_iter().filter(|a| a.contains("ploi")).collect();
    assert_eq!(
        actions,
        [
            "+ Environment ploi/acme.agency.example",
            "~ VirtualHost ploi/acme.agency.example",
            "+ DeployScript ploi/acme.agency.example",
        ]
    );
}

#[test]
fn no_address_is_published_before_the_virtual_host_goes_to_the_clients_port() {
    let mut case = Case::new_client();
    with_site(&mut case);
    assert!(!case.actions().iter().any(|a| a.contains("Record")));
    case.observed.vhost = Case::converged().observed.vhost;
    assert!(!case.actions().iter().any(|a| a.contains("Record")), "written is not loaded");
    case.owned.details.vhost_loaded = true;
    assert!(case.actions().contains(&"+ Record cloudflare/A acme.agency.example".to_owned()));
    assert!(case.actions().contains(&"+ Record cloudflare/TXT acme.agency.example".to_owned()));
}

#[test]
fn every_proxy_pass_counts_not_only_one() {
    let mut case = Case::converged();
    case.observed.vhost = Reading::Known(VirtualHost {
        ports: BTreeSet::from([3000, 4001]),
        acme_roots: BTreeSet::from(["/home/ploi/acme.agency.example".to_owned()]),
        names: BTreeSet::from(["acme.agency.example".to_owned()]),
    });
    assert_eq!(case.actions(), ["~ VirtualHost ploi/acme.agency.example"]);
}

#[test]
fn a_rejected_virtual_host_is_taken_back_before_anything_can_reload_it() {
    let mut case = Case::converged();
    case.owned.details.vhost_loaded = false;
    case.owned.vhost_before = Some("server { }".into());
    case.owned.attempts.insert(
        ResourceKind::VirtualHost,
        sitewright::resource::owned::Attempt {
            failures: 1,
            next_at: at(5),
            reason: "VirtualHostRejected".into(),
            message: "nginx -t said no".into(),
            permanent: false,
        },
    );
    let plan = case.plan();
    assert_eq!(case.actions(), ["~ VirtualHost ploi/acme.agency.example"]);
    assert!(plan.actions[0].reason.contains("the old text goes back"));
    case.owned.vhost_before = None;
    assert!(case.actions().is_empty(), "and then it waits: {:?}", case.actions());
}

#[test]
fn the_release_waits_for_database_and_pieces_then_deploys_once() {
    let mut case = Case::converged();
    case.owned.releases.live = None;
    assert_eq!(case.actions(), ["^ Release ploi/acme.agency.example"]);
    case.observed.script = Reading::Known(None);
    assert_eq!(case.actions(), ["+ DeployScript ploi/acme.agency.example"]);
}

#[test]
fn builds_elsewhere_fill_the_slots() {
    let mut case = Case::converged();
    case.owned.releases.live = None;
    case.observed.builds_elsewhere = Reading::Known(["one.example", "two.example"].map(crate::case::host).into());
    assert!(case.actions().is_empty());
    assert!(case.lines().iter().any(|l| l.contains("2 builds run on server 1 and 2 may")));
}

#[test]
fn a_missing_tool_on_the_server_is_named_before_a_build() {
    let mut case = Case::converged();
    case.owned.releases.live = None;
    case.observed.server_check = Reading::Known(Some(sitewright::resource::owned::ServerCheck {
        missing: vec!["pm2 is not on the path".into()],
    }));
    assert!(case.actions().is_empty());
    assert!(case.lines().iter().any(|l| l.contains("pm2 is not on the path") && l.contains("ServerNotPrepared")));
}

#[test]
fn a_certificate_waits_for_the_name_servers_and_is_ordered_once() {
    let mut case = Case::converged();
    case.observed.certificates = Reading::Known(vec![]);
    assert_eq!(case.actions(), ["+ Certificate ploi/acme.agency.example"]);
    case.observed.published = Reading::unknown("not asked yet");
    assert!(case.actions().is_empty());
    case.observed = Case::converged().observed;
    case.observed.certificates = Reading::Known(vec![]);
    case.owned.order =
        Some(sitewright::resource::owned::CertificateOrder { names: BTreeSet::new(), at: at(0), id: None });
    assert!(case.actions().is_empty(), "an order under way is not sent again");
}

#[test]
fn a_site_whose_create_was_lost_is_looked_for_then_adopted_or_sent_again() {
    let mut case = Case::new_client();
    case.ask_for(ResourceKind::Site, "acme.agency.example", at(0));
    assert!(!case.actions().iter().any(|a| a.contains("Site")), "within the settle time nothing is sent");
    case.observed.site = Reading::Known(Some(site(SiteStatus::Active)));
    assert!(case.actions().contains(&"= Site ploi/acme.agency.example (71)".to_owned()));
    case.observed.site = Reading::Known(None);
    case.now = at(2);
    assert!(case.actions().contains(&"+ Site ploi/acme.agency.example".to_owned()));
}

#[test]
fn another_repository_is_installed_only_after_the_old_one_went() {
    let mut case = Case::converged();
    case.observed.repository = Reading::Known(Some(Repository {
        slug: sitewright::resource::name::RepositorySlug::trusted("agency/old"),
        branch: "main".into(),
    }));
    assert_eq!(case.actions(), ["- Repository ploi/agency/cms"]);
}

/// A run that a look shows ended is over in the very pass that sees it: running it again would be a second script.
#[test]
fn a_script_that_ended_well_is_not_started_again() {
    use sitewright::resource::owned::Run;
    use sitewright::resource::site::{Purpose, RunState};
    let mut case = Case::new_client();
    with_site(&mut case);
    case.owned.runs.insert(Purpose::ClearPlaceholder, Run { id: RemoteId::trusted("run"), started_at: at(-1) });
    case.observed
        .runs
        .insert(Purpose::ClearPlaceholder, Reading::Known(RunState::Finished { exit_code: 0, output: String::new() }));
    case.absorb();
    assert!(case.actions().contains(&"+ Repository ploi/agency/cms".to_owned()), "{:?}", case.actions());
    assert!(!case.actions().iter().any(|a| a.contains("Placeholder")));
}

#[test]
fn a_certificate_waits_for_an_alias_that_the_host_does_not_serve_yet_but_not_for_one_it_refuses() {
    let mut case = Case::converged();
    let alias = host("www.acme.agency.example");
    case.site_wanted().aliases = [alias.clone()].into();
    case.observed.aliases = Reading::Known([].into());
    case.observed.certificates = Reading::Known(vec![]);
    let Reading::Known(published) = &mut case.observed.published else { panic!("an answer") };
    let same = published.values().next().expect("the domain's").clone();
    published.insert(alias.clone(), same);
    assert_eq!(case.actions(), ["~ Alias ploi/acme.agency.example"], "an order over both would fail");
    case.owned.attempts.insert(
        ResourceKind::Alias,
        Attempt { failures: 1, next_at: at(60), reason: "Invalid".into(), message: "refused".into(), permanent: true },
    );
    assert_eq!(case.actions(), ["+ Certificate ploi/acme.agency.example"]);
}
