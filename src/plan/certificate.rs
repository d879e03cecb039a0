//! Certificates: the whole name set, an active one looked for first, ordered after the authoritative answer (decisions 17, 20).

use std::collections::BTreeSet;

use crate::plan::change::{FieldChange, Op, PREREQUISITES, Step};
use crate::plan::draft::{Draft, Input, Stage, later};
use crate::resource::certificate::{Certificate, CertificateStatus};
use crate::resource::desired::DesiredSite;
use crate::resource::kind::ResourceKind;
use crate::resource::name::HostName;
use crate::resource::reading::{Live, Reading, Wanted};
use crate::resource::site::{Piece, SiteStatus};

/// At most one order a day for names that arrive later: Let's Encrypt limits duplicates (contracts/ploi.md 6.10).
const WIDEN_PAUSE: std::time::Duration = std::time::Duration::from_secs(24 * 60 * 60);

/// Plans the certificate.
pub fn plan(input: &Input<'_>, draft: &mut Draft<'_>, site_ready: Stage, dns: Stage) -> Stage {
    if !input.desired.certificate {
        return draft.settle(ResourceKind::Certificate, "NotRequested", "the spec asks for no certificate");
    }
    let Wanted::Value(site) = &input.desired.site else { return Stage::NotYet };
    if !site.pieces.contains(&Piece::Certificate) {
        return draft.settle(ResourceKind::Certificate, "ByHost", "the host makes certificates by itself");
    }
    let resource = site.piece(ResourceKind::Certificate, site.domain.as_str());
    if site_ready == Stage::NotYet {
        return draft.wait(resource, PREREQUISITES, "the certificate waits for the site", None);
    }
    let found = match &input.observed.certificates {
        Reading::Unknown { reason } => return draft.unknown(resource, reason),
        Reading::Known(found) => found,
    };
    let names = wanted_names(input, site);
    let serving = best(input, found, site, &names);
    if let Some(live) = serving
        && (live.value.names.is_superset(&names) || !may_widen(input, live))
    {
        return settle(input, draft, site, live, &names);
    }
    if let Some(order) = &input.owned.order {
        return draft.wait(
            resource,
            "Ordered",
            format!("a certificate for {} was ordered at {:.0}", join(&order.names), order.at),
            Some(later(input.now, input.policy.deploy_poll)),
        );
    }
    if found.iter().any(|live| matches!(live.value.status, CertificateStatus::Pending(_))) {
        return draft.wait(
            resource,
            "Ordered",
            "the host is getting a certificate",
            Some(later(input.now, input.policy.deploy_poll)),
        );
    }
    let valid = found.iter().any(|live| {
        live.value.status == CertificateStatus::Active
            && live.value.names.contains(&site.domain)
            && live.value.expires_at.is_some_and(|end| end > input.now)
    });
    order(input, draft, site, names, dns, valid)
}

/// Whether one is wanted and none is in use that covers what it should.
pub fn is_due(input: &Input<'_>) -> bool {
    let (Wanted::Value(site), Reading::Known(found)) = (&input.desired.site, &input.observed.certificates) else {
        return false;
    };
    let names = wanted_names(input, site);
    let covers = |live: &Live<Certificate>| live.value.names.is_superset(&names) || !may_widen(input, live);
    input.desired.certificate && !best(input, found, site, &names).is_some_and(covers)
}

fn order(
    input: &Input<'_>,
    draft: &mut Draft<'_>,
    site: &DesiredSite,
    names: BTreeSet<HostName>,
    dns: Stage,
    serving: bool,
) -> Stage {
    let resource = site.piece(ResourceKind::Certificate, site.domain.as_str());
    if dns == Stage::NotYet {
        return draft.wait(resource, PREREQUISITES, "the certificate waits for the name servers", None);
    }
    if let Some(alias) = names.iter().find(|name| **name != site.domain && !is_served(input, site, name)) {
        // One name without its directory fails the whole order, and failures are counted at the authority.
        return draft.wait(resource, PREREQUISITES, format!("the certificate waits for the alias {alias}"), None);
    }
    let vhost = input.observed.vhost.known().is_some_and(|vhost| vhost.is_right(site.port, &site.acme_root()));
    if !vhost || !input.owned.details.vhost_loaded {
        return draft.wait(
            resource,
            PREREQUISITES,
            "the certificate waits for the virtual host's challenge directory",
            None,
        );
    }
    if input.observed.site.known().and_then(Option::as_ref).is_none_or(|live| !live.value.status.is_idle())
        || is_written_now(draft)
    {
        return draft.wait(
            resource,
            "SiteBusy",
            "the certificate is ordered when the site is idle",
            Some(later(input.now, input.policy.deploy_poll)),
        );
    }
    let reason = if serving { "it ends soon, or a name is missing from it" } else { "no certificate covers the names" };
    let changes = vec![FieldChange::shown("names", None, Some(join(&names)))];
    let op = if serving { Op::Update } else { Op::Create };
    let stage = draft.act(op, resource, changes, reason, Step::OrderCertificate { root: site.domain.clone(), names });
    // A certificate that still serves is no reason to call the client broken.
    if serving {
        draft.settle(ResourceKind::Certificate, "Renewing", "the certificate in use is valid; a new one is ordered")
    } else {
        stage
    }
}

/// One asynchronous write of a site at a time: a deploy planned in this very pass goes first.
fn is_written_now(draft: &Draft<'_>) -> bool {
    draft.plan.actions.iter().any(|action| matches!(action.step, Step::Deploy { .. } | Step::InstallRepository(_)))
}

/// The domain and the aliases that point here now.
fn wanted_names(input: &Input<'_>, site: &DesiredSite) -> BTreeSet<HostName> {
    let mut names: BTreeSet<HostName> = site.aliases.clone();
    if let Reading::Known(server) = &input.observed.server {
        for alias in crate::plan::dns::aliases_not_pointing(input, std::net::IpAddr::V4(server.address)) {
            names.remove(&alias);
        }
    }
    // What the host refuses to serve stands in nobody's way.
    if input.owned.attempts.get(&ResourceKind::Alias).is_some_and(|attempt| attempt.permanent) {
        names.retain(|alias| is_served(input, site, alias));
    }
    names.insert(site.domain.clone());
    names
}

/// Whether the host serves an alias; a host without that piece serves what it is given.
fn is_served(input: &Input<'_>, site: &DesiredSite, alias: &HostName) -> bool {
    !site.pieces.contains(&Piece::Alias) || input.observed.aliases.known().is_some_and(|served| served.contains(alias))
}

/// The active certificate that covers most and lasts longest, not counting those that must be renewed now.
fn best<'a>(
    input: &Input<'_>,
    found: &'a [Live<Certificate>],
    site: &DesiredSite,
    names: &BTreeSet<HostName>,
) -> Option<&'a Live<Certificate>> {
    let horizon = later(input.now, input.policy.renew_before);
    found
        .iter()
        .filter(|live| live.value.status == CertificateStatus::Active && live.value.names.contains(&site.domain))
        .filter(|live| live.value.custom || live.value.expires_at.is_none_or(|end| end > horizon))
        .max_by_key(|live| (live.value.names.is_superset(names), live.value.expires_at))
}

fn may_widen(input: &Input<'_>, live: &Live<Certificate>) -> bool {
    if live.value.custom {
        return false;
    }
    let ordered = input.owned.resources.iter().filter(|r| r.kind == ResourceKind::Certificate).map(|r| r.since).max();
    ordered.is_none_or(|at| later(at, WIDEN_PAUSE) <= input.now)
}

fn settle(
    input: &Input<'_>,
    draft: &mut Draft<'_>,
    site: &DesiredSite,
    live: &Live<Certificate>,
    names: &BTreeSet<HostName>,
) -> Stage {
    let end =
        live.value.expires_at.map_or_else(|| "an unknown day".to_owned(), |end| end.strftime("%Y-%m-%d").to_string());
    if live.value.custom && live.value.expires_at.is_some_and(|end| end <= later(input.now, input.policy.renew_before))
    {
        return draft.settle(
            ResourceKind::Certificate,
            "CustomExpiring",
            format!(
                "the uploaded certificate ends on {end} and the host does not renew it; upload another or remove it"
            ),
        );
    }
    let superseded = superseded(input, site, live);
    for old in &superseded {
        let mut resource = site.piece(ResourceKind::Certificate, &join(&old.value.names));
        resource.id = Some(old.id.to_string());
        draft.act(Op::Delete, resource, Vec::new(), "a newer one serves", Step::DeleteCertificate(old.id.clone()));
    }
    let uncovered: Vec<String> = names.difference(&live.value.names).map(ToString::to_string).collect();
    let tail = if uncovered.is_empty() {
        String::new()
    } else {
        format!("; {} follow with the next order", uncovered.join(", "))
    };
    draft.settle(ResourceKind::Certificate, "Issued", format!("covers {} until {end}{tail}", join(&live.value.names)))
}

/// Ours, older, and https already shows the newer one (decisions 20).
fn superseded<'a>(input: &Input<'a>, site: &DesiredSite, newer: &Live<Certificate>) -> Vec<&'a Live<Certificate>> {
    let shown = input.observed.probe.known().and_then(|probe| probe.certificate_expires_at);
    if shown.is_none()
        || shown != newer.value.expires_at
        || input.observed.site.known().and_then(Option::as_ref).is_none_or(|s| s.value.status == SiteStatus::Deploying)
    {
        return Vec::new();
    }
    let ours = |live: &&Live<Certificate>| {
        input.owned.resources.iter().any(|r| r.kind == ResourceKind::Certificate && r.id == live.id)
    };
    let Reading::Known(all) = &input.observed.certificates else { return Vec::new() };
    all.iter()
        .filter(|live| {
            live.id != newer.id
                && live.value.status == CertificateStatus::Active
                && live.value.names.contains(&site.domain)
        })
        .filter(ours)
        .collect()
}

fn join(names: &BTreeSet<HostName>) -> String {
    names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
