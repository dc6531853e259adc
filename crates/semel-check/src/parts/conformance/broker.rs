//! The broker of a place. Unlike in a world, leases end by the clock, and waits are waited for.

use std::time::Duration;

use async_trait::async_trait;
use semel_core::broker::{
    BrokerLimits, Delivery, Lease, Outgoing, Receipt, Receive, Registration, SendOutcome,
    SettleOutcome, Settlement,
};
use semel_core::store::Trouble;
use semel_core::{Broker, Clock, StoreError, Timestamp};

use super::{Simulated, State};
use crate::parts::{Fate, Queued, refusal};

#[async_trait]
impl Broker for Simulated {
    fn limits(&self) -> BrokerLimits {
        self.0.broker
    }

    async fn register(&self, registration: &Registration) -> Result<(), StoreError> {
        let State { routes, registered, .. } = &mut *self.lock();
        let endpoint = &registration.endpoint;
        routes.subscribers.retain(|(_, known)| known != endpoint);
        let kinds = registration.subscriptions.iter().cloned();
        routes.subscribers.extend(kinds.map(|kind| (kind, endpoint.clone())));
        registered.insert(endpoint.clone(), (registration.clone(), self.0.clock.now()));
        Ok(())
    }

    async fn receive(&self, request: &Receive) -> Result<Vec<Delivery>, StoreError> {
        let pause = Duration::from_millis(2);
        let mut waited = Duration::ZERO;
        loop {
            let taken = self.take(request);
            if !taken.is_empty() || waited >= request.wait {
                return Ok(taken);
            }
            tokio::time::sleep(pause).await;
            waited += pause;
        }
    }

    async fn extend(
        &self,
        receipts: &[Receipt],
        lease: Duration,
    ) -> Result<Vec<Lease>, StoreError> {
        let until_ms = self.until_ms(lease);
        let queue = &mut self.lock().parts.queue;
        let extend = |receipt| match queue.extend(receipt, until_ms) {
            true => Lease::Held,
            false => Lease::Lost,
        };
        Ok(receipts.iter().map(extend).collect())
    }

    async fn settle(&self, receipt: &Receipt, settlement: Settlement) -> SettleOutcome {
        match self.lock().parts.queue.settle(receipt, &settlement, self.now_ms()) {
            true => SettleOutcome::Settled,
            false => SettleOutcome::Stale,
        }
    }

    async fn subscribers(&self, kind: &str) -> Result<Vec<String>, StoreError> {
        let state = self.lock();
        Ok(state.routes.subscribers_of(kind).into_iter().map(str::to_owned).collect())
    }

    async fn send(&self, messages: Vec<Outgoing>) -> Vec<SendOutcome> {
        let State { parts, routes, .. } = &mut *self.lock();
        let send = |outgoing: &Outgoing| {
            if !routes.admits(outgoing) {
                let reason = "it is too large".to_owned();
                return SendOutcome::Refused(refusal("send", Trouble::TooLarge, reason));
            }
            parts.queue.send(outgoing, routes, self.now_ms());
            SendOutcome::Sent
        };
        messages.iter().map(send).collect()
    }
}

impl Simulated {
    fn take(&self, request: &Receive) -> Vec<Delivery> {
        let (now_ms, until_ms) = (self.now_ms(), self.until_ms(request.lease));
        let queue = &mut self.lock().parts.queue;
        let mut taken = Vec::new();
        while taken.len() < request.max.min(self.0.broker.receive_max) {
            let next = (0..queue.all().len())
                .filter(|at| queue.all()[*at].carried.endpoint == request.endpoint)
                .filter(|at| queue.all()[*at].is_ready(now_ms) && queue.is_its_turn(*at))
                .min_by_key(|at| queue.all()[*at].position);
            let Some(at) = next else { break };
            // What nobody holds any more waits.
            queue.end_lease(at);
            taken.push(delivery(&queue.deliver(at, until_ms)));
        }
        taken
    }

    fn until_ms(&self, lease: Duration) -> i64 {
        Timestamp::from_unix_ms(self.now_ms()).after(lease).unix_ms()
    }
}

impl Queued {
    pub(super) fn is_ready(&self, now_ms: i64) -> bool {
        match self.fate {
            Fate::Waiting | Fate::PutOff { .. } => self.ready_at_ms <= now_ms,
            Fate::Leased { until_ms } => until_ms <= now_ms,
            Fate::Dead { .. } => false,
        }
    }
}

fn delivery(queued: &Queued) -> Delivery {
    Delivery {
        receipt: queued.receipt(),
        envelope: Ok((*queued.carried.envelope).clone()),
        deliveries: queued.deliveries,
        failures: (*queued.failures).clone(),
        failure_count: queued.failure_count,
    }
}
