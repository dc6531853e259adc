//! What a send promises.

use semel_core::broker::{Destination, Outgoing, SendOutcome, Settlement};
use semel_core::store::Trouble;

use super::handle::{QueueHandle, envelope, ids};
use crate::BrokerRig;
use crate::broker::arrival::is_unharmed;
use crate::sample::{BYTES_TRIED_MAX, message, message_of_size, to};
use crate::store::handle::require_clear;
use crate::verdict::{broken, require_eq};

/// A delayed message waits as long as it was told, and is then delivered.
pub async fn a_delayed_message_waits(rig: &dyn BrokerRig) {
    let queue = QueueHandle::open(rig).await;
    let destination = Destination::Endpoint("orders".to_owned());
    let delay = queue.ticks(6);
    queue.sends(vec![Outgoing { to: destination, envelope: message("late"), delay }]).await;
    queue.send("orders", message("now")).await;
    queue.takes("a delayed message holds up no other", "orders", "now").await;
    queue.pass(3).await;
    queue.nothing("a delayed message waits as long as it was told", "orders").await;
    queue.pass(4).await;
    queue.takes("a delayed message is delivered after its delay", "orders", "late").await;
}

/// A message may be as large as the broker's limit says; a limit above 16 MiB is tried up to there.
pub async fn the_largest_message_is_sent(rig: &dyn BrokerRig) {
    let queue = QueueHandle::open(rig).await;
    let bytes = queue.limits().message_bytes_max.min(BYTES_TRIED_MAX);
    let sent = message_of_size("large", bytes);
    queue.send("orders", sent.clone()).await;
    let delivery = queue.next("a message of `message_bytes_max` arrives", "orders", queue.long());
    is_unharmed(envelope(&delivery.await), &sent);
}

/// A message above the limit is refused for good as [`Trouble::TooLarge`], and the others of its
/// batch are still sent; a limit above 16 MiB is not tried.
pub async fn a_message_above_the_limit_is_refused_alone(rig: &dyn BrokerRig) {
    let queue = QueueHandle::open(rig).await;
    let limit = queue.limits().message_bytes_max;
    if limit >= BYTES_TRIED_MAX {
        return the_largest_message_is_sent(rig).await;
    }
    let large = message_of_size("large", limit + 1);
    let batch = vec![message("before"), large, message("after")];
    let batch = batch.into_iter().map(|envelope| to("orders", envelope)).collect();
    let sentence = "a message above `message_bytes_max` is refused, and it alone";
    match queue.broker.send(batch).await.as_slice() {
        [SendOutcome::Sent, SendOutcome::Refused(error), SendOutcome::Sent] => {
            require_clear(sentence, error, &[Trouble::TooLarge]);
        }
        other => broken(sentence, &other),
    }
    let arrived = ids(&queue.drain("orders").await);
    require_eq(sentence, &arrived, &vec!["before".to_owned(), "after".to_owned()]);
}

/// Sending nothing answers nothing.
pub async fn sending_nothing_is_no_error(rig: &dyn BrokerRig) {
    let queue = QueueHandle::open(rig).await;
    queue.sends(Vec::new()).await;
}

/// One batch may go to several endpoints, and holds many messages.
pub async fn a_batch_goes_to_many(rig: &dyn BrokerRig) {
    let queue = QueueHandle::open(rig).await;
    let endpoints = ["orders", "billing", "shipping"];
    let batch = (0..60).map(|n: usize| to(endpoints[n % 3], message(n.to_string()))).collect();
    queue.sends(batch).await;
    for (position, endpoint) in endpoints.into_iter().enumerate() {
        let deliveries = queue.drain(endpoint).await;
        let mut seen: Vec<usize> =
            ids(&deliveries).iter().filter_map(|id| id.parse().ok()).collect();
        seen.sort_unstable();
        let expected: Vec<usize> = (0..60).filter(|n| n % 3 == position).collect();
        require_eq("each message of a batch goes where it was sent", &seen, &expected);
        for delivery in &deliveries {
            queue.settle(delivery, Settlement::Ack).await;
        }
    }
}
