//! The disk of a machine whose plug can be pulled around every write.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use sitewright::resource::name::{ClientName, Instance, ServerId, Uid};
use sitewright::store::history::{Deployment, History, Write};
use sitewright::store::memory::MemoryStore;
use sitewright::store::{Ask, ClientRecord, Event, Request, Store, StoreError, Stored};

use crate::fate::{Gate, Moment, Place, Turn};
use crate::planted::{Bug, Planted};

/// What one process has of the disk.
pub struct Durable {
    pub disk: Arc<MemoryStore>,
    pub gate: Arc<Gate>,
    pub planted: Option<&'static Planted>,
}

impl Durable {
    async fn write<T>(&self, label: &str, write: impl Future<Output = Stored<T>>) -> Stored<T> {
        let turn = self.gate.turn(Place::Save, label).await;
        match turn {
            Turn::Crash(Moment::Before) => self.gate.die().await,
            Turn::NoDisk => {
                let problem = "disk full".to_owned();
                return Err(StoreError::Engine { path: "simulated".into(), problem });
            }
            _ => {}
        }
        let written = write.await;
        if turn == Turn::Crash(Moment::After) {
            self.gate.die().await;
        }
        self.gate.fate.saved.notify_one();
        written
    }
}

/// No moment of its own for the plug: what it keeps decides nothing.
#[async_trait]
impl History for Durable {
    async fn put_deployment(&self, deployment: &Deployment) -> Stored<i64> {
        self.gate.live().await;
        self.disk.put_deployment(deployment).await
    }

    async fn put_deployment_log(&self, id: i64, log: &str) -> Stored<()> {
        self.gate.live().await;
        self.disk.put_deployment_log(id, log).await
    }

    async fn deployments(
        &self,
        client: Option<&ClientName>,
        before: Option<i64>,
        limit: usize,
    ) -> Stored<Vec<Deployment>> {
        self.gate.live().await;
        self.disk.deployments(client, before, limit).await
    }

    async fn deployment(&self, id: i64) -> Stored<Option<Deployment>> {
        self.gate.live().await;
        self.disk.deployment(id).await
    }

    async fn deployment_log(&self, id: i64) -> Stored<Option<String>> {
        self.gate.live().await;
        self.disk.deployment_log(id).await
    }

    async fn append_write(&self, write: &Write) -> Stored<i64> {
        self.gate.live().await;
        self.disk.append_write(write).await
    }

    async fn writes(&self, client: Option<&ClientName>, after: i64, limit: usize) -> Stored<Vec<Write>> {
        self.gate.live().await;
        self.disk.writes(client, after, limit).await
    }
}

#[async_trait]
impl Store for Durable {
    async fn instance(&self, wanted: Option<&Instance>) -> Stored<Instance> {
        self.disk.instance(wanted).await
    }

    async fn clients(&self) -> Stored<Vec<ClientRecord>> {
        self.gate.live().await;
        self.disk.clients().await
    }

    async fn client(&self, name: &ClientName) -> Stored<Option<ClientRecord>> {
        self.gate.live().await;
        self.disk.client(name).await
    }

    async fn save(&self, record: &ClientRecord) -> Stored<()> {
        let mut record = record.clone();
        if let Some(Planted { bug: Bug::Memory(change), .. }) = self.planted {
            change(&mut record);
        }
        self.write("save", self.disk.save(&record)).await
    }

    async fn rename(&self, old: &ClientName, record: &ClientRecord) -> Stored<()> {
        self.write("rename", self.disk.rename(old, record)).await
    }

    async fn forget(&self, name: &ClientName) -> Stored<()> {
        self.write("forget", self.disk.forget(name)).await
    }

    async fn allocate_port(
        &self,
        server: &ServerId,
        uid: &Uid,
        fixed: Option<u16>,
        range: RangeInclusive<u16>,
        taken: &BTreeSet<u16>,
    ) -> Stored<u16> {
        self.write("allocate port", self.disk.allocate_port(server, uid, fixed, range, taken)).await
    }

    async fn free_ports(&self, uid: &Uid) -> Stored<()> {
        self.write("free ports", self.disk.free_ports(uid)).await
    }

    async fn append_event(&self, event: &Event) -> Stored<i64> {
        self.write("event", self.disk.append_event(event)).await
    }

    async fn events(&self, client: Option<&ClientName>, after: i64, limit: usize) -> Stored<Vec<Event>> {
        self.gate.live().await;
        self.disk.events(client, after, limit).await
    }

    async fn kept_events(&self) -> Stored<Option<(i64, i64)>> {
        self.gate.live().await;
        self.disk.kept_events().await
    }

    async fn ask(&self, ask: &Ask, at: Timestamp) -> Stored<i64> {
        self.write("ask", self.disk.ask(ask, at)).await
    }

    async fn open_requests(&self) -> Stored<Vec<Request>> {
        self.gate.live().await;
        self.disk.open_requests().await
    }

    async fn request(&self, id: i64) -> Stored<Option<Request>> {
        self.gate.live().await;
        self.disk.request(id).await
    }

    async fn answer(&self, id: i64, answer: &Result<String, String>) -> Stored<()> {
        self.write("answer", self.disk.answer(id, answer)).await
    }

    async fn document(&self, key: &str) -> Stored<Option<serde_json::Value>> {
        self.gate.live().await;
        self.disk.document(key).await
    }

    async fn put_document(&self, key: &str, value: Option<&serde_json::Value>) -> Stored<()> {
        self.write("document", self.disk.put_document(key, value)).await
    }
}
