//! The environment that a site receives: reserved variables, feature switches, shared ones, the spec's own (interface 2).

use serde_json::Value;

use crate::resource::env_file::{self, EnvValue, Environment};
use crate::resource::mark::MARK_VARIABLE;
use crate::resource::name::HostName;
use crate::resource::secret::Secret;
use crate::spec::client_spec::{ClientSpec, Plan, Template};
use crate::spec::context::{Context, PAYLOAD_SECRET, Unavailable};
use crate::spec::placement::{DatabaseProvider, Issuer};
use crate::spec::secret_ref::{EnvironmentValue, SecretRef};

/// Variables that Sitewright alone sets; a spec that names one is refused.
pub const RESERVED_VARIABLES: [&str; 16] = [
    "NODE_ENV",
    "PORT",
    "DATABASE_URL",
    "PAYLOAD_SECRET",
    "CLIENT_ID",
    "NEXT_PUBLIC_CLIENT_ID",
    "CLIENT_NAME",
    "SITE_NAME",
    "NEXT_PUBLIC_SERVER_URL",
    "PLATFORM_BASE_URL",
    "TEMPLATE_ID",
    "CLIENT_PLAN",
    "DISABLED_COLLECTIONS",
    "CLIENT_SETTINGS",
    "NEXT_TELEMETRY_DISABLED",
    MARK_VARIABLE,
];

/// The spec's secret references, for whoever resolves them.
pub fn references(spec: &ClientSpec) -> Vec<SecretRef> {
    let own = spec.spec.environment.values().filter_map(|value| match value {
        EnvironmentValue::Secret(reference) => Some(reference.secret_ref.clone()),
        EnvironmentValue::Text(_) => None,
    });
    own.chain(spec.spec.database.url_from.iter().map(|reference| reference.secret_ref.clone())).collect()
}

/// The whole environment.
///
/// # Errors
/// Why it cannot be made: `SharedVariableMissing`, `SecretUnavailable`, or the reason the database address is missing.
/// The sentence names every variable that is missing.
pub fn environment(
    spec: &ClientSpec,
    context: &Context,
    domain: &HostName,
    port: u16,
) -> Result<Environment, Unavailable> {
    let mut values = Environment::new();
    reserved(&mut values, spec, context, domain, port)?;
    for (variable, on) in context.catalogue.switches(spec.spec.features.iter().map(String::as_str)) {
        values.entry(variable.to_owned()).or_insert_with(|| plain(if on { "true" } else { "false" }));
    }
    let mut open = known_settings(spec);
    open.extend(payments(spec));
    shared(&mut open, spec, context)?;
    own(&mut open, spec, context)?;
    // What is ours was put first and is never replaced, also not by a name that a newer catalogue has taken.
    for (variable, value) in open {
        values.entry(variable).or_insert(value);
    }
    Ok(values)
}

fn plain(text: impl Into<String>) -> EnvValue {
    EnvValue::Plain(text.into())
}

fn reserved(
    values: &mut Environment,
    spec: &ClientSpec,
    context: &Context,
    domain: &HostName,
    port: u16,
) -> Result<(), Unavailable> {
    let scheme = match spec.spec.tls.issuer {
        Issuer::LetsEncrypt => "https",
        Issuer::None => "http",
    };
    let payload = context.secrets.get(PAYLOAD_SECRET).cloned().ok_or_else(|| Unavailable {
        reason: "SecretUnavailable",
        message: "the site's own secret was not generated yet; it is made when the client is taken up".to_owned(),
    })?;
    let settings = Value::Object(spec.spec.settings.iter().map(|(key, value)| (key.clone(), value.clone())).collect());
    let mut put = |variable: &str, value: EnvValue| values.insert(variable.to_owned(), value);
    put("NODE_ENV", plain("production"));
    put("PORT", plain(port.to_string()));
    put("DATABASE_URL", EnvValue::Secret(database_url(spec, context)?));
    put("PAYLOAD_SECRET", EnvValue::Secret(payload));
    put("CLIENT_ID", plain(&spec.metadata.name));
    put("NEXT_PUBLIC_CLIENT_ID", plain(&spec.metadata.name));
    put("CLIENT_NAME", plain(spec.display_name()));
    put("SITE_NAME", plain(spec.display_name()));
    put("NEXT_PUBLIC_SERVER_URL", plain(format!("{scheme}://{domain}")));
    put("TEMPLATE_ID", plain(template_word(spec.spec.template)));
    put("CLIENT_PLAN", plain(plan_word(spec.spec.plan)));
    put("DISABLED_COLLECTIONS", plain(spec.spec.disabled_collections.join(",")));
    put("CLIENT_SETTINGS", plain(env_file::json(&settings)));
    put("NEXT_TELEMETRY_DISABLED", plain("1"));
    put(MARK_VARIABLE, plain(context.mark.variable()));
    if let Some(platform) = context.platform_base_url.as_ref().or(context.defaults.base_domain.as_ref()) {
        put("PLATFORM_BASE_URL", plain(platform));
    }
    Ok(())
}

/// The word of a plan, as the CMS knows it.
pub fn plan_word(plan: Plan) -> &'static str {
    match plan {
        Plan::Free => "free",
        Plan::Starter => "starter",
        Plan::Professional => "professional",
        Plan::Enterprise => "enterprise",
    }
}

/// The word of a template, as the CMS knows it.
pub fn template_word(template: Template) -> &'static str {
    match template {
        Template::Ecommerce => "ecommerce",
        Template::Blog => "blog",
        Template::B2b => "b2b",
        Template::Portfolio => "portfolio",
        Template::Corporate => "corporate",
    }
}

fn database_url(spec: &ClientSpec, context: &Context) -> Result<Secret, Unavailable> {
    match (&spec.spec.database.provider, &spec.spec.database.url_from) {
        (DatabaseProvider::External, Some(reference)) => resolve("DATABASE_URL", &reference.secret_ref, context)
            .map_err(|clause| Unavailable {
                reason: "SecretUnavailable",
                message: format!("spec.database.urlFrom: {clause}"),
            }),
        (DatabaseProvider::External, None) => Err(Unavailable {
            reason: "SecretUnavailable",
            message: "an external database has no address; give it in spec.database.urlFrom".to_owned(),
        }),
        _ => context.database_url.clone(),
    }
}

/// The referenced secret; the error is one clause that names the variable and the way out.
fn resolve(variable: &str, reference: &SecretRef, context: &Context) -> Result<Secret, String> {
    match context.references.get(reference) {
        Some(Ok(secret)) => Ok(secret.clone()),
        Some(Err(why)) => Err(format!("{variable} comes from {reference}, which cannot be read: {why}")),
        None => Err(format!("{variable} comes from {reference}, which was not looked up yet")),
    }
}

/// Settings that the CMS also reads as variables of their own.
fn known_settings(spec: &ClientSpec) -> Environment {
    let known =
        [("primaryColor", "PRIMARY_COLOR"), ("shopModel", "SHOP_MODEL"), ("shopModel", "NEXT_PUBLIC_SHOP_MODEL")];
    let text = |key: &str| spec.spec.settings.get(key).and_then(Value::as_str);
    known.into_iter().filter_map(|(key, variable)| Some((variable.to_owned(), plain(text(key)?)))).collect()
}

fn payments(spec: &ClientSpec) -> Environment {
    let Some(payments) = &spec.spec.payments else { return Environment::new() };
    let members = [
        ("PAYMENTS_ENABLED", payments.enabled.map(|on| on.to_string())),
        ("STRIPE_ACCOUNT_ID", payments.stripe_account_id.clone()),
        ("PRICING_TIER", payments.pricing_tier.clone()),
    ];
    members.into_iter().filter_map(|(variable, value)| Some((variable.to_owned(), plain(value?)))).collect()
}

fn shared(open: &mut Environment, spec: &ClientSpec, context: &Context) -> Result<(), Unavailable> {
    let mut missing = Vec::new();
    for variable in &context.shared {
        match &variable.value {
            Some(value) => {
                open.insert(variable.name.clone(), EnvValue::Secret(value.clone()));
            }
            // A spec that brings its own value needs no shared one.
            None if variable.required && !spec.spec.environment.contains_key(&variable.name) => {
                missing.push(variable.name.as_str());
            }
            None => {}
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    Err(Unavailable {
        reason: "SharedVariableMissing",
        message: format!(
            "sharedEnvironment requires {}, which the daemon does not have; set it in the daemon's environment or drop its `!`",
            missing.join(", ")
        ),
    })
}

fn own(open: &mut Environment, spec: &ClientSpec, context: &Context) -> Result<(), Unavailable> {
    let mut missing = Vec::new();
    for (variable, value) in &spec.spec.environment {
        let value = match value {
            EnvironmentValue::Text(text) => plain(text),
            EnvironmentValue::Secret(reference) => match resolve(variable, &reference.secret_ref, context) {
                Ok(secret) => EnvValue::Secret(secret),
                Err(clause) => {
                    missing.push(clause);
                    continue;
                }
            },
        };
        open.insert(variable.clone(), value);
    }
    if missing.is_empty() {
        return Ok(());
    }
    Err(Unavailable { reason: "SecretUnavailable", message: missing.join("; ") })
}

/// Shared variables that are not required and that the daemon does not have: sites go without, and people are told.
pub fn shared_but_missing(context: &Context) -> Vec<&str> {
    let absent = context.shared.iter().filter(|variable| !variable.required && variable.value.is_none());
    absent.map(|variable| variable.name.as_str()).collect()
}
