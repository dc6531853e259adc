//! A fresh place on the server that all tests share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use semel_conformance::{BrokerRig, OperatorRig, Rig};
use semel_core::Broker;
use semel_core::operator::Operator;
use semel_rabbitmq::{Options, RabbitMq};
use semel_servers::Kind;

/// The address of the shared server.
pub(crate) fn shared() -> String {
    semel_servers::address(Kind::Rabbit).unwrap_or_else(|error| panic!("{error}"))
}

/// A prefix that nobody used before.
pub(crate) fn fresh_prefix() -> String {
    static LAST: AtomicU32 = AtomicU32::new(0);
    format!("t{}-{}", std::process::id(), LAST.fetch_add(1, Ordering::Relaxed))
}

/// Queues under a prefix of their own.
pub(crate) struct ServerRig {
    prefix: String,
}

pub(crate) async fn fresh() -> ServerRig {
    ServerRig { prefix: fresh_prefix() }
}

impl ServerRig {
    /// Each call connects anew, as another process would.
    async fn connect(&self) -> Arc<RabbitMq> {
        let options = Options {
            prefix: self.prefix.clone(),
            patience: Duration::from_secs(60),
            ..Options::default()
        };
        let connected = RabbitMq::connect(&shared(), options).await;
        Arc::new(connected.unwrap_or_else(|error| panic!("{error}")))
    }
}

#[async_trait]
impl Rig for ServerRig {
    async fn pass(&self, span: Duration) {
        tokio::time::sleep(span).await;
    }

    fn tick(&self) -> Duration {
        Duration::from_millis(300)
    }
}

#[async_trait]
impl BrokerRig for ServerRig {
    async fn broker(&self) -> Arc<dyn Broker> {
        self.connect().await
    }
}

#[async_trait]
impl OperatorRig for ServerRig {
    async fn operator(&self) -> Arc<dyn Operator> {
        self.connect().await
    }
}
