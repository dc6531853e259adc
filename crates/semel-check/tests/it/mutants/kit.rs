//! What the protocols here share: documents as JSON, messages inside them, steps of one call.
//!
//! A step that ends its attempt is an error, and the error is the outcome.

use std::time::Duration;

use bytes::Bytes;
use semel_core::broker::{Destination, Outgoing, SendOutcome, SettleOutcome, Settlement};
use semel_core::context::outgoing;
use semel_core::envelope::json;
use semel_core::handler::Decision;
use semel_core::operator::DeadLetter;
use semel_core::protocols::{Outcome, Places, Step, Work, message_key};
use semel_core::store::{Change, Expect, Item, ItemKey, Keep, Space, Version, WriteOutcome};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// How long the inboxes here remember.
pub(crate) const WINDOW: Duration = Duration::from_secs(7 * 86_400);

/// A state or an envelope inside a document.
pub(crate) type Raw = Box<RawValue>;

/// A message inside a document.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Kept {
    /// The endpoint that receives it.
    pub(crate) to: String,
    envelope: Raw,
}

impl Kept {
    pub(crate) fn outgoing(&self) -> Outgoing {
        let envelope = json::decode(self.envelope.get().as_bytes()).expect("we wrote it");
        let to = Destination::Endpoint(self.to.clone());
        Outgoing { to, envelope, delay: Duration::ZERO }
    }
}

impl From<Outgoing> for Kept {
    fn from(outgoing: Outgoing) -> Self {
        let Destination::Endpoint(to) = outgoing.to else {
            panic!("nobody publishes in these worlds");
        };
        let envelope = serde_json::from_slice(&json::encode(&outgoing.envelope));
        Self { to, envelope: envelope.expect("envelopes are JSON") }
    }
}

/// The document that an item holds.
pub(crate) fn read<D: DeserializeOwned>(item: &Item) -> D {
    serde_json::from_slice(&item.value).expect("we wrote it")
}

/// Reads the entity's document, and what a write of it expects to find.
pub(crate) async fn load<D: DeserializeOwned + Default>(
    work: &Work<'_>,
) -> Result<(D, Expect), Outcome> {
    work.begin(Step::LoadEntity);
    Ok(match work.places.store.read(&work.entity_key()).await? {
        Some(item) => (read(&item), Expect::Version(item.version)),
        None => (D::default(), Expect::Absent),
    })
}

/// Runs the handler on a state, and gives its messages the ids that every attempt gives them.
pub(crate) async fn decide(
    work: &Work<'_>,
    state: Option<&Raw>,
) -> Result<(Raw, Vec<Kept>), Outcome> {
    work.begin(Step::RunHandler);
    let state = state.map(|state| Bytes::copy_from_slice(state.get().as_bytes()));
    let Decision { state, effects } =
        work.handler.run(state, work.context()).await.map_err(Outcome::HandlerFailed)?;
    let messages = outgoing(work.endpoint, work.envelope, effects, work.places.clock.now());
    let state = serde_json::from_slice(&state).expect("states are JSON");
    Ok((state, messages.into_iter().map(Kept::from).collect()))
}

/// The change that puts a document.
pub(crate) fn to_put(
    key: ItemKey,
    document: &impl Serialize,
    expect: Expect,
    keep: Keep,
) -> Change {
    let value = serde_json::to_vec(document).expect("documents are JSON").into();
    Change::Put { key, value, expect, keep }
}

/// Makes one change; tells what the next one of that item expects to find.
pub(crate) async fn write(places: Places<'_>, change: Change) -> Result<Expect, Outcome> {
    let versions = write_all(places, vec![change]).await?;
    Ok(versions.into_iter().flatten().next().map_or(Expect::Absent, Expect::Version))
}

/// Makes several changes at once; tells the new version of each item.
pub(crate) async fn write_all(
    places: Places<'_>,
    changes: Vec<Change>,
) -> Result<Vec<Option<Version>>, Outcome> {
    match places.store.write(changes).await {
        WriteOutcome::Applied(versions) => Ok(versions),
        WriteOutcome::Conflict(_) => Err(Outcome::Conflict),
        WriteOutcome::Refused(error) | WriteOutcome::Unknown(error) => Err(error.into()),
    }
}

/// Puts the entity's document.
pub(crate) async fn put_entity(
    work: &Work<'_>,
    document: &impl Serialize,
    expect: Expect,
) -> Result<Expect, Outcome> {
    write(work.places, to_put(work.entity_key(), document, expect, Keep::Always)).await
}

/// Sends messages; all of them, or it is to be done again.
pub(crate) async fn send(places: Places<'_>, messages: Vec<Outgoing>) -> Result<(), Outcome> {
    if messages.is_empty() {
        return Ok(());
    }
    for sent in places.broker.send(messages).await {
        match sent {
            SendOutcome::Sent => {}
            SendOutcome::Unknown(error) | SendOutcome::Refused(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Sends messages that were kept.
pub(crate) async fn dispatch(work: &Work<'_>, messages: &[Kept]) -> Result<(), Outcome> {
    work.begin(Step::Dispatch);
    send(work.places, messages.iter().map(Kept::outgoing).collect()).await
}

/// Where the inbox remembers a message.
pub(crate) fn inbox_key(work: &Work<'_>) -> ItemKey {
    ItemKey::new(Space::Inbox, work.endpoint, message_key(work.envelope))
}

/// The change that remembers a message. It says what is true, whenever it lands.
pub(crate) fn to_remember(work: &Work<'_>) -> Change {
    to_put(inbox_key(work), &work.entity, Expect::Anything, Keep::For(WINDOW))
}

/// Removes a dead letter and remembers nothing of it: no world here has a person in it.
pub(crate) async fn discard(dead: &DeadLetter, places: Places<'_>) -> Outcome {
    match places.broker.settle(&dead.receipt, Settlement::Ack).await {
        SettleOutcome::Settled => Outcome::Processed,
        SettleOutcome::Stale => Outcome::LeaseLost,
        SettleOutcome::Unknown(error) => error.into(),
    }
}

/// What a protocol here has to say beside how it processes a delivery; some finish or park in their
/// own way.
macro_rules! protocol {
    ($name:ident = $text:literal $({ $($own:tt)* })?) => {
        #[async_trait::async_trait]
        impl semel_core::protocols::Protocol for $name {
            fn name(&self) -> &'static str {
                $text
            }

            fn check(
                &self,
                _: &semel_core::store::StoreLimits,
                _: &semel_core::broker::BrokerLimits,
            ) -> Result<(), String> {
                Ok(())
            }

            async fn process(&self, work: &Work<'_>) -> Outcome {
                self.attempt(work).await.unwrap_or_else(|outcome| outcome)
            }

            // The entity would tell, but nobody says which one it is.
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
                $crate::mutants::kit::discard(dead, places).await
            }

            $($($own)*)?
        }
    };
}
pub(crate) use protocol;
