//! Settling, state and sends: all or nothing.

use semel_core::broker::Settlement;
use semel_core::store::{Expect, Trouble};

use super::handle::{Place, effects, enqueue, settle};
use crate::QueueRig;
use crate::sample::{BYTES_TRIED_MAX, message, message_of_size, settlements, to};
use crate::store::handle::{entity, put};

/// A batch settles, puts and queues together. `Applied` tells a version for the put alone.
pub async fn a_batch_settles_puts_and_queues(rig: &dyn QueueRig) {
    let Some(place) = Place::open(rig).await else { return };
    let delivery = place.delivery("orders", "1").await;
    let [put, enqueue] = effects();
    let batch = vec![settle(&delivery.receipt, Settlement::Ack), put, enqueue];
    let sentence = "a batch settles, puts and queues together";
    place.store.applies(sentence, batch).await;
    place.all_effects(sentence).await;
    place.queue.stale(sentence, &delivery.receipt, Settlement::Ack).await;
    place.queue.nothing(sentence, "orders").await;
}

/// A batch that conflicts over an item leaves the delivery leased and unsettled, and queues
/// nothing, wherever in the batch the put stands.
pub async fn a_conflict_leaves_the_delivery_leased(rig: &dyn QueueRig) {
    let Some(place) = Place::open(rig).await else { return };
    place.store.puts(&entity("there"), "x", Expect::Absent).await;
    for position in 0..4 {
        let delivery = place.delivery("orders", "1").await;
        let [created, sent] = effects();
        let mut batch = vec![created, settle(&delivery.receipt, Settlement::Ack), sent];
        batch.insert(position, put(&entity("there"), "y", Expect::Absent));
        let sentence = "a batch with a failing put conflicts";
        place.store.conflicts(sentence, batch, &[position]).await;
        place.no_effects("a conflict writes and queues nothing").await;
        place.still_ours("a conflict leaves the delivery leased", "orders", &delivery).await;
    }
}

/// A batch with a stale receipt loses as a whole, whichever the settlement and wherever it stands:
/// the conflict is at its position, nothing is written or queued, and the delivery stays with the
/// one who has it.
pub async fn a_stale_receipt_loses_the_whole_batch(rig: &dyn QueueRig) {
    let Some(place) = Place::open(rig).await else { return };
    for (n, (_, settlement)) in settlements(place.queue.ticks(0)).into_iter().enumerate() {
        let (old, new) = place.stale_delivery("orders", "1").await;
        let mut batch = effects().to_vec();
        let position = n % 3;
        batch.insert(position, settle(&old.receipt, settlement));
        let sentence = "a batch with a stale receipt conflicts";
        place.store.conflicts(sentence, batch, &[position]).await;
        place.no_effects("a stale receipt loses the whole batch").await;
        let sentence = "a stale receipt leaves the delivery to the one who has it";
        place.still_ours(sentence, "orders", &new).await;
    }
}

/// One stale receipt among current ones loses the batch for all of them.
pub async fn one_stale_receipt_loses_for_all(rig: &dyn QueueRig) {
    let Some(place) = Place::open(rig).await else { return };
    let first = place.delivery("one", "1").await;
    let (old, new) = place.stale_delivery("two", "2").await;
    let third = place.delivery("three", "3").await;
    let receipts = [&first.receipt, &old.receipt, &third.receipt];
    let batch = receipts.map(|receipt| settle(receipt, Settlement::Ack)).to_vec();
    place.store.conflicts("a batch with a stale receipt conflicts", batch, &[1]).await;
    for (endpoint, delivery) in [("one", &first), ("two", &new), ("three", &third)] {
        place.still_ours("one stale receipt loses for all", endpoint, delivery).await;
    }
}

/// A batch settles many deliveries at once.
pub async fn a_batch_settles_many_deliveries(rig: &dyn QueueRig) {
    let Some(place) = Place::open(rig).await else { return };
    let ids = ["1", "2", "3"];
    place.queue.sends(ids.map(|id| to("orders", message(id))).into()).await;
    let deliveries = place.queue.drain("orders").await;
    let mut batch = effects().to_vec();
    batch.extend(deliveries.iter().map(|delivery| settle(&delivery.receipt, Settlement::Ack)));
    let sentence = "a batch settles many deliveries at once";
    place.store.applies(sentence, batch).await;
    place.all_effects(sentence).await;
    for delivery in &deliveries {
        place.queue.stale(sentence, &delivery.receipt, Settlement::Ack).await;
    }
}

/// A batch with a message above the broker's limit is refused as [`Trouble::TooLarge`], whole: no
/// item, no other message, and the delivery still leased. A limit above 16 MiB is not tried: then
/// the message is queued.
pub async fn a_message_above_the_limit_refuses_the_batch(rig: &dyn QueueRig) {
    let Some(place) = Place::open(rig).await else { return };
    let limit = place.queue.limits().message_bytes_max;
    let bytes = limit.saturating_add(1).min(BYTES_TRIED_MAX);
    let delivery = place.delivery("orders", "1").await;
    let mut batch = vec![settle(&delivery.receipt, Settlement::Ack)];
    batch.extend(effects());
    batch.push(enqueue(to("large", message_of_size("large", bytes))));
    if bytes <= limit {
        place.store.applies("a batch with a large message is applied", batch).await;
        return;
    }
    let sentence = "a message above `message_bytes_max` refuses its batch as too large";
    place.store.refuses(sentence, batch, &[Trouble::TooLarge]).await;
    place.no_effects("a refused batch writes and queues nothing").await;
    place.still_ours("a refused batch settles nothing", "orders", &delivery).await;
}

/// A batch with a value above the store's limit is refused whole as well. A limit above 16 MiB is
/// not tried: then the value is kept.
pub async fn a_value_above_the_limit_refuses_the_batch(rig: &dyn QueueRig) {
    let Some(place) = Place::open(rig).await else { return };
    let limit = place.store.limits().item_bytes_max;
    let bytes = limit.saturating_add(1).min(BYTES_TRIED_MAX);
    let delivery = place.delivery("orders", "1").await;
    let mut batch = vec![settle(&delivery.receipt, Settlement::Ack)];
    batch.extend(effects());
    batch.push(put(&entity("large"), vec![0; bytes], Expect::Absent));
    if bytes <= limit {
        place.store.applies("a batch with a large value is applied", batch).await;
        return;
    }
    let sentence = "a value above `item_bytes_max` refuses its batch as too large";
    place.store.refuses(sentence, batch, &[Trouble::TooLarge]).await;
    place.no_effects("a refused batch writes and queues nothing").await;
    place.still_ours("a refused batch settles nothing", "orders", &delivery).await;
}
