//! The specs directory in trouble: mass removals are held, a broken directory is no evidence, moves change nothing.

use std::collections::BTreeSet;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::rig::{Rig, ZONE, spec};

/// A client that is only looked at, so that a fleet costs no builds.
fn observed(name: &str) -> String {
    spec(name, "  reconcile: { mode: observe }\n")
}

impl Rig {
    async fn known(&self) -> usize {
        self.store().clients().await.expect("clients").len()
    }

    /// Waits until something that the rig shows holds.
    async fn eventually<F: AsyncFn() -> bool>(&self, what: &str, holds: F) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !holds().await {
            assert!(Instant::now() < deadline, "{what}\n{:#?}", self.events().await.last());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn held(&self) -> Value {
        self.json(&["deletions", "-o", "json"]).await.0["held"].clone()
    }

    /// No client is on its way out, and nothing was written since the last clearing.
    async fn assert_quiet(&self) {
        for record in self.store().clients().await.expect("clients") {
            let going = record.owned.removal.filter(|removal| removal.finished_at.is_none());
            assert!(going.is_none(), "{} goes: {going:#?}", record.name);
        }
        assert_eq!(self.writes(), Vec::<String>::new());
    }
}

fn names_of(held: &Value) -> BTreeSet<String> {
    let names = held["names"].as_array().cloned().unwrap_or_default();
    names.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect()
}

/// C8, C11, G2.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mass_removal_is_held_as_one_set_until_its_hash_is_approved() {
    let mut rig = Rig::roomy().await;
    rig.set("SITEWRIGHT_RESYNC", "1s");
    rig.set("SITEWRIGHT_ABSENCE_WINDOW", "1500ms");
    let names: Vec<String> = (0..25).map(|i| format!("mass{i:02}")).collect();
    for (i, name) in names.iter().enumerate() {
        let text = if i == 0 || i == 24 { spec(name, "") } else { observed(name) };
        rig.write(&format!("{name}.yaml"), &text);
    }
    let mut daemon = rig.daemon();
    rig.ready("mass00").await;
    rig.ready("mass24").await;
    rig.eventually("all are accepted", async || rig.known().await == 25).await;

    // 20 of 25 vanish at once.
    rig.clear_calls();
    for name in &names[5..] {
        rig.remove(&format!("{name}.yaml"));
    }
    rig.eventually("they are held", async || names_of(&rig.held().await).len() == 20).await;
    tokio::time::sleep(Duration::from_secs(3)).await; // some more scans
    rig.assert_quiet().await;
    let held = rig.held().await;
    assert_eq!(names_of(&held), names[5..].iter().cloned().collect());
    assert_eq!(rig.run(&["approve", "000000000000"]).await.status.code(), Some(1));
    rig.assert_quiet().await;
    let hash = held["hash"].as_str().expect("a hash").to_owned();
    let approved = rig.run(&["approve", &hash]).await;
    assert!(approved.status.success(), "{}", String::from_utf8_lossy(&approved.stderr));
    rig.gone("mass24").await;
    rig.eventually("all of the set went", async || {
        let (deletions, _) = rig.json(&["deletions", "-o", "json"]).await;
        deletions["scheduled"].as_array().is_some_and(Vec::is_empty) && deletions["held"].is_null()
    })
    .await;
    assert_eq!(rig.simulators.ploi.sites_count(), 1, "the approved site went, the other one stays");
    assert!(rig.client("mass00").await.expect("it stays").status.is_ready());

    // All that is left vanishes: held, and approvable.
    rig.clear_calls();
    let texts: Vec<(String, String)> = names[..5]
        .iter()
        .map(|name| {
            let file = format!("{name}.yaml");
            let text = std::fs::read_to_string(rig.path("specs").join(&file)).expect("its text");
            rig.remove(&file);
            (file, text)
        })
        .collect();
    rig.eventually("the rest is held", async || names_of(&rig.held().await).len() == 5).await;
    assert_eq!(rig.run(&["approve", &hash]).await.status.code(), Some(1), "an approval is for one set only");
    tokio::time::sleep(Duration::from_secs(2)).await;
    rig.assert_quiet().await;
    for (file, text) in &texts {
        rig.write(file, text);
    }
    rig.eventually("nothing is held any more", async || rig.held().await.is_null()).await;
    rig.assert_quiet().await;

    // A restart in the midst of the evidence: the first scan of a start never completes it, later ones do.
    rig.remove("mass04.yaml");
    rig.eventually("evidence is gathered", async || {
        let (deletions, _) = rig.json(&["deletions", "-o", "json"]).await;
        deletions["missing"].as_array().is_some_and(|all| !all.is_empty())
    })
    .await;
    daemon.kill();
    drop(daemon);
    tokio::time::sleep(Duration::from_secs(2)).await; // the window passes while nobody looks
    let _daemon = rig.daemon();
    rig.gone("mass04").await;
    assert!(rig.client("mass00").await.expect("it stays").owned.removal.is_none());
}

/// C3, C4, C9, C13.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_directory_is_a_condition_of_its_own_and_moves_change_nothing() {
    let mut rig = Rig::roomy().await;
    rig.set("SITEWRIGHT_RESYNC", "500ms");
    rig.set("SITEWRIGHT_ABSENCE_WINDOW", "1500ms");
    // As git-sync and ConfigMaps lay it out: a link to a revision.
    let revision = |n: u32| rig.path(&format!("rev{n}"));
    for n in [1, 2] {
        std::fs::create_dir(revision(n)).expect("a revision");
        std::fs::write(revision(n).join("diron.yaml"), spec("diron", "")).expect("a spec");
        std::fs::write(revision(n).join("dirtwo.yaml"), observed("dirtwo")).expect("a spec");
    }
    let link = rig.path("current");
    symlink("rev1", &link).expect("a link");
    rig.set("SITEWRIGHT_SPECS", &link.display().to_string());
    let revision = |n: u32| rig.path(&format!("rev{n}"));
    let _daemon = rig.daemon();
    rig.ready("diron").await;
    rig.eventually("both are accepted", async || rig.known().await == 2).await;
    let swap = |target: &str| {
        let beside = rig.path("current.new");
        symlink(target, &beside).expect("a link beside");
        std::fs::rename(&beside, &link).expect("swapped");
    };
    rig.clear_calls();

    let directory = async || rig.status().await["directory"].as_str().map(str::to_owned);
    let deep = |n: u32| {
        let mut folder = revision(n);
        (0..20).for_each(|_| folder.push("d"));
        folder
    };
    type Act<'a> = Box<dyn Fn() + 'a>;
    let troubles: Vec<(&str, Act<'_>, Act<'_>)> = vec![
        (
            "is not there",
            Box::new(|| std::fs::rename(&link, rig.path("away")).expect("moved away")),
            Box::new(|| std::fs::rename(rig.path("away"), &link).expect("moved back")),
        ),
        ("leads nowhere", Box::new(|| swap("nowhere")), Box::new(|| swap("rev1"))),
        (
            "leads nowhere",
            Box::new(|| std::fs::rename(revision(1), rig.path("rev1.away")).expect("moved away")),
            Box::new(|| std::fs::rename(rig.path("rev1.away"), revision(1)).expect("moved back")),
        ),
        (
            "is not a directory",
            Box::new(|| {
                std::fs::write(rig.path("file"), "no directory").expect("a file");
                swap("file");
            }),
            Box::new(|| swap("rev1")),
        ),
        (
            "deeper than",
            Box::new(|| std::fs::create_dir_all(deep(1)).expect("a deep folder")),
            Box::new(|| std::fs::remove_dir_all(revision(1).join("d")).expect("removed")),
        ),
    ];
    for (words, begin, end) in &troubles {
        begin();
        rig.eventually(words, async || directory().await.is_some_and(|text| text.contains(words))).await;
        tokio::time::sleep(Duration::from_millis(2500)).await; // longer than the window of absences
        let refused = rig.run(&["approve", "000000000000"]).await;
        assert_eq!(refused.status.code(), Some(1), "{words}");
        assert!(rig.held().await.is_null(), "{words}");
        rig.assert_quiet().await;
        end();
        rig.eventually("it comes back by itself", async || directory().await.is_none()).await;
        rig.assert_quiet().await;
    }

    // The link is swapped to another revision with the same files.
    swap("rev2");
    tokio::time::sleep(Duration::from_millis(2500)).await;
    rig.assert_quiet().await;
    // A file is renamed, moved into a folder, and touched.
    std::fs::rename(revision(2).join("diron.yaml"), revision(2).join("renamed.yml")).expect("renamed");
    tokio::time::sleep(Duration::from_millis(1000)).await;
    std::fs::create_dir(revision(2).join("folder")).expect("a folder");
    std::fs::rename(revision(2).join("renamed.yml"), revision(2).join("folder/renamed.yml")).expect("moved");
    tokio::time::sleep(Duration::from_millis(2500)).await;
    rig.assert_quiet().await;
    let record = rig.client("diron").await.expect("it is known");
    assert_eq!((record.generation, record.status.is_ready()), (1, true));
    // A file that flaps for a second.
    for _ in 0..3 {
        std::fs::rename(revision(2).join("folder/renamed.yml"), rig.path("flap")).expect("gone");
        tokio::time::sleep(Duration::from_millis(800)).await;
        std::fs::rename(rig.path("flap"), revision(2).join("folder/renamed.yml")).expect("back");
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    tokio::time::sleep(Duration::from_millis(1500)).await;
    rig.assert_quiet().await;
    let offline =
        rig.events().await.into_iter().filter(|event| event.reason == "Offline" || event.reason == "RemovalsHeld");
    assert_eq!(offline.count(), 0);
    assert!(rig.records().iter().any(|record| record["name"] == format!("diron.{ZONE}")));
}

/// C10.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_directory_of_another_installation_makes_and_removes_nobody() {
    let mut rig = Rig::roomy().await;
    rig.set("SITEWRIGHT_RESYNC", "500ms");
    rig.write(".sitewright-root", "rig\n");
    rig.write("dirown.yaml", &spec("dirown", ""));
    rig.write("dirstay.yaml", &observed("dirstay"));
    let _daemon = rig.daemon();
    rig.ready("dirown").await;
    rig.eventually("both are accepted", async || rig.known().await == 2).await;
    rig.clear_calls();
    // The mount of another environment comes to stand there: other clients, other name.
    let (specs, away, other) = (rig.path("specs"), rig.path("specs.away"), rig.path("specs.other"));
    std::fs::create_dir(&other).expect("a directory");
    std::fs::write(other.join(".sitewright-root"), "staging\n").expect("a name");
    std::fs::write(other.join("dirstaged.yaml"), spec("dirstaged", "")).expect("a spec");
    std::fs::write(other.join("dirstay.yaml"), observed("dirstay")).expect("a spec");
    std::fs::rename(&specs, &away).expect("moved away");
    std::fs::rename(&other, &specs).expect("moved there");
    let directory = async || rig.status().await["directory"].as_str().map(str::to_owned);
    rig.eventually("it says whose it is", async || directory().await.is_some_and(|text| text.contains("`staging`")))
        .await;
    tokio::time::sleep(Duration::from_millis(2500)).await; // longer than the window of absences
    rig.assert_quiet().await;
    assert_eq!(rig.known().await, 2, "nobody of theirs was taken up");
    std::fs::remove_dir_all(&specs).expect("removed");
    std::fs::rename(&away, &specs).expect("moved back");
    rig.eventually("it comes back by itself", async || directory().await.is_none()).await;
    rig.assert_quiet().await;
}

/// C23. What is written by another name of the file makes no event.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_without_an_event_is_seen_by_the_timer() {
    let mut rig = Rig::roomy().await;
    rig.set("SITEWRIGHT_RESYNC", "500ms");
    std::fs::create_dir(rig.path("elsewhere")).expect("a directory");
    let elsewhere = rig.path("elsewhere/dirsilent.yaml");
    std::fs::write(&elsewhere, observed("dirsilent")).expect("a spec");
    std::fs::hard_link(&elsewhere, rig.path("specs").join("dirsilent.yaml")).expect("another name");
    let _daemon = rig.daemon();
    rig.until("dirsilent", 60, |record| record.generation == 1).await;
    std::fs::write(&elsewhere, spec("dirsilent", "  reconcile: { mode: observe }\n  plan: enterprise\n"))
        .expect("a spec");
    rig.until("dirsilent", 60, |record| record.generation == 2).await;
}
