//! Secrets with names of their own go through every flow; then none of them stands in anything that people, logs or files show.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use parking_lot::Mutex;
use serde_json::json;
use sitewright::provider::ploi::sim::DeployEnd;
use sitewright::provider::world::faults::{Effect, Rule};

use crate::rig::{Rig, ZONE, cluster, spec};

/// The server of the simulated Ploi account.
const SERVER: u64 = 1;

/// A secret in the forms in which it could leak.
struct Canary {
    name: String,
    forms: Vec<Vec<u8>>,
}

impl Canary {
    fn new(name: &str, secret: &str) -> Canary {
        assert!(secret.len() >= 8, "{name} is too short to be told from chance");
        let bytes = secret.as_bytes();
        let hex = |upper: bool| {
            bytes.iter().fold(String::new(), |mut text, byte| {
                let _ = if upper { write!(text, "{byte:02X}") } else { write!(text, "{byte:02x}") };
                text
            })
        };
        let url = url::form_urlencoded::byte_serialize(bytes).collect::<String>();
        let json = serde_json::to_string(secret).expect("JSON");
        let mut forms = vec![
            secret.to_owned(),
            hex(false),
            hex(true),
            url.replace('+', "%20"),
            url,
            json.trim_matches('"').to_owned(),
        ];
        // Base64 of a text that holds the secret somewhere: three alignments, without the characters its neighbours touch.
        for engine in [&STANDARD, &URL_SAFE] {
            for offset in 0..3usize {
                let padded = [&b"xx"[..offset], bytes].concat();
                let text = engine.encode(&padded);
                let inner = &text[offset.div_ceil(3) * 4..text.len() - 4];
                if inner.len() >= 8 {
                    forms.push(inner.to_owned());
                }
            }
        }
        let forms = forms.into_iter().map(String::into_bytes).collect::<BTreeSet<_>>();
        Canary { name: name.to_owned(), forms: forms.into_iter().collect() }
    }
}

/// Finds canaries in whatever is shown to it.
#[derive(Default)]
struct Nose {
    canaries: Vec<Canary>,
    bytes: usize,
    hits: BTreeSet<String>,
}

impl Nose {
    fn sniff(&mut self, place: &str, bytes: &[u8]) {
        self.bytes += bytes.len();
        for canary in &self.canaries {
            for form in &canary.forms {
                if let Some(at) = bytes.windows(form.len()).position(|window| window == form.as_slice()) {
                    let around = &bytes[at.saturating_sub(120)..(at + form.len() + 40).min(bytes.len())];
                    self.hits.insert(format!("{} in {place}: {}", canary.name, String::from_utf8_lossy(around)));
                }
            }
        }
    }

    fn sniff_file(&mut self, path: &Path) {
        if let Ok(bytes) = std::fs::read(path) {
            self.sniff(&path.display().to_string(), &bytes);
        }
    }
}

/// Command lines of every process of this machine, from now on until dropped.
struct CommandLines {
    seen: Arc<Mutex<BTreeSet<Vec<u8>>>>,
    stop: Arc<AtomicBool>,
}

impl CommandLines {
    fn watch() -> CommandLines {
        let (seen, stop) = (Arc::new(Mutex::new(BTreeSet::new())), Arc::new(AtomicBool::new(false)));
        let (into, until) = (seen.clone(), stop.clone());
        std::thread::spawn(move || {
            while !until.load(Ordering::Relaxed) {
                for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
                    if let Ok(line) = std::fs::read(entry.path().join("cmdline")) {
                        into.lock().insert(line);
                    }
                }
                std::thread::sleep(Duration::from_millis(3));
            }
        });
        CommandLines { seen, stop }
    }
}

impl Drop for CommandLines {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Rig {
    /// Everything that commands print about the installation.
    async fn printed(&self, client: &str) -> Vec<(String, Vec<u8>)> {
        let mut all = Vec::new();
        for command in ["plan", "status", "describe", "events", "deletions", "config", "doctor"] {
            for format in ["text", "json"] {
                let mut arguments = vec![command];
                if command == "describe" {
                    arguments.push(client);
                }
                arguments.extend(["-o", format]);
                let output = self.run(&arguments).await;
                all.push((arguments.join(" "), [output.stdout, output.stderr].concat()));
            }
        }
        let address = &self.environment["SITEWRIGHT_LISTEN"];
        for path in [
            "/",
            "/readyz",
            "/version",
            "/api/v1/clients",
            &format!("/api/v1/clients/{client}"),
            &format!("/api/v1/clients/{client}/plan"),
            &format!("/api/v1/clients/{client}/events"),
            &format!("/api/v1/clients/{client}/deployments"),
            "/api/v1/deployments/1/logs",
            "/api/v1/providers",
            "/openapi.json",
            "/api/v1/deletions",
            "/metrics",
            "/nowhere",
        ] {
            let request = reqwest::Client::new().get(format!("http://{address}{path}"));
            let request = request.bearer_auth(&self.environment["SITEWRIGHT_API_TOKEN"]);
            if let Ok(answer) = request.send().await {
                all.push((format!("GET {path}"), answer.bytes().await.unwrap_or_default().to_vec()));
            }
        }
        all
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_is_shown_logged_or_stored_in_the_clear() {
    let mut rig = Rig::roomy().await;
    let command_lines = CommandLines::watch();
    let given = [
        ("CANARY_ENV", "canary-env/Vq8+w3.Zt=1"),
        ("STRIPE_SECRET_KEY", "sk_live_canaryShared51Hq"),
        ("OPENAI_API_KEY", "sk-canary-openai-77aXb"),
        ("CANARY_UNUSED", "canary-unreferenced-0qW"),
        ("SITEWRIGHT_API_TOKEN", "canary-api-token-9fK2mQ7x"),
        ("SITEWRIGHT_NOTIFY_WEBHOOK", "https://hooks.example/canary-hook-T0k3n"),
        ("RESEND_API_KEY", "re_canaryResend_5Zp"),
        ("VERCEL_API_TOKEN", "canaryVercelToken8812"),
        ("RAILWAY_API_KEY", "canary-railway-41c8"),
    ];
    for (name, value) in given {
        rig.set(name, value);
    }
    let in_file = "canary-from-file-\u{e9}t\u{e9}-66";
    std::fs::write(rig.path("secret.txt"), format!("{in_file}\n")).expect("a secret file");
    rig.set("SITEWRIGHT_LISTEN", &format!("127.0.0.1:{}", free_port()));
    rig.set("SITEWRIGHT_RESYNC", "1s");
    rig.set("SITEWRIGHT_DEPLOY_RETRY", "2s");
    rig.set("SITEWRIGHT_DELETION_MAX_SHARE", "100%");
    rig.set("RUST_LOG", "trace");
    rig.simulators.ploi.add_foreign_site(
        SERVER,
        &format!("theirs.{ZONE}"),
        Some("THEIRS='canary-of-somebody-else-3'\n"),
        4001,
    );
    let more = format!(
        "  admin: {{ email: admin@canary.example, name: Admin }}\n  database: {{ reclaimPolicy: Delete }}\n  environment:\n    A_SECRET: {{ secretRef: {{ env: CANARY_ENV }} }}\n    B_SECRET: {{ secretRef: {{ file: {} }} }}\n",
        rig.path("secret.txt").display()
    );
    rig.write("canary.yaml", &spec("canary", &more));
    rig.write("canaryother.yaml", &spec("canaryother", "  reconcile: { mode: observe }\n"));
    rig.write("theirs.yaml", &spec("theirs", ""));
    let mut daemon = rig.daemon();
    let record = rig.ready("canary").await;

    let mut nose = Nose::default();
    let password = |url: &str| url::Url::parse(url).expect("an address").password().expect("a password").to_owned();
    let mut add = |name: &str, secret: &str| nose.canaries.push(Canary::new(name, secret));
    for (name, value) in given {
        add(name, value);
    }
    add("a secret file", in_file);
    add("the admin of the server", &password(&rig.environment["PLATFORM_DATABASE_URL"]));
    add("the superuser of the server", &password(cluster().await.superuser_url().expose()));
    for name in ["PLOI_API_TOKEN", "CLOUDFLARE_API_TOKEN", "GITHUB_TOKEN"] {
        add(name, &rig.environment[name]);
    }
    add("somebody else's variable", "canary-of-somebody-else-3");
    add("the deploy webhook", "ploi.invalid/webhooks/");
    for (name, secret) in &record.secrets {
        add(name, secret.expose());
    }
    assert!(record.secrets.len() >= 3, "payload, database and administrator");
    assert!(nose.canaries.len() >= 20, "{}", nose.canaries.len());
    for (place, bytes) in rig.printed("canary").await {
        nose.sniff(&place, &bytes);
    }

    // A deploy that fails and prints its environment; a script that prints a secret; refusals that repeat what was sent.
    let secrets = format!("A_SECRET={} {}", rig.environment["CANARY_ENV"], record.secrets["payload_secret"].expose());
    rig.simulators.ploi.turn(|knobs| {
        knobs.deploy_end = DeployEnd::BuildFails;
        knobs.builds_print_environment = true;
    });
    rig.simulators.world.faults.add(Rule {
        provider: Some("ploi".into()),
        method: Some("PATCH".into()),
        path: Some("/env".into()),
        writes: true,
        skip: 0,
        times: 1,
        effect: Effect::Status {
            code: 422,
            body: Some(json!({ "message": "The given data was invalid.", "errors": { "content": [secrets] } })),
            retry_after: None,
        },
    });
    rig.write("canary.yaml", &spec("canary", &format!("{more}    C_PLAIN: changed\n")));
    rig.until("canary", 60, |r| r.owned.attempts.values().any(|a| a.reason == "RefusedByProvider")).await;
    for (place, bytes) in rig.printed("canary").await {
        nose.sniff(&place, &bytes);
    }
    rig.run(&["reconcile", "canary"]).await;
    rig.until("canary", 60, |r| r.owned.releases.failed.is_some()).await;
    for (place, bytes) in rig.printed("canary").await {
        nose.sniff(&place, &bytes);
    }
    for (effect, provider) in [
        (Effect::Garbage, "ploi"),
        (Effect::Garbage, "cloudflare"),
        (
            Effect::Status {
                code: 401,
                body: Some(json!({ "message": format!("{} is not a token", rig.environment["PLOI_API_TOKEN"]) })),
                retry_after: None,
            },
            "ploi",
        ),
    ] {
        let rule = Rule {
            provider: Some(provider.into()),
            method: Some("GET".into()),
            path: None,
            writes: false,
            skip: 0,
            times: u32::MAX,
            effect,
        };
        rig.simulators.world.faults.add(rule);
        tokio::time::sleep(Duration::from_millis(1500)).await;
        for (place, bytes) in rig.printed("canary").await {
            nose.sniff(&place, &bytes);
        }
        rig.simulators.world.faults.clear();
    }
    rig.simulators.ploi.turn(|knobs| {
        knobs.deploy_end = DeployEnd::AsItIs;
        knobs.scripts_fail_with = Some(format!("nginx: [emerg] {secrets}"));
    });
    rig.simulators.ploi.edit_vhost(SERVER, &format!("canary.{ZONE}"), |text| text.replace("localhost:", "localhost:1"));
    rig.run(&["deploy", "canary"]).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    rig.simulators.ploi.turn(|knobs| knobs.scripts_fail_with = None);

    // Down, with a dump and a drop.
    rig.remove("canary.yaml");
    tokio::time::sleep(Duration::from_secs(1)).await;
    for (place, bytes) in rig.printed("canary").await {
        nose.sniff(&place, &bytes);
    }
    rig.gone("canary").await;
    for (place, bytes) in rig.printed("canary").await {
        nose.sniff(&place, &bytes);
    }
    assert!(daemon.is_running());

    nose.sniff_file(&rig.path("daemon.log"));
    let log = std::fs::read_to_string(rig.path("daemon.log")).expect("a log");
    assert!(log.contains("\"TRACE\""), "the log holds what a trace shows");
    for name in ["state.db", "state.db-wal", "state.db-shm"] {
        nose.sniff_file(&rig.path(".sitewright").join(name));
    }
    let backups: Vec<String> = std::fs::read_dir(rig.path(".sitewright/backups"))
        .expect("backups")
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    assert!(!backups.is_empty(), "a dump came before the drop");
    nose.sniff("names of backups", backups.join("\n").as_bytes());
    let lines: Vec<u8> = command_lines.seen.lock().iter().flatten().copied().collect();
    assert!(lines.windows(7).any(|window| window == b"pg_dump"), "the dump was seen in the process list");
    nose.sniff("command lines", &lines);
    assert!(nose.bytes > 1_000_000, "{} bytes are too few to have looked at everything", nose.bytes);
    assert!(nose.hits.is_empty(), "{:#?}", nose.hits);
}
