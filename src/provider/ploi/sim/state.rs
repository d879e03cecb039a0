//! The simulated account: servers, sites and what they hold, and how each of them looks as JSON.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::provider::world::ca::Leaf;
use crate::provider::world::process::Process;

/// Everything of one account.
#[derive(Debug, Default)]
pub struct Account {
    /// Servers by id.
    pub servers: BTreeMap<u64, SimServer>,
    /// Sites by id.
    pub sites: BTreeMap<u64, SimSite>,
    /// Script runs by id.
    pub runs: BTreeMap<String, SimRun>,
    /// Linked Git accounts: (id, provider, label).
    pub source_controls: Vec<(u64, String, String)>,
    /// Orders of Let's Encrypt so far: when, and for which names.
    pub orders: Vec<(Instant, BTreeSet<String>)>,
    next: u64,
}

impl Account {
    /// A fresh id.
    pub fn next_id(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// A site of a server.
    pub fn site(&self, server: u64, id: u64) -> Option<&SimSite> {
        self.sites.get(&id).filter(|site| site.server == server)
    }

    /// A site of a server.
    pub fn site_mut(&mut self, server: u64, id: u64) -> Option<&mut SimSite> {
        self.sites.get_mut(&id).filter(|site| site.server == server)
    }

    /// The site of a root domain.
    pub fn by_domain(&self, server: u64, domain: &str) -> Option<u64> {
        self.sites.iter().find(|(_, site)| site.server == server && site.domain == domain).map(|(id, _)| *id)
    }

    /// Adds a log entry.
    pub fn log(&mut self, site: u64, kind: Option<&'static str>, description: &str, content: &str, at: Timestamp) {
        let id = self.next_id();
        if let Some(site) = self.sites.get_mut(&site) {
            site.logs.insert(0, LogEntry { id, kind, description: description.into(), content: content.into(), at });
        }
    }
}

/// A server.
#[derive(Debug, Clone)]
pub struct SimServer {
    /// Its name.
    pub name: String,
    /// Its address.
    pub address: Ipv4Addr,
    /// Ploi's word: `active`, `unreachable`, …
    pub status: String,
    /// System users besides root.
    pub users: BTreeSet<String>,
    /// Commands that builds need and that are not installed.
    pub lacks: BTreeSet<String>,
}

/// A site.
#[derive(Debug, Clone)]
pub struct SimSite {
    /// Its id.
    pub id: u64,
    /// Its server.
    pub server: u64,
    /// Root domain.
    pub domain: String,
    /// Ploi's word.
    pub status: String,
    /// System user.
    pub user: String,
    /// Project type.
    pub project_type: Option<String>,
    /// Web directory.
    pub web_directory: String,
    /// Files in the way of a clone: the placeholder.
    pub placeholder: BTreeSet<String>,
    /// What is installed.
    pub repository: Option<SimRepository>,
    /// Whether pushes deploy.
    pub quick_deploy: bool,
    /// The environment file.
    pub env: Option<String>,
    /// What a read shows until then, when it lags behind.
    pub env_shown: Option<(Instant, Option<String>)>,
    /// The deploy script.
    pub script: Option<String>,
    /// The virtual host as it stands on the disk.
    pub vhost: String,
    /// Aliases.
    pub aliases: Vec<String>,
    /// Certificates.
    pub certificates: Vec<SimCertificate>,
    /// The certificate that the web server serves: the newest of the lineage.
    pub served: Option<Arc<Leaf>>,
    /// Newest first.
    pub logs: Vec<LogEntry>,
    /// When the last deploy ended well.
    pub last_deploy_at: Option<Timestamp>,
    /// A deploy was asked for and has not ended.
    pub deploying: bool,
    /// What the deploy under way has printed so far.
    pub deploy_log: String,
    /// What the release that serves is started as.
    pub released: Option<Process>,
    /// When it was made.
    pub created_at: Timestamp,
}

/// An installed repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimRepository {
    /// github, gitlab, …
    pub provider: String,
    /// `owner/name`.
    pub slug: String,
    /// Branch.
    pub branch: String,
}

/// A certificate.
#[derive(Debug, Clone)]
pub struct SimCertificate {
    /// Its id.
    pub id: u64,
    /// Ploi's word.
    pub status: String,
    /// Names as ordered.
    pub names: Vec<String>,
    /// letsencrypt or custom.
    pub kind: String,
    /// End of validity.
    pub expires_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A log entry.
#[derive(Debug, Clone)]
pub struct LogEntry {
    /// Its id.
    pub id: u64,
    /// `deploy` or nothing.
    pub kind: Option<&'static str>,
    /// For people.
    pub description: String,
    /// Output.
    pub content: String,
    /// When.
    pub at: Timestamp,
}

/// A one-off script run.
#[derive(Debug, Clone)]
pub struct SimRun {
    /// Its server.
    pub server: u64,
    /// Who it runs as.
    pub user: String,
    /// Its text.
    pub content: String,
    /// Exit code and output, once finished.
    pub end: Option<(i32, String)>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
}

/// `YYYY-MM-DD HH:MM:SS`, UTC, as Ploi writes it (contracts/ploi.md 9.9).
pub fn stamp(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

impl SimServer {
    /// contracts/ploi.md 6.2
    pub fn json(&self, id: u64, sites: usize) -> Value {
        json!({
            "id": id, "status": self.status, "status_id": 4, "type": "server", "database_type": "postgresql",
            "name": self.name, "ip_address": self.address, "internal_ip": null, "ssh_port": "22",
            "reboot_required": false, "php_version": 8.3, "php_cli_version": "8.3", "mysql_version": 5.7,
            "sites_count": sites, "monitoring": true, "opcache": false, "installed_php_versions": ["8.3"],
            "updates": { "packages": 0, "security": 0 }, "description": null,
            "provider": { "id": 1, "name": "custom" }, "created_at": "2019-07-29 10:27:32", "uptime_human": null,
        })
    }
}

impl SimSite {
    /// contracts/ploi.md 6.3
    pub fn json(&self) -> Value {
        json!({
            "id": self.id, "server_id": self.server, "status": self.status, "domain": self.domain, "test_domain": null,
            "deploy_script": self.script.as_ref().map_or(json!(false), |s| json!(s)),
            "deploy_webhook_url": format!("https://ploi.invalid/webhooks/servers/{}/sites/{}/deploy?token=w{}", self.server, self.id, self.id),
            "web_directory": self.web_directory, "project_type": self.project_type, "project_root": "/",
            "last_deploy_at": self.last_deploy_at.map(stamp), "system_user": self.user, "php_version": 8.3,
            "health_url": null, "notes": null,
            "notification_urls": { "slack": null, "discord": null, "webhook": null }, "disable_robots": false,
            "has_repository": self.repository.is_some(), "quick_deploy": self.quick_deploy,
            "zero_downtime_deployment": false, "has_staging": false, "fastcgi_cache": false,
            "disk_usage": { "bytes": 0, "human": "0 B" }, "created_at": stamp(self.created_at),
            "current_deploy_log": if self.status == "deploying" { json!(self.deploy_log) } else { Value::Null },
        })
    }

    /// contracts/ploi.md 6.6
    pub fn repository_json(&self) -> Value {
        let repository = self.repository.as_ref().map(|r| {
            let (user, name) = r.slug.split_once('/').unwrap_or(("", &r.slug));
            json!({ "branch": r.branch, "user": user, "name": name, "provider": r.provider })
        });
        json!({
            "id": self.id, "domain": self.domain, "web_directory": self.web_directory, "wordpress": false,
            "laravel": false, "project_root": "/", "last_deploy_at": self.last_deploy_at.map(stamp),
            "created_at": stamp(self.created_at), "quick_deploy": self.quick_deploy, "repository": repository,
        })
    }

    /// All names, root first.
    pub fn names(&self) -> Vec<String> {
        std::iter::once(self.domain.clone()).chain(self.aliases.iter().cloned()).collect()
    }

    /// Its directory: where ACME challenges are put.
    pub fn directory(&self) -> String {
        format!("/home/{}/{}", self.user, self.domain)
    }

    /// contracts/ploi.md 6.11
    pub fn aliases_json(&self) -> Value {
        json!({ "data": { "aliases": self.aliases, "count": self.aliases.len(), "main": self.domain } })
    }
}

impl SimCertificate {
    /// contracts/ploi.md 6.10
    pub fn json(&self, site: &SimSite) -> Value {
        json!({
            "id": self.id, "status": self.status, "domain": self.names.join(","), "type": self.kind,
            "active": self.status == "active", "tenant": false, "site_id": site.id, "server_id": site.server,
            "expires_at": self.expires_at.map(stamp), "created_at": stamp(self.created_at),
        })
    }
}

impl LogEntry {
    /// contracts/ploi.md 6.4
    pub fn json(&self) -> Value {
        json!({
            "id": self.id, "description": self.description, "content": self.content, "type": self.kind,
            "created_at": stamp(self.at), "created_at_human": "1 minute ago",
        })
    }
}

impl SimRun {
    /// contracts/ploi.md 6.13: here, and only here, times carry a zone.
    pub fn json(&self, id: &str) -> Value {
        let (code, output) = match &self.end {
            Some((code, output)) => (json!(code), json!(output)),
            None => (Value::Null, Value::Null),
        };
        json!({ "data": {
            "id": id, "server_id": self.server, "user": self.user, "content": self.content,
            "status": if self.end.is_some() { "finished" } else { "pending" }, "exit_code": code, "output": output,
            "created_at": self.created_at.strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string(), "started_at": null,
            "finished_at": self.finished_at.map(|at| at.strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string()),
        }})
    }
}
