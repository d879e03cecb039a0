//! Deploys: accepted at once, shown late, and ended by what the site holds by then (contracts/ploi.md 6.7, 9.4, 9.6).

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;

use axum::extract::{Path, State};
use parking_lot::Mutex;
use serde_json::Value;

use crate::provider::world::process::{DatabaseLogin, PortHeld, Process, database_login};

use super::reply::{Payload, Reply, message, missing, not_now};
use super::sites::Place;
use super::state::Account;
use super::{DeployEnd, PloiSim, env_text};

/// The data line by which a script names its client.
const CLIENT_LINE: &str = "SW_CLIENT='";
/// The data line with the branch of a deploy that names none.
const BRANCH_LINE: &str = "SW_DEFAULT_BRANCH='";

/// What a build prints as it goes on.
const STEPS: [&str; 4] =
    ["Fetching the source\n", "Installing packages\n", "Building the site\n", "Looking at the new release\n"];

/// Scripts whose syntax is remembered.
const KNOWN_SCRIPTS_MAX: usize = 1_000;

/// What one deploy is made of.
struct Order {
    site: u64,
    server: u64,
    domain: String,
    user: String,
    slug: String,
    branch: String,
    commit: Option<String>,
    script: String,
    env: Option<String>,
}

/// `POST …/deploy`: only a message. Without a repository nothing happens, and a second one while one runs is ignored.
pub async fn deploy(State(sim): State<Arc<PloiSim>>, Path((server, id)): Place, payload: Payload) -> Reply {
    let started = || message("Deployment has been started");
    let variable =
        |name: &str| payload.0.pointer(&format!("/variables/{name}")).and_then(Value::as_str).map(str::to_owned);
    let mut account = sim.account.lock();
    let site = account.site_mut(server, id).ok_or_else(missing)?;
    if site.deploying {
        return started();
    }
    if !matches!(site.status.as_str(), "active" | "deploy-failed") {
        return Err(not_now(&format!("The site is {} at the moment.", site.status)));
    }
    let Some(repository) = site.repository.clone() else { return started() };
    let of_script = site.script.as_deref().and_then(|script| data_line(script, BRANCH_LINE)).map(str::to_owned);
    let branch = variable("SW_BRANCH").or(of_script).unwrap_or(repository.branch);
    site.deploying = true;
    let delays = sim.delays();
    let commit = variable("SW_COMMIT").filter(|c| !c.is_empty());
    sim.later(delays.deploying_shows, move |sim, account| {
        if let Some(site) = account.sites.get_mut(&id).filter(|site| site.deploying) {
            site.status = "deploying".to_owned();
            site.deploy_log.clear();
        }
        if sim.knobs.lock().deploy_end != DeployEnd::Never {
            run_later(sim, id, repository.slug, branch, commit);
        }
    });
    started()
}

/// Builds for a while, then ends; the site may be gone by then.
fn run_later(sim: &Arc<PloiSim>, id: u64, slug: String, branch: String, commit: Option<String>) {
    let sim = sim.clone();
    tokio::spawn(async move {
        for step in STEPS {
            if let Some(site) = sim.account.lock().sites.get_mut(&id) {
                site.deploy_log.push_str(step);
            }
            tokio::time::sleep(sim.delays().deploy / STEPS.len() as u32).await;
        }
        let order = sim.account.lock().sites.get(&id).map(|site| Order {
            site: id,
            server: site.server,
            domain: site.domain.clone(),
            user: site.user.clone(),
            slug,
            branch,
            commit,
            script: site.script.clone().unwrap_or_default(),
            env: site.env.clone(),
        });
        let Some(order) = order else { return };
        let built = build(&sim, &order).await;
        let mut account = sim.account.lock();
        if account.sites.contains_key(&order.site) {
            let end = built.and_then(|process| {
                let words = start(&sim, &order, process.clone())?;
                if let Some(site) = account.sites.get_mut(&order.site) {
                    site.released = Some(process);
                }
                Ok(words)
            });
            finish(&sim, &mut account, order.site, end);
        }
    });
}

/// Everything up to the look at the new release; the error is the end of the log.
async fn build(sim: &PloiSim, order: &Order) -> Result<Process, String> {
    if let Some(words) = syntax_error(&order.script) {
        return Err(words);
    }
    let name =
        data_line(&order.script, CLIENT_LINE).ok_or("the deploy script of this site names no client")?.to_owned();
    let unreadable = |words: &str| failed("EnvironmentUnreadable", words);
    let text = order.env.as_ref().ok_or_else(|| unreadable("bash: .env: No such file or directory"))?;
    let environment = env_text::parse(text).map_err(|line| unreadable(&format!(".env: line {line}: syntax error")))?;
    let port = environment.get("PORT").and_then(|p| p.parse().ok()).ok_or_else(|| unreadable("PORT is not set"))?;
    let commit = {
        let state = sim.world.state();
        let head = || state.git.head(&order.slug, &order.branch);
        order.commit.as_ref().map_or_else(head, |commit| state.git.commit(&order.slug, commit))
    };
    let commit = commit.ok_or_else(|| {
        failed("CommitNotFound", &format!("fatal: couldn't find remote ref {} of {}", order.branch, order.slug))
    })?;
    let end = sim.knobs.lock().deploy_end;
    if end == DeployEnd::BuildFails {
        let words = "Type error: Property 'title' does not exist\nELIFECYCLE Command failed with exit code 1.";
        let shown: Vec<String> = match sim.knobs.lock().builds_print_environment {
            true => environment.iter().map(|(name, value)| format!("{name}={value}")).collect(),
            false => Vec::new(),
        };
        return Err(format!("{words}\n{}", shown.join("\n")));
    }
    let look = database_login(environment.get("DATABASE_URL").map(String::as_str)).await;
    if let DatabaseLogin::Refused(why) = look {
        return Err(failed("Unhealthy", &format!("the new release answers 503: {why}; the previous one goes on")));
    }
    if end == DeployEnd::LookFails {
        return Err(failed("Unhealthy", "the new release answers 500; the previous one goes on"));
    }
    Ok(Process { name, user: order.user.clone(), port, environment, commit, running: true })
}

/// The value of a quoted data line.
fn data_line<'a>(script: &'a str, start: &str) -> Option<&'a str> {
    script.lines().find_map(|line| line.trim().strip_prefix(start)?.strip_suffix('\''))
}

/// The end of a log of our deploy script: a sentence, then the reason by itself.
fn failed(reason: &str, words: &str) -> String {
    format!("{words}\nsitewright: reason={reason}")
}

/// `bash -n`, where there is a bash; a deploy script that does not parse ends before its first command. A text is asked
/// about once a process, and on this thread: beside others, the order of what follows would be a matter of chance.
fn syntax_error(script: &str) -> Option<String> {
    static KNOWN: Mutex<BTreeMap<String, Option<String>>> = Mutex::new(BTreeMap::new());
    if let Some(known) = KNOWN.lock().get(script) {
        return known.clone();
    }
    let checked = Command::new("bash").args(["-n", "-c", script]).output();
    let failed = checked.ok().filter(|output| !output.status.success());
    let words = failed.map(|output| String::from_utf8_lossy(&output.stderr).into_owned());
    let mut known = KNOWN.lock();
    if known.len() >= KNOWN_SCRIPTS_MAX {
        known.clear();
    }
    known.insert(script.to_owned(), words.clone());
    words
}

/// Replaces the process, or leaves the old one where the port is a stranger's. Gives the log.
fn start(sim: &PloiSim, order: &Order, process: Process) -> Result<String, String> {
    let words = format!(
        "From github.com:{}\nHEAD is now at {}\n{}\n{} listens on port {}\nReleased {}",
        order.slug,
        process.commit.get(..7).unwrap_or_default(),
        printed(&process.environment),
        process.name,
        process.port,
        order.domain,
    );
    let started = sim.world.state().processes.start(order.server, process);
    started.map(|()| words).map_err(|PortHeld { port, holder }| {
        failed("PortTaken", &format!("another process ({holder}) listens on port {port}; the previous release goes on"))
    })
}

/// Build tools print addresses; the log of a real site may hold this.
fn printed(environment: &BTreeMap<String, String>) -> String {
    environment.get("DATABASE_URL").map(|url| format!("Connecting to {url}")).unwrap_or_default()
}

fn finish(sim: &PloiSim, account: &mut Account, id: u64, end: Result<String, String>) {
    let now = sim.world.now();
    if let Some(site) = account.sites.get_mut(&id) {
        site.deploying = false;
        if site.status != "deleting" && site.status != "suspended" {
            site.status = if end.is_ok() { "active" } else { "deploy-failed" }.to_owned();
        }
        if end.is_ok() {
            site.last_deploy_at = Some(now);
        }
    }
    match end {
        Ok(words) => account.log(id, Some("deploy"), "Deployed site", &words, now),
        Err(words) => account.log(id, Some("deploy"), "Deployment failed", &words, now),
    }
}
