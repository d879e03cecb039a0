//! Specs for sites that exist: what the accounts show, and what is left out, said or passed over.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use sitewright::resource::certificate::{Certificate, CertificateStatus};
use sitewright::resource::env_file;
use sitewright::resource::mark::Mark;
use sitewright::resource::name::{HostName, Instance, RemoteId, RepositorySlug, ServerId, SqlName, Uid};
use sitewright::resource::reading::Live;
use sitewright::resource::record::{Record, RecordType, Ttl};
use sitewright::resource::secret::Secret;
use sitewright::resource::site::{Repository, Site, SiteStatus};
use sitewright::resource::vhost::VirtualHost;
use sitewright::spec::defaults::Defaults;
use sitewright::spec::features::Catalogue;
use sitewright::spec::import::{Existing, ExistingDatabase, Imported, Surroundings, compose};
use sitewright::spec::parse::parse;
use sitewright::spec::validate::Rules;

const DOMAIN: &str = "shop.agency.example";

fn host(text: &str) -> HostName {
    HostName::parse(text).unwrap()
}

fn live<T>(id: &str, value: T) -> Live<T> {
    Live { id: RemoteId::trusted(id), mark: None, value }
}

fn record(id: &str, name: &str, kind: RecordType, content: &str) -> Live<Record> {
    live(id, Record::new(name, kind, content, Ttl::Seconds(600), false, None))
}

/// A shop of the replaced system that holds nothing unusual.
fn shop() -> Existing {
    let environment = "NODE_ENV=production\nPORT=4001\nDATABASE_URL=postgres://shop:pw@192.0.2.1/shop\nPAYLOAD_SECRET=s\nCLIENT_ID=shop\nCLIENT_NAME='The Shop'\nNEXT_PUBLIC_SERVER_URL=https://shop.agency.example\n";
    let certificate = Certificate {
        names: BTreeSet::from([host(DOMAIN)]),
        status: CertificateStatus::Active,
        custom: false,
        expires_at: None,
    };
    Existing {
        site: live(
            "71",
            Site {
                server: ServerId::trusted("9"),
                domain: host(DOMAIN),
                system_user: "ploi".into(),
                status: SiteStatus::Active,
                has_repository: true,
                last_deploy_at: None,
                quick_deploy: false,
                deploy_log: None,
            },
        ),
        address: [192, 0, 2, 10].into(),
        environment: env_file::parse(environment),
        repository: Some(Repository { slug: RepositorySlug::parse("agency/cms").unwrap(), branch: "main".into() }),
        virtual_host: VirtualHost {
            ports: BTreeSet::from([4001]),
            acme_roots: BTreeSet::new(),
            names: BTreeSet::new(),
        },
        aliases: BTreeSet::new(),
        certificates: vec![live("c1", certificate)],
        records: vec![record("r1", DOMAIN, RecordType::A, "192.0.2.10")],
        database: ExistingDatabase::Here { name: SqlName::trusted("shop"), is_login_shared: false },
    }
}

fn set(existing: &mut Existing, name: &str, value: &str) {
    existing.environment.insert(name.into(), Secret::new(value));
}

fn import(existing: &Existing) -> Result<Imported, String> {
    import_beside(existing, &BTreeSet::new())
}

fn import_beside(existing: &Existing, taken: &BTreeSet<String>) -> Result<Imported, String> {
    let secret_file = |client: &str, variable: &str| format!("/srv/specs/.secrets/{client}/{variable}");
    let around = Surroundings {
        defaults: &Defaults::default(),
        catalogue: &Catalogue::built_in(),
        shared: &BTreeMap::from([("OPENAI_API_KEY".to_owned(), Secret::new("shared"))]),
        taken,
        secret_file: &secret_file,
    };
    let imported = compose(existing, &around)?;
    let text = serde_yaml::to_string(&imported.document).unwrap();
    parse(text.as_bytes(), &Rules::default()).unwrap_or_else(|found| panic!("{found:#?}\n{text}"));
    Ok(imported)
}

fn spec(existing: &Existing) -> Value {
    import(existing).unwrap().document["spec"].clone()
}

#[test]
fn a_plain_site_is_described_whole_and_adopted_by_its_ids() {
    let imported = import(&shop()).unwrap();
    assert_eq!(imported.adopted, ["71", "r1", "shop"]);
    assert_eq!(imported.notes, Vec::<String>::new());
    assert!(imported.secrets.is_empty());
    assert_eq!(imported.document["metadata"]["annotations"], json!({ "sitewright/adopt": "71,r1,shop" }));
    assert_eq!(
        imported.document["spec"],
        json!({
            "domain": DOMAIN, "displayName": "The Shop", "deletionPolicy": "Retain",
            "source": { "repository": "agency/cms", "branch": "main" }, "hosting": { "server": "9" },
            "database": { "name": "shop", "reclaimPolicy": "Retain" }, "dns": { "proxied": false, "ttl": 600 },
        })
    );
}

#[test]
fn secrets_go_beside_shared_ones_stay_shared_and_what_no_spec_carries_is_said() {
    let mut existing = shop();
    for (name, value) in [
        ("SMTP_PASSWORD", "hunter2"),
        ("SMTP_HOST", "smtp.agency.example"),
        ("OPENAI_API_KEY", "shared"),
        ("lower_case", "x"),
        ("PRIMARY_COLOR", "#ff8800"),
    ] {
        set(&mut existing, name, value);
    }
    let imported = import(&existing).unwrap();
    let spec = &imported.document["spec"];
    assert_eq!(
        spec["environment"],
        json!({
            "SMTP_HOST": "smtp.agency.example",
            "SMTP_PASSWORD": { "secretRef": { "file": "/srv/specs/.secrets/shop/SMTP_PASSWORD" } },
        })
    );
    assert_eq!(spec["settings"], json!({ "primaryColor": "#ff8800" }));
    assert_eq!(imported.secrets.keys().collect::<Vec<_>>(), ["SMTP_PASSWORD"]);
    assert!(imported.notes.iter().any(|note| note.contains("lower_case")), "{:?}", imported.notes);
    assert!(!imported.document.to_string().contains("hunter2"));
}

#[test]
fn records_that_lead_elsewhere_are_left_to_whoever_makes_them() {
    let elsewhere = [
        vec![],
        vec![record("r1", DOMAIN, RecordType::A, "203.0.113.9")],
        vec![record("r1", DOMAIN, RecordType::CNAME, "cdn.example")],
        vec![Live {
            mark: Some(Mark { instance: Instance::trusted("other"), uid: Uid::trusted("u") }),
            ..record("r1", DOMAIN, RecordType::A, "192.0.2.10")
        }],
    ];
    for records in elsewhere {
        let existing = Existing { records, ..shop() };
        let imported = import(&existing).unwrap();
        assert_eq!(imported.document["spec"]["dns"], json!({ "provider": "none" }));
        assert_eq!(imported.adopted, ["71", "shop"]);
        assert_eq!(imported.notes.len(), 1, "{:?}", imported.notes);
    }
}

#[test]
fn nothing_is_asked_for_that_would_order_a_certificate() {
    let www = host("www.shop.example");
    let uncovered = Existing { aliases: BTreeSet::from([www.clone()]), ..shop() };
    let imported = import(&uncovered).unwrap();
    assert_eq!(imported.document["spec"]["aliases"], Value::Null);
    assert!(imported.notes[0].contains("www.shop.example"), "{:?}", imported.notes);
    let mut covered = uncovered.clone();
    covered.certificates[0].value.names.insert(www);
    assert_eq!(spec(&covered)["aliases"], json!(["www.shop.example"]));
    let bare = Existing { certificates: Vec::new(), ..shop() };
    assert_eq!(spec(&bare)["tls"], json!({ "issuer": "none" }));
}

#[test]
fn an_address_that_would_be_written_otherwise_is_kept_as_a_secret() {
    let existing = Existing { database: ExistingDatabase::Elsewhere, ..shop() };
    let imported = import(&existing).unwrap();
    assert_eq!(
        imported.document["spec"]["database"],
        json!({ "provider": "external", "urlFrom": { "secretRef": { "file": "/srv/specs/.secrets/shop/DATABASE_URL" } } })
    );
    assert_eq!(imported.secrets["DATABASE_URL"].expose(), "postgres://shop:pw@192.0.2.1/shop");
    assert_eq!(imported.document["spec"]["environment"], Value::Null);
}

#[test]
fn a_name_that_is_taken_is_made_from_the_domain() {
    let taken = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(import_beside(&shop(), &taken(&["shop"])).unwrap().name, "shop-agency-example");
    assert!(import_beside(&shop(), &taken(&["shop", "shop-agency-example"])).is_err());
    let mut odd = shop();
    set(&mut odd, "CLIENT_ID", "../../etc");
    assert_eq!(import(&odd).unwrap().name, "shop");
}

#[test]
fn what_no_spec_can_describe_is_passed_over_with_the_reason() {
    let mut marked = shop();
    set(&mut marked, "SITEWRIGHT_OWNER", "agency/01J");
    let mut bare = shop();
    bare.environment.clear();
    let mut busy = shop();
    busy.site.value.status = SiteStatus::Deploying;
    let mut torn = shop();
    torn.virtual_host.ports.insert(3000);
    let homeless = Existing { repository: None, ..shop() };
    let reasons =
        [(marked, "agency"), (bare, "DATABASE_URL"), (busy, "deploying"), (torn, "3000"), (homeless, "PLOI_GIT_REPO")];
    for (existing, word) in reasons {
        let reason = import(&existing).unwrap_err();
        assert!(reason.contains(word), "{reason}");
    }
    let mut suspended = shop();
    suspended.site.value.status = SiteStatus::Suspended;
    assert_eq!(spec(&suspended)["state"], "suspended");
}
