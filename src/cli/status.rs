//! `status [CLIENT]`: how the clients stand, and in one sentence why.

use std::time::Duration;

use comfy_table::Cell;
use jiff::Timestamp;

use crate::api::view::{self, ClientView, Overview};
use crate::app::Access;
use crate::cli::session::{self, Session};
use crate::cli::terminal::{self, Format, RED, YELLOW, paint};
use crate::cli::{Exit, when};

/// How often `--watch` looks.
const WATCH_POLL: Duration = Duration::from_millis(500);

/// Arguments of `status`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// One client alone
    client: Option<String>,
    /// Go on looking, until Ctrl-C
    #[arg(long, short)]
    watch: bool,
    /// Only clients with this label; several must all be there
    #[arg(long, short = 'l', value_name = "KEY=VALUE", value_parser = label)]
    selector: Vec<(String, String)>,
    /// How it is printed
    #[arg(long, short, value_enum, default_value_t)]
    output: Format,
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("key=value is expected, such as tier=gold".into()),
    }
}

/// Prints the status, once or again and again.
///
/// # Errors
/// The state cannot be read; there is no such client.
pub async fn run(session: &Session, args: &Args) -> anyhow::Result<Exit> {
    let lens = session.lens()?;
    if let Some(client) = &args.client {
        session::client_name(client)?;
    }
    let mut shown = String::new();
    loop {
        // Opened anew in each round: the daemon may make the state while we watch.
        let store = session.store(Access::Look).await?;
        let overview = select(view::overview(&*store, &lens).await?, args);
        if let Some(client) = &args.client
            && overview.clients.is_empty()
        {
            return Ok(tell_unknown(client, &overview));
        }
        if !args.watch {
            terminal::print_data(args.output, &overview, || text(&overview, session::now()))?;
            if overview.clients.is_empty() && args.output == Format::Text {
                tell_empty(session, args);
            }
            return Ok(Exit::Done);
        }
        show_change(&overview, args, &mut shown)?;
        tokio::select! {
            () = tokio::time::sleep(WATCH_POLL) => {}
            _ = tokio::signal::ctrl_c() => return Ok(Exit::Done),
        }
    }
}

fn select(mut overview: Overview, args: &Args) -> Overview {
    overview.clients.retain(|client| {
        args.client.as_ref().is_none_or(|name| *name == client.name)
            && args.selector.iter().all(|(key, value)| client.labels.get(key) == Some(value))
    });
    overview
}

fn tell_unknown(client: &str, overview: &Overview) -> Exit {
    let problem = overview.files.iter().find(|file| file.client.as_ref().is_some_and(|name| name.as_str() == client));
    match problem {
        Some(file) => terminal::error(&format!("{client} has no accepted spec yet:\n{}", file.problem.message)),
        None => terminal::error(&session::unknown(client)),
    }
    Exit::Failed
}

fn tell_empty(session: &Session, args: &Args) {
    if args.selector.is_empty() {
        let specs = session.settings().specs.display();
        terminal::say(&format!(
            "no clients yet; `sitewright run` takes in the files of {specs}, `sitewright validate` checks them"
        ));
    } else {
        terminal::say("no client has these labels");
    }
}

/// On a terminal one frame over the last; elsewhere a new print for each change.
fn show_change(overview: &Overview, args: &Args, shown: &mut String) -> anyhow::Result<()> {
    let now = session::now();
    match args.output {
        Format::Text if terminal::stdout_is_terminal() => {
            let frame = text(overview, now);
            if frame != *shown {
                // Home, each line cleared to its end, the rest of the screen cleared: nothing goes blank in between.
                let start = if shown.is_empty() { "\x1b[2J" } else { "" };
                let lines: String = frame.lines().map(|line| format!("{line}\x1b[K\n")).collect();
                terminal::print(&format!("{start}\x1b[H{lines}\x1b[J"))?;
                *shown = frame;
            }
        }
        Format::Text => {
            // Relative times change with every look and are no change.
            let key = serde_json::to_string(overview)?;
            if key != *shown {
                terminal::print(&text(overview, now))?;
                *shown = key;
            }
        }
        Format::Json | Format::Yaml => {
            let line = serde_json::to_string(overview)?;
            if line != *shown {
                let separator = if args.output == Format::Yaml && !shown.is_empty() { "---\n" } else { "" };
                match args.output {
                    Format::Yaml => terminal::print(&format!("{separator}{}", serde_yaml::to_string(overview)?))?,
                    _ => terminal::print(&format!("{line}\n"))?,
                }
                *shown = line;
            }
        }
    }
    Ok(())
}

/// The table, and above it what concerns all.
pub fn text(overview: &Overview, now: Timestamp) -> String {
    let mut out = String::new();
    if let Some(problem) = &overview.directory {
        out.push_str(&format!("{} {}\n", paint(RED, "specs:"), terminal::one_line(problem)));
    }
    if let Some(recovery) = &overview.recovery {
        let names = recovery.clients.join(", ");
        out.push_str(&format!("{} {}\n  {names}\n", paint(YELLOW, "recovery:"), terminal::one_line(&recovery.message)));
    }
    if let Some(pause) = &overview.pause {
        let until = pause.until.map(|at| format!(" until {at:.0}")).unwrap_or_default();
        out.push_str(&format!(
            "{} all clients{until}: {}\n",
            paint(YELLOW, "paused:"),
            terminal::one_line(&pause.reason)
        ));
    }
    if !overview.clients.is_empty() {
        out.push_str(&table(&overview.clients, now));
    }
    for file in &overview.files {
        out.push_str(&format!("\n{} {}\n", paint(RED, "not in force:"), terminal::clean(&file.file)));
        for line in terminal::clean(&file.problem.message).lines() {
            out.push_str(&format!("  {line}\n"));
        }
    }
    if let Some(asked) = &overview.calls {
        out.push_str(&format!(
            "calls: {} (in the cycle that began {})\n",
            asked.calls,
            when::relative(asked.since, now)
        ));
    }
    for provider in overview.providers.iter().filter(|provider| provider.circuit != "closed") {
        let until =
            provider.resets_at.map(|at| format!(", open again {}", when::relative(at, now))).unwrap_or_default();
        out.push_str(&format!("{} its limit is reached{until}\n", paint(YELLOW, format_args!("{}:", provider.name))));
    }
    out
}

fn table(clients: &[ClientView], now: Timestamp) -> String {
    let mut table = terminal::table(&["NAME", "PHASE", "READY", "PORT", "URL", "MESSAGE"]);
    for client in clients {
        let next = client.next_attempt.filter(|_| client.ready() != crate::status::Truth::True);
        let next = next.filter(|_| !client.message.contains("next look")).map(|at| when::relative(at, now));
        let message = match next {
            Some(next) => format!("{} ({next})", terminal::one_line(&client.message)),
            None => terminal::one_line(&client.message),
        };
        table.add_row([
            Cell::new(&client.name),
            terminal::phase_cell(client.phase),
            terminal::truth_cell(client.ready()),
            Cell::new(client.port.map_or_else(|| "-".into(), |port| port.to_string())),
            Cell::new(client.url.as_deref().unwrap_or("-")),
            Cell::new(message),
        ]);
    }
    terminal::render(&table)
}
