//! The queues of a place.

use std::time::Duration;

use async_trait::async_trait;
use semel_core::broker::{
    BrokerLimits, Delivery, Destination, Lease, Ordering, Outgoing, Receipt, Receive, Registration,
    SendOutcome, SettleOutcome, Settlement, Subscribers,
};
use semel_core::store::Trouble;
use semel_core::{Broker, StoreError};
use tokio::time::Instant;

use super::mutant::Mutant;
use super::{Memory, error};

const RECEIVE_MAX: usize = 10;

#[async_trait]
impl Broker for Memory {
    fn limits(&self) -> BrokerLimits {
        BrokerLimits {
            message_bytes_max: self.place.character.bytes_max,
            receive_max: RECEIVE_MAX,
            ordering: self.place.character.ordering,
            subscribers: self.place.character.subscribers,
            queue_age: self.place.character.queue_age,
        }
    }

    async fn register(&self, registration: &Registration) -> Result<(), StoreError> {
        self.lock().messages.register(registration, self.now(), self.place.character.mutant);
        Ok(())
    }

    async fn receive(&self, request: &Receive) -> Result<Vec<Delivery>, StoreError> {
        let deadline = Instant::now() + request.wait;
        loop {
            let taken = self.take(request);
            let waits = match self.place.character.mutant {
                Mutant::ReceiveNeverWaits => false,
                Mutant::ReceiveWaitsForever => true,
                _ => Instant::now() < deadline,
            };
            if !taken.is_empty() || !waits {
                return Ok(taken);
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    async fn extend(
        &self,
        receipts: &[Receipt],
        lease: Duration,
    ) -> Result<Vec<Lease>, StoreError> {
        let (now, mutant) = (self.now(), self.place.character.mutant);
        let mut state = self.lock();
        let mut leases = Vec::new();
        for receipt in receipts {
            let stops = mutant == Mutant::ExtendStopsAtLost && leases.contains(&Lease::Lost);
            leases.push(match stops {
                true => Lease::Lost,
                false => state.messages.extend(receipt, lease, now, mutant),
            });
        }
        Ok(leases)
    }

    async fn settle(&self, receipt: &Receipt, settlement: Settlement) -> SettleOutcome {
        let (now, mutant) = (self.now(), self.place.character.mutant);
        if mutant == Mutant::SettleIsTwoSteps {
            let current = self.lock().messages.is_current(receipt, now, mutant);
            tokio::task::yield_now().await;
            if current {
                self.lock().messages.settle(receipt, &settlement, now, mutant);
                return SettleOutcome::Settled;
            }
        }
        match self.lock().messages.settle(receipt, &settlement, now, mutant) {
            true => SettleOutcome::Settled,
            false => SettleOutcome::Stale,
        }
    }

    async fn subscribers(&self, kind: &str) -> Result<Vec<String>, StoreError> {
        if self.place.character.subscribers == Subscribers::Unlisted {
            if self.is(Mutant::UnlistedIsNobody) {
                return Ok(Vec::new());
            }
            return Err(error(Trouble::Unsupported, "subscribers", "they are not listed"));
        }
        Ok(self.lock().messages.listed(kind, self.place.character.mutant))
    }

    async fn send(&self, mut messages: Vec<Outgoing>) -> Vec<SendOutcome> {
        if self.is(Mutant::EmptySendIsAnswered) && messages.is_empty() {
            return vec![SendOutcome::Sent];
        }
        if let (Mutant::BatchGoesToTheFirst, [first, ..]) =
            (self.place.character.mutant, messages.as_slice())
        {
            let to = first.to.clone();
            messages.iter_mut().for_each(|message| message.to = to.clone());
        }
        let spoilt = self.is(Mutant::OversizeSpoilsTheBatch)
            && messages.iter().any(|message| self.is_too_large(message));
        messages.iter().map(|message| self.send_one(message, spoilt)).collect()
    }
}

impl Memory {
    fn take(&self, request: &Receive) -> Vec<Delivery> {
        let mutant = self.place.character.mutant;
        let max = match mutant {
            Mutant::MaxIsIgnored => RECEIVE_MAX,
            Mutant::ReceiveMaxIsIgnored => request.max,
            _ => request.max.min(RECEIVE_MAX),
        };
        let holds_order = match mutant {
            Mutant::OrderIsIgnored => false,
            Mutant::OrderWithoutOffer => true,
            _ => self.place.character.ordering == Ordering::PerPartitionKey,
        };
        self.lock().messages.take(request, max, holds_order, self.now(), mutant)
    }

    fn is_too_large(&self, message: &Outgoing) -> bool {
        let kept_back = usize::from(self.is(Mutant::LargestIsRefused));
        message.envelope.size() > self.place.character.bytes_max - kept_back
            && !self.is(Mutant::OversizeIsSent)
    }

    /// Only the mutant that wants subscribers asks.
    pub(super) fn is_for_nobody(&self, message: &Outgoing) -> bool {
        self.is(Mutant::NobodySubscribedIsRefused)
            && message.to == Destination::Subscribers
            && self.lock().messages.registered.is_empty()
    }

    fn send_one(&self, message: &Outgoing, spoilt: bool) -> SendOutcome {
        if spoilt || self.is_too_large(message) {
            return SendOutcome::Refused(error(Trouble::TooLarge, "send", "it is too large"));
        }
        if self.is_for_nobody(message) {
            return SendOutcome::Refused(error(Trouble::Unsupported, "send", "no subscribers"));
        }
        self.lock().messages.queue(message, self.now(), self.place.character.mutant);
        SendOutcome::Sent
    }
}
