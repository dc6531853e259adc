//! `outbox_inbox`: pending effects in the entity, processed ids beside it for a window.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::case::{self, Case, Conclude};
use super::entity::{self, Entity};
use super::pending::Kept;
use super::{Outcome, Parking, Places, Processed, Protocol, Step, WINDOW, Work, inbox_key};
use crate::broker::{BrokerLimits, SettleOutcome};
use crate::operator::DeadLetter;
use crate::store::{Change, Expect, Keep, StoreLimits};
use crate::{Envelope, Store, StoreError};

const NAME: &str = "outbox-inbox";

/// The entity holds the effects of messages in progress; an inbox of its own remembers the rest.
///
/// 1. Read the entity. If effects are pending for the message: go to 5.
/// 2. Only then read the inbox. If it knows the message: settle.
/// 3. Run the handler.
/// 4. Commit state and effects in one write of the entity.
/// 5. Send the effects that are pending, then let the inbox know the message, and only then clear
///    them from the entity: at any time one of the two knows it.
/// 6. Settle.
///
/// The entity does not grow. The inbox remembers for a window; a duplicate that comes later than
/// that is processed again.
///
/// Committed effects wait at most until the message is delivered again, for it is settled only once
/// they are out. Budget: 2 reads, 3 writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutboxInbox {
    /// How long a processed message is remembered.
    pub window: Duration,
}

impl Default for OutboxInbox {
    /// Remembers for seven days.
    fn default() -> Self {
        Self { window: WINDOW }
    }
}

/// What the entity remembers.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Books {
    /// The messages that have a committed attempt and are not in the inbox yet, with its effects.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pending: BTreeMap<String, Vec<Kept>>,
}

impl OutboxInbox {
    async fn attempt(&self, work: &Work<'_>) -> Result<Outcome, Outcome> {
        let case = work.case();
        let mut entity = Entity::<Books>::load(&case, NAME).await?;
        if entity.books.pending.contains_key(&case.message()) {
            self.publish(&case, entity).await?;
            return Ok(work.ack(Outcome::Duplicate).await);
        }
        // After the entity: what was committed before its version is pending there, or was cleared
        // once the inbox knew it.
        if is_remembered(&case).await? {
            return Ok(work.ack(Outcome::Duplicate).await);
        }

        let decision = work.decide(entity.state.clone()).await?;
        let messages = Kept::all(&work.messages(decision.effects)?)?;

        work.begin(Step::CommitState);
        entity.state = Some(decision.state);
        entity.books.pending.insert(case.message(), messages);
        entity.save(&case).await?;

        self.publish(&case, entity).await?;
        Ok(work.ack(Outcome::Processed).await)
    }

    /// Sends what a committed attempt left pending, and moves the message to the inbox.
    async fn publish(&self, case: &Case<'_>, mut entity: Entity<Books>) -> Result<(), Outcome> {
        let Some(messages) = entity.books.pending.remove(&case.message()) else { return Ok(()) };
        case.dispatch(Kept::outgoing(&messages)?).await?;

        case.begin(Step::ClearOutbox);
        self.remember(case).await?;
        entity.save(case).await
    }

    /// Lets the inbox know the message. It says what is true, whenever it lands.
    async fn remember(&self, case: &Case<'_>) -> Result<(), Outcome> {
        let key = inbox_key(case.endpoint, case.envelope);
        let value = case.entity.to_owned().into();
        let keep = Keep::For(self.window);
        case.write(Change::Put { key, value, expect: Expect::Anything, keep }).await.map(drop)
    }
}

async fn is_remembered(case: &Case<'_>) -> Result<bool, StoreError> {
    case.begin(Step::CheckInbox);
    Ok(case.store().read(&inbox_key(case.endpoint, case.envelope)).await?.is_some())
}

#[async_trait]
impl Protocol for OutboxInbox {
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
        let is_pending = |books: &Books, message: &str| books.pending.contains_key(message);
        match entity::processed(endpoint, envelope, entity, store, NAME, is_pending).await? {
            Processed::Yes => Ok(Processed::Yes),
            Processed::Unknown => {
                let entry = store.read(&inbox_key(endpoint, envelope)).await?;
                Ok(if entry.is_some() { Processed::Yes } else { Processed::Unknown })
            }
        }
    }

    async fn park(&self, parking: &Parking<'_>) -> SettleOutcome {
        case::park(self, parking).await
    }

    async fn discard(&self, dead: &DeadLetter, places: Places<'_>) -> Outcome {
        case::discard(self, dead, places).await
    }
}

#[async_trait]
impl Conclude for OutboxInbox {
    async fn conclude(&self, case: &Case<'_>) -> Result<bool, Outcome> {
        let mut entity = Entity::<Books>::load(case, NAME).await?;
        if !entity.books.pending.contains_key(&case.message()) {
            let is_done = is_remembered(case).await?;
            if !is_done {
                entity.save(case).await?;
            }
            return Ok(is_done);
        }
        self.publish(case, entity).await?;
        Ok(true)
    }

    async fn renounce(&self, case: &Case<'_>) -> Result<(), Outcome> {
        self.remember(case).await?;
        // Whoever has looked into the inbox before can no longer commit, or has by now.
        let mut entity = Entity::<Books>::load(case, NAME).await?;
        if entity.books.pending.contains_key(&case.message()) {
            return self.publish(case, entity).await;
        }
        entity.save(case).await
    }
}
