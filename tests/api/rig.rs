//! An installation without a provider behind the real listener: its state on a disk, its loop running where a test wants it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use sitewright::api::listener::{listen, serve};
use sitewright::api::view::Lens;
use sitewright::app::{self, Access, App};
use sitewright::cli::run::face;
use sitewright::config::{Settings, StateLocation};
use sitewright::resource::mark::Mark;
use sitewright::resource::name::{ClientName, Instance, Uid};
use sitewright::resource::owned::Owned;
use sitewright::resource::secret::Secret;
use sitewright::status::{Condition, ConditionType, Phase, Status, Truth};
use sitewright::store::history::{Deployment, DeploymentKind, DeploymentState};
use sitewright::store::seal::{StateKey, new_uid};
use sitewright::store::sqlite::SqliteStore;
use sitewright::store::{AcceptedSpec, ClientRecord, Event, EventKind};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::raw::{Answer, Call};

/// The token of rigs that have one.
pub const TOKEN: &str = "right-token-0123456789abcdef";
/// The name under which they may be written to.
pub const HOST: &str = "ops.example";

pub struct Rig {
    pub directory: TempDir,
    pub app: App,
    pub address: SocketAddr,
    stop: watch::Sender<bool>,
    served: Option<JoinHandle<anyhow::Result<()>>>,
}

pub fn name(text: &str) -> ClientName {
    ClientName::parse(text).unwrap()
}

pub fn spec(name: &str, tier: &str) -> String {
    format!(
        "apiVersion: sitewright/v1\nkind: ClientSpec\nmetadata:\n  name: {name}\n  labels: {{ tier: {tier} }}\nspec:\n  domain: {name}.example\n  source: {{ repository: example/cms }}\n  hosting: {{ provider: ploi, server: \"1\" }}\n"
    )
}

pub fn event(client: Option<&str>, message: &str) -> Event {
    let (at, client) = (Timestamp::now(), client.map(name));
    Event {
        id: 0,
        at,
        client,
        kind: EventKind::Normal,
        reason: "Told".into(),
        message: message.into(),
        reconcile: None,
    }
}

/// A client as the state holds it, on its way.
pub fn record(client: &str, tier: &str, phase: Phase) -> ClientRecord {
    let mark = Mark { instance: Instance::parse("rig").unwrap(), uid: Uid::trusted(new_uid().unwrap().to_string()) };
    let owned = Owned::nothing(mark);
    let condition = |kind, status| Condition {
        kind,
        status,
        reason: "Told".into(),
        message: "as the test says".into(),
        last_transition_time: Timestamp::UNIX_EPOCH,
        observed_generation: 1,
    };
    let ready = if phase == Phase::Active { Truth::True } else { Truth::False };
    ClientRecord {
        name: name(client),
        accepted: Some(AcceptedSpec {
            text: spec(client, tier),
            file: format!("{client}.yaml"),
            spec_hash: "00".into(),
            at: Timestamp::UNIX_EPOCH,
        }),
        generation: 1,
        observed_generation: 1,
        reached_generation: 1,
        owned,
        secrets: BTreeMap::new(),
        pause: None,
        status: Status {
            phase,
            message: "as the test says".into(),
            next_attempt: None,
            conditions: vec![condition(ConditionType::Ready, ready), condition(ConditionType::SpecValid, Truth::True)],
        },
    }
}

pub fn deployment(record: &ClientRecord, number: u64, state: DeploymentState) -> Deployment {
    Deployment {
        id: 0,
        client: record.name.clone(),
        uid: record.owned.mark.uid.clone(),
        number,
        kind: DeploymentKind::First,
        trigger: "nothing was released before".into(),
        repository: "example/cms".into(),
        branch: "main".into(),
        commit: Some(format!("{number:040}")),
        started_at: Timestamp::UNIX_EPOCH,
        finished_at: None,
        state,
        reason: None,
        configuration: [("PORT".to_owned(), "4001".to_owned())].into(),
        health: None,
        reconcile: None,
    }
}

impl Rig {
    /// With a token, and without clients.
    pub async fn new() -> Rig {
        Rig::with(Some(TOKEN), &[]).await
    }

    /// With these files in the specs directory.
    pub async fn with(token: Option<&str>, specs: &[(&str, &str)]) -> Rig {
        let directory = tempfile::tempdir().expect("a directory");
        let folder = directory.path().join("specs");
        std::fs::create_dir(&folder).expect("a specs directory");
        for (name, tier) in specs {
            std::fs::write(folder.join(format!("{name}.yaml")), spec(name, tier)).expect("a spec");
        }
        let settings = Settings {
            specs: folder,
            state: StateLocation::Sqlite(directory.path().join("state.db")),
            state_key: directory.path().join("key"),
            backup_directory: directory.path().join("backups"),
            instance: Some("rig".into()),
            api_token: token.map(Secret::new),
            api_hosts: vec![HOST.into(), "narrow.example:8443".into()],
            debounce_quiet: Duration::ZERO,
            ..Settings::default()
        };
        let app = app::open(&settings, Access::Own).await.expect("an installation");
        let (rules, defaults) = app::options::rules(&settings).expect("rules");
        let deletion = &settings.deletion;
        let lens = Lens { rules, defaults, grace: deletion.grace, database_grace: deletion.database_grace };
        let api = face(&app, lens);
        let listener = listen(SocketAddr::from(([127, 0, 0, 1], 0)), &api).await.expect("an address");
        let address = listener.local_addr().expect("an address");
        let (stop, stopped) = watch::channel(false);
        let served = Some(tokio::spawn(serve(listener, api, stopped)));
        Rig { directory, app, address, stop, served }
    }

    /// Lets the loop run until the rig stops; returns when it turns.
    pub async fn run(&self) {
        let mut beats = self.app.controller.beats();
        tokio::spawn(self.app.controller.clone().run(self.stop.subscribe()));
        beats.changed().await.expect("the loop turns");
    }

    /// Saves clients.
    pub async fn save(&self, records: &[ClientRecord]) {
        for record in records {
            self.app.store.save(record).await.expect("saved");
        }
    }

    /// The state as a command beside the daemon opens it.
    pub fn beside(&self) -> SqliteStore {
        let key = StateKey::load_or_create(&self.app.settings.state_key).expect("the key");
        SqliteStore::open_shared(&self.database(), &key).expect("the state")
    }

    pub fn database(&self) -> PathBuf {
        self.directory.path().join("state.db")
    }

    pub async fn get(&self, target: &str) -> Answer {
        Call::new("GET", target).send(self.address).await
    }

    pub async fn post(&self, target: &str, body: &str) -> Answer {
        Call::new("POST", target).asking(TOKEN, body).send(self.address).await
    }

    /// Requests that nobody took, as debug text.
    pub async fn asked(&self) -> Vec<String> {
        let open = self.app.store.open_requests().await.expect("requests");
        open.into_iter().map(|request| format!("{:?}", request.ask)).collect()
    }

    /// Stops the face and waits for its end.
    pub async fn stop(&mut self) {
        self.stop.send_replace(true);
        if let Some(served) = self.served.take() {
            served.await.expect("no panic").expect("an orderly end");
        }
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}
