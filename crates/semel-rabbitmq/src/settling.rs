//! Deciding the fate of deliveries.

use std::sync::Arc;
use std::time::Duration;

use semel_core::StoreError;
use semel_core::broker::{Lease, Receipt, SettleOutcome, Settlement};
use semel_core::store::Trouble;

use crate::graves::Grave;
use crate::history::{self, Death, History};
use crate::lane::Held;
use crate::letters::{Answer, Question};
use crate::message::Raw;
use crate::names;
use crate::place::{Place, Shelf};

impl Place {
    /// Decides a delivery's fate, in this handle or in the one that holds it.
    pub(crate) async fn settle(
        self: &Arc<Self>,
        receipt: &Receipt,
        settlement: Settlement,
    ) -> SettleOutcome {
        if let Some(grave) = Grave::of(receipt) {
            return self.decide(grave, settlement).await;
        }
        if let Some(serial) = self.own_serial(receipt) {
            return self.settle_held(serial, settlement).await;
        }
        let Some((handle, serial)) = parts(receipt) else { return SettleOutcome::Stale };
        match self.ask_handle(handle, Question::Settle(serial, settlement.into())).await {
            Ok(Some(Answer::Settled)) => SettleOutcome::Settled,
            // No handle, no lease.
            Ok(None | Some(Answer::Stale)) => SettleOutcome::Stale,
            Ok(Some(Answer::Unknown(reason))) => {
                let help = "Look at the handle that holds the message.";
                let error = self.server.error(Trouble::Unavailable, "settle", reason, help);
                SettleOutcome::Unknown(error)
            }
            Ok(Some(other)) => {
                let help = "Do workers of different versions share this prefix?";
                let reason = format!("another handle answered something else: {other:?}");
                SettleOutcome::Unknown(self.server.error(Trouble::Broken, "settle", reason, help))
            }
            Err(error) => SettleOutcome::Unknown(error),
        }
    }

    /// Decides the fate of what this handle holds.
    pub(crate) async fn settle_held(
        self: &Arc<Self>,
        serial: u64,
        settlement: Settlement,
    ) -> SettleOutcome {
        let Some(held) = self.take_held(serial) else { return SettleOutcome::Stale };
        let place = self.clone();
        let settled = self.finish("settle", async move {
            let answer = place.carry_out(&held, settlement).await;
            if answer.is_err() && held.lane.is_open() {
                // It stays ours until its lease ends, and comes again then.
                place.hold_again(serial, held);
            }
            answer
        });
        settled.await.map_or_else(SettleOutcome::Unknown, |()| SettleOutcome::Settled)
    }

    /// Queues what comes of the message, and only then removes the message: should that be lost,
    /// it comes twice.
    async fn carry_out(
        self: &Arc<Self>,
        held: &Held,
        settlement: Settlement,
    ) -> Result<(), StoreError> {
        let mut history = History::of_delivery(&held.raw);
        let endpoint = &held.lane.endpoint;
        let (shelf, copy) = match settlement {
            Settlement::Ack => return held.lane.acknowledge(self, held.tag).await,
            Settlement::Release { after } => {
                history.deliveries = history.deliveries.saturating_sub(1);
                self.later(&held.raw, &history, after)
            }
            Settlement::Retry { after, failure } => {
                history.add(failure);
                self.later(&held.raw, &history, after)
            }
            Settlement::DeadLetter { reason, failure, entity } => {
                history.add(failure);
                let since = self.clock.now();
                let death = Death { number: self.new_number(), reason, since, entity };
                (Shelf::Dead, history::copy(&held.raw, &history, Duration::ZERO, Some(&death)))
            }
        };
        let published = self.queue(endpoint, shelf, &copy).await;
        self.not_queued(published).map_or(Ok(()), Err)?;
        held.lane.acknowledge(self, held.tag).await
    }

    /// A copy that can be received after a while, and where it waits.
    pub(crate) fn later(&self, raw: &Raw, history: &History, after: Duration) -> (Shelf, Raw) {
        if after.is_zero() {
            return (Shelf::Ready, history::copy(raw, history, Duration::ZERO, None));
        }
        let left = names::left_after_step(after);
        (Shelf::Wait(after), history::copy(raw, history, left, None))
    }

    /// Makes a lease last, in this handle or in the one that holds it.
    pub(crate) async fn extend(
        self: &Arc<Self>,
        receipt: &Receipt,
        lease: Duration,
    ) -> Result<Lease, StoreError> {
        if let Some(serial) = self.own_serial(receipt) {
            return Ok(self.extend_held(serial, lease));
        }
        let Some((handle, serial)) = parts(receipt) else { return Ok(Lease::Lost) };
        let ms = u64::try_from(lease.as_millis()).unwrap_or(u64::MAX);
        match self.ask_handle(handle, Question::Extend(serial, ms)).await? {
            Some(Answer::Held) => Ok(Lease::Held),
            _ => Ok(Lease::Lost),
        }
    }
}

/// The handle that holds a message, and its number there. Dead letters have no such parts.
fn parts(receipt: &Receipt) -> Option<(&str, u64)> {
    let (handle, serial) = receipt.as_str().split_once('.')?;
    Some((handle, serial.parse().ok()?))
}
