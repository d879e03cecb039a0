//! What a pass tells: status, events, and the words of clients that get no pass.

use jiff::Timestamp;

use crate::controller::executor::Outcome;
use crate::controller::pass::pass_id;
use crate::controller::reconciler::{Next, Reconciler};
use crate::controller::told::done;
use crate::plan::draft::later;
use crate::plan::progress::Told;
use crate::plan::removal::due;
use crate::resource::desired::{Desired, DesiredState};
use crate::resource::name::ClientName;
use crate::status::diagnosis::{Finding, Leaving, Situation, Weight, tell};
use crate::status::{ConditionType, Status};
use crate::store::{ClientRecord, Event, EventKind, Stored};

impl Reconciler {
    pub(super) fn spec_finding(&self, name: &ClientName) -> Finding {
        match self.fleet.problem(name) {
            Some(problem) => Finding {
                condition: ConditionType::SpecValid,
                weight: Weight::Refused,
                reason: problem.reason,
                message: problem.message,
            },
            None => Finding {
                condition: ConditionType::SpecValid,
                weight: Weight::Good,
                reason: "Valid".into(),
                message: "the spec passed every check".into(),
            },
        }
    }

    pub(super) fn situation(&self, record: &ClientRecord, desired: &Desired, next: Timestamp) -> Situation {
        let leaving = record.owned.removal.as_ref().map(|removal| {
            if due(removal, self.policy.deletion_grace) <= self.clock.now() {
                Leaving::Terminating
            } else {
                Leaving::Offline
            }
        });
        Situation {
            generation: record.generation,
            suspended: desired.state == DesiredState::Suspended,
            paused: None,
            leaving,
            served: record.owned.releases.live.is_some(),
            next_attempt: Some(next),
        }
    }

    pub(super) async fn tell_paused(&self, mut record: ClientRecord, reason: String) -> Stored<Next> {
        let until = record.pause.as_ref().and_then(|pause| pause.until);
        let situation = Situation {
            generation: record.generation,
            suspended: false,
            paused: Some(reason),
            leaving: None,
            served: record.owned.releases.live.is_some(),
            next_attempt: until,
        };
        let status = tell(&record.status, &[], &situation, self.clock.now());
        self.notices.forget(&record.name).await?;
        if status != record.status {
            let mut seen = record.clone();
            record.status = status;
            self.records.save(&mut seen, &mut record).await?;
        }
        Ok(Next::Settled(until.unwrap_or_else(|| later(self.clock.now(), self.resync))))
    }

    /// A client goes by another name from now on.
    pub(in crate::controller) async fn moved(&self, old: &ClientName, new: &ClientName) -> Stored<()> {
        self.wishes.forget(old);
        let message = format!(
            "it was called {old}: marks, port, secrets, login and database stay, and so does the name of its process; its environment tells the new name with the next deploy"
        );
        self.event(Some(new), EventKind::Normal, "Moved", &message).await
    }

    /// The last good spec is not readable by this program (a newer one wrote it, or a rule became stricter).
    pub(super) async fn tell_unreadable(&self, record: ClientRecord) -> Stored<Next> {
        let finding = self.spec_finding(&record.name);
        let now = self.clock.now();
        self.tell_findings(record, &[finding]).await?;
        Ok(Next::Settled(later(now, self.resync)))
    }

    /// A client of which nothing else can be said.
    pub(super) async fn tell_findings(&self, mut record: ClientRecord, findings: &[Finding]) -> Stored<()> {
        let now = self.clock.now();
        let situation = Situation {
            generation: record.generation,
            suspended: false,
            paused: None,
            leaving: None,
            served: record.owned.releases.live.is_some(),
            next_attempt: None,
        };
        let mut seen = record.clone();
        record.status = tell(&record.status, findings, &situation, now);
        self.records.save(&mut seen, &mut record).await
    }

    pub(super) async fn tell_events(
        &self,
        record: &ClientRecord,
        status: &Status,
        outcomes: &[Outcome],
        told: Vec<Told>,
    ) -> Stored<()> {
        for told in told {
            let kind = if told.warning { EventKind::Warning } else { EventKind::Normal };
            self.event(Some(&record.name), kind, told.reason, &told.message).await?;
        }
        for outcome in outcomes {
            match &outcome.result {
                Ok(()) => {
                    self.event(
                        Some(&record.name),
                        EventKind::Normal,
                        done(outcome.op),
                        &format!("{}: {}", outcome.resource, outcome.reason),
                    )
                    .await?
                }
                Err(failure) => {
                    self.event(Some(&record.name), EventKind::Warning, failure.reason(), &failure.to_string()).await?
                }
            }
        }
        if status.is_ready() != record.status.is_ready() {
            let (kind, reason) =
                if status.is_ready() { (EventKind::Normal, "Ready") } else { (EventKind::Warning, "NotReady") };
            self.event(Some(&record.name), kind, reason, &status.message).await?;
        }
        Ok(())
    }

    /// Appends an event and logs it.
    pub(in crate::controller) async fn event(
        &self,
        client: Option<&ClientName>,
        kind: EventKind,
        reason: &str,
        message: &str,
    ) -> Stored<()> {
        match kind {
            EventKind::Normal => tracing::info!(client = client.map(ClientName::as_str), reason, "{message}"),
            EventKind::Warning => tracing::warn!(client = client.map(ClientName::as_str), reason, "{message}"),
        }
        let event = Event {
            id: 0,
            at: self.clock.now(),
            client: client.cloned(),
            kind,
            reason: reason.into(),
            message: message.into(),
            reconcile: pass_id(),
        };
        self.store.append_event(&event).await.map(|_| ())
    }
}
