//! What production does to messages, commits and handlers. A fault is one more implementation of
//! the store, the broker or the handler.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use semel::core::broker::{
    BrokerLimits, Delivery, Destination, Lease, Outgoing, Receipt, Receive, Registration,
    SendOutcome, SettleOutcome, Settlement,
};
use semel::core::handler::{BoxFuture, Decision, Handler, Style};
use semel::core::store::{Change, Item, ItemKey, Page, StoreLimits, Trouble, WriteOutcome};
use semel::core::{Broker, Store};
use semel::{Backend, Context, Envelope, Failure, Order, StoreError};

use crate::seeded::Seeded;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A message was queued twice.
    MessageDuplicated,
    /// A message that was received before was sent once more.
    MessageReplayed,
    /// A message was held up, so that later ones overtook it.
    MessageDelayed,
    /// A commit failed, and nothing was written.
    CommitFailedBefore,
    /// A commit was applied and reported as failed.
    CommitFailedAfter,
    /// A handler ran longer than its lease, which nobody renewed.
    HandlerStretched,
    /// A client sent its request again.
    RequestRepeated,
    /// A worker process was killed with SIGKILL.
    WorkerKilled,
}

impl Fault {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::MessageDuplicated,
        Self::MessageReplayed,
        Self::MessageDelayed,
        Self::CommitFailedBefore,
        Self::CommitFailedAfter,
        Self::HandlerStretched,
        Self::RequestRepeated,
        Self::WorkerKilled,
    ];

    /// Its name in the faults file and on the live page.
    pub fn name(self) -> &'static str {
        match self {
            Self::MessageDuplicated => "message_duplicated",
            Self::MessageReplayed => "message_replayed",
            Self::MessageDelayed => "message_delayed",
            Self::CommitFailedBefore => "commit_failed_before",
            Self::CommitFailedAfter => "commit_failed_after",
            Self::HandlerStretched => "handler_stretched",
            Self::RequestRepeated => "request_repeated",
            Self::WorkerKilled => "worker_killed",
        }
    }
}

/// How many of a thousand chances become a fault.
struct Rates;

impl Rates {
    const DUPLICATE: usize = 40;
    const REPLAY: usize = 10;
    const DELAY: usize = 50;
    const FAIL_BEFORE: usize = 15;
    const FAIL_AFTER: usize = 15;
    const STRETCH: usize = 5;
}

/// Throws the dice and writes down what came of it.
#[derive(Debug)]
pub struct Chaos {
    dice: Mutex<Seeded>,
    /// One line a fault, appended: a killed process loses none, and several may share the file.
    log: Mutex<File>,
    /// Messages whose next attempt will be slow, and the receipts that are not renewed meanwhile.
    slow: Mutex<BTreeSet<String>>,
    unrenewed: Mutex<BTreeSet<Receipt>>,
    /// Some of the messages that were received, and by which endpoint.
    received: Mutex<Vec<(String, Envelope)>>,
    /// How long a slow attempt takes.
    stretch: Duration,
}

/// How many received messages are remembered, to be replayed some time.
const REMEMBERED: usize = 200;

/// What happens to a write.
enum Strike {
    None,
    Before,
    After,
}

impl Chaos {
    /// Chaos that follows from `seed` and writes its faults to the file at `log`.
    pub fn new(seed: u64, log: &Path, stretch: Duration) -> std::io::Result<Self> {
        Ok(Self {
            dice: Mutex::new(Seeded::new(seed)),
            log: Mutex::new(File::options().create(true).append(true).open(log)?),
            slow: Mutex::default(),
            unrenewed: Mutex::default(),
            received: Mutex::default(),
            stretch,
        })
    }

    /// Writes down that `fault` happened.
    pub fn note(&self, fault: Fault) {
        // A fault that cannot be counted has happened all the same; the day goes on.
        // In one piece: several processes write to the file.
        let line = format!("{}\n", fault.name());
        if let Err(error) = lock(&self.log).write_all(line.as_bytes()) {
            tracing::warn!(%error, "a fault could not be written down");
        }
    }

    /// True so many times in a thousand.
    pub fn permille(&self, permille: usize) -> bool {
        lock(&self.dice).below(1_000) < permille
    }

    /// A number below `end`.
    pub fn below(&self, end: usize) -> usize {
        lock(&self.dice).below(end)
    }

    fn strike(&self) -> Strike {
        if self.permille(Rates::FAIL_BEFORE) {
            self.note(Fault::CommitFailedBefore);
            Strike::Before
        } else if self.permille(Rates::FAIL_AFTER) {
            self.note(Fault::CommitFailedAfter);
            Strike::After
        } else {
            Strike::None
        }
    }

    /// Delays a message, or not; and its copy, if it gets one.
    fn tamper(&self, mut message: Outgoing) -> Vec<Outgoing> {
        if self.permille(Rates::DELAY) {
            self.note(Fault::MessageDelayed);
            message.delay += Duration::from_millis(50 + self.below(500) as u64);
        }
        if self.permille(Rates::DUPLICATE) {
            self.note(Fault::MessageDuplicated);
            let mut copy = message.clone();
            copy.delay += Duration::from_millis(self.below(300) as u64);
            return vec![message, copy];
        }
        vec![message]
    }

    /// Dooms the first attempt on some deliveries to outlive its lease.
    fn doom(&self, delivery: &Delivery) {
        if let Ok(envelope) = &delivery.envelope
            && delivery.deliveries == 1
            && self.permille(Rates::STRETCH)
        {
            lock(&self.slow).insert(envelope.id.clone());
            lock(&self.unrenewed).insert(delivery.receipt.clone());
        }
    }

    /// Remembers a delivery; and perhaps one of before, to be sent once more.
    fn recall(&self, endpoint: &str, delivery: &Delivery) -> Option<Outgoing> {
        let envelope = delivery.envelope.as_ref().ok()?.clone();
        let mut received = lock(&self.received);
        let place = self.below(REMEMBERED);
        match received.get_mut(place) {
            Some(old) => *old = (endpoint.to_owned(), envelope),
            None => received.push((endpoint.to_owned(), envelope)),
        }
        if !self.permille(Rates::REPLAY) {
            return None;
        }
        let (endpoint, envelope) = received.get(self.below(received.len()))?.clone();
        let to = Destination::Endpoint(endpoint);
        Some(Outgoing { to, envelope, delay: Duration::ZERO })
    }

    fn stretch(&self, envelope: &Envelope) {
        if lock(&self.slow).remove(&envelope.id) {
            self.note(Fault::HandlerStretched);
            std::thread::sleep(self.stretch);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The same backend, with faults in its writes and its queue.
pub fn wrap(backend: Backend, chaos: &Arc<Chaos>) -> Backend {
    let (for_store, for_broker) = (chaos.clone(), chaos.clone());
    backend.wrapped(
        move |inner| Arc::new(ChaosStore { inner, chaos: for_store }),
        move |inner| Arc::new(ChaosBroker { inner, chaos: for_broker }),
    )
}

/// The same handler, sometimes slower than its lease.
pub fn wrap_handler(inner: Arc<dyn Handler>, chaos: &Arc<Chaos>) -> Arc<dyn Handler> {
    Arc::new(ChaosHandler { inner, chaos: chaos.clone() })
}

fn lost_answer(operation: &'static str) -> StoreError {
    StoreError {
        trouble: Trouble::Unavailable,
        store: "chaos".to_owned(),
        operation,
        reason: "the answer was lost on purpose".to_owned(),
        help: "Nothing: this is the demo's own doing.".to_owned(),
    }
}

#[derive(Debug)]
struct ChaosStore {
    inner: Arc<dyn Store>,
    chaos: Arc<Chaos>,
}

#[async_trait]
impl Store for ChaosStore {
    fn limits(&self) -> StoreLimits {
        self.inner.limits()
    }

    async fn read(&self, key: &ItemKey) -> Result<Option<Item>, StoreError> {
        self.inner.read(key).await
    }

    async fn read_all(&self, keys: &[ItemKey]) -> Result<Vec<Option<Item>>, StoreError> {
        self.inner.read_all(keys).await
    }

    async fn write(&self, changes: Vec<Change>) -> WriteOutcome {
        let mut tampered = Vec::with_capacity(changes.len());
        for change in changes {
            match change {
                Change::Enqueue(message) => {
                    tampered.extend(self.chaos.tamper(message).into_iter().map(Change::Enqueue));
                }
                other => tampered.push(other),
            }
        }
        match self.chaos.strike() {
            Strike::None => self.inner.write(tampered).await,
            Strike::Before => WriteOutcome::Unknown(lost_answer("write")),
            Strike::After => match self.inner.write(tampered).await {
                WriteOutcome::Applied(_) => WriteOutcome::Unknown(lost_answer("write")),
                other => other,
            },
        }
    }

    async fn list(&self, page: &Page) -> Result<Vec<Item>, StoreError> {
        self.inner.list(page).await
    }
}

#[derive(Debug)]
struct ChaosBroker {
    inner: Arc<dyn Broker>,
    chaos: Arc<Chaos>,
}

#[async_trait]
impl Broker for ChaosBroker {
    fn limits(&self) -> BrokerLimits {
        self.inner.limits()
    }

    async fn register(&self, registration: &Registration) -> Result<(), StoreError> {
        self.inner.register(registration).await
    }

    async fn receive(&self, request: &Receive) -> Result<Vec<Delivery>, StoreError> {
        let deliveries = self.inner.receive(request).await?;
        deliveries.iter().for_each(|delivery| self.chaos.doom(delivery));
        for delivery in &deliveries {
            let Some(old) = self.chaos.recall(&request.endpoint, delivery) else { continue };
            if let Some(SendOutcome::Sent) = self.inner.send(vec![old]).await.pop() {
                self.chaos.note(Fault::MessageReplayed);
            }
        }
        Ok(deliveries)
    }

    async fn extend(
        &self,
        receipts: &[Receipt],
        lease: Duration,
    ) -> Result<Vec<Lease>, StoreError> {
        let renewed: Vec<Receipt> = {
            let unrenewed = lock(&self.chaos.unrenewed);
            receipts.iter().filter(|receipt| !unrenewed.contains(receipt)).cloned().collect()
        };
        let mut leases = self.inner.extend(&renewed, lease).await?.into_iter();
        let unrenewed = lock(&self.chaos.unrenewed);
        // The worker is told that all is well, and becomes a zombie.
        let answer = |receipt| match unrenewed.contains(receipt) {
            true => Lease::Held,
            false => leases.next().unwrap_or(Lease::Lost),
        };
        Ok(receipts.iter().map(answer).collect())
    }

    async fn settle(&self, receipt: &Receipt, settlement: Settlement) -> SettleOutcome {
        match self.chaos.strike() {
            Strike::None => self.inner.settle(receipt, settlement).await,
            Strike::Before => SettleOutcome::Unknown(lost_answer("settle")),
            Strike::After => match self.inner.settle(receipt, settlement).await {
                SettleOutcome::Settled => SettleOutcome::Unknown(lost_answer("settle")),
                other => other,
            },
        }
    }

    async fn subscribers(&self, kind: &str) -> Result<Vec<String>, StoreError> {
        self.inner.subscribers(kind).await
    }

    async fn send(&self, messages: Vec<Outgoing>) -> Vec<SendOutcome> {
        let mut outcomes = Vec::with_capacity(messages.len());
        for message in messages {
            let copies = self.chaos.tamper(message);
            let strike = self.chaos.strike();
            if matches!(strike, Strike::Before) {
                outcomes.push(SendOutcome::Unknown(lost_answer("send")));
                continue;
            }
            let sent = self.inner.send(copies).await.into_iter().next();
            outcomes.push(match (strike, sent) {
                (Strike::None, Some(sent)) => sent,
                _ => SendOutcome::Unknown(lost_answer("send")),
            });
        }
        outcomes
    }
}

#[derive(Debug)]
struct ChaosHandler {
    inner: Arc<dyn Handler>,
    chaos: Arc<Chaos>,
}

impl Handler for ChaosHandler {
    fn kind(&self) -> &'static str {
        self.inner.kind()
    }

    fn order(&self) -> Order {
        self.inner.order()
    }

    fn style(&self) -> Style {
        self.inner.style()
    }

    fn entity_key(&self, envelope: &Envelope) -> Result<String, String> {
        self.inner.entity_key(envelope)
    }

    fn run<'a>(
        &'a self,
        state: Option<&'a [u8]>,
        envelope: &'a Envelope,
        context: Context,
    ) -> BoxFuture<'a, Result<Decision, Failure>> {
        // The handlers of the shop are plain: they run on threads that may block.
        Box::pin(async move {
            self.chaos.stretch(envelope);
            self.inner.run(state, envelope, context).await
        })
    }
}
