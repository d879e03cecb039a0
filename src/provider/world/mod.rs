//! The simulators' common world: what DNS says, which names have certificates, which process listens where, what a Git
//! host holds, and which faults are due (decisions 36). Served on loopback only.
//!
//! Everything that several simulators share stands behind the one lock of [`World`]; each simulated API keeps its own
//! account beside it. The world lives as long as the process that serves it, so a killed `run` finds it as it left it.

pub mod ca;
pub mod cms;
pub mod control;
pub mod dns;
pub mod edge;
pub mod faults;
pub mod git;
pub mod hand;
pub mod process;
pub mod serve;

use std::net::IpAddr;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use parking_lot::{Mutex, MutexGuard, RwLock};
use tokio::time::Instant;

use ca::Authority;
use cms::Administrators;
use edge::WebServers;
use faults::Faults;
use git::GitHost;
use process::Processes;

/// What a name resolves to in the simulated DNS.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Resolved {
    /// What everybody sees; an ACME check follows these.
    pub addresses: Vec<IpAddr>,
    /// Where a request ends up: the same, or the origin behind a proxied record.
    pub origins: Vec<IpAddr>,
}

/// Looks a name up.
pub type Resolve = Arc<dyn Fn(&str) -> Resolved + Send + Sync>;

/// Everything the simulators share.
pub struct World {
    state: Mutex<State>,
    resolve: RwLock<Resolve>,
    started: (Timestamp, Instant),
    /// Signs what the simulated Let's Encrypt issues.
    pub authority: Authority,
    /// Faults in force and the log of calls.
    pub faults: Arc<Faults>,
}

/// What stands behind the lock.
#[derive(Default)]
pub struct State {
    /// The Git host.
    pub git: GitHost,
    /// Processes of every server.
    pub processes: Processes,
    /// What the web servers have loaded.
    pub web: WebServers,
    /// First administrators of the sites.
    pub administrators: Administrators,
}

impl World {
    /// An empty world in which no name resolves. Fails when no certificate authority can be made.
    pub fn new(faults: Arc<Faults>) -> anyhow::Result<Arc<World>> {
        World::beginning(Timestamp::now(), faults)
    }

    /// The same at another time: a life that is told again has the same fractions of seconds.
    pub fn beginning(at: Timestamp, faults: Arc<Faults>) -> anyhow::Result<Arc<World>> {
        Ok(Arc::new(World {
            state: Mutex::new(State::default()),
            resolve: RwLock::new(Arc::new(|_| Resolved::default())),
            started: (at, Instant::now()),
            authority: Authority::new()?,
            faults,
        }))
    }

    /// From now on names resolve like this.
    pub fn set_resolve(&self, resolve: Resolve) {
        *self.resolve.write() = resolve;
    }

    /// What a name resolves to now.
    pub fn resolve(&self, name: &str) -> Resolved {
        let resolve = self.resolve.read().clone();
        resolve(name)
    }

    /// The lock. Never held across an await.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// The time of this world: it goes with tokio's clock, so that a test's paused time is the world's too.
    pub fn now(&self) -> Timestamp {
        let passed = SignedDuration::try_from(self.started.1.elapsed()).unwrap_or(SignedDuration::ZERO);
        self.started.0.saturating_add(passed).unwrap_or(self.started.0)
    }
}
