//! Usage, help, completion, settings, and what a command prints on an empty state.

use crate::{GOOD, Machine};

#[test]
fn wrong_usage_is_64_and_speaks_on_stderr() {
    let machine = Machine::begin();
    let wrong: &[&[&str]] = &[
        &[],
        &["stauts"],
        &["status", "--no-such-flag"],
        &["status", "-o", "markdown"],
        &["plan", "-o", "xml"],
        &["status", "--selector", "gold"],
        &["pause", "shop"],
        &["pause", "--all"],
        &["pause", "--reason", "why"],
        &["pause", "--all", "--reason", " "],
        &["pause", "--all", "--reason", "why", "--until", "yesterday"],
        &["pause", "shop", "--all", "--reason", "why"],
        &["resume"],
        &["approve"],
        &["wait", "shop"],
        &["wait", "shop", "--for", "Redy"],
        &["wait", "shop", "--for", "Ready", "--timeout", "soon"],
        &["run", "--timeout", "1m"],
        &["completion", "tcl"],
        &["secret", "shop", "root"],
        &["sim", "--dns", "70000"],
    ];
    for arguments in wrong {
        let ran = machine.run(arguments);
        assert_eq!(ran.code, 64, "{arguments:?}: {ran:?}");
        assert!(ran.out.is_empty() && !ran.err.is_empty(), "{arguments:?}: {ran:?}");
    }
    assert_eq!(std::fs::read_dir(machine.path()).expect("listed").count(), 0, "a mistake leaves nothing behind");
}

#[test]
fn help_and_version_are_data() {
    let machine = Machine::begin();
    for arguments in [&["--help"][..], &["plan", "--help"], &["--version"], &["help", "pause"]] {
        let ran = machine.run(arguments);
        assert_eq!(ran.code, 0, "{arguments:?}");
        assert!(!ran.out.is_empty() && ran.err.is_empty(), "{arguments:?}");
    }
}

#[test]
fn completion_is_there_for_the_shells() {
    let machine = Machine::begin();
    for (shell, mark) in [("bash", "complete"), ("zsh", "#compdef sitewright"), ("fish", "complete -c sitewright")] {
        let ran = machine.run(&["completion", shell]);
        assert_eq!(ran.code, 0);
        assert!(ran.out.contains(mark) && ran.out.contains("deletions"), "{shell}");
    }
}

#[test]
fn the_schema_accepts_the_reference_and_refuses_an_unknown_key() {
    let machine = Machine::begin();
    let ran = machine.run(&["schema"]);
    assert_eq!(ran.code, 0);
    let validator = jsonschema::validator_for(&ran.json()).expect("a schema");
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/specs/plastimed01.yaml")).expect("read");
    let mut reference: serde_json::Value = serde_yaml::from_str(&text).expect("yaml");
    let errors: Vec<String> = validator.iter_errors(&reference).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{errors:?}");
    reference["spec"]["domian"] = "typo.example".into();
    assert!(!validator.is_valid(&reference));
}

#[test]
fn config_tells_origins_and_masks_secrets() {
    let machine = Machine::begin();
    machine.write("sitewright.yaml", "resync: 90s\n");
    let mut command = machine.command(&["config", "--specs", "elsewhere"]);
    let database = "postgres://admin:hunter2@db.example/main";
    command.env("PLOI_API_TOKEN", "tok-123456").env("PLATFORM_DATABASE_URL", database);
    let ran = crate::Ran::of(&command.output().expect("it starts"));
    assert_eq!(ran.code, 0, "{ran:?}");
    for secret in ["tok-123456", "hunter2"] {
        assert!(!ran.out.contains(secret) && !ran.err.contains(secret), "{ran:?}");
    }
    let line = |key: &str| ran.out.lines().find(|line| line.starts_with(key)).map(str::to_owned).unwrap_or_default();
    assert!(line("specs ").contains("elsewhere") && line("specs ").contains("(flag)"), "{ran:?}");
    assert!(line("resync ").contains("90s") && line("resync ").contains("sitewright.yaml"), "{ran:?}");
    assert!(line("PLOI_API_TOKEN ").contains("environment"), "{ran:?}");
    assert!(line("settle ").contains("(default)"), "{ran:?}");
}

#[test]
fn a_broken_setting_is_named_and_ends_with_1() {
    let machine = Machine::begin();
    let mut command = machine.command(&["status"]);
    command.env("SITEWRIGHT_RESYNC", "soon").env("SITEWRIGHT_SETTLE", "never");
    let ran = crate::Ran::of(&command.output().expect("it starts"));
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("resync") && ran.err.contains("settle"), "all at once: {ran:?}");
}

#[test]
fn status_and_deletions_of_nothing_are_empty_and_make_nothing() {
    let machine = Machine::begin();
    let status = machine.run(&["status", "-o", "json"]);
    assert_eq!(status.code, 0, "{status:?}");
    assert_eq!(status.json()["clients"], serde_json::json!([]));
    assert_eq!(status.json()["providers"], serde_json::json!([]));
    let deletions = machine.run(&["deletions", "-o", "json"]).json();
    assert_eq!(deletions["scheduled"], serde_json::json!([]));
    assert_eq!(deletions["held"], serde_json::Value::Null);
    assert_eq!(deletions["retained"], serde_json::json!([]));
    assert!(machine.run(&["status"]).err.contains("no clients yet"));
    assert_eq!(machine.run(&["events"]).out, "");
    assert_eq!(std::fs::read_dir(machine.path()).expect("listed").count(), 0, "a look leaves nothing behind");
}

#[test]
fn an_unknown_client_is_1_everywhere_and_makes_no_state() {
    let machine = Machine::begin();
    let commands: &[&[&str]] = &[
        &["status", "nobody"],
        &["describe", "nobody"],
        &["events", "nobody"],
        &["wait", "nobody", "--for", "Ready"],
        &["reconcile", "nobody"],
        &["deploy", "nobody"],
        &["pause", "nobody", "--reason", "why"],
        &["resume", "nobody"],
        &["secret", "nobody", "admin"],
        &["status", "Not A Name"],
    ];
    for arguments in commands {
        let ran = machine.run(arguments);
        assert_eq!(ran.code, 1, "{arguments:?}: {ran:?}");
        assert!(ran.err.contains("no client is called"), "{arguments:?}: {ran:?}");
    }
    assert_eq!(machine.run(&["wait", "nobody", "--for", "Gone"]).code, 0);
    assert_eq!(std::fs::read_dir(machine.path()).expect("listed").count(), 0);
}

#[test]
fn a_plan_without_providers_says_what_is_missing_and_writes_nothing() {
    let machine = Machine::with_specs(&[("shop.yaml", GOOD)]);
    let ran = machine.run(&["plan", "-o", "json"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let plan = ran.json();
    assert_eq!(plan["formatVersion"], 1);
    assert_eq!(plan["clients"][0]["name"], "shop");
    assert_eq!(plan["hash"], machine.run(&["plan", "-o", "json"]).json()["hash"], "the same plan has the same hash");
    assert!(ran.out.contains("ProviderNotConfigured"), "{ran:?}");
    assert_eq!(machine.run(&["plan", "--detailed-exitcode"]).code, 2);
    assert!(machine.run(&["plan", "-o", "markdown"]).out.contains("**shop**"));
    assert_eq!(machine.run(&["plan", "nobody"]).code, 1);
    assert!(!machine.path().join(".sitewright").exists(), "a plan leaves nothing behind");
}

#[test]
fn a_plan_of_a_broken_file_shows_the_finding_and_fails() {
    let machine = Machine::with_specs(&[("shop.yaml", &GOOD.replace("domain:", "domian:"))]);
    let ran = machine.run(&["plan", "--detailed-exitcode"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.err.contains("shop.yaml:6:3"), "{ran:?}");
}

#[test]
fn an_empty_directory_has_nothing_to_do() {
    let machine = Machine::with_specs(&[]);
    let ran = machine.run(&["plan", "--detailed-exitcode"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.out.contains("nothing to do"), "{ran:?}");
}

#[test]
fn no_pipe_ever_sees_an_escape() {
    let machine = Machine::with_specs(&[("shop.yaml", GOOD), ("bad.yaml", "metadata: [\n")]);
    let commands: &[&[&str]] =
        &[&["status"], &["plan"], &["validate"], &["config"], &["deletions"], &["doctor"], &["--help"], &["nope"]];
    for arguments in commands {
        let ran = machine.run(arguments);
        assert!(!ran.out.contains('\u{1b}') && !ran.err.contains('\u{1b}'), "{arguments:?}: {ran:?}");
    }
}

#[test]
fn doctor_says_what_is_not_configured_and_fails_on_what_is_broken() {
    let machine = Machine::with_specs(&[("shop.yaml", GOOD)]);
    let ran = machine.run(&["doctor", "-o", "json"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let report = ran.json();
    let areas: Vec<&str> =
        report["checks"].as_array().expect("checks").iter().filter_map(|c| c["area"].as_str()).collect();
    for area in ["specs", "state", "daemon", "ploi", "cloudflare", "postgres", "git"] {
        assert!(areas.contains(&area), "{area} in {areas:?}");
    }
    let broken = Machine::begin().run(&["doctor"]);
    assert_eq!(broken.code, 1);
    assert!(broken.out.contains("fix: "), "{broken:?}");
}
