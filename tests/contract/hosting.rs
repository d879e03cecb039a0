//! One suite over the traits of a host: on the simulated Ploi always, on the real one when keys are set.

use std::collections::BTreeSet;
use std::io::Write;
use std::time::Duration;

use sitewright::provider::error::ErrorClass;
use sitewright::provider::ploi::sim::{AliasPost, Envelope, PloiDelays, SERVER_ID, WhileBusy};
use sitewright::provider::ploi::{Redact, host};
use sitewright::provider::world::faults::{Effect, Rule};
use sitewright::provider::{Host, NewSite, ScriptRun, SiteRef};
use sitewright::resource::certificate::CertificateStatus;
use sitewright::resource::name::{HostName, RemoteId, RepositorySlug, ServerId};
use sitewright::resource::secret::Secret;
use sitewright::resource::site::{Purpose, Repository, RunState, SiteStatus};

use crate::ploi_bench::{Bench, bench, client, until};

const SHORT: Duration = Duration::from_millis(5);

/// What a suite works with.
struct Ground {
    server: ServerId,
    domain: HostName,
    repository: Repository,
    pause: Duration,
}

fn ground(domain: &str, pause: Duration) -> Ground {
    let repository = Repository { slug: RepositorySlug::parse("acme/shop").unwrap(), branch: "main".into() };
    Ground { server: ServerId::trusted("1"), domain: HostName::parse(domain).unwrap(), repository, pause }
}

fn site_ref(ground: &Ground, id: RemoteId) -> SiteRef {
    SiteRef { server: ground.server.clone(), id, domain: ground.domain.clone(), system_user: "ploi".into() }
}

async fn status(host: &Host, site: &SiteRef) -> Option<SiteStatus> {
    let sites = host.sites.sites(&site.server).await.unwrap();
    sites.into_iter().find(|one| one.id == site.id).map(|one| one.value.status)
}

async fn idle(host: &Host, ground: &Ground, site: &SiteRef) {
    until("an idle site", ground.pause, || async { status(host, site).await.filter(SiteStatus::is_idle) }).await;
}

async fn made(host: &Host, ground: &Ground) -> SiteRef {
    let new = NewSite { server: ground.server.clone(), domain: ground.domain.clone(), system_user: "ploi".into() };
    let site = site_ref(ground, host.sites.create_site(&new).await.unwrap());
    idle(host, ground, &site).await;
    let again = host.sites.create_site(&new).await.unwrap_err();
    assert!(matches!(again.class, ErrorClass::Exists(_)), "{again}");
    site
}

async fn ran(host: &Host, ground: &Ground, site: &SiteRef, purpose: Purpose) -> (i32, String) {
    let scripts = host.scripts.as_ref().unwrap();
    let run = ScriptRun { purpose, process: "shop".into(), site: site.clone() };
    let id = scripts.start(&run).await.unwrap();
    until("the end of a script", ground.pause, || async {
        match scripts.run_state(&site.server, &id).await.unwrap() {
            RunState::Finished { exit_code, output } => Some((exit_code, output)),
            RunState::Pending => None,
        }
    })
    .await
}

async fn installed(host: &Host, ground: &Ground, site: &SiteRef) {
    let repositories = host.repositories.as_ref().unwrap();
    assert_eq!(ran(host, ground, site, Purpose::ClearPlaceholder).await.0, 0);
    assert!(repositories.is_reachable(&ground.repository).await.unwrap());
    let other = Repository { slug: RepositorySlug::parse("acme/no-such-repository").unwrap(), branch: "main".into() };
    assert!(!repositories.is_reachable(&other).await.unwrap());
    repositories.install_repository(site, &ground.repository).await.unwrap();
    idle(host, ground, site).await;
    assert_eq!(repositories.repository(site).await.unwrap().as_ref(), Some(&ground.repository));
}

/// What holds of any host with these pieces: from nothing to a site with its files, and back to nothing. Deploys and
/// certificates need a world around the host and are looked at on the simulator alone.
async fn suite(host: &Host, ground: &Ground) {
    assert!(host.sites.server(&ground.server).await.unwrap().active);
    let site = made(host, ground).await;
    let sites = host.sites.sites(&ground.server).await.unwrap();
    let shown = sites.iter().find(|one| one.id == site.id).unwrap();
    assert_eq!((&shown.value.domain, shown.value.has_repository), (&ground.domain, false));
    assert!(host.releases.deploy_log(&site).await.unwrap().id.is_none());
    installed(host, ground, &site).await;

    let text = Secret::new("A='1'\nSITEWRIGHT_OWNER='contract/none'\n");
    host.environments.write_environment(&site, &text).await.unwrap();
    let read = || async { host.environments.environment(&site).await.unwrap().filter(|found| *found == text) };
    until("the environment as it was written", ground.pause, read).await;
    host.releases.write_deploy_script(&site, "SW_CLIENT='shop'\ntrue\n").await.unwrap();
    let script = host.releases.deploy_script(&site).await.unwrap().unwrap();
    assert_eq!(script.trim_end(), "SW_CLIENT='shop'\ntrue");

    let vhosts = host.virtual_hosts.as_ref().unwrap();
    let before = vhosts.virtual_host(&site).await.unwrap();
    let right = before.replace("localhost:3000", "localhost:4999");
    assert_ne!(before, right, "a new site points at the wrong port");
    vhosts.write_virtual_host(&site, &right).await.unwrap();
    assert_eq!(ran(host, ground, &site, Purpose::ReloadWebServer).await.0, 0);
    assert_eq!(vhosts.virtual_host(&site).await.unwrap().trim(), right.trim());

    let aliases = host.aliases.as_ref().unwrap();
    let www = HostName::parse(&format!("www.{}", ground.domain)).unwrap();
    let set = BTreeSet::from([www]);
    aliases.set_aliases(&site, &set).await.unwrap();
    aliases.set_aliases(&site, &set).await.unwrap();
    assert_eq!(aliases.aliases(&site).await.unwrap(), set);
    aliases.set_aliases(&site, &BTreeSet::new()).await.unwrap();
    assert!(aliases.aliases(&site).await.unwrap().is_empty());
    assert!(host.certificates.as_ref().unwrap().certificates(&site).await.unwrap().is_empty());

    host.sites.suspend(&site).await.unwrap();
    until("a suspended site", ground.pause, || async {
        (status(host, &site).await == Some(SiteStatus::Suspended)).then_some(())
    })
    .await;
    host.sites.resume(&site).await.unwrap();
    idle(host, ground, &site).await;
    removed(host, ground, &site).await;
}

async fn removed(host: &Host, ground: &Ground, site: &SiteRef) {
    let wrong = SiteRef { domain: HostName::parse("other.example.com").unwrap(), ..site.clone() };
    assert!(host.sites.delete_site(&wrong).await.is_err(), "an id that stands for another domain");
    host.sites.delete_site(site).await.unwrap();
    until("a removed site", ground.pause, || async { status(host, site).await.is_none().then_some(()) }).await;
    host.sites.delete_site(site).await.unwrap();
    assert!(host.environments.environment(site).await.unwrap().is_none());
}

/// B25.
#[tokio::test]
async fn the_simulated_ploi_keeps_the_contract() {
    let bench = bench(100_000).await;
    bench.sim.world.state().git.push("acme/shop", "main");
    let host = host(bench.client(None, Redact::nothing_known()));
    suite(&host, &ground("shop.example.com", SHORT)).await;
}

#[tokio::test]
async fn the_contract_holds_in_other_envelopes_with_aliases_that_replace_and_reads_that_lag() {
    let bench = bench(100_000).await;
    bench.sim.world.state().git.push("acme/shop", "main");
    let lag = Duration::from_millis(50);
    bench.sim.set_delays(PloiDelays { env_settles: lag, site_shows: lag, ..PloiDelays::quick() });
    for envelope in [Envelope::Observed, Envelope::DataMember, Envelope::Data, Envelope::Bare] {
        bench.sim.turn(|knobs| {
            (knobs.env_envelope, knobs.vhost_envelope, knobs.script_envelope) = (envelope, envelope, envelope);
            knobs.alias_post = AliasPost::Replaces;
        });
        let host = host(bench.client(Some("agency"), Redact::nothing_known()));
        suite(&host, &ground("shop.example.com", SHORT)).await;
    }
}

/// The real API: a throw-away site of `SITEWRIGHT_CONTRACT_PLOI_DOMAIN` on the server that is named, with `PLOI_GIT_REPO`.
#[tokio::test]
async fn the_real_ploi_keeps_the_contract() {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let keys = (variable("PLOI_API_TOKEN"), variable("SITEWRIGHT_CONTRACT_PLOI_SERVER"));
    let (Some(token), Some(server)) = keys else {
        // Not by `eprintln!`, whose words a passing test swallows.
        let words =
            "skipped: PLOI_API_TOKEN and SITEWRIGHT_CONTRACT_PLOI_SERVER are not set; the real Ploi was not asked";
        writeln!(std::io::stderr(), "{words}").unwrap();
        return;
    };
    let domain = variable("SITEWRIGHT_CONTRACT_PLOI_DOMAIN").unwrap_or_else(|| "contract.sitewright.example".into());
    let mut ground = ground(&domain, Duration::from_secs(3));
    ground.server = ServerId::trusted(server);
    if let Some(slug) = variable("PLOI_GIT_REPO") {
        ground.repository.slug = RepositorySlug::parse(&slug).unwrap();
    }
    let source = variable("SITEWRIGHT_HOSTING_PLOI_SOURCE_PROVIDER");
    let url = variable("PLOI_API_URL").unwrap_or_else(|| sitewright::provider::ploi::API_URL.into());
    suite(&host(client(&url, &token, source.as_deref(), Redact::nothing_known())), &ground).await;
}

#[tokio::test]
async fn a_name_is_taken_although_no_listing_shows_its_site_yet() {
    let bench = bench(100_000).await;
    bench.sim.set_delays(PloiDelays { site_shows: Duration::from_secs(3600), ..PloiDelays::quick() });
    let host = host(bench.client(None, Redact::nothing_known()));
    let ground = ground("shop.example.com", SHORT);
    let new = NewSite { server: ground.server.clone(), domain: ground.domain.clone(), system_user: "ploi".into() };
    host.sites.create_site(&new).await.unwrap();
    assert!(host.sites.sites(&ground.server).await.unwrap().is_empty());
    let again = host.sites.create_site(&new).await.unwrap_err();
    assert!(matches!(again.class, ErrorClass::Exists(_)), "{again}");
}

/// B19.
#[tokio::test]
async fn a_listing_is_whole_or_fails() {
    let bench = bench(100_000).await;
    for n in 0..120 {
        bench.sim.add_foreign_site(SERVER_ID, &format!("s{n}.example.com"), None, 4100);
    }
    let host = host(bench.client(None, Redact::nothing_known()));
    let server = ServerId::trusted("1");
    assert_eq!(host.sites.sites(&server).await.unwrap().len(), 120);
    let asked = bench.sim.world.faults.calls().iter().filter(|call| call.path.contains("/sites")).count();
    assert_eq!(asked, 3, "fifty a page");
    bench.sim.turn(|knobs| knobs.totals_lie = true);
    let error = host.sites.sites(&server).await.unwrap_err();
    assert!(matches!(error.class, ErrorClass::Unavailable(_)), "{error}");
    let unknown = host.sites.sites(&ServerId::trusted("99")).await.unwrap_err();
    assert_eq!(unknown.class, ErrorClass::NotFound);
}

#[tokio::test]
async fn several_git_accounts_are_refused_with_the_list_until_one_is_named() {
    let bench = bench(100_000).await;
    bench.sim.world.state().git.push("acme/shop", "main");
    bench.sim.link_source_control(8, "gitlab", "other");
    let ground = ground("shop.example.com", SHORT);
    let reachable = async |name: Option<&str>| {
        let host = host(bench.client(name, Redact::nothing_known()));
        host.repositories.unwrap().is_reachable(&ground.repository).await
    };
    let error = reachable(None).await.unwrap_err().to_string();
    assert!(error.contains("7 (github agency)") && error.contains("8 (gitlab other)"), "{error}");
    assert!(reachable(Some("7")).await.unwrap() && reachable(Some("Agency")).await.unwrap());
    assert!(reachable(Some("nobody")).await.unwrap_err().to_string().contains("nobody"));
}

/// A site with everything a deploy needs, its port 4001.
async fn deployable(bench: &Bench, host: &Host, ground: &Ground, secret: &str) -> SiteRef {
    bench.sim.world.state().git.push("acme/shop", "main");
    let site = made(host, ground).await;
    installed(host, ground, &site).await;
    let env = Secret::new(format!(
        "PORT='4001'\nCLIENT_ID='shop'\nDATABASE_URL='postgres://shop:{secret}@192.0.2.77/shop'\n"
    ));
    host.environments.write_environment(&site, &env).await.unwrap();
    host.releases.write_deploy_script(&site, "SW_CLIENT='shop'\n").await.unwrap();
    site
}

#[tokio::test]
async fn a_deploy_is_told_from_its_baseline_and_its_log_shows_no_secret() {
    let bench = bench(100_000).await;
    let redact = Redact::new(|_| vec![Secret::new("acme/shop")]);
    let host = host(bench.client(None, redact));
    let ground = ground("shop.example.com", SHORT);
    let site = deployable(&bench, &host, &ground, "hunter22").await;
    let before = host.releases.baseline(&site).await.unwrap();
    assert_eq!((&before.last_deploy_at, &before.log_id), (&None, &None));
    host.releases.deploy(&site, "main", None).await.unwrap();
    let after = until("another baseline", SHORT, || async {
        let now = host.releases.baseline(&site).await.unwrap();
        // The two are read one after the other: a deploy may end in between.
        (now.log_id != before.log_id && now.last_deploy_at.is_some()).then_some(now)
    })
    .await;
    let log = host.releases.deploy_log(&site).await.unwrap();
    assert_eq!(log.id, after.log_id);
    assert!(log.text.contains("listens on port 4001"), "{}", log.text);
    assert!(!log.text.contains("hunter22") && !log.text.contains("acme/shop"), "{}", log.text);
}

#[tokio::test]
async fn scripts_stop_start_and_delete_the_process_of_this_client_only() {
    let bench = bench(100_000).await;
    let host = host(bench.client(None, Redact::nothing_known()));
    let ground = ground("shop.example.com", SHORT);
    let site = deployable(&bench, &host, &ground, "x").await;
    assert_eq!(ran(&host, &ground, &site, Purpose::StopProcess).await.0, 0, "not there is stopped");
    assert_eq!(ran(&host, &ground, &site, Purpose::StartProcess).await.0, 4, "no release yet");
    host.releases.deploy(&site, "main", None).await.unwrap();
    let runs = || bench.sim.world.state().processes.listener(SERVER_ID, 4001).is_some();
    until("a running process", SHORT, || async { runs().then_some(()) }).await;
    for purpose in [Purpose::StopProcess, Purpose::StopProcess] {
        assert_eq!(ran(&host, &ground, &site, purpose).await.0, 0);
        assert!(!runs());
    }
    assert_eq!(ran(&host, &ground, &site, Purpose::StartProcess).await.0, 0);
    assert!(runs());
    for purpose in [Purpose::DeleteProcess, Purpose::DeleteProcess] {
        assert_eq!(ran(&host, &ground, &site, purpose).await.0, 0);
        assert!(!runs());
    }
    assert_eq!(ran(&host, &ground, &site, Purpose::StartProcess).await.0, 0, "from the release that served");
    assert!(runs());
    assert_eq!(ran(&host, &ground, &site, Purpose::CheckServer).await, (0, String::new()));
    bench.sim.set_lacking(SERVER_ID, &["pm2", "pg_dump"]);
    let (code, said) = ran(&host, &ground, &site, Purpose::CheckServer).await;
    assert_eq!(code, 1);
    assert_eq!(
        said.lines().filter(|line| line.starts_with("missing: pm2") || line.starts_with("missing: pg_dump")).count(),
        2
    );
}

#[tokio::test]
async fn a_certificate_is_ordered_over_the_union_root_first() {
    let bench = bench(100_000).await;
    bench.point_everything_here();
    let host = host(bench.client(None, Redact::nothing_known()));
    let ground = ground("shop.example.com", SHORT);
    let site = made(&host, &ground).await;
    let www = HostName::parse("a.shop.example.com").unwrap();
    host.aliases.as_ref().unwrap().set_aliases(&site, &BTreeSet::from([www.clone()])).await.unwrap();
    bench
        .sim
        .edit_vhost(SERVER_ID, "shop.example.com", |text| text.replace("/var/www/html", "/home/ploi/shop.example.com"));
    let names = BTreeSet::from([www, ground.domain.clone()]);
    let certificates = host.certificates.as_ref().unwrap();
    let id = certificates.order(&site, &ground.domain, &names).await.unwrap().unwrap();
    let active = until("an active certificate", SHORT, || async {
        let all = certificates.certificates(&site).await.unwrap();
        all.into_iter().find(|one| one.id == id && one.value.status == CertificateStatus::Active)
    })
    .await;
    assert_eq!(active.value.names, names);
    assert!(active.value.expires_at.is_some() && !active.value.custom);
    certificates.delete_certificate(&site, &id).await.unwrap();
    certificates.delete_certificate(&site, &id).await.unwrap();
    assert!(certificates.certificates(&site).await.unwrap().is_empty());
}

/// G3. The id of a server, a certificate, a run or another site in the place of a site's, and a site's in the place of a
/// certificate's: whatever a mix-up of our own asks for, nothing else goes.
#[tokio::test]
async fn an_id_of_another_kind_removes_nothing() {
    let bench = bench(100_000).await;
    bench.point_everything_here();
    let host = host(bench.client(None, Redact::nothing_known()));
    let (shop, cafe) = (ground("shop.example.com", SHORT), ground("cafe.example.com", SHORT));
    let (site, other) = (made(&host, &shop).await, made(&host, &cafe).await);
    let certificates = host.certificates.as_ref().unwrap();
    let names = BTreeSet::from([shop.domain.clone()]);
    bench
        .sim
        .edit_vhost(SERVER_ID, "shop.example.com", |text| text.replace("/var/www/html", "/home/ploi/shop.example.com"));
    let certificate = certificates.order(&site, &shop.domain, &names).await.unwrap().unwrap();
    until("an active certificate", SHORT, || async {
        let all = certificates.certificates(&site).await.unwrap();
        all.into_iter().find(|one| one.value.status == CertificateStatus::Active)
    })
    .await;
    let run = ScriptRun { purpose: Purpose::CheckServer, process: "shop".into(), site: site.clone() };
    let run = host.scripts.as_ref().unwrap().start(&run).await.unwrap();
    let before = (bench.sim.sites_count(), certificates.certificates(&site).await.unwrap().len());
    // Numbers repeat between kinds: here the server's is the first site's as well.
    let server = RemoteId::trusted(cafe.server.as_str());
    for id in [server, certificate.clone(), run, site.id.clone(), RemoteId::trusted("../../servers/1")] {
        let _ = host.sites.delete_site(&SiteRef { id: id.clone(), ..other.clone() }).await;
        let after = (bench.sim.sites_count(), certificates.certificates(&site).await.unwrap().len());
        assert_eq!(after, before, "{id} is not the site of {}", cafe.domain);
    }
    let _ = certificates.delete_certificate(&site, &site.id).await;
    let _ = certificates.delete_certificate(&other, &certificate).await;
    let after = (bench.sim.sites_count(), certificates.certificates(&site).await.unwrap().len());
    assert_eq!(after, before);
}

#[tokio::test]
async fn failures_come_as_the_class_that_decides_what_is_next() {
    let bench = bench(100_000).await;
    let host = host(bench.client(None, Redact::nothing_known()));
    let ground = ground("shop.example.com", SHORT);
    let new = NewSite { server: ground.server.clone(), domain: ground.domain.clone(), system_user: "ploi".into() };
    let rule = |effect| Rule {
        provider: Some("ploi".into()),
        method: Some("POST".into()),
        path: Some("/sites".into()),
        writes: true,
        skip: 0,
        times: 1,
        effect,
    };
    bench.sim.world.faults.add(rule(Effect::LostAfter));
    let lost = host.sites.create_site(&new).await.unwrap_err();
    assert!(lost.is_ambiguous(), "{lost}");
    let again = host.sites.create_site(&new).await.unwrap_err();
    assert!(matches!(again.class, ErrorClass::Exists(_)), "it had happened: {again}");
    let other = NewSite { domain: HostName::parse("b.example.com").unwrap(), ..new.clone() };
    bench.sim.world.faults.add(rule(Effect::Garbage));
    assert!(host.sites.create_site(&other).await.unwrap_err().is_ambiguous(), "an answer without an id");
    bench.sim.turn(|knobs| knobs.errors_inside = 1);
    let inside = host.sites.create_site(&other).await.unwrap_err();
    assert!(matches!(inside.class, ErrorClass::Invalid(_)), "{inside}");
    let unknown = NewSite { system_user: "nobody".into(), domain: HostName::parse("c.example.com").unwrap(), ..new };
    let invalid = host.sites.create_site(&unknown).await.unwrap_err();
    assert!(matches!(invalid.class, ErrorClass::Invalid(_)), "{invalid}");

    let site =
        site_ref(&ground, RemoteId::trusted(bench.sim.site_id(SERVER_ID, "shop.example.com").unwrap().to_string()));
    bench.sim.set_status(SERVER_ID, "shop.example.com", "wordpress-installing");
    let env = Secret::new("A='1'\n");
    let busy = host.environments.write_environment(&site, &env).await.unwrap_err();
    assert!(matches!(busy.class, ErrorClass::Busy(_)), "{busy}");
    bench.sim.turn(|knobs| knobs.while_busy = WhileBusy::Missing);
    assert!(host.environments.environment(&site).await.unwrap().is_none());
    let elsewhere = SiteRef { id: RemoteId::trusted("../../user"), ..site };
    assert!(matches!(host.sites.suspend(&elsewhere).await.unwrap_err().class, ErrorClass::Invalid(_)));
}

#[tokio::test]
async fn a_wrong_token_is_said_to_be_one() {
    let bench = bench(100_000).await;
    let host = host(client(&bench.url, "wrong", None, Redact::nothing_known()));
    let error = host.sites.sites(&ServerId::trusted("1")).await.unwrap_err();
    assert!(matches!(error.class, ErrorClass::Unauthorized(_)), "{error}");
    assert!(!error.to_string().contains("wrong"), "{error}");
}
