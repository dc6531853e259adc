//! What is settled goes in the background: its message first, then its record.
//!
//! Nobody waits for it, and all that was settled within a moment goes together. A server notes
//! a removal in its files up to two minutes later: one that is killed before has the message again,
//! though its record is gone. So, between the two, a *gravestone* says which messages they were; it
//! stays for longer than that, and is read after a cut, when the server may have been killed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_nats::HeaderMap;
use futures_util::{StreamExt as _, stream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::error::Failed;
use crate::gravestone::Gravestone;
use crate::names::Names;
use crate::tops::Tops;
use crate::wire::{Expect, Wire};

/// How many settled messages are remembered that are still to be removed. Those who settle more
/// wait for room.
const WAITING_MAX: usize = 8_192;
/// How long they wait: what is not remembered is found when it is offered again, or swept.
const ROOM_WAIT: Duration = Duration::from_secs(2);
/// How many go under one gravestone.
const TOGETHER_MAX: usize = 512;
/// How many requests are on their way at the same time.
const IN_FLIGHT_MAX: usize = 64;
/// What is settled within this goes together.
const GATHER: Duration = Duration::from_millis(200);
/// How long to rest after a failure.
const BACK_OFF: Duration = Duration::from_secs(1);
/// How long a gravestone stays: longer than a server takes to note a removal.
pub(crate) const GRAVESTONE_KEPT: Duration = Duration::from_secs(300);

/// A settled message.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Settled {
    /// Of its endpoint.
    pub(crate) token: String,
    /// Of the message in its stream.
    pub(crate) sequence: u64,
    /// When it was stored, in nanoseconds.
    pub(crate) stored: i64,
    /// Of its record; none where only the message is left.
    pub(crate) revision: Option<u64>,
    /// Whether only the record is left.
    pub(crate) is_gone: bool,
}

/// What is still to be removed, and the one who does it.
pub(crate) struct Removals {
    wire: Wire,
    names: Names,
    place: String,
    tops: Arc<Tops>,
    waiting: Mutex<BTreeSet<Settled>>,
    wake: Notify,
    room: Notify,
}

/// The task that removes; it ends with its handle.
pub(crate) struct Remover(JoinHandle<()>);

impl Drop for Remover {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Removals {
    pub(crate) fn new(wire: Wire, names: Names, place: String, tops: Arc<Tops>) -> Self {
        let (waiting, wake, room) = (Mutex::default(), Notify::new(), Notify::new());
        Self { wire, names, place, tops, waiting, wake, room }
    }

    /// Begins to remove.
    pub(crate) fn start(self: &Arc<Self>) -> Remover {
        Remover(tokio::spawn(work(self.clone())))
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeSet<Settled>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a settled message removed, as soon as there is a higher one.
    pub(crate) async fn add(&self, settled: Settled) {
        let full = || self.waiting().len() >= WAITING_MAX;
        if full() {
            // Whoever settles faster than a server removes is held up here.
            let _ = tokio::time::timeout(ROOM_WAIT, self.room.notified()).await;
        }
        if !full() {
            self.remember([settled]);
        }
        self.wake.notify_one();
    }

    fn remember(&self, settled: impl IntoIterator<Item = Settled>) {
        self.waiting().extend(settled);
    }

    /// Something may have become removable.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Forgets what was known of a stream, which may have been made anew: other messages may have the
    /// numbers of those that were to be removed. What they leave is swept up by a registration.
    pub(crate) fn forget_stream(&self, stream: &str) {
        self.tops.forget(stream);
        let is_of_all = stream == self.names.state_stream();
        self.waiting().retain(|of| !is_of_all && self.names.queue_stream(&of.token) != stream);
    }

    /// Takes out what may go now.
    fn take_due(&self) -> Vec<Settled> {
        let records = self.names.state_stream();
        let mut waiting = self.waiting();
        let is_due = |settled: &Settled| {
            let stream = self.names.queue_stream(&settled.token);
            (settled.is_gone || self.tops.is_below(&stream, settled.sequence))
                && settled.revision.is_none_or(|revision| self.tops.is_below(&records, revision))
        };
        let due: Vec<Settled> = waiting.extract_if(.., is_due).take(TOGETHER_MAX).collect();
        if waiting.len() < WAITING_MAX {
            self.room.notify_waiters();
        }
        due
    }

    /// Removes messages, lays their gravestones, and removes their records. Returns the revisions
    /// of the gravestones; what failed is tried again later.
    async fn remove(&self, due: Vec<Settled>) -> (Vec<u64>, Option<Failed>) {
        let mut failed = None;
        let mut gone: BTreeMap<String, Vec<Settled>> = BTreeMap::new();
        let removals = due.into_iter().map(|it| async move {
            if it.is_gone {
                return (Ok(false), it);
            }
            let stream = self.names.queue_stream(&it.token);
            (self.wire.remove(&stream, it.sequence).await, it)
        });
        let removed: Vec<_> =
            stream::iter(removals).buffer_unordered(IN_FLIGHT_MAX).collect().await;
        for (removed, it) in removed {
            match removed {
                Ok(_) => gone.entry(it.token.clone()).or_default().push(it),
                Err(why) => self.put_back([it], why, &mut failed),
            }
        }
        let mut stones = Vec::new();
        let mut buried = Vec::new();
        for (token, settled) in gone {
            match self.bury(&token, &settled).await {
                Ok(revision) => {
                    stones.push(revision);
                    buried.extend(settled);
                }
                Err(why) => self.put_back(settled, why, &mut failed),
            }
        }
        let records = self.names.state_stream();
        let records = &records;
        let removals = buried
            .into_iter()
            .filter_map(|it| Some((it.revision?, it)))
            .map(|(revision, it)| async move { (self.wire.remove(records, revision).await, it) });
        let removed: Vec<_> =
            stream::iter(removals).buffer_unordered(IN_FLIGHT_MAX).collect().await;
        for (removed, it) in removed {
            if let Err(why) = removed {
                self.put_back([it], why, &mut failed);
            }
        }
        (stones, failed)
    }

    fn put_back(
        &self,
        settled: impl IntoIterator<Item = Settled>,
        why: Failed,
        failed: &mut Option<Failed>,
    ) {
        // Of a stream that is gone, all is removed.
        if !why.is_stream_gone() || self.wire.check_connected().is_err() {
            self.remember(settled);
        }
        *failed = Some(why);
    }

    async fn bury(&self, token: &str, settled: &[Settled]) -> Result<u64, Failed> {
        let stream = self.names.state_stream();
        let inbox = self.wire.client.new_inbox();
        let id = inbox.rsplit('.').next().unwrap_or_default();
        let subject = self.names.gravestone_subject(token, id);
        let body = Gravestone::of(settled).write().into();
        let put = self.wire.publish(&stream, subject, HeaderMap::new(), body, Expect::Anything);
        let put = put.await?;
        self.tops.saw(&stream, put);
        Ok(put)
    }
}

async fn work(removals: Arc<Removals>) {
    let mut stones: VecDeque<(Instant, u64)> = VecDeque::new();
    loop {
        // Without gravestones there is nothing to do but what one is woken for.
        let look = if stones.is_empty() { GRAVESTONE_KEPT } else { GRAVESTONE_KEPT / 5 };
        tokio::select! {
            () = removals.wake.notified() => {}
            () = tokio::time::sleep(look) => {}
        }
        if removals.waiting().len() < TOGETHER_MAX {
            tokio::time::sleep(GATHER).await;
        }
        while removals.wire.check_connected().is_ok() {
            let due = removals.take_due();
            if due.is_empty() {
                break;
            }
            let (laid, failed) = removals.remove(due).await;
            stones.extend(laid.into_iter().map(|revision| (Instant::now(), revision)));
            if let Some(failed) = failed {
                let error = failed.into_error(&removals.place, "remove settled messages");
                tracing::warn!(%error, "settled messages are removed later");
                tokio::time::sleep(BACK_OFF).await;
            }
        }
        clear(&removals, &mut stones).await;
    }
}

/// Removes gravestones that have stood long enough.
async fn clear(removals: &Removals, stones: &mut VecDeque<(Instant, u64)>) {
    let stream = removals.names.state_stream();
    while let Some((laid, revision)) = stones.front().copied() {
        if laid.elapsed() < GRAVESTONE_KEPT || !removals.tops.is_below(&stream, revision) {
            return;
        }
        // Another handle sweeps what stays.
        if removals.wire.remove(&stream, revision).await.is_err() {
            return;
        }
        stones.pop_front();
    }
}
