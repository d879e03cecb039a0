//! The house rules as a test: floors, purity, who may know whom, first lines, no catch-alls.

#![allow(clippy::expect_used, clippy::unwrap_used)] // a test that cannot go on says so

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Rooms and the rooms they may import, as `lib.rs` draws them.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("resource", &[]),
    ("config", &["resource"]),
    ("telemetry", &["config"]),
    ("spec", &["resource", "config"]),
    ("plan", &["resource"]),
    ("status", &["resource"]),
    ("provider", &["resource"]),
    ("store", &["resource", "status"]),
    ("controller", &["resource", "config", "telemetry", "spec", "plan", "provider", "status", "store"]),
    ("api", &["resource", "config", "telemetry", "spec", "plan", "provider", "status", "store", "controller"]),
    ("app", &["resource", "config", "telemetry", "spec", "plan", "provider", "status", "store", "controller"]),
    (
        "cli",
        &["resource", "config", "telemetry", "spec", "plan", "provider", "status", "store", "controller", "api", "app"],
    ),
    ("main", &["cli"]),
    ("lib", &[]),
];

/// Rooms that must stay free of effects, and what would be one.
const PURE: [&str; 4] = ["resource", "spec", "plan", "status"];
const EFFECTS: &[&str] = &[
    "async fn",
    ".await",
    "tokio::",
    "reqwest::",
    "rusqlite::",
    "std::fs",
    "std::env::",
    "std::net::Tcp",
    "std::net::Udp",
    "std::process",
    "SystemTime::now",
    "Instant::now",
    "Timestamp::now",
    "rand::",
    "ulid::Ulid::new",
    "println!",
    "tracing::",
];

struct Source {
    path: PathBuf,
    room: String,
    text: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    for entry in walkdir::WalkDir::new(&root).sort_by_file_name() {
        let entry = entry.expect("src can be walked");
        if entry.path().extension().is_none_or(|e| e != "rs") {
            continue;
        }
        let relative = entry.path().strip_prefix(&root).expect("below src").to_path_buf();
        let first = relative.components().next().expect("a name").as_os_str().to_string_lossy().into_owned();
        let room = first.trim_end_matches(".rs").to_owned();
        let text = std::fs::read_to_string(entry.path()).expect("readable");
        found.push(Source { path: relative, room, text });
    }
    assert!(found.len() > 50, "the walk found the sources");
    found
}

/// The code without comments and without inline tests.
fn code(text: &str) -> String {
    let body = text.split("#[cfg(test)]").next().unwrap_or_default();
    body.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// Rooms named after `crate::`, also in grouped imports.
fn imports(code: &str) -> BTreeSet<String> {
    let mut rooms = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        let names: Vec<&str> = if let Some(group) = rest.strip_prefix('{') {
            group.split('}').next().unwrap_or_default().split(',').collect()
        } else {
            vec![rest]
        };
        for name in names {
            let room: String = name.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            rooms.insert(room);
        }
    }
    rooms
}

#[test]
fn imports_go_downwards_only() {
    let allowed: BTreeMap<&str, &[&str]> = MAY_IMPORT.iter().copied().collect();
    let mut wrong = Vec::new();
    for source in sources() {
        let may =
            allowed.get(source.room.as_str()).unwrap_or_else(|| panic!("{} is no room of the house", source.room));
        for room in imports(&code(&source.text)) {
            let self_import = room == source.room;
            if !self_import && allowed.contains_key(room.as_str()) && !may.contains(&room.as_str()) {
                wrong.push(format!("{} imports {room}", source.path.display()));
            }
            assert!(
                allowed.contains_key(room.as_str()),
                "{} imports `{room}` through the crate root",
                source.path.display()
            );
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_floors_have_no_circle() {
    fn reaches<'a>(from: &'a str, to: &str, seen: &mut BTreeSet<&'a str>) -> bool {
        MAY_IMPORT.iter().find(|(room, _)| *room == from).is_some_and(|(_, below)| {
            below.iter().any(|next| *next == to || (seen.insert(next) && reaches(next, to, seen)))
        })
    }
    for (room, _) in MAY_IMPORT {
        assert!(!reaches(room, room, &mut BTreeSet::new()), "{room} reaches itself");
    }
}

#[test]
fn the_core_is_pure() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|s| PURE.contains(&s.room.as_str())) {
        let code = code(&source.text);
        for effect in EFFECTS {
            if code.contains(effect) {
                wrong.push(format!("{} holds `{effect}`", source.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Methods of the provider traits that change the outside world.
const MUTATING: &[&str] = &[
    ".create_site(",
    ".suspend(",
    ".resume(",
    ".delete_site(",
    ".write_environment(",
    ".install_repository(",
    ".remove_repository(",
    ".write_deploy_script(",
    ".deploy(",
    ".write_virtual_host(",
    ".set_aliases(",
    ".order(",
    ".delete_certificate(",
    ".apply(",
    ".ensure_database(",
    ".ensure_login(",
    ".close_login(",
    ".mark_database(",
    ".back_up(",
    ".drop_database(",
    ".first_register(",
];

#[test]
fn only_the_executor_changes_the_outside_world() {
    let allowed = [
        "controller/executor.rs",
        "controller/site_steps.rs",
        "controller/site_steps/certificates.rs",
        "controller/databases.rs",
    ];
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|s| ["controller", "api", "app", "cli", "store"].contains(&s.room.as_str())) {
        let path = source.path.display().to_string();
        if allowed.contains(&path.as_str()) {
            continue;
        }
        let code = code(&source.text);
        for call in MUTATING.iter().filter(|call| code.contains(**call)) {
            wrong.push(format!("{path} calls {call}…)"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// G4. A database goes through one door: one function says yes, one place asks it, one step carries its word, one call is
/// made; no command, page or setting leads there.
#[test]
fn the_last_step_has_one_door() {
    let doors = [
        ("may_drop(", "plan/removal.rs", 2),
        ("let step = Step::Drop {", "plan/removal.rs", 1),
        ("&DropPermit {", "controller/databases.rs", 1),
        (".drop_database(&", "controller/databases.rs", 1),
    ];
    for (door, place, times) in doors {
        let found: BTreeMap<String, usize> = sources()
            .iter()
            .map(|source| (source.path.display().to_string(), code(&source.text).matches(door).count()))
            .filter(|(_, count)| *count > 0)
            .collect();
        assert_eq!(found, BTreeMap::from([(place.to_owned(), times)]), "{door}");
    }
}

#[test]
fn only_the_composition_root_and_the_simulators_know_which_providers_exist() {
    let vendors = [
        "provider::ploi",
        "provider::cloudflare",
        "provider::postgres",
        "provider::github",
        "provider::outside::cms",
        "provider::outside",
    ];
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|s| !["provider", "app"].contains(&s.room.as_str())) {
        let code = code(&source.text);
        for vendor in vendors.iter().filter(|vendor| code.contains(**vendor)) {
            wrong.push(format!("{} names {vendor}", source.path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn providers_do_not_know_each_other() {
    let folders = ["ploi", "cloudflare", "postgres", "github", "outside"];
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|s| s.room == "provider") {
        let path = source.path.display().to_string();
        let Some(own) = folders.iter().find(|folder| path.starts_with(&format!("provider/{folder}"))) else { continue };
        let code = code(&source.text);
        for other in folders.iter().filter(|other| *other != own) {
            if code.contains(&format!("provider::{other}")) {
                wrong.push(format!("{path} names {other}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What would bring another time zone in, and with it hours that come twice and hours that never come.
const LOCAL_TIME: &[&str] =
    &["Zoned::", "in_tz", "TimeZone::system", "TimeZone::get", "TimeZone::try_system", "chrono::", "localtime"];

/// E3. A moment is a `Timestamp` (UTC, every day 86,400 seconds) and a wait is a `Duration`: there is no summer time to go wrong.
#[test]
fn all_times_are_utc() {
    let mut wrong = Vec::new();
    for source in sources() {
        let code = code(&source.text);
        for word in LOCAL_TIME.iter().filter(|word| code.contains(**word)) {
            wrong.push(format!("{} holds `{word}`", source.path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_file_begins_with_one_sentence() {
    for source in sources() {
        let first = source.text.lines().next().unwrap_or_default();
        assert!(first.starts_with("//! ") && first.len() > 12, "{} begins with: {first}", source.path.display());
    }
}

#[test]
fn there_is_no_catch_all_room() {
    for source in sources() {
        let stem = source.path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
        assert!(
            !["utils", "util", "common", "helpers", "misc", "types"].contains(&stem.as_str()),
            "{} says nothing",
            source.path.display()
        );
    }
}

#[test]
fn no_dry_run_below_the_command_line() {
    for source in sources().iter().filter(|s| s.room != "cli" && s.room != "main") {
        assert!(!code(&source.text).contains("dry_run"), "{} knows of a dry run", source.path.display());
    }
}

#[test]
fn the_state_holds_no_serializable_secret() {
    let secret = sources().into_iter().find(|s| s.path.ends_with("resource/secret.rs")).expect("the secret type");
    let declaration = secret.text.split("pub struct Secret(").next().unwrap_or_default();
    let derive = declaration.rsplit("#[derive(").next().unwrap_or_default();
    assert!(!derive.contains("Serialize") && !derive.contains("Debug"), "Secret must not derive Serialize or Debug");
}
