//! What workers saw and did, written down as it happens: the receipt of a message, what an attempt
//! on it decided, its settlement. Whether all of it can be told with every message counting once is
//! for others to find out.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use semel::core::broker::{
    BrokerLimits, Delivery, Lease, Outgoing, Receipt, Receive, Registration, SendOutcome,
    SettleOutcome, Settlement,
};
use semel::core::handler::{BoxFuture, Decision, Handler, Style};
use semel::core::store::{Change, Item, ItemKey, Page, StoreLimits, WriteOutcome};
use semel::core::{Broker, Store};
use semel::{Backend, Context, Envelope, Failure, Order, StoreError};
use serde::{Deserialize, Serialize};

/// One thing that happened: a line of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A worker has received a message, or a copy of it.
    Received {
        /// When, in nanoseconds by a clock that all processes of the machine share.
        at: u64,
        /// The receiving endpoint.
        endpoint: String,
        /// Source and id of the message.
        message: String,
    },
    /// An attempt has decided. Whether that was committed is not known here.
    Attempted {
        /// The endpoint of the handler.
        endpoint: String,
        /// The entity that the message is for.
        entity: String,
        /// Source and id of the message.
        message: String,
        /// Its type.
        kind: String,
        /// The entity's state that it began with, as JSON; none where there was none.
        before: Option<String>,
        /// The state that it decided on.
        after: String,
    },
    /// A message, or a copy of it, is done.
    Settled {
        /// When, in nanoseconds by a clock that all processes of the machine share.
        at: u64,
        /// The receiving endpoint.
        endpoint: String,
        /// Source and id of the message.
        message: String,
    },
}

/// Writes down what happens, a line each; a killed process loses none of them.
#[derive(Debug)]
pub struct History {
    file: Mutex<File>,
    /// What was received and is not settled: endpoint and message.
    held: Mutex<HashMap<Receipt, (String, String)>>,
}

impl History {
    /// Will append to the file at `path`.
    pub fn append(path: &Path) -> std::io::Result<Self> {
        let mut file = File::options().create(true).append(true).open(path)?;
        // Whoever wrote before may have been killed within a line.
        file.write_all(b"\n")?;
        Ok(Self { file: Mutex::new(file), held: Mutex::default() })
    }

    fn note(&self, event: &Event) {
        let written = serde_json::to_string(event).map_err(std::io::Error::from);
        // In one piece, so that a process that is killed leaves at most its last line torn.
        let written =
            written.and_then(|line| lock(&self.file).write_all(format!("{line}\n").as_bytes()));
        if let Err(error) = written {
            tracing::error!(%error, "the history has a gap");
        }
    }

    fn received(&self, endpoint: &str, delivery: &Delivery) {
        let Ok(envelope) = &delivery.envelope else { return };
        let (endpoint, message) = (endpoint.to_owned(), name(envelope));
        lock(&self.held).insert(delivery.receipt.clone(), (endpoint.clone(), message.clone()));
        self.note(&Event::Received { at: now(), endpoint, message });
    }

    fn settled(&self, receipt: &Receipt) {
        if let Some((endpoint, message)) = lock(&self.held).remove(receipt) {
            self.note(&Event::Settled { at: now(), endpoint, message });
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn name(envelope: &Envelope) -> String {
    format!("{} {}", envelope.source, envelope.id)
}

/// The time since the machine was started: all its processes share it, and nobody sets it.
#[cfg(unix)]
fn now() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let (seconds, nanos) = (now.tv_sec.cast_unsigned(), now.tv_nsec.cast_unsigned());
    seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
}

/// The machine's clock: all its processes share it.
#[cfg(not(unix))]
fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_nanos()).unwrap_or(u64::MAX)
}

/// The same backend, with its deliveries written down.
pub(crate) fn wrap(backend: Backend, history: &Arc<History>) -> Backend {
    let (for_store, for_broker) = (history.clone(), history.clone());
    backend.wrapped(
        move |inner| Arc::new(ToldStore { inner, history: for_store }),
        move |inner| Arc::new(ToldBroker { inner, history: for_broker }),
    )
}

/// The same handler, with its decisions written down.
pub(crate) fn wrap_handler(
    endpoint: &str,
    inner: Arc<dyn Handler>,
    history: &Arc<History>,
) -> Arc<dyn Handler> {
    Arc::new(ToldHandler { endpoint: endpoint.to_owned(), inner, history: history.clone() })
}

#[derive(Debug)]
struct ToldStore {
    inner: Arc<dyn Store>,
    history: Arc<History>,
}

#[async_trait]
impl Store for ToldStore {
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
        let done = |change: &Change| match change {
            Change::Settle { receipt, settlement: Settlement::Ack } => Some(receipt.clone()),
            _ => None,
        };
        let settled: Vec<Receipt> = changes.iter().filter_map(done).collect();
        let outcome = self.inner.write(changes).await;
        if let WriteOutcome::Applied(_) = outcome {
            settled.iter().for_each(|receipt| self.history.settled(receipt));
        }
        outcome
    }

    async fn list(&self, page: &Page) -> Result<Vec<Item>, StoreError> {
        self.inner.list(page).await
    }
}

#[derive(Debug)]
struct ToldBroker {
    inner: Arc<dyn Broker>,
    history: Arc<History>,
}

#[async_trait]
impl Broker for ToldBroker {
    fn limits(&self) -> BrokerLimits {
        self.inner.limits()
    }

    async fn register(&self, registration: &Registration) -> Result<(), StoreError> {
        self.inner.register(registration).await
    }

    async fn receive(&self, request: &Receive) -> Result<Vec<Delivery>, StoreError> {
        let deliveries = self.inner.receive(request).await?;
        deliveries.iter().for_each(|delivery| self.history.received(&request.endpoint, delivery));
        Ok(deliveries)
    }

    async fn extend(
        &self,
        receipts: &[Receipt],
        lease: Duration,
    ) -> Result<Vec<Lease>, StoreError> {
        self.inner.extend(receipts, lease).await
    }

    async fn settle(&self, receipt: &Receipt, settlement: Settlement) -> SettleOutcome {
        let is_done = settlement == Settlement::Ack;
        let outcome = self.inner.settle(receipt, settlement).await;
        if let (true, SettleOutcome::Settled) = (is_done, &outcome) {
            self.history.settled(receipt);
        }
        outcome
    }

    async fn subscribers(&self, kind: &str) -> Result<Vec<String>, StoreError> {
        self.inner.subscribers(kind).await
    }

    async fn send(&self, messages: Vec<Outgoing>) -> Vec<SendOutcome> {
        self.inner.send(messages).await
    }
}

#[derive(Debug)]
struct ToldHandler {
    endpoint: String,
    inner: Arc<dyn Handler>,
    history: Arc<History>,
}

impl Handler for ToldHandler {
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
        Box::pin(async move {
            let decision = self.inner.run(state, envelope, context).await?;
            let text = |state: &[u8]| String::from_utf8_lossy(state).into_owned();
            self.history.note(&Event::Attempted {
                endpoint: self.endpoint.clone(),
                entity: self.inner.entity_key(envelope).map_err(Failure::dead_letter)?,
                message: name(envelope),
                kind: envelope.kind.clone(),
                before: state.map(text),
                after: text(&decision.state),
            });
            Ok(decision)
        })
    }
}

/// The events in the file at `path`. A line that is not whole is left out: its process was killed
/// while it wrote, and so before it did what the line speaks of, or told anybody.
pub fn read(path: &Path) -> std::io::Result<Vec<Event>> {
    let text = std::fs::read_to_string(path)?;
    Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}
