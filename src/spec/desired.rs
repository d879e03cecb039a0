//! A spec with everything around it, to what the client is wanted to be. Pure and total: what cannot be made says why.

use std::collections::BTreeSet;

use crate::resource::database::Database;
use crate::resource::deploy_script::{self, Migrate, ScriptData};
use crate::resource::desired::{
    Desired, DesiredAdmin, DesiredDns, DesiredEnvironment, DesiredHealth, DesiredSite, DesiredState,
};
use crate::resource::env_file;
use crate::resource::name::{ClientName, Commit, HostName, RepositorySlug, ServerId, SqlName};
use crate::resource::reading::Wanted;
use crate::resource::record::{Record, Ttl};
use crate::spec::client_spec::{ClientSpec, Migrations, State};
use crate::spec::context::{Context, Unavailable};
use crate::spec::environment::environment;
use crate::spec::placement::{DatabaseProvider, DnsProvider, HostingProvider, Issuer};
use crate::spec::quantity::AutoOr;
use crate::spec::validate::record_name;

/// Reason of everything that waits for a provider's credentials.
const NOT_CONFIGURED: &str = "ProviderNotConfigured";
/// Reason of what a spec that was accepted once cannot be read as any more, because the settings changed.
const INVALID: &str = "SpecInvalid";

/// What the client is wanted to be. Never fails: a part that cannot be made is `Missing`, with the way out.
pub fn desired(spec: &ClientSpec, context: &Context) -> Desired {
    let domain = spec.domain(&context.defaults).map_err(|error| unavailable(INVALID, format!("spec.domain: {error}")));
    let aliases: BTreeSet<HostName> =
        spec.spec.aliases.iter().filter_map(|alias| HostName::parse(alias).ok()).collect();
    Desired {
        client: ClientName::trusted(&spec.metadata.name),
        process: process(spec, context),
        mark: context.mark.clone(),
        state: match spec.spec.state {
            State::Active => DesiredState::Active,
            State::Suspended => DesiredState::Suspended,
        },
        database: wanted(database(spec, context)),
        reclaim: spec.spec.database.reclaim_policy,
        deletion: spec.spec.deletion_policy,
        site: wanted(domain.clone().and_then(|domain| site(spec, context, domain, aliases.clone()))),
        dns: wanted(domain.and_then(|domain| dns(spec, context, domain, aliases))),
        certificate: spec.spec.tls.issuer == Issuer::LetsEncrypt,
        health: health(spec),
        admin: spec.spec.admin.as_ref().map(|admin| DesiredAdmin {
            email: admin.email.clone(),
            name: admin.name.clone().unwrap_or_else(|| spec.display_name().to_owned()),
        }),
        adopt: spec.adopted(),
    }
}

fn process(spec: &ClientSpec, context: &Context) -> ClientName {
    context.allocation.process.clone().unwrap_or_else(|| ClientName::trusted(&spec.metadata.name))
}

/// How the site is looked at.
pub fn health(spec: &ClientSpec) -> DesiredHealth {
    let health = &spec.spec.health;
    DesiredHealth {
        path: health.path.clone(),
        timeout: health.timeout.0,
        interval: health.interval.0,
        identity: health.identity,
    }
}

type Made<T> = Result<T, Unavailable>;

fn unavailable(reason: &'static str, message: impl Into<String>) -> Unavailable {
    Unavailable { reason, message: message.into() }
}

fn wanted<T>(made: Made<T>) -> Wanted<T> {
    match made {
        Ok(value) => Wanted::Value(value),
        Err(Unavailable { reason, message }) => Wanted::Missing { reason, message },
    }
}

/// The sentence for a provider without credentials, by its variables (interface 3).
fn not_configured(member: &str, provider: &str) -> Unavailable {
    let way_out = match provider {
        "ploi" => "set PLOI_API_TOKEN",
        "vercel" => "set VERCEL_API_TOKEN",
        "cloudflare" => "set CLOUDFLARE_API_TOKEN",
        "postgres" => "set PLATFORM_DATABASE_URL",
        "railway" => "set RAILWAY_API_KEY",
        _ => "choose another provider",
    };
    unavailable(
        NOT_CONFIGURED,
        format!(
            "{member} is {provider}, which is not available here; {way_out} and restart, or choose another provider"
        ),
    )
}

fn database(spec: &ClientSpec, context: &Context) -> Made<Option<Database>> {
    let provider = spec.spec.database.provider;
    if matches!(provider, DatabaseProvider::External) {
        return Ok(None);
    }
    if !context.providers.databases.contains(provider.name()) {
        return Err(not_configured("spec.database.provider", provider.name()));
    }
    if matches!(provider, DatabaseProvider::Sqlite) {
        return Ok(None);
    }
    let name = match &context.allocation.database {
        Some(name) => name.clone(),
        None => spec.database_name().map_err(|error| unavailable(INVALID, format!("spec.database.name: {error}")))?,
    };
    let login = context.allocation.login.clone().unwrap_or_else(|| SqlName::trusted(format!("{name}_a")));
    Ok(Some(Database { name, login, mark: context.mark.clone(), client: spec.metadata.name.clone() }))
}

fn dns(
    spec: &ClientSpec,
    context: &Context,
    domain: HostName,
    aliases: BTreeSet<HostName>,
) -> Made<Option<DesiredDns>> {
    let dns = &spec.spec.dns;
    if dns.provider == DnsProvider::None {
        return Ok(None);
    }
    let provider = dns.provider.name();
    if !context.providers.dns.contains(provider) {
        return Err(not_configured("spec.dns.provider", provider));
    }
    let mut records = BTreeSet::new();
    for (index, wanted) in dns.records.iter().enumerate() {
        let name = record_name(&wanted.name, &domain)
            .map_err(|problem| unavailable(INVALID, format!("spec.dns.records[{index}].name: {}", problem.message)))?;
        let proxied = wanted.proxied.unwrap_or(false);
        let ttl = ttl(wanted.ttl.unwrap_or(dns.ttl));
        records.insert(Record::new(&name, wanted.kind, &wanted.content, ttl, proxied, wanted.priority));
    }
    let hosts = std::iter::once(domain).chain(aliases).collect();
    Ok(Some(DesiredDns { provider: provider.to_owned(), hosts, ttl: ttl(dns.ttl), proxied: dns.proxied, records }))
}

fn ttl(ttl: AutoOr) -> Ttl {
    match ttl {
        AutoOr::Auto => Ttl::Auto,
        AutoOr::Number(seconds) => Ttl::Seconds(seconds),
    }
}

fn site(spec: &ClientSpec, context: &Context, domain: HostName, aliases: BTreeSet<HostName>) -> Made<DesiredSite> {
    let provider = spec.spec.hosting.provider;
    let Some(pieces) = context.providers.hosts.get(provider.name()) else {
        return Err(not_configured("spec.hosting.provider", provider.name()));
    };
    let (server, port) = place(spec, context, provider)?;
    let repository = repository(spec, context)?;
    let branch = spec.branch(&context.defaults);
    let system_user = spec.system_user(&context.defaults);
    let deploy_timeout = spec.spec.deploy.timeout.map_or(context.deploy_timeout, |span| span.0);
    let script = deploy_script::render(&ScriptData {
        client: process(spec, context),
        domain: domain.clone(),
        system_user: system_user.clone(),
        repository: repository.clone(),
        branch: branch.clone(),
        build_memory_mib: spec.spec.deploy.build_memory.mebibytes(),
        timeout: deploy_timeout,
        health_path: spec.spec.health.path.clone(),
        migrate: match spec.spec.deploy.migrate {
            Migrations::Safe => Migrate::Safe,
            Migrations::Off => Migrate::Off,
        },
        health_gate: spec.spec.deploy.health_gate,
        rollback_on_failure: spec.spec.deploy.rollback_on_failure,
        commands: context.commands.clone(),
    });
    let script = script.map_err(|error| unavailable("DeployScriptInvalid", format!("the deploy script: {error}")))?;
    let pinned = spec.spec.source.commit.as_deref().and_then(|commit| Commit::parse(commit).ok());
    Ok(DesiredSite {
        provider: provider.name().to_owned(),
        pieces: pieces.clone(),
        server,
        system_user,
        environment: wanted(rendered(spec, context, &domain, port)),
        domain,
        aliases,
        port,
        repository,
        branch,
        pinned: pinned.is_some(),
        commit: pinned.or_else(|| context.branch_head.clone()),
        script_digest: deploy_script::digest_of(&script, &context.digest_key),
        script,
        deploy_timeout,
    })
}

/// Server and port. A port that was given out binds the client to its server: other settings do not move a living site.
fn place(spec: &ClientSpec, context: &Context, provider: HostingProvider) -> Made<(ServerId, u16)> {
    let given = context.allocation.port.clone();
    let server = match (&spec.spec.hosting.server, &given) {
        (Some(named), _) => Some(ServerId::trusted(named.0.clone())),
        (None, Some((server, _))) => Some(server.clone()),
        (None, None) => context.defaults.server.clone(),
    };
    let Some(server) = server else {
        let message = format!(
            "no server of {} is named; set spec.hosting.server, or PLOI_SERVER_ID for all clients",
            provider.name()
        );
        return Err(unavailable("ServerMissing", message));
    };
    match given {
        Some((on, port)) if on == server => Ok((server, port)),
        _ => Err(unavailable("PortPending", format!("no port on server {server} is given out to this client yet"))),
    }
}

fn repository(spec: &ClientSpec, context: &Context) -> Made<RepositorySlug> {
    match &spec.spec.source.repository {
        Some(slug) => RepositorySlug::parse(slug)
            .map_err(|error| unavailable(INVALID, format!("spec.source.repository: {error}"))),
        None => context.defaults.repository.clone().ok_or_else(|| {
            unavailable(
                "RepositoryMissing",
                "no repository is named; set spec.source.repository, or PLOI_GIT_REPO for all clients",
            )
        }),
    }
}

fn rendered(spec: &ClientSpec, context: &Context, domain: &HostName, port: u16) -> Made<DesiredEnvironment> {
    let values = environment(spec, context, domain, port)?;
    let text = env_file::render(&values).map_err(|error| unavailable("EnvironmentInvalid", error.to_string()))?;
    let key = &context.digest_key;
    let digests = values.iter().map(|(name, value)| (name.clone(), key.digest(value.expose().as_bytes()))).collect();
    Ok(DesiredEnvironment { digest: env_file::digest_of(&digests, key), text, digests: digests.into(), values })
}
