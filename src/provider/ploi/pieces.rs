//! The pieces of a Ploi site that are files or lists: environment, repository, virtual host, aliases.

use std::collections::BTreeSet;

use async_trait::async_trait;
use reqwest::Method;
use serde_json::{Value, json};

use crate::provider::error::{ErrorClass, ProviderError};
use crate::provider::{Aliases, Answer, Environments, Repositories, SiteRef, VirtualHosts};
use crate::resource::name::HostName;
use crate::resource::secret::Secret;
use crate::resource::site::Repository;

use super::{NAME, Ploi, absent_is_none, label, segment, site_path, unavailable, wire};

/// contracts/ploi.md 6.8
#[async_trait]
impl Environments for Ploi {
    async fn environment(&self, site: &SiteRef) -> Answer<Option<Secret>> {
        let path = format!("{}/env", site_path(site)?);
        Ok(self.read_file(&path, &["content"]).await?.map(Secret::new))
    }

    async fn write_environment(&self, site: &SiteRef, text: &Secret) -> Answer<()> {
        let path = format!("{}/env", site_path(site)?);
        let sent = self.write(Method::PATCH, &path, Some(&json!({ "content": text.expose() }))).await;
        sent.map(|_| ()).map_err(without_words)
    }
}

/// The host's words about an environment may quote it.
fn without_words(error: ProviderError) -> ProviderError {
    let class = match error.class {
        ErrorClass::Invalid(_) => ErrorClass::Invalid("the host does not take this environment file".into()),
        ErrorClass::Busy(_) => ErrorClass::Busy("the host does not take an environment file now".into()),
        other => other,
    };
    ProviderError { class, ..error }
}

/// A linked Git account (contracts/ploi.md 6.1).
struct SourceProvider {
    id: String,
    kind: String,
    names: Vec<String>,
}

impl SourceProvider {
    fn read(value: &Value) -> Option<SourceProvider> {
        let names = ["label", "name"].iter().filter_map(|key| wire::text(value.get(*key))).collect();
        let kind = wire::text(value.get("provider"))?.to_ascii_lowercase();
        Some(SourceProvider { id: wire::text(value.get("id"))?, kind, names })
    }

    fn is_called(&self, wanted: &str) -> bool {
        self.id == wanted || self.names.iter().any(|name| name.eq_ignore_ascii_case(wanted))
    }
}

impl std::fmt::Display for SourceProvider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({} {})", self.id, self.kind, self.names.first().map_or("", String::as_str))
    }
}

impl Ploi {
    /// The Git account that repositories are installed through: the one that the settings name, or the only one
    /// (decisions 34).
    async fn source_provider(&self) -> Answer<SourceProvider> {
        let path = "user/source-control";
        let mut linked: Vec<SourceProvider> = self.list(path).await?.iter().filter_map(SourceProvider::read).collect();
        let known = linked.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        if let Some(wanted) = &self.source_provider {
            linked.retain(|one| one.is_called(wanted));
        }
        let words = match (linked.len(), &self.source_provider) {
            (1, _) => None,
            (0, None) => Some("no Git account is linked at Ploi; link one in its profile".to_owned()),
            (0, Some(wanted)) => Some(format!("hosting.ploi.sourceProvider is {wanted}; linked are: {known}")),
            _ => Some(format!("several Git accounts are linked, set hosting.ploi.sourceProvider to one of: {known}")),
        };
        match (words, linked.pop()) {
            (None, Some(one)) => Ok(one),
            (words, _) => {
                let class = ErrorClass::Invalid(words.unwrap_or_default());
                Err(ProviderError::new(NAME, label(&Method::GET, path), class))
            }
        }
    }
}

/// contracts/ploi.md 6.6
#[async_trait]
impl Repositories for Ploi {
    async fn repository(&self, site: &SiteRef) -> Answer<Option<Repository>> {
        let path = format!("{}/repository", site_path(site)?);
        let Some(value) = absent_is_none(self.read_json(&path).await)? else { return Ok(None) };
        wire::repository(&value).map_err(|flaw| unavailable(&path, flaw))
    }

    async fn install_repository(&self, site: &SiteRef, repository: &Repository) -> Answer<()> {
        let source = self.source_provider().await?;
        let path = format!("{}/repository", site_path(site)?);
        // Ploi documents the id as a number; one that is none goes as it came.
        let id = source.id.parse::<u64>().map_or_else(|_| json!(source.id), |number| json!(number));
        let body = json!({
            "provider": source.kind,
            "branch": repository.branch,
            "name": repository.slug,
            "source_provider_id": id,
        });
        self.write(Method::POST, &path, Some(&body)).await.map(|_| ())
    }

    async fn remove_repository(&self, site: &SiteRef) -> Answer<()> {
        if !self.is_meant(site).await? {
            return Ok(());
        }
        self.delete(&format!("{}/repository", site_path(site)?)).await
    }

    async fn is_reachable(&self, repository: &Repository) -> Answer<bool> {
        let source = self.source_provider().await?;
        let path = format!("user/source-control/{}/repositories", segment(&source.id)?);
        let value = self.read_json(&path).await?;
        let list = wire::single(&value).get("repositories").or_else(|| value.get("data"));
        let Some(Value::Array(items)) = list else {
            return Err(unavailable(&path, "the answer has no `repositories`"));
        };
        let slug = repository.slug.as_str();
        let is_it = |item: &Value| {
            let names = ["name", "label"].iter().filter_map(|key| wire::text(item.get(*key)));
            names.into_iter().any(|name| name.eq_ignore_ascii_case(slug))
        };
        Ok(items.iter().any(is_it))
    }
}

/// contracts/ploi.md 6.9
#[async_trait]
impl VirtualHosts for Ploi {
    async fn virtual_host(&self, site: &SiteRef) -> Answer<String> {
        let path = format!("{}/nginx-configuration", site_path(site)?);
        let text = self.read_file(&path, &["content", "nginx_config"]).await?;
        text.ok_or_else(|| ProviderError::new(NAME, label(&Method::GET, &path), ErrorClass::NotFound))
    }

    async fn write_virtual_host(&self, site: &SiteRef, text: &str) -> Answer<()> {
        let path = format!("{}/nginx-configuration", site_path(site)?);
        self.write(Method::PATCH, &path, Some(&json!({ "content": text }))).await.map(|_| ())
    }
}

/// contracts/ploi.md 6.11: whether a POST adds or replaces is not known, so the whole union goes, and only if one is missing.
#[async_trait]
impl Aliases for Ploi {
    async fn aliases(&self, site: &SiteRef) -> Answer<BTreeSet<HostName>> {
        let path = format!("{}/aliases", site_path(site)?);
        let value = self.read_json(&path).await?;
        wire::aliases(&value, &site.domain).map_err(|flaw| unavailable(&path, flaw))
    }

    async fn set_aliases(&self, site: &SiteRef, wanted: &BTreeSet<HostName>) -> Answer<()> {
        let path = format!("{}/aliases", site_path(site)?);
        let found = self.aliases(site).await?;
        if found == *wanted {
            return Ok(());
        }
        if !wanted.is_subset(&found) {
            let union: BTreeSet<&HostName> = wanted.union(&found).collect();
            self.write(Method::POST, &path, Some(&json!({ "aliases": union }))).await?;
        }
        for extra in found.difference(wanted) {
            let odd = |b: u8| !b.is_ascii_alphanumeric() && !matches!(b, b'.' | b'-' | b'*' | b'_');
            if extra.as_str().bytes().any(odd) {
                let class = ErrorClass::Invalid("an alias at the host is no host name; remove it in the panel".into());
                return Err(ProviderError::new(NAME, label(&Method::DELETE, &path), class));
            }
            self.delete(&format!("{path}/{extra}")).await?;
        }
        let now = self.aliases(site).await?;
        if now == *wanted {
            return Ok(());
        }
        let words = format!("{} of {} aliases are in place", now.intersection(wanted).count(), wanted.len());
        Err(ProviderError::new(NAME, label(&Method::GET, &path), ErrorClass::Busy(words)))
    }
}
