//! The contract of a store that also holds the queue: receive, state and sends can be one batch.
//!
//! Before a store whose queue is elsewhere, each of these functions asserts that it refuses
//! `Enqueue` and `Settle` as [`Trouble::Unsupported`](semel_core::store::Trouble::Unsupported), with
//! nothing written.

mod atomic;
mod handle;
mod leases;
mod operating;
mod races;
mod sends;
mod settlements;

pub use atomic::*;
pub use leases::*;
pub use operating::*;
pub use races::*;
pub use sends::*;
pub use settlements::*;
