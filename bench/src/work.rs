//! The work that every contender does: one message changes one entity and sends one message.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use semel::core::broker::{Destination, Outgoing, SendOutcome};
use semel::core::{Broker as _, Envelope};
use semel::sqlite::Sqlite;
use semel::{Context, Keyed, Message, Timestamp};
use serde::{Deserialize, Serialize};

use crate::Result;

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

/// A fresh file in `folder`, and its folder, which goes when it is dropped.
pub(crate) fn fresh_file(folder: &Path) -> Result<(tempfile::TempDir, std::path::PathBuf)> {
    let folder = tempfile::tempdir_in(folder)?;
    let path = folder.path().join("bench.db");
    Ok((folder, path))
}

/// Queues the load.
pub(crate) async fn fill(file: &Arc<Sqlite>, load: Load, first: usize) -> Result<()> {
    let numbers: Vec<usize> = (first..first + load.messages).collect();
    for numbers in numbers.chunks(1_000) {
        let messages = numbers.iter().map(|number| envelope(*number, load.entities));
        for sent in file.send(messages.collect::<Result<_>>()?).await {
            match sent {
                SendOutcome::Sent => {}
                SendOutcome::Refused(error) | SendOutcome::Unknown(error) => {
                    return Err(error.into());
                }
            }
        }
    }
    Ok(())
}

fn envelope(number: usize, entities: usize) -> Result<Outgoing> {
    let deposit = Deposit { account: format!("account-{}", number % entities), pence: 5 };
    let data = serde_json::to_vec(&deposit)?;
    // Random-looking ids, as they are in production: they touch the inbox all over.
    let id = semel::core::ids::derive(&["bench", &number.to_string()]).to_string();
    let mut envelope = Envelope::new(id, "/bench", Deposit::TYPE, data);
    envelope.subject = deposit.subject();
    envelope.time = Some(Timestamp::from_unix_ms(1_798_135_200_000));
    Ok(Outgoing {
        to: Destination::Endpoint("accounts".to_owned()),
        envelope,
        delay: Duration::ZERO,
    })
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
