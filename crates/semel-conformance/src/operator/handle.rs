//! One operator's view of the place under test, beside a handle to its queues.

use std::sync::Arc;

use semel_core::Envelope;
use semel_core::broker::{DeadReason, Delivery};
use semel_core::operator::{DeadLetter, DeadLetterFilter, EndpointReport, Operator, Report};

use crate::OperatorRig;
use crate::broker::handle::QueueHandle;
use crate::sample::{dead_letter, message, retry};
use crate::verdict::broken;

/// An operator, and a worker at the same place.
pub(crate) struct OperatorHandle<'r> {
    pub(crate) operator: Arc<dyn Operator>,
    pub(crate) queue: QueueHandle<'r>,
}

impl<'r> OperatorHandle<'r> {
    pub(crate) async fn open(rig: &'r dyn OperatorRig) -> Self {
        Self { operator: rig.operator().await, queue: QueueHandle::open(rig).await }
    }

    pub(crate) async fn list(
        &self,
        endpoint: Option<&str>,
        after: i64,
        limit: usize,
    ) -> Vec<DeadLetter> {
        let filter = DeadLetterFilter { endpoint: endpoint.map(str::to_owned), after, limit };
        match self.operator.dead_letters(&filter).await {
            Ok(letters) => letters,
            Err(error) => broken("the dead letters of a place that works are listed", &error),
        }
    }

    pub(crate) async fn find(&self, number: i64) -> Option<DeadLetter> {
        match self.operator.dead_letter(number).await {
            Ok(letter) => letter,
            Err(error) => broken("a dead letter of a place that works is found", &error),
        }
    }

    /// The only dead letter of an endpoint.
    pub(crate) async fn only(&self, endpoint: &str) -> DeadLetter {
        let mut letters = self.list(Some(endpoint), 0, 10).await;
        match (letters.pop(), letters.is_empty()) {
            (Some(letter), true) => letter,
            (letter, _) => broken("a dead letter is listed, once", &(letter, letters)),
        }
    }

    pub(crate) async fn inspect(&self) -> Report {
        match self.operator.inspect().await {
            Ok(report) => report,
            Err(error) => broken("a place that works can be inspected", &error),
        }
    }

    /// What the report says of an endpoint; nothing where it does not mention it.
    pub(crate) async fn report(&self, endpoint: &str) -> EndpointReport {
        self.inspect().await.endpoints.remove(endpoint).unwrap_or_default()
    }

    /// Sends a message and receives it, under a lease that no test outlives.
    pub(crate) async fn delivery(&self, endpoint: &str, envelope: Envelope) -> Delivery {
        self.queue.send(endpoint, envelope).await;
        let sentence = "a message that was sent is delivered";
        self.queue.next(sentence, endpoint, self.queue.long()).await
    }

    /// Makes a dead letter: sent, delivered and parked at once.
    pub(crate) async fn park(&self, endpoint: &str, id: &str, reason: DeadReason) -> Delivery {
        let delivery = self.delivery(endpoint, message(id)).await;
        self.queue.settle(&delivery, dead_letter(reason, 1)).await;
        delivery
    }

    /// Makes a dead letter with a history: its failures 1 and 2 were retried, the third parked it.
    pub(crate) async fn park_after_retries(&self, endpoint: &str, envelope: Envelope) {
        let mut delivery = self.delivery(endpoint, envelope).await;
        for number in [1, 2] {
            self.queue.settle(&delivery, retry(number)).await;
            let sentence = "a retried message comes again";
            delivery = self.queue.next(sentence, endpoint, self.queue.long()).await;
        }
        self.queue.settle(&delivery, dead_letter(DeadReason::HandlerFailed, 3)).await;
    }
}
