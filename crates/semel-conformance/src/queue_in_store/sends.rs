//! Messages that a batch queues.

use semel_core::broker::{Destination, Outgoing, Settlement};
use semel_core::store::{Change, Expect};

use super::handle::{Place, enqueue};
use crate::QueueRig;
use crate::broker::handle::{envelope, require_history};
use crate::broker::is_unharmed;
use crate::sample::{delicate_messages, keyed, message, to, to_subscribers};
use crate::store::handle::{entity, put};

const QUEUED: &str = "a message that a batch queues is delivered";

/// A message that a batch queues arrives as one that was sent: unharmed, without history.
pub async fn a_queued_message_arrives_unharmed(rig: &dyn QueueRig) {
    let Some(place) = Place::open(rig).await else { return };
    for sent in delicate_messages() {
        place.store.applies(QUEUED, vec![enqueue(to("orders", sent.clone()))]).await;
        let delivery = place.queue.next(QUEUED, "orders", place.queue.long()).await;
        is_unharmed(envelope(&delivery), &sent);
        require_history("a first delivery has no history", &delivery, 1, 0);
        place.queue.settle(&delivery, Settlement::Ack).await;
    }
}

/// A message that a batch queues for its subscribers comes to each of them once.
pub async fn a_queued_message_comes_to_each_subscriber(rig: &dyn QueueRig) {
    let Some(place) = Place::open(rig).await else { return };
    place.queue.subscribe("billing").await;
    place.queue.subscribe("shipping").await;
    place.queue.register("others", &["order.cancelled"]).await;
    let batch =
        vec![enqueue(to_subscribers(message("1"))), put(&entity("state"), "new", Expect::Absent)];
    place.store.applies(QUEUED, batch).await;
    for endpoint in ["billing", "shipping"] {
        place.queue.takes("each subscriber gets one copy of a message", endpoint, "1").await;
        place.queue.nothing("each subscriber gets one copy of a message", endpoint).await;
    }
    place.queue.nothing("only subscribers get a copy of a message", "others").await;
}

/// A message that nobody subscribes to harms no batch.
pub async fn a_queued_message_needs_no_subscribers(rig: &dyn QueueRig) {
    let Some(place) = Place::open(rig).await else { return };
    let batch =
        vec![enqueue(to_subscribers(message("1"))), put(&entity("state"), "new", Expect::Absent)];
    let sentence = "a message without subscribers harms no batch";
    place.store.applies(sentence, batch).await;
    place.store.shows(sentence, &entity("state"), Some(b"new")).await;
}

/// A delayed message that a batch queues waits as long as it was told.
pub async fn a_queued_message_waits_for_its_delay(rig: &dyn QueueRig) {
    let Some(place) = Place::open(rig).await else { return };
    let to = Destination::Endpoint("orders".to_owned());
    let delayed = Outgoing { to, envelope: message("1"), delay: place.queue.ticks(4) };
    place.store.applies(QUEUED, vec![enqueue(delayed)]).await;
    place.queue.nothing("a delayed message waits as long as it was told", "orders").await;
    place.queue.pass(5).await;
    place.queue.takes(QUEUED, "orders", "1").await;
}

/// Messages of one batch are queued in the order of its changes, behind what was sent before.
pub async fn a_batch_queues_in_its_order(rig: &dyn QueueRig) {
    let Some(place) = Place::open(rig).await else { return };
    place.queue.send("orders", keyed("0", "customer-7")).await;
    let ids = ["1", "2", "3"];
    let batch: Vec<Change> =
        ids.map(|id| enqueue(to("orders", keyed(id, "customer-7")))).into_iter().collect();
    place.store.applies(QUEUED, batch).await;
    place.queue.send("orders", keyed("4", "customer-7")).await;
    for id in ["0", "1", "2", "3", "4"] {
        let sentence = "a batch queues its messages in the order of its changes";
        let delivery = place.queue.takes(sentence, "orders", id).await;
        place.queue.settle(&delivery, Settlement::Ack).await;
    }
}
