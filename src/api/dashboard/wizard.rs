//! `/new`: the wizard. A form whose answers travel as a query, so that it works, checks and downloads without a script too;
//! with one, every keystroke is checked. Nothing is written by looking at it.

use jiff::Timestamp;

use crate::api::dashboard::draft::{Answers, Draft};
use crate::api::dashboard::fields::{self, FIELDS, Field, Group, Input};
use crate::api::dashboard::frame::{Page, Tempo};
use crate::api::dashboard::html::{Html, counted, text};
use crate::api::dashboard::standing::{self, Standing};
use crate::api::view::ClientView;
use crate::spec::finding::Finding;

/// What the page needs to know besides the draft.
#[derive(Debug)]
pub struct Surroundings<'a> {
    /// Names of the features there are.
    pub features: Vec<&'a str>,
    /// The client of the draft's name, where there is one.
    pub client: Option<ClientView>,
    /// Completes a domain without a dot.
    pub base_domain: Option<&'a str>,
    /// Whether a spec may be saved from here.
    pub saves: bool,
}

/// The page.
pub fn render(answers: &Answers, draft: &Draft, around: &Surroundings<'_>, now: Timestamp) -> String {
    let mut body = Html::default();
    body.put(format_args!(
        "<div class=\"head\"><h1>New client</h1></div>\n<p class=\"sentence\">Fill in what is known; everything else has a default. \
         Nothing is written by filling in.</p>\n<div class=\"columns wizard\"><div class=\"wide\">\n\
         <form id=\"wizard\" class=\"wizard-form\" action=\"/new\" method=\"get\" data-live>\n"
    ));
    let shown: &[Finding] = if answers.is_empty() { &[] } else { &draft.findings };
    for group in Group::ALL {
        body.put(format_args!("<fieldset><legend>{}</legend>\n", group.title()));
        FIELDS
            .iter()
            .filter(|field| field.group == group)
            .for_each(|one| field(one, answers, shown, around, &mut body));
        if group == Group::Site {
            features(answers, around, &mut body);
        }
        body.put(format_args!("</fieldset>\n"));
    }
    body.put(format_args!(
        "<p class=\"needs-no-script\"><button>Check</button></p></form></div>\n<div class=\"narrow\"><div class=\"sticky\" id=\"draft\">\n"
    ));
    verdict(answers, draft, shown, around, &mut body);
    body.put(format_args!("</div></div></div>\n"));
    Page { title: "New client", place: "/new", tempo: Tempo::OnInput, json: None, body }.render(now)
}

fn field(field: &Field, answers: &Answers, findings: &[Finding], around: &Surroundings<'_>, out: &mut Html) {
    let id = field.name;
    let value = answers.get(id).unwrap_or_default();
    let found: Vec<&Finding> = findings.iter().filter(|finding| field.is_about(&finding.path)).collect();
    let problem = if found.is_empty() { "" } else { " aria-invalid=\"true\"" };
    let describe = format!(" aria-describedby=\"{id}-help {id}-problem\"{problem}");
    let required = if field.required { " required" } else { "" };
    out.put(format_args!("<div class=\"field\" id=\"{id}-field\">"));
    if let Input::Check = field.input {
        let checked = if value.is_empty() { "" } else { " checked" };
        out.put(format_args!(
            "<label class=\"check\"><input type=\"checkbox\" id=\"{id}\" name=\"{id}\" value=\"yes\"{checked}{describe}> {}</label>",
            field.label
        ));
    } else {
        let optional = if field.required { "" } else { " <span class=\"soft\">optional</span>" };
        out.put(format_args!("<label for=\"{id}\">{}{optional}</label>", field.label));
        match field.input {
            Input::Line => out.put(format_args!(
                "<input id=\"{id}\" name=\"{id}\" value=\"{}\" autocomplete=\"off\" spellcheck=\"false\" maxlength=\"{}\"{required}{describe}>",
                text(value),
                fields::LINE_CHARS_MAX
            )),
            Input::Lines => out.put(format_args!(
                "<textarea id=\"{id}\" name=\"{id}\" rows=\"3\" autocomplete=\"off\" spellcheck=\"false\"{describe}>{}</textarea>",
                text(value)
            )),
            Input::Choice(choices) => choice(id, choices, value, &describe, out),
            Input::Check => {}
        }
    }
    let base = around.base_domain.filter(|_| id == "domain");
    let base = base.map(|base| format!(" Without a dot, .{} is added.", text(base))).unwrap_or_default();
    out.put(format_args!(
        "<p class=\"help\" id=\"{id}-help\">{}{base}</p><p class=\"problem\" id=\"{id}-problem\">",
        field.help
    ));
    for finding in &found {
        out.put(format_args!("{} ", text(&sentence(finding))));
    }
    out.put(format_args!("</p></div>\n"));
}

fn choice(id: &str, choices: &[(&str, &str)], value: &str, describe: &str, out: &mut Html) {
    out.put(format_args!("<select id=\"{id}\" name=\"{id}\"{describe}>"));
    for (key, label) in choices {
        let chosen = if *key == value { " selected" } else { "" };
        out.put(format_args!("<option value=\"{key}\"{chosen}>{label}</option>"));
    }
    out.put(format_args!("</select>"));
}

fn sentence(finding: &Finding) -> String {
    match &finding.help {
        Some(help) => format!("{}; {help}", finding.message),
        None => finding.message.clone(),
    }
}

fn features(answers: &Answers, around: &Surroundings<'_>, out: &mut Html) {
    let chosen: Vec<&str> = answers.all("features").collect();
    out.put(format_args!(
        "<details id=\"features\"><summary>Features <span class=\"soft\">{} of {} on</span></summary>\
         <p class=\"help\">Every feature that is not on is switched off.</p><div class=\"checks\" role=\"group\" aria-label=\"Features\">\n",
        chosen.len(),
        around.features.len()
    ));
    for feature in &around.features {
        let checked = if chosen.contains(feature) { " checked" } else { "" };
        let name = text(feature);
        out.put(format_args!(
            "<label class=\"check\"><input type=\"checkbox\" name=\"features\" value=\"{name}\"{checked}> {name}</label>\n"
        ));
    }
    out.put(format_args!("</div></details>\n"));
}

fn verdict(answers: &Answers, draft: &Draft, shown: &[Finding], around: &Surroundings<'_>, out: &mut Html) {
    out.put(format_args!("<h2>The spec</h2>\n"));
    // First, so that nothing under a finger moves while the text below grows.
    buttons(answers, draft, shown, around, out);
    out.put(format_args!("<div id=\"verdict\" role=\"status\">"));
    if answers.is_empty() {
        out.put(format_args!("<p class=\"soft\">A name and a domain are enough.</p>"));
    } else if draft.in_force {
        follow(around, out);
    } else if shown.is_empty() {
        out.put(format_args!("<p>{} Every rule is kept.</p>", standing::chip(Standing::Ready, "Valid")));
    } else {
        let count = counted(shown.len(), "mistake");
        out.put(format_args!("<p>{} {count}.</p><ul>", standing::chip(Standing::Broken, "Not valid")));
        for finding in shown {
            let path =
                if finding.path.is_empty() { String::new() } else { format!("<code>{}</code>: ", text(&finding.path)) };
            out.put(format_args!("<li>{path}{}</li>", text(&sentence(finding))));
        }
        out.put(format_args!("</ul>"));
    }
    out.put(format_args!(
        "</div>\n<pre class=\"spec\" id=\"spec\" tabindex=\"0\" role=\"region\" aria-label=\"Text of the spec\">{}</pre>\n\
         <div id=\"plan-place\" data-keep aria-live=\"polite\"></div>\n",
        text(&draft.text)
    ));
}

fn buttons(answers: &Answers, draft: &Draft, shown: &[Finding], around: &Surroundings<'_>, out: &mut Html) {
    let file = draft.name.as_ref().map_or_else(|| "client.yaml".to_owned(), |name| format!("{name}.yaml"));
    let query = answers.query();
    let query = text(&query);
    out.put(format_args!(
        "<div class=\"row\"><button type=\"button\" class=\"needs-script\" data-copy=\"spec\">Copy</button>\
         <a class=\"button\" href=\"/new.yaml?{query}\" download=\"{file}\">Download</a>"
    ));
    let is_good = shown.is_empty() && !answers.is_empty() && !draft.in_force;
    if is_good {
        out.put(format_args!(
            "<a class=\"button\" href=\"/new/plan?{query}\" data-fetch=\"plan-place\">Show the plan</a>"
        ));
    }
    if is_good && around.saves {
        out.put(format_args!(
            "<form class=\"needs-script\" data-ask=\"/api/v1/specs\"><input type=\"hidden\" name=\"text\" value=\"{}\">\
             <button class=\"primary\">Save as {file}</button></form>",
            text(&draft.text)
        ));
    }
    out.put(format_args!("</div>\n"));
}

/// The draft was saved and taken up: how the client stands, while it comes to be.
fn follow(around: &Surroundings<'_>, out: &mut Html) {
    let Some(client) = &around.client else { return };
    let name = text(&client.name);
    out.put(format_args!(
        "<p>This spec is in force. <a href=\"/clients/{name}\">{name}</a> {}</p><p id=\"follow\">{}</p>",
        standing::phase(client),
        text(&client.message)
    ));
}
