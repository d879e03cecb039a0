//! Whether a plan that is being executed still counts.

use std::sync::Arc;

use async_trait::async_trait;

use crate::controller::clock::Clock;
use crate::controller::fleet::Fleet;
use crate::provider::http::leave::Standing;
use crate::resource::name::ClientName;
use crate::store::{ClientRecord, Store, Stored};

/// A plan counts while nobody pauses the client, changes its spec, takes it away or puts it back.
pub struct PlanStanding {
    store: Arc<dyn Store>,
    fleet: Arc<Fleet>,
    clock: Clock,
    client: ClientName,
    /// The generation that is being made, and whether the client goes.
    planned: (u64, bool),
}

impl PlanStanding {
    /// Of a plan that was made from this record.
    pub fn new(store: Arc<dyn Store>, fleet: Arc<Fleet>, clock: Clock, record: &ClientRecord) -> Self {
        PlanStanding { store, fleet, clock, client: record.name.clone(), planned: planned(record) }
    }

    async fn stands(&self) -> Stored<bool> {
        let Some(stored) = self.store.client(&self.client).await? else { return Ok(false) };
        let pause = self.fleet.pause_in_force(&*self.store, &stored, self.clock.now()).await?;
        Ok(pause.is_none() && planned(&stored) == self.planned)
    }
}

fn planned(record: &ClientRecord) -> (u64, bool) {
    (record.generation, record.owned.removal.is_some())
}

#[async_trait]
impl Standing for PlanStanding {
    async fn holds(&self) -> bool {
        self.stands().await.unwrap_or_default()
    }
}
