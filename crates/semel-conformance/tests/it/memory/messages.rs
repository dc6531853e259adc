//! The queues: who takes which message, and whose receipt still has its power.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use semel_core::Timestamp;
use semel_core::broker::{
    Delivery, Destination, Lease, Outgoing, Receipt, Receive, Registration, Settlement,
};

use super::message::{Message, carried};
use super::mutant::Mutant;

/// The messages of a place, by their numbers, and who subscribes.
#[derive(Debug, Default)]
pub(super) struct Messages {
    pub(super) queued: BTreeMap<i64, Message>,
    pub(super) registered: BTreeMap<String, Registered>,
    /// Every (type, endpoint) of any registration: what only a mutant lists.
    ever_subscribed: BTreeSet<(String, String)>,
    last_number: i64,
    last_tag: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Registered {
    pub(super) registration: Registration,
    pub(super) at: Timestamp,
}

impl Messages {
    pub(super) fn register(&mut self, registration: &Registration, at: Timestamp, mutant: Mutant) {
        let mut registration = registration.clone();
        let before = self.registered.get(&registration.endpoint);
        match (before, mutant) {
            (Some(before), Mutant::RegistrationAdds) => {
                registration.subscriptions.extend(before.registration.subscriptions.clone());
            }
            (Some(_), Mutant::RegisteredOnceForAll) => return,
            _ => {}
        }
        let kinds = registration.subscriptions.iter().cloned();
        self.ever_subscribed.extend(kinds.map(|kind| (kind, registration.endpoint.clone())));
        let registered = Registered { registration, at };
        self.registered.insert(registered.registration.endpoint.clone(), registered);
    }

    pub(super) fn queue(&mut self, outgoing: &Outgoing, now: Timestamp, mutant: Mutant) {
        let endpoints = match &outgoing.to {
            Destination::Endpoint(endpoint) => vec![endpoint.clone()],
            Destination::Subscribers => self.subscribers(&outgoing.envelope.kind, mutant),
        };
        for endpoint in endpoints {
            self.queue_at(endpoint, outgoing, now, mutant);
        }
    }

    pub(super) fn subscribers(&self, kind: &str, mutant: Mutant) -> Vec<String> {
        let mut endpoints = Vec::new();
        for Registered { registration, .. } in self.registered.values() {
            let matching = registration.subscriptions.iter().filter(|subscribed| {
                *subscribed == kind
                    || mutant == Mutant::SubscribersByPrefix && kind.starts_with(*subscribed)
            });
            let copies = matching.count();
            let most = if mutant == Mutant::CopyPerRegistration { copies } else { 1 };
            endpoints.extend(vec![registration.endpoint.clone(); copies.min(most)]);
        }
        endpoints
    }

    /// The subscribers as somebody is told who asks for them.
    pub(super) fn listed(&self, kind: &str, mutant: Mutant) -> Vec<String> {
        match mutant {
            Mutant::ListedPerSubscription => self.subscribers(kind, Mutant::CopyPerRegistration),
            Mutant::ListedByPrefix => self.subscribers(kind, Mutant::SubscribersByPrefix),
            Mutant::EveryoneIsListed => self.registered.keys().cloned().collect(),
            Mutant::ListedForEver => {
                let ever = self.ever_subscribed.iter().filter(|(other, _)| other == kind);
                ever.map(|(_, endpoint)| endpoint.clone()).collect()
            }
            _ => self.subscribers(kind, mutant),
        }
    }

    fn queue_at(&mut self, endpoint: String, outgoing: &Outgoing, now: Timestamp, mutant: Mutant) {
        let envelope = carried(&outgoing.envelope, mutant);
        let known = |message: &Message| message.envelope.id == envelope.id;
        if mutant == Mutant::SentTwiceIsDropped && self.queued.values().any(known)
            || mutant == Mutant::UnservedIsDropped && !self.registered.contains_key(&endpoint)
        {
            return;
        }
        if mutant == Mutant::NumbersAreReused {
            self.last_number = self.queued.keys().max().copied().unwrap_or(0);
        }
        self.last_number += 1;
        let delay = if mutant == Mutant::DelayIsIgnored { Duration::ZERO } else { outgoing.delay };
        let message = Message {
            endpoint,
            envelope,
            queued_at: now,
            ready_at: now.after(delay),
            leased_until: None,
            tag: 0,
            deliveries: 0,
            failures: Vec::new(),
            failure_count: 0,
            dead: None,
            entity: None,
        };
        self.queued.insert(self.last_number, message);
    }

    /// Takes up to `max` messages that nobody holds, whose time has come, and whose turn it is.
    pub(super) fn take(
        &mut self,
        request: &Receive,
        max: usize,
        holds_order: bool,
        now: Timestamp,
        mutant: Mutant,
    ) -> Vec<Delivery> {
        let mut numbers: Vec<i64> = self.queued.keys().copied().collect();
        match mutant {
            Mutant::NewestFirst => numbers.reverse(),
            Mutant::OrderForgetsTheEnded => numbers.sort_by_key(|n| self.queued[n].deliveries),
            _ => {}
        }
        let (mut held_up, mut taken) = (BTreeSet::new(), Vec::new());
        for number in numbers {
            let message = &self.queued[&number];
            let comes = message.comes(request, now, mutant)
                && !(holds_order && message.is_held_up(&held_up, mutant));
            if comes && taken.len() < max {
                taken.push(self.lease(number, request.lease, now, mutant));
            } else if message.holds_up(now, mutant) {
                held_up.insert(message.line(mutant));
            }
        }
        if mutant == Mutant::ReceiveTakesOutForGood {
            self.queued.retain(|_, message| message.leased_until.is_none());
        }
        taken
    }

    fn lease(&mut self, number: i64, lease: Duration, now: Timestamp, mutant: Mutant) -> Delivery {
        let tag = self.new_tag();
        let Some(message) = self.queued.get_mut(&number) else { unreachable!() };
        message.leased_until = Some(now.after(lease));
        message.deliveries += 1;
        message.tag = match mutant {
            Mutant::ReceiptStays => 0,
            Mutant::NumbersAreReused => message.deliveries.into(),
            _ => tag,
        };
        Delivery {
            receipt: message.receipt(number),
            envelope: Ok(message.envelope.clone()),
            deliveries: message.deliveries - u32::from(mutant == Mutant::DeliveriesFromZero),
            failures: message.failures.clone(),
            failure_count: message.failure_count,
        }
    }

    fn new_tag(&mut self) -> u64 {
        self.last_tag += 1;
        self.last_tag
    }

    /// The number of the message that a receipt names, if it still has the power.
    fn find(&self, receipt: &Receipt, now: Timestamp, mutant: Mutant) -> Option<i64> {
        let (number, tag) = receipt.as_str().split_once('.')?;
        let number = number.parse().ok()?;
        let message = self.queued.get(&number)?;
        let old = mutant == Mutant::StaleReceiptSettles;
        let returned = matches!(mutant, Mutant::ReturnedReceiptSettles | Mutant::DeadReceiptStays);
        let named = message.tag.to_string() == tag;
        let ours = message.is_leased(now, mutant) || message.dead.is_some();
        let aged = mutant == Mutant::DeadReceiptAges
            && message.dead.is_some_and(|(_, at)| now.since(at) > Duration::from_secs(1));
        (old || named && (ours || returned) && !aged).then_some(number)
    }

    pub(super) fn is_current(&self, receipt: &Receipt, now: Timestamp, mutant: Mutant) -> bool {
        self.find(receipt, now, mutant).is_some()
    }

    /// Settles a delivery, if its receipt still has the power. Whether it had.
    pub(super) fn settle(
        &mut self,
        receipt: &Receipt,
        settlement: &Settlement,
        now: Timestamp,
        mutant: Mutant,
    ) -> bool {
        let Some(number) = self.find(receipt, now, mutant) else { return false };
        self.decide(number, settlement, now, mutant);
        if mutant == Mutant::SettleTouchesTheBatch && self.queued.contains_key(&(number + 1)) {
            self.decide(number + 1, settlement, now, mutant);
        }
        true
    }

    pub(super) fn settle_in_batch(
        &mut self,
        receipt: &Receipt,
        settlement: &Settlement,
        now: Timestamp,
        mutant: Mutant,
    ) {
        match settlement {
            Settlement::Retry { after, .. } if mutant == Mutant::BatchForgetsTheFailure => {
                self.settle(receipt, &Settlement::Release { after: *after }, now, mutant)
            }
            Settlement::DeadLetter { reason, failure, .. }
                if mutant == Mutant::BatchForgetsTheEntity =>
            {
                let (reason, failure) = (*reason, failure.clone());
                let parked = Settlement::DeadLetter { reason, failure, entity: None };
                self.settle(receipt, &parked, now, mutant)
            }
            _ => self.settle(receipt, settlement, now, mutant),
        };
    }

    pub(super) fn decide(
        &mut self,
        number: i64,
        fate: &Settlement,
        now: Timestamp,
        mutant: Mutant,
    ) {
        let tag = self.new_tag();
        let Some(message) = self.queued.get_mut(&number) else { return };
        let was_dead = message.dead.is_some();
        let returns = match mutant {
            Mutant::AckReturns => !was_dead,
            Mutant::RemovalReplays => was_dead,
            _ => false,
        };
        if *fate == Settlement::Ack && !returns {
            let id = message.envelope.id.clone();
            self.queued.remove(&number);
            if mutant == Mutant::CopiesAreOneMessage {
                self.queued.retain(|_, message| message.envelope.id != id);
            }
            return;
        }
        message.settle(fate, now, mutant);
        let keeps_tag =
            if was_dead { Mutant::DeadReceiptStays } else { Mutant::ReturnedReceiptSettles };
        if mutant != keeps_tag && mutant != Mutant::NumbersAreReused {
            message.tag = tag;
        }
    }

    pub(super) fn extend(
        &mut self,
        receipt: &Receipt,
        lease: Duration,
        now: Timestamp,
        mutant: Mutant,
    ) -> Lease {
        if mutant == Mutant::ExtendDoesNothing {
            return Lease::Held;
        }
        let found = match mutant {
            Mutant::ExtendNeverLoses => number_in(receipt),
            _ => self.find(receipt, now, mutant),
        };
        let tag = self.new_tag();
        let Some(message) = found.and_then(|number| self.queued.get_mut(&number)) else {
            return Lease::Lost;
        };
        if message.dead.is_some() && mutant != Mutant::DeadHasALease {
            return Lease::Lost;
        }
        let from = match (message.leased_until, mutant) {
            (Some(until), Mutant::ExtendAddsUp) => until,
            _ => now,
        };
        message.leased_until = Some(from.after(lease));
        if mutant == Mutant::ExtendChangesTheReceipt {
            message.tag = tag;
        }
        Lease::Held
    }

    /// Gives every message another receipt.
    pub(super) fn renew_receipts(&mut self) {
        let tag = self.new_tag();
        self.queued.values_mut().for_each(|message| message.tag = tag);
    }
}

fn number_in(receipt: &Receipt) -> Option<i64> {
    receipt.as_str().split_once('.')?.0.parse().ok()
}
