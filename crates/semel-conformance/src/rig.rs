//! What an adapter's test hands over.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use semel_core::operator::Operator;
use semel_core::{Broker, Store};

/// A fresh, empty place: a file, a schema, a prefix, a simulated server.
///
/// Every function of this crate takes a rig of its own, so that none sees what another left.
/// Nothing is skipped where adapters differ: what a store or broker offers is read from its limits,
/// what its server needs is answered here.
#[async_trait]
pub trait Rig: Send + Sync {
    /// Lets `span` pass at the place: a rig with a manual clock advances it, a rig before a real
    /// server sleeps.
    async fn pass(&self, span: Duration);

    /// The unit in which the functions count leases, delays and windows.
    ///
    /// It must be longer than a dozen calls take, and a span that the server tells apart; a rig
    /// that really sleeps wants it short.
    fn tick(&self) -> Duration {
        Duration::from_secs(1)
    }
}

/// A place that holds items.
#[async_trait]
pub trait StoreRig: Rig {
    /// Opens another handle to the same place, as another process would: with a connection, a
    /// cache and a writer of its own.
    async fn store(&self) -> Arc<dyn Store>;
}

/// A place that holds queues.
#[async_trait]
pub trait BrokerRig: Rig {
    /// Opens another handle to the same place, as another process would.
    async fn broker(&self) -> Arc<dyn Broker>;

    /// How long a receive must wait to be sure of the messages that were there when it began.
    ///
    /// Nothing for a queue that one server keeps; a while where a short poll may miss messages.
    fn patience(&self) -> Duration {
        Duration::ZERO
    }
}

/// A place whose queues a person can look into.
#[async_trait]
pub trait OperatorRig: BrokerRig {
    /// Opens the operator's view of the same place, as another process would.
    async fn operator(&self) -> Arc<dyn Operator>;
}

/// A place that holds both items and queues, perhaps in one.
pub trait QueueRig: StoreRig + OperatorRig {}

impl<R: StoreRig + OperatorRig> QueueRig for R {}
