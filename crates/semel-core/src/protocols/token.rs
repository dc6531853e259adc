//! `token`: a message may be processed only while its token exists.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::case::{self, Case, Conclude};
use super::entity::{self, Entity};
use super::grant::{self, Right};
use super::pending::Kept;
use super::{Outcome, Parking, Places, Processed, Protocol, Step, WINDOW, Work};
use crate::broker::{BrokerLimits, Destination, Outgoing, SettleOutcome, Settlement, Subscribers};
use crate::handler::Decision;
use crate::operator::DeadLetter;
use crate::store::StoreLimits;
use crate::{Envelope, Store, StoreError};

pub(super) const NAME: &str = "token";

/// A message may be processed only while its token exists: what is in flight has one, and nothing
/// else does.
///
/// A token belongs to a message and its receiver. It lies with the entity that sent the message, and
/// comes into being with the state that justifies it. A message whose token is gone is a duplicate,
/// whenever it comes: nothing depends on a clock.
///
/// 1. Read the entity. If effects are pending for the message: go to 5.
/// 2. Only then read the token. If it is gone: whoever consumed it may not have sent the effects yet,
///    so read the entity once more. If effects are pending: go to 5. Otherwise: settle.
/// 3. Run the handler.
/// 4. Commit state, effects, and a token for each message among them, in one write of the entity.
/// 5. Consume the message's own token, send the effects, and only then clear them from the entity: at
///    any time the token or the entity tells. (Consumed first, for a reply to the effects may come at
///    once, and would meet the sender's item in change.)
/// 6. Settle.
///
/// A message without a token comes from outside, and is adopted through an inbox that remembers it
/// for a window. What is published goes to each subscriber by itself, as each needs a token of its
/// own. Committed effects wait at most until the message is delivered again, for it is settled only
/// once they are out.
///
/// The entity holds a token for each message that it has sent and that is still in flight. Receivers
/// write to the items of those who sent to them, so all of them share a store. Budget: 2 reads, 3
/// writes, whatever is sent; a duplicate takes 3 reads. Where the sender's item changes meanwhile, one
/// more of each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// The name of the store in which the tokens lie, as sender and receiver know it. A message with
    /// a token of another realm comes from outside.
    pub realm: String,
    /// Endpoints that get no token, because they do not share the store: nobody there would consume
    /// it.
    pub beyond: BTreeSet<String>,
    /// How long a message from outside is remembered.
    pub window: Duration,
}

impl Default for Token {
    /// The realm `semel`, with nobody beyond it; remembers for seven days.
    fn default() -> Self {
        Self { realm: "semel".to_owned(), beyond: BTreeSet::new(), window: WINDOW }
    }
}

/// What the entity remembers.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Books {
    /// The messages that have a committed attempt, with its effects, until those are out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pending: BTreeMap<String, Vec<Kept>>,
    /// The messages that were sent from here and are in flight.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) tokens: BTreeSet<String>,
}

impl Token {
    async fn attempt(&self, work: &Work<'_>) -> Result<Outcome, Outcome> {
        let case = work.case();
        let right = self.right(&case);
        let mut entity = Entity::<Books>::load(&case, NAME).await?;
        if entity.books.pending.contains_key(&case.message()) {
            self.publish(&case, entity, None).await?;
            return Ok(work.settle(Settlement::Ack, Outcome::Duplicate).await);
        }
        // After the entity: what was committed before its version is pending there, or was cleared
        // once the token was gone.
        let Some(sender) = self.proof(&case, &right, &entity).await? else {
            self.publish(&case, Entity::load(&case, NAME).await?, None).await?;
            return Ok(work.settle(Settlement::Ack, Outcome::Duplicate).await);
        };

        let decision = work.decide(entity.state.clone()).await?;
        self.commit(work, &mut entity, decision).await?;

        self.publish(&case, entity, sender).await?;
        Ok(work.settle(Settlement::Ack, Outcome::Processed).await)
    }

    /// Makes an attempt count: its state, its effects, and their tokens.
    async fn commit(
        &self,
        work: &Work<'_>,
        entity: &mut Entity<Books>,
        decision: Decision,
    ) -> Result<(), Outcome> {
        let case = work.case();
        let mut messages = expand(&case, work.messages(decision.effects)?).await?;
        for message in &mut messages {
            let Destination::Endpoint(endpoint) = &message.to else { continue };
            if !self.beyond.contains(endpoint) {
                entity.books.tokens.insert(grant::member(endpoint, &message.envelope));
                grant::mark(&case, &self.realm, message);
            }
        }
        case.places.check_sizes(&messages)?;

        work.begin(Step::CommitState);
        entity.state = Some(decision.state);
        entity.books.pending.insert(case.message(), Kept::all(&messages)?);
        entity.save(&case).await
    }

    /// Sends what a committed attempt left pending, once the message's own token is gone.
    async fn publish(
        &self,
        case: &Case<'_>,
        mut entity: Entity<Books>,
        sender: Option<Entity<Books>>,
    ) -> Result<(), Outcome> {
        let Some(messages) = entity.books.pending.remove(&case.message()) else { return Ok(()) };
        match self.right(case) {
            // A message that the entity has sent to itself.
            Right::Member(key) if key == case.entity_key() => {
                entity.books.tokens.remove(&grant::member(case.endpoint, case.envelope));
            }
            right => right.consume(case, self.window, sender).await?,
        }

        case.dispatch(Kept::outgoing(&messages)?).await?;

        case.begin(Step::ClearOutbox);
        entity.save(case).await
    }

    /// Whether the message may be processed; if so, with the item of another entity that has its
    /// token.
    async fn proof(
        &self,
        case: &Case<'_>,
        right: &Right,
        entity: &Entity<Books>,
    ) -> Result<Option<Option<Entity<Books>>>, StoreError> {
        Ok(match right {
            Right::Member(key) if *key == case.entity_key() => {
                let member = grant::member(case.endpoint, case.envelope);
                entity.books.tokens.contains(&member).then_some(None)
            }
            Right::Member(key) => {
                case.begin(Step::CheckInbox);
                grant::sender(key, case.endpoint, case.envelope, case.store()).await?.map(Some)
            }
            right => right.holds(case).await?.then_some(None),
        })
    }

    fn right(&self, case: &Case<'_>) -> Right {
        Right::of(case.endpoint, case.envelope, &self.realm)
    }
}

/// One message for each receiver: what is published goes to each subscriber by itself.
async fn expand(case: &Case<'_>, messages: Vec<Outgoing>) -> Result<Vec<Outgoing>, StoreError> {
    let mut expanded = Vec::with_capacity(messages.len());
    for message in messages {
        match &message.to {
            Destination::Endpoint(_) => expanded.push(message),
            Destination::Subscribers => {
                let names = case.places.broker.subscribers(&message.envelope.kind).await?;
                let to = |name| Outgoing { to: Destination::Endpoint(name), ..message.clone() };
                expanded.extend(names.into_iter().map(to));
            }
        }
    }
    Ok(expanded)
}

#[async_trait]
impl Protocol for Token {
    fn name(&self) -> &'static str {
        NAME
    }

    fn check(&self, _: &StoreLimits, broker: &BrokerLimits) -> Result<(), String> {
        if broker.subscribers == Subscribers::Unlisted {
            return Err("a broker that tells who subscribes, as each needs a token".to_owned());
        }
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
                let right = Right::of(endpoint, envelope, &self.realm);
                let holds = right.is_there(endpoint, envelope, store).await?;
                Ok(if holds { Processed::Unknown } else { Processed::Yes })
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
impl Conclude for Token {
    async fn conclude(&self, case: &Case<'_>) -> Result<bool, Outcome> {
        let mut entity = Entity::<Books>::load(case, NAME).await?;
        if !entity.books.pending.contains_key(&case.message()) {
            if self.proof(case, &self.right(case), &entity).await?.is_some() {
                entity.save(case).await?;
                return Ok(false);
            }
            entity = Entity::load(case, NAME).await?;
        }
        self.publish(case, entity, None).await?;
        Ok(true)
    }

    async fn renounce(&self, case: &Case<'_>) -> Result<(), Outcome> {
        self.right(case).consume(case, self.window, None).await?;
        // Whoever has seen the token before can no longer commit, or has by now.
        let mut entity = Entity::<Books>::load(case, NAME).await?;
        if entity.books.pending.contains_key(&case.message()) {
            return self.publish(case, entity, None).await;
        }
        entity.save(case).await
    }
}
