//! The deploy script run by real bash over a real repository: what a release leaves, and what it never touches.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use sitewright::resource::deploy_script::{Migrate, PROGRAM};

use crate::bench::{Bench, free_port};

/// A migration that waits, as Payload's table shows it.
pub const WAITING: &str =
    "│ Name │ Batch │ Ran │\n│ 20260101_101010_one │ 1 │ Yes │\n│ 20260202_101010_two │ - │ No │\n";

/// Commits the files of both migrations; the second one's `up` is given.
pub fn commit_migrations(bench: &Bench, up: &str) {
    let line = format!(
        "mkdir -p src/migrations; printf 'export async function up() {{ drop table old }}\\n' >src/migrations/20260101_101010_one.ts; \
         printf 'export async function up() {{ {up} }}\\nexport async function down() {{ DROP TABLE news }}\\n' >src/migrations/20260202_101010_two.ts"
    );
    bench.git(&line);
    bench.commit("v2");
    std::fs::write(bench.home("migrations"), WAITING).unwrap();
}

#[test]
fn releases_follow_one_another_and_three_stay() {
    let Some(bench) = Bench::new() else { return };
    let site = bench.site("shop");
    bench.release(&site, &[]);
    let first = site.answer_on(site.port).unwrap();
    assert_eq!(first[..2], ["v1", "shop"]);
    assert!(first[3].starts_with("postgres://shop_a"), "the platform's DATABASE_URL reached the site: {first:?}");
    assert!(first[3].ends_with(",-,-"), "foreign variables reached the site: {first:?}");
    assert_eq!(
        std::fs::read_to_string(bench.home("build-options")).unwrap().trim(),
        "--max-old-space-size=1234 NODE_ENV=production"
    );
    let second = bench.commit("v2");
    bench.release(&site, &[]);
    assert_eq!(site.page().as_deref(), Some("v2"));
    assert_ne!(site.answer_on(site.port).unwrap()[2], first[2], "the process was not replaced");
    for page in ["v3", "v4"] {
        bench.commit(page);
        bench.release(&site, &[]);
    }
    assert_eq!((site.releases(), site.current()), (vec!["2".into(), "3".into(), "4".into()], "4".into()));
    bench.release(&site, &[("SW_COMMIT", &second[..12]), ("SW_BRANCH", "main")]);
    assert_eq!(site.page().as_deref(), Some("v2"), "a pinned commit");
    assert_eq!(bench.pm2_list().len(), 1);
    assert_eq!(
        bench.git(&format!("git -C {} status --porcelain --untracked-files=all", site.folder.display())),
        "M .env"
    );
}

#[test]
fn a_release_holds_no_env_file_and_its_copies_are_private() {
    let Some(bench) = Bench::new() else { return };
    let site = bench.site("shop");
    bench.release(&site, &[]);
    let hidden = site.folder.join(".sitewright");
    assert!(!hidden.join("releases/1/.env").exists(), "the committed .env stayed in the release");
    for (name, mode) in [("", 0o700), ("runs", 0o700), ("runs/1.env", 0o600)] {
        let found = std::fs::metadata(hidden.join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(found, mode, "{name}");
    }
    let start = std::fs::read_link(hidden.join("start.sh")).unwrap();
    assert_eq!(start, std::path::Path::new("runs/1.sh"));
    assert!(!std::fs::read_to_string(hidden.join("runs/1.sh")).unwrap().contains("canary-payload"));
}

#[test]
fn another_branch_needs_no_other_script() {
    let Some(bench) = Bench::new() else { return };
    let site = bench.site("shop");
    bench.git("git checkout -qb next; printf next >page.txt; git commit -qam next; git push -q origin next; git checkout -q main");
    bench.release(&site, &[("SW_BRANCH", "next")]);
    assert_eq!(site.page().as_deref(), Some("next"));
    bench.release(&site, &[("SW_BRANCH", ""), ("SW_COMMIT", "")]);
    assert_eq!(site.page().as_deref(), Some("v1"), "a deploy from the panel takes the script's own branch");
}

#[test]
fn a_waiting_migration_runs_after_a_private_dump_and_three_dumps_stay() {
    let Some(bench) = Bench::new() else { return };
    let site = bench.site("shop");
    bench.release(&site, &[]);
    assert!(!bench.home("migrated").exists() && !bench.home("backups").exists(), "no migration waits yet");
    commit_migrations(&bench, "CREATE TABLE news");
    for _ in 0..4 {
        bench.release(&site, &[]);
    }
    assert_eq!(std::fs::read_to_string(bench.home("migrated")).unwrap().lines().count(), 4);
    let dumps: Vec<_> = std::fs::read_dir(bench.home("backups/shop")).unwrap().map(|entry| entry.unwrap()).collect();
    assert_eq!(dumps.len(), 3);
    for dump in dumps {
        assert_eq!(dump.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
    let target = std::fs::read_to_string(bench.home("dump-target")).unwrap();
    assert_eq!(target.trim(), "db.example 6432 shop_a canary password client_shop require");
    let arguments = std::fs::read_to_string(bench.home("dump-arguments")).unwrap();
    assert!(!arguments.contains("canary"), "other users see arguments: {arguments}");
}

#[test]
fn with_migrations_off_nothing_is_asked_or_run() {
    let Some(bench) = Bench::new() else { return };
    let mut site = bench.site("shop");
    site.data.migrate = Migrate::Off;
    commit_migrations(&bench, "DROP TABLE news");
    bench.fail("check", "always");
    bench.release(&site, &[]);
    assert!(!bench.home("migrated").exists());
}

#[test]
fn another_client_is_not_touched_by_a_release_or_by_a_failed_one() {
    let Some(bench) = Bench::new() else { return };
    let (first, second) = (bench.site("one"), bench.site("two"));
    bench.release(&first, &[]);
    let listing = |site: &crate::bench::Site| {
        bench.git(&format!("cd {}; find . -printf '%p %s %T@ %m\\n' | sort", site.folder.display()))
    };
    let (process, files) = (first.answer_on(first.port).unwrap(), listing(&first));
    bench.release(&second, &[]);
    bench.commit("v2");
    bench.fail("final-look", "v2");
    assert_eq!(bench.deploy(&second, &[]).reason(), Some("ReleaseFailed"));
    bench.mend();
    bench.release(&second, &[]);
    assert_eq!(second.page().as_deref(), Some("v2"));
    assert_eq!(first.answer_on(first.port).unwrap(), process, "the first client's process was replaced");
    assert_eq!(listing(&first), files, "the first client's folder was touched");
    let calls = std::fs::read_to_string(bench.home(".pm2/calls")).unwrap();
    let by_name = |line: &&str| line.strip_prefix("delete ").is_some_and(|word| word.parse::<u32>().is_err());
    assert_eq!(calls.lines().find(by_name), None, "pm2 was given a name instead of a number");
}

#[test]
fn a_port_that_a_foreign_process_holds_is_left_to_it() {
    let Some(bench) = Bench::new() else { return };
    let site = bench.site("shop");
    let holder = TcpListener::bind(("127.0.0.1", site.port)).unwrap();
    let outcome = bench.deploy(&site, &[]);
    assert_eq!((outcome.code, outcome.reason()), (25, Some("PortTaken")), "{}", outcome.output);
    assert!(bench.pm2_list().is_empty());
    drop(holder);
    bench.release(&site, &[]);
    let process = site.answer_on(site.port).unwrap();
    let foreign = TcpListener::bind("127.0.0.1:0").unwrap();
    site.write_environment(foreign.local_addr().unwrap().port());
    bench.commit("v2");
    assert_eq!(bench.deploy(&site, &[]).reason(), Some("PortTaken"));
    assert_eq!(site.answer_on(site.port), Some(process), "the old process must go on serving on its old port");
    let mut moved = site;
    moved.port = free_port();
    moved.write_environment(moved.port);
    bench.release(&moved, &[]);
    assert_eq!(moved.page().as_deref(), Some("v2"));
}

#[test]
fn a_second_deploy_of_the_same_site_waits_shortly_and_stops() {
    let Some(bench) = Bench::new() else { return };
    let site = bench.site("shop");
    std::fs::write(bench.home("hold/build"), "").unwrap();
    let first = bench.start(&site, &[]);
    bench.await_file(&bench.home("hold/reached"));
    let script = bench.path("shop.sh");
    let second = Command::new(bench.path("bin/bash"))
        .arg(script)
        .env_clear()
        .env("PATH", bench.path("bin"))
        .env("HOME", bench.path("home"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(second.status.code(), Some(11), "{}", String::from_utf8_lossy(&second.stdout));
    assert!(String::from_utf8_lossy(&second.stdout).ends_with("sitewright: reason=DeployInProgress\n"));
    std::fs::remove_file(bench.home("hold/build")).unwrap();
    let outcome = bench.finish(&site, first);
    assert_eq!(outcome.code, 0, "{}", outcome.output);
    assert_eq!(site.page().as_deref(), Some("v1"));
}

#[test]
fn a_deploy_that_takes_too_long_or_is_stopped_leaves_no_process_behind() {
    let Some(bench) = Bench::new() else { return };
    let mut site = bench.site("shop");
    bench.release(&site, &[]);
    bench.commit("v2");
    let before = bench.processes().len();
    std::fs::write(bench.home("hold/build"), "").unwrap();
    let running = bench.start(&site, &[]);
    bench.await_file(&bench.home("hold/reached"));
    assert!(Command::new("kill").args(["-TERM", &running.id().to_string()]).status().unwrap().success());
    let outcome = bench.finish(&site, running);
    assert_eq!(outcome.reason(), Some("Interrupted"), "{}", outcome.output);
    assert_eq!(bench.processes().len(), before, "{:?}", bench.processes());
    site.data.timeout = Duration::from_secs(5);
    let outcome = bench.deploy(&site, &[]);
    assert_eq!(outcome.reason(), Some("TimedOut"), "{}", outcome.output);
    assert_eq!(bench.processes().len(), before, "{:?}", bench.processes());
    assert_eq!((site.page().as_deref(), site.releases()), (Some("v1"), vec!["1".to_owned()]));
}

#[test]
fn without_curl_the_look_is_taken_by_node() {
    let Some(bench) = Bench::new() else { return };
    let site = bench.site("shop");
    bench.remove_tool("curl");
    bench.release(&site, &[]);
    assert_eq!(site.page().as_deref(), Some("v1"));
    bench.commit("v2");
    bench.fail("spare-look", "v2");
    assert_eq!(bench.deploy(&site, &[]).reason(), Some("Unhealthy"));
}

#[test]
fn another_shell_says_that_it_is_the_wrong_one() {
    let Some(dash) = crate::program("dash") else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("deploy.sh");
    std::fs::write(&file, PROGRAM).unwrap();
    let output = Command::new(dash).arg(file).output().unwrap();
    assert_eq!(output.status.code(), Some(10));
    assert!(String::from_utf8_lossy(&output.stdout).ends_with("sitewright: reason=ServerNotPrepared\n"));
}
