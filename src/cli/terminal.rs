//! Writing: data to stdout, messages to stderr, colour only where a person sees it, control characters nowhere.

use std::io::{self, IsTerminal, Write};

use anstyle::{AnsiColor, Style};
use clap::ValueEnum;
use comfy_table::{Cell, Color, ContentArrangement, Table, presets};
use serde::Serialize;

use crate::spec::finding::is_hidden;
use crate::status::{Phase, Truth};

/// Good.
pub const GREEN: Style = AnsiColor::Green.on_default();
/// Bad.
pub const RED: Style = AnsiColor::Red.on_default();
/// Changing, or worth a look.
pub const YELLOW: Style = AnsiColor::Yellow.on_default();
/// Of less weight.
pub const DIM: Style = Style::new().dimmed();
/// A heading.
pub const BOLD: Style = Style::new().bold();
/// A name or an address.
pub const CYAN: Style = AnsiColor::Cyan.on_default();

/// How data is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// For people
    #[default]
    Text,
    /// One JSON document
    Json,
    /// One YAML document
    Yaml,
}

/// Prints data to stdout. A reader that went away (`| head`) is no failure.
///
/// # Errors
/// Stdout cannot be written.
pub fn print(text: &str) -> anyhow::Result<()> {
    let mut out = anstream::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

/// Prints one document.
///
/// # Errors
/// Stdout cannot be written.
pub fn print_data(format: Format, data: &impl Serialize, text: impl FnOnce() -> String) -> anyhow::Result<()> {
    match format {
        Format::Text => print(&text()),
        Format::Json => print(&format!("{}\n", serde_json::to_string_pretty(data)?)),
        Format::Yaml => print(&serde_yaml::to_string(data)?),
    }
}

/// Says something to the person: stderr.
pub fn say(text: &str) {
    let mut out = anstream::stderr().lock();
    let _ = writeln!(out, "{text}"); // nobody is left to tell
}

/// Says what may be wrong.
pub fn warn(text: &str) {
    say(&format!("{YELLOW}warning:{YELLOW:#} {}", clean(text)));
}

/// Says what went wrong.
pub fn error(text: &str) {
    say(&format!("{RED}error:{RED:#} {}", clean(text)));
}

/// A text of others without the characters that steer a terminal; lines and tabs stay.
pub fn clean(text: &str) -> String {
    text.chars().map(|c| if is_hidden(c) && c != '\n' && c != '\t' { '\u{fffd}' } else { c }).collect()
}

/// A text of others on one line.
pub fn one_line(text: &str) -> String {
    clean(text).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Asks a question that only `y` or `yes` answers with yes.
///
/// # Errors
/// Nobody is at a terminal: `instead` says what to do there.
pub fn confirmed(question: &str, instead: &str) -> anyhow::Result<bool> {
    if !io::stdin().is_terminal() {
        anyhow::bail!("nobody can be asked here; {instead}");
    }
    say(question);
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Whether a person reads stdout.
pub fn stdout_is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// A text in a style; plain where nobody sees it.
pub fn paint(style: Style, text: impl std::fmt::Display) -> String {
    format!("{style}{text}{style:#}")
}

/// The style of a phase.
pub fn phase_style(phase: Phase) -> Style {
    match phase {
        Phase::Active => GREEN,
        Phase::Failed => RED,
        Phase::Pending | Phase::Provisioning | Phase::Deploying => CYAN,
        Phase::Suspended | Phase::Paused | Phase::Offline | Phase::Terminating => YELLOW,
    }
}

/// The style of a truth.
pub fn truth_style(truth: Truth) -> Style {
    match truth {
        Truth::True => GREEN,
        Truth::False => RED,
        Truth::Unknown => YELLOW,
    }
}

/// A table without lines: the columns are as wide as what they hold, and wrap only on a terminal.
pub fn table(headings: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    if stdout_is_terminal() {
        table.enforce_styling(); // anstream takes it away again under NO_COLOR
    } else {
        table.force_no_tty();
    }
    table.set_header(headings.iter().map(|heading| Cell::new(heading).add_attribute(comfy_table::Attribute::Bold)));
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
}

/// A cell in a phase's colour.
pub fn phase_cell(phase: Phase) -> Cell {
    let color = match phase {
        Phase::Active => Color::Green,
        Phase::Failed => Color::Red,
        Phase::Pending | Phase::Provisioning | Phase::Deploying => Color::Cyan,
        Phase::Suspended | Phase::Paused | Phase::Offline | Phase::Terminating => Color::Yellow,
    };
    Cell::new(format!("{phase:?}")).fg(color)
}

/// A cell in a truth's colour.
pub fn truth_cell(truth: Truth) -> Cell {
    let color = match truth {
        Truth::True => Color::Green,
        Truth::False => Color::Red,
        Truth::Unknown => Color::Yellow,
    };
    Cell::new(format!("{truth:?}")).fg(color)
}

/// The table as text, without spaces at the ends of lines.
pub fn render(table: &Table) -> String {
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}
