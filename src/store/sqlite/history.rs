//! Deploys and writes as rows.

use async_trait::async_trait;
use rusqlite::{OptionalExtension, Row, Transaction, params};

use super::{Inner, SqliteStore};
use crate::resource::name::ClientName;
use crate::resource::release::tail;
use crate::store::Stored;
use crate::store::history::{DEPLOYMENTS_MAX, Deployment, History, LOG_BYTES_MAX, WRITES_MAX, Write};

fn numbered(row: &Row<'_>) -> rusqlite::Result<(i64, String)> {
    Ok((row.get(0)?, row.get(1)?))
}

fn bound(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

impl Inner {
    fn put_deployment(&self, deployment: &Deployment) -> Stored<i64> {
        let text = self.encode("the deploy", deployment)?;
        let (client, uid) = (deployment.client.as_str(), deployment.uid.as_str());
        let number = i64::try_from(deployment.number).map_err(|e| self.engine(e))?;
        self.write(|tx| {
            let sql = "INSERT INTO deployment (client, uid, number, deployment) VALUES (?1, ?2, ?3, ?4)
                       ON CONFLICT (uid, number) DO UPDATE SET deployment = excluded.deployment RETURNING id";
            let id = tx
                .prepare_cached(sql)
                .and_then(|mut s| s.query_row(params![client, uid, number, text], |row| row.get(0)))
                .map_err(|e| self.engine(e))?;
            let sql = "DELETE FROM deployment WHERE client = ?1 AND id <= (
                           SELECT id FROM deployment WHERE client = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)";
            self.execute(tx, sql, params![client, bound(DEPLOYMENTS_MAX)])?;
            Ok(id)
        })
    }

    fn put_deployment_log(&self, id: i64, log: &str) -> Stored<()> {
        let sql = "UPDATE deployment SET log = ?2 WHERE id = ?1";
        self.write(|tx| self.execute(tx, sql, params![id, tail(log, LOG_BYTES_MAX)]).map(|_| ()))
    }

    fn deployments(&self, client: Option<&ClientName>, before: Option<i64>, limit: usize) -> Stored<Vec<Deployment>> {
        let (before, limit) = (before.unwrap_or(i64::MAX), bound(limit));
        let connection = self.connection.lock();
        let rows = match client {
            None => {
                let sql = "SELECT id, deployment FROM deployment WHERE id < ?1 ORDER BY id DESC LIMIT ?2";
                self.rows(&connection, sql, params![before, limit], numbered)?
            }
            Some(name) => {
                let sql = "SELECT id, deployment FROM deployment WHERE client = ?3 AND id < ?1
                           ORDER BY id DESC LIMIT ?2";
                self.rows(&connection, sql, params![before, limit, name.as_str()], numbered)?
            }
        };
        drop(connection);
        rows.into_iter().map(|row| self.read_deployment(&row)).collect()
    }

    fn deployment(&self, id: i64) -> Stored<Option<Deployment>> {
        let sql = "SELECT id, deployment FROM deployment WHERE id = ?1";
        let rows = self.rows(&self.connection.lock(), sql, [id], numbered)?;
        rows.first().map(|row| self.read_deployment(row)).transpose()
    }

    fn read_deployment(&self, (id, text): &(i64, String)) -> Stored<Deployment> {
        Ok(Deployment { id: *id, ..self.decode(&format!("deploy {id}"), text)? })
    }

    fn deployment_log(&self, id: i64) -> Stored<Option<String>> {
        let connection = self.connection.lock();
        let sql = "SELECT log FROM deployment WHERE id = ?1";
        connection.query_row(sql, [id], |row| row.get(0)).optional().map_err(|e| self.engine(e))
    }

    /// The history of a client that is called otherwise from now on goes along.
    pub(super) fn rename_history(&self, tx: &Transaction<'_>, former: &ClientName, name: &str) -> Stored<()> {
        for sql in [
            "UPDATE deployment SET client = ?2, deployment = json_set(deployment, '$.client', ?2) WHERE client = ?1",
            "UPDATE write SET client = ?2, write = json_set(write, '$.client', ?2) WHERE client = ?1",
        ] {
            self.execute(tx, sql, params![former.as_str(), name])?;
        }
        Ok(())
    }

    fn append_write(&self, write: &Write) -> Stored<i64> {
        let text = self.encode("the write", write)?;
        self.write(|tx| {
            let sql = "INSERT INTO write (client, write) VALUES (?1, ?2)";
            self.execute(tx, sql, params![write.client.as_str(), text])?;
            let id = tx.last_insert_rowid();
            self.execute(tx, "DELETE FROM write WHERE id <= ?1", [id - WRITES_MAX])?;
            Ok(id)
        })
    }

    fn writes(&self, client: Option<&ClientName>, after: i64, limit: usize) -> Stored<Vec<Write>> {
        let connection = self.connection.lock();
        let rows = match client {
            None => {
                let sql = "SELECT id, write FROM write WHERE id > ?1 ORDER BY id LIMIT ?2";
                self.rows(&connection, sql, params![after, bound(limit)], numbered)?
            }
            Some(name) => {
                let sql = "SELECT id, write FROM write WHERE client = ?3 AND id > ?1 ORDER BY id LIMIT ?2";
                self.rows(&connection, sql, params![after, bound(limit), name.as_str()], numbered)?
            }
        };
        drop(connection);
        rows.into_iter().map(|(id, text)| Ok(Write { id, ..self.decode(&format!("write {id}"), &text)? })).collect()
    }
}

#[async_trait]
impl History for SqliteStore {
    async fn put_deployment(&self, deployment: &Deployment) -> Stored<i64> {
        let deployment = deployment.clone();
        self.run(move |inner| inner.put_deployment(&deployment)).await
    }

    async fn put_deployment_log(&self, id: i64, log: &str) -> Stored<()> {
        let log = log.to_owned();
        self.run(move |inner| inner.put_deployment_log(id, &log)).await
    }

    async fn deployments(
        &self,
        client: Option<&ClientName>,
        before: Option<i64>,
        limit: usize,
    ) -> Stored<Vec<Deployment>> {
        let client = client.cloned();
        self.run(move |inner| inner.deployments(client.as_ref(), before, limit)).await
    }

    async fn deployment(&self, id: i64) -> Stored<Option<Deployment>> {
        self.run(move |inner| inner.deployment(id)).await
    }

    async fn deployment_log(&self, id: i64) -> Stored<Option<String>> {
        self.run(move |inner| inner.deployment_log(id)).await
    }

    async fn append_write(&self, write: &Write) -> Stored<i64> {
        let write = write.clone();
        self.run(move |inner| inner.append_write(&write)).await
    }

    async fn writes(&self, client: Option<&ClientName>, after: i64, limit: usize) -> Stored<Vec<Write>> {
        let client = client.cloned();
        self.run(move |inner| inner.writes(client.as_ref(), after, limit)).await
    }
}
