//! The contract of [`Broker`](semel_core::Broker).

mod arrival;
pub(crate) mod handle;
mod leases;
mod order;
mod races;
mod receiving;
mod sending;
mod settling;
mod stale;
mod subscribers;
mod subscriptions;

pub use arrival::*;
pub use leases::*;
pub use order::*;
pub use races::*;
pub use receiving::*;
pub use sending::*;
pub use settling::*;
pub use stale::*;
pub use subscribers::*;
pub use subscriptions::*;
