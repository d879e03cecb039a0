//! Rules inside one file: what a single text may be (one function per kind of text), and what members say together.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;

use crate::config::PROVIDER_VARIABLES;
use crate::resource::env_file::{self, EnvValue};
use crate::resource::name::{ClientName, Commit, HostName, RepositorySlug, SqlName};
use crate::spec::defaults::complete_domain;
use crate::spec::environment::RESERVED_VARIABLES;
use crate::spec::features::Catalogue;
use crate::spec::finding::{Finding, nearest};
use crate::spec::shape::Leaf;
use crate::spec::tree::{Node, Value, shown_key};

/// Longest text that becomes one line of something: a name, a tier.
const LINE_CHARS_MAX: usize = 200;
/// Longest mailbox address (RFC 5321, 4.5.3.1.3) and its local part (4.5.3.1.1).
const EMAIL_CHARS_MAX: usize = 254;
const EMAIL_LOCAL_CHARS_MAX: usize = 64;
/// Longest path that is looked at.
const HEALTH_PATH_CHARS_MAX: usize = 512;
/// Longest branch name: a file name has 255 bytes, and Git appends `.lock`.
const BRANCH_BYTES_MAX: usize = 244;
/// Longest name of a Linux user (useradd(8)).
const SYSTEM_USER_BYTES_MAX: usize = 32;
/// Longest database name: the login roles append `_a` and `_b`, and PostgreSQL cuts at 63 bytes (contracts/postgres.md 2).
const DATABASE_NAME_BYTES_MAX: usize = crate::resource::name::SQL_NAME_BYTES_MAX - 2;
/// Times to live that the DNS provider takes, in seconds (contracts/cloudflare.md 1.8).
const TTL_SECONDS: RangeInclusive<u64> = 60..=86_400;

/// Words that pm2 takes for all processes, or for a whole group of them.
const PROCESS_WORDS: [&str; 2] = ["all", "default"];

/// What the rules need to know from the settings.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Completes a domain without a dot.
    pub base_domain: Option<String>,
    /// The features there are.
    pub catalogue: Arc<Catalogue>,
    /// Ports that a spec may fix (`hosting.ploi.portRange`).
    pub ports: RangeInclusive<u16>,
}

/// `hosting.ploi.portRange` unless the settings say otherwise.
pub const PORT_RANGE_DEFAULT: RangeInclusive<u16> = 4001..=9999;

impl Default for Rules {
    fn default() -> Self {
        Rules { base_domain: None, catalogue: Arc::new(Catalogue::built_in()), ports: PORT_RANGE_DEFAULT }
    }
}

/// What is wrong with a value, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong and what was expected.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

impl Problem {
    /// A problem that explains itself.
    pub fn new(message: impl Into<String>) -> Self {
        Problem { message: message.into(), help: None }
    }

    /// A problem with its way out.
    pub fn with_help(message: impl Into<String>, help: impl Into<String>) -> Self {
        Problem { message: message.into(), help: Some(help.into()) }
    }
}

/// The outcome of a rule.
pub type Verdict = Result<(), Problem>;

fn ensure(good: bool, expected: impl Into<String>) -> Verdict {
    if good { Ok(()) } else { Err(Problem::new(expected)) }
}

/// Holds one text against the rule of its kind.
pub fn leaf(kind: Leaf, text: &str, rules: &Rules) -> Verdict {
    let said = |error: crate::resource::name::NameError| Problem::new(error.to_string());
    match kind {
        Leaf::Any => Ok(()),
        Leaf::ClientName => {
            ClientName::parse(text).map_err(said)?;
            ensure(
                !PROCESS_WORDS.contains(&text),
                format!(
                    "`{text}` cannot be a client: pm2, whose process is named after it, takes the word for many processes"
                ),
            )
        }
        Leaf::Line => line(text),
        Leaf::Domain => complete_domain(text, rules.base_domain.as_deref()).map(drop).map_err(said),
        Leaf::Host => HostName::parse(text).map(drop).map_err(said),
        Leaf::Email => email(text),
        Leaf::Phone => ensure(
            text.bytes().any(|b| b.is_ascii_digit())
                && text.bytes().all(|b| b.is_ascii_digit() || b"+-(). /".contains(&b)),
            "a telephone number is digits, spaces and `+-()./`",
        ),
        Leaf::Feature => feature(text, &rules.catalogue),
        Leaf::Collection => ensure(
            text.starts_with(|c: char| c.is_ascii_alphabetic())
                && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')),
            "a collection is letters, digits, `-` and `_`, and begins with a letter",
        ),
        Leaf::Repository => RepositorySlug::parse(text).map(drop).map_err(said),
        Leaf::Branch => branch(text),
        Leaf::Commit => Commit::parse(text).map(drop).map_err(said),
        Leaf::Server => ensure(
            (1..=LINE_CHARS_MAX).contains(&text.len())
                && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')),
            "a server is given by its id: letters, digits, `-` and `_`",
        ),
        Leaf::SystemUser => system_user(text),
        Leaf::DatabaseName => database_name(text),
        Leaf::HealthPath => health_path(text),
        Leaf::SecretVariable => secret_variable(text),
        Leaf::SecretFile => ensure(
            !text.is_empty() && !text.split('/').any(|part| part == ".."),
            "a secret file is a path without `..`",
        ),
        Leaf::SecretAge => ensure(
            text.trim_start().starts_with("-----BEGIN AGE ENCRYPTED FILE-----"),
            "an age value is armored: it begins with `-----BEGIN AGE ENCRYPTED FILE-----`",
        ),
        Leaf::Port => port(text, rules),
        Leaf::Ttl => ensure(
            text.parse::<u64>().is_ok_and(|seconds| TTL_SECONDS.contains(&seconds)),
            format!("`auto`, or seconds from {} to {}", TTL_SECONDS.start(), TTL_SECONDS.end()),
        ),
    }
}

fn line(text: &str) -> Verdict {
    ensure(
        !text.trim().is_empty() && text.chars().count() <= LINE_CHARS_MAX && !text.contains(['\n', '\r']),
        format!("one line of 1 to {LINE_CHARS_MAX} characters is expected"),
    )?;
    carried(text)
}

/// Whether a text can be the value of a variable, so that every reader reads the same (interface 2).
pub fn carried(text: &str) -> Verdict {
    // Any good name does: only the value is asked about.
    env_file::check("VALUE", &EnvValue::Plain(text.to_owned())).map_err(|error| Problem::new(error.problem))
}

fn email(text: &str) -> Verdict {
    let shape = || Problem::new("a mailbox address is expected, such as `name@host.example`");
    let (local, host) = text.rsplit_once('@').ok_or_else(shape)?;
    let dots = !local.starts_with('.') && !local.ends_with('.') && !local.contains("..");
    let characters = local.bytes().all(|b| b.is_ascii_alphanumeric() || b".!#$%&'*+/=?^_`{|}~-".contains(&b));
    let lengths = (1..=EMAIL_LOCAL_CHARS_MAX).contains(&local.len()) && text.len() <= EMAIL_CHARS_MAX;
    let host_ok = HostName::parse(host).is_ok() && !host.ends_with('.') && host.trim() == host;
    if dots && characters && lengths && host_ok { Ok(()) } else { Err(shape()) }
}

fn feature(text: &str, catalogue: &Catalogue) -> Verdict {
    if catalogue.knows(text) {
        return Ok(());
    }
    let message = format!("`{}` is not a feature of the catalogue", shown_key(text));
    Err(match nearest(text, catalogue.names()) {
        Some(known) => Problem::with_help(message, format!("did you mean `{known}`?")),
        None => Problem::with_help(message, "the setting `features` names the catalogue"),
    })
}

fn branch(text: &str) -> Verdict {
    let parts_ok = text.split('/').all(|part| !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock"));
    let characters = text.bytes().all(|b| b.is_ascii_graphic() && !b"~^:?*[\\'\"$`;&|<>(){}!#".contains(&b));
    let good = parts_ok
        && characters
        && !text.starts_with('-')
        && !text.ends_with('.')
        && !text.contains("..")
        && text != "@"
        && text.len() <= BRANCH_BYTES_MAX;
    ensure(good, "a branch is letters, digits and `._-/@+=,%`, without `..`, and does not begin with `-`")
}

fn system_user(text: &str) -> Verdict {
    let good = (1..=SYSTEM_USER_BYTES_MAX).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-'));
    ensure(good, "a system user is lower-case letters, digits, `_` and `-`, and begins with a letter")?;
    ensure(text != "root", "a site does not run as root; name the system user that owns it")
}

fn database_name(text: &str) -> Verdict {
    SqlName::parse(text).map_err(|error| Problem::new(error.to_string()))?;
    let message =
        format!("a database name has at most {DATABASE_NAME_BYTES_MAX} bytes: its login roles append `_a` and `_b`");
    ensure(text.len() <= DATABASE_NAME_BYTES_MAX, message)
}

fn health_path(text: &str) -> Verdict {
    let good = text.starts_with('/')
        && !text.starts_with("//")
        && text.len() <= HEALTH_PATH_CHARS_MAX
        && text.bytes().all(|b| b.is_ascii_graphic() && !b"#\"'<>\\^`{|}".contains(&b));
    ensure(good, "a path begins with one `/` and holds no spaces, quotes or `#`")
}

fn secret_variable(text: &str) -> Verdict {
    variable_grammar(text)?;
    let bare = text.strip_suffix("_FILE").unwrap_or(text);
    let message = format!("{} belongs to Sitewright itself; a site cannot have it", shown_key(text));
    if PROVIDER_VARIABLES.contains(&bare) || text.starts_with("SITEWRIGHT_") {
        return Err(Problem::with_help(message, "put the site's secret into a variable of its own"));
    }
    Ok(())
}

fn port(text: &str, rules: &Rules) -> Verdict {
    let number = text.parse::<u16>().ok().filter(|port| *port > 0);
    let number = number.ok_or_else(|| Problem::new("`auto`, or a port from 1 to 65535"))?;
    let (low, high) = (rules.ports.start(), rules.ports.end());
    if rules.ports.contains(&number) {
        return Ok(());
    }
    let message = format!("port {number} is outside {low}-{high}, the range of the setting hosting.ploi.portRange");
    Err(Problem::with_help(message, "use `auto`, or a port of the range"))
}

fn variable_grammar(name: &str) -> Verdict {
    env_file::check(name, &EnvValue::Plain(String::new())).map_err(|error| Problem::new(error.problem))
}

/// Holds a key of `spec.environment` against the grammar and the names that are Sitewright's own.
pub fn variable_name(name: &str, rules: &Rules) -> Verdict {
    variable_grammar(name)?;
    if RESERVED_VARIABLES.contains(&name) {
        let message = format!("{name} is reserved: Sitewright sets it");
        return Err(Problem::with_help(message, "remove it; the spec has a member for what it says"));
    }
    match rules.catalogue.feature_of(name) {
        Some(feature) => {
            let message = format!("{name} is reserved: it is the switch of the feature `{feature}`");
            Err(Problem::with_help(message, format!("list `{feature}` in spec.features, or leave it out")))
        }
        None => Ok(()),
    }
}

/// Rules about members together; a part that is wrong in itself was reported already and is passed over here.
pub fn members(root: &Node, rules: &Rules, findings: &mut Vec<Finding>) {
    let Some(spec) = root.get("spec") else { return };
    let text = spec.get("domain").and_then(Node::text);
    let domain = text.and_then(|text| complete_domain(text, rules.base_domain.as_deref()).ok());
    let aliases = aliases(spec, domain.as_ref(), findings);
    database(spec, findings);
    settings(spec, findings);
    if let Some(domain) = &domain {
        records(spec, domain, &aliases, findings);
    }
}

/// Each alias once, and none the domain.
fn aliases(spec: &Node, domain: Option<&HostName>, findings: &mut Vec<Finding>) -> BTreeSet<HostName> {
    let mut seen = BTreeSet::new();
    for (index, node) in list(spec.get("aliases")).enumerate() {
        let Some(host) = node.text().and_then(|text| HostName::parse(text).ok()) else { continue };
        let path = format!("spec.aliases[{index}]");
        if Some(&host) == domain {
            findings.push(Finding::at(node.at, path, format!("{host} is the domain itself")).with_help("remove it"));
        } else if !seen.insert(host.clone()) {
            findings.push(Finding::at(node.at, path, format!("{host} is named twice")).with_help("remove one"));
        }
    }
    seen
}

fn list(node: Option<&Node>) -> impl Iterator<Item = &Node> {
    let items = match node.map(|node| &node.value) {
        Some(Value::List(items)) => items.as_slice(),
        _ => &[],
    };
    items.iter().map(AsRef::as_ref)
}

/// An external database needs its address, and only that one takes it.
fn database(spec: &Node, findings: &mut Vec<Finding>) {
    let Some(node) = spec.get("database") else { return };
    let external = node.get("provider").and_then(Node::text) == Some("external");
    match node.get("urlFrom") {
        None if external => findings.push(
            Finding::at(node.at, "spec.database.urlFrom", "an external database needs the address it is reached at")
                .with_help("add `urlFrom: { secretRef: { env: NAME } }`"),
        ),
        Some(url) if !external => findings.push(
            Finding::at(url.at, "spec.database.urlFrom", "an address belongs to `provider: external` alone")
                .with_help("remove it, or set `provider: external`"),
        ),
        _ => {}
    }
}

/// Settings that also become variables must be texts that a variable can hold.
fn settings(spec: &Node, findings: &mut Vec<Finding>) {
    let Some(settings) = spec.get("settings") else { return };
    for key in ["primaryColor", "shopModel"] {
        let Some(node) = settings.get(key) else { continue };
        let verdict = match node.text() {
            Some(text) => line(text),
            None => Err(Problem::new(format!("a text is expected, this is {}", node.value.word()))),
        };
        if let Err(problem) = verdict {
            findings.push(Finding::at(node.at, format!("spec.settings.{key}"), problem.message));
        }
    }
}

fn records(spec: &Node, domain: &HostName, aliases: &BTreeSet<HostName>, findings: &mut Vec<Finding>) {
    let Some(dns) = spec.get("dns") else { return };
    let nodes: Vec<&Node> = list(dns.get("records")).collect();
    if let (Some("none"), Some(first)) = (dns.get("provider").and_then(Node::text), nodes.first()) {
        let finding = Finding::at(
            first.at,
            "spec.dns.records",
            "records need somebody who publishes them, and dns.provider is none",
        );
        findings.push(finding.with_help("remove the records, or set `provider: cloudflare`"));
    }
    let mut at_name: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for (index, node) in nodes.into_iter().enumerate() {
        let path = format!("spec.dns.records[{index}]");
        let Some((kind, name)) = record(node, &path, domain, aliases, findings) else { continue };
        let content = node.get("content").and_then(Node::text).unwrap_or_default().to_ascii_lowercase();
        if !seen.insert((name.clone(), kind.clone(), content)) {
            findings.push(Finding::at(node.at, path.clone(), format!("this {kind} record is there already")));
        }
        let others = at_name.entry(name.clone()).or_default();
        let alone = kind == "CNAME" && !others.is_empty() || others.contains("CNAME");
        if alone {
            let message = format!("a CNAME stands alone, and {name} has another record");
            findings.push(Finding::at(node.at, path, message).with_help("give one of them another name"));
        }
        others.insert(kind);
    }
}

/// One record; gives its type and full name where both can be told.
fn record(
    node: &Node,
    path: &str,
    domain: &HostName,
    aliases: &BTreeSet<HostName>,
    findings: &mut Vec<Finding>,
) -> Option<(String, String)> {
    let kind = node.get("type").and_then(Node::text)?;
    let address = matches!(kind, "A" | "AAAA" | "CNAME");
    if let Some(content) = node.get("content")
        && let Some(text) = content.text()
        && let Err(problem) = content_of(kind, text)
    {
        findings.push(Finding {
            help: problem.help,
            ..Finding::at(content.at, format!("{path}.content"), problem.message)
        });
    }
    match (kind, node.get("priority")) {
        ("MX", None) => findings.push(
            Finding::at(node.at, format!("{path}.priority"), "an MX record needs a priority")
                .with_help("add `priority: 10`"),
        ),
        ("MX", Some(_)) | (_, None) => {}
        (_, Some(priority)) => {
            let message = format!("a priority belongs to MX records, not to {kind}");
            findings.push(Finding::at(priority.at, format!("{path}.priority"), message).with_help("remove it"));
        }
    }
    if let Some(Node { at, value: Value::Bool(true) }) = node.get("proxied")
        && !address
    {
        findings.push(Finding::at(*at, format!("{path}.proxied"), format!("a {kind} record cannot be proxied")));
    }
    let name = node.get("name")?;
    match record_name(name.text()?, domain) {
        Err(problem) => {
            findings
                .push(Finding { help: problem.help, ..Finding::at(name.at, format!("{path}.name"), problem.message) });
            None
        }
        Ok(full) => {
            let ours = full == domain.as_str() || aliases.iter().any(|alias| alias.as_str() == full);
            if address && ours {
                let message = format!("{full} gets its address record from Sitewright; no {kind} may be listed there");
                findings.push(Finding::at(name.at, format!("{path}.name"), message).with_help("remove the record"));
                return None;
            }
            Some((kind.to_owned(), full))
        }
    }
}

/// Endings that make a name a full one even without its final dot; other names are below the domain.
const FULL_NAME_ENDINGS: [&str; 16] =
    ["com", "net", "org", "io", "dev", "app", "eu", "nl", "be", "de", "fr", "uk", "info", "shop", "example", "test"];

/// The full name of a record: `@` is the domain, a name that ends in the domain is full, others are below it.
pub fn record_name(text: &str, domain: &HostName) -> Result<String, Problem> {
    let lower = text.trim().to_ascii_lowercase();
    if lower == "@" {
        return Ok(domain.as_str().to_owned());
    }
    let bare = lower.strip_suffix('.').unwrap_or(&lower);
    let labels: Vec<&str> = bare.split('.').collect();
    let label_ok = |label: &&str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    if bare.contains('*') {
        return Err(Problem::with_help("a wildcard host is not allowed", "name each host"));
    }
    if !labels.iter().all(label_ok) {
        return Err(Problem::new("a record's name is `@`, a label below the domain, or a full name at or below it"));
    }
    let full = if HostName::trusted(bare).is_within(domain.as_str()) {
        bare.to_owned()
    } else {
        let ending = labels.last().copied().unwrap_or_default();
        let domain_ending = domain.as_str().rsplit('.').next().unwrap_or_default();
        let plain = labels.len() > 1 && !labels.iter().any(|label| label.starts_with('_'));
        if lower.ends_with('.') || plain && (ending == domain_ending || FULL_NAME_ENDINGS.contains(&ending)) {
            return Err(Problem::with_help(
                format!("{bare} is not at or below {domain}"),
                "a client's records stay below its own domain",
            ));
        }
        format!("{bare}.{domain}")
    };
    if full.len() > crate::resource::name::HOST_NAME_CHARS_MAX {
        return Err(Problem::new("the full name is longer than a host name may be"));
    }
    Ok(full)
}

/// Longest TXT value, in bytes: what the provider takes in one record (contracts/cloudflare.md 1.8).
const TXT_BYTES_MAX: usize = 2048;

fn content_of(kind: &str, text: &str) -> Verdict {
    match kind {
        "A" => ensure(text.parse::<std::net::Ipv4Addr>().is_ok(), "an A record holds an IPv4 address"),
        "AAAA" => ensure(text.parse::<std::net::Ipv6Addr>().is_ok(), "an AAAA record holds an IPv6 address"),
        "CNAME" | "MX" => {
            let host = text.strip_suffix('.').unwrap_or(text);
            let good = HostName::parse(&host.replace('_', "u")).is_ok_and(|name| name.as_str().len() == host.len());
            ensure(good, format!("{} {kind} record holds a host name", if kind == "MX" { "an" } else { "a" }))
        }
        "TXT" => {
            if text.len() > 1 && text.starts_with('"') && text.ends_with('"') {
                return Err(Problem::with_help("a TXT value is written without its quotes", "remove the inner quotes"));
            }
            ensure(
                (1..=TXT_BYTES_MAX).contains(&text.len()) && !text.contains(['\n', '\r']),
                format!("a TXT value is one line of 1 to {TXT_BYTES_MAX} bytes"),
            )
        }
        "CAA" => ensure(caa_ok(text), "a CAA value is `flags tag \"value\"`, such as `0 issue \"letsencrypt.org\"`"),
        _ => Ok(()),
    }
}

fn caa_ok(text: &str) -> bool {
    let mut parts = text.splitn(3, ' ');
    let (Some(flags), Some(tag), Some(value)) = (parts.next(), parts.next(), parts.next()) else { return false };
    flags.parse::<u8>().is_ok()
        && matches!(tag, "issue" | "issuewild" | "iodef")
        && value.len() >= 2
        && value.starts_with('"')
        && value.ends_with('"')
        && !value[1..value.len() - 1].contains('"')
}
