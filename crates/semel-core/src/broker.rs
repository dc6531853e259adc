//! What Semel needs from a queue.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

use crate::store::StoreError;
use crate::{Envelope, EnvelopeError, Timestamp};

/// The broker's proof of one delivery. It loses its power when the lease goes to another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Receipt(Box<str>);

impl Receipt {
    /// Wraps the adapter's own proof.
    pub fn new(proof: impl Into<Box<str>>) -> Self {
        Self(proof.into())
    }

    /// The adapter's own proof.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Where a message goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// To one endpoint, whether it runs now or later.
    Endpoint(String),
    /// To every endpoint that subscribes to the message's type when it is queued.
    Subscribers,
}

/// A message on its way to a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Where it goes.
    pub to: Destination,
    /// What goes there.
    pub envelope: Envelope,
    /// How long it waits before it can be received.
    pub delay: Duration,
}

/// One failed attempt, kept with the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailureRecord {
    /// When the attempt failed.
    pub at: Timestamp,
    /// What went wrong.
    pub reason: String,
    /// Which worker tried.
    pub worker: String,
}

/// One arrival of a message.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Proof of this delivery.
    pub receipt: Receipt,
    /// The message, or why the bytes that came are none. The broker keeps the bytes.
    pub envelope: Result<Envelope, EnvelopeError>,
    /// How often it was delivered, this time included. A delivery that was given back with
    /// [`Settlement::Release`] does not count, where the broker can tell.
    pub deliveries: u32,
    /// The attempts that failed before, oldest first (the newest 20).
    pub failures: Vec<FailureRecord>,
    /// How many attempts failed before, also those no longer in `failures`; none after a replay
    /// from the dead letters, which gives it all its tries again.
    pub failure_count: u32,
}

/// Why a message is parked for a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeadReason {
    /// The bytes are not an envelope, or its data is not the message that its type says.
    Undecodable,
    /// The endpoint has no handler for its type.
    UnknownType,
    /// Its handler kept failing, or said that trying again is no use.
    HandlerFailed,
    /// Its result breaks a limit of the store or broker.
    Refused,
    /// Worker after worker took it and was never heard of again.
    Abandoned,
}

impl DeadReason {
    /// Every reason.
    pub const ALL: [Self; 5] =
        [Self::Undecodable, Self::UnknownType, Self::HandlerFailed, Self::Refused, Self::Abandoned];

    /// The stable name of this reason.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Undecodable => "undecodable",
            Self::UnknownType => "unknown-type",
            Self::HandlerFailed => "handler-failed",
            Self::Refused => "refused",
            Self::Abandoned => "abandoned",
        }
    }
}

impl fmt::Display for DeadReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The fate of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// Done: remove it.
    Ack,
    /// Give it back without blame, to be received again after a while.
    Release {
        /// How long it waits.
        after: Duration,
    },
    /// Its handler failed: keep the failure with it and deliver it again after a while.
    Retry {
        /// How long it waits.
        after: Duration,
        /// What went wrong.
        failure: FailureRecord,
    },
    /// Park it for a person, as it came.
    DeadLetter {
        /// Which kind of trouble.
        reason: DeadReason,
        /// What went wrong; becomes the last of the history.
        failure: FailureRecord,
        /// The key of the entity that it is for, where a handler could tell: kept with the message
        /// for whoever discards it.
        entity: Option<String>,
    },
}

/// What became of a settlement.
#[must_use = "a delivery that was not settled comes again"]
#[derive(Debug)]
pub enum SettleOutcome {
    /// The broker will not forget it.
    Settled,
    /// The lease had gone to another, or the message was settled before; nothing changed.
    Stale,
    /// It may or may not be settled.
    Unknown(StoreError),
}

/// What became of one message of a batch that was sent.
#[must_use = "a message that was not sent may be lost"]
#[derive(Debug)]
pub enum SendOutcome {
    /// The broker will not forget it.
    Sent,
    /// The broker refused it for good; it was not queued.
    Refused(StoreError),
    /// It may or may not be queued.
    Unknown(StoreError),
}

/// What an extension of a lease found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lease {
    /// It is ours for the time asked.
    Held,
    /// It went to another, or the message was settled.
    Lost,
}

/// Whether a queue can keep messages of one key in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ordering {
    /// It cannot.
    None,
    /// Messages of one endpoint with the same `partitionkey` attribute are delivered in the order
    /// they were queued: a later one waits until the earlier is settled for good.
    PerPartitionKey,
}

/// Whether a sender can learn who subscribes to a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subscribers {
    /// [`Broker::subscribers`] tells.
    Listed,
    /// The broker hands copies on by itself, and does not tell to whom.
    Unlisted,
}

/// Whether a person can learn how old a queue's oldest message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueAge {
    /// [`EndpointReport::oldest`](crate::operator::EndpointReport::oldest) tells.
    Told,
    /// It is always absent: the broker shows no message without delivering it.
    Untold,
}

/// The limits of a broker, as data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokerLimits {
    /// The largest envelope, in bytes, by [`Envelope::size`].
    pub message_bytes_max: usize,
    /// The most deliveries of one [`receive`](Broker::receive).
    pub receive_max: usize,
    /// Whether it keeps order.
    pub ordering: Ordering,
    /// Whether it tells who subscribes.
    pub subscribers: Subscribers,
    /// Whether it tells how old a queue's oldest message is. No protocol relies on it.
    pub queue_age: QueueAge,
}

/// A request for deliveries.
#[derive(Clone, Debug)]
pub struct Receive {
    /// Of which endpoint.
    pub endpoint: String,
    /// How many at most.
    pub max: usize,
    /// How long they are ours.
    pub lease: Duration,
    /// How long to wait for the first one.
    pub wait: Duration,
}

/// What an endpoint tells the broker when it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Its name.
    pub endpoint: String,
    /// The name of its protocol.
    pub protocol: String,
    /// The types it subscribes to. They replace the ones of its last registration.
    pub subscriptions: Vec<String>,
}

/// A queue for each endpoint.
///
/// # Contract
/// - A message that was `Sent` is delivered until it is settled with `Ack` or `DeadLetter`.
/// - A delivery is ours until its lease ends; then it may be delivered again under another
///   receipt, and everything done with the old receipt is `Stale` and changes nothing.
/// - Extending a lease keeps the receipt.
/// - Sending to an endpoint that no worker serves keeps the message until one does.
/// - Its own delivery limit is off, or above ours.
/// - Dropping the future of a call leaves its outcome unknown; a dropped `receive` loses nothing
///   but time.
#[async_trait]
pub trait Broker: fmt::Debug + Send + Sync + 'static {
    /// What this broker can do.
    fn limits(&self) -> BrokerLimits;

    /// Makes the endpoint known, and its subscriptions.
    async fn register(&self, registration: &Registration) -> Result<(), StoreError>;

    /// Takes up to `max` messages under a lease, oldest first. Returns an empty list when none
    /// came in the time to wait.
    async fn receive(&self, request: &Receive) -> Result<Vec<Delivery>, StoreError>;

    /// Makes the leases last `lease` from now. One answer for each receipt, in order.
    async fn extend(&self, receipts: &[Receipt], lease: Duration)
    -> Result<Vec<Lease>, StoreError>;

    /// Decides the fate of a delivery.
    async fn settle(&self, receipt: &Receipt, settlement: Settlement) -> SettleOutcome;

    /// The endpoints that subscribe to a type now, in any order. Only where
    /// [`BrokerLimits::subscribers`] says so.
    async fn subscribers(&self, kind: &str) -> Result<Vec<String>, StoreError>;

    /// Sends messages. One answer for each, in order.
    async fn send(&self, messages: Vec<Outgoing>) -> Vec<SendOutcome>;
}
