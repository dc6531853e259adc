//! A receipt that has lost its power changes nothing.

use semel_core::broker::{SettleOutcome, Settlement};

use super::handle::{QueueHandle, id_of, require_history};
use crate::BrokerRig;
use crate::sample::{RELEASE, message, settlements};
use crate::verdict::{broken, require_eq};

const SENT: &str = "a message that was sent is delivered";

/// Once the message was delivered to another, every settlement with the old receipt is `Stale`, and
/// changes nothing: neither the other's lease, nor the history, nor the message's fate.
pub async fn a_stale_receipt_settles_nothing(rig: &dyn BrokerRig) {
    let queue = QueueHandle::open(rig).await;
    let other = QueueHandle::open(rig).await;
    for (name, settlement) in settlements(queue.ticks(0)) {
        queue.send(name, message("1")).await;
        let old = queue.next(SENT, name, queue.short()).await;
        queue.outlive().await;
        let new = other.takes("when its lease has ended, a message comes again", name, "1").await;
        let sentence = "once another took the message, settling with the old receipt is stale";
        queue.stale(sentence, &old.receipt, settlement).await;
        queue.nothing("a stale receipt does not end the other's lease", name).await;
        let sentence = "a stale receipt leaves the delivery to the one who has it";
        other.settles(sentence, &new.receipt, RELEASE).await;
        let again = queue.takes("a stale receipt changes nothing", name, "1").await;
        require_history("a stale receipt leaves no trace in the history", &again, 2, 0);
    }
}

/// A returned delivery's receipt has lost its power at once, also while the message waits and
/// nobody has taken it.
pub async fn a_returned_receipt_settles_nothing(rig: &dyn BrokerRig) {
    let queue = QueueHandle::open(rig).await;
    for (name, settlement) in settlements(queue.ticks(0)) {
        queue.send(name, message("1")).await;
        let delivery = queue.takes(SENT, name, "1").await;
        queue.settle(&delivery, Settlement::Release { after: queue.ticks(3) }).await;
        let sentence = "the receipt of a returned delivery is stale";
        queue.stale(sentence, &delivery.receipt, settlement).await;
        queue.nothing("a stale receipt does not end a message's wait", name).await;
    }
    queue.pass(4).await;
    for (name, _) in settlements(queue.ticks(0)) {
        let again = queue.takes("a stale receipt changes nothing", name, "1").await;
        require_history("a stale receipt leaves no trace in the history", &again, 1, 0);
    }
}

/// What was settled for good stays so: no later settlement brings the message back. It is `Stale`;
/// a second `Ack` may also be `Settled`, which is as true.
pub async fn a_removed_message_stays_removed(rig: &dyn BrokerRig) {
    let queue = QueueHandle::open(rig).await;
    for (name, settlement) in settlements(queue.ticks(0)) {
        queue.send(name, message("1")).await;
        let delivery = queue.takes(SENT, name, "1").await;
        queue.settle(&delivery, Settlement::Ack).await;
        let second = settlement == Settlement::Ack;
        match queue.broker.settle(&delivery.receipt, settlement).await {
            SettleOutcome::Stale => {}
            SettleOutcome::Settled if second => {}
            other => broken("the receipt of a removed message is stale", &other),
        }
        queue.nothing("a removed message stays removed", name).await;
    }
}

/// A dead letter's last receipt has lost its power: no worker takes the message back.
pub async fn a_parked_message_stays_parked(rig: &dyn BrokerRig) {
    let queue = QueueHandle::open(rig).await;
    let dead = || settlements(queue.ticks(0))[3].1.clone();
    for (name, settlement) in settlements(queue.ticks(0)) {
        queue.send(name, message("1")).await;
        let delivery = queue.takes(SENT, name, "1").await;
        queue.settle(&delivery, dead()).await;
        let sentence = "the receipt under which a message was parked is stale";
        queue.stale(sentence, &delivery.receipt, settlement).await;
        queue.nothing("a parked message stays parked", name).await;
    }
}

/// A receipt that stands for nothing settles nothing.
pub async fn a_receipt_of_a_removed_message_is_not_another_ones(rig: &dyn BrokerRig) {
    let queue = QueueHandle::open(rig).await;
    queue.send("orders", message("1")).await;
    let removed = queue.takes(SENT, "orders", "1").await;
    queue.settle(&removed, Settlement::Ack).await;
    queue.send("orders", message("2")).await;
    let leased = queue.takes(SENT, "orders", "2").await;
    queue.stale("the receipt of a removed message is stale", &removed.receipt, RELEASE).await;
    let sentence = "the receipt of a removed message has no power over a later one";
    queue.nothing(sentence, "orders").await;
    queue.settles(sentence, &leased.receipt, RELEASE).await;
    let again = queue.next(sentence, "orders", queue.long()).await;
    require_eq(sentence, &id_of(&again).as_str(), &"2");
}
