//! `describe CLIENT`: conditions, resources, releases, the last events, and when it goes on.

use std::fmt::Write as _;

use comfy_table::Cell;
use jiff::Timestamp;
use serde::Serialize;

use crate::api::view::{self, ClientView, DeploymentView, HealthView};
use crate::app::Access;
use crate::cli::events;
use crate::cli::session::{self, Session};
use crate::cli::terminal::{self, BOLD, Format, RED, paint};
use crate::cli::{Exit, when};
use crate::controller::fleet::FileProblem;
use crate::store::Event;
use crate::store::history::DeploymentState;

/// Events that are shown.
const EVENTS_SHOWN: usize = 10;
/// Incidents that are shown, the newest.
const INCIDENTS_SHOWN: usize = 5;
/// Lines of a failed deploy's log that are shown.
const LOG_LINES: usize = 12;

/// Arguments of `describe`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The client
    client: String,
    /// How it is printed
    #[arg(long, short, value_enum, default_value_t)]
    output: Format,
}

#[derive(Serialize)]
struct Description {
    #[serde(flatten)]
    client: ClientView,
    files: Vec<FileProblem>,
    events: Vec<Event>,
}

/// Prints everything about one client.
///
/// # Errors
/// The state cannot be read; there is no such client.
pub async fn run(session: &Session, args: &Args) -> anyhow::Result<Exit> {
    let name = session::client_name(&args.client)?;
    let store = session.store(Access::Look).await?;
    let lens = session.lens()?;
    let client = view::client(&session::record(&*store, &name).await?, &lens);
    let mut files = view::overview(&*store, &lens).await?.files;
    files.retain(|file| file.client.as_ref() == Some(&name));
    let events = events::newest(&*store, Some(&name), EVENTS_SHOWN).await?;
    let description = Description { client, files, events };
    terminal::print_data(args.output, &description, || text(&description, session::now()))?;
    Ok(Exit::Done)
}

fn text(description: &Description, now: Timestamp) -> String {
    let client = &description.client;
    let mut out = format!(
        "{}  {}\n",
        paint(BOLD, &client.name),
        paint(terminal::phase_style(client.phase), format_args!("{:?}", client.phase))
    );
    let _ = writeln!(out, "{}\n", terminal::clean(&client.message)); // writing to a String cannot fail
    facts(client, now, &mut out);
    for file in &description.files {
        let _ = writeln!(out, "\n{} {}", paint(RED, "not in force:"), terminal::clean(&file.file));
        for line in terminal::clean(&file.problem.message).lines() {
            let _ = writeln!(out, "  {line}");
        }
    }
    let _ = writeln!(out, "\n{}", paint(BOLD, "Conditions"));
    out.push_str(&conditions(client, now));
    if !client.resources.is_empty() {
        let _ = writeln!(out, "\n{}", paint(BOLD, "Resources"));
        let mut table = terminal::table(&["KIND", "PROVIDER", "ID", "NAME"]);
        for resource in &client.resources {
            let cells = [&resource.kind.to_string(), &resource.provider, &resource.id, &resource.name];
            table.add_row(cells.map(|text| Cell::new(terminal::one_line(text))));
        }
        out.push_str(&terminal::render(&table));
    }
    if let Some(deployment) = &client.last_deployment {
        let _ = writeln!(out, "\n{}", paint(BOLD, "Last deployment"));
        deployment_text(deployment, now, &mut out);
    }
    if let Some(health) = &client.health {
        let _ = writeln!(out, "\n{}", paint(BOLD, "Health"));
        health_text(health, now, &mut out);
    }
    if !description.events.is_empty() {
        let _ = writeln!(out, "\n{}", paint(BOLD, "Events"));
        description.events.iter().for_each(|event| out.push_str(&events::line(event)));
    }
    out
}

fn facts(client: &ClientView, now: Timestamp, out: &mut String) {
    let labels: Vec<String> = client.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let generation = if client.observed_generation == client.generation {
        client.generation.to_string()
    } else {
        format!("{} (planned so far: {})", client.generation, client.observed_generation)
    };
    let facts = [
        ("Address", client.url.clone()),
        ("Port", client.port.map(|port| port.to_string())),
        ("File", client.file.clone()),
        ("Labels", (!labels.is_empty()).then(|| labels.join(", "))),
        ("Uid", Some(client.uid.clone())),
        ("Generation", Some(generation)),
        (
            "Paused",
            client.pause.as_ref().map(|pause| format!("since {}: {}", when::absolute(pause.since, now), pause.reason)),
        ),
        ("Paused until", client.pause.as_ref().and_then(|pause| pause.until).map(|at| when::absolute(at, now))),
        ("Next attempt", client.next_attempt.map(|at| when::absolute(at, now))),
    ];
    for (name, value) in facts {
        if let Some(value) = value {
            let _ = writeln!(out, "{:<13} {}", format!("{name}:"), terminal::one_line(&value));
        }
    }
}

fn conditions(client: &ClientView, now: Timestamp) -> String {
    if client.conditions.is_empty() {
        return "no pass has looked at it yet\n".into();
    }
    let mut table = terminal::table(&["TYPE", "STATUS", "SINCE", "REASON", "MESSAGE"]);
    for condition in &client.conditions {
        table.add_row([
            Cell::new(format!("{:?}", condition.kind)),
            terminal::truth_cell(condition.status),
            Cell::new(when::relative(condition.last_transition_time, now)),
            Cell::new(terminal::one_line(&condition.reason)),
            Cell::new(terminal::one_line(&condition.message)),
        ]);
    }
    terminal::render(&table)
}

fn health_text(health: &HealthView, now: Timestamp, out: &mut String) {
    let share =
        |share: Option<f64>| share.map_or_else(|| "not watched".into(), |share| format!("{:.2} %", share * 100.0));
    let _ = writeln!(
        out,
        "  well for {} of a day, {} of 7 days, {} of 30 days; looked at {}",
        share(health.uptime_24h),
        share(health.uptime_7d),
        share(health.uptime_30d),
        when::absolute(health.looked_at, now)
    );
    if let Some(at) = health.certificate_expires_at {
        let _ = writeln!(out, "  its certificate expires {}", when::absolute(at, now));
    }
    for incident in health.incidents.iter().take(INCIDENTS_SHOWN) {
        let lasted = match incident.ended {
            Some(ended) => format!("for {}", when::took(incident.began, ended)),
            None => paint(RED, "until now").to_string(),
        };
        let began = when::absolute(incident.began, now);
        let _ = writeln!(out, "  down since {began} {lasted}: {}", terminal::one_line(&incident.cause));
    }
}

fn deployment_text(deployment: &DeploymentView, now: Timestamp, out: &mut String) {
    let commit = deployment.commit.as_deref().map(|commit| format!(" at {commit}")).unwrap_or_default();
    let state = match deployment.state {
        DeploymentState::Running => "is under way",
        DeploymentState::Succeeded => "serves",
        DeploymentState::Failed => "failed",
        DeploymentState::Lost => "left no trace",
    };
    let _ = writeln!(
        out,
        "release {} {state}: {} {}{commit}",
        deployment.number,
        terminal::one_line(&deployment.repository),
        terminal::one_line(&deployment.branch)
    );
    for (word, at) in [("asked for", deployment.started_at), ("ended", deployment.finished_at)] {
        if let Some(at) = at {
            let _ = writeln!(out, "  {word} {}", when::absolute(at, now));
        }
    }
    if let Some(reason) = &deployment.reason {
        let _ = writeln!(out, "  {}", paint(RED, terminal::one_line(reason)));
    }
    if let Some(log) = &deployment.log {
        let clean = terminal::clean(log);
        let lines: Vec<&str> = clean.lines().collect();
        for line in lines.iter().skip(lines.len().saturating_sub(LOG_LINES)) {
            let _ = writeln!(out, "  | {line}");
        }
    }
}
