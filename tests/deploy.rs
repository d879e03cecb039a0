//! What lies in `deploy/` fits the program: the settings file, the unit, and what the daemon tells systemd.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::collections::BTreeSet;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use clap::Parser;
use sitewright::cli::Cli;
use sitewright::config::keys::{KEYS, PROVIDER_VARIABLES, variable};
use sitewright::config::raw::Origin;
use sitewright::config::{Settings, Source, load};

const SETTINGS_FILE: &str = "deploy/config/sitewright.yaml";
/// Longer than any start takes on a busy machine; a daemon that says nothing fails the test by this.
const PATIENCE: Duration = Duration::from_secs(60);

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect(path)
}

struct OnlyThatFile;

impl Source for OnlyThatFile {
    fn variable(&self, _: &str) -> Option<String> {
        None
    }
    fn variables(&self) -> Vec<String> {
        Vec::new()
    }
    fn file(&self, path: &str) -> Result<Option<String>, String> {
        Ok((path == SETTINGS_FILE).then(|| read(path)))
    }
    fn credential(&self, _: &str) -> Result<Option<String>, String> {
        Ok(None)
    }
}

#[test]
fn the_settings_file_holds_every_key_with_its_default() {
    let loaded = load(&[("config", SETTINGS_FILE.to_owned())], &OnlyThatFile).expect("the file is good");
    assert_eq!(loaded.settings, Settings::default());
    let text = read(SETTINGS_FILE);
    for key in KEYS {
        let line = text.lines().find(|line| line.starts_with(&format!("{}: ", key.name)));
        assert!(line.is_some(), "{} is not in {SETTINGS_FILE}", key.name);
        let row = loaded.rows.iter().find(|row| row.key == key.name).expect("a row");
        assert_eq!(row.origin == Origin::Default, key.default.is_none(), "{} is written with its default", key.name);
    }
}

#[test]
fn the_unit_starts_what_the_program_understands() {
    let unit = read("deploy/systemd/sitewright.service");
    let value = |key: &str| unit.lines().find_map(|line| line.strip_prefix(&format!("{key}="))).expect(key).to_owned();
    let start = value("ExecStart");
    assert!(Cli::try_parse_from(start.split(' ')).is_ok(), "{start}");
    assert_eq!((value("Type").as_str(), value("NotifyAccess").as_str()), ("notify", "main"));
    let known: BTreeSet<String> =
        KEYS.iter().map(|key| variable(key.name)).chain(PROVIDER_VARIABLES.map(str::to_owned)).collect();
    let credentials: Vec<&str> =
        unit.lines().filter_map(|line| line.trim_start_matches('#').strip_prefix("LoadCredential=")).collect();
    assert!(credentials.len() > 2);
    for credential in credentials {
        let name = credential.split(':').next().expect("a name");
        assert!(known.contains(name), "{name} is read by nothing");
    }
}

struct Daemon {
    child: Child,
    directory: tempfile::TempDir,
    socket: UnixDatagram,
    heard: Vec<String>,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may have ended
        let _ = self.child.wait();
    }
}

impl Daemon {
    /// A daemon over one spec and no provider, supervised through a socket of ours.
    fn start(watchdog: Duration) -> Daemon {
        let directory = tempfile::tempdir().expect("a directory");
        let path = |name: &str| directory.path().join(name);
        std::fs::create_dir(path("specs")).expect("specs");
        let spec = "apiVersion: sitewright/v1\nkind: ClientSpec\nmetadata: { name: bakery }\nspec: { domain: bakery.example }\n";
        std::fs::write(path("specs/bakery.yaml"), spec).expect("a spec");
        let socket = UnixDatagram::bind(path("notify")).expect("a socket");
        socket.set_read_timeout(Some(PATIENCE)).expect("a deadline");
        let log = std::fs::File::create(path("log")).expect("a log");
        let child = Command::new(env!("CARGO_BIN_EXE_sitewright"))
            .arg("run")
            .current_dir(directory.path())
            .env_clear()
            .envs([("SITEWRIGHT_LISTEN", "off"), ("SITEWRIGHT_DEBOUNCE_QUIET", "10ms")])
            .env("NOTIFY_SOCKET", path("notify"))
            .env("WATCHDOG_USEC", watchdog.as_micros().to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the daemon starts");
        Daemon { child, directory, socket, heard: Vec::new() }
    }

    /// Listens until a line begins so.
    fn hear(&mut self, beginning: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut buffer = [0; 4096];
        while Instant::now() < deadline {
            let bytes = self.socket.recv(&mut buffer).expect("word from the daemon");
            let text = String::from_utf8_lossy(&buffer[..bytes]).into_owned();
            self.heard.extend(text.lines().map(str::to_owned));
            if let Some(line) = text.lines().find(|line| line.starts_with(beginning)) {
                return line.to_owned();
            }
        }
        panic!("{beginning} was not said: {:?}", self.heard);
    }
}

#[test]
fn systemd_is_told_of_the_start_the_life_and_the_end() {
    let mut daemon = Daemon::start(Duration::from_millis(400));
    daemon.hear("READY=1");
    assert_eq!(daemon.heard[0], "READY=1", "nothing is said before the first scan");
    // Again and again, or the manager would take us for stuck.
    (0..3).for_each(|_| drop(daemon.hear("WATCHDOG=1")));
    assert!(daemon.heard.iter().any(|line| line.starts_with("STATUS=keeps ")), "{:?}", daemon.heard);
    let asked = Command::new("/bin/sh").args(["-c", &format!("kill -TERM {}", daemon.child.id())]).status();
    assert!(asked.expect("a shell").success());
    daemon.hear("STOPPING=1");
    assert!(daemon.child.wait().expect("an end").success(), "an asked-for end is no failure");
}

#[test]
fn a_daemon_without_a_terminal_writes_logs_for_collectors() {
    let mut daemon = Daemon::start(Duration::from_secs(60));
    daemon.hear("READY=1");
    let text = std::fs::read_to_string(daemon.directory.path().join("log")).expect("the log");
    let records: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect();
    assert_eq!(records[0]["message"], "the daemon starts", "{text}");
    assert_eq!((records[0]["level"].as_str(), records[0]["specs"].as_str()), (Some("INFO"), Some("specs")));
}
