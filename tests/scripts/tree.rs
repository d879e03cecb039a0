//! No value changes the program of the deploy script: it stays one data line, and reads back as itself.

use std::process::{Command, Stdio};
use std::time::Duration;

use sitewright::resource::deploy_script::{self, Commands, Migrate, PROGRAM, ScriptData};
use sitewright::resource::name::{ClientName, HostName, RepositorySlug};
use sitewright::resource::shell;

use crate::program;

/// What people who want our shell would write.
const HOSTILE: &[&str] = &[
    "x'; touch canary; '",
    "'",
    "''",
    "'\\''",
    "\\",
    "\\'",
    "a.example; touch canary",
    "$(touch canary)",
    "`touch canary`",
    "${IFS}touch${IFS}canary",
    "a\ntouch canary",
    "a\r\ntouch canary",
    "a\0b",
    "\u{1b}]0;x",
    "-oProxyCommand=touch canary",
    "--upload-pack=touch canary",
    "../../etc/cron.d/x",
    "a/../../b",
    "..",
    ".",
    "",
    "EOF",
    "<<EOF\ntouch canary\nEOF",
    "\" ; touch canary #",
    "# comment",
    "a && touch canary",
    "a | touch canary",
    "a & touch canary",
    "> canary",
    "$'\\n'",
    "!!",
    "*",
    "~",
    "{a,b}",
    "a\u{2028}b",
    "ü漢🙂",
    "x\ty",
    " lead",
    "trail ",
    "SW_SITE_DIR=/",
    "/x'$(touch canary)'",
    "/x?a=$(touch canary)&b='1'",
    "/\"`touch canary`",
    "if",
    "}",
    ")",
    "fi; touch canary",
    "\u{202e}gnp",
];

fn data() -> ScriptData {
    ScriptData {
        client: ClientName::trusted("plastimed01"),
        domain: HostName::trusted("plastimed01.shops.example"),
        system_user: "ploi".into(),
        repository: RepositorySlug::trusted("agency/shop"),
        branch: "main".into(),
        build_memory_mib: 4096,
        timeout: Duration::from_secs(1800),
        health_path: "/api/health".into(),
        migrate: Migrate::Safe,
        health_gate: true,
        rollback_on_failure: true,
        commands: Commands::default(),
    }
}

/// Each text field: the data line that carries it, and how it is set.
type Field = (&'static str, fn(&mut ScriptData, &str));
const FIELDS: &[Field] = &[
    ("SW_CLIENT", |d, v| d.client = ClientName::trusted(v)),
    ("SW_DOMAIN", |d, v| d.domain = HostName::trusted(v)),
    ("SW_SYSTEM_USER", |d, v| d.system_user = v.into()),
    ("SW_REPOSITORY", |d, v| d.repository = RepositorySlug::trusted(v)),
    ("SW_DEFAULT_BRANCH", |d, v| d.branch = v.into()),
    ("SW_HEALTH_PATH", |d, v| d.health_path = v.into()),
    ("SW_INSTALL_COMMAND", |d, v| d.commands.install = v.into()),
    ("SW_BUILD_COMMAND", |d, v| d.commands.build = v.into()),
    ("SW_CHECK_COMMAND", |d, v| d.commands.check = v.into()),
    ("SW_MIGRATE_COMMAND", |d, v| d.commands.migrate = v.into()),
    ("SW_START_COMMAND", |d, v| d.commands.start = v.into()),
];

/// The program must stand untouched under exactly these lines, each `SW_NAME='…'`.
fn data_lines(script: &str) -> &str {
    let lines = script.strip_suffix(PROGRAM).expect("the program was changed by a value");
    for line in lines.lines() {
        let (name, word) = line.split_once('=').expect("a line that is no data line");
        assert!(name.starts_with("SW_") && word.starts_with('\'') && word.ends_with('\''), "{line}");
    }
    assert_eq!(lines.lines().count(), 17, "a value added or removed a line: {lines}");
    lines
}

#[test]
fn the_first_lines_are_data_and_the_rest_is_the_same_for_every_client() {
    let script = deploy_script::render(&data()).unwrap();
    let lines = data_lines(&script);
    assert!(lines.starts_with("SW_CLIENT='plastimed01'\nSW_DOMAIN='plastimed01.shops.example'\n"), "{lines}");
    assert!(lines.contains("SW_SITE_DIR='/home/ploi/plastimed01.shops.example'\n"), "{lines}");
    assert!(lines.contains("SW_MIGRATE='safe'\nSW_HEALTH_GATE='yes'\nSW_ROLLBACK='yes'\n"), "{lines}");
    assert!(script.chars().count() <= deploy_script::SCRIPT_CHARS_MAX);
}

/// H1.
#[test]
fn hostile_values_are_refused_or_stay_one_word() {
    let (Some(bash), Some(dash)) = (program("bash"), program("dash")) else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut wanted = Vec::new();
    for (field, set) in FIELDS {
        for value in HOSTILE {
            let mut changed = data();
            set(&mut changed, value);
            let Ok(script) = deploy_script::render(&changed) else { continue };
            let lines = data_lines(&script);
            std::fs::write(folder.path().join(format!("{:04}.sh", wanted.len())), &script).unwrap();
            std::fs::write(
                folder.path().join(format!("{:04}.data", wanted.len())),
                format!("{lines}SW_SHOW=${field}\n"),
            )
            .unwrap();
            wanted.push((*field, *value));
        }
    }
    assert!(wanted.len() > 250, "only {} values were accepted: the property says little", wanted.len());
    let read_back = "for file in ./*.data; do (. \"$file\"; printf '%s\\0' \"$SW_SHOW\"); done";
    for shell in [&bash, &dash] {
        let output =
            Command::new(shell).args(["-c", read_back]).current_dir(&folder).stdin(Stdio::null()).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let seen: Vec<&str> = text.split_terminator('\0').collect();
        assert_eq!(seen.len(), wanted.len(), "{}", String::from_utf8_lossy(&output.stderr));
        for ((field, value), seen) in wanted.iter().zip(seen) {
            assert_eq!(seen, *value, "{field} in {}", shell.display());
        }
    }
    let parses = "for file in ./*.sh; do \"$1\" -n \"$file\" || exit 1; done";
    let checked = Command::new(&bash).args(["-c", parses, "sh"]).arg(&bash).current_dir(&folder).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    assert!(!folder.path().join("canary").exists(), "a value was executed");
}

/// H1. Every accepted value over a wide alphabet is exactly one word of the data line, by the shell's grammar of quotes.
#[test]
fn generated_values_never_leave_their_word() {
    use proptest::strategy::{Strategy, ValueTree};
    let alphabet =
        ["'", "\\", "\n", "\r", "\0", "$(", ")", "`", "\"", ";", " ", "#", "a", "/", "=", "EOF", "\u{85}", "ü", "SW_"];
    let piece = proptest::sample::select(alphabet.to_vec());
    let value = proptest::collection::vec(piece, 0..10).prop_map(|pieces| pieces.concat());
    let seed = proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha);
    let mut runner = proptest::test_runner::TestRunner::new_with_rng(proptest::test_runner::Config::default(), seed);
    let mut accepted = 0;
    for round in 0..6_000 {
        let (field, set) = FIELDS[round % FIELDS.len()];
        let value = value.new_tree(&mut runner).unwrap().current();
        let mut changed = data();
        set(&mut changed, &value);
        let Ok(script) = deploy_script::render(&changed) else { continue };
        accepted += 1;
        let line = data_lines(&script).lines().find_map(|line| line.strip_prefix(field)?.strip_prefix('=')).unwrap();
        let inner = line.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')).unwrap();
        let pieces: Vec<&str> = inner.split("'\\''").collect();
        assert!(pieces.iter().all(|piece| !piece.contains('\'')), "{field}: a quote ends the word early");
        assert_eq!(pieces.join("'"), value, "{field}");
    }
    assert!(accepted > 1_000, "only {accepted} values were accepted: the property says little");
}

#[test]
fn a_word_is_one_line_or_refused_without_showing_the_text() {
    assert_eq!(shell::quote("it's").unwrap(), "'it'\\''s'");
    for text in ["canary\n", "canary\0", "canary\r", "canary\u{85}"] {
        assert!(!shell::quote(text).unwrap_err().to_string().contains("canary"));
    }
    assert!(shell::quote(&"x".repeat(shell::WORD_BYTES_MAX + 1)).is_err());
}

#[test]
fn names_that_pm2_takes_for_everybody_are_refused() {
    for name in ["all", "default"] {
        let mut changed = data();
        changed.client = ClientName::parse(name).unwrap();
        assert_eq!(deploy_script::render(&changed).unwrap_err().variable, "SW_CLIENT");
    }
}

#[test]
fn the_reason_is_the_last_marker_at_the_beginning_of_a_line() {
    let log =
        "  | sitewright: reason=Fake\nsitewright: reason=BuildFailed\nsitewright: x\nsitewright: reason=PortTaken\n";
    assert_eq!(deploy_script::reason(log), Some("PortTaken"));
    assert_eq!(deploy_script::reason("  | sitewright: reason=Fake\n"), None);
    assert_eq!(deploy_script::reason("sitewright: reason=a b\n"), None);
}
