//! Every line of a deploy fails in turn, and after each failure the old release still answers on its port.

use crate::bench::{Bench, Site};
use crate::deploy::commit_migrations;

/// A bench whose site serves `v1`, with `v2` at the head of the branch.
fn serving() -> Option<(Bench, Site)> {
    let bench = Bench::new()?;
    let site = bench.site("shop");
    bench.release(&site, &[]);
    commit_migrations(&bench, "CREATE TABLE news");
    Some((bench, site))
}

/// The deploy fails for this reason, and nothing of it is left; the old release serves.
fn fails(bench: &Bench, site: &Site, what: &str, variables: &[(&str, &str)], reason: &str) {
    let outcome = bench.deploy(site, variables);
    assert_ne!(outcome.code, 0, "{what}: {}", outcome.output);
    assert_eq!(outcome.reason(), Some(reason), "{what}: {}", outcome.output);
    assert_eq!(site.page().as_deref(), Some("v1"), "{what}: the old release does not serve: {}", outcome.output);
    assert_eq!((site.releases(), site.current()), (vec!["1".to_owned()], "1".to_owned()), "{what}");
    let list = bench.pm2_list();
    assert_eq!((list.len(), list[0]["name"].as_str()), (1, Some("shop")), "{what}");
    // npm and its server, by their paths; a spare one would be more.
    let servers = bench.processes().into_iter().filter(|line| line.contains("server.js")).count();
    assert_eq!(servers, 1, "{what}: {:?}", bench.processes());
    bench.mend();
}

/// Nothing that failed stands in the way of the next deploy.
fn then_works(bench: &Bench, site: &Site) {
    bench.release(site, &[]);
    assert_eq!(site.page().as_deref(), Some("v2"));
}

#[test]
fn failures_before_the_build_change_nothing() {
    let Some((bench, site)) = serving() else { return };
    let gone = bench.path("gone");
    std::fs::rename(bench.remote(), &gone).unwrap();
    fails(&bench, &site, "fetch", &[], "RepositoryUnreachable");
    std::fs::rename(&gone, bench.remote()).unwrap();
    fails(&bench, &site, "branch", &[("SW_BRANCH", "nowhere")], "RepositoryUnreachable");
    fails(&bench, &site, "commit", &[("SW_COMMIT", "0123456789")], "CommitNotFound");
    for (name, value) in [
        ("SW_COMMIT", "$(touch /tmp/x)"),
        ("SW_COMMIT", "--all"),
        ("SW_BRANCH", "--upload-pack=x"),
        ("SW_BRANCH", "a..b"),
        ("SW_BRANCH", "a b"),
    ] {
        fails(&bench, &site, value, &[(name, value)], "RequestInvalid");
    }
    bench.git(&format!("git -C {} remote set-url origin https://git.example/agency/other.git", site.folder.display()));
    fails(&bench, &site, "another repository", &[], "RepositoryUnreachable");
    bench.git(&format!("git -C {} remote set-url origin {}", site.folder.display(), bench.remote().display()));
    for broken in ["PORT='unclosed", "A=1", "PORT='99999'", "PORT='$(id)'"] {
        std::fs::write(site.folder.join(".env"), broken).unwrap();
        fails(&bench, &site, broken, &[], "EnvironmentUnreadable");
    }
    std::fs::remove_file(site.folder.join(".env")).unwrap();
    fails(&bench, &site, "no environment", &[], "EnvironmentUnreadable");
    site.write_environment(site.port);
    then_works(&bench, &site);
}

#[test]
fn failures_of_install_migration_and_build_leave_the_old_release() {
    let Some((bench, site)) = serving() else { return };
    bench.fail("install", "always");
    fails(&bench, &site, "install", &[], "InstallFailed");
    bench.fail("check", "always");
    fails(&bench, &site, "check", &[], "MigrationCheckFailed");
    bench.fail("dump", "always");
    fails(&bench, &site, "dump", &[], "BackupFailed");
    bench.remove_tool("pg_dump");
    fails(&bench, &site, "no pg_dump", &[], "BackupFailed");
    bench.stand_in("pg_dump", include_str!("standins/pg_dump"));
    bench.stand_in("pg_restore", "#!/bin/sh\nexit 1\n");
    fails(&bench, &site, "unreadable dump", &[], "BackupFailed");
    bench.stand_in("pg_restore", include_str!("standins/pg_restore"));
    assert!(!bench.home("migrated").exists(), "a migration ran without a dump");
    bench.fail("migrate", "always");
    fails(&bench, &site, "migrate", &[], "MigrationFailed");
    bench.fail("build", "always");
    fails(&bench, &site, "build", &[], "BuildFailed");
    commit_migrations(&bench, "ALTER TABLE news DROP COLUMN title");
    std::fs::remove_file(bench.home("migrated")).unwrap();
    fails(&bench, &site, "a migration that destroys", &[], "MigrationRefused");
    assert!(!bench.home("migrated").exists(), "a dangerous migration ran");
    commit_migrations(&bench, "SELECT 1");
    then_works(&bench, &site);
}

#[test]
fn failures_on_the_spare_port_leave_the_old_process_alone() {
    let Some((bench, site)) = serving() else { return };
    let process = site.answer_on(site.port);
    bench.fail("spare-start", "v2");
    fails(&bench, &site, "spare start", &[], "StartFailed");
    bench.fail("spare-look", "v2");
    fails(&bench, &site, "spare look", &[], "Unhealthy");
    bench.fail("pm2-jlist", "always");
    fails(&bench, &site, "pm2's list", &[], "ServerNotPrepared");
    let df = "#!/bin/sh\nprintf 'Filesystem 1M-blocks Used Available Use%% Mounted\\n/dev/x 9 9 100 9%% /\\n'\n";
    bench.stand_in("df", df);
    fails(&bench, &site, "disk", &[], "DiskFull");
    bench.remove_tool("df");
    fails(&bench, &site, "a missing tool", &[], "ServerNotPrepared");
    assert_eq!(site.answer_on(site.port), process, "the old process was restarted for nothing");
}

#[test]
fn failures_on_its_own_port_bring_the_old_release_back() {
    let Some((bench, site)) = serving() else { return };
    bench.fail("pm2-delete", "once");
    fails(&bench, &site, "pm2 delete", &[], "ReleaseFailed");
    bench.fail("pm2-start", "once");
    fails(&bench, &site, "pm2 start", &[], "ReleaseFailed");
    bench.fail("final-start", "v2");
    fails(&bench, &site, "final start", &[], "ReleaseFailed");
    bench.fail("final-look", "v2");
    fails(&bench, &site, "final look", &[], "ReleaseFailed");
    bench.fail("pm2-save", "once");
    fails(&bench, &site, "pm2 save", &[], "ProcessListNotSaved");
    then_works(&bench, &site);
}

#[test]
fn a_process_of_other_hands_comes_back_when_the_first_release_fails() {
    let Some(bench) = Bench::new() else { return };
    let site = bench.site("shop");
    bench.release(&site, &[]);
    // As an imported site: the process is there, nothing of ours knows how it was started.
    std::fs::remove_file(site.folder.join(".sitewright/current")).unwrap();
    std::fs::rename(site.folder.join(".sitewright"), site.folder.join("old")).unwrap();
    let moved = bench.git(&format!(
        "cd {}; sed -i 's#/\\.sitewright/#/old/#g' old/runs/1.sh {}; cat old/runs/1.sh",
        site.folder.display(),
        bench.home(".pm2/list.json").display()
    ));
    assert!(moved.contains("/old/"));
    bench.commit("v2");
    bench.fail("final-look", "v2");
    let outcome = bench.deploy(&site, &[]);
    assert_eq!(outcome.reason(), Some("ReleaseFailed"), "{}", outcome.output);
    assert_eq!(bench.pm2_list().len(), 1, "{}", outcome.output);
    bench.await_that("the old page", || site.page().as_deref() == Some("v1"));
    assert!(outcome.output.contains("starting the process that ran before"), "{}", outcome.output);
}

#[test]
fn a_run_that_was_killed_is_swept_up_by_the_next() {
    let Some((bench, site)) = serving() else { return };
    std::fs::write(bench.home("hold/build"), "").unwrap();
    let mut running = bench.start(&site, &[]);
    bench.await_file(&bench.home("hold/reached"));
    running.kill().unwrap();
    running.wait().unwrap();
    std::fs::remove_file(bench.home("hold/build")).unwrap();
    assert_eq!(site.releases(), ["1", "2"]);
    assert_eq!(site.page().as_deref(), Some("v1"));
    then_works(&bench, &site);
    assert!(site.releases().len() == 2 && site.current() == "3", "{:?}", site.releases());
}

#[test]
fn a_release_that_failed_stays_for_a_look_where_rollback_is_off() {
    let Some((bench, mut site)) = serving() else { return };
    site.data.rollback_on_failure = false;
    bench.fail("final-look", "v2");
    let outcome = bench.deploy(&site, &[]);
    assert_eq!(outcome.reason(), Some("ReleaseFailed"), "{}", outcome.output);
    bench.mend();
    assert_eq!((site.page().as_deref(), site.current().as_str()), (Some("v2"), "1"));
}

#[test]
fn without_the_health_gate_an_answer_is_enough() {
    let Some((bench, mut site)) = serving() else { return };
    site.data.health_gate = false;
    bench.fail("spare-look", "v2");
    bench.fail("final-look", "v2");
    bench.release(&site, &[]);
    bench.mend();
    assert_eq!(site.page().as_deref(), Some("v2"));
}

/// Starts a deploy whose new process answers badly, and returns when that process was started on the site's own port.
fn stuck_in_replacement(bench: &Bench, site: &Site) -> std::process::Child {
    bench.fail("final-look", "v2");
    let running = bench.start(site, &[]);
    let started = || std::fs::read_to_string(bench.home(".pm2/calls")).unwrap().matches("start ").count() >= 2;
    bench.await_that("the second pm2 start", started);
    running
}

#[test]
fn a_run_that_is_stopped_while_it_replaces_brings_the_old_release_back() {
    let Some((bench, site)) = serving() else { return };
    let running = stuck_in_replacement(&bench, &site);
    assert!(std::process::Command::new("kill").args(["-TERM", &running.id().to_string()]).status().unwrap().success());
    let outcome = bench.finish(&site, running);
    assert_eq!(outcome.reason(), Some("Interrupted"), "{}", outcome.output);
    assert_eq!((site.page().as_deref(), site.releases()), (Some("v1"), vec!["1".to_owned()]));
    bench.mend();
    then_works(&bench, &site);
}

#[test]
fn a_run_that_is_killed_while_it_replaces_is_healed_by_the_next() {
    let Some((bench, site)) = serving() else { return };
    let mut running = stuck_in_replacement(&bench, &site);
    running.kill().unwrap();
    running.wait().unwrap();
    bench.mend();
    assert_eq!(site.current(), "1", "what has not been looked at is not current");
    then_works(&bench, &site);
    assert_eq!((bench.pm2_list().len(), site.current().as_str()), (1, "3"));
}

#[test]
fn an_old_process_that_pm2_lost_is_ended_and_gives_its_port_back() {
    let Some((bench, site)) = serving() else { return };
    let old = site.answer_on(site.port).unwrap();
    bench.fail("pm2-leak", "once");
    then_works(&bench, &site);
    assert_ne!(site.answer_on(site.port).unwrap()[2], old[2]);
    let servers = bench.processes().into_iter().filter(|line| line.contains("server.js")).count();
    assert_eq!(servers, 1, "{:?}", bench.processes());
}
