//! What calls are for, and how many there were: the cost of a cycle in the words of its floor (decisions 37).

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

/// Why a call is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallPurpose {
    /// A page of all sites of a server.
    SiteListing,
    /// A page of all records of a zone.
    RecordListing,
    /// The one statement over all databases and roles of a server.
    CatalogStatement,
    /// What is remembered is read again: identities, branch heads, details that no listing shows.
    Audit,
    /// Whatever a cycle in which nothing changed has no need of.
    Besides,
}

tokio::task_local! {
    static PURPOSE: CallPurpose;
}

/// Runs a future whose calls are for this. Tasks spawned inside do not inherit it: their calls are [`CallPurpose::Besides`].
pub async fn counted_as<F: Future>(purpose: CallPurpose, future: F) -> F::Output {
    PURPOSE.scope(purpose, future).await
}

/// Calls by what they were for. A call that is repeated counts again; a page is a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)] // each is the number of the purpose of its name
pub struct Calls {
    pub site_listings: u64,
    pub record_listings: u64,
    pub catalog_statements: u64,
    pub audit: u64,
    pub besides: u64,
}

impl Calls {
    /// Those that came after an earlier count.
    pub fn since(&self, before: &Calls) -> Calls {
        Calls {
            site_listings: self.site_listings.saturating_sub(before.site_listings),
            record_listings: self.record_listings.saturating_sub(before.record_listings),
            catalog_statements: self.catalog_statements.saturating_sub(before.catalog_statements),
            audit: self.audit.saturating_sub(before.audit),
            besides: self.besides.saturating_sub(before.besides),
        }
    }
}

impl fmt::Display for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counted = |number: u64, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
        write!(
            f,
            "{}, {}, {}; audit: {}; besides: {}",
            counted(self.site_listings, "site listing"),
            counted(self.record_listings, "record listing"),
            counted(self.catalog_statements, "catalog statement"),
            self.audit,
            self.besides
        )
    }
}

/// How often each provider answered with each code.
pub type Answers = BTreeMap<(&'static str, Option<u16>), u64>;

/// Counts calls where they leave, and their answers; one for all accounts of an installation.
#[derive(Debug, Default)]
pub struct Tally {
    calls: Mutex<Calls>,
    answers: Mutex<Answers>,
    /// Whether the newest call to each provider got any answer.
    reached: Mutex<BTreeMap<&'static str, bool>>,
}

impl Tally {
    /// A call leaves, for the purpose in force ([`counted_as`]).
    pub fn count(&self) {
        let mut calls = self.calls.lock();
        *match PURPOSE.try_with(|purpose| *purpose).unwrap_or(CallPurpose::Besides) {
            CallPurpose::SiteListing => &mut calls.site_listings,
            CallPurpose::RecordListing => &mut calls.record_listings,
            CallPurpose::CatalogStatement => &mut calls.catalog_statements,
            CallPurpose::Audit => &mut calls.audit,
            CallPurpose::Besides => &mut calls.besides,
        } += 1;
    }

    /// All calls so far.
    pub fn calls(&self) -> Calls {
        *self.calls.lock()
    }

    /// A call ended: with this HTTP status, or without an answer.
    pub fn answered(&self, provider: &'static str, status: Option<u16>) {
        *self.answers.lock().entry((provider, status)).or_default() += 1;
        self.reached.lock().insert(provider, status.is_some());
    }

    /// All answers so far.
    pub fn answers(&self) -> Answers {
        self.answers.lock().clone()
    }

    /// Whether the newest call to every provider that was called got no answer: then it is our own network that is away.
    pub fn is_cut_off(&self) -> bool {
        let reached = self.reached.lock();
        !reached.is_empty() && reached.values().all(|reached| !reached)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn calls_count_for_what_they_are_made_for_and_a_spawned_task_counts_besides() {
        let tally = std::sync::Arc::new(Tally::default());
        counted_as(CallPurpose::Audit, async {
            tally.count();
            counted_as(CallPurpose::SiteListing, async { tally.count() }).await;
            let spawned = tally.clone();
            tokio::spawn(async move { spawned.count() }).await.unwrap();
        })
        .await;
        let first = tally.calls();
        assert_eq!(first, Calls { site_listings: 1, audit: 1, besides: 1, ..Calls::default() });
        tally.count();
        assert_eq!(tally.calls().since(&first), Calls { besides: 1, ..Calls::default() });
        assert_eq!(first.to_string(), "1 site listing, 0 record listings, 0 catalog statements; audit: 1; besides: 1");
    }
}
