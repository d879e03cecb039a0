//! Certificates of a site.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::resource::name::HostName;

/// One certificate as the host lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// All names it covers.
    pub names: BTreeSet<HostName>,
    /// What the host says of it.
    pub status: CertificateStatus,
    /// `true` for one that was uploaded (`custom`): the host never renews it (contracts/ploi.md 6.10).
    pub custom: bool,
    /// End of validity, once known.
    pub expires_at: Option<Timestamp>,
}

/// A certificate's state; failure is not a state at Ploi: one vanishes or stays pending.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CertificateStatus {
    /// In use.
    Active,
    /// Ordered: `created`, `pending`, `installing`, or a word we do not know.
    Pending(String),
    /// The host said `failed`.
    Failed,
    /// On its way out.
    Deleting,
}
