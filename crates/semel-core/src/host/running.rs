//! What the parts of a running endpoint share.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::Phase;
use super::guard::Guard;
use super::job::Ground;
use super::threads::Threads;
use crate::broker::Receipt;
use crate::handler::{BoxFuture, Handler};
use crate::protocols::{Business, Places, Protocol};
use crate::retry::vary;
use crate::{Backend, Endpoint, Envelope, Settings};

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

    pub(super) fn wait(&self) -> Duration {
        self.process.wait
    }

    pub(super) fn phase(&self) -> watch::Receiver<Phase> {
        self.process.phase.clone()
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

    /// A random number from 0 to 1.
    pub(super) fn chance(&self) -> f64 {
        let bits = (self.process.backend.entropy().bits() >> 96) as u32;
        f64::from(bits) / f64::from(u32::MAX)
    }
}

impl Ground for Running {
    fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    fn worker(&self) -> &str {
        &self.process.worker
    }

    fn places(&self) -> Places<'_> {
        self.process.backend.places()
    }

    fn business(&self, handler: &Arc<dyn Handler>, envelope: &Arc<Envelope>) -> Box<dyn Business> {
        Box::new(Guard {
            handler: handler.clone(),
            envelope: envelope.clone(),
            deadline: self.settings().handler_deadline,
            threads: self.process.threads.clone(),
        })
    }

    fn is_held(&self, receipt: &Receipt) -> bool {
        self.held().contains(receipt)
    }

    fn is_draining(&self) -> bool {
        *self.process.phase.borrow() == Phase::Draining
    }

    fn back_off(&self, round: u32) -> BoxFuture<'_, ()> {
        let doubled = Duration::from_millis(2).saturating_mul(2_u32.saturating_pow(round.min(20)));
        let span = vary(doubled.min(Duration::from_secs(1)), 0.5, self.chance());
        Box::pin(tokio::time::sleep(span))
    }
}
