//! The services of the shop. Each keeps its own entities and talks to the others by messages only.
//!
//! Their states are their ledgers. The handlers are naive on purpose: none asks whether it has
//! seen a message before, so that whatever is processed twice stands in the books twice.

pub(crate) mod marketing;
pub(crate) mod orders;
pub(crate) mod payments;
pub(crate) mod shipping;

use semel::Endpoint;

/// The names of the endpoints.
pub(crate) const ORDERS: &str = "orders";
/// Takes and returns money.
pub(crate) const PAYMENTS: &str = "payments";
/// Sends parcels.
pub(crate) const SHIPPING: &str = "shipping";
/// Gives coupons.
pub(crate) const MARKETING: &str = "marketing";

/// Every service as an endpoint.
pub(crate) fn all() -> Vec<Endpoint> {
    vec![orders::endpoint(), payments::endpoint(), shipping::endpoint(), marketing::endpoint()]
}
