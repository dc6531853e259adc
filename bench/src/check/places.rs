//! A store and a queue in memory, for shuttle: before each call any other thread may run.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use semel::StoreError;
use semel::check::relational_apart;
use semel::core::broker::{
    BrokerLimits, Delivery, Destination, Lease, Ordering, Outgoing, QueueAge, Receipt, Receive,
    Registration, SendOutcome, SettleOutcome, Settlement, Subscribers,
};
use semel::core::store::{
    Change, Expect, Item, ItemKey, Page, Space, StoreLimits, Version, WriteOutcome,
};
use semel::core::{Broker, Envelope, Message as _, Store};
use shuttle::thread;

use super::shared::{ACCOUNT, ACCOUNTS, SINK, Scene};
use crate::work::Deposit;

/// Items and messages. No thread is changed under the lock, so it is an ordinary one: shuttle's would
/// make two choices of each call, and its executions fewer.
#[derive(Debug)]
pub(crate) struct Memory(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    items: BTreeMap<ItemKey, (u64, Bytes)>,
    puts: u64,
    queue: Vec<Queued>,
    sent: u64,
    calls: u64,
}

#[derive(Debug)]
struct Queued {
    endpoint: String,
    envelope: Envelope,
    number: u64,
    deliveries: u32,
    is_leased: bool,
}

impl Memory {
    /// The queue of a scene, and no items.
    pub(crate) fn new(scene: Scene) -> Self {
        let mut inner = Inner::default();
        for (id, deposit) in scene.deposits() {
            let data = serde_json::to_vec(&deposit).unwrap_or_default();
            inner.push(ACCOUNTS.to_owned(), Envelope::new(id, "/outside", Deposit::TYPE, data));
        }
        Self(Mutex::new(inner))
    }

    /// A call begins: whoever else can run may run first.
    fn call(&self) -> MutexGuard<'_, Inner> {
        thread::yield_now();
        let mut inner = self.look();
        inner.calls += 1;
        inner
    }

    fn look(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the oldest message that waits.
    pub(crate) fn take(&self) -> Option<(String, Delivery)> {
        let mut inner = self.call();
        let queued = inner.queue.iter_mut().find(|queued| !queued.is_leased)?;
        queued.is_leased = true;
        queued.deliveries += 1;
        let delivery = Delivery {
            receipt: receipt(queued),
            envelope: Ok(queued.envelope.clone()),
            deliveries: queued.deliveries,
            failures: Vec::new(),
            failure_count: 0,
        };
        Some((queued.endpoint.clone(), delivery))
    }

    /// How many calls there were.
    pub(crate) fn calls(&self) -> u64 {
        self.look().calls
    }

    /// Whether the books are right.
    pub(crate) fn is_right(&self, scene: Scene) -> bool {
        let inner = self.look();
        scene.is_right(
            inner.entity(ACCOUNTS, ACCOUNT).as_ref(),
            inner.entity(SINK, ACCOUNT).as_ref(),
        )
    }
}

fn receipt(queued: &Queued) -> Receipt {
    Receipt::new(format!("{}.{}", queued.number, queued.deliveries))
}

impl Inner {
    fn push(&mut self, endpoint: String, envelope: Envelope) {
        self.sent += 1;
        let number = self.sent;
        self.queue.push(Queued { endpoint, envelope, number, deliveries: 0, is_leased: false });
    }

    fn entity<T: serde::de::DeserializeOwned>(&self, endpoint: &str, key: &str) -> Option<T> {
        let (_, value) = self.items.get(&ItemKey::new(Space::Entity, endpoint, key))?;
        serde_json::from_slice(value).ok()
    }

    fn item(&self, key: &ItemKey) -> Option<Item> {
        let (number, value) = self.items.get(key)?;
        Some(Item { key: key.clone(), value: value.clone(), version: version(*number) })
    }

    fn allows(&self, change: &Change) -> bool {
        let (Change::Put { key, expect, .. } | Change::Delete { key, expect }) = change else {
            return false;
        };
        let found = self.items.get(key);
        match expect {
            Expect::Anything => true,
            Expect::Absent => found.is_none(),
            Expect::Version(wanted) => found.is_some_and(|(number, _)| version(*number) == *wanted),
        }
    }

    fn apply(&mut self, change: Change) -> Option<Version> {
        match change {
            Change::Put { key, value, .. } => {
                self.puts += 1;
                self.items.insert(key, (self.puts, value));
                Some(version(self.puts))
            }
            Change::Delete { key, .. } => {
                self.items.remove(&key);
                None
            }
            Change::Enqueue(_) | Change::Settle { .. } => None,
        }
    }
}

fn version(number: u64) -> Version {
    Version::new(number.to_string())
}

#[async_trait]
impl Store for Memory {
    fn limits(&self) -> StoreLimits {
        relational_apart()
    }

    async fn read(&self, key: &ItemKey) -> Result<Option<Item>, StoreError> {
        Ok(self.call().item(key))
    }

    async fn write(&self, changes: Vec<Change>) -> WriteOutcome {
        let mut inner = self.call();
        let is_refused = |(_, change): &(usize, &Change)| !inner.allows(change);
        let refused = changes.iter().enumerate().filter(is_refused).map(|(at, _)| at);
        let refused: Vec<usize> = refused.collect();
        if !refused.is_empty() {
            return WriteOutcome::Conflict(refused);
        }
        WriteOutcome::Applied(changes.into_iter().map(|change| inner.apply(change)).collect())
    }

    async fn list(&self, page: &Page) -> Result<Vec<Item>, StoreError> {
        let inner = self.call();
        let in_page = |key: &&ItemKey| {
            key.space == page.space && page.after.as_ref().is_none_or(|after| *key > after)
        };
        let keys = inner.items.keys().filter(in_page).take(page.limit);
        Ok(keys.filter_map(|key| inner.item(key)).collect())
    }
}

#[async_trait]
impl Broker for Memory {
    fn limits(&self) -> BrokerLimits {
        BrokerLimits {
            message_bytes_max: 1 << 20,
            receive_max: 1,
            ordering: Ordering::None,
            subscribers: Subscribers::Listed,
            queue_age: QueueAge::Told,
        }
    }

    async fn register(&self, _: &Registration) -> Result<(), StoreError> {
        Ok(())
    }

    async fn receive(&self, _: &Receive) -> Result<Vec<Delivery>, StoreError> {
        Ok(self.take().into_iter().map(|(_, delivery)| delivery).collect())
    }

    async fn extend(&self, receipts: &[Receipt], _: Duration) -> Result<Vec<Lease>, StoreError> {
        Ok(vec![Lease::Held; receipts.len()])
    }

    async fn settle(&self, of: &Receipt, settlement: Settlement) -> SettleOutcome {
        let mut inner = self.call();
        let found = inner.queue.iter().position(|queued| receipt(queued) == *of);
        let Some(at) = found else { return SettleOutcome::Stale };
        match settlement {
            Settlement::Ack | Settlement::DeadLetter { .. } => drop(inner.queue.remove(at)),
            Settlement::Release { .. } | Settlement::Retry { .. } => {
                inner.queue[at].is_leased = false;
            }
        }
        SettleOutcome::Settled
    }

    async fn subscribers(&self, _: &str) -> Result<Vec<String>, StoreError> {
        Ok(Vec::new())
    }

    async fn send(&self, messages: Vec<Outgoing>) -> Vec<SendOutcome> {
        let mut inner = self.call();
        let send = |outgoing: Outgoing| {
            // Nobody subscribes here: what is published goes nowhere.
            if let Destination::Endpoint(name) = outgoing.to {
                inner.push(name, outgoing.envelope);
            }
            SendOutcome::Sent
        };
        messages.into_iter().map(send).collect()
    }
}
