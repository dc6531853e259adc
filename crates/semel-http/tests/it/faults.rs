//! A store that does as a script says: a fault is one more implementation of the trait.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use semel_core::store::{
    Atomicity, Change, Item, ItemKey, Listing, Page, StoreLimits, Trouble, WriteOutcome,
};
use semel_core::{Envelope, Store, StoreError};
use tokio::sync::Semaphore;

/// What happens in one write, in this order. It answers what the last `Apply` or `Land` gave,
/// unless it is told what to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    /// Apply the batch.
    Apply,
    /// Keep the batch back, for `Land`.
    Defer,
    /// Apply the batch that was kept back; its answer is lost.
    Land,
    /// Tell the test, and wait for it.
    Hold,
    /// Tell the test, and never answer.
    Hang,
    /// Answer that the outcome is not known.
    SayUnknown,
    /// Answer that a condition did not hold.
    SayConflict,
    /// Answer that the batch is too large.
    SayRefused,
}

/// What happens in the first writes, and in all later ones.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    first: VecDeque<&'static [Op]>,
    then: &'static [Op],
}

impl Script {
    /// These writes, and no faults after them.
    pub(crate) fn first(writes: &[&'static [Op]]) -> Self {
        Self { first: writes.iter().copied().collect(), then: &[Op::Apply] }
    }

    /// Every write like this.
    pub(crate) fn always(write: &'static [Op]) -> Self {
        Self { first: VecDeque::new(), then: write }
    }

    fn next(&mut self) -> &'static [Op] {
        self.first.pop_front().unwrap_or(self.then)
    }
}

/// What happens in one read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadFault {
    Pass,
    Fail,
    /// Tell the test, and wait for it, before reading.
    Wait,
}

/// How often the records of edges were looked through, and the pages of the last time.
#[derive(Debug, Default)]
pub(crate) struct Looks(Mutex<(usize, usize)>);

impl Looks {
    fn note(&self, page: &Page) {
        let mut now = self.0.lock().unwrap();
        let is_first = page.after.as_ref().is_some_and(|after| after.partition == "edge/");
        *now = if is_first { (now.0 + 1, 1) } else { (now.0, now.1 + 1) };
    }

    /// The look and the page that is worked on.
    pub(crate) fn now(&self) -> (usize, usize) {
        *self.0.lock().unwrap()
    }
}

pub(crate) struct Faulty {
    inner: Arc<dyn Store>,
    /// What it says of its batches.
    pub(crate) atomicity: Atomicity,
    /// What it says of listing.
    pub(crate) listing: Listing,
    script: Mutex<Script>,
    reads: Mutex<VecDeque<ReadFault>>,
    batches: Mutex<Vec<Vec<Change>>>,
    deferred: Mutex<Option<Vec<Change>>>,
    pub(crate) looks: Arc<Looks>,
    /// One permit for each call that holds or hangs.
    pub(crate) stopped: Semaphore,
    /// One permit lets one held call go on.
    pub(crate) go_on: Semaphore,
}

impl std::fmt::Debug for Faulty {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a faulty store")
    }
}

impl Faulty {
    pub(crate) fn new(inner: Arc<dyn Store>, script: Script) -> Self {
        Self {
            inner,
            atomicity: Atomicity::Everything,
            listing: Listing::Supported,
            script: Mutex::new(script),
            reads: Mutex::default(),
            batches: Mutex::default(),
            deferred: Mutex::default(),
            looks: Arc::default(),
            stopped: Semaphore::new(0),
            go_on: Semaphore::new(0),
        }
    }

    /// What happens from now on.
    pub(crate) fn set(&self, script: Script) {
        *self.script.lock().unwrap() = script;
    }

    /// What happens in the next reads.
    pub(crate) fn set_reads(&self, reads: &[ReadFault]) {
        *self.reads.lock().unwrap() = reads.iter().copied().collect();
    }

    /// The batches that came, oldest first.
    pub(crate) fn batches(&self) -> Vec<Vec<Change>> {
        self.batches.lock().unwrap().clone()
    }

    /// The messages of each batch that came.
    pub(crate) fn messages(&self) -> Vec<Vec<Envelope>> {
        let messages = |batch: Vec<Change>| {
            let message = |change| match change {
                Change::Enqueue(outgoing) => Some(outgoing.envelope),
                _ => None,
            };
            batch.into_iter().filter_map(message).collect()
        };
        self.batches().into_iter().map(messages).collect()
    }

    /// Waits until a write holds or hangs.
    pub(crate) async fn until_stopped(&self) {
        self.stopped.acquire().await.unwrap().forget();
    }

    async fn hold(&self) {
        self.stopped.add_permits(1);
        self.go_on.acquire().await.unwrap().forget();
    }

    /// Applies the batch that was kept back, if there is one.
    pub(crate) async fn land(&self) -> Option<WriteOutcome> {
        let deferred = self.deferred.lock().unwrap().take();
        match deferred {
            Some(changes) => Some(self.inner.write(changes).await),
            None => None,
        }
    }
}

pub(crate) fn trouble(trouble: Trouble) -> StoreError {
    StoreError {
        trouble,
        store: "secret-host:5432".to_owned(),
        operation: "write",
        reason: "the reason is secret".to_owned(),
        help: "Help is secret too.".to_owned(),
    }
}

#[async_trait]
impl Store for Faulty {
    fn limits(&self) -> StoreLimits {
        let (atomicity, listing) = (self.atomicity, self.listing);
        StoreLimits { atomicity, listing, ..self.inner.limits() }
    }

    async fn read(&self, key: &ItemKey) -> Result<Option<Item>, StoreError> {
        let fault = self.reads.lock().unwrap().pop_front();
        match fault {
            Some(ReadFault::Fail) => Err(trouble(Trouble::Unavailable)),
            Some(ReadFault::Wait) => {
                self.hold().await;
                self.inner.read(key).await
            }
            Some(ReadFault::Pass) | None => self.inner.read(key).await,
        }
    }

    async fn write(&self, changes: Vec<Change>) -> WriteOutcome {
        self.batches.lock().unwrap().push(changes.clone());
        let ops = self.script.lock().unwrap().next();
        let mut outcome = WriteOutcome::Unknown(trouble(Trouble::Unavailable));
        for op in ops {
            match op {
                Op::Apply => outcome = self.inner.write(changes.clone()).await,
                Op::Defer => *self.deferred.lock().unwrap() = Some(changes.clone()),
                Op::Land => drop(self.land().await),
                Op::Hold => self.hold().await,
                Op::Hang => {
                    self.stopped.add_permits(1);
                    std::future::pending::<()>().await;
                }
                Op::SayUnknown => outcome = WriteOutcome::Unknown(trouble(Trouble::Unavailable)),
                Op::SayConflict => outcome = WriteOutcome::Conflict(vec![0]),
                Op::SayRefused => outcome = WriteOutcome::Refused(trouble(Trouble::TooLarge)),
            }
        }
        outcome
    }

    async fn list(&self, page: &Page) -> Result<Vec<Item>, StoreError> {
        self.looks.note(page);
        self.inner.list(page).await
    }
}
