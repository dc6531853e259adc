//! The business of these worlds: deposits add up, and each sends a note to the audit.

use semel_check::{Fault, World, items_only, relational_apart};
use semel_core::protocols::Protocol;
use semel_core::{Context, Endpoint, Keyed, Message};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
pub(crate) struct Deposit {
    account: String,
    pub(crate) pence: i64,
}

impl Deposit {
    pub(crate) fn new(account: &str, pence: i64) -> Self {
        Self { account: account.to_owned(), pence }
    }
}

impl Message for Deposit {
    const TYPE: &'static str = "account.deposit";
}

impl Keyed for Deposit {
    fn key(&self) -> String {
        self.account.clone()
    }
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Note {
    pence: i64,
}

impl Note {
    pub(crate) fn new(pence: i64) -> Self {
        Self { pence }
    }
}

impl Message for Note {
    const TYPE: &'static str = "audit.note";
}

impl Keyed for Note {
    fn key(&self) -> String {
        "book".to_owned()
    }
}

#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Account {
    pub(crate) pence: i64,
}

#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Book {
    pub(crate) pence: Vec<i64>,
}

/// The note tells the balance, so that attempts on different states decide differently.
pub(crate) fn deposit(account: &mut Account, message: Deposit, ctx: &mut Context) {
    account.pence += message.pence;
    ctx.send("audit", Note { pence: account.pence });
}

/// The note tells the message, so that all attempts decide the same.
pub(crate) fn deposit_by_message(account: &mut Account, message: Deposit, ctx: &mut Context) {
    account.pence += message.pence;
    ctx.send("audit", Note { pence: message.pence });
}

/// Two notes: of the sum, and of what it took.
pub(crate) fn deposit_in_duplicate(account: &mut Account, message: Deposit, ctx: &mut Context) {
    account.pence += message.pence;
    ctx.send("audit", Note { pence: account.pence });
    ctx.send("audit", Note { pence: message.pence });
}

pub(crate) fn enter(book: &mut Book, note: Note, _: &mut Context) {
    book.pence.push(note.pence);
}

/// One deposit over a store of single items; two workers and one fault. The audit is another
/// system.
pub(crate) fn one_deposit(name: &str, protocol: impl Protocol) -> World {
    at(name, Endpoint::new("accounts").handle(deposit).protocol(protocol))
}

fn at(name: &str, accounts: Endpoint) -> World {
    World::new(name)
        .store(items_only())
        .endpoint(accounts)
        .send("d1", "accounts", Deposit { account: "alice".to_owned(), pence: 5 })
        .workers(2)
        .faults(1)
}

/// Two deposits into one account.
pub(crate) fn two_deposits(name: &str, protocol: impl Protocol) -> World {
    let second = Deposit { account: "alice".to_owned(), pence: 7 };
    one_deposit(name, protocol).send("d2", "accounts", second)
}

/// One deposit, and the audit is an endpoint too: one worker for both.
pub(crate) fn audited(name: &str, protocol: impl Protocol + Clone) -> World {
    let audit = Endpoint::new("audit").handle(enter).protocol(protocol.clone());
    one_deposit(name, protocol).endpoint(audit).workers(1)
}

/// Two deposits, and the audit is an endpoint too.
pub(crate) fn audited_twice(name: &str, protocol: impl Protocol + Clone) -> World {
    let second = Deposit { account: "alice".to_owned(), pence: 7 };
    audited(name, protocol).send("d2", "accounts", second)
}

/// A layer below may repeat writes: an adapter rules it out, or declares it.
pub(crate) fn repeating(world: World) -> World {
    world.with(Fault::RepeatedWrite)
}

/// Two deposits over a database whose queue is elsewhere.
pub(crate) fn in_database(name: &str, protocol: impl Protocol) -> World {
    two_deposits(name, protocol).store(relational_apart())
}

/// One deposit, whose note says the same in every attempt.
pub(crate) fn of_message(name: &str, protocol: impl Protocol) -> World {
    at(name, Endpoint::new("accounts").handle(deposit_by_message).protocol(protocol))
}

/// One deposit with two notes.
pub(crate) fn noted_twice(name: &str, protocol: impl Protocol) -> World {
    at(name, Endpoint::new("accounts").handle(deposit_in_duplicate).protocol(protocol))
}
