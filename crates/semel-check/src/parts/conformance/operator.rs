//! What a person sees of a place.

use std::collections::BTreeMap;

use async_trait::async_trait;
use semel_core::operator::{DeadLetter, DeadLetterFilter, EndpointReport, Operator, Report};
use semel_core::store::Space;
use semel_core::{StoreError, Timestamp};

use super::{Simulated, State};
use crate::parts::{Fate, Items, Queued};

#[async_trait]
impl Operator for Simulated {
    async fn inspect(&self) -> Result<Report, StoreError> {
        let (state, now_ms) = (self.lock(), self.now_ms());
        let mut endpoints: BTreeMap<String, EndpointReport> = BTreeMap::new();
        for (endpoint, (registration, at)) in &state.registered {
            let report = endpoints.entry(endpoint.clone()).or_default();
            report.protocol = Some(registration.protocol.clone());
            report.subscriptions.clone_from(&registration.subscriptions);
            report.registered_at = Some(*at);
        }
        for queued in state.parts.queue.all() {
            let endpoint = queued.carried.endpoint.clone();
            count(queued, endpoints.entry(endpoint).or_default(), now_ms);
        }
        for (endpoint, report) in &mut endpoints {
            count_items(&state.parts.items, endpoint, report);
        }
        Ok(Report { endpoints })
    }

    async fn dead_letters(&self, filter: &DeadLetterFilter) -> Result<Vec<DeadLetter>, StoreError> {
        let wanted = |dead: &DeadLetter| {
            dead.number > filter.after
                && filter.endpoint.as_ref().is_none_or(|endpoint| *endpoint == dead.endpoint)
        };
        Ok(self.lock().dead().into_iter().filter(wanted).take(filter.limit).collect())
    }

    async fn dead_letter(&self, number: i64) -> Result<Option<DeadLetter>, StoreError> {
        Ok(self.lock().dead().into_iter().find(|dead| dead.number == number))
    }
}

impl State {
    /// All dead letters by number: the position at which each was parked.
    fn dead(&self) -> Vec<DeadLetter> {
        let queued = self.parts.queue.all().iter();
        let mut dead: Vec<DeadLetter> = queued.filter_map(|queued| self.shown(queued)).collect();
        dead.sort_by_key(|dead| dead.number);
        dead
    }

    fn shown(&self, queued: &Queued) -> Option<DeadLetter> {
        let Fate::Dead { reason, entity } = &queued.fate else { return None };
        let carried = &queued.carried;
        let registered = self.registered.get(&carried.endpoint);
        Some(DeadLetter {
            number: i64::try_from(queued.position).ok()?,
            endpoint: carried.endpoint.clone(),
            protocol: registered.map(|(registration, _)| registration.protocol.clone()),
            envelope: Ok((*carried.envelope).clone()),
            raw: carried.envelope.data.clone(),
            reason: reason.0,
            dead_since: Timestamp::from_unix_ms(queued.queued_at_ms),
            deliveries: queued.deliveries,
            failures: (*queued.failures).clone(),
            entity: entity.as_deref().map(str::to_owned),
            receipt: queued.receipt(),
        })
    }
}

fn count(queued: &Queued, report: &mut EndpointReport, now_ms: i64) {
    match queued.fate {
        Fate::Dead { .. } => {
            report.dead_letters += 1;
            return;
        }
        _ if queued.is_ready(now_ms) => report.ready += 1,
        Fate::Leased { .. } => report.in_flight += 1,
        Fate::Waiting | Fate::PutOff { .. } => report.delayed += 1,
    }
    let queued_at = Timestamp::from_unix_ms(queued.queued_at_ms);
    report.oldest = Some(report.oldest.map_or(queued_at, |oldest| oldest.min(queued_at)));
}

fn count_items(items: &Items, endpoint: &str, report: &mut EndpointReport) {
    let count = |space| {
        let of_endpoint = items.all().iter().filter(|record| {
            let key = &record.item.key;
            key.space == space && key.partition == endpoint
        });
        of_endpoint.count() as u64
    };
    report.entities = count(Space::Entity);
    report.inbox = count(Space::Inbox);
    report.finisher_backlog = count(Space::Outbox);
    report.tokens = count(Space::Token);
}
