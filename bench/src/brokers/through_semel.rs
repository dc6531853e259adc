//! The work done by Semel.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use semel::core::broker::{Destination, Outgoing, SendOutcome};
use semel::core::operator::Operator;
use semel::core::{Broker, Envelope};
use semel::sqlite::Sqlite;
use semel::{Backend, Context, Endpoint, Host, Message as _};
use semel_nats::Nats;
use semel_rabbitmq::RabbitMq;

use super::{Load, Processor, Sample};
use crate::Result;
use crate::work::{Account, Deposit, Deposited, deposit, fresh_file};

/// One deposit in so many comes twice.
const TWICE: usize = 20;

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

/// A fresh place on NATS beside a fresh file.
pub(super) async fn nats_backend(address: &str, folder: &Path) -> Result<Backend> {
    backend(nats(address).await?, folder)
}

/// A fresh place on RabbitMQ beside a fresh file.
pub(super) async fn rabbitmq_backend(address: &str, folder: &Path) -> Result<Backend> {
    backend(rabbitmq(address).await?, folder)
}

fn backend<B: Broker + Operator>(broker: Arc<B>, folder: &Path) -> Result<Backend> {
    let folder = fresh_file(folder)?.0.keep();
    let store = Arc::new(Sqlite::open(folder.join("bench.db"))?);
    Ok(Backend::apart(store, broker))
}

pub(super) async fn on_nats(
    address: &str,
    folder: &Path,
    load: Load,
    processor: Processor,
) -> Result<Sample> {
    run(nats(address).await?, folder, load, processor).await
}

pub(super) async fn on_rabbitmq(
    address: &str,
    folder: &Path,
    load: Load,
    processor: Processor,
) -> Result<Sample> {
    run(rabbitmq(address).await?, folder, load, processor).await
}

/// Queues the load, and runs it through a host with two endpoints.
async fn run<B: Broker + Operator>(
    broker: Arc<B>,
    folder: &Path,
    load: Load,
    processor: Processor,
) -> Result<Sample> {
    let (_folder, path) = fresh_file(folder)?;
    let store = Arc::new(Sqlite::open(&path)?);
    let before = processor.used()?;
    let started = Instant::now();
    let sent = fill(broker.as_ref(), load).await?;
    let send_seconds = started.elapsed().as_secs_f64();
    let host = Host::new(Backend::apart(store.clone(), broker))
        .endpoint(Endpoint::new("accounts").handle(deposit))
        .endpoint(Endpoint::new("sink").handle(note));
    let started = Instant::now();
    host.run_until_idle().await?;
    let receive_seconds = started.elapsed().as_secs_f64();
    let cpu = processor.since(before)?;
    drop(store);
    check_books(&path, load)?;
    let received = (sent + load.messages, receive_seconds);
    Ok(Sample::new((sent, send_seconds), received, cpu))
}

fn note(account: &mut Account, message: Deposited, _: &mut Context) {
    account.balance_pence = account.balance_pence.max(message.balance_pence);
    account.deposits += 1;
}

async fn fill(broker: &dyn Broker, load: Load) -> Result<usize> {
    let numbers: Vec<usize> = (0..load.messages)
        .flat_map(|number| std::iter::repeat_n(number, if number % TWICE == 0 { 2 } else { 1 }))
        .collect();
    for numbers in numbers.chunks(1_000) {
        let messages = numbers.iter().map(|number| outgoing(*number, load.accounts));
        for sent in broker.send(messages.collect::<Result<_>>()?).await {
            match sent {
                SendOutcome::Sent => {}
                SendOutcome::Refused(error) | SendOutcome::Unknown(error) => {
                    return Err(error.into());
                }
            }
        }
    }
    Ok(numbers.len())
}

/// The message of a number: also what the client alone sends.
pub(super) fn outgoing(number: usize, accounts: usize) -> Result<Outgoing> {
    let deposit = Deposit { account: format!("account-{}", number % accounts), pence: 5 };
    let data = serde_json::to_vec(&deposit)?;
    let id = semel::core::ids::derive(&["bench", &number.to_string()]).to_string();
    let envelope = Envelope::new(id, "/bench", Deposit::TYPE, data);
    let to = Destination::Endpoint("accounts".to_owned());
    Ok(Outgoing { to, envelope, delay: Duration::ZERO })
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
