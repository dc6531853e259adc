//! `outbox`: state, processed ids and pending effects in one item of the entity.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::case::{self, Case, Conclude};
use super::entity::{self, Entity};
use super::pending::Kept;
use super::{Outcome, Parking, Places, Processed, Protocol, Step, Work};
use crate::broker::{BrokerLimits, SettleOutcome};
use crate::operator::DeadLetter;
use crate::store::StoreLimits;
use crate::{Envelope, Store, StoreError};

const NAME: &str = "outbox";

/// One conditional write holds the new state, the message's id and its effects.
///
/// 1. Read the entity. If it knows the message: go to 4.
/// 2. Run the handler.
/// 3. Commit state, id and effects in one write of the entity.
/// 4. Send the effects that are pending for the message, then clear them from the entity.
/// 5. Settle.
///
/// Any store will do that has a conditional write. The ids are kept for good, so that a duplicate is
/// recognised at any time, and the entity grows by each message: for entities of few messages.
///
/// Committed effects wait at most until the message is delivered again, for it is settled only once
/// they are out. Budget: 1 read, 2 writes; 1 write for a message without effects.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outbox;

/// What the entity remembers.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Books {
    /// The messages that were processed.
    done: BTreeSet<String>,
    /// Effects that may not be out yet, by message.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pending: BTreeMap<String, Vec<Kept>>,
}

impl Outbox {
    async fn attempt(&self, work: &Work<'_>) -> Result<Outcome, Outcome> {
        let case = work.case();
        let mut entity = Entity::<Books>::load(&case, NAME).await?;
        if entity.books.done.contains(&case.message()) {
            publish(&case, entity).await?;
            return Ok(work.ack(Outcome::Duplicate).await);
        }

        let decision = work.decide(entity.state.clone()).await?;
        let messages = Kept::all(&work.messages(decision.effects)?)?;

        work.begin(Step::CommitState);
        entity.state = Some(decision.state);
        entity.books.done.insert(case.message());
        if !messages.is_empty() {
            entity.books.pending.insert(case.message(), messages);
        }
        entity.save(&case).await?;

        publish(&case, entity).await?;
        Ok(work.ack(Outcome::Processed).await)
    }
}

/// Sends what a committed attempt left pending.
async fn publish(case: &Case<'_>, mut entity: Entity<Books>) -> Result<(), Outcome> {
    let Some(messages) = entity.books.pending.remove(&case.message()) else { return Ok(()) };
    case.dispatch(Kept::outgoing(&messages)?).await?;

    case.begin(Step::ClearOutbox);
    entity.save(case).await
}

#[async_trait]
impl Protocol for Outbox {
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
        let is_done = |books: &Books, message: &str| books.done.contains(message);
        entity::processed(endpoint, envelope, entity, store, NAME, is_done).await
    }

    async fn park(&self, parking: &Parking<'_>) -> SettleOutcome {
        case::park(self, parking).await
    }

    async fn discard(&self, dead: &DeadLetter, places: Places<'_>) -> Outcome {
        case::discard(self, dead, places).await
    }
}

#[async_trait]
impl Conclude for Outbox {
    async fn conclude(&self, case: &Case<'_>) -> Result<bool, Outcome> {
        let mut entity = Entity::<Books>::load(case, NAME).await?;
        if !entity.books.done.contains(&case.message()) {
            entity.save(case).await?;
            return Ok(false);
        }
        publish(case, entity).await?;
        Ok(true)
    }

    async fn renounce(&self, case: &Case<'_>) -> Result<(), Outcome> {
        let mut entity = Entity::<Books>::load(case, NAME).await?;
        if entity.books.done.insert(case.message()) {
            return entity.save(case).await;
        }
        publish(case, entity).await
    }
}
