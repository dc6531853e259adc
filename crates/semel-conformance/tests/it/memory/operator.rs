//! What a person sees of a place.

use async_trait::async_trait;
use semel_core::StoreError;
use semel_core::broker::{DeadReason, QueueAge};
use semel_core::operator::{DeadLetter, DeadLetterFilter, EndpointReport, Operator, Report};
use semel_core::store::Space;

use super::message::Message;
use super::messages::Registered;
use super::mutant::Mutant;
use super::{Memory, State};

#[async_trait]
impl Operator for Memory {
    async fn inspect(&self) -> Result<Report, StoreError> {
        let mut state = self.lock();
        if self.is(Mutant::LookingRenewsReceipts) {
            state.messages.renew_receipts();
        }
        let mut report = Report::default();
        for (endpoint, registered) in &state.messages.registered {
            registered.add_to(report.endpoints.entry(endpoint.clone()).or_default());
        }
        for message in state.messages.queued.values() {
            let endpoint = report.endpoints.entry(message.endpoint.clone()).or_default();
            self.count(message, endpoint);
        }
        for (endpoint, counted) in &mut report.endpoints {
            self.count_items(&state, endpoint, counted);
        }
        if self.is(Mutant::EmptyPlaceReportsItself) {
            report.endpoints.insert("memory".to_owned(), EndpointReport::default());
        }
        Ok(report)
    }

    async fn dead_letters(&self, filter: &DeadLetterFilter) -> Result<Vec<DeadLetter>, StoreError> {
        let repeats = self.is(Mutant::DeadPagesRepeat);
        let of = |dead: &DeadLetter| {
            filter.endpoint.as_ref().is_none_or(|endpoint| *endpoint == dead.endpoint)
                && (dead.number > filter.after || repeats)
        };
        let mut page: Vec<DeadLetter> =
            self.dead().into_iter().filter(of).take(filter.limit).collect();
        if self.is(Mutant::ListForgetsTheEntity) {
            page.iter_mut().for_each(|dead| dead.entity = None);
        }
        Ok(page)
    }

    async fn dead_letter(&self, number: i64) -> Result<Option<DeadLetter>, StoreError> {
        let mut found = self.dead().into_iter().find(|dead| dead.number == number);
        if let (true, Some(dead)) = (self.is(Mutant::LookUpForgetsTheEntity), &mut found) {
            dead.entity = None;
        }
        Ok(found)
    }
}

impl Registered {
    fn add_to(&self, report: &mut EndpointReport) {
        report.protocol = Some(self.registration.protocol.clone());
        report.subscriptions.clone_from(&self.registration.subscriptions);
        report.registered_at = Some(self.at);
    }
}

impl Memory {
    fn count(&self, message: &Message, report: &mut EndpointReport) {
        let (now, mutant) = (self.now(), self.place.character.mutant);
        let held = mutant == Mutant::EndedLeaseIsInFlight && message.leased_until.is_some();
        if message.dead.is_some() {
            report.dead_letters += 1;
            return;
        } else if message.is_leased(now, mutant) || held {
            report.in_flight += 1;
        } else if message.ready_at <= now || mutant == Mutant::DelayedIsReady {
            report.ready += 1;
        } else {
            report.delayed += 1;
        }
        if self.place.character.queue_age == QueueAge::Untold {
            return;
        }
        let first = report.oldest.unwrap_or(message.queued_at);
        report.oldest = Some(match mutant {
            Mutant::OldestIsTheYoungest => first.max(message.queued_at),
            _ => first.min(message.queued_at),
        });
    }

    fn count_items(&self, state: &State, endpoint: &str, report: &mut EndpointReport) {
        let count = |space| state.items.count(space, endpoint, self.now());
        report.entities = count(Space::Entity);
        let remembered =
            if self.is(Mutant::InboxIsEntities) { Space::Entity } else { Space::Inbox };
        report.inbox = count(remembered);
        report.finisher_backlog = count(Space::Outbox);
        let held = if self.is(Mutant::TokensAreEffects) { Space::Outbox } else { Space::Token };
        report.tokens = count(held);
    }

    /// All dead letters, by number.
    fn dead(&self) -> Vec<DeadLetter> {
        let mut state = self.lock();
        if self.is(Mutant::LookingRenewsReceipts) {
            state.messages.renew_receipts();
        }
        let messages = &state.messages;
        let shown = messages.queued.iter().filter_map(|(number, message)| {
            let registered = messages.registered.get(&message.endpoint);
            self.shown(*number, message, registered)
        });
        shown.collect()
    }

    fn shown(
        &self,
        number: i64,
        message: &Message,
        registered: Option<&Registered>,
    ) -> Option<DeadLetter> {
        let alive = self.is(Mutant::AliveIsListed);
        let alive = alive.then_some((DeadReason::Refused, self.now()));
        let (reason, since) = message.dead.or(alive)?;
        let raw = match self.is(Mutant::RawIsEncoded) {
            true => format!("{:?}", message.envelope).into(),
            false => message.envelope.data.clone(),
        };
        Some(DeadLetter {
            number,
            endpoint: message.endpoint.clone(),
            protocol: registered.map(|registered| registered.registration.protocol.clone()),
            envelope: Ok(message.envelope.clone()),
            raw,
            reason,
            dead_since: if self.is(Mutant::DeadSinceIsNow) { self.now() } else { since },
            deliveries: message.deliveries,
            failures: message.failures.clone(),
            entity: message.entity.clone(),
            receipt: message.receipt(number),
        })
    }
}
