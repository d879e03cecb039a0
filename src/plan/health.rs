//! Whether it is this client's site that answers, and its first administrator (decisions 21, 24, 25).

use std::time::Duration;

use crate::plan::change::{FieldChange, Op, PREREQUISITES, Step};
use crate::plan::draft::{Draft, Input, Stage, later};
use crate::plan::progress::Told;
use crate::resource::kind::{ResourceKind, ResourceRef};
use crate::resource::owned::{AdministratorState, Owned, Probe, ProbeOutcome};
use crate::resource::reading::{Reading, Wanted};
use crate::resource::uptime::Turn;

/// How soon a client without a certificate is looked at again for its administrator's sake.
const NO_TLS_LOOK: Duration = Duration::from_secs(60 * 60);

/// Health follows release and certificate.
pub fn plan(input: &Input<'_>, draft: &mut Draft<'_>, served: Stage) -> Stage {
    let Wanted::Value(site) = &input.desired.site else { return Stage::NotYet };
    let resource = site.piece(ResourceKind::Health, site.domain.as_str());
    let ever = input.owned.releases.live.is_some();
    if served == Stage::NotYet && !ever {
        return draft.wait(resource, PREREQUISITES, "the site is looked at once a release serves", None);
    }
    let until = Some(later(input.now, input.policy.deploy_poll.min(input.desired.health.interval)));
    match &input.observed.probe {
        Reading::Unknown { reason } => {
            draft.wait(resource, "NotLooked", format!("the site was not looked at yet ({reason})"), until)
        }
        Reading::Known(probe) if probe.https != input.desired.certificate => {
            draft.wait(resource, "NotLooked", "the site is looked at over https once its certificate is in use", until)
        }
        Reading::Known(probe) => judge(input, draft, resource, probe, until),
    }
}

fn judge(
    input: &Input<'_>,
    draft: &mut Draft<'_>,
    resource: ResourceRef,
    probe: &Probe,
    until: Option<jiff::Timestamp>,
) -> Stage {
    let path = &input.desired.health.path;
    match &probe.outcome {
        ProbeOutcome::CutOff => {
            draft.unknown(resource, "this machine reaches no provider and no site; look after its own network")
        }
        ProbeOutcome::Healthy => draft.settle(ResourceKind::Health, "Healthy", format!("{path} answers as it should")),
        ProbeOutcome::Unhealthy(what) => {
            draft.wait(resource, "Unhealthy", format!("{path} answers {what}; a 2xx is expected"), until)
        }
        ProbeOutcome::WrongSite(who) => draft.wait(
            resource,
            "WrongSite",
            format!("another site answers under this name ({who}); the virtual host is read again"),
            until,
        ),
        ProbeOutcome::Tls(what) => draft.wait(resource, "TlsFailed", format!("TLS does not verify: {what}"), until),
        ProbeOutcome::Unreachable(what) => draft.wait(resource, "Unreachable", format!("no answer: {what}"), until),
    }
}

/// Folds the newest look into the memory of looks; gives the begin or the end of an incident.
pub fn keep(owned: &mut Owned, interval: Duration) -> Option<Told> {
    let seen = owned.details.probe.as_ref()?;
    let cause = seen.value.outcome.cause()?;
    match owned.uptime.note(seen.at, cause.as_deref(), interval)? {
        Turn::Opened(incident) => Some(Told {
            reason: "IncidentOpened",
            message: format!("the site is down since {:.0}: {}", incident.began, incident.cause),
            warning: true,
        }),
        Turn::Closed(incident) => {
            let seconds = seen.at.duration_since(incident.began).as_secs().unsigned_abs();
            let lasted = humantime::format_duration(Duration::from_secs(seconds));
            let message = format!("the site is well again after {lasted}; it was down with {}", incident.cause);
            Some(Told { reason: "IncidentClosed", message, warning: false })
        }
    }
}

/// The first administrator, once, over https.
pub fn plan_administrator(input: &Input<'_>, draft: &mut Draft<'_>, healthy: Stage) -> Stage {
    let Some(admin) = &input.desired.admin else {
        return draft.settle(ResourceKind::Administrator, "NotRequested", "the spec names no administrator");
    };
    let resource =
        ResourceRef { kind: ResourceKind::Administrator, provider: "site".into(), name: admin.email.clone(), id: None };
    match &input.owned.administrator {
        AdministratorState::Made { email } if *email == admin.email => draft.settle(ResourceKind::Administrator, "Made", format!("{email} was made once")),
        AdministratorState::Made { email } => draft.settle(ResourceKind::Administrator, "Made", format!("{email} was made once; another address in the spec makes no second one, change it in the site's own panel")),
        AdministratorState::AlreadyThere => draft.settle(ResourceKind::Administrator, "AlreadyThere", "the site has an administrator already"),
        AdministratorState::Taken => draft.refuse(resource, "AdminTaken", "somebody made the first administrator of a database that was new; look who, then reset it in the site's database"),
        AdministratorState::NotMade | AdministratorState::Sent => {
            if !input.desired.certificate {
                // Only another spec moves this: a far look is enough.
                let until = Some(later(input.now, NO_TLS_LOOK));
                return draft.wait(resource, "NoTls", "the administrator is made over https only, and the spec asks for no certificate", until);
            }
            if healthy == Stage::NotYet {
                return draft.wait(resource, PREREQUISITES, "the administrator is made when the site is healthy over https", None);
            }
            let changes = vec![FieldChange::shown("email", None, Some(admin.email.clone())), FieldChange::masked("password")];
            draft.act(Op::Create, resource, changes, "the site has no administrator of ours", Step::RegisterAdministrator(admin.clone()))
        }
    }
}
