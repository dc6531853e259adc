//! What the services say to each other.

use semel::Message;
use serde::{Deserialize, Serialize};

/// The edge to Orders: a person submitted a cart.
#[derive(Clone, Debug, Serialize, Deserialize, Message)]
#[message(type = "shop.order.place", entity = order)]
pub struct PlaceOrder {
    /// The order it is about.
    pub order: String,
    /// What the customer calls it: the number of the invoice.
    pub reference: String,
    /// `None` is a guest.
    pub customer: Option<String>,
    /// What it costs.
    pub total_pence: i64,
    /// How many pieces the parcel holds.
    pub pieces: u64,
}

/// The edge to Orders: a person changed their mind.
#[derive(Clone, Debug, Serialize, Deserialize, Message)]
#[message(type = "shop.order.cancel", entity = order)]
pub struct CancelOrder {
    /// The order it is about.
    pub order: String,
}

/// The edge to Payments: goods came back, without saying from which order.
#[derive(Clone, Debug, Serialize, Deserialize, Message)]
#[message(type = "shop.credit-note.pay-out", entity = credit_note)]
pub struct PayOut {
    /// The credit note it is about.
    pub credit_note: String,
    /// What the customer calls it.
    pub reference: String,
    /// `None` is a guest.
    pub customer: Option<String>,
    /// How much.
    pub pence: i64,
}

/// Orders to Payments: take the money.
#[derive(Clone, Debug, Serialize, Deserialize, Message)]
#[message(type = "shop.payment.charge", entity = order)]
pub struct Charge {
    /// The order it is about.
    pub order: String,
    /// `None` is a guest.
    pub customer: Option<String>,
    /// How much.
    pub pence: i64,
}

/// Orders to Payments: give the money back.
#[derive(Clone, Debug, Serialize, Deserialize, Message)]
#[message(type = "shop.payment.refund", entity = order)]
pub struct Refund {
    /// The order it is about.
    pub order: String,
    /// How much.
    pub pence: i64,
}

/// Payments to whom it may concern: money was taken.
#[derive(Clone, Debug, Serialize, Deserialize, Message)]
#[message(type = "shop.payment.taken", entity = order)]
pub struct PaymentTaken {
    /// The order it is about.
    pub order: String,
    /// `None` is a guest.
    pub customer: Option<String>,
    /// How much.
    pub pence: i64,
}

/// Orders to Shipping: pack it and send it.
#[derive(Clone, Debug, Serialize, Deserialize, Message)]
#[message(type = "shop.parcel.ship", entity = order)]
pub struct Ship {
    /// The order it is about.
    pub order: String,
    /// How many pieces the parcel holds.
    pub pieces: u64,
}

/// Shipping to whom it may concern: it is on its way.
#[derive(Clone, Debug, Serialize, Deserialize, Message)]
#[message(type = "shop.parcel.shipped", entity = order)]
pub struct Shipped {
    /// The order it is about.
    pub order: String,
}
