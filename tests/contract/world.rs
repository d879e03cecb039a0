//! The whole simulated world as a visitor meets it: only a complete chain from DNS to the process answers.

use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};
use sitewright::provider::github::GitHub;
use sitewright::provider::http::{Budget, HttpClient};
use sitewright::provider::outside::Prober;
use sitewright::provider::outside::cms::SiteCms;
use sitewright::provider::outside::connection::{Connector, Route};
use sitewright::provider::ploi::sim::SERVER_ID;
use sitewright::provider::ploi::{Redact, host};
use sitewright::provider::world::serve::{Options, Simulators, serve};
use sitewright::provider::{Cms, Git, Outside};
use sitewright::provider::{Host, NewSite, ScriptRun, SiteRef};
use sitewright::resource::desired::DesiredHealth;
use sitewright::resource::name::{HostName, RepositorySlug, ServerId};
use sitewright::resource::owned::{ProbeOutcome, Published};
use sitewright::resource::secret::Secret;
use sitewright::resource::site::{Purpose, Repository, RunState, SiteStatus};

use crate::ploi_bench::{client, until};

const PAUSE: Duration = Duration::from_millis(5);
const DOMAIN: &str = "shop.example.com";

struct Place {
    simulators: Simulators,
    host: Host,
    site: SiteRef,
    visitor: Client,
    _directory: tempfile::TempDir,
}

fn variable(simulators: &Simulators, name: &str) -> String {
    simulators.variables().into_iter().find(|(known, _)| known == name).unwrap().1
}

/// A served world with an active site, its repository installed.
async fn place() -> Place {
    let directory = tempfile::tempdir().unwrap();
    let simulators = serve(Options { ploi_limit: 100_000, ..Options::quick(directory.path()) }).await.unwrap();
    let (url, token) = (variable(&simulators, "PLOI_API_URL"), variable(&simulators, "PLOI_API_TOKEN"));
    let host = host(client(&url, &token, None, Redact::nothing_known()));
    let (server, domain) = (ServerId::trusted("1"), HostName::parse(DOMAIN).unwrap());
    let new = NewSite { server: server.clone(), domain: domain.clone(), system_user: "ploi".into() };
    let id = host.sites.create_site(&new).await.unwrap();
    let site = SiteRef { server, id, domain, system_user: "ploi".into() };
    let root = std::fs::read(variable(&simulators, "SITEWRIGHT_PROBE_CA")).unwrap();
    let visitor = Client::builder()
        .tls_certs_only([reqwest::Certificate::from_pem(&root).unwrap()])
        .resolve(DOMAIN, variable(&simulators, "SITEWRIGHT_PROBE_CONNECT_TO").parse().unwrap())
        .build()
        .unwrap();
    let place = Place { simulators, host, site, visitor, _directory: directory };
    place.idle().await;
    assert_eq!(place.script(Purpose::ClearPlaceholder).await, 0);
    let repository = Repository { slug: RepositorySlug::parse("agency/cms").unwrap(), branch: "main".into() };
    place.host.repositories.as_ref().unwrap().install_repository(&place.site, &repository).await.unwrap();
    place.idle().await;
    place.host.releases.write_deploy_script(&place.site, "SW_CLIENT='shop'\n").await.unwrap();
    place
}

impl Place {
    async fn status(&self) -> SiteStatus {
        self.host.sites.sites(&self.site.server).await.unwrap().remove(0).value.status
    }

    async fn idle(&self) {
        until("an idle site", PAUSE, || async { self.status().await.is_idle().then_some(()) }).await;
    }

    async fn script(&self, purpose: Purpose) -> i32 {
        let scripts = self.host.scripts.as_ref().unwrap();
        let run = ScriptRun { purpose, process: "shop".into(), site: self.site.clone() };
        let id = scripts.start(&run).await.unwrap();
        until("the end of a script", PAUSE, || async {
            match scripts.run_state(&self.site.server, &id).await.unwrap() {
                RunState::Finished { exit_code, .. } => Some(exit_code),
                RunState::Pending => None,
            }
        })
        .await
    }

    async fn write_env(&self, database: &str) {
        let text = format!("PORT='4001'\nCLIENT_ID='shop'\nDATABASE_URL='{database}'\n");
        self.host.environments.write_environment(&self.site, &Secret::new(text)).await.unwrap();
    }

    /// Deploys, and gives the log it ends with.
    async fn deploy(&self) -> String {
        let before = self.host.releases.deploy_log(&self.site).await.unwrap().id;
        self.host.releases.deploy(&self.site, "main", None).await.unwrap();
        until("the end of a deploy", PAUSE, || async {
            let log = self.host.releases.deploy_log(&self.site).await.unwrap();
            (log.id != before).then_some(log.text)
        })
        .await
    }

    /// A plain request for a path, with the site's name.
    async fn plain(&self, path: &str) -> Response {
        let at = variable(&self.simulators, "SITEWRIGHT_PROBE_CONNECT_TO_PLAIN");
        Client::new().get(format!("http://{at}{path}")).header("Host", DOMAIN).send().await.unwrap()
    }

    async fn mend(&self) {
        let vhosts = self.host.virtual_hosts.as_ref().unwrap();
        let text = vhosts.virtual_host(&self.site).await.unwrap();
        let text = text.replace(":3000", ":4001").replace("/var/www/html", "/home/ploi/shop.example.com");
        vhosts.write_virtual_host(&self.site, &text).await.unwrap();
        assert_eq!(self.script(Purpose::ReloadWebServer).await, 0);
    }

    fn publish(&self, proxied: bool) {
        let zone = {
            let body = json!({ "type": "A", "name": DOMAIN, "content": "192.0.2.10", "ttl": 1, "proxied": proxied });
            (self.simulators.zone("example.com").unwrap(), body)
        };
        self.simulators.cloudflare.create_by_hand(&zone.0, &zone.1).unwrap();
    }
}

#[tokio::test]
async fn a_site_answers_only_when_dns_virtual_host_and_process_agree() {
    let place = place().await;
    assert_eq!(place.plain("/api/health").await.status(), StatusCode::MISDIRECTED_REQUEST, "no DNS");
    place.publish(false);
    assert_eq!(place.plain("/api/health").await.status(), StatusCode::BAD_GATEWAY, "port 3000");
    place.mend().await;
    assert_eq!(place.plain("/api/health").await.status(), StatusCode::BAD_GATEWAY, "no process");
    place.write_env("postgres://shop:x@192.0.2.77/shop").await;
    place.deploy().await;
    let healthy = place.plain("/api/health").await;
    assert_eq!((healthy.status(), &healthy.headers()["x-client-id"]), (StatusCode::OK, &"shop".parse().unwrap()));
    assert_eq!(healthy.json::<Value>().await.unwrap()["client"], "shop");
    assert_eq!(place.script(Purpose::StopProcess).await, 0);
    assert_eq!(place.plain("/").await.status(), StatusCode::BAD_GATEWAY);
    assert_eq!(place.script(Purpose::StartProcess).await, 0);
    place.host.sites.suspend(&place.site).await.unwrap();
    assert_eq!(place.plain("/").await.status(), StatusCode::SERVICE_UNAVAILABLE);
    place.host.sites.resume(&place.site).await.unwrap();
    assert_eq!(place.plain("/").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn https_verifies_against_the_root_once_the_certificate_is_there() {
    let place = place().await;
    place.publish(false);
    place.mend().await;
    place.write_env("postgres://shop:x@192.0.2.77/shop").await;
    place.deploy().await;
    let url = format!("https://{DOMAIN}");
    assert!(place.visitor.get(&url).send().await.is_err(), "no certificate, no handshake");
    let names = [place.site.domain.clone()].into();
    place.host.certificates.as_ref().unwrap().order(&place.site, &place.site.domain, &names).await.unwrap();
    let page = until("an answer over https", PAUSE, || async { place.visitor.get(&url).send().await.ok() }).await;
    assert_eq!(page.headers()["x-client-id"], "shop");
    let register = async || {
        let body = json!({ "email": "a@example.com", "password": "long enough" });
        place.visitor.post(format!("{url}/api/users/first-register")).json(&body).send().await.unwrap().status()
    };
    assert_eq!(register().await, StatusCode::OK);
    assert_eq!(register().await, StatusCode::FORBIDDEN);
    let log_in = async |password: &str| {
        let body = json!({ "email": "a@example.com", "password": password });
        place.visitor.post(format!("{url}/api/users/login")).json(&body).send().await.unwrap().status()
    };
    assert_eq!(log_in("long enough").await, StatusCode::OK);
    assert_eq!(log_in("another one").await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn our_own_eyes_meet_the_world_by_its_variables() {
    let place = place().await;
    place.publish(false);
    place.mend().await;
    place.write_env("postgres://shop:x@192.0.2.77/shop").await;
    place.deploy().await;
    let at = |name: &str| Some(variable(&place.simulators, name).parse().unwrap());
    let route = Route {
        dns_server: at("SITEWRIGHT_DNS_SERVER"),
        connect_to: at("SITEWRIGHT_PROBE_CONNECT_TO"),
        connect_to_plain: at("SITEWRIGHT_PROBE_CONNECT_TO_PLAIN"),
        extra_roots_pem: std::fs::read_to_string(variable(&place.simulators, "SITEWRIGHT_PROBE_CA")).ok(),
    };
    let connector = Arc::new(Connector::new(route).unwrap());
    let (prober, cms) = (Prober::new(connector.clone()), SiteCms::new(connector));
    let domain = &place.site.domain;
    let published = prober.published(domain).await.unwrap();
    assert_eq!(published, Published::Addresses(vec!["192.0.2.10".parse().unwrap()]));
    let health = DesiredHealth {
        path: "/api/health".into(),
        timeout: Duration::from_secs(10),
        interval: Duration::from_secs(60),
        identity: true,
    };
    assert_eq!(prober.probe(domain, false, &health, "shop").await.outcome, ProbeOutcome::Healthy);
    let stranger = prober.probe(domain, false, &health, "other").await.outcome;
    assert!(matches!(stranger, ProbeOutcome::WrongSite(_)), "{stranger:?}");
    let names = [domain.clone()].into();
    place.host.certificates.as_ref().unwrap().order(&place.site, domain, &names).await.unwrap();
    let seen = until("health over https", PAUSE, || async {
        let seen = prober.probe(domain, true, &health, "shop").await;
        (seen.outcome == ProbeOutcome::Healthy).then_some(seen)
    })
    .await;
    assert_eq!(seen.certificate_names, names);
    let password = Secret::new("long enough");
    assert!(cms.first_register(domain, "a@example.com", "A", &password).await.unwrap());
    assert!(!cms.first_register(domain, "a@example.com", "A", &password).await.unwrap());
    assert!(cms.log_in(domain, "a@example.com", &password).await.unwrap());
    assert!(!cms.log_in(domain, "a@example.com", &Secret::new("another one")).await.unwrap());
    let base = variable(&place.simulators, "GITHUB_API_URL").parse().unwrap();
    let token = Secret::new(variable(&place.simulators, "GITHUB_TOKEN"));
    let budget = Arc::new(Budget::new(1000, Duration::from_secs(60)));
    let git = GitHub::new(HttpClient::new("github", base, token, budget).unwrap());
    let slug = RepositorySlug::parse("agency/cms").unwrap();
    let head = place.simulators.world.state().git.head("agency/cms", "main").unwrap();
    for _ in 0..2 {
        assert_eq!(git.head(&slug, "main").await.unwrap().unwrap().as_str(), head);
    }
    assert_eq!(git.head(&slug, "none").await.unwrap(), None);
}

#[tokio::test]
async fn a_proxied_name_reaches_its_origin_but_passes_no_challenge() {
    let place = place().await;
    place.publish(true);
    place.mend().await;
    place.write_env("postgres://shop:x@192.0.2.77/shop").await;
    place.deploy().await;
    assert_eq!(place.plain("/").await.status(), StatusCode::OK);
    let certificates = place.host.certificates.as_ref().unwrap();
    let names = [place.site.domain.clone()].into();
    certificates.order(&place.site, &place.site.domain, &names).await.unwrap();
    until("the order to be gone", PAUSE, || async {
        certificates.certificates(&place.site).await.unwrap().is_empty().then_some(())
    })
    .await;
    assert!(place.visitor.get(format!("https://{DOMAIN}")).send().await.is_err());
}

#[tokio::test]
async fn a_database_that_refuses_fails_the_look_and_the_old_release_serves_on() {
    let place = place().await;
    place.publish(false);
    place.mend().await;
    place.write_env("postgres://shop:x@192.0.2.77/shop").await;
    place.deploy().await;
    // A port of this machine that nobody listens on.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    place.write_env(&format!("postgres://shop:x@127.0.0.1:{free}/shop")).await;
    let log = place.deploy().await;
    assert!(log.ends_with("sitewright: reason=Unhealthy"), "{log}");
    assert_eq!(place.status().await, SiteStatus::DeployFailed);
    assert_eq!(place.plain("/api/health").await.status(), StatusCode::OK);
    {
        let mut state = place.simulators.world.state();
        let mut process = state.processes.listener(SERVER_ID, 4001).unwrap().clone();
        process.environment.insert("DATABASE_URL".into(), format!("postgres://shop:x@127.0.0.1:{free}/shop"));
        state.processes.start(SERVER_ID, process).unwrap();
    }
    assert_eq!(place.plain("/api/health").await.status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn the_git_host_answers_heads_and_304_to_who_knows_them() {
    let directory = tempfile::tempdir().unwrap();
    let simulators = serve(Options::quick(directory.path())).await.unwrap();
    let url = format!("{}/repos/agency/cms/commits/main", variable(&simulators, "GITHUB_API_URL"));
    let token = variable(&simulators, "GITHUB_TOKEN");
    let client = Client::builder().user_agent("raw").build().unwrap();
    let ask =
        async |etag: &str| client.get(&url).bearer_auth(&token).header("If-None-Match", etag).send().await.unwrap();
    let first = ask("").await;
    let etag = first.headers()["etag"].to_str().unwrap().to_owned();
    let commit = first.json::<Value>().await.unwrap()["sha"].as_str().unwrap().to_owned();
    assert_eq!(commit.len(), 40);
    assert_eq!(ask(&etag).await.status(), StatusCode::NOT_MODIFIED);
    let push = json!({ "repository": "agency/cms", "branch": "main" });
    let control = format!("http://{}/git/push", simulators.control);
    let pushed: Value = client.post(control).json(&push).send().await.unwrap().json().await.unwrap();
    assert_ne!(pushed["commit"], json!(commit));
    assert_eq!(ask(&etag).await.json::<Value>().await.unwrap()["sha"], pushed["commit"]);
    simulators.world.state().git.set_reachable("agency/cms", false);
    assert_eq!(ask("").await.status(), StatusCode::NOT_FOUND);
    assert_eq!(client.get(&url).send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn knobs_turn_and_files_change_over_the_control_port() {
    let place = place().await;
    let at = |path: &str| format!("http://{}{path}", place.simulators.control);
    let client = Client::new();
    let knobs = json!({ "envEnvelope": "bare", "deployEnd": "buildFails" });
    let turned = client.put(at("/ploi/knobs")).json(&knobs).send().await.unwrap();
    assert_eq!(turned.status(), StatusCode::NO_CONTENT);
    let read: Value = client.get(at("/ploi/knobs")).send().await.unwrap().json().await.unwrap();
    assert_eq!((&read["envEnvelope"], &read["certificateDays"]), (&json!("bare"), &json!(90)));
    place.write_env("file:./x").await;
    let edit = json!({ "domain": DOMAIN, "piece": "env", "from": "4001", "to": "4002" });
    assert_eq!(client.post(at("/ploi/edit")).json(&edit).send().await.unwrap().status(), StatusCode::NO_CONTENT);
    let text = place.host.environments.environment(&place.site).await.unwrap().unwrap();
    assert!(text.expose().contains("PORT='4002'"));
    let gone = client.post(at("/ploi/remove")).json(&json!({ "domain": DOMAIN })).send().await.unwrap();
    assert_eq!((gone.status(), place.simulators.ploi.sites_count()), (StatusCode::NO_CONTENT, 0));
}
