//! A fresh schema for each test.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use semel_conformance::{BrokerRig, OperatorRig, Rig, StoreRig};
use semel_core::operator::Operator;
use semel_core::{Broker, Clock as _, ManualClock, Store};
use semel_postgres::{Options, Postgres};
use semel_servers::Kind;

/// The server that all tests share.
pub(crate) fn address() -> String {
    match semel_servers::address(Kind::Postgres) {
        Ok(address) => address,
        Err(error) => panic!("{error}"),
    }
}

/// A name that no other test has, now or later.
pub(crate) fn fresh_schema() -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    format!("test_{}_{}_{number}", since.as_nanos(), std::process::id())
}

/// A fresh schema, and a clock that stands still until it is moved.
pub(crate) struct SchemaRig {
    pub(crate) schema: String,
    pub(crate) clock: Arc<ManualClock>,
}

pub(crate) async fn fresh() -> SchemaRig {
    let clock = Arc::new(ManualClock::default());
    // The epoch is no time of day for a server.
    clock.advance(Duration::from_secs(1_800_000_000));
    assert!(clock.now().unix_ms() > 0);
    SchemaRig { schema: fresh_schema(), clock }
}

impl SchemaRig {
    pub(crate) fn options(&self) -> Options {
        Options {
            schema: self.schema.clone(),
            connections_max: 4,
            clock: Some(self.clock.clone()),
            // The clock of the test does not move by itself.
            look_every: Duration::from_millis(20),
            ..Options::default()
        }
    }

    /// Each call connects anew, as another process would.
    pub(crate) async fn open(&self) -> Arc<Postgres> {
        match Postgres::connect_with(&address(), self.options()).await {
            Ok(place) => Arc::new(place),
            Err(error) => panic!("{error}"),
        }
    }
}

#[async_trait]
impl Rig for SchemaRig {
    async fn pass(&self, span: Duration) {
        self.clock.advance(span);
    }
}

#[async_trait]
impl StoreRig for SchemaRig {
    async fn store(&self) -> Arc<dyn Store> {
        self.open().await
    }
}

#[async_trait]
impl BrokerRig for SchemaRig {
    async fn broker(&self) -> Arc<dyn Broker> {
        self.open().await
    }
}

#[async_trait]
impl OperatorRig for SchemaRig {
    async fn operator(&self) -> Arc<dyn Operator> {
        self.open().await
    }
}
