//! The shape of `plan -o json` (interface 4): what would happen, what it costs, and a hash that names it.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Serialize;

use crate::config::Settings;
use crate::controller::reconciler::Preview;
use crate::plan::change::{AS_FOUND, Action, FieldChange, Op, Plan, Step};
use crate::resource::hex::hex;
use crate::resource::kind::{ResourceKind, ResourceRef};
use crate::resource::name::ClientName;
use jiff::Timestamp;

/// Version of this shape; members may be added under it, never renamed.
pub const FORMAT_VERSION: u32 = 1;

/// A plan over clients.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanDocument {
    /// [`FORMAT_VERSION`].
    pub format_version: u32,
    /// Each client, by name.
    pub clients: Vec<ClientPlan>,
    /// Counts over all clients.
    pub summary: Summary,
    /// Calls that carrying it out takes, by provider, and the seconds they need at the account's limit.
    pub cost: BTreeMap<String, Cost>,
    /// Twelve hexadecimal digits over all actions and refusals: equal plans have equal hashes.
    pub hash: String,
}

/// One client's plan.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct ClientPlan {
    /// The client.
    pub name: String,
    /// Changes, in the order in which they may be made.
    pub actions: Vec<ActionView>,
    /// What waits.
    pub waiting: Vec<WaitingView>,
    /// What a rule forbids.
    pub refused: Vec<RefusedView>,
    /// What differs from the spec and is left as it was found when the client was taken over.
    pub accepted: Vec<AcceptedView>,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct ActionView {
    /// Its verb.
    pub op: Op,
    /// The resource.
    pub resource: PlannedResource,
    /// What changes, secrets masked.
    pub changes: Vec<FieldChange>,
    /// Why.
    pub reason: String,
}

/// A resource; `id` is there also when it has none yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[allow(missing_docs)] // as `ResourceRef`
pub struct PlannedResource {
    pub kind: ResourceKind,
    pub provider: String,
    pub name: String,
    pub id: Option<String>,
}

/// Something that waits.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[allow(missing_docs)] // as `plan::change::Waiting`
pub struct WaitingView {
    pub resource: PlannedResource,
    pub reason: String,
    pub message: String,
    pub until: Option<Timestamp>,
    pub unknown: bool,
}

/// Something that a rule forbids.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[allow(missing_docs)] // as `plan::change::Refused`
pub struct RefusedView {
    pub resource: PlannedResource,
    pub reason: String,
    pub message: String,
}

/// A difference that stands as it was found.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[allow(missing_docs)] // as `plan::change::Settled`
pub struct AcceptedView {
    pub kind: ResourceKind,
    pub message: String,
}

/// Counts of actions by their verbs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, JsonSchema)]
#[allow(missing_docs)]
pub struct Summary {
    pub create: usize,
    pub update: usize,
    pub delete: usize,
    pub deploy: usize,
    pub adopt: usize,
    pub run: usize,
}

/// What a provider is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, JsonSchema)]
pub struct Cost {
    /// Calls.
    pub calls: u64,
    /// Seconds they need at the account's limit, rounded up.
    pub seconds: u64,
}

impl PlanDocument {
    /// The document of some previews.
    pub fn of(previews: &[(ClientName, Preview)], settings: &Settings) -> Self {
        let plans: Vec<(&ClientName, &Plan)> = previews.iter().map(|(name, preview)| (name, &preview.plan)).collect();
        Self::of_plans(&plans, settings)
    }

    fn of_plans(plans: &[(&ClientName, &Plan)], settings: &Settings) -> Self {
        let clients: Vec<ClientPlan> = plans.iter().map(|(name, plan)| client(name, plan)).collect();
        PlanDocument {
            format_version: FORMAT_VERSION,
            summary: summary(plans.iter().flat_map(|(_, plan)| &plan.actions)),
            cost: cost(plans, settings),
            hash: hash(&clients),
            clients,
        }
    }

    /// Whether anything is to be done, or hindered from being done.
    pub fn has_work(&self) -> bool {
        self.clients.iter().any(|client| !client.is_converged())
    }
}

impl ClientPlan {
    /// Nothing to do, nothing waited for, nothing refused.
    pub fn is_converged(&self) -> bool {
        self.actions.is_empty() && self.waiting.is_empty() && self.refused.is_empty()
    }
}

fn client(name: &ClientName, plan: &Plan) -> ClientPlan {
    ClientPlan {
        name: name.to_string(),
        actions: plan.actions.iter().map(action).collect(),
        waiting: plan
            .waiting
            .iter()
            .map(|waiting| WaitingView {
                resource: resource(&waiting.resource),
                reason: waiting.reason.clone(),
                message: waiting.message.clone(),
                until: waiting.until,
                unknown: waiting.unknown,
            })
            .collect(),
        refused: plan
            .refused
            .iter()
            .map(|refused| RefusedView {
                resource: resource(&refused.resource),
                reason: refused.reason.clone(),
                message: refused.message.clone(),
            })
            .collect(),
        accepted: plan
            .settled
            .iter()
            // The release only sums the others up.
            .filter(|settled| settled.reason == AS_FOUND && settled.kind != ResourceKind::Release)
            .map(|settled| AcceptedView { kind: settled.kind, message: settled.message.clone() })
            .collect(),
    }
}

fn action(action: &Action) -> ActionView {
    ActionView {
        op: action.op,
        resource: resource(&action.resource),
        changes: action.changes.clone(),
        reason: action.reason.clone(),
    }
}

fn resource(resource: &ResourceRef) -> PlannedResource {
    PlannedResource {
        kind: resource.kind,
        provider: resource.provider.clone(),
        name: resource.name.clone(),
        id: resource.id.clone(),
    }
}

fn summary<'a>(actions: impl Iterator<Item = &'a Action>) -> Summary {
    let mut summary = Summary::default();
    for action in actions {
        let count = match action.op {
            Op::Create => &mut summary.create,
            Op::Update => &mut summary.update,
            Op::Delete => &mut summary.delete,
            Op::Deploy => &mut summary.deploy,
            Op::Adopt => &mut summary.adopt,
            Op::Run => &mut summary.run,
        };
        *count += 1;
    }
    summary
}

fn cost(plans: &[(&ClientName, &Plan)], settings: &Settings) -> BTreeMap<String, Cost> {
    let mut cost: BTreeMap<String, Cost> = BTreeMap::new();
    let mut zones = BTreeSet::new();
    for (name, action) in plans.iter().flat_map(|(name, plan)| plan.actions.iter().map(move |action| (name, action))) {
        let calls = match &action.step {
            // One call carries all changes of a client in a zone.
            Step::ChangeRecord { zone, .. } => u64::from(zones.insert((*name, zone.id.clone()))),
            step => calls_of(step),
        };
        cost.entry(action.resource.provider.clone()).or_default().calls += calls;
    }
    cost.retain(|_, cost| cost.calls > 0);
    for (provider, cost) in &mut cost {
        if let Some(rate) = settings.rates.get(provider).filter(|rate| rate.calls > 0) {
            let seconds = rate.per.as_secs_f64() * cost.calls as f64 / f64::from(rate.calls);
            cost.seconds = seconds.ceil() as u64;
        }
    }
    cost
}

/// Calls that a step makes when nothing goes wrong: the write, and the look that proves it where the step has one.
fn calls_of(step: &Step) -> u64 {
    match step {
        Step::Adopt { .. } | Step::Accept { .. } | Step::KeepRelease(_) => 0,
        Step::WriteEnvironment { .. } | Step::WriteDeployScript { .. } | Step::SetAliases(_) => 2,
        // The text as it stands, the write, the look.
        Step::MendVirtualHost { .. } => 3,
        // Started, and asked for its end.
        Step::StartRun(_) => 2,
        // The baseline is noted first.
        Step::Deploy { .. } => 2,
        _ => 1,
    }
}

/// Times do not count: a plan is the same plan a second later.
fn hash(clients: &[ClientPlan]) -> String {
    let parts: Vec<_> = clients.iter().map(|client| (&client.name, &client.actions, &client.refused)).collect();
    let text = serde_json::to_vec(&parts).unwrap_or_default();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &text);
    hex(digest.as_ref()).chars().take(12).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::plan::change::{Refused, Waiting};

    /// A plan with one entry of each sort.
    pub fn sample() -> PlanDocument {
        let site = |id: Option<&str>| ResourceRef {
            kind: ResourceKind::Site,
            provider: "ploi".into(),
            name: "shop.example".into(),
            id: id.map(str::to_owned),
        };
        let plan = Plan {
            actions: vec![
                Action {
                    op: Op::Create,
                    resource: site(None),
                    changes: vec![FieldChange::shown("domain", None, Some("shop.example".into()))],
                    reason: "it is not there".into(),
                    step: Step::CreateSite,
                },
                Action {
                    op: Op::Update,
                    resource: site(Some("7")),
                    changes: vec![FieldChange::masked("env.SMTP_PASSWORD")],
                    reason: "the environment differs".into(),
                    step: Step::SuspendSite,
                },
            ],
            waiting: vec![Waiting {
                resource: site(Some("7")),
                reason: "SiteBusy".into(),
                message: "the host is busy".into(),
                until: Some(Timestamp::UNIX_EPOCH),
                unknown: false,
            }],
            refused: vec![Refused {
                resource: site(Some("9")),
                reason: "Conflict".into(),
                message: "somebody else's; annotate `sitewright/adopt: \"9\"` to take it over".into(),
            }],
            settled: Vec::new(),
        };
        PlanDocument::of_plans(&[(&ClientName::trusted("shop"), &plan)], &Settings::default())
    }

    #[test]
    fn the_json_has_the_members_of_the_interface() {
        let value = serde_json::to_value(sample()).expect("json");
        assert_eq!(value["formatVersion"], 1);
        let action = &value["clients"][0]["actions"][0];
        assert_eq!(action["op"], "create");
        assert_eq!(
            action["resource"],
            serde_json::json!({"kind": "Site", "provider": "ploi", "name": "shop.example", "id": null})
        );
        assert_eq!(action["changes"][0], serde_json::json!({"path": "domain", "from": null, "to": "shop.example"}));
        assert_eq!(value["clients"][0]["actions"][1]["changes"][0]["to"], "(secret, changed)");
        assert_eq!(value["clients"][0]["waiting"][0]["reason"], "SiteBusy");
        assert_eq!(value["clients"][0]["refused"][0]["resource"]["id"], "9");
        for (member, count) in [("create", 1), ("update", 1), ("delete", 0), ("deploy", 0)] {
            assert_eq!(value["summary"][member], count, "{member}");
        }
        assert_eq!(value["cost"]["ploi"], serde_json::json!({"calls": 2, "seconds": 2}));
        assert_eq!(value["hash"].as_str().map(str::len), Some(12));
    }

    #[test]
    fn the_hash_names_the_actions_and_not_the_times() {
        let plan = sample();
        let mut later = plan.clone();
        for waiting in later.clients.iter_mut().flat_map(|client| &mut client.waiting) {
            waiting.until = Some(Timestamp::MAX);
        }
        assert_eq!(hash(&later.clients), plan.hash);
        let mut other = plan.clone();
        for action in other.clients.iter_mut().flat_map(|client| &mut client.actions) {
            action.resource.name = "blog.example".into();
        }
        assert_ne!(hash(&other.clients), plan.hash);
    }
}
