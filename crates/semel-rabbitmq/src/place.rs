//! What one handle knows and holds.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::future::Future;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use semel_core::store::Trouble;
use semel_core::{Clock, StoreError};
use tokio::sync::{Mutex as AsyncMutex, Notify, Semaphore, mpsc};

use crate::lane::{Held, Lane};
use crate::letters::{Answer, Station};
use crate::link::{Link, Server, Shared};
use crate::making::Kind;
use crate::message::Raw;
use crate::names::Names;
use crate::publish::{Published, Publisher, Target};
use crate::taking::RECEIVE_MAX;
use crate::{Options, history};

/// 2024-01-01, from which the numbers of dead letters count.
const NUMBERS_SINCE_MS: i64 = 1_704_067_200_000;
/// Numbers for each millisecond: with them a number stays below 2^53, which every JSON reader keeps.
const NUMBERS_PER_MS: i64 = 1 << 12;

/// One handle to the queues under one prefix.
pub(crate) struct Place {
    pub(crate) server: Server,
    pub(crate) names: Names,
    pub(crate) message_bytes_max: usize,
    pub(crate) clock: Arc<dyn Clock>,
    /// This handle's name.
    pub(crate) handle: String,
    /// Receives, settles, and looks after the books.
    pub(crate) takes: Link,
    pub(crate) station: AsyncMutex<Shared<Arc<Station>>>,
    /// Sends. A connection of its own: a server short of memory stops reading from senders.
    pub(crate) sends: Publisher,
    pub(crate) lanes: AsyncMutex<HashMap<String, Arc<Lane>>>,
    held: Mutex<BTreeMap<u64, Held>>,
    /// Room for messages in hand that are sent on to wait for their time.
    pub(crate) early: Arc<Semaphore>,
    /// Tells the one who ends leases that there are others now.
    pub(crate) held_changed: Arc<Notify>,
    /// Queues that are known to be there and in the book.
    known: Mutex<HashSet<String>>,
    /// One task at a time works under a lock: to the server they are all one owner.
    pub(crate) locks: AsyncMutex<()>,
    asked: Mutex<HashMap<String, mpsc::UnboundedSender<Answer>>>,
    last_serial: AtomicU64,
    last_number: AtomicI64,
    number_slot: i64,
}

/// Where a copy of a message is queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shelf {
    /// To be received at once.
    Ready,
    /// For this time, or a part of it.
    Wait(Duration),
    /// For a person.
    Dead,
}

impl Place {
    pub(crate) fn new(address: &str, options: &Options) -> Result<Self, StoreError> {
        let server = Server::new(address, options)?;
        let random = uuid::Uuid::now_v7().as_u128();
        Ok(Self {
            names: Names::new(&server.place, &options.prefix)?,
            message_bytes_max: options.message_bytes_max,
            clock: options.clock.clone(),
            handle: history::new_id(),
            takes: Link::new(server.clone(), "receives"),
            station: AsyncMutex::default(),
            sends: Publisher::new(server.clone()),
            server,
            lanes: AsyncMutex::default(),
            held: Mutex::default(),
            early: Arc::new(Semaphore::new(RECEIVE_MAX)),
            held_changed: Arc::default(),
            known: Mutex::default(),
            locks: AsyncMutex::default(),
            asked: Mutex::default(),
            last_serial: AtomicU64::new(0),
            last_number: AtomicI64::new(0),
            number_slot: i64::try_from(random & 0xFFF).unwrap_or_default(),
        })
    }

    pub(crate) fn held(&self) -> MutexGuard<'_, BTreeMap<u64, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn known(&self) -> MutexGuard<'_, HashSet<String>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn asked(&self) -> MutexGuard<'_, HashMap<String, mpsc::UnboundedSender<Answer>>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn new_serial(&self) -> u64 {
        self.last_serial.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// A number for a dead letter: larger than every one this handle gave before, and in the order
    /// of time among handles. Two handles draw the same one only if their slots are the same.
    pub(crate) fn new_number(&self) -> i64 {
        let ms = self.clock.now().unix_ms().saturating_sub(NUMBERS_SINCE_MS).max(0);
        let now = ms.saturating_mul(NUMBERS_PER_MS) + self.number_slot;
        let next = |last: i64| Some(now.max(last + 1));
        match self.last_number.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next) {
            Ok(last) | Err(last) => now.max(last + 1),
        }
    }

    /// Waits for others in this handle, each of whom may have to wait for the server.
    pub(crate) async fn turn<T>(
        &self,
        operation: &'static str,
        turn: impl Future<Output = T>,
    ) -> Result<T, StoreError> {
        let waited = tokio::time::timeout(self.server.patience * 2, turn).await;
        waited.map_err(|_| crate::error::no_answer(&self.server.place, operation))
    }

    /// Runs `work` to its end, also if the caller does not wait for it.
    pub(crate) async fn finish<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        match tokio::spawn(work).await {
            Ok(answer) => answer,
            Err(error) => {
                let help = "This is a defect in Semel; please report it.";
                Err(self.server.error(Trouble::Broken, operation, error.to_string(), help))
            }
        }
    }

    /// The queue of a shelf, which is there when this returns.
    pub(crate) async fn shelf(
        self: &Arc<Self>,
        endpoint: &str,
        shelf: Shelf,
    ) -> Result<String, StoreError> {
        let ready = self.ensure(endpoint, Kind::Ready).await?;
        match shelf {
            Shelf::Ready => Ok(ready),
            Shelf::Wait(wait) => {
                self.ensure(endpoint, Kind::Wait(crate::names::step_ms(wait))).await
            }
            Shelf::Dead => self.ensure(endpoint, Kind::Dead).await,
        }
    }

    /// Queues a copy. A queue that somebody deleted is made again, once.
    pub(crate) async fn queue(
        self: &Arc<Self>,
        endpoint: &str,
        shelf: Shelf,
        copy: &Raw,
    ) -> Published {
        for _ in 0..2 {
            let queue = match self.shelf(endpoint, shelf).await {
                Ok(queue) => queue,
                Err(error) => return Published::NotSent(error),
            };
            match self.sends.publish(Target::Queue(queue.clone()), copy.clone()).await {
                Published::Returned => self.forget(&queue),
                other => return other,
            }
        }
        Published::Returned
    }

    /// Somebody deleted this queue.
    pub(crate) fn forget(&self, queue: &str) {
        tracing::warn!(server = &*self.server.place, queue, "a queue is gone; it is made again");
        self.known().remove(queue);
    }

    /// Why a message was not queued.
    pub(crate) fn not_queued(&self, published: Published) -> Option<StoreError> {
        match published {
            Published::Confirmed => None,
            Published::Rejected(error) | Published::NotSent(error) | Published::Unknown(error) => {
                Some(error)
            }
            Published::TooLarge(limit) => Some(self.too_large(limit)),
            Published::Returned => {
                let help = "Look who deletes queues under the prefix.";
                let reason = "the queue is not there, though it was made a moment ago";
                Some(self.server.error(Trouble::Unavailable, "send", reason, help))
            }
        }
    }

    pub(crate) fn too_large(&self, limit: usize) -> StoreError {
        let reason = format!("the server takes no message of more than {limit} bytes");
        let help = "Send less in one piece, or raise `max_message_size` of the server.";
        self.server.error(Trouble::TooLarge, "send", reason, help)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Whoever ends leases ends too.
        self.held_changed.notify_one();
    }
}
