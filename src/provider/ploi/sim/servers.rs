//! User, linked Git accounts, servers, services and one-off scripts (contracts/ploi.md 6.1, 6.2, 6.13).

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use serde_json::{Value, json};

use super::PloiSim;
use super::reply::{Payload, Reply, Window, invalid, missing, ok, page};
use super::shell::{self, Machine};
use super::state::{Account, SimRun};

type Sim = State<Arc<PloiSim>>;

/// Longest script.
const CONTENT_CHARS_MAX: usize = 7500;

/// `GET /user`
pub async fn user(State(_): Sim) -> Reply {
    ok(json!({ "data": {
        "avatar": "https://ploi.invalid/a.png", "name": "Jane", "email": "jane@example.com", "billing_details": null,
        "country": "NL", "timezone": "Europe/Amsterdam", "created_at": "2019-07-29 10:27:32", "plan": "Unlimited",
        "plan_expires_at": null,
    }}))
}

/// `GET /user/source-control`
pub async fn source_controls(State(sim): Sim, Query(window): Query<Window>) -> Reply {
    let account = sim.account.lock();
    let item = |(id, provider, label): &(u64, String, String)| json!({ "id": id, "label": label, "name": label, "provider": provider, "created_at": "2019-07-29 10:27:32" });
    page(&window, "user/source-control", account.source_controls.iter().map(item).collect(), false)
}

/// `GET /user/source-control/{id}/repositories`
pub async fn repositories(State(sim): Sim, Path(id): Path<u64>) -> Reply {
    if !sim.account.lock().source_controls.iter().any(|(known, ..)| *known == id) {
        return Err(missing());
    }
    let seen = sim.world.state().git.reachable();
    let item = |slug: &String| json!({ "label": slug, "name": slug, "created_at": "2019-07-29T10:27:32Z" });
    ok(json!({ "data": { "repositories": seen.iter().map(item).collect::<Vec<Value>>() } }))
}

fn sites_of(account: &Account, server: u64) -> usize {
    account.sites.values().filter(|site| site.server == server).count()
}

/// `GET /servers`
pub async fn list(State(sim): Sim, Query(window): Query<Window>) -> Reply {
    let account = sim.account.lock();
    let wanted = window.search.clone().unwrap_or_default();
    let found = account.servers.iter().filter(|(_, server)| server.name.contains(&wanted));
    page(&window, "servers", found.map(|(id, server)| server.json(*id, sites_of(&account, *id))).collect(), false)
}

/// `GET /servers/S`
pub async fn read(State(sim): Sim, Path(id): Path<u64>) -> Reply {
    let account = sim.account.lock();
    let server = account.servers.get(&id).ok_or_else(missing)?;
    ok(json!({ "data": server.json(id, sites_of(&account, id)) }))
}

/// `POST /servers/S/services/{service}/restart|reload`: untested, as the real one. A restart over a broken text leaves no
/// site of the server up.
pub async fn service(State(sim): Sim, Path((id, service, verb)): Path<(u64, String, String)>) -> Reply {
    let account = sim.account.lock();
    if !account.servers.contains_key(&id) || !matches!(verb.as_str(), "restart" | "reload") {
        return Err(missing());
    }
    if service == "nginx" {
        let broken = PloiSim::test_web_server(&account, id).is_err();
        if broken && verb == "restart" {
            sim.world.state().web.hosts_mut(id).map(std::collections::BTreeMap::clear);
        } else {
            sim.reload_web_server(&account, id);
        }
    }
    ok(json!({ "status": "ok", "message": "Service is being restarted." }))
}

/// `POST /servers/S/scripts/run`
pub async fn run(State(sim): Sim, Path(server): Path<u64>, payload: Payload) -> Reply {
    let content = payload.required("content")?.to_owned();
    if content.chars().count() > CONTENT_CHARS_MAX {
        return Err(invalid("content", "The content may not be greater than 7500 characters."));
    }
    let user = payload.text("user").unwrap_or("ploi").to_owned();
    let mut account = sim.account.lock();
    let known = account.servers.get(&server).ok_or_else(missing)?;
    if user != "root" && !known.users.contains(&user) {
        return Err(invalid("user", "The selected user is invalid."));
    }
    let id = format!("00000000-0000-4000-8000-{:012x}", account.next_id());
    let run = SimRun { server, user, content, end: None, created_at: sim.world.now(), finished_at: None };
    let body = run.json(&id);
    account.runs.insert(id.clone(), run);
    if !sim.knobs.lock().scripts_stay_pending {
        sim.later(sim.delays().script, move |sim, account| finish(sim, account, &id));
    }
    ok(body)
}

fn finish(sim: &PloiSim, account: &mut Account, id: &str) {
    let Some(run) = account.runs.get(id).cloned() else { return };
    let failing = sim.knobs.lock().scripts_fail_with.clone();
    let mut server = Server { sim, account, id: run.server, entered: None };
    let end = match failing {
        Some(output) => (1, output),
        None => shell::run(&mut server, &run.user, &run.content),
    };
    if let Some(run) = account.runs.get_mut(id) {
        (run.end, run.finished_at) = (Some(end), Some(sim.world.now()));
    }
}

/// `GET /servers/S/scripts/run/{id}`
pub async fn run_state(State(sim): Sim, Path((server, id)): Path<(u64, String)>) -> Reply {
    let account = sim.account.lock();
    let run = account.runs.get(&id).filter(|run| run.server == server).ok_or_else(missing)?;
    ok(run.json(&id))
}

/// One server, as its shell reaches it.
struct Server<'a> {
    sim: &'a PloiSim,
    account: &'a mut Account,
    id: u64,
    entered: Option<u64>,
}

impl Machine for Server<'_> {
    fn enter(&mut self, user: &str, domain: &str) -> bool {
        let site = self.account.by_domain(self.id, domain);
        self.entered = site.filter(|id| self.account.sites.get(id).is_some_and(|site| site.user == user));
        self.entered.is_some()
    }

    fn remove(&mut self, name: &str) {
        if let Some(site) = self.entered.and_then(|id| self.account.sites.get_mut(&id)) {
            site.placeholder.remove(name);
        }
    }

    fn test_web_server(&mut self) -> Result<(), String> {
        PloiSim::test_web_server(self.account, self.id)
    }

    fn reload_web_server(&mut self) {
        self.sim.reload_web_server(self.account, self.id);
    }

    fn has(&self, command: &str) -> bool {
        self.account.servers.get(&self.id).is_some_and(|server| !server.lacks.contains(command))
    }

    fn lists(&self, user: &str, name: &str) -> bool {
        self.sim.world.state().processes.all(self.id).iter().any(|p| p.user == user && p.name == name)
    }

    fn has_release(&self, user: &str, domain: &str) -> bool {
        let site = self.account.by_domain(self.id, domain).and_then(|id| self.account.sites.get(&id));
        site.is_some_and(|site| site.user == user && site.released.is_some())
    }

    fn start_release(&mut self, user: &str, domain: &str) {
        let site = self.account.by_domain(self.id, domain).and_then(|id| self.account.sites.get(&id));
        if let Some(process) = site.filter(|site| site.user == user).and_then(|site| site.released.clone()) {
            // A port that was taken meanwhile: the process dies at once, and pm2 says nothing of it.
            let _ = self.sim.world.state().processes.start(self.id, process);
        }
    }

    fn pm2(&mut self, verb: &str, user: &str, name: &str) {
        let mut state = self.sim.world.state();
        match verb {
            "restart" => state.processes.restart(self.id, user, name),
            "stop" => state.processes.stop(self.id, user, name),
            _ => state.processes.delete(self.id, user, name),
        };
    }
}
