//! A client that has converged, as a starting point: each test says what differs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use sitewright::plan::draft::{Input, Policy};
use sitewright::resource::certificate::{Certificate, CertificateStatus};
use sitewright::resource::database::{Catalog, Database, DatabaseMark, DatabaseRow, DatabaseState, RoleRow};
use sitewright::resource::desired::{
    Desired, DesiredAdmin, DesiredDns, DesiredEnvironment, DesiredHealth, DesiredSite, DesiredState,
};
use sitewright::resource::kind::ResourceKind;
use sitewright::resource::mark::Mark;
use sitewright::resource::name::{
    ClientName, Commit, HostName, Instance, RemoteId, RepositorySlug, ServerId, SqlName, Uid, ZoneId,
};
use sitewright::resource::observed::Observed;
use sitewright::resource::owned::{
    AdministratorState, EnvironmentSeen, Intent, MarkState, Owned, OwnedResource, Probe, ProbeOutcome, ProcessState,
    Published, ServerCheck,
};
use sitewright::resource::reading::{Live, Reading, Seen, Wanted};
use sitewright::resource::record::{Record, RecordType, Ttl, Zone};
use sitewright::resource::release::{Fingerprint, Released};
use sitewright::resource::removal::{DeletionPolicy, ReclaimPolicy};
use sitewright::resource::secret::{DigestKey, Secret};
use sitewright::resource::site::{Piece, Repository, Server, Site, SiteStatus};
use sitewright::resource::vhost::VirtualHost;

/// One plan to be made.
pub struct Case {
    pub desired: Desired,
    pub observed: Observed,
    pub owned: Owned,
    pub policy: Policy,
    pub now: Timestamp,
}

pub fn at(minutes: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + minutes * 60).expect("a time")
}

pub fn host(text: &str) -> HostName {
    HostName::parse(text).expect("a host name")
}

pub fn mark() -> Mark {
    Mark { instance: Instance::trusted("test"), uid: Uid::trusted("01JACME") }
}

pub fn zone() -> Zone {
    Zone {
        id: ZoneId::trusted("z1"),
        name: "agency.example".into(),
        active: true,
        writable: true,
        ssl_mode: Some("full".into()),
    }
}

pub fn a_record() -> Record {
    Record::new("acme.agency.example", RecordType::A, "192.0.2.10", Ttl::Auto, false, None)
}

pub fn txt_record() -> Record {
    Record::new("acme.agency.example", RecordType::TXT, "v=spf1 -all", Ttl::Auto, false, None)
}

pub fn live(id: &str, mark: Option<Mark>, record: Record) -> (Zone, Live<Record>) {
    (zone(), Live { id: RemoteId::trusted(id), mark, value: record })
}

pub fn digest(text: &str) -> sitewright::resource::secret::Digest {
    DigestKey::new(&[7; 32]).digest(text.as_bytes())
}

pub fn site(status: SiteStatus) -> Live<Site> {
    Live {
        id: RemoteId::trusted("71"),
        mark: None,
        value: Site {
            server: ServerId::trusted("1"),
            domain: host("acme.agency.example"),
            system_user: "ploi".into(),
            status,
            has_repository: true,
            last_deploy_at: Some("2027-01-15 08:00:00".into()),
            quick_deploy: false,
            deploy_log: None,
        },
    }
}

fn environment() -> DesiredEnvironment {
    DesiredEnvironment {
        values: BTreeMap::new(),
        text: Secret::new("SMTP_HOST=smtp.example.net"),
        digest: digest("environment"),
        digests: Arc::new(BTreeMap::from([("SMTP_HOST".to_owned(), digest("smtp.example.net"))])),
    }
}

pub fn fingerprint() -> Fingerprint {
    Fingerprint {
        repository: "agency/cms".into(),
        branch: "main".into(),
        commit: Some(Commit::trusted("1111111111111111111111111111111111111111")),
        environment: digest("environment"),
        script: digest("script"),
        requested: 0,
    }
}

pub fn database() -> Database {
    Database {
        name: SqlName::trusted("client_acme"),
        login: SqlName::trusted("client_acme_a"),
        mark: mark(),
        client: "acme".into(),
    }
}

pub fn row(comment: Option<String>) -> DatabaseRow {
    DatabaseRow {
        name: "client_acme".into(),
        oid: 16_400,
        owner: "sitewright_admin".into(),
        comment,
        public_connect: false,
        allow_connections: true,
        sessions: 0,
    }
}

pub fn database_comment(state: DatabaseState) -> String {
    DatabaseMark { instance: mark().instance, uid: mark().uid, client: "acme".into(), state }.comment()
}

fn owned_resource(kind: ResourceKind, provider: &str, name: &str, id: &str) -> OwnedResource {
    OwnedResource {
        kind,
        provider: provider.into(),
        name: name.into(),
        id: RemoteId::trusted(id),
        mark: MarkState::Written,
        since: at(-1000),
    }
}

fn desired() -> Desired {
    let pieces = [
        Piece::Placeholder,
        Piece::Repository,
        Piece::Environment,
        Piece::DeployScript,
        Piece::VirtualHost,
        Piece::Alias,
        Piece::Process,
        Piece::Certificate,
        Piece::ServerCheck,
    ];
    Desired {
        client: ClientName::trusted("acme"),
        process: ClientName::trusted("acme"),
        mark: mark(),
        state: DesiredState::Active,
        database: Wanted::Value(Some(database())),
        reclaim: ReclaimPolicy::Retain,
        deletion: DeletionPolicy::Delete,
        site: Wanted::Value(DesiredSite {
            provider: "ploi".into(),
            pieces: BTreeSet::from(pieces),
            server: ServerId::trusted("1"),
            system_user: "ploi".into(),
            domain: host("acme.agency.example"),
            aliases: BTreeSet::new(),
            port: 4001,
            repository: RepositorySlug::trusted("agency/cms"),
            branch: "main".into(),
            commit: fingerprint().commit,
            pinned: false,
            environment: Wanted::Value(environment()),
            script: "SW_CLIENT='acme'".into(),
            script_digest: digest("script"),
            deploy_timeout: Duration::from_secs(1800),
        }),
        dns: Wanted::Value(Some(DesiredDns {
            provider: "cloudflare".into(),
            hosts: vec![host("acme.agency.example")],
            ttl: Ttl::Auto,
            proxied: false,
            records: BTreeSet::from([txt_record()]),
        })),
        certificate: true,
        health: DesiredHealth {
            path: "/api/health".into(),
            timeout: Duration::from_secs(10),
            interval: Duration::from_secs(60),
            identity: false,
        },
        admin: Some(DesiredAdmin { email: "admin@acme.example".into(), name: "Acme Admin".into() }),
        adopt: BTreeSet::new(),
    }
}

fn observed() -> Observed {
    let certificate = Certificate {
        names: BTreeSet::from([host("acme.agency.example")]),
        status: CertificateStatus::Active,
        custom: false,
        expires_at: Some(at(60 * 24 * 80)),
    };
    Observed {
        server: Reading::Known(Server {
            id: ServerId::trusted("1"),
            name: "blue".into(),
            address: [192, 0, 2, 10].into(),
            active: true,
        }),
        server_check: Reading::Known(Some(ServerCheck::default())),
        site: Reading::Known(Some(site(SiteStatus::Active))),
        builds_elsewhere: Reading::Known(BTreeSet::new()),
        repository: Reading::Known(Some(Repository {
            slug: RepositorySlug::trusted("agency/cms"),
            branch: "main".into(),
        })),
        environment: Reading::Known(EnvironmentSeen {
            digest: Some(digest("environment")),
            digests: Arc::new(BTreeMap::from([("SMTP_HOST".to_owned(), digest("smtp.example.net"))])),
            mark: Some(mark()),
        }),
        script: Reading::Known(Some(digest("script"))),
        vhost: Reading::Known(VirtualHost {
            ports: BTreeSet::from([4001]),
            acme_roots: BTreeSet::from(["/home/ploi/acme.agency.example".to_owned()]),
            names: BTreeSet::from(["acme.agency.example".to_owned()]),
        }),
        aliases: Reading::Known(BTreeSet::new()),
        certificates: Reading::Known(vec![Live { id: RemoteId::trusted("c1"), mark: None, value: certificate }]),
        deploy_log: Reading::unknown("not asked"),
        runs: BTreeMap::new(),
        catalog: Reading::Known(Catalog {
            databases: vec![row(Some(database_comment(DatabaseState::Ready)))],
            roles: vec![
                RoleRow {
                    name: "client_acme".into(),
                    login: false,
                    comment: Some(database_comment(DatabaseState::Ready)),
                    member_of: vec![],
                },
                RoleRow {
                    name: "client_acme_a".into(),
                    login: true,
                    comment: Some(database_comment(DatabaseState::Ready)),
                    member_of: vec!["client_acme".into()],
                },
            ],
            server_version: 150_018,
        }),
        zones: Reading::Known(vec![zone()]),
        records: Reading::Known(vec![live("r1", Some(mark()), a_record()), live("r2", Some(mark()), txt_record())]),
        published: Reading::Known(BTreeMap::from([(
            host("acme.agency.example"),
            Published::Addresses(vec![[192, 0, 2, 10].into()]),
        )])),
        probe: Reading::Known(Probe {
            https: true,
            outcome: ProbeOutcome::Healthy,
            certificate_expires_at: Some(at(60 * 24 * 80)),
            certificate_names: BTreeSet::new(),
        }),
    }
}

fn owned() -> Owned {
    let mut owned = Owned::nothing(mark());
    owned.allocation.port = Some((ServerId::trusted("1"), 4001));
    owned.allocation.database = Some(database().name);
    owned.allocation.login = Some(database().login);
    owned.resources = vec![
        owned_resource(ResourceKind::Site, "ploi", "acme.agency.example", "71"),
        owned_resource(ResourceKind::Database, "postgres", "client_acme", "16400"),
        owned_resource(ResourceKind::Role, "postgres", "client_acme_a", "client_acme_a"),
        owned_resource(ResourceKind::Record, "cloudflare", "A acme.agency.example", "r1"),
        owned_resource(ResourceKind::Record, "cloudflare", "TXT acme.agency.example", "r2"),
        owned_resource(ResourceKind::Certificate, "ploi", "acme.agency.example", "c1"),
    ];
    owned.details.environment = Some(Seen { value: EnvironmentSeen::default(), at: at(0) });
    owned.details.process = Some(Seen { value: ProcessState::Running, at: at(0) });
    owned.details.vhost_loaded = true;
    owned.details.placeholder_cleared = Some(Seen { value: true, at: at(0) });
    owned.administrator = AdministratorState::Made { email: "admin@acme.example".into() };
    owned.releases.live =
        Some(Released { number: 1, fingerprint: fingerprint(), started_at: at(-100), finished_at: at(-90) });
    owned
}

impl Case {
    /// Everything is as it should be.
    pub fn converged() -> Self {
        Case { desired: desired(), observed: observed(), owned: owned(), policy: Policy::default(), now: at(0) }
    }

    /// Nothing exists yet.
    pub fn new_client() -> Self {
        let mut case = Case::converged();
        let mut owned = Owned::nothing(mark());
        owned.allocation = case.owned.allocation.clone();
        case.owned = owned;
        case.observed.site = Reading::Known(None);
        case.observed.catalog = Reading::Known(Catalog { server_version: 150_018, ..Catalog::default() });
        case.observed.records = Reading::Known(vec![]);
        case.nothing_read();
        case
    }

    /// The site exists and nothing of it was read or written.
    pub fn nothing_read(&mut self) {
        self.observed.repository = Reading::Known(None);
        self.observed.environment = Reading::Known(EnvironmentSeen::default());
        self.observed.script = Reading::Known(None);
        self.observed.vhost = Reading::Known(VirtualHost {
            ports: BTreeSet::from([3000]),
            acme_roots: BTreeSet::from(["/var/www/html".to_owned()]),
            names: BTreeSet::from(["acme.agency.example".to_owned()]),
        });
        self.observed.certificates = Reading::Known(vec![]);
        self.observed.published = Reading::unknown("not asked yet");
        self.observed.probe = Reading::unknown("not looked yet");
        self.owned.details.placeholder_cleared = None;
    }

    /// A create was sent at `sent_at` and its answer is not known.
    pub fn ask_for(&mut self, kind: ResourceKind, key: &str, sent_at: Timestamp) {
        self.owned.intents.push(Intent { id: 1, kind, key: key.into(), at: sent_at, sent: 1 });
    }

    /// Folds the look into the memory; gives the reasons of what ended.
    pub fn absorb(&mut self) -> Vec<&'static str> {
        let (owned, now) = (&mut self.owned, self.now);
        let told = sitewright::plan::progress::absorb(owned, &self.desired, &self.observed, &self.policy, now);
        told.into_iter().map(|told| told.reason).collect()
    }

    pub fn site_wanted(&mut self) -> &mut DesiredSite {
        match &mut self.desired.site {
            Wanted::Value(site) => site,
            Wanted::Missing { .. } => panic!("the case wants a site"),
        }
    }

    pub fn dns_wanted(&mut self) -> &mut DesiredDns {
        match &mut self.desired.dns {
            Wanted::Value(Some(dns)) => dns,
            _ => panic!("the case wants records"),
        }
    }

    pub fn plan(&self) -> sitewright::plan::change::Plan {
        sitewright::plan::plan(Input {
            desired: &self.desired,
            observed: &self.observed,
            owned: &self.owned,
            policy: &self.policy,
            now: self.now,
        })
    }

    /// The plan's lines without the indented details.
    pub fn lines(&self) -> Vec<String> {
        self.plan().to_string().lines().filter(|line| !line.starts_with(' ')).map(str::to_owned).collect()
    }

    /// The plan's actions alone, sign and resource.
    pub fn actions(&self) -> Vec<String> {
        let signs = ['+', '~', '-', '^', '=', '$'];
        self.lines()
            .into_iter()
            .filter(|line| line.starts_with(signs))
            .map(|line| line.split(": ").next().unwrap_or_default().to_owned())
            .collect()
    }
}
