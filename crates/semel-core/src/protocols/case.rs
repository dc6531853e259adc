//! What attempting, parking and discarding a message have in common.

use async_trait::async_trait;

use super::grant::Right;
use super::{Outcome, Parking, Places, Step, WINDOW, message_key, pending};
use crate::broker::{Outgoing, SettleOutcome, Settlement};
use crate::operator::DeadLetter;
use crate::store::{Change, ItemKey, Space, Trouble, Version};
use crate::{Envelope, Store, StoreError};

/// A message at its receiver, with the entity it is for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case<'a> {
    pub(super) endpoint: &'a str,
    pub(super) envelope: &'a Envelope,
    pub(super) entity: &'a str,
    pub(super) places: Places<'a>,
}

impl<'a> Case<'a> {
    /// The case of a delivery to park; none where nobody can tell the entity.
    pub(super) fn of_parking(parking: &Parking<'a>) -> Option<Self> {
        let Parking { endpoint, envelope, entity, places, .. } = *parking;
        Some(Self { endpoint, envelope: envelope?, entity: entity?, places })
    }

    /// The case of a dead letter; none where nobody could tell the entity.
    fn of_dead(dead: &'a DeadLetter, places: Places<'a>) -> Option<Self> {
        let (envelope, entity) = (dead.envelope.as_ref().ok()?, dead.entity.as_deref()?);
        Some(Self { endpoint: &dead.endpoint, envelope, entity, places })
    }

    /// The identity of the message for its receiver.
    pub(super) fn message(&self) -> String {
        message_key(self.envelope)
    }

    /// The entity's place in the store.
    pub(super) fn entity_key(&self) -> ItemKey {
        ItemKey::new(Space::Entity, self.endpoint, self.entity)
    }

    pub(super) fn store(&self) -> &'a dyn Store {
        self.places.store
    }

    /// Marks the beginning of a step in the trace.
    pub(super) fn begin(&self, step: Step) {
        tracing::trace!(
            target: "semel::step",
            step = ?step,
            endpoint = self.endpoint,
            message = self.envelope.id,
            entity = self.entity,
        );
    }

    /// Makes one change; tells the version it left.
    pub(super) async fn write(&self, change: Change) -> Result<Option<Version>, Outcome> {
        let versions = self.places.write(vec![change]).await?;
        Ok(versions.into_iter().next().flatten())
    }

    /// Sends messages of a committed attempt; all of them, or it is to be done again.
    pub(super) async fn dispatch(&self, messages: Vec<Outgoing>) -> Result<(), Outcome> {
        self.begin(Step::Dispatch);
        Ok(pending::dispatch(self.places.broker, messages).await?)
    }

    /// Consumes the token of a message that has one, at a receiver that has no other use for it.
    pub(super) async fn drop_token(&self) -> Result<(), Outcome> {
        match Right::by_token(self.endpoint, self.envelope, None) {
            Some(right) => right.consume(self, WINDOW, None).await,
            None => Ok(()),
        }
    }
}

/// A protocol that can tell by an entity whether a message has a committed attempt.
#[async_trait]
pub(super) trait Conclude: Sync {
    /// Whether the message has a committed attempt. If so, its effects are out now. If not, no attempt
    /// that has begun can be committed any more: the entity has another version.
    async fn conclude(&self, case: &Case<'_>) -> Result<bool, Outcome>;

    /// Records the message as processed, with no change and no effect, unless an attempt has been
    /// committed by now: then its effects are out. No attempt that began before can be committed after
    /// it.
    async fn renounce(&self, case: &Case<'_>) -> Result<(), Outcome>;
}

/// Parks a delivery, unless its message has a committed attempt: that is finished, and settled.
pub(super) async fn park(protocol: &impl Conclude, parking: &Parking<'_>) -> SettleOutcome {
    let committed = match Case::of_parking(parking) {
        Some(case) => protocol.conclude(&case).await,
        None => Ok(false),
    };
    let Parking { endpoint, envelope, places, .. } = *parking;
    let settlement = match committed {
        Ok(true) => drop_token(endpoint, envelope, places).await.map(|()| Settlement::Ack),
        Ok(false) => Ok(parking.dead_letter()),
        Err(outcome) => Err(outcome),
    };
    match settlement {
        Ok(settlement) => places.broker.settle(parking.receipt, settlement).await,
        Err(outcome) => SettleOutcome::Unknown(into_error(outcome)),
    }
}

/// Removes a dead letter for good: its committed attempt is finished, or else it counts as processed
/// from now on.
pub(super) async fn discard(
    protocol: &impl Conclude,
    dead: &DeadLetter,
    places: Places<'_>,
) -> Outcome {
    if let Some(case) = Case::of_dead(dead, places)
        && let Err(outcome) = protocol.renounce(&case).await
    {
        return into_error(outcome).into();
    }
    match remove(dead, places).await {
        // Whoever replayed it meanwhile replays what counts as processed.
        Outcome::LeaseLost => Outcome::Processed,
        outcome => outcome,
    }
}

/// Removes a dead letter and its token, and remembers nothing of it.
pub(super) async fn remove(dead: &DeadLetter, places: Places<'_>) -> Outcome {
    if let Err(outcome) = drop_token(&dead.endpoint, dead.envelope.as_ref().ok(), places).await {
        return outcome;
    }
    match places.broker.settle(&dead.receipt, Settlement::Ack).await {
        SettleOutcome::Settled => Outcome::Processed,
        SettleOutcome::Stale => Outcome::LeaseLost,
        SettleOutcome::Unknown(error) => error.into(),
    }
}

/// Consumes the token of a message that is settled without being processed: it may be the last copy,
/// and nobody else would.
pub(super) async fn drop_token(
    endpoint: &str,
    envelope: Option<&Envelope>,
    places: Places<'_>,
) -> Result<(), Outcome> {
    let Some(envelope) = envelope else { return Ok(()) };
    Case { endpoint, envelope, entity: "", places }.drop_token().await
}

/// Why something that has to be durable is not, or not surely.
pub(super) fn into_error(outcome: Outcome) -> StoreError {
    match outcome {
        Outcome::Refused(error) | Outcome::Unavailable(error) | Outcome::Broken(error) => error,
        _ => StoreError {
            trouble: Trouble::Unavailable,
            store: "the entity's item".to_owned(),
            operation: "write",
            reason: "another attempt changed it meanwhile".to_owned(),
            help: "It is tried again.".to_owned(),
        },
    }
}
