//! The places as the code under test sees them: every call goes through the port.

use std::sync::Arc;

use async_trait::async_trait;
use semel_core::broker::{
    BrokerLimits, Delivery, Lease, Outgoing, Receipt, Receive, Registration, SendOutcome,
    SettleOutcome, Settlement,
};
use semel_core::store::{Change, Item, ItemKey, Page, StoreLimits, Trouble, WriteOutcome};
use semel_core::{Broker, Clock, Entropy, Store, StoreError, Timestamp};

use super::call::{Answer, Call};
use super::port;
use crate::hash::Print;
use crate::parts::{Routes, refusal};

/// A server that gave no answer.
fn no_answer(operation: &'static str) -> StoreError {
    StoreError {
        trouble: Trouble::Unavailable,
        store: "simulation".to_owned(),
        operation,
        reason: "no answer came".to_owned(),
        help: "Try again.".to_owned(),
    }
}

#[derive(Debug)]
pub(crate) struct SimStore(pub(crate) StoreLimits);

#[async_trait]
impl Store for SimStore {
    fn limits(&self) -> StoreLimits {
        self.0
    }

    async fn read(&self, key: &ItemKey) -> Result<Option<Item>, StoreError> {
        match port::call(Call::Read(key.clone())).await {
            Answer::Item(record) => Ok(record.map(|record| record.item.clone())),
            _ => Err(no_answer("read")),
        }
    }

    async fn write(&self, changes: Vec<Change>) -> WriteOutcome {
        match port::call(Call::Write(changes)).await {
            Answer::Written(written) => written.into(),
            _ => WriteOutcome::Unknown(no_answer("write")),
        }
    }

    async fn list(&self, page: &Page) -> Result<Vec<Item>, StoreError> {
        if self.0.listing == semel_core::store::Listing::Unsupported {
            let reason = "listing is not offered".to_owned();
            return Err(refusal("list", Trouble::Unsupported, reason));
        }
        match port::call(Call::List(page.clone())).await {
            Answer::Items(records) => {
                Ok(records.iter().map(|record| record.item.clone()).collect())
            }
            _ => Err(no_answer("list")),
        }
    }
}

#[derive(Debug)]
pub(crate) struct SimBroker {
    pub(crate) limits: BrokerLimits,
    pub(crate) routes: Arc<Routes>,
}

#[async_trait]
impl Broker for SimBroker {
    fn limits(&self) -> BrokerLimits {
        self.limits
    }

    async fn register(&self, _: &Registration) -> Result<(), StoreError> {
        Err(only_the_host("register"))
    }

    async fn receive(&self, _: &Receive) -> Result<Vec<Delivery>, StoreError> {
        Err(only_the_host("receive"))
    }

    async fn extend(
        &self,
        _: &[Receipt],
        _: std::time::Duration,
    ) -> Result<Vec<Lease>, StoreError> {
        Err(only_the_host("extend"))
    }

    async fn settle(&self, receipt: &Receipt, settlement: Settlement) -> SettleOutcome {
        match port::call(Call::Settle(receipt.clone(), settlement)).await {
            Answer::Settled(true) => SettleOutcome::Settled,
            Answer::Settled(false) => SettleOutcome::Stale,
            _ => SettleOutcome::Unknown(no_answer("settle")),
        }
    }

    // Nobody comes or goes in a world: the answer is the same at any time, and no choice point.
    async fn subscribers(&self, kind: &str) -> Result<Vec<String>, StoreError> {
        Ok(self.routes.subscribers_of(kind).into_iter().map(str::to_owned).collect())
    }

    async fn send(&self, messages: Vec<Outgoing>) -> Vec<SendOutcome> {
        let fits = |message: &Outgoing| message.envelope.size() <= self.limits.message_bytes_max;
        let fitting: Vec<bool> = messages.iter().map(fits).collect();
        let sent = match messages.into_iter().filter(fits).collect::<Vec<_>>() {
            // Refused without a call.
            messages if messages.is_empty() && !fitting.is_empty() => Vec::new(),
            messages => match port::call(Call::Send(messages)).await {
                Answer::Sent(sent) => sent,
                _ => Vec::new(),
            },
        };
        let mut sent = sent.into_iter();
        let outcome = |fits| match fits {
            false => SendOutcome::Refused(too_large()),
            true if sent.next() == Some(true) => SendOutcome::Sent,
            true => SendOutcome::Unknown(no_answer("send")),
        };
        fitting.into_iter().map(outcome).collect()
    }
}

fn too_large() -> StoreError {
    refusal("send", Trouble::TooLarge, "it is larger than the world's messages may be".to_owned())
}

fn only_the_host(operation: &'static str) -> StoreError {
    let reason = "a protocol neither receives nor keeps leases: its host does".to_owned();
    refusal(operation, Trouble::Unsupported, reason)
}

#[derive(Debug)]
pub(crate) struct SimClock;

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        port::now()
    }
}

/// Draws that differ from task to task, worker to worker and call to call.
#[derive(Debug)]
pub(crate) struct SimEntropy(pub(crate) Print);

impl Entropy for SimEntropy {
    fn bits(&self) -> u128 {
        port::draw(self.0)
    }
}
