//! A shop with a store of its own, and the program to look at it.

use std::ops::RangeInclusive;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use semel::core::broker::{Destination, Outgoing, SendOutcome};
use semel::core::store::{ItemKey, Space};
use semel::prelude::*;
use semel::sqlite::Sqlite;
use semel::{AtLeastOnce, Envelope};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Asks for money.
#[derive(Serialize, Deserialize, Message)]
#[message(type = "payment.charge", entity = order)]
pub(crate) struct Charge {
    pub(crate) order: String,
    pub(crate) pence: u64,
}

/// A message that the endpoint `payments` does not know.
#[derive(Serialize, Deserialize, Message)]
#[message(type = "payment.riddle", entity = order)]
pub(crate) struct Riddle {
    pub(crate) order: String,
}

/// What the endpoint `payments` remembers of an order.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Account {
    pub(crate) charges: u64,
}

/// How the bank behaves.
#[derive(Clone, Copy)]
pub(crate) enum Bank {
    /// It takes the money.
    Open,
    /// It refuses for good.
    Closed,
}

/// Why a closed bank refuses: with a line break and a character that steers terminals.
pub(crate) const CLOSED: &str = "the bank is closed\nsee \u{1b}[31mits door";

/// A store in a folder of its own.
pub(crate) struct Shop {
    folder: tempfile::TempDir,
}

impl Shop {
    /// An empty store.
    pub(crate) fn new() -> Self {
        let shop = Self { folder: tempfile::tempdir().unwrap() };
        drop(shop.backend());
        shop
    }

    /// A store with one dead letter, refused by the bank, and its number.
    pub(crate) async fn with_a_dead_letter() -> (Self, i64) {
        let shop = Self::new();
        shop.charge(1).await;
        shop.work(Bank::Closed).await;
        let number = shop.numbers()[0];
        (shop, number)
    }

    pub(crate) fn path(&self) -> String {
        self.folder.path().join("shop.db").display().to_string()
    }

    pub(crate) fn url(&self) -> String {
        format!("sqlite:{}", self.path())
    }

    pub(crate) fn backend(&self) -> Backend {
        Backend::in_one(Arc::new(Sqlite::open(self.path()).unwrap()))
    }

    /// Asks for the money of an order; the order's number is the identity of the message.
    pub(crate) async fn charge(&self, order: u32) {
        self.charge_all(order..=order).await;
    }

    /// The same for many orders.
    pub(crate) async fn charge_all(&self, orders: RangeInclusive<u32>) {
        let backend = self.backend();
        for order in orders.map(|order| order.to_string()) {
            let charge = Charge { order: order.clone(), pence: 250 };
            backend.send_as(&order, "payments", charge).await.unwrap();
        }
    }

    /// Sends an envelope as it is.
    pub(crate) async fn send(&self, endpoint: &str, envelope: Envelope) {
        let to = Destination::Endpoint(endpoint.to_owned());
        let outgoing = Outgoing { to, envelope, delay: std::time::Duration::ZERO };
        let sent = self.backend().broker().send(vec![outgoing]).await;
        assert!(matches!(sent[..], [SendOutcome::Sent]), "{sent:?}");
    }

    /// Serves the endpoint `payments` until nothing is left to do.
    pub(crate) async fn work(&self, bank: Bank) {
        self.serve(payments(bank)).await;
    }

    /// The same under a protocol that remembers nothing.
    pub(crate) async fn work_forgetfully(&self, bank: Bank) {
        self.serve(payments(bank).protocol(AtLeastOnce)).await;
    }

    async fn serve(&self, endpoint: Endpoint) {
        let host = Host::new(self.backend()).worker("till 1").endpoint(endpoint);
        host.run_until_idle().await.unwrap();
    }

    /// How often an order was charged.
    pub(crate) async fn charges(&self, order: u32) -> u64 {
        let key = ItemKey::new(Space::Entity, "payments", order.to_string());
        let item = self.backend().store().read(&key).await.unwrap();
        item.map_or(0, |item| serde_json::from_slice::<Account>(&item.value).unwrap().charges)
    }

    /// The numbers of the dead letters, as `list` tells them.
    pub(crate) fn numbers(&self) -> Vec<i64> {
        let list = semel(&["dead-letters", "list", &self.url(), "--json"]).json();
        let letters = list["dead_letters"].as_array().unwrap();
        letters.iter().map(|letter| letter["number"].as_i64().unwrap()).collect()
    }

    /// Changes the file behind the program's back.
    pub(crate) fn sql(&self, sql: &str) {
        rusqlite::Connection::open(self.path()).unwrap().execute_batch(sql).unwrap();
    }
}

pub(crate) fn payments(bank: Bank) -> Endpoint {
    let charge = move |account: &mut Account, _: Charge, _: &mut Context| match bank {
        Bank::Open => {
            account.charges += 1;
            Ok(())
        }
        Bank::Closed => Err(Failure::dead_letter(CLOSED)),
    };
    Endpoint::new("payments").subscribe(charge)
}

/// What a run of the program left behind.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    pub(crate) fn of(output: Output) -> Self {
        Self {
            code: output.status.code().expect("no signal"),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// The document on the standard output.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The document on the standard error stream.
    pub(crate) fn error_json(&self) -> Value {
        serde_json::from_str(&self.stderr).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The error as one line, however it was wrapped.
    pub(crate) fn error_line(&self) -> String {
        self.stderr.replace('│', " ").split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

/// The program with its arguments, ready to start.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_semel"));
    command.args(arguments).stdin(Stdio::null());
    command
}

/// Runs the program.
pub(crate) fn semel(arguments: &[&str]) -> Run {
    Run::of(command(arguments).output().unwrap())
}

/// Checks that the program ended well, and returns what it wrote.
pub(crate) fn fine(arguments: &[&str]) -> String {
    let run = semel(arguments);
    assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{run:?}");
    run.stdout
}
