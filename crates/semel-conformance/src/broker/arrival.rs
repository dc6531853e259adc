//! What is sent arrives, unharmed.

use std::collections::BTreeSet;

use semel_core::Envelope;
use semel_core::broker::Settlement;

use super::handle::{QueueHandle, envelope, id_of, require_history};
use crate::BrokerRig;
use crate::sample::{RELEASE, delicate_messages, message, to};
use crate::verdict::{require, require_eq};

/// A message arrives with every attribute and every byte of its data as it was sent: extensions of
/// each type, text that looks like another type, data that is empty, binary, or no JSON at all.
pub async fn a_message_arrives_unharmed(rig: &dyn BrokerRig) {
    let queue = QueueHandle::open(rig).await;
    for sent in delicate_messages() {
        queue.send("orders", sent.clone()).await;
        let sentence = "a message that was sent is delivered";
        let delivery = queue.next(sentence, "orders", queue.long()).await;
        is_unharmed(envelope(&delivery), &sent);
        queue.settle(&delivery, Settlement::Ack).await;
    }
}

/// Asserts that a message arrived as it was sent.
pub(crate) fn is_unharmed(seen: &Envelope, sent: &Envelope) {
    let sentence = "a message arrives with all its attributes and data unharmed";
    let data = |envelope: &Envelope| envelope.data.escape_ascii().to_string();
    let times = (seen.time, &seen.schema, &seen.content_type);
    require_eq(sentence, &times, &(sent.time, &sent.schema, &sent.content_type));
    require_eq(sentence, &data(seen), &data(sent));
    require_eq(sentence, seen, sent);
}

/// The first delivery of a message counts one delivery and no failure.
pub async fn a_first_delivery_has_no_history(rig: &dyn BrokerRig) {
    let queue = QueueHandle::open(rig).await;
    queue.send("orders", message("1")).await;
    let delivery = queue.takes("a message that was sent is delivered", "orders", "1").await;
    require_history("a first delivery has no history", &delivery, 1, 0);
}

/// The same message sent twice is two messages: deduplication is not the broker's.
pub async fn a_message_sent_twice_is_delivered_twice(rig: &dyn BrokerRig) {
    let queue = QueueHandle::open(rig).await;
    queue.sends(vec![to("orders", message("1")), to("orders", message("1"))]).await;
    queue.send("orders", message("1")).await;
    let deliveries = queue.drain("orders").await;
    require_eq("a message that was sent is delivered", &deliveries.len(), &3);
    for delivery in &deliveries {
        require_eq("a message that was sent is delivered", &id_of(delivery).as_str(), &"1");
        queue.settle(delivery, Settlement::Ack).await;
    }
}

/// What was `Sent` is not forgotten: it outlives the handle that sent it.
pub async fn a_message_outlives_its_handle(rig: &dyn BrokerRig) {
    let first = QueueHandle::open(rig).await;
    first.send("orders", message("1")).await;
    drop(first);
    let second = QueueHandle::open(rig).await;
    second.takes("a message outlives the handle that sent it", "orders", "1").await;
}

/// Sending to an endpoint that no worker serves keeps the message until one does.
pub async fn an_unserved_endpoint_keeps_its_messages(rig: &dyn BrokerRig) {
    let queue = QueueHandle::open(rig).await;
    queue.send("later", message("1")).await;
    queue.pass(10).await;
    let worker = QueueHandle::open(rig).await;
    worker.register("later", &[]).await;
    worker.takes("an endpoint that nobody served keeps its messages", "later", "1").await;
}

/// Endpoints do not see each other's messages, however alike their names.
pub async fn endpoints_do_not_see_each_others_messages(rig: &dyn BrokerRig) {
    let queue = QueueHandle::open(rig).await;
    let endpoints = ["orders", "orders2", "order", "orders.eu", "Orders", "billing"];
    let sentence = "endpoints do not see each other's messages";
    for endpoint in endpoints {
        queue.send(endpoint, message(endpoint)).await;
    }
    for endpoint in endpoints {
        let delivery = queue.takes(sentence, endpoint, endpoint).await;
        queue.nothing(sentence, endpoint).await;
        queue.settle(&delivery, Settlement::Ack).await;
    }
}

/// A delivery's receipt is its own: no two deliveries share one, not even of the same message.
pub async fn every_delivery_has_a_receipt_of_its_own(rig: &dyn BrokerRig) {
    let queue = QueueHandle::open(rig).await;
    queue.sends((0..6).map(|n| to("orders", message(n.to_string()))).collect()).await;
    let mut seen = BTreeSet::new();
    for _ in 0..3 {
        let deliveries = queue.drain("orders").await;
        require_eq("a released message is delivered again", &deliveries.len(), &6);
        for delivery in deliveries {
            let new = seen.insert(delivery.receipt.as_str().to_owned());
            require("every delivery has a receipt of its own", new, &delivery.receipt);
            queue.settle(&delivery, RELEASE).await;
        }
    }
}
