//! Exactly-once message processing, without distributed transactions.
//!
//! This is the crate that services use. See the
//! [README](https://docs.rs/semel) for the first program, and [`Host`] for how it runs.

#![warn(missing_docs, clippy::print_stdout, clippy::print_stderr)]

#[cfg(feature = "check")]
pub use semel_check as check;
#[doc(no_inline)]
pub use semel_core as core;
pub use semel_core::broker::DeadReason;
pub use semel_core::designs;
#[doc(no_inline)]
pub use semel_core::protocols;
pub use semel_core::protocols::{AtLeastOnce, Transactional};
pub use semel_core::retry::RetryPolicy;
pub use semel_core::{
    Backend, Clock, Context, Endpoint, Entropy, Envelope, Failure, Host, HostError, Keyed,
    ManualClock, Message, Order, Settings, StoreError, SystemClock, SystemEntropy, Timestamp,
};
pub use semel_derive::Message;
#[cfg(feature = "http")]
pub use semel_http as http;
#[cfg(feature = "nats")]
pub use semel_nats as nats;
#[cfg(feature = "postgres")]
pub use semel_postgres as postgres;
#[cfg(feature = "rabbitmq")]
pub use semel_rabbitmq as rabbitmq;
#[cfg(feature = "sqlite")]
pub use semel_sqlite as sqlite;

mod url;

pub use url::{OpenError, open, open_apart, open_existing, open_existing_apart};

/// What most services import.
pub mod prelude {
    pub use crate::{Backend, Context, Endpoint, Failure, Host, Keyed, Message};
}

// The code in the decision records is compiled, so that it stays true.
#[cfg(doctest)]
mod records {
    #[doc = include_str!("../../../docs/decisions/0001-store-and-broker-are-object-safe.md")]
    struct StoreAndBroker;
    #[doc = include_str!("../../../docs/decisions/0002-a-handler-is-a-plain-function.md")]
    struct Handler;
}

// So is the code on the page about PostgreSQL.
#[cfg(all(doctest, feature = "postgres"))]
#[doc = include_str!("../../../docs/postgres.md")]
struct OnPostgres;
