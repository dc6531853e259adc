//! The work that every contender does: one message changes one entity and sends one message.

use std::path::Path;
use std::time::Duration;

use semel::core::broker::{Destination, Outgoing, SendOutcome};
use semel::core::{Broker, Envelope};
use semel::sqlite::Sqlite;
use semel::{Context, Keyed, Message, Timestamp};
use serde::{Deserialize, Serialize};

use crate::Result;

/// Where messages come twice, one in so many does.
const TWICE: usize = 20;

/// How much work there is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Messages in the queue at the start.
    pub(crate) messages: usize,
    /// Entities they are spread over.
    pub(crate) entities: usize,
}

/// What comes in.
#[derive(Serialize, Deserialize, Debug)]
pub(crate) struct Deposit {
    /// Which account.
    pub(crate) account: String,
    /// How much.
    pub(crate) pence: u64,
}

impl Message for Deposit {
    const TYPE: &'static str = "bench.deposit";

    fn subject(&self) -> Option<String> {
        Some(self.account.clone())
    }
}

impl Keyed for Deposit {
    fn key(&self) -> String {
        self.account.clone()
    }
}

/// What goes out.
#[derive(Serialize, Deserialize, Debug)]
pub(crate) struct Deposited {
    /// Which account.
    pub(crate) account: String,
    /// What it holds now.
    pub(crate) balance_pence: u64,
}

impl Message for Deposited {
    const TYPE: &'static str = "bench.deposited";
}

impl Keyed for Deposited {
    fn key(&self) -> String {
        self.account.clone()
    }
}

/// The entity.
#[derive(Default, Serialize, Deserialize, Debug)]
pub(crate) struct Account {
    /// What it holds.
    pub(crate) balance_pence: u64,
    /// How many deposits it saw.
    pub(crate) deposits: u64,
}

/// The handler.
pub(crate) fn deposit(account: &mut Account, message: Deposit, ctx: &mut Context) {
    account.balance_pence += message.pence;
    account.deposits += 1;
    let balance_pence = account.balance_pence;
    ctx.send("sink", Deposited { account: message.account, balance_pence });
}

/// The handler of what was sent.
pub(crate) fn note(account: &mut Account, message: Deposited, _: &mut Context) {
    account.balance_pence = account.balance_pence.max(message.balance_pence);
    account.deposits += 1;
}

/// A fresh file in `folder`, and its folder, which goes when it is dropped.
pub(crate) fn fresh_file(folder: &Path) -> Result<(tempfile::TempDir, std::path::PathBuf)> {
    let folder = tempfile::tempdir_in(folder)?;
    let path = folder.path().join("bench.db");
    Ok((folder, path))
}

/// Queues the load.
pub(crate) async fn fill(file: &Sqlite, load: Load, first: usize) -> Result<()> {
    let time = Some(Timestamp::from_unix_ms(1_798_135_200_000));
    let message = |number: usize| -> Result<Outgoing> {
        let mut message = outgoing(number, load.entities)?;
        message.envelope.subject = Some(account(number, load.entities));
        message.envelope.time = time;
        Ok(message)
    };
    let numbers: Vec<usize> = (first..first + load.messages).collect();
    for numbers in numbers.chunks(1_000) {
        let messages = numbers.iter().map(|number| message(*number));
        send_all(file, messages.collect::<Result<_>>()?).await?;
    }
    Ok(())
}

/// Queues the load, with one message in twenty twice. Returns how many that makes.
pub(crate) async fn fill_doubled(broker: &dyn Broker, load: Load) -> Result<usize> {
    let numbers: Vec<usize> = (0..load.messages)
        .flat_map(|number| std::iter::repeat_n(number, if number % TWICE == 0 { 2 } else { 1 }))
        .collect();
    for numbers in numbers.chunks(1_000) {
        let messages = numbers.iter().map(|number| outgoing(*number, load.entities));
        send_all(broker, messages.collect::<Result<_>>()?).await?;
    }
    Ok(numbers.len())
}

/// Sends, and fails unless all were sent.
pub(crate) async fn send_all(broker: &dyn Broker, messages: Vec<Outgoing>) -> Result<()> {
    for sent in broker.send(messages).await {
        match sent {
            SendOutcome::Sent => {}
            SendOutcome::Refused(error) | SendOutcome::Unknown(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn account(number: usize, entities: usize) -> String {
    format!("account-{}", number % entities)
}

/// The deposit with a number.
pub(crate) fn outgoing(number: usize, entities: usize) -> Result<Outgoing> {
    let deposit = Deposit { account: account(number, entities), pence: 5 };
    let data = serde_json::to_vec(&deposit)?;
    // Random-looking ids, as they are in production: they touch the inbox all over.
    let id = semel::core::ids::derive(&["bench", &number.to_string()]).to_string();
    let envelope = Envelope::new(id, "/bench", Deposit::TYPE, data);
    let to = Destination::Endpoint("accounts".to_owned());
    Ok(Outgoing { to, envelope, delay: Duration::ZERO })
}

/// Fails unless the file holds what the work must have left, by SQL.
pub(crate) fn check_books(path: &Path, load: Load) -> Result<()> {
    let connection = rusqlite::Connection::open(path)?;
    let count = |sql: &str| connection.query_row(sql, (), |row| row.get::<_, i64>(0));
    let expected = i64::try_from(load.messages)?;
    let deposits =
        count("SELECT sum(state ->> 'deposits') FROM entity WHERE endpoint = 'accounts'")?;
    let sent = count("SELECT count(*) FROM queue WHERE endpoint = 'sink'")?;
    let left = count("SELECT count(*) FROM queue WHERE endpoint = 'accounts'")?;
    if (deposits, sent, left) == (expected, expected, 0) {
        Ok(())
    } else {
        Err(format!("of {expected} messages: {deposits} deposits, {sent} sent, {left} left").into())
    }
}
