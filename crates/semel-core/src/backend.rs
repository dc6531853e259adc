//! The places that a service works on, together.

use std::sync::Arc;
use std::time::Duration;

use crate::broker::{Destination, SendOutcome};
use crate::context::MessageEffect;
use crate::operator::{Operator, WithBooks};
use crate::protocols::Places;
use crate::store::{QueueHome, Trouble};
use crate::{Broker, Clock, Entropy, Message, Store, StoreError, SystemClock, SystemEntropy, ids};

/// A store, a broker, and what goes with them. Cheap to clone.
#[derive(Clone)]
pub struct Backend {
    store: Arc<dyn Store>,
    broker: Arc<dyn Broker>,
    operator: Arc<dyn Operator>,
    queue: QueueHome,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl std::fmt::Debug for Backend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Backend")
            .field("store", &self.store)
            .field("broker", &self.broker)
            .field("queue", &self.queue)
            .finish_non_exhaustive()
    }
}

impl Backend {
    /// One place that keeps both state and queue: receive, state and sends are one write.
    pub fn in_one<T: Store + Broker + Operator>(place: Arc<T>) -> Self {
        Self {
            store: place.clone(),
            broker: place.clone(),
            operator: place,
            queue: QueueHome::Inside,
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
        }
    }

    /// A store, and a broker elsewhere.
    pub fn apart<B: Broker + Operator>(store: Arc<dyn Store>, broker: Arc<B>) -> Self {
        Self {
            store,
            broker: broker.clone(),
            operator: broker,
            queue: QueueHome::Elsewhere,
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
        }
    }

    /// The same, where a person sees what the store counts as well: what is remembered of processed
    /// messages, the backlog of the finisher, tokens and entities. A broker elsewhere knows nothing
    /// of these.
    #[must_use]
    pub fn with_books(mut self, store: Arc<dyn Operator>) -> Self {
        self.operator = Arc::new(WithBooks { queues: self.operator, store });
        self
    }

    /// The same with another store and broker around the ones it has: a wrapper that counts, or
    /// one that injects faults.
    #[must_use]
    pub fn wrapped(
        mut self,
        store: impl FnOnce(Arc<dyn Store>) -> Arc<dyn Store>,
        broker: impl FnOnce(Arc<dyn Broker>) -> Arc<dyn Broker>,
    ) -> Self {
        self.store = store(self.store);
        self.broker = broker(self.broker);
        self
    }

    /// The same with another clock.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// The same with another source of randomness.
    #[must_use]
    pub fn with_entropy(mut self, entropy: Arc<dyn Entropy>) -> Self {
        self.entropy = entropy;
        self
    }

    /// The store.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The broker.
    pub fn broker(&self) -> &Arc<dyn Broker> {
        &self.broker
    }

    /// The view of a person who operates the services.
    pub fn operator(&self) -> &Arc<dyn Operator> {
        &self.operator
    }

    /// Whether the broker's queue lives in the store.
    pub fn queue(&self) -> QueueHome {
        self.queue
    }

    /// The clock.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// The source of randomness.
    pub fn entropy(&self) -> &Arc<dyn Entropy> {
        &self.entropy
    }

    /// The same places, borrowed, as protocols take them.
    pub fn places(&self) -> Places<'_> {
        Places {
            store: &*self.store,
            broker: &*self.broker,
            queue: self.queue,
            clock: &*self.clock,
            entropy: &*self.entropy,
        }
    }

    /// Sends a message from outside, under a new identity.
    ///
    /// Fails if the message may not have been queued. Sending it again then may queue it twice:
    /// where that matters, give it an identity of its own with [`send_as`](Self::send_as).
    pub async fn send<M: Message>(&self, endpoint: &str, message: M) -> Result<(), StoreError> {
        let id = ids::mint(&*self.clock, &*self.entropy).to_string();
        self.send_as(&id, endpoint, message).await
    }

    /// Sends a message from outside under an identity that the caller chose: sent twice, it is
    /// processed once.
    pub async fn send_as<M: Message>(
        &self,
        id: &str,
        endpoint: &str,
        message: M,
    ) -> Result<(), StoreError> {
        let to = Destination::Endpoint(endpoint.to_owned());
        let effect = MessageEffect::new(to, &message, Duration::ZERO).map_err(|failure| {
            self.send_error(Trouble::Unsupported, failure.reason(), "Mend its Serialize.")
        })?;
        let outgoing = effect.into_outgoing(id.to_owned(), "/outside".to_owned(), self.clock.now());
        outgoing.envelope.validate().map_err(|error| {
            let help = "Choose an id that is not empty and holds no control characters.";
            self.send_error(Trouble::Unsupported, &error.to_string(), help)
        })?;
        match self.broker.send(vec![outgoing]).await.pop() {
            Some(SendOutcome::Sent) => Ok(()),
            Some(SendOutcome::Refused(error) | SendOutcome::Unknown(error)) => Err(error),
            None => Err(self.send_error(
                Trouble::Broken,
                "the broker gave no answer for the message",
                "Mend the adapter: one answer for each message.",
            )),
        }
    }

    fn send_error(&self, trouble: Trouble, reason: &str, help: &str) -> StoreError {
        StoreError {
            trouble,
            store: format!("{:?}", self.broker),
            operation: "send",
            reason: reason.to_owned(),
            help: help.to_owned(),
        }
    }
}
