//! The reference spec against the simulators of another process: every condition, the site over TLS, isolation of the
//! database, and an environment file that every reader reads alike.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use sitewright::provider::Databases as _;
use sitewright::provider::postgres::{Postgres, PostgresSettings};
use sitewright::resource::database::Database;
use sitewright::resource::mark::Mark;
use sitewright::resource::name::{Instance, SqlName, Uid};
use sitewright::resource::secret::Secret;
use sitewright::status::{ConditionType, Truth};

use crate::rig::{Rig, cluster};

/// Quotes, expansions, a comment and spaces at both ends: whatever a reader may trip over and section 2 still allows.
const NASTY: &str = " pa\"ss $HOME ${PATH} $(id) `id` #no comment \\n = !x% ";
const CLIENT: &str = "plastimed01";
/// The variable that the simulators print last.
const LAST_VARIABLE: &str = "SITEWRIGHT_PROBE_CA";

/// `sitewright sim` as a process of its own; ended when dropped.
struct Sim(Child);

impl Sim {
    /// Starts it over the rig's specs; gives what its `export` lines say.
    fn start(rig: &Rig) -> (Sim, BTreeMap<String, String>) {
        let mut command = rig.command(&["sim", "--specs", "specs"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the simulators start");
        let lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        let mut variables = BTreeMap::new();
        for line in lines.map_while(Result::ok) {
            let (name, value) = line.strip_prefix("export ").and_then(|l| l.split_once('=')).expect("an export line");
            variables.insert(name.to_owned(), value.trim_matches('\'').to_owned());
            if name == LAST_VARIABLE {
                break;
            }
        }
        (Sim(child), variables)
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The reference spec of the shelf; where there is no shelf, the same members in a fixture.
fn reference() -> String {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let shelf = std::env::var_os("SITEWRIGHT_SHELF").map_or_else(|| root.join("../shared"), PathBuf::from);
    std::fs::read_to_string(shelf.join("specs/plastimed01.yaml"))
        .or_else(|_| std::fs::read_to_string(root.join("tests/spec/fixtures/full.yaml")))
        .expect("the reference spec")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_reference_spec_converges_against_simulators_of_another_process() {
    let mut rig = Rig::new().await;
    rig.set("PLASTIMED_SMTP_PASSWORD", NASTY);
    rig.write("plastimed01.yaml", &reference());
    let (_sim, variables) = Sim::start(&rig);
    rig.environment.extend(variables);

    let mut daemon = rig.daemon();
    let record = rig.ready(CLIENT).await;
    let lifecycle =
        [ConditionType::Reconciling, ConditionType::Stalled, ConditionType::Paused, ConditionType::Terminating];
    for condition in &record.status.conditions {
        let wanted = if lifecycle.contains(&condition.kind) { Truth::False } else { Truth::True };
        assert_eq!(condition.status, wanted, "{condition:#?}");
    }
    let domain = sitewright::spec::parse::parse(reference().as_bytes(), &Default::default())
        .ok()
        .and_then(|parsed| parsed.spec.domain(&Default::default()).ok())
        .expect("its domain")
        .to_string();
    assert_eq!(answer(&rig, &domain), "200 plastimed01");

    let second = rig.run(&["run"]).await;
    assert_eq!(second.status.code(), Some(1), "a second daemon on the same state");
    assert!(daemon.is_running(), "the first one goes on");
    daemon.kill();
    assert!(rig.once().await, "a killed daemon leaves no lock, and everything is ready");

    let text = environment_at_the_host(&rig, &domain).await;
    let values = read_alike(&rig, &text);
    assert_eq!(values["SMTP_PASSWORD"], NASTY);
    assert_eq!(values["CLIENT_ID"], CLIENT);
    let settings: Value = serde_json::from_str(&values["CLIENT_SETTINGS"]).expect("JSON");
    assert_eq!(settings["primaryColor"], "#00897B");
    assert_eq!(values["ENABLE_BLOG"], "true", "{values:#?}");
    isolated(&values["DATABASE_URL"]).await;
}

/// Status and client of one request over TLS, as a stranger's program sees them.
fn answer(rig: &Rig, domain: &str) -> String {
    let edge = &rig.environment["SITEWRIGHT_PROBE_CONNECT_TO"];
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--output", "/dev/null", "--noproxy", "*"])
        .args(["--write-out", "%{http_code} %header{x-client-id}"])
        .args(["--cacert", &rig.environment[LAST_VARIABLE], "--connect-to", &format!("::{edge}")])
        .arg(format!("https://{domain}/api/health"))
        .output()
        .expect("curl runs");
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The environment file as Ploi's API shows it.
async fn environment_at_the_host(rig: &Rig, domain: &str) -> String {
    let client = reqwest::Client::builder()
        .user_agent("reference test")
        .no_proxy()
        .tls_certs_only([])
        .build()
        .expect("a client");
    let get = async |path: &str| -> Value {
        let url = format!("{}/{path}", rig.environment["PLOI_API_URL"]);
        let answer = client.get(url).bearer_auth(&rig.environment["PLOI_API_TOKEN"]);
        let body = answer.header("Accept", "application/json").send().await.expect("an answer").bytes().await;
        serde_json::from_slice(&body.expect("a body")).expect("JSON")
    };
    let sites = get("servers/1/sites").await;
    let site = sites["data"].as_array().expect("sites").iter().find(|site| site["domain"] == domain).expect("the site");
    let file = get(&format!("servers/1/sites/{}/env", site["id"])).await;
    file["content"].as_str().expect("a text").to_owned()
}

/// Every variable of the file by every reader; they must agree.
fn read_alike(rig: &Rig, text: &str) -> BTreeMap<String, String> {
    let file = rig.path("site.env");
    std::fs::write(&file, text).expect("written");
    let file = file.display().to_string();
    let parsed = reader(&[
        "node",
        "-e",
        "process.stdout.write(JSON.stringify(require('util').parseEnv(require('fs').readFileSync(process.argv[1], 'utf8'))))",
        &file,
    ]);
    assert!(parsed.len() > 20, "{parsed:?}");
    let shell = "set -a; . \"$1\"; set +a; exec \"$0\" -e \"$2\"";
    let print = "process.stdout.write(JSON.stringify(process.env))";
    let node = String::from_utf8(Command::new("which").arg("node").output().expect("which").stdout).expect("a path");
    for command in [
        vec!["node", "--env-file", &file, "-e", print],
        vec!["bash", "-c", shell, node.trim(), &file, print],
        vec!["dash", "-c", shell, node.trim(), &file, print],
    ] {
        let mut read = reader(&command);
        read.retain(|name, _| parsed.contains_key(name));
        assert_eq!(read, parsed, "{command:?}");
    }
    parsed
}

fn reader(command: &[&str]) -> BTreeMap<String, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let output = Command::new(command[0]).args(&command[1..]).env_clear().env("PATH", path).output().expect("it runs");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Neither this client's login gets into a neighbour's database nor the neighbour's into this one.
async fn isolated(url: &str) {
    let postgres = Postgres::new(&PostgresSettings {
        url: cluster().await.admin_url(),
        site_host: None,
        site_parameters: None,
        ca: None,
    })
    .expect("settings");
    let neighbour = Database {
        name: SqlName::parse("client_reference_neighbour").expect("a name"),
        login: SqlName::parse("client_reference_neighbour_a").expect("a name"),
        mark: Mark {
            instance: Instance::parse("rig").expect("an instance"),
            uid: Uid::trusted("01j9z3k4m5n6p7q8r9s0t1v2w3"),
        },
        client: "reference-neighbour".into(),
    };
    let password = Secret::new("neighbour0password");
    postgres.ensure_database(&neighbour, true).await.expect("a database");
    postgres.ensure_login(&neighbour, &password, true).await.expect("a login");
    let theirs = postgres.site_url(&neighbour.name, &neighbour.login, &password);
    assert_eq!(log_in(url, None).await, Ok(()));
    assert_eq!(log_in(theirs.expose(), None).await, Ok(()));
    let refused = Err("42501".to_owned());
    assert_eq!(log_in(url, Some("client_reference_neighbour")).await, refused, "ours into theirs");
    assert_eq!(log_in(theirs.expose(), Some("client_plastimed01")).await, refused, "theirs into ours");
}

/// One login; the error is the server's code.
async fn log_in(url: &str, other_database: Option<&str>) -> Result<(), String> {
    let mut config: tokio_postgres::Config = url.parse().expect("an address");
    if let Some(name) = other_database {
        config.dbname(name);
    }
    match config.connect(tokio_postgres::NoTls).await {
        Ok(_) => Ok(()),
        Err(error) => Err(error.code().map_or_else(|| error.to_string(), |code| code.code().to_owned())),
    }
}
