//! The Ploi API on loopback, over the simulators' common world; strict where the contract is, odd where Ploi is.
//!
//! Contract: contracts/ploi.md. Nothing is done at once that Ploi queues: state machines go by tokio's clock, with delays
//! that a test chooses. What is unknown of the real thing is a knob.

mod certificates;
mod deploys;
mod env_text;
mod gate;
mod knobs;
mod pieces;
mod reply;
mod servers;
mod shell;
mod sites;
mod state;
mod test_api;
mod vhost;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware;
use axum::routing::{delete, get, post};
use parking_lot::Mutex;

use crate::provider::world::World;
use crate::provider::world::faults::guard;
use gate::Bucket;
pub use knobs::{AliasPost, CertificateEnd, DeployEnd, Envelope, Knobs, PloiDelays, WhileBusy};
use state::{Account, SimServer, SimSite};

/// The id of the server that every simulated account begins with.
pub const SERVER_ID: u64 = 1;
/// Its address (documentation range).
pub const SERVER_ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
/// The Git account that is linked at first: id and kind.
const SOURCE_CONTROL: (u64, &str, &str) = (7, "github", "agency");
/// Calls a minute of the plan `Unlimited` (contracts/ploi.md 2).
pub const LIMIT_UNLIMITED: u32 = 240;

/// One simulated account.
pub struct PloiSim {
    /// The world it acts upon.
    pub world: Arc<World>,
    account: Mutex<Account>,
    knobs: Mutex<Knobs>,
    delays: Mutex<PloiDelays>,
    bucket: Mutex<Bucket>,
    token: String,
}

impl PloiSim {
    /// An account with one server at [`SERVER_ADDRESS`], one linked Git account and no sites.
    /// `limit` is in calls a minute.
    pub fn new(world: Arc<World>, token: &str, limit: u32, delays: PloiDelays) -> Arc<PloiSim> {
        let mut account = Account::default();
        let (id, provider, label) = SOURCE_CONTROL;
        account.source_controls.push((id, provider.to_owned(), label.to_owned()));
        let sim = PloiSim {
            world,
            account: Mutex::new(account),
            knobs: Mutex::new(Knobs::default()),
            delays: Mutex::new(delays),
            bucket: Mutex::new(Bucket::new(limit)),
            token: token.to_owned(),
        };
        sim.add_server(SERVER_ID, "blue-ocean", SERVER_ADDRESS);
        Arc::new(sim)
    }

    /// A further server.
    pub fn add_server(&self, id: u64, name: &str, address: Ipv4Addr) {
        let server = SimServer {
            name: name.to_owned(),
            address,
            status: "active".to_owned(),
            users: ["ploi".to_owned()].into(),
            lacks: [].into(),
        };
        self.account.lock().servers.insert(id, server);
        self.world.state().web.add(id, address);
    }

    /// The knobs as they stand.
    pub fn knobs(&self) -> Knobs {
        self.knobs.lock().clone()
    }

    /// Turns knobs.
    pub fn turn(&self, change: impl FnOnce(&mut Knobs)) {
        change(&mut self.knobs.lock());
    }

    /// The delays as they stand.
    pub fn delays(&self) -> PloiDelays {
        *self.delays.lock()
    }

    /// Other delays from now on.
    pub fn set_delays(&self, delays: PloiDelays) {
        *self.delays.lock() = delays;
    }

    /// Does something to the account after a while.
    fn later(self: &Arc<Self>, delay: Duration, then: impl FnOnce(&Arc<PloiSim>, &mut Account) + Send + 'static) {
        let sim = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            let mut account = sim.account.lock();
            then(&sim, &mut account);
        });
    }

    /// Writes a site's virtual host anew, as certificate, alias and domain operations do; hand edits survive or not.
    fn rewrite_vhost(&self, site: &mut SimSite) {
        let before = vhost::load(&site.vhost).ok().filter(|_| self.knobs.lock().vhost_edits_survive);
        let port = before.as_ref().and_then(|host| host.plain_port).unwrap_or(vhost::PORT_DEFAULT);
        let root = before.and_then(|host| host.acme_root).unwrap_or_else(|| vhost::ACME_ROOT_DEFAULT.to_owned());
        let names = site.names();
        let parts =
            vhost::Parts { domain: &site.domain, names: &names, tls: site.served.is_some(), port, acme_root: &root };
        site.vhost = vhost::render(&parts);
    }

    /// `nginx -t` over every virtual host of a server.
    fn test_web_server(account: &Account, server: u64) -> Result<(), String> {
        let sites = account.sites.values().filter(|site| site.server == server && !site.vhost.is_empty());
        for site in sites {
            vhost::load(&site.vhost).map_err(|words| format!("{words} ({})", site.domain))?;
        }
        Ok(())
    }

    /// Reloads a server's web server: all texts, or none when one of them is broken.
    fn reload_web_server(&self, account: &Account, server: u64) {
        if Self::test_web_server(account, server).is_err() {
            return;
        }
        let mut state = self.world.state();
        let Some(hosts) = state.web.hosts_mut(server) else { return };
        hosts.clear();
        for site in account.sites.values().filter(|site| site.server == server && !site.vhost.is_empty()) {
            if let Ok(mut host) = vhost::load(&site.vhost) {
                host.suspended = site.status == "suspended";
                host.certificate = site.served.clone();
                hosts.insert(site.domain.clone(), host);
            }
        }
    }
}

/// The API below `/api`, with faults and the log of calls in front of it.
pub fn router(sim: Arc<PloiSim>) -> Router {
    let faults = sim.world.faults.clone();
    let site = Router::new()
        .route("/", get(sites::read).delete(sites::remove))
        .route("/suspend", post(sites::suspend))
        .route("/resume", post(sites::resume))
        .route("/log", get(sites::log))
        .route("/log/{entry}", get(sites::log_entry))
        .route("/aliases", get(sites::aliases).post(sites::add_aliases))
        .route("/aliases/{alias}", delete(sites::remove_alias))
        .route("/repository", get(pieces::repository).post(pieces::install).delete(pieces::uninstall))
        .route("/env", get(pieces::env).patch(pieces::write_env))
        .route("/nginx-configuration", get(pieces::vhost).patch(pieces::write_vhost))
        .route("/deploy/script", get(pieces::script).patch(pieces::write_script))
        .route("/deploy", post(deploys::deploy))
        .route("/certificates", get(certificates::list).post(certificates::order))
        .route("/certificates/{certificate}", get(certificates::read).delete(certificates::remove));
    let api = Router::new()
        .route("/user", get(servers::user))
        .route("/user/source-control", get(servers::source_controls))
        .route("/user/source-control/{id}/repositories", get(servers::repositories))
        .route("/servers", get(servers::list))
        .route("/servers/{server}", get(servers::read))
        .route("/servers/{server}/services/{service}/{verb}", post(servers::service))
        .route("/servers/{server}/scripts/run", post(servers::run))
        .route("/servers/{server}/scripts/run/{run}", get(servers::run_state))
        .route("/servers/{server}/sites", get(sites::list).post(sites::create))
        .nest("/servers/{server}/sites/{site}", site)
        .fallback(reply::no_route)
        .method_not_allowed_fallback(reply::wrong_verb)
        .layer(middleware::from_fn_with_state(sim.clone(), gate::pass))
        .with_state(sim);
    guard(Router::new().nest("/api", api), super::NAME, faults)
}
