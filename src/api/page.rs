//! The status page: made here, without scripts; narrow and wide, light and dark; renews itself.

use std::fmt::Write as _;

use jiff::Timestamp;

use crate::api::deletions::Deletions;
use crate::api::view::{ClientView, Overview};
use crate::status::{Phase, Truth};

/// Its style sheet.
pub const STYLE: &str = include_str!("page.css");
/// Seconds between two loads.
const REFRESH_SECONDS: u32 = 5;

/// The page as HTML. Every text of others is escaped.
pub fn render(overview: &Overview, deletions: &Deletions, now: Timestamp) -> String {
    let ready = overview.clients.iter().filter(|client| client.ready() == Truth::True).count();
    let total = overview.clients.len();
    let mut body = String::new();
    notices(overview, deletions, &mut body);
    if overview.clients.is_empty() {
        body.push_str("<p class=\"empty\">No clients yet. Put a file into the specs directory.</p>\n");
    } else {
        clients(overview, &mut body);
    }
    removals(deletions, &mut body);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta http-equiv=\"refresh\" content=\"{REFRESH_SECONDS}\">\n\
         <title>{ready} of {total} ready · Sitewright</title>\n\
         <link rel=\"stylesheet\" href=\"/style.css\">\n</head>\n<body>\n\
         <header><h1>Sitewright</h1><p>{ready} of {total} ready</p></header>\n<main>\n{body}</main>\n\
         <footer><p>As of <time>{now:.0}</time>; renewed every {REFRESH_SECONDS} seconds. \
         <a href=\"/api/v1/clients\">JSON</a></p></footer>\n</body>\n</html>\n"
    )
}

fn notices(overview: &Overview, deletions: &Deletions, out: &mut String) {
    let mut notice = |class: &str, head: &str, text: &str| {
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(out, "<p class=\"notice {class}\"><strong>{}</strong> {}</p>", escape(head), escape(text));
    };
    if let Some(problem) = &overview.directory {
        notice("bad", "Specs directory.", problem);
    }
    if let Some(recovery) = &overview.recovery {
        notice("warn", "Recovery.", &recovery.message);
    }
    if let Some(pause) = &overview.pause {
        notice("warn", "All clients are paused.", &pause.reason);
    }
    if let Some(held) = &deletions.held {
        let text = format!("{} Release them with: sitewright approve {}", held.reason, held.hash);
        notice("warn", &format!("{} removals are held.", held.names.len()), &text);
    }
    for provider in overview.providers.iter().filter(|provider| provider.circuit != "closed") {
        let until = provider.resets_at.map(|at| format!(" until {at:.0}")).unwrap_or_default();
        notice("warn", &provider.name, &format!("The limit is reached{until}."));
    }
    for file in &overview.files {
        let _ = writeln!(
            out,
            "<details class=\"notice bad\" open><summary>{} is not in force</summary><pre>{}</pre></details>",
            escape(&file.file),
            escape(&file.problem.message)
        );
    }
}

fn clients(overview: &Overview, out: &mut String) {
    out.push_str(
        "<table>\n<thead><tr><th scope=\"col\">Client</th><th scope=\"col\">Phase</th><th scope=\"col\">Ready</th>\
         <th scope=\"col\">Port</th><th scope=\"col\">What it says</th></tr></thead>\n<tbody>\n",
    );
    for client in &overview.clients {
        row(client, out);
    }
    out.push_str("</tbody>\n</table>\n");
}

fn row(client: &ClientView, out: &mut String) {
    let name = escape(&client.name);
    let address = client.url.as_deref().map(escape).map_or_else(String::new, |url| {
        format!("<br><a class=\"address\" href=\"{url}\" rel=\"noreferrer\">{url}</a>")
    });
    let port = client.port.map_or_else(|| "–".to_owned(), |port| port.to_string());
    let _ = writeln!(
        out,
        "<tr><th scope=\"row\"><a href=\"/api/v1/clients/{name}\">{name}</a>{address}</th>\
         <td data-label=\"Phase\"><span class=\"phase {class}\">{phase:?}</span></td>\
         <td data-label=\"Ready\">{ready:?}</td><td data-label=\"Port\">{port}</td><td class=\"message\">{message}</td></tr>",
        class = class(client.phase),
        phase = client.phase,
        ready = client.ready(),
        message = escape(&client.message),
    );
}

fn class(phase: Phase) -> &'static str {
    match phase {
        Phase::Active => "good",
        Phase::Failed => "bad",
        Phase::Pending | Phase::Provisioning | Phase::Deploying => "moving",
        Phase::Suspended | Phase::Paused | Phase::Offline | Phase::Terminating => "warn",
    }
}

fn removals(deletions: &Deletions, out: &mut String) {
    if deletions.scheduled.is_empty() {
        return;
    }
    out.push_str("<h2>On their way out</h2>\n<ul>\n");
    for client in &deletions.scheduled {
        let database = client
            .database_drop_at
            .map_or_else(|| "its database is kept".to_owned(), |at| format!("its database is dropped at {at:.0}"));
        let _ = writeln!(
            out,
            "<li><strong>{}</strong>: its site is removed at {:.0}, {database}; {}</li>",
            escape(&client.name),
            client.site_removal_at,
            escape(&client.undo)
        );
    }
    out.push_str("</ul>\n");
}

/// A text of others inside HTML, also inside an attribute.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}
