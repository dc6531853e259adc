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
/// How long to rest after a failure, or while there is no connection.
const BACK_OFF: Duration = Duration::from_secs(1);
/// How long a gravestone stays in which we are connected: longer than a server takes to note a
/// removal, and than others take to read it after a cut.
pub(crate) const GRAVESTONE_KEPT: Duration = Duration::from_secs(300);

/// What is left of a message that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Left {
    /// It is settled, and lies there yet.
    Message,
    /// It is settled and gone; its record is left.
    Record,
    /// It is gone, nobody knows why; its record is left.
    Unknown,
}

/// A message that is over.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Settled {
    /// Of its endpoint.
    pub(crate) token: String,
    /// Of the message in its stream.
    pub(crate) sequence: u64,
    /// When it was stored, in nanoseconds.
    pub(crate) stored: i64,
    /// Of its record, if there is one.
    pub(crate) revision: Option<u64>,
    pub(crate) left: Left,
}

/// What is still to be removed, and the one who does it.
pub(crate) struct Removals {
    wire: Wire,
    names: Names,
    place: String,
    tops: Arc<Tops>,
    /// Whether each of them must be looked at before it is removed: somebody may delete its stream
    /// while it waits, and another message then has its number.
    waiting: Mutex<BTreeMap<Settled, bool>>,
    /// What follows of what others than the remover have removed or found.
    following: Mutex<Following>,
    wake: Notify,
    room: Notify,
}

/// Revisions of the stream of records that are to go some time later.
#[derive(Default)]
struct Following {
    stones: Vec<u64>,
    records: Vec<u64>,
}

/// What became of one message.
enum Fate {
    Removed,
    /// It is not there any more, or another has its number.
    NotThere,
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
        let (waiting, following) = (Mutex::default(), Mutex::default());
        let (wake, room) = (Notify::new(), Notify::new());
        Self { wire, names, place, tops, waiting, following, wake, room }
    }

    /// Begins to remove.
    pub(crate) fn start(self: &Arc<Self>) -> Remover {
        Remover(tokio::spawn(work(self.clone())))
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<Settled, bool>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn following(&self) -> MutexGuard<'_, Following> {
        self.following.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a message removed that is over, as soon as there is a higher one.
    pub(crate) async fn add(&self, settled: Settled) {
        let full = || self.waiting().len() >= WAITING_MAX;
        if full() {
            // Whoever settles faster than a server removes is held up here.
            let _ = tokio::time::timeout(ROOM_WAIT, self.room.notified()).await;
        }
        if !full() {
            let must_look = !self.is_due(&settled);
            self.waiting().insert(settled, must_look);
        }
        self.wake.notify_one();
    }

    /// Removes it now, if it can be: whoever settles a dead letter may end the next moment.
    pub(crate) async fn add_at_once(&self, settled: Settled) {
        if !self.is_due(&settled) {
            return self.add(settled).await;
        }
        if let Err(why) = self.remove(vec![(settled, false)]).await {
            self.complain(why);
        }
        self.wake.notify_one();
    }

    /// Has gravestones removed, when they have stood long enough, that another handle laid.
    pub(crate) fn adopt(&self, stones: Vec<u64>) {
        self.following().stones.extend(stones);
        self.wake.notify_one();
    }

    /// Something may have become removable.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
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
        if is_of_all {
            *self.following() = Following::default();
        }
        let is_other = |of: &Settled| self.names.queue_stream(&of.token) != stream;
        self.waiting().retain(|of, _| !is_of_all && is_other(of));
    }

    fn is_due(&self, settled: &Settled) -> bool {
        let stream = self.names.queue_stream(&settled.token);
        settled.left != Left::Message || self.tops.is_below(&stream, settled.sequence)
    }

    /// Takes out what may go now, and whether it must be looked at before.
    fn take_due(&self) -> Vec<(Settled, bool)> {
        let mut waiting = self.waiting();
        let is_due = |settled: &Settled, _: &mut bool| self.is_due(settled);
        let due: Vec<_> = waiting.extract_if(.., is_due).take(TOGETHER_MAX).collect();
        if waiting.len() < WAITING_MAX {
            self.room.notify_waiters();
        }
        due
    }

    /// Removes messages, and lays their gravestones; their records follow. What failed is tried again
    /// later.
    async fn remove(&self, due: Vec<(Settled, bool)>) -> Result<(), Failed> {
        let connects = self.wire.connects();
        let mut failed = None;
        let mut records = Vec::new();
        let mut gone: BTreeMap<String, Vec<Settled>> = BTreeMap::new();
        let removals = due
            .into_iter()
            .map(|(it, must_look)| async move { (self.remove_message(&it, must_look).await, it) });
        let removed: Vec<_> =
            stream::iter(removals).buffer_unordered(IN_FLIGHT_MAX).collect().await;
        for (removed, it) in removed {
            match removed {
                Ok(Fate::Removed) => gone.entry(it.token.clone()).or_default().push(it),
                Ok(Fate::NotThere) => records.extend(it.revision),
                Err(why) => failed = Some(self.put_back([it], why)),
            }
        }
        let mut stones = Vec::new();
        for (token, settled) in gone {
            match self.bury(&token, &settled).await {
                Ok(revision) if connects == self.wire.connects() => {
                    stones.push(revision);
                    records.extend(settled.iter().filter_map(|it| it.revision));
                }
                // Others may have looked at the gravestones between the cut and this one.
                Ok(revision) => {
                    stones.push(revision);
                    let cut = Failed::Silent("the connection was cut".to_owned());
                    failed = Some(self.put_back(settled, cut));
                }
                Err(why) => failed = Some(self.put_back(settled, why)),
            }
        }
        let mut following = self.following();
        following.stones.extend(stones);
        following.records.extend(records);
        failed.map_or(Ok(()), Err)
    }

    async fn remove_message(&self, it: &Settled, must_look: bool) -> Result<Fate, Failed> {
        match it.left {
            Left::Message => {}
            Left::Record => return Ok(Fate::Removed),
            Left::Unknown => return Ok(Fate::NotThere),
        }
        let stream = self.names.queue_stream(&it.token);
        if must_look {
            match self.wire.get(&stream, it.sequence).await? {
                None => return Ok(Fate::Removed),
                Some(found) if found.stored() != it.stored => return Ok(Fate::NotThere),
                Some(_) => {}
            }
        }
        self.wire.remove(&stream, it.sequence).await.map(|()| Fate::Removed)
    }

    fn put_back(&self, settled: impl IntoIterator<Item = Settled>, why: Failed) -> Failed {
        // Of a stream that is gone, all is removed.
        if !why.is_stream_gone() || self.wire.check_connected().is_err() {
            self.waiting().extend(settled.into_iter().map(|it| (it, true)));
        }
        why
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

/// What goes from the stream of records when its time has come.
struct Later {
    wait: Duration,
    /// By the time at which they go.
    waiting: VecDeque<(Instant, Vec<u64>)>,
}

impl Later {
    fn new(wait: Duration) -> Self {
        Self { wait, waiting: VecDeque::new() }
    }

    fn add(&mut self, revisions: Vec<u64>) {
        if !revisions.is_empty() {
            self.waiting.push_back((Instant::now() + self.wait, revisions));
        }
    }

    /// Has all of them wait as if they had just come.
    fn begin_anew(&mut self) {
        let when = Instant::now() + self.wait;
        self.waiting.iter_mut().for_each(|waiting| waiting.0 = when);
    }

    /// Removes what is due. What fails, or is the highest there, waits once more.
    async fn remove_due(&mut self, removals: &Removals) -> Result<(), Failed> {
        let stream = removals.names.state_stream();
        let stream = &stream;
        while let Some((_, revisions)) =
            self.waiting.pop_front_if(|(when, _)| *when <= Instant::now())
        {
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
            self.add(left);
            if let Some(failed) = failed {
                return Err(failed);
            }
        }
        Ok(())
    }
}

async fn work(removals: Arc<Removals>) {
    let (mut stones, mut records) = (Later::new(GRAVESTONE_KEPT), Later::new(RECORD_KEPT));
    let mut connects = removals.wire.connects();
    loop {
        let next = [&stones, &records].into_iter().filter_map(|later| later.waiting.front());
        let next = next.map(|(when, _)| *when).min();
        let next = next.unwrap_or_else(|| Instant::now() + GRAVESTONE_KEPT);
        tokio::select! {
            () = removals.wake.notified() => {}
            () = tokio::time::sleep_until(next.into()) => {}
        }
        // What comes meanwhile goes together.
        tokio::time::sleep(GATHER).await;
        if let Err(failed) = round(&removals, &mut stones, &mut records, &mut connects).await {
            removals.complain(failed);
            tokio::time::sleep(BACK_OFF).await;
        }
    }
}

/// Removes all that is there, and what is to follow by now.
async fn round(
    removals: &Removals,
    stones: &mut Later,
    records: &mut Later,
    connects: &mut u64,
) -> Result<(), Failed> {
    loop {
        if removals.wire.check_connected().is_err() {
            tokio::time::sleep(BACK_OFF).await;
            return Ok(());
        }
        let now = removals.wire.connects();
        if *connects != now {
            // Nobody can have read the gravestones while there was no server.
            stones.begin_anew();
            *connects = now;
        }
        let due = removals.take_due();
        let is_all = due.len() < TOGETHER_MAX;
        let removed = removals.remove(due).await;
        let following = std::mem::take(&mut *removals.following());
        stones.add(following.stones);
        records.add(following.records);
        removed?;
        records.remove_due(removals).await?;
        stones.remove_due(removals).await?;
        if is_all {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::Later;

    #[test]
    fn what_waited_while_there_was_no_server_waits_once_more() {
        let mut later = Later::new(Duration::from_secs(300));
        later.add(vec![]);
        later.add(vec![7]);
        later.waiting[0].0 = Instant::now();
        later.begin_anew();
        let (when, revisions) = &later.waiting[0];
        assert!(*when > Instant::now() + Duration::from_secs(200));
        assert_eq!((later.waiting.len(), revisions.as_slice()), (1, &[7][..]));
    }
}
