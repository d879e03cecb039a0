//! What the loop and the specs are told by the settings.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;

use crate::config::{Follow, Settings};
use crate::controller::absence::AbsenceRules;
use crate::controller::known_secrets::KnownSecrets;
use crate::controller::options::Options;
use crate::controller::watcher::Directory;
use crate::plan::draft::Policy;
use crate::resource::deploy_script::Commands;
use crate::resource::name::{Instance, RepositorySlug, ServerId};
use crate::resource::secret::Secret;
use crate::spec::defaults::Defaults;
use crate::spec::features::Catalogue;
use crate::spec::validate::Rules;

/// What the loop is told, from the settings.
///
/// # Errors
/// As [`rules`].
pub fn options(settings: &Settings, instance: Instance, known_secrets: KnownSecrets) -> anyhow::Result<Options> {
    let (rules, defaults) = rules(settings)?;
    let ploi_rate =
        settings.rates.get("ploi").map_or(60.0, |rate| f64::from(rate.calls) / rate.per.as_secs_f64().max(1.0) * 60.0);
    let audits = ploi_rate / 60.0 * settings.resync.as_secs_f64() * AUDIT_SHARE;
    Ok(Options {
        specs: Arc::new(Directory { path: settings.specs.clone(), instance: instance.clone() }),
        quiet: settings.debounce_quiet,
        debounce_max: settings.debounce_max,
        absence: AbsenceRules {
            scans: settings.absence_scans,
            window: settings.absence_window,
            max_share_percent: percent(settings.deletion.max_share),
            max_per_day: settings.deletion.max_per_day as usize,
        },
        requests_every: REQUESTS_EVERY,
        resync: settings.resync,
        policy: policy(settings),
        audit_period: settings.audit_period,
        audits_a_cycle: audits as usize,
        workers: settings.workers.max(1) as usize,
        port_range: settings.ploi.port_range.clone(),
        rules,
        defaults,
        commands: commands(settings),
        deploy_timeout: settings.deploy.timeout,
        platform_base_url: settings.providers.platform_base_url.clone(),
        shared_environment: settings.shared_environment.clone(),
        backups: settings.backup_directory.clone(),
        backups_kept: settings.backup_keep as usize,
        operators: settings.notify.to.clone(),
        digest_at: settings.notify.digest,
        instance,
        environment: Arc::new(|name| std::env::var(name).ok()),
        credentials: credentials(settings),
        known_secrets,
    })
}

/// Soon enough for a person who waits; a question to the state costs nothing.
const REQUESTS_EVERY: Duration = Duration::from_millis(250);
/// The share of the budget that goes into reading remembered details again (decisions 37).
const AUDIT_SHARE: f64 = 0.1;

fn percent(share: f64) -> u32 {
    (share * 100.0).round().clamp(0.0, 100.0) as u32
}

fn policy(settings: &Settings) -> Policy {
    Policy {
        settle: settings.settle,
        deploy_poll: settings.deploy.poll,
        deploy_retry: settings.deploy.retry,
        build_slots: settings.ploi.build_slots.max(1) as usize,
        propagation_timeout: settings.dns.propagation_timeout,
        deletion_grace: settings.deletion.grace,
        database_grace: settings.deletion.database_grace,
        drain: settings.dns.drain,
        follow_head: settings.deploy.follow == Follow::Head,
        ..Policy::default()
    }
}

fn commands(settings: &Settings) -> Commands {
    let own = &settings.deploy.commands;
    let usual = Commands::default();
    Commands {
        install: own.install.clone().unwrap_or(usual.install),
        build: own.build.clone().unwrap_or(usual.build),
        check: own.check.clone().unwrap_or(usual.check),
        migrate: own.migrate.clone().unwrap_or(usual.migrate),
        start: own.start.clone().unwrap_or(usual.start),
    }
}

/// The rules of specs, and what specs may leave open.
///
/// # Errors
/// The feature catalogue cannot be read, or a setting is not the name it should be.
pub fn rules(settings: &Settings) -> anyhow::Result<(Rules, Defaults)> {
    let catalogue = match &settings.features {
        Some(path) => read_catalogue(path)?,
        None => Catalogue::built_in(),
    };
    let repository = settings.providers.ploi_git_repo.as_deref().map(RepositorySlug::parse).transpose();
    let rules = Rules {
        base_domain: settings.base_domain.clone(),
        catalogue: Arc::new(catalogue),
        ports: settings.ploi.port_range.clone(),
    };
    let defaults = Defaults {
        base_domain: settings.base_domain.clone(),
        repository: repository.context("PLOI_GIT_REPO")?,
        branch: settings.providers.ploi_git_branch.clone(),
        server: settings.providers.ploi_server_id.clone().map(ServerId::trusted),
        system_user: settings.ploi.system_user.clone(),
    };
    Ok((rules, defaults))
}

fn read_catalogue(path: &PathBuf) -> anyhow::Result<Catalogue> {
    let text = std::fs::read_to_string(path).with_context(|| {
        format!("the feature catalogue {} cannot be read; mend the setting `features`", path.display())
    })?;
    Ok(Catalogue::parse(&text)?)
}

/// What this program itself is let in with, but for the key to the mail provider: sites may well send by the same account.
fn credentials(settings: &Settings) -> Vec<Secret> {
    let of = &settings.providers;
    let all = [
        &of.ploi_api_token,
        &of.cloudflare_api_token,
        &of.platform_database_url,
        &of.vercel_api_token,
        &of.railway_api_key,
        &of.github_token,
        &settings.api_token,
    ];
    let set = all.into_iter().flatten().map(|secret| secret.expose().trim());
    set.filter(|text| !text.is_empty()).map(Secret::new).collect()
}
