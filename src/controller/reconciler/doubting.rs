//! What must not be done while the state, or the directory, is in doubt.

use std::time::Duration;

use crate::controller::former_life::{FormerLook, is_blank};
use crate::controller::reconciler::{Reconciler, lane_of};
use crate::controller::recovery::Recovery;
use crate::plan::change::{Action, Op, Plan};
use crate::plan::draft::later;
use crate::plan::fights;
use crate::provider::http::lane::in_lane;
use crate::resource::kind::ResourceKind;
use crate::resource::reading::Reading;
use crate::status::ConditionType;
use crate::status::diagnosis::{Finding, Weight};
use crate::store::{ClientRecord, EventKind, Stored};

/// When what is held is looked at again although nobody told anything: no poll makes a person faster.
const HELD_FOR: Duration = Duration::from_secs(15 * 60);

impl Reconciler {
    /// Before a client is planned for the first time: whether it had a life that this state does not know of. Then the record
    /// goes on where that life was, and the state is not trusted until a person says so. `None`: it cannot be seen now.
    pub(in crate::controller) async fn look_back(&self, mut record: ClientRecord) -> Stored<Option<ClientRecord>> {
        let Some(spec) = self.fleet.spec(&record.name).filter(|_| is_blank(&record)) else { return Ok(Some(record)) };
        let look = FormerLook {
            observer: &self.observer,
            providers: &self.providers,
            defaults: &self.wishes.options().defaults,
            instance: &record.owned.mark.instance,
            fresh: self.fresh(&record),
        };
        let life = match in_lane(lane_of(&record), look.at(&spec)).await {
            Reading::Known(None) => return Ok(Some(record)),
            Reading::Known(Some(life)) => life,
            Reading::Unknown { reason } => {
                self.tell_unseen(record, &reason).await?;
                return Ok(None);
            }
        };
        if self.store.clients().await?.iter().any(|other| life.uid() == Some(&other.owned.mark.uid)) {
            return Ok(Some(record)); // another client's: the plan says whose, and touches nothing
        }
        let mut seen = record.clone();
        let is_taken_over = life.is_taken_over();
        life.take_up(&mut record);
        self.records.save(&mut seen, &mut record).await?;
        if is_taken_over {
            let message = "its site was here before us: it is taken over as it stands, with its port and its secrets";
            self.event(Some(&record.name), EventKind::Normal, "TakenOver", message).await?;
            return Ok(Some(record));
        }
        let _turn = self.records.turn().await;
        let recovery = Recovery::note(&*self.store, &record.name, self.clock.now()).await?;
        let message =
            "it was here before this state: what carries its mark is taken back, with its port and its secrets";
        self.event(Some(&record.name), EventKind::Warning, "TakenBack", message).await?;
        tracing::warn!("{}", recovery.sentence());
        Ok(Some(record))
    }

    async fn tell_unseen(&self, record: ClientRecord, reason: &str) -> Stored<()> {
        let finding = Finding {
            condition: ConditionType::SiteReady,
            weight: Weight::Unknown,
            reason: "NotSeen".into(),
            message: format!(
                "whether this client was here before is not known, and nothing is made until it is: {reason}"
            ),
        };
        let spec = self.spec_finding(&record.name);
        self.tell_findings(record, &[spec, finding]).await
    }

    /// Parts of a plan wait while what they rest on is in doubt.
    pub(super) async fn hold_back(&self, record: &ClientRecord, plan: &mut Plan) -> Stored<()> {
        let until = later(self.clock.now(), HELD_FOR);
        if let Some(recovery) = Recovery::load(&*self.store).await? {
            plan.hold(|action| action.op != Op::Adopt, "RecoveryMode", &recovery.sentence(), until);
        }
        if record.owned.removal.is_none() {
            fights::refuse(&record.owned, plan, self.clock.now());
        }
        if record.owned.removal.is_some() && !self.fleet.can_see() {
            let message = "whether its file is back cannot be seen: the removal goes on when the directory can be read";
            plan.hold(|action| action.op != Op::Adopt, "DirectoryUnreadable", message, until);
        }
        if record.owned.removal.is_none() && !self.fleet.was_seen(&record.name) {
            let message = "its file is not there: nothing new is made for it until it is seen, or counts as removed";
            plan.hold(makes_something, "SpecMissing", message, until);
        }
        Ok(())
    }
}

fn makes_something(action: &Action) -> bool {
    use ResourceKind::{Database, Record, Role, Site};
    action.op == Op::Create && matches!(action.resource.kind, Database | Role | Record | Site)
}
