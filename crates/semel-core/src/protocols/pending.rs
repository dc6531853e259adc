//! Messages that wait for their dispatch: written down with the state, sent after the commit.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Outcome, Places, Step, Work, entity};
use crate::broker::{Destination, Outgoing, SendOutcome};
use crate::envelope::json;
use crate::store::{Change, Expect, Item, ItemKey, Page, Space, Trouble, Version, WriteOutcome};
use crate::{Broker, Store, StoreError};

/// Sends `messages`; all of them, or it is to be done again.
pub(super) async fn dispatch(
    broker: &dyn Broker,
    messages: Vec<Outgoing>,
) -> Result<(), StoreError> {
    if messages.is_empty() {
        return Ok(());
    }
    for sent in broker.send(messages).await {
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

/// Dispatches the messages of a committed attempt, removes their record, and settles.
pub(super) async fn dispatch_own(
    work: &Work<'_>,
    key: ItemKey,
    messages: Vec<Outgoing>,
    version: Option<Version>,
    outcome: Outcome,
) -> Outcome {
    work.begin(Step::Dispatch);
    if let Err(error) = dispatch(work.places.broker, messages).await {
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

/// How many records are looked at in one go.
const FINISH_PAGE: usize = 100;

/// Sends what all records of an endpoint hold, and removes them; tells how many there were.
pub(super) async fn finish_all(endpoint: &str, places: Places<'_>) -> Result<usize, StoreError> {
    let mut after = ItemKey::new(Space::Outbox, endpoint, "");
    let (mut finished, mut trouble) = (0, None);
    loop {
        let page = Page { space: Space::Outbox, after: Some(after), limit: FINISH_PAGE };
        let mut items = places.store.list(&page).await?;
        items.retain(|item| item.key.partition == endpoint);
        let last = items.last().map(|item| item.key.clone());
        for item in items {
            // One that cannot be dispatched holds up no other.
            match finish(places, item).await {
                Ok(()) => finished += 1,
                Err(error) => trouble = trouble.or(Some(error)),
            }
        }
        match last {
            Some(last) => after = last,
            None => return trouble.map_or(Ok(finished), Err),
        }
    }
}

/// Sends what a record holds, and removes it.
async fn finish(places: Places<'_>, record: Item) -> Result<(), StoreError> {
    dispatch(places.broker, read(&record)?).await?;
    clear(places.store, record.key, record.version).await
}

/// Removes the record of what was dispatched.
pub(super) async fn clear(
    store: &dyn Store,
    key: ItemKey,
    version: Version,
) -> Result<(), StoreError> {
    let delete = Change::Delete { key, expect: Expect::Version(version) };
    match store.write(vec![delete]).await {
        // On a conflict someone else dispatched and cleared it.
        WriteOutcome::Applied(_) | WriteOutcome::Conflict(_) => Ok(()),
        WriteOutcome::Refused(error) | WriteOutcome::Unknown(error) => Err(error),
    }
}

/// A message that was written down, inside what a protocol keeps.
///
/// It is written with the state that justifies it, and sent once that is durable.
///
/// ```
/// use std::time::Duration;
/// use semel_core::Envelope;
/// use semel_core::broker::{Destination, Outgoing};
/// use semel_core::protocols::Kept;
///
/// let envelope = Envelope::new("17", "/orders", "order.placed", br#"{"total":3}"#.as_slice());
/// let to = Destination::Endpoint("bills".to_owned());
/// let messages = [Outgoing { to, envelope, delay: Duration::ZERO }];
///
/// let books = serde_json::to_string(&Kept::all(&messages)?)?;
/// let kept: Vec<Kept> = serde_json::from_str(&books)?;
/// assert_eq!(Kept::outgoing(&kept)?, messages);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Kept {
    /// The endpoint; absent for a message to all subscribers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) to: Option<String>,
    #[serde(default, skip_serializing_if = "is_zero")]
    delay_ms: u64,
    envelope: Box<RawValue>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Kept {
    /// Writes messages down.
    ///
    /// # Errors
    /// An envelope cannot be written as JSON.
    pub fn all(messages: &[Outgoing]) -> Result<Vec<Self>, StoreError> {
        messages.iter().map(Self::one).collect()
    }

    fn one(message: &Outgoing) -> Result<Self, StoreError> {
        let to = match &message.to {
            Destination::Endpoint(name) => Some(name.clone()),
            Destination::Subscribers => None,
        };
        let delay_ms = u64::try_from(message.delay.as_millis()).unwrap_or(u64::MAX);
        let envelope = serde_json::from_slice(&json::encode(&message.envelope))
            .map_err(|error| unreadable(error.to_string()))?;
        Ok(Self { to, delay_ms, envelope })
    }

    /// The messages as they were.
    ///
    /// # Errors
    /// One of them was changed, or written by a newer version.
    pub fn outgoing(kept: &[Self]) -> Result<Vec<Outgoing>, StoreError> {
        kept.iter().map(Self::to_outgoing).collect()
    }

    pub(super) fn to_outgoing(&self) -> Result<Outgoing, StoreError> {
        let envelope = json::decode(self.envelope.get().as_bytes())
            .map_err(|error| unreadable(error.to_string()))?;
        let to = self.to.clone().map_or(Destination::Subscribers, Destination::Endpoint);
        Ok(Outgoing { to, envelope, delay: Duration::from_millis(self.delay_ms) })
    }
}

/// Writes `messages` as a JSON array.
pub(super) fn encode(messages: &[Outgoing]) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(&Kept::all(messages)?).map_err(|error| unreadable(error.to_string()))
}

/// Reads what [`encode`] wrote.
pub(super) fn read(item: &Item) -> Result<Vec<Outgoing>, StoreError> {
    let kept: Vec<Kept> = serde_json::from_slice(&item.value)
        .map_err(|error| entity::unreadable(&item.key, error.to_string()))?;
    Kept::outgoing(&kept)
}

fn unreadable(reason: String) -> StoreError {
    StoreError {
        trouble: Trouble::Broken,
        store: "a message that waits for its dispatch".to_owned(),
        operation: "read or write it",
        reason,
        help: "A newer version of Semel wrote it, or someone changed it: repair it by hand."
            .to_owned(),
    }
}
