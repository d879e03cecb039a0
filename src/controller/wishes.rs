//! From a good spec to what is wanted: gives out names, ports and secrets, and resolves what the spec only refers to.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;

use crate::controller::clock::Clock;
use crate::controller::databases::{DATABASE_PASSWORD, DatabaseSteps};
use crate::controller::observer::{Observer, earlier};
use crate::controller::options::Options;
use crate::controller::providers::Providers;
use crate::controller::shared::Shared;
use crate::plan::progress::Told;
use crate::provider::tally::{CallPurpose, counted_as};
use crate::resource::desired::Desired;
use crate::resource::env_file::EnvValue;
use crate::resource::name::{ClientName, Commit, HostName, RepositorySlug, ServerId, SqlName};
use crate::resource::reading::{Reading, Wanted};
use crate::resource::secret::{DigestKey, Secret};
use crate::resource::site::PORTS_UNKNOWN;
use crate::spec::client_spec::ClientSpec;
use crate::spec::context::{Context, PAYLOAD_SECRET, Providers as Configured, SharedVariable, Unavailable};
use crate::spec::desired::desired;
use crate::spec::environment::references;
use crate::spec::secret_ref::SecretRef;
use crate::store::{ClientRecord, Store, StoreError, Stored, seal};

/// Largest secret file that is read.
const SECRET_FILE_BYTES_MAX: u64 = 64 * 1024;
/// A branch head is asked for again after this long, or after a cycle where that is shorter.
const HEAD_AGE_MAX: Duration = Duration::from_secs(60);

/// Repository and branch.
type Branch = (String, String);

/// Makes wishes.
pub struct Wishes {
    options: Options,
    providers: Providers,
    digests: DigestKey,
    clock: Clock,
    store: Arc<dyn Store>,
    heads: Shared<Branch, Option<Commit>>,
    last: Mutex<BTreeMap<ClientName, Arc<Wish>>>,
}

/// A wish with all that it was made from: the same again needs no making.
struct Wish {
    spec: Arc<ClientSpec>,
    context: Context,
    desired: Arc<Desired>,
}

impl Wishes {
    /// Over the options and providers of an installation.
    pub fn new(
        options: Options,
        providers: Providers,
        digests: DigestKey,
        clock: Clock,
        store: Arc<dyn Store>,
    ) -> Self {
        Wishes { options, providers, digests, clock, store, heads: Shared::default(), last: Mutex::default() }
    }

    /// The installation's choices.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// What the client is wanted to be. Fills the record's allocation and secrets; the caller makes them durable before use.
    pub async fn desired(
        &self,
        spec: &Arc<ClientSpec>,
        record: &mut ClientRecord,
        observer: &Observer,
        fresh: Timestamp,
        told: &mut Vec<Told>,
    ) -> Stored<Arc<Desired>> {
        give_out_names(spec, record);
        for name in [PAYLOAD_SECRET, DATABASE_PASSWORD] {
            if !record.secrets.contains_key(name) {
                record.secrets.insert(name.to_owned(), seal::new_password()?);
            }
        }
        let allocated = self.allocate_port(spec, record, observer, fresh, told).await?;
        let context = Context {
            mark: record.owned.mark.clone(),
            allocation: record.owned.allocation.clone(),
            secrets: record.secrets.clone(),
            database_url: self.database_url(record),
            references: references(spec)
                .into_iter()
                .map(|reference| (reference.clone(), self.resolve(&reference)))
                .collect(),
            shared: self.options.shared_environment.iter().map(|entry| self.shared(entry)).collect(),
            defaults: self.options.defaults.clone(),
            platform_base_url: self.options.platform_base_url.clone(),
            deploy_timeout: self.options.deploy_timeout,
            commands: self.options.commands.clone(),
            providers: self.configured(),
            branch_head: self.branch_head(spec).await,
            catalogue: self.options.rules.catalogue.clone(),
            digest_key: self.digests.clone(),
        };
        let wanted = self.wish(spec, context);
        let Err(problem) = allocated else { return Ok(wanted) };
        let mut portless = (*wanted).clone();
        portless.site = Wanted::Missing { reason: problem.reason, message: problem.message };
        Ok(Arc::new(portless))
    }

    fn wish(&self, spec: &Arc<ClientSpec>, context: Context) -> Arc<Desired> {
        let name = ClientName::trusted(&spec.metadata.name);
        let last = self.last.lock().get(&name).cloned();
        if let Some(last) = last.filter(|last| Arc::ptr_eq(&last.spec, spec) && last.context == context) {
            return last.desired.clone();
        }
        let desired = Arc::new(desired(spec, &context));
        self.note_secrets(&desired);
        let wish = Wish { spec: spec.clone(), context, desired: desired.clone() };
        self.last.lock().insert(name, Arc::new(wish));
        desired
    }

    /// A client is gone.
    pub fn forget(&self, client: &ClientName) {
        self.last.lock().remove(client);
    }

    /// Whatever the site may print of its secrets is masked from now on.
    fn note_secrets(&self, wanted: &Desired) {
        if let Some(site) = wanted.site.value()
            && let Some(environment) = site.environment.value()
        {
            let secret = |value: &EnvValue| match value {
                EnvValue::Secret(secret) => Some(secret.clone()),
                EnvValue::Plain(_) => None,
            };
            self.options.known_secrets.set(&site.domain, environment.values.values().filter_map(secret).collect());
        }
    }

    fn configured(&self) -> Configured {
        Configured {
            hosts: self.providers.hosts.iter().map(|(name, host)| (name.clone(), host.pieces.clone())).collect(),
            databases: self.providers.databases.keys().cloned().collect(),
            dns: self.providers.dns.keys().cloned().collect(),
        }
    }

    fn shared(&self, entry: &str) -> SharedVariable {
        let name = entry.strip_suffix('!').unwrap_or(entry);
        SharedVariable::new(entry, (self.options.environment)(name).map(Secret::new))
    }

    fn database_url(&self, record: &ClientRecord) -> Result<Secret, Unavailable> {
        let missing = |message: &str| Unavailable { reason: "ProviderNotConfigured", message: message.to_owned() };
        let provider = self
            .providers
            .databases
            .values()
            .next()
            .ok_or_else(|| missing("no database server is configured; set PLATFORM_DATABASE_URL"))?;
        let database = crate::plan::database::remembered(&record.owned, record.name.as_str())
            .ok_or_else(|| missing("the database has no name yet"))?;
        let password = record
            .secrets
            .get(DATABASE_PASSWORD)
            .ok_or_else(|| missing("the database password is not in the state"))?;
        Ok(DatabaseSteps::site_url(&**provider, &database, password))
    }

    /// A port for life, unique over the store and over the virtual hosts of everybody's sites (decisions 5).
    async fn allocate_port(
        &self,
        spec: &ClientSpec,
        record: &mut ClientRecord,
        observer: &Observer,
        fresh: Timestamp,
        told: &mut Vec<Told>,
    ) -> Stored<Result<(), Unavailable>> {
        let Some(host) = self.providers.hosts.get(spec.spec.hosting.provider.name()) else { return Ok(Ok(())) };
        let Some(server) = spec.server(&self.options.defaults) else { return Ok(Ok(())) };
        let fixed = spec.fixed_port();
        if let Some((on, port)) = &record.owned.allocation.port
            && *on == server
            && fixed.is_none_or(|fixed| fixed == *port)
            && !port_was_taken(record)
        {
            return Ok(Ok(()));
        }
        let domain = spec.domain(&self.options.defaults).ok();
        let mut taken = match self.foreign_ports(host, &server, domain.as_ref(), observer, fresh).await {
            Ok(taken) => taken,
            Err(message) => {
                return Ok(Err(Unavailable {
                    reason: PORTS_UNKNOWN,
                    message: format!("{message}; no port is given out on server {server} before"),
                }));
            }
        };
        if port_was_taken(record) {
            // The deploy found somebody else on our port: it is theirs, we take the next one.
            if let Some((_, port)) = record.owned.allocation.port.take() {
                taken.insert(port);
                told.push(Told {
                    reason: "PortTaken",
                    message: format!("port {port} is held by a process that is not ours; another one is taken"),
                    warning: true,
                });
            }
            record.owned.releases.failed = None;
            self.store.free_ports(&record.owned.mark.uid).await?;
        } else if record.owned.allocation.port.is_some() {
            self.store.free_ports(&record.owned.mark.uid).await?;
        }
        let former = record.owned.allocation.former_port.filter(|port| fixed.is_none() && !taken.contains(port));
        let uid = record.owned.mark.uid.clone();
        let range = self.options.port_range.clone();
        let mut given = self.store.allocate_port(&server, &uid, fixed.or(former), range.clone(), &taken).await;
        if former.is_some() && given.is_err() {
            given = self.store.allocate_port(&server, &uid, None, range, &taken).await;
        }
        match given {
            Ok(port) => {
                record.owned.allocation.port = Some((server, port));
                Ok(Ok(()))
            }
            Err(error @ (StoreError::PortHeld { .. } | StoreError::PortsExhausted { .. })) => {
                Ok(Err(Unavailable { reason: "PortNotFree", message: error.to_string() }))
            }
            Err(error) => Err(error),
        }
    }

    async fn foreign_ports(
        &self,
        host: &crate::provider::Host,
        server: &ServerId,
        asking: Option<&HostName>,
        observer: &Observer,
        fresh: Timestamp,
    ) -> Result<std::collections::BTreeSet<u16>, String> {
        let listing = match observer.sites(host, server, fresh).await {
            Reading::Known(listing) => listing,
            Reading::Unknown { reason } => return Err(reason), // as it is: the plan takes it apart
        };
        observer.servers.foreign_ports(host, server, listing.all(), asking, &self.clock).await
    }

    /// The text behind a reference; the error is one clause without the value.
    fn resolve(&self, reference: &SecretRef) -> Result<Secret, String> {
        let secret = match reference {
            SecretRef::Env(name) => (self.options.environment)(name)
                .map(Secret::new)
                .ok_or_else(|| format!("the variable {name} is not set where the daemon runs")),
            SecretRef::File(path) => read_secret_file(path),
            SecretRef::Age(_) => {
                Err("age values need a decryption key, which this build does not read yet; use `env` or `file`".into())
            }
        }?;
        // Whatever path leads there, a link or the files of this very process: a site's owner must not come by it.
        match self.options.credentials.iter().any(|own| secret.expose().contains(own.expose())) {
            true => Err(format!(
                "{reference} holds a credential of Sitewright itself, which no site gets; put the site's secret into a place of its own"
            )),
            false => Ok(secret),
        }
    }

    /// One question per repository and cycle; what is not seen is `None`, never an old guess.
    async fn branch_head(&self, spec: &ClientSpec) -> Option<Commit> {
        let git = self.providers.git.as_ref()?;
        let written = spec.spec.source.repository.as_deref().and_then(|text| RepositorySlug::parse(text).ok());
        let repository = written.or_else(|| self.options.defaults.repository.clone())?;
        let branch = spec.branch(&self.options.defaults);
        let key = (repository.to_string(), branch.clone());
        let fresh = earlier(self.clock.now(), self.options.resync.min(HEAD_AGE_MAX));
        let read = || counted_as(CallPurpose::Audit, git.head(&repository, &branch));
        match self.heads.get(&key, fresh, &self.clock, read).await {
            Reading::Known(head) => head,
            Reading::Unknown { reason } => {
                tracing::debug!(reason, "the branch head was not seen");
                None
            }
        }
    }
}

/// Database, group and login names are given out once (decisions 13).
fn give_out_names(spec: &ClientSpec, record: &mut ClientRecord) {
    if record.owned.allocation.database.is_some() {
        return;
    }
    if let Ok(name) = spec.database_name()
        && let Ok(login) = SqlName::parse(&format!("{name}_a"))
    {
        record.owned.allocation.database = Some(name);
        record.owned.allocation.login.get_or_insert(login);
    }
}

fn port_was_taken(record: &ClientRecord) -> bool {
    record.owned.releases.failed.as_ref().is_some_and(|failed| failed.reason == "PortTaken")
}

fn read_secret_file(path: &str) -> Result<Secret, String> {
    let problem = |why: String| format!("the file {path} {why}");
    let metadata = std::fs::metadata(path).map_err(|e| problem(format!("cannot be read ({e})")))?;
    if !metadata.is_file() || metadata.len() > SECRET_FILE_BYTES_MAX {
        return Err(problem(format!("is not a regular file of at most {SECRET_FILE_BYTES_MAX} bytes")));
    }
    let text = std::fs::read_to_string(path).map_err(|e| problem(format!("cannot be read ({e})")))?;
    Ok(Secret::new(text.strip_suffix('\n').unwrap_or(&text)))
}
