//! Workers that race: through several handles, at the same time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use semel_core::Broker;
use semel_core::broker::{Delivery, Ordering, Receipt, Receive, SettleOutcome, Settlement};
use semel_core::envelope::PARTITION_KEY;

use super::handle::{QueueHandle, envelope, id_of};
use crate::BrokerRig;
use crate::concurrency::together;
use crate::sample::{keyed, message, settlements, to};
use crate::verdict::{broken, require, require_eq};

const WORKERS: usize = 4;
const MESSAGES: usize = 60;

/// A queue that several workers share.
#[derive(Clone)]
struct Shared {
    request: Receive,
    log: Arc<Mutex<Log>>,
}

#[derive(Default)]
struct Log {
    /// What was received, in the order it happened.
    received: Vec<Delivery>,
    /// What is not settled yet: worker, key and id.
    held: Vec<(usize, String, String)>,
    /// Messages that were received while another worker held an earlier one of their key.
    overtaking: Vec<String>,
}

/// Workers that receive at the same time never hold the same message, and none is left out.
pub async fn concurrent_receivers_share_no_message(rig: &dyn BrokerRig) {
    let queue = QueueHandle::open(rig).await;
    queue.sends((0..MESSAGES).map(|n| to("orders", message(n.to_string()))).collect()).await;
    let log = all_receive(&queue).await;
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for delivery in &log.received {
        *seen.entry(id_of(delivery)).or_default() += 1;
    }
    let expected = (0..MESSAGES).map(|n| (n.to_string(), 1)).collect();
    require_eq("concurrent receivers share no message and leave none out", &seen, &expected);
}

/// With several workers at once, the messages of a key are still received in order, and no two
/// workers hold messages of one key. A queue that keeps no order still delivers each once.
pub async fn concurrent_receivers_keep_a_keys_order(rig: &dyn BrokerRig) {
    let queue = QueueHandle::open(rig).await;
    let sent = (0..MESSAGES).map(|n| to("orders", keyed(&format!("{n:02}"), &(n % 3).to_string())));
    queue.sends(sent.collect()).await;
    let log = all_receive(&queue).await;
    let keeps_order = queue.limits().ordering == Ordering::PerPartitionKey;
    let mut seen: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for delivery in &log.received {
        seen.entry(key_of(delivery)).or_default().push(id_of(delivery));
    }
    if keeps_order {
        let sentence = "no two workers hold messages of one key";
        require(sentence, log.overtaking.is_empty(), &log.overtaking);
    } else {
        seen.values_mut().for_each(|ids| ids.sort_unstable());
    }
    for (key, ids) in seen {
        let of_key = (0..MESSAGES).filter(|n| (n % 3).to_string() == key);
        let expected: Vec<String> = of_key.map(|n| format!("{n:02}")).collect();
        require_eq("concurrent receivers keep the order of a key", &ids, &expected);
    }
}

fn key_of(delivery: &Delivery) -> String {
    envelope(delivery).text(PARTITION_KEY).unwrap_or_default().to_owned()
}

/// Workers receive and acknowledge until as many messages were received as there are, or none
/// comes for a while.
async fn all_receive(queue: &QueueHandle<'_>) -> Log {
    let request = Receive {
        endpoint: "orders".to_owned(),
        max: 5,
        lease: queue.long(),
        wait: queue.rig.patience(),
    };
    let shared = Shared { request, log: Arc::default() };
    let brokers = [queue.rig.broker().await, queue.rig.broker().await];
    let workers = (0..WORKERS).map(|worker| {
        let (broker, shared) = (brokers[worker % 2].clone(), shared.clone());
        async move { shared.work(worker, &*broker).await }
    });
    together(workers).await;
    std::mem::take(&mut shared.log())
}

impl Shared {
    async fn work(&self, worker: usize, broker: &dyn Broker) {
        let mut idle = 0;
        while idle < 200 && self.log().received.len() < MESSAGES {
            let deliveries = self.receive(broker).await;
            idle = if deliveries.is_empty() { idle + 1 } else { 0 };
            self.log().note(worker, &deliveries);
            // Others get their chance to receive what they must not have, or to settle what this
            // worker's next message waits for.
            tokio::time::sleep(Duration::from_millis(1)).await;
            for delivery in &deliveries {
                let id = id_of(delivery);
                self.log().held.retain(|(_, _, held)| *held != id);
                acknowledge(broker, &delivery.receipt).await;
            }
        }
    }

    async fn receive(&self, broker: &dyn Broker) -> Vec<Delivery> {
        match broker.receive(&self.request).await {
            Ok(deliveries) => deliveries,
            Err(error) if error.is_passing() => Vec::new(),
            Err(error) => broken("a receive from a broker that works succeeds", &error),
        }
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log {
    fn note(&mut self, worker: usize, deliveries: &[Delivery]) {
        for delivery in deliveries {
            let (key, id) = (key_of(delivery), id_of(delivery));
            let by_another =
                |(other, held, _): &(usize, String, String)| *other != worker && *held == key;
            if self.held.iter().any(by_another) {
                self.overtaking.push(id.clone());
            }
            self.held.push((worker, key, id));
        }
        self.received.extend_from_slice(deliveries);
    }
}

async fn acknowledge(broker: &dyn Broker, receipt: &Receipt) {
    match broker.settle(receipt, Settlement::Ack).await {
        SettleOutcome::Settled => {}
        other => broken("a delivery can be settled under its lease", &other),
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
    let tasks =
        settlements(Duration::ZERO).into_iter().enumerate().map(|(n, (name, settlement))| {
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
