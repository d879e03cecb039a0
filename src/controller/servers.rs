//! What is known of servers: identity, what a build would miss, and the ports that other people's sites use.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use crate::controller::clock::Clock;
use crate::plan::draft::later;
use crate::provider::http::lane::{Lane, in_lane};
use crate::provider::tally::{CallPurpose, counted_as};
use crate::provider::{Answer, Host, ScriptRun, SiteRef};
use crate::resource::kind::ResourceKind;
use crate::resource::name::{HostName, RemoteId, ServerId};
use crate::resource::owned::{Run, ServerCheck};
use crate::resource::reading::{Live, Reading, Seen};
use crate::resource::site::{Purpose, RunState, Server, Site};
use crate::resource::vhost;
use crate::store::{Store, Stored};

/// A look at a server that ended badly, or never ended, is begun anew after this long.
const CHECK_PATIENCE: Duration = Duration::from_secs(5 * 60);
/// A server that lacks something is looked at again after this long, so that help is seen soon.
const UNPREPARED_AGE_MAX: Duration = Duration::from_secs(60);

/// How often a server is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// A good look is good for this long.
    pub period: Duration,
    /// A look under way is asked about this often.
    pub poll: Duration,
}

/// Remembered across restarts, one document a server.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct ServerMemory {
    identity: Option<Seen<Server>>,
    check: Option<Seen<ServerCheck>>,
    run: Option<Run>,
    /// When the run was last asked about: a hundred waiting clients ask once.
    #[serde(skip)]
    asked_at: Option<Timestamp>,
    /// Ports of sites that are not ours, by site id: read once, remembered.
    foreign_ports: BTreeMap<RemoteId, Seen<BTreeSet<u16>>>,
}

/// The servers of an installation.
pub struct Servers {
    store: Arc<dyn Store>,
    memory: Mutex<BTreeMap<ServerId, ServerMemory>>,
    /// Ids of the sites that are ours; `None` until somebody asks. Kept, because reading every record for each new client
    /// would make a fleet's first hour grow with the square of its size.
    ours: Mutex<Option<BTreeSet<RemoteId>>>,
}

impl Servers {
    /// Servers as the store remembers them.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Servers { store, memory: Mutex::new(BTreeMap::new()), ours: Mutex::new(None) }
    }

    async fn load<'m>(&self, all: &'m mut BTreeMap<ServerId, ServerMemory>, id: &ServerId) -> &'m mut ServerMemory {
        if !all.contains_key(id) {
            let kept =
                self.store.document(&key(id)).await.ok().flatten().and_then(|value| serde_json::from_value(value).ok());
            all.insert(id.clone(), kept.unwrap_or_default());
        }
        all.entry(id.clone()).or_default()
    }

    async fn keep(&self, id: &ServerId, memory: &ServerMemory) {
        let Ok(value) = serde_json::to_value(memory) else { return };
        if let Err(error) = self.store.put_document(&key(id), Some(&value)).await {
            tracing::warn!(%error, "what was read of a server could not be kept; it is read again after a restart");
        }
    }

    /// The server's address and state; read again once an audit period.
    /// Fails only while it was never read.
    pub async fn identity(&self, host: &Host, id: &ServerId, period: Duration, clock: &Clock) -> Answer<Server> {
        let mut all = self.memory.lock().await;
        let memory = self.load(&mut all, id).await;
        if let Some(seen) = memory.identity.as_ref().filter(|seen| later(seen.at, period) > clock.now()) {
            return Ok(seen.value.clone());
        }
        match host.sites.server(id).await {
            Ok(server) => {
                memory.identity = Some(Seen { value: server.clone(), at: clock.now() });
                self.keep(id, memory).await;
                Ok(server)
            }
            Err(error) => match &memory.identity {
                Some(seen) => Ok(seen.value.clone()),
                None => Err(error),
            },
        }
    }

    /// What the server lacks for a build: `Known(None)` when a look should be begun, unknown while one is under way.
    pub async fn check(
        &self,
        host: &Host,
        id: &ServerId,
        Pace { period, poll }: Pace,
        clock: &Clock,
    ) -> Reading<Option<ServerCheck>> {
        let Some(scripts) = &host.scripts else { return Reading::Known(Some(ServerCheck::default())) };
        let mut all = self.memory.lock().await;
        let memory = self.load(&mut all, id).await;
        if memory.run.is_some() && memory.asked_at.is_some_and(|at| later(at, poll) > clock.now()) {
            return remembered(memory).unwrap_or_else(|| Reading::unknown("its script has not ended"));
        }
        if let Some(run) = memory.run.clone() {
            memory.asked_at = Some(clock.now());
            match in_lane(Lane::Polling, counted_as(CallPurpose::Audit, scripts.run_state(id, &run.id))).await {
                Ok(RunState::Finished { exit_code, output }) => {
                    memory.run = None;
                    memory.check = Some(Seen { value: read_check(exit_code, &output), at: clock.now() });
                    self.keep(id, memory).await;
                }
                _ if later(run.started_at, CHECK_PATIENCE) <= clock.now() => memory.run = None,
                Ok(RunState::Pending) => {
                    return remembered(memory).unwrap_or_else(|| Reading::unknown("its script has not ended"));
                }
                Err(error) => return remembered(memory).unwrap_or_else(|| Reading::unknown(error.to_string())),
            }
        }
        match &memory.check {
            Some(seen) if later(seen.at, wait_after(&seen.value, period)) > clock.now() => {
                Reading::Known(Some(seen.value.clone()))
            }
            _ => Reading::Known(None),
        }
    }

    /// Begins a look, unless one is under way already.
    pub async fn begin_check(
        &self,
        host: &Host,
        site: SiteRef,
        process: &str,
        clock: &Clock,
    ) -> crate::provider::Answer<()> {
        let Some(scripts) = &host.scripts else { return Ok(()) };
        let id = site.server.clone();
        let mut all = self.memory.lock().await;
        let memory = self.load(&mut all, &id).await;
        if memory.run.is_none() {
            let run = ScriptRun { purpose: Purpose::CheckServer, process: process.to_owned(), site };
            let run = counted_as(CallPurpose::Audit, scripts.start(&run)).await?;
            memory.run = Some(Run { id: run, started_at: clock.now() });
            self.keep(&id, memory).await;
        }
        Ok(())
    }

    /// A site is ours from now on.
    pub async fn note_ours(&self, id: &RemoteId) {
        if let Some(ours) = self.ours.lock().await.as_mut() {
            ours.insert(id.clone());
        }
    }

    /// A client was forgotten and its site left standing: whose sites are whose is read anew.
    pub async fn forget_ours(&self) {
        *self.ours.lock().await = None;
    }

    /// The sites of a listing that are not ours.
    async fn foreign<'l>(&self, listing: &'l [Live<Site>]) -> Stored<Vec<&'l Live<Site>>> {
        let mut ours = self.ours.lock().await;
        let ours = match ours.as_ref() {
            Some(known) => known,
            None => {
                let records = self.store.clients().await?;
                let sites = records.iter().flat_map(|r| &r.owned.resources).filter(|r| r.kind == ResourceKind::Site);
                ours.insert(sites.map(|site| site.id.clone()).collect())
            }
        };
        Ok(listing.iter().filter(|live| !ours.contains(&live.id)).collect())
    }

    /// Ports in the virtual hosts of a server's sites that are not ours (decisions 5). Fails while one of them cannot be
    /// read: no port is given out on that server then.
    pub async fn foreign_ports(
        &self,
        host: &Host,
        id: &ServerId,
        listing: &[Live<Site>],
        asking: Option<&HostName>,
        clock: &Clock,
    ) -> Result<BTreeSet<u16>, String> {
        let Some(virtual_hosts) = &host.virtual_hosts else { return Ok(BTreeSet::new()) };
        let foreign = self.foreign(listing).await.map_err(|error| error.to_string())?;
        let mut all = self.memory.lock().await;
        let memory = self.load(&mut all, id).await;
        let mut changed = false;
        for live in &foreign {
            if memory.foreign_ports.contains_key(&live.id) {
                continue;
            }
            let site = SiteRef::of(id, live);
            let text = virtual_hosts
                .virtual_host(&site)
                .await
                .map_err(|e| format!("the virtual host of {} cannot be read: {e}", site.domain))?;
            // A site that proxies nowhere (PHP, static) holds no port.
            let ports = vhost::read(&text).map(|read| read.ports).unwrap_or_default();
            memory.foreign_ports.insert(live.id.clone(), Seen { value: ports, at: clock.now() });
            changed = true;
        }
        let ids: BTreeSet<&RemoteId> = foreign.iter().map(|live| &live.id).collect();
        memory.foreign_ports.retain(|id, _| ids.contains(id));
        if changed {
            self.keep(id, memory).await;
        }
        let own = foreign.iter().find(|live| asking == Some(&live.value.domain)).map(|live| &live.id);
        let others = memory.foreign_ports.iter().filter(|(id, _)| own != Some(*id));
        Ok(others.flat_map(|(_, seen)| seen.value.iter().copied()).collect())
    }
}

fn key(id: &ServerId) -> String {
    format!("server/{id}")
}

fn wait_after(check: &ServerCheck, period: Duration) -> Duration {
    if check.missing.is_empty() { period } else { UNPREPARED_AGE_MAX.min(period) }
}

/// While a new look runs, the last word stands.
fn remembered(memory: &ServerMemory) -> Option<Reading<Option<ServerCheck>>> {
    memory.check.as_ref().map(|seen| Reading::Known(Some(seen.value.clone())))
}

fn read_check(exit_code: i32, output: &str) -> ServerCheck {
    let mut missing: Vec<String> =
        output.lines().filter_map(|line| line.trim().strip_prefix("missing: ")).map(str::to_owned).collect();
    if exit_code != 0 && missing.is_empty() {
        missing.push(format!("the check itself failed with exit code {exit_code}"));
    }
    ServerCheck { missing }
}
