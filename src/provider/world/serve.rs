//! All simulators at once, on loopback, and the variables that point `run` at them.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::dns::{DnsTable, server as name_server};
use super::faults::{Faults, guard};
use super::{Resolved, World, control, edge, git, hand};
use crate::provider::cloudflare::sim::{CloudflareSim, Plan};
use crate::provider::ploi::sim::{LIMIT_UNLIMITED, PloiDelays, PloiSim, SERVER_ID};
use crate::provider::resend::sim::ResendSim;

/// Tokens that the simulators accept: no secrets, they open nothing else.
const PLOI_TOKEN: &str = "simulated-ploi-token";
const CLOUDFLARE_TOKEN: &str = "simulated-cloudflare-token";
const GITHUB_TOKEN: &str = "simulated-github-token";
const RESEND_TOKEN: &str = "simulated-resend-token";
/// The domain that mail may come from.
pub const MAIL_DOMAIN: &str = "agency.example";
/// The file that the root certificate is written to.
const ROOT_FILE: &str = "simulated-root.pem";

/// Ports on 127.0.0.1; 0 is any free one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs)] // each is the port of what it is named after
pub struct Ports {
    pub ploi: u16,
    pub cloudflare: u16,
    pub git: u16,
    pub mail: u16,
    pub dns: u16,
    pub https: u16,
    pub http: u16,
    pub control: u16,
}

/// What to serve.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where.
    pub ports: Ports,
    /// Zones of the DNS account.
    pub zones: Vec<String>,
    /// `owner/name` of the CMS, with one commit on its branch.
    pub repository: String,
    /// Its branch.
    pub branch: String,
    /// How long what Ploi queues takes.
    pub delays: PloiDelays,
    /// How long DNS changes take to be seen.
    pub propagation: Duration,
    /// Ploi's limit, calls a minute.
    pub ploi_limit: u32,
    /// Where the root certificate is written; made when it is not there.
    pub directory: PathBuf,
}

impl Options {
    /// Quick, on free ports, with one zone and one repository; the root certificate goes below `directory`.
    pub fn quick(directory: impl Into<PathBuf>) -> Options {
        Options {
            ports: Ports::default(),
            zones: vec!["example.com".to_owned()],
            repository: "agency/cms".to_owned(),
            branch: "main".to_owned(),
            delays: PloiDelays::quick(),
            propagation: Duration::ZERO,
            ploi_limit: LIMIT_UNLIMITED,
            directory: directory.into(),
        }
    }
}

/// The running simulators; they end when this is dropped.
pub struct Simulators {
    /// The common world.
    pub world: Arc<World>,
    /// The Ploi account.
    pub ploi: Arc<PloiSim>,
    /// The Cloudflare account.
    pub cloudflare: Arc<CloudflareSim>,
    /// What DNS says.
    pub dns: Arc<DnsTable>,
    /// The mail provider, and the webhook.
    pub mail: Arc<ResendSim>,
    /// The control port.
    pub control: SocketAddr,
    zones: Vec<(String, String)>,
    variables: Vec<(String, String)>,
    tasks: JoinSet<()>,
}

impl Simulators {
    /// The variables that point `run` at these simulators, by name.
    pub fn variables(&self) -> Vec<(String, String)> {
        self.variables.clone()
    }

    /// The id of a zone of the DNS account, by its name.
    pub fn zone(&self, name: &str) -> Option<String> {
        self.zones.iter().find(|(known, _)| known == name).map(|(_, id)| id.clone())
    }

    /// Waits until one of the simulators ends, which none does by itself.
    pub async fn ended(&mut self) {
        let _ = self.tasks.join_next().await;
    }
}

/// Starts everything. Fails when a port is taken or the root certificate cannot be written.
pub async fn serve(options: Options) -> anyhow::Result<Simulators> {
    let faults = Arc::new(Faults::default());
    let world = World::new(faults.clone())?;
    let dns = Arc::new(DnsTable::default());
    dns.set_delay(options.propagation);
    let table = dns.clone();
    world.set_resolve(Arc::new(move |name| Resolved { addresses: table.lookup(name), origins: table.origin(name) }));
    {
        let mut state = world.state();
        state.git.token = Some(GITHUB_TOKEN.to_owned());
        state.git.push(&options.repository, &options.branch);
    }
    let ploi = PloiSim::new(world.clone(), PLOI_TOKEN, options.ploi_limit, options.delays);
    let cloudflare = CloudflareSim::new(CLOUDFLARE_TOKEN, dns.clone());
    let add = |zone: &String| (zone.clone(), cloudflare.add_zone(zone, Plan::Enterprise));
    let zones = options.zones.iter().map(add).collect();
    let mut tasks = JoinSet::new();
    let ports = options.ports;
    let ploi_at = listen(&mut tasks, ports.ploi, crate::provider::ploi::sim::router(ploi.clone())).await?;
    let cloudflare_at = listen(&mut tasks, ports.cloudflare, cloudflare.router(faults.clone())).await?;
    let git_at = listen(&mut tasks, ports.git, guard(git::router(world.clone()), "git", faults.clone())).await?;
    let mail = ResendSim::new(RESEND_TOKEN, MAIL_DOMAIN);
    let mail_at = listen(&mut tasks, ports.mail, guard(mail.router(), "resend", faults.clone())).await?;
    let by_hand = control::router(faults).merge(hand::router(ploi.clone()));
    let control = listen(&mut tasks, ports.control, by_hand).await?;
    let (udp, tcp, dns_at) = name_server::bind(ports.dns).await.context("the port of the name server")?;
    let answering = name_server::serve(dns.clone(), udp, tcp);
    tasks.spawn(async move { drop(answering.await) });
    let (https_at, http_at) = edges(&mut tasks, ports, &world).await?;
    let root = write_root(&world, &options)?;
    let variables = [
        ("PLOI_API_URL", format!("http://{ploi_at}/api")),
        ("PLOI_API_TOKEN", PLOI_TOKEN.to_owned()),
        ("PLOI_SERVER_ID", SERVER_ID.to_string()),
        ("PLOI_GIT_REPO", options.repository),
        ("PLOI_GIT_BRANCH", options.branch),
        ("CLOUDFLARE_API_URL", format!("http://{cloudflare_at}/client/v4")),
        ("CLOUDFLARE_API_TOKEN", CLOUDFLARE_TOKEN.to_owned()),
        ("GITHUB_API_URL", format!("http://{git_at}")),
        ("GITHUB_TOKEN", GITHUB_TOKEN.to_owned()),
        ("RESEND_API_URL", format!("http://{mail_at}")),
        ("RESEND_API_KEY", RESEND_TOKEN.to_owned()),
        ("SITEWRIGHT_DNS_SERVER", dns_at.to_string()),
        ("SITEWRIGHT_PROBE_CONNECT_TO", https_at.to_string()),
        ("SITEWRIGHT_PROBE_CONNECT_TO_PLAIN", http_at.to_string()),
        ("SITEWRIGHT_PROBE_CA", root.display().to_string()),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value)).to_vec();
    Ok(Simulators { world, ploi, cloudflare, dns, mail, control, zones, variables, tasks })
}

async fn bind(port: u16) -> anyhow::Result<TcpListener> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    TcpListener::bind(address).await.with_context(|| format!("{address} cannot be listened on; choose another port"))
}

async fn listen(tasks: &mut JoinSet<()>, port: u16, app: Router) -> anyhow::Result<SocketAddr> {
    let listener = bind(port).await?;
    let address = listener.local_addr()?;
    tasks.spawn(async move { drop(axum::serve(listener, app).await) });
    Ok(address)
}

async fn edges(tasks: &mut JoinSet<()>, ports: Ports, world: &Arc<World>) -> anyhow::Result<(SocketAddr, SocketAddr)> {
    let (https, http) = (bind(ports.https).await?, bind(ports.http).await?);
    let addresses = (https.local_addr()?, http.local_addr()?);
    let (tls, plain) = (edge::serve_tls(https, world.clone()), edge::serve_plain(http, world.clone()));
    tasks.spawn(async move { drop(tls.await) });
    tasks.spawn(async move { drop(plain.await) });
    Ok(addresses)
}

fn write_root(world: &World, options: &Options) -> anyhow::Result<PathBuf> {
    let file = options.directory.join(ROOT_FILE);
    // The state lies in the same place: nobody else looks in.
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&options.directory)
        .and_then(|()| std::fs::write(&file, world.authority.root_pem()))
        .and_then(|()| std::fs::canonicalize(&file))
        // Resolved, because the variable that names it is read by programs that run in other directories.
        .with_context(|| format!("{} cannot be written", file.display()))
}
