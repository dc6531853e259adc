//! What a person decides about dead letters.

use std::time::Duration;

use semel_core::broker::{DeadReason, Delivery, FailureRecord, Lease, SettleOutcome, Settlement};
use semel_core::operator::DeadLetter;

use super::handle::OperatorHandle;
use crate::OperatorRig;
use crate::broker::handle::{QueueHandle, envelope};
use crate::broker::is_unharmed;
use crate::concurrency::together;
use crate::sample::{RELEASE, dead_letter, failure, message, settlements};
use crate::verdict::{broken, require_eq};

const REPLAYED: &str = "a replayed message is delivered again";

async fn is_dead_no_more(place: &OperatorHandle<'_>, dead: &DeadLetter) {
    let listed = place.list(Some(&dead.endpoint), 0, 10).await;
    require_eq("what was decided is no dead letter any more", &listed.len(), &0);
    let found = place.find(dead.number).await.is_some();
    require_eq("what was decided is no dead letter any more", &found, &false);
}

/// `Release` under a dead letter's receipt replays it: delivered again, unharmed, with its history,
/// and with all its tries, for its counts begin anew.
pub async fn a_replay_delivers_again_with_its_history(rig: &dyn OperatorRig) {
    let place = OperatorHandle::open(rig).await;
    place.park_after_retries("orders", message("1")).await;
    let dead = place.only("orders").await;
    place.queue.settles("`Release` replays a dead letter", &dead.receipt, RELEASE).await;
    is_dead_no_more(&place, &dead).await;
    let again = place.queue.takes(REPLAYED, "orders", "1").await;
    is_unharmed(envelope(&again), &message("1"));
    is_replayed(&again, &[1, 2, 3]);
}

/// Asserts that a delivery is the first of a replay, after these failures.
fn is_replayed(delivery: &Delivery, failures: &[u32]) {
    let expected: Vec<FailureRecord> = failures.iter().copied().map(failure).collect();
    require_eq("a replayed message has its history", &delivery.failures, &expected);
    let counts = (delivery.deliveries, delivery.failure_count);
    let sentence = "the counts of a replayed message, (deliveries, failure_count), begin anew";
    require_eq(sentence, &counts, &(1, 0));
}

/// A replay waits as long as it was told.
pub async fn a_replay_waits_as_long_as_told(rig: &dyn OperatorRig) {
    let place = OperatorHandle::open(rig).await;
    place.park("orders", "1", DeadReason::HandlerFailed).await;
    let dead = place.only("orders").await;
    let release = Settlement::Release { after: place.queue.ticks(4) };
    place.queue.settles("`Release` replays a dead letter", &dead.receipt, release).await;
    place.queue.nothing("a replayed message waits as long as it was told", "orders").await;
    place.queue.pass(5).await;
    place.queue.takes(REPLAYED, "orders", "1").await;
}

/// A replayed message that fails again is a dead letter again, with the longer history.
pub async fn a_replayed_message_can_die_again(rig: &dyn OperatorRig) {
    let place = OperatorHandle::open(rig).await;
    place.park("orders", "1", DeadReason::HandlerFailed).await;
    let first = place.only("orders").await;
    place.queue.settles("`Release` replays a dead letter", &first.receipt, RELEASE).await;
    let again = place.queue.takes(REPLAYED, "orders", "1").await;
    place.queue.settle(&again, dead_letter(DeadReason::Refused, 2)).await;
    let second = place.only("orders").await;
    let seen = (second.reason, &second.failures);
    let expected = (DeadReason::Refused, &vec![failure(1), failure(2)]);
    require_eq("a message that died again has the longer history", &seen, &expected);
    let sentence = "the receipt of an earlier death has no power";
    place.queue.stale(sentence, &first.receipt, RELEASE).await;
    place.queue.settles("`Ack` removes a dead letter", &second.receipt, Settlement::Ack).await;
}

/// `Ack` under a dead letter's receipt removes it for good.
pub async fn a_removal_is_for_good(rig: &dyn OperatorRig) {
    let place = OperatorHandle::open(rig).await;
    place.park("orders", "1", DeadReason::HandlerFailed).await;
    let dead = place.only("orders").await;
    place.queue.settles("`Ack` removes a dead letter", &dead.receipt, Settlement::Ack).await;
    is_dead_no_more(&place, &dead).await;
    place.queue.outlive().await;
    place.queue.nothing("a removed dead letter is not delivered", "orders").await;
}

/// A dead letter's receipt loses its power with the decision, whichever it was: every later
/// settlement is `Stale` and changes nothing.
pub async fn a_decision_is_made_once(rig: &dyn OperatorRig) {
    let place = OperatorHandle::open(rig).await;
    for (name, late) in settlements(Duration::ZERO) {
        for (fate, decision) in [("replayed", RELEASE), ("removed", Settlement::Ack)] {
            let endpoint = format!("{fate}-{name}");
            place.park(&endpoint, "1", DeadReason::HandlerFailed).await;
            let dead = place.only(&endpoint).await;
            place.queue.settles("a dead letter can be decided", &dead.receipt, decision).await;
            let sentence = "a dead letter's receipt loses its power with the decision";
            place.queue.stale(sentence, &dead.receipt, late.clone()).await;
            is_dead_no_more(&place, &dead).await;
            if fate == "replayed" {
                let again = place.queue.takes(REPLAYED, &endpoint, "1").await;
                is_replayed(&again, &[1]);
            }
            place.queue.nothing("a stale receipt changes nothing", &endpoint).await;
        }
    }
}

/// A dead letter can be decided by another process than the one that listed it, long after.
pub async fn a_dead_letter_waits_for_its_person(rig: &dyn OperatorRig) {
    let place = OperatorHandle::open(rig).await;
    place.park("orders", "1", DeadReason::HandlerFailed).await;
    let dead = place.only("orders").await;
    for _ in 0..3 {
        place.queue.outlive().await;
    }
    let later = place.only("orders").await;
    require_eq("a dead letter's number is stable while it is dead", &later.number, &dead.number);
    let other = QueueHandle::open(rig).await;
    other.settles("a dead letter's receipt does not age", &dead.receipt, RELEASE).await;
    other.takes(REPLAYED, "orders", "1").await;
}

/// Of two people who decide at the same time, one does.
pub async fn concurrent_decisions_have_one_winner(rig: &dyn OperatorRig) {
    let place = OperatorHandle::open(rig).await;
    for round in 0..10 {
        let endpoint = format!("round-{round}");
        place.park(&endpoint, "1", DeadReason::HandlerFailed).await;
        let receipt = place.only(&endpoint).await.receipt;
        let brokers = [rig.broker().await, rig.broker().await];
        let decisions = [RELEASE, Settlement::Ack, RELEASE, Settlement::Ack];
        let tasks = decisions.into_iter().enumerate().map(|(n, decision)| {
            let (broker, receipt) = (brokers[n % 2].clone(), receipt.clone());
            async move { (decision.clone(), broker.settle(&receipt, decision).await) }
        });
        let outcomes = together(tasks).await;
        let won = outcomes.iter().filter(|(_, told)| matches!(told, SettleOutcome::Settled));
        let won: Vec<&Settlement> = won.map(|(decision, _)| decision).collect();
        match won.as_slice() {
            [Settlement::Ack] => place.queue.nothing("what was removed is gone", &endpoint).await,
            [_] => drop(place.queue.takes(REPLAYED, &endpoint, "1").await),
            _ => broken("of two decisions one is made", &outcomes),
        }
    }
}

/// A dead letter's receipt is no lease: extending it finds `Lost`, and wakes nothing.
pub async fn a_dead_letter_has_no_lease(rig: &dyn OperatorRig) {
    let place = OperatorHandle::open(rig).await;
    place.park("orders", "1", DeadReason::HandlerFailed).await;
    let dead = place.only("orders").await;
    let sentence = "a dead letter has no lease to extend";
    place.queue.extends(sentence, &dead.receipt, place.queue.short(), Lease::Lost).await;
    place.queue.outlive().await;
    place.queue.nothing(sentence, "orders").await;
    require_eq(sentence, &place.only("orders").await.number, &dead.number);
}
