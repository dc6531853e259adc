//! One delivery from its arrival to its fate: what a host decides, without how it waits, runs
//! threads and keeps leases. The checker runs the same code.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::contain;
use crate::broker::{DeadReason, Delivery, FailureRecord, Receipt, SettleOutcome, Settlement};
use crate::envelope::PARTITION_KEY;
use crate::handler::{BoxFuture, Decision, Handler};
use crate::protocols::{Business, Outcome, Parking, Places, Step, Work};
use crate::retry::Next;
use crate::store::Trouble;
use crate::{Context, Endpoint, Envelope, Failure, Order, StoreError, Verdict};

/// After how many deliveries that ended neither way a message may be what ends its workers.
const SUSPECT_FROM: u32 = 2;
/// How often a settlement is tried before it is left to the end of the lease.
const SETTLE_TRIES: u32 = 6;

/// The longest text of a failure that is kept.
const REASON_BYTES_MAX: usize = 4_096;

/// What a [`Job`] stands on: an endpoint at work in some process.
pub trait Ground: Sync {
    /// The endpoint.
    fn endpoint(&self) -> &Endpoint;

    /// The name of this worker.
    fn worker(&self) -> &str;

    /// Where to work.
    fn places(&self) -> Places<'_>;

    /// A way to run `handler` once on a message, its panics and its slowness contained.
    fn business(&self, handler: &Arc<dyn Handler>, envelope: &Arc<Envelope>) -> Box<dyn Business>;

    /// Whether the delivery is still ours, as far as we have heard.
    fn is_held(&self, receipt: &Receipt) -> bool;

    /// Whether this process is about to end.
    fn is_draining(&self) -> bool;

    /// Waits before the `round`-th repetition of something that conflicted or was unreachable.
    fn back_off(&self, round: u32) -> BoxFuture<'_, ()>;
}

/// Runs a handler as it is, its slowness and its panics uncontained: for a [`Ground`] that takes care
/// of both by itself.
#[derive(Debug)]
pub struct Unguarded {
    handler: Arc<dyn Handler>,
    envelope: Arc<Envelope>,
}

impl Unguarded {
    /// One message for this handler.
    pub fn new(handler: &Arc<dyn Handler>, envelope: &Arc<Envelope>) -> Self {
        Self { handler: handler.clone(), envelope: envelope.clone() }
    }
}

impl Business for Unguarded {
    fn run(
        &self,
        state: Option<Bytes>,
        context: Context,
    ) -> BoxFuture<'_, Result<Decision, Failure>> {
        Box::pin(async move { self.handler.run(state.as_deref(), &self.envelope, context).await })
    }
}

/// A delivery, and what is to be done about it.
pub struct Job {
    receipt: Receipt,
    deliveries: u32,
    failure_count: u32,
    /// The message, where the bytes that came are one.
    envelope: Option<Arc<Envelope>>,
    plan: Plan,
    /// How many attempts of this delivery have failed.
    attempts: u32,
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "job {}", self.receipt.as_str())
    }
}

enum Plan {
    /// Let the handler have it.
    Process { envelope: Arc<Envelope>, handler: Arc<dyn Handler>, entity: String },
    /// No handler can have it.
    Park { reason: DeadReason, detail: String },
}

impl Plan {
    fn entity(&self) -> Option<&str> {
        match self {
            Self::Process { entity, .. } => Some(entity),
            Self::Park { .. } => None,
        }
    }
}

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The message is gone from the queue.
    Settled,
    /// The message will come again, here or elsewhere.
    Deferred,
}

/// How one round of work on a delivery ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Round {
    /// The job has ended.
    Ended(End),
    /// The handler failed and may try again: run another round.
    AtOnce,
    /// It conflicted, or a server gave no sure answer: run another round after a while.
    Later,
}

impl Job {
    /// What is to be done about `delivery`.
    pub fn new(ground: &dyn Ground, delivery: Delivery) -> Self {
        let (envelope, plan) = match delivery.envelope.map(Arc::new) {
            Ok(envelope) => (Some(envelope.clone()), plan(ground, envelope)),
            Err(error) => {
                let detail = error.to_string();
                (None, Plan::Park { reason: DeadReason::Undecodable, detail })
            }
        };
        Self {
            envelope,
            plan,
            receipt: delivery.receipt,
            deliveries: delivery.deliveries,
            failure_count: delivery.failure_count,
            attempts: 0,
        }
    }

    /// The same job with `attempts` failed attempts of this delivery behind it.
    #[must_use]
    pub fn after(mut self, attempts: u32) -> Self {
        self.attempts = attempts;
        self
    }

    /// How many attempts of this delivery have failed.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    pub(super) fn receipt(&self) -> &Receipt {
        &self.receipt
    }

    /// Jobs of one lane run one after the other: those of one entity, and ordered ones of one
    /// subject.
    pub(super) fn lane(&self) -> String {
        match &self.plan {
            Plan::Process { envelope, handler, entity } => {
                let subject = match handler.order() {
                    Order::PerSubject => envelope.text(PARTITION_KEY),
                    Order::Free => None,
                };
                format!("entity {}", subject.unwrap_or(entity))
            }
            Plan::Park { .. } => format!("delivery {}", self.receipt.as_str()),
        }
    }

    pub(super) fn order(&self) -> Order {
        match &self.plan {
            Plan::Process { handler, .. } => handler.order(),
            Plan::Park { .. } => Order::Free,
        }
    }

    /// Gives the delivery back without blame.
    pub(super) async fn release(&self, ground: &dyn Ground) -> Result<End, StoreError> {
        settle(ground, &self.receipt, Settlement::Release { after: Duration::ZERO }).await
    }

    /// Works on the delivery until its fate is decided.
    pub(super) async fn run(mut self, ground: &dyn Ground) -> Result<End, StoreError> {
        let mut unsure = 0;
        loop {
            // Not every store tells that the lease is why an attempt lost.
            if !ground.is_held(&self.receipt) {
                return Ok(End::Deferred);
            }
            match self.round(ground).await? {
                Round::Ended(end) => return Ok(end),
                Round::AtOnce => {}
                Round::Later if ground.is_draining() => return self.release(ground).await,
                Round::Later => {
                    ground.back_off(unsure).await;
                    unsure += 1;
                }
            }
        }
    }

    /// One run of the protocol on the delivery, and what follows from it.
    pub async fn round(&mut self, ground: &dyn Ground) -> Result<Round, StoreError> {
        let (envelope, handler, entity) = match &self.plan {
            Plan::Park { reason, detail } => return self.park(ground, *reason, detail).await,
            Plan::Process { envelope, handler, entity } => (envelope, handler, entity),
        };
        if self.is_abandoned(ground) {
            let detail = format!(
                "{} workers took it and neither settled nor failed it: its handler may end the \
                 process, or exhaust its memory",
                self.unheard()
            );
            return self.park(ground, DeadReason::Abandoned, &detail).await;
        }
        let business = ground.business(handler, envelope);
        let work = Work {
            endpoint: ground.endpoint().name(),
            envelope,
            receipt: &self.receipt,
            entity,
            handler: &*business,
            places: ground.places(),
        };
        match ground.endpoint().protocol.process(&work).await {
            Outcome::Processed | Outcome::Duplicate => Ok(Round::Ended(End::Settled)),
            Outcome::LeaseLost | Outcome::Deferred => Ok(Round::Ended(End::Deferred)),
            Outcome::Refused(error) => {
                self.park(ground, DeadReason::Refused, &error.to_string()).await
            }
            Outcome::Broken(error) => Err(error),
            Outcome::HandlerFailed(failure) => {
                self.attempts += 1;
                self.failed(ground, failure).await
            }
            Outcome::Conflict => Ok(Round::Later),
            Outcome::Unavailable(error) => {
                let endpoint = work.endpoint;
                tracing::warn!(endpoint, ?work, %error, "no sure answer; trying again");
                Ok(Round::Later)
            }
        }
    }

    /// Marks in the trace that the protocol is done, and the host goes on.
    fn begin(&self, ground: &dyn Ground, step: Step) {
        let message = self.envelope.as_deref().map(|envelope| &envelope.id);
        let endpoint = ground.endpoint().name();
        tracing::trace!(target: "semel::step", step = ?step, endpoint, message);
    }

    /// Decides what a failed attempt means.
    async fn failed(&self, ground: &dyn Ground, failure: Failure) -> Result<Round, StoreError> {
        let policy = &ground.endpoint().settings.retry;
        let next = match failure.verdict() {
            Verdict::DeadLetter => Next::GiveUp,
            Verdict::Retry => policy.next(self.attempts, self.failure_count, chance(ground)),
        };
        let (endpoint, reason) = (ground.endpoint().name(), failure.reason());
        tracing::warn!(endpoint, job = ?self, reason, ?next, "the handler failed");
        match next {
            Next::Now => Ok(Round::AtOnce),
            Next::Later(after) => {
                let failure = failure_record(ground, reason);
                self.begin(ground, Step::Settle);
                settle(ground, &self.receipt, Settlement::Retry { after, failure }).await?;
                Ok(Round::Ended(End::Deferred))
            }
            Next::GiveUp => self.park(ground, DeadReason::HandlerFailed, reason).await,
        }
    }

    /// Whether worker after worker took this message and was never heard of again.
    fn is_abandoned(&self, ground: &dyn Ground) -> bool {
        self.unheard() >= ground.endpoint().settings.abandoned_max
    }

    /// Whether this message may be what ends its workers; it may as well have been beside it.
    pub(super) fn is_suspect(&self) -> bool {
        self.unheard() >= SUSPECT_FROM
    }

    /// How many workers took it and neither settled nor failed it.
    fn unheard(&self) -> u32 {
        self.deliveries.saturating_sub(1).saturating_sub(self.failure_count)
    }

    /// Parks the message for a person, unless it has a committed attempt: a new version may lack
    /// the handler that the old one had, or decide more than can be kept.
    async fn park(
        &self,
        ground: &dyn Ground,
        reason: DeadReason,
        detail: &str,
    ) -> Result<Round, StoreError> {
        self.begin(ground, Step::Park);
        let endpoint = ground.endpoint().name();
        tracing::error!(endpoint, %reason, detail, "dead-lettering; see `semel dead-letters list`");
        let parking = Parking {
            endpoint,
            envelope: self.envelope.as_deref(),
            entity: self.plan.entity(),
            receipt: &self.receipt,
            reason,
            failure: &failure_record(ground, detail),
            places: ground.places(),
        };
        conclude(ground, &Way::Park(parking)).await.map(Round::Ended)
    }
}

/// A failure of this worker, now.
fn failure_record(ground: &dyn Ground, reason: &str) -> FailureRecord {
    let mut reason = reason.to_owned();
    // Handlers may quote their whole input; the history is read with every delivery.
    if reason.len() > REASON_BYTES_MAX {
        reason.truncate(reason.floor_char_boundary(REASON_BYTES_MAX));
        reason.push('…');
    }
    FailureRecord { at: ground.places().clock.now(), reason, worker: ground.worker().to_owned() }
}

/// A random number from 0 to 1.
fn chance(ground: &dyn Ground) -> f64 {
    let bits = (ground.places().entropy.bits() >> 96) as u32;
    f64::from(bits) / f64::from(u32::MAX)
}

fn plan(ground: &dyn Ground, envelope: Arc<Envelope>) -> Plan {
    let Some(handler) = ground.endpoint().handlers.get(envelope.kind.as_str()).cloned() else {
        let detail = format!("this endpoint has no handler for `{}`", envelope.kind);
        return Plan::Park { reason: DeadReason::UnknownType, detail };
    };
    // The key is the user's code as well.
    let entity = std::panic::catch_unwind(AssertUnwindSafe(|| handler.entity_key(&envelope)));
    match contain(entity) {
        Ok(Ok(entity)) => Plan::Process { envelope, handler, entity },
        Ok(Err(detail)) => Plan::Park { reason: DeadReason::Undecodable, detail },
        Err(failure) => {
            let detail = failure.reason().to_owned();
            Plan::Park { reason: DeadReason::HandlerFailed, detail }
        }
    }
}

/// How a delivery comes to its end.
enum Way<'a> {
    Settle(&'a Receipt, Settlement),
    Park(Parking<'a>),
}

impl Way<'_> {
    async fn go(&self, ground: &dyn Ground) -> SettleOutcome {
        match self {
            Self::Settle(receipt, settlement) => {
                ground.places().broker.settle(receipt, settlement.clone()).await
            }
            Self::Park(parking) => ground.endpoint().protocol.park(parking).await,
        }
    }

    fn end(&self) -> End {
        match self {
            Self::Settle(_, Settlement::Release { .. } | Settlement::Retry { .. }) => End::Deferred,
            Self::Settle(_, Settlement::Ack | Settlement::DeadLetter { .. }) | Self::Park(_) => {
                End::Settled
            }
        }
    }
}

async fn settle(
    ground: &dyn Ground,
    receipt: &Receipt,
    settlement: Settlement,
) -> Result<End, StoreError> {
    conclude(ground, &Way::Settle(receipt, settlement)).await
}

/// Settles a delivery. One that cannot be settled comes again when its lease ends.
async fn conclude(ground: &dyn Ground, way: &Way<'_>) -> Result<End, StoreError> {
    let endpoint = ground.endpoint().name();
    for round in 0..SETTLE_TRIES {
        match way.go(ground).await {
            SettleOutcome::Settled => return Ok(way.end()),
            SettleOutcome::Stale => return Ok(End::Deferred),
            SettleOutcome::Unknown(error) if error.is_passing() => {
                tracing::warn!(endpoint, %error, "settling failed; trying again");
                ground.back_off(round).await;
            }
            SettleOutcome::Unknown(error) if error.trouble == Trouble::Broken => return Err(error),
            SettleOutcome::Unknown(error) => {
                tracing::error!(endpoint, %error, "a delivery cannot be settled");
                return Ok(End::Deferred);
            }
        }
    }
    Ok(End::Deferred)
}
