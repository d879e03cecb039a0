//! The wanted state: complete where everything is there, and with a way out where something is not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use sitewright::resource::deploy_script::Commands;
use sitewright::resource::desired::{Desired, DesiredSite};
use sitewright::resource::env_file::EnvValue;
use sitewright::resource::mark::Mark;
use sitewright::resource::name::{Commit, Instance, RepositorySlug, ServerId, Uid};
use sitewright::resource::owned::Allocation;
use sitewright::resource::reading::Wanted;
use sitewright::resource::record::{RecordType, Ttl};
use sitewright::resource::secret::{DigestKey, Secret};
use sitewright::resource::site::Piece;
use sitewright::spec::context::{Context, PAYLOAD_SECRET, Providers, SharedVariable, Unavailable};
use sitewright::spec::defaults::Defaults;
use sitewright::spec::desired::desired;
use sitewright::spec::environment::{RESERVED_VARIABLES, references};
use sitewright::spec::features::Catalogue;
use sitewright::spec::secret_ref::SecretRef;

use crate::{FULL, HEAD, LATER, good};

const SMTP: &str = "PLASTIMED_SMTP_PASSWORD";

fn context() -> Context {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    Context {
        mark: Mark { instance: Instance::trusted("test"), uid: Uid::trusted("01J0000000000000000000000A") },
        allocation: Allocation { port: Some((ServerId::trusted("7"), 4001)), ..Allocation::default() },
        secrets: BTreeMap::from([(PAYLOAD_SECRET.to_owned(), Secret::new("payload-value"))]),
        database_url: Ok(Secret::new("postgres://client_a:pw@db.example/client")),
        references: BTreeMap::from([(SecretRef::Env(SMTP.into()), Ok(Secret::new("smtp-value")))]),
        shared: vec![
            SharedVariable::new("STRIPE_SECRET_KEY", Some(Secret::new("stripe-value"))),
            SharedVariable::new("OPENAI_API_KEY", None),
        ],
        defaults: Defaults {
            base_domain: Some("agency.example".into()),
            repository: Some(RepositorySlug::trusted("agency/cms")),
            server: Some(ServerId::trusted("7")),
            ..Defaults::default()
        },
        platform_base_url: Some("https://agency.example".into()),
        deploy_timeout: Duration::from_secs(1800),
        commands: Commands::default(),
        providers: Providers {
            hosts: BTreeMap::from([("ploi".to_owned(), BTreeSet::from([Piece::Environment]))]),
            databases: names(&["postgres"]),
            dns: names(&["cloudflare"]),
        },
        branch_head: Some(Commit::trusted("abcdef0")),
        catalogue: Arc::new(Catalogue::built_in()),
        digest_key: DigestKey::new(&[7; 32]),
    }
}

fn site(wanted: &Desired) -> &DesiredSite {
    match &wanted.site {
        Wanted::Value(site) => site,
        Wanted::Missing { reason, message } => panic!("{reason}: {message}"),
    }
}

fn environment(text: &str, context: &Context) -> BTreeMap<String, String> {
    let wanted = desired(&good(text).spec, context);
    let environment = site(&wanted).environment.value().expect("the environment is complete");
    environment.values.iter().map(|(name, value)| (name.clone(), value.expose().to_owned())).collect()
}

fn missing<T: std::fmt::Debug>(wanted: &Wanted<T>) -> (&'static str, String) {
    match wanted {
        Wanted::Missing { reason, message } => (reason, message.clone()),
        Wanted::Value(value) => panic!("{value:?}"),
    }
}

#[test]
fn the_environment_is_complete() {
    let values = environment(FULL, &context());
    for variable in RESERVED_VARIABLES {
        assert!(values.contains_key(variable), "{variable}");
    }
    for (variable, value) in [
        ("NODE_ENV", "production"),
        ("PORT", "4001"),
        ("DATABASE_URL", "postgres://client_a:pw@db.example/client"),
        ("PAYLOAD_SECRET", "payload-value"),
        ("CLIENT_ID", "plastimed01"),
        ("NEXT_PUBLIC_CLIENT_ID", "plastimed01"),
        ("CLIENT_NAME", "Plastimed"),
        ("NEXT_PUBLIC_SERVER_URL", "https://plastimed01.agency.example"),
        ("PLATFORM_BASE_URL", "https://agency.example"),
        ("TEMPLATE_ID", "b2b"),
        ("CLIENT_PLAN", "professional"),
        ("DISABLED_COLLECTIONS", "cases"),
        ("CLIENT_SETTINGS", r##"{"primaryColor":"#00897B","shopModel":"b2b"}"##),
        ("SHOP_MODEL", "b2b"),
        ("PRIMARY_COLOR", "#00897B"),
        ("SITEWRIGHT_OWNER", "test/01J0000000000000000000000A"),
        ("ENABLE_BLOG", "true"),
        ("ENABLE_CART", "true"),
        ("ENABLE_LOYALTY", "false"),
        ("STRIPE_SECRET_KEY", "stripe-value"),
        ("SMTP_HOST", "smtp.mail.example"),
        ("SMTP_PASSWORD", "smtp-value"),
    ] {
        assert_eq!(values.get(variable).map(String::as_str), Some(value), "{variable}");
    }
    assert!(!values.contains_key("OPENAI_API_KEY"), "a shared variable that the daemon lacks is left out");
}

#[test]
fn secrets_are_kept_as_secrets() {
    let wanted = desired(&good(FULL).spec, &context());
    let environment = site(&wanted).environment.value().unwrap();
    for variable in ["DATABASE_URL", "PAYLOAD_SECRET", "STRIPE_SECRET_KEY", "SMTP_PASSWORD"] {
        assert!(matches!(environment.values[variable], EnvValue::Secret(_)), "{variable}");
    }
    let shown = format!("{wanted:?}");
    for value in ["payload-value", "stripe-value", "smtp-value", ":pw@"] {
        assert!(!shown.contains(value), "{value}");
    }
}

#[test]
fn settings_with_a_quote_reach_the_site_as_json() {
    let text = format!("{HEAD}  settings: {{ tagline: \"it's \\\"$5\\\"\" }}\n");
    let values = environment(&text, &context());
    assert!(!values["CLIENT_SETTINGS"].contains('\''));
    let value: serde_json::Value = serde_json::from_str(&values["CLIENT_SETTINGS"]).unwrap();
    assert_eq!(value["tagline"], "it's \"$5\"");
}

#[test]
fn the_spec_wins_over_settings_keys_and_shared_variables() {
    let text = format!(
        "{HEAD}  settings: {{ primaryColor: red }}\n  environment: {{ PRIMARY_COLOR: blue, STRIPE_SECRET_KEY: own }}\n  payments: {{ enabled: true, pricingTier: growth }}\n"
    );
    let values = environment(&text, &context());
    assert_eq!((values["PRIMARY_COLOR"].as_str(), values["STRIPE_SECRET_KEY"].as_str()), ("blue", "own"));
    assert_eq!((values["PAYMENTS_ENABLED"].as_str(), values["PRICING_TIER"].as_str()), ("true", "growth"));
}

#[test]
fn a_catalogue_that_grew_wins_over_an_accepted_spec() {
    let mut context = context();
    let spec = good(&format!("{HEAD}  environment: {{ ENABLE_NEW: 'true' }}\n")).spec;
    context.catalogue = Arc::new(Catalogue::parse("new: { variables: [ENABLE_NEW] }\n").unwrap());
    let wanted = desired(&spec, &context);
    assert_eq!(site(&wanted).environment.value().unwrap().values["ENABLE_NEW"].expose(), "false");
}

#[test]
fn a_missing_secret_is_named_with_its_reason_and_nothing_else_is_lost() {
    let mut context = context();
    context.references.insert(SecretRef::Env(SMTP.into()), Err("it is not set".into()));
    let wanted = desired(&good(FULL).spec, &context);
    let (reason, message) = missing(&site(&wanted).environment);
    assert_eq!(reason, "SecretUnavailable");
    assert!(
        message.contains("SMTP_PASSWORD") && message.contains(SMTP) && message.contains("it is not set"),
        "{message}"
    );
    assert!(!site(&wanted).script.is_empty());
}

#[test]
fn a_required_shared_variable_that_is_missing_says_so() {
    let mut context = context();
    context.shared.push(SharedVariable::new("GROQ_API_KEY!", None));
    let wanted = desired(&good(FULL).spec, &context);
    let (reason, message) = missing(&site(&wanted).environment);
    assert_eq!(reason, "SharedVariableMissing");
    assert!(message.contains("GROQ_API_KEY") && message.contains("drop its `!`"), "{message}");
    let own = format!("{HEAD}  environment: {{ GROQ_API_KEY: mine }}\n");
    assert_eq!(environment(&own, &context)["GROQ_API_KEY"], "mine");
}

#[test]
fn a_database_without_an_address_stops_the_environment_alone() {
    let mut context = context();
    context.database_url = Err(Unavailable { reason: "DatabaseNotReady", message: "later".into() });
    let wanted = desired(&good(FULL).spec, &context);
    assert_eq!(missing(&site(&wanted).environment), ("DatabaseNotReady", "later".to_owned()));
    assert!(wanted.database.value().is_some() && wanted.dns.value().is_some());
}

#[test]
fn a_provider_without_credentials_is_missing_with_the_variable_that_helps() {
    let mut context = context();
    context.providers = Providers::default();
    let wanted = desired(&good(FULL).spec, &context);
    for (found, variable) in [
        (missing(&wanted.site), "PLOI_API_TOKEN"),
        (missing(&wanted.database), "PLATFORM_DATABASE_URL"),
        (missing(&wanted.dns), "CLOUDFLARE_API_TOKEN"),
    ] {
        assert_eq!(found.0, "ProviderNotConfigured");
        assert!(found.1.contains(variable), "{}", found.1);
    }
}

#[test]
fn later_providers_are_missing_until_they_are_there() {
    let wanted = desired(&good(LATER).spec, &context());
    assert_eq!(missing(&wanted.site).0, "ProviderNotConfigured");
    assert!(matches!(wanted.database, Wanted::Value(None)), "an external database is the site's own");
    let mut context = context();
    context.providers.hosts.insert("vercel".into(), BTreeSet::new());
    context.allocation.port = Some((ServerId::trusted("12345"), 4100));
    context.references.insert(SecretRef::File("/run/secrets/harbour".into()), Ok(Secret::new("postgres://elsewhere")));
    let spec = good(LATER).spec;
    assert_eq!(references(&spec), [SecretRef::File("/run/secrets/harbour".into())]);
    let wanted = desired(&spec, &context);
    let values = &site(&wanted).environment.value().unwrap().values;
    assert_eq!(values["DATABASE_URL"].expose(), "postgres://elsewhere");
    assert_eq!(values["NEXT_PUBLIC_SERVER_URL"].expose(), "http://harbour.example");
    assert!(site(&wanted).pinned && site(&wanted).commit.as_ref().is_some_and(|commit| commit.as_str() == "0a1b2c3"));
}

#[test]
fn without_a_port_or_a_server_or_a_repository_the_site_says_which() {
    let spec = good(HEAD).spec;
    let mut context = context();
    context.defaults.repository = None;
    assert_eq!(missing(&desired(&spec, &context).site).0, "RepositoryMissing");
    context.allocation.port = None;
    assert_eq!(missing(&desired(&spec, &context).site).0, "PortPending");
    context.defaults.server = None;
    assert_eq!(missing(&desired(&spec, &context).site).0, "ServerMissing");
}

#[test]
fn another_default_server_does_not_move_a_living_site() {
    let mut context = context();
    context.defaults.server = Some(ServerId::trusted("8"));
    assert_eq!(site(&desired(&good(HEAD).spec, &context)).server.as_str(), "7");
}

#[test]
fn records_are_fully_named_and_normal() {
    let mut context = context();
    context.providers.hosts.insert("vercel".into(), BTreeSet::new());
    let wanted = desired(&good(LATER).spec, &context);
    let dns = wanted.dns.value().unwrap().as_ref().unwrap();
    assert_eq!((dns.proxied, dns.ttl), (true, Ttl::Seconds(120)));
    let names: Vec<(RecordType, &str)> = dns.records.iter().map(|record| (record.kind, record.name.as_str())).collect();
    for expected in [
        (RecordType::A, "office.harbour.example"),
        (RecordType::AAAA, "office6.harbour.example"),
        (RecordType::CNAME, "docs.harbour.example"),
        (RecordType::CAA, "harbour.example"),
        (RecordType::TXT, "sel._domainkey.harbour.example"),
    ] {
        assert!(names.contains(&expected), "{expected:?} in {names:?}");
    }
}

#[test]
fn names_come_from_the_allocation_once_they_are_given_out() {
    let mut context = context();
    let first = desired(&good(HEAD).spec, &context);
    let database = first.database.value().unwrap().as_ref().unwrap();
    assert_eq!((database.name.as_str(), database.login.as_str()), ("client_shop", "client_shop_a"));
    context.allocation.login = Some(sitewright::resource::name::SqlName::trusted("client_shop_b"));
    let second = desired(&good(HEAD).spec, &context);
    assert_eq!(second.database.value().unwrap().as_ref().unwrap().login.as_str(), "client_shop_b");
}

#[test]
fn members_that_are_for_people_leave_script_and_environment_alone() {
    let context = context();
    let digests = |text: &str| {
        let wanted = desired(&good(text).spec, &context);
        (site(&wanted).script_digest.clone(), site(&wanted).environment.value().unwrap().digest.clone())
    };
    let base = digests(FULL);
    for text in [
        FULL.replace("tier: gold", "tier: silver"),
        FULL.replace("ops@agency.example", "other@agency.example"),
        FULL.replace("interval: 1m", "interval: 5m"),
        FULL.replace("contact@plastimed.example", "new@plastimed.example"),
        FULL.replace("mode: enforce", "mode: observe"),
    ] {
        assert_ne!(text, FULL);
        assert_eq!(digests(&text), base, "{text}");
    }
    assert_ne!(digests(&FULL.replace("SMTP_HOST: smtp", "SMTP_HOST: mail")).1, base.1);
    assert_ne!(digests(&FULL.replace("buildMemory: 4GiB", "buildMemory: 2GiB")).0, base.0);
}
