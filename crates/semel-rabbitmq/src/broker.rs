//! The queues as a broker.

use std::time::Duration;

use async_trait::async_trait;
use semel_core::broker::{
    BrokerLimits, Delivery, Lease, Ordering, Outgoing, QueueAge, Receipt, Receive, Registration,
    SendOutcome, SettleOutcome, Settlement, Subscribers,
};
use semel_core::{Broker, StoreError};

use crate::{RabbitMq, taking};

#[async_trait]
impl Broker for RabbitMq {
    fn limits(&self) -> BrokerLimits {
        BrokerLimits {
            message_bytes_max: self.place.message_bytes_max,
            receive_max: taking::RECEIVE_MAX,
            ordering: Ordering::None,
            subscribers: Subscribers::Listed,
            queue_age: QueueAge::Untold,
        }
    }

    async fn register(&self, registration: &Registration) -> Result<(), StoreError> {
        self.place.register(registration).await
    }

    async fn receive(&self, request: &Receive) -> Result<Vec<Delivery>, StoreError> {
        self.place.receive(request).await
    }

    async fn extend(
        &self,
        receipts: &[Receipt],
        lease: Duration,
    ) -> Result<Vec<Lease>, StoreError> {
        let mut leases = Vec::with_capacity(receipts.len());
        for receipt in receipts {
            leases.push(self.place.extend(receipt, lease).await?);
        }
        Ok(leases)
    }

    async fn settle(&self, receipt: &Receipt, settlement: Settlement) -> SettleOutcome {
        self.place.settle(receipt, settlement).await
    }

    async fn subscribers(&self, kind: &str) -> Result<Vec<String>, StoreError> {
        self.place.subscribers(kind).await
    }

    async fn send(&self, messages: Vec<Outgoing>) -> Vec<SendOutcome> {
        self.place.send(messages).await
    }
}
