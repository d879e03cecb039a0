//! The specs in force over several scans and restarts: what was read and checked before is not done twice, and nothing that
//! changed is overlooked for it.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::time::Duration;

use jiff::Timestamp;
use sitewright::app;
use sitewright::config::Settings;
use sitewright::controller::fleet::{Admission, FILES, Fleet};
use sitewright::controller::known_secrets::KnownSecrets;
use sitewright::controller::watcher::{FILES_MAX, FileReading, Scan};
use sitewright::resource::name::{ClientName, Instance};
use sitewright::store::Store;
use sitewright::store::memory::MemoryStore;
use tempfile::TempDir;

struct Bench {
    directory: TempDir,
    store: MemoryStore,
    fleet: Fleet,
    before: Option<Scan>,
}

impl Bench {
    fn new() -> Bench {
        let directory = tempfile::tempdir().unwrap();
        let fleet = fleet(&directory);
        Bench { directory, store: MemoryStore::default(), fleet, before: None }
    }

    fn write(&self, file: &str, client: &str, domain: &str) {
        let text = format!(
            "apiVersion: sitewright/v1\nkind: ClientSpec\nmetadata: {{ name: {client} }}\nspec: {{ domain: {domain} }}\n"
        );
        std::fs::write(self.directory.path().join(file), text).unwrap();
    }

    async fn scan(&mut self) -> Admission {
        let scan = Scan::take(self.directory.path(), self.before.as_ref()).unwrap();
        let admission = self.fleet.admit(&scan, &self.store, Timestamp::UNIX_EPOCH).await.unwrap();
        self.before = Some(scan);
        admission
    }

    /// Another process over the same state.
    async fn restart(&mut self) {
        self.fleet = fleet(&self.directory);
        self.before = None;
        self.fleet.restore(&self.store).await.unwrap();
    }

    /// Files with a problem, in order.
    async fn bad_files(&self) -> Vec<String> {
        let problems = self.store.document(FILES).await.unwrap().unwrap_or_default();
        let files = problems.as_array().cloned().unwrap_or_default();
        files.iter().map(|problem| problem["file"].as_str().unwrap().to_owned()).collect()
    }

    async fn generation(&self, client: &str) -> u64 {
        self.store.client(&ClientName::trusted(client)).await.unwrap().unwrap().generation
    }
}

fn fleet(directory: &TempDir) -> Fleet {
    let settings =
        Settings { specs: directory.path().to_owned(), debounce_quiet: Duration::ZERO, ..Settings::default() };
    Fleet::new(app::options::options(&settings, Instance::parse("test").unwrap(), KnownSecrets::default()).unwrap())
}

fn names(admission: &Admission) -> Vec<&str> {
    admission.changed.iter().map(ClientName::as_str).collect()
}

#[tokio::test]
async fn a_scan_of_unchanged_files_changes_nobody() {
    let mut bench = Bench::new();
    bench.write("a.yaml", "aa", "a.example");
    bench.write("b.yaml", "bb", "b.example");
    assert_eq!(names(&bench.scan().await), ["aa", "bb"]);
    assert!(names(&bench.scan().await).is_empty());
    bench.write("b.yaml", "bb", "b.example");
    assert!(names(&bench.scan().await).is_empty(), "the same text written anew is no change");
    assert_eq!((bench.generation("aa").await, bench.generation("bb").await), (1, 1));
}

#[tokio::test]
async fn two_files_that_clash_are_told_in_every_scan_until_one_is_mended() {
    let mut bench = Bench::new();
    bench.write("a.yaml", "aa", "shop.example");
    bench.write("b.yaml", "bb", "shop.example");
    bench.write("c.yaml", "cc", "c.example");
    for _ in 0..3 {
        bench.scan().await;
        assert_eq!(bench.bad_files().await, ["a.yaml", "b.yaml"]);
    }
    bench.write("b.yaml", "bb", "other.example");
    let admission = bench.scan().await;
    assert_eq!(names(&admission), ["aa", "bb"]);
    assert!(bench.bad_files().await.is_empty());
    bench.write("c.yaml", "cc", "shop.example");
    bench.scan().await;
    assert_eq!(bench.bad_files().await, ["a.yaml", "c.yaml"]);
}

/// C3.
#[tokio::test]
async fn after_a_restart_what_changed_meanwhile_is_seen_and_the_rest_is_as_it_was() {
    let mut bench = Bench::new();
    for (file, client) in [("a.yaml", "aa"), ("b.yaml", "bb"), ("c.yaml", "cc")] {
        bench.write(file, client, &format!("{client}.example"));
    }
    bench.scan().await;
    std::fs::rename(bench.directory.path().join("c.yaml"), bench.directory.path().join("moved.yaml")).unwrap();
    let text = std::fs::read_to_string(bench.directory.path().join("b.yaml")).unwrap();
    let changed = text.replace("domain: bb.example", "domain: bb.example, plan: enterprise");
    std::fs::write(bench.directory.path().join("b.yaml"), changed).unwrap();
    bench.restart().await;
    assert_eq!(bench.fleet.names().len(), 3);
    let admission = bench.scan().await;
    assert_eq!(admission.present.len(), 3);
    assert_eq!(bench.generation("aa").await, 1);
    assert_eq!(bench.generation("bb").await, 2, "an edit during the downtime is a new generation");
    assert_eq!(bench.generation("cc").await, 1, "a file's name is not part of the spec");
    assert!(!names(&admission).contains(&"aa"), "{admission:?}");
    assert!(names(&bench.scan().await).is_empty());
}

/// C7. A link that leads nowhere is there and cannot be read, as a file without rights is.
#[tokio::test]
async fn a_file_that_cannot_be_read_is_no_absence() {
    let mut bench = Bench::new();
    bench.write("a.yaml", "aa", "a.example");
    bench.scan().await;
    let path = bench.directory.path().join("a.yaml");
    std::fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("nowhere", &path).unwrap();
    let admission = bench.scan().await;
    assert!(admission.present.contains(&ClientName::trusted("aa")) && names(&admission) == ["aa"], "{admission:?}");
    assert!(bench.fleet.problem(&ClientName::trusted("aa")).is_some_and(|problem| problem.reason == "Unreadable"));
    assert!(bench.fleet.spec(&ClientName::trusted("aa")).is_some(), "the last good one is in force");
    assert_eq!(bench.bad_files().await, ["a.yaml"]);
}

/// C16.
#[tokio::test]
async fn a_file_of_ten_gigabytes_is_told_by_its_size_and_too_many_files_tell_nothing() {
    let mut bench = Bench::new();
    bench.write("b.yaml", "bb", "b.example");
    std::fs::File::create(bench.directory.path().join("a.yaml")).unwrap().set_len(10 << 30).unwrap();
    assert_eq!(names(&bench.scan().await), ["bb"]);
    assert_eq!(bench.bad_files().await, ["a.yaml"]);
    let crowd = tempfile::tempdir().unwrap();
    for number in 0..=FILES_MAX {
        std::fs::File::create(crowd.path().join(format!("{number}.yaml"))).unwrap();
    }
    let problem = Scan::take(crowd.path(), None).unwrap_err().to_string();
    assert!(problem.contains("more than 20000"), "{problem}");
}

/// C26. The same length, and the time of the last edit set back to what it was.
#[tokio::test]
async fn an_edit_that_hides_its_time_is_seen() {
    let mut bench = Bench::new();
    bench.write("a.yaml", "aa", "one.example");
    bench.scan().await;
    let path = bench.directory.path().join("a.yaml");
    for (domain, shift) in [("two.example", 0), ("six.example", 3600)] {
        let modified = std::fs::metadata(&path).unwrap().modified().unwrap();
        let before = bench.before.clone().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let from = text.split("domain: ").nth(1).unwrap().trim_end_matches([' ', '}', '\n']).to_owned();
        std::fs::write(&path, text.replace(&from, domain)).unwrap();
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(modified - Duration::from_secs(shift)).unwrap();
        let scan = Scan::take(bench.directory.path(), Some(&before)).unwrap();
        let FileReading::Read { bytes, .. } = &scan.files["a.yaml"] else { panic!("{scan:?}") };
        assert!(String::from_utf8_lossy(bytes).contains(domain));
        bench.before = Some(scan);
    }
}

/// C15. Names of files that are no text, that steer a terminal, or that read otherwise than they are written.
#[tokio::test]
async fn odd_names_of_files_stop_nobody() {
    use std::os::unix::ffi::OsStrExt as _;
    let mut bench = Bench::new();
    bench.write("good.yaml", "good", "good.example");
    bench.write("a\u{202e}lmay.yaml", "aa", "a.example");
    bench.write("b\n\u{1b}[31m.yaml", "bb", "b.example");
    bench.write("c\u{202e}.yaml", "UPPER", "c.example");
    let no_text = bench.directory.path().join(std::ffi::OsStr::from_bytes(b"d\xff.yaml"));
    std::fs::copy(bench.directory.path().join("good.yaml"), no_text).unwrap();
    let admission = bench.scan().await;
    assert_eq!(names(&admission), ["aa", "bb", "good"]);
    assert_eq!(bench.bad_files().await, ["c\u{202e}.yaml"]);
    let told = &bench.before.as_ref().unwrap().passed_over;
    assert!(told.len() == 1 && told[0].contains("not UTF-8"), "{told:?}");
}
