//! What a client was before this state knew of it: its name at the database server, its site's environment and the records
//! of its domain carry the mark under which it was made; the environment tells its port and its generated secrets too. A
//! site that a person takes over by its id tells them without a mark. A client that is new everywhere has none.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::controller::databases::DATABASE_PASSWORD;
use crate::controller::observer::Observer;
use crate::controller::providers::Providers;
use crate::provider::SiteRef;
use crate::resource::database::DatabaseMark;
use crate::resource::mark::{MARK_VARIABLE, Mark};
use crate::resource::name::{ClientName, Instance, RemoteId, SqlName, Uid};
use crate::resource::owned::AdministratorState;
use crate::resource::reading::Reading;
use crate::resource::secret::Secret;
use crate::resource::take_over::TakeOver;
use crate::spec::client_spec::{ClientSpec, MOVED_FROM_ANNOTATION};
use crate::spec::context::PAYLOAD_SECRET;
use crate::spec::defaults::Defaults;
use crate::spec::placement::DatabaseProvider;
use crate::store::ClientRecord;

/// Why a site is not taken over whose database address cannot be rendered again.
const UNREADABLE_LOGIN: &str = "its DATABASE_URL names no login and password that can be kept; give the spec database.provider: external, with that address in urlFrom";

/// What was found under our marks.
#[derive(Debug, Clone, Default)]
pub struct FormerLife {
    uid: Option<Uid>,
    /// Somebody else's life, that the spec takes over.
    is_taken_over: bool,
    port: Option<u16>,
    login: Option<SqlName>,
    database: Option<SqlName>,
    process: Option<ClientName>,
    secrets: BTreeMap<String, Secret>,
}

/// Whether a client has never been planned: only then it may have a life that its record does not know of. One that goes
/// before it was planned is not looked for: what nobody remembers, nobody removes.
pub fn is_blank(record: &ClientRecord) -> bool {
    let owned = &record.owned;
    record.observed_generation == 0
        && owned.removal.is_none()
        && owned.resources.is_empty()
        && owned.intents.is_empty()
        && owned.allocation.port.is_none()
        && record.secrets.is_empty()
}

/// Where a former life would show.
pub struct FormerLook<'a> {
    /// Looks.
    pub observer: &'a Observer,
    /// What is configured.
    pub providers: &'a Providers,
    /// What specs may leave open.
    pub defaults: &'a Defaults,
    /// Whose marks are ours.
    pub instance: &'a Instance,
    /// Listings must not be older than this.
    pub fresh: Timestamp,
}

impl FormerLook<'_> {
    /// Looks at the client's natural keys. `None` inside: it is new.
    pub async fn at(&self, spec: &ClientSpec) -> Reading<Option<FormerLife>> {
        let mut life = FormerLife::default();
        let mut is_new = false;
        if !self.providers.databases.is_empty()
            && spec.spec.database.provider == DatabaseProvider::Postgres
            && let Ok(name) = spec.database_name()
        {
            match self.database_mark(&name).await {
                Reading::Known(mark) => {
                    is_new = mark.is_none();
                    life.uid = mark.map(|mark| mark.uid);
                }
                Reading::Unknown { reason } => return Reading::unknown(reason),
            }
        }
        match self.environment(spec).await {
            Reading::Known((site, values)) => {
                life.read(&values, self.instance);
                let said = spec.metadata.annotations.get(MOVED_FROM_ANNOTATION);
                life.process = said.and_then(|name| ClientName::parse(name.trim()).ok()).filter(|_| life.uid.is_some());
                let is_named = site.is_some_and(|id| spec.adopted().contains(id.as_str()));
                if life.uid.is_none() && is_named && !values.is_empty() {
                    life.is_taken_over = true;
                    life.read_values(&values);
                    if life.login.is_none() && spec.spec.database.provider == DatabaseProvider::Postgres {
                        return Reading::unknown(UNREADABLE_LOGIN);
                    }
                }
            }
            // Every life begins with its database: where there is none, another provider in trouble holds nobody up.
            Reading::Unknown { .. } if is_new && spec.adopted().is_empty() => {}
            Reading::Unknown { reason } => return Reading::unknown(reason),
        }
        if life.uid.is_none() && !life.is_taken_over {
            match self.record_mark(spec).await {
                Reading::Known(mark) => life.uid = mark.map(|mark| mark.uid),
                Reading::Unknown { .. } if is_new => {}
                Reading::Unknown { reason } => return Reading::unknown(reason),
            }
        }
        Reading::Known((life.uid.is_some() || life.is_taken_over).then_some(life))
    }

    async fn record_mark(&self, spec: &ClientSpec) -> Reading<Option<Mark>> {
        let Ok(domain) = spec.domain(self.defaults) else { return Reading::Known(None) };
        let marks = self.observer.marks_at(&domain, self.fresh).await;
        marks.map(|marks| marks.into_iter().find(|mark| mark.instance == *self.instance))
    }

    async fn database_mark(&self, name: &SqlName) -> Reading<Option<Mark>> {
        let names = BTreeSet::from([name.as_str()]);
        let ours = |comment: &str| DatabaseMark::from_comment(comment).map(|mark| mark.owner());
        self.observer.catalog_of(&names, self.fresh).await.map(|catalog| {
            let database = catalog.database(name).and_then(|row| row.comment.clone());
            let role = catalog.role(name).and_then(|row| row.comment.clone());
            let marks = [database, role].into_iter().flatten().filter_map(|comment| ours(&comment));
            marks.into_iter().find(|mark| mark.instance == *self.instance)
        })
    }

    /// The site under the client's domain with its environment; nothing where there is no such site.
    async fn environment(&self, spec: &ClientSpec) -> Reading<(Option<RemoteId>, BTreeMap<String, Secret>)> {
        let host = self.providers.hosts.get(spec.spec.hosting.provider.name());
        let (Some(host), Some(server), Ok(domain)) = (host, spec.server(self.defaults), spec.domain(self.defaults))
        else {
            return Reading::Known((None, BTreeMap::new()));
        };
        let listing = match self.observer.sites(host, &server, self.fresh).await {
            Reading::Known(listing) => listing,
            Reading::Unknown { reason } => return Reading::unknown(reason),
        };
        let Some(live) = listing.of(&domain) else { return Reading::Known((None, BTreeMap::new())) };
        match host.variables(&SiteRef::of(&server, live)).await {
            Ok(variables) => Reading::Known((Some(live.id.clone()), variables)),
            Err(error) => Reading::unknown(error.to_string()),
        }
    }
}

impl FormerLife {
    /// What a site's environment tells, where it carries our mark.
    fn read(&mut self, values: &BTreeMap<String, Secret>, instance: &Instance) {
        let value = |name: &str| values.get(name).map(Secret::expose);
        let Some(mark) = value(MARK_VARIABLE).and_then(Mark::from_variable) else { return };
        if mark.instance != *instance || self.uid.as_ref().is_some_and(|uid| *uid != mark.uid) {
            return;
        }
        self.uid = Some(mark.uid);
        self.read_values(values);
        // A client that was moved keeps the database of its first name.
        self.database = value("DATABASE_URL").and_then(database_of).filter(|_| self.login.is_some());
    }

    /// Port and generated secrets, whoever wrote them.
    fn read_values(&mut self, values: &BTreeMap<String, Secret>) {
        let value = |name: &str| values.get(name).map(Secret::expose);
        self.port = value("PORT").and_then(|port| port.parse().ok());
        if let Some(secret) = value("PAYLOAD_SECRET") {
            self.secrets.insert(PAYLOAD_SECRET.to_owned(), Secret::new(secret));
        }
        if let Some((login, password)) = value("DATABASE_URL").and_then(login_of) {
            self.login = Some(login);
            self.secrets.insert(DATABASE_PASSWORD.to_owned(), password);
        }
    }

    /// Whether it is somebody else's life that the spec takes over, rather than one of ours that was forgotten.
    pub fn is_taken_over(&self) -> bool {
        self.is_taken_over
    }

    /// Which incarnation it was.
    pub fn uid(&self) -> Option<&Uid> {
        self.uid.as_ref()
    }

    /// The record goes on where that life was.
    pub fn take_up(self, record: &mut ClientRecord) {
        let owned = &mut record.owned;
        if let Some(uid) = self.uid {
            owned.mark.uid = uid;
        }
        if self.is_taken_over {
            owned.take_over = Some(TakeOver::default());
            owned.details.vhost_loaded = true; // it serves
        }
        owned.allocation.former_port = self.port;
        owned.login_read_back = self.secrets.contains_key(DATABASE_PASSWORD);
        if let Some(login) = self.login {
            owned.allocation.login = Some(login);
        }
        owned.allocation.database = self.database;
        owned.allocation.process = self.process;
        owned.administrator = AdministratorState::AlreadyThere;
        record.secrets.extend(self.secrets);
    }
}

/// Login and password in an address of PostgreSQL.
pub(in crate::controller) fn login_of(address: &str) -> Option<(SqlName, Secret)> {
    let url = url::Url::parse(address).ok()?;
    let login = SqlName::parse(&percent_decoded(url.username())?).ok()?;
    Some((login, Secret::new(percent_decoded(url.password()?)?)))
}

fn database_of(address: &str) -> Option<SqlName> {
    SqlName::parse(&percent_decoded(url::Url::parse(address).ok()?.path().trim_start_matches('/'))?).ok()
}

fn percent_decoded(text: &str) -> Option<String> {
    let pair = format!("it={}", text.replace('+', "%2B").replace('&', "%26"));
    url::form_urlencoded::parse(pair.as_bytes()).next().map(|(_, value)| value.into_owned())
}
