//! Orders: leads an order from its placement to the door.

use semel::{Context, Endpoint};
use serde::{Deserialize, Serialize};

use crate::messages::{CancelOrder, Charge, PaymentTaken, PlaceOrder, Refund, Ship, Shipped};
use crate::{ORDERS, PAYMENTS, SHIPPING};

/// How far an order has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Not placed yet: a message about it overtook the one that places it.
    #[default]
    Unknown,
    /// Placed, not paid.
    Placed,
    /// Paid and handed to Shipping.
    Charged,
    /// On its way.
    Shipped,
    /// Cancelled in time.
    Cancelled,
}

/// An order.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Order {
    /// What the customer calls it.
    pub reference: String,
    /// Whose it is; `None` is a guest.
    pub customer: Option<String>,
    /// What it costs.
    pub total_pence: i64,
    /// How many pieces the parcel holds.
    pub pieces: u64,
    /// How far it has come.
    pub status: Status,
    /// How often it was placed: once, if all is well.
    pub placements: u32,
}

/// The service.
pub fn endpoint() -> Endpoint {
    Endpoint::new(ORDERS).handle(place).handle(cancel).subscribe(payment_taken).subscribe(shipped)
}

fn place(order: &mut Order, message: PlaceOrder, ctx: &mut Context) {
    order.placements += 1;
    order.reference = message.reference;
    order.customer.clone_from(&message.customer);
    order.total_pence = message.total_pence;
    order.pieces = message.pieces;
    if order.status == Status::Cancelled {
        // The cancellation came first: nothing is charged.
        return;
    }
    order.status = Status::Placed;
    let (order, customer, pence) = (message.order, message.customer, message.total_pence);
    ctx.send(PAYMENTS, Charge { order, customer, pence });
}

fn cancel(order: &mut Order, _: CancelOrder, _: &mut Context) {
    match order.status {
        Status::Unknown | Status::Placed => order.status = Status::Cancelled,
        // Too late: the parcel is being packed. The customer can send it back.
        Status::Charged | Status::Shipped | Status::Cancelled => {}
    }
}

fn payment_taken(order: &mut Order, message: PaymentTaken, ctx: &mut Context) {
    if order.status == Status::Cancelled {
        ctx.send(PAYMENTS, Refund { order: message.order, pence: message.pence });
    } else {
        order.status = Status::Charged;
        ctx.send(SHIPPING, Ship { order: message.order, pieces: order.pieces });
    }
}

fn shipped(order: &mut Order, _: Shipped, _: &mut Context) {
    order.status = Status::Shipped;
}
