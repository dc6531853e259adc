//! The queues as a broker.

use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use semel_core::broker::{
    BrokerLimits, Delivery, Lease, Ordering, Outgoing, QueueAge, Receipt, Receive, Registration,
    SendOutcome, SettleOutcome, Settlement, Subscribers,
};
use semel_core::{Broker, StoreError};

use crate::{Nats, RECEIVE_MAX};

#[async_trait]
impl Broker for Nats {
    fn limits(&self) -> BrokerLimits {
        BrokerLimits {
            message_bytes_max: self.message_bytes_max(),
            receive_max: RECEIVE_MAX,
            ordering: Ordering::None,
            subscribers: Subscribers::Listed,
            queue_age: QueueAge::Told,
        }
    }

    async fn register(&self, registration: &Registration) -> Result<(), StoreError> {
        self.queue("register", &registration.endpoint).await?;
        self.enter(registration).await?;
        if let Err(error) = self.sweep(&registration.endpoint).await {
            tracing::warn!(%error, "what crashed workers left is swept at the next start");
        }
        Ok(())
    }

    async fn receive(&self, request: &Receive) -> Result<Vec<Delivery>, StoreError> {
        self.removals.wake();
        let queue = self.queue("receive", &request.endpoint).await?;
        if request.max == 0 {
            return Ok(Vec::new());
        }
        self.receive_from(&queue, request).await
    }

    async fn extend(
        &self,
        receipts: &[Receipt],
        lease: Duration,
    ) -> Result<Vec<Lease>, StoreError> {
        let extensions = receipts.iter().map(|receipt| self.extend_held(receipt, lease));
        join_all(extensions).await.into_iter().collect()
    }

    async fn settle(&self, receipt: &Receipt, settlement: Settlement) -> SettleOutcome {
        self.settle_held(receipt, &settlement).await
    }

    async fn subscribers(&self, kind: &str) -> Result<Vec<String>, StoreError> {
        self.subscribers_of(kind).await
    }

    async fn send(&self, messages: Vec<Outgoing>) -> Vec<SendOutcome> {
        self.send_all(&messages).await
    }
}
