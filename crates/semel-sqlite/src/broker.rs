//! The queue as a broker.

use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{OptionalExtension as _, params};
use semel_core::broker::{
    BrokerLimits, Delivery, Lease, Ordering, Outgoing, QueueAge, Receipt, Receive, Registration,
    SendOutcome, SettleOutcome, Settlement, Subscribers,
};
use semel_core::store::Trouble;
use semel_core::{Broker, StoreError};

use crate::writer::{Answer, Request};
use crate::{BYTES_MAX, Sqlite, error, queue};

/// How often a waiting receiver looks for what other processes queued.
const LOOK_EVERY: Duration = Duration::from_millis(10);

#[async_trait]
impl Broker for Sqlite {
    fn limits(&self) -> BrokerLimits {
        BrokerLimits {
            message_bytes_max: BYTES_MAX,
            receive_max: queue::RECEIVE_MAX,
            ordering: Ordering::PerPartitionKey,
            subscribers: Subscribers::Listed,
            queue_age: QueueAge::Told,
        }
    }

    async fn register(&self, registration: &Registration) -> Result<(), StoreError> {
        match self.ask(Request::Register(registration.clone())).await? {
            Answer::Registered => Ok(()),
            Answer::Refused(error) => Err(error),
            other => Err(self.wrong_answer("register", &other)),
        }
    }

    async fn receive(&self, request: &Receive) -> Result<Vec<Delivery>, StoreError> {
        let waited = tokio::time::timeout(request.wait, self.until_available(request)).await;
        match waited {
            Ok(found) => found?,
            // One more look: the wait may have been zero.
            Err(_) if !self.has_available(request)? => return Ok(Vec::new()),
            Err(_) => {}
        }
        match self.ask(Request::Receive(request.clone())).await? {
            Answer::Deliveries(deliveries) => Ok(deliveries),
            other => Err(self.wrong_answer("receive", &other)),
        }
    }

    async fn extend(
        &self,
        receipts: &[Receipt],
        lease: Duration,
    ) -> Result<Vec<Lease>, StoreError> {
        match self.ask(Request::Extend(receipts.to_vec(), lease)).await? {
            Answer::Leases(leases) => Ok(leases),
            other => Err(self.wrong_answer("extend", &other)),
        }
    }

    async fn settle(&self, receipt: &Receipt, settlement: Settlement) -> SettleOutcome {
        match self.ask(Request::Settle(receipt.clone(), settlement)).await {
            Ok(Answer::Settled) => SettleOutcome::Settled,
            Ok(Answer::Stale) => SettleOutcome::Stale,
            Ok(other) => SettleOutcome::Unknown(self.wrong_answer("settle", &other)),
            Err(error) => SettleOutcome::Unknown(error),
        }
    }

    async fn subscribers(&self, kind: &str) -> Result<Vec<String>, StoreError> {
        self.place.check_identity("subscribers")?;
        self.reader.ask("subscribers", |connection| queue::subscribers(connection, kind))
    }

    async fn send(&self, messages: Vec<Outgoing>) -> Vec<SendOutcome> {
        let count = messages.len();
        let all = |error: StoreError| -> Vec<SendOutcome> {
            (0..count).map(|_| SendOutcome::Unknown(error.clone())).collect()
        };
        match self.ask(Request::Send(messages)).await {
            Ok(Answer::Sent(answers)) => answers
                .into_iter()
                .map(|answer| answer.map_or_else(SendOutcome::Refused, |()| SendOutcome::Sent))
                .collect(),
            Ok(other) => all(self.wrong_answer("send", &other)),
            Err(error) => all(error),
        }
    }
}

impl Sqlite {
    async fn ask(&self, request: Request) -> Result<Answer, StoreError> {
        self.writer.ask(request).await.map_err(|failed| failed.error)
    }

    /// Waits until a message can be received. Only reads.
    async fn until_available(&self, request: &Receive) -> Result<(), StoreError> {
        loop {
            let queued = self.queued.notified();
            tokio::pin!(queued);
            // Enabled before looking, so that nothing queued after the look is missed.
            queued.as_mut().enable();
            if self.has_available(request)? {
                return Ok(());
            }
            let _ = tokio::time::timeout(LOOK_EVERY, queued).await;
        }
    }

    fn has_available(&self, request: &Receive) -> Result<bool, StoreError> {
        let now = self.clock.now().unix_ms();
        // Whoever waits writes nothing, so nobody else would notice.
        self.place.check_identity("receive")?;
        self.reader.ask("receive", |connection| {
            let found = connection
                .prepare_cached(queue::HAS_CANDIDATE)?
                .query_row(params![request.endpoint, now, 1], |_| Ok(()))
                .optional()?;
            Ok(found.is_some())
        })
    }

    pub(crate) fn wrong_answer(&self, operation: &'static str, answer: &Answer) -> StoreError {
        self.defect(operation, &format!("the writer answered something else: {answer:?}"))
    }

    pub(crate) fn defect(&self, operation: &'static str, reason: &str) -> StoreError {
        let help = "This is a defect in Semel; please report it.";
        error::new(self.place.path(), Trouble::Broken, operation, reason, help)
    }
}
