//! What the models share: steps of one call. A step that ends its attempt is an error, and the error
//! is the outcome.

use bytes::Bytes;
use semel_core::StoreError;
use semel_core::broker::{Outgoing, SettleOutcome, Settlement};
use semel_core::operator::DeadLetter;
use semel_core::protocols::{Outcome, Places, Step, Work, message_key};
use semel_core::store::{Change, Expect, Item, ItemKey, Keep, Space, Trouble};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The document that an item holds.
pub(super) fn read<D: DeserializeOwned>(item: &Item) -> Result<D, Outcome> {
    serde_json::from_slice(&item.value).map_err(|error| unreadable(&error))
}

/// A document as an item holds it.
pub(super) fn bytes(document: &impl Serialize) -> Result<Bytes, Outcome> {
    serde_json::to_vec(document).map(Bytes::from).map_err(|error| unreadable(&error))
}

pub(super) fn unreadable(error: &dyn std::fmt::Display) -> Outcome {
    Outcome::Broken(trouble(Trouble::Broken, "read a record", error.to_string()))
}

/// Not now: somebody else is at it.
pub(super) fn busy(reason: &str) -> Outcome {
    Outcome::Unavailable(trouble(Trouble::Unavailable, "wait", reason.to_owned()))
}

fn trouble(trouble: Trouble, operation: &'static str, reason: String) -> StoreError {
    let help = "This is a model, not for use.".to_owned();
    StoreError { trouble, store: "model".to_owned(), operation, reason, help }
}

/// Reads the entity, and what a write of it expects to find.
pub(super) async fn load(work: &Work<'_>) -> Result<(Option<Bytes>, Expect), Outcome> {
    work.begin(Step::LoadEntity);
    Ok(match work.places.store.read(&work.entity_key()).await? {
        Some(item) => (Some(item.value), Expect::Version(item.version)),
        None => (None, Expect::Absent),
    })
}

/// Runs the handler; tells the new state, and the messages under the ids that every attempt gives
/// them.
pub(super) async fn decide(
    work: &Work<'_>,
    state: Option<Bytes>,
) -> Result<(Bytes, Vec<Outgoing>), Outcome> {
    let decision = work.decide(state).await?;
    Ok((decision.state, work.messages(decision.effects)?))
}

/// The change that puts the entity.
pub(super) fn to_put_entity(work: &Work<'_>, state: Bytes, expect: Expect) -> Change {
    Change::Put { key: work.entity_key(), value: state, expect, keep: Keep::Always }
}

/// Where a model remembers a message.
pub(super) fn inbox_key(work: &Work<'_>) -> ItemKey {
    ItemKey::new(Space::Inbox, work.endpoint, message_key(work.envelope))
}

/// Which copy of a message a delivery is of. A receipt of the simulated queue names the copy first,
/// and the delivery last.
pub(super) fn copy_of<'a>(work: &'a Work<'_>) -> &'a str {
    let receipt = work.receipt.as_str();
    receipt.rsplit_once('.').map_or(receipt, |(copy, _)| copy)
}

/// Removes a dead letter. None of these originals has a step for it.
pub(super) async fn discard(dead: &DeadLetter, places: Places<'_>) -> Outcome {
    match places.broker.settle(&dead.receipt, Settlement::Ack).await {
        SettleOutcome::Settled => Outcome::Processed,
        SettleOutcome::Stale => Outcome::LeaseLost,
        SettleOutcome::Unknown(error) => error.into(),
    }
}

/// What a model has to say beside how it processes a delivery: its name, what it needs, and, where
/// it has one, how its finisher works.
macro_rules! model {
    ($name:ident = $text:literal, needs $needs:ident $({ $($own:tt)* })?) => {
        #[async_trait::async_trait]
        impl semel_core::protocols::Protocol for $name {
            fn name(&self) -> &'static str {
                $text
            }

            fn check(
                &self,
                store: &semel_core::store::StoreLimits,
                _: &semel_core::broker::BrokerLimits,
            ) -> Result<(), String> {
                $crate::practice::kit::Needs::$needs.check(store)
            }

            async fn process(&self, work: &semel_core::protocols::Work<'_>) -> Outcome {
                self.attempt(work).await.unwrap_or_else(|outcome| outcome)
            }

            async fn processed(
                &self,
                _: &str,
                _: &semel_core::Envelope,
                _: Option<&str>,
                _: &dyn semel_core::Store,
            ) -> Result<semel_core::protocols::Processed, semel_core::StoreError> {
                Ok(semel_core::protocols::Processed::Unknown)
            }

            async fn discard(
                &self,
                dead: &semel_core::operator::DeadLetter,
                places: semel_core::protocols::Places<'_>,
            ) -> Outcome {
                $crate::practice::kit::discard(dead, places).await
            }

            $($($own)*)?
        }
    };
}
pub(super) use model;

/// What a model needs of its store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Needs {
    /// One conditional write at a time.
    Items,
    /// One transaction across several items, and a way to list them.
    Transactions,
    /// The same, with the simulated queue at hand to play a broker that can do more.
    Queue,
}

impl Needs {
    pub(super) fn check(self, store: &semel_core::store::StoreLimits) -> Result<(), String> {
        use semel_core::store::{Atomicity, Listing, QueueHome};
        let is_transactional =
            store.atomicity == Atomicity::Everything && store.listing == Listing::Supported;
        match self {
            Self::Items => Ok(()),
            Self::Transactions if is_transactional => Ok(()),
            Self::Queue if is_transactional && store.queue == QueueHome::Inside => Ok(()),
            Self::Transactions => Err("a store with transactions that can list".to_owned()),
            Self::Queue => Err("a store with transactions that holds the queue".to_owned()),
        }
    }
}
