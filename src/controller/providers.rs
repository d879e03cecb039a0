//! The providers of one installation, as the loop sees them: traits only.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::provider::http::Budget;
use crate::provider::tally::Tally;
use crate::provider::{Cms, Databases, Dns, Git, Hook, Host, Mail, Outside};

/// What is configured. What is not here makes `ProviderNotConfigured`; nothing is put in its place.
#[derive(Clone)]
pub struct Providers {
    /// Hosts by name.
    pub hosts: BTreeMap<String, Host>,
    /// DNS by name.
    pub dns: BTreeMap<String, Arc<dyn Dns>>,
    /// Databases by name.
    pub databases: BTreeMap<String, Arc<dyn Databases>>,
    /// The CMS of the sites.
    pub cms: Arc<dyn Cms>,
    /// Probes and name servers.
    pub outside: Arc<dyn Outside>,
    /// Branch heads.
    pub git: Option<Arc<dyn Git>>,
    /// Mail, where a sender is set.
    pub mail: Option<Arc<dyn Mail>>,
    /// The webhook of notices.
    pub hook: Option<Arc<dyn Hook>>,
    /// What may be asked of the accounts behind them.
    pub budgets: BTreeMap<&'static str, Arc<Budget>>,
    /// What was asked of all of them.
    pub tally: Arc<Tally>,
}

impl Providers {
    /// Names of everything that is configured.
    pub fn names(&self) -> std::collections::BTreeSet<String> {
        self.hosts.keys().chain(self.dns.keys()).chain(self.databases.keys()).cloned().collect()
    }
}
