//! Receipts and leases, where settling is part of a batch.

use semel_core::broker::{Lease, Settlement};
use semel_core::store::WriteOutcome;

use super::handle::{Place, effects, settle};
use crate::QueueRig;
use crate::sample::{RELEASE, message, settlements};
use crate::verdict::broken;

/// A delivery is settled once: what was settled in a batch is settled in no later one, and by no
/// call on the broker; and the other way round.
pub async fn a_delivery_is_settled_once(rig: &dyn QueueRig) {
    let Some(place) = Place::open(rig).await else { return };
    for (name, first) in settlements(place.queue.ticks(20)) {
        let by_batch = place.delivery(name, "1").await;
        let batch = vec![settle(&by_batch.receipt, first.clone())];
        place.store.applies("a delivery is settled in a batch", batch).await;
        let by_call = place.delivery(name, "2").await;
        place.queue.settle(&by_call, first).await;
        for delivery in [&by_batch, &by_call] {
            let sentence = "a delivery that was settled is settled in no later batch";
            let mut batch = vec![settle(&delivery.receipt, Settlement::Ack)];
            batch.extend(effects());
            place.store.conflicts(sentence, batch, &[0]).await;
            place.no_effects(sentence).await;
            let sentence = "a delivery that was settled is settled by no later call";
            place.queue.stale(sentence, &delivery.receipt, RELEASE).await;
        }
    }
}

/// A lease that was extended is settled in a batch under the receipt it had from the start.
pub async fn an_extended_lease_is_settled_in_a_batch(rig: &dyn QueueRig) {
    let Some(place) = Place::open(rig).await else { return };
    place.queue.send("orders", message("1")).await;
    let sentence = "a message that was sent is delivered";
    let delivery = place.queue.next(sentence, "orders", place.queue.short()).await;
    for _ in 0..2 {
        place.queue.pass(3).await;
        let sentence = "the lease of a delivery that is ours can be extended";
        let lease = place.queue.short();
        place.queue.extends(sentence, &delivery.receipt, lease, Lease::Held).await;
    }
    let mut batch = effects().to_vec();
    batch.push(settle(&delivery.receipt, Settlement::Ack));
    place.store.applies("extending a lease keeps the receipt", batch).await;
    place.all_effects("an extended lease is settled in a batch").await;
}

/// A receipt whose lease has ended, but whose message nobody took since, settles its batch whole or
/// not at all.
pub async fn an_expired_receipt_decides_for_the_whole_batch(rig: &dyn QueueRig) {
    let Some(place) = Place::open(rig).await else { return };
    place.queue.send("orders", message("1")).await;
    let sentence = "a message that was sent is delivered";
    let delivery = place.queue.next(sentence, "orders", place.queue.short()).await;
    place.queue.outlive().await;
    let mut batch = effects().to_vec();
    batch.push(settle(&delivery.receipt, Settlement::Ack));
    let sentence = "an expired receipt settles its batch whole or not at all";
    match place.store.write(batch).await {
        WriteOutcome::Applied(_) => {
            place.all_effects(sentence).await;
            place.queue.nothing(sentence, "orders").await;
        }
        WriteOutcome::Conflict(_) => {
            place.no_effects(sentence).await;
            place.queue.takes(sentence, "orders", "1").await;
        }
        other => broken(sentence, &other),
    }
}

/// A batch that names one delivery twice is never applied, not even in part.
pub async fn a_batch_settles_a_delivery_once(rig: &dyn QueueRig) {
    let Some(place) = Place::open(rig).await else { return };
    let delivery = place.delivery("orders", "1").await;
    let mut batch = effects().to_vec();
    batch.push(settle(&delivery.receipt, RELEASE));
    batch.push(settle(&delivery.receipt, Settlement::Ack));
    let sentence = "a batch that settles a delivery twice is not applied";
    match place.store.write(batch).await {
        WriteOutcome::Conflict(_) | WriteOutcome::Refused(_) => {}
        other => broken(sentence, &other),
    }
    place.no_effects(sentence).await;
    place.still_ours(sentence, "orders", &delivery).await;
}
