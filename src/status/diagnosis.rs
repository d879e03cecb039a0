//! From findings to conditions, the phase and the one sentence: what blocks now, and when it is tried again.

use jiff::Timestamp;

use crate::status::{Condition, ConditionType, Phase, Status, Truth};

/// What one pass found about one condition. Several may speak of the same; the gravest wins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which condition.
    pub condition: ConditionType,
    /// How grave; decides which finding of a condition, and which condition of all, is told.
    pub weight: Weight,
    /// CamelCase.
    pub reason: String,
    /// One sentence.
    pub message: String,
}

/// How grave a finding is, gravest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// A rule forbids it, or a call failed for good: only a person can help.
    Refused,
    /// A call failed; it is tried again.
    Failed,
    /// Not known.
    Unknown,
    /// Acted on, or waited for.
    Under,
    /// As it should be.
    Good,
}

impl Weight {
    fn truth(self) -> Truth {
        match self {
            Weight::Good => Truth::True,
            Weight::Unknown => Truth::Unknown,
            _ => Truth::False,
        }
    }
}

/// What else decides what is told.
#[derive(Debug, Clone)]
pub struct Situation {
    /// Newest generation of the spec.
    pub generation: u64,
    /// Held suspended by its spec.
    pub suspended: bool,
    /// The pause in force, with its reason.
    pub paused: Option<String>,
    /// On its way out: not begun to remove (offline) or removing.
    pub leaving: Option<Leaving>,
    /// Whether a release ever served.
    pub served: bool,
    /// When the next pass is due.
    pub next_attempt: Option<Timestamp>,
}

/// How far a client is on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaving {
    /// Not served any more; everything can still come back as it was.
    Offline,
    /// Its grace is over.
    Terminating,
}

/// Reasons of good conditions that people should read all the same.
const NOTED: [&str; 3] = ["AliasNotPointing", "CustomExpiring", "MarkCopied"];

/// The status after a pass. Conditions that the pass did not reach keep their last word when the world was not observed,
/// and are `Unknown/NotReached` otherwise: an old `True` would be a guess.
pub fn tell(previous: &Status, findings: &[Finding], situation: &Situation, now: Timestamp) -> Status {
    let unobserved = findings.iter().any(|f| f.weight == Weight::Unknown) || situation.paused.is_some();
    let mut conditions = Vec::new();
    for kind in ConditionType::SUMMED {
        conditions.push(sum_up(kind, previous, findings, unobserved));
    }
    let blocker = findings.iter().filter(|f| f.weight != Weight::Good).min_by_key(|f| (f.weight, f.condition));
    let ready = conditions.iter().all(|c| c.status == Truth::True);
    let summary = ready_condition(ready, blocker, &conditions, situation);
    let message = sentence(&summary, situation);
    conditions.insert(0, summary);
    conditions.extend(people_conditions(findings, situation));
    for condition in &mut conditions {
        condition.observed_generation = situation.generation;
        let before = previous.condition(condition.kind).filter(|before| before.status == condition.status);
        condition.last_transition_time = before.map_or(now, |before| before.last_transition_time);
    }
    let phase = phase(&conditions, situation);
    Status { phase, message, next_attempt: situation.next_attempt, conditions }
}

fn sum_up(kind: ConditionType, previous: &Status, findings: &[Finding], unobserved: bool) -> Condition {
    if let Some(gravest) = findings.iter().filter(|f| f.condition == kind).min_by_key(|f| f.weight) {
        return condition(kind, gravest.weight.truth(), &gravest.reason, &gravest.message);
    }
    if let Some(before) = previous.condition(kind).filter(|_| unobserved) {
        return before.clone();
    }
    condition(kind, Truth::Unknown, "NotReached", "what it needs is not ready yet")
}

fn condition(kind: ConditionType, status: Truth, reason: &str, message: &str) -> Condition {
    Condition {
        kind,
        status,
        reason: reason.to_owned(),
        message: message.to_owned(),
        last_transition_time: Timestamp::UNIX_EPOCH,
        observed_generation: 0,
    }
}

fn ready_condition(ready: bool, blocker: Option<&Finding>, all: &[Condition], situation: &Situation) -> Condition {
    let kind = ConditionType::Ready;
    if situation.leaving.is_some() {
        let message = blocker.map_or("it is being taken down", |b| b.message.as_str());
        return condition(kind, Truth::False, "Removing", message);
    }
    if situation.suspended && blocker.is_none() {
        return condition(kind, Truth::True, "Suspended", "suspended on purpose; nothing is deleted");
    }
    if let Some(blocker) = blocker {
        return condition(kind, blocker.weight.truth(), &blocker.reason, &blocker.message);
    }
    if ready {
        let note = all.iter().find(|c| NOTED.contains(&c.reason.as_str()));
        // The last one sums the others up.
        let note = note.or_else(|| all.iter().rev().find(|c| c.reason == "AsFound"));
        let message = note.map_or_else(
            || "the world matches the spec".to_owned(),
            |note| format!("the world matches the spec; {}", note.message),
        );
        return condition(kind, Truth::True, "Ready", &message);
    }
    let open = all.iter().find(|c| c.status != Truth::True);
    let (reason, message) = open.map_or(("Pending", "not looked at yet"), |c| (c.reason.as_str(), c.message.as_str()));
    condition(kind, Truth::Unknown, reason, message)
}

fn sentence(ready: &Condition, situation: &Situation) -> String {
    if let Some(reason) = &situation.paused {
        return format!("paused: {reason}; `sitewright resume` goes on");
    }
    match situation.next_attempt {
        Some(at) if ready.status != Truth::True && !ready.message.contains(" at ") => {
            format!("{}; next look at {at:.0}", ready.message)
        }
        _ => ready.message.clone(),
    }
}

fn people_conditions(findings: &[Finding], situation: &Situation) -> Vec<Condition> {
    let truth = |yes: bool| if yes { Truth::True } else { Truth::False };
    let moving = findings.iter().any(|f| matches!(f.weight, Weight::Under | Weight::Failed));
    let stuck = findings.iter().filter(|f| f.weight == Weight::Refused).min_by_key(|f| f.condition);
    let paused = situation.paused.as_deref();
    vec![
        condition(
            ConditionType::Reconciling,
            truth(moving),
            if moving { "Converging" } else { "Idle" },
            if moving { "changes are being made or waited for" } else { "nothing is being changed" },
        ),
        condition(
            ConditionType::Stalled,
            truth(stuck.is_some()),
            stuck.map_or("NotStalled", |f| f.reason.as_str()),
            stuck.map_or("nothing needs a person", |f| f.message.as_str()),
        ),
        condition(
            ConditionType::Paused,
            truth(paused.is_some()),
            if paused.is_some() { "Paused" } else { "NotPaused" },
            paused.unwrap_or("not paused"),
        ),
        condition(
            ConditionType::Terminating,
            truth(situation.leaving.is_some()),
            if situation.leaving.is_some() { "Removing" } else { "NotRemoving" },
            if situation.leaving.is_some() { "its spec is gone" } else { "its spec is there" },
        ),
    ]
}

fn phase(conditions: &[Condition], situation: &Situation) -> Phase {
    let find = |kind| conditions.iter().find(|c| c.kind == kind);
    let is = |kind, status| find(kind).is_some_and(|c| c.status == status);
    match situation.leaving {
        Some(Leaving::Offline) => return Phase::Offline,
        Some(Leaving::Terminating) => return Phase::Terminating,
        None => {}
    }
    if situation.paused.is_some() {
        return Phase::Paused;
    }
    if situation.suspended {
        return Phase::Suspended;
    }
    if is(ConditionType::Ready, Truth::True) {
        return Phase::Active;
    }
    if is(ConditionType::Stalled, Truth::True) {
        return Phase::Failed;
    }
    if find(ConditionType::Deployed).is_some_and(|c| c.reason == "Building") {
        return Phase::Deploying;
    }
    if situation.served && is(ConditionType::Healthy, Truth::True) { Phase::Active } else { Phase::Provisioning }
}
