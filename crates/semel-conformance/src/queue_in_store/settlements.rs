//! Each settlement, as part of a batch.

use semel_core::broker::{DeadReason, Delivery, Settlement};

use super::handle::{Place, effects, settle};
use crate::QueueRig;
use crate::broker::handle::require_history;
use crate::operator::handle::OperatorHandle;
use crate::sample::{dead_letter, dead_letter_for, delicate_entities, failure};
use crate::verdict::require_eq;

/// Settles a new delivery in a batch, beside effects, which must be applied.
async fn settled(place: &Place<'_>, settlement: Settlement) -> Delivery {
    let delivery = place.delivery("orders", "1").await;
    let mut batch = effects().to_vec();
    batch.push(settle(&delivery.receipt, settlement));
    place.store.applies("a delivery is settled in a batch", batch).await;
    place.all_effects("a batch settles, puts and queues together").await;
    delivery
}

/// `Retry` in a batch keeps the failure with the message, and returns it after its wait.
pub async fn retry_in_a_batch_keeps_the_failure(rig: &dyn QueueRig) {
    let Some(place) = Place::open(rig).await else { return };
    let settlement = Settlement::Retry { after: place.queue.ticks(4), failure: failure(7) };
    settled(&place, settlement).await;
    let again = returned(&place).await;
    require_history("a retry counts one failure", &again, 2, 1);
    require_eq("a failure is kept as it was told", &again.failures, &vec![failure(7)]);
}

/// `Release` in a batch returns the message after its wait, and blames nobody.
pub async fn release_in_a_batch_blames_nobody(rig: &dyn QueueRig) {
    let Some(place) = Place::open(rig).await else { return };
    settled(&place, Settlement::Release { after: place.queue.ticks(4) }).await;
    let again = returned(&place).await;
    require_history("a release counts neither as a delivery nor as a failure", &again, 1, 0);
}

async fn returned(place: &Place<'_>) -> Delivery {
    place.queue.nothing("a returned message waits as long as it was told", "orders").await;
    place.queue.pass(5).await;
    place.queue.takes("a returned message comes again after its wait", "orders", "1").await
}

/// `DeadLetter` in a batch parks the message, with its history and reason.
pub async fn dead_letter_in_a_batch_parks_the_message(rig: &dyn QueueRig) {
    let Some(place) = Place::open(rig).await else { return };
    settled(&place, dead_letter(DeadReason::UnknownType, 7)).await;
    place.queue.outlive().await;
    place.queue.nothing("a dead letter is not received again", "orders").await;
    let dead = OperatorHandle::open(place.rig).await.only("orders").await;
    let seen = (dead.reason, dead.failures);
    let expected = (DeadReason::UnknownType, vec![failure(7)]);
    require_eq("a dead letter keeps its reason and history", &seen, &expected);
}

/// `DeadLetter` in a batch keeps the entity with the message, unharmed; none where none was told.
pub async fn dead_letter_in_a_batch_keeps_the_entity(rig: &dyn QueueRig) {
    let Some(place) = Place::open(rig).await else { return };
    let operator = OperatorHandle::open(place.rig).await;
    for (n, entity) in delicate_entities().into_iter().enumerate() {
        let endpoint = format!("orders-{n}");
        let delivery = place.delivery(&endpoint, "1").await;
        let parked = settle(&delivery.receipt, dead_letter_for(entity.as_deref()));
        place.store.applies("a delivery is settled in a batch", vec![parked]).await;
        let seen = operator.only(&endpoint).await.entity;
        require_eq("a dead letter keeps the entity that it was parked with", &seen, &entity);
    }
}
