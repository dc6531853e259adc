//! Who is woken when messages are queued, here and in other processes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// The bells of all endpoints, and what other processes must still hear.
#[derive(Debug, Default)]
pub(crate) struct Bells {
    bells: Mutex<BTreeMap<String, Arc<Bell>>>,
    /// Endpoints whose new messages other processes have not been told of.
    untold: Mutex<BTreeSet<String>>,
    to_tell: Notify,
    hears_others: AtomicBool,
}

/// What a receiver of one endpoint waits for.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    rung: AtomicU64,
    notify: Notify,
    quiet: Mutex<Option<Quiet>>,
    /// From which partition key on to look next, so that each has its turn.
    next_key: Mutex<String>,
    /// When a message with a partition key was taken last.
    keyed_at: Mutex<Option<Instant>>,
}

/// How long after such a message others may wait behind one of its key, which is in work: nobody
/// rings when that is done.
const BEHIND: Duration = Duration::from_secs(10);
/// How often it is looked for them.
const LOOK_BEHIND: Duration = Duration::from_millis(25);

/// Nothing could be received when it had rung so often, and nothing will be before a time unless it
/// rings.
#[derive(Clone, Copy, Debug)]
struct Quiet {
    rung: u64,
    until: Instant,
}

impl Bells {
    pub(crate) fn of(&self, endpoint: &str) -> Arc<Bell> {
        lock(&self.bells).entry(endpoint.to_owned()).or_default().clone()
    }

    /// Messages were queued here: wakes receivers in this process, and has others told.
    pub(crate) fn queued(&self, endpoint: &str) {
        self.ring(endpoint);
        lock(&self.untold).insert(endpoint.to_owned());
        self.to_tell.notify_one();
    }

    /// Wakes the receivers of one endpoint in this process.
    pub(crate) fn ring(&self, endpoint: &str) {
        if let Some(bell) = lock(&self.bells).get(endpoint) {
            bell.ring();
        }
    }

    pub(crate) fn ring_all(&self) {
        lock(&self.bells).values().for_each(|bell| bell.ring());
    }

    /// Waits until there is something to tell, and takes it.
    pub(crate) async fn take_untold(&self) -> Vec<String> {
        loop {
            let untold = std::mem::take(&mut *lock(&self.untold));
            if !untold.is_empty() {
                return untold.into_iter().collect();
            }
            self.to_tell.notified().await;
        }
    }

    /// Whether what other processes queue rings here.
    pub(crate) fn hears_others(&self) -> bool {
        self.hears_others.load(Ordering::SeqCst)
    }

    pub(crate) fn set_hears_others(&self, hears: bool) {
        self.hears_others.store(hears, Ordering::SeqCst);
        // What came meanwhile was not heard.
        self.ring_all();
    }
}

impl Bell {
    fn ring(&self) {
        self.rung.fetch_add(1, Ordering::SeqCst);
        self.notify.notify_waiters();
    }

    /// How often it has rung. To be read before looking.
    pub(crate) fn rung(&self) -> u64 {
        self.rung.load(Ordering::SeqCst)
    }

    /// Until when nothing can be received, if that is known.
    pub(crate) fn quiet_until(&self) -> Option<Instant> {
        let quiet = (*lock(&self.quiet))?;
        let is_quiet = quiet.rung == self.rung() && Instant::now() < quiet.until;
        is_quiet.then_some(quiet.until)
    }

    /// A message with a partition key was taken.
    pub(crate) fn note_keyed(&self) {
        *lock(&self.keyed_at) = Some(Instant::now());
    }

    /// Nothing could be received after it had rung so often. Returns until when that holds: less long
    /// where messages may wait behind one of their key.
    pub(crate) fn note_quiet(&self, rung: u64, until: Instant) -> Instant {
        let may_wait_behind = lock(&self.keyed_at).is_some_and(|at| at.elapsed() < BEHIND);
        let until = if may_wait_behind { until.min(Instant::now() + LOOK_BEHIND) } else { until };
        *lock(&self.quiet) = Some(Quiet { rung, until });
        until
    }

    /// From which partition key on to look next.
    pub(crate) fn next_key(&self) -> String {
        lock(&self.next_key).clone()
    }

    pub(crate) fn set_next_key(&self, key: String) {
        *lock(&self.next_key) = key;
    }

    /// Waits until it rings after it has rung so often, or until a time.
    pub(crate) async fn wait(&self, rung: u64, until: Instant) {
        let notified = self.notify.notified();
        tokio::pin!(notified);
        // Enabled before looking, so that no ring after the look is missed.
        notified.as_mut().enable();
        if self.rung() == rung {
            let _ = tokio::time::timeout_at(until, notified).await;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What a poisoned lock guards is still whole: nothing here panics half-way.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
