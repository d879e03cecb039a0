//! The secrets of each site, so that whatever a host prints of them is masked before anybody reads it.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::resource::name::HostName;
use crate::resource::secret::Secret;

/// Secrets by root domain; filled when a client's environment is made. In memory only.
#[derive(Clone, Default)]
pub struct KnownSecrets(Arc<RwLock<BTreeMap<HostName, Vec<Secret>>>>);

impl KnownSecrets {
    /// The secrets that the site of this domain may print.
    pub fn of(&self, domain: &HostName) -> Vec<Secret> {
        self.0.read().get(domain).cloned().unwrap_or_default()
    }

    /// Replaces what is known of a site.
    pub fn set(&self, domain: &HostName, secrets: Vec<Secret>) {
        if self.0.read().get(domain) != Some(&secrets) {
            self.0.write().insert(domain.clone(), secrets);
        }
    }
}
