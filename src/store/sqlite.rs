//! The state of one machine in SQLite: one connection behind a lock, every commit on the disk before it is acknowledged.

mod history;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::resource::name::{ClientName, Instance, ServerId, Uid};
use crate::resource::secret::Secret;
use crate::store::port::{Choice, PortRequest};
use crate::store::schema::{self, Opening, WriterLock};
use crate::store::seal::{Sealer, StateKey, new_instance, problem};
use crate::store::{ANSWERED_REQUESTS_MAX, Ask, ClientRecord, EVENTS_MAX, Event, Request, Store, StoreError, Stored};

/// A value sealed at the first open: a state under another key is refused at once, not at the first secret.
const KEY_CHECK: &str = "key_check";
/// Under this name errors speak of a seal that belongs to no client.
const INSTALLATION: &str = "this installation";

/// The SQLite state.
pub struct SqliteStore {
    inner: Arc<Inner>,
}

/// A row of the table `secret`: client, name, sealed value.
type SealedRow = (String, String, Vec<u8>);

struct Inner {
    path: PathBuf,
    connection: Mutex<Connection>,
    sealer: Sealer,
    /// Held for life by the daemon; `None` beside it.
    _lock: Option<WriterLock>,
}

impl SqliteStore {
    /// For the daemon: takes the writer's lock, checks every page, upgrades. Fails while another process holds the lock
    /// (the message names it), for a newer or damaged state, and for a key that is not the state's. Blocks.
    pub fn open_exclusive(path: &Path, key: &StateKey) -> Stored<SqliteStore> {
        crate::store::seal::make_private_directory(path)?;
        let lock = WriterLock::take(path)?;
        Self::open(path, key, Opening::Exclusive, Some(lock))
    }

    /// For commands: reads, and requests put beside a running daemon. Blocks.
    pub fn open_shared(path: &Path, key: &StateKey) -> Stored<SqliteStore> {
        Self::open(path, key, Opening::Shared, None)
    }

    fn open(path: &Path, key: &StateKey, opening: Opening, lock: Option<WriterLock>) -> Stored<SqliteStore> {
        let connection = schema::open(path, opening)?;
        let inner =
            Inner { path: path.to_owned(), connection: Mutex::new(connection), sealer: key.sealer()?, _lock: lock };
        inner.check_key()?;
        Ok(SqliteStore { inner: Arc::new(inner) })
    }

    /// Runs blocking work where it stops nobody. A caller that goes away does not undo what was begun.
    async fn run<T: Send + 'static>(&self, work: impl FnOnce(&Inner) -> Stored<T> + Send + 'static) -> Stored<T> {
        let inner = Arc::clone(&self.inner);
        let path = inner.path.clone();
        tokio::task::spawn_blocking(move || work(&inner))
            .await
            .unwrap_or_else(|_| Err(problem(&path, "the worker of the state ended early")))
    }
}

impl Inner {
    fn engine(&self, error: impl std::fmt::Display) -> StoreError {
        problem(&self.path, error)
    }

    /// One transaction that has the write lock from its beginning.
    fn write<T>(&self, work: impl FnOnce(&Transaction<'_>) -> Stored<T>) -> Stored<T> {
        let mut connection = self.connection.lock();
        let transaction =
            connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(|e| self.engine(e))?;
        let result = work(&transaction)?;
        transaction.commit().map_err(|e| self.engine(e))?;
        Ok(result)
    }

    fn execute(&self, on: &Connection, sql: &str, values: impl rusqlite::Params) -> Stored<usize> {
        on.prepare_cached(sql).and_then(|mut s| s.execute(values)).map_err(|e| self.engine(e))
    }

    /// All rows of a query.
    fn rows<T>(
        &self,
        on: &Connection,
        sql: &str,
        values: impl rusqlite::Params,
        read: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Stored<Vec<T>> {
        let query = || on.prepare_cached(sql)?.query_map(values, read)?.collect::<rusqlite::Result<Vec<T>>>();
        query().map_err(|e| self.engine(e))
    }

    fn decode<T: DeserializeOwned>(&self, what: &str, text: &str) -> Stored<T> {
        serde_json::from_str(text).map_err(|e| self.engine(format!("{what} cannot be read: {e}")))
    }

    fn encode(&self, what: &str, value: &impl Serialize) -> Stored<String> {
        serde_json::to_string(value).map_err(|e| self.engine(format!("{what} cannot be written: {e}")))
    }

    fn check_key(&self) -> Stored<()> {
        let read = |on: &Connection| {
            on.query_row("SELECT value FROM meta WHERE key = ?1", [KEY_CHECK], |row| row.get::<_, Vec<u8>>(0))
                .optional()
        };
        let stored = read(&self.connection.lock()).map_err(|e| self.engine(e))?;
        let Some(sealed) = stored else {
            let sealed = self.sealer.seal(INSTALLATION, KEY_CHECK, &Secret::new(KEY_CHECK))?;
            let sql = "INSERT OR IGNORE INTO meta (key, value) VALUES (?1, ?2)";
            self.write(|tx| self.execute(tx, sql, params![KEY_CHECK, sealed]))?;
            let kept = read(&self.connection.lock()).map_err(|e| self.engine(e))?.unwrap_or_default();
            return self.sealer.open(INSTALLATION, KEY_CHECK, &kept).map(|_| ());
        };
        self.sealer.open(INSTALLATION, KEY_CHECK, &sealed).map(|_| ())
    }

    fn instance(&self, wanted: Option<Instance>) -> Stored<Instance> {
        self.write(|tx| {
            let stored: Option<Vec<u8>> = tx
                .query_row("SELECT value FROM meta WHERE key = 'instance'", [], |row| row.get(0))
                .optional()
                .map_err(|e| self.engine(e))?;
            let stored = match stored {
                Some(bytes) => Some(Instance::parse(&String::from_utf8_lossy(&bytes)).map_err(|e| self.engine(e))?),
                None => None,
            };
            let empty: bool = tx
                .query_row("SELECT NOT EXISTS (SELECT 1 FROM client)", [], |row| row.get(0))
                .map_err(|e| self.engine(e))?;
            let instance = match (stored, wanted) {
                (Some(stored), Some(wanted)) if empty && stored != wanted => wanted,
                (Some(stored), _) => return Ok(stored),
                (None, Some(wanted)) => wanted,
                (None, None) => new_instance()?,
            };
            let sql = "INSERT INTO meta (key, value) VALUES ('instance', ?1)
                       ON CONFLICT (key) DO UPDATE SET value = excluded.value";
            self.execute(tx, sql, [instance.as_str().as_bytes()])?;
            Ok(instance)
        })
    }

    fn clients(&self, only: Option<&ClientName>) -> Stored<Vec<ClientRecord>> {
        let connection = self.connection.lock();
        let mut records = Vec::new();
        // One read transaction: a record and its secrets are of the same moment, also beside a daemon that writes.
        let snapshot = connection.unchecked_transaction().map_err(|e| self.engine(e))?;
        let pair = |row: &rusqlite::Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?));
        let sealed = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
        let (texts, secrets): (Vec<_>, Vec<SealedRow>) = match only {
            None => (
                self.rows(&snapshot, "SELECT name, record FROM client ORDER BY name", [], pair)?,
                self.rows(&snapshot, "SELECT client, name, sealed FROM secret ORDER BY client, name", [], sealed)?,
            ),
            Some(name) => (
                self.rows(&snapshot, "SELECT name, record FROM client WHERE name = ?1", [name.as_str()], pair)?,
                self.rows(
                    &snapshot,
                    "SELECT client, name, sealed FROM secret WHERE client = ?1 ORDER BY name",
                    [name.as_str()],
                    sealed,
                )?,
            ),
        };
        drop(snapshot);
        drop(connection);
        let mut secrets = secrets.into_iter().peekable();
        for (name, text) in texts {
            let mut record: ClientRecord = self.decode(&format!("the record of {name}"), &text)?;
            while let Some((client, key, sealed)) = secrets.next_if(|(client, _, _)| *client == name) {
                let secret = self.sealer.open(&client, &key, &sealed)?;
                record.secrets.insert(key, secret);
            }
            records.push(record);
        }
        Ok(records)
    }

    fn save(&self, former: Option<&ClientName>, record: &ClientRecord) -> Stored<()> {
        let name = record.name.as_str();
        let text = self.encode("the record", record)?;
        self.write(|tx| {
            if let Some(former) = former {
                self.execute(tx, "DELETE FROM client WHERE name = ?1", [former.as_str()])?;
                self.rename_history(tx, former, name)?;
            }
            let sql = "INSERT INTO client (name, uid, record) VALUES (?1, ?2, ?3)
                       ON CONFLICT (name) DO UPDATE SET uid = excluded.uid, record = excluded.record";
            self.execute(tx, sql, params![name, record.owned.mark.uid.as_str(), text])?;
            let stored: BTreeMap<String, Vec<u8>> = self
                .rows(tx, "SELECT name, sealed FROM secret WHERE client = ?1", [name], |r| Ok((r.get(0)?, r.get(1)?)))?
                .into_iter()
                .collect();
            for gone in stored.keys().filter(|key| !record.secrets.contains_key(*key)) {
                self.execute(tx, "DELETE FROM secret WHERE client = ?1 AND name = ?2", params![name, gone])?;
            }
            for (key, secret) in &record.secrets {
                // What opens to the same value stays: a save that changes no secret writes none.
                let kept = stored.get(key).and_then(|sealed| self.sealer.open(name, key, sealed).ok());
                if kept.as_ref() != Some(secret) {
                    let sealed = self.sealer.seal(name, key, secret)?;
                    let sql = "INSERT INTO secret (client, name, sealed) VALUES (?1, ?2, ?3)
                               ON CONFLICT (client, name) DO UPDATE SET sealed = excluded.sealed";
                    self.execute(tx, sql, params![name, key, sealed])?;
                }
            }
            Ok(())
        })
    }

    fn forget(&self, name: &ClientName) -> Stored<()> {
        self.write(|tx| {
            let sql = "DELETE FROM port WHERE uid = (SELECT uid FROM client WHERE name = ?1)";
            self.execute(tx, sql, [name.as_str()])?;
            self.execute(tx, "DELETE FROM client WHERE name = ?1", [name.as_str()]).map(|_| ())
        })
    }

    fn allocate_port(&self, request: &PortRequest<'_>) -> Stored<u16> {
        self.write(|tx| {
            let held = self
                .rows(tx, "SELECT port, uid FROM port WHERE server = ?1", [request.server.as_str()], |row| {
                    Ok((row.get(0)?, Uid::trusted(row.get::<_, String>(1)?)))
                })?
                .into_iter()
                .collect();
            match request.choose(&held)? {
                Choice::Held(port) => Ok(port),
                Choice::New(port) => {
                    let sql = "INSERT INTO port (server, port, uid) VALUES (?1, ?2, ?3)";
                    self.execute(tx, sql, params![request.server.as_str(), port, request.uid.as_str()])?;
                    Ok(port)
                }
            }
        })
    }

    fn append_event(&self, event: &Event) -> Stored<i64> {
        let text = self.encode("the event", event)?;
        let client = event.client.as_ref().map(ClientName::as_str);
        self.write(|tx| {
            self.execute(tx, "INSERT INTO event (client, event) VALUES (?1, ?2)", params![client, text])?;
            let id = tx.last_insert_rowid();
            self.execute(tx, "DELETE FROM event WHERE id <= ?1", [id - EVENTS_MAX])?;
            Ok(id)
        })
    }

    fn events(&self, client: Option<&ClientName>, after: i64, limit: usize) -> Stored<Vec<Event>> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?));
        let connection = self.connection.lock();
        let rows = match client {
            None => {
                let sql = "SELECT id, event FROM event WHERE id > ?1 ORDER BY id LIMIT ?2";
                self.rows(&connection, sql, params![after, limit], read)?
            }
            Some(name) => {
                let sql = "SELECT id, event FROM event WHERE client = ?3 AND id > ?1 ORDER BY id LIMIT ?2";
                self.rows(&connection, sql, params![after, limit, name.as_str()], read)?
            }
        };
        drop(connection);
        rows.into_iter().map(|(id, text)| Ok(Event { id, ..self.decode(&format!("event {id}"), &text)? })).collect()
    }

    fn ask(&self, ask: &Ask, at: Timestamp) -> Stored<i64> {
        let text = self.encode("the request", ask)?;
        self.write(|tx| {
            self.execute(tx, "INSERT INTO request (at, ask) VALUES (?1, ?2)", params![at.to_string(), text])?;
            let id = tx.last_insert_rowid();
            let sql = "DELETE FROM request WHERE id <= ?1 AND answer IS NOT NULL";
            self.execute(tx, sql, [id - ANSWERED_REQUESTS_MAX])?;
            Ok(id)
        })
    }

    fn requests(&self, condition: &str, values: impl rusqlite::Params) -> Stored<Vec<Request>> {
        let sql = format!("SELECT id, at, ask, answer FROM request WHERE {condition} ORDER BY id");
        let rows = self.rows(&self.connection.lock(), &sql, values, |row| {
            Ok((row.get(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?, row.get::<_, Option<String>>(3)?))
        })?;
        let whole = |(id, at, ask, answer): (i64, String, String, Option<String>)| {
            let what = format!("request {id}");
            Ok(Request {
                id,
                at: at.parse().map_err(|e| self.engine(format!("{what} cannot be read: {e}")))?,
                ask: self.decode(&what, &ask)?,
                answer: answer.map(|text| self.decode(&what, &text)).transpose()?,
            })
        };
        rows.into_iter().map(whole).collect()
    }

    fn answer(&self, id: i64, answer: &Result<String, String>) -> Stored<()> {
        let text = self.encode("the answer", answer)?;
        let sql = "UPDATE request SET answer = ?2 WHERE id = ?1";
        match self.write(|tx| self.execute(tx, sql, params![id, text]))? {
            0 => Err(self.engine(format!("there is no request {id}"))),
            _ => Ok(()),
        }
    }

    fn document(&self, key: &str) -> Stored<Option<serde_json::Value>> {
        let sql = "SELECT value FROM document WHERE key = ?1";
        let rows = self.rows(&self.connection.lock(), sql, [key], |row| row.get::<_, String>(0))?;
        rows.first().map(|text| self.decode(&format!("document {key}"), text)).transpose()
    }

    fn put_document(&self, key: &str, value: Option<&serde_json::Value>) -> Stored<()> {
        self.write(|tx| match value {
            None => self.execute(tx, "DELETE FROM document WHERE key = ?1", [key]).map(|_| ()),
            Some(value) => {
                let sql = "INSERT INTO document (key, value) VALUES (?1, ?2)
                           ON CONFLICT (key) DO UPDATE SET value = excluded.value";
                self.execute(tx, sql, params![key, value.to_string()]).map(|_| ())
            }
        })
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn instance(&self, wanted: Option<&Instance>) -> Stored<Instance> {
        let wanted = wanted.cloned();
        self.run(move |inner| inner.instance(wanted)).await
    }

    async fn clients(&self) -> Stored<Vec<ClientRecord>> {
        self.run(|inner| inner.clients(None)).await
    }

    async fn client(&self, name: &ClientName) -> Stored<Option<ClientRecord>> {
        let name = name.clone();
        self.run(move |inner| Ok(inner.clients(Some(&name))?.pop())).await
    }

    async fn save(&self, record: &ClientRecord) -> Stored<()> {
        let record = record.clone();
        self.run(move |inner| inner.save(None, &record)).await
    }

    async fn rename(&self, old: &ClientName, record: &ClientRecord) -> Stored<()> {
        let (old, record) = (old.clone(), record.clone());
        self.run(move |inner| inner.save(Some(&old), &record)).await
    }

    async fn forget(&self, name: &ClientName) -> Stored<()> {
        let name = name.clone();
        self.run(move |inner| inner.forget(&name)).await
    }

    async fn allocate_port(
        &self,
        server: &ServerId,
        uid: &Uid,
        fixed: Option<u16>,
        range: RangeInclusive<u16>,
        taken: &BTreeSet<u16>,
    ) -> Stored<u16> {
        let (server, uid, taken) = (server.clone(), uid.clone(), taken.clone());
        self.run(move |inner| {
            inner.allocate_port(&PortRequest { server: &server, uid: &uid, fixed, range, taken: &taken })
        })
        .await
    }

    async fn free_ports(&self, uid: &Uid) -> Stored<()> {
        let uid = uid.clone();
        self.run(move |inner| {
            inner.write(|tx| inner.execute(tx, "DELETE FROM port WHERE uid = ?1", [uid.as_str()]).map(|_| ()))
        })
        .await
    }

    async fn append_event(&self, event: &Event) -> Stored<i64> {
        let event = event.clone();
        self.run(move |inner| inner.append_event(&event)).await
    }

    async fn events(&self, client: Option<&ClientName>, after: i64, limit: usize) -> Stored<Vec<Event>> {
        let client = client.cloned();
        self.run(move |inner| inner.events(client.as_ref(), after, limit)).await
    }

    async fn kept_events(&self) -> Stored<Option<(i64, i64)>> {
        self.run(|inner| {
            // Two look-ups in the index; min and max in one query would read every row.
            let sql = "SELECT (SELECT min(id) FROM event), (SELECT max(id) FROM event)";
            let rows = inner.rows(&inner.connection.lock(), sql, [], |row| {
                Ok(row.get::<_, Option<i64>>(0)?.zip(row.get::<_, Option<i64>>(1)?))
            })?;
            Ok(rows.first().copied().flatten())
        })
        .await
    }

    async fn ask(&self, ask: &Ask, at: Timestamp) -> Stored<i64> {
        let ask = ask.clone();
        self.run(move |inner| inner.ask(&ask, at)).await
    }

    async fn open_requests(&self) -> Stored<Vec<Request>> {
        self.run(|inner| inner.requests("answer IS NULL", [])).await
    }

    async fn request(&self, id: i64) -> Stored<Option<Request>> {
        self.run(move |inner| Ok(inner.requests("id = ?1", [id])?.pop())).await
    }

    async fn answer(&self, id: i64, answer: &Result<String, String>) -> Stored<()> {
        let answer = answer.clone();
        self.run(move |inner| inner.answer(id, &answer)).await
    }

    async fn document(&self, key: &str) -> Stored<Option<serde_json::Value>> {
        let key = key.to_owned();
        self.run(move |inner| inner.document(&key)).await
    }

    async fn put_document(&self, key: &str, value: Option<&serde_json::Value>) -> Stored<()> {
        let (key, value) = (key.to_owned(), value.cloned());
        self.run(move |inner| inner.put_document(&key, value.as_ref())).await
    }
}
