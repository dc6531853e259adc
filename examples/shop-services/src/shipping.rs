//! Shipping: sends parcels. A Porsche is sent twice only if this service is asked twice.

use semel::{Context, Endpoint};
use serde::{Deserialize, Serialize};

use crate::SHIPPING;
use crate::messages::{Ship, Shipped};

/// One parcel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parcel {
    /// By which the customer can follow it.
    pub tracking: String,
    /// How many pieces it holds.
    pub pieces: u64,
    /// When it was sent.
    pub at: String,
}

/// The parcels of one order.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Consignment {
    /// One, if all is well.
    pub parcels: Vec<Parcel>,
}

/// The service.
pub fn endpoint() -> Endpoint {
    Endpoint::new(SHIPPING).handle(ship)
}

fn ship(consignment: &mut Consignment, message: Ship, ctx: &mut Context) {
    let tracking = ctx.new_id().to_string();
    let at = ctx.now().to_string();
    consignment.parcels.push(Parcel { tracking, pieces: message.pieces, at });
    ctx.publish(Shipped { order: message.order });
}
