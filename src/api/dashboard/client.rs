//! `/clients/{name}`: one client: the one sentence, every condition, what is its own, what was deployed, what happened.

use jiff::Timestamp;

use crate::api::dashboard::actions;
use crate::api::dashboard::frame::{Page, Tempo};
use crate::api::dashboard::history;
use crate::api::dashboard::html::{Html, absent, breakable, lasting, link, text, time, time_or};
use crate::api::dashboard::panels::Panels;
use crate::api::dashboard::standing::{self, Standing};
use crate::api::dashboard::subject::Subject;
use crate::api::moment::took;
use crate::api::view::ClientView;
use crate::status::{Condition, ConditionType, Truth};
use crate::store::history::DeploymentState;

/// Incidents that are shown, the newest.
const INCIDENTS_SHOWN: usize = 5;

/// The page.
pub fn render(subject: &Subject, panels: &Panels, now: Timestamp) -> String {
    let client = &subject.client;
    let mut body = Html::default();
    head(subject, now, &mut body);
    body.put(format_args!("<div class=\"columns\"><div class=\"wide\">\n"));
    conditions(client, now, &mut body);
    history::deployments(subject, now, &mut body);
    plan(client, &mut body);
    history::pass(subject, now, &mut body);
    history::events(&subject.events, now, &mut body);
    body.put(format_args!("</div>\n<div class=\"narrow\">\n"));
    actions::section(subject, &mut body);
    facts(subject, now, &mut body);
    health(client, now, &mut body);
    resources(subject, panels, &mut body);
    body.put(format_args!("</div></div>\n"));
    let json = format!("/api/v1/clients/{}", client.name);
    Page { title: &client.name, place: "/clients", tempo: tempo(subject), json: Some(&json), body }.render(now)
}

fn tempo(subject: &Subject) -> Tempo {
    if subject.deployments.iter().any(|one| one.state == DeploymentState::Running) {
        return Tempo::Running;
    }
    let settled = matches!(Standing::shown(&subject.client), Standing::Ready | Standing::Paused | Standing::Broken);
    if settled { Tempo::Still } else { Tempo::Moving }
}

fn head(subject: &Subject, now: Timestamp, out: &mut Html) {
    let client = &subject.client;
    let domain = match (&client.url, &client.domain) {
        (Some(url), Some(domain)) => link(url, domain),
        _ => "its domain is not known: its spec cannot be read".to_owned(),
    };
    let running = subject.deployments.iter().find(|one| one.state == DeploymentState::Running);
    let log = running.map(|one| format!(" · <a href=\"/deployments/{}\">log of release {}</a>", one.id, one.number));
    let log = log.unwrap_or_default();
    out.put(format_args!(
        "<p class=\"crumbs\"><a href=\"/\">Fleet</a></p>\n<div class=\"head\"><h1>{}</h1>{}</div>\n\
         <p class=\"domain\">{domain}{log}</p>\n<p class=\"sentence\" id=\"sentence\">{}</p>\n",
        breakable(&client.name),
        standing::phase(client),
        text(&client.message),
    ));
    if let Some(pause) = &client.pause {
        let until =
            pause.until.map_or_else(|| "until somebody resumes it".to_owned(), |at| format!("until {}", time(at, now)));
        out.put(format_args!(
            "<p class=\"notice paused\"><strong>Paused {until}.</strong> <span>{}, set {}</span></p>\n",
            text(&pause.reason),
            time(pause.since, now)
        ));
    }
    if let Some(pin) = &subject.pin {
        let until = pin.until.map(|at| format!(", or {}", time(at, now))).unwrap_or_default();
        out.put(format_args!(
            "<p class=\"notice paused\"><strong>Rolled back to release {}.</strong> <span>{}, set {}; it holds until \
             <code>spec.source</code> changes or a redeploy{until}.</span></p>\n",
            pin.number,
            text(&pin.reason),
            time(pin.since, now)
        ));
    }
}

fn conditions(client: &ClientView, now: Timestamp, out: &mut Html) {
    out.put(format_args!("<section aria-labelledby=\"conditions\"><h2 id=\"conditions\">Conditions</h2>\n"));
    if client.conditions.is_empty() {
        out.put(format_args!("<p class=\"empty\">Not known yet: no pass has looked at it.</p></section>\n"));
        return;
    }
    out.put(format_args!("<ol class=\"steps\">\n"));
    for condition in &client.conditions {
        step(client, condition, now, out);
    }
    out.put(format_args!("</ol></section>\n"));
}

/// `Reconciling`, `Stalled`, `Paused`, `Terminating`: true is the unusual case.
fn is_unusual(kind: ConditionType) -> bool {
    kind != ConditionType::Ready && !ConditionType::SUMMED.contains(&kind)
}

fn step(client: &ClientView, condition: &Condition, now: Timestamp, out: &mut Html) {
    let old = condition.observed_generation < client.generation;
    let old = if old { format!(", of generation {}", condition.observed_generation) } else { String::new() };
    out.put(format_args!(
        "<li id=\"k-{kind:?}\"><strong>{kind:?}</strong><div><p>{message}</p>\
         <p class=\"soft\"><code>{reason}</code> for {lasting}{old}</p></div>{chip}</li>\n",
        kind = condition.kind,
        message = text(&condition.message),
        reason = text(&condition.reason),
        lasting = lasting(condition.last_transition_time, now),
        chip = verdict(condition),
    ));
}

/// The chip of a condition. Work under way is no mishap, nor is a pause that a person set; what is unusual and not so is
/// nothing to look at.
fn verdict(condition: &Condition) -> String {
    let is_true = condition.status == Truth::True;
    let standing = match condition.kind {
        ConditionType::Stalled if is_true => Standing::Broken,
        ConditionType::Reconciling if is_true => Standing::Waiting,
        ConditionType::Paused | ConditionType::Terminating if is_true => Standing::Paused,
        kind if is_unusual(kind) && condition.status == Truth::False => {
            return "<span class=\"chip\">False</span>".into();
        }
        _ if is_true => Standing::Ready,
        _ => Standing::Waiting,
    };
    standing::chip(standing, &format!("{:?}", condition.status))
}

/// A plan is a fresh look that spends calls, so it is made when somebody asks for it.
fn plan(client: &ClientView, out: &mut Html) {
    let name = text(&client.name);
    out.put(format_args!(
        "<section aria-labelledby=\"plan-title\"><h2 id=\"plan-title\">Plan</h2>\
         <p class=\"soft\">What would be done now, by a fresh look at the providers. It spends calls and writes nothing.</p>\
         <p><a class=\"button\" href=\"/clients/{name}/plan\" data-fetch=\"plan-place\">Show the plan</a></p>\
         <div id=\"plan-place\" data-keep aria-live=\"polite\"></div></section>\n"
    ));
}

fn facts(subject: &Subject, now: Timestamp, out: &mut Html) {
    let client = &subject.client;
    let labels: Vec<String> = client.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let or = |value: Option<String>, none: &str| {
        value.map_or_else(|| absent(none), |value| format!("<code>{}</code>", text(&value)))
    };
    let generation = match client.observed_generation == client.generation {
        true => format!("{}, planned", client.generation),
        false => format!("{}; {} was planned", client.generation, client.observed_generation),
    };
    let rows = [
        ("Generation", generation),
        ("Next look", time_or(client.next_attempt, now, "none is set")),
        ("Port", or(client.port.map(|port| port.to_string()), "none is given out yet")),
        ("Server", or(subject.server.clone(), "not known yet")),
        ("Spec file", or(client.file.clone(), "none was accepted yet")),
        ("Labels", or(Some(labels.join(" ")).filter(|text| !text.is_empty()), "none")),
        ("uid", format!("<code>{}</code>", text(&client.uid))),
    ];
    out.put(format_args!("<section aria-labelledby=\"facts\"><h2 id=\"facts\">Facts</h2><dl class=\"facts\">\n"));
    for (name, value) in rows {
        out.put(format_args!("<div><dt>{name}</dt><dd>{value}</dd></div>\n"));
    }
    out.put(format_args!("</dl></section>\n"));
}

/// How its site answered over time.
fn health(client: &ClientView, now: Timestamp, out: &mut Html) {
    out.put(format_args!("<section aria-labelledby=\"health\"><h2 id=\"health\">Health</h2>\n"));
    let Some(health) = &client.health else {
        out.put(format_args!("<p class=\"empty\">Not known: nobody looked at the site yet.</p></section>\n"));
        return;
    };
    let share =
        |share: Option<f64>| share.map_or_else(|| absent("not watched"), |share| format!("{:.2} %", share * 100.0));
    let rows = [
        ("Well in a day", share(health.uptime_24h)),
        ("In 7 days", share(health.uptime_7d)),
        ("In 30 days", share(health.uptime_30d)),
        ("Newest look", time(health.looked_at, now)),
        ("Certificate ends", time_or(health.certificate_expires_at, now, "not known")),
    ];
    out.put(format_args!("<dl class=\"facts\">\n"));
    for (name, value) in rows {
        out.put(format_args!("<div><dt>{name}</dt><dd>{value}</dd></div>\n"));
    }
    out.put(format_args!("</dl>\n"));
    if !health.incidents.is_empty() {
        out.put(format_args!("<h3>Incidents</h3><ul class=\"resources\">\n"));
    }
    for incident in health.incidents.iter().take(INCIDENTS_SHOWN) {
        let lasted = match incident.ended {
            Some(ended) => format!("for {}", took(incident.began, ended)),
            None => standing::chip(Standing::Broken, "lasts"),
        };
        let began = time(incident.began, now);
        out.put(format_args!("<li>{} <span class=\"soft\">{began}, {lasted}</span></li>\n", text(&incident.cause)));
    }
    if !health.incidents.is_empty() {
        out.put(format_args!("</ul>\n"));
    }
    out.put(format_args!("</section>\n"));
}

fn resources(subject: &Subject, panels: &Panels, out: &mut Html) {
    out.put(format_args!("<section aria-labelledby=\"resources\"><h2 id=\"resources\">Resources</h2>\n"));
    if subject.client.resources.is_empty() {
        out.put(format_args!("<p class=\"empty\">Nothing is its own at the providers yet.</p></section>\n"));
        return;
    }
    out.put(format_args!("<ul class=\"resources\">\n"));
    for resource in &subject.client.resources {
        let panel = panels.address(resource, subject.server.as_deref());
        let panel = panel.map(|url| {
            let label = format!("in {}’s panel", resource.provider);
            format!(" {}", link(&url, &label))
        });
        out.put(format_args!(
            "<li><strong>{:?}</strong> <span class=\"mono\">{}</span><span class=\"soft\">{} <code>{}</code>{}</span></li>\n",
            resource.kind,
            breakable(&resource.name),
            text(&resource.provider),
            text(&resource.id),
            panel.unwrap_or_default(),
        ));
    }
    out.put(format_args!("</ul></section>\n"));
}
