//! What a person can see and do.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;

use crate::broker::{DeadReason, FailureRecord, Receipt};
use crate::store::StoreError;
use crate::{Envelope, EnvelopeError, Timestamp};

/// The state of one endpoint's queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndpointReport {
    /// The name of its protocol, once a worker has registered it.
    pub protocol: Option<String>,
    /// The types it subscribes to.
    pub subscriptions: Vec<String>,
    /// When a worker last registered it.
    pub registered_at: Option<Timestamp>,
    /// Messages that can be received now.
    pub ready: u64,
    /// Messages that wait for their time: delayed ones and retries.
    pub delayed: u64,
    /// Messages that a worker holds under a lease.
    pub in_flight: u64,
    /// When the oldest message was queued, where
    /// [`BrokerLimits::queue_age`](crate::broker::BrokerLimits::queue_age) says that this is told.
    pub oldest: Option<Timestamp>,
    /// Dead letters.
    pub dead_letters: u64,
    /// Identities of processed messages that are remembered.
    pub inbox: u64,
    /// Effects of committed attempts that wait for their dispatch.
    pub finisher_backlog: u64,
    /// Tokens of messages in flight.
    pub tokens: u64,
    /// Entities with state.
    pub entities: u64,
}

/// The state of everything, by endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Each endpoint that is registered or has messages.
    pub endpoints: BTreeMap<String, EndpointReport>,
}

/// A message parked for a person.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// Its number, stable while it is dead.
    pub number: i64,
    /// Which endpoint parked it.
    pub endpoint: String,
    /// The protocol of that endpoint, where known.
    pub protocol: Option<String>,
    /// The message, or why the bytes that came are none.
    pub envelope: Result<Envelope, EnvelopeError>,
    /// The key of the entity that it is for, where the endpoint could tell when it parked it.
    pub entity: Option<String>,
    /// The data as it came.
    pub raw: bytes::Bytes,
    /// Why it is here.
    pub reason: DeadReason,
    /// When it came here.
    pub dead_since: Timestamp,
    /// How often it was delivered.
    pub deliveries: u32,
    /// The attempts that failed, oldest first (the newest 20).
    pub failures: Vec<FailureRecord>,
    /// Settling with it decides the dead letter's fate: `Release` replays it with its history and
    /// all its tries, `Ack` removes it. Anything else is `Stale`.
    pub receipt: Receipt,
}

/// Which dead letters to list.
#[derive(Clone, Debug, Default)]
pub struct DeadLetterFilter {
    /// Only those of this endpoint.
    pub endpoint: Option<String>,
    /// Only those with a larger number.
    pub after: i64,
    /// How many at most.
    pub limit: usize,
}

/// The view of a person who operates the services.
///
/// # Contract
/// Looking changes nothing and never blocks a worker.
#[async_trait]
pub trait Operator: Send + Sync + 'static {
    /// The state of everything.
    async fn inspect(&self) -> Result<Report, StoreError>;

    /// Dead letters by number.
    async fn dead_letters(&self, filter: &DeadLetterFilter) -> Result<Vec<DeadLetter>, StoreError>;

    /// One dead letter.
    async fn dead_letter(&self, number: i64) -> Result<Option<DeadLetter>, StoreError>;
}

/// What a broker tells, and what the store beside it counts.
pub(crate) struct WithBooks {
    pub(crate) queues: Arc<dyn Operator>,
    pub(crate) store: Arc<dyn Operator>,
}

#[async_trait]
impl Operator for WithBooks {
    async fn inspect(&self) -> Result<Report, StoreError> {
        let mut report = self.queues.inspect().await?;
        for (name, books) in self.store.inspect().await?.endpoints {
            let endpoint = report.endpoints.entry(name).or_default();
            endpoint.inbox = books.inbox;
            endpoint.finisher_backlog = books.finisher_backlog;
            endpoint.tokens = books.tokens;
            endpoint.entities = books.entities;
        }
        Ok(report)
    }

    async fn dead_letters(&self, filter: &DeadLetterFilter) -> Result<Vec<DeadLetter>, StoreError> {
        self.queues.dead_letters(filter).await
    }

    async fn dead_letter(&self, number: i64) -> Result<Option<DeadLetter>, StoreError> {
        self.queues.dead_letter(number).await
    }
}
