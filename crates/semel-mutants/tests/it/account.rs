//! The business of these worlds: deposits add up, and each sends a note to the audit.

use semel_core::{Context, Keyed, Message};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
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

#[derive(Serialize, Deserialize)]
pub(crate) struct Note {
    pence: i64,
}

impl Message for Note {
    const TYPE: &'static str = "audit.note";
}

impl Keyed for Note {
    fn key(&self) -> String {
        "book".to_owned()
    }
}

/// A word of an account to itself.
#[derive(Serialize, Deserialize)]
pub(crate) struct Reminder {
    account: String,
}

impl Message for Reminder {
    const TYPE: &'static str = "account.reminder";
}

impl Keyed for Reminder {
    fn key(&self) -> String {
        self.account.clone()
    }
}

#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Account {
    pence: i64,
}

#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Book {
    pence: Vec<i64>,
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

/// A later version: the note tells something else.
pub(crate) fn deposit_for_a_fee(account: &mut Account, message: Deposit, ctx: &mut Context) {
    account.pence += message.pence - 1;
    ctx.send("audit", Note { pence: account.pence });
}

/// Two notes: of the sum, and of what it took.
pub(crate) fn deposit_in_duplicate(account: &mut Account, message: Deposit, ctx: &mut Context) {
    account.pence += message.pence;
    ctx.send("audit", Note { pence: account.pence });
    ctx.send("audit", Note { pence: message.pence });
}

/// The account reminds itself.
pub(crate) fn deposit_with_reminder(account: &mut Account, message: Deposit, ctx: &mut Context) {
    account.pence += message.pence;
    ctx.send("accounts", Reminder { account: message.account });
}

pub(crate) fn remind(account: &mut Account, _: Reminder, _: &mut Context) {
    account.pence += 1;
}

pub(crate) fn enter(book: &mut Book, note: Note, _: &mut Context) {
    book.pence.push(note.pence);
}
