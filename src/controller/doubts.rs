//! Listings that are not believed: one that lacks much of what is known to be ours at once is no witness of absence. It
//! counts as unknown until it shows more again, or until a person approves, by its hash, exactly what is missing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::controller::clock::Clock;
use crate::controller::identities;
use crate::controller::records::Records;
use crate::plan::draft::later;
use crate::plan::policy::hash_of;
use crate::resource::name::{ClientName, RemoteId};
use crate::resource::owned::OwnedResource;
use crate::store::{ClientRecord, Event, EventKind, Store, Stored};

/// The document of the listings in doubt.
pub const DOUBTS: &str = "doubts";
/// A listing is doubted where nothing is left in it of at least this many clients: one alone is a site that somebody removed.
const CLIENTS_MIN: usize = 2;
/// And of at least this share of the clients that have something there, per cent.
const SHARE_PERCENT_MIN: usize = 50;

/// One listing in doubt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Doubt {
    /// Since when.
    pub since: Timestamp,
    /// Clients of which nothing is left in it.
    pub clients: BTreeSet<ClientName>,
    /// A person said that these are really gone.
    pub approved: bool,
}

impl Doubt {
    /// What `approve` must name: exactly these clients in exactly this listing.
    pub fn hash(&self, place: &str) -> String {
        hash_of(std::iter::once(place).chain(self.clients.iter().map(ClientName::as_str)))
    }
}

/// All that are in doubt, by the place that was listed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Doubts(BTreeMap<String, Doubt>);

impl Doubts {
    /// As the state remembers them.
    pub async fn load(store: &dyn Store) -> Stored<Self> {
        Ok(store.document(DOUBTS).await?.and_then(|value| serde_json::from_value(value).ok()).unwrap_or_default())
    }

    /// Writes them. The caller holds the records' turn.
    pub async fn save(&self, store: &dyn Store) -> Stored<()> {
        let value = serde_json::to_value(self).ok().filter(|_| !self.0.is_empty());
        store.put_document(DOUBTS, value.as_ref()).await
    }

    /// A person says that what is missing is gone. Gives the place and the clients; `None`: no doubt has this hash.
    pub fn approve(&mut self, hash: &str) -> Option<(&str, &BTreeSet<ClientName>)> {
        let (place, doubt) = self.0.iter_mut().find(|(place, doubt)| doubt.hash(place) == hash)?;
        doubt.approved = true;
        Some((place, &doubt.clients))
    }
}

/// What is to be judged: one complete listing.
pub struct Listed<'a> {
    /// Where, for people: `server 1 at ploi`.
    pub place: String,
    /// What kind of thing, in the plural, for people.
    pub things: &'static str,
    /// The ids it shows.
    pub ids: &'a BTreeSet<RemoteId>,
    /// Whether it shows a thing of a client all the same: made anew since this state knew it.
    pub is_shown: &'a (dyn Fn(&ClientRecord, &OwnedResource) -> bool + Sync),
    /// Whether a thing that a client is known to have should be in this listing: it is of that kind and place, and nobody
    /// has asked the provider to remove it.
    pub is_expected: &'a (dyn Fn(&ClientRecord, &OwnedResource) -> bool + Sync),
}

/// What is thought of a listing.
enum Verdict {
    /// It shows what it should.
    Whole,
    /// It does not, and a person said that this is so: judged again until it does.
    Approved,
    /// It does not.
    Doubted(Doubt),
}

/// Judges listings.
pub struct Plausibility {
    store: Arc<dyn Store>,
    records: Arc<Records>,
    clock: Clock,
    /// What was made a moment ago may be missing for so long.
    settle: Duration,
    /// Ids of the last believed listing of each place: where none of them is missing there is nothing to judge.
    believed: Mutex<BTreeMap<String, BTreeSet<RemoteId>>>,
}

impl Plausibility {
    /// Over the state.
    pub fn new(store: Arc<dyn Store>, records: Arc<Records>, clock: Clock, settle: Duration) -> Self {
        Plausibility { store, records, clock, settle, believed: Mutex::default() }
    }

    /// Whether the server that is met at a place is the one that is known there; the sentence says who it is else.
    pub async fn meet(&self, place: &str, shown: &str) -> Stored<Result<(), String>> {
        identities::meet(&*self.store, &self.records, place, shown).await
    }

    /// Whether a listing can be believed; the sentence says why not, and what to do.
    pub async fn judge(&self, listed: Listed<'_>) -> Stored<Result<(), String>> {
        let is_whole = |before: &BTreeSet<RemoteId>| before.is_subset(listed.ids);
        if self.believed.lock().get(&listed.place).is_some_and(is_whole) {
            self.believed.lock().insert(listed.place, listed.ids.clone());
            return Ok(Ok(()));
        }
        let (lost, all) = self.lost(&listed).await?;
        let is_doubtful = lost.len() >= CLIENTS_MIN && lost.len() * 100 >= all * SHARE_PERCENT_MIN;
        match self.weigh(&listed, is_doubtful.then_some(lost)).await? {
            Verdict::Whole => {
                self.believed.lock().insert(listed.place, listed.ids.clone());
                Ok(Ok(()))
            }
            Verdict::Approved => {
                self.believed.lock().remove(&listed.place);
                Ok(Ok(()))
            }
            Verdict::Doubted(doubt) => {
                self.believed.lock().remove(&listed.place);
                Ok(Err(sentence(&listed, &doubt, all)))
            }
        }
    }

    /// Clients of which nothing is left, and how many have something there.
    async fn lost(&self, listed: &Listed<'_>) -> Stored<(BTreeSet<ClientName>, usize)> {
        let now = self.clock.now();
        let (mut lost, mut all) = (BTreeSet::new(), 0);
        for record in self.store.clients().await? {
            let is_expected = |one: &&OwnedResource| (listed.is_expected)(&record, one);
            let known: Vec<&OwnedResource> = record.owned.resources.iter().filter(is_expected).collect();
            if known.is_empty() || known.iter().any(|one| later(one.since, self.settle) > now) {
                continue;
            }
            all += 1;
            if !known.iter().any(|one| listed.ids.contains(&one.id) || (listed.is_shown)(&record, one)) {
                lost.insert(record.name.clone());
            }
        }
        Ok((lost, all))
    }

    /// Notes what is in doubt, or no longer is.
    async fn weigh(&self, listed: &Listed<'_>, lost: Option<BTreeSet<ClientName>>) -> Stored<Verdict> {
        let _turn = self.records.turn().await;
        let mut doubts = Doubts::load(&*self.store).await?;
        let Some(clients) = lost else {
            if doubts.0.remove(&listed.place).is_some() {
                doubts.save(&*self.store).await?;
            }
            return Ok(Verdict::Whole);
        };
        match doubts.0.get(&listed.place) {
            Some(known) if known.approved && clients.is_subset(&known.clients) => return Ok(Verdict::Approved),
            Some(known) if known.clients == clients => return Ok(Verdict::Doubted(known.clone())),
            _ => {}
        }
        let doubt = Doubt { since: self.clock.now(), clients, approved: false };
        doubts.0.insert(listed.place.clone(), doubt.clone());
        doubts.save(&*self.store).await?;
        self.tell(&listed.place, &doubt).await?;
        Ok(Verdict::Doubted(doubt))
    }

    async fn tell(&self, place: &str, doubt: &Doubt) -> Stored<()> {
        let message = format!(
            "the listing of {place} shows nothing of {} clients any more and is not believed; `sitewright approve {}` says that they are gone",
            doubt.clients.len(),
            doubt.hash(place)
        );
        tracing::warn!("{message}");
        let reason = "NotBelieved".to_owned();
        let event =
            Event { id: 0, at: doubt.since, client: None, kind: EventKind::Warning, reason, message, reconcile: None };
        self.store.append_event(&event).await.map(|_| ())
    }
}

fn sentence(listed: &Listed<'_>, doubt: &Doubt, all: usize) -> String {
    let names: Vec<&str> = doubt.clients.iter().map(ClientName::as_str).collect();
    format!(
        "of {} of {all} clients that have {} there it shows nothing any more ({}), so nothing is made or removed there: check what the credential may see; if they are really gone, say so with `sitewright approve {}`",
        names.len(),
        listed.things,
        names.join(", "),
        doubt.hash(&listed.place),
    )
}
