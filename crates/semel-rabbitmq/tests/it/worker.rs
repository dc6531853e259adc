//! One handle, with calls that say what they expect.

use std::sync::Arc;
use std::time::Duration;

use semel_core::broker::{
    DeadReason, Delivery, Destination, FailureRecord, Outgoing, Receive, SendOutcome,
    SettleOutcome, Settlement,
};
use semel_core::{Broker as _, Envelope, StoreError, Timestamp};
use semel_rabbitmq::{Options, RabbitMq};

/// A lease that no test outlives.
pub(crate) const LONG: Duration = Duration::from_secs(120);

#[derive(Clone)]
pub(crate) struct Worker(pub(crate) Arc<RabbitMq>);

impl Worker {
    pub(crate) async fn connect(address: &str, prefix: &str) -> Self {
        let patience = Duration::from_secs(20);
        Self::connect_with(address, Options { patience, ..options(prefix) }).await
    }

    pub(crate) async fn connect_with(address: &str, options: Options) -> Self {
        match RabbitMq::connect(address, options).await {
            Ok(handle) => Self(Arc::new(handle)),
            Err(error) => panic!("{error}"),
        }
    }

    pub(crate) async fn try_send(&self, endpoint: &str, envelope: Envelope) -> SendOutcome {
        let to = Destination::Endpoint(endpoint.to_owned());
        let outgoing = Outgoing { to, envelope, delay: Duration::ZERO };
        self.0.send(vec![outgoing]).await.pop().unwrap()
    }

    pub(crate) async fn send(&self, endpoint: &str, id: &str) {
        let outcome = self.try_send(endpoint, message(id)).await;
        assert!(matches!(outcome, SendOutcome::Sent), "{outcome:?}");
    }

    pub(crate) async fn try_receive(
        &self,
        endpoint: &str,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<Delivery>, StoreError> {
        let endpoint = endpoint.to_owned();
        self.0.receive(&Receive { endpoint, max, lease: LONG, wait }).await
    }

    /// The next message, which must come within some seconds.
    pub(crate) async fn next(&self, endpoint: &str) -> Delivery {
        let received = self.try_receive(endpoint, 1, Duration::from_secs(20)).await;
        received.unwrap().pop().unwrap_or_else(|| panic!("nothing came to {endpoint}"))
    }

    pub(crate) async fn settle(&self, delivery: &Delivery, settlement: Settlement) {
        let outcome = self.0.settle(&delivery.receipt, settlement).await;
        assert!(matches!(outcome, SettleOutcome::Settled), "{outcome:?}");
    }
}

pub(crate) fn options(prefix: &str) -> Options {
    Options { prefix: prefix.to_owned(), ..Options::default() }
}

pub(crate) fn message(id: &str) -> Envelope {
    Envelope::new(id, "/shop", "order.placed", br#"{"total":3}"#.as_slice())
}

pub(crate) fn failure(reason: impl Into<String>) -> FailureRecord {
    let (reason, worker) = (reason.into(), "worker-1".to_owned());
    FailureRecord { at: Timestamp::from_unix_ms(1_798_135_200_000), reason, worker }
}

pub(crate) fn dead(reason: DeadReason) -> Settlement {
    Settlement::DeadLetter { reason, failure: failure("it is dead"), entity: None }
}

pub(crate) fn id_of(delivery: &Delivery) -> String {
    delivery.envelope.as_ref().unwrap().id.clone()
}
