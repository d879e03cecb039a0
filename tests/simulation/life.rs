//! One client from its file to its end, and what must stand after each phase.

use std::time::Duration;

use serde_json::Value;
use sitewright::provider::ploi::sim::SERVER_ID;
use sitewright::store::{ClientRecord, Event, Store as _};

use crate::fate::{Course, Fate};
use crate::planted::Planted;
use crate::world::{RESYNC, Sim, ZONE};

/// The longest a phase may take in the simulated world: thirty minutes after the last fault (reliability.md L1) over the
/// longest build, a certificate's backoff or a grace.
pub const PATIENCE: Duration = Duration::from_secs(4 * 3600);

/// A spec with one of everything.
pub fn spec(client: &str, alias: &str, note: &str) -> String {
    format!(
        "apiVersion: sitewright/v1\nkind: ClientSpec\nmetadata:\n  name: {client}\nspec:\n  domain: {client}.{ZONE}\n  source: {{ repository: agency/cms, branch: main }}\n  aliases: [ {alias}.{client}.{ZONE} ]\n  admin: {{ email: admin@{client}.example, name: Admin }}\n  database: {{ reclaimPolicy: Delete }}\n  environment: {{ NOTE: \"{note}\" }}\n  dns: {{ records: [ {{ type: TXT, name: \"@\", content: \"{note}\" }} ] }}\n  health: {{ interval: 1h }}\n"
    )
}

pub fn bystander() -> String {
    format!(
        "apiVersion: sitewright/v1\nkind: ClientSpec\nmetadata:\n  name: bystander\nspec:\n  domain: bystander.{ZONE}\n  reconcile: {{ mode: paused }}\n"
    )
}

fn is_ready(record: &ClientRecord, generation: u64) -> bool {
    record.generation > generation
        && record.observed_generation == record.generation
        && record.status.is_ready()
        && record.owned.releases.in_flight.is_none()
}

/// A world in which nothing goes wrong by itself, and nobody is there yet.
pub async fn empty_world(planted: Option<&'static Planted>) -> Sim {
    Sim::new(Fate::new(Course::Told { crashes: Vec::new(), lost: false }, Duration::ZERO, 0), planted).await
}

/// The same with strangers in it.
pub async fn quiet_world(planted: Option<&'static Planted>) -> Sim {
    let sim = empty_world(planted).await;
    sim.people_the_world();
    sim
}

impl Sim {
    /// What stands there before us, and is not ours.
    pub fn people_the_world(&self) {
        let id = self.ploi.add_foreign_site(SERVER_ID, &format!("stranger.{ZONE}"), Some("A=1\n"), 4000);
        self.monitor.protect(id);
        let record = serde_json::json!({
            "type": "A", "name": format!("stranger.{ZONE}"), "content": "192.0.2.77", "ttl": 300, "proxied": false,
        });
        self.cloudflare.create_by_hand(&self.zone, &record).unwrap();
        self.specs.write("bystander.yaml", &bystander());
    }

    pub async fn generation(&self, client: &str) -> u64 {
        self.record(client).await.map_or(0, |record| record.generation)
    }

    /// Until a client is ready with a newer spec.
    pub async fn until_ready(&mut self, client: &str, generation: u64) -> Result<(), String> {
        let ready = async |sim: &Sim| sim.record(client).await.is_some_and(|record| is_ready(&record, generation));
        self.come_to("readiness", client, ready).await
    }

    /// Until a client is ready with exactly this spec.
    pub async fn until_told(&mut self, client: &str, text: &str) -> Result<(), String> {
        let told = async |sim: &Sim| {
            sim.record(client).await.is_some_and(|record| {
                let accepted = record.accepted.as_ref().is_some_and(|accepted| accepted.text == text);
                accepted && record.owned.removal.is_none() && is_ready(&record, 0)
            })
        };
        self.come_to("readiness", client, told).await
    }

    /// Until nothing of a client is remembered.
    pub async fn until_gone(&mut self, client: &str) -> Result<(), String> {
        let gone = async |sim: &Sim| sim.record(client).await.is_none();
        self.come_to("its end", client, gone).await
    }

    async fn come_to(&mut self, what: &str, client: &str, holds: impl AsyncFn(&Sim) -> bool) -> Result<(), String> {
        if self.until(PATIENCE, holds).await {
            return Ok(());
        }
        let record = self.record(client).await;
        if self.fate.is_hot() {
            return Err(format!("L11: the loop turns on the spot: {:?}", record.map(|r| r.status.message)));
        }
        let message = record.as_ref().map(|record| record.status.message.clone());
        let absences = self.disk.document("absence").await;
        Err(format!(
            "L1: {client} does not come to {what}: {message:?}\n{absences:?}\n{:#?}",
            record.map(|r| (r.generation, r.observed_generation, r.pause, r.status, r.owned.intents, r.owned.attempts))
        ))
    }

    /// Nothing is written any more: another cycle without one write (S16).
    pub async fn still(&mut self) -> Result<(), String> {
        self.world.faults.clear_calls();
        let before = self.databases.lock().history();
        self.pass(RESYNC + RESYNC / 2).await;
        let writes = self.world.faults.writes();
        let writes: Vec<String> =
            writes.iter().map(|call| format!("{} {} {}", call.provider, call.method, call.path)).collect();
        let after = self.databases.lock().history();
        if writes.is_empty() && before == after { Ok(()) } else { Err(format!("S16: written in the calm: {writes:?}")) }
    }

    /// What the world holds of a ready client.
    pub fn check_living(&self, client: &str, alias: &str, note: &str) -> Result<(), String> {
        let domain = format!("{client}.{ZONE}");
        let mut wrong = Vec::new();
        let mut want = |what: &str, holds: bool| {
            if !holds {
                wrong.push(what.to_owned());
            }
        };
        want("one site", self.ploi.site_id(SERVER_ID, &domain).is_some());
        want("the aliases", self.ploi.aliases_of(SERVER_ID, &domain) == [format!("{alias}.{domain}")]);
        let env = self.ploi.env_of(SERVER_ID, &domain).unwrap_or_default();
        want(
            "the environment",
            env.contains(&format!("NOTE='{note}'"))
                || env.contains(&format!("NOTE={note}"))
                || env.contains(&format!("NOTE=\"{note}\"")),
        );
        want("one certificate", self.ploi.active_certificates(SERVER_ID, &domain) == 1);
        let ours = self.records_of(&domain);
        want(&format!("three records, found {ours:?}"), ours.len() == 3);
        let server = self.databases.lock();
        let name = format!("client_{client}");
        want("one database", server.databases.keys().filter(|k| k.starts_with(&name)).count() == 1);
        want("group and login", server.roles.keys().filter(|k| k.starts_with(&name)).count() == 2);
        want("isolation", server.databases.get(&name).is_some_and(|row| !row.public_connect));
        if wrong.is_empty() { Ok(()) } else { Err(format!("S1: {client} lacks {}", wrong.join("; "))) }
    }

    /// Names below a domain that the zone holds, as `TYPE name content`.
    pub fn records_of(&self, domain: &str) -> Vec<String> {
        let text = |record: &Value, key: &str| record[key].as_str().unwrap_or_default().to_owned();
        let mut found: Vec<String> = self
            .cloudflare
            .records(&self.zone)
            .iter()
            .filter(|record| text(record, "name").ends_with(domain))
            .map(|record| format!("{} {} {}", text(record, "type"), text(record, "name"), text(record, "content")))
            .collect();
        found.sort();
        found
    }

    /// What the world holds of a client that went.
    pub fn check_gone(&self, client: &str) -> Result<(), String> {
        let domain = format!("{client}.{ZONE}");
        let left = self.records_of(&domain);
        let server = self.databases.lock();
        let name = format!("client_{client}");
        let roles: Vec<&String> = server.roles.keys().filter(|role| role.starts_with(&name)).collect();
        let there = server.databases.contains_key(&name);
        match left.is_empty() && roles.is_empty() && !there && self.ploi.site_id(SERVER_ID, &domain).is_none() {
            true => Ok(()),
            false => Err(format!("S1: of {client} is left: {left:?} {roles:?} database {there}")),
        }
    }

    /// What is not ours stands as it stood.
    pub fn check_strangers(&self) -> Result<(), String> {
        let site = self.ploi.env_of(SERVER_ID, &format!("stranger.{ZONE}")).as_deref() == Some("A=1\n");
        let record = self.records_of(&format!("stranger.{ZONE}")) == [format!("A stranger.{ZONE} 192.0.2.77")];
        if site && record { Ok(()) } else { Err("S2: a stranger's thing was touched".to_owned()) }
    }

    /// What the log of events and steps tells of a life that failed.
    pub async fn story(&self) -> String {
        let events = self.disk.events(None, 0, usize::MAX).await.unwrap();
        let client = |event: &Event| event.client.as_ref().map(ToString::to_string).unwrap_or_default();
        let told = |event: &Event| format!("{:.0} {} {}: {}", event.at, client(event), event.reason, event.message);
        let events: Vec<String> = events.iter().map(told).collect();
        format!("{}\n{}", self.fate.log().join("\n"), events.join("\n"))
    }

    /// The verdict of the monitor.
    pub fn verdict(&self) -> Result<(), String> {
        self.monitor.world();
        self.monitor.hold("L11", !self.fate.is_hot(), || "the loop turns without time passing".to_owned());
        match self.monitor.violations() {
            violations if violations.is_empty() => Ok(()),
            violations => Err(violations.join("\n")),
        }
    }
}

/// Provision, update, removal of one client.
pub async fn whole_life(sim: &mut Sim) -> Result<(), String> {
    sim.people_the_world();
    sim.specs.write("shop.yaml", &spec("shop", "www", "one"));
    sim.start();
    sim.until_ready("shop", 0).await?;
    sim.check_living("shop", "www", "one")?;
    let generation = sim.generation("shop").await;
    sim.specs.write("shop.yaml", &spec("shop", "book", "two"));
    sim.until_ready("shop", generation).await?;
    sim.still().await?;
    sim.check_living("shop", "book", "two")?;
    sim.specs.remove("shop.yaml");
    sim.until_gone("shop").await?;
    sim.still().await?;
    sim.check_gone("shop")?;
    sim.check_strangers()?;
    sim.verdict()
}
