//! The work done by a loop that someone wrote for just this purpose, without any framework: the
//! same tables, 100 messages a commit, an inbox, full durability.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};
use semel::sqlite::Sqlite;

use crate::Result;
use crate::report::Sample;
use crate::work::{Account, Deposit, Deposited, Load, check_books, fill, fresh_file};

const BATCH: usize = 100;

/// Runs the load.
pub(crate) async fn run(folder: &Path, load: Load) -> Result<Sample> {
    let (_folder, path) = fresh_file(folder)?;
    let file = Arc::new(Sqlite::open(&path)?);
    fill(&file, load, 0).await?;
    drop(file);
    let mut connection = connect(&path)?;
    let started = Instant::now();
    let mut commits = 0;
    while batch(&mut connection)? > 0 {
        commits += 1;
    }
    let seconds = started.elapsed().as_secs_f64();
    drop(connection);
    check_books(&path, load)?;
    Ok(Sample::new(load.messages, seconds, commits))
}

/// The same settings as Semel's own connection.
fn connect(path: &Path) -> Result<Connection> {
    let connection = Connection::open(path)?;
    connection.set_prepared_statement_cache_capacity(128);
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "wal_autocheckpoint", 4_000)?;
    connection.pragma_update(None, "cache_size", -32_768)?;
    Ok(connection)
}

struct Row {
    position: i64,
    id: String,
    source: String,
    data: String,
}

fn batch(connection: &mut Connection) -> Result<usize> {
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let rows: Vec<Row> = tx
        .prepare_cached(
            "SELECT position, message_id, source, data FROM queue \
             WHERE endpoint = 'accounts' AND available_at <= ?1 \
             ORDER BY available_at, position LIMIT ?2",
        )?
        .query_map(params![now_ms()?, BATCH], |row| {
            Ok(Row {
                position: row.get(0)?,
                id: row.get(1)?,
                source: row.get(2)?,
                data: row.get(3)?,
            })
        })?
        .collect::<std::result::Result<_, _>>()?;
    for row in &rows {
        message(&tx, row)?;
    }
    tx.commit()?;
    Ok(rows.len())
}

fn message(tx: &Connection, row: &Row) -> Result<()> {
    tx.prepare_cached("DELETE FROM queue WHERE position = ?1")?.execute([row.position])?;
    let expires_at = now_ms()? + 7 * 24 * 60 * 60 * 1_000;
    let is_new = tx
        .prepare_cached(
            "INSERT INTO inbox (endpoint, message, entity_id, version, expires_at) \
             VALUES ('accounts', ?1, '', 0, ?2) ON CONFLICT DO NOTHING",
        )?
        .execute(params![format!("{} {}", row.source, row.id), expires_at])?;
    if is_new == 0 {
        return Ok(());
    }
    let deposit: Deposit = serde_json::from_str(&row.data)?;
    let state: Option<String> = tx
        .prepare_cached("SELECT state FROM entity WHERE endpoint = 'accounts' AND entity_id = ?1")?
        .query_row([&deposit.account], |row| row.get(0))
        .optional()?;
    let mut account: Account =
        state.map_or_else(|| Ok(Account::default()), |state| serde_json::from_str(&state))?;
    account.balance_pence += deposit.pence;
    account.deposits += 1;
    tx.prepare_cached(
        "INSERT INTO entity (endpoint, entity_id, state, version) VALUES ('accounts', ?1, ?2, 0) \
         ON CONFLICT DO UPDATE SET state = ?2",
    )?
    .execute(params![deposit.account, serde_json::to_string(&account)?])?;
    let sent = Deposited { account: deposit.account, balance_pence: account.balance_pence };
    tx.prepare_cached(
        "INSERT INTO queue (endpoint, available_at, deliveries, failure_count, queued_at, \
         message_id, source, type, data) VALUES ('sink', ?1, 0, 0, ?1, ?2, '/accounts', \
         'bench.deposited', ?3)",
    )?
    .execute(params![now_ms()?, format!("{}-1", row.id), serde_json::to_string(&sent)?])?;
    Ok(())
}

fn now_ms() -> Result<i64> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    Ok(i64::try_from(now.as_millis())?)
}
