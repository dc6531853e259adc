//! What teams use today instead, as models to compare with. **Not for use.**
//!
//! Each is a small protocol that does what its original does to state, messages and its own memory,
//! as far as a store and a queue of Semel allow, so that the checker can run it. What it leaves out
//! is said in its documentation. None ships: for that, see `semel_core::protocols`.
//!
//! Each is judged as its users take it, by all properties. None has a step for a message that is
//! parked or discarded: no original has.

mod broker_window;
mod idempotency_key;
mod inbox_table;
mod kit;
mod swept_outbox;
mod two_phase;

pub use broker_window::BrokerWindow;
pub use idempotency_key::IdempotencyKey;
pub use inbox_table::InboxTable;
pub use swept_outbox::SweptOutbox;
pub use two_phase::TwoPhase;

/// What the partitions begin with in which a model keeps what its broker remembers: in the original
/// this costs the store nothing.
pub const BROKER: &str = "broker of ";
