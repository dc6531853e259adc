//! What a person sees and decides, where store and queue are one.

use semel_core::broker::{DeadReason, Settlement};
use semel_core::store::{Expect, ItemKey, Space};

use super::handle::{Place, effects, settle};
use crate::QueueRig;
use crate::operator::handle::OperatorHandle;
use crate::sample::RELEASE;
use crate::store::handle::{delete, put};
use crate::verdict::require_eq;

/// Discarding a dead letter is a change like any other: in one batch with what records it.
pub async fn a_dead_letter_is_decided_in_a_batch(rig: &dyn QueueRig) {
    let Some(place) = Place::open(rig).await else { return };
    let operator = OperatorHandle::open(rig).await;
    operator.park("orders", "1", DeadReason::HandlerFailed).await;
    let dead = operator.only("orders").await;
    let mut batch = effects().to_vec();
    batch.push(settle(&dead.receipt, Settlement::Ack));
    let sentence = "a dead letter is decided in one batch with what records it";
    place.store.applies(sentence, batch).await;
    place.all_effects(sentence).await;
    require_eq(sentence, &operator.list(None, 0, 10).await.len(), &0);
}

/// A batch that decides a dead letter which was decided before loses as a whole.
pub async fn a_decided_dead_letter_loses_the_batch(rig: &dyn QueueRig) {
    let Some(place) = Place::open(rig).await else { return };
    let operator = OperatorHandle::open(rig).await;
    operator.park("orders", "1", DeadReason::HandlerFailed).await;
    let dead = operator.only("orders").await;
    place.queue.settles("`Release` replays a dead letter", &dead.receipt, RELEASE).await;
    let mut batch = effects().to_vec();
    batch.push(settle(&dead.receipt, Settlement::Ack));
    let sentence = "a batch that decides a dead letter again conflicts";
    place.store.conflicts(sentence, batch, &[2]).await;
    place.no_effects(sentence).await;
    place.queue.takes("a replayed message is delivered again", "orders", "1").await;
}

/// The report counts the entities, the remembered identities, the tokens and the effects that wait
/// for their dispatch, of each endpoint.
pub async fn inspection_counts_items(rig: &dyn QueueRig) {
    let Some(place) = Place::open(rig).await else { return };
    let operator = OperatorHandle::open(rig).await;
    let item = |space, key: &str| ItemKey::new(space, "orders", key);
    let items = [
        item(Space::Entity, "7"),
        item(Space::Entity, "8"),
        item(Space::Inbox, "a"),
        item(Space::Inbox, "b"),
        item(Space::Inbox, "c"),
        item(Space::Reply, "d"),
        item(Space::Token, "e"),
        item(Space::Token, "f"),
        item(Space::Token, "g"),
        item(Space::Token, "h"),
        item(Space::Outbox, "i"),
    ];
    place.queue.register("orders", &[]).await;
    place.queue.register("billing", &[]).await;
    let batch = items.iter().map(|key| put(key, "x", Expect::Absent)).collect();
    place.store.applies("a batch across spaces is applied", batch).await;
    counts(&operator, "orders", (2, 3, 4, 1)).await;
    counts(&operator, "billing", (0, 0, 0, 0)).await;
    let gone = [0, 2, 6, 10].map(|n: usize| delete(&items[n], Expect::Anything));
    place.store.applies("a delete is applied", gone.into()).await;
    counts(&operator, "orders", (1, 2, 3, 0)).await;
}

/// Asserts how many items the report counts at an endpoint.
async fn counts(operator: &OperatorHandle<'_>, endpoint: &str, expected: (u64, u64, u64, u64)) {
    let report = operator.report(endpoint).await;
    let seen = (report.entities, report.inbox, report.tokens, report.finisher_backlog);
    let sentence = "the report counts an endpoint's (entities, inbox, tokens, finisher backlog)";
    require_eq(sentence, &seen, &expected);
}
