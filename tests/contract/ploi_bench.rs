//! A simulated Ploi on a loopback port, and the world around it, for the suites.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use sitewright::provider::http::{Budget, HttpClient};
use sitewright::provider::ploi::sim::{PloiDelays, PloiSim, SERVER_ADDRESS, router};
use sitewright::provider::ploi::{Ploi, Redact};
use sitewright::provider::world::faults::Faults;
use sitewright::provider::world::{Resolved, World};
use sitewright::resource::secret::Secret;

/// The token of every simulated account here.
pub const TOKEN: &str = "token-of-the-bench";
/// Looks before something that was queued counts as never done.
const LOOKS_MAX: usize = 400;

/// A served account.
pub struct Bench {
    /// The account.
    pub sim: Arc<PloiSim>,
    /// Where its API is served, with `/api`.
    pub url: String,
}

/// Serves a fresh account with so many calls a minute.
pub async fn bench(limit: u32) -> Bench {
    let world = World::new(Arc::new(Faults::default())).unwrap();
    let sim = PloiSim::new(world, TOKEN, limit, PloiDelays::quick());
    let listener = tokio::net::TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.unwrap();
    let url = format!("http://{}/api", listener.local_addr().unwrap());
    let app = router(sim.clone());
    tokio::spawn(async move { axum::serve(listener, app).await });
    Bench { sim, url }
}

impl Bench {
    /// Every name leads to the simulated server from now on.
    pub fn point_everything_here(&self) {
        let here = vec![IpAddr::V4(SERVER_ADDRESS)];
        self.sim.world.set_resolve(Arc::new(move |_| Resolved { addresses: here.clone(), origins: here.clone() }));
    }

    /// A client of ours.
    pub fn client(&self, source_provider: Option<&str>, redact: Redact) -> Ploi {
        client(&self.url, TOKEN, source_provider, redact)
    }
}

/// A client of ours for any address.
pub fn client(url: &str, token: &str, source_provider: Option<&str>, redact: Redact) -> Ploi {
    let budget = Arc::new(Budget::new(100_000, Duration::from_secs(60)));
    let http = HttpClient::new("ploi", url.parse().unwrap(), Secret::new(token), budget).unwrap();
    Ploi::new(http, source_provider.map(str::to_owned), redact)
}

/// Looks until something is so; what was queued has its own short delays.
pub async fn until<T, F: Future<Output = Option<T>>>(what: &str, pause: Duration, mut look: impl FnMut() -> F) -> T {
    for _ in 0..LOOKS_MAX {
        if let Some(found) = look().await {
            return found;
        }
        tokio::time::sleep(pause).await;
    }
    panic!("never so: {what}");
}
