//! Every kind of bad file against a running daemon: told with its place, its client served as before, the others go on.

use std::os::unix::fs::symlink;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::rig::{Rig, ZONE, spec};
use sitewright::status::{ConditionType, Truth};
use sitewright::store::ClientRecord;

/// A spec of `badone` with one line of its own.
fn with(line: &str) -> Vec<u8> {
    spec("badone", line).into_bytes()
}

fn bomb() -> String {
    let mut text = spec("badone", "  settings:\n    a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for n in 1..9 {
        let before = format!("*a{}", n - 1);
        text.push_str(&format!("    a{n}: &a{n} [{}]\n", [before.as_str(); 10].join(", ")));
    }
    text
}

/// C2, C5, C6, C18, C19, C21.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_file_freezes_its_own_client_and_nobody_else() {
    let mut rig = Rig::roomy().await;
    rig.set("SITEWRIGHT_RESYNC", "1s");
    let good = spec("badone", "");
    rig.write("badone.yaml", &good);
    rig.write("badtwo.yaml", &spec("badtwo", ""));
    let mut daemon = rig.daemon();
    rig.ready("badone").await;
    rig.ready("badtwo").await;
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("unknown key", with("  colour: red\n"), "badone.yaml:8:3"),
        ("duplicate key", with("  plan: free\n  plan: starter\n"), "badone.yaml:9:3"),
        ("wrong type", with("  aliases: 7\n"), "badone.yaml:8:"),
        ("bad host name", good.replace(&format!("badone.{ZONE}"), "bad_one..example").into_bytes(), "badone.yaml:6:"),
        ("reserved variable", with("  environment: { DATABASE_URL: x }\n"), "badone.yaml:8:"),
        ("300 KiB", with(&format!("# {}\n", "x".repeat(300 * 1024))), "badone.yaml:1:1"),
        ("alias bomb", bomb().into_bytes(), "badone.yaml:"),
        ("half a line", with("  displayName: Half of a na").into_iter().take(150).collect(), "badone.yaml"),
        ("not UTF-8", [good.as_bytes(), b"# \xff\xfe\n"].concat(), "badone.yaml:"),
        ("not YAML", b"{ this is: [ no spec\n".to_vec(), "badone.yaml:"),
        ("empty", Vec::new(), "badone.yaml"),
    ];
    rig.clear_calls();
    let before = rig.client("badone").await.expect("it is known");
    for (what, bytes, place) in &cases {
        std::fs::write(rig.path("specs/badone.yaml"), bytes).expect("written in place");
        let record = rig
            .until("badone", 30, |record| {
                record
                    .status
                    .condition(ConditionType::SpecValid)
                    .is_some_and(|c| c.status == Truth::False && c.message.contains(place) && c.reason != "HalfWritten")
                    || (what.starts_with("half") && !record.status.is_ready())
            })
            .await;
        let told = record.status.condition(ConditionType::SpecValid).expect("told").message.clone();
        assert!(told.contains(place), "{what}: {told}");
        assert_eq!((&record.accepted, record.generation), (&before.accepted, before.generation), "{what}");
        assert!(record.owned.removal.is_none(), "{what}");
        let healthy = record.status.condition(ConditionType::Healthy).expect("told");
        assert_eq!(healthy.status, Truth::True, "{what}: it is served as before");
        let files = rig.status().await["files"].to_string();
        assert!(files.contains("badone.yaml"), "{what}: {files}");
        let validated = rig.run(&["validate"]).await;
        if !what.starts_with("half") {
            assert_eq!(validated.status.code(), Some(1), "{what}");
            let told = String::from_utf8_lossy(&validated.stdout).into_owned();
            assert!(told.contains(place), "{what}: {told}");
        }
        assert_eq!(rig.writes(), Vec::<String>::new(), "{what}");
        assert!(rig.client("badtwo").await.expect("it is known").status.is_ready(), "{what}");
        rig.write("badone.yaml", &good);
        rig.ready("badone").await;
    }
    assert_eq!(rig.writes(), Vec::<String>::new());

    // While a file is bad, the others go on; two files of one client (and of one domain) freeze that client.
    rig.write("badone.yaml", &spec("badone", "  colour: red\n"));
    rig.write("badtwo.yaml", &spec("badtwo", "  dns: { records: [ { type: TXT, name: \"@\", content: \"on\" } ] }\n"));
    rig.until("badtwo", 30, |record| record.observed_generation == 2 && record.status.is_ready()).await;
    assert!(rig.records().iter().any(|record| record["type"] == "TXT"));
    rig.write("badone.yaml", &good);
    rig.ready("badone").await;
    rig.clear_calls();
    rig.write("again.yaml", &spec("badone", "  plan: free\n"));
    let told = rig.until("badone", 30, |record| !record.status.is_ready()).await.status.message;
    assert!(told.contains(".yaml:4:"), "{told}");
    rig.remove("again.yaml");
    rig.ready("badone").await;
    rig.write("again.yaml", &spec("badthree", "").replace(&format!("badthree.{ZONE}"), &format!("BadOne.{ZONE}.")));
    let told = rig.until("badone", 30, |record| !record.status.is_ready()).await.status.message;
    assert!(told.contains(".yaml:6:"), "{told}");
    assert!(rig.client("badthree").await.is_none());
    rig.remove("again.yaml");
    rig.ready("badone").await;

    // What is no regular file of this directory is passed over.
    assert!(Command::new("mkfifo").arg(rig.path("specs/pipe.yaml")).status().expect("mkfifo").success());
    std::fs::write(rig.path("outside.yaml"), spec("badoutside", "")).expect("a file outside");
    symlink(rig.path("outside.yaml"), rig.path("specs/link.yaml")).expect("a link out");
    symlink(rig.path("specs/nowhere.yaml"), rig.path("specs/dangling.yaml")).expect("a dangling link");
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(rig.client("badoutside").await.is_none());
    assert!(rig.client("badone").await.expect("it is known").status.is_ready());
    assert!(rig.status().await["files"].to_string().contains("link.yaml"));
    assert_eq!(rig.writes(), Vec::<String>::new());
    assert!(daemon.is_running());
}

/// C1.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_written_slowly_is_never_taken_half() {
    let mut rig = Rig::roomy().await;
    rig.set("SITEWRIGHT_RESYNC", "1s");
    rig.set("SITEWRIGHT_DEBOUNCE_QUIET", "300ms");
    let old = spec("badslow", "  dns: { records: [ { type: TXT, name: \"@\", content: \"one\" } ] }\n");
    rig.write("badslow.yaml", &old);
    let _daemon = rig.daemon();
    rig.ready("badslow").await;
    rig.clear_calls();
    let path = rig.path("specs/badslow.yaml");
    // In place, a few bytes at a time, over more than a second: every prefix is seen by somebody.
    let text = old.as_bytes();
    let began = Instant::now();
    for end in (0..text.len()).step_by(9) {
        std::fs::write(&path, &text[..end]).expect("a part");
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    // A part that stands still for some scans, but not for long enough.
    std::fs::write(&path, &text[..text.len() - 60]).expect("a part");
    tokio::time::sleep(Duration::from_millis(500)).await;
    std::fs::write(&path, text).expect("the whole");
    assert!(began.elapsed() > Duration::from_secs(1));
    let record = rig.ready("badslow").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(record.generation, 1);
    assert_eq!(rig.client("badslow").await.expect("it is known").generation, 1);
    assert_eq!(rig.writes(), Vec::<String>::new());
    // A whole file without its last newline is taken once it stood still.
    std::fs::write(&path, old.replace("one", "two").trim_end()).expect("without a newline");
    rig.until("badslow", 30, |record| record.generation == 2 && record.status.is_ready()).await;
}

/// H4. Whatever path leads to what this program itself is let in with: no site gets it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_credential_of_our_own_is_no_secret_of_a_site() {
    let mut rig = Rig::roomy().await;
    let token = rig.environment["PLOI_API_TOKEN"].clone();
    std::fs::write(rig.path("ploi-token"), format!("{token}\n")).expect("a file");
    symlink(rig.path("ploi-token"), rig.path("harmless")).expect("a link");
    std::fs::write(rig.path("own"), "their-own\n").expect("a file");
    rig.set("BADREF_TOKEN", &token);
    let file = |name: &str| format!("file: {}", rig.path(name).display());
    let references =
        [file("ploi-token"), file("harmless"), "file: /proc/self/environ".into(), "env: BADREF_TOKEN".into()];
    for (number, reference) in references.iter().enumerate() {
        let name = format!("badref{number}");
        let text = spec(&name, &format!("  environment: {{ A: {{ secretRef: {{ {reference} }} }} }}\n"));
        rig.write(&format!("{name}.yaml"), &text);
    }
    let good = spec("badrefown", &format!("  environment: {{ A: {{ secretRef: {{ {} }} }} }}\n", file("own")));
    rig.write("badrefown.yaml", &good);
    let _daemon = rig.daemon();
    for number in 0..references.len() {
        let is_refused = |record: &ClientRecord| {
            let told = record.status.condition(ConditionType::EnvironmentReady);
            told.is_some_and(|told| told.status == Truth::False && told.message.contains("credential of Sitewright"))
        };
        let refused = rig.until(&format!("badref{number}"), 60, is_refused).await;
        assert!(!serde_json::to_string(&refused.status).expect("JSON").contains(&token));
    }
    rig.ready("badrefown").await;
    let ploi = &rig.simulators.ploi;
    let environment = |name: &str| ploi.env_of(1, &format!("{name}.{ZONE}")).unwrap_or_default();
    assert!(environment("badrefown").contains("their-own"));
    assert!((0..references.len()).all(|number| !environment(&format!("badref{number}")).contains(&token)));
}
