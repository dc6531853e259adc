//! A store and a queue in memory that write down every call, for counting: nothing goes wrong in
//! them, but a worker can be made to die at a call.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use semel_core::broker::{
    BrokerLimits, Delivery, Lease, Ordering, Outgoing, QueueAge, Receipt, Receive, Registration,
    SendOutcome, SettleOutcome, Settlement, Subscribers,
};
use semel_core::store::{
    Change, Item, ItemKey, Listing, Page, Space, StoreLimits, Trouble, WriteOutcome,
};
use semel_core::{Broker, Clock as _, Entropy, ManualClock, Store, StoreError};

use crate::hash;
use crate::parts::{Fate, Parts, Queued, Routes, refusal};
use crate::practice::BROKER;

/// The entities that the counted messages are for. What else lies in their space is books.
pub(super) const ENTITIES: [&str; 4] = ["acc-0", "acc-1", "acc-2", "acc-3"];

/// One call on the store or the broker.
#[derive(Clone, Debug)]
pub(super) enum Call {
    /// Items read in one round trip, each with its size.
    Read(Vec<usize>),
    /// A look of a finisher.
    List,
    /// A batch of changes.
    Write(Vec<Touched>),
    /// Messages sent in one call.
    Send,
    /// A delivery settled.
    Settle,
}

/// What one change of a batch is about.
#[derive(Clone, Debug)]
pub(super) enum Touched {
    /// An item, with its size: the larger one of before and after.
    Item { key: ItemKey, bytes: usize },
    /// A message or a delivery in the queue.
    Queue,
}

/// When a worker dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Death {
    /// It lives.
    Never,
    /// After so many calls, before the next one.
    Before(usize),
    /// After so many calls, with the next one applied.
    After(usize),
}

/// What an endpoint keeps beside its states.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Books {
    /// How many items.
    pub items: usize,
    /// How many bytes, keys included, and what entities hold beside their state.
    pub bytes: usize,
}

/// The places.
#[derive(Debug)]
pub(super) struct Memory {
    limits: StoreLimits,
    routes: Routes,
    pub(super) clock: ManualClock,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    parts: Parts,
    calls: Vec<Call>,
    death: Death,
    made: usize,
    /// The most bytes of books beside the given states, ever.
    peak: Vec<(String, usize)>,
    state_bytes: usize,
}

impl Memory {
    pub(super) fn new(limits: StoreLimits, endpoints: &[&str], state_bytes: usize) -> Arc<Self> {
        let routes = Routes {
            endpoints: Some(endpoints.iter().map(|name| (*name).to_owned()).collect()),
            message_bytes_max: 1 << 20,
            ..Routes::default()
        };
        let peak = endpoints.iter().map(|name| ((*name).to_owned(), 0)).collect();
        let inner = Inner {
            parts: Parts::new(&routes, false),
            calls: Vec::new(),
            death: Death::Never,
            made: 0,
            peak,
            state_bytes,
        };
        let clock = ManualClock::default();
        clock.advance(Duration::from_secs(1_798_135_200));
        Arc::new(Self { limits, routes, clock, inner: Mutex::new(inner) })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> i64 {
        self.clock.now().unix_ms()
    }

    /// Takes the calls that were written down.
    pub(super) fn take_calls(&self) -> Vec<Call> {
        std::mem::take(&mut self.lock().calls)
    }

    /// Has the worker that works next die.
    pub(super) fn doom(&self, death: Death) {
        let mut inner = self.lock();
        inner.death = death;
        inner.made = 0;
    }

    /// Queues a message, which is no call of the protocol.
    pub(super) fn enqueue(&self, outgoing: &Outgoing) {
        let now_ms = self.now_ms();
        self.lock().parts.queue.send(outgoing, &self.routes, now_ms);
    }

    /// Queues another copy of a message that was delivered.
    pub(super) fn enqueue_copy(&self, of: &Queued) {
        let now_ms = self.now_ms();
        self.lock().parts.queue.put(of.carried.clone(), now_ms, now_ms);
    }

    /// Hands out the oldest message of an endpoint that waits.
    pub(super) fn deliver(&self, endpoint: &str) -> Option<(Arc<Queued>, Delivery)> {
        let queue = &mut self.lock().parts.queue;
        let at = (0..queue.all().len())
            .filter(|at| queue.all()[*at].fate == Fate::Waiting)
            .filter(|at| queue.all()[*at].carried.endpoint == endpoint)
            .min_by_key(|at| queue.all()[*at].position)?;
        let queued = queue.deliver(at, i64::MAX);
        let delivery = Delivery {
            receipt: queued.receipt(),
            envelope: Ok((*queued.carried.envelope).clone()),
            deliveries: queued.deliveries,
            failures: (*queued.failures).clone(),
            failure_count: queued.failure_count,
        };
        Some((queued, delivery))
    }

    /// Whether a message of an endpoint waits.
    pub(super) fn has_waiting(&self, endpoint: &str) -> bool {
        let waits = |queued: &Arc<Queued>| {
            queued.fate == Fate::Waiting && queued.carried.endpoint == endpoint
        };
        self.lock().parts.queue.all().iter().any(waits)
    }

    /// Lets so much time pass that whatever is kept for a time is gone.
    pub(super) fn pass_windows(&self) {
        self.clock.advance(Duration::from_secs(3_650 * 86_400));
        let now_ms = self.now_ms();
        let items = &mut self.lock().parts.items;
        for record in items.clone().all().iter().filter(|record| record.may_vanish(now_ms)) {
            items.delete(&record.item.key);
        }
    }

    /// What an endpoint keeps beside its states.
    pub(super) fn books(&self, endpoint: &str) -> Books {
        self.lock().books(endpoint)
    }

    /// The most bytes of books that an endpoint ever kept.
    pub(super) fn peak(&self, endpoint: &str) -> usize {
        let inner = self.lock();
        inner.peak.iter().find(|(name, _)| name == endpoint).map_or(0, |(_, bytes)| *bytes)
    }

    /// Writes a call down; tells whether the worker dies of it, and when.
    fn begin(&self, call: Call) -> Dies {
        let mut inner = self.lock();
        inner.calls.push(call);
        inner.made += 1;
        match inner.death {
            Death::Before(calls) if inner.made > calls => Dies::Before,
            Death::After(calls) if inner.made > calls => Dies::After,
            _ => Dies::Not,
        }
    }

    async fn made<T>(&self, call: Call, make: impl FnOnce(&mut Inner) -> T) -> T {
        let dies = self.begin(call);
        if dies == Dies::Before {
            std::future::pending::<()>().await;
        }
        let answer = {
            let mut inner = self.lock();
            let answer = make(&mut inner);
            inner.note_peak();
            answer
        };
        if dies == Dies::After {
            std::future::pending::<()>().await;
        }
        answer
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dies {
    Not,
    Before,
    After,
}

impl Inner {
    fn books(&self, endpoint: &str) -> Books {
        let mut books = Books::default();
        for record in self.parts.items.all() {
            let key = &record.item.key;
            let owner = key.partition.strip_prefix(BROKER).unwrap_or(&key.partition);
            if owner != endpoint {
                continue;
            }
            let bytes = size(key, record.item.value.len());
            if key.space == Space::Entity && ENTITIES.contains(&key.key.as_str()) {
                books.bytes += record.item.value.len().saturating_sub(self.state_bytes);
            } else {
                books.items += 1;
                books.bytes += bytes;
            }
        }
        books
    }

    fn note_peak(&mut self) {
        for at in 0..self.peak.len() {
            let bytes = self.books(&self.peak[at].0).bytes;
            self.peak[at].1 = self.peak[at].1.max(bytes);
        }
    }

    fn bytes_of(&self, key: &ItemKey) -> usize {
        self.parts.items.read(key).map_or(0, |record| size(key, record.item.value.len()))
    }

    fn touched(&self, change: &Change) -> Touched {
        match change {
            Change::Put { key, value, .. } => {
                let bytes = self.bytes_of(key).max(size(key, value.len()));
                Touched::Item { key: key.clone(), bytes }
            }
            Change::Delete { key, .. } => {
                Touched::Item { key: key.clone(), bytes: self.bytes_of(key) }
            }
            Change::Enqueue(_) | Change::Settle { .. } => Touched::Queue,
        }
    }
}

/// The size of an item: its key counts.
fn size(key: &ItemKey, value: usize) -> usize {
    key.partition.len() + key.key.len() + value
}

#[async_trait]
impl Store for Memory {
    fn limits(&self) -> StoreLimits {
        self.limits
    }

    async fn read(&self, key: &ItemKey) -> Result<Option<Item>, StoreError> {
        let items = self.read_all(std::slice::from_ref(key)).await?;
        Ok(items.into_iter().next().flatten())
    }

    async fn read_all(&self, keys: &[ItemKey]) -> Result<Vec<Option<Item>>, StoreError> {
        let sizes = {
            let inner = self.lock();
            keys.iter().map(|key| inner.bytes_of(key)).collect()
        };
        let read = |inner: &mut Inner| {
            let read = |key| inner.parts.items.read(key).map(|record| record.item.clone());
            keys.iter().map(read).collect()
        };
        Ok(self.made(Call::Read(sizes), read).await)
    }

    async fn write(&self, changes: Vec<Change>) -> WriteOutcome {
        let touched = {
            let inner = self.lock();
            changes.iter().map(|change| inner.touched(change)).collect()
        };
        let now_ms = self.now_ms();
        let write = |inner: &mut Inner| {
            inner.parts.write(&changes, &self.limits, &self.routes, now_ms).into()
        };
        self.made(Call::Write(touched), write).await
    }

    async fn list(&self, page: &Page) -> Result<Vec<Item>, StoreError> {
        if self.limits.listing == Listing::Unsupported {
            return Err(refusal("list", Trouble::Unsupported, "no listing here".to_owned()));
        }
        let list = |inner: &mut Inner| inner.parts.items.list(page);
        let records = self.made(Call::List, list).await;
        Ok(records.iter().map(|record| record.item.clone()).collect())
    }
}

#[async_trait]
impl Broker for Memory {
    fn limits(&self) -> BrokerLimits {
        BrokerLimits {
            message_bytes_max: self.routes.message_bytes_max,
            receive_max: 1,
            ordering: Ordering::None,
            subscribers: Subscribers::Listed,
            queue_age: QueueAge::Told,
        }
    }

    async fn register(&self, _: &Registration) -> Result<(), StoreError> {
        Ok(())
    }

    async fn receive(&self, request: &Receive) -> Result<Vec<Delivery>, StoreError> {
        Ok(self.deliver(&request.endpoint).map(|(_, delivery)| delivery).into_iter().collect())
    }

    async fn extend(&self, receipts: &[Receipt], _: Duration) -> Result<Vec<Lease>, StoreError> {
        Ok(receipts.iter().map(|_| Lease::Held).collect())
    }

    async fn settle(&self, receipt: &Receipt, settlement: Settlement) -> SettleOutcome {
        let now_ms = self.now_ms();
        let settle = |inner: &mut Inner| inner.parts.queue.settle(receipt, &settlement, now_ms);
        match self.made(Call::Settle, settle).await {
            true => SettleOutcome::Settled,
            false => SettleOutcome::Stale,
        }
    }

    async fn subscribers(&self, _: &str) -> Result<Vec<String>, StoreError> {
        Ok(Vec::new())
    }

    async fn send(&self, messages: Vec<Outgoing>) -> Vec<SendOutcome> {
        let now_ms = self.now_ms();
        let send = |inner: &mut Inner| {
            for message in &messages {
                inner.parts.queue.send(message, &self.routes, now_ms);
            }
        };
        self.made(Call::Send, send).await;
        messages.iter().map(|_| SendOutcome::Sent).collect()
    }
}

/// Identities that are the same in every run, and never twice in one.
#[derive(Debug, Default)]
pub(super) struct Draws(std::sync::atomic::AtomicU64);

impl Entropy for Draws {
    fn bits(&self) -> u128 {
        hash::print(71, self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
    }
}
