//! The cast of these worlds: an account, deposits into it, and an auditor outside who is told the
//! balance after each. The balance depends on everything before, so that effects of an attempt that
//! lost are told apart from those of the one that won.

use semel_core::{Context, Endpoint, Keyed, Message, Order};
use serde::{Deserialize, Serialize};

/// The endpoint that keeps the account.
pub(super) const ACCOUNTS: &str = "accounts";
/// Who is told. It is no endpoint of these worlds: what is sent there is visible, and that is all.
const AUDIT: &str = "audit";
/// The one account there is.
pub(super) const ALICE: &str = "alice";

/// Money for an account.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Deposit {
    account: String,
    /// What is written on the slip.
    slip: String,
    pence: i64,
}

impl Deposit {
    /// Money for the one account there is.
    pub(super) fn new(slip: &str, pence: i64) -> Self {
        Self { account: ALICE.to_owned(), slip: slip.to_owned(), pence }
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

/// The same, but in the order in which it was sent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct OrderedDeposit(pub(super) Deposit);

impl Message for OrderedDeposit {
    const TYPE: &'static str = "account.deposit-in-order";
    const ORDER: Order = Order::PerSubject;

    fn subject(&self) -> Option<String> {
        Some(self.key())
    }
}

impl Keyed for OrderedDeposit {
    fn key(&self) -> String {
        self.0.account.clone()
    }
}

/// Tells the auditor what was booked.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Booked {
    slip: String,
    balance_pence: i64,
}

impl Message for Booked {
    const TYPE: &'static str = "account.booked";
}

/// Tells the auditor what came in, which is the same in every attempt.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Received {
    slip: String,
}

impl Message for Received {
    const TYPE: &'static str = "account.received";
}

/// The account's state.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Account {
    pub(super) balance_pence: i64,
    /// The slips, in the order in which they were booked.
    pub(super) slips: Vec<String>,
}

impl Account {
    fn book(&mut self, deposit: Deposit, ctx: &mut Context) {
        self.balance_pence += deposit.pence;
        self.slips.push(deposit.slip.clone());
        ctx.send(AUDIT, Booked { slip: deposit.slip, balance_pence: self.balance_pence });
    }
}

fn deposit(account: &mut Account, message: Deposit, ctx: &mut Context) {
    account.book(message, ctx);
}

fn deposit_in_order(account: &mut Account, message: OrderedDeposit, ctx: &mut Context) {
    account.book(message.0, ctx);
}

/// Changes nothing the second time, and says the same whatever was booked before.
fn deposit_once(account: &mut Account, message: Deposit, ctx: &mut Context) {
    ctx.send(AUDIT, Received { slip: message.slip.clone() });
    if !account.slips.contains(&message.slip) {
        account.balance_pence += message.pence;
        account.slips.push(message.slip);
    }
}

fn deposit_once_in_order(account: &mut Account, message: OrderedDeposit, ctx: &mut Context) {
    deposit_once(account, message.0, ctx);
}

/// What a deposit costs since [`next_version`].
pub(super) const FEE_PENCE: i64 = 1;

fn deposit_for_a_fee(account: &mut Account, message: Deposit, ctx: &mut Context) {
    let fee = Deposit::new("fee", -FEE_PENCE);
    account.book(fee, ctx);
    account.book(message, ctx);
}

/// The account with handlers that ask nothing: whatever is processed twice is booked twice.
pub(super) fn naive() -> Endpoint {
    Endpoint::new(ACCOUNTS).handle(deposit).handle(deposit_in_order)
}

/// The next version of the naive one, which decides otherwise.
pub(super) fn next_version() -> Endpoint {
    Endpoint::new(ACCOUNTS).handle(deposit_for_a_fee).handle(deposit_in_order)
}

/// The account with handlers that are idempotent by themselves.
pub(super) fn idempotent() -> Endpoint {
    Endpoint::new(ACCOUNTS).handle(deposit_once).handle(deposit_once_in_order)
}
