//! Name servers and probes against the simulated world's name server and against TLS servers with every kind of certificate.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::{get, post};
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use parking_lot::Mutex;
use sitewright::provider::error::ErrorClass;
use sitewright::provider::outside::Prober;
use sitewright::provider::outside::cms::SiteCms;
use sitewright::provider::outside::connection::{Connector, Route};
use sitewright::provider::world::dns::{DnsTable, Entry, PROXY_ADDRESSES, server};
use sitewright::provider::{Cms, Outside};
use sitewright::resource::desired::DesiredHealth;
use sitewright::resource::name::HostName;
use sitewright::resource::owned::{ProbeOutcome, Published};
use sitewright::resource::secret::Secret;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

const SITE: &str = "shop.agency.example";

fn host(name: &str) -> HostName {
    HostName::parse(name).expect("a host name")
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn entry(name: &str, kind: &str, content: &str) -> Entry {
    let name = format!("{name}.agency.example").trim_start_matches('.').to_owned();
    Entry { name, kind: kind.into(), content: content.into(), ttl: 300, priority: 10, proxied: false }
}

fn table() -> Arc<DnsTable> {
    let table = Arc::new(DnsTable::default());
    table.add_zone("agency.example", &["ns1.example.net".into(), "ns2.example.net".into()]);
    table.put("agency.example", "1", entry("shop", "A", "192.0.2.1"));
    table.put("agency.example", "2", entry("shop", "AAAA", "2001:db8::1"));
    table.put("agency.example", "3", entry("www.shop", "CNAME", "shop.agency.example"));
    table.put("agency.example", "4", Entry { proxied: true, ..entry("cdn", "A", "192.0.2.7") });
    table.put("agency.example", "5", entry("", "MX", "mx.example.net"));
    table.put("agency.example", "6", entry("", "CAA", "0 issue \"letsencrypt.org\""));
    table.put("agency.example", "7", entry("text", "TXT", &"t".repeat(900)));
    table
}

async fn serve(table: Arc<DnsTable>) -> SocketAddr {
    let (udp, tcp, address) = server::bind(0).await.expect("a free port");
    tokio::spawn(server::serve(table, udp, tcp));
    address
}

fn question(name: &str, kind: RecordType) -> Vec<u8> {
    let mut message = Message::new(7, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(name.parse::<Name>().expect("a name"), kind));
    message.to_vec().expect("bytes")
}

async fn ask(server: SocketAddr, name: &str, kind: RecordType) -> Message {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    socket.send_to(&question(name, kind), server).await.expect("sent");
    let mut buffer = [0; 4096];
    let length = socket.recv(&mut buffer).await.expect("an answer");
    Message::from_vec(&buffer[..length]).expect("a message")
}

async fn ask_tcp(server: SocketAddr, name: &str, kind: RecordType) -> Message {
    let mut stream = TcpStream::connect(server).await.expect("connected");
    let bytes = question(name, kind);
    stream.write_u16(u16::try_from(bytes.len()).expect("short")).await.expect("sent");
    stream.write_all(&bytes).await.expect("sent");
    let mut buffer = vec![0; usize::from(stream.read_u16().await.expect("a length"))];
    stream.read_exact(&mut buffer).await.expect("an answer");
    Message::from_vec(&buffer).expect("a message")
}

#[tokio::test]
async fn the_name_server_answers_with_authority() {
    let server = serve(table()).await;
    for (name, kind, answers, code) in [
        ("shop.agency.example.", RecordType::A, vec!["192.0.2.1"], ResponseCode::NoError),
        ("SHOP.Agency.example.", RecordType::AAAA, vec!["2001:db8::1"], ResponseCode::NoError),
        ("www.shop.agency.example.", RecordType::A, vec!["shop.agency.example.", "192.0.2.1"], ResponseCode::NoError),
        ("www.shop.agency.example.", RecordType::CNAME, vec!["shop.agency.example."], ResponseCode::NoError),
        ("agency.example.", RecordType::NS, vec!["ns1.example.net.", "ns2.example.net."], ResponseCode::NoError),
        ("agency.example.", RecordType::MX, vec!["10 mx.example.net."], ResponseCode::NoError),
        ("shop.agency.example.", RecordType::TXT, vec![], ResponseCode::NoError),
        ("nothing.agency.example.", RecordType::A, vec![], ResponseCode::NXDomain),
        ("agency.example.", RecordType::A, vec![], ResponseCode::NoError),
    ] {
        let said = ask(server, name, kind).await;
        let found: Vec<String> = said.answers.iter().map(|r| r.data.to_string()).collect();
        assert_eq!(
            (found, said.metadata.response_code),
            (answers.into_iter().map(str::to_owned).collect(), code),
            "{name} {kind}"
        );
        assert!(said.metadata.authoritative, "{name} {kind}");
        let soa = said.authorities.iter().any(|r| r.record_type() == RecordType::SOA);
        assert_eq!(soa, said.answers.is_empty(), "nothing found comes with the zone's SOA: {name} {kind}");
    }
    let proxied = ask(server, "cdn.agency.example.", RecordType::A).await;
    let found: BTreeSet<IpAddr> = proxied.answers.iter().filter_map(|r| r.data.ip_addr()).collect();
    assert_eq!(found, PROXY_ADDRESSES.into_iter().collect());
    let caa = ask(server, "agency.example.", RecordType::CAA).await;
    assert!(caa.answers[0].data.to_string().contains("letsencrypt.org"), "{}", caa.answers[0].data);
    assert_eq!(ask(server, "agency.example.", RecordType::SOA).await.answers.len(), 1);
    let elsewhere = ask(server, "other.example.", RecordType::A).await;
    assert_eq!(elsewhere.metadata.response_code, ResponseCode::Refused);
    assert!(!elsewhere.metadata.authoritative);
}

#[tokio::test]
async fn long_answers_are_cut_over_udp_and_whole_over_tcp() {
    let server = serve(table()).await;
    let cut = ask(server, "text.agency.example.", RecordType::TXT).await;
    assert!(cut.metadata.truncation && cut.answers.is_empty());
    let whole = ask_tcp(server, "text.agency.example.", RecordType::TXT).await;
    assert!(!whole.metadata.truncation);
    assert_eq!(whole.answers.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_change_is_visible_after_its_delay_and_not_before() {
    let table = table();
    table.set_delay(Duration::from_secs(30));
    table.put("agency.example", "1", entry("shop", "A", "192.0.2.99"));
    table.remove("agency.example", "2");
    assert_eq!(table.lookup(SITE), [ip("192.0.2.1"), ip("2001:db8::1")]);
    tokio::time::sleep(Duration::from_secs(29)).await;
    assert_eq!(table.lookup(SITE), [ip("192.0.2.1"), ip("2001:db8::1")]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(table.lookup(SITE), [ip("192.0.2.99")]);
    assert_eq!(table.lookup("www.shop.agency.example"), [ip("192.0.2.99")]);
    assert_eq!(
        (table.lookup("cdn.agency.example"), table.origin("cdn.agency.example")),
        (PROXY_ADDRESSES.to_vec(), vec![ip("192.0.2.7")],)
    );
}

fn prober(route: Route) -> Prober {
    Prober::new(Arc::new(Connector::new(route).expect("a connector")))
}

#[tokio::test]
async fn published_is_what_the_name_server_says() {
    let server = serve(table()).await;
    let prober = prober(Route { dns_server: Some(server), ..Route::default() });
    let both = Published::Addresses(vec![ip("192.0.2.1"), ip("2001:db8::1")]);
    assert_eq!(prober.published(&host(SITE)).await.expect("an answer"), both);
    assert_eq!(prober.published(&host("www.shop.agency.example")).await.expect("an answer"), both);
    let none = Published::Addresses(Vec::new());
    assert_eq!(prober.published(&host("nothing.agency.example")).await.expect("an answer"), none);
    let refused = prober.published(&host("shop.other.example")).await.expect_err("not authoritative there");
    assert!(matches!(refused.class, ErrorClass::Unavailable(_)), "{refused}");
}

/// A TLS server that shows one certificate.
struct TlsSite {
    address: SocketAddr,
    root_pem: String,
}

async fn tls_site(names: &[&str], not_after: (i32, u8, u8), router: Router) -> TlsSite {
    let root_key = rcgen::KeyPair::generate().expect("a key");
    let mut root = rcgen::CertificateParams::new(Vec::new()).expect("parameters");
    root.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let root = rcgen::CertifiedIssuer::self_signed(root, root_key).expect("a root");
    let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
    let mut leaf = rcgen::CertificateParams::new(names).expect("parameters");
    leaf.not_before = rcgen::date_time_ymd(2020, 1, 1);
    leaf.not_after = rcgen::date_time_ymd(not_after.0, not_after.1, not_after.2);
    let key = rcgen::KeyPair::generate().expect("a key");
    let leaf = leaf.signed_by(&key, &root).expect("a leaf");
    let der = rustls_pki_types::PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], der)
        .expect("a certificate");
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, router) = (acceptor.clone(), router.clone());
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let service = hyper_util::service::TowerToHyperService::new(router);
                let builder = hyper_util::server::conn::auto::Builder::new(hyper_util::rt::TokioExecutor::new());
                builder.serve_connection(hyper_util::rt::TokioIo::new(stream), service).await.ok();
            });
        }
    });
    TlsSite { address, root_pem: root.pem() }
}

fn health(path: &str, identity: bool) -> DesiredHealth {
    let second = Duration::from_secs(1);
    DesiredHealth { path: path.into(), timeout: second * 20, interval: second * 60, identity }
}

fn site() -> Router {
    Router::new()
        .route("/ok", get(async || "fine"))
        .route("/json", get(async || r#"{"status":"ok","client":"shop01"}"#))
        .route("/header", get(async || ([("x-client-id", "shop01")], "fine")))
        .route("/stranger", get(async || ([("x-client-id", "other02")], "fine")))
        .route("/down", get(async || (StatusCode::SERVICE_UNAVAILABLE, "")))
        .route("/moved", get(async || (StatusCode::FOUND, [("location", "http://192.0.2.1/ok")], "")))
        .route("/endless", get(async || "x".repeat(1_000_000)))
}

fn to(site: &TlsSite) -> Prober {
    prober(Route { connect_to: Some(site.address), extra_roots_pem: Some(site.root_pem.clone()), ..Route::default() })
}

#[tokio::test]
async fn probes_tell_healthy_from_unhealthy_and_from_somebody_else() {
    let served = tls_site(&[SITE, "www.shop.agency.example"], (2090, 3, 4), site()).await;
    let prober = to(&served);
    for (path, identity, outcome) in [
        ("/ok", false, ProbeOutcome::Healthy),
        ("/json", true, ProbeOutcome::Healthy),
        ("/header", true, ProbeOutcome::Healthy),
        ("/endless", false, ProbeOutcome::Healthy),
        ("/stranger", false, ProbeOutcome::Healthy),
        ("/stranger", true, ProbeOutcome::WrongSite("other02".into())),
        ("/ok", true, ProbeOutcome::Unhealthy("/ok answers 200 but names no client".into())),
        ("/down", false, ProbeOutcome::Unhealthy("/down answers 503".into())),
        ("/moved", false, ProbeOutcome::Unhealthy("/moved answers 302, a redirect".into())),
        ("/nowhere", false, ProbeOutcome::Unhealthy("/nowhere answers 404".into())),
    ] {
        let probe = prober.probe(&host(SITE), true, &health(path, identity), "shop01").await;
        assert_eq!((probe.https, &probe.outcome), (true, &outcome), "{path}");
        assert_eq!(probe.certificate_names, [host(SITE), host("www.shop.agency.example")].into());
        assert_eq!(probe.certificate_expires_at.map(|t| t.to_string()).as_deref(), Some("2090-03-04T00:00:00Z"));
    }
}

#[tokio::test]
async fn a_bad_certificate_is_refused_and_still_read() {
    let expired = tls_site(&[SITE], (2021, 3, 4), site()).await;
    let probe = to(&expired).probe(&host(SITE), true, &health("/ok", false), "shop01").await;
    let expected = ProbeOutcome::Tls("the certificate expired on 2021-03-04T00:00:00Z".into());
    assert_eq!((probe.outcome, probe.certificate_names), (expected, [host(SITE)].into()));
    assert!(probe.certificate_expires_at.is_some());

    let other = tls_site(&["other.agency.example"], (2090, 3, 4), site()).await;
    let probe = to(&other).probe(&host(SITE), true, &health("/ok", false), "shop01").await;
    assert_eq!(probe.outcome, ProbeOutcome::Tls("the certificate is for other.agency.example".into()));
    assert_eq!(probe.certificate_names, [host("other.agency.example")].into());

    let trusted = tls_site(&[SITE], (2090, 3, 4), site()).await;
    let stranger = tls_site(&[SITE], (2090, 3, 4), site()).await;
    let mixed = TlsSite { address: stranger.address, root_pem: trusted.root_pem };
    let probe = to(&mixed).probe(&host(SITE), true, &health("/ok", false), "shop01").await;
    assert!(matches!(&probe.outcome, ProbeOutcome::Tls(_)), "{:?}", probe.outcome);
    assert_eq!(probe.certificate_names, [host(SITE)].into());
}

#[tokio::test]
async fn silence_and_closed_doors_are_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let silent = listener.local_addr().expect("an address");
    let short = DesiredHealth { timeout: Duration::from_millis(50), ..health("/ok", false) };
    let plain = prober(Route { connect_to_plain: Some(silent), ..Route::default() });
    let probe = plain.probe(&host(SITE), false, &short, "shop01").await;
    assert_eq!(probe.outcome, ProbeOutcome::Unreachable("no answer within 50ms".into()));
    drop(listener);
    let probe = plain.probe(&host(SITE), false, &health("/ok", false), "shop01").await;
    assert!(matches!(probe.outcome, ProbeOutcome::Unreachable(_)), "{:?}", probe.outcome);
}

/// H5.
#[tokio::test]
async fn a_name_that_leads_into_our_own_network_is_not_followed() {
    let table = table();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    for (number, address) in ["127.0.0.1", "169.254.169.254", "10.0.0.1", "192.168.0.1"].iter().enumerate() {
        table.put("agency.example", &format!("inner{number}"), entry(&format!("inner{number}"), "A", address));
    }
    let server = serve(table).await;
    let prober = prober(Route { dns_server: Some(server), ..Route::default() });
    for number in 0..4 {
        let name = host(&format!("inner{number}.agency.example"));
        for https in [true, false] {
            let probe = prober.probe(&name, https, &health("/ok", false), "shop01").await;
            let ProbeOutcome::Unreachable(text) = &probe.outcome else { panic!("{:?}", probe.outcome) };
            assert!(text.contains("not a public address"), "{text}");
        }
    }
    drop(listener);
}

/// What the settings open for one protocol stays closed for the other, and a redirect opens nothing.
#[tokio::test]
async fn only_what_the_settings_name_is_reached_in_our_own_network() {
    let table = table();
    table.put("agency.example", "inner", entry("inner", "A", "127.0.0.1"));
    let server = serve(table).await;
    let inner = host("inner.agency.example");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let ours = listener.local_addr().expect("an address");
    let secure = Route { dns_server: Some(server), connect_to: Some(ours), ..Route::default() };
    let plain = Route { dns_server: Some(server), connect_to_plain: Some(ours), ..Route::default() };
    for (route, https) in [(secure, false), (plain, true)] {
        let probe = prober(route).probe(&inner, https, &health("/ok", false), "shop01").await;
        let ProbeOutcome::Unreachable(text) = &probe.outcome else { panic!("{:?}", probe.outcome) };
        assert!(text.contains("127.0.0.1 is not a public address"), "{text}");
    }
    let location = format!("http://{ours}/api/users/first-register");
    let away = post(async move || (StatusCode::PERMANENT_REDIRECT, [("location", location)], ""));
    let served = tls_site(&[SITE], (2090, 3, 4), Router::new().fallback_service(away)).await;
    let route = Route { connect_to: Some(served.address), extra_roots_pem: Some(served.root_pem), ..Route::default() };
    let cms = SiteCms::new(Arc::new(Connector::new(route).expect("a connector")));
    let error = cms.first_register(&host(SITE), "a@agency.example", "A", &Secret::new("pass-word")).await;
    assert!(error.expect_err("a redirect to somewhere else").to_string().contains("308"));
    let came = listener.into_std().expect("a listener that does not block").accept();
    assert!(came.is_err(), "somebody connected into our own network");
}

/// A CMS that takes one first administrator; `slash` is how it wants its paths to end.
fn cms(slash: &'static str, log: Arc<Mutex<Vec<String>>>) -> Router {
    let other = if slash.is_empty() { "/" } else { "" };
    let register = move |body: String| async move {
        let mut log = log.lock();
        if !log.is_empty() {
            return (StatusCode::FORBIDDEN, String::new());
        }
        log.push(body);
        (StatusCode::OK, r#"{"message":"made","user":{"id":1}}"#.to_owned())
    };
    let log_in = async |body: String| match body.contains("\"right\"") {
        true => (StatusCode::OK, r#"{"user":{"id":1}}"#),
        false => (StatusCode::UNAUTHORIZED, "{}"),
    };
    let moved = |path: &'static str| {
        post(async move || (StatusCode::PERMANENT_REDIRECT, [("location", format!("{path}{slash}"))], ""))
    };
    Router::new()
        .route(&format!("/api/users/first-register{slash}"), post(register))
        .route(&format!("/api/users/login{slash}"), post(log_in))
        .route(&format!("/api/users/first-register{other}"), moved("/api/users/first-register"))
        .route(&format!("/api/users/login{other}"), moved("/api/users/login"))
}

#[tokio::test]
async fn the_first_administrator_is_made_once() {
    for slash in ["/", ""] {
        let log = Arc::new(Mutex::new(Vec::new()));
        let served = tls_site(&[SITE], (2090, 3, 4), cms(slash, log.clone())).await;
        let route =
            Route { connect_to: Some(served.address), extra_roots_pem: Some(served.root_pem), ..Route::default() };
        let cms = SiteCms::new(Arc::new(Connector::new(route).expect("a connector")));
        let (site, right) = (host(SITE), Secret::new("right"));
        assert!(cms.first_register(&site, "a@agency.example", "A", &right).await.expect("made"));
        assert!(!cms.first_register(&site, "a@agency.example", "A", &right).await.expect("there is one"));
        assert!(cms.log_in(&site, "a@agency.example", &right).await.expect("asked"));
        assert!(!cms.log_in(&site, "a@agency.example", &Secret::new("wrong")).await.expect("asked"));
        let sent: serde_json::Value = serde_json::from_str(&log.lock()[0]).expect("JSON");
        assert_eq!(sent, serde_json::json!({ "email": "a@agency.example", "name": "A", "password": "right" }));
    }
}

#[tokio::test]
async fn the_cms_outcome_is_open_only_after_something_was_sent() {
    let router =
        Router::new().route("/api/users/first-register/", post(async || (StatusCode::INTERNAL_SERVER_ERROR, "")));
    let served = tls_site(&[SITE], (2090, 3, 4), router).await;
    let expired = tls_site(&[SITE], (2021, 3, 4), Router::new()).await;
    let page = Router::new().fallback(async || "<html>Welcome</html>");
    let placeholder = tls_site(&[SITE], (2090, 3, 4), page).await;
    let ask = async |site: &TlsSite| {
        let route =
            Route { connect_to: Some(site.address), extra_roots_pem: Some(site.root_pem.clone()), ..Route::default() };
        let cms = SiteCms::new(Arc::new(Connector::new(route).expect("a connector")));
        let error = cms.first_register(&host(SITE), "a@agency.example", "A", &Secret::new("pass-word")).await;
        let error = error.expect_err("no good answer");
        assert!(!format!("{error} {error:?}").contains("pass-word"));
        error.class
    };
    assert!(matches!(ask(&served).await, ErrorClass::Unanswered(_)));
    assert!(matches!(ask(&placeholder).await, ErrorClass::Unanswered(_)));
    assert!(matches!(ask(&expired).await, ErrorClass::Unavailable(_)));
}
