//! What is somebody else's, to the byte: it is looked at before and after.

use serde_json::{Value, json};
use sitewright::provider::world::process::Process;
use sitewright::resource::secret::Secret;
use tokio_postgres::{NoTls, SimpleQueryMessage};

use crate::rig::{Rig, ZONE, cluster};

/// The server of the simulated Ploi account.
const SERVER: u64 = 1;
/// The first port that would be given out.
const PORT: u16 = 4001;

pub async fn superuser(database: &str) -> tokio_postgres::Client {
    let url = cluster().await.superuser_url();
    connect(&Secret::new(url.expose().replace("/postgres?", &format!("/{database}?")))).await
}

pub async fn connect(url: &Secret) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url.expose(), NoTls).await.expect("a session");
    tokio::spawn(connection);
    client
}

pub async fn rows(client: &tokio_postgres::Client, sql: &str) -> Vec<String> {
    let messages = client.simple_query(sql).await.expect("a catalog query");
    let text = |row: &tokio_postgres::SimpleQueryRow| {
        (0..row.len()).map(|i| row.get(i).unwrap_or("-")).collect::<Vec<_>>().join("|")
    };
    messages
        .iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(text(row)),
            _ => None,
        })
        .collect()
}

/// Every byte that the server keeps about databases and roles whose names begin so.
pub async fn catalog_of(prefix: &str) -> Vec<String> {
    let client = superuser("postgres").await;
    let mut all = rows(
        &client,
        &format!(
            "SELECT d.oid, d.datname, d.datdba, d.datacl::text, d.datallowconn, d.datconnlimit, shobj_description(d.oid, 'pg_database')
             FROM pg_database d WHERE d.datname LIKE '{prefix}%' ORDER BY 1"
        ),
    )
    .await;
    all.extend(
        rows(
            &client,
            &format!(
                "SELECT r.*, shobj_description(r.oid, 'pg_authid'), (SELECT array_agg(m::text ORDER BY m::text) FROM pg_auth_members m WHERE m.roleid = r.oid OR m.member = r.oid)
                 FROM pg_authid r WHERE r.rolname LIKE '{prefix}%' ORDER BY 1"
            ),
        )
        .await,
    );
    all
}

impl Rig {
    /// Everything the Ploi API tells of a site.
    pub async fn site_snapshot(&self, domain: &str) -> Vec<Value> {
        let id = self.simulators.ploi.site_id(SERVER, domain).expect("the site");
        let base = format!("{}/servers/{SERVER}/sites/{id}", self.environment["PLOI_API_URL"]);
        let http = reqwest::Client::builder().user_agent("onlooker").build().expect("a client");
        let mut all = Vec::new();
        for piece in
            ["", "/env", "/repository", "/nginx-configuration", "/deploy/script", "/aliases", "/certificates", "/log"]
        {
            let request = http.get(format!("{base}{piece}")).bearer_auth(&self.environment["PLOI_API_TOKEN"]);
            let answer = request.send().await.expect("an answer");
            let status = answer.status().as_u16();
            assert!([200, 404].contains(&status), "{piece}: {status}");
            all.push(json!([status, answer.text().await.expect("a body")]));
        }
        all
    }

    pub fn record_snapshot(&self, id: &str) -> Value {
        self.records().into_iter().find(|record| record["id"] == id).expect("the record")
    }

    /// A record that somebody made in the dashboard.
    pub fn record_by_hand(&self, body: &Value) -> String {
        let zone = self.simulators.zone(ZONE).expect("the zone");
        self.simulators.cloudflare.create_by_hand(&zone, body).expect("made by hand")
    }
}

/// Somebody else's things around one client, named as closely after it as they may be.
pub struct Neighbours {
    client: String,
    records: Vec<String>,
    before: Vec<Value>,
}

impl Neighbours {
    pub async fn move_in(rig: &Rig, client: &str) -> Neighbours {
        let domain = format!("{client}.{ZONE}");
        rig.simulators.ploi.add_foreign_site(SERVER, &old(client), Some("THEIRS='x'\n"), PORT);
        let process = Process {
            name: format!("{client}-old"),
            user: "ploi".into(),
            port: PORT,
            environment: [].into(),
            commit: "0".into(),
            running: true,
        };
        rig.simulators.world.state().processes.start(SERVER, process).expect("a free port");
        let records = [
            json!({ "type": "MX", "name": domain, "content": "mail.stranger.example", "priority": 10, "ttl": 600 }),
            json!({ "type": "TXT", "name": domain, "content": "\"theirs\"", "ttl": 600, "comment": "by Eve" }),
            json!({ "type": "A", "name": old(client), "content": "203.0.113.77", "ttl": 600 }),
        ];
        let records = records.iter().map(|body| rig.record_by_hand(body)).collect();
        let admin = connect(&cluster().await.admin_url()).await;
        admin.batch_execute(&format!("CREATE DATABASE client_{client}x")).await.expect("a database by hand");
        admin.batch_execute(&format!("CREATE ROLE client_{client}_b LOGIN")).await.expect("a role by hand");
        let mut neighbours = Neighbours { client: client.to_owned(), records, before: Vec::new() };
        neighbours.before = neighbours.look(rig).await;
        neighbours
    }

    async fn look(&self, rig: &Rig) -> Vec<Value> {
        let mut all = rig.site_snapshot(&old(&self.client)).await;
        all.extend(self.records.iter().map(|id| rig.record_snapshot(id)));
        let processes: Vec<String> = {
            let state = rig.simulators.world.state();
            state.processes.all(SERVER).iter().filter(|p| self.has_process(&p.name)).map(|p| format!("{p:?}")).collect()
        };
        all.push(json!(processes));
        for prefix in [format!("client_{}x", self.client), format!("client_{}\\_b", self.client)] {
            all.push(json!(catalog_of(&prefix).await));
        }
        all
    }

    /// Whether nobody touched anything.
    pub async fn check(&self, rig: &Rig) -> Result<(), String> {
        let now = self.look(rig).await;
        match now == self.before {
            true => Ok(()),
            false => Err(format!("somebody else's was touched: {now:?} instead of {:?}", self.before)),
        }
    }

    pub fn has_record(&self, id: &str) -> bool {
        self.records.iter().any(|known| known == id)
    }

    pub fn has_process(&self, name: &str) -> bool {
        name == format!("{}-old", self.client)
    }

    /// Sites of theirs.
    pub const SITES: usize = 1;

    /// The login of theirs that is named like one of the client's.
    pub fn login(&self) -> String {
        format!("client_{}_b", self.client)
    }
}

fn old(client: &str) -> String {
    format!("old.{client}.{ZONE}")
}
