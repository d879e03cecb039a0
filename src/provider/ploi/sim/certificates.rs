//! Certificates: HTTP-01 against the world's DNS, all names or none, one lineage per root domain (contracts/ploi.md 6.10).

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Query, State};
use jiff::SignedDuration;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::reply::{Payload, Reply, Window, created, invalid, message, missing, ok, page};
use super::sites::{IDLE, Place, WRITABLE, changeable};
use super::state::{Account, SimCertificate};
use super::{CertificateEnd, PloiSim};

type Sim = State<Arc<PloiSim>>;
/// Server, site and certificate.
type Item = Path<(u64, u64, u64)>;

/// Let's Encrypt issues this many certificates over the same names a week.
const DUPLICATES_MAX: usize = 5;
const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

/// `GET …/certificates`
pub async fn list(State(sim): Sim, Path((server, id)): Place, Query(window): Query<Window>) -> Reply {
    let account = sim.account.lock();
    let site = account.site(server, id).ok_or_else(missing)?;
    let items = site.certificates.iter().map(|one| one.json(site)).collect();
    page(&window, &format!("servers/{server}/sites/{id}/certificates"), items, false)
}

/// `GET …/certificates/C`
pub async fn read(State(sim): Sim, Path((server, id, certificate)): Item) -> Reply {
    let account = sim.account.lock();
    let site = account.site(server, id).ok_or_else(missing)?;
    let found = site.certificates.iter().find(|one| one.id == certificate).ok_or_else(missing)?;
    ok(json!({ "data": found.json(site) }))
}

/// `DELETE …/certificates/C`
pub async fn remove(State(sim): Sim, Path((server, id, certificate)): Item) -> Reply {
    let mut account = sim.account.lock();
    let site = changeable(&sim, &mut account, (server, id), &WRITABLE)?;
    let before = site.certificates.len();
    site.certificates.retain(|one| one.id != certificate);
    if site.certificates.len() == before {
        return Err(missing());
    }
    if !site.certificates.iter().any(|one| one.status == "active") {
        site.served = None;
        sim.rewrite_vhost(site);
    }
    sim.reload_web_server(&account, server);
    message("Certificate has been deleted")
}

/// `POST …/certificates`
pub async fn order(State(sim): Sim, Path(place): Place, payload: Payload) -> Reply {
    if payload.0.as_object().is_none_or(serde_json::Map::is_empty) {
        return Err(super::reply::not_now("No valid input received"));
    }
    let list = payload.required("certificate")?.to_owned();
    let kind = payload.required("type")?.to_owned();
    if kind != "letsencrypt" {
        return Err(invalid("type", "Only letsencrypt can be simulated."));
    }
    let names: Vec<String> = list.split(',').map(|n| n.trim().to_ascii_lowercase()).filter(|n| !n.is_empty()).collect();
    let mut account = sim.account.lock();
    let address = account.servers.get(&place.0).ok_or_else(missing)?.address;
    if payload.0.get("force") != Some(&Value::Bool(true))
        && let Some(name) = names.iter().find(|n| !leads_to(&sim, n, IpAddr::V4(address)))
    {
        return Err(invalid("domains", &format!("{name} does not point to this server.")));
    }
    let id = account.next_id();
    let created_at = sim.world.now();
    let site = changeable(&sim, &mut account, place, &IDLE)?;
    let made = SimCertificate { id, status: "created".to_owned(), names, kind, expires_at: None, created_at };
    let body = json!({ "data": made.json(site) });
    site.certificates.push(made);
    sim.later(sim.delays().certificate, move |sim, account| finish(sim, account, place.1, id));
    created(body)
}

fn leads_to(sim: &PloiSim, name: &str, address: IpAddr) -> bool {
    let found = sim.world.resolve(name).addresses;
    !found.is_empty() && found.iter().all(|one| *one == address)
}

/// The challenge, for every name: DNS leads here, and the loaded virtual host looks where the file was put.
fn challenge(sim: &PloiSim, account: &Account, site_id: u64, names: &[String]) -> Result<(), String> {
    let site = account.sites.get(&site_id).ok_or("the site is gone")?;
    let address = account.servers.get(&site.server).ok_or("the server is gone")?.address;
    for name in names {
        if !leads_to(sim, name, IpAddr::V4(address)) {
            return Err(format!("DNS problem: {name} does not lead to {address}"));
        }
        let state = sim.world.state();
        let loaded = state.web.find(&[IpAddr::V4(address)], name);
        let (_, host) = loaded.ok_or_else(|| format!("{name}: no virtual host answers"))?;
        if host.acme_root.as_deref() != Some(site.directory().as_str()) {
            return Err(format!("{name}: Invalid response from /.well-known/acme-challenge: 404"));
        }
    }
    let set: BTreeSet<String> = names.iter().cloned().collect();
    let same = account.orders.iter().filter(|(at, ordered)| at.elapsed() < WEEK && *ordered == set).count();
    if same >= DUPLICATES_MAX {
        return Err("too many certificates already issued for this exact set of domains".to_owned());
    }
    Ok(())
}

fn finish(sim: &PloiSim, account: &mut Account, site_id: u64, id: u64) {
    let knobs = sim.knobs.lock().clone();
    let find = |account: &Account| {
        let site = account.sites.get(&site_id)?;
        site.certificates.iter().find(|one| one.id == id).map(|one| one.names.clone())
    };
    let Some(names) = find(account) else { return };
    let until = SignedDuration::from_hours(24 * i64::from(knobs.certificate_days));
    let not_after = sim.world.now().saturating_add(until).unwrap_or(sim.world.now());
    let issued = match challenge(sim, account, site_id, &names) {
        _ if knobs.certificates_fail => Err("the authority does not answer".to_owned()),
        Err(words) => Err(words),
        Ok(()) => sim.world.authority.issue(&names, not_after).map_err(|e| e.to_string()),
    };
    let now = sim.world.now();
    let Some(site) = account.sites.get_mut(&site_id) else { return };
    let server = site.server;
    match issued {
        Ok(leaf) => {
            for one in site.certificates.iter_mut().filter(|one| one.id == id) {
                (one.status, one.expires_at) = ("active".to_owned(), Some(leaf.not_after));
            }
            // The lineage is named after the root domain: the newest certificate takes the place of all before it.
            site.served = Some(Arc::new(leaf));
            sim.rewrite_vhost(site);
            account.orders.push((Instant::now(), names.into_iter().collect()));
            account.log(site_id, None, "Install LetsEncrypt SSL certificate", "", now);
            sim.reload_web_server(account, server);
        }
        Err(words) => {
            if knobs.certificate_end == CertificateEnd::Vanishes {
                site.certificates.retain(|one| one.id != id);
            }
            account.log(site_id, None, "Install LetsEncrypt SSL certificate (failed)", &words, now);
        }
    }
}
