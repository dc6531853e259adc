//! The endpoint that most tests check: deposits that add up, and notes about them.

use semel_check::World;
use semel_core::{Context, Endpoint, Keyed, Message};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Deposit {
    pub(crate) account: String,
    pub(crate) pence: i64,
}

impl Message for Deposit {
    const TYPE: &'static str = "account.deposit";
}

impl Keyed for Deposit {
    fn key(&self) -> String {
        self.account.clone()
    }
}

/// What the account tells Audit: the sum, so that attempts on different states differ.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Note {
    pub(crate) sum: i64,
}

impl Message for Note {
    const TYPE: &'static str = "account.note";
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Account {
    pub(crate) pence: i64,
}

pub(crate) fn deposit(account: &mut Account, message: Deposit, ctx: &mut Context) {
    account.pence += message.pence;
    ctx.send("audit", Note { sum: account.pence });
}

pub(crate) fn accounts() -> Endpoint {
    Endpoint::new("accounts").handle(deposit)
}

pub(crate) fn of(account: &str, pence: i64) -> Deposit {
    Deposit { account: account.to_owned(), pence }
}

/// Worlds of one deposit, and of two for the same account.
pub(crate) fn one(endpoint: Endpoint) -> World {
    World::new("a deposit").endpoint(endpoint).send("d1", "accounts", of("alice", 5)).workers(2)
}

pub(crate) fn two(endpoint: Endpoint) -> World {
    let world = World::new("two deposits").endpoint(endpoint).workers(2);
    world.send("d1", "accounts", of("alice", 5)).send("d2", "accounts", of("alice", 7))
}
