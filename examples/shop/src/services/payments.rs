//! Payments: takes money for orders, returns it, and pays out credit notes.

use semel::{Context, Endpoint};
use serde::{Deserialize, Serialize};

use super::PAYMENTS;
use crate::messages::{Charge, PayOut, PaymentTaken, Refund};

/// A line of the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Booking {
    pub(crate) pence: i64,
    /// When it was booked.
    pub(crate) at: String,
}

/// The ledger of one order or one credit note.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Account {
    /// Whose money it is; `None` is a guest.
    pub(crate) customer: Option<String>,
    /// What the customer calls the credit note; empty for an order.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) credit_note: String,
    /// Money taken.
    pub(crate) charges: Vec<Booking>,
    /// Money returned for a cancelled order.
    pub(crate) refunds: Vec<Booking>,
    /// Money paid out for a credit note.
    pub(crate) payouts: Vec<Booking>,
}

pub(crate) fn endpoint() -> Endpoint {
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
