//! Shipping: sends parcels. A Porsche is sent twice only if this service is asked twice.

use semel::{Context, Endpoint};
use serde::{Deserialize, Serialize};

use super::SHIPPING;
use crate::messages::{Ship, Shipped};

/// One parcel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Parcel {
    pub(crate) tracking: String,
    pub(crate) pieces: u64,
    pub(crate) at: String,
}

/// The parcels of one order.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Consignment {
    pub(crate) parcels: Vec<Parcel>,
}

pub(crate) fn endpoint() -> Endpoint {
    Endpoint::new(SHIPPING).handle(ship)
}

fn ship(consignment: &mut Consignment, message: Ship, ctx: &mut Context) {
    let tracking = ctx.new_id().to_string();
    let at = ctx.now().to_string();
    consignment.parcels.push(Parcel { tracking, pieces: message.pieces, at });
    ctx.publish(Shipped { order: message.order });
}
