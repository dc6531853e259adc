//! What the services say to each other.

use semel::Message;
use serde::{Deserialize, Serialize};

/// The edge to Orders: a person submitted a cart.
#[derive(Clone, Debug, Serialize, Deserialize, Message)]
#[message(type = "shop.order.place", entity = order)]
pub(crate) struct PlaceOrder {
    pub(crate) order: String,
    /// What the customer calls it: the number of the invoice.
    pub(crate) reference: String,
    /// `None` is a guest.
    pub(crate) customer: Option<String>,
    pub(crate) total_pence: i64,
    /// How many pieces the parcel holds.
    pub(crate) pieces: u64,
}

/// The edge to Orders: a person changed their mind.
#[derive(Clone, Debug, Serialize, Deserialize, Message)]
#[message(type = "shop.order.cancel", entity = order)]
pub(crate) struct CancelOrder {
    pub(crate) order: String,
}

/// The edge to Payments: goods came back, without saying from which order.
#[derive(Clone, Debug, Serialize, Deserialize, Message)]
#[message(type = "shop.credit-note.pay-out", entity = credit_note)]
pub(crate) struct PayOut {
    pub(crate) credit_note: String,
    pub(crate) reference: String,
    pub(crate) customer: Option<String>,
    pub(crate) pence: i64,
}

/// Orders to Payments: take the money.
#[derive(Clone, Debug, Serialize, Deserialize, Message)]
#[message(type = "shop.payment.charge", entity = order)]
pub(crate) struct Charge {
    pub(crate) order: String,
    pub(crate) customer: Option<String>,
    pub(crate) pence: i64,
}

/// Orders to Payments: give the money back.
#[derive(Clone, Debug, Serialize, Deserialize, Message)]
#[message(type = "shop.payment.refund", entity = order)]
pub(crate) struct Refund {
    pub(crate) order: String,
    pub(crate) pence: i64,
}

/// Payments to whom it may concern: money was taken.
#[derive(Clone, Debug, Serialize, Deserialize, Message)]
#[message(type = "shop.payment.taken", entity = order)]
pub(crate) struct PaymentTaken {
    pub(crate) order: String,
    pub(crate) customer: Option<String>,
    pub(crate) pence: i64,
}

/// Orders to Shipping: pack it and send it.
#[derive(Clone, Debug, Serialize, Deserialize, Message)]
#[message(type = "shop.parcel.ship", entity = order)]
pub(crate) struct Ship {
    pub(crate) order: String,
    pub(crate) pieces: u64,
}

/// Shipping to whom it may concern: it is on its way.
#[derive(Clone, Debug, Serialize, Deserialize, Message)]
#[message(type = "shop.parcel.shipped", entity = order)]
pub(crate) struct Shipped {
    pub(crate) order: String,
}
