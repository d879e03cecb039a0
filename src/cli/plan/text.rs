//! A plan for people: on a terminal, and as Markdown for a comment at a pull request.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};

use crate::api::plan::{ClientPlan, PlanDocument, PlannedResource, Summary};
use crate::cli::terminal::{BOLD, CYAN, DIM, GREEN, RED, YELLOW, one_line, paint};
use crate::plan::change::{FieldChange, Op};

/// A script at a server.
const MAGENTA: Style = AnsiColor::Magenta.on_default();
/// Longest value that is printed of a change, in characters; the rest is in `-o json`.
const VALUE_CHARS_MAX: usize = 120;

/// The plan with signs: `+` create, `~` update, `-` remove, `^` deploy, `=` take in, `$` run a script.
pub fn text(document: &PlanDocument) -> String {
    let mut out = String::new();
    for client in &document.clients {
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(out, "{}", paint(BOLD, &client.name));
        if client.is_converged() {
            let _ = writeln!(out, "  {}", paint(DIM, "nothing to do"));
        }
        entries(client, &mut out);
        out.push('\n');
    }
    let _ = writeln!(out, "{}", summary(document.summary));
    if !document.cost.is_empty() {
        let parts = document.cost.iter().map(|(provider, cost)| match cost.seconds {
            0 => format!("{provider} {}", calls(cost.calls)),
            seconds => format!("{provider} {} ({seconds} s at its limit)", calls(cost.calls)),
        });
        let _ = writeln!(out, "{}", paint(DIM, format_args!("Cost: {}", parts.collect::<Vec<_>>().join(", "))));
    }
    let _ = writeln!(out, "{}", paint(DIM, format_args!("Hash: {}", document.hash)));
    out
}

fn calls(calls: u64) -> String {
    if calls == 1 { "1 call".into() } else { format!("{calls} calls") }
}

fn entries(client: &ClientPlan, out: &mut String) {
    for action in &client.actions {
        let (sign, style) = sign(action.op);
        let _ = writeln!(out, "  {} {}: {}", paint(style, sign), name(&action.resource), one_line(&action.reason));
        for change in &action.changes {
            let _ = writeln!(out, "      {}", change_text(change));
        }
    }
    for waiting in &client.waiting {
        let reason = paint(DIM, format_args!("[{}]", waiting.reason));
        let _ = writeln!(
            out,
            "  {} {}: {} {reason}",
            paint(YELLOW, "…"),
            name(&waiting.resource),
            one_line(&waiting.message)
        );
    }
    for refused in &client.refused {
        let reason = paint(DIM, format_args!("[{}]", refused.reason));
        let _ =
            writeln!(out, "  {} {}: {} {reason}", paint(RED, "!"), name(&refused.resource), one_line(&refused.message));
    }
    for accepted in &client.accepted {
        let _ = writeln!(
            out,
            "  {} {}: left as it was found: {}",
            paint(DIM, "≈"),
            accepted.kind,
            one_line(&accepted.message)
        );
    }
}

fn sign(op: Op) -> (char, Style) {
    match op {
        Op::Create => ('+', GREEN),
        Op::Update => ('~', YELLOW),
        Op::Delete => ('-', RED),
        Op::Deploy => ('^', CYAN),
        Op::Adopt => ('=', DIM),
        Op::Run => ('$', MAGENTA),
    }
}

fn name(resource: &PlannedResource) -> String {
    let id = resource.id.as_ref().map(|id| format!(" ({})", one_line(id))).unwrap_or_default();
    format!("{} {}/{}{id}", resource.kind, resource.provider, one_line(&resource.name))
}

fn change_text(change: &FieldChange) -> String {
    let path = one_line(&change.path);
    match (&change.from, &change.to) {
        (None, Some(to)) => format!("{path}: {}", short(to)),
        (Some(from), Some(to)) => format!("{path}: {} -> {}", short(from), short(to)),
        (Some(from), None) => format!("{path}: {} -> gone", short(from)),
        (None, None) => path,
    }
}

fn short(value: &str) -> String {
    let line = one_line(value);
    match line.char_indices().nth(VALUE_CHARS_MAX) {
        Some((cut, _)) => format!("{}…", line.get(..cut).unwrap_or_default()),
        None => line,
    }
}

fn summary(summary: Summary) -> String {
    let counts = [
        (summary.create, "to create"),
        (summary.update, "to update"),
        (summary.delete, "to remove"),
        (summary.deploy, "to deploy"),
        (summary.run, "to run"),
        (summary.adopt, "to take in"),
    ];
    let parts: Vec<String> =
        counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    if parts.is_empty() { "Plan: nothing to do now.".into() } else { format!("Plan: {}.", parts.join(", ")) }
}

/// The plan as Markdown.
pub fn markdown(document: &PlanDocument) -> String {
    let mut out = format!("### Sitewright plan `{}`\n\n{}\n", document.hash, summary(document.summary));
    for client in &document.clients {
        if client.is_converged() {
            let left = match client.accepted.len() {
                0 => String::new(),
                n => format!("; {n} differences are left as they were found"),
            };
            let _ = writeln!(out, "\n**{}**: nothing to do{left}", client.name);
            continue;
        }
        let _ = writeln!(out, "\n**{}**\n\n| | resource | what | why |\n|---|---|---|---|", client.name);
        for action in &client.actions {
            let changes: Vec<String> = action.changes.iter().map(change_text).map(|text| cell(&text)).collect();
            let (sign, _) = sign(action.op);
            let _ = writeln!(
                out,
                "| `{sign}` | {} | {} | {} |",
                cell(&name(&action.resource)),
                changes.join("<br>"),
                cell(&action.reason)
            );
        }
        for waiting in &client.waiting {
            let _ = writeln!(out, "| … | {} | waits | {} |", cell(&name(&waiting.resource)), cell(&waiting.message));
        }
        for refused in &client.refused {
            let _ = writeln!(out, "| ! | {} | refused | {} |", cell(&name(&refused.resource)), cell(&refused.message));
        }
    }
    out
}

/// A text inside a table: nothing in it may end the cell or become markup.
fn cell(text: &str) -> String {
    let mut out = String::new();
    for c in one_line(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '|' | '`' | '*' | '_' | '[' | ']' | '\\' | '@' => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::plan::tests::sample;

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn signs_changes_and_counts_are_told() {
        let text = plain(&text(&sample()));
        for line in [
            "  + Site ploi/shop.example: it is not there",
            "      domain: shop.example",
            "      env.SMTP_PASSWORD: (secret, changed)",
            "  … Site ploi/shop.example (7): the host is busy [SiteBusy]",
            "Plan: 1 to create, 1 to update.",
        ] {
            assert!(text.lines().any(|there| there == line), "{line:?} is missing in\n{text}");
        }
    }

    #[test]
    fn nothing_breaks_out_of_a_markdown_cell() {
        assert_eq!(cell("a|b <script> @all"), "a\\|b &lt;script&gt; \\@all");
        let rows = markdown(&sample());
        assert!(rows.lines().filter(|line| line.starts_with("| `")).all(|line| line.matches(" | ").count() == 3));
    }
}
