//! The one thread that writes: it commits whatever has queued up as one transaction.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::{Connection, TransactionBehavior};
use semel_core::broker::{Delivery, Lease, Outgoing, Receipt, Receive, Registration, Settlement};
use semel_core::store::{Change, Trouble, Version};
use semel_core::{Clock, StoreError, Timestamp};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::{Notify, oneshot};

use crate::changes::{self, Isolation, Purged, Stopped, Transaction};
use crate::error::{self, Certainty};
use crate::file::Place;

/// How many requests share one transaction at most.
const GROUP_MAX: usize = 1_024;
/// How often records past their window are dropped.
const PURGE_EVERY: Duration = Duration::from_secs(10);

/// What the writer is asked to do.
#[derive(Debug)]
pub(crate) enum Request {
    Write(Vec<Change>),
    Receive(Receive),
    Extend(Vec<Receipt>, Duration),
    Settle(Receipt, Settlement),
    Send(Vec<Outgoing>),
    Register(Registration),
}

/// What it did.
#[derive(Debug)]
pub(crate) enum Answer {
    Applied(Vec<Option<Version>>),
    Conflict(Vec<usize>),
    Refused(StoreError),
    Deliveries(Vec<Delivery>),
    Leases(Vec<Lease>),
    Settled,
    Stale,
    Sent(Vec<Result<(), StoreError>>),
    Registered,
}

/// Why it could not.
#[derive(Clone, Debug)]
pub(crate) struct Failed {
    pub(crate) error: StoreError,
    pub(crate) certainty: Certainty,
}

struct Pending {
    request: Request,
    reply: Reply,
    /// When it was asked.
    since: Instant,
}

/// Who waits for the answer.
struct Reply {
    answer: oneshot::Sender<Result<Answer, Failed>>,
    /// The runtime it waits on, if that runs on threads of its own. Another one may stand still.
    runtime: Option<Handle>,
}

/// The answers of one group, to be handed out.
///
/// Waking a hundred tasks from a foreign thread takes a hundred system calls. So a task of the
/// runtime does it; and should that task be dropped before it ran, dropping this does it.
struct Answers(Vec<(Reply, Result<Answer, Failed>)>);

impl Answers {
    fn of(group: Vec<Pending>, answers: impl Iterator<Item = Result<Answer, Failed>>) -> Self {
        Self(group.into_iter().map(|pending| pending.reply).zip(answers).collect())
    }

    fn hand_out(self) {
        let runtime = self.0.iter().find_map(|(reply, _)| reply.runtime.clone());
        match runtime {
            Some(runtime) if self.0.len() > 1 => {
                runtime.spawn(async move { drop(self) });
            }
            _ => drop(self),
        }
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        for (reply, answer) in self.0.drain(..) {
            // Whoever asked may have gone; what was done is durable all the same.
            let _ = reply.answer.send(answer);
        }
    }
}

/// A handle to the writer thread. Dropping it lets the thread end its work first.
#[derive(Debug)]
pub(crate) struct Writer {
    inbox: Option<mpsc::Sender<Pending>>,
    thread: Option<JoinHandle<()>>,
    commits: Arc<AtomicU64>,
    place: Arc<Place>,
}

impl Writer {
    pub(crate) fn start(
        connection: Connection,
        place: &Arc<Place>,
        clock: Arc<dyn Clock>,
        queued: &Arc<Notify>,
    ) -> Result<Self, StoreError> {
        let (inbox, requests) = mpsc::channel();
        let commits = Arc::new(AtomicU64::new(0));
        let mut work = Work {
            connection,
            place: place.clone(),
            clock,
            queued: queued.clone(),
            commits: commits.clone(),
            purge_at: None,
        };
        let thread = std::thread::Builder::new()
            .name("semel-write".to_owned())
            .spawn(move || work.run(&requests))
            .map_err(|error| thread_error(place, &error))?;
        Ok(Self { inbox: Some(inbox), thread: Some(thread), commits, place: place.clone() })
    }

    /// Asks the writer; the answer comes when it is durable.
    pub(crate) async fn ask(&self, request: Request) -> Result<Answer, Failed> {
        let (sender, answer) = oneshot::channel();
        let runtime = Handle::try_current().ok();
        let runtime = runtime.filter(|it| it.runtime_flavor() == RuntimeFlavor::MultiThread);
        let reply = Reply { answer: sender, runtime };
        let pending = Pending { request, reply, since: Instant::now() };
        let Some(inbox) = &self.inbox else { return Err(self.gone(Certainty::NotApplied)) };
        match inbox.send(pending) {
            Ok(()) => answer.await.unwrap_or_else(|_| Err(self.gone(Certainty::Unknown))),
            Err(_) => Err(self.gone(Certainty::NotApplied)),
        }
    }

    pub(crate) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    fn gone(&self, certainty: Certainty) -> Failed {
        let reason = "the writer thread is gone";
        let help = "Restart this process; the log says why the thread ended.";
        let error = error::new(self.place.path(), Trouble::Broken, "write", reason, help);
        Failed { error, certainty }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.inbox = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was already reported by its hook.
            let _ = thread.join();
        }
    }
}

pub(crate) fn thread_error(place: &Place, error: &std::io::Error) -> StoreError {
    let help = "Raise the limit of threads for this user.";
    let reason = format!("no thread can be started: {error}");
    error::new(place.path(), Trouble::Unavailable, "open", reason, help)
}

struct Work {
    connection: Connection,
    place: Arc<Place>,
    clock: Arc<dyn Clock>,
    queued: Arc<Notify>,
    commits: Arc<AtomicU64>,
    /// When to drop what is past its window. `None` before the first write: who only looks changes
    /// nothing.
    purge_at: Option<Timestamp>,
}

impl Work {
    fn run(&mut self, requests: &mpsc::Receiver<Pending>) {
        loop {
            let wait = if self.must_purge() { Duration::ZERO } else { PURGE_EVERY };
            match requests.recv_timeout(wait) {
                Ok(first) => self.serve(gather(first, requests)),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => return,
            }
            if self.must_purge() {
                self.purge();
            }
        }
    }

    /// Answers all requests of a group. If the group as a whole surely failed, each gets a
    /// transaction of its own, so that one poison request fails alone.
    fn serve(&mut self, mut group: Vec<Pending>) {
        while !group.is_empty() {
            let failed = match self.commit(&group) {
                Ok(answers) => {
                    return Answers::of(group, answers.into_iter().map(Ok)).hand_out();
                }
                Err(failed) => failed,
            };
            let mut rest = Vec::new();
            if failed.certainty == Certainty::NotBegun {
                // Who came later waits on.
                let is_late = |pending: &Pending| self.place.patience(pending.since).is_zero();
                (group, rest) = group.into_iter().partition(is_late);
            } else if group.len() > 1 && may_run_again(&failed) {
                return group.into_iter().for_each(|pending| self.serve(vec![pending]));
            }
            Answers::of(group, std::iter::repeat_with(|| Err(failed.clone()))).hand_out();
            group = rest;
        }
    }

    /// Applies all requests in one transaction, as if each were alone in it.
    ///
    /// Savepoints cost a tenth of the time and are hardly ever needed. So the first try goes
    /// without, and begins anew with them if a request is rejected that had changed something.
    fn commit(&mut self, group: &[Pending]) -> Result<Vec<Answer>, Failed> {
        match self.try_commit(group, Isolation::Shared)? {
            Some(answers) => Ok(answers),
            None => self.try_commit(group, Isolation::Savepoints).map(Option::unwrap_or_default),
        }
    }

    /// `None` if the requests need savepoints.
    fn try_commit(
        &mut self,
        group: &[Pending],
        isolation: Isolation,
    ) -> Result<Option<Vec<Answer>>, Failed> {
        let place = self.place.clone();
        let not_applied = |error: rusqlite::Error| Failed::surely(place.translate("write", &error));
        let oldest = group.first().map_or_else(Instant::now, |pending| pending.since);
        let inner =
            begin(&mut self.connection, place.patience(oldest)).map_err(|error| Failed {
                certainty: error::certainty_of_begin(&error),
                error: place.translate("write", &error),
            })?;
        // Read once the lock is held: leases begin when they are given, not when they were asked.
        let now = self.clock.now();
        let mut transaction =
            Transaction::begin(inner, &place, now, isolation).map_err(not_applied)?;
        let mut answers = Vec::with_capacity(group.len());
        for pending in group {
            match transaction.apply(&pending.request) {
                Ok(answer) => answers.push(answer),
                Err(Stopped::NeedsSavepoints) => return Ok(None),
                Err(Stopped::Sqlite(error)) => return Err(not_applied(error)),
            }
        }
        let has_queued = transaction.has_queued();
        place.check_identity("commit").map_err(Failed::surely)?;
        let written = transaction.commit().map_err(|error| Failed {
            certainty: error::certainty(&error),
            error: place.translate("commit", &error),
        });
        // A file that vanished meanwhile makes every answer void, errors of SQLite included.
        place.check_identity("commit").map_err(Failed::perhaps)?;
        written?;
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.purge_at.get_or_insert(now.after(PURGE_EVERY));
        if has_queued {
            self.queued.notify_waiters();
        }
        Ok(Some(answers))
    }

    fn must_purge(&self) -> bool {
        self.purge_at.is_some_and(|at| at <= self.clock.now())
    }

    /// Drops one portion of what is past its window. The next follows at once if nobody waits, or
    /// else after the next group.
    fn purge(&mut self) {
        let now = self.clock.now();
        let transaction = begin(&mut self.connection, Duration::ZERO);
        let next = match transaction.and_then(|transaction| changes::purge(transaction, now)) {
            Ok(Purged::Portion) => now,
            Ok(Purged::All) => now.after(PURGE_EVERY),
            Err(error) => {
                // Records past their window do no harm; the next round tries again.
                tracing::warn!(%error, "records past their window could not be dropped");
                now.after(PURGE_EVERY)
            }
        };
        self.purge_at = Some(next);
    }
}

/// Takes the write lock, or fails if another holds it longer than `patience`.
fn begin(
    connection: &mut Connection,
    patience: Duration,
) -> rusqlite::Result<rusqlite::Transaction<'_>> {
    connection.busy_timeout(patience)?;
    connection.transaction_with_behavior(TransactionBehavior::Immediate)
}

impl Failed {
    pub(crate) fn surely(error: StoreError) -> Self {
        Self { error, certainty: Certainty::NotApplied }
    }

    fn perhaps(error: StoreError) -> Self {
        Self { error, certainty: Certainty::Unknown }
    }
}

/// Only a group that failed for the sake of one request can do better in parts.
fn may_run_again(failed: &Failed) -> bool {
    failed.certainty == Certainty::NotApplied
        && matches!(failed.error.trouble, Trouble::Full | Trouble::TooLarge | Trouble::Broken)
}

fn gather(first: Pending, requests: &mpsc::Receiver<Pending>) -> Vec<Pending> {
    let mut group = vec![first];
    while group.len() < GROUP_MAX {
        match requests.try_recv() {
            Ok(pending) => group.push(pending),
            Err(_) => break,
        }
    }
    group
}
