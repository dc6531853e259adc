//! The business of the compared worlds: deposits add up, and each tells the new balance, so that
//! attempts on different states decide differently. The handlers ask nothing: whatever is processed
//! twice is booked twice.

use semel_core::{Context, Endpoint, Keyed, Message};
use serde::{Deserialize, Serialize};

/// Where deposits go.
pub(super) const ACCOUNTS: &str = "accounts";
/// Who is told of each.
pub(super) const LEDGER: &str = "ledger";
/// Whom the ledger tells. It is in no world.
pub(super) const AUDIT: &str = "audit";

/// Money for an account.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Deposit {
    account: String,
    pence: u64,
}

impl Deposit {
    pub(super) fn new(account: &str, pence: u64) -> Self {
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

/// Tells the balance of an account.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Booked {
    account: String,
    balance: u64,
}

impl Message for Booked {
    const TYPE: &'static str = "account.booked";
}

impl Keyed for Booked {
    fn key(&self) -> String {
        self.account.clone()
    }
}

/// The sum so far, at an account and in the ledger.
///
/// Whatever was added, it is as long: it begins at a number with many digits.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Sum {
    pence: u64,
}

impl Default for Sum {
    fn default() -> Self {
        Self { pence: 1_000_000_000_000_000 }
    }
}

/// What every deposit costs since the next version.
const FEE: u64 = 1;

fn deposit(sum: &mut Sum, message: Deposit, ctx: &mut Context) {
    sum.pence += message.pence;
    ctx.send(LEDGER, Booked { account: message.account, balance: sum.pence });
}

fn deposit_for_a_fee(sum: &mut Sum, message: Deposit, ctx: &mut Context) {
    sum.pence += message.pence - FEE;
    ctx.send(LEDGER, Booked { account: message.account, balance: sum.pence });
}

fn enter(sum: &mut Sum, message: Booked, ctx: &mut Context) {
    sum.pence += message.balance % 1_000;
    ctx.send(AUDIT, Booked { account: message.account, balance: sum.pence });
}

fn listen(sum: &mut Sum, message: Booked, _: &mut Context) {
    sum.pence += message.balance % 1_000;
}

/// The endpoint that keeps the accounts.
pub(super) fn accounts() -> Endpoint {
    Endpoint::new(ACCOUNTS).handle(deposit)
}

/// Its next version, which decides otherwise.
pub(super) fn accounts_for_a_fee() -> Endpoint {
    Endpoint::new(ACCOUNTS).handle(deposit_for_a_fee)
}

/// The endpoint that is told.
pub(super) fn ledger() -> Endpoint {
    Endpoint::new(LEDGER).handle(enter)
}

/// The endpoint that the ledger tells.
pub(super) fn audit() -> Endpoint {
    Endpoint::new(AUDIT).handle(listen)
}

/// How many bytes each of their states takes, as it is encoded.
pub(super) fn state_bytes() -> usize {
    serde_json::to_vec(&Sum::default()).map_or(0, |state| state.len())
}
