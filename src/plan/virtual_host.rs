//! The virtual host: it proxies to the client's port and answers the certificate authority's challenges.

use crate::plan::change::{Action, FieldChange, Op, Step};
use crate::plan::draft::{Draft, Input, Stage};
use crate::plan::{certificate, take_over};
use crate::resource::desired::DesiredSite;
use crate::resource::kind::ResourceKind;
use crate::resource::reading::Reading;
use crate::resource::site::Purpose;
use crate::resource::take_over::Difference;
use crate::resource::vhost::VirtualHost;

/// Every `proxy_pass` and the ACME root, then a reload that is proved by its exit code (decisions 19).
pub fn plan(input: &Input<'_>, draft: &mut Draft<'_>, wanted: &DesiredSite) -> Stage {
    let resource = wanted.piece(ResourceKind::VirtualHost, wanted.domain.as_str());
    let vhost = match &input.observed.vhost {
        Reading::Unknown { reason } => return draft.unknown(resource, reason),
        Reading::Known(vhost) => vhost,
    };
    if let Some(why) = input.run(Purpose::ReloadWebServer) {
        return draft.wait(resource, "Reloading", format!("the web server's reload runs ({why})"), None);
    }
    let root = wanted.acme_root();
    let rejected =
        input.owned.attempts.get(&ResourceKind::VirtualHost).is_some_and(|a| a.reason == "VirtualHostRejected");
    if rejected && let Some(text) = &input.owned.vhost_before {
        // Not held back by the failed attempt: the old text goes back before anything else can reload the web server.
        draft.plan.actions.push(Action {
            op: Op::Update,
            resource,
            changes: Vec::new(),
            reason: "the web server refused our edit; the old text goes back".into(),
            step: Step::RestoreVirtualHost { text: text.clone() },
        });
        return Stage::NotYet;
    }
    let served = input.observed.aliases.known().into_iter().flatten();
    let names = vhost.lacking(served.filter(|alias| wanted.aliases.contains(*alias)));
    if !vhost.is_right(wanted.port, &root) || !names.is_empty() {
        if let Some(stage) = leave(input, draft, wanted, vhost) {
            return stage;
        }
        if let Some(stage) = hold_port_switch(input, draft, wanted, vhost) {
            return stage;
        }
        let changes = vec![
            FieldChange::shown("proxy_pass", Some(format!("{:?}", vhost.ports)), Some(wanted.port.to_string())),
            FieldChange::shown("acme root", Some(format!("{:?}", vhost.acme_roots)), Some(root.clone())),
            FieldChange::shown("server_name", None, Some(format!("{names:?}"))),
        ];
        let differs = |change: &FieldChange| change.path != "server_name" || !names.is_empty();
        let changes = changes.into_iter().filter(differs).collect();
        return draft.act(
            Op::Update,
            resource,
            changes,
            "it proxies to another port, looks for challenges elsewhere, or leaves a name out",
            Step::MendVirtualHost { port: wanted.port, acme_root: root, names },
        );
    }
    if !input.owned.details.vhost_loaded {
        return draft.act(
            Op::Run,
            resource,
            Vec::new(),
            "the web server has not taken it in",
            Step::StartRun(Purpose::ReloadWebServer),
        );
    }
    draft.settle(ResourceKind::VirtualHost, "Ready", format!("{} goes to port {}", wanted.domain, wanted.port))
}

/// A virtual host that was taken over is left as it is, until a certificate needs its challenge directory.
fn leave(input: &Input<'_>, draft: &mut Draft<'_>, wanted: &DesiredSite, vhost: &VirtualHost) -> Option<Stage> {
    if certificate::is_due(input) && !take_over::is_open(input) {
        return None;
    }
    let aliases: Vec<&str> = wanted.aliases.iter().map(|alias| alias.as_str()).collect();
    let wanted_text = format!("{} {} {}", wanted.port, wanted.acme_root(), aliases.join(" "));
    let difference = Difference { wanted: wanted_text, seen: format!("{vhost:?}") };
    let resource = wanted.piece(ResourceKind::VirtualHost, wanted.domain.as_str());
    let sentence = "the virtual host has another port, challenge directory or name";
    take_over::accept(input, draft, resource, ResourceKind::VirtualHost.to_string(), difference, sentence)
}

/// Another port: the release that listens there comes first, the switch after it; until then the old one serves (decisions 31).
fn hold_port_switch(
    input: &Input<'_>,
    draft: &mut Draft<'_>,
    wanted: &DesiredSite,
    vhost: &VirtualHost,
) -> Option<Stage> {
    let live = input.owned.releases.live.as_ref()?;
    let environment = wanted.environment.value()?;
    let serves_elsewhere =
        vhost.ports.len() == 1 && !vhost.ports.contains(&wanted.port) && input.owned.details.vhost_loaded;
    if !serves_elsewhere || live.fingerprint.environment == environment.digest {
        return None;
    }
    Some(draft.settle(
        ResourceKind::VirtualHost,
        "PortSwitch",
        format!("goes to port {} once a release listens there", wanted.port),
    ))
}
