//! A fleet whose files change at random, and what must be true of its whole world once all has come to rest.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fastrand::Rng;
use serde_json::Value;
use sitewright::provider::ploi::sim::PloiDelays;
use sitewright::resource::kind::ResourceKind;
use sitewright::store::ClientRecord;

use crate::one_of_everything::{Flaws, check_memory, processes, records, stand, text};
use crate::rig::{Rig, ZONE};
use crate::strangers::{Neighbours, superuser};

/// The server of every simulated account.
const SERVER: u64 = 1;
/// Clients at once, the one that never moves left out.
const CLIENTS: usize = 4;
/// A client that went this often never returns, another one comes in its place: each time may cost a certificate, and the
/// authority issues five a week for the same names.
const DEPARTURES_MAX: usize = 4;
/// The longest that a listing or a read lags behind; the settle time is two seconds.
const LAG_MAX_MS: u64 = 900;
/// The simulated account's limit: starts are many here, and what they do to a minute's budget is another test's.
const CALLS_A_MINUTE: u32 = 1_000_000;

/// One client as its file wants it.
pub struct Client {
    pub name: String,
    /// Versions of the file so far; the last one is in its environment and in its text record.
    pub version: usize,
    pub has_file: bool,
    departures: usize,
    suspended: bool,
    /// Whether its database stays when it goes.
    retained: bool,
}

impl Client {
    fn new(prefix: &str, number: usize) -> Client {
        Client {
            name: format!("{prefix}c{number}"),
            version: 0,
            has_file: false,
            departures: 0,
            suspended: false,
            retained: number % CLIENTS == CLIENTS - 1,
        }
    }

    fn file(&self) -> String {
        format!("{}.yaml", self.name)
    }

    fn domain(&self) -> String {
        format!("{}.{ZONE}", self.name)
    }

    fn database(&self) -> String {
        format!("client_{}", self.name)
    }

    /// What its environment holds only in this version.
    pub fn note(&self) -> String {
        format!("version-{}.", self.version)
    }

    fn text(&self) -> String {
        let Client { name, .. } = self;
        let (domain, note) = (self.domain(), self.note());
        let reclaim = if self.retained { "Retain" } else { "Delete" };
        let state = if self.suspended { "suspended" } else { "active" };
        format!(
            "apiVersion: sitewright/v1\nkind: ClientSpec\nmetadata:\n  name: {name}\nspec:\n  domain: {domain}\n  source: {{ repository: agency/cms, branch: main }}\n  aliases: [ www.{domain} ]\n  admin: {{ email: admin@{name}.example, name: Admin }}\n  database: {{ reclaimPolicy: {reclaim} }}\n  environment: {{ NOTE: \"{note}\" }}\n  dns: {{ records: [ {{ type: TXT, name: \"@\", content: \"{note}\" }} ] }}\n  state: {state}\n"
        )
    }
}

/// One installation with its clients and a neighbour.
pub struct Fleet {
    pub rig: Rig,
    /// All that there ever were.
    pub clients: Vec<Client>,
    prefix: String,
    /// Those that still come and go.
    places: [usize; CLIENTS],
    neighbours: Neighbours,
    /// The number of each database that was seen: another number is another database.
    seen: BTreeMap<String, u32>,
}

impl Fleet {
    /// A fleet under names that begin so, in a world that lags as the dice say.
    pub async fn new(prefix: &str, dice: &mut Rng) -> Fleet {
        let mut lag = || Duration::from_millis(dice.u64(0..=LAG_MAX_MS));
        let (site_shows, env_settles, stale_list) = (lag(), lag(), lag());
        let mut rig = Rig::with(|options| {
            options.ploi_limit = CALLS_A_MINUTE;
            options.delays = PloiDelays { site_shows, env_settles, ..PloiDelays::quick() };
        })
        .await;
        rig.simulators.cloudflare.turn(|knobs| {
            knobs.stale_list = stale_list;
            knobs.rate = (CALLS_A_MINUTE, Duration::from_secs(60));
        });
        // Most lives are shorter than the usual round: absences are to be seen in them all the same.
        rig.set("SITEWRIGHT_RESYNC", "400ms");
        rig.set("SITEWRIGHT_DELETION_MAX_SHARE", "100%");
        rig.set("SITEWRIGHT_DELETION_MAX_PER_DAY", "1000");
        // The last client never goes without approval: this one stays, and nothing is done for it.
        rig.write("bystander.yaml", &crate::rig::spec("bystander", "  reconcile: { mode: paused }\n"));
        let clients: Vec<Client> = (0..CLIENTS).map(|number| Client::new(prefix, number)).collect();
        let neighbours = Neighbours::move_in(&rig, &clients[0].name).await;
        let places = std::array::from_fn(|place| place);
        let mut fleet = Fleet { rig, clients, prefix: prefix.to_owned(), places, neighbours, seen: BTreeMap::new() };
        (0..CLIENTS / 2).for_each(|at| fleet.write(at, false));
        fleet
    }

    fn write(&mut self, at: usize, suspended: bool) {
        let client = &mut self.clients[at];
        (client.version, client.has_file, client.suspended) = (client.version + 1, true, suspended);
        self.rig.write(&client.file(), &client.text());
    }

    /// One client is made, edited, suspended, removed, or returns; gives what was done.
    pub fn act(&mut self, dice: &mut Rng) -> String {
        let place = dice.usize(..CLIENTS);
        let at = self.places[place];
        let client = &mut self.clients[at];
        if client.has_file && dice.u8(..10) < 4 {
            (client.has_file, client.departures) = (false, client.departures + 1);
            self.rig.remove(&client.file());
            return format!("{} removed", client.name);
        }
        let suspended = client.has_file && dice.u8(..10) < 3;
        let at = if !client.has_file && client.departures == DEPARTURES_MAX { self.succeed(place) } else { at };
        self.write(at, suspended);
        format!("{} version {} suspended {suspended}", self.clients[at].name, self.clients[at].version)
    }

    /// Another client in this place; gives its number.
    fn succeed(&mut self, place: usize) -> usize {
        let number = self.clients.len();
        self.clients.push(Client::new(&self.prefix, number));
        self.places[place] = number;
        number
    }

    /// Nobody is suspended any more.
    pub fn wake(&mut self) {
        for at in 0..self.clients.len() {
            if self.clients[at].has_file && self.clients[at].suspended {
                self.write(at, false);
            }
        }
    }

    /// Removals beyond the day's number wait for a person; this one agrees.
    pub async fn approve_what_is_held(&self) {
        let (deletions, _) = self.rig.json(&["deletions", "-o", "json"]).await;
        if let Some(hash) = deletions["held"]["hash"].as_str() {
            self.rig.run(&["approve", hash]).await;
        }
    }

    /// The users of a site live in its database: where that one is gone, they are.
    pub async fn forget_users(&mut self) {
        let client = superuser("postgres").await;
        for name in self.clients.iter().map(Client::database) {
            let row = client.query_opt("SELECT oid FROM pg_database WHERE datname = $1", &[&name]).await.expect("rows");
            let now: Option<u32> = row.map(|row| row.get(0));
            let before = match now {
                Some(now) => self.seen.insert(name.clone(), now),
                None => self.seen.remove(&name),
            };
            if before.is_some() && before != now {
                let gone = format!("/{name}");
                self.rig.simulators.world.state().administrators.retain(|address, _| !address.ends_with(&gone));
            }
        }
    }

    /// Whether a client is as its file, or the lack of one, wants it.
    pub fn has_settled(&self, client: &Client, record: Option<&ClientRecord>) -> bool {
        if !client.has_file {
            return record.is_none_or(|r| r.owned.removal.as_ref().is_some_and(|going| going.finished_at.is_some()));
        }
        let environment = self.rig.simulators.ploi.env_of(SERVER, &client.domain()).unwrap_or_default();
        environment.contains(&client.note())
            && record.is_some_and(|r| {
                r.status.is_ready() && r.observed_generation == r.generation && r.owned.removal.is_none()
            })
    }

    /// Nothing is there twice, at any instant.
    pub fn check_twins(&self) -> Result<(), String> {
        let mut flaws = Flaws::default();
        let records = records(&self.rig, &self.neighbours);
        let keys: BTreeSet<[String; 3]> =
            records.iter().map(|r| ["type", "name", "content"].map(|member| text(r, member))).collect();
        flaws.expect("records under different keys", keys.len(), records.len());
        let sites = self.rig.simulators.ploi.sites_count();
        flaws.expect("more sites than clients", sites > self.clients.len() + Neighbours::SITES, false);
        flaws.end()
    }

    /// Every client with a file serves, of the others nothing is left but what is meant to stay, and nobody else's thing
    /// was touched.
    pub async fn check(&self) -> Result<(), String> {
        let (mut flaws, rig) = (Flaws::default(), &self.rig);
        let living: Vec<&Client> = self.clients.iter().filter(|client| client.has_file).collect();
        let sites = rig.simulators.ploi.sites_count() - Neighbours::SITES;
        flaws.expect("sites", sites, living.len());
        let names: BTreeSet<(String, bool)> = living.iter().map(|client| (client.name.clone(), true)).collect();
        let found = processes(rig, &self.neighbours);
        flaws.expect("processes under different names", found.len(), names.len());
        flaws.expect("processes", found.into_iter().collect(), names);
        self.check_records(&mut flaws, &living);
        for client in &self.clients {
            match client.has_file {
                true => self.check_living(&mut flaws, client).await,
                false => self.check_gone(&mut flaws, client).await,
            }
        }
        let (orphans, _) = rig.json(&["orphans", "-o", "json"]).await;
        // The database server is also home to the fleets of others.
        let orphans = orphans["orphans"].as_array().cloned().unwrap_or_default();
        let is_ours = |orphan: &&Value| self.clients.iter().any(|client| orphan.to_string().contains(&client.name));
        flaws.expect("orphans", orphans.iter().filter(is_ours).collect(), Vec::<&Value>::new());
        let state = rusqlite::Connection::open(rig.path(".sitewright/state.db")).expect("the state");
        let whole: String = state.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("an answer");
        flaws.expect("the state is whole", whole, "ok".to_owned());
        flaws.end()?;
        self.neighbours.check(rig).await
    }

    fn check_records(&self, flaws: &mut Flaws, living: &[&Client]) {
        let records = records(&self.rig, &self.neighbours);
        let shown: BTreeSet<(String, String)> = records.iter().map(|r| (text(r, "type"), text(r, "name"))).collect();
        let of = |client: &&Client| {
            let domain = client.domain();
            [("A", domain.clone()), ("A", format!("www.{domain}")), ("TXT", domain)]
        };
        let wanted = living.iter().flat_map(of).map(|(kind, name)| (kind.to_owned(), name)).collect();
        flaws.expect("records", shown, wanted);
        flaws.expect("records under different keys", records.len(), living.len() * 3);
        for client in living {
            let right = records.iter().any(|r| {
                text(r, "type") == "TXT"
                    && text(r, "name") == client.domain()
                    && text(r, "content").contains(&client.note())
            });
            flaws.expect(&format!("{}: the text record is the newest", client.name), right, true);
        }
    }

    async fn check_living(&self, flaws: &mut Flaws, client: &Client) {
        let (rig, name, database) = (&self.rig, &client.name, client.database());
        let Some(record) = rig.client(name).await else {
            flaws.expect(&format!("{name} is remembered"), false, true);
            return;
        };
        check_memory(flaws, &record);
        let ploi = &rig.simulators.ploi;
        flaws.expect(&format!("{name}: active certificates"), ploi.active_certificates(SERVER, &client.domain()), 1);
        let deploys = ploi.deploys_ended(SERVER, &client.domain());
        if deploys > client.version {
            flaws.expect(&format!("{name}: deploys that ran, at most one a version"), deploys, client.version);
        }
        let mark = record.owned.mark.comment();
        let marked = records(rig, &self.neighbours).into_iter().filter(|r| text(r, "comment").contains(&mark));
        let ids: BTreeSet<String> = marked.map(|r| text(&r, "id")).collect();
        let of_kind = record.owned.resources.iter().filter(|r| r.kind == ResourceKind::Record);
        let known: BTreeSet<String> = of_kind.map(|r| r.id.to_string()).collect();
        flaws.expect(&format!("{name}: records that are ours"), ids.len(), 3);
        flaws.expect(&format!("{name}: records that are remembered"), known, ids);
        let at = format!("/{database}");
        let users = rig.simulators.world.state().administrators.keys().filter(|a| a.ends_with(&at)).count();
        flaws.expect(&format!("{name}: administrators"), users, 1);
        let stand = stand(&database, &self.neighbours).await;
        let uid = record.owned.mark.uid.to_string();
        let is_ours = |comment: &Option<String>| comment.as_deref().is_some_and(|c| c.contains(&uid));
        flaws.expect(&format!("{name}: databases"), stand.databases.len(), 1);
        flaws.expect(&format!("{name}: the database is ours"), stand.databases.iter().all(is_ours), true);
        let roles: Vec<_> =
            stand.roles.iter().map(|(name, login, mark)| (name.clone(), *login, is_ours(mark))).collect();
        let wanted = vec![(database.clone(), false, true), (format!("{database}_a"), true, true)];
        flaws.expect(&format!("{name}: roles"), roles, wanted);
    }

    async fn check_gone(&self, flaws: &mut Flaws, client: &Client) {
        let name = &client.name;
        let record = self.rig.client(name).await;
        let stand = stand(&client.database(), &self.neighbours).await;
        let left = usize::from(client.retained && record.is_some());
        flaws.expect(&format!("{name}: databases"), stand.databases.len(), left);
        flaws.expect(&format!("{name}: roles"), stand.roles.len(), left * 2);
        flaws.expect(&format!("{name}: logins"), stand.roles.iter().filter(|(_, login, _)| *login).count(), 0);
        let told = stand.databases.iter().flatten().filter(|comment| comment.contains("retained")).count();
        flaws.expect(&format!("{name}: databases marked as retained"), told, left);
        let intents = record.as_ref().map_or(0, |r| r.owned.intents.len());
        flaws.expect(&format!("{name}: open intents"), intents, 0);
    }
}
