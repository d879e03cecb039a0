//! What a person can do about a client. Each form is a request of the API, sent by the live script with the token that the
//! person types; the same commands for a terminal stand beside them, for wherever no script or no token is.

use crate::api::dashboard::html::{Html, text};
use crate::api::dashboard::subject::Subject;
use crate::status::Phase;
use crate::store::history::{Deployment, DeploymentState};

/// Releases that are offered to go back to.
const OFFERED_MAX: usize = 20;

/// The section.
pub fn section(subject: &Subject, out: &mut Html) {
    let name = &subject.client.name;
    let leaves = matches!(subject.client.phase, Phase::Offline | Phase::Terminating);
    out.put(format_args!("<section class=\"actions\" aria-labelledby=\"actions\"><h2 id=\"actions\">Actions</h2>\n"));
    if subject.acts {
        out.put(format_args!("<div class=\"needs-script\">\n<div class=\"row\">"));
        plain(name, "reconcile", "Look now", "primary", out);
        if !leaves {
            plain(name, "deploy", "Redeploy", "", out);
        }
        if subject.client.pause.is_some() {
            plain(name, "resume", "Resume", "", out);
        }
        out.put(format_args!("</div>\n"));
        if !leaves {
            rollback(subject, out);
        }
        if subject.client.pause.is_none() {
            pause(name, out);
        }
        out.put(format_args!("</div>\n"));
    } else {
        out.put(format_args!(
            "<p class=\"soft\">This page only reads: no <code>apiToken</code> is set. The same from a terminal:</p>\n"
        ));
    }
    let class = if subject.acts { " class=\"needs-no-script\"" } else { "" };
    let name = text(name);
    out.put(format_args!(
        "<pre{class}>sitewright reconcile {name}\nsitewright deploy {name}\nsitewright rollback {name} --reason …\n\
         sitewright pause {name} --reason …\nsitewright resume {name}</pre>\n</section>\n"
    ));
}

fn plain(name: &str, verb: &str, label: &str, class: &str, out: &mut Html) {
    out.put(format_args!(
        "<form data-ask=\"/api/v1/clients/{}/{verb}\"><button class=\"{class}\">{label}</button></form>",
        text(name)
    ));
}

fn pause(name: &str, out: &mut Html) {
    out.put(format_args!(
        "<details id=\"pause\"><summary>Pause</summary><form data-ask=\"/api/v1/clients/{}/pause\">\
         <p class=\"soft\">Nothing is written for it until it is resumed; its site goes on.</p>\
         <label for=\"pause-reason\">Reason</label><input id=\"pause-reason\" name=\"reason\" required maxlength=\"500\" autocomplete=\"off\">\
         <label for=\"pause-for\">Ends by itself</label><select id=\"pause-for\" name=\"until\" data-span>\
         <option value=\"\">never</option><option value=\"3600\">in an hour</option><option value=\"14400\">in 4 hours</option>\
         <option value=\"86400\">in a day</option></select><button>Pause</button></form></details>\n",
        text(name)
    ));
}

/// What may be served again: it ended well, its commit is known, and it does not serve already.
fn offered(subject: &Subject) -> Vec<&Deployment> {
    let of_this_life = |one: &&Deployment| one.uid.as_str() == subject.client.uid;
    let well: Vec<&Deployment> = subject
        .deployments
        .iter()
        .filter(of_this_life)
        .filter(|one| one.state == DeploymentState::Succeeded && one.commit.is_some())
        .collect();
    let serving = well.first().map(|one| one.commit.clone());
    well.into_iter().filter(|one| Some(&one.commit) != serving.as_ref()).take(OFFERED_MAX).collect()
}

fn rollback(subject: &Subject, out: &mut Html) {
    let offered = offered(subject);
    out.put(format_args!("<details id=\"rollback\"><summary>Roll back</summary>"));
    if offered.is_empty() {
        out.put(format_args!(
            "<p class=\"soft\">No earlier release with another commit is remembered.</p></details>\n"
        ));
        return;
    }
    out.put(format_args!(
        "<form data-ask=\"/api/v1/clients/{}/rollback\">\
         <p class=\"soft\">The release is built again and holds until <code>spec.source</code> changes or a redeploy. \
         The database stays as it is.</p><label for=\"rollback-to\">Release</label><select id=\"rollback-to\" name=\"to\" data-number>",
        text(&subject.client.name)
    ));
    for one in offered {
        let commit = one.commit.as_deref().unwrap_or_default();
        let short = commit.get(..12).unwrap_or(commit);
        out.put(format_args!(
            "<option value=\"{0}\">#{0} {1} of {2:.0}</option>",
            one.number,
            text(short),
            one.finished_at.unwrap_or(one.started_at)
        ));
    }
    out.put(format_args!(
        "</select><label for=\"rollback-reason\">Reason</label>\
         <input id=\"rollback-reason\" name=\"reason\" required maxlength=\"500\" autocomplete=\"off\">\
         <button class=\"danger\">Roll back</button></form></details>\n"
    ));
}
