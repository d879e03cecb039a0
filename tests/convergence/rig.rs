//! The whole loop as a user runs it: simulators in this process, a real PostgreSQL, the real binary as a child.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use sitewright::provider::postgres::cluster::Cluster;
use sitewright::provider::world::faults::Call;
use sitewright::provider::world::serve::{Options, Simulators, serve};
use sitewright::resource::name::ClientName;
use sitewright::store::seal::StateKey;
use sitewright::store::sqlite::SqliteStore;
use sitewright::store::{ClientRecord, Event, Store};
use tempfile::TempDir;
use tokio::sync::OnceCell;

/// One database server for all tests of this program.
static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();

/// The zone of every rig.
pub const ZONE: &str = "agency.example";

pub async fn cluster() -> &'static Cluster {
    let start = async || {
        Cluster::start_with(&std::env::temp_dir(), &[("max_connections", "300")])
            .await
            .expect("a throw-away PostgreSQL")
    };
    CLUSTER.get_or_init(start).await
}

/// One installation with its own world.
pub struct Rig {
    pub directory: TempDir,
    pub simulators: Simulators,
    pub environment: BTreeMap<String, String>,
    zones: Vec<String>,
}

/// A running daemon; killed when dropped.
pub struct Daemon {
    child: Child,
}

impl Daemon {
    /// SIGKILL, as a pulled plug.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM, as a service manager asks for an end.
    pub fn ask_to_end(&self) {
        let asked = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        assert!(asked.expect("kill").success());
    }

    /// Asks for an end and waits for it; gives how it ended.
    pub fn terminate(&mut self) -> std::process::ExitStatus {
        self.ask_to_end();
        self.child.wait().expect("an end")
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A plain spec of a client; `more` are further lines below `spec:`, indented by two.
pub fn spec(name: &str, more: &str) -> String {
    format!(
        "apiVersion: sitewright/v1\nkind: ClientSpec\nmetadata:\n  name: {name}\nspec:\n  domain: {name}.{ZONE}\n  source: {{ repository: agency/cms, branch: main }}\n{more}"
    )
}

impl Rig {
    /// A world with quick delays; settings are those of a patient test: short polls, short settle.
    pub async fn new() -> Rig {
        Rig::with(|_| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut Options)) -> Rig {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(directory.path().join("specs")).expect("a specs directory");
        let mut options = Options::quick(directory.path());
        options.zones = vec![ZONE.to_owned()];
        change(&mut options);
        let zones = options.zones.clone();
        let simulators = serve(options).await.expect("simulators");
        let database = cluster().await.admin_url();
        let mut environment: BTreeMap<String, String> = simulators.variables().into_iter().collect();
        let settings = [
            ("PLATFORM_DATABASE_URL", database.expose()),
            ("SITEWRIGHT_INSTANCE", "rig"),
            ("SITEWRIGHT_LISTEN", "off"),
            ("SITEWRIGHT_RESYNC", "5s"),
            ("SITEWRIGHT_SETTLE", "2s"),
            ("SITEWRIGHT_DEPLOY_POLL", "200ms"),
            ("SITEWRIGHT_DEBOUNCE_QUIET", "50ms"),
            ("SITEWRIGHT_ABSENCE_WINDOW", "1s"),
            ("SITEWRIGHT_DNS_DRAIN", "200ms"),
            ("SITEWRIGHT_DELETION_GRACE", "1s"),
            ("SITEWRIGHT_DELETION_DATABASE_GRACE", "2s"),
            ("SITEWRIGHT_RATE_PLOI", "100000/1m"),
            ("SITEWRIGHT_RATE_CLOUDFLARE", "100000/1m"),
            ("SITEWRIGHT_RATE_GITHUB", "100000/1m"),
            ("RUST_LOG", "debug"),
            ("NO_COLOR", "1"),
        ];
        environment.extend(settings.map(|(name, value)| (name.to_owned(), value.to_owned())));
        Rig { directory, simulators, environment, zones }
    }

    pub fn set(&mut self, name: &str, value: &str) {
        self.environment.insert(name.to_owned(), value.to_owned());
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a spec file as a careful tool does: beside it, then renamed into place.
    pub fn write(&self, file: &str, text: &str) {
        let target = self.path("specs").join(file);
        let beside = self.path("specs").join(format!(".{file}.new"));
        std::fs::write(&beside, text).expect("written");
        std::fs::rename(&beside, &target).expect("renamed");
    }

    pub fn remove(&self, file: &str) {
        std::fs::remove_file(self.path("specs").join(file)).expect("removed");
    }

    /// The binary with this rig's environment and nothing else of ours.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sitewright"));
        command
            .args(arguments)
            .current_dir(self.directory.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.envs(&self.environment).stdin(Stdio::null());
        command
    }

    /// Runs a command to its end, without blocking the simulators of this process.
    pub async fn run(&self, arguments: &[&str]) -> Output {
        let mut command = self.command(arguments);
        tokio::task::spawn_blocking(move || command.output().expect("the binary runs")).await.expect("no panic")
    }

    /// Runs until every client has settled; gives whether all are ready.
    pub async fn once(&self) -> bool {
        let output = self.run(&["run", "--once", "--timeout", "10m"]).await;
        if !output.status.success() {
            eprintln!("{}", String::from_utf8_lossy(&output.stderr));
        }
        output.status.success()
    }

    /// Starts the daemon; what it says goes to `daemon.log`.
    pub fn daemon(&self) -> Daemon {
        let log =
            std::fs::OpenOptions::new().create(true).append(true).open(self.path("daemon.log")).expect("a log file");
        let errors = log.try_clone().expect("a second handle");
        let child = self.command(&["run"]).stdout(log).stderr(errors).spawn().expect("the daemon starts");
        Daemon { child }
    }

    /// The state, read beside the daemon.
    pub fn store(&self) -> Arc<dyn Store> {
        let key = StateKey::load_or_create(&self.path(".sitewright/key")).expect("the key");
        Arc::new(SqliteStore::open_shared(&self.path(".sitewright/state.db"), &key).expect("the state"))
    }

    /// What is remembered of a client; `None` while there is no state.
    pub async fn client(&self, name: &str) -> Option<ClientRecord> {
        if !self.path(".sitewright/state.db").exists() {
            return None;
        }
        self.store().client(&ClientName::trusted(name)).await.ok().flatten()
    }

    pub async fn events(&self) -> Vec<Event> {
        self.store().events(None, 0, 100_000).await.expect("events")
    }

    /// `status -o json`.
    pub async fn status(&self) -> Value {
        let output = self.run(&["status", "-o", "json"]).await;
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&output.stderr)))
    }

    /// Waits until a condition of the record holds; panics with the last status and the log's end after `seconds`.
    pub async fn until(&self, name: &str, seconds: u64, holds: impl Fn(&ClientRecord) -> bool) -> ClientRecord {
        let deadline = Instant::now() + Duration::from_secs(seconds);
        loop {
            let record = self.client(name).await;
            if let Some(record) = record.as_ref().filter(|record| holds(record)) {
                return record.clone();
            }
            if Instant::now() > deadline {
                let log = std::fs::read_to_string(self.path("daemon.log")).unwrap_or_default();
                let tail: Vec<&str> = log.lines().rev().take(40).collect();
                panic!(
                    "{name} did not come so far in {seconds} s: {:#?}\n{}",
                    record.map(|r| r.status),
                    tail.into_iter().rev().collect::<Vec<_>>().join("\n")
                );
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub async fn ready(&self, name: &str) -> ClientRecord {
        self.until(name, 90, |record| record.status.is_ready() && record.observed_generation == record.generation).await
    }

    /// Waits until nothing is remembered of a client.
    pub async fn gone(&self, name: &str) {
        let deadline = Instant::now() + Duration::from_secs(90);
        while self
            .client(name)
            .await
            .is_some_and(|r| r.owned.removal.as_ref().is_none_or(|removal| removal.finished_at.is_none()))
        {
            assert!(
                Instant::now() < deadline,
                "{name} is not gone: {:#?}\n{:#?}",
                self.client(name).await.map(|r| (r.status.message, r.owned)),
                self.events()
                    .await
                    .into_iter()
                    .filter(|e| e.client.as_ref().is_some_and(|c| c.as_str() == name))
                    .map(|e| format!("{} {} {}", e.at, e.reason, e.message))
                    .collect::<Vec<_>>()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Calls that changed something at Ploi or Cloudflare, as `METHOD path`; asking for a script run counts.
    pub fn writes(&self) -> Vec<String> {
        self.simulators
            .world
            .faults
            .writes()
            .into_iter()
            .map(|call| format!("{} {} {}", call.provider, call.method, call.path))
            .collect()
    }

    pub fn calls(&self) -> Vec<Call> {
        self.simulators.world.faults.calls()
    }

    pub fn clear_calls(&self) {
        self.simulators.world.faults.clear_calls();
    }

    /// Records of all zones as the provider shows them.
    pub fn records(&self) -> Vec<Value> {
        let ids = self.zones.iter().map(|zone| self.simulators.zone(zone).expect("the zone"));
        ids.flat_map(|id| self.simulators.cloudflare.records(&id)).collect()
    }

    /// A world whose providers' own limits are out of the way, for tests that look often.
    pub async fn roomy() -> Rig {
        let rig = Rig::with(|options| options.ploi_limit = 1_000_000).await;
        rig.simulators.cloudflare.turn(|knobs| knobs.rate = (1_000_000, Duration::from_secs(2)));
        rig
    }

    /// Stdout of a command as JSON, and its exit code.
    pub async fn json(&self, arguments: &[&str]) -> (Value, Option<i32>) {
        let output = self.run(arguments).await;
        (serde_json::from_slice(&output.stdout).unwrap_or_default(), output.status.code())
    }
}
