//! Fresh places on a server, and calls that say what they expect.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use semel_conformance::{BrokerRig, OperatorRig, Rig};
use semel_core::broker::{
    Delivery, Destination, Outgoing, Receive, SendOutcome, SettleOutcome, Settlement,
};
use semel_core::operator::{DeadLetter, DeadLetterFilter, Operator};
use semel_core::{Broker, Envelope, StoreError};
use semel_nats::{Nats, Options};
use semel_servers::{Framing, Kind, Proxy};

/// A prefix that no other test has.
pub(crate) fn fresh_prefix() -> String {
    format!("t-{}", uuid::Uuid::now_v7().simple())
}

/// Options with a fresh prefix, and little patience.
pub(crate) fn fresh_options() -> Options {
    Options { prefix: fresh_prefix(), hand_over: Duration::from_secs(2), ..Options::default() }
}

/// The address of the server that all tests share.
pub(crate) fn address() -> String {
    semel_servers::address(Kind::Nats).unwrap_or_else(|error| panic!("{error}"))
}

/// Where a server of a test's own keeps its data.
pub(crate) fn folder(name: &str) -> PathBuf {
    semel_servers::folder().join("tests").join(format!("nats-{name}"))
}

/// A server of a test's own.
pub(crate) fn private(name: &str) -> semel_servers::Nats {
    semel_servers::Nats::start(&folder(name)).unwrap_or_else(|error| panic!("{error}"))
}

/// A proxy before a server of a test's own.
pub(crate) fn before(server: &semel_servers::Nats) -> Proxy {
    Proxy::start(server.port(), Framing::Pieces).unwrap_or_else(|error| panic!("{error}"))
}

pub(crate) fn address_of(proxy: &Proxy) -> String {
    format!("nats://127.0.0.1:{}", proxy.port())
}

/// A fresh place on the server that all tests share.
pub(crate) struct NatsRig {
    pub(crate) address: String,
    pub(crate) options: Options,
}

pub(crate) async fn fresh() -> NatsRig {
    NatsRig { address: address(), options: fresh_options() }
}

impl NatsRig {
    /// Each call connects anew, as another process would.
    pub(crate) async fn open(&self) -> Arc<Nats> {
        let opened = Nats::connect(&self.address, self.options.clone()).await;
        Arc::new(opened.unwrap_or_else(|error| panic!("{error}")))
    }

    /// A client of the server without Semel.
    pub(crate) async fn bare(&self) -> async_nats::Client {
        async_nats::connect(&self.address).await.unwrap()
    }

    pub(crate) fn queue_stream(&self, endpoint: &str) -> String {
        format!("{}_queue_{endpoint}", self.options.prefix)
    }

    pub(crate) fn queue_subject(&self, endpoint: &str) -> String {
        format!("{}.queue.{endpoint}", self.options.prefix)
    }

    pub(crate) fn state_stream(&self) -> String {
        format!("{}_state", self.options.prefix)
    }
}

#[async_trait]
impl Rig for NatsRig {
    async fn pass(&self, span: Duration) {
        tokio::time::sleep(span).await;
    }

    fn tick(&self) -> Duration {
        Duration::from_millis(200)
    }
}

#[async_trait]
impl BrokerRig for NatsRig {
    async fn broker(&self) -> Arc<dyn Broker> {
        self.open().await
    }
}

#[async_trait]
impl OperatorRig for NatsRig {
    async fn operator(&self) -> Arc<dyn Operator> {
        self.open().await
    }
}

/// A lease that no test outlives.
pub(crate) const LONG: Duration = Duration::from_secs(600);

pub(crate) fn message(id: impl Into<String>) -> Envelope {
    Envelope::new(id, "/shop", "order.placed", br#"{"total":3}"#.as_slice())
}

pub(crate) fn to(endpoint: &str, envelope: Envelope) -> Outgoing {
    Outgoing { to: Destination::Endpoint(endpoint.to_owned()), envelope, delay: Duration::ZERO }
}

/// Sends one message to `orders`.
pub(crate) async fn send(nats: &Nats, envelope: Envelope) -> SendOutcome {
    nats.send(vec![to("orders", envelope)]).await.pop().unwrap()
}

pub(crate) async fn sent(nats: &Nats, envelope: Envelope) {
    let outcome = send(nats, envelope).await;
    assert!(matches!(outcome, SendOutcome::Sent), "{outcome:?}");
}

pub(crate) async fn receive(
    nats: &Nats,
    max: usize,
    lease: Duration,
    wait: Duration,
) -> Result<Vec<Delivery>, StoreError> {
    nats.receive(&Receive { endpoint: "orders".to_owned(), max, lease, wait }).await
}

/// Receives one message of `orders`, which must come within five seconds.
pub(crate) async fn next(nats: &Nats, lease: Duration) -> Delivery {
    let received = receive(nats, 1, lease, Duration::from_secs(5)).await;
    let mut received = received.unwrap_or_else(|error| panic!("{error}"));
    received.pop().unwrap_or_else(|| panic!("nothing came"))
}

pub(crate) async fn settled(nats: &Nats, delivery: &Delivery, settlement: Settlement) {
    let outcome = nats.settle(&delivery.receipt, settlement).await;
    assert!(matches!(outcome, SettleOutcome::Settled), "{outcome:?}");
}

/// The id of a delivery's message.
pub(crate) fn id(delivery: &Delivery) -> &str {
    delivery.envelope.as_ref().map_or("none", |envelope| &envelope.id)
}

pub(crate) async fn dead_letters(nats: &Nats) -> Vec<DeadLetter> {
    let all = DeadLetterFilter { endpoint: None, after: 0, limit: 100 };
    nats.dead_letters(&all).await.unwrap_or_else(|error| panic!("{error}"))
}

/// Asserts that a call came back in time, and hands on what it said.
pub(crate) async fn within<T>(limit: Duration, call: impl Future<Output = T>) -> T {
    let start = Instant::now();
    let told = tokio::time::timeout(limit, call).await;
    told.unwrap_or_else(|_| panic!("no answer after {:?}", start.elapsed()))
}

/// Tries again and again until a call succeeds.
pub(crate) async fn until<T, F: Future<Output = Result<T, StoreError>>>(
    limit: Duration,
    mut call: impl FnMut() -> F,
) -> T {
    let start = Instant::now();
    loop {
        match call().await {
            Ok(value) => return value,
            Err(error) if start.elapsed() > limit => panic!("{error}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}
