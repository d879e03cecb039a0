//! What was: deploys with how they ended, the newest pass step by step, events.

use jiff::Timestamp;

use crate::api::dashboard::html::{Html, absent, breakable, text, time, time_or};
use crate::api::dashboard::standing;
use crate::api::dashboard::subject::Subject;
use crate::api::moment::took;
use crate::status::{ConditionType, Truth};
use crate::store::history::{Deployment, DeploymentState, Write};
use crate::store::{Event, EventKind};

/// Deploys that a client's page shows; the API has the rest.
pub const DEPLOYMENTS_SHOWN: usize = 10;
/// Events that a client's page shows.
pub const EVENTS_SHOWN: usize = 30;

/// Deploys, newest first; the log of the one that runs, or of the newest where it failed.
pub fn deployments(subject: &Subject, now: Timestamp, out: &mut Html) {
    out.put(format_args!("<section aria-labelledby=\"deploys\"><h2 id=\"deploys\">Deployments</h2>\n"));
    if subject.deployments.is_empty() {
        out.put(format_args!("<p class=\"empty\">Nothing was deployed yet.</p></section>\n"));
        return;
    }
    if let (Some(newest), Some(log)) = (subject.deployments.first(), &subject.log) {
        let label = match newest.state {
            DeploymentState::Running => "Log of the deploy under way",
            _ => "Log of the newest deploy",
        };
        out.put(format_args!("<h3>{label}</h3>\n"));
        log_of(newest, log, out);
    }
    out.put(format_args!(
        "<div class=\"card\"><table>\n<caption class=\"unseen\">Deployments, newest first</caption><thead><tr><th scope=\"col\">Release</th>\
         <th scope=\"col\">Ended</th><th scope=\"col\">Commit</th><th scope=\"col\">Because</th><th scope=\"col\">Started</th>\
         <th scope=\"col\">Look after it</th></tr></thead>\n<tbody>\n"
    ));
    for one in subject.deployments.iter().take(DEPLOYMENTS_SHOWN) {
        deployment_row(one, now, out);
    }
    out.put(format_args!("</tbody></table></div></section>\n"));
}

fn deployment_row(one: &Deployment, now: Timestamp, out: &mut Html) {
    let reason = one.reason.as_deref().map(|reason| format!(" <code>{}</code>", text(reason))).unwrap_or_default();
    let lasted = one.finished_at.map(|end| format!(", took {}", took(one.started_at, end))).unwrap_or_default();
    out.put(format_args!(
        "<tr id=\"d-{id}\"><th scope=\"row\"><a href=\"/deployments/{id}\">#{number}</a></th><td data-label=\"Ended\">{state}{reason}</td>\
         <td data-label=\"Commit\">{commit}</td><td class=\"message\" data-label=\"Because\">{trigger}</td>\
         <td data-label=\"Started\">{started}{lasted}</td><td data-label=\"Look after it\">{health}</td></tr>\n",
        id = one.id,
        number = one.number,
        state = standing::deployment(one.state),
        commit = commit(one),
        trigger = text(&one.trigger),
        started = time(one.started_at, now),
        health = one.health.as_deref().map_or_else(|| absent("not looked at yet"), |health| text(health).to_string()),
    ));
}

/// The commit in twelve digits.
pub fn commit(one: &Deployment) -> String {
    one.commit.as_deref().map_or_else(
        || absent("not known"),
        |commit| format!("<code title=\"{}\">{}</code>", text(commit), text(commit.get(..12).unwrap_or(commit))),
    )
}

/// A log in its box. It can be scrolled by keys, so it takes the focus.
pub fn log_of(one: &Deployment, log: &str, out: &mut Html) {
    let runs = one.state == DeploymentState::Running;
    let said = match (log.is_empty(), runs) {
        (true, true) => "nothing was printed yet",
        (true, false) => "nothing was seen of its log",
        (false, _) => log,
    };
    let follow = if runs { " data-follow" } else { "" };
    out.put(format_args!(
        "<pre class=\"log\" id=\"log-{}\" tabindex=\"0\" role=\"region\" aria-label=\"Log of release {}\"{follow}>{}</pre>\n",
        one.id,
        one.number,
        text(said)
    ));
}

/// One line of the timeline.
enum Moment<'a> {
    Told(&'a Event),
    Wrote(&'a Write),
}

impl Moment<'_> {
    fn at(&self) -> Timestamp {
        match self {
            Moment::Told(event) => event.at,
            Moment::Wrote(write) => write.at,
        }
    }
}

/// The newest pass that did or told something, in the order in which it happened.
pub fn pass(subject: &Subject, now: Timestamp, out: &mut Html) {
    let Some(pass) = subject.events.iter().find_map(|event| event.reconcile.as_deref()) else { return };
    let told = subject.events.iter().filter(|event| event.reconcile.as_deref() == Some(pass)).map(Moment::Told);
    let wrote = subject.writes.iter().filter(|write| write.reconcile.as_deref() == Some(pass)).map(Moment::Wrote);
    let mut moments: Vec<Moment<'_>> = told.chain(wrote).collect();
    moments.sort_by_key(Moment::at);
    let runs = subject.client.condition(ConditionType::Reconciling).is_some_and(|it| it.status == Truth::True);
    let title = if runs { "The running work" } else { "The newest pass" };
    out.put(format_args!(
        "<section aria-labelledby=\"pass\"><h2 id=\"pass\">{title}</h2><p class=\"soft\">Pass <code>{}</code>, the same id as in \
         logs and <code>sitewright audit</code>.</p>\n<ol class=\"timeline\">\n",
        text(pass)
    ));
    for moment in &moments {
        match moment {
            Moment::Told(event) => event_line(event, now, out),
            Moment::Wrote(write) => write_line(write, now, out),
        }
    }
    out.put(format_args!("</ol></section>\n"));
}

fn write_line(write: &Write, now: Timestamp, out: &mut Html) {
    let (class, end) = match &write.failure {
        None => ("wrote", String::new()),
        Some(failure) => ("warning", format!(" <span class=\"bad\">{}</span>", text(failure))),
    };
    out.put(format_args!(
        "<li class=\"{class}\" id=\"w-{}\"><span class=\"soft\">{}</span> <strong>{} {:?}</strong> <span class=\"mono\">{}</span>: {}{end}</li>\n",
        write.id,
        time(write.at, now),
        text(&write.op),
        write.resource.kind,
        breakable(&write.resource.name),
        text(&write.reason),
    ));
}

fn event_line(event: &Event, now: Timestamp, out: &mut Html) {
    let (class, word) = match event.kind {
        EventKind::Normal => ("normal", ""),
        EventKind::Warning => ("warning", "<span class=\"unseen\">Warning: </span>"),
    };
    out.put(format_args!(
        "<li class=\"{class}\"><span class=\"soft\">{}</span> <strong>{word}{}</strong> {}</li>\n",
        time_or(Some(event.at), now, ""),
        text(&event.reason),
        text(&event.message),
    ));
}

/// Events, newest first.
pub fn events(events: &[Event], now: Timestamp, out: &mut Html) {
    out.put(format_args!("<section aria-labelledby=\"events\"><h2 id=\"events\">Events</h2>\n"));
    if events.is_empty() {
        out.put(format_args!("<p class=\"empty\">Nothing happened that is still kept.</p></section>\n"));
        return;
    }
    out.put(format_args!("<ol class=\"timeline\">\n"));
    for event in events.iter().take(EVENTS_SHOWN) {
        event_line(event, now, out);
    }
    out.put(format_args!("</ol></section>\n"));
}
