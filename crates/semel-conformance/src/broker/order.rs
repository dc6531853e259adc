//! Messages of one partition key, where the queue keeps them in order; where it does not, they
//! hold up none another.

use std::collections::BTreeMap;

use semel_core::broker::{DeadReason, Destination, Ordering, Outgoing, Settlement};
use semel_core::envelope::PARTITION_KEY;

use super::handle::{QueueHandle, envelope, id_of, ids};
use crate::BrokerRig;
use crate::sample::{dead_letter, failure, keyed, message, to};
use crate::verdict::{require, require_eq};

const WAITS: &str = "a later message of a key waits until the earlier is settled for good";
const FOLLOWS: &str = "a later message of a key follows when the earlier is settled for good";
const FREE: &str = "a queue without order holds no message back";

/// Sends messages of one key to `endpoint`, in order.
async fn sends_keyed(queue: &QueueHandle<'_>, endpoint: &str, key: &str, ids: &[&str]) {
    queue.sends(ids.iter().map(|id| to(endpoint, keyed(id, key))).collect()).await;
}

/// Whether the message `id` waits behind an earlier one of its key. Where the queue keeps order
/// it must wait; where it keeps none, it must come.
async fn waits(queue: &QueueHandle<'_>, id: &str) -> bool {
    match queue.limits().ordering {
        Ordering::PerPartitionKey => {
            queue.nothing(WAITS, "orders").await;
            true
        }
        Ordering::None => {
            queue.takes(FREE, "orders", id).await;
            false
        }
    }
}

/// A later message of a key waits while an earlier one is leased, and follows when that is removed.
pub async fn a_later_message_waits_for_a_leased_one(rig: &dyn BrokerRig) {
    let queue = QueueHandle::open(rig).await;
    let other = QueueHandle::open(rig).await;
    sends_keyed(&queue, "orders", "customer-7", &["1", "2"]).await;
    let first = queue.takes("the oldest message comes first", "orders", "1").await;
    if waits(&other, "2").await {
        queue.settle(&first, Settlement::Ack).await;
        other.takes(FOLLOWS, "orders", "2").await;
    }
}

/// A later message of a key waits while an earlier one waits for its retry, and comes after it.
pub async fn a_later_message_waits_for_a_retried_one(rig: &dyn BrokerRig) {
    let queue = QueueHandle::open(rig).await;
    sends_keyed(&queue, "orders", "customer-7", &["1", "2"]).await;
    let first = queue.takes("the oldest message comes first", "orders", "1").await;
    let settlement = Settlement::Retry { after: queue.ticks(4), failure: failure(1) };
    queue.settle(&first, settlement).await;
    if waits(&queue, "2").await {
        queue.pass(5).await;
        let again = queue.takes(WAITS, "orders", "1").await;
        queue.settle(&again, Settlement::Ack).await;
        queue.takes(FOLLOWS, "orders", "2").await;
    }
}

/// A later message of a key waits while an earlier one is delayed, though its own time has come.
pub async fn a_later_message_waits_for_a_delayed_one(rig: &dyn BrokerRig) {
    let queue = QueueHandle::open(rig).await;
    let to = Destination::Endpoint("orders".to_owned());
    let delayed = Outgoing { to, envelope: keyed("1", "customer-7"), delay: queue.ticks(4) };
    queue.sends(vec![delayed]).await;
    sends_keyed(&queue, "orders", "customer-7", &["2"]).await;
    if waits(&queue, "2").await {
        queue.pass(5).await;
        let first = queue.takes(WAITS, "orders", "1").await;
        queue.settle(&first, Settlement::Ack).await;
        queue.takes(FOLLOWS, "orders", "2").await;
    }
}

/// A later message of a key waits for an earlier one whose lease has ended: that comes again first.
pub async fn a_later_message_waits_for_an_abandoned_one(rig: &dyn BrokerRig) {
    let queue = QueueHandle::open(rig).await;
    sends_keyed(&queue, "orders", "customer-7", &["1", "2"]).await;
    queue.next("a message that was sent is delivered", "orders", queue.short()).await;
    queue.outlive().await;
    queue.takes("an abandoned message comes again before the later ones", "orders", "1").await;
    waits(&queue, "2").await;
}

/// A dead letter holds up nobody: the later messages of its key follow.
pub async fn a_later_message_follows_a_dead_letter(rig: &dyn BrokerRig) {
    let queue = QueueHandle::open(rig).await;
    sends_keyed(&queue, "orders", "customer-7", &["1", "2"]).await;
    let first = queue.takes("the oldest message comes first", "orders", "1").await;
    if waits(&queue, "2").await {
        queue.settle(&first, dead_letter(DeadReason::HandlerFailed, 1)).await;
        queue.takes(FOLLOWS, "orders", "2").await;
    }
}

/// Messages of one key that come in one receive come in their order, and none is left out between
/// two that come.
pub async fn within_a_receive_a_key_is_in_order(rig: &dyn BrokerRig) {
    let queue = QueueHandle::open(rig).await;
    for round in 0..4 {
        let (a, b) = (format!("a{round}"), format!("b{round}"));
        queue.sends(vec![to("orders", keyed(&a, "a")), to("orders", keyed(&b, "b"))]).await;
    }
    let mut seen: BTreeMap<String, Vec<String>> = BTreeMap::new();
    while seen.values().map(Vec::len).sum::<usize>() < 8 {
        let deliveries = queue.receive("orders", 3, queue.long()).await;
        require("the next message of a key follows", !deliveries.is_empty(), &seen);
        for delivery in &deliveries {
            let key = envelope(delivery).text(PARTITION_KEY).unwrap_or_default().to_owned();
            seen.entry(key).or_default().push(id_of(delivery));
        }
        for delivery in &deliveries {
            queue.settle(delivery, Settlement::Ack).await;
        }
    }
    for (key, seen) in seen {
        let expected: Vec<String> = (0..4).map(|round| format!("{key}{round}")).collect();
        require_eq("messages of one key come in the order they were queued", &seen, &expected);
    }
}

/// Keys do not hold up each other, and messages without a key hold up nobody and wait for nobody.
pub async fn keys_do_not_hold_up_each_other(rig: &dyn BrokerRig) {
    let queue = QueueHandle::open(rig).await;
    sends_keyed(&queue, "orders", "customer-7", &["7"]).await;
    queue.takes("the oldest message comes first", "orders", "7").await;
    sends_keyed(&queue, "orders", "customer-8", &["8"]).await;
    queue.sends(vec![to("orders", message("free 1")), to("orders", message("free 2"))]).await;
    let seen = ids(&queue.drain("orders").await);
    let expected = ["8", "free 1", "free 2"].map(str::to_owned).to_vec();
    require_eq("only messages of its own key wait for a leased one", &seen, &expected);
}

/// A key holds up messages of its own endpoint alone.
pub async fn endpoints_do_not_hold_up_each_other(rig: &dyn BrokerRig) {
    let queue = QueueHandle::open(rig).await;
    sends_keyed(&queue, "orders", "customer-7", &["1"]).await;
    sends_keyed(&queue, "billing", "customer-7", &["2"]).await;
    queue.takes("the oldest message comes first", "orders", "1").await;
    queue.takes("a key holds up messages of its own endpoint alone", "billing", "2").await;
}
