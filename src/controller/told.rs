//! From a plan and its outcomes to findings: which condition each entry speaks of, and how grave it is.

use crate::controller::executor::Outcome;
use crate::plan::change::{Op, PREREQUISITES, Plan};
use crate::plan::draft::NOT_OBSERVED;
use crate::resource::kind::ResourceKind;
use crate::status::ConditionType;
use crate::status::diagnosis::{Finding, Weight};

/// The condition that a kind of resource counts towards.
pub fn condition_of(kind: ResourceKind) -> ConditionType {
    match kind {
        ResourceKind::Database | ResourceKind::Role => ConditionType::DatabaseReady,
        ResourceKind::Repository => ConditionType::RepositoryReady,
        ResourceKind::Environment | ResourceKind::DeployScript => ConditionType::EnvironmentReady,
        ResourceKind::Record => ConditionType::DNSReady,
        ResourceKind::Release => ConditionType::Deployed,
        ResourceKind::Certificate => ConditionType::CertificateReady,
        ResourceKind::Health => ConditionType::Healthy,
        ResourceKind::Administrator => ConditionType::AdminReady,
        _ => ConditionType::SiteReady,
    }
}

/// Findings of one pass.
pub fn findings(plan: &Plan, outcomes: &[Outcome]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for refused in &plan.refused {
        findings.push(finding(refused.resource.kind, Weight::Refused, &refused.reason, &refused.message));
    }
    let doubtful = plan.waiting.iter().any(|waiting| waiting.unknown);
    // What only waits for something unknown is not known to be otherwise than before: its condition keeps its word.
    for waiting in plan.waiting.iter().filter(|waiting| !(doubtful && waiting.reason == PREREQUISITES)) {
        let weight = if waiting.unknown { Weight::Unknown } else { Weight::Under };
        if waiting.unknown && waiting.reason != NOT_OBSERVED {
            // Not known, and it stays so until a person mends it: that is told, and nothing else is taken for changed.
            findings.push(finding(waiting.resource.kind, Weight::Refused, &waiting.reason, &waiting.message));
        }
        findings.push(finding(waiting.resource.kind, weight, &waiting.reason, &waiting.message));
    }
    for settled in &plan.settled {
        findings.push(finding(settled.kind, Weight::Good, &settled.reason, &settled.message));
    }
    for outcome in outcomes {
        if let Err(failure) = &outcome.result {
            let weight = if failure.is_permanent() { Weight::Refused } else { Weight::Failed };
            findings.push(finding(outcome.resource.kind, weight, failure.reason(), &failure.to_string()));
        }
    }
    // What is acted on is not as it should be yet, whether the action came to pass or not.
    for action in &plan.actions {
        let message = format!("{} {}: {}", verb(action.op), action.resource, action.reason);
        findings.push(finding(action.resource.kind, Weight::Under, progress(action.op), &message));
    }
    findings
}

fn finding(kind: ResourceKind, weight: Weight, reason: &str, message: &str) -> Finding {
    Finding { condition: condition_of(kind), weight, reason: reason.to_owned(), message: message.to_owned() }
}

fn progress(op: Op) -> &'static str {
    match op {
        Op::Create => "Creating",
        Op::Update => "Updating",
        Op::Delete => "Deleting",
        Op::Deploy => "Building",
        Op::Adopt => "Adopting",
        Op::Run => "Running",
    }
}

/// CamelCase reason of the event that tells of a done action.
pub fn done(op: Op) -> &'static str {
    match op {
        Op::Create => "Created",
        Op::Update => "Updated",
        Op::Delete => "Removed",
        Op::Deploy => "DeployBegun",
        Op::Adopt => "TakenIn",
        Op::Run => "ScriptBegun",
    }
}

/// The verb of an action under way.
fn verb(op: Op) -> &'static str {
    match op {
        Op::Create => "creates",
        Op::Update => "updates",
        Op::Delete => "removes",
        Op::Deploy => "deploys",
        Op::Adopt => "takes in",
        Op::Run => "runs a script for",
    }
}
