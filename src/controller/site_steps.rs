//! The executor's steps on a site and its pieces.

mod certificates;

use std::collections::BTreeSet;

use crate::controller::details::digest_environment;
use crate::controller::failure::Failure;
use crate::controller::ledger::{close_intent, open_intent, put_resource};
use crate::controller::workbench::Workbench;
use crate::plan::change::{Action, Step};
use crate::plan::draft::later;
use crate::provider::error::ErrorClass;
use crate::provider::http::lane::{Lane, in_lane};
use crate::provider::{Host, NewSite, ScriptRun, SiteRef};
use crate::resource::desired::{DesiredAdmin, DesiredSite};
use crate::resource::kind::ResourceKind;
use crate::resource::name::{Commit, HostName};
use crate::resource::owned::{
    AdministratorState, Attempt, Details, MarkState, OwnedResource, ProcessState, READ_BACK, Run,
};
use crate::resource::reading::Seen;
use crate::resource::release::{Fingerprint, InFlight};
use crate::resource::secret::{Digest, Secret};
use crate::resource::site::{Purpose, Repository};
use crate::resource::vhost;
use crate::store::{ClientRecord, seal};

/// Name under which the first administrator's password is kept.
pub const ADMIN_PASSWORD: &str = "admin_password";

/// The executor's hands, as far as sites go.
pub(in crate::controller) struct SiteSteps<'a> {
    pub(in crate::controller) bench: &'a Workbench<'a>,
}

impl SiteSteps<'_> {
    pub(in crate::controller) async fn step(&self, action: &Action) -> Result<(), Failure> {
        let wanted = self.wanted()?;
        let host = self.bench.host(&wanted.provider)?;
        if let Step::CreateSite = &action.step {
            return self.create_site(host, wanted).await;
        }
        if let Step::RegisterAdministrator(admin) = &action.step {
            return self.register_administrator(wanted, admin).await;
        }
        let site = self.site_ref(wanted).await?;
        self.verify_mark(host, &site, &action.step).await?;
        match &action.step {
            Step::SuspendSite => self.suspend(host, &site).await,
            Step::ResumeSite => self.resume(host, &site).await,
            Step::DeleteSite => self.delete_site(host, &site).await,
            Step::StartRun(purpose) => self.start_run(host, site, *purpose).await,
            Step::InstallRepository(repository) => self.install_repository(host, &site, repository).await,
            Step::RemoveRepository { next } => self.remove_repository(host, &site, next).await,
            Step::WriteEnvironment { text, digest } => self.write_environment(host, &site, text, digest).await,
            Step::WriteDeployScript { text, digest } => self.write_script(host, &site, text, digest).await,
            Step::MendVirtualHost { port, acme_root, names } => {
                self.mend_virtual_host(host, &site, (*port, acme_root), names).await
            }
            Step::RestoreVirtualHost { text } => self.restore_virtual_host(host, &site, text).await,
            Step::SetAliases(wanted) => self.set_aliases(host, &site, wanted).await,
            Step::Deploy { fingerprint, branch, commit } => {
                self.deploy(host, &site, fingerprint, branch, commit.as_ref()).await
            }
            Step::OrderCertificate { root, names } => self.order_certificate(host, &site, root, names).await,
            Step::DeleteCertificate(id) => self.delete_certificate(host, &site, id).await,
            _ => Ok(()),
        }
    }

    fn wanted(&self) -> Result<&DesiredSite, Failure> {
        let site = self.bench.desired.site.value();
        site.ok_or(Failure::Rule {
            reason: "ProviderNotConfigured",
            message: "the site's host is not configured".into(),
        })
    }

    /// The site that memory says is ours; nothing else is ever addressed.
    async fn site_ref(&self, wanted: &DesiredSite) -> Result<SiteRef, Failure> {
        let id = self.bench.ledger.read(|r| r.owned.first(ResourceKind::Site).map(|site| site.id.clone())).await;
        let id = id.ok_or(Failure::Rule {
            reason: "NotOurs",
            message: format!("no site {} of ours is known", wanted.domain),
        })?;
        Ok(SiteRef {
            server: wanted.server.clone(),
            id,
            domain: wanted.domain.clone(),
            system_user: wanted.system_user.clone(),
        })
    }

    /// Marks are read right before a write (decisions 11): the environment of a site whose mark was written must carry it.
    async fn verify_mark(&self, host: &Host, site: &SiteRef, step: &Step) -> Result<(), Failure> {
        let ledger = self.bench.ledger;
        let (written, seen_at) = ledger
            .read(|r| {
                let written = r.owned.first(ResourceKind::Site).is_some_and(|s| s.mark == MarkState::Written);
                (written, r.owned.details.environment.as_ref().map(|e| e.at))
            })
            .await;
        let destructive = matches!(step, Step::SuspendSite | Step::DeleteSite | Step::RemoveRepository { .. });
        let window = std::time::Duration::from_secs(if destructive { 5 } else { 60 });
        if !written || seen_at.is_some_and(|at| later(at, window) > self.bench.clock.now()) {
            return Ok(());
        }
        let text = in_lane(Lane::Safety, host.environments.environment(site)).await?;
        let seen = digest_environment(text.as_ref(), self.bench.digests);
        let ours = seen.mark.as_ref() == Some(&self.bench.desired.mark);
        let now = self.bench.clock.now();
        ledger.update(|r| r.owned.details.environment = Some(Seen { value: seen, at: now })).await?;
        if ours {
            return Ok(());
        }
        Err(Failure::Rule {
            reason: "OwnershipLost",
            message: format!(
                "the environment of site {} (id {}) no longer carries our mark SITEWRIGHT_OWNER; nothing is written until it does, or until the annotation sitewright/adopt names the site",
                site.domain, site.id
            ),
        })
    }

    async fn create_site(&self, host: &Host, wanted: &DesiredSite) -> Result<(), Failure> {
        let ledger = self.bench.ledger;
        let key = wanted.domain.to_string();
        ledger.intend(ResourceKind::Site, std::slice::from_ref(&key)).await?;
        let new = NewSite {
            server: wanted.server.clone(),
            domain: wanted.domain.clone(),
            system_user: wanted.system_user.clone(),
        };
        match host.sites.create_site(&new).await {
            Ok(id) => {
                let since = self.bench.clock.now();
                let provider = wanted.provider.clone();
                self.bench.servers.note_ours(&id).await;
                ledger
                    .update(|record| {
                        close_intent(record, ResourceKind::Site, &key);
                        put_resource(
                            record,
                            OwnedResource {
                                kind: ResourceKind::Site,
                                provider,
                                name: key.clone(),
                                id,
                                mark: MarkState::Pending,
                                since,
                            },
                        );
                        begin_site(record);
                        record.owned.details = new_site_details(&record.owned.details, since);
                    })
                    .await?;
                Ok(())
            }
            Err(error) => {
                // "Already there" after one sending is somebody else's; after two it is our first one.
                let foreign = matches!(error.class, ErrorClass::Exists(_))
                    && !ledger.was_sent_before(ResourceKind::Site, &key).await;
                if foreign || !(error.is_ambiguous() || matches!(error.class, ErrorClass::Exists(_))) {
                    ledger.close(ResourceKind::Site, &key).await?;
                }
                Err(error.into())
            }
        }
    }

    async fn suspend(&self, host: &Host, site: &SiteRef) -> Result<(), Failure> {
        self.forget_before(|details| details.vhost = None).await?;
        Ok(host.sites.suspend(site).await?)
    }

    async fn delete_site(&self, host: &Host, site: &SiteRef) -> Result<(), Failure> {
        let note = |record: &mut ClientRecord| {
            record.owned.removal.iter_mut().for_each(|removal| removal.site_removal_sent = true);
        };
        self.bench.ledger.update(note).await?;
        Ok(host.sites.delete_site(site).await?)
    }

    /// A resumed site gets its virtual host checked and its process started (decisions 32).
    async fn resume(&self, host: &Host, site: &SiteRef) -> Result<(), Failure> {
        self.forget_before(|details| {
            details.vhost = None;
            details.probe = None;
        })
        .await?;
        Ok(host.sites.resume(site).await?)
    }

    async fn start_run(&self, host: &Host, site: SiteRef, purpose: Purpose) -> Result<(), Failure> {
        let Some(scripts) = &host.scripts else { return Ok(()) };
        let process = self.bench.desired.process.to_string();
        if purpose == Purpose::CheckServer {
            return Ok(self.bench.servers.begin_check(host, site, &process, &self.bench.clock).await?);
        }
        if matches!(purpose, Purpose::StopProcess | Purpose::DeleteProcess) {
            let ending = Seen { value: ProcessState::Ending, at: self.bench.clock.now() };
            self.forget_before(|details| details.process = Some(ending)).await?;
        }
        let id = scripts.start(&ScriptRun { purpose, process, site }).await?;
        let started_at = self.bench.clock.now();
        Ok(self.bench.ledger.update(|r| r.owned.runs.insert(purpose, Run { id, started_at })).await.map(|_| ())?)
    }

    async fn install_repository(&self, host: &Host, site: &SiteRef, repository: &Repository) -> Result<(), Failure> {
        let Some(repositories) = &host.repositories else { return Ok(()) };
        let key = repository.slug.to_string();
        let ledger = self.bench.ledger;
        self.forget_before(|details| details.repository = None).await?;
        ledger.intend(ResourceKind::Repository, std::slice::from_ref(&key)).await?;
        let result = repositories.install_repository(site, repository).await;
        if let Err(error) = &result
            && !error.is_ambiguous()
        {
            ledger.close(ResourceKind::Repository, &key).await?;
        }
        Ok(result?)
    }

    /// Another repository replaces this one only after the host was seen to reach it (decisions 2).
    async fn remove_repository(&self, host: &Host, site: &SiteRef, next: &Repository) -> Result<(), Failure> {
        let Some(repositories) = &host.repositories else { return Ok(()) };
        if !repositories.is_reachable(next).await? {
            return Err(Failure::Rule {
                reason: "RepositoryNotReachable",
                message: format!(
                    "the host's Git account does not see {}; the one in use stays until it does",
                    next.slug
                ),
            });
        }
        // The mark may go with the environment: pending, until it was seen written again.
        self.bench
            .ledger
            .update(|r| {
                let details = &mut r.owned.details;
                details.repository = None;
                details.placeholder_cleared = None;
                details.environment = None;
                details.vhost = None;
                for ours in r.owned.resources.iter_mut().filter(|ours| ours.kind == ResourceKind::Site) {
                    ours.mark = MarkState::Pending;
                }
            })
            .await?;
        Ok(repositories.remove_repository(site).await?)
    }

    /// Written as a whole, then read back by the next look; a stale read-back is waited out, not written again.
    async fn write_environment(
        &self,
        host: &Host,
        site: &SiteRef,
        text: &Secret,
        _digest: &Digest,
    ) -> Result<(), Failure> {
        self.forget_before(|details| details.environment = None).await?;
        host.environments.write_environment(site, text).await?;
        let hold = self.read_back_hold("the environment");
        self.bench.ledger.update(|r| r.owned.attempts.insert(ResourceKind::Environment, hold)).await?;
        Ok(())
    }

    async fn write_script(&self, host: &Host, site: &SiteRef, text: &str, _digest: &Digest) -> Result<(), Failure> {
        self.forget_before(|details| details.script = None).await?;
        host.releases.write_deploy_script(site, text).await?;
        let hold = self.read_back_hold("the deploy script");
        self.bench.ledger.update(|r| r.owned.attempts.insert(ResourceKind::DeployScript, hold)).await?;
        Ok(())
    }

    /// What a write makes untrue is forgotten before it is sent: whatever becomes of its answer, the next look reads anew
    /// instead of trusting what stood before.
    async fn forget_before(&self, forget: impl FnOnce(&mut Details)) -> Result<(), Failure> {
        Ok(self.bench.ledger.update(|r| forget(&mut r.owned.details)).await?)
    }

    fn read_back_hold(&self, what: &str) -> Attempt {
        let next_at = later(self.bench.clock.now(), self.bench.policy.settle);
        Attempt {
            failures: 0,
            next_at,
            reason: READ_BACK.into(),
            message: format!(
                "{what} was written and the host does not show it yet; it is written again at {next_at:.0} if it never does"
            ),
            permanent: false,
        }
    }

    /// Reads, edits as little as possible, writes; the old text is durable before the new one is sent.
    async fn mend_virtual_host(
        &self,
        host: &Host,
        site: &SiteRef,
        (port, acme_root): (u16, &str),
        names: &BTreeSet<HostName>,
    ) -> Result<(), Failure> {
        let Some(virtual_hosts) = &host.virtual_hosts else { return Ok(()) };
        let before = virtual_hosts.virtual_host(site).await?;
        let mended = vhost::mend(&before, port, acme_root);
        let after = mended.and_then(|text| vhost::name_as_well(&text, &site.domain, names));
        let after = after.map_err(|problem| Failure::Rule {
            reason: "VirtualHostUnreadable",
            message: format!(
                "the virtual host of {} cannot be edited safely: {problem}; mend it in the host's panel",
                site.domain
            ),
        })?;
        self.bench
            .ledger
            .update(|r| {
                r.owned.vhost_before.get_or_insert(before);
                r.owned.details.vhost_loaded = false;
                r.owned.details.vhost = None;
            })
            .await?;
        Ok(virtual_hosts.write_virtual_host(site, &after).await?)
    }

    async fn restore_virtual_host(&self, host: &Host, site: &SiteRef, text: &str) -> Result<(), Failure> {
        let Some(virtual_hosts) = &host.virtual_hosts else { return Ok(()) };
        self.forget_before(|details| {
            details.vhost = None;
            details.vhost_loaded = false;
        })
        .await?;
        virtual_hosts.write_virtual_host(site, text).await?;
        Ok(self.bench.ledger.update(|r| r.owned.vhost_before = None).await?)
    }

    async fn set_aliases(
        &self,
        host: &Host,
        site: &SiteRef,
        wanted: &std::collections::BTreeSet<HostName>,
    ) -> Result<(), Failure> {
        let Some(aliases) = &host.aliases else { return Ok(()) };
        self.forget_before(|details| {
            details.aliases = None;
            details.vhost = None;
        })
        .await?;
        Ok(aliases.set_aliases(site, wanted).await?)
    }

    async fn deploy(
        &self,
        host: &Host,
        site: &SiteRef,
        fingerprint: &Fingerprint,
        branch: &str,
        commit: Option<&Commit>,
    ) -> Result<(), Failure> {
        let ledger = self.bench.ledger;
        let baseline = host.releases.baseline(site).await?;
        let requested_at = self.bench.clock.now();
        ledger
            .update(|r| {
                open_intent(r, ResourceKind::Release, site.domain.as_str(), requested_at);
                let number = r.owned.releases.next_number;
                r.owned.releases.next_number += 1;
                let fingerprint = fingerprint.clone();
                r.owned.releases.in_flight =
                    Some(InFlight { number, fingerprint, baseline, requested_at, seen_deploying: false });
            })
            .await?;
        let result = host.releases.deploy(site, branch, commit).await;
        ledger
            .update(|r| match &result {
                Ok(()) => close_intent(r, ResourceKind::Release, site.domain.as_str()),
                Err(error) if error.is_ambiguous() => {}
                Err(_) => {
                    close_intent(r, ResourceKind::Release, site.domain.as_str());
                    r.owned.releases.in_flight = None;
                }
            })
            .await?;
        Ok(result?)
    }

    /// The password is durable before the call; after a lost answer, or a refusal, a login with it tells whose it is.
    async fn register_administrator(&self, wanted: &DesiredSite, admin: &DesiredAdmin) -> Result<(), Failure> {
        let ledger = self.bench.ledger;
        let fresh = seal::new_password()?;
        let (password, sent) = ledger
            .update(|r| {
                let password = r.secrets.entry(ADMIN_PASSWORD.into()).or_insert(fresh).clone();
                let sent = r.owned.administrator == AdministratorState::Sent;
                r.owned.administrator = AdministratorState::Sent;
                (password, sent)
            })
            .await?;
        let cms = &self.bench.providers.cms;
        let ours = (sent && cms.log_in(&wanted.domain, &admin.email, &password).await?)
            || cms.first_register(&wanted.domain, &admin.email, &admin.name, &password).await?
            || cms.log_in(&wanted.domain, &admin.email, &password).await?;
        let now = self.bench.clock.now();
        ledger
            .update(|r| {
                r.owned.welcome_due = ours.then_some(now);
                r.owned.administrator = match (ours, r.owned.made_database) {
                    (true, _) => AdministratorState::Made { email: admin.email.clone() },
                    (false, true) => AdministratorState::Taken,
                    (false, false) => AdministratorState::AlreadyThere,
                };
            })
            .await?;
        Ok(())
    }
}

/// A new site serves nothing yet: what was under way or in use at one before it counts no more.
pub(in crate::controller) fn begin_site(record: &mut ClientRecord) {
    record.owned.details = Details { published: record.owned.details.published.take(), ..Details::default() };
    record.owned.runs.clear();
    record.owned.releases.live = None;
    record.owned.releases.in_flight = None;
    record.owned.order = None;
    record.owned.vhost_before = None;
    leave_site(record);
}

/// What was found with a site went with it; that its database was taken over stays.
pub(in crate::controller) fn leave_site(record: &mut ClientRecord) {
    if let Some(take_over) = record.owned.take_over.as_mut() {
        take_over.is_settled = true;
        take_over.accepted.clear();
    }
}

/// What is known of a site that was just created: it has nothing, except a virtual host that must be read.
fn new_site_details(before: &Details, at: jiff::Timestamp) -> Details {
    Details {
        repository: Some(Seen { value: None, at }),
        environment: Some(Seen { value: crate::resource::owned::EnvironmentSeen::default(), at }),
        script: Some(Seen { value: None, at }),
        aliases: Some(Seen { value: std::collections::BTreeSet::new(), at }),
        certificates: Some(Seen { value: Vec::new(), at }),
        published: before.published.clone(),
        ..Details::default()
    }
}
