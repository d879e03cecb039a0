//! Taking a client down: the order that loses nothing.

use sitewright::plan::removal::{DropEvidence, may_drop};
use sitewright::resource::database::DatabaseState;
use sitewright::resource::kind::ResourceKind;
use sitewright::resource::name::RemoteId;
use sitewright::resource::owned::{ProcessState, Run};
use sitewright::resource::reading::{Reading, Seen, Wanted};
use sitewright::resource::removal::{Backup, ReclaimPolicy, Removal};
use sitewright::resource::site::{Purpose, SiteStatus};

use crate::case::{Case, a_record, at, database_comment, live, mark, row, site, txt_record};

const DAY: i64 = 24 * 60;

fn going(reclaim: ReclaimPolicy) -> Case {
    let mut case = Case::converged();
    let mut removal = Removal::begun(at(0), reclaim);
    removal.ttl_seconds = 300;
    case.owned.removal = Some(removal);
    case
}

fn removal(case: &mut Case) -> &mut Removal {
    case.owned.removal.as_mut().expect("a removal")
}

fn offline(reclaim: ReclaimPolicy) -> Case {
    let mut case = going(reclaim);
    removal(&mut case).records_gone_at = Some(at(0));
    case.observed.records = Reading::Known(vec![live("r2", Some(mark()), txt_record())]);
    case.now = at(10);
    case
}

fn gone(reclaim: ReclaimPolicy) -> Case {
    let mut case = offline(reclaim);
    case.now = at(8 * DAY);
    removal(&mut case).site_gone_at = Some(at(7 * DAY));
    case.observed.site = Reading::Known(None);
    case.observed.records = Reading::Known(vec![]);
    case.owned.resources.retain(|r| !matches!(r.kind, ResourceKind::Site));
    case
}

#[test]
fn addresses_go_first_and_mail_stays() {
    assert_eq!(going(ReclaimPolicy::Retain).actions(), ["- Record cloudflare/A acme.agency.example (r1)"]);
}

/// G9.
#[test]
fn the_site_is_suspended_only_after_the_time_to_live() {
    let mut case = offline(ReclaimPolicy::Retain);
    case.now = at(2);
    assert!(case.actions().is_empty());
    case.now = at(10);
    assert_eq!(case.actions(), ["~ Site ploi/acme.agency.example (71)"]);
    case.observed.site = Reading::Known(Some(site(SiteStatus::Suspended)));
    assert_eq!(case.actions(), ["$ Process ploi/acme"]);
}

#[test]
fn a_client_whose_records_are_made_by_somebody_else_goes_offline_too() {
    let mut case = going(ReclaimPolicy::Retain);
    case.desired.dns = Wanted::Value(None);
    case.observed.records = Reading::unknown("no DNS is managed");
    case.owned.resources.retain(|known| known.kind != ResourceKind::Record);
    case.now = at(10);
    case.absorb();
    assert_eq!(case.actions(), ["~ Site ploi/acme.agency.example (71)"]);
}

/// A deploy that failed, was cut off or never told of its end may have left a process behind all the same.
#[test]
fn a_process_that_nobody_saw_is_ended_once_a_deploy_was_asked_for() {
    let mut case = offline(ReclaimPolicy::Retain);
    case.observed.site = Reading::Known(Some(site(SiteStatus::Suspended)));
    case.owned.details.process = None;
    case.owned.releases.next_number = 2;
    assert_eq!(case.actions(), ["$ Process ploi/acme"]);
    case.owned.releases.next_number = 1;
    assert!(case.actions().is_empty(), "nothing was ever started: {:?}", case.actions());
}

#[test]
fn nothing_else_goes_within_the_grace() {
    let mut case = offline(ReclaimPolicy::Delete);
    case.observed.site = Reading::Known(Some(site(SiteStatus::Suspended)));
    case.owned.details.process = Some(Seen { value: ProcessState::Stopped, at: at(1) });
    case.now = at(7 * DAY - 1);
    assert!(case.actions().is_empty());
    assert!(case.lines().iter().any(|l| l.contains("put the file back to undo")));
}

#[test]
fn after_the_grace_mail_process_certificate_and_site_go_in_this_order() {
    let mut case = offline(ReclaimPolicy::Delete);
    case.observed.site = Reading::Known(Some(site(SiteStatus::Suspended)));
    case.owned.details.process = Some(Seen { value: ProcessState::Stopped, at: at(1) });
    case.now = at(7 * DAY + 1);
    assert_eq!(case.actions(), ["- Record cloudflare/TXT acme.agency.example (r2)", "$ Process ploi/acme"]);
    case.observed.records = Reading::Known(vec![]);
    case.owned.details.process = Some(Seen { value: ProcessState::Gone, at: at(1) });
    let actions = case.actions();
    assert_eq!(actions, ["- Certificate ploi/acme.agency.example (c1)", "- Site ploi/acme.agency.example (71)"]);
}

#[test]
fn a_retained_database_is_closed_and_kept() {
    let mut case = gone(ReclaimPolicy::Retain);
    assert_eq!(case.actions(), ["~ Database postgres/client_acme (16400)"]);
    let Reading::Known(catalog) = &mut case.observed.catalog else { panic!("a catalog") };
    catalog.databases[0].comment = Some(database_comment(DatabaseState::Retained));
    catalog.roles[1].login = false;
    assert!(case.plan().is_converged());
    case.now = at(4000 * DAY);
    assert!(case.plan().is_converged(), "time alone never drops it");
}

#[test]
fn a_database_is_dropped_after_login_grace_and_backup_in_this_order() {
    let mut case = gone(ReclaimPolicy::Delete);
    assert_eq!(case.plan().actions[0].reason, "the site is gone, its login is closed");
    let Reading::Known(catalog) = &mut case.observed.catalog else { panic!("a catalog") };
    catalog.roles[1].login = false;
    assert!(case.actions().is_empty(), "its own grace runs");
    case.now = at(14 * DAY + 1);
    assert_eq!(case.plan().actions[0].reason, "a verified backup comes before the drop");
    removal(&mut case).backup = Some(backup());
    assert_eq!(case.actions(), ["- Database postgres/client_acme (16400)"]);
    let Reading::Known(catalog) = &mut case.observed.catalog else { panic!("a catalog") };
    catalog.databases[0].sessions = 1;
    assert!(case.actions().is_empty(), "somebody is connected");
}

fn backup() -> Backup {
    Backup { file: "client_acme.dump".into(), sha256: "00".into(), bytes: 1, verified_at: at(14 * DAY), oid: 16_400 }
}

#[test]
fn a_site_that_is_not_ours_any_more_is_left_alone() {
    let mut case = offline(ReclaimPolicy::Delete);
    case.now = at(8 * DAY);
    let mut other = site(SiteStatus::Active);
    other.id = sitewright::resource::name::RemoteId::trusted("99");
    case.observed.site = Reading::Known(Some(other));
    assert!(!case.actions().iter().any(|a| a.contains("Site") || a.contains("Process")), "{:?}", case.actions());
}

#[test]
fn records_of_others_stay_when_a_client_goes() {
    let mut case = going(ReclaimPolicy::Delete);
    case.observed.records = Reading::Known(vec![live("r9", None, a_record())]);
    assert!(case.actions().is_empty() || !case.actions()[0].contains("r9"));
}

#[test]
fn may_drop_needs_every_single_piece_of_its_evidence() {
    let removal = Removal { site_gone_at: Some(at(0)), ..Removal::begun(at(0), ReclaimPolicy::Delete) };
    let retained = Removal::begun(at(0), ReclaimPolicy::Retain);
    let ours = row(Some(database_comment(DatabaseState::Ready)));
    let mut busy = ours.clone();
    busy.sessions = 1;
    let foreign = row(None);
    let mark = mark();
    let backup = backup();
    let mut other = backup.clone();
    other.oid = 1;
    let mut old = backup.clone();
    old.verified_at = at(12 * DAY);
    let good = || DropEvidence {
        removal: &removal,
        row: &ours,
        mark: &mark,
        backup: &backup,
        now: at(14 * DAY),
        grace_over_at: at(14 * DAY),
        site_is_gone: true,
    };
    assert_eq!(may_drop(&good()), Ok(()));
    let spoilt = [
        DropEvidence { removal: &retained, ..good() },
        DropEvidence { row: &busy, ..good() },
        DropEvidence { row: &foreign, ..good() },
        DropEvidence { backup: &other, ..good() },
        DropEvidence { backup: &old, ..good() },
        DropEvidence { now: at(14 * DAY - 1), ..good() },
        DropEvidence { site_is_gone: false, ..good() },
    ];
    for evidence in &spoilt {
        assert!(may_drop(evidence).is_err());
    }
}

#[test]
fn mail_records_go_as_well_when_somebody_removed_the_site_before_us() {
    let mut case = offline(ReclaimPolicy::Retain);
    case.now = at(8 * DAY);
    case.observed.site = Reading::Known(None);
    assert!(
        case.actions().contains(&"- Record cloudflare/TXT acme.agency.example (r2)".to_owned()),
        "{:?}",
        case.actions()
    );
}

#[test]
fn mail_records_stay_through_the_grace_although_somebody_removed_the_site() {
    let mut case = offline(ReclaimPolicy::Retain);
    removal(&mut case).site_gone_at = Some(at(5));
    case.observed.site = Reading::Known(None);
    case.owned.resources.retain(|known| known.kind != ResourceKind::Site);
    case.now = at(7 * DAY - 1);
    assert!(case.actions().is_empty(), "{:?}", case.actions());
    case.now = at(7 * DAY + 1);
    assert_eq!(case.actions(), ["- Record cloudflare/TXT acme.agency.example (r2)"]);
}

/// The file comes back after the grace, before the site went: the process is deleted already, or nobody saw it end.
#[test]
fn a_process_that_may_have_ended_is_started_when_the_file_is_back() {
    for ended in [ProcessState::Stopped, ProcessState::Gone, ProcessState::Ending] {
        let mut case = Case::converged();
        case.owned.details.process = Some(Seen { value: ended, at: at(-1) });
        assert_eq!(case.actions(), ["$ Process ploi/acme"], "{ended:?}");
        case.owned.runs.insert(Purpose::DeleteProcess, Run { id: RemoteId::trusted("7"), started_at: at(-1) });
        assert!(case.actions().is_empty(), "{ended:?}: it would race with the script that ends it");
    }
}

#[test]
fn caches_are_waited_out_also_where_somebody_else_removed_the_address() {
    let mut case = offline(ReclaimPolicy::Retain);
    removal(&mut case).ttl_seconds = 0;
    case.now = at(4);
    assert!(case.actions().is_empty(), "{:?}", case.actions());
    case.now = at(5);
    assert_eq!(case.actions(), ["~ Site ploi/acme.agency.example (71)"]);
}

/// B26. The host took the deletion and shows the site for a while yet.
#[test]
fn a_site_that_is_on_its_way_out_is_waited_for_and_not_deleted_again() {
    let mut case = offline(ReclaimPolicy::Delete);
    case.now = at(8 * DAY);
    case.observed.records = Reading::Known(vec![]);
    case.owned.details.process = Some(Seen { value: ProcessState::Gone, at: at(1) });
    case.observed.site = Reading::Known(Some(site(SiteStatus::Deleting)));
    case.absorb();
    assert!(case.actions().is_empty(), "{:?}", case.actions());
    assert!(!case.plan().is_converged());
    case.observed.site = Reading::Known(None);
    assert_eq!(case.absorb(), ["SiteGone"]);
}
