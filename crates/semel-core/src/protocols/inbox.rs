//! `inbox`: the ids of processed messages in the entity, and effects with derived ids.

use std::collections::BTreeSet;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::case::{self, Case, Conclude};
use super::entity::Entity;
use super::{Outcome, Parking, Places, Processed, Protocol, Step, Work};
use crate::broker::{BrokerLimits, SettleOutcome};
use crate::operator::DeadLetter;
use crate::store::StoreLimits;
use crate::{Envelope, Property, Store, StoreError};

const NAME: &str = "inbox";

/// Identity-based deduplication as it is usually built: the entity knows which messages it has seen.
///
/// 1. Read the entity and run the handler on its state.
/// 2. Unless the entity knows the message, commit the new state with the message's id.
/// 3. Send the effects, and settle.
///
/// The effects of a first attempt that died after its commit are decided a second time, on a later
/// state. Their ids are derived from the message and their position, so nobody handles one twice, but
/// they need not be those of the attempt whose state counts: it does *not* promise
/// `ConsistentStateAndEffects`, `AtMostOneEffect` or `NoLostEffects`. It is enough where effects
/// depend on nothing but the message. They wait at most until the message is delivered again.
///
/// The ids are kept for good, so the entity grows by each message. Budget: 1 read, 1 write.
#[derive(Clone, Copy, Debug, Default)]
pub struct Inbox;

/// What the entity remembers.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Books {
    /// The messages that were processed.
    done: BTreeSet<String>,
}

impl Inbox {
    async fn attempt(&self, work: &Work<'_>) -> Result<Outcome, Outcome> {
        let case = work.case();
        let mut entity = Entity::<Books>::load(&case, NAME).await?;
        let decision = work.decide(entity.state.clone()).await?;
        let messages = work.messages(decision.effects)?;

        let is_new = entity.books.done.insert(case.message());
        if is_new {
            work.begin(Step::CommitState);
            entity.state = Some(decision.state);
            entity.save(&case).await?;
        }

        case.dispatch(messages).await?;
        Ok(work.ack(if is_new { Outcome::Processed } else { Outcome::Duplicate }).await)
    }
}

#[async_trait]
impl Protocol for Inbox {
    fn name(&self) -> &'static str {
        NAME
    }

    fn check(&self, _: &StoreLimits, _: &BrokerLimits) -> Result<(), String> {
        Ok(())
    }

    fn promises(&self) -> &'static [Property] {
        &[Property::AtMostOneStateChange, Property::NoLostMessages, Property::NoGarbage]
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
        super::entity::processed(endpoint, envelope, entity, store, NAME, is_done).await
    }

    async fn park(&self, parking: &Parking<'_>) -> SettleOutcome {
        case::park(self, parking).await
    }

    async fn discard(&self, dead: &DeadLetter, places: Places<'_>) -> Outcome {
        case::discard(self, dead, places).await
    }
}

#[async_trait]
impl Conclude for Inbox {
    /// Its effects may be lost: only a handler could tell what they were.
    async fn conclude(&self, case: &Case<'_>) -> Result<bool, Outcome> {
        let mut entity = Entity::<Books>::load(case, NAME).await?;
        let is_done = entity.books.done.contains(&case.message());
        if !is_done {
            entity.save(case).await?;
        }
        Ok(is_done)
    }

    async fn renounce(&self, case: &Case<'_>) -> Result<(), Outcome> {
        let mut entity = Entity::<Books>::load(case, NAME).await?;
        entity.books.done.insert(case.message());
        entity.save(case).await
    }
}
