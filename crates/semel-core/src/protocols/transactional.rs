//! `transactional`: state, inbox and effects in one atomic batch.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::{Outcome, Places, Processed, Protocol, Step, Work, message_key, outbox_record};
use crate::broker::{BrokerLimits, Outgoing, SendOutcome, Settlement};
use crate::context::outgoing;
use crate::handler::Decision;
use crate::operator::DeadLetter;
use crate::store::{
    Atomicity, Change, Expect, Item, ItemKey, Keep, Listing, Page, QueueHome, Space, StoreLimits,
    Trouble, Version, WriteOutcome,
};
use crate::{Envelope, Store, StoreError};

/// How many records the finisher looks at in one go.
const FINISH_PAGE: usize = 100;

/// One atomic batch holds the new state, the inbox entry and the effects.
///
/// Where the queue lives in the same store, the batch also settles the delivery and queues the
/// messages sent: all or nothing. Where it lives elsewhere, the batch holds an outbox record, which
/// is dispatched after the commit; a finisher does so for workers that died in between.
///
/// The inbox remembers processed messages for a window. A duplicate that comes later than that is
/// processed again.
///
/// Budget: 1 read, 1 write, whose durable commit is shared by a whole batch of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transactional {
    /// How long a processed message is remembered.
    pub window: Duration,
}

impl Default for Transactional {
    /// Remembers for seven days.
    fn default() -> Self {
        Self { window: Duration::from_secs(7 * 24 * 60 * 60) }
    }
}

#[async_trait]
impl Protocol for Transactional {
    fn name(&self) -> &'static str {
        "transactional"
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
        let entity = match work.places.store.read(&work.entity_key()).await {
            Ok(entity) => entity,
            Err(error) => return error.into(),
        };
        let (state, expect) = match entity {
            Some(item) => (Some(item.value), Expect::Version(item.version)),
            None => (None, Expect::Absent),
        };

        work.begin(Step::RunHandler);
        let decision = match work.handler.run(state, work.context()).await {
            Ok(decision) => decision,
            // A handler may well fail on the state that its own first run left behind.
            Err(failure) => return self.settle_duplicate(work, Outcome::HandlerFailed(failure)).await,
        };

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
                    dispatch_own(work, key, messages, record, Outcome::Processed).await
                }
            },
            WriteOutcome::Conflict(at) if lost_lease(work, &at) => Outcome::LeaseLost,
            WriteOutcome::Conflict(_) => self.settle_duplicate(work, Outcome::Conflict).await,
            WriteOutcome::Refused(error) | WriteOutcome::Unknown(error) => error.into(),
        }
    }

    async fn processed(
        &self,
        endpoint: &str,
        envelope: &Envelope,
        store: &dyn Store,
    ) -> Result<Processed, StoreError> {
        let entry = store.read(&inbox_key(endpoint, envelope)).await?;
        Ok(if entry.is_some() { Processed::Yes } else { Processed::Unknown })
    }

    async fn finish(&self, endpoint: &str, places: Places<'_>) -> Result<usize, StoreError> {
        if places.queue == QueueHome::Inside {
            return Ok(0);
        }
        let after = Some(ItemKey::new(Space::Outbox, endpoint, ""));
        let page = Page { space: Space::Outbox, after, limit: FINISH_PAGE };
        let mut finished = 0;
        for item in places.store.list(&page).await? {
            if item.key.partition != endpoint {
                break;
            }
            let messages = read_outbox(&item)?;
            dispatch(places, messages).await?;
            clear(places.store, item.key, item.version).await?;
            finished += 1;
        }
        Ok(finished)
    }

    async fn discard(&self, dead: &DeadLetter, places: Places<'_>) -> Outcome {
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
        if places.queue == QueueHome::Inside {
            let receipt = dead.receipt.clone();
            changes.push(Change::Settle { receipt, settlement: Settlement::Ack });
        }
        match places.store.write(changes).await {
            WriteOutcome::Applied(_) => {}
            WriteOutcome::Conflict(_) => return Outcome::LeaseLost,
            WriteOutcome::Refused(error) | WriteOutcome::Unknown(error) => return error.into(),
        }
        match places.queue {
            QueueHome::Inside => Outcome::Processed,
            QueueHome::Elsewhere => super::AtLeastOnce.discard(dead, places).await,
        }
    }
}

impl Transactional {
    /// Ends a delivery whose message has a committed attempt, with that attempt's effects out.
    /// `otherwise` is the outcome if it has none.
    async fn settle_duplicate(&self, work: &Work<'_>, otherwise: Outcome) -> Outcome {
        work.begin(Step::CheckInbox);
        let store = work.places.store;
        match self.processed(work.endpoint, work.envelope, store).await {
            Ok(Processed::Yes) => {}
            Ok(Processed::Unknown) => return otherwise,
            Err(error) => return error.into(),
        }
        if work.places.queue == QueueHome::Inside {
            return work.ack(Outcome::Duplicate).await;
        }
        let key = outbox_key(work.endpoint, work.envelope);
        let messages = match store.read(&key).await {
            Ok(None) => return work.ack(Outcome::Duplicate).await,
            Ok(Some(item)) => read_outbox(&item).map(|messages| (messages, item.version)),
            Err(error) => Err(error),
        };
        match messages {
            Ok((messages, version)) => {
                dispatch_own(work, key, messages, Some(version), Outcome::Duplicate).await
            }
            Err(error) => error.into(),
        }
    }
}

/// Where the settlement stands in a batch that has one.
const SETTLE: usize = 0;
/// Where the outbox record stands in a batch that has one.
const OUTBOX: usize = 2;

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
        check_sizes(work, &messages)?;
        let key = outbox_key(work.endpoint, work.envelope);
        let mut changes = vec![inbox, state];
        if !messages.is_empty() {
            changes.push(Change::Put {
                key: key.clone(),
                value: encode_outbox(&key, &messages)?.into(),
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

/// Messages that the broker would refuse must not be committed.
fn check_sizes(work: &Work<'_>, messages: &[Outgoing]) -> Result<(), StoreError> {
    let bytes_max = work.places.broker.limits().message_bytes_max;
    match messages.iter().find(|message| message.envelope.size() > bytes_max) {
        None => Ok(()),
        Some(message) => Err(StoreError {
            trouble: Trouble::TooLarge,
            store: format!("{:?}", work.places.broker),
            operation: "send",
            reason: format!(
                "a `{}` takes {} bytes, the limit is {bytes_max}",
                message.envelope.kind,
                message.envelope.size()
            ),
            help: "Send less in one message.".to_owned(),
        }),
    }
}

async fn dispatch_own(
    work: &Work<'_>,
    key: ItemKey,
    messages: Vec<Outgoing>,
    version: Option<Version>,
    outcome: Outcome,
) -> Outcome {
    work.begin(Step::Dispatch);
    if let Err(error) = dispatch(work.places, messages).await {
        return error.into();
    }
    if let Some(version) = version {
        work.begin(Step::ClearOutbox);
        if let Err(error) = clear(work.places.store, key, version).await {
            return error.into();
        }
    }
    work.ack(outcome).await
}

async fn dispatch(places: Places<'_>, messages: Vec<Outgoing>) -> Result<(), StoreError> {
    if messages.is_empty() {
        return Ok(());
    }
    for sent in places.broker.send(messages).await {
        match sent {
            SendOutcome::Sent => {}
            SendOutcome::Unknown(error) => return Err(error),
            // Committed effects are never given up: wait for the broker's limits to change.
            SendOutcome::Refused(error) => {
                return Err(StoreError { trouble: Trouble::Unavailable, ..error });
            }
        }
    }
    Ok(())
}

async fn clear(store: &dyn Store, key: ItemKey, version: Version) -> Result<(), StoreError> {
    let delete = Change::Delete { key, expect: Expect::Version(version) };
    match store.write(vec![delete]).await {
        // On a conflict someone else dispatched and cleared it.
        WriteOutcome::Applied(_) | WriteOutcome::Conflict(_) => Ok(()),
        WriteOutcome::Refused(error) | WriteOutcome::Unknown(error) => Err(error),
    }
}

fn inbox_key(endpoint: &str, envelope: &Envelope) -> ItemKey {
    ItemKey::new(Space::Inbox, endpoint, message_key(envelope))
}

fn outbox_key(endpoint: &str, envelope: &Envelope) -> ItemKey {
    ItemKey::new(Space::Outbox, endpoint, message_key(envelope))
}

fn encode_outbox(key: &ItemKey, messages: &[Outgoing]) -> Result<Vec<u8>, StoreError> {
    outbox_record::encode(messages).map_err(|error| outbox_error(key, error.to_string()))
}

fn read_outbox(item: &Item) -> Result<Vec<Outgoing>, StoreError> {
    outbox_record::decode(&item.value).map_err(|reason| outbox_error(&item.key, reason))
}

fn outbox_error(key: &ItemKey, reason: String) -> StoreError {
    StoreError {
        trouble: Trouble::Broken,
        store: key.to_string(),
        operation: "read the outbox",
        reason,
        help: "A newer version of Semel wrote it, or someone changed it: repair it by hand.".to_owned(),
    }
}
