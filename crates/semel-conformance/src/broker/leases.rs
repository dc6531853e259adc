//! A delivery is its receiver's until its lease ends.

use semel_core::broker::{Lease, SettleOutcome, Settlement};

use super::handle::{QueueHandle, id_of, require_history};
use crate::BrokerRig;
use crate::sample::{RELEASE, message, settlements};
use crate::verdict::{broken, require, require_eq};

const SENT: &str = "a message that was sent is delivered";
const AGAIN: &str = "when its lease has ended, a message is delivered again";

/// While a message is leased, no other receives it, through whichever handle.
pub async fn a_leased_message_is_not_received_by_another(rig: &dyn BrokerRig) {
    let queue = QueueHandle::open(rig).await;
    let other = QueueHandle::open(rig).await;
    queue.send("orders", message("1")).await;
    let delivery = queue.takes(SENT, "orders", "1").await;
    queue.pass(3).await;
    for handle in [&queue, &other] {
        handle.nothing("a leased message is not received by another", "orders").await;
    }
    queue.settle(&delivery, Settlement::Ack).await;
}

/// When its lease has ended, a message is delivered again: under another receipt, counting one more
/// delivery, and no failure.
pub async fn a_message_comes_again_after_its_lease(rig: &dyn BrokerRig) {
    let queue = QueueHandle::open(rig).await;
    let other = QueueHandle::open(rig).await;
    queue.send("orders", message("1")).await;
    let mut before = queue.next(SENT, "orders", queue.short()).await;
    for deliveries in 2..5 {
        queue.outlive().await;
        let taker = if deliveries % 2 == 0 { &other } else { &queue };
        let again = taker.next(AGAIN, "orders", queue.short()).await;
        require_eq(AGAIN, &id_of(&again).as_str(), &"1");
        require_history("a lost lease is a delivery, and no failure", &again, deliveries, 0);
        let new = again.receipt != before.receipt;
        require("a message comes again under another receipt", new, &again.receipt);
        before = again;
    }
}

/// A receipt whose lease has ended, but whose message nobody took since, settles wholly or not at
/// all: the broker may still honour it, or call it stale.
pub async fn an_expired_receipt_settles_wholly_or_not_at_all(rig: &dyn BrokerRig) {
    let queue = QueueHandle::open(rig).await;
    queue.send("orders", message("1")).await;
    let delivery = queue.next(SENT, "orders", queue.short()).await;
    queue.outlive().await;
    match queue.broker.settle(&delivery.receipt, Settlement::Ack).await {
        SettleOutcome::Settled => {
            queue.nothing("what was settled with `Ack` is gone", "orders").await;
        }
        SettleOutcome::Stale => {
            let again = queue.takes("a stale receipt changes nothing", "orders", "1").await;
            require_history("a stale receipt changes nothing", &again, 2, 0);
        }
        other => broken("a broker that works tells what became of a settlement", &other),
    }
}

/// Extending a lease keeps the receipt, and holds the message for the time asked, from now.
pub async fn an_extended_lease_holds_under_the_same_receipt(rig: &dyn BrokerRig) {
    let queue = QueueHandle::open(rig).await;
    let other = QueueHandle::open(rig).await;
    queue.send("orders", message("1")).await;
    let delivery = queue.next(SENT, "orders", queue.short()).await;
    for _ in 0..3 {
        queue.pass(3).await;
        let sentence = "the lease of a delivery that is ours can be extended";
        queue.extends(sentence, &delivery.receipt, queue.short(), Lease::Held).await;
    }
    queue.pass(3).await;
    other.nothing("an extended lease holds for the time asked", "orders").await;
    let sentence = "extending a lease keeps the receipt";
    queue.settles(sentence, &delivery.receipt, Settlement::Ack).await;
    queue.outlive().await;
    queue.nothing("what was settled with `Ack` is gone", "orders").await;
}

/// An extended lease ends too, counted from its extension, even where the first one was longer.
pub async fn an_extended_lease_ends(rig: &dyn BrokerRig) {
    let queue = QueueHandle::open(rig).await;
    queue.send("orders", message("1")).await;
    let delivery = queue.takes(SENT, "orders", "1").await;
    let sentence = "the lease of a delivery that is ours can be extended";
    queue.extends(sentence, &delivery.receipt, queue.short(), Lease::Held).await;
    queue.outlive().await;
    queue.takes("a lease lasts for the time asked, from its extension", "orders", "1").await;
}

/// An extension finds `Lost` once another took the message, and does not touch the other's lease.
pub async fn an_extension_is_lost_once_another_took(rig: &dyn BrokerRig) {
    let queue = QueueHandle::open(rig).await;
    let other = QueueHandle::open(rig).await;
    queue.send("orders", message("1")).await;
    let old = queue.next(SENT, "orders", queue.short()).await;
    queue.outlive().await;
    let new = other.next(AGAIN, "orders", queue.short()).await;
    let sentence = "an extension finds `Lost` once another took the message";
    queue.extends(sentence, &old.receipt, queue.long(), Lease::Lost).await;
    other.outlive().await;
    let sentence = "an extension that finds `Lost` changes nothing";
    let again = queue.takes(sentence, "orders", "1").await;
    require(sentence, again.receipt != new.receipt, &again.receipt);
}

/// An extension finds `Lost` once the message was settled, in whichever way, and brings nothing
/// back.
pub async fn an_extension_is_lost_once_settled(rig: &dyn BrokerRig) {
    let queue = QueueHandle::open(rig).await;
    for (name, settlement) in settlements(queue.ticks(3)) {
        queue.send(name, message("1")).await;
        let delivery = queue.takes(SENT, name, "1").await;
        queue.settle(&delivery, settlement).await;
        let sentence = "an extension finds `Lost` once the message was settled";
        queue.extends(sentence, &delivery.receipt, queue.long(), Lease::Lost).await;
    }
    queue.pass(4).await;
    for (name, settlement) in settlements(queue.ticks(3)) {
        match settlement {
            Settlement::Ack | Settlement::DeadLetter { .. } => {
                queue.nothing("an extension brings nothing back", name).await;
            }
            Settlement::Release { .. } | Settlement::Retry { .. } => {
                queue.takes("an extension that finds `Lost` changes nothing", name, "1").await;
            }
        }
    }
}

/// An extension answers for each receipt in order, and one that is lost spoils no other.
pub async fn an_extension_answers_for_each_receipt(rig: &dyn BrokerRig) {
    let queue = QueueHandle::open(rig).await;
    let mut receipts = Vec::new();
    for (position, id) in ["1", "2", "3"].into_iter().enumerate() {
        // One at a time: where a released message queues up again is not this contract's business.
        queue.send("orders", message(id)).await;
        let delivery = queue.next(SENT, "orders", queue.short()).await;
        require_eq(SENT, &id_of(&delivery).as_str(), &id);
        if position == 1 {
            queue.settle(&delivery, RELEASE).await;
            let again = queue.next("a released message comes again", "orders", queue.long()).await;
            queue.settle(&again, Settlement::Ack).await;
        }
        receipts.push(delivery.receipt);
    }
    let leases = queue.extend(&receipts, queue.long()).await;
    let sentence = "an extension answers for each receipt, in order";
    require_eq(sentence, &leases, &vec![Lease::Held, Lease::Lost, Lease::Held]);
    queue.outlive().await;
    queue.nothing("a lost receipt spoils no other's extension", "orders").await;
    require_eq(
        "extending nothing answers nothing",
        &queue.extend(&[], queue.long()).await,
        &vec![],
    );
}
