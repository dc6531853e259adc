//! What Semel needs from a store.
//!
//! Items lie under (space, partition, key) and carry an opaque [`Version`]. One strongly
//! consistent read and one atomic batch of conditional changes are enough for every protocol.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::broker::{Outgoing, Receipt, Settlement};

/// What kind of record an item is. A relational store may give each space its own table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Space {
    /// State of entities: partition = endpoint, key = entity.
    Entity,
    /// Identities of processed messages: partition = endpoint, key = source and id.
    Inbox,
    /// Effects that wait for their dispatch: partition = endpoint, key = source and id.
    Outbox,
    /// Answers that were given under an idempotency key: partition = resource, key = that key.
    Reply,
    /// Tokens of messages in flight: partition = the receiving endpoint, key = the token's id.
    Token,
}

impl Space {
    /// Every space, for adapters that make a table for each.
    pub const ALL: [Self; 5] = [Self::Entity, Self::Inbox, Self::Outbox, Self::Reply, Self::Token];

    /// The stable name of this space.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Entity => "entity",
            Self::Inbox => "inbox",
            Self::Outbox => "outbox",
            Self::Reply => "reply",
            Self::Token => "token",
        }
    }
}

/// Where an item lies.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ItemKey {
    /// What kind of record it is.
    pub space: Space,
    /// Items of one partition can be written together in every store.
    pub partition: String,
    /// Unique within space and partition.
    pub key: String,
}

impl ItemKey {
    /// The item `key` of `partition` in `space`.
    pub fn new(space: Space, partition: impl Into<String>, key: impl Into<String>) -> Self {
        Self { space, partition: partition.into(), key: key.into() }
    }
}

impl fmt::Display for ItemKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.space.name(), self.partition, self.key)
    }
}

/// The store's opaque tag of one write of one item.
///
/// # Contract
/// A version never repeats for a key, not even after the item was deleted and created again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Version(Box<str>);

impl Version {
    /// Wraps the adapter's own tag.
    pub fn new(tag: impl Into<Box<str>>) -> Self {
        Self(tag.into())
    }

    /// The adapter's own tag.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// An item as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Where it lies.
    pub key: ItemKey,
    /// What was put.
    pub value: Bytes,
    /// Which write put it.
    pub version: Version,
}

/// What a conditional change expects to find.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    /// No item.
    ///
    /// Safe only for keys that are not deleted while a copy of the create can still be about: a
    /// late one would revive what was consumed.
    Absent,
    /// The item as this write left it.
    Version(Version),
    /// Anything at all.
    Anything,
}

/// How long an item must be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Until it is deleted.
    Always,
    /// At least this long. The store may drop it at any moment after.
    For(Duration),
}

/// One conditional change of a batch.
#[derive(Clone, Debug)]
pub enum Change {
    /// Creates or replaces an item.
    Put {
        /// Which item.
        key: ItemKey,
        /// Its new value.
        value: Bytes,
        /// The condition.
        expect: Expect,
        /// How long it must be kept.
        keep: Keep,
    },
    /// Deletes an item. Deleting an absent item under [`Expect::Anything`] is no conflict.
    Delete {
        /// Which item.
        key: ItemKey,
        /// The condition.
        expect: Expect,
    },
    /// Queues a message. Only where the queue lives in this store.
    Enqueue(Outgoing),
    /// Settles a delivery, on condition that its receipt is still current. Only where the queue
    /// lives in this store.
    Settle {
        /// Which delivery.
        receipt: Receipt,
        /// Its fate.
        settlement: Settlement,
    },
}

/// What became of a batch.
///
/// An error does not prove that nothing was written; only [`Conflict`](Self::Conflict) and
/// [`Refused`](Self::Refused) do.
#[must_use = "a write that may not have happened must be looked at"]
#[derive(Debug)]
pub enum WriteOutcome {
    /// All changes are durable. For each, in order, the version of the item it left behind;
    /// `None` where it left none (a delete, a queued or settled message).
    Applied(Vec<Option<Version>>),
    /// Nothing was written: a condition did not hold. Names the positions in the batch whose
    /// condition failed, as far as the store tells; empty where it tells none.
    Conflict(Vec<usize>),
    /// Nothing was written, and the same batch will be refused again until something is mended.
    Refused(StoreError),
    /// The batch may have been applied, may be applied later, or never.
    Unknown(StoreError),
}

/// How a store fails, and so what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Not reachable, busy or locked: the same call may succeed later.
    Unavailable,
    /// No room left: free some, then the same call succeeds.
    Full,
    /// The request breaks a limit of the store.
    TooLarge,
    /// The store is damaged, foreign, too new, read-only, or was replaced: a person must act.
    Broken,
    /// The caller asked for something that this store does not offer.
    Unsupported,
}

/// A failed call on a store or queue.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{store}: {operation} failed: {reason}. {help}")]
pub struct StoreError {
    /// What to do: wait, mend, or change the request.
    pub trouble: Trouble,
    /// Which store: the adapter and the place, without secrets.
    pub store: String,
    /// Which operation.
    pub operation: &'static str,
    /// What the store said.
    pub reason: String,
    /// What a person can do about it: a whole sentence.
    pub help: String,
}

impl StoreError {
    /// Whether waiting alone may mend it.
    pub fn is_passing(&self) -> bool {
        matches!(self.trouble, Trouble::Unavailable | Trouble::Full)
    }
}

/// Across what one batch is atomic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Atomicity {
    /// One item at a time.
    OneItem,
    /// Items of one partition.
    OnePartition,
    /// Everything in the store.
    Everything,
}

/// Whether [`Store::list`] can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listing {
    /// It cannot.
    Unsupported,
    /// It can, strongly consistent.
    Supported,
}

/// Where the queue lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueHome {
    /// In this store: receive, state and sends can be one batch.
    Inside,
    /// Somewhere else.
    Elsewhere,
}

/// The limits of a store, as data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreLimits {
    /// Across what one batch is atomic.
    pub atomicity: Atomicity,
    /// The most changes in one batch.
    pub batch_changes_max: usize,
    /// The largest value of an item, in bytes.
    pub item_bytes_max: usize,
    /// Whether items can be listed.
    pub listing: Listing,
    /// Whether the store can also hold the queue.
    pub queue: QueueHome,
}

/// A place to keep items.
///
/// # Contract
/// - [`read`](Self::read) sees every batch whose `Applied` was returned before the read began, to
///   anyone.
/// - [`write`](Self::write) applies all changes or none. It never retries on its own a batch whose
///   outcome it does not know.
/// - Within a batch no two changes name the same item, and each condition is judged against the
///   store as it was before the batch.
/// - Dropping the future of a call leaves its outcome unknown.
#[async_trait]
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// What this store can do.
    fn limits(&self) -> StoreLimits;

    /// Reads one item, strongly consistent.
    async fn read(&self, key: &ItemKey) -> Result<Option<Item>, StoreError>;

    /// Reads several items in one round trip, each as [`read`](Self::read) does. They are read in
    /// the order given: a later one is never older than an earlier one.
    async fn read_all(&self, keys: &[ItemKey]) -> Result<Vec<Option<Item>>, StoreError> {
        let mut items = Vec::with_capacity(keys.len());
        for key in keys {
            items.push(self.read(key).await?);
        }
        Ok(items)
    }

    /// Applies all `changes` atomically, or none.
    async fn write(&self, changes: Vec<Change>) -> WriteOutcome;

    /// Lists up to `limit` items of a space whose (partition, key) lie after `after`, in that
    /// order. Only where [`StoreLimits::listing`] says so.
    async fn list(&self, page: &Page) -> Result<Vec<Item>, StoreError>;
}

/// Which items to list.
#[derive(Clone, Debug)]
pub struct Page {
    /// Of which space.
    pub space: Space,
    /// Only those after this one; `None` starts at the beginning.
    pub after: Option<ItemKey>,
    /// How many at most.
    pub limit: usize,
}
