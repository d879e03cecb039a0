//! What the live display says, as text: lines of a board, or changes one by one. No terminal here.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::api::view::{ClientView, Overview, without_time};
use crate::cli::terminal::{BOLD, CYAN, DIM, GREEN, RED, YELLOW, one_line, paint, phase_style};
use crate::cli::when;
use crate::resource::name::ClientName;
use crate::status::{ConditionType, Phase, Truth};
use crate::store::{Event, EventKind};

/// Lines for clients: together with the heading they leave room for events on a terminal of 24 lines.
pub const LINES_MAX: usize = 16;
/// Turns while something moves.
const SPINNER: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];
/// The narrowest column of names, so that a first client does not move it at once.
const NAME_WIDTH_MIN: usize = 12;

/// The board of a terminal.
#[derive(Debug, Default)]
pub struct Board {
    turn: usize,
}

/// What a client is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Mood {
    /// Something is made or waited for.
    Moving,
    /// A person is needed.
    Stuck,
    /// Held on purpose, or on its way out.
    Held,
    /// As it should be.
    Settled,
}

fn mood(client: &ClientView) -> Mood {
    let stalled = client.condition(ConditionType::Stalled).is_some_and(|stalled| stalled.status == Truth::True);
    match client.phase {
        Phase::Paused | Phase::Offline => Mood::Held,
        _ if client.ready() == Truth::True => Mood::Settled,
        _ if stalled => Mood::Stuck,
        _ => Mood::Moving,
    }
}

impl Board {
    /// The heading and a line for each client; of a large fleet those that are not settled.
    pub fn lines(&mut self, overview: &Overview, now: Timestamp) -> Vec<String> {
        self.turn = (self.turn + 1) % SPINNER.len();
        let mut lines = vec![self.heading(overview)];
        if let Some(problem) = &overview.directory {
            lines.push(format!("{} {}", paint(RED, "✗"), one_line(problem)));
        }
        if let Some(recovery) = &overview.recovery {
            lines.push(format!("{} {}", paint(YELLOW, "!"), one_line(&recovery.message)));
        }
        for file in &overview.files {
            let message = file.problem.message.lines().next().unwrap_or_default();
            lines.push(format!("{} {}", paint(RED, "✗"), one_line(message)));
        }
        let all_fit = overview.clients.len() <= LINES_MAX;
        let shown: Vec<&ClientView> =
            overview.clients.iter().filter(|client| all_fit || mood(client) != Mood::Settled).collect();
        let width = shown.iter().map(|client| client.name.chars().count()).fold(NAME_WIDTH_MIN, usize::max);
        lines.truncate(LINES_MAX / 2);
        let room = LINES_MAX.saturating_sub(lines.len() - 1);
        let cut = if shown.len() > room { room.saturating_sub(1) } else { shown.len() };
        lines.extend(shown.iter().take(cut).map(|client| self.client(client, width, now)));
        if shown.len() > cut {
            lines.push(paint(DIM, format_args!("  … and {} more; `sitewright status` shows all", shown.len() - cut)));
        }
        lines
    }

    fn heading(&self, overview: &Overview) -> String {
        let count = |wanted: Mood| overview.clients.iter().filter(|client| mood(client) == wanted).count();
        let parts = [
            (count(Mood::Settled), "ready", GREEN),
            (count(Mood::Moving), "moving", CYAN),
            (count(Mood::Stuck), "need a person", RED),
            (count(Mood::Held), "held", YELLOW),
        ];
        let parts: Vec<String> = parts
            .iter()
            .filter(|(count, ..)| *count > 0)
            .map(|(count, word, style)| paint(*style, format_args!("{count} {word}")))
            .collect();
        let told = if parts.is_empty() { paint(DIM, "no clients yet") } else { parts.join(" · ") };
        let paused = if overview.pause.is_some() { paint(YELLOW, "  all paused") } else { String::new() };
        format!("{} {told}{paused}", paint(BOLD, "Sitewright"))
    }

    fn client(&self, client: &ClientView, width: usize, now: Timestamp) -> String {
        let sign = match mood(client) {
            Mood::Settled => paint(GREEN, "✓"),
            Mood::Stuck => paint(RED, "✗"),
            Mood::Held => paint(YELLOW, "‖"),
            Mood::Moving => paint(CYAN, SPINNER.get(self.turn).copied().unwrap_or("·")),
        };
        let phase = paint(phase_style(client.phase), format_args!("{:<12}", format!("{:?}", client.phase)));
        format!("{sign} {:<width$}  {phase}  {}", client.name, told(client, now))
    }
}

/// What it waits for; of one that serves, where.
fn told(client: &ClientView, now: Timestamp) -> String {
    if mood(client) == Mood::Settled && client.phase == Phase::Active {
        let url = client.url.as_deref().unwrap_or_default();
        return match without_time(&client.message) {
            "the world matches the spec" => paint(DIM, url),
            message => format!("{} {}", paint(DIM, url), one_line(message)),
        };
    }
    let message = one_line(without_time(&client.message));
    match client.next_attempt.filter(|at| *at > now) {
        Some(at) => format!("{message} {}", paint(DIM, format_args!("({})", when::relative(at, now)))),
        None => message,
    }
}

/// One event above the board: short, because the board below says the rest.
pub fn event(event: &Event) -> String {
    let client = event.client.as_ref().map_or("-", ClientName::as_str);
    let time = event.at.strftime("%H:%M:%S");
    let style = match event.kind {
        EventKind::Normal => CYAN,
        EventKind::Warning => YELLOW,
    };
    let reason = paint(style, one_line(&event.reason));
    format!("{}  {client:<NAME_WIDTH_MIN$}  {reason} {}", paint(DIM, time), one_line(&event.message))
}

/// A painted line cut to a number of columns; colours end where it ends.
pub fn cut(line: &str, columns: usize) -> String {
    if anstream::adapter::strip_str(line).to_string().chars().count() <= columns {
        return line.to_owned();
    }
    let mut out = String::new();
    let (mut shown, mut escape) = (0, false);
    for c in line.chars() {
        match c {
            '\u{1b}' => escape = true,
            'm' if escape => {
                escape = false;
                out.push(c);
                continue;
            }
            _ if !escape && shown + 1 >= columns => break,
            _ if !escape => shown += 1,
            _ => {}
        }
        out.push(c);
    }
    format!("{out}\u{1b}[0m…")
}

/// Changes for a log: a line when a client's phase or sentence is another one.
#[derive(Debug, Default)]
pub struct Changes {
    known: BTreeMap<String, (String, String)>,
}

impl Changes {
    /// Lines for what changed since the last look.
    pub fn of(&mut self, overview: &Overview) -> Vec<String> {
        let mut now = BTreeMap::new();
        if let Some(problem) = &overview.directory {
            now.insert("specs".to_owned(), ("Unreadable".to_owned(), one_line(problem)));
        }
        if let Some(recovery) = &overview.recovery {
            now.insert("state".to_owned(), ("Recovery".to_owned(), one_line(&recovery.message)));
        }
        for file in &overview.files {
            now.insert(file.file.clone(), ("NotInForce".to_owned(), one_line(&file.problem.message)));
        }
        for client in &overview.clients {
            now.insert(client.name.clone(), (format!("{:?}", client.phase), one_line(without_time(&client.message))));
        }
        let mut lines: Vec<String> = now
            .iter()
            .filter(|(name, told)| self.known.get(*name) != Some(told))
            .map(|(name, (phase, message))| format!("{name}: {phase}: {message}"))
            .collect();
        lines.extend(self.known.keys().filter(|name| !now.contains_key(*name)).map(|name| format!("{name}: gone")));
        self.known = now;
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Condition;

    fn client(name: &str, phase: Phase, ready: Truth, message: &str) -> ClientView {
        ClientView {
            name: name.into(),
            uid: "01".into(),
            generation: 1,
            observed_generation: 1,
            phase,
            domain: None,
            url: Some(format!("https://{name}.example")),
            port: None,
            message: message.into(),
            next_attempt: None,
            conditions: vec![Condition {
                kind: ConditionType::Ready,
                status: ready,
                reason: "Any".into(),
                message: message.into(),
                last_transition_time: Timestamp::UNIX_EPOCH,
                observed_generation: 1,
            }],
            resources: Vec::new(),
            last_deployment: None,
            health: None,
            labels: BTreeMap::new(),
            file: None,
            pause: None,
        }
    }

    fn overview(clients: Vec<ClientView>) -> Overview {
        Overview {
            clients,
            providers: Vec::new(),
            calls: None,
            files: Vec::new(),
            directory: None,
            recovery: None,
            pause: None,
        }
    }

    fn plain(lines: &[String]) -> String {
        anstream::adapter::strip_str(&lines.join("\n")).to_string()
    }

    #[test]
    fn each_client_has_its_line_and_the_heading_counts() {
        let shop = client("shop", Phase::Active, Truth::True, "the world matches the spec");
        let mut blog = client("blog", Phase::Deploying, Truth::False, "builds; next look at 1970-01-01T00:00:05Z");
        blog.next_attempt = Timestamp::from_second(5).ok();
        let text = plain(&Board::default().lines(&overview(vec![blog, shop]), Timestamp::UNIX_EPOCH));
        assert!(text.starts_with("Sitewright 1 ready · 1 moving\n"), "{text}");
        assert!(text.contains("blog          Deploying     builds (in 5s)"), "{text}");
        assert!(text.contains("✓ shop          Active        https://shop.example"), "{text}");
    }

    #[test]
    fn a_large_fleet_shows_those_that_move_and_counts_the_rest() {
        let mut clients: Vec<ClientView> = (0..500)
            .map(|i| client(&format!("c{i:03}"), Phase::Active, Truth::True, "the world matches the spec"))
            .collect();
        clients.push(client("late", Phase::Provisioning, Truth::False, "waits"));
        let lines = Board::default().lines(&overview(clients.clone()), Timestamp::UNIX_EPOCH);
        assert_eq!(lines.len(), 2);
        assert!(plain(&lines).contains("500 ready · 1 moving"));
        clients.iter_mut().for_each(|client| client.conditions.clear());
        let lines = Board::default().lines(&overview(clients), Timestamp::UNIX_EPOCH);
        assert_eq!(lines.len(), LINES_MAX + 1);
        assert!(plain(&lines).contains("… and 486 more"));
    }

    #[test]
    fn a_log_gets_one_line_a_change_and_none_for_a_new_time() {
        let mut changes = Changes::default();
        let look = |message: &str| overview(vec![client("shop", Phase::Provisioning, Truth::False, message)]);
        assert_eq!(changes.of(&look("waits; next look at 10:00")), ["shop: Provisioning: waits"]);
        assert!(changes.of(&look("waits; next look at 10:05")).is_empty());
        assert_eq!(changes.of(&look("builds")), ["shop: Provisioning: builds"]);
        assert_eq!(changes.of(&overview(Vec::new())), ["shop: gone"]);
    }

    #[test]
    fn a_cut_line_fits_and_ends_its_colours() {
        let line = format!("{} and more", paint(RED, "abcdef"));
        let short = cut(&line, 5);
        assert_eq!(anstream::adapter::strip_str(&short).to_string(), "abcd…");
        assert!(short.ends_with("\u{1b}[0m…"));
        assert_eq!(cut(&line, 15), line);
    }

    /// H6.
    #[test]
    fn what_others_wrote_cannot_steer_the_terminal() {
        let evil = client("shop", Phase::Provisioning, Truth::False, "a\u{1b}[2Jb\nc");
        let lines = Board::default().lines(&overview(vec![evil]), Timestamp::UNIX_EPOCH);
        assert!(lines.iter().all(|line| !line.contains("\u{1b}[2J") && !line.contains('\n')));
    }
}
