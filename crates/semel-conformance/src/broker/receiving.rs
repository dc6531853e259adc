//! How messages are received: oldest first, a few at a time, with patience.

use std::collections::BTreeSet;
use std::time::Duration;

use semel_core::broker::{Receive, Settlement};

use super::handle::{QueueHandle, id_of, ids};
use crate::BrokerRig;
use crate::concurrency::{step, while_time_passes};
use crate::sample::{message, to};
use crate::verdict::{broken, require, require_eq};

/// A receive takes the oldest messages first, and gives them in that order.
pub async fn the_oldest_message_comes_first(rig: &dyn BrokerRig) {
    let queue = QueueHandle::open(rig).await;
    for id in ["1", "2", "3", "4", "5"] {
        queue.send("orders", message(id)).await;
        queue.pass(1).await;
    }
    queue.takes("the oldest message comes first", "orders", "1").await;
    let rest = ids(&queue.drain("orders").await);
    require_eq(
        "messages come oldest first",
        &rest,
        &["2", "3", "4", "5"].map(str::to_owned).into(),
    );
}

/// A receive takes at most `max` messages, and loses none of the rest.
pub async fn a_receive_takes_at_most_max(rig: &dyn BrokerRig) {
    let queue = QueueHandle::open(rig).await;
    queue.sends((0..5).map(|n| to("orders", message(n.to_string()))).collect()).await;
    let mut seen = BTreeSet::new();
    for max in [1, 2, 2, 2, 2] {
        // `receive` asserts that `max` is kept.
        seen.extend(ids(&queue.receive("orders", max, queue.long()).await));
    }
    require_eq("what one receive leaves, the next takes", &seen.len(), &5);
}

/// A receive takes at most `receive_max` messages, however many it is asked for; a limit above 200
/// is not tried.
pub async fn a_receive_takes_at_most_its_limit(rig: &dyn BrokerRig) {
    let queue = QueueHandle::open(rig).await;
    let limit = queue.limits().receive_max;
    let count = limit.min(200) + 1;
    queue.sends((0..count).map(|n| to("orders", message(n.to_string()))).collect()).await;
    let mut received = 0;
    while received < count {
        let deliveries = queue.receive("orders", usize::MAX, queue.long()).await;
        let sentence = "a receive takes at most `receive_max` messages, whatever it is asked for";
        require(sentence, deliveries.len() <= limit, &deliveries.len());
        require("what one receive leaves, the next takes", !deliveries.is_empty(), &received);
        received += deliveries.len();
    }
}

/// A receive returns an empty list when no message came in the time to wait.
pub async fn an_empty_receive_comes_back(rig: &dyn BrokerRig) {
    let queue = QueueHandle::open(rig).await;
    for wait in [Duration::ZERO, queue.ticks(1)] {
        let request = waiting("orders", wait, &queue);
        let sentence = "a receive comes back after the time to wait";
        match while_time_passes(rig, sentence, queue.broker.receive(&request)).await {
            Ok(deliveries) => {
                let sentence = "a receive from an empty queue returns nothing";
                require(sentence, deliveries.is_empty(), &ids(&deliveries));
            }
            Err(error) => broken("an empty queue is no error", &error),
        }
    }
}

/// A receive that waits gets the message that comes meanwhile, from another handle too.
pub async fn a_waiting_receive_gets_what_comes(rig: &dyn BrokerRig) {
    let queue = QueueHandle::open(rig).await;
    let other = QueueHandle::open(rig).await;
    let request = waiting("orders", queue.ticks(30), &queue);
    let sentence = "a receive waits for the first message";
    let (received, ()) =
        tokio::join!(while_time_passes(rig, sentence, queue.broker.receive(&request)), async {
            for _ in 0..3 {
                step(rig).await;
            }
            other.send("orders", message("1")).await;
        });
    match received {
        Ok(deliveries) => require_eq(sentence, &ids(&deliveries), &vec!["1".to_owned()]),
        Err(error) => broken("a receive from a broker that works succeeds", &error),
    }
}

/// A receive whose future was dropped loses nothing but time: its messages come again when their
/// leases have ended.
pub async fn a_dropped_receive_loses_nothing(rig: &dyn BrokerRig) {
    let queue = QueueHandle::open(rig).await;
    let mut sent = BTreeSet::new();
    for round in 0..10_u64 {
        let request = waiting("orders", queue.ticks(1), &queue);
        let patience = Duration::from_micros(round * 100);
        let _dropped = tokio::time::timeout(patience, queue.broker.receive(&request)).await;
        queue.send("orders", message(round.to_string())).await;
        sent.insert(round.to_string());
    }
    let mut seen = BTreeSet::new();
    // A dropped receive may go on elsewhere until its wait is over, and what it takes is leased.
    for _ in 0..200 {
        step(rig).await;
        queue.outlive().await;
        for delivery in queue.drain("orders").await {
            seen.insert(id_of(&delivery));
            queue.settle(&delivery, Settlement::Ack).await;
        }
        if seen.len() == sent.len() {
            break;
        }
    }
    require_eq("a dropped receive loses nothing", &seen, &sent);
}

fn waiting(endpoint: &str, wait: Duration, queue: &QueueHandle<'_>) -> Receive {
    Receive { endpoint: endpoint.to_owned(), max: 10, lease: queue.short(), wait }
}
