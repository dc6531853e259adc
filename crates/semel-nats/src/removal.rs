//! What is settled goes in the background: its message first, then its record.
//!
//! Nobody waits for it, and all that was settled within a moment goes together. A server notes
//! a removal in its files up to two minutes later: one that is killed before has the message again,
//! though its record is gone. So, between the two, a *gravestone* says which messages they were; it
//! stays for longer than that, and is read after a cut, when the server may have been killed.

use std::collections::{BTreeMap, VecDeque};
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
/// How long a record stays longer than its message, for whoever was offered that just before.
pub(crate) const RECORD_KEPT: Duration = Duration::from_secs(1);
/// What waits for longer is looked at before it is removed.
const LOOK_AFTER: Duration = Duration::from_secs(1);
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
    /// Since when each of them waits.
    waiting: Mutex<BTreeMap<Settled, Instant>>,
    wake: Notify,
    room: Notify,
}

/// What was removed, and what is to follow.
struct Removed {
    stones: Vec<u64>,
    records: Vec<u64>,
    failed: Option<Failed>,
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

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<Settled, Instant>> {
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
        let now = Instant::now();
        self.waiting().extend(settled.into_iter().map(|it| (it, now)));
    }

    /// Something may have become removable.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Removes now what can be removed: whoever settles a dead letter may end the next moment.
    pub(crate) async fn hurry(&self) {
        let due = self.take_due();
        // Their records, and the gravestones, are swept by a registration.
        if let Some(failed) = self.remove(due).await.failed {
            self.complain(failed);
        }
    }

    fn complain(&self, failed: Failed) {
        let error = failed.into_error(&self.place, "remove settled messages");
        tracing::warn!(%error, "settled messages are removed later");
    }

    /// Forgets what was known of a stream, which may have been made anew: other messages may have the
    /// numbers of those that were to be removed. What they leave is swept up by a registration.
    pub(crate) fn forget_stream(&self, stream: &str) {
        self.tops.forget(stream);
        let is_of_all = stream == self.names.state_stream();
        let is_other = |of: &Settled| self.names.queue_stream(&of.token) != stream;
        self.waiting().retain(|of, _| !is_of_all && is_other(of));
    }

    /// Takes out what may go now, and since when it waits.
    fn take_due(&self) -> Vec<(Settled, Instant)> {
        let mut waiting = self.waiting();
        let is_due = |settled: &Settled, _: &mut Instant| {
            let stream = self.names.queue_stream(&settled.token);
            settled.is_gone || self.tops.is_below(&stream, settled.sequence)
        };
        let due: Vec<_> = waiting.extract_if(.., is_due).take(TOGETHER_MAX).collect();
        if waiting.len() < WAITING_MAX {
            self.room.notify_waiters();
        }
        due
    }

    /// Removes messages, and lays their gravestones. Returns the revisions of these, and of the
    /// records that may go; what failed is tried again later.
    async fn remove(&self, due: Vec<(Settled, Instant)>) -> Removed {
        let mut failed = None;
        let mut gone: BTreeMap<String, Vec<Settled>> = BTreeMap::new();
        let removals = due.into_iter().map(|(it, since)| async move {
            let removed = if it.is_gone { Ok(()) } else { self.remove_message(&it, since).await };
            (removed, it)
        });
        let removed: Vec<_> =
            stream::iter(removals).buffer_unordered(IN_FLIGHT_MAX).collect().await;
        for (removed, it) in removed {
            match removed {
                Ok(()) => gone.entry(it.token.clone()).or_default().push(it),
                Err(why) => self.put_back([it], why, &mut failed),
            }
        }
        let (mut stones, mut records) = (Vec::new(), Vec::new());
        for (token, settled) in gone {
            match self.bury(&token, &settled).await {
                Ok(revision) => {
                    stones.push(revision);
                    records.extend(settled.iter().filter_map(|it| it.revision));
                }
                Err(why) => self.put_back(settled, why, &mut failed),
            }
        }
        Removed { stones, records, failed }
    }

    async fn remove_message(&self, it: &Settled, since: Instant) -> Result<(), Failed> {
        let stream = self.names.queue_stream(&it.token);
        if since.elapsed() > LOOK_AFTER {
            // Somebody may have deleted the stream meanwhile, and another has its name.
            let found = self.wire.get(&stream, it.sequence).await?;
            if found.is_none_or(|found| found.stored() != it.stored) {
                return Ok(());
            }
        }
        self.wire.remove(&stream, it.sequence).await.map(drop)
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

/// What goes from the stream of records when its time has come, in the order of the times.
#[derive(Default)]
struct Later(VecDeque<(Instant, Vec<u64>)>);

impl Later {
    fn add(&mut self, when: Instant, revisions: Vec<u64>) {
        if !revisions.is_empty() {
            self.0.push_back((when, revisions));
        }
    }

    /// Removes what is due. What fails stays for the next time.
    async fn remove_due(&mut self, removals: &Removals) -> Result<(), Failed> {
        let stream = removals.names.state_stream();
        let stream = &stream;
        while let Some((_, revisions)) = self.0.pop_front_if(|(when, _)| *when <= Instant::now()) {
            let (due, mut left): (Vec<u64>, Vec<u64>) = revisions
                .into_iter()
                .partition(|revision| removals.tops.is_below(stream, *revision));
            let removed = due.into_iter().map(|revision| async move {
                (removals.wire.remove(stream, revision).await, revision)
            });
            let removed: Vec<_> =
                stream::iter(removed).buffer_unordered(IN_FLIGHT_MAX).collect().await;
            let mut failed = None;
            for (removed, revision) in removed {
                if let Err(why) = removed {
                    left.push(revision);
                    failed = Some(why);
                }
            }
            self.add(Instant::now() + BACK_OFF, left);
            if let Some(failed) = failed {
                return Err(failed);
            }
        }
        Ok(())
    }
}

async fn work(removals: Arc<Removals>) {
    let (mut stones, mut records) = (Later::default(), Later::default());
    loop {
        let next =
            [&stones, &records].into_iter().filter_map(|later| later.0.front()).map(|it| it.0);
        let next = next.min().unwrap_or_else(|| Instant::now() + GRAVESTONE_KEPT);
        tokio::select! {
            () = removals.wake.notified() => {}
            () = tokio::time::sleep_until(next.into()) => {}
        }
        if removals.waiting().len() < TOGETHER_MAX {
            tokio::time::sleep(GATHER).await;
        }
        let mut failed = None;
        while failed.is_none() && removals.wire.check_connected().is_ok() {
            let due = removals.take_due();
            if due.is_empty() {
                break;
            }
            let removed = removals.remove(due).await;
            stones.add(Instant::now() + GRAVESTONE_KEPT, removed.stones);
            records.add(Instant::now() + RECORD_KEPT, removed.records);
            failed = removed.failed;
            if let Err(why) = records.remove_due(&removals).await {
                failed = Some(why);
            }
        }
        for later in [&mut records, &mut stones] {
            if removals.wire.check_connected().is_ok()
                && let Err(why) = later.remove_due(&removals).await
            {
                failed = Some(why);
            }
        }
        if let Some(failed) = failed {
            removals.complain(failed);
            tokio::time::sleep(BACK_OFF).await;
        }
    }
}
