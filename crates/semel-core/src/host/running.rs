//! What the parts of a running endpoint share.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::Phase;
use super::threads::Threads;
use crate::broker::{FailureRecord, Receipt};
use crate::handler::Handler;
use crate::protocols::Protocol;
use crate::retry::vary;
use crate::{Backend, Endpoint, Settings};

/// The longest text of a failure that is kept.
const REASON_BYTES_MAX: usize = 4_096;

/// What the endpoints of one host share.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) backend: Backend,
    /// The name of this worker.
    pub(super) worker: String,
    pub(super) threads: Arc<Threads>,
    pub(super) phase: watch::Receiver<Phase>,
    /// How long one receive waits.
    pub(super) wait: Duration,
}

/// An endpoint at work.
#[derive(Debug)]
pub(super) struct Running {
    endpoint: Endpoint,
    process: Process,
    held: Mutex<BTreeSet<Receipt>>,
    /// How many receives have ended, and how many messages they brought; see `idle`.
    receives: AtomicU64,
    received: AtomicU64,
}

impl Running {
    pub(super) fn new(endpoint: Endpoint, process: Process) -> Self {
        Self {
            endpoint,
            process,
            held: Mutex::default(),
            receives: AtomicU64::new(0),
            received: AtomicU64::new(0),
        }
    }

    pub(super) fn name(&self) -> &str {
        self.endpoint.name()
    }

    pub(super) fn backend(&self) -> &Backend {
        &self.process.backend
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.endpoint.settings
    }

    pub(super) fn protocol(&self) -> &dyn Protocol {
        &*self.endpoint.protocol
    }

    pub(super) fn handler(&self, kind: &str) -> Option<Arc<dyn Handler>> {
        self.endpoint.handlers.get(kind).cloned()
    }

    pub(super) fn threads(&self) -> &Arc<Threads> {
        &self.process.threads
    }

    pub(super) fn wait(&self) -> Duration {
        self.process.wait
    }

    pub(super) fn phase(&self) -> watch::Receiver<Phase> {
        self.process.phase.clone()
    }

    pub(super) fn is_draining(&self) -> bool {
        *self.process.phase.borrow() == Phase::Draining
    }

    /// The receipts of the deliveries that are ours.
    pub(super) fn held(&self) -> MutexGuard<'_, BTreeSet<Receipt>> {
        // A poisoned lock guards a set that is still a set.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn note_receive(&self, brought: usize) {
        self.received.fetch_add(brought as u64, Ordering::SeqCst);
        self.receives.fetch_add(1, Ordering::SeqCst);
    }

    pub(super) fn receives(&self) -> u64 {
        self.receives.load(Ordering::SeqCst)
    }

    pub(super) fn received(&self) -> u64 {
        self.received.load(Ordering::SeqCst)
    }

    /// A failure of this worker, now.
    pub(super) fn failure(&self, mut reason: String) -> FailureRecord {
        // Handlers may quote their whole input; the history is read with every delivery.
        if reason.len() > REASON_BYTES_MAX {
            reason.truncate(reason.floor_char_boundary(REASON_BYTES_MAX));
            reason.push('…');
        }
        FailureRecord {
            at: self.process.backend.clock().now(),
            reason,
            worker: self.process.worker.clone(),
        }
    }

    /// A random number from 0 to 1.
    pub(super) fn chance(&self) -> f64 {
        let bits = (self.process.backend.entropy().bits() >> 96) as u32;
        f64::from(bits) / f64::from(u32::MAX)
    }

    /// Waits before the `round`-th repetition of something that conflicted or was unreachable.
    pub(super) async fn back_off(&self, round: u32) {
        let doubled = Duration::from_millis(2).saturating_mul(2_u32.saturating_pow(round.min(20)));
        let span = doubled.min(Duration::from_secs(1));
        tokio::time::sleep(vary(span, 0.5, self.chance())).await;
    }
}
