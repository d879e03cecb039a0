//! The same memory without a disk: for tests, examples and a demo that leaves nothing behind.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::path::Path;

use async_trait::async_trait;
use jiff::Timestamp;
use parking_lot::Mutex;

use crate::resource::name::{ClientName, Instance, ServerId, Uid};
use crate::resource::release::tail;
use crate::store::history::{DEPLOYMENTS_MAX, Deployment, History, LOG_BYTES_MAX, WRITES_MAX, Write};
use crate::store::port::{Choice, PortRequest};
use crate::store::seal::{new_instance, problem};
use crate::store::{ANSWERED_REQUESTS_MAX, Ask, ClientRecord, EVENTS_MAX, Event, Request, Store, Stored};

/// A state that ends with its process.
#[derive(Default)]
pub struct MemoryStore {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    instance: Option<Instance>,
    clients: BTreeMap<ClientName, ClientRecord>,
    ports: BTreeMap<ServerId, BTreeMap<u16, Uid>>,
    events: BTreeMap<i64, Event>,
    requests: BTreeMap<i64, Request>,
    deployments: BTreeMap<i64, (Deployment, String)>,
    writes: BTreeMap<i64, Write>,
    documents: BTreeMap<String, serde_json::Value>,
}

impl State {
    fn free_ports(&mut self, uid: &Uid) {
        for ports in self.ports.values_mut() {
            ports.retain(|_, holder| holder != uid);
        }
    }
}

fn next_id<T>(rows: &BTreeMap<i64, T>) -> i64 {
    rows.last_key_value().map_or(1, |(id, _)| id + 1)
}

#[async_trait]
impl History for MemoryStore {
    async fn put_deployment(&self, deployment: &Deployment) -> Stored<i64> {
        let mut state = self.state.lock();
        let same = |(_, (there, _)): &(&i64, &(Deployment, String))| {
            there.uid == deployment.uid && there.number == deployment.number
        };
        let known = state.deployments.iter().find(same).map(|(id, (_, log))| (*id, log.clone()));
        let (id, log) = known.unwrap_or_else(|| (next_id(&state.deployments), String::new()));
        state.deployments.insert(id, (Deployment { id, ..deployment.clone() }, log));
        let of_client = |(_, (there, _)): &(&i64, &(Deployment, String))| there.client == deployment.client;
        let ids: Vec<i64> = state.deployments.iter().filter(of_client).map(|(id, _)| *id).collect();
        for old in ids.iter().rev().skip(DEPLOYMENTS_MAX) {
            state.deployments.remove(old);
        }
        Ok(id)
    }

    async fn put_deployment_log(&self, id: i64, log: &str) -> Stored<()> {
        if let Some((_, kept)) = self.state.lock().deployments.get_mut(&id) {
            tail(log, LOG_BYTES_MAX).clone_into(kept);
        }
        Ok(())
    }

    async fn deployments(
        &self,
        client: Option<&ClientName>,
        before: Option<i64>,
        limit: usize,
    ) -> Stored<Vec<Deployment>> {
        let state = self.state.lock();
        let rows = state.deployments.range(..before.unwrap_or(i64::MAX)).rev().map(|(_, (deployment, _))| deployment);
        Ok(rows.filter(|there| client.is_none_or(|client| there.client == *client)).take(limit).cloned().collect())
    }

    async fn deployment(&self, id: i64) -> Stored<Option<Deployment>> {
        Ok(self.state.lock().deployments.get(&id).map(|(deployment, _)| deployment.clone()))
    }

    async fn deployment_log(&self, id: i64) -> Stored<Option<String>> {
        Ok(self.state.lock().deployments.get(&id).map(|(_, log)| log.clone()))
    }

    async fn append_write(&self, write: &Write) -> Stored<i64> {
        let mut state = self.state.lock();
        let id = next_id(&state.writes);
        state.writes.insert(id, Write { id, ..write.clone() });
        while state.writes.first_key_value().is_some_and(|(oldest, _)| *oldest <= id - WRITES_MAX) {
            state.writes.pop_first();
        }
        Ok(id)
    }

    async fn writes(&self, client: Option<&ClientName>, after: i64, limit: usize) -> Stored<Vec<Write>> {
        let state = self.state.lock();
        let rows = state.writes.range(after.saturating_add(1)..).map(|(_, write)| write);
        Ok(rows.filter(|there| client.is_none_or(|client| there.client == *client)).take(limit).cloned().collect())
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn instance(&self, wanted: Option<&Instance>) -> Stored<Instance> {
        let mut state = self.state.lock();
        let instance = match (state.instance.take(), wanted) {
            (Some(_), Some(wanted)) if state.clients.is_empty() => wanted.clone(),
            (Some(stored), _) => stored,
            (None, Some(wanted)) => wanted.clone(),
            (None, None) => new_instance()?,
        };
        state.instance = Some(instance.clone());
        Ok(instance)
    }

    async fn clients(&self) -> Stored<Vec<ClientRecord>> {
        Ok(self.state.lock().clients.values().cloned().collect())
    }

    async fn client(&self, name: &ClientName) -> Stored<Option<ClientRecord>> {
        Ok(self.state.lock().clients.get(name).cloned())
    }

    async fn save(&self, record: &ClientRecord) -> Stored<()> {
        self.state.lock().clients.insert(record.name.clone(), record.clone());
        Ok(())
    }

    async fn rename(&self, old: &ClientName, record: &ClientRecord) -> Stored<()> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        state.clients.remove(old);
        state.clients.insert(record.name.clone(), record.clone());
        let deployments = state.deployments.values_mut().map(|(deployment, _)| &mut deployment.client);
        let writes = state.writes.values_mut().map(|write| &mut write.client);
        deployments.chain(writes).filter(|client| *client == old).for_each(|client| client.clone_from(&record.name));
        Ok(())
    }

    async fn forget(&self, name: &ClientName) -> Stored<()> {
        let mut state = self.state.lock();
        if let Some(record) = state.clients.remove(name) {
            state.free_ports(&record.owned.mark.uid);
        }
        Ok(())
    }

    async fn allocate_port(
        &self,
        server: &ServerId,
        uid: &Uid,
        fixed: Option<u16>,
        range: RangeInclusive<u16>,
        taken: &BTreeSet<u16>,
    ) -> Stored<u16> {
        let mut state = self.state.lock();
        let held = state.ports.entry(server.clone()).or_default();
        match (PortRequest { server, uid, fixed, range, taken }).choose(held)? {
            Choice::Held(port) => Ok(port),
            Choice::New(port) => {
                held.insert(port, uid.clone());
                Ok(port)
            }
        }
    }

    async fn free_ports(&self, uid: &Uid) -> Stored<()> {
        self.state.lock().free_ports(uid);
        Ok(())
    }

    async fn append_event(&self, event: &Event) -> Stored<i64> {
        let mut state = self.state.lock();
        let id = next_id(&state.events);
        state.events.insert(id, Event { id, ..event.clone() });
        while state.events.first_key_value().is_some_and(|(oldest, _)| *oldest <= id - EVENTS_MAX) {
            state.events.pop_first();
        }
        Ok(id)
    }

    async fn events(&self, client: Option<&ClientName>, after: i64, limit: usize) -> Stored<Vec<Event>> {
        let state = self.state.lock();
        let wanted = |event: &&Event| event.id > after && (client.is_none() || event.client.as_ref() == client);
        Ok(state.events.values().filter(wanted).take(limit).cloned().collect())
    }

    async fn kept_events(&self) -> Stored<Option<(i64, i64)>> {
        let state = self.state.lock();
        let (oldest, newest) = (state.events.first_key_value(), state.events.last_key_value());
        Ok(oldest.zip(newest).map(|((oldest, _), (newest, _))| (*oldest, *newest)))
    }

    async fn ask(&self, ask: &Ask, at: Timestamp) -> Stored<i64> {
        let mut state = self.state.lock();
        let id = next_id(&state.requests);
        state.requests.insert(id, Request { id, at, ask: ask.clone(), answer: None });
        state.requests.retain(|old, request| *old > id - ANSWERED_REQUESTS_MAX || request.answer.is_none());
        Ok(id)
    }

    async fn open_requests(&self) -> Stored<Vec<Request>> {
        let open = |request: &&Request| request.answer.is_none();
        Ok(self.state.lock().requests.values().filter(open).cloned().collect())
    }

    async fn request(&self, id: i64) -> Stored<Option<Request>> {
        Ok(self.state.lock().requests.get(&id).cloned())
    }

    async fn answer(&self, id: i64, answer: &Result<String, String>) -> Stored<()> {
        let mut state = self.state.lock();
        let request = state.requests.get_mut(&id);
        let request = request.ok_or_else(|| problem(Path::new("memory"), format!("there is no request {id}")))?;
        request.answer = Some(answer.clone());
        Ok(())
    }

    async fn document(&self, key: &str) -> Stored<Option<serde_json::Value>> {
        Ok(self.state.lock().documents.get(key).cloned())
    }

    async fn put_document(&self, key: &str, value: Option<&serde_json::Value>) -> Stored<()> {
        let mut state = self.state.lock();
        match value {
            Some(value) => state.documents.insert(key.to_owned(), value.clone()),
            None => state.documents.remove(key),
        };
        Ok(())
    }
}
