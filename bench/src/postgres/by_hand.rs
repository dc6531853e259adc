//! The work done by loops without any framework: the same tables and guarantees, one transaction a
//! batch, one statement for each kind of change.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use semel_servers::Postgres;
use tokio_postgres::{Client, NoTls, Statement};

use super::work::{fresh, measured};
use super::{Result, Sample};
use crate::work::{Account, Deposit, Deposited, Load};

/// Runs the load with so many messages a transaction, on one connection.
pub(super) async fn run(server: &Postgres, load: Load, batch: i64) -> Result<Sample> {
    let (schema, place) = fresh(server, load).await?;
    drop(place);
    let mut worker = Worker::connect(server, &schema, batch).await?;
    let work = async {
        while worker.step("accounts").await? + worker.step("sink").await? > 0 {}
        Ok(())
    };
    measured(server, &schema, load, work).await
}

/// The same on two connections, one for each endpoint: neither ever waits for a row of the other.
pub(super) async fn run_two(server: &Postgres, load: Load, batch: i64) -> Result<Sample> {
    let (schema, place) = fresh(server, load).await?;
    drop(place);
    let mut accounts = Worker::connect(server, &schema, batch).await?;
    let mut sink = Worker::connect(server, &schema, batch).await?;
    let is_over = AtomicBool::new(false);
    let deposit = async {
        while accounts.step("accounts").await? > 0 {}
        is_over.store(true, Ordering::SeqCst);
        Ok(())
    };
    let note = async {
        loop {
            // Asked before the step: what was sent until then, the step finds.
            let is_last = is_over.load(Ordering::SeqCst);
            match sink.step("sink").await? {
                0 if is_last => return Ok(()),
                0 => tokio::time::sleep(Duration::from_millis(1)).await,
                _ => {}
            }
        }
    };
    let work = async { tokio::try_join!(deposit, note).map(drop) };
    measured(server, &schema, load, work).await
}

struct Worker {
    client: Client,
    statements: Statements,
    batch: i64,
}

impl Worker {
    /// The connection ends with the worker.
    async fn connect(server: &Postgres, schema: &str, batch: i64) -> Result<Self> {
        let (client, connection) = tokio_postgres::connect(&server.address(), NoTls).await?;
        tokio::spawn(connection);
        let settings = format!(
            "SET search_path = {schema}; SET enable_seqscan = off; SET enable_hashjoin = off; \
             SET enable_mergejoin = off"
        );
        client.batch_execute(&settings).await?;
        Ok(Self { statements: Statements::prepare(&client).await?, client, batch })
    }
}

struct Statements {
    take: Statement,
    inbox: Statement,
    load: Statement,
    save: Statement,
    send: Statement,
    remove: Statement,
}

impl Statements {
    async fn prepare(client: &Client) -> Result<Self> {
        Ok(Self {
            take: client
                .prepare(
                    "SELECT position, source || ' ' || message_id, data FROM queue \
                     WHERE endpoint = $1 AND due_at IS NULL AND partition_key IS NULL \
                     ORDER BY position LIMIT $2 \
                     FOR UPDATE SKIP LOCKED",
                )
                .await?,
            inbox: client
                .prepare(
                    "INSERT INTO inbox (endpoint, message, entity_id, version, expires_at) \
                     SELECT $1, m, '', 0, now() + interval '7 days' FROM unnest($2::text[]) AS m \
                     ON CONFLICT DO NOTHING RETURNING message",
                )
                .await?,
            load: client
                .prepare(
                    // With `= ANY`, the server may compare every key to every entity.
                    "SELECT entity_id, state FROM unnest($2::text[]) AS u (e), \
                     LATERAL (SELECT entity_id, state FROM entity \
                     WHERE endpoint = $1 AND entity_id = e FOR UPDATE) AS l",
                )
                .await?,
            save: client
                .prepare(
                    "INSERT INTO entity (endpoint, entity_id, state, version) \
                     SELECT $1, e, s, 0 FROM unnest($2::text[], $3::bytea[]) AS u (e, s) \
                     ON CONFLICT (endpoint, entity_id) DO UPDATE SET state = EXCLUDED.state",
                )
                .await?,
            send: client
                .prepare(
                    "INSERT INTO queue (endpoint, queued_at, message_id, source, type, data) \
                     SELECT 'sink', now(), i, '/accounts', 'bench.deposited', d \
                     FROM unnest($1::text[], $2::bytea[]) AS u (i, d)",
                )
                .await?,
            remove: client.prepare("DELETE FROM queue WHERE position = ANY ($1)").await?,
        })
    }
}

impl Worker {
    /// One transaction; how many messages it consumed.
    async fn step(&mut self, endpoint: &str) -> Result<usize> {
        let tx = self.client.transaction().await?;
        let rows = tx.query(&self.statements.take, &[&endpoint, &self.batch]).await?;
        let positions: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
        if positions.is_empty() {
            return Ok(0);
        }
        let ids: Vec<String> = rows.iter().map(|row| row.get(1)).collect();
        let new = tx.query(&self.statements.inbox, &[&endpoint, &ids]).await?;
        let mut new: BTreeSet<String> = new.iter().map(|row| row.get(0)).collect();
        let mut work = Vec::new();
        for (row, id) in rows.iter().zip(ids) {
            let data: &[u8] = row.get(2);
            if !new.remove(&id) {
                continue;
            }
            let (account, pence) = if endpoint == "accounts" {
                let deposit: Deposit = serde_json::from_slice(data)?;
                (deposit.account, deposit.pence)
            } else {
                let deposited: Deposited = serde_json::from_slice(data)?;
                (deposited.account, deposited.balance_pence)
            };
            work.push((id, account, pence));
        }
        let keys: BTreeSet<&str> = work.iter().map(|(_, account, _)| account.as_str()).collect();
        let keys: Vec<&str> = keys.into_iter().collect();
        let mut accounts: BTreeMap<String, Account> = BTreeMap::new();
        for row in tx.query(&self.statements.load, &[&endpoint, &keys]).await? {
            accounts.insert(row.get(0), serde_json::from_slice(row.get(1))?);
        }
        let (mut sent_ids, mut sent) = (Vec::new(), Vec::new());
        for (id, name, pence) in &work {
            let account = accounts.entry(name.clone()).or_default();
            account.deposits += 1;
            if endpoint == "accounts" {
                account.balance_pence += pence;
                let balance_pence = account.balance_pence;
                sent_ids.push(format!("{id}-1"));
                sent.push(serde_json::to_vec(&Deposited { account: name.clone(), balance_pence })?);
            } else {
                account.balance_pence = account.balance_pence.max(*pence);
            }
        }
        let names: Vec<&str> = accounts.keys().map(String::as_str).collect();
        let states: Vec<Vec<u8>> =
            accounts.values().map(serde_json::to_vec).collect::<std::result::Result<_, _>>()?;
        tx.execute(&self.statements.save, &[&endpoint, &names, &states]).await?;
        if !sent.is_empty() {
            tx.execute(&self.statements.send, &[&sent_ids, &sent]).await?;
        }
        tx.execute(&self.statements.remove, &[&positions]).await?;
        tx.commit().await?;
        Ok(positions.len())
    }
}
