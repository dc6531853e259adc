//! The services of the shop. Each keeps its own entities and talks to the others by messages only.
//!
//! Their states are their ledgers. The handlers are naive on purpose: none asks whether it has
//! seen a message before, so that whatever is processed twice stands in the books twice.

#![warn(missing_docs)]

pub mod marketing;
pub mod messages;
pub mod orders;
pub mod payments;
pub mod shipping;

use semel::Endpoint;

/// The endpoint that leads orders from their placement to the door.
pub const ORDERS: &str = "orders";
/// The endpoint that takes and returns money.
pub const PAYMENTS: &str = "payments";
/// The endpoint that sends parcels.
pub const SHIPPING: &str = "shipping";
/// The endpoint that gives coupons.
pub const MARKETING: &str = "marketing";

/// Every service as an endpoint.
pub fn all() -> Vec<Endpoint> {
    vec![orders::endpoint(), payments::endpoint(), shipping::endpoint(), marketing::endpoint()]
}
