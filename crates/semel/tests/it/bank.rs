//! The messages, states and handlers that the tests share: accounts, and an audit of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use semel::core::handler::BoxFuture;
use semel::prelude::*;
use serde::{Deserialize, Serialize};

use crate::rig::Rig;

/// Asks for money to be paid in.
#[derive(Clone, Debug, Serialize, Deserialize, Message)]
#[message(type = "account.deposit", entity = account)]
pub(crate) struct Deposit {
    pub(crate) account: String,
    pub(crate) pence: i64,
}

/// Says that money was paid in.
#[derive(Clone, Debug, Serialize, Deserialize, Message)]
#[message(type = "account.deposited", entity = account)]
pub(crate) struct Deposited {
    pub(crate) account: String,
    pub(crate) pence: i64,
    pub(crate) balance: i64,
}

/// The state of an account, and of what the audit knows about it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Account {
    pub(crate) pence: i64,
    pub(crate) deposits: u64,
}

impl Account {
    pub(crate) fn of(pence: i64, deposits: u64) -> Self {
        Self { pence, deposits }
    }

    fn add(&mut self, pence: i64) {
        self.pence += pence;
        self.deposits += 1;
    }
}

pub(crate) fn to(account: &str, pence: i64) -> Deposit {
    Deposit { account: account.to_owned(), pence }
}

/// Changes the state and tells the audit.
pub(crate) fn deposit(account: &mut Account, message: Deposit, ctx: &mut Context) {
    account.add(message.pence);
    let Deposit { account: name, pence } = message;
    ctx.send("audit", Deposited { account: name, pence, balance: account.pence });
}

fn note(account: &mut Account, message: Deposited, _: &mut Context) {
    account.add(message.pence);
}

/// Where deposits go.
pub(crate) fn accounts() -> Endpoint {
    Endpoint::new("accounts").handle(deposit)
}

/// Where the accounts' effects go.
pub(crate) fn audit() -> Endpoint {
    Endpoint::new("audit").handle(note)
}

/// The endpoint `accounts` with another handler.
pub(crate) fn accounts_with<R, F>(handler: F) -> Endpoint
where
    R: semel::core::failure::HandlerResult + 'static,
    F: Fn(&mut Account, Deposit, &mut Context) -> R + Send + Sync + 'static,
{
    Endpoint::new("accounts").handle(handler)
}

/// The endpoint `accounts` with another, async handler.
pub(crate) fn accounts_async<F>(handler: F) -> Endpoint
where
    F: for<'a> Fn(&'a mut Account, Deposit, &'a mut Context) -> BoxFuture<'a, Result<(), Failure>>
        + Send
        + Sync
        + 'static,
{
    Endpoint::new("accounts").handle(handler)
}

/// What an account and its audit hold; both must be the same.
#[track_caller]
pub(crate) fn assert_ledger(rig: &Rig, account: &str, expected: &Account) {
    for endpoint in ["accounts", "audit"] {
        let found = rig.state::<Account>(endpoint, account).unwrap_or_default();
        assert_eq!(&found, expected, "{account} at {endpoint}");
    }
}

/// Counts attempts of handlers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Attempts(Arc<AtomicU64>);

impl Attempts {
    /// Counts one more, and says which one it is, from 1.
    pub(crate) fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::SeqCst) + 1
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}
