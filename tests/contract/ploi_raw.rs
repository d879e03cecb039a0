//! The simulated Ploi asked as anybody could ask it, against the samples of contracts/ploi.md: no client of ours.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use serde_json::{Value, json};
use sitewright::provider::ploi::sim::{
    AliasPost, CertificateEnd, DeployEnd, Envelope, PloiDelays, SERVER_ID, WhileBusy,
};

use sitewright::provider::ploi::sim::router;
use tower::ServiceExt;

use crate::ploi_bench::{Bench, TOKEN, bench, until};

const PAUSE: Duration = Duration::from_millis(5);
const DOMAIN: &str = "shop.example.com";
const SCRIPT: &str = "SW_CLIENT='shop'\nSW_BRANCH='main'\ncd /home/ploi/shop.example.com\n";

/// Sends one request with everything that the contract asks for, straight into the router: in tokio's paused time a state
/// stands still until somebody waits.
async fn call(bench: &Bench, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
    let request = Request::builder()
        .method(method)
        .uri(format!("/api/{path}"))
        .header(header::USER_AGENT, "raw")
        .header(header::ACCEPT, "application/json")
        .header(header::AUTHORIZATION, format!("Bearer {TOKEN}"))
        .header(header::CONTENT_TYPE, "application/json");
    let body = body.map_or_else(Body::empty, |value| Body::from(value.to_string()));
    let response = router(bench.sim.clone()).oneshot(request.body(body).unwrap()).await.unwrap();
    let status = response.status();
    let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}

async fn get(bench: &Bench, path: &str) -> (StatusCode, Value) {
    call(bench, Method::GET, path, None).await
}

async fn send(bench: &Bench, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
    call(bench, method, path, Some(body)).await
}

async fn status_of(bench: &Bench, site: &str) -> String {
    get(bench, site).await.1["data"]["status"].as_str().unwrap_or("gone").to_owned()
}

async fn until_status(bench: &Bench, site: &str, wanted: &str) {
    until(wanted, PAUSE, || async { (status_of(bench, site).await == wanted).then_some(()) }).await;
}

async fn run(bench: &Bench, user: &str, content: &str) -> Value {
    let body = json!({ "content": content, "user": user });
    let (status, run) = send(bench, Method::POST, "servers/1/scripts/run", body).await;
    assert_eq!((status, &run["data"]["status"]), (StatusCode::OK, &json!("pending")));
    let path = format!("servers/1/scripts/run/{}", run["data"]["id"].as_str().unwrap());
    until("a finished run", PAUSE, || async {
        let (_, run) = get(bench, &path).await;
        (run["data"]["status"] == "finished").then(|| run["data"].clone())
    })
    .await
}

const CLEAR: &str = "SW_CLIENT='shop'\nSW_DOMAIN='shop.example.com'\nSW_USER='ploi'\nset -eu\ncd -P -- \"/home/$SW_USER/$SW_DOMAIN\"\nfind . -maxdepth 1 -type f -name index.html -delete\n";

/// An active site with repository, environment and script; gives its path.
async fn ready_site(bench: &Bench) -> String {
    let body = json!({ "root_domain": DOMAIN, "web_directory": "/", "project_type": "nodejs" });
    let (status, made) = send(bench, Method::POST, "servers/1/sites", body).await;
    assert_eq!(status, StatusCode::CREATED);
    let site = format!("servers/1/sites/{}", made["data"]["id"]);
    until_status(bench, &site, "active").await;
    assert_eq!(run(bench, "root", CLEAR).await["exit_code"], 0);
    bench.sim.world.state().git.push("acme/shop", "main");
    let body = json!({ "provider": "github", "branch": "main", "name": "acme/shop" });
    assert_eq!(send(bench, Method::POST, &format!("{site}/repository"), body).await.0, StatusCode::OK);
    until_status(bench, &site, "active").await;
    let body = json!({ "content": "PORT='4001'\nCLIENT_ID='shop'\n" });
    assert_eq!(send(bench, Method::PATCH, &format!("{site}/env"), body).await.0, StatusCode::OK);
    let body = json!({ "deploy_script": SCRIPT });
    assert_eq!(send(bench, Method::PATCH, &format!("{site}/deploy/script"), body).await.0, StatusCode::OK);
    site
}

#[tokio::test]
async fn who_has_no_token_or_no_name_is_refused() {
    let bench = bench(240).await;
    let client = reqwest::Client::new();
    let url = format!("{}/user", bench.url);
    let response = client.get(&url).header("User-Agent", "raw").bearer_auth("other").send().await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(response.json::<Value>().await.unwrap(), json!({ "message": "Unauthenticated." }));
    let nameless = client.get(&url).bearer_auth(TOKEN).send().await.unwrap();
    assert_eq!(nameless.status(), StatusCode::FORBIDDEN);
    let named = client.get(&url).header("User-Agent", "raw").bearer_auth(TOKEN).send().await.unwrap();
    assert_eq!(named.json::<Value>().await.unwrap()["data"]["plan"], "Unlimited");
}

#[tokio::test]
async fn the_budget_is_told_and_a_spent_one_says_when() {
    let bench = bench(2).await;
    let client = reqwest::Client::builder().user_agent("raw").build().unwrap();
    let ask = async || client.get(format!("{}/user", bench.url)).bearer_auth(TOKEN).send().await.unwrap();
    let first = ask().await;
    assert_eq!(first.headers()["x-ratelimit-limit"], "2");
    assert_eq!(first.headers()["x-ratelimit-remaining"], "1");
    ask().await;
    let third = ask().await;
    assert_eq!(third.status(), StatusCode::TOO_MANY_REQUESTS);
    let after: u64 = third.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&after));
    let said = third.json::<Value>().await.unwrap();
    assert_eq!(said["message"], "Too many requests, please slow down with sending requests.");
}

#[tokio::test(start_paused = true)]
async fn a_page_holds_fifteen_and_never_more_than_fifty() {
    let bench = bench(240).await;
    for n in 0..62 {
        bench.sim.add_foreign_site(SERVER_ID, &format!("s{n:02}.example.com"), None, 4100);
    }
    let (_, page) = get(&bench, "servers/1/sites").await;
    assert_eq!(page["data"].as_array().unwrap().len(), 15);
    assert_eq!(page["meta"]["last_page"], 5);
    let (_, page) = get(&bench, "servers/1/sites?per_page=51").await;
    assert_eq!((page["data"].as_array().unwrap().len(), &page["meta"]["per_page"]), (15, &json!(15)));
    let (_, page) = get(&bench, "servers/1/sites?per_page=50&page=2").await;
    assert_eq!(page["data"].as_array().unwrap().len(), 12);
    let meta = &page["meta"];
    assert_eq!((&meta["current_page"], &meta["last_page"], &meta["total"]), (&json!(2), &json!(2), &json!(62)));
    assert_eq!((&meta["from"], &meta["to"]), (&json!(51), &json!(62)));
    assert!(page["links"]["first"].as_str().unwrap().starts_with("http://ploi.io/"), "links lead elsewhere");
    let (_, found) = get(&bench, "servers/1/sites?search=s1").await;
    assert_eq!(found["meta"]["total"], 10, "search finds parts of names");
}

#[tokio::test(start_paused = true)]
async fn a_new_site_passes_through_its_states_and_ignores_a_port() {
    let bench = bench(2000).await;
    let body = json!({ "root_domain": DOMAIN, "web_directory": "/", "project_type": "nodejs", "nodejs_port": 4001 });
    let (status, made) = send(&bench, Method::POST, "servers/1/sites", body).await;
    assert_eq!(status, StatusCode::CREATED);
    assert_eq!(made["data"].get("status"), None, "as in the documented sample");
    let site = format!("servers/1/sites/{}", made["data"]["id"]);
    assert_eq!(status_of(&bench, &site).await, "created");
    let early = send(&bench, Method::PATCH, &format!("{site}/env"), json!({ "content": "A='1'" })).await;
    assert_eq!(early.0, StatusCode::UNPROCESSABLE_ENTITY);
    until_status(&bench, &site, "active").await;
    let (_, read) = get(&bench, &site).await;
    let sample = json!({ "domain": DOMAIN, "web_directory": "/", "project_type": "nodejs", "project_root": "/",
        "system_user": "ploi", "has_repository": false, "quick_deploy": false, "last_deploy_at": null,
        "deploy_script": false, "server_id": 1 });
    for (key, value) in sample.as_object().unwrap() {
        assert_eq!(&read["data"][key], value, "{key}");
    }
    let (_, nginx) = get(&bench, &format!("{site}/nginx-configuration")).await;
    let text = nginx["content"].as_str().unwrap();
    assert!(text.matches("proxy_pass http://localhost:3000;").count() > 1 && !text.contains("4001"));
    assert!(text.contains("root /var/www/html;"));
    assert_eq!(get(&bench, &format!("{site}/env")).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test(start_paused = true)]
async fn a_taken_domain_and_a_bad_directory_are_named() {
    let bench = bench(240).await;
    bench.sim.add_foreign_site(SERVER_ID, DOMAIN, None, 4100);
    let body = json!({ "root_domain": DOMAIN, "web_directory": "/", "project_type": "nodejs" });
    let (status, said) = send(&bench, Method::POST, "servers/1/sites", body).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(said["errors"]["root_domain"], json!(["The root domain has already been taken."]));
    let body = json!({ "root_domain": "a.example.com", "web_directory": "/../x" });
    let (status, said) = send(&bench, Method::POST, "servers/1/sites", body).await;
    assert_eq!((status, said["errors"]["web_directory"].is_array()), (StatusCode::UNPROCESSABLE_ENTITY, true));
}

#[tokio::test(start_paused = true)]
async fn a_deleted_site_shows_deleting_then_nothing_and_its_process_stays() {
    let bench = bench(2000).await;
    let site = ready_site(&bench).await;
    send(&bench, Method::POST, &format!("{site}/deploy"), json!({})).await;
    until("a release", PAUSE, || async {
        (get(&bench, &site).await.1["data"]["last_deploy_at"].is_string()).then_some(())
    })
    .await;
    assert_eq!(call(&bench, Method::DELETE, &site, None).await.0, StatusCode::OK);
    assert_eq!(status_of(&bench, &site).await, "deleting");
    until_status(&bench, &site, "gone").await;
    assert_eq!(call(&bench, Method::DELETE, &site, None).await.0, StatusCode::NOT_FOUND);
    assert!(bench.sim.world.state().processes.listener(SERVER_ID, 4001).is_some());
}

#[tokio::test(start_paused = true)]
async fn the_placeholder_and_an_environment_file_block_the_clone() {
    let bench = bench(2000).await;
    let body = json!({ "root_domain": DOMAIN, "web_directory": "/", "project_type": "nodejs" });
    let (_, made) = send(&bench, Method::POST, "servers/1/sites", body).await;
    let site = format!("servers/1/sites/{}", made["data"]["id"]);
    until_status(&bench, &site, "active").await;
    bench.sim.world.state().git.push("acme/shop", "main");
    let install = json!({ "provider": "github", "branch": "main", "name": "acme/shop" });
    let repository = format!("{site}/repository");
    let blocked = async |why: &str| {
        send(&bench, Method::POST, &repository, install.clone()).await;
        until_status(&bench, &site, "active").await;
        assert_eq!(get(&bench, &repository).await.1["data"]["repository"], Value::Null);
        let (_, log) = get(&bench, &format!("{site}/log")).await;
        assert!(log["data"][0]["content"].as_str().unwrap().contains(why), "{log}");
        assert_eq!(log["data"][0]["type"], Value::Null);
    };
    blocked("Permission denied").await;
    assert_eq!(run(&bench, "root", CLEAR).await["exit_code"], 0);
    bench.sim.edit_env(SERVER_ID, DOMAIN, |_| Some("A='1'\n".into()));
    blocked("already exists").await;
    bench.sim.edit_env(SERVER_ID, DOMAIN, |_| None);
    send(&bench, Method::POST, &repository, install.clone()).await;
    assert_eq!(status_of(&bench, &site).await, "repository-installing");
    until_status(&bench, &site, "active").await;
    let (_, installed) = get(&bench, &repository).await;
    let sample = json!({ "branch": "main", "user": "acme", "name": "shop", "provider": "github" });
    assert_eq!(installed["data"]["repository"], sample);
}

#[tokio::test(start_paused = true)]
async fn files_come_in_every_envelope() {
    let bench = bench(2000).await;
    let site = ready_site(&bench).await;
    let text = "PORT='4001'\nCLIENT_ID='shop'\n";
    let env = format!("{site}/env");
    assert_eq!(get(&bench, &env).await.1, json!({ "content": text }));
    for (envelope, body) in [
        (Envelope::Observed, json!({ "data": text })),
        (Envelope::DataMember, json!({ "data": { "content": text } })),
        (Envelope::Bare, json!(text)),
    ] {
        bench.sim.turn(|knobs| knobs.env_envelope = envelope);
        assert_eq!(get(&bench, &env).await.1, body);
    }
    bench.sim.turn(|knobs| (knobs.vhost_envelope, knobs.script_envelope) = (Envelope::Observed, Envelope::Observed));
    assert!(get(&bench, &format!("{site}/nginx-configuration")).await.1["nginx_config"].is_string());
    assert_eq!(get(&bench, &format!("{site}/deploy/script")).await.1, json!({ "data": { "script": SCRIPT } }));
    let short = send(&bench, Method::PATCH, &env, json!({ "content": "x" })).await;
    assert_eq!((short.0, short.1["errors"]["content"].is_array()), (StatusCode::UNPROCESSABLE_ENTITY, true));
}

#[tokio::test(start_paused = true)]
async fn an_environment_reads_stale_until_it_settles() {
    let bench = bench(2000).await;
    let site = ready_site(&bench).await;
    bench.sim.set_delays(PloiDelays { env_settles: Duration::from_millis(300), ..PloiDelays::quick() });
    let env = format!("{site}/env");
    send(&bench, Method::PATCH, &env, json!({ "content": "PORT='4002'\n" })).await;
    assert_eq!(get(&bench, &env).await.1["content"], "PORT='4001'\nCLIENT_ID='shop'\n");
    until("the new text", PAUSE, || async { (get(&bench, &env).await.1["content"] == "PORT='4002'\n").then_some(()) })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_deploy_is_active_before_it_is_deploying_and_a_second_one_is_ignored() {
    let bench = bench(4000).await;
    let site = ready_site(&bench).await;
    let slow = Duration::from_millis(200);
    bench.sim.set_delays(PloiDelays { deploying_shows: slow, deploy: slow, ..PloiDelays::quick() });
    let commit = bench.sim.world.state().git.push("acme/shop", "next");
    let deploy = format!("{site}/deploy");
    let body = json!({ "variables": { "SW_BRANCH": "next", "SW_COMMIT": commit } });
    let (status, said) = send(&bench, Method::POST, &deploy, body).await;
    assert_eq!((status, said), (StatusCode::OK, json!({ "message": "Deployment has been started" })));
    let (_, early) = get(&bench, &site).await;
    assert_eq!((&early["data"]["status"], &early["data"]["last_deploy_at"]), (&json!("active"), &Value::Null));
    until_status(&bench, &site, "deploying").await;
    assert!(get(&bench, &site).await.1["data"]["current_deploy_log"].is_string());
    assert_eq!(send(&bench, Method::POST, &deploy, json!({})).await.0, StatusCode::OK);
    until_status(&bench, &site, "active").await;
    let (_, log) = get(&bench, &format!("{site}/log")).await;
    let deploys = log["data"].as_array().unwrap().iter().filter(|entry| entry["type"] == "deploy").count();
    assert_eq!(deploys, 1);
    assert!(get(&bench, &site).await.1["data"]["last_deploy_at"].is_string());
    let state = bench.sim.world.state();
    assert_eq!(state.processes.listener(SERVER_ID, 4001).unwrap().commit, commit);
}

/// Deploys and gives the status it ends in and its log.
async fn deployed(bench: &Bench, site: &str) -> (String, String) {
    let logs = async || {
        let (_, log) = get(bench, &format!("{site}/log?per_page=50")).await;
        log["data"].as_array().unwrap().iter().filter(|entry| entry["type"] == "deploy").cloned().collect::<Vec<_>>()
    };
    let before = logs().await.len();
    send(bench, Method::POST, &format!("{site}/deploy"), json!({})).await;
    let newest = until("an end of the deploy", PAUSE, || async {
        let now = logs().await;
        (now.len() > before).then(|| now[0]["content"].as_str().unwrap().to_owned())
    })
    .await;
    (status_of(bench, site).await, newest)
}

#[tokio::test(start_paused = true)]
async fn a_deploy_that_fails_leaves_the_old_release_serving() {
    let bench = bench(8000).await;
    let site = ready_site(&bench).await;
    assert_eq!(deployed(&bench, &site).await.0, "active");
    let serving = || bench.sim.world.state().processes.listener(SERVER_ID, 4001).map(|p| p.commit.clone()).unwrap();
    let old = serving();
    bench.sim.world.state().git.push("acme/shop", "main");
    bench.sim.turn(|knobs| knobs.deploy_end = DeployEnd::BuildFails);
    assert_eq!(deployed(&bench, &site).await.0, "deploy-failed");
    assert_eq!(serving(), old);
    bench.sim.turn(|knobs| knobs.deploy_end = DeployEnd::AsItIs);
    bench.sim.edit_script(SERVER_ID, DOMAIN, "SW_CLIENT='shop'\nif true; then\n");
    assert_eq!(deployed(&bench, &site).await.0, "deploy-failed", "a script that does not parse");
    bench.sim.edit_script(SERVER_ID, DOMAIN, "echo hello\n");
    assert_eq!(deployed(&bench, &site).await.0, "deploy-failed", "a script that names no client");
    bench.sim.edit_script(SERVER_ID, DOMAIN, SCRIPT);
    bench.sim.edit_env(SERVER_ID, DOMAIN, |_| Some("PORT=$(id)\n".into()));
    assert_eq!(deployed(&bench, &site).await.0, "deploy-failed", "an environment that does not parse");
    assert_eq!(serving(), old);
    bench.sim.edit_env(SERVER_ID, DOMAIN, |_| Some("PORT='4001'\n".into()));
    assert_eq!(deployed(&bench, &site).await.0, "active");
    assert_ne!(serving(), old);
}

#[tokio::test(start_paused = true)]
async fn a_port_in_use_fails_the_deploy_and_a_site_without_repository_never_deploys() {
    let bench = bench(8000).await;
    let site = ready_site(&bench).await;
    {
        let mut state = bench.sim.world.state();
        let holder = sitewright::provider::world::process::Process {
            name: "stranger".into(),
            user: "ploi".into(),
            port: 4001,
            environment: Default::default(),
            commit: String::new(),
            running: true,
        };
        state.processes.start(SERVER_ID, holder).unwrap();
    }
    let (status, log) = deployed(&bench, &site).await;
    assert_eq!(status, "deploy-failed");
    assert!(log.contains("4001"), "{log}");
    bench.sim.add_foreign_site(SERVER_ID, "bare.example.com", None, 4100);
    let bare = format!("servers/1/sites/{}", bench.sim.site_id(SERVER_ID, "bare.example.com").unwrap());
    assert_eq!(send(&bench, Method::POST, &format!("{bare}/deploy"), json!({})).await.0, StatusCode::OK);
    let (_, read) = get(&bench, &bare).await;
    assert_eq!((&read["data"]["status"], &read["data"]["last_deploy_at"]), (&json!("active"), &Value::Null));
}

#[tokio::test(start_paused = true)]
async fn scripts_end_with_a_real_exit_code_and_unknown_commands_are_not_found() {
    let bench = bench(2000).await;
    let done = run(&bench, "ploi", "echo hello\n").await;
    assert_eq!((&done["exit_code"], &done["output"]), (&json!(0), &json!("hello\n")));
    assert!(done["created_at"].as_str().unwrap().ends_with("+00:00"));
    assert_eq!(run(&bench, "root", "rm -rf /\n").await["exit_code"], 127);
    assert_eq!(run(&bench, "ploi", "set -eu\nnginx -t\n").await["exit_code"], 1, "not as root");
    let long = json!({ "content": "x".repeat(7501), "user": "root" });
    assert_eq!(send(&bench, Method::POST, "servers/1/scripts/run", long).await.0, StatusCode::UNPROCESSABLE_ENTITY);
    let nobody = json!({ "content": "true", "user": "nobody" });
    assert_eq!(send(&bench, Method::POST, "servers/1/scripts/run", nobody).await.0, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test(start_paused = true)]
async fn a_broken_virtual_host_is_not_loaded() {
    let bench = bench(2000).await;
    bench.point_everything_here();
    let site = ready_site(&bench).await;
    let nginx = format!("{site}/nginx-configuration");
    let loaded = || {
        let here = bench.sim.world.resolve(DOMAIN).origins;
        bench.sim.world.state().web.find(&here, DOMAIN).and_then(|(_, host)| host.plain_port)
    };
    let text = get(&bench, &nginx).await.1["content"].as_str().unwrap().to_owned();
    let good = text.replace("localhost:3000", "localhost:4001");
    let (status, said) = send(&bench, Method::PATCH, &nginx, json!({ "content": good })).await;
    assert_eq!((status, &said["status"]), (StatusCode::OK, &json!("ok")));
    assert_eq!(loaded(), Some(3000), "nothing is loaded by writing");
    let reload = "set -eu\nnginx -t\nnginx -s reload\n";
    assert_eq!(run(&bench, "root", reload).await["exit_code"], 0);
    assert_eq!(loaded(), Some(4001));
    let broken = good.replace("localhost:4001", "localhost:4009").replacen('}', "", 1);
    send(&bench, Method::PATCH, &nginx, json!({ "content": broken })).await;
    assert_eq!(run(&bench, "root", reload).await["exit_code"], 1);
    assert_eq!(loaded(), Some(4001));
    let (_, said) = send(&bench, Method::POST, "servers/1/services/nginx/reload", json!({})).await;
    assert_eq!((&said["status"], loaded()), (&json!("ok"), Some(4001)), "a reload keeps what works");
}

/// Orders over `names` and gives the certificate as it ends: `None` when it disappeared.
async fn ordered(bench: &Bench, site: &str, names: &str) -> Option<Value> {
    let body = json!({ "type": "letsencrypt", "certificate": names, "force": true });
    let (status, made) = send(bench, Method::POST, &format!("{site}/certificates"), body).await;
    assert_eq!((status, &made["data"]["status"]), (StatusCode::CREATED, &json!("created")));
    assert_eq!(made["data"]["expires_at"], Value::Null);
    let path = format!("{site}/certificates/{}", made["data"]["id"]);
    until("an end of the order", PAUSE, || async {
        let (status, found) = get(bench, &path).await;
        match found["data"]["status"].as_str() {
            Some("active") => Some(Some(found["data"].clone())),
            None if status == StatusCode::NOT_FOUND => Some(None),
            _ => None,
        }
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn a_certificate_needs_dns_and_the_right_root_for_every_name() {
    let bench = bench(8000).await;
    let site = ready_site(&bench).await;
    let unforced = json!({ "type": "letsencrypt", "certificate": DOMAIN });
    let (status, said) = send(&bench, Method::POST, &format!("{site}/certificates"), unforced).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(said["errors"]["domains"], json!([format!("{DOMAIN} does not point to this server.")]));
    assert_eq!(ordered(&bench, &site, DOMAIN).await, None, "no name leads here");
    bench.point_everything_here();
    assert_eq!(ordered(&bench, &site, DOMAIN).await, None, "the challenge is looked for elsewhere");
    let right = "root /home/ploi/shop.example.com;";
    bench.sim.edit_vhost(SERVER_ID, DOMAIN, |text| text.replace("root /var/www/html;", right));
    let aliases = json!({ "aliases": ["www.shop.example.com"] });
    let (_, said) = send(&bench, Method::POST, &format!("{site}/aliases"), aliases).await;
    assert_eq!(said["data"], json!({ "aliases": ["www.shop.example.com"], "count": 1, "main": DOMAIN }));
    let union = format!("{DOMAIN},www.shop.example.com");
    let made = ordered(&bench, &site, &union).await.unwrap();
    assert_eq!((&made["domain"], &made["type"], &made["active"]), (&json!(union), &json!("letsencrypt"), &json!(true)));
    let served = |name: &str| {
        let here = bench.sim.world.resolve(name).origins;
        let state = bench.sim.world.state();
        let host = state.web.find(&here, name).map(|(_, host)| host.clone()).unwrap();
        host.certificate.unwrap().names.contains(&name.to_owned())
    };
    assert!(served(DOMAIN) && served("www.shop.example.com"));
    ordered(&bench, &site, DOMAIN).await.unwrap();
    assert!(!served("www.shop.example.com"), "a subset takes the place of the lineage");
    assert!(get(&bench, &format!("{site}/nginx-configuration")).await.1["content"].as_str().unwrap().contains(right));
    bench.sim.turn(|knobs| knobs.vhost_edits_survive = false);
    ordered(&bench, &site, &union).await.unwrap();
    assert!(!get(&bench, &format!("{site}/nginx-configuration")).await.1["content"].as_str().unwrap().contains(right));
}

#[tokio::test(start_paused = true)]
async fn a_failed_order_may_stay_created() {
    let bench = bench(2000).await;
    let site = ready_site(&bench).await;
    bench.sim.turn(|knobs| knobs.certificate_end = CertificateEnd::StaysCreated);
    let body = json!({ "type": "letsencrypt", "certificate": DOMAIN, "force": true });
    send(&bench, Method::POST, &format!("{site}/certificates"), body).await;
    until("the order to have failed", PAUSE, || async {
        let (_, log) = get(&bench, &format!("{site}/log")).await;
        log["data"][0]["description"].as_str().unwrap().contains("failed").then_some(())
    })
    .await;
    let (_, list) = get(&bench, &format!("{site}/certificates")).await;
    assert_eq!((list["data"][0]["status"].as_str(), &list["meta"]["total"]), (Some("created"), &json!(1)));
}

#[tokio::test(start_paused = true)]
async fn a_post_of_aliases_adds_or_replaces() {
    let bench = bench(2000).await;
    let site = ready_site(&bench).await;
    let aliases = format!("{site}/aliases");
    for alias in ["a.example.com", "b.example.com"] {
        send(&bench, Method::POST, &aliases, json!({ "aliases": [alias] })).await;
    }
    assert_eq!(get(&bench, &aliases).await.1["data"]["aliases"], json!(["a.example.com", "b.example.com"]));
    bench.sim.turn(|knobs| knobs.alias_post = AliasPost::Replaces);
    send(&bench, Method::POST, &aliases, json!({ "aliases": ["c.example.com"] })).await;
    assert_eq!(get(&bench, &aliases).await.1["data"]["aliases"], json!(["c.example.com"]));
    let gone = call(&bench, Method::DELETE, &format!("{aliases}/a.example.com"), None).await;
    assert_eq!(gone.0, StatusCode::NOT_FOUND);
}

#[tokio::test(start_paused = true)]
async fn a_removed_repository_takes_files_and_environment_as_the_knobs_say() {
    let bench = bench(8000).await;
    let site = ready_site(&bench).await;
    let repository = format!("{site}/repository");
    assert_eq!(call(&bench, Method::DELETE, &repository, None).await.0, StatusCode::OK);
    assert_eq!(status_of(&bench, &site).await, "repository-uninstalling");
    until_status(&bench, &site, "active").await;
    assert_eq!(get(&bench, &format!("{site}/env")).await.0, StatusCode::NOT_FOUND);
    assert_eq!(get(&bench, &site).await.1["data"]["has_repository"], false);
    let install = json!({ "provider": "github", "branch": "main", "name": "acme/shop" });
    send(&bench, Method::POST, &repository, install.clone()).await;
    until_status(&bench, &site, "active").await;
    assert_eq!(get(&bench, &site).await.1["data"]["has_repository"], false, "the placeholder is back");
    run(&bench, "root", CLEAR).await;
    send(&bench, Method::POST, &repository, install).await;
    until_status(&bench, &site, "active").await;
    assert_eq!(get(&bench, &site).await.1["data"]["has_repository"], true);
    bench.sim.turn(|knobs| (knobs.removal_keeps_files, knobs.removal_keeps_env) = (true, true));
    send(&bench, Method::PATCH, &format!("{site}/env"), json!({ "content": "A='1'\n" })).await;
    call(&bench, Method::DELETE, &repository, None).await;
    until_status(&bench, &site, "active").await;
    assert_eq!(get(&bench, &format!("{site}/env")).await.1["content"], "A='1'\n");
}

#[tokio::test(start_paused = true)]
async fn suspending_shows_in_the_status_and_at_the_edge_and_busy_sites_answer_as_the_knob_says() {
    let bench = bench(2000).await;
    bench.point_everything_here();
    let site = ready_site(&bench).await;
    let suspended = || {
        let here = bench.sim.world.resolve(DOMAIN).origins;
        bench.sim.world.state().web.find(&here, DOMAIN).map(|(_, host)| host.suspended).unwrap()
    };
    let (_, said) = send(&bench, Method::POST, &format!("{site}/suspend"), json!({})).await;
    assert_eq!((&said["data"]["status"], suspended()), (&json!("suspended"), true));
    let (_, said) = send(&bench, Method::POST, &format!("{site}/resume"), json!({})).await;
    assert_eq!((&said["data"]["status"], suspended()), (&json!("active"), false));
    bench.sim.turn(|knobs| knobs.while_busy = WhileBusy::Missing);
    bench.sim.set_status(SERVER_ID, DOMAIN, "building");
    assert_eq!(get(&bench, &format!("{site}/env")).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test(start_paused = true)]
async fn an_error_may_come_inside_a_200_and_wrong_verbs_are_405() {
    let bench = bench(240).await;
    bench.sim.turn(|knobs| knobs.errors_inside = 1);
    let body = json!({ "root_domain": DOMAIN, "web_directory": "/" });
    let (status, said) = send(&bench, Method::POST, "servers/1/sites", body).await;
    assert_eq!((status, said["error"].is_string()), (StatusCode::OK, true));
    assert_eq!(bench.sim.sites_count(), 0);
    assert_eq!(call(&bench, Method::PUT, "servers/1/sites", None).await.0, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(get(&bench, "servers/1/nothing").await.0, StatusCode::NOT_FOUND);
}
