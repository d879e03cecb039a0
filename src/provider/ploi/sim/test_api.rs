//! What somebody else does to the account: sites made by hand, files edited, things removed out of band.

use std::sync::Arc;

use super::state::{Account, SimSite};
use super::{PloiSim, vhost};

impl PloiSim {
    /// A site in state `created`, with its placeholder and the virtual host that Ploi writes.
    pub(super) fn make_site(
        &self,
        account: &mut Account,
        server: u64,
        domain: &str,
        user: &str,
        project_type: Option<String>,
        web_directory: String,
    ) -> u64 {
        let id = account.next_id();
        let placeholder = if web_directory == "/" { "index.html" } else { "public" };
        let mut site = SimSite {
            id,
            server,
            domain: domain.to_owned(),
            status: "created".to_owned(),
            user: user.to_owned(),
            project_type,
            web_directory,
            placeholder: [placeholder.to_owned()].into(),
            repository: None,
            quick_deploy: false,
            env: None,
            env_shown: None,
            script: None,
            vhost: String::new(),
            aliases: Vec::new(),
            certificates: Vec::new(),
            served: None,
            logs: Vec::new(),
            last_deploy_at: None,
            deploying: false,
            deploy_log: String::new(),
            released: None,
            created_at: self.world.now(),
        };
        self.rewrite_vhost(&mut site);
        account.sites.insert(id, site);
        id
    }

    /// A site that somebody made by hand: active, with this environment (none: no file) and proxied to this port.
    pub fn add_foreign_site(&self, server: u64, domain: &str, env: Option<&str>, port: u16) -> u64 {
        let mut account = self.account.lock();
        let id = self.make_site(&mut account, server, domain, "ploi", Some("nodejs".to_owned()), "/".to_owned());
        if let Some(site) = account.sites.get_mut(&id) {
            site.status = "active".to_owned();
            site.created_at = jiff::Timestamp::UNIX_EPOCH; // long ago: every listing shows it
            site.env = env.map(str::to_owned);
            let root = site.directory();
            let names = site.names();
            let parts = vhost::Parts { domain, names: &names, tls: false, port, acme_root: &root };
            site.vhost = vhost::render(&parts);
            site.placeholder.clear();
        }
        self.reload_web_server(&account, server);
        id
    }

    /// The id of the site of a root domain.
    pub fn site_id(&self, server: u64, domain: &str) -> Option<u64> {
        self.account.lock().by_domain(server, domain)
    }

    /// How many sites the account holds.
    pub fn sites_count(&self) -> usize {
        self.account.lock().sites.len()
    }

    /// The environment as it stands. `None`: no such site or no file.
    pub fn env_of(&self, server: u64, domain: &str) -> Option<String> {
        self.with_site(server, domain, |site| site.env.clone()).flatten()
    }

    /// Certificates of a site that are active.
    pub fn active_certificates(&self, server: u64, domain: &str) -> usize {
        let active = |site: &mut SimSite| site.certificates.iter().filter(|one| one.status == "active").count();
        self.with_site(server, domain, active).unwrap_or_default()
    }

    /// Certificates that were issued in this account so far.
    pub fn certificates_issued(&self) -> usize {
        self.account.lock().orders.len()
    }

    /// Deploys of a site that really ran, failed ones among them.
    pub fn deploys_ended(&self, server: u64, domain: &str) -> usize {
        let ended = |site: &mut SimSite| site.logs.iter().filter(|entry| entry.kind == Some("deploy")).count();
        self.with_site(server, domain, ended).unwrap_or_default()
    }

    /// Further host names of a site.
    pub fn aliases_of(&self, server: u64, domain: &str) -> Vec<String> {
        self.with_site(server, domain, |site| site.aliases.clone()).unwrap_or_default()
    }

    /// Edits the environment by hand.
    pub fn edit_env(&self, server: u64, domain: &str, edit: impl FnOnce(&str) -> Option<String>) -> bool {
        self.with_site(server, domain, |site| {
            site.env = edit(site.env.as_deref().unwrap_or_default());
            site.env_shown = None;
        })
        .is_some()
    }

    /// The virtual host as it stands on the disk.
    pub fn vhost_of(&self, server: u64, domain: &str) -> Option<String> {
        self.with_site(server, domain, |site| site.vhost.clone())
    }

    /// Edits the virtual host by hand and reloads, as far as the text loads.
    pub fn edit_vhost(&self, server: u64, domain: &str, edit: impl FnOnce(&str) -> String) -> bool {
        let done = self.with_site(server, domain, |site| site.vhost = edit(&site.vhost)).is_some();
        self.reload_web_server(&self.account.lock(), server);
        done
    }

    /// Edits the deploy script by hand.
    pub fn edit_script(&self, server: u64, domain: &str, text: &str) -> bool {
        self.with_site(server, domain, |site| site.script = Some(text.to_owned())).is_some()
    }

    /// Turns quick deploy by hand.
    pub fn set_quick_deploy(&self, server: u64, domain: &str, on: bool) -> bool {
        self.with_site(server, domain, |site| site.quick_deploy = on).is_some()
    }

    /// Sets a status by hand; `active` ends whatever was stuck.
    pub fn set_status(&self, server: u64, domain: &str, status: &str) -> bool {
        self.with_site(server, domain, |site| {
            site.status = status.to_owned();
            site.deploying = false;
        })
        .is_some()
    }

    /// Gives a site another domain by hand.
    pub fn rename_site(&self, server: u64, domain: &str, name: &str) -> bool {
        self.with_site(server, domain, |site| site.domain = name.to_owned()).is_some()
    }

    /// Removes a site out of band, at once.
    pub fn remove_site(&self, server: u64, domain: &str) -> bool {
        let mut account = self.account.lock();
        let id = account.by_domain(server, domain);
        let gone = id.is_some_and(|id| account.sites.remove(&id).is_some());
        self.reload_web_server(&account, server);
        gone
    }

    /// Puts a server into a state of Ploi's: `active`, `unreachable`, …
    pub fn set_server_status(&self, server: u64, status: &str) {
        if let Some(server) = self.account.lock().servers.get_mut(&server) {
            server.status = status.to_owned();
        }
    }

    /// Commands that are not installed at a server from now on.
    pub fn set_lacking(&self, server: u64, commands: &[&str]) {
        if let Some(server) = self.account.lock().servers.get_mut(&server) {
            server.lacks = commands.iter().map(|c| (*c).to_owned()).collect();
        }
    }

    /// Links another Git account.
    pub fn link_source_control(&self, id: u64, provider: &str, label: &str) {
        self.account.lock().source_controls.push((id, provider.to_owned(), label.to_owned()));
    }

    /// A deploy by somebody else ended well: from the panel, of the installed branch.
    pub fn note_foreign_deploy(self: &Arc<Self>, server: u64, domain: &str) -> bool {
        let mut account = self.account.lock();
        let Some(id) = account.by_domain(server, domain) else { return false };
        let now = self.world.now();
        if let Some(site) = account.sites.get_mut(&id) {
            site.last_deploy_at = Some(now);
        }
        account.log(id, Some("deploy"), "Deployed site", "by hand", now);
        true
    }

    fn with_site<T>(&self, server: u64, domain: &str, look: impl FnOnce(&mut SimSite) -> T) -> Option<T> {
        let mut account = self.account.lock();
        let id = account.by_domain(server, domain)?;
        account.sites.get_mut(&id).map(look)
    }
}
