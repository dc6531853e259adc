//! The core of Semel: messages, handlers, effects, protocols and the host, without any adapter.
//!
//! Users take the `semel` crate, which re-exports what a service needs. Adapters and protocols are
//! written against this one:
//!
//! - [`store`] and [`broker`]: the contracts of the places that keep state and messages;
//! - [`envelope`] and [`message`]: what travels;
//! - [`handler`] and [`context`]: the user's function and what it may declare;
//! - [`designs`]: states whose changes may be repeated and reordered;
//! - [`protocols`]: how a delivery becomes one state change and its effects;
//! - [`endpoint`] and [`host`]: who receives, retries, dead-letters and drains.

#![warn(missing_docs, clippy::print_stdout, clippy::print_stderr)]

pub mod backend;
pub mod broker;
pub mod context;
pub mod designs;
pub mod endpoint;
pub mod envelope;
pub mod failure;
pub mod handler;
pub mod host;
pub mod ids;
pub mod message;
pub mod operator;
mod property;
pub mod protocols;
pub mod retry;
pub mod store;
pub mod time;

pub use backend::Backend;
pub use broker::Broker;
pub use context::Context;
pub use endpoint::{Endpoint, Settings};
pub use envelope::{Envelope, EnvelopeError, Extension};
pub use failure::{Failure, HandlerResult, Verdict};
pub use host::{Host, HostError};
pub use ids::{Entropy, SystemEntropy};
pub use message::{Keyed, Message, Order};
pub use property::Property;
pub use store::{Store, StoreError};
pub use time::{Clock, ManualClock, SystemClock, Timestamp};
