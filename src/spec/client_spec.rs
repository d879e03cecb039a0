//! The shape of a client's file (interface 1): one YAML document, one client.
//!
//! These types are the schema: `sitewright schema` prints it from them, with the comments as descriptions.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::resource::removal::DeletionPolicy;
use crate::spec::placement::{Database, Dns, Hosting, Source, Tls};
use crate::spec::quantity::{Size, Span};
use crate::spec::secret_ref::EnvironmentValue;

/// The annotation that names resources a person says are ours, with commas between their ids.
pub const ADOPT_ANNOTATION: &str = "sitewright/adopt";

/// The annotation that names the client whose record a file of another name goes on with.
pub const MOVED_FROM_ANNOTATION: &str = "sitewright/moved-from";

/// One client website.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClientSpec {
    /// Version of this shape.
    pub api_version: ApiVersion,
    /// What the file describes.
    pub kind: Kind,
    /// Who it is.
    pub metadata: Metadata,
    /// What is wanted.
    pub spec: Spec,
}

/// Version of the shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ApiVersion {
    /// The only one so far.
    #[serde(rename = "sitewright/v1")]
    V1,
}

/// What a file describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Kind {
    /// One client.
    ClientSpec,
}

/// Who the client is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metadata {
    /// Identity, never changes: 1 to 40 lower-case letters, digits and hyphens.
    pub name: String,
    /// For selection by people and commands: `--selector tier=gold`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Notes; `sitewright/adopt` names resources that are to be taken over, by id; `sitewright/moved-from` the name that the
    /// client had before.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// What is wanted of the client.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Spec {
    /// Name for people; without it, `metadata.name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// Host name of the site; without a dot it is completed with the setting `baseDomain`.
    pub domain: String,
    /// Further host names, served and certified too.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// What the client pays for.
    #[serde(default)]
    pub plan: Plan,
    /// Kind of site.
    #[serde(default)]
    pub template: Template,
    /// A person at the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contact: Option<Contact>,
    /// Features that are switched on; every other known feature is switched off.
    #[serde(default)]
    pub features: Vec<String>,
    /// Collections of the CMS that are hidden.
    #[serde(default)]
    pub disabled_collections: Vec<String>,
    /// Handed to the site as it is, as the JSON text of `CLIENT_SETTINGS`.
    #[serde(default)]
    pub settings: BTreeMap<String, Value>,
    /// What is deployed; what it leaves open comes from the settings.
    #[serde(default)]
    pub source: Source,
    /// Where the site runs.
    #[serde(default)]
    pub hosting: Hosting,
    /// Where its data lives.
    #[serde(default)]
    pub database: Database,
    /// How its names are published.
    #[serde(default)]
    pub dns: Dns,
    /// Who signs its certificate.
    #[serde(default)]
    pub tls: Tls,
    /// Variables of the site: a text, or a secret reference.
    #[serde(default)]
    pub environment: BTreeMap<String, EnvironmentValue>,
    /// How it is built and released.
    #[serde(default)]
    pub deploy: Deploy,
    /// How it is looked at from outside.
    #[serde(default)]
    pub health: Health,
    /// The first administrator of the CMS, created once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin: Option<Admin>,
    /// Carried into the status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub billing: Option<Billing>,
    /// Carried into the status and into the site's environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payments: Option<Payments>,
    /// Who is told, besides the operators.
    #[serde(default)]
    pub notify: Notify,
    /// Serve the site, or the host's suspended page.
    #[serde(default)]
    pub state: State,
    /// How far the controller may go.
    #[serde(default)]
    pub reconcile: Reconcile,
    /// What becomes of everything when this file is removed.
    #[serde(default = "delete")]
    pub deletion_policy: DeletionPolicy,
}

fn delete() -> DeletionPolicy {
    DeletionPolicy::Delete
}

/// What the client pays for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)] // the replaced system's own words
pub enum Plan {
    Free,
    #[default]
    Starter,
    Professional,
    Enterprise,
}

/// Kind of site.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)] // the replaced system's own words
pub enum Template {
    Ecommerce,
    Blog,
    B2b,
    Portfolio,
    #[default]
    Corporate,
}

/// A person at the client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Contact {
    /// Name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Address of a mailbox.
    pub email: String,
    /// Telephone number, as it is dialled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phone: Option<String>,
}

/// How the site is built and released.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Deploy {
    /// How long a deploy may take; without it, the setting `deploy.timeout` (30m).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
    /// Heap that the build may use.
    #[serde(default = "build_memory")]
    pub build_memory: Size,
    /// Whether pending migrations run, after a dump.
    #[serde(default)]
    pub migrate: Migrations,
    /// Whether a release must answer well before it takes the port.
    #[serde(default = "yes")]
    pub health_gate: bool,
    /// Whether the previous release is started again when the new one does not answer.
    #[serde(default = "yes")]
    pub rollback_on_failure: bool,
}

/// Heap of a build unless the spec says otherwise: what the CMS needs today (decisions 7).
pub const BUILD_MEMORY_DEFAULT: Size = Size(4 << 30);

fn build_memory() -> Size {
    BUILD_MEMORY_DEFAULT
}

fn yes() -> bool {
    true
}

impl Default for Deploy {
    fn default() -> Self {
        Deploy {
            timeout: None,
            build_memory: BUILD_MEMORY_DEFAULT,
            migrate: Migrations::Safe,
            health_gate: true,
            rollback_on_failure: true,
        }
    }
}

/// Whether migrations run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Migrations {
    /// After a dump that could be read.
    #[default]
    Safe,
    /// Never.
    Off,
}

/// How the site is looked at from outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Health {
    /// Path that answers 2xx while the site is well.
    #[serde(default = "health_path")]
    pub path: String,
    /// Longest wait for an answer.
    #[serde(default = "health_timeout")]
    pub timeout: Span,
    /// Time between two looks.
    #[serde(default = "health_interval")]
    pub interval: Span,
    /// Whether the answer must name this client: header `X-Client-Id`, or the JSON member `client`.
    #[serde(default)]
    pub identity: bool,
}

fn health_path() -> String {
    "/api/health".to_owned()
}

fn health_timeout() -> Span {
    Span(Duration::from_secs(10))
}

fn health_interval() -> Span {
    Span(Duration::from_secs(60))
}

impl Default for Health {
    fn default() -> Self {
        Health { path: health_path(), timeout: health_timeout(), interval: health_interval(), identity: false }
    }
}

/// The first administrator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Admin {
    /// Login.
    pub email: String,
    /// Name for people; without it, the client's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// Billing, as the replaced system kept it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Billing {
    /// Its word for how billing stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// What a month costs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub monthly_fee: Option<f64>,
    /// When the next invoice goes out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_billing_date: Option<String>,
}

/// Payments that the site takes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Payments {
    /// Whether it takes any: `PAYMENTS_ENABLED`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// The connected account: `STRIPE_ACCOUNT_ID`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stripe_account_id: Option<String>,
    /// The tier of fees: `PRICING_TIER`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pricing_tier: Option<String>,
}

/// Who is told.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Notify {
    /// Addresses, added to those of the settings.
    #[serde(default)]
    pub email: Vec<String>,
}

/// Whether the site is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum State {
    /// Serve it.
    #[default]
    Active,
    /// Show the host's suspended page; nothing is deleted.
    Suspended,
}

/// How far the controller may go.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Reconcile {
    /// `enforce`, `observe` or `paused`.
    #[serde(default)]
    pub mode: Mode,
    /// Time between two full passes; without it, the setting `resync`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<Span>,
}

/// How far the controller may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Mode {
    /// Make it true.
    #[default]
    Enforce,
    /// Plan and report, write nothing.
    Observe,
    /// Not even observe.
    Paused,
}
