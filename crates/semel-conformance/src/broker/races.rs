//! Workers that race: through several handles, at the same time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use semel_core::Broker;
use semel_core::broker::{Delivery, Ordering, Receipt, Receive, SettleOutcome, Settlement};

use super::handle::{QueueHandle, envelope, id_of};
use crate::BrokerRig;
use crate::concurrency::together;
use crate::sample::{keyed, message, settlements, to};
use crate::verdict::{broken, require_eq};

const WORKERS: usize = 4;
const MESSAGES: usize = 60;

/// A queue that several workers share: who received what, in the order it happened.
#[derive(Clone)]
struct Shared {
    broker: Arc<dyn Broker>,
    request: Receive,
    received: Arc<Mutex<Vec<Delivery>>>,
}

/// Workers that receive at the same time never hold the same message, and none is left out.
pub async fn concurrent_receivers_share_no_message(rig: &dyn BrokerRig) {
    let queue = QueueHandle::open(rig).await;
    queue.sends((0..MESSAGES).map(|n| to("orders", message(n.to_string()))).collect()).await;
    let received = all_receive(&queue).await;
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for delivery in &received {
        *seen.entry(id_of(delivery)).or_default() += 1;
    }
    let expected = (0..MESSAGES).map(|n| (n.to_string(), 1)).collect();
    require_eq("concurrent receivers share no message and leave none out", &seen, &expected);
}

/// With several workers at once, the messages of a key are still received in order, each after the
/// one before was settled. A queue that keeps no order still delivers each once.
pub async fn concurrent_receivers_keep_a_keys_order(rig: &dyn BrokerRig) {
    let queue = QueueHandle::open(rig).await;
    let sent = (0..MESSAGES).map(|n| to("orders", keyed(&format!("{n:02}"), &(n % 3).to_string())));
    queue.sends(sent.collect()).await;
    let received = all_receive(&queue).await;
    let mut seen: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for delivery in &received {
        let key = envelope(delivery).text("partitionkey").unwrap_or_default().to_owned();
        seen.entry(key).or_default().push(id_of(delivery));
    }
    let keeps_order = queue.limits().ordering == Ordering::PerPartitionKey;
    for (key, mut ids) in seen {
        if !keeps_order {
            ids.sort_unstable();
        }
        let of_key = (0..MESSAGES).filter(|n| (n % 3).to_string() == key);
        let expected: Vec<String> = of_key.map(|n| format!("{n:02}")).collect();
        require_eq("concurrent receivers keep the order of a key", &ids, &expected);
    }
}

/// Workers receive and acknowledge until all messages were received once, or nothing comes.
async fn all_receive(queue: &QueueHandle<'_>) -> Vec<Delivery> {
    let request = Receive {
        endpoint: "orders".to_owned(),
        max: 5,
        lease: queue.long(),
        wait: queue.rig.patience(),
    };
    let received = Arc::default();
    let mut workers = Vec::new();
    let brokers = [queue.rig.broker().await, queue.rig.broker().await];
    for worker in 0..WORKERS {
        let broker = brokers[worker % 2].clone();
        let shared =
            Shared { broker, request: request.clone(), received: Arc::clone(&received) };
        workers.push(async move { shared.work().await });
    }
    together(workers).await;
    std::mem::take(&mut received.lock().unwrap_or_else(PoisonError::into_inner))
}

impl Shared {
    async fn work(&self) {
        let mut idle = 0;
        while idle < 200 && self.count() < MESSAGES {
            let deliveries = self.receive().await;
            idle = if deliveries.is_empty() { idle + 1 } else { 0 };
            if deliveries.is_empty() {
                // A key may be blocked by what another worker holds.
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            self.record(&deliveries);
            for delivery in deliveries {
                self.acknowledge(&delivery.receipt).await;
            }
        }
    }

    async fn receive(&self) -> Vec<Delivery> {
        match self.broker.receive(&self.request).await {
            Ok(deliveries) => deliveries,
            Err(error) if error.is_passing() => Vec::new(),
            Err(error) => broken("a receive from a broker that works succeeds", &error),
        }
    }

    async fn acknowledge(&self, receipt: &Receipt) {
        match self.broker.settle(receipt, Settlement::Ack).await {
            SettleOutcome::Settled => {}
            other => broken("a delivery can be settled under its lease", &other),
        }
    }

    fn record(&self, deliveries: &[Delivery]) {
        let mut received = self.received.lock().unwrap_or_else(PoisonError::into_inner);
        received.extend(deliveries.iter().cloned());
    }

    fn count(&self) -> usize {
        self.received.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

/// Of settlements that race under one receipt, one at most decides: what the broker then does with
/// the message is what the winner said.
pub async fn concurrent_settlements_have_one_winner(rig: &dyn BrokerRig) {
    let queue = QueueHandle::open(rig).await;
    for round in 0..10 {
        let endpoint = format!("round-{round}");
        queue.send(&endpoint, message("1")).await;
        let delivery = queue.takes("a message that was sent is delivered", &endpoint, "1").await;
        let winners = race(&queue, &delivery.receipt).await;
        let [winner] = winners.as_slice() else {
            broken("of settlements that race under one receipt one decides", &winners)
        };
        match *winner {
            "Release" | "Retry" => {
                queue.takes("the winner's settlement is done", &endpoint, "1").await;
            }
            _ => queue.nothing("the winner's settlement is done", &endpoint).await,
        }
    }
}

async fn race(queue: &QueueHandle<'_>, receipt: &Receipt) -> Vec<&'static str> {
    let brokers = [queue.rig.broker().await, queue.rig.broker().await];
    let tasks = settlements(Duration::ZERO).into_iter().enumerate().map(|(n, (name, settlement))| {
        let (broker, receipt) = (brokers[n % 2].clone(), receipt.clone());
        async move { (name, broker.settle(&receipt, settlement).await) }
    });
    let mut winners = Vec::new();
    for (name, outcome) in together(tasks).await {
        match outcome {
            SettleOutcome::Settled => winners.push(name),
            SettleOutcome::Stale => {}
            other => broken("a broker that works tells what became of a settlement", &other),
        }
    }
    winners
}
