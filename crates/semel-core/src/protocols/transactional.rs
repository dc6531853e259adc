//! `transactional`: state, inbox and effects in one atomic batch.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::{
    Outcome, Parking, Places, Processed, Protocol, Step, WINDOW, Work, inbox_key, outbox_key,
};
use super::{case, entity, pending};
use crate::broker::{BrokerLimits, Outgoing, SettleOutcome, Settlement};
use crate::context::outgoing;
use crate::handler::Decision;
use crate::operator::DeadLetter;
use crate::store::{
    Atomicity, Change, Expect, ItemKey, Keep, Listing, QueueHome, StoreLimits, WriteOutcome,
};
use crate::{Envelope, Store, StoreError};

const NAME: &str = "transactional";

/// Where the settlement stands in a batch that has one.
const SETTLE: usize = 0;
/// Where the outbox record stands in a batch that has one.
const OUTBOX: usize = 2;

/// One atomic batch holds the new state, the inbox entry and the effects.
///
/// Where the queue lives in the same store, the batch also settles the delivery and queues the
/// messages sent: all or nothing. Where it lives elsewhere, the batch holds an outbox record, which
/// is dispatched after the commit; a finisher does so for workers that died in between.
///
/// The inbox remembers processed messages for a window. A duplicate that comes later than that is
/// processed again.
///
/// Where the queue lives in the same store, committed effects wait for nothing: the commit queued
/// them. Where it lives elsewhere, they wait for the finisher, which looks every few seconds.
///
/// Budget: 1 read, 1 write, whose durable commit is shared by a whole batch of messages. Where the
/// queue lives elsewhere, a message with effects takes one more write, which clears their record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transactional {
    /// How long a processed message is remembered.
    pub window: Duration,
}

impl Default for Transactional {
    /// Remembers for seven days.
    fn default() -> Self {
        Self { window: WINDOW }
    }
}

#[async_trait]
impl Protocol for Transactional {
    fn name(&self) -> &'static str {
        NAME
    }

    fn check(&self, store: &StoreLimits, _: &BrokerLimits) -> Result<(), String> {
        if store.atomicity != Atomicity::Everything {
            return Err("a store whose batches are atomic across everything in it".to_owned());
        }
        if store.queue == QueueHome::Elsewhere && store.listing == Listing::Unsupported {
            return Err("a store that can list items, for its finisher".to_owned());
        }
        Ok(())
    }

    async fn process(&self, work: &Work<'_>) -> Outcome {
        work.begin(Step::LoadEntity);
        // The entity first: an inbox entry that comes between the two reads comes with a change of
        // the entity, on which the commit then fails.
        let keys = [work.entity_key(), inbox_key(work.endpoint, work.envelope)];
        let mut items = match work.places.store.read_all(&keys).await {
            Ok(items) => items.into_iter(),
            Err(error) => return error.into(),
        };
        let (entity, entry) = (items.next().flatten(), items.next().flatten());
        // Also for a duplicate: another protocol may have made the entry, with effects still to send.
        let (state, expect) = match entity::with_version(entity, NAME) {
            Ok(loaded) => loaded,
            Err(error) => return error.into(),
        };
        if entry.is_some() {
            return self.finish_duplicate(work).await;
        }

        work.begin(Step::RunHandler);
        let decision = match work.handler.run(state, work.context()).await {
            Ok(decision) => decision,
            // Another attempt may have committed meanwhile: then this one does not count.
            Err(failure) => return self.unless_done(work, Outcome::HandlerFailed(failure)).await,
        };

        // The commit settles the delivery: whatever the message came with ends before.
        if work.places.queue == QueueHome::Inside
            && let Err(outcome) = work.drop_token().await
        {
            return outcome;
        }

        work.begin(Step::CommitState);
        let commit = match Commit::prepare(self, work, decision, expect) {
            Ok(commit) => commit,
            Err(error) => return error.into(),
        };
        match work.places.store.write(commit.changes).await {
            WriteOutcome::Applied(versions) => match commit.then {
                Then::Nothing => Outcome::Processed,
                Then::Dispatch(key, messages) => {
                    let record = versions.into_iter().nth(OUTBOX).flatten();
                    pending::dispatch_own(work, key, messages, record, Outcome::Processed).await
                }
            },
            WriteOutcome::Conflict(at) if lost_lease(work, &at) => Outcome::LeaseLost,
            WriteOutcome::Conflict(_) => self.unless_done(work, Outcome::Conflict).await,
            WriteOutcome::Refused(error) | WriteOutcome::Unknown(error) => error.into(),
        }
    }

    async fn processed(
        &self,
        endpoint: &str,
        envelope: &Envelope,
        _: Option<&str>,
        store: &dyn Store,
    ) -> Result<Processed, StoreError> {
        let entry = store.read(&inbox_key(endpoint, envelope)).await?;
        Ok(if entry.is_some() { Processed::Yes } else { Processed::Unknown })
    }

    async fn park(&self, parking: &Parking<'_>) -> SettleOutcome {
        let (QueueHome::Inside, Some(envelope)) = (parking.places.queue, parking.envelope) else {
            return parking.unless_processed(self).await;
        };
        let receipt = parking.receipt.clone();
        let settle = Change::Settle { receipt, settlement: parking.dead_letter() };
        // One batch: another copy may be committed at this very moment.
        let key = inbox_key(parking.endpoint, envelope);
        let not_processed = Change::Delete { key, expect: Expect::Absent };
        match parking.places.store.write(vec![settle, not_processed]).await {
            WriteOutcome::Applied(_) => SettleOutcome::Settled,
            WriteOutcome::Conflict(at) if at.contains(&SETTLE) => SettleOutcome::Stale,
            WriteOutcome::Conflict(_) => {
                parking.places.broker.settle(parking.receipt, Settlement::Ack).await
            }
            WriteOutcome::Refused(error) | WriteOutcome::Unknown(error) => {
                SettleOutcome::Unknown(error)
            }
        }
    }

    async fn finish(&self, endpoint: &str, places: Places<'_>) -> Result<usize, StoreError> {
        if places.queue == QueueHome::Inside {
            return Ok(0);
        }
        pending::finish_all(endpoint, places).await
    }

    async fn discard(&self, dead: &DeadLetter, places: Places<'_>) -> Outcome {
        let is_inside = places.queue == QueueHome::Inside;
        // The batch removes the letter: whatever the message came with ends before.
        if is_inside {
            let envelope = dead.envelope.as_ref().ok();
            if let Err(outcome) = case::drop_token(&dead.endpoint, envelope, places).await {
                return outcome;
            }
        }
        let mut changes = Vec::new();
        if let Ok(envelope) = &dead.envelope {
            changes.push(Change::Put {
                key: inbox_key(&dead.endpoint, envelope),
                value: Bytes::from_static(b"discarded"),
                // A committed attempt's own entry says the same.
                expect: Expect::Anything,
                keep: Keep::For(self.window),
            });
        }
        if is_inside {
            let receipt = dead.receipt.clone();
            changes.push(Change::Settle { receipt, settlement: Settlement::Ack });
        }
        match places.store.write(changes).await {
            WriteOutcome::Applied(_) => {}
            WriteOutcome::Conflict(_) => return Outcome::LeaseLost,
            WriteOutcome::Refused(error) | WriteOutcome::Unknown(error) => return error.into(),
        }
        if is_inside {
            return Outcome::Processed;
        }
        match case::remove(dead, places).await {
            // Whoever replayed it meanwhile replays what counts as processed.
            Outcome::LeaseLost => Outcome::Processed,
            outcome => outcome,
        }
    }
}

impl Transactional {
    /// The outcome `otherwise`, unless the message has a committed attempt by now.
    async fn unless_done(&self, work: &Work<'_>, otherwise: Outcome) -> Outcome {
        work.begin(Step::CheckInbox);
        match self.processed(work.endpoint, work.envelope, None, work.places.store).await {
            Ok(Processed::Yes) => self.finish_duplicate(work).await,
            Ok(Processed::Unknown) => otherwise,
            Err(error) => error.into(),
        }
    }

    /// Ends a delivery whose message has a committed attempt, with that attempt's effects out.
    async fn finish_duplicate(&self, work: &Work<'_>) -> Outcome {
        let store = work.places.store;
        if work.places.queue == QueueHome::Inside {
            return work.ack(Outcome::Duplicate).await;
        }
        let key = outbox_key(work.endpoint, work.envelope);
        let messages = match store.read(&key).await {
            Ok(None) => return work.ack(Outcome::Duplicate).await,
            Ok(Some(item)) => pending::read(&item).map(|messages| (messages, item.version)),
            Err(error) => Err(error),
        };
        match messages {
            Ok((messages, version)) => {
                pending::dispatch_own(work, key, messages, Some(version), Outcome::Duplicate).await
            }
            Err(error) => error.into(),
        }
    }
}

/// The batch that makes an attempt count.
struct Commit {
    changes: Vec<Change>,
    then: Then,
}

/// What is left to do after the batch was applied.
enum Then {
    /// Nothing: it settled the delivery and queued the messages.
    Nothing,
    /// Dispatch these, clear their record if there is one, and settle.
    Dispatch(ItemKey, Vec<Outgoing>),
}

impl Commit {
    fn prepare(
        protocol: &Transactional,
        work: &Work<'_>,
        decision: Decision,
        expect: Expect,
    ) -> Result<Self, StoreError> {
        let now = work.places.clock.now();
        let messages = outgoing(work.endpoint, work.envelope, decision.effects, now);
        let inbox = Change::Put {
            key: inbox_key(work.endpoint, work.envelope),
            value: Bytes::copy_from_slice(work.entity.as_bytes()),
            expect: Expect::Absent,
            keep: Keep::For(protocol.window),
        };
        let state = Change::Put {
            key: work.entity_key(),
            value: decision.state,
            expect,
            keep: Keep::Always,
        };
        if work.places.queue == QueueHome::Inside {
            let receipt = work.receipt.clone();
            let settle = Change::Settle { receipt, settlement: Settlement::Ack };
            let sends = messages.into_iter().map(Change::Enqueue);
            let changes = [settle, inbox, state].into_iter().chain(sends).collect();
            return Ok(Self { changes, then: Then::Nothing });
        }
        work.places.check_sizes(&messages)?;
        let key = outbox_key(work.endpoint, work.envelope);
        let mut changes = vec![inbox, state];
        if !messages.is_empty() {
            changes.push(Change::Put {
                key: key.clone(),
                value: pending::encode(&messages)?.into(),
                // Never revived: the inbox entry beside it keeps late copies out.
                expect: Expect::Absent,
                keep: Keep::Always,
            });
        }
        Ok(Self { changes, then: Then::Dispatch(key, messages) })
    }
}

/// Whether the batch failed because the delivery is no longer ours.
fn lost_lease(work: &Work<'_>, at: &[usize]) -> bool {
    work.places.queue == QueueHome::Inside && at.contains(&SETTLE)
}
