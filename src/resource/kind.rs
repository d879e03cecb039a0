//! Kinds of resources, and the reference by which plans, states and people name one.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Every kind of resource that a client is made of (interface 5, decisions 13).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[allow(missing_docs)] // the names are the field's own terms
pub enum ResourceKind {
    Database,
    Role,
    Site,
    Placeholder,
    Repository,
    Environment,
    DeployScript,
    VirtualHost,
    Alias,
    Process,
    Record,
    Certificate,
    Release,
    Health,
    Administrator,
    Project,
    Domain,
}

impl fmt::Display for ResourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// One resource, as plans print it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ResourceRef {
    /// What it is.
    pub kind: ResourceKind,
    /// Who provides it: `ploi`, `cloudflare`, `postgres`, …
    pub provider: String,
    /// Its natural name: a domain, a database name, `A shop.example.com`.
    pub name: String,
    /// The provider's id, once it has one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub id: Option<String>,
}

impl fmt::Display for ResourceRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.provider, self.name)?;
        self.id.as_ref().map_or(Ok(()), |id| write!(f, " ({id})"))
    }
}
