//! The providers' accounts: what was used of their budgets outlives the process, and what a cycle asked of them is told.
//!
//! No call leaves that the state does not count already: a few are reserved at a time and written down before the first of
//! them is sent, so that a process that is killed again and again stays within the limit (reliability.md R8).

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{join_all, join3};
use jiff::Timestamp;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::controller::clock::Clock;
use crate::provider::http::Budget;
use crate::provider::http::budget::BudgetState;
use crate::provider::tally::{Calls, Tally};
use crate::store::{Store, Stored};

/// What only people read is written this often at most.
const TELL_EVERY: Duration = Duration::from_secs(5);
/// A reservation of which nothing was used for this long is given back; a poll every few seconds is no reason to write each time.
const GIVEN_BACK_AFTER: Duration = Duration::from_secs(60);
/// The part of a limit that is reserved at a time; a kill in that moment costs as much of one window.
const RESERVED_DIVISOR: u32 = 10;
/// The most that is reserved at a time: beyond it the write is no longer what holds calls up.
const RESERVED_MAX: u32 = 20;

/// The document that tells what the cycle asked, and of whom.
pub const ASKED: &str = "calls";

/// The document of an account.
pub fn document(account: &str) -> String {
    format!("account/{account}")
}

/// How an account stood.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// Then.
    pub at: Timestamp,
    /// So.
    pub budget: BudgetState,
}

/// What a cycle asked of the providers so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// When the cycle began.
    pub since: Timestamp,
    /// Accounts with a budget.
    pub accounts: Vec<String>,
    /// Calls of all of them, and statements.
    #[serde(flatten)]
    pub calls: Calls,
}

/// The accounts of an installation.
pub struct Accounts {
    budgets: BTreeMap<&'static str, Arc<Budget>>,
    tally: Arc<Tally>,
    store: Arc<dyn Store>,
    clock: Clock,
    /// When the cycle began, and what had been asked until then.
    cycle: Mutex<(Timestamp, Calls)>,
    /// What the state holds of it.
    told: Mutex<Option<Asked>>,
}

impl Accounts {
    /// Over the accounts' budgets and what is counted of all of them.
    pub fn new(
        budgets: BTreeMap<&'static str, Arc<Budget>>,
        tally: Arc<Tally>,
        store: Arc<dyn Store>,
        clock: Clock,
    ) -> Self {
        let cycle = Mutex::new((clock.now(), Calls::default()));
        Accounts { budgets, tally, store, clock, cycle, told: Mutex::default() }
    }

    /// A cycle begins: its calls are counted from here.
    pub fn begin_cycle(&self) {
        *self.cycle.lock() = (self.clock.now(), self.tally.calls());
    }

    /// What the cycle has asked so far.
    pub fn asked(&self) -> Asked {
        let (since, before) = *self.cycle.lock();
        let accounts = self.budgets.keys().map(ToString::to_string).collect();
        Asked { since, accounts, calls: self.tally.calls().since(&before) }
    }

    /// Takes up how the accounts stood when an earlier process ended.
    pub async fn restore(&self) -> Stored<()> {
        for (name, budget) in &self.budgets {
            let kept = self.store.document(&document(name)).await?;
            if let Some(kept) = kept.and_then(|value| serde_json::from_value::<Standing>(value).ok()) {
                let age = Duration::try_from(self.clock.now().duration_since(kept.at)).unwrap_or_default();
                budget.restore(&kept.budget, age);
            }
        }
        Ok(())
    }

    /// Does work whose calls are all counted in the state.
    pub async fn kept_during<T>(&self, work: impl Future<Output = Stored<T>>) -> Stored<T> {
        self.restore().await?;
        self.budgets.values().for_each(|budget| budget.reserve(Some(0)));
        self.tell_accounts().await?;
        let (ended, end) = watch::channel(false);
        let work = async {
            let done = work.await;
            ended.send_replace(true);
            done
        };
        let budgets = self.budgets.iter().map(|(name, budget)| self.keep(name, budget, end.clone()));
        let (done, ..) = join3(work, join_all(budgets), self.tell(end)).await;
        self.tell_asked().await;
        done
    }

    /// Keeps one account. A reservation that was not used for a while is given back, so that a kill at rest costs nothing.
    async fn keep(&self, name: &str, budget: &Budget, mut end: watch::Receiver<bool>) {
        let mut kept = budget.snapshot();
        let mut again = None;
        loop {
            let is_time = tokio::select! {
                biased;
                () = budget.news() => false,
                () = sleep(again.unwrap_or_default()), if again.is_some() => true,
                _ = end.wait_for(|ended| *ended) => break,
            };
            if is_time && budget.snapshot().reserved == kept.reserved && !budget.is_waited_for() {
                budget.reserve(Some(0));
            }
            let mut state = budget.snapshot();
            let wanted = state.reserved == 0 && budget.is_waited_for();
            if wanted {
                state.reserved = state.limit.div_ceil(RESERVED_DIVISOR).min(RESERVED_MAX);
            }
            again = (state.reserved > 0).then_some(GIVEN_BACK_AFTER);
            if (wanted || is_news(&state, &kept)) && !self.write(name, &state).await {
                again = Some(TELL_EVERY); // whoever waits, waits on
                continue;
            }
            if wanted {
                budget.reserve(Some(state.reserved));
            }
            kept = state;
        }
        budget.reserve(None);
        let state = budget.snapshot();
        if is_news(&state, &kept) {
            self.write(name, &state).await;
        }
    }

    async fn write(&self, name: &str, budget: &BudgetState) -> bool {
        let standing = Standing { at: self.clock.now(), budget: budget.clone() };
        let written = self.put(&document(name), &standing).await;
        if let Err(error) = &written {
            tracing::error!(account = name, %error, "what is used of a budget cannot be recorded; no call is sent until it can");
        }
        written.is_ok()
    }

    /// Who looks right after the first start sees the accounts. A later start finds them told: it costs no write.
    async fn tell_accounts(&self) -> Stored<()> {
        let known = self.store.document(ASKED).await?.and_then(|value| serde_json::from_value::<Asked>(value).ok());
        if known.is_none_or(|known| known.accounts != self.asked().accounts) {
            self.tell_asked().await;
        }
        Ok(())
    }

    /// Tells again and again.
    async fn tell(&self, mut end: watch::Receiver<bool>) {
        while tokio::time::timeout(TELL_EVERY, end.wait_for(|ended| *ended)).await.is_err() {
            self.tell_asked().await;
        }
    }

    /// Tells what the cycle has asked so far.
    async fn tell_asked(&self) {
        let asked = self.asked();
        if self.told.lock().as_ref() != Some(&asked) && self.put(ASKED, &asked).await.is_ok() {
            *self.told.lock() = Some(asked);
        }
    }

    async fn put(&self, key: &str, value: &impl Serialize) -> Stored<()> {
        self.store.put_document(key, serde_json::to_value(value).ok().as_ref()).await
    }
}

/// Slots that come free with time are none: whoever reads the standing knows when they do.
fn is_news(state: &BudgetState, kept: &BudgetState) -> bool {
    state.reserved != kept.reserved
        || state.remaining < kept.remaining
        || state.limit != kept.limit
        || state.closed_for.is_zero() != kept.closed_for.is_zero()
}
