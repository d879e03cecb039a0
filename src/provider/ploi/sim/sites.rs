//! Sites, their logs and their aliases (contracts/ploi.md 5, 6.3, 6.4, 6.11).

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use serde_json::{Value, json};

use super::reply::{Payload, Refused, Reply, Window, created, invalid, message, missing, not_now, ok, page};
use super::state::{Account, SimSite};
use super::{AliasPost, PloiSim, WhileBusy};

type Sim = State<Arc<PloiSim>>;
/// Server and site.
pub type Place = Path<(u64, u64)>;

/// Longest root domain.
const DOMAIN_CHARS_MAX: usize = 100;
/// Longest web directory.
const DIRECTORY_CHARS_MAX: usize = 50;
/// Project types that Ploi knows.
const PROJECT_TYPES: [&str; 8] =
    ["laravel", "nodejs", "statamic", "craft-cms", "symfony", "wordpress", "octobercms", "cakephp"];

/// The site, when it may be changed now: in one of `states`, or in any where the knob says so.
pub fn changeable<'a>(
    sim: &PloiSim,
    account: &'a mut Account,
    (server, id): (u64, u64),
    states: &[&str],
) -> Result<&'a mut SimSite, Refused> {
    let site = account.site_mut(server, id).ok_or_else(missing)?;
    let free = states.contains(&site.status.as_str()) || sim.knobs.lock().while_busy == WhileBusy::Accepted;
    if free { Ok(site) } else { Err(not_now(&format!("The site is {} at the moment.", site.status))) }
}

/// States in which a site is idle.
pub const IDLE: [&str; 2] = ["active", "deploy-failed"];
/// States in which its files may be written.
pub const WRITABLE: [&str; 3] = ["active", "deploy-failed", "suspended"];

/// `GET /servers/S/sites`
pub async fn list(State(sim): Sim, Path(server): Path<u64>, Query(window): Query<Window>) -> Reply {
    let account = sim.account.lock();
    if !account.servers.contains_key(&server) {
        return Err(missing());
    }
    let wanted = window.search.clone().unwrap_or_default();
    let found = account.sites.values().filter(|site| site.server == server && site.domain.contains(&wanted));
    let (now, lag) = (sim.world.now(), sim.delays().site_shows);
    let found = found.filter(|site| now.duration_since(site.created_at).unsigned_abs() >= lag);
    let items: Vec<Value> = found.map(SimSite::json).collect();
    page(&window, &format!("servers/{server}/sites"), items, sim.knobs.lock().totals_lie)
}

/// `GET /servers/S/sites/I`
pub async fn read(State(sim): Sim, Path((server, id)): Place) -> Reply {
    let account = sim.account.lock();
    ok(json!({ "data": account.site(server, id).ok_or_else(missing)?.json() }))
}

/// `POST /servers/S/sites`. Unknown members, a port among them, are taken and ignored (contracts/ploi.md 6.3).
pub async fn create(State(sim): Sim, Path(server): Path<u64>, payload: Payload) -> Reply {
    let mut account = sim.account.lock();
    let users = account.servers.get(&server).ok_or_else(missing)?.users.clone();
    let domain = payload.required("root_domain")?.to_ascii_lowercase();
    if domain.len() > DOMAIN_CHARS_MAX || domain.contains(|c: char| c.is_whitespace() || c == '/') {
        return Err(invalid("root_domain", "The root domain is not valid."));
    }
    let directory = payload.required("web_directory")?.to_owned();
    if directory.len() > DIRECTORY_CHARS_MAX || !directory.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'/') {
        return Err(invalid("web_directory", "The web directory format is invalid."));
    }
    let kind = payload.text("project_type").map(str::to_owned);
    if kind.as_deref().is_some_and(|kind| !PROJECT_TYPES.contains(&kind)) {
        return Err(invalid("project_type", "The selected project type is invalid."));
    }
    let user = payload.text("system_user").unwrap_or("ploi").to_owned();
    if !users.contains(&user) {
        return Err(invalid("system_user", "The selected system user is invalid."));
    }
    if account.by_domain(server, &domain).is_some() {
        return Err(invalid("root_domain", "The root domain has already been taken."));
    }
    let id = sim.make_site(&mut account, server, &domain, &user, kind, directory);
    let delays = sim.delays();
    // One after the other: two timers side by side could fire in the wrong order, and the site would build for ever.
    sim.later(delays.building / 2, move |sim, account| {
        set_status(account, id, "created", "building");
        if !sim.knobs.lock().sites_stay_building {
            sim.later(delays.building / 2, move |sim, account| {
                set_status(account, id, "building", "active");
                let at = sim.world.now();
                account.log(id, None, "Install virtual host", "", at);
                sim.reload_web_server(account, server);
            });
        }
    });
    // The documented sample has no status and claims a repository: only the id can be relied on.
    let mut body = account.sites.get(&id).map(SimSite::json).unwrap_or_default();
    if let Some(map) = body.as_object_mut() {
        map.remove("status");
        map.insert("has_repository".to_owned(), json!(true));
    }
    created(json!({ "data": body }))
}

/// Moves a site on, unless something else happened to it meanwhile.
fn set_status(account: &mut Account, id: u64, from: &str, to: &str) {
    if let Some(site) = account.sites.get_mut(&id).filter(|site| site.status == from) {
        site.status = to.to_owned();
    }
}

/// `DELETE /servers/S/sites/I`: `deleting`, then 404. The process stays behind.
pub async fn remove(State(sim): Sim, Path((server, id)): Place) -> Reply {
    let mut account = sim.account.lock();
    account.site_mut(server, id).ok_or_else(missing)?.status = "deleting".to_owned();
    sim.later(sim.delays().delete, move |sim, account| {
        if account.sites.remove(&id).is_some() {
            sim.reload_web_server(account, server);
        }
    });
    message("Site has been deleted")
}

/// `POST …/suspend`
pub async fn suspend(State(sim): Sim, Path((server, id)): Place) -> Reply {
    toggle(&sim, server, id, &IDLE, "suspended")
}

/// `POST …/resume`
pub async fn resume(State(sim): Sim, Path((server, id)): Place) -> Reply {
    toggle(&sim, server, id, &["suspended"], "active")
}

fn toggle(sim: &PloiSim, server: u64, id: u64, from: &[&str], to: &str) -> Reply {
    let mut account = sim.account.lock();
    let site = changeable(sim, &mut account, (server, id), from)?;
    site.status = to.to_owned();
    sim.rewrite_vhost(site);
    let body = json!({ "data": site.json() });
    sim.reload_web_server(&account, server);
    ok(body)
}

/// `GET …/log`, newest first
pub async fn log(State(sim): Sim, Path((server, id)): Place, Query(window): Query<Window>) -> Reply {
    let account = sim.account.lock();
    let site = account.site(server, id).ok_or_else(missing)?;
    let items = site.logs.iter().map(super::state::LogEntry::json).collect();
    page(&window, &format!("servers/{server}/sites/{id}/log"), items, false)
}

/// `GET …/log/L`
pub async fn log_entry(State(sim): Sim, Path((server, id, entry)): Path<(u64, u64, u64)>) -> Reply {
    let account = sim.account.lock();
    let site = account.site(server, id).ok_or_else(missing)?;
    let found = site.logs.iter().find(|one| one.id == entry).ok_or_else(missing)?;
    ok(json!({ "data": found.json() }))
}

/// `GET …/aliases`
pub async fn aliases(State(sim): Sim, Path((server, id)): Place) -> Reply {
    let account = sim.account.lock();
    ok(account.site(server, id).ok_or_else(missing)?.aliases_json())
}

/// `POST …/aliases`
pub async fn add_aliases(State(sim): Sim, Path(place): Place, payload: Payload) -> Reply {
    let mut account = sim.account.lock();
    let given: Option<Vec<String>> = payload
        .0
        .get("aliases")
        .and_then(Value::as_array)
        .and_then(|items| items.iter().map(|item| item.as_str().map(str::to_ascii_lowercase)).collect());
    let given = given.filter(|list| !list.is_empty());
    let given = given.ok_or_else(|| invalid("aliases", "The aliases field is required."))?;
    let replaces = sim.knobs.lock().alias_post == AliasPost::Replaces;
    let site = changeable(&sim, &mut account, place, &WRITABLE)?;
    if replaces {
        site.aliases.clear();
    }
    for alias in given {
        if !site.aliases.contains(&alias) {
            site.aliases.push(alias);
        }
    }
    sim.rewrite_vhost(site);
    let body = site.aliases_json();
    sim.reload_web_server(&account, place.0);
    ok(body)
}

/// `DELETE …/aliases/{alias}`
pub async fn remove_alias(State(sim): Sim, Path((server, id, alias)): Path<(u64, u64, String)>) -> Reply {
    let mut account = sim.account.lock();
    let site = changeable(&sim, &mut account, (server, id), &WRITABLE)?;
    let before = site.aliases.len();
    site.aliases.retain(|one| *one != alias);
    if site.aliases.len() == before {
        return Err(missing());
    }
    sim.rewrite_vhost(site);
    let body = site.aliases_json();
    sim.reload_web_server(&account, server);
    ok(body)
}
