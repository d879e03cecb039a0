//! Repository, environment, virtual host and deploy script of a site (contracts/ploi.md 6.6 to 6.9, 9.2).

use std::sync::Arc;

use axum::extract::{Path, State};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::reply::{Payload, Refused, Reply, invalid, message, missing, ok};
use super::sites::{IDLE, Place, WRITABLE, changeable};
use super::state::{Account, SimRepository, SimSite};
use super::{Envelope, PloiSim, WhileBusy};

type Sim = State<Arc<PloiSim>>;

/// Git hosts that Ploi knows.
const PROVIDERS: [&str; 4] = ["github", "gitlab", "bitbucket", "custom"];
/// Longest deploy script.
const SCRIPT_CHARS_MAX: usize = 65_535;
/// Shortest environment.
const ENV_CHARS_MIN: usize = 2;

/// `GET …/repository`
pub async fn repository(State(sim): Sim, Path((server, id)): Place) -> Reply {
    let account = sim.account.lock();
    ok(json!({ "data": account.site(server, id).ok_or_else(missing)?.repository_json() }))
}

/// `POST …/repository`: the clone is queued, and says only in the log why it failed.
pub async fn install(State(sim): Sim, Path(place): Place, payload: Payload) -> Reply {
    let wanted = SimRepository {
        provider: payload.required("provider")?.to_owned(),
        slug: payload.required("name")?.to_owned(),
        branch: payload.required("branch")?.to_owned(),
    };
    if !PROVIDERS.contains(&wanted.provider.as_str()) {
        return Err(invalid("provider", "The selected provider is invalid."));
    }
    let mut account = sim.account.lock();
    if let Some(id) = payload.0.get("source_provider_id").and_then(Value::as_u64)
        && !account.source_controls.iter().any(|(known, ..)| *known == id)
    {
        return Err(invalid("source_provider_id", "The selected source provider id is invalid."));
    }
    let site = changeable(&sim, &mut account, place, &IDLE)?;
    if site.repository.is_some() {
        return Err(invalid("name", "A repository is already installed on this site."));
    }
    site.status = "repository-installing".to_owned();
    let body = json!({ "data": site.repository_json() });
    let id = place.1;
    sim.later(sim.delays().repository, move |sim, account| finish_install(sim, account, id, wanted));
    ok(body)
}

fn finish_install(sim: &PloiSim, account: &mut Account, id: u64, wanted: SimRepository) {
    let reachable = sim.world.state().git.is_reachable(&wanted.slug) && !sim.knobs.lock().clone_fails;
    let Some(site) = account.sites.get_mut(&id).filter(|site| site.status == "repository-installing") else { return };
    site.status = "active".to_owned();
    let directory = site.directory();
    let words = if let Some(file) = site.placeholder.first() {
        format!("error: unable to unlink old '{file}': Permission denied")
    } else if site.env.is_some() {
        format!("fatal: destination path '{directory}' already exists and is not an empty directory.")
    } else if !reachable {
        format!("ERROR: Repository not found: {}", wanted.slug)
    } else {
        site.script.get_or_insert_with(|| format!("cd {directory}\ngit pull origin {}\n", wanted.branch));
        site.repository = Some(wanted);
        String::new()
    };
    let title = if words.is_empty() { "Install repository" } else { "Install repository (failed)" };
    account.log(id, None, title, &words, sim.world.now());
}

/// `DELETE …/repository`. What becomes of files and environment is a knob.
pub async fn uninstall(State(sim): Sim, Path(place): Place) -> Reply {
    let mut account = sim.account.lock();
    let site = changeable(&sim, &mut account, place, &IDLE)?;
    if site.repository.is_none() {
        return Err(missing());
    }
    site.status = "repository-uninstalling".to_owned();
    let id = place.1;
    sim.later(sim.delays().repository, move |sim, account| {
        let knobs = sim.knobs.lock().clone();
        let Some(site) = account.sites.get_mut(&id).filter(|s| s.status == "repository-uninstalling") else { return };
        site.status = "active".to_owned();
        site.repository = None;
        if !knobs.removal_keeps_env {
            site.env = None;
        }
        if !knobs.removal_keeps_files {
            // The directory is made anew, with the page of a new site in it.
            site.placeholder.insert("index.html".to_owned());
        }
    });
    message("Repository has been removed")
}

/// A file's text in the envelope that the knob asks for.
fn enveloped(envelope: Envelope, documented: &str, observed: Value, text: &str) -> Value {
    match envelope {
        Envelope::Documented => json!({ documented: text }),
        Envelope::Observed => observed,
        Envelope::DataMember => json!({ "data": { documented: text } }),
        Envelope::Data => json!({ "data": text }),
        Envelope::Bare => json!(text),
    }
}

/// The site whose file is read.
fn readable<'a>(sim: &PloiSim, account: &'a Account, (server, id): (u64, u64)) -> Result<&'a SimSite, Refused> {
    let site = account.site(server, id).ok_or_else(missing)?;
    let hidden = sim.knobs.lock().while_busy == WhileBusy::Missing && !WRITABLE.contains(&site.status.as_str());
    if hidden { Err(missing()) } else { Ok(site) }
}

/// `GET …/env`
pub async fn env(State(sim): Sim, Path(place): Place) -> Reply {
    let account = sim.account.lock();
    let site = readable(&sim, &account, place)?;
    let text = match &site.env_shown {
        Some((until, before)) if Instant::now() < *until => before,
        _ => &site.env,
    };
    let text = text.as_ref().ok_or_else(missing)?;
    ok(enveloped(sim.knobs.lock().env_envelope, "content", json!({ "data": text }), text))
}

/// `PATCH …/env`: the whole file; running processes keep what they were started with.
pub async fn write_env(State(sim): Sim, Path(place): Place, payload: Payload) -> Reply {
    let text = payload.required("content")?.to_owned();
    if text.chars().count() < ENV_CHARS_MIN {
        return Err(invalid("content", "The content must be at least 2 characters."));
    }
    let mut account = sim.account.lock();
    let site = changeable(&sim, &mut account, place, &WRITABLE)?;
    let before = site.env.replace(text);
    site.env_shown = Some((Instant::now() + sim.delays().env_settles, before));
    message("Environment file has been updated")
}

/// `GET …/nginx-configuration`
pub async fn vhost(State(sim): Sim, Path(place): Place) -> Reply {
    let account = sim.account.lock();
    let site = readable(&sim, &account, place)?;
    if site.vhost.is_empty() {
        return Err(missing());
    }
    let text = &site.vhost;
    ok(enveloped(sim.knobs.lock().vhost_envelope, "content", json!({ "nginx_config": text }), text))
}

/// `PATCH …/nginx-configuration`: the file alone; nothing is tested and nothing loaded.
pub async fn write_vhost(State(sim): Sim, Path(place): Place, payload: Payload) -> Reply {
    let text = payload.required("content")?.to_owned();
    let mut account = sim.account.lock();
    changeable(&sim, &mut account, place, &WRITABLE)?.vhost = text;
    ok(json!({ "status": "ok", "message": "Don't forget to reload or restart NGINX after this call." }))
}

/// `GET …/deploy/script`
pub async fn script(State(sim): Sim, Path(place): Place) -> Reply {
    let account = sim.account.lock();
    let site = readable(&sim, &account, place)?;
    let text = site.script.clone().unwrap_or_default();
    let observed = json!({ "data": { "script": text } });
    ok(enveloped(sim.knobs.lock().script_envelope, "deploy_script", observed, &text))
}

/// `PATCH …/deploy/script`
pub async fn write_script(State(sim): Sim, Path(place): Place, payload: Payload) -> Reply {
    let text = payload.required("deploy_script")?.to_owned();
    if text.chars().count() > SCRIPT_CHARS_MAX {
        return Err(invalid("deploy_script", "The deploy script may not be greater than 65535 characters."));
    }
    let mut account = sim.account.lock();
    changeable(&sim, &mut account, place, &WRITABLE)?.script = Some(text);
    message("Deploy script has been updated")
}
