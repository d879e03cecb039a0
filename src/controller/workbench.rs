//! Everything an action may need: what the executor's steps share.

use crate::controller::chronicle::Chronicle;
use crate::controller::clock::Clock;
use crate::controller::failure::Failure;
use crate::controller::ledger::Ledger;
use crate::controller::providers::Providers;
use crate::controller::servers::Servers;
use crate::plan::draft::Policy;
use crate::provider::Host;
use crate::resource::desired::Desired;
use crate::resource::secret::DigestKey;

/// Everything an action may need.
pub struct Workbench<'a> {
    /// Providers.
    pub providers: &'a Providers,
    /// The record.
    pub ledger: &'a Ledger<'a>,
    /// Time.
    pub clock: Clock,
    /// What is wanted.
    pub desired: &'a Desired,
    /// Limits.
    pub policy: &'a Policy,
    /// Where backups go.
    pub backups: &'a std::path::Path,
    /// Servers: their checks are shared by all clients.
    pub servers: &'a Servers,
    /// Makes the digests that stand for secrets.
    pub digests: &'a DigestKey,
    /// Keeps what was written.
    pub chronicle: &'a Chronicle,
}

impl Workbench<'_> {
    /// The host of the wanted site.
    pub(in crate::controller) fn host(&self, provider: &str) -> Result<&Host, Failure> {
        self.providers.hosts.get(provider).ok_or_else(|| Failure::Rule {
            reason: "ProviderNotConfigured",
            message: format!("the host `{provider}` has no credentials; set them and restart"),
        })
    }
}
