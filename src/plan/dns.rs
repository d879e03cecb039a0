//! Records: type-exact, one address per name, marked, never somebody else's (decisions 12, 16-18).

use std::collections::{BTreeMap, BTreeSet};

use crate::plan::change::{FieldChange, Op, PREREQUISITES, Step};
use crate::plan::draft::{Draft, Input, Stage, later};
use crate::plan::take_over;
use crate::resource::certificate::CertificateStatus;
use crate::resource::desired::DesiredDns;
use crate::resource::kind::{ResourceKind, ResourceRef};
use crate::resource::name::HostName;
use crate::resource::owned::{MarkState, OwnedResource, Published};
use crate::resource::reading::{Live, Reading, Wanted};
use crate::resource::record::{Record, RecordChange, RecordKey, RecordType, Zone};
use crate::resource::take_over::Difference;

/// Plans the records, then waits until every name server shows them.
pub fn plan(input: &Input<'_>, draft: &mut Draft<'_>) -> Stage {
    let dns = match &input.desired.dns {
        Wanted::Missing { reason, message } => {
            return draft.refuse(record_ref("dns", input.desired.client.as_str(), None), reason, message);
        }
        Wanted::Value(None) => {
            return draft.settle(ResourceKind::Record, "NotManaged", "records are made by somebody else");
        }
        Wanted::Value(Some(dns)) => dns,
    };
    let domain = match dns.hosts.first() {
        Some(domain) => domain,
        None => return draft.settle(ResourceKind::Record, "NotManaged", "no host name is wanted"),
    };
    let (zones, found) = match (&input.observed.zones, &input.observed.records) {
        (Reading::Known(zones), Reading::Known(records)) => (zones, records),
        (Reading::Unknown { reason }, _) | (_, Reading::Unknown { reason }) => {
            return draft.unknown(record_ref(&dns.provider, domain.as_str(), None), reason);
        }
    };
    let Some(wanted) = wanted_records(input, draft, dns, zones, found) else { return Stage::NotYet };
    let before = draft.plan.actions.len() + draft.plan.refused.len() + draft.plan.waiting.len();
    let copied = plan_records(input, draft, dns, &wanted, found);
    if draft.plan.actions.len() + draft.plan.refused.len() + draft.plan.waiting.len() > before {
        return Stage::NotYet;
    }
    plan_propagation(input, draft, dns, zones, copied)
}

/// Every record that is wanted, with its zone; `None` while something it needs is not known.
fn wanted_records(
    input: &Input<'_>,
    draft: &mut Draft<'_>,
    dns: &DesiredDns,
    zones: &[Zone],
    found: &[(Zone, Live<Record>)],
) -> Option<Vec<(Zone, Record)>> {
    let domain = dns.hosts.first()?;
    let resource = record_ref(&dns.provider, domain.as_str(), None);
    if zone_of(zones, domain.as_str()).is_none() {
        draft.refuse(
            resource,
            "ZoneNotFound",
            format!(
                "no zone that the credential sees holds {domain}; add the zone at {} or set CLOUDFLARE_ZONE_ID",
                dns.provider
            ),
        );
        return None;
    }
    let server = match &input.observed.server {
        Reading::Known(server) => server,
        Reading::Unknown { reason } => {
            draft.unknown(resource, reason);
            return None;
        }
    };
    let already = |host: &HostName| {
        found.iter().any(|(_, live)| {
            live.value.name == host.as_str()
                && live.value.kind.is_address()
                && (live.mark.as_ref() == Some(&input.desired.mark) || input.desired.adopt.contains(live.id.as_str()))
        })
    };
    if !vhost_is_verified(input) && !already(domain) {
        draft.wait(
            resource,
            PREREQUISITES,
            "the address is published once the virtual host goes to this client's port",
            None,
        );
        return None;
    }
    let proxied = dns.proxied
        && (certificate_is_proved(input)
            || found.iter().any(|(_, live)| live.value.name == domain.as_str() && live.value.proxied));
    let mut wanted = Vec::new();
    for host in &dns.hosts {
        if let Some(zone) = zone_of(zones, host.as_str()) {
            wanted.push((
                zone.clone(),
                Record::new(host.as_str(), RecordType::A, &server.address.to_string(), dns.ttl, proxied, None),
            ));
        }
    }
    for record in &dns.records {
        match zone_of(zones, &record.name) {
            Some(zone) => wanted.push((zone.clone(), record.clone())),
            None => {
                draft.refuse(
                    record_ref(&dns.provider, &record.to_string(), None),
                    "ZoneNotFound",
                    format!("no zone that the credential sees holds {}", record.name),
                );
            }
        }
    }
    Some(wanted)
}

fn vhost_is_verified(input: &Input<'_>) -> bool {
    let Wanted::Value(site) = &input.desired.site else { return false };
    if !site.pieces.contains(&crate::resource::site::Piece::VirtualHost) {
        return true;
    }
    let right = input.observed.vhost.known().is_some_and(|vhost| vhost.is_right(site.port, &site.acme_root()));
    right && input.owned.details.vhost_loaded
}

/// Proxied only once the first certificate is active and was seen at the origin (decisions 16).
fn certificate_is_proved(input: &Input<'_>) -> bool {
    let active = input
        .observed
        .certificates
        .known()
        .is_some_and(|all| all.iter().any(|c| c.value.status == CertificateStatus::Active));
    active && input.observed.probe.known().is_some_and(|probe| probe.https && probe.certificate_expires_at.is_some())
}

/// Gives a sentence about each record that carries our mark and that we neither want nor ever made.
fn plan_records(
    input: &Input<'_>,
    draft: &mut Draft<'_>,
    dns: &DesiredDns,
    wanted: &[(Zone, Record)],
    found: &[(Zone, Live<Record>)],
) -> Vec<String> {
    let mut by_key: BTreeMap<(String, RecordKey), Vec<&Live<Record>>> = BTreeMap::new();
    for (zone, live) in found {
        by_key.entry((zone.id.to_string(), live.value.key())).or_default().push(live);
    }
    let mut kept = BTreeSet::new();
    for (zone, record) in wanted {
        let there = by_key.get(&(zone.id.to_string(), record.key())).map(Vec::as_slice).unwrap_or_default();
        if let Some(id) = plan_record(input, draft, dns, zone, record, there) {
            kept.insert(id);
        }
    }
    let mut copied = Vec::new();
    for (zone, live) in found.iter().filter(|(_, live)| !kept.contains(&live.id)) {
        if !input.owned.holds_record(live) {
            let has_our_mark = live.mark.as_ref() == Some(&input.desired.mark);
            copied.extend(has_our_mark.then(|| copied_mark(live)));
        } else if !is_contested(draft, live) {
            let change = RecordChange::Delete { id: live.id.clone(), from: live.value.clone() };
            let changes = vec![FieldChange::shown("content", Some(live.value.content.clone()), None)];
            draft.act(
                Op::Delete,
                record_ref(&dns.provider, &live.value.to_string(), Some(&live.id)),
                changes,
                "it is ours and no longer wanted",
                Step::ChangeRecord { zone: zone.clone(), change },
            );
        }
    }
    copied
}

fn copied_mark(live: &Live<Record>) -> String {
    format!(
        "{} {} (id {}) carries our mark and we did not make it: it is left alone; take the mark out of its comment, or remove it",
        live.value, live.value.content, live.id
    )
}

/// An address of ours stays while its name is in conflict: taking it away would make things worse.
fn is_contested(draft: &Draft<'_>, live: &Live<Record>) -> bool {
    draft.plan.refused.iter().any(|refused| {
        refused.resource.kind == ResourceKind::Record && refused.resource.name.ends_with(&live.value.name)
    })
}

/// One wanted record against what stands under its key; gives the id of the one that stays.
fn plan_record(
    input: &Input<'_>,
    draft: &mut Draft<'_>,
    dns: &DesiredDns,
    zone: &Zone,
    record: &Record,
    there: &[&Live<Record>],
) -> Option<crate::resource::name::RemoteId> {
    let mine = |live: &&&Live<Record>| live.mark.as_ref() == Some(&input.desired.mark);
    let is_named =
        |live: &Live<Record>| input.desired.adopt.contains(live.id.as_str()) || input.owned.holds_record(live);
    if let Some(foreign) = there.iter().find(|live| !mine(live) && !is_named(live)) {
        let resource = record_ref(&dns.provider, &record.to_string(), Some(&foreign.id));
        if was_ours(input, foreign) {
            draft.refuse(resource, "OwnershipLost", format!("{} {} (id {}) no longer carries our mark; put its comment back, or take it over with the annotation sitewright/adopt: \"{}\"", foreign.value, foreign.value.content, foreign.id, foreign.id));
        } else {
            draft.refuse(resource, "Conflict", format!("{} {} (id {}) exists and is not ours; remove it, or take it over with the annotation sitewright/adopt: \"{}\"", foreign.value, foreign.value.content, foreign.id, foreign.id));
        }
        return there.iter().find(mine).map(|live| live.id.clone());
    }
    let best = there
        .iter()
        .find(|live| live.value == *record && mine(live))
        .or_else(|| there.iter().find(mine))
        .or_else(|| there.first());
    let Some(live) = best else {
        if let Some(known) = young(input, record) {
            let until = draft.look_again(later(known.since, input.policy.settle));
            let resource = record_ref(&known.provider, &known.name, Some(&known.id));
            draft.wait(resource, "NotVisible", "it was made a moment ago and no listing shows it yet", Some(until));
            return None;
        }
        if leave(input, draft, dns, zone, record, None).is_some() {
            return None;
        }
        let changes = vec![FieldChange::shown("content", None, Some(record.content.clone()))];
        let step = Step::ChangeRecord { zone: zone.clone(), change: RecordChange::Create { to: record.clone() } };
        draft.create(
            &key_text(zone, record),
            record_ref(&dns.provider, &record.to_string(), None),
            changes,
            "there is no such record",
            step,
        );
        return None;
    };
    if !mine(&live) && take_over::is_open(input) && !was_ours(input, live) {
        let step = Step::Adopt { id: live.id.clone(), mark: MarkState::Pending };
        let resource = record_ref(&dns.provider, &live.value.to_string(), Some(&live.id));
        draft.act(Op::Adopt, resource, Vec::new(), "the annotation sitewright/adopt names it", step);
    }
    if !mine(&live) && leave(input, draft, dns, zone, record, Some(&live.value)).is_some() {
        return Some(live.id.clone());
    }
    if live.value != *record || !mine(&live) {
        let change = RecordChange::Update { id: live.id.clone(), from: live.value.clone(), to: record.clone() };
        draft.act(
            Op::Update,
            record_ref(&dns.provider, &record.to_string(), Some(&live.id)),
            record_changes(&live.value, record),
            "the record differs",
            Step::ChangeRecord { zone: zone.clone(), change },
        );
    } else if !was_ours(input, live) {
        // The answer to its create was lost: remembered, a mark that goes missing later is told from a stranger's record.
        draft.act(
            Op::Adopt,
            record_ref(&dns.provider, &record.to_string(), Some(&live.id)),
            Vec::new(),
            "it carries our mark",
            Step::Adopt { id: live.id.clone(), mark: MarkState::Written },
        );
    }
    Some(live.id.clone())
}

/// A record that was taken over is left as it was found, also one that was not there.
fn leave(
    input: &Input<'_>,
    draft: &mut Draft<'_>,
    dns: &DesiredDns,
    zone: &Zone,
    record: &Record,
    found: Option<&Record>,
) -> Option<Stage> {
    let text = |record: &Record| {
        let Record { kind, content, ttl, proxied, .. } = record;
        format!("{kind} {content} (ttl {ttl:?}, proxied {proxied})")
    };
    let seen = found.map_or_else(|| "nothing".to_owned(), text);
    let difference = Difference { wanted: text(record), seen };
    let sentence = match difference.wanted == difference.seen {
        true => format!("{record} carries no mark"),
        false => format!("{} has {}, not {}", record.name, difference.seen, difference.wanted),
    };
    let resource = record_ref(&dns.provider, &record.to_string(), None);
    take_over::accept(input, draft, resource, key_text(zone, record), difference, sentence)
}

/// A record that we made or took over: without our mark somebody took it back.
fn was_ours(input: &Input<'_>, live: &Live<Record>) -> bool {
    input.owned.resources.iter().any(|known| known.kind == ResourceKind::Record && known.id == live.id)
}

/// A record of that type and name that we made within the settle time and that no listing shows.
fn young<'a>(input: &Input<'a>, record: &Record) -> Option<&'a OwnedResource> {
    let (found, name) = (input.observed.records.known()?, record.to_string());
    input.owned.resources.iter().find(|known| {
        known.kind == ResourceKind::Record
            && known.name == name
            && later(known.since, input.policy.settle) > input.now
            && !found.iter().any(|(_, live)| live.id == known.id)
    })
}

/// The natural key of a record as text, for intents.
pub fn key_text(zone: &Zone, record: &Record) -> String {
    match record.key() {
        RecordKey::Address { name } => format!("{} address {name}", zone.id),
        RecordKey::Value { name, kind, content } => format!("{} {kind} {name} {content}", zone.id),
    }
}

/// The zone in such a text.
pub fn zone_in(key: &str) -> &str {
    key.split(' ').next().unwrap_or_default()
}

fn record_changes(from: &Record, to: &Record) -> Vec<FieldChange> {
    let mut changes = Vec::new();
    let mut note = |path: &str, from: String, to: String| {
        if from != to {
            changes.push(FieldChange::shown(path, Some(from), Some(to)));
        }
    };
    note("type", from.kind.to_string(), to.kind.to_string());
    note("content", from.content.clone(), to.content.clone());
    note("ttl", format!("{:?}", from.ttl), format!("{:?}", to.ttl));
    note("proxied", from.proxied.to_string(), to.proxied.to_string());
    note("priority", format!("{:?}", from.priority), format!("{:?}", to.priority));
    changes
}

/// Waits until all authoritative servers of the domain give our address; aliases elsewhere are only told of (decisions 17).
fn plan_propagation(
    input: &Input<'_>,
    draft: &mut Draft<'_>,
    dns: &DesiredDns,
    zones: &[Zone],
    copied: Vec<String>,
) -> Stage {
    let Some(domain) = dns.hosts.first() else { return Stage::Done };
    let Reading::Known(server) = &input.observed.server else { return Stage::NotYet };
    let resource = record_ref(&dns.provider, &format!("A {domain}"), None);
    let published = match &input.observed.published {
        Reading::Known(published) => published,
        Reading::Unknown { reason } => return draft.unknown(resource, reason),
    };
    let address = std::net::IpAddr::V4(server.address);
    let proxied = input
        .observed
        .records
        .known()
        .is_some_and(|all| all.iter().any(|(_, live)| live.value.name == domain.as_str() && live.value.proxied));
    let shown = match published.get(domain) {
        Some(Published::Addresses(all)) if all.as_slice() == [address] || (proxied && !all.is_empty()) => None,
        Some(Published::Addresses(all)) if all.is_empty() => Some("no address".to_owned()),
        Some(Published::Addresses(all)) => Some(all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
        Some(Published::Disagree(why)) => Some(why.clone()),
        None => Some("not asked yet".to_owned()),
    };
    if let Some(shown) = shown {
        let until = later(input.now, input.policy.deploy_poll);
        return draft.wait(
            resource,
            "Propagating",
            format!("the name servers give {shown} for {domain}, {address} is expected"),
            Some(until),
        );
    }
    let missing: Vec<String> = aliases_not_pointing(input, address)
        .into_iter()
        .map(|alias| {
            if zone_of(zones, alias.as_str()).is_some() {
                format!("{alias} is not seen yet")
            } else {
                format!("{alias} A {address} must be made where that zone is kept")
            }
        })
        .collect();
    match (missing.is_empty(), copied.is_empty()) {
        (true, true) => {
            draft.settle(ResourceKind::Record, "Ready", format!("every name server gives {address} for {domain}"))
        }
        (true, false) => draft.settle(ResourceKind::Record, "MarkCopied", copied.join("; ")),
        (false, _) => {
            let told: Vec<String> = missing.into_iter().chain(copied).collect();
            draft.settle(ResourceKind::Record, "AliasNotPointing", told.join("; "))
        }
    }
}

/// Aliases whose name servers do not give our address.
pub fn aliases_not_pointing(input: &Input<'_>, address: std::net::IpAddr) -> Vec<HostName> {
    let Wanted::Value(site) = &input.desired.site else { return Vec::new() };
    let points = |alias: &HostName| {
        let found = input.observed.published.known().and_then(|published| published.get(alias));
        let proxied = input
            .observed
            .records
            .known()
            .is_some_and(|all| all.iter().any(|(_, live)| live.value.name == alias.as_str() && live.value.proxied));
        matches!(found, Some(Published::Addresses(all)) if all.as_slice() == [address] || (proxied && !all.is_empty()))
    };
    site.aliases.iter().filter(|alias| !points(alias)).cloned().collect()
}

/// The zone that holds a name: the longest match.
pub fn zone_of<'a>(zones: &'a [Zone], name: &str) -> Option<&'a Zone> {
    let within = |zone: &&Zone| {
        name == zone.name || name.strip_suffix(zone.name.as_str()).is_some_and(|head| head.ends_with('.'))
    };
    zones.iter().filter(within).max_by_key(|zone| zone.name.len())
}

/// The reference of a record.
pub fn record_ref(provider: &str, name: &str, id: Option<&crate::resource::name::RemoteId>) -> ResourceRef {
    ResourceRef {
        kind: ResourceKind::Record,
        provider: provider.to_owned(),
        name: name.to_owned(),
        id: id.map(ToString::to_string),
    }
}
