//! Recovery mode: the world holds more of this installation than its state knows of, so the state was lost or is an older
//! copy. Nothing is made, changed or removed until a person has looked; what carries our marks is taken in meanwhile.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::plan::policy::set_hash;
use crate::resource::name::ClientName;
use crate::store::{Store, Stored};

/// The document that says so.
pub const RECOVERY: &str = "recovery";

/// What was found that the state did not know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recovery {
    /// Since when nothing is written.
    pub since: Timestamp,
    /// Clients whose things were there already, under this installation's marks.
    pub clients: BTreeSet<ClientName>,
}

impl Recovery {
    /// As the state remembers it; `None`: the state is trusted.
    pub async fn load(store: &dyn Store) -> Stored<Option<Recovery>> {
        Ok(store.document(RECOVERY).await?.and_then(|value| serde_json::from_value(value).ok()))
    }

    /// One more client was found. The caller holds the records' turn.
    pub async fn note(store: &dyn Store, client: &ClientName, now: Timestamp) -> Stored<Recovery> {
        let known = Recovery::load(store).await?;
        let mut recovery = known.unwrap_or_else(|| Recovery { since: now, clients: BTreeSet::new() });
        if recovery.clients.insert(client.clone()) {
            store.put_document(RECOVERY, serde_json::to_value(&recovery).ok().as_ref()).await?;
        }
        Ok(recovery)
    }

    /// What `approve` must name: exactly these clients.
    pub fn hash(&self) -> String {
        set_hash(&self.clients)
    }

    /// What everything waits for.
    pub fn sentence(&self) -> String {
        let taken_back = match self.clients.len() {
            1 => "1 client was taken back by its marks".to_owned(),
            count => format!("{count} clients were taken back by their marks"),
        };
        let hash = self.hash();
        format!(
            "the state does not know what it made before ({taken_back}): nothing is made, changed or removed until `sitewright approve {hash}`"
        )
    }

    /// A person has looked; gives the answer.
    pub async fn approve(&self, store: &dyn Store) -> Stored<String> {
        store.put_document(RECOVERY, None).await?;
        Ok("the state is trusted again; every client gets a pass now".to_owned())
    }
}
