//! One HTTP exchange with a site over a connection whose address and certificate were looked at (reliability.md X8, S21).

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use hyper::header::{self, HeaderMap};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use parking_lot::Mutex;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::provider::outside::address::is_global;
use crate::provider::outside::names::{Source, Start, published};
use crate::resource::name::HostName;
use crate::resource::owned::Published;

/// Longest wait for a connection, whatever the whole exchange may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Ports of the two protocols.
const PORTS: (u16, u16) = (443, 80);

/// How sites are reached: settings `dns.server`, `probe.connectTo`, `probe.connectToPlain`, `probe.ca`.
#[derive(Debug, Clone, Default)]
pub struct Route {
    /// Stands in for all name servers.
    pub dns_server: Option<SocketAddr>,
    /// HTTPS connects there, with the site's Host and SNI.
    pub connect_to: Option<SocketAddr>,
    /// Plain HTTP connects there.
    pub connect_to_plain: Option<SocketAddr>,
    /// Further trusted roots, PEM.
    pub extra_roots_pem: Option<String>,
}

/// The way to sites, with its roots loaded.
pub struct Connector {
    route: Route,
    provider: Arc<CryptoProvider>,
    verifier: Option<Arc<WebPkiServerVerifier>>,
}

/// The certificate a server showed, whether or not it was accepted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shown {
    /// Names it covers.
    pub names: BTreeSet<HostName>,
    /// End of its validity.
    pub expires_at: Option<Timestamp>,
}

/// One request.
pub struct Ask<'a> {
    /// The site.
    pub domain: &'a HostName,
    /// Over TLS.
    pub https: bool,
    /// The method.
    pub method: Method,
    /// Path, begins with `/`.
    pub path: &'a str,
    /// JSON body.
    pub body: Option<Vec<u8>>,
    /// For everything together.
    pub timeout: Duration,
    /// Bytes of the body that are read; what follows is left.
    pub body_bytes_max: usize,
}

/// The answer.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Status.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// The first bytes of the body.
    pub body: Bytes,
}

/// Why there is no answer; each with one clause for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// No connection came about: nothing was sent.
    NotConnected(String),
    /// The certificate or the handshake is not good: nothing was sent.
    Tls(String),
    /// Something was sent, and no whole answer came.
    Lost(String),
}

impl Connector {
    /// Loads the machine's roots and the extra ones. Fails when an extra root is no certificate.
    pub fn new(route: Route) -> anyhow::Result<Self> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if let Some(pem) = &route.extra_roots_pem {
            for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                let certificate = certificate.context("probe.ca is not PEM; give a file of root certificates")?;
                roots.add(certificate).context("probe.ca holds something that is no root certificate")?;
            }
        }
        // A machine without roots can still look at plain sites; TLS then never verifies.
        let verifier = match roots.is_empty() {
            true => None,
            false => Some(WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build()?),
        };
        Ok(Connector { route, provider, verifier })
    }

    /// Where questions about names go.
    pub(super) fn source(&self) -> Source {
        self.route.dns_server.map_or_else(|| Source::Authorities(Start::default()), Source::StandIn)
    }

    /// One exchange. Redirects are not followed. `shown` takes what the server's certificate says, also when it is refused.
    pub async fn ask(&self, ask: &Ask<'_>, shown: &Mutex<Shown>) -> Result<Reply, Failure> {
        let phase = Mutex::new(Phase::Connecting);
        match tokio::time::timeout(ask.timeout, self.exchange(ask, shown, &phase)).await {
            Ok(done) => done,
            Err(_) => {
                let text = format!("no answer within {}", humantime::format_duration(ask.timeout));
                let phase = *phase.lock();
                Err(if phase == Phase::Connecting { Failure::NotConnected(text) } else { Failure::Lost(text) })
            }
        }
    }

    async fn exchange(&self, ask: &Ask<'_>, shown: &Mutex<Shown>, phase: &Mutex<Phase>) -> Result<Reply, Failure> {
        let stream = self.connect(ask).await.map_err(Failure::NotConnected)?;
        if !ask.https {
            *phase.lock() = Phase::Sent;
            return talk(ask, stream).await.map_err(Failure::Lost);
        }
        let certificate = Arc::new(Mutex::new(None));
        let verifier =
            Watching { inner: self.verifier.clone(), provider: self.provider.clone(), seen: certificate.clone() };
        let config = ClientConfig::builder_with_provider(self.provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|e| Failure::Tls(e.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        let name = ServerName::try_from(ask.domain.as_str().to_owned());
        let name = name.map_err(|_| Failure::Tls("the name cannot stand in a certificate".into()))?;
        let handshake = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
        if let Some(der) = certificate.lock().take() {
            *shown.lock() = read_certificate(&der);
        }
        let stream = handshake.map_err(|e| Failure::Tls(tls_words(&e, &shown.lock())))?;
        *phase.lock() = Phase::Sent;
        talk(ask, stream).await.map_err(Failure::Lost)
    }

    async fn connect(&self, ask: &Ask<'_>) -> Result<TcpStream, String> {
        let fixed = if ask.https { self.route.connect_to } else { self.route.connect_to_plain };
        let addresses = match fixed {
            Some(address) => vec![address],
            None => self.vetted(ask).await?,
        };
        let mut problem = "the name has no address".to_owned();
        for address in addresses {
            match tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => problem = format!("{address}: {error}"),
                Err(_) => problem = format!("{address}: no connection within 5s"),
            }
        }
        Err(problem)
    }

    /// The public addresses of a site. The connection goes to exactly these, so that the name cannot lead elsewhere meanwhile.
    async fn vetted(&self, ask: &Ask<'_>) -> Result<Vec<SocketAddr>, String> {
        let port = if ask.https { PORTS.0 } else { PORTS.1 };
        let found: Vec<SocketAddr> = match self.source() {
            Source::StandIn(_) => match published(&self.source(), ask.domain.as_str()).await? {
                Published::Addresses(addresses) => addresses.into_iter().map(|ip| (ip, port).into()).collect(),
                Published::Disagree(difference) => return Err(difference),
            },
            Source::Authorities(_) => {
                let found = tokio::net::lookup_host((ask.domain.as_str(), port)).await;
                found.map_err(|e| format!("the name does not resolve: {e}"))?.collect()
            }
        };
        let refused = found.iter().find(|address| !is_global(address.ip())).copied();
        let good: Vec<SocketAddr> = found.into_iter().filter(|address| is_global(address.ip())).collect();
        match refused {
            Some(address) if good.is_empty() => {
                Err(format!("{} is not a public address; nothing was sent there", address.ip()))
            }
            _ => Ok(good),
        }
    }
}

/// How far an exchange is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Connecting,
    Sent,
}

async fn talk<S>(ask: &Ask<'_>, stream: S) -> Result<Reply, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let lost = |e: hyper::Error| format!("connection lost: {e}");
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(lost)?;
    let driver = tokio::spawn(connection);
    let mut request = Request::builder()
        .method(ask.method.clone())
        .uri(ask.path)
        .header(header::HOST, ask.domain.as_str())
        .header(header::USER_AGENT, concat!("sitewright/", env!("CARGO_PKG_VERSION")))
        .header(header::ACCEPT, "application/json, */*;q=0.5");
    if ask.body.is_some() {
        request = request.header(header::CONTENT_TYPE, "application/json");
    }
    let request = request
        .body(ask.body.clone().map_or_else(Body::empty, Body::from))
        .map_err(|_| format!("`{}` is not a path", ask.path.escape_debug()))?;
    let response = sender.send_request(request).await;
    let reply = async {
        let (parts, body) = response.map_err(lost)?.into_parts();
        let mut stream = Body::new(body).into_data_stream();
        let mut body = BytesMut::new();
        while body.len() < ask.body_bytes_max
            && let Some(chunk) = stream.next().await
        {
            body.extend_from_slice(&chunk.map_err(|e| format!("the answer breaks off: {e}"))?);
        }
        body.truncate(ask.body_bytes_max);
        Ok(Reply { status: parts.status, headers: parts.headers, body: body.freeze() })
    };
    let reply = reply.await;
    driver.abort();
    reply
}

/// Names and end of validity; empty where the certificate cannot be read.
fn read_certificate(der: &[u8]) -> Shown {
    let Ok((_, certificate)) = x509_parser::parse_x509_certificate(der) else { return Shown::default() };
    let alternative = certificate.subject_alternative_name().ok().flatten();
    let names = alternative.iter().flat_map(|extension| &extension.value.general_names).filter_map(|name| match name {
        x509_parser::extensions::GeneralName::DNSName(text) => HostName::parse(text).ok(),
        _ => None,
    });
    let expires_at = Timestamp::from_second(certificate.validity().not_after.timestamp()).ok();
    Shown { names: names.collect(), expires_at }
}

/// Why a handshake failed, in words for people.
fn tls_words(error: &std::io::Error, shown: &Shown) -> String {
    use rustls::CertificateError as Bad;
    let inner = error.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>());
    let names = || shown.names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    match inner {
        Some(rustls::Error::InvalidCertificate(Bad::Expired | Bad::ExpiredContext { .. })) => {
            let when = shown.expires_at.map_or_else(|| "earlier".into(), |at| format!("on {at}"));
            format!("the certificate expired {when}")
        }
        Some(rustls::Error::InvalidCertificate(Bad::NotValidForName | Bad::NotValidForNameContext { .. })) => {
            format!("the certificate is for {}", names())
        }
        Some(rustls::Error::InvalidCertificate(Bad::UnknownIssuer)) => "the certificate's issuer is not trusted".into(),
        Some(other) => other.to_string(),
        None => format!("the handshake failed: {error}"),
    }
}

/// Verifies as usual, and keeps the certificate whatever the verdict.
#[derive(Debug)]
struct Watching {
    inner: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
    seen: Arc<Mutex<Option<Vec<u8>>>>,
}

impl ServerCertVerifier for Watching {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        *self.seen.lock() = Some(end_entity.to_vec());
        match &self.inner {
            Some(inner) => inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now),
            None => Err(rustls::CertificateError::UnknownIssuer.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::world::dns::{DnsTable, Entry, server};

    /// Where looks at a name with these addresses connect to.
    async fn looked_at(addresses: &[&str]) -> Result<Vec<SocketAddr>, String> {
        let table = Arc::new(DnsTable::default());
        table.add_zone("agency.example", &["ns1.example.net".into()]);
        for (number, address) in addresses.iter().enumerate() {
            let kind = if address.contains(':') { "AAAA" } else { "A" };
            let (name, kind, content) = ("shop.agency.example".into(), kind.into(), (*address).into());
            let entry = Entry { name, kind, content, ttl: 300, priority: 0, proxied: false };
            table.put("agency.example", &number.to_string(), entry);
        }
        let (udp, tcp, dns) = server::bind(0).await.expect("a free port");
        tokio::spawn(server::serve(table, udp, tcp));
        let connector = Connector::new(Route { dns_server: Some(dns), ..Route::default() }).expect("a connector");
        let domain = HostName::parse("shop.agency.example").expect("a host");
        let timeout = Duration::from_secs(5);
        let (path, method) = ("/", Method::GET);
        let ask = Ask { domain: &domain, https: true, method, path, body: None, timeout, body_bytes_max: 1 };
        connector.vetted(&ask).await
    }

    #[tokio::test]
    async fn of_several_addresses_only_the_public_ones_are_connected_to() {
        let mixed = ["127.0.0.1", "8.8.8.8", "::ffff:169.254.169.254", "2606:4700::1111", "fd00:ec2::254"];
        let found = looked_at(&mixed).await.expect("two public addresses");
        let public = ["8.8.8.8:443", "[2606:4700::1111]:443"];
        assert_eq!(found, public.map(|address| address.parse().expect("an address")));
        for inner in ["169.254.169.254", "168.63.129.16", "::1", "64:ff9b::a00:1", "fe80::1", "100.64.0.1"] {
            let problem = looked_at(&[inner]).await.expect_err(inner);
            assert!(problem.ends_with("is not a public address; nothing was sent there"), "{problem}");
        }
    }
}
