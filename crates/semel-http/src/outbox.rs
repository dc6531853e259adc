//! Messages of actions where the queue lives outside the store: written down in the batch that does
//! the action, sent after it, and sent by a finisher where that was cut off.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use semel_core::broker::Outgoing;
use semel_core::protocols::{Kept, Outcome};
use semel_core::store::{Change, Expect, Item, ItemKey, Keep, Page, Space, Trouble, WriteOutcome};
use semel_core::{Backend, StoreError};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::Problem;
use crate::document::encode;

/// What the partitions of edges begin with.
const EDGE: &str = "edge/";
/// How many records the finisher looks at in one go, and holds at most.
const PAGE: usize = 100;
/// How many of them it sends at a time.
const AT_ONCE: usize = 32;

/// The partition of the messages that actions on a kind of data set send; their sender as well.
pub(crate) fn partition(kind: &str) -> String {
    format!("{EDGE}{kind}")
}

/// The messages of one action, and where they are written down until they are sent.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) key: ItemKey,
    pub(crate) messages: Vec<Outgoing>,
}

impl Record {
    /// The messages of the action with this identity on a data set of this kind.
    pub(crate) fn new(kind: &str, action: &str, messages: Vec<Outgoing>) -> Self {
        Self { key: ItemKey::new(Space::Outbox, partition(kind), action), messages }
    }

    /// The change that writes it down. What the broker would refuse is refused here, before
    /// anything is durable.
    pub(crate) fn change(&self, backend: &Backend) -> Result<Change, Problem> {
        backend.places().check_sizes(&self.messages)?;
        Ok(Change::Put {
            key: self.key.clone(),
            value: encode(&Kept::all(&self.messages)?)?,
            // A late copy of the batch is kept out by the version of the data set beside it.
            expect: Expect::Absent,
            keep: Keep::Always,
        })
    }

    /// Sends the messages and removes the record, in the background: nobody waits for the broker.
    /// What fails is left to the finisher.
    pub(crate) fn dispatch(self, backend: Backend) {
        tokio::spawn(async move {
            let key = self.key.clone();
            if let Err(why) = send(&backend, self.messages, self.key).await {
                tracing::warn!(?why, ?key, "messages of an action are sent later");
            }
        });
    }
}

/// Sends messages, and then removes their record. It is written once and never again, so whatever
/// stands there is this record.
async fn send(backend: &Backend, messages: Vec<Outgoing>, key: ItemKey) -> Result<(), Outcome> {
    backend.places().dispatch(messages).await?;
    match backend.store().write(vec![Change::Delete { key, expect: Expect::Anything }]).await {
        WriteOutcome::Applied(_) | WriteOutcome::Conflict(_) => Ok(()),
        WriteOutcome::Refused(error) | WriteOutcome::Unknown(error) => Err(error.into()),
    }
}

/// Sends what was left behind, until the last edge that holds the other end is gone.
///
/// It runs where the edge was made, if that was inside a runtime, and begins with the first action
/// otherwise.
#[derive(Debug, Default)]
pub(crate) struct Finisher {
    running: Mutex<Option<JoinHandle<()>>>,
}

impl Finisher {
    /// One that is started as soon as it can be.
    pub(crate) fn start(backend: &Backend, every: Duration) -> Arc<Self> {
        let finisher = Arc::new(Self::default());
        finisher.ensure(backend, every);
        finisher
    }

    /// Starts it, if it is not running and there is a runtime. The one in which it ran may have
    /// ended.
    pub(crate) fn ensure(self: &Arc<Self>, backend: &Backend, every: Duration) {
        let Ok(runtime) = Handle::try_current() else { return };
        // Nothing panics while this is held.
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if running.as_ref().is_none_or(JoinHandle::is_finished) {
            *running = Some(runtime.spawn(sweep(Arc::downgrade(self), backend.clone(), every)));
        }
    }
}

async fn sweep(wanted: Weak<Finisher>, backend: Backend, every: Duration) {
    let mut seen = Marks::default();
    while wanted.strong_count() > 0 {
        match look(&backend, &seen).await {
            Ok(found) => seen = found,
            Err(error) => tracing::warn!(%error, "messages of actions cannot be looked for"),
        }
        tokio::time::sleep(every).await;
    }
}

/// Goes through the records of all edges in the store, and sends those that were there at the last
/// look already: younger ones are most likely about to be sent by those who wrote them. Returns which
/// it found.
async fn look(backend: &Backend, seen: &Marks) -> Result<Marks, StoreError> {
    let (mut found, mut after) = (Marks::default(), ItemKey::new(Space::Outbox, EDGE, ""));
    loop {
        let page = Page { space: Space::Outbox, after: Some(after), limit: PAGE };
        let mut records = backend.store().list(&page).await?;
        records.retain(|record| record.key.partition.starts_with(EDGE));
        let Some(last) = records.last() else { return Ok(found) };
        after = last.key.clone();
        records.iter().for_each(|record| found.insert(record));
        records.retain(|record| seen.contains(record));
        // Each by itself: one that cannot be sent holds up no other.
        stream::iter(records).for_each_concurrent(AT_ONCE, |record| finish(backend, record)).await;
    }
}

/// Which records a look found, in a bounded space: a bit for each, which some may share. Then a young
/// one looks older than it is, and is perhaps sent twice, under one identity; as many a send is.
#[derive(Debug, Default)]
struct Marks(Vec<u64>);

impl Marks {
    /// 128 KiB. Of ten thousand records that wait, one in a hundred others shares a bit.
    const BITS: u64 = 1 << 20;

    /// The word and the bit of a record.
    fn place(record: &Item) -> (usize, u64) {
        let mut hasher = DefaultHasher::new();
        (&record.key, &record.version).hash(&mut hasher);
        let bit = hasher.finish() % Self::BITS;
        ((bit / 64) as usize, 1 << (bit % 64))
    }

    fn insert(&mut self, record: &Item) {
        // Mostly there is nothing to remember.
        self.0.resize((Self::BITS / 64) as usize, 0);
        let (word, bit) = Self::place(record);
        if let Some(word) = self.0.get_mut(word) {
            *word |= bit;
        }
    }

    fn contains(&self, record: &Item) -> bool {
        let (word, bit) = Self::place(record);
        self.0.get(word).is_some_and(|word| word & bit != 0)
    }
}

async fn finish(backend: &Backend, record: Item) {
    let key = record.key.clone();
    if let Err(why) = resend(backend, record).await {
        tracing::warn!(?why, ?key, "messages of an action cannot be sent");
    }
}

async fn resend(backend: &Backend, record: Item) -> Result<(), Outcome> {
    let kept: Vec<Kept> = serde_json::from_slice(&record.value).map_err(|error| StoreError {
        trouble: Trouble::Broken,
        store: format!("{:?}", backend.store()),
        operation: "read messages of an action",
        reason: format!("{:?}: {error}", record.key),
        help: "A newer version of Semel wrote it, or someone changed it: repair it by hand."
            .to_owned(),
    })?;
    send(backend, Kept::outgoing(&kept)?, record.key).await
}
