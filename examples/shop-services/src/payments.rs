//! Payments: takes money for orders, returns it, and pays out credit notes.

use semel::{Context, Endpoint};
use serde::{Deserialize, Serialize};

use crate::PAYMENTS;
use crate::messages::{Charge, PayOut, PaymentTaken, Refund};

/// A line of the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Booking {
    /// How much.
    pub pence: i64,
    /// When it was booked.
    pub at: String,
}

/// The ledger of one order or one credit note.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Account {
    /// Whose money it is; `None` is a guest.
    pub customer: Option<String>,
    /// What the customer calls the credit note; empty for an order.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub credit_note: String,
    /// Money taken.
    pub charges: Vec<Booking>,
    /// Money returned for a cancelled order.
    pub refunds: Vec<Booking>,
    /// Money paid out for a credit note.
    pub payouts: Vec<Booking>,
}

/// The service.
pub fn endpoint() -> Endpoint {
    Endpoint::new(PAYMENTS).handle(charge).handle(refund).handle(pay_out)
}

fn charge(account: &mut Account, message: Charge, ctx: &mut Context) {
    account.customer.clone_from(&message.customer);
    account.charges.push(booking(message.pence, ctx));
    let Charge { order, customer, pence } = message;
    ctx.publish(PaymentTaken { order, customer, pence });
}

fn refund(account: &mut Account, message: Refund, ctx: &mut Context) {
    account.refunds.push(booking(message.pence, ctx));
}

fn pay_out(account: &mut Account, message: PayOut, ctx: &mut Context) {
    account.customer = message.customer;
    account.credit_note = message.reference;
    account.payouts.push(booking(message.pence, ctx));
}

fn booking(pence: i64, ctx: &Context) -> Booking {
    Booking { pence, at: ctx.now().to_string() }
}
