//! Deploy script, deploys and their logs, and one-off scripts at a Ploi server.

use async_trait::async_trait;
use reqwest::Method;
use serde_json::{Value, json};

use crate::provider::error::{ErrorClass, ProviderError};
use crate::provider::{Answer, Releases, ScriptRun, Scripts, SiteRef};
use crate::resource::name::{Commit, RemoteId, ServerId};
use crate::resource::release::{Baseline, DeployLog};
use crate::resource::site::RunState;

use super::{NAME, Ploi, label, scripts, segment, site_path, unavailable, wire};

/// How far back the newest deploy is looked for; other entries (git, certificates, virtual host) lie between.
const LOG_PAGES_MAX: u64 = 4;

impl Ploi {
    /// The newest log entry of type `deploy` (contracts/ploi.md 6.4: newest first, and pages of 50).
    async fn newest_deploy(&self, path: &str) -> Answer<Option<Value>> {
        for number in 1..=LOG_PAGES_MAX {
            let page = self.page(path, number).await?;
            let deploys =
                page.items.into_iter().filter(|item| wire::text(item.get("type")).as_deref() == Some("deploy"));
            let newest = deploys.max_by_key(|item| item.get("id").and_then(wire::integer));
            if newest.is_some() || number >= page.last {
                return Ok(newest);
            }
        }
        Ok(None)
    }
}

/// contracts/ploi.md 6.7
#[async_trait]
impl Releases for Ploi {
    async fn deploy_script(&self, site: &SiteRef) -> Answer<Option<String>> {
        let path = format!("{}/deploy/script", site_path(site)?);
        self.read_file(&path, &["deploy_script", "script"]).await
    }

    async fn write_deploy_script(&self, site: &SiteRef, text: &str) -> Answer<()> {
        let path = format!("{}/deploy/script", site_path(site)?);
        self.write(Method::PATCH, &path, Some(&json!({ "deploy_script": text }))).await.map(|_| ())
    }

    async fn deploy(&self, site: &SiteRef, branch: &str, commit: Option<&Commit>) -> Answer<()> {
        let path = format!("{}/deploy", site_path(site)?);
        let mut variables = serde_json::Map::from_iter([("SW_BRANCH".to_owned(), json!(branch))]);
        if let Some(commit) = commit {
            variables.insert("SW_COMMIT".to_owned(), json!(commit));
        }
        self.write(Method::POST, &path, Some(&json!({ "variables": variables }))).await.map(|_| ())
    }

    async fn deploy_log(&self, site: &SiteRef) -> Answer<DeployLog> {
        let path = format!("{}/log", site_path(site)?);
        let Some(entry) = self.newest_deploy(&path).await? else {
            return Ok(DeployLog { id: None, text: String::new() });
        };
        let id = wire::id(&entry).ok_or_else(|| unavailable(&path, "a log entry without an id"))?;
        let content = match wire::text(entry.get("content")) {
            Some(content) => content,
            // Some answers list entries without their text.
            None => {
                let value = self.read_json(&format!("{path}/{}", segment(id.as_str())?)).await?;
                wire::text(wire::single(&value).get("content")).unwrap_or_default()
            }
        };
        // Masked as a whole before it is cut: a secret at the edge of the cut would not be recognised.
        Ok(DeployLog { id: Some(id.to_string()), text: self.redact.apply(site, &content) })
    }

    async fn baseline(&self, site: &SiteRef) -> Answer<Baseline> {
        let last_deploy_at = self.site(site).await?.value.last_deploy_at;
        let newest = self.newest_deploy(&format!("{}/log", site_path(site)?)).await?;
        Ok(Baseline { last_deploy_at, log_id: newest.as_ref().and_then(wire::id).map(|id| id.to_string()) })
    }
}

/// contracts/ploi.md 6.13: the one operation with a real end and exit code.
#[async_trait]
impl Scripts for Ploi {
    async fn start(&self, run: &ScriptRun) -> Answer<RemoteId> {
        let path = format!("servers/{}/scripts/run", segment(run.site.server.as_str())?);
        let error = |class| ProviderError::new(NAME, label(&Method::POST, &path), class);
        let script = scripts::script(run).map_err(|words| error(ErrorClass::Invalid(words)))?;
        let body = json!({ "content": script.content, "user": script.user });
        let value = self.write(Method::POST, &path, Some(&body)).await?;
        // Every purpose may run twice, so a lost id only costs a second run.
        wire::id(wire::single(&value))
            .ok_or_else(|| error(ErrorClass::Unanswered("the answer to the run holds no id".into())))
    }

    async fn run_state(&self, server: &ServerId, id: &RemoteId) -> Answer<RunState> {
        let path = format!("servers/{}/scripts/run/{}", segment(server.as_str())?, segment(id.as_str())?);
        let value = self.read_json(&path).await?;
        wire::run_state(&value).map_err(|flaw| unavailable(&path, flaw))
    }
}
