//! Which server stands behind a credential: noted at the first look. Another one later is neither read for the truth nor
//! written to until a person approves it by its hash.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::controller::records::Records;
use crate::plan::policy::hash_of;
use crate::store::{Store, Stored};

/// The document of the servers that are known.
pub const IDENTITIES: &str = "identities";

/// One server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Identity {
    /// The one that was met first, or that a person approved.
    known: String,
    /// The one that is there now, where it is another.
    other: Option<String>,
}

/// All of them, by the place where they are met.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identities(BTreeMap<String, Identity>);

impl Identities {
    /// As the state remembers them.
    pub async fn load(store: &dyn Store) -> Stored<Self> {
        Ok(store.document(IDENTITIES).await?.and_then(|value| serde_json::from_value(value).ok()).unwrap_or_default())
    }

    /// Writes them. The caller holds the records' turn.
    pub async fn save(&self, store: &dyn Store) -> Stored<()> {
        store.put_document(IDENTITIES, serde_json::to_value(self).ok().as_ref()).await
    }

    /// Who is met here; the sentence says that it is somebody else, and what to do.
    fn meet(&mut self, place: &str, shown: &str) -> Result<(), String> {
        let first = || Identity { known: shown.to_owned(), other: None };
        let identity = self.0.entry(place.to_owned()).or_insert_with(first);
        identity.other = (identity.known != shown).then(|| shown.to_owned());
        let Some(other) = &identity.other else { return Ok(()) };
        Err(format!(
            "{place} is {other} and was {} before, so nothing is made or removed there: check the credential; if it moved, say so with `sitewright approve {}`",
            identity.known,
            hash(place, other)
        ))
    }

    /// A person says that the other one is ours from now on; gives the place, or `None`: nobody has this hash.
    pub fn approve(&mut self, hash_given: &str) -> Option<&str> {
        let is_meant = |place: &str, identity: &Identity| {
            identity.other.as_ref().is_some_and(|other| hash(place, other) == hash_given)
        };
        let (place, identity) = self.0.iter_mut().find(|(place, identity)| is_meant(place, identity))?;
        identity.known = identity.other.take()?;
        Some(place)
    }
}

fn hash(place: &str, other: &str) -> String {
    hash_of([place, other].into_iter())
}

/// Meets a server and remembers it; the sentence says why it is not believed.
pub async fn meet(store: &dyn Store, records: &Records, place: &str, shown: &str) -> Stored<Result<(), String>> {
    let _turn = records.turn().await;
    let mut identities = Identities::load(store).await?;
    let known = identities.clone();
    let met = identities.meet(place, shown);
    if identities != known {
        if let Err(sentence) = &met {
            tracing::warn!("{sentence}");
        }
        identities.save(store).await?;
    }
    Ok(met)
}
