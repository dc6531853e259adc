//! Messages that wait for their dispatch: written down with the state, sent after the commit.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Outcome, Places, Step, Work};
use crate::broker::{Destination, Outgoing, SendOutcome};
use crate::envelope::json;
use crate::store::{Change, Expect, Item, ItemKey, Trouble, Version, WriteOutcome};
use crate::{Broker, Store, StoreError};

/// Messages that the broker would refuse must not be committed.
pub(super) fn check_sizes(broker: &dyn Broker, messages: &[Outgoing]) -> Result<(), StoreError> {
    let bytes_max = broker.limits().message_bytes_max;
    match messages.iter().find(|message| message.envelope.size() > bytes_max) {
        None => Ok(()),
        Some(message) => Err(StoreError {
            trouble: Trouble::TooLarge,
            store: format!("{broker:?}"),
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

/// Sends what a record holds, and removes it.
pub(super) async fn finish(places: Places<'_>, record: Item) -> Result<(), StoreError> {
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

#[derive(Serialize, Deserialize)]
struct Record {
    /// The endpoint; absent for a message to all subscribers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    delay_ms: u64,
    envelope: Box<RawValue>,
}

/// Writes `messages` as a JSON array, to be kept under `key`.
pub(super) fn encode(key: &ItemKey, messages: &[Outgoing]) -> Result<Vec<u8>, StoreError> {
    let records = messages.iter().map(to_record).collect::<Result<Vec<_>, _>>();
    records
        .and_then(|records| serde_json::to_vec(&records))
        .map_err(|error| unreadable(key, error.to_string()))
}

/// Reads what [`encode`] wrote.
pub(super) fn read(item: &Item) -> Result<Vec<Outgoing>, StoreError> {
    let records: Result<Vec<Record>, _> = serde_json::from_slice(&item.value);
    records
        .map_err(|error| error.to_string())
        .and_then(|records| records.into_iter().map(from_record).collect())
        .map_err(|reason| unreadable(&item.key, reason))
}

fn to_record(message: &Outgoing) -> Result<Record, serde_json::Error> {
    let to = match &message.to {
        Destination::Endpoint(name) => Some(name.clone()),
        Destination::Subscribers => None,
    };
    let delay_ms = u64::try_from(message.delay.as_millis()).unwrap_or(u64::MAX);
    let envelope = serde_json::from_slice(&json::encode(&message.envelope))?;
    Ok(Record { to, delay_ms, envelope })
}

fn from_record(record: Record) -> Result<Outgoing, String> {
    let envelope =
        json::decode(record.envelope.get().as_bytes()).map_err(|error| error.to_string())?;
    Ok(Outgoing {
        to: record.to.map_or(Destination::Subscribers, Destination::Endpoint),
        envelope,
        delay: Duration::from_millis(record.delay_ms),
    })
}

fn unreadable(key: &ItemKey, reason: String) -> StoreError {
    StoreError {
        trouble: Trouble::Broken,
        store: key.to_string(),
        operation: "read the outbox",
        reason,
        help: "A newer version of Semel wrote it, or someone changed it: repair it by hand."
            .to_owned(),
    }
}
