//! One delivery from its arrival to its fate.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use super::guard::{Guard, contain};
use super::running::Running;
use crate::broker::{DeadReason, Delivery, Receipt, SettleOutcome, Settlement};
use crate::envelope::PARTITION_KEY;
use crate::handler::Handler;
use crate::protocols::{Outcome, Processed, Work};
use crate::retry::Next;
use crate::store::Trouble;
use crate::{Envelope, Failure, Order, StoreError, Verdict};

/// After how many deliveries that ended neither way a message may be what ends its workers.
const SUSPECT_FROM: u32 = 2;
/// How often a settlement is tried before it is left to the end of the lease.
const SETTLE_TRIES: u32 = 6;

/// A delivery, and what is to be done about it.
pub(super) struct Job {
    receipt: Receipt,
    deliveries: u32,
    failure_count: u32,
    /// The message, where the bytes that came are one.
    envelope: Option<Arc<Envelope>>,
    plan: Plan,
}

enum Plan {
    /// Let the handler have it.
    Process { envelope: Arc<Envelope>, handler: Arc<dyn Handler>, entity: String },
    /// No handler can have it.
    Park { reason: DeadReason, detail: String },
}

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The message is gone from the queue.
    Settled,
    /// The message will come again, here or elsewhere.
    Deferred,
}

impl Job {
    pub(super) fn new(running: &Running, delivery: Delivery) -> Self {
        let (envelope, plan) = match delivery.envelope.map(Arc::new) {
            Ok(envelope) => (Some(envelope.clone()), plan(running, envelope)),
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
        }
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

    /// Gives a delivery back that was not begun.
    pub(super) async fn give_back(self, running: &Running) -> Result<(), StoreError> {
        self.release(running).await?;
        running.held().remove(&self.receipt);
        Ok(())
    }

    async fn release(&self, running: &Running) -> Result<End, StoreError> {
        settle(running, &self.receipt, Settlement::Release { after: Duration::ZERO }).await
    }

    /// Whether the delivery is still ours, as far as we have heard.
    fn is_held(&self, running: &Running) -> bool {
        running.held().contains(&self.receipt)
    }

    pub(super) async fn run(self, running: &Running) -> Result<End, StoreError> {
        if !self.is_held(running) {
            return Ok(End::Deferred);
        }
        match &self.plan {
            Plan::Park { reason, detail } => self.park(running, *reason, detail.clone()).await,
            Plan::Process { envelope, handler, entity } => {
                if self.is_abandoned(running) {
                    let detail = format!(
                        "{} workers took it and neither settled nor failed it: its handler may \
                         end the process, or exhaust its memory",
                        self.unheard()
                    );
                    return self.park(running, DeadReason::Abandoned, detail).await;
                }
                let guard = Guard {
                    handler: handler.clone(),
                    envelope: envelope.clone(),
                    deadline: running.settings().handler_deadline,
                    threads: running.threads().clone(),
                };
                let work = Work {
                    endpoint: running.name(),
                    envelope,
                    receipt: &self.receipt,
                    entity,
                    handler: &guard,
                    places: running.backend().places(),
                };
                self.process(running, &work).await
            }
        }
    }

    /// Runs the protocol until it comes to an end that counts.
    async fn process(&self, running: &Running, work: &Work<'_>) -> Result<End, StoreError> {
        let mut attempts = 0;
        let mut round = 0;
        loop {
            match running.protocol().process(work).await {
                Outcome::Processed | Outcome::Duplicate => return Ok(End::Settled),
                Outcome::LeaseLost => return Ok(End::Deferred),
                Outcome::Refused(error) => {
                    return self.park(running, DeadReason::Refused, error.to_string()).await;
                }
                Outcome::Broken(error) => return Err(error),
                Outcome::HandlerFailed(failure) => {
                    attempts += 1;
                    if let Some(end) = self.failed(running, work, failure, attempts).await? {
                        return Ok(end);
                    }
                    continue;
                }
                Outcome::Conflict => {}
                Outcome::Unavailable(error) => {
                    let endpoint = running.name();
                    tracing::warn!(endpoint, ?work, %error, "no sure answer; trying again");
                }
            }
            if running.is_draining() {
                return self.release(running).await;
            }
            running.back_off(round).await;
            round += 1;
            // Not every store tells that the lease is why an attempt lost.
            if !self.is_held(running) {
                return Ok(End::Deferred);
            }
        }
    }

    /// Decides what a failed attempt means; `None` tries again at once.
    async fn failed(
        &self,
        running: &Running,
        work: &Work<'_>,
        failure: Failure,
        attempts: u32,
    ) -> Result<Option<End>, StoreError> {
        let endpoint = running.name();
        let policy = &running.settings().retry;
        let next = match failure.verdict() {
            Verdict::DeadLetter => Next::GiveUp,
            Verdict::Retry => policy.next(attempts, self.failure_count, running.chance()),
        };
        tracing::warn!(endpoint, ?work, reason = failure.reason(), ?next, "the handler failed");
        match next {
            Next::Now => Ok(None),
            Next::Later(after) => {
                let failure = running.failure(failure.reason().to_owned());
                settle(running, &self.receipt, Settlement::Retry { after, failure }).await?;
                Ok(Some(End::Deferred))
            }
            Next::GiveUp => {
                let reason = failure.reason().to_owned();
                self.park(running, DeadReason::HandlerFailed, reason).await.map(Some)
            }
        }
    }

    /// Whether worker after worker took this message and was never heard of again.
    fn is_abandoned(&self, running: &Running) -> bool {
        self.unheard() >= running.settings().abandoned_max
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
        running: &Running,
        reason: DeadReason,
        detail: String,
    ) -> Result<End, StoreError> {
        let endpoint = running.name();
        let mut round = 0;
        loop {
            match self.processed(running).await {
                Ok(Processed::Yes) => return settle(running, &self.receipt, Settlement::Ack).await,
                Ok(Processed::Unknown) => break,
                Err(error) if !error.is_passing() => return Err(error),
                Err(_) if running.is_draining() => return self.release(running).await,
                Err(error) => {
                    tracing::warn!(endpoint, %error, "no answer from the inbox; trying again");
                    running.back_off(round).await;
                    round += 1;
                }
            }
        }
        tracing::error!(endpoint, %reason, detail, "dead-lettered; see `semel dead-letters list`");
        let failure = running.failure(detail);
        settle(running, &self.receipt, Settlement::DeadLetter { reason, failure }).await
    }

    async fn processed(&self, running: &Running) -> Result<Processed, StoreError> {
        match &self.envelope {
            Some(envelope) => {
                let store = &**running.backend().store();
                running.protocol().processed(running.name(), envelope, store).await
            }
            // What has no identity cannot have been processed.
            None => Ok(Processed::Unknown),
        }
    }
}

fn plan(running: &Running, envelope: Arc<Envelope>) -> Plan {
    let Some(handler) = running.handler(&envelope.kind) else {
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

/// Settles a delivery. One that cannot be settled comes again when its lease ends.
async fn settle(
    running: &Running,
    receipt: &Receipt,
    settlement: Settlement,
) -> Result<End, StoreError> {
    let done = match settlement {
        Settlement::Ack | Settlement::DeadLetter { .. } => End::Settled,
        Settlement::Release { .. } | Settlement::Retry { .. } => End::Deferred,
    };
    for round in 0..SETTLE_TRIES {
        match running.backend().broker().settle(receipt, settlement.clone()).await {
            SettleOutcome::Settled => return Ok(done),
            SettleOutcome::Stale => return Ok(End::Deferred),
            SettleOutcome::Unknown(error) if error.is_passing() => {
                let endpoint = running.name();
                tracing::warn!(endpoint, %error, "settling failed; trying again");
                running.back_off(round).await;
            }
            SettleOutcome::Unknown(error) if error.trouble == Trouble::Broken => return Err(error),
            SettleOutcome::Unknown(error) => {
                let endpoint = running.name();
                tracing::error!(endpoint, %error, "a delivery cannot be settled");
                return Ok(End::Deferred);
            }
        }
    }
    Ok(End::Deferred)
}
