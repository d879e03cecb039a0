//! A plan as a diff: what would be made, changed and removed, what waits, what a rule forbids, what it costs.

use jiff::Timestamp;

use crate::api::dashboard::frame::{Page, Tempo};
use crate::api::dashboard::html::{Html, breakable, counted, text, time};
use crate::api::plan::{ActionView, ClientPlan, PlanDocument, PlannedResource};
use crate::plan::change::{FieldChange, Op};

/// The page of a client's plan; the live script takes `#plan-body` out of it.
pub fn render(name: &str, plan: &PlanDocument, now: Timestamp) -> String {
    let mut body = Html::default();
    let shown = text(name);
    body.put(format_args!(
        "<p class=\"crumbs\"><a href=\"/\">Fleet</a> / <a href=\"/clients/{shown}\">{shown}</a></p>\n<div class=\"head\"><h1>Plan of {shown}</h1></div>\n"
    ));
    body.put(format_args!("<h2 class=\"unseen\">What would be done now</h2>\n"));
    write(plan, now, &mut body);
    let title = format!("Plan of {name}");
    // A plan spends calls: it is never made again by itself.
    Page { title: &title, place: "/clients", tempo: Tempo::Once, json: None, body }.render(now)
}

/// The plan itself.
pub fn write(plan: &PlanDocument, now: Timestamp, out: &mut Html) {
    out.put(format_args!("<div id=\"plan-body\" class=\"plan\">\n"));
    if !plan.has_work() {
        out.put(format_args!("<p>Nothing to do: the world matches the spec.</p>\n"));
    }
    for client in &plan.clients {
        write_client(client, now, out);
    }
    cost(plan, out);
    out.put(format_args!("<p class=\"soft\">Plan <code>{}</code>, made {now:.0}.</p></div>\n", text(&plan.hash)));
}

fn write_client(client: &ClientPlan, now: Timestamp, out: &mut Html) {
    if !client.actions.is_empty() {
        out.put(format_args!("<ul class=\"diff\">\n"));
        client.actions.iter().for_each(|action| write_action(action, out));
        out.put(format_args!("</ul>\n"));
    }
    if !client.waiting.is_empty() {
        out.put(format_args!("<h3>Waits</h3><ul>\n"));
        for waiting in &client.waiting {
            let until = waiting.until.map(|at| format!(", looked at again {}", time(at, now))).unwrap_or_default();
            let named = resource(&waiting.resource);
            out.put(format_args!(
                "<li>{named}: {} <code>{}</code>{until}</li>\n",
                text(&waiting.message),
                text(&waiting.reason)
            ));
        }
        out.put(format_args!("</ul>\n"));
    }
    if !client.refused.is_empty() {
        out.put(format_args!("<h3>Refused</h3><ul>\n"));
        for refused in &client.refused {
            let named = resource(&refused.resource);
            out.put(format_args!(
                "<li>{named}: {} <code>{}</code></li>\n",
                text(&refused.message),
                text(&refused.reason)
            ));
        }
        out.put(format_args!("</ul>\n"));
    }
    if !client.accepted.is_empty() {
        out.put(format_args!("<h3>Left as it was found</h3><ul>\n"));
        for accepted in &client.accepted {
            out.put(format_args!("<li><strong>{:?}</strong>: {}</li>\n", accepted.kind, text(&accepted.message)));
        }
        out.put(format_args!("</ul>\n"));
    }
}

fn resource(resource: &PlannedResource) -> String {
    format!("<strong>{:?}</strong> <span class=\"mono\">{}</span>", resource.kind, breakable(&resource.name))
}

/// A sign as in a diff, and the word that it stands for.
fn sign(op: Op) -> (&'static str, &'static str) {
    match op {
        Op::Create | Op::Deploy | Op::Adopt => ("+", "made"),
        Op::Update | Op::Run => ("~", "changed"),
        Op::Delete => ("−", "gone"),
    }
}

fn write_action(action: &ActionView, out: &mut Html) {
    let (sign, class) = sign(action.op);
    out.put(format_args!(
        "<li class=\"{class}\"><p><span class=\"sign\" aria-hidden=\"true\">{sign}</span> {} {}: {}</p>",
        action.op.word(),
        resource(&action.resource),
        text(&action.reason)
    ));
    if !action.changes.is_empty() {
        out.put(format_args!(
            "<table class=\"changes\"><caption class=\"unseen\">Changes</caption><thead class=\"unseen\"><tr>\
            <th scope=\"col\">What</th><th scope=\"col\">Before</th><th scope=\"col\">After</th></tr></thead><tbody>"
        ));
        action.changes.iter().for_each(|change| write_change(change, out));
        out.put(format_args!("</tbody></table>"));
    }
    out.put(format_args!("</li>\n"));
}

fn write_change(change: &FieldChange, out: &mut Html) {
    let side = |tag: &str, value: &Option<String>| match value {
        Some(value) => format!("<{tag}>{}</{tag}>", text(value)),
        None => "<span class=\"unseen\">nothing</span>".to_owned(),
    };
    out.put(format_args!(
        "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td></tr>",
        breakable(&change.path),
        side("del", &change.from),
        side("ins", &change.to)
    ));
}

fn cost(plan: &PlanDocument, out: &mut Html) {
    if plan.cost.is_empty() {
        return;
    }
    out.put(format_args!("<p class=\"cost\"><strong>Cost:</strong> "));
    for (number, (provider, cost)) in plan.cost.iter().enumerate() {
        let comma = if number > 0 { ", " } else { "" };
        let calls = counted(usize::try_from(cost.calls).unwrap_or(usize::MAX), "call");
        out.put(format_args!("{comma}{}: {calls}, {} s at the account’s limit", text(provider), cost.seconds));
    }
    out.put(format_args!("</p>\n"));
}
