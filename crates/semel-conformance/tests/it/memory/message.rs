//! One message: when it comes, whom it holds up, and what a settlement does to it.

use std::collections::BTreeSet;

use semel_core::broker::{DeadReason, FailureRecord, Receipt, Receive, Settlement};
use semel_core::envelope::PARTITION_KEY;
use semel_core::{Envelope, Extension, Timestamp};

use super::mutant::Mutant;

/// How many failures a message keeps.
const FAILURES_KEPT: usize = 20;

#[derive(Clone, Debug)]
pub(super) struct Message {
    pub(super) endpoint: String,
    pub(super) envelope: Envelope,
    pub(super) queued_at: Timestamp,
    /// When it can be received, if nobody holds it.
    pub(super) ready_at: Timestamp,
    /// Until when a worker holds it.
    pub(super) leased_until: Option<Timestamp>,
    /// Changes whenever it goes to another; with the number it makes the receipt.
    pub(super) tag: u64,
    pub(super) deliveries: u32,
    pub(super) failures: Vec<FailureRecord>,
    pub(super) failure_count: u32,
    pub(super) dead: Option<(DeadReason, Timestamp)>,
    /// The entity that its last death was told.
    pub(super) entity: Option<String>,
}

impl Message {
    pub(super) fn receipt(&self, number: i64) -> Receipt {
        Receipt::new(format!("{number}.{}", self.tag))
    }

    pub(super) fn is_leased(&self, now: Timestamp, mutant: Mutant) -> bool {
        self.leased_until.is_some_and(|until| now < until || mutant == Mutant::LeaseNeverEnds)
    }

    /// Whether a receive may take it, its key apart.
    pub(super) fn comes(&self, request: &Receive, now: Timestamp, mutant: Mutant) -> bool {
        let here = self.endpoint == request.endpoint
            || mutant == Mutant::EndpointsByPrefix && self.endpoint.starts_with(&request.endpoint);
        let limited = mutant == Mutant::DeliveriesAreLimited && self.deliveries >= 50;
        let dead = self.dead.is_some() && mutant != Mutant::DeadLetterReturns;
        let leased = self.is_leased(now, mutant) && mutant != Mutant::LeaseIsIgnored;
        here && !limited && !dead && !leased && self.ready_at <= now
    }

    /// Whether the later messages of its key wait for it.
    pub(super) fn holds_up(&self, now: Timestamp, mutant: Mutant) -> bool {
        match mutant {
            Mutant::OrderForgetsTheLeased if self.is_leased(now, mutant) => false,
            Mutant::OrderForgetsTheWaiting if now < self.ready_at => false,
            Mutant::OrderHoldsBehindDead => true,
            _ => self.dead.is_none(),
        }
    }

    /// The line in which it waits, if it has a key.
    pub(super) fn line(&self, mutant: Mutant) -> Option<(String, String)> {
        let key = self.envelope.text(PARTITION_KEY)?.to_owned();
        Some(match mutant {
            Mutant::KeysHoldUpEachOther => (self.endpoint.clone(), String::new()),
            Mutant::EndpointsHoldUpEachOther => (String::new(), key),
            _ => (self.endpoint.clone(), key),
        })
    }

    pub(super) fn is_held_up(
        &self,
        held_up: &BTreeSet<Option<(String, String)>>,
        mutant: Mutant,
    ) -> bool {
        let line = self.line(mutant);
        line.is_some() && held_up.contains(&line)
    }

    pub(super) fn settle(&mut self, fate: &Settlement, now: Timestamp, mutant: Mutant) {
        let was_dead = self.dead.take().is_some();
        self.leased_until = None;
        match fate {
            Settlement::Ack => {}
            Settlement::Release { after } if was_dead => {
                self.replay(now.after(*after), now, mutant);
            }
            Settlement::Release { after } => {
                self.ready_at = now.after(*after);
                self.deliveries -= u32::from(mutant != Mutant::ReleaseIsCounted);
                self.failure_count += u32::from(mutant == Mutant::ReleaseIsBlamed);
            }
            Settlement::Retry { after, failure } => {
                self.ready_at = now.after(*after);
                if mutant != Mutant::RetryForgetsTheFailure {
                    self.fail(failure, mutant);
                }
            }
            Settlement::DeadLetter { reason, failure, entity } => {
                let forgets = mutant == Mutant::ReasonIsForgotten;
                let reason = if forgets { DeadReason::HandlerFailed } else { *reason };
                self.dead = Some((reason, now));
                self.keep_entity(entity.as_ref(), mutant);
                self.fail(failure, mutant);
            }
        }
        if mutant == Mutant::WaitIsIgnored {
            self.ready_at = now;
        }
    }

    fn keep_entity(&mut self, entity: Option<&String>, mutant: Mutant) {
        let first = self.entity.take();
        self.entity = match (mutant, entity.cloned()) {
            (Mutant::FirstEntityStays, entity) => first.or(entity),
            (Mutant::NoEntityIsEmpty, None) => Some(String::new()),
            (Mutant::EmptyEntityIsNone, entity) => entity.filter(|entity| !entity.is_empty()),
            (_, entity) => entity,
        };
    }

    fn replay(&mut self, ready_at: Timestamp, now: Timestamp, mutant: Mutant) {
        self.ready_at = if mutant == Mutant::ReplayForgetsItsWait { now } else { ready_at };
        if mutant == Mutant::ReplayForgetsHistory {
            self.failures.clear();
        }
        if mutant != Mutant::ReplayKeepsItsCounts {
            (self.deliveries, self.failure_count) = (0, 0);
        }
    }

    fn fail(&mut self, failure: &FailureRecord, mutant: Mutant) {
        self.failure_count += 1;
        self.failures.push(failure.clone());
        match mutant {
            Mutant::HistoryIsUnbounded => {}
            Mutant::HistoryKeepsTheOldest => self.failures.truncate(FAILURES_KEPT),
            _ if self.failures.len() > FAILURES_KEPT => drop(self.failures.remove(0)),
            _ => {}
        }
    }
}

/// An envelope as it is carried.
pub(super) fn carried(envelope: &Envelope, mutant: Mutant) -> Envelope {
    let mut envelope = envelope.clone();
    match mutant {
        Mutant::ExtensionsAreText => {
            for value in envelope.extensions.values_mut() {
                *value = Extension::Text(value.to_string());
            }
        }
        Mutant::DataIsTrimmed => envelope.data = envelope.data.trim_ascii().to_vec().into(),
        _ => {}
    }
    envelope
}
