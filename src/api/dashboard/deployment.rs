//! `/deployments/{id}`: one deploy: what it was made of, what it printed, how it ended.

use jiff::Timestamp;

use crate::api::dashboard::frame::{Page, Tempo};
use crate::api::dashboard::history;
use crate::api::dashboard::html::{Html, absent, text, time, time_or};
use crate::api::dashboard::standing;
use crate::api::moment::took;
use crate::store::history::{Deployment, DeploymentKind, DeploymentState};

/// The page.
pub fn render(one: &Deployment, log: &str, now: Timestamp) -> String {
    let mut body = Html::default();
    let name = text(one.client.as_str());
    body.put(format_args!(
        "<p class=\"crumbs\"><a href=\"/\">Fleet</a> / <a href=\"/clients/{name}\">{name}</a></p>\n\
         <div class=\"head\"><h1>Release {}</h1>{}</div>\n<p class=\"sentence\">{}</p>\n",
        one.number,
        standing::deployment(one.state),
        ended(one),
    ));
    body.put(format_args!(
        "<div class=\"columns\"><div class=\"wide\"><section aria-labelledby=\"log\"><h2 id=\"log\">Log</h2>\n"
    ));
    history::log_of(one, log, &mut body);
    body.put(format_args!("</section>\n"));
    configuration(one, &mut body);
    body.put(format_args!("</div>\n<div class=\"narrow\">\n"));
    facts(one, now, &mut body);
    body.put(format_args!("</div></div>\n"));
    let tempo = if one.state == DeploymentState::Running { Tempo::Running } else { Tempo::Still };
    let title = format!("Release {} of {}", one.number, one.client);
    Page { title: &title, place: "/deployments", tempo, json: None, body }.render(now)
}

fn ended(one: &Deployment) -> String {
    let because = text(&one.trigger);
    match one.state {
        DeploymentState::Running => format!("It runs: {because}."),
        DeploymentState::Succeeded => format!("It ended well: {because}."),
        DeploymentState::Failed => {
            let reason = one.reason.as_deref().unwrap_or("the reason is not known");
            format!("It failed: <code>{}</code>. The release before it served on.", text(reason))
        }
        DeploymentState::Lost => "It left no trace at the host.".to_owned(),
    }
}

fn facts(one: &Deployment, now: Timestamp, out: &mut Html) {
    let kind = match one.kind {
        DeploymentKind::First => "the first",
        DeploymentKind::Update => "an update",
        DeploymentKind::Requested => "asked for by a person",
        DeploymentKind::Rollback => "a rollback",
    };
    let lasted = one.finished_at.map_or_else(|| absent("it has not ended"), |end| took(one.started_at, end));
    let rows = [
        ("Kind", kind.to_owned()),
        ("Because", text(&one.trigger).to_string()),
        ("Repository", format!("<code>{}</code>", text(&one.repository))),
        ("Branch", format!("<code>{}</code>", text(&one.branch))),
        ("Commit", history::commit(one)),
        ("Started", time(one.started_at, now)),
        ("Ended", time_or(one.finished_at, now, "it has not ended")),
        ("Took", lasted),
        (
            "Look after it",
            one.health.as_deref().map_or_else(|| absent("not looked at yet"), |health| text(health).to_string()),
        ),
        (
            "Pass",
            one.reconcile.as_deref().map_or_else(|| absent("not known"), |pass| format!("<code>{}</code>", text(pass))),
        ),
    ];
    out.put(format_args!("<section aria-labelledby=\"facts\"><h2 id=\"facts\">Facts</h2><dl class=\"facts\">\n"));
    for (name, value) in rows {
        out.put(format_args!("<div><dt>{name}</dt><dd>{value}</dd></div>\n"));
    }
    out.put(format_args!("</dl></section>\n"));
}

fn configuration(one: &Deployment, out: &mut Html) {
    out.put(format_args!(
        "<section aria-labelledby=\"configuration\"><h2 id=\"configuration\">Configuration</h2>\
         <p class=\"soft\">The site’s variables as they were sent; secrets are masked.</p>\n"
    ));
    if one.configuration.is_empty() {
        out.put(format_args!("<p class=\"empty\">Not known.</p></section>\n"));
        return;
    }
    out.put(format_args!("<dl class=\"variables\">\n"));
    for (name, value) in &one.configuration {
        out.put(format_args!("<div><dt><code>{}</code></dt><dd><code>{}</code></dd></div>\n", text(name), text(value)));
    }
    out.put(format_args!("</dl></section>\n"));
}
