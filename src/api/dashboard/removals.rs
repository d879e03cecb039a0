//! `/deletions`: the calendar of what goes when, with what undoes it; the held set and recovery, each approved by typing.
//!
//! Approving a held set asks for the number of its clients: whoever types it has seen how many go. Ending recovery removes
//! nobody, so there the first digits of its hash are asked for.

use jiff::Timestamp;

use crate::api::dashboard::frame::{Page, Tempo};
use crate::api::dashboard::html::{Html, counted, text, time};
use crate::api::dashboard::standing::{Standing, chip};
use crate::api::deletions::{Deletions, HeldSet, Scheduled};
use crate::api::view::RecoveryView;
use crate::resource::removal::ReclaimPolicy;
use crate::status::Phase;

/// Digits of a hash that are typed.
const TYPED_DIGITS: usize = 6;

/// The page. `acts`: whether anything can be asked for through this interface.
pub fn render(deletions: &Deletions, recovery: Option<&RecoveryView>, acts: bool, now: Timestamp) -> String {
    let mut body = Html::default();
    body.put(format_args!(
        "<div class=\"head\"><h1>Deletions</h1><p class=\"sum\">{} on the way out</p></div>\n",
        counted(deletions.scheduled.len(), "client")
    ));
    if let Some(recovery) = recovery {
        recovers(recovery, acts, now, &mut body);
    }
    if let Some(held) = &deletions.held {
        holds(held, acts, now, &mut body);
    }
    calendar(deletions, now, &mut body);
    missing(deletions, now, &mut body);
    retained(deletions, now, &mut body);
    let tempo =
        if deletions.scheduled.is_empty() && deletions.missing.is_empty() { Tempo::Still } else { Tempo::Moving };
    Page { title: "Deletions", place: "/deletions", tempo, json: Some("/api/v1/deletions"), body }.render(now)
}

fn recovers(recovery: &RecoveryView, acts: bool, now: Timestamp, out: &mut Html) {
    let names: Vec<&str> = recovery.clients.iter().map(String::as_str).collect();
    out.put(format_args!(
        "<section class=\"held\" aria-labelledby=\"recovery\"><h2 id=\"recovery\">Recovery</h2>\n<p>{}</p>\n\
         <p class=\"soft\">Since {}. Taken back by their marks:</p>\n",
        text(&recovery.message),
        time(recovery.since, now)
    ));
    list(&names, out);
    let typed = recovery.hash.get(..TYPED_DIGITS).unwrap_or(&recovery.hash);
    let label = format!("Type the first {TYPED_DIGITS} digits of <code>{}</code>", text(&recovery.hash));
    approval("recovery", &recovery.hash, typed, &label, "End recovery", acts, out);
    out.put(format_args!("</section>\n"));
}

fn holds(held: &HeldSet, acts: bool, now: Timestamp, out: &mut Html) {
    let names: Vec<&str> = held.names.iter().map(String::as_str).collect();
    out.put(format_args!(
        "<section class=\"held\" aria-labelledby=\"held\"><h2 id=\"held\">{} held</h2>\n<p>{}</p>\n\
         <p class=\"soft\">Since {}, hash <code>{}</code>. To keep them, put their files back.</p>\n",
        counted(names.len(), "removal"),
        text(&held.reason),
        time(held.since, now),
        text(&held.hash)
    ));
    list(&names, out);
    let clients = counted(names.len(), "client");
    let label = format!("Type how many clients go: {}", names.len());
    let button = format!("Take {clients} down");
    approval("held", &held.hash, &names.len().to_string(), &label, &button, acts, out);
    out.put(format_args!("</section>\n"));
}

fn list(names: &[&str], out: &mut Html) {
    out.put(format_args!("<ul class=\"names\">"));
    for name in names {
        out.put(format_args!("<li><a href=\"/clients/{0}\">{0}</a></li>", text(name)));
    }
    out.put(format_args!("</ul>\n"));
}

/// The form is sent only when exactly that was typed. The hash it carries is the one this page shows: a set that changed
/// since is refused by the API.
fn approval(id: &str, hash: &str, typed: &str, label: &str, button: &str, acts: bool, out: &mut Html) {
    let command = format!("<pre>sitewright approve {}</pre>", text(hash));
    if !acts {
        out.put(format_args!(
            "<p class=\"soft\">This page only reads: no <code>apiToken</code> is set. From a terminal:</p>{command}\n"
        ));
        return;
    }
    out.put(format_args!(
        "<div class=\"needs-no-script\">{command}</div><form class=\"needs-script typed\" data-ask=\"/api/v1/deletions/approve\" data-typed=\"{}\">\
         <input type=\"hidden\" name=\"hash\" value=\"{}\"><label for=\"{id}-typed\">{label}</label>\
         <div class=\"row\"><input id=\"{id}-typed\" class=\"short\" data-confirm autocomplete=\"off\" spellcheck=\"false\" required>\
         <button class=\"danger\">{button}</button></div></form>\n",
        text(typed),
        text(hash),
    ));
}

fn calendar(deletions: &Deletions, now: Timestamp, out: &mut Html) {
    out.put(format_args!("<section aria-labelledby=\"calendar\"><h2 id=\"calendar\">Calendar</h2>\n"));
    if deletions.scheduled.is_empty() {
        out.put(format_args!("<p class=\"empty\">Nobody is on the way out.</p></section>\n"));
        return;
    }
    let mut scheduled: Vec<&Scheduled> = deletions.scheduled.iter().collect();
    scheduled.sort_by_key(|client| (client.site_removal_at, &client.name));
    out.put(format_args!("<ol class=\"calendar\">\n"));
    for client in scheduled {
        leaves(client, now, out);
    }
    out.put(format_args!("</ol></section>\n"));
}

fn leaves(client: &Scheduled, now: Timestamp, out: &mut Html) {
    let stop = |at: Option<Timestamp>, what: &str| {
        let class = if at.is_some_and(|at| at <= now) { "done" } else { "ahead" };
        let at = at.map_or_else(
            || "not known".to_owned(),
            |at| format!("{} <span class=\"soft\">{at:.0}</span>", time(at, now)),
        );
        format!("<li class=\"{class}\"><strong>{what}</strong> <span>{at}</span></li>")
    };
    let database = match client.database_policy {
        ReclaimPolicy::Retain => {
            "<li class=\"ahead\"><strong>Database kept</strong> <span>never dropped; its login is closed</span></li>"
                .to_owned()
        }
        ReclaimPolicy::Delete => {
            stop(client.database_drop_at, "Database dropped, after a dump that was restored on trial")
        }
    };
    let word = match client.phase {
        Phase::Terminating => "Terminating",
        _ => "Offline",
    };
    out.put(format_args!(
        "<li id=\"s-{name}\"><div class=\"name\"><h3><a href=\"/clients/{name}\">{name}</a></h3>{}</div>\n<ol class=\"stops\">{}{}{database}</ol>\n\
         <p class=\"undo\"><strong>To undo:</strong> {}.</p></li>\n",
        chip(Standing::Leaving, word),
        stop(Some(client.offline_since), "Offline"),
        stop(Some(client.site_removal_at), "Certificate, site and records removed"),
        text(&client.undo),
        name = text(&client.name),
    ));
}

fn missing(deletions: &Deletions, now: Timestamp, out: &mut Html) {
    if deletions.missing.is_empty() {
        return;
    }
    out.put(format_args!(
        "<section aria-labelledby=\"missing\"><h2 id=\"missing\">Not seen</h2><p class=\"soft\">Their files were not there; too few \
         complete scans say so yet, and nothing is done.</p>\n<ul>\n"
    ));
    for client in &deletions.missing {
        out.put(format_args!(
            "<li><a href=\"/clients/{0}\">{0}</a>: {1} without it, first {2}</li>\n",
            text(&client.name),
            counted(client.scans as usize, "complete scan"),
            time(client.since, now)
        ));
    }
    out.put(format_args!("</ul></section>\n"));
}

fn retained(deletions: &Deletions, now: Timestamp, out: &mut Html) {
    if deletions.retained.is_empty() {
        return;
    }
    out.put(format_args!(
        "<section aria-labelledby=\"kept\"><h2 id=\"kept\">Kept</h2><p class=\"soft\">What stays of clients that went; a spec of the \
         same name takes it up again.</p>\n<div class=\"card\"><table><caption class=\"unseen\">What was kept</caption><thead><tr>\
         <th scope=\"col\">Client</th><th scope=\"col\">What</th><th scope=\"col\">Where</th><th scope=\"col\">Since</th></tr></thead><tbody>\n"
    ));
    for kept in &deletions.retained {
        out.put(format_args!(
            "<tr><th scope=\"row\">{}</th><td data-label=\"What\">{:?}</td><td data-label=\"Where\">{} <code>{}</code></td><td data-label=\"Since\">{}</td></tr>\n",
            text(&kept.name),
            kept.kind,
            text(&kept.provider),
            text(&kept.id),
            time(kept.since, now)
        ));
    }
    out.put(format_args!("</tbody></table></div></section>\n"));
}
