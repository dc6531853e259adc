//! `detached_outbox`: one field of fixed size in the entity, effects and processed ids beside it.

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::case::{self, Case, Conclude};
use super::entity::{Entity, unreadable};
use super::staging::{Left, Record, record_key, write_parts};
use super::{Outcome, Parking, Places, Processed, Protocol, Step, WINDOW, Work, message_key};
use crate::broker::{BrokerLimits, Outgoing, SettleOutcome, Settlement};
use crate::operator::DeadLetter;
use crate::store::{Expect, Keep, StoreLimits, Version, WriteOutcome};
use crate::{Envelope, Store, StoreError, ids};

const NAME: &str = "detached-outbox";

/// The entity keeps one field of fixed size: which attempt on which message was the last. Each message
/// has a record, which holds the effects of its attempts until one of them is done.
///
/// 1. Read the entity. If its field names a message whose record is not done: send the effects of
///    the attempt that it names, and make that record done. If it names ours: settle.
/// 2. Run the handler.
/// 3. Stage the effects under a new attempt: create the message's record, or add to it. If it is
///    done: settle.
/// 4. Commit the state, with the field naming message and attempt.
/// 5. Send the effects, then make the record done: that drops them, and only then begins its window.
/// 6. Settle.
///
/// The field is never cleared, only overwritten, and only after its message is done. So nothing waits
/// in the entity: effects lie in the record as far as they fit into an item, and in parts beside it
/// otherwise. Writes are of one item each; nothing is listed or queried. A duplicate that comes later
/// than the window is processed again. Committed effects wait at most until the message is delivered
/// again, or another one comes for the entity. Budget: 2 reads, 3 writes; two more for each part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DetachedOutbox {
    /// How long a processed message is remembered.
    pub window: Duration,
    /// How long a slow attempt may still write parts after another one was committed. Those are
    /// removed once it has passed; nothing but space depends on it.
    pub lateness: Duration,
}

impl Default for DetachedOutbox {
    /// Remembers for seven days; sweeps after a minute.
    fn default() -> Self {
        Self { window: WINDOW, lateness: Duration::from_secs(60) }
    }
}

/// What the entity remembers.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Books {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last: Option<Last>,
}

/// The attempt that was committed last.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Last {
    message: String,
    attempt: String,
    /// How many were committed, this one included.
    number: u64,
}

impl DetachedOutbox {
    async fn attempt(&self, work: &Work<'_>) -> Result<Outcome, Outcome> {
        let case = work.case();
        let message = case.message();
        let mut entity = Entity::<Books>::load(&case, NAME).await?;
        let last = entity.books.last.clone();
        if let Some(last) = &last {
            let left = self.finish(&case, last).await?;
            if last.message == message {
                return self.settle(work, left, Outcome::Duplicate).await;
            }
        }

        let decision = match work.decide(entity.state.clone()).await {
            Ok(decision) => decision,
            // What has been done need not be possible any more.
            Err(failure) => return self.unless_done(work, failure).await,
        };
        let messages = work.messages(decision.effects)?;

        let attempt = ids::mint(work.places.clock, work.places.entropy).to_string();
        let number = last.map_or(0, |last| last.number);
        let (record, version) = match self.stage(&case, &attempt, number, &messages).await? {
            Stage::Staged(record, version) => (record, version),
            Stage::Done(left) => return self.settle(work, left, Outcome::Duplicate).await,
        };

        work.begin(Step::CommitState);
        entity.state = Some(decision.state);
        let last = Last { message: message.clone(), attempt, number: number + 1 };
        entity.books.last = Some(last.clone());
        entity.save(&case).await?;

        case.dispatch(messages).await?;
        let left = self.end(&case, &last, record, version).await?;
        self.settle(work, left, Outcome::Processed).await
    }

    /// Writes an attempt's effects down, unless the message is done.
    async fn stage(
        &self,
        case: &Case<'_>,
        attempt: &str,
        number: u64,
        messages: &[Outgoing],
    ) -> Result<Stage, Outcome> {
        case.begin(Step::StageEffects);
        let key = record_key(case.endpoint, &case.message());
        let bytes_max = case.store().limits().item_bytes_max;
        let mut record = Record::nothing();
        let mut parts = record.add(attempt, number, messages, bytes_max)?;
        let put = record.to_put(key.clone(), Expect::Absent, Keep::Always)?;
        let version = match case.store().write(vec![put]).await {
            WriteOutcome::Applied(versions) => versions.into_iter().next().flatten(),
            WriteOutcome::Refused(error) | WriteOutcome::Unknown(error) => return Err(error.into()),
            // Another attempt has staged, or is done.
            WriteOutcome::Conflict(_) => {
                let Some(item) = case.store().read(&key).await? else {
                    return Err(Outcome::Conflict);
                };
                record = Record::read(&item)?;
                if let Record::Done { .. } = record {
                    return Ok(Stage::Done(record.sweep(case, &item, self.window).await?));
                }
                parts = record.add(attempt, number, messages, bytes_max)?;
                case.write(record.to_put(key, Expect::Version(item.version), Keep::Always)?).await?
            }
        };
        // Registered: now they may be created.
        write_parts(case, attempt, parts).await?;
        version.map_or(Err(Outcome::Conflict), |version| Ok(Stage::Staged(record, version)))
    }

    /// Sends what the last committed attempt has left, if it has.
    async fn finish(&self, case: &Case<'_>, last: &Last) -> Result<Left, Outcome> {
        case.begin(Step::CheckInbox);
        let key = record_key(case.endpoint, &last.message);
        // It was staged before the field named it: it was done, and its window has passed.
        let Some(item) = case.store().read(&key).await? else { return Ok(Left::Nothing) };
        let record = Record::read(&item)?;
        if let Record::Done { .. } = record {
            let is_ours = last.message == case.message();
            return if is_ours {
                record.sweep(case, &item, self.window).await
            } else {
                Ok(Left::Nothing)
            };
        }
        if !record.has(&last.attempt) {
            // A record keeps the committed attempt until it is done. So it was, its window has passed,
            // and a slow attempt has staged anew.
            return self.end(case, last, record, item.version).await;
        }
        let Some(messages) = record.effects(case, &last.attempt).await? else {
            // Someone finished it and removed its parts at this moment, or someone changed it.
            let now = case.store().read(&key).await?.map(|item| item.version);
            return Err(match now == Some(item.version) {
                true => unreadable(&key, "it lacks the committed attempt".to_owned()).into(),
                false => Outcome::Conflict,
            });
        };
        case.dispatch(messages).await?;
        self.end(case, last, record, item.version).await
    }

    /// Finishes the message of this case, if it was committed last; tells whether it was.
    async fn finish_own(&self, case: &Case<'_>, entity: &Entity<Books>) -> Result<bool, Outcome> {
        let own = entity.books.last.as_ref().filter(|last| last.message == case.message());
        if let Some(last) = own {
            self.finish(case, last).await?;
        }
        Ok(own.is_some())
    }

    /// Records that the effects of the last committed attempt are out.
    async fn end(
        &self,
        case: &Case<'_>,
        last: &Last,
        record: Record,
        version: Version,
    ) -> Result<Left, Outcome> {
        case.begin(Step::ClearOutbox);
        let key = record_key(case.endpoint, &last.message);
        record.end(case, key, version, &last.attempt, (self.window, self.lateness)).await
    }

    /// Settles a delivery, or gives it back to sweep when it comes again.
    async fn settle(
        &self,
        work: &Work<'_>,
        left: Left,
        outcome: Outcome,
    ) -> Result<Outcome, Outcome> {
        Ok(match left {
            Left::Nothing => work.ack(outcome).await,
            Left::Parts(after) => {
                work.settle(Settlement::Release { after }, Outcome::Deferred).await
            }
        })
    }

    /// The outcome of a failure, unless the message is done.
    async fn unless_done(&self, work: &Work<'_>, failure: Outcome) -> Result<Outcome, Outcome> {
        let case = work.case();
        case.begin(Step::CheckInbox);
        let key = record_key(case.endpoint, &case.message());
        let Some(item) = case.store().read(&key).await? else { return Err(failure) };
        let record = Record::read(&item)?;
        let Record::Done { .. } = record else { return Err(failure) };
        let left = record.sweep(&case, &item, self.window).await?;
        self.settle(work, left, Outcome::Duplicate).await
    }
}

/// What staging found.
enum Stage {
    /// The attempt is in this version of the record.
    Staged(Record, Version),
    /// Another attempt on the message is done.
    Done(Left),
}

#[async_trait]
impl Protocol for DetachedOutbox {
    fn name(&self) -> &'static str {
        NAME
    }

    fn check(&self, _: &StoreLimits, _: &BrokerLimits) -> Result<(), String> {
        Ok(())
    }

    async fn process(&self, work: &Work<'_>) -> Outcome {
        self.attempt(work).await.unwrap_or_else(|outcome| outcome)
    }

    async fn processed(
        &self,
        endpoint: &str,
        envelope: &Envelope,
        entity: Option<&str>,
        store: &dyn Store,
    ) -> Result<Processed, StoreError> {
        if let Some(item) = store.read(&record_key(endpoint, &message_key(envelope))).await?
            && let Record::Done { .. } = Record::read(&item)?
        {
            return Ok(Processed::Yes);
        }
        let is_last = |books: &Books, message: &str| {
            books.last.as_ref().is_some_and(|last| last.message == message)
        };
        super::entity::processed(endpoint, envelope, entity, store, NAME, is_last).await
    }

    async fn park(&self, parking: &Parking<'_>) -> SettleOutcome {
        case::park(self, parking).await
    }

    async fn discard(&self, dead: &DeadLetter, places: Places<'_>) -> Outcome {
        case::discard(self, dead, places).await
    }
}

#[async_trait]
impl Conclude for DetachedOutbox {
    async fn conclude(&self, case: &Case<'_>) -> Result<bool, Outcome> {
        let mut entity = Entity::<Books>::load(case, NAME).await?;
        let is_last = self.finish_own(case, &entity).await?;
        let (record, expect) = Record::load(case).await?;
        if is_last || matches!(record, Record::Done { .. }) {
            // The delivery ends here, so nobody would come to sweep.
            record.replace(case, Record::done(), expect, self.window).await?;
            return Ok(true);
        }
        // Whoever has staged can no longer commit.
        entity.save(case).await?;
        // It stays for a while, so that nothing is staged late.
        record.replace(case, Record::nothing(), expect, self.window).await?;
        Ok(false)
    }

    async fn renounce(&self, case: &Case<'_>) -> Result<(), Outcome> {
        let mut entity = Entity::<Books>::load(case, NAME).await?;
        let is_last = self.finish_own(case, &entity).await?;
        let (record, expect) = Record::load(case).await?;
        if !is_last {
            entity.save(case).await?;
        }
        record.replace(case, Record::done(), expect, self.window).await
    }
}
