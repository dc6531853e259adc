//! The fate of a delivery.

use semel_core::broker::{DeadReason, Delivery, FailureRecord, Settlement};

use super::handle::{QueueHandle, id_of, ids, require_history};
use crate::BrokerRig;
use crate::sample::{RELEASE, dead_letter, failure, message, retry, settlements};
use crate::verdict::require_eq;

const SENT: &str = "a message that was sent is delivered";

/// How many failures a message keeps.
const FAILURES_KEPT: usize = 20;

/// `Ack` removes a message for good.
pub async fn ack_removes_for_good(rig: &dyn BrokerRig) {
    let queue = QueueHandle::open(rig).await;
    queue.send("orders", message("1")).await;
    let delivery = queue.next(SENT, "orders", queue.short()).await;
    queue.settle(&delivery, Settlement::Ack).await;
    is_gone(&queue, "`Ack` removes a message for good").await;
}

/// `DeadLetter` parks a message: it is not received again.
pub async fn a_dead_letter_is_not_received_again(rig: &dyn BrokerRig) {
    let queue = QueueHandle::open(rig).await;
    for reason in DeadReason::ALL {
        queue.send("orders", message(reason.name())).await;
        let delivery = queue.next(SENT, "orders", queue.short()).await;
        queue.settle(&delivery, dead_letter(reason, 1)).await;
    }
    is_gone(&queue, "a dead letter is not received again").await;
}

async fn is_gone(queue: &QueueHandle<'_>, sentence: &str) {
    queue.nothing(sentence, "orders").await;
    queue.outlive().await;
    queue.nothing(sentence, "orders").await;
    let other = QueueHandle::open(queue.rig).await;
    other.nothing(sentence, "orders").await;
}

/// `Release` returns a message at once where it asks for no wait. The delivery does not count:
/// `deliveries` less `failure_count` tells how many workers took a message and were never heard of
/// again, and one that gives it back is not among them.
pub async fn release_returns_a_message_at_once(rig: &dyn BrokerRig) {
    let queue = QueueHandle::open(rig).await;
    queue.send("orders", message("1")).await;
    let delivery = queue.takes(SENT, "orders", "1").await;
    queue.settle(&delivery, RELEASE).await;
    let again = queue.takes("a released message is delivered again", "orders", "1").await;
    require_history("a release counts neither as a delivery nor as a failure", &again, 1, 0);
}

/// `Release` returns a message after its wait, not before, and blames nobody.
pub async fn release_returns_a_message_after_its_wait(rig: &dyn BrokerRig) {
    let queue = QueueHandle::open(rig).await;
    let again = returns_after(&queue, Settlement::Release { after: queue.ticks(6) }).await;
    require_history("a release counts neither as a delivery nor as a failure", &again, 1, 0);
}

/// `Retry` returns a message after its wait, not before, with the failure in its history.
pub async fn retry_returns_a_message_with_its_failure(rig: &dyn BrokerRig) {
    let queue = QueueHandle::open(rig).await;
    let settlement = Settlement::Retry { after: queue.ticks(6), failure: failure(1) };
    let again = returns_after(&queue, settlement).await;
    require_history("a retry counts one failure", &again, 2, 1);
    require_eq("a failure is kept as it was told", &again.failures, &vec![failure(1)]);
}

async fn returns_after(queue: &QueueHandle<'_>, settlement: Settlement) -> Delivery {
    queue.send("orders", message("1")).await;
    let delivery = queue.takes(SENT, "orders", "1").await;
    queue.settle(&delivery, settlement).await;
    queue.nothing("a returned message waits as long as it was told", "orders").await;
    queue.pass(3).await;
    queue.nothing("a returned message waits as long as it was told", "orders").await;
    queue.pass(4).await;
    queue.takes("a returned message is delivered again after its wait", "orders", "1").await
}

/// A message keeps its newest 20 failures, oldest first, and counts them all.
pub async fn the_newest_failures_are_kept(rig: &dyn BrokerRig) {
    let queue = QueueHandle::open(rig).await;
    queue.send("orders", message("1")).await;
    for round in 0..25_u32 {
        let delivery = queue.takes("a retried message comes again", "orders", "1").await;
        require_history("each retry counts one failure", &delivery, round + 1, round);
        let newest: Vec<FailureRecord> = (0..round).map(failure).collect();
        let kept = newest[newest.len().saturating_sub(FAILURES_KEPT)..].to_vec();
        require_eq("the newest 20 failures are kept, oldest first", &delivery.failures, &kept);
        queue.settle(&delivery, retry(round)).await;
    }
}

/// The broker's own delivery limit is off, or above ours: a message that is returned again and
/// again keeps coming.
pub async fn there_is_no_limit_of_deliveries(rig: &dyn BrokerRig) {
    let queue = QueueHandle::open(rig).await;
    queue.send("orders", message("1")).await;
    for failures in 0..60 {
        for settlement in [RELEASE, retry(failures)] {
            let delivery = queue.takes("the broker has no delivery limit", "orders", "1").await;
            let sentence = "a retry counts as a delivery and a failure, a release as neither";
            require_history(sentence, &delivery, failures + 1, failures);
            queue.settle(&delivery, settlement).await;
        }
    }
}

/// Settling one delivery touches no other, also of the same receive.
pub async fn a_settlement_touches_no_other_delivery(rig: &dyn BrokerRig) {
    let queue = QueueHandle::open(rig).await;
    for (id, _) in settlements(queue.ticks(2)) {
        queue.send("orders", message(id)).await;
    }
    let mut deliveries = queue.drain("orders").await;
    require_eq(SENT, &deliveries.len(), &4);
    for (id, settlement) in settlements(queue.ticks(2)) {
        let found = deliveries.iter().position(|delivery| id_of(delivery) == id);
        let delivery = deliveries.remove(found.unwrap_or_default());
        queue.settle(&delivery, settlement).await;
    }
    queue.pass(3).await;
    let again = ids(&queue.drain("orders").await);
    let mut again: Vec<&str> = again.iter().map(String::as_str).collect();
    again.sort_unstable();
    require_eq("a settlement touches no other delivery", &again, &vec!["Release", "Retry"]);
}
