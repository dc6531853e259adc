//! One place that holds items and queues.

use semel_core::broker::{Delivery, Outgoing, Receipt, Settlement};
use semel_core::store::{Change, Expect, QueueHome};

use crate::QueueRig;
use crate::broker::handle::QueueHandle;
use crate::sample::{message, to};
use crate::store::handle::{StoreHandle, entity, put};
use crate::store::refuses_a_queue;

/// Handles to the store and the queue under test.
pub(crate) struct Place<'r> {
    pub(crate) rig: &'r dyn QueueRig,
    pub(crate) store: StoreHandle,
    pub(crate) queue: QueueHandle<'r>,
}

impl<'r> Place<'r> {
    /// Opens a place whose store holds the queue; any other store must refuse one, clearly.
    pub(crate) async fn open(rig: &'r dyn QueueRig) -> Option<Self> {
        let store = StoreHandle::open(rig).await;
        match store.limits().queue {
            QueueHome::Inside => Some(Self { rig, store, queue: QueueHandle::open(rig).await }),
            QueueHome::Elsewhere => {
                refuses_a_queue(&store).await;
                None
            }
        }
    }

    /// Sends a message and receives it, under a lease that no test outlives.
    pub(crate) async fn delivery(&self, endpoint: &str, id: &str) -> Delivery {
        self.queue.send(endpoint, message(id)).await;
        self.queue.takes("a message that was sent is delivered", endpoint, id).await
    }

    /// Sends a message, receives it, lets the lease end, and has another receive it. Gives the old
    /// delivery and the new one.
    pub(crate) async fn stale_delivery(&self, endpoint: &str, id: &str) -> (Delivery, Delivery) {
        self.queue.send(endpoint, message(id)).await;
        let sentence = "a message that was sent is delivered";
        let old = self.queue.next(sentence, endpoint, self.queue.short()).await;
        self.queue.outlive().await;
        let sentence = "when its lease has ended, a message is delivered again";
        (old, self.queue.takes(sentence, endpoint, id).await)
    }

    /// Asserts that neither the item of [`effects`] nor its message came to be.
    pub(crate) async fn no_effects(&self, sentence: &str) {
        self.store.shows(sentence, &entity("state"), None).await;
        self.queue.nothing(sentence, "effects").await;
    }

    /// Asserts that the item of [`effects`] and its message are there.
    pub(crate) async fn all_effects(&self, sentence: &str) {
        self.store.shows(sentence, &entity("state"), Some(b"new")).await;
        self.queue.takes(sentence, "effects", "effect").await;
    }

    /// Asserts that a delivery is still its receiver's: not delivered to another, and to be settled.
    pub(crate) async fn still_ours(&self, sentence: &str, endpoint: &str, delivery: &Delivery) {
        self.queue.nothing(sentence, endpoint).await;
        self.queue.settles(sentence, &delivery.receipt, Settlement::Ack).await;
    }
}

/// What an attempt wants done beside settling its delivery: a new item, and a message.
pub(crate) fn effects() -> [Change; 2] {
    [put(&entity("state"), "new", Expect::Absent), enqueue(to("effects", message("effect")))]
}

/// A change that queues a message.
pub(crate) fn enqueue(outgoing: Outgoing) -> Change {
    Change::Enqueue(outgoing)
}

/// A change that settles a delivery.
pub(crate) fn settle(receipt: &Receipt, settlement: Settlement) -> Change {
    Change::Settle { receipt: receipt.clone(), settlement }
}
