//! The plan while it is being made: one place that holds back what failed a moment ago.

use std::time::Duration;

use jiff::Timestamp;

use crate::plan::change::{Action, FieldChange, Op, Plan, Refused, Settled, Step, Waiting};
use crate::resource::database::PROVIDER;
use crate::resource::desired::Desired;
use crate::resource::kind::{ResourceKind, ResourceRef};
use crate::resource::observed::Observed;
use crate::resource::owned::{Owned, READ_BACK};
use crate::resource::reading::{Reading, reason_and_text};
use crate::resource::site::{Purpose, RunState};

/// The reason of what could not be looked at for no fault that a person must mend.
pub const NOT_OBSERVED: &str = "NotObserved";

/// The limits a plan keeps; plain data from the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// How long a lost create is looked for before it is sent again.
    pub settle: Duration,
    /// How often a deploy is looked at.
    pub deploy_poll: Duration,
    /// Wait after the first failed build; doubles up to [`Policy::deploy_retry_max`].
    pub deploy_retry: Duration,
    /// Longest wait after failed builds.
    pub deploy_retry_max: Duration,
    /// Builds at once on one server.
    pub build_slots: usize,
    /// How long a record may take to be seen before the message says so.
    pub propagation_timeout: Duration,
    /// From offline to the site's removal.
    pub deletion_grace: Duration,
    /// From offline to the database's drop.
    pub database_grace: Duration,
    /// How long removed address records are waited out; `None`: their TTL.
    pub drain: Option<Duration>,
    /// Renewal begins this long before a certificate ends (decisions 20).
    pub renew_before: Duration,
    /// Whether a new branch head deploys by itself.
    pub follow_head: bool,
}

impl Default for Policy {
    fn default() -> Self {
        const MINUTE: u64 = 60;
        const DAY: u64 = 24 * 60 * MINUTE;
        Policy {
            settle: Duration::from_secs(60),
            deploy_poll: Duration::from_secs(5),
            deploy_retry: Duration::from_secs(5 * MINUTE),
            deploy_retry_max: Duration::from_secs(6 * 60 * MINUTE),
            build_slots: 2,
            propagation_timeout: Duration::from_secs(5 * MINUTE),
            deletion_grace: Duration::from_secs(7 * DAY),
            database_grace: Duration::from_secs(14 * DAY),
            drain: None,
            renew_before: Duration::from_secs(21 * DAY),
            follow_head: true,
        }
    }
}

/// Everything a living client's plan is made from. Clock included: nothing else is asked.
#[derive(Clone, Copy)]
pub struct Input<'a> {
    /// Wanted.
    pub desired: &'a Desired,
    /// Found.
    pub observed: &'a Observed,
    /// Remembered.
    pub owned: &'a Owned,
    /// Limits.
    pub policy: &'a Policy,
    /// Now.
    pub now: Timestamp,
}

impl Input<'_> {
    /// Why a run is not over; `None` when none is under way.
    pub fn run(&self, purpose: Purpose) -> Option<String> {
        self.owned.runs.get(&purpose)?;
        Some(match self.observed.runs.get(&purpose) {
            Some(Reading::Known(RunState::Pending)) | None => "no end yet".to_owned(),
            Some(Reading::Known(RunState::Finished { exit_code, .. })) => format!("ended with exit code {exit_code}"),
            Some(Reading::Unknown { reason }) => reason.clone(),
        })
    }

    /// The first thing of a kind that is remembered, or the client where none is.
    pub fn client_ref(&self, kind: ResourceKind) -> ResourceRef {
        let known = self.owned.first(kind);
        ResourceRef {
            kind,
            provider: known.map_or_else(|| self.provider_of(kind), |k| k.provider.clone()),
            name: known.map_or_else(|| self.desired.client.to_string(), |k| k.name.clone()),
            id: known.map(|k| k.id.to_string()),
        }
    }

    /// Where a thing of this kind would be; a word for people where the settings name nobody any more.
    fn provider_of(&self, kind: ResourceKind) -> String {
        let site = self.desired.site.value().map(|site| &site.provider);
        let dns = self.desired.dns.value().and_then(Option::as_ref).map(|dns| &dns.provider);
        match kind {
            ResourceKind::Record => dns.map_or_else(|| "dns".into(), String::clone),
            ResourceKind::Database | ResourceKind::Role => PROVIDER.into(),
            _ => site.map_or_else(|| "host".into(), String::clone),
        }
    }
}

/// Whether a stage leaves the next one free to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// As it should be.
    Done,
    /// Acted on, waited for or refused.
    NotYet,
}

/// A plan under construction.
pub struct Draft<'a> {
    owned: &'a Owned,
    policy: &'a Policy,
    now: Timestamp,
    /// What it has come to.
    pub plan: Plan,
}

impl<'a> Draft<'a> {
    /// An empty plan.
    pub fn new(owned: &'a Owned, policy: &'a Policy, now: Timestamp) -> Self {
        Draft { owned, policy, now, plan: Plan::default() }
    }

    /// Adds an action, unless the last attempt at this kind of work failed and its time has not come.
    pub fn act(&mut self, op: Op, resource: ResourceRef, changes: Vec<FieldChange>, reason: &str, step: Step) -> Stage {
        if op != Op::Adopt
            && let Some(attempt) = self.owned.attempts.get(&resource.kind)
            && attempt.next_at > self.now
        {
            let is_awaited = attempt.reason == READ_BACK;
            let until = if is_awaited { self.look_again(attempt.next_at) } else { attempt.next_at };
            self.plan.waiting.push(Waiting {
                resource,
                reason: attempt.reason.clone(),
                message: attempt.message.clone(),
                until: Some(until),
                unknown: false,
            });
            return Stage::NotYet;
        }
        self.plan.actions.push(Action { op, resource, changes, reason: reason.to_owned(), step });
        Stage::NotYet
    }

    /// A create whose answer may be lost: looked for during the settle time, then sent again.
    pub fn create(
        &mut self,
        key: &str,
        resource: ResourceRef,
        changes: Vec<FieldChange>,
        reason: &str,
        step: Step,
    ) -> Stage {
        if let Some(intent) = self.owned.intent(resource.kind, key) {
            let until = later(intent.at, self.policy.settle);
            if until > self.now {
                let message = format!(
                    "a create was sent at {} and its answer is not known; it is looked for until {until:.0}, then sent again",
                    intent.at
                );
                return self.wait(resource, "Settling", message, Some(self.look_again(until)));
            }
        }
        self.act(Op::Create, resource, changes, reason, step)
    }

    /// When something is looked at that may be seen any moment, and at the latest at `end`.
    pub fn look_again(&self, end: Timestamp) -> Timestamp {
        later(self.now, self.policy.deploy_poll).min(end)
    }

    /// Waits.
    pub fn wait(
        &mut self,
        resource: ResourceRef,
        reason: &str,
        message: impl Into<String>,
        until: Option<Timestamp>,
    ) -> Stage {
        self.plan.waiting.push(Waiting {
            resource,
            reason: reason.into(),
            message: message.into(),
            until,
            unknown: false,
        });
        Stage::NotYet
    }

    /// Does not know.
    pub fn unknown(&mut self, resource: ResourceRef, why: &str) -> Stage {
        let (reason, text) = reason_and_text(why);
        self.plan.waiting.push(Waiting {
            resource,
            reason: reason.unwrap_or(NOT_OBSERVED).into(),
            message: format!("its state is not known ({text}); nothing is changed until it is"),
            until: None,
            unknown: true,
        });
        Stage::NotYet
    }

    /// Refuses.
    pub fn refuse(&mut self, resource: ResourceRef, reason: &str, message: impl Into<String>) -> Stage {
        self.plan.refused.push(Refused { resource, reason: reason.into(), message: message.into() });
        Stage::NotYet
    }

    /// Nothing to do.
    pub fn settle(&mut self, kind: ResourceKind, reason: &str, message: impl Into<String>) -> Stage {
        self.plan.settled.push(Settled { kind, reason: reason.into(), message: message.into() });
        Stage::Done
    }

    /// The remembered state.
    pub fn owned(&self) -> &'a Owned {
        self.owned
    }

    /// The limits.
    pub fn policy(&self) -> &'a Policy {
        self.policy
    }

    /// The clock.
    pub fn now(&self) -> Timestamp {
        self.now
    }
}

/// A timestamp moved by a duration; stops at the end of time.
pub fn later(at: Timestamp, by: Duration) -> Timestamp {
    jiff::SignedDuration::try_from(by).ok().and_then(|by| at.checked_add(by).ok()).unwrap_or(Timestamp::MAX)
}

/// Growing wait: `first` doubled per failure after the first, at most `longest`.
pub fn growing(first: Duration, failures: u32, longest: Duration) -> Duration {
    first.saturating_mul(2u32.saturating_pow(failures.saturating_sub(1).min(20))).min(longest)
}
