//! Fresh places on a server.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use semel_conformance::{BrokerRig, OperatorRig, Rig};
use semel_core::Broker;
use semel_core::operator::Operator;
use semel_nats::{Nats, Options};
use semel_servers::Kind;

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

/// A fresh place on the server that all tests share.
pub(crate) struct NatsRig {
    address: String,
    options: Options,
}

pub(crate) async fn fresh() -> NatsRig {
    NatsRig { address: address(), options: fresh_options() }
}

impl NatsRig {
    /// Each call connects anew, as another process would.
    async fn open(&self) -> Arc<Nats> {
        let opened = Nats::connect(&self.address, self.options.clone()).await;
        Arc::new(opened.unwrap_or_else(|error| panic!("{error}")))
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
