//! The part of a spec that says what runs and where: source, host, database, names, certificate.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::resource::record::RecordType;
use crate::resource::removal::ReclaimPolicy;
use crate::spec::quantity::{AutoOr, Id};
use crate::spec::secret_ref::SecretReference;

/// What is deployed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Source {
    /// `owner/name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// The branch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// Pins a release: 7 to 40 hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
}

/// Where the site runs.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Hosting {
    /// The host.
    #[serde(default)]
    pub provider: HostingProvider,
    /// `auto`, or a number in the server's port range.
    #[serde(default)]
    pub port: AutoOr,
    /// The server's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<Id>,
    /// The system user that owns the site; it must exist.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system_user: Option<String>,
    /// Settings of the project at Vercel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vercel: Option<BTreeMap<String, Value>>,
}

/// A host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)] // names
pub enum HostingProvider {
    #[default]
    Ploi,
    Vercel,
}

impl HostingProvider {
    /// The name by which the provider is known.
    pub fn name(self) -> &'static str {
        match self {
            HostingProvider::Ploi => "ploi",
            HostingProvider::Vercel => "vercel",
        }
    }
}

/// Where the site's data lives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Database {
    /// Who provides it.
    #[serde(default)]
    pub provider: DatabaseProvider,
    /// Its name; without it, `client_` and the client's name with `_` for `-`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What becomes of it when the client goes.
    #[serde(default = "retain")]
    pub reclaim_policy: ReclaimPolicy,
    /// Address of a database that is provided elsewhere; belongs to `provider: external`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url_from: Option<SecretReference>,
}

fn retain() -> ReclaimPolicy {
    ReclaimPolicy::Retain
}

impl Default for Database {
    fn default() -> Self {
        Database {
            provider: DatabaseProvider::default(),
            name: None,
            reclaim_policy: ReclaimPolicy::Retain,
            url_from: None,
        }
    }
}

/// Who provides a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)] // names
pub enum DatabaseProvider {
    #[default]
    Postgres,
    Railway,
    Sqlite,
    External,
}

impl DatabaseProvider {
    /// The name by which the provider is known.
    pub fn name(self) -> &'static str {
        match self {
            DatabaseProvider::Postgres => "postgres",
            DatabaseProvider::Railway => "railway",
            DatabaseProvider::Sqlite => "sqlite",
            DatabaseProvider::External => "external",
        }
    }
}

/// How the client's names are published.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Dns {
    /// Who publishes them; `none`: somebody else does.
    #[serde(default)]
    pub provider: DnsProvider,
    /// Through the provider's proxy, once the first certificate is there.
    #[serde(default)]
    pub proxied: bool,
    /// `auto`, or seconds from 60 to 86400.
    #[serde(default)]
    pub ttl: AutoOr,
    /// Further records at or below the domain.
    #[serde(default)]
    pub records: Vec<DnsRecord>,
}

/// Who publishes names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)] // names
pub enum DnsProvider {
    #[default]
    Cloudflare,
    None,
}

impl DnsProvider {
    /// The name by which the provider is known.
    pub fn name(self) -> &'static str {
        match self {
            DnsProvider::Cloudflare => "cloudflare",
            DnsProvider::None => "none",
        }
    }
}

/// One further record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DnsRecord {
    /// The type.
    #[serde(rename = "type")]
    pub kind: RecordType,
    /// `@` for the domain, a label below it, or a full name at or below it.
    pub name: String,
    /// What it holds; a TXT value without quotes, a CAA value as `flags tag "value"`.
    pub content: String,
    /// `auto`, or seconds from 60 to 86400; without it, `spec.dns.ttl`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl: Option<AutoOr>,
    /// Preference of an MX record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<u16>,
    /// Through the provider's proxy; A, AAAA and CNAME only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxied: Option<bool>,
}

/// Who signs the certificate.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tls {
    /// `letsencrypt`, or `none` for a site without a certificate.
    #[serde(default)]
    pub issuer: Issuer,
}

/// Who signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)] // names
pub enum Issuer {
    #[default]
    LetsEncrypt,
    None,
}
