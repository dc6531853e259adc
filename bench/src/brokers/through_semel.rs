//! The work done by Semel.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use semel::core::Broker;
use semel::core::operator::Operator;
use semel::sqlite::Sqlite;
use semel::{Backend, Endpoint, Host};
use semel_nats::Nats;
use semel_rabbitmq::RabbitMq;
use tempfile::TempDir;

use super::Sample;
use crate::Result;
use crate::cpu::Cpu;
use crate::work::{Load, deposit, fill_doubled, fresh_file, note};

fn fresh_prefix() -> String {
    format!("bench-{}", semel::core::ids::derive(&[&format!("{:?}", Instant::now())]).simple())
        .chars()
        .take(40)
        .collect()
}

async fn nats(address: &str) -> Result<Arc<Nats>> {
    let options = semel_nats::Options { prefix: fresh_prefix(), ..Default::default() };
    Ok(Arc::new(Nats::connect(address, options).await?))
}

async fn rabbitmq(address: &str) -> Result<Arc<RabbitMq>> {
    let options = semel_rabbitmq::Options { prefix: fresh_prefix(), ..Default::default() };
    Ok(Arc::new(RabbitMq::connect(address, options).await?))
}

/// A fresh place on NATS beside a fresh file, and the file's folder, which goes when it is dropped.
pub(super) async fn nats_backend(address: &str, folder: &Path) -> Result<(TempDir, Backend)> {
    backend(nats(address).await?, folder)
}

/// The same on RabbitMQ.
pub(super) async fn rabbitmq_backend(address: &str, folder: &Path) -> Result<(TempDir, Backend)> {
    backend(rabbitmq(address).await?, folder)
}

fn backend<B: Broker + Operator>(broker: Arc<B>, folder: &Path) -> Result<(TempDir, Backend)> {
    let (folder, path) = fresh_file(folder)?;
    Ok((folder, Backend::apart(Arc::new(Sqlite::open(path)?), broker)))
}

pub(super) async fn on_nats(
    address: &str,
    folder: &Path,
    load: Load,
    server: Option<u32>,
) -> Result<Sample> {
    run(nats(address).await?, folder, load, server).await
}

pub(super) async fn on_rabbitmq(
    address: &str,
    folder: &Path,
    load: Load,
    server: Option<u32>,
) -> Result<Sample> {
    run(rabbitmq(address).await?, folder, load, server).await
}

/// Queues the load, and runs it through a host with two endpoints.
async fn run<B: Broker + Operator>(
    broker: Arc<B>,
    folder: &Path,
    load: Load,
    server: Option<u32>,
) -> Result<Sample> {
    let (_folder, path) = fresh_file(folder)?;
    let store = Arc::new(Sqlite::open(&path)?);
    let before = Cpu::now(server)?;
    let started = Instant::now();
    let sent = fill_doubled(broker.as_ref(), load).await?;
    let send_seconds = started.elapsed().as_secs_f64();
    let host = Host::new(Backend::apart(store.clone(), broker))
        .endpoint(Endpoint::new("accounts").handle(deposit))
        .endpoint(Endpoint::new("sink").handle(note));
    let started = Instant::now();
    host.run_until_idle().await?;
    let receive_seconds = started.elapsed().as_secs_f64();
    let cpu = Cpu::now(server)?.since(before);
    drop(store);
    check_books(&path, load)?;
    let received = (sent + load.messages, receive_seconds);
    Ok(Sample::new((sent, send_seconds), received, cpu))
}

/// Fails unless the file holds what the work must have left.
fn check_books(path: &Path, load: Load) -> Result<()> {
    let connection = rusqlite::Connection::open(path)?;
    let count = |endpoint: &str| {
        let sql = "SELECT coalesce(sum(coalesce(json_extract(state, '$.state.json.deposits'), \
                   json_extract(state, '$.deposits'))), 0) FROM entity WHERE endpoint = ?1";
        connection.query_row(sql, [endpoint], |row| row.get::<_, i64>(0))
    };
    let expected = i64::try_from(load.messages)?;
    let (deposits, notes) = (count("accounts")?, count("sink")?);
    if (deposits, notes) == (expected, expected) {
        return Ok(());
    }
    Err(format!("of {expected}: {deposits} deposits, {notes} notes").into())
}
