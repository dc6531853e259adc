//! Attempts at one message that race to commit.

use std::sync::Arc;
use std::time::Duration;

use semel_core::Broker;
use semel_core::broker::{Delivery, Lease, Receipt, Settlement};
use semel_core::store::Expect;

use super::handle::{Place, enqueue, settle};
use crate::QueueRig;
use crate::broker::handle::id_of;
use crate::concurrency::together;
use crate::sample::{message, to};
use crate::store::handle::{StoreHandle, as_read, entity, put};
use crate::verdict::{broken, require_eq};

/// Of batches that settle the same delivery at the same time, exactly one is applied, and only its
/// effects are there.
pub async fn concurrent_batches_settle_a_delivery_once(rig: &dyn QueueRig) {
    let Some(place) = Place::open(rig).await else { return };
    let stores = [StoreHandle::open(rig).await, StoreHandle::open(rig).await];
    for round in 0..10 {
        let delivery = place.delivery("orders", "1").await;
        let tasks = (0..4_usize).map(|n| {
            let (store, name) = (stores[n % 2].clone(), format!("{round}-{n}"));
            let batch = vec![
                put(&entity(name.clone()), "x", Expect::Absent),
                settle(&delivery.receipt, Settlement::Ack),
                enqueue(to("effects", message(name.clone()))),
            ];
            async move { store.wins(batch).await.then_some(name) }
        });
        let winners: Vec<String> = together(tasks).await.into_iter().flatten().collect();
        let sentence = "of batches that settle one delivery, exactly one is applied";
        require_eq(sentence, &winners.len(), &1);
        only_the_winners_effects(&place, round, &winners[0]).await;
    }
}

async fn only_the_winners_effects(place: &Place<'_>, round: usize, winner: &str) {
    let sentence = "the effects are the winner's alone";
    for n in 0..4 {
        let name = format!("{round}-{n}");
        let value = (name == winner).then_some(b"x".as_slice());
        place.store.shows(sentence, &entity(name), value).await;
    }
    let seen: Vec<String> = place.queue.drain("effects").await.iter().map(id_of).collect();
    require_eq(sentence, &seen, &vec![winner.to_owned()]);
}

/// Workers that change one item, send and settle in one batch, all at the same time and two for
/// each delivery, process every message exactly once.
pub async fn every_message_is_processed_once(rig: &dyn QueueRig) {
    let Some(place) = Place::open(rig).await else { return };
    let sent: Vec<String> = (0..24).map(|n| format!("{n:02}")).collect();
    place.queue.sends(sent.iter().map(|id| to("orders", message(id))).collect()).await;
    let deliveries = place.queue.drain("orders").await;
    let workers = [Worker::open(rig).await, Worker::open(rig).await];
    let attempts = deliveries.iter().flat_map(|delivery| {
        workers.clone().map(|worker| {
            let delivery = delivery.clone();
            async move { worker.processes(&delivery).await }
        })
    });
    let attempts: Vec<_> = attempts.collect();
    let committed = together(attempts).await.into_iter().filter(|committed| *committed).count();
    let sentence = "every message is processed exactly once";
    require_eq(sentence, &committed, &sent.len());
    let value = place.store.read(&entity("total")).await.map(|item| item.value.to_vec());
    let text = String::from_utf8_lossy(&value.unwrap_or_default()).into_owned();
    require_eq(sentence, &sorted(text.lines().map(str::to_owned)), &sent);
    let effects = place.queue.drain("effects").await;
    require_eq(sentence, &sorted(effects.iter().map(id_of)), &sent);
}

fn sorted(ids: impl Iterator<Item = String>) -> Vec<String> {
    let mut ids: Vec<String> = ids.collect();
    ids.sort_unstable();
    ids
}

#[derive(Clone)]
struct Worker {
    store: StoreHandle,
    broker: Arc<dyn Broker>,
}

impl Worker {
    async fn open(rig: &dyn QueueRig) -> Self {
        Self { store: StoreHandle::open(rig).await, broker: rig.broker().await }
    }

    /// Processes a delivery until its batch is applied, or its receipt has lost its power. Whether
    /// it was applied.
    async fn processes(&self, delivery: &Delivery) -> bool {
        let id = id_of(delivery);
        for _ in 0..10_000 {
            let item = self.store.read(&entity("total")).await;
            let mut value = item.as_ref().map_or(Vec::new(), |item| item.value.to_vec());
            value.extend_from_slice(format!("{id}\n").as_bytes());
            let batch = vec![
                put(&entity("total"), value, as_read(item.as_ref())),
                settle(&delivery.receipt, Settlement::Ack),
                enqueue(to("effects", message(id.clone()))),
            ];
            if self.store.wins(batch).await {
                return true;
            }
            if !self.holds(&delivery.receipt).await {
                return false;
            }
        }
        broken("of concurrent writers one always wins", &"10000 conflicts in a row")
    }

    async fn holds(&self, receipt: &Receipt) -> bool {
        // An hour is longer than the lease it had, and so takes nothing away.
        match self.broker.extend(std::slice::from_ref(receipt), Duration::from_secs(3600)).await {
            Ok(leases) => leases == [Lease::Held],
            Err(error) => broken("an extension by a broker that works succeeds", &error),
        }
    }
}
