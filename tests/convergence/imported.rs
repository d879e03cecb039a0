//! Sites that another system made: described by `import`, taken over without a write, changed and removed like any other.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sitewright::provider::world::process::Process;
use sitewright::resource::take_over::FOUND_RELEASE;
use sitewright::status::ConditionType;

use crate::rig::{Rig, ZONE, cluster, spec};
use crate::strangers::{catalog_of, connect};

/// The server of the simulated Ploi account, and its address.
const SERVER: u64 = 1;

/// A site as the replaced system leaves it: repository, environment, script, process, record, certificate, database.
struct OldSite<'a> {
    rig: &'a Rig,
    name: &'a str,
    /// How its process is called.
    process: &'a str,
    port: u16,
    /// Further lines of its environment.
    more: &'a str,
    /// Whether it logs in as a role of its own.
    own_login: bool,
}

impl OldSite<'_> {
    fn domain(&self) -> String {
        format!("{}.{ZONE}", self.name)
    }

    /// What somebody asks of Ploi by hand.
    async fn ploi(&self, piece: &str, body: &Value) {
        let id = self.rig.simulators.ploi.site_id(SERVER, &self.domain()).expect("the site");
        let url = format!("{}/servers/{SERVER}/sites/{id}/{piece}", self.rig.environment["PLOI_API_URL"]);
        let http = reqwest::Client::builder().user_agent("onlooker").build().expect("a client");
        let request = http.post(url).bearer_auth(&self.rig.environment["PLOI_API_TOKEN"]).json(body);
        let answer = request.send().await.expect("an answer");
        assert!(answer.status().is_success(), "{piece}: {}", answer.text().await.expect("a body"));
    }

    /// Gives the id of its record.
    async fn build(&self) -> String {
        let (rig, domain) = (self.rig, self.domain());
        let ploi = &rig.simulators.ploi;
        let database = format!("client_{}", self.name.replace('-', "_"));
        let admin = connect(&cluster().await.admin_url()).await;
        admin.batch_execute(&format!("CREATE DATABASE {database}")).await.expect("a database by hand");
        let admin_url = cluster().await.admin_url();
        let mut url = url::Url::parse(admin_url.expose()).expect("an address");
        url.set_path(&database);
        if self.own_login {
            let role = format!("{database}_app");
            let sql = format!("CREATE ROLE {role} LOGIN PASSWORD 'old-password-1'");
            admin.batch_execute(&sql).await.expect("a login by hand");
            url.set_username(&role).expect("a login");
            url.set_password(Some("old-password-1")).expect("a password");
        }
        ploi.add_foreign_site(SERVER, &domain, None, self.port);
        self.ploi("repository", &json!({ "provider": "github", "branch": "main", "name": "agency/cms" })).await;
        self.until_idle().await;
        let environment = format!(
            "NODE_ENV=production\nPORT={}\nDATABASE_URL={url}\nPAYLOAD_SECRET=old-payload-secret-{}\nCLIENT_ID={}\nCLIENT_NAME=\"The {}\"\nNEXT_PUBLIC_SERVER_URL=https://{domain}\nTEMPLATE_ID=blog\nPRIMARY_COLOR=#ff8800\n{}",
            self.port, self.name, self.name, self.name, self.more
        );
        assert!(ploi.edit_env(SERVER, &domain, |_| Some(environment.clone())));
        assert!(ploi.edit_script(SERVER, &domain, "npm ci\nnpm run build\npm2 restart payload-cms\n"));
        let variables = sitewright::resource::env_file::parse(&environment);
        let process = Process {
            name: self.process.to_owned(),
            user: "ploi".into(),
            port: self.port,
            environment: variables.iter().map(|(name, value)| (name.clone(), value.expose().to_owned())).collect(),
            commit: "0".into(),
            running: true,
        };
        rig.simulators.world.state().processes.start(SERVER, process).expect("a free port");
        let address = rig.simulators.world.state().web.address(SERVER).expect("its address").to_string();
        let record = rig.record_by_hand(&json!({ "type": "A", "name": domain, "content": address, "ttl": 600, "comment": "made by the old system" }));
        self.ploi("certificates", &json!({ "certificate": domain, "type": "letsencrypt" })).await;
        let deadline = Instant::now() + Duration::from_secs(30);
        while ploi.active_certificates(SERVER, &domain) == 0 {
            assert!(Instant::now() < deadline, "{domain} gets no certificate");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        record
    }

    async fn until_idle(&self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let shown = self.rig.site_snapshot(&self.domain()).await[0].to_string();
            if shown.contains("\\\"active\\\"") {
                return;
            }
            assert!(Instant::now() < deadline, "{shown}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Everything of it that an API or the catalog shows.
    async fn snapshot(&self, record: &str) -> Vec<Value> {
        let mut all = self.rig.site_snapshot(&self.domain()).await;
        all.push(self.rig.record_snapshot(record));
        all.push(json!(catalog_of(&format!("client_{}", self.name.replace('-', "_"))).await));
        all
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sites_of_another_system_are_taken_over_without_a_write_and_written_when_something_is_due() {
    let mut rig = Rig::roomy().await;
    rig.set("SITEWRIGHT_RESYNC", "1s");
    rig.set("SITEWRIGHT_AUDIT_PERIOD", "2s");
    let more = "SMTP_PASSWORD=hunter-two-2\nSMTP_HOST=smtp.old.example\n";
    let one = OldSite { rig: &rig, name: "oldone", process: "oldone", port: 4001, more, own_login: true };
    let two = OldSite { rig: &rig, name: "oldtwo", process: "payload-cms", port: 4002, more: "", own_login: false };
    let (first, second) = (one.build().await, two.build().await);
    rig.simulators.ploi.add_foreign_site(SERVER, &format!("static.{ZONE}"), None, 4009);
    let before = [one.snapshot(&first).await, two.snapshot(&second).await];
    rig.clear_calls();

    // Looked at and described.
    let output = rig.run(&["import", "-o", "json"]).await;
    let told = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{told}");
    let report: Value = serde_json::from_slice(&output.stdout).expect("a report");
    assert_eq!(report["written"].as_array().map(Vec::len), Some(2), "{report:#}");
    assert_eq!(report["passedOver"][0]["domain"], format!("static.{ZONE}"));
    let file = std::fs::read_to_string(rig.path("specs/oldone.yaml")).expect("a spec");
    for secret in ["hunter-two-2", "old-password-1", "old-payload-secret"] {
        assert!(!told.contains(secret) && !file.contains(secret), "{told}\n{file}");
    }
    assert!(file.contains("smtp.old.example") && file.contains("client_oldone"), "{file}");
    let secret = rig.path("specs/.secrets/oldone/SMTP_PASSWORD");
    assert_eq!(std::fs::read_to_string(&secret).expect("a secret"), "hunter-two-2\n");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&secret).expect("a file").permissions());
    assert_eq!(mode & 0o777, 0o600);
    assert!(rig.run(&["validate"]).await.status.success());
    let again = rig.json(&["import", "-o", "json"]).await.0;
    assert_eq!(again["written"], json!([]), "{again:#}");
    assert_eq!(std::fs::read_to_string(rig.path("specs/oldone.yaml")).expect("a spec"), file);

    // Taken over.
    let _daemon = rig.daemon();
    for name in ["oldone", "oldtwo"] {
        let record = rig.ready(name).await;
        assert!(record.status.message.contains("left as it was found"), "{}", record.status.message);
        assert_eq!(record.owned.releases.live.map(|live| live.number), Some(FOUND_RELEASE));
        assert_eq!(record.secrets["payload_secret"].expose(), format!("old-payload-secret-{name}"));
    }
    let taken = rig.client("oldone").await.expect("its record");
    assert_eq!(taken.secrets["database_password"].expose(), "old-password-1");
    assert_eq!(taken.owned.allocation.port.map(|(_, port)| port), Some(4001));
    tokio::time::sleep(Duration::from_secs(4)).await; // some more cycles and audits
    assert_eq!(rig.writes(), Vec::<String>::new());
    assert_eq!([one.snapshot(&first).await, two.snapshot(&second).await], before);
    let (plan, code) = rig.json(&["plan", "-o", "json", "--detailed-exitcode"]).await;
    assert_eq!(code, Some(0), "{plan:#}");
    assert!(plan["clients"][0]["accepted"].to_string().contains("variables differ"), "{plan:#}");

    // A record that is wanted otherwise is written with our mark, and nothing else is.
    rig.write("oldone.yaml", &file.replace("ttl: 600", "ttl: 900"));
    rig.until("oldone", 30, |r| r.generation == 2 && r.observed_generation == 2 && r.status.is_ready()).await;
    let record = rig.record_snapshot(&first);
    assert_eq!(record["ttl"], 900);
    assert!(record["comment"].as_str().is_some_and(|text| text.starts_with("sitewright/v1 rig")), "{record}");
    assert!(rig.writes().iter().all(|call| call.starts_with("cloudflare")), "{:?}", rig.writes());

    // Another environment: site, script, database and release become ours, the process is replaced in its place.
    rig.clear_calls();
    rig.write("oldone.yaml", &file.replace("ttl: 600", "ttl: 900").replace("smtp.old.example", "smtp.new.example"));
    let record =
        rig.until("oldone", 60, |r| r.generation == 3 && r.observed_generation == 3 && r.status.is_ready()).await;
    assert_eq!(record.owned.releases.live.as_ref().map(|live| live.number), Some(1));
    let environment = rig.simulators.ploi.env_of(SERVER, &one.domain()).expect("its environment");
    for line in
        ["SITEWRIGHT_OWNER='rig/", "smtp.new.example", "hunter-two-2", "old-payload-secret-oldone", "PORT='4001'"]
    {
        assert!(environment.contains(line), "{line} is missing");
    }
    assert!(environment.contains("old-password-1"), "the database keeps its login");
    assert_eq!(json!(catalog_of("client_oldone").await), before[0][before[0].len() - 1], "and is left as it was found");
    assert_eq!(rig.simulators.ploi.deploys_ended(SERVER, &one.domain()), 1);
    assert_eq!(two.snapshot(&second).await, before[1], "the other one is as it was");

    // A person asks for a deploy of the other: its port is held by a process of another name, so it moves.
    assert!(rig.run(&["deploy", "oldtwo"]).await.status.success());
    let record = rig
        .until("oldtwo", 90, |r| {
            r.status.is_ready() && r.owned.releases.live.as_ref().is_some_and(|live| live.number != FOUND_RELEASE)
        })
        .await;
    assert_ne!(record.owned.allocation.port.map(|(_, port)| port), Some(4002));
    let unmarked = rig.record_snapshot(&second);
    assert_eq!(unmarked["comment"], "made by the old system", "nothing was due for the record");
    let condition = record.status.condition(ConditionType::DNSReady).expect("a condition");
    assert_eq!(condition.reason, "AsFound");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_takes_an_import_back_finds_everything_as_it_was_and_a_removal_needs_no_mark() {
    let mut rig = Rig::roomy().await;
    rig.set("SITEWRIGHT_RESYNC", "1s");
    rig.set("SITEWRIGHT_DELETION_MAX_SHARE", "100%");
    rig.set("SITEWRIGHT_DELETION_MAX_PER_DAY", "50");
    let undone = OldSite { rig: &rig, name: "oldundo", process: "oldundo", port: 4001, more: "", own_login: true };
    let gone = OldSite { rig: &rig, name: "oldgone", process: "oldgone", port: 4002, more: "", own_login: false };
    let kept = OldSite { rig: &rig, name: "oldkept", process: "oldkept", port: 4003, more: "", own_login: false };
    let (first, second, _) = (undone.build().await, gone.build().await, kept.build().await);
    let before = undone.snapshot(&first).await;
    assert!(rig.run(&["import"]).await.status.success());
    let file = std::fs::read_to_string(rig.path("specs/oldgone.yaml")).expect("a spec");
    rig.write("oldgone.yaml", &file.replace("deletionPolicy: Retain", "deletionPolicy: Delete"));
    let _daemon = rig.daemon();
    for name in ["oldundo", "oldgone", "oldkept"] {
        rig.ready(name).await;
    }
    rig.clear_calls();
    rig.remove("oldundo.yaml");
    rig.gone("oldundo").await;
    assert_eq!(rig.writes(), Vec::<String>::new());
    assert_eq!(undone.snapshot(&first).await, before);

    let database = catalog_of("client_oldgone").await;
    rig.remove("oldgone.yaml");
    rig.gone("oldgone").await;
    assert!(rig.simulators.ploi.site_id(SERVER, &gone.domain()).is_none(), "adopted by its id, it goes");
    assert!(rig.records().iter().all(|record| record["id"] != *second), "and so does its address");
    assert_eq!(catalog_of("client_oldgone").await, database, "its database is kept as it was found");
}

/// The first run of an installation may be one that only looks; and a file that goes meanwhile begins no removal.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_run_may_only_look() {
    let mut rig = Rig::roomy().await;
    rig.set("SITEWRIGHT_RESYNC", "1s");
    rig.set("SITEWRIGHT_DELETION_MAX_SHARE", "100%");
    for name in ["lookone", "looktwo"] {
        rig.write(&format!("{name}.yaml"), &spec(name, ""));
    }
    let looked = rig.run(&["run", "--once", "--observe", "--timeout", "1m"]).await;
    assert_eq!(looked.status.code(), Some(1), "nobody is ready: {}", String::from_utf8_lossy(&looked.stderr));
    assert_eq!(rig.writes(), Vec::<String>::new());
    assert_eq!(catalog_of("client_look").await, Vec::<String>::new());
    assert!(rig.client("lookone").await.is_some_and(|record| record.observed_generation == 1));

    assert!(rig.once().await);
    rig.clear_calls();
    rig.remove("looktwo.yaml");
    let mut command = rig.command(&["run", "--observe"]);
    let mut observer =
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().expect("runs");
    tokio::time::sleep(Duration::from_secs(5)).await; // many scans, and more than the absence's window
    observer.kill().expect("ends");
    observer.wait().expect("an end");
    assert_eq!(rig.writes(), Vec::<String>::new());
    assert!(rig.client("looktwo").await.is_some_and(|record| record.owned.removal.is_none()));
}
