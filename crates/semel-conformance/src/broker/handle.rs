//! One handle to the broker under test, with calls that say what they expect.

use std::sync::Arc;
use std::time::Duration;

use semel_core::broker::{
    BrokerLimits, Delivery, Lease, Outgoing, Receipt, Receive, Registration, SendOutcome,
    SettleOutcome, Settlement,
};
use semel_core::{Broker, Envelope, StoreError};

use crate::BrokerRig;
use crate::sample::{KIND, to};
use crate::verdict::{broken, require, require_eq};

/// Of a lease that no test outlives, in ticks.
const LONG_TICKS: u32 = 200;

/// Of a lease that a test outlives, in ticks.
const SHORT_TICKS: u32 = 5;

/// One handle to the broker under test.
#[derive(Clone)]
pub(crate) struct QueueHandle<'r> {
    pub(crate) rig: &'r dyn BrokerRig,
    pub(crate) broker: Arc<dyn Broker>,
}

impl<'r> QueueHandle<'r> {
    pub(crate) async fn open(rig: &'r dyn BrokerRig) -> Self {
        Self { rig, broker: rig.broker().await }
    }

    pub(crate) fn limits(&self) -> BrokerLimits {
        self.broker.limits()
    }

    pub(crate) fn ticks(&self, ticks: u32) -> Duration {
        self.rig.tick() * ticks
    }

    pub(crate) async fn pass(&self, ticks: u32) {
        self.rig.pass(self.ticks(ticks)).await;
    }

    /// A lease that no test outlives.
    pub(crate) fn long(&self) -> Duration {
        self.ticks(LONG_TICKS)
    }

    /// A lease that [`outlive`](Self::outlive) outlives.
    pub(crate) fn short(&self) -> Duration {
        self.ticks(SHORT_TICKS)
    }

    /// Lets short leases end.
    pub(crate) async fn outlive(&self) {
        self.pass(SHORT_TICKS + 1).await;
    }

    pub(crate) async fn register(&self, endpoint: &str, subscriptions: &[&str]) {
        let registration = Registration {
            endpoint: endpoint.to_owned(),
            protocol: "outbox".to_owned(),
            subscriptions: subscriptions.iter().map(|&kind| kind.to_owned()).collect(),
        };
        if let Err(error) = self.broker.register(&registration).await {
            broken("an endpoint can be registered", &error);
        }
    }

    /// Registers an endpoint that subscribes to the sample messages.
    pub(crate) async fn subscribe(&self, endpoint: &str) {
        self.register(endpoint, &[KIND]).await;
    }

    /// Sends messages, which must all be queued.
    pub(crate) async fn sends(&self, messages: Vec<Outgoing>) {
        let count = messages.len();
        let outcomes = self.broker.send(messages).await;
        require_eq("a send answers for each message", &outcomes.len(), &count);
        let sent = outcomes.iter().all(|outcome| matches!(outcome, SendOutcome::Sent));
        require("a message within the limits is sent", sent, &outcomes);
    }

    /// Sends one message at once.
    pub(crate) async fn send(&self, endpoint: &str, envelope: Envelope) {
        self.sends(vec![to(endpoint, envelope)]).await;
    }

    pub(crate) async fn try_receive(
        &self,
        endpoint: &str,
        max: usize,
        lease: Duration,
    ) -> Result<Vec<Delivery>, StoreError> {
        let endpoint = endpoint.to_owned();
        let request = Receive { endpoint, max, lease, wait: self.rig.patience() };
        self.broker.receive(&request).await
    }

    /// Receives what is there, at most `max`.
    pub(crate) async fn receive(
        &self,
        endpoint: &str,
        max: usize,
        lease: Duration,
    ) -> Vec<Delivery> {
        match self.try_receive(endpoint, max, lease).await {
            Ok(deliveries) => {
                let kept = deliveries.len() <= max;
                require("a receive takes at most `max` messages", kept, &ids(&deliveries));
                deliveries
            }
            Err(error) => broken("a receive from a broker that works succeeds", &error),
        }
    }

    /// Receives one message, which must be there.
    pub(crate) async fn next(&self, sentence: &str, endpoint: &str, lease: Duration) -> Delivery {
        match self.receive(endpoint, 1, lease).await.pop() {
            Some(delivery) => delivery,
            None => broken(sentence, &format_args!("nothing came to {endpoint}")),
        }
    }

    /// Receives the message `id`, which must be there and first.
    pub(crate) async fn takes(&self, sentence: &str, endpoint: &str, id: &str) -> Delivery {
        let delivery = self.next(sentence, endpoint, self.long()).await;
        require_eq(sentence, &id_of(&delivery).as_str(), &id);
        delivery
    }

    /// Asserts that nothing can be received.
    pub(crate) async fn nothing(&self, sentence: &str, endpoint: &str) {
        let deliveries = self.receive(endpoint, 10, self.long()).await;
        require(sentence, deliveries.is_empty(), &ids(&deliveries));
    }

    /// Receives all there is, in several receives, with long leases.
    pub(crate) async fn drain(&self, endpoint: &str) -> Vec<Delivery> {
        let mut drained = Vec::new();
        loop {
            let deliveries = self.receive(endpoint, 10, self.long()).await;
            if deliveries.is_empty() {
                return drained;
            }
            drained.extend(deliveries);
            require(
                "a leased message is not received by another",
                drained.len() < 10_000,
                &"more and more",
            );
        }
    }

    /// Settles a delivery, which must work.
    pub(crate) async fn settles(&self, sentence: &str, receipt: &Receipt, settlement: Settlement) {
        match self.broker.settle(receipt, settlement).await {
            SettleOutcome::Settled => {}
            other => broken(sentence, &other),
        }
    }

    /// Settles a delivery that is ours.
    pub(crate) async fn settle(&self, delivery: &Delivery, settlement: Settlement) {
        self.settles("a delivery can be settled under its lease", &delivery.receipt, settlement)
            .await;
    }

    /// Settles with a receipt that must have lost its power.
    pub(crate) async fn stale(&self, sentence: &str, receipt: &Receipt, settlement: Settlement) {
        let told = format!("{settlement:?}");
        match self.broker.settle(receipt, settlement).await {
            SettleOutcome::Stale => {}
            other => broken(sentence, &format_args!("{told}: {other:?}")),
        }
    }

    /// Extends leases; a broker that works answers for each receipt.
    pub(crate) async fn extend(&self, receipts: &[Receipt], lease: Duration) -> Vec<Lease> {
        match self.broker.extend(receipts, lease).await {
            Ok(leases) => {
                let each = "an extension answers for each receipt";
                require_eq(each, &leases.len(), &receipts.len());
                leases
            }
            Err(error) => broken("an extension by a broker that works succeeds", &error),
        }
    }

    /// Extends one lease, and asserts what it finds.
    pub(crate) async fn extends(
        &self,
        sentence: &str,
        receipt: &Receipt,
        lease: Duration,
        expected: Lease,
    ) {
        let leases = self.extend(std::slice::from_ref(receipt), lease).await;
        require_eq(sentence, &leases, &vec![expected]);
    }
}

/// The message of a delivery, which must be one.
pub(crate) fn envelope(delivery: &Delivery) -> &Envelope {
    match &delivery.envelope {
        Ok(envelope) => envelope,
        Err(error) => broken("an envelope that was sent arrives as one", error),
    }
}

/// The id of a delivery's message.
pub(crate) fn id_of(delivery: &Delivery) -> String {
    envelope(delivery).id.clone()
}

/// The ids of the deliveries' messages.
pub(crate) fn ids(deliveries: &[Delivery]) -> Vec<String> {
    deliveries.iter().map(id_of).collect()
}

/// Asserts how often a delivery's message was delivered and failed.
pub(crate) fn require_history(sentence: &str, delivery: &Delivery, deliveries: u32, failures: u32) {
    let seen = (delivery.deliveries, delivery.failure_count, delivery.failures.len());
    let expected = (deliveries, failures, failures.min(20) as usize);
    let told = "(deliveries, failure_count, failures)";
    require(sentence, seen == expected, &format_args!("{told} = {seen:?}, expected {expected:?}"));
}
