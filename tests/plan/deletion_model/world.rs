//! What stands at the providers around one client, as booleans and instants; it knows nothing of plans.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use sitewright::resource::database::{Catalog, DatabaseState, RoleRow};
use sitewright::resource::mark::Mark;
use sitewright::resource::name::RemoteId;
use sitewright::resource::observed::Observed;
use sitewright::resource::owned::EnvironmentSeen;
use sitewright::resource::reading::{Live, Reading};
use sitewright::resource::record::{Record, RecordType, Ttl, Zone};
use sitewright::resource::site::{Purpose, RunState, SiteStatus};

use crate::case::{Case, database, database_comment, mark, row, site, txt_record, zone};

/// Whose something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    Ours,
    Stranger,
}

/// A site under the client's domain.
#[derive(Debug, Clone, PartialEq)]
pub struct SiteThere {
    pub id: u32,
    pub whose: Whose,
    pub suspended: bool,
}

/// A database of the client's name.
#[derive(Debug, Clone, PartialEq)]
pub struct DatabaseThere {
    pub oid: u32,
    pub whose: Whose,
    pub retained: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct World {
    pub site: Option<SiteThere>,
    /// Our address record's id.
    pub address: Option<u32>,
    /// Until when caches may hold the address that went last.
    pub cached_until: Timestamp,
    /// Our text record's id.
    pub mail: Option<u32>,
    pub database: Option<DatabaseThere>,
    pub group: bool,
    /// Whether our login role may come in, where there is one.
    pub login: Option<bool>,
    pub sessions: i64,
    pub process_runs: bool,
    /// Scripts that ended and whose end nobody read yet.
    pub ended: BTreeSet<Purpose>,
    pub ttl: Ttl,
    next: u32,
}

/// What a look cannot see.
#[derive(Debug, Clone, Copy, Default)]
pub struct Blind {
    pub records: bool,
    pub site: bool,
    pub catalog: bool,
}

impl World {
    /// A client that serves.
    pub fn serving(ttl: Ttl) -> World {
        World {
            site: Some(SiteThere { id: 71, whose: Whose::Ours, suspended: false }),
            address: Some(1),
            cached_until: Timestamp::MIN,
            mail: Some(2),
            database: Some(DatabaseThere { oid: 16_400, whose: Whose::Ours, retained: false }),
            group: true,
            login: Some(true),
            sessions: 0,
            process_runs: true,
            ended: BTreeSet::new(),
            ttl,
            next: 100,
        }
    }

    pub fn fresh_id(&mut self) -> u32 {
        self.next += 1;
        self.next
    }

    pub fn address_record(&self) -> Record {
        Record::new("acme.agency.example", RecordType::A, "192.0.2.10", self.ttl, false, None)
    }

    /// The address goes, by whomever.
    pub fn remove_address(&mut self, now: Timestamp, drain: Option<Duration>) {
        if self.address.take().is_some() {
            let drain = drain.unwrap_or(Duration::from_secs(u64::from(self.ttl.effective_seconds())));
            self.cached_until = now + jiff::SignedDuration::try_from(drain).expect("a short time");
        }
    }

    pub fn has_our_site(&self) -> bool {
        self.site.as_ref().is_some_and(|site| site.whose == Whose::Ours)
    }

    pub fn has_our_database(&self) -> bool {
        self.database.as_ref().is_some_and(|database| database.whose == Whose::Ours)
    }

    /// The look of an observer that may be blind in places.
    pub fn look(&self, template: &Case, blind: Blind) -> Observed {
        let mut seen = template.observed.clone();
        let dark = || "the provider does not answer".to_owned();
        seen.site = if blind.site { Reading::unknown(dark()) } else { Reading::Known(self.live_site()) };
        let ours = self.has_our_site().then(mark);
        seen.environment = Reading::Known(EnvironmentSeen { mark: ours, ..EnvironmentSeen::default() });
        seen.records = if blind.records { Reading::unknown(dark()) } else { Reading::Known(self.records()) };
        seen.catalog = if blind.catalog { Reading::unknown(dark()) } else { Reading::Known(self.catalog()) };
        let end = || Reading::Known(RunState::Finished { exit_code: 0, output: String::new() });
        seen.runs = self.ended.iter().map(|purpose| (*purpose, end())).collect::<BTreeMap<_, _>>();
        seen
    }

    fn live_site(&self) -> Option<Live<sitewright::resource::site::Site>> {
        let there = self.site.as_ref()?;
        let mut live = site(if there.suspended { SiteStatus::Suspended } else { SiteStatus::Active });
        live.id = RemoteId::trusted(there.id.to_string());
        Some(live)
    }

    /// Ours, and one of a stranger's under the same name.
    fn records(&self) -> Vec<(Zone, Live<Record>)> {
        let stranger = Record::new("acme.agency.example", RecordType::TXT, "not ours", Ttl::Auto, false, None);
        let one =
            |id: u32, mark: Option<Mark>, value| (zone(), Live { id: RemoteId::trusted(id.to_string()), mark, value });
        let address = self.address.map(|id| one(id, Some(mark()), self.address_record()));
        let mail = self.mail.map(|id| one(id, Some(mark()), txt_record()));
        address.into_iter().chain(mail).chain([one(9, None, stranger)]).collect()
    }

    fn catalog(&self) -> Catalog {
        let ours = || Some(database_comment(DatabaseState::Ready));
        let databases = self.database.iter().map(|there| {
            let state = if there.retained { DatabaseState::Retained } else { DatabaseState::Ready };
            let comment = match there.whose {
                Whose::Ours => database_comment(state),
                Whose::Stranger => "the database of somebody else".to_owned(),
            };
            let mut row = row(Some(comment));
            row.oid = there.oid;
            row.sessions = self.sessions;
            row
        });
        let role = |name: String, login, member_of| RoleRow { name, login, comment: ours(), member_of };
        let name = database().name.to_string();
        let group = self.group.then(|| role(name.clone(), false, vec![]));
        let login = self.login.map(|open| role(database().login.to_string(), open, vec![name.clone()]));
        Catalog {
            databases: databases.collect(),
            roles: group.into_iter().chain(login).collect(),
            server_version: 150_018,
        }
    }
}
