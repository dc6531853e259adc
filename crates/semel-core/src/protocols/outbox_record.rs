//! How messages that wait for their dispatch are written down.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::broker::{Destination, Outgoing};
use crate::envelope::json;

#[derive(Serialize, Deserialize)]
struct Record {
    /// The endpoint; absent for a message to all subscribers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    delay_ms: u64,
    envelope: Box<RawValue>,
}

/// Writes `messages` as a JSON array.
pub(super) fn encode(messages: &[Outgoing]) -> Result<Vec<u8>, serde_json::Error> {
    let records = messages.iter().map(to_record).collect::<Result<Vec<_>, _>>()?;
    serde_json::to_vec(&records)
}

/// Reads what [`encode`] wrote.
pub(super) fn decode(bytes: &[u8]) -> Result<Vec<Outgoing>, String> {
    let records: Vec<Record> = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    records.into_iter().map(from_record).collect()
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
