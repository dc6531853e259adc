//! One delivery from its arrival to its fate.

use std::sync::Arc;

use super::guard::Guard;
use super::running::Running;
use crate::broker::{DeadReason, Delivery, Receipt, SettleOutcome, Settlement};
use crate::handler::Handler;
use crate::protocols::{Outcome, Processed, Work};
use crate::retry::Next;
use crate::{Envelope, EnvelopeError, Failure, Order, StoreError, Verdict};

/// How often a settlement is tried before it is left to the end of the lease.
const SETTLE_TRIES: u32 = 6;

/// A delivery, and what is to be done about it.
pub(super) struct Job {
    receipt: Receipt,
    deliveries: u32,
    failure_count: u32,
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
        Self {
            plan: plan(running, delivery.envelope),
            receipt: delivery.receipt,
            deliveries: delivery.deliveries,
            failure_count: delivery.failure_count,
        }
    }

    pub(super) fn receipt(&self) -> &Receipt {
        &self.receipt
    }

    /// Jobs of one lane run one after the other.
    pub(super) fn lane(&self) -> String {
        match &self.plan {
            Plan::Process { entity, .. } => format!("entity {entity}"),
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
        let release = Settlement::Release { after: std::time::Duration::ZERO };
        settle(running, &self.receipt, release).await?;
        running.held().remove(&self.receipt);
        Ok(())
    }

    pub(super) async fn run(self, running: &Running) -> Result<End, StoreError> {
        if !running.held().contains(&self.receipt) {
            return Ok(End::Deferred);
        }
        match &self.plan {
            Plan::Park { reason, detail } => self.park(running, *reason, detail.clone()).await,
            Plan::Process { envelope, handler, entity } => {
                if self.is_abandoned(running) {
                    return self.park_unless_processed(running, envelope).await;
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
                return Ok(End::Deferred);
            }
            running.back_off(round).await;
            round += 1;
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
        let unheard = self.deliveries.saturating_sub(1).saturating_sub(self.failure_count);
        unheard >= running.settings().abandoned_max
    }

    async fn park_unless_processed(
        &self,
        running: &Running,
        envelope: &Envelope,
    ) -> Result<End, StoreError> {
        let store = &**running.backend().store();
        match running.protocol().processed(running.name(), envelope, store).await {
            Ok(Processed::Yes) => settle(running, &self.receipt, Settlement::Ack).await,
            Ok(Processed::Unknown) => {
                let detail = format!(
                    "{} workers took it and neither settled nor failed it: its handler may end \
                     the process, or exhaust its memory",
                    self.deliveries - 1
                );
                self.park(running, DeadReason::Abandoned, detail).await
            }
            Err(error) if error.is_passing() => Ok(End::Deferred),
            Err(error) => Err(error),
        }
    }

    async fn park(
        &self,
        running: &Running,
        reason: DeadReason,
        detail: String,
    ) -> Result<End, StoreError> {
        let endpoint = running.name();
        tracing::error!(endpoint, %reason, detail, "dead-lettered; see `semel dead-letters list`");
        let failure = running.failure(detail);
        settle(running, &self.receipt, Settlement::DeadLetter { reason, failure }).await
    }
}

fn plan(running: &Running, envelope: Result<Envelope, EnvelopeError>) -> Plan {
    let envelope = match envelope {
        Ok(envelope) => envelope,
        Err(error) => {
            return Plan::Park { reason: DeadReason::Undecodable, detail: error.to_string() };
        }
    };
    let Some(handler) = running.handler(&envelope.kind) else {
        let detail = format!("this endpoint has no handler for `{}`", envelope.kind);
        return Plan::Park { reason: DeadReason::UnknownType, detail };
    };
    match handler.entity_key(&envelope) {
        Ok(entity) => Plan::Process { envelope: Arc::new(envelope), handler, entity },
        Err(detail) => Plan::Park { reason: DeadReason::Undecodable, detail },
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
            SettleOutcome::Unknown(error) => return Err(error),
        }
    }
    Ok(End::Deferred)
}
