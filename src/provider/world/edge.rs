//! The web servers of the world: by SNI and `Host`, over TLS and in the clear, on loopback.
//!
//! A site answers only when DNS leads its name to the server, the loaded virtual host of that name proxies to a port, and a
//! process listens there: the chain that a real visitor goes through.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::ca::Leaf;
use super::faults::guard;
use super::process::Process;
use super::{World, cms};

/// Largest body a site takes.
const BODY_BYTES_MAX: usize = 1024 * 1024;
/// Handshakes that may wait for their turn.
const HANDSHAKES_MAX: usize = 256;

/// One site as its web server has loaded it.
#[derive(Debug, Clone, Default)]
pub struct LoadedHost {
    /// `server_name`s.
    pub names: BTreeSet<String>,
    /// Where port 80 proxies to.
    pub plain_port: Option<u16>,
    /// Where port 443 proxies to; `None`: it is not served there.
    pub tls_port: Option<u16>,
    /// Where ACME challenges are looked for.
    pub acme_root: Option<String>,
    /// Serves the suspended page.
    pub suspended: bool,
    /// The certificate it serves.
    pub certificate: Option<Arc<Leaf>>,
}

/// What each server has loaded.
#[derive(Debug, Default)]
pub struct WebServers {
    servers: BTreeMap<u64, WebServer>,
}

/// One server.
#[derive(Debug)]
pub struct WebServer {
    /// Its address.
    pub address: Ipv4Addr,
    /// Sites by root domain.
    pub hosts: BTreeMap<String, LoadedHost>,
}

impl WebServers {
    /// Makes a server known.
    pub fn add(&mut self, server: u64, address: Ipv4Addr) {
        self.servers.entry(server).or_insert(WebServer { address, hosts: BTreeMap::new() });
    }

    /// A server's loaded sites.
    pub fn hosts_mut(&mut self, server: u64) -> Option<&mut BTreeMap<String, LoadedHost>> {
        self.servers.get_mut(&server).map(|s| &mut s.hosts)
    }

    /// The site that answers for a name at one of these addresses.
    pub fn find(&self, addresses: &[IpAddr], name: &str) -> Option<(u64, &LoadedHost)> {
        let here = self.servers.iter().find(|(_, s)| addresses.contains(&IpAddr::V4(s.address)))?;
        here.1.hosts.values().find(|host| host.names.contains(name)).map(|host| (*here.0, host))
    }

    /// The address of a server.
    pub fn address(&self, server: u64) -> Option<Ipv4Addr> {
        self.servers.get(&server).map(|s| s.address)
    }
}

/// What a visitor of a name meets.
enum Met {
    Nothing,
    Suspended,
    NobodyListens,
    Site(Box<Process>),
}

fn meet(world: &World, name: &str, tls: bool) -> Met {
    let origins = world.resolve(name).origins;
    let state = world.state();
    let Some((server, host)) = state.web.find(&origins, name) else { return Met::Nothing };
    if host.suspended {
        return Met::Suspended;
    }
    let port = if tls { host.tls_port } else { host.plain_port };
    match port.and_then(|port| state.processes.listener(server, port)) {
        Some(process) => Met::Site(Box::new(process.clone())),
        None => Met::NobodyListens,
    }
}

#[derive(Clone)]
struct Side {
    world: Arc<World>,
    tls: bool,
}

async fn visit(State(side): State<Side>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let host = parts.headers.get(header::HOST).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let host = host.rsplit_once(':').map_or(host, |(name, _)| name).to_ascii_lowercase();
    let body: Bytes = axum::body::to_bytes(Body::new(body), BODY_BYTES_MAX).await.unwrap_or_default();
    answer(&side.world, &host, side.tls, (parts.method.as_str(), parts.uri.path()), &body).await
}

/// What a visitor of a name gets for a method and path, over TLS or in the clear.
pub async fn answer(world: &World, name: &str, tls: bool, (method, path): (&str, &str), body: &[u8]) -> Response {
    let page =
        |status: StatusCode, text: &str| (status, Html(format!("<!doctype html><h1>{text}</h1>"))).into_response();
    match meet(world, name, tls) {
        Met::Nothing => page(StatusCode::MISDIRECTED_REQUEST, "No such site here"),
        Met::Suspended => page(StatusCode::SERVICE_UNAVAILABLE, "This site has been suspended"),
        Met::NobodyListens => page(StatusCode::BAD_GATEWAY, "Bad Gateway"),
        Met::Site(process) => cms::answer(world, &process, method, path, body).await,
    }
}

/// The certificate that a visitor of a name is shown; `None`: no handshake.
pub fn certificate(world: &World, name: &str) -> Option<Arc<Leaf>> {
    let origins = world.resolve(name).origins;
    let state = world.state();
    state.web.find(&origins, name).and_then(|(_, host)| host.certificate.clone())
}

fn router(world: Arc<World>, tls: bool) -> axum::Router {
    let faults = world.faults.clone();
    guard(axum::Router::new().fallback(visit).with_state(Side { world, tls }), cms::NAME, faults)
}

/// Serves plain HTTP until the task is dropped.
pub async fn serve_plain(listener: TcpListener, world: Arc<World>) -> std::io::Result<()> {
    axum::serve(listener, router(world, false)).await
}

/// Serves HTTPS until the task is dropped. A name without certificate gets no handshake.
pub async fn serve_tls(listener: TcpListener, world: Arc<World>) -> anyhow::Result<()> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(BySni(world.clone())));
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let address = listener.local_addr()?;
    let (ready, streams) = mpsc::channel(HANDSHAKES_MAX);
    let accept = async move {
        // Each handshake on its own, so that a slow one holds nobody up.
        while let Ok((stream, from)) = listener.accept().await {
            let (acceptor, ready) = (acceptor.clone(), ready.clone());
            tokio::spawn(async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    let _ = ready.send((stream, from)).await;
                }
            });
        }
    };
    let listener = Handshaken { streams, address };
    let serve = std::future::IntoFuture::into_future(axum::serve(listener, router(world, true)));
    tokio::select! {
        () = accept => anyhow::bail!("the HTTPS listener closed"),
        served = serve => Ok(served?),
    }
}

/// Streams whose handshake is done, as axum takes them.
struct Handshaken {
    streams: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
    address: SocketAddr,
}

impl axum::serve::Listener for Handshaken {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.streams.recv().await {
            Some(pair) => pair,
            // No more will come; the accept loop's end stops the server.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        Ok(self.address)
    }
}

struct BySni(Arc<World>);

impl std::fmt::Debug for BySni {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BySni")
    }
}

impl ResolvesServerCert for BySni {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name()?.to_ascii_lowercase();
        Some(certificate(&self.0, &name)?.key.clone())
    }
}
