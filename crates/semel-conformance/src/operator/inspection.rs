//! What a person sees of the queues.

use semel_core::broker::{DeadReason, Destination, Outgoing, QueueAge, Settlement};
use semel_core::operator::Report;

use super::handle::OperatorHandle;
use crate::OperatorRig;
use crate::sample::{RELEASE, dead_letter, message, to};
use crate::verdict::{broken, require, require_eq};

/// Asserts an endpoint's (ready, delayed, in flight, dead) messages.
async fn counts(place: &OperatorHandle<'_>, when: &str, expected: (u64, u64, u64, u64)) {
    let seen = place.report("orders").await;
    let seen = (seen.ready, seen.delayed, seen.in_flight, seen.dead_letters);
    let sentence = format!("{when}: (ready, delayed, in flight, dead) are counted");
    require_eq(&sentence, &seen, &expected);
}

/// An empty place has nothing to report.
pub async fn an_empty_place_reports_nothing(rig: &dyn OperatorRig) {
    let place = OperatorHandle::open(rig).await;
    let report = place.inspect().await;
    require_eq("an empty place has nothing to report", &report, &Report::default());
}

/// The report counts a message as ready, in flight, delayed or dead, as its life goes on.
pub async fn inspection_follows_a_messages_life(rig: &dyn OperatorRig) {
    let place = OperatorHandle::open(rig).await;
    let queue = &place.queue;
    queue.sends(["1", "2", "3"].map(|id| to("orders", message(id))).into()).await;
    counts(&place, "three were sent", (3, 0, 0, 0)).await;
    let one = queue.takes("the oldest message comes first", "orders", "1").await;
    let two = queue.takes("the oldest message comes first", "orders", "2").await;
    counts(&place, "two were received", (1, 0, 2, 0)).await;
    queue.settle(&one, Settlement::Release { after: queue.ticks(20) }).await;
    counts(&place, "one of them waits", (1, 1, 1, 0)).await;
    queue.settle(&two, dead_letter(DeadReason::Refused, 1)).await;
    counts(&place, "the other was parked", (1, 1, 0, 1)).await;
    queue.pass(21).await;
    counts(&place, "the wait is over", (2, 0, 0, 1)).await;
    let receipt = place.only("orders").await.receipt;
    queue.settles("a dead letter can be decided", &receipt, RELEASE).await;
    counts(&place, "the dead letter was replayed", (3, 0, 0, 0)).await;
    for delivery in queue.drain("orders").await {
        queue.settle(&delivery, Settlement::Ack).await;
    }
    counts(&place, "all were removed", (0, 0, 0, 0)).await;
}

/// A message whose lease has ended can be received, and so is ready.
pub async fn inspection_counts_an_ended_lease_as_ready(rig: &dyn OperatorRig) {
    let place = OperatorHandle::open(rig).await;
    place.queue.send("orders", message("1")).await;
    let sentence = "a message that was sent is delivered";
    place.queue.next(sentence, "orders", place.queue.short()).await;
    counts(&place, "it was received", (0, 0, 1, 0)).await;
    place.queue.outlive().await;
    counts(&place, "its lease has ended", (1, 0, 0, 0)).await;
}

/// A delayed message is counted as delayed until its time has come.
pub async fn inspection_counts_a_delayed_message(rig: &dyn OperatorRig) {
    let place = OperatorHandle::open(rig).await;
    let destination = Destination::Endpoint("orders".to_owned());
    let delay = place.queue.ticks(10);
    let delayed = Outgoing { to: destination, envelope: message("1"), delay };
    place.queue.sends(vec![delayed]).await;
    counts(&place, "it was sent with a delay", (0, 1, 0, 0)).await;
    place.queue.pass(11).await;
    counts(&place, "its time has come", (1, 0, 0, 0)).await;
}

/// The report tells when the oldest message was queued, and nothing of an empty queue; where the
/// broker tells no age, nothing at all.
pub async fn inspection_tells_the_oldest_message(rig: &dyn OperatorRig) {
    let place = OperatorHandle::open(rig).await;
    place.queue.register("orders", &[]).await;
    let oldest = async || place.report("orders").await.oldest;
    require_eq("an empty queue has no oldest message", &oldest().await, &None);
    place.queue.send("orders", message("1")).await;
    if place.queue.limits().queue_age == QueueAge::Untold {
        let sentence = "a broker that tells no age tells none";
        return require_eq(sentence, &oldest().await, &None);
    }
    let first = oldest().await;
    place.queue.pass(2).await;
    place.queue.send("orders", message("2")).await;
    let sentence = "the report tells when the oldest message was queued";
    require_eq(sentence, &oldest().await, &first);
    let delivery = place.queue.takes("the oldest message comes first", "orders", "1").await;
    place.queue.settle(&delivery, Settlement::Ack).await;
    match (first, oldest().await) {
        (Some(first), Some(second)) => {
            let apart = second.since(first);
            require(sentence, apart >= place.queue.ticks(1), &(first, second));
        }
        other => broken(sentence, &other),
    }
}

/// The report shows what each endpoint registered, last: its protocol, its subscriptions, and when.
pub async fn inspection_shows_registrations(rig: &dyn OperatorRig) {
    let place = OperatorHandle::open(rig).await;
    place.queue.send("unserved", message("1")).await;
    place.queue.register("orders", &["order.cancelled", "stock.low"]).await;
    let first = place.report("orders").await;
    place.queue.pass(2).await;
    place.queue.register("orders", &["order.placed"]).await;
    let second = place.report("orders").await;
    let sentence = "the report shows what an endpoint registered";
    let mut subscriptions = first.subscriptions;
    subscriptions.sort_unstable();
    require_eq(
        sentence,
        &subscriptions,
        &vec!["order.cancelled".to_owned(), "stock.low".to_owned()],
    );
    require_eq(sentence, &second.subscriptions, &vec!["order.placed".to_owned()]);
    require_eq(sentence, &second.protocol.as_deref(), &Some("outbox"));
    require(sentence, second.registered_at > first.registered_at, &second.registered_at);
    let unserved = place.report("unserved").await;
    let seen = (unserved.ready, unserved.protocol, unserved.registered_at);
    require_eq("an endpoint that nobody registered is reported too", &seen, &(1, None, None));
}
