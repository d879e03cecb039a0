//! The known members of a spec as one table: what `parse` walks a file against.
//!
//! It says the same as the types in `client_spec`; a test holds both against each other.

/// What a value may be.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    /// A map with these members and no others.
    Struct(&'static [Field]),
    /// A list of one shape.
    List(&'static Shape),
    /// A map with free keys.
    Map(Keys, &'static Shape),
    /// A text.
    Text(Leaf),
    /// A text or a whole number: an id.
    Id(Leaf),
    /// One of these words.
    Word(&'static [&'static str]),
    /// `true` or `false`.
    Bool,
    /// A whole number within bounds.
    Integer(u64, u64),
    /// Any number.
    Number,
    /// `auto`, or a whole number that the leaf's rule accepts.
    Auto(Leaf),
    /// A duration within bounds, in seconds.
    Duration(u64, u64),
    /// A size within bounds, in mebibytes.
    Size(u64, u64),
    /// `{ secretRef: … }`.
    Secret,
    /// A text or `{ secretRef: … }`: a variable.
    Variable,
    /// Anything that JSON can say.
    Free,
}

/// One known member.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// Its key.
    pub key: &'static str,
    /// Whether it must be there.
    pub need: Need,
    /// What it is.
    pub shape: Shape,
}

/// Whether a member must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Need {
    Required,
    Optional,
}

/// Which rule the keys of a free map follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Keys {
    Any,
    Variables,
}

/// Which rule of `validate` a text or number follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // the names say it; the rules are in `validate`
pub enum Leaf {
    Any,
    ClientName,
    Line,
    Domain,
    Host,
    Email,
    Phone,
    Feature,
    Collection,
    Repository,
    Branch,
    Commit,
    Port,
    Server,
    SystemUser,
    DatabaseName,
    Ttl,
    HealthPath,
    SecretVariable,
    SecretFile,
    SecretAge,
}

const fn required(key: &'static str, shape: Shape) -> Field {
    Field { key, need: Need::Required, shape }
}

const fn optional(key: &'static str, shape: Shape) -> Field {
    Field { key, need: Need::Optional, shape }
}

/// The record types of a spec (interface 1).
pub const RECORD_TYPES: &[&str] = &["A", "AAAA", "CNAME", "TXT", "MX", "CAA"];
/// Shortest and longest deploy, in seconds: a build takes at least some seconds, and a day means it hangs.
const DEPLOY_SECONDS: (u64, u64) = (10, 86_400);
/// Shortest and longest pause between looks, in seconds: faster looks are a load, slower ones tell nothing.
const INTERVAL_SECONDS: (u64, u64) = (5, 86_400);
/// Shortest and longest wait for one answer, in seconds.
const ANSWER_SECONDS: (u64, u64) = (1, 300);
/// Smallest and largest heap of a build, in mebibytes: Node's own default, and more than any server has.
const BUILD_MEBIBYTES: (u64, u64) = (256, 1 << 20);

/// The whole file.
pub const CLIENT_SPEC: Shape = Shape::Struct(&[
    required("apiVersion", Shape::Word(&["sitewright/v1"])),
    required("kind", Shape::Word(&["ClientSpec"])),
    required("metadata", Shape::Struct(METADATA)),
    required("spec", Shape::Struct(SPEC)),
]);

const METADATA: &[Field] = &[
    required("name", Shape::Text(Leaf::ClientName)),
    optional("labels", Shape::Map(Keys::Any, &Shape::Text(Leaf::Any))),
    optional("annotations", Shape::Map(Keys::Any, &Shape::Text(Leaf::Any))),
];

const SPEC: &[Field] = &[
    optional("displayName", Shape::Text(Leaf::Line)),
    required("domain", Shape::Text(Leaf::Domain)),
    optional("aliases", Shape::List(&Shape::Text(Leaf::Host))),
    optional("plan", Shape::Word(&["free", "starter", "professional", "enterprise"])),
    optional("template", Shape::Word(&["ecommerce", "blog", "b2b", "portfolio", "corporate"])),
    optional("contact", Shape::Struct(CONTACT)),
    optional("features", Shape::List(&Shape::Text(Leaf::Feature))),
    optional("disabledCollections", Shape::List(&Shape::Text(Leaf::Collection))),
    optional("settings", Shape::Map(Keys::Any, &Shape::Free)),
    optional("source", Shape::Struct(SOURCE)),
    optional("hosting", Shape::Struct(HOSTING)),
    optional("database", Shape::Struct(DATABASE)),
    optional("dns", Shape::Struct(DNS)),
    optional("tls", Shape::Struct(&[optional("issuer", Shape::Word(&["letsencrypt", "none"]))])),
    optional("environment", Shape::Map(Keys::Variables, &Shape::Variable)),
    optional("deploy", Shape::Struct(DEPLOY)),
    optional("health", Shape::Struct(HEALTH)),
    optional("admin", Shape::Struct(ADMIN)),
    optional("billing", Shape::Struct(BILLING)),
    optional("payments", Shape::Struct(PAYMENTS)),
    optional("notify", Shape::Struct(&[optional("email", Shape::List(&Shape::Text(Leaf::Email)))])),
    optional("state", Shape::Word(&["active", "suspended"])),
    optional("reconcile", Shape::Struct(RECONCILE)),
    optional("deletionPolicy", Shape::Word(&["Delete", "Retain"])),
];

const CONTACT: &[Field] = &[
    optional("name", Shape::Text(Leaf::Any)),
    required("email", Shape::Text(Leaf::Email)),
    optional("phone", Shape::Text(Leaf::Phone)),
];

const SOURCE: &[Field] = &[
    optional("repository", Shape::Text(Leaf::Repository)),
    optional("branch", Shape::Text(Leaf::Branch)),
    optional("commit", Shape::Text(Leaf::Commit)),
];

const HOSTING: &[Field] = &[
    optional("provider", Shape::Word(&["ploi", "vercel"])),
    optional("port", Shape::Auto(Leaf::Port)),
    optional("server", Shape::Id(Leaf::Server)),
    optional("systemUser", Shape::Text(Leaf::SystemUser)),
    optional("vercel", Shape::Map(Keys::Any, &Shape::Free)),
];

const DATABASE: &[Field] = &[
    optional("provider", Shape::Word(&["postgres", "railway", "sqlite", "external"])),
    optional("name", Shape::Text(Leaf::DatabaseName)),
    optional("reclaimPolicy", Shape::Word(&["Retain", "Delete"])),
    optional("urlFrom", Shape::Secret),
];

const DNS: &[Field] = &[
    optional("provider", Shape::Word(&["cloudflare", "none"])),
    optional("proxied", Shape::Bool),
    optional("ttl", Shape::Auto(Leaf::Ttl)),
    optional("records", Shape::List(&Shape::Struct(RECORD))),
];

const RECORD: &[Field] = &[
    required("type", Shape::Word(RECORD_TYPES)),
    required("name", Shape::Text(Leaf::Any)),
    required("content", Shape::Text(Leaf::Any)),
    optional("ttl", Shape::Auto(Leaf::Ttl)),
    optional("priority", Shape::Integer(0, 65_535)),
    optional("proxied", Shape::Bool),
];

const DEPLOY: &[Field] = &[
    optional("timeout", Shape::Duration(DEPLOY_SECONDS.0, DEPLOY_SECONDS.1)),
    optional("buildMemory", Shape::Size(BUILD_MEBIBYTES.0, BUILD_MEBIBYTES.1)),
    optional("migrate", Shape::Word(&["safe", "off"])),
    optional("healthGate", Shape::Bool),
    optional("rollbackOnFailure", Shape::Bool),
];

const HEALTH: &[Field] = &[
    optional("path", Shape::Text(Leaf::HealthPath)),
    optional("timeout", Shape::Duration(ANSWER_SECONDS.0, ANSWER_SECONDS.1)),
    optional("interval", Shape::Duration(INTERVAL_SECONDS.0, INTERVAL_SECONDS.1)),
    optional("identity", Shape::Bool),
];

const ADMIN: &[Field] = &[required("email", Shape::Text(Leaf::Email)), optional("name", Shape::Text(Leaf::Any))];

const BILLING: &[Field] = &[
    optional("status", Shape::Text(Leaf::Any)),
    optional("monthlyFee", Shape::Number),
    optional("nextBillingDate", Shape::Text(Leaf::Any)),
];

const PAYMENTS: &[Field] = &[
    optional("enabled", Shape::Bool),
    optional("stripeAccountId", Shape::Text(Leaf::Line)),
    optional("pricingTier", Shape::Text(Leaf::Line)),
];

const RECONCILE: &[Field] = &[
    optional("mode", Shape::Word(&["enforce", "observe", "paused"])),
    optional("interval", Shape::Duration(INTERVAL_SECONDS.0, INTERVAL_SECONDS.1)),
];

/// The inside of a secret reference.
pub const SECRET_REF: &[Field] = &[
    optional("env", Shape::Text(Leaf::SecretVariable)),
    optional("file", Shape::Text(Leaf::SecretFile)),
    optional("age", Shape::Text(Leaf::SecretAge)),
];
