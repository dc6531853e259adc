//! Envelopes as columns.

use bytes::Bytes;
use rusqlite::Row;
use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use semel_core::broker::FailureRecord;
use semel_core::{Envelope, EnvelopeError, Extension, Timestamp};
use serde_json::json;

/// How many failures are kept with a message.
const FAILURES_MAX: usize = 20;

/// The columns that hold an envelope, in the order of [`read_envelope`].
pub(crate) const ENVELOPE_COLUMNS: &str =
    "message_id, source, type, subject, sent_at, content_type, schema, extensions, data";

/// Bytes as SQLite keeps them: text where they are text, so that people can read them.
pub(crate) struct Readable<'a>(pub(crate) &'a [u8]);

impl rusqlite::ToSql for Readable<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match std::str::from_utf8(self.0) {
            Ok(text) => ValueRef::Text(text.as_bytes()),
            Err(_) => ValueRef::Blob(self.0),
        }))
    }
}

/// The bytes of a column, whether it holds text or a blob.
pub(crate) fn read_bytes(row: &Row<'_>, column: usize) -> rusqlite::Result<Bytes> {
    Ok(match row.get_ref(column)? {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Bytes::copy_from_slice(bytes),
        // A person wrote a number into a column of ours: it is kept as its text.
        ValueRef::Integer(number) => Bytes::from(number.to_string()),
        ValueRef::Real(number) => Bytes::from(number.to_string()),
        ValueRef::Null => Bytes::new(),
    })
}

/// Reads an envelope from the columns that begin at `first`. A row that a person damaged is no
/// reason to stop: the inner error dead-letters it.
pub(crate) fn read_envelope(
    row: &Row<'_>,
    first: usize,
) -> rusqlite::Result<Result<Envelope, EnvelopeError>> {
    let text = |offset: usize| -> rusqlite::Result<Option<String>> {
        Ok(match row.get(first + offset)? {
            Value::Null => None,
            Value::Text(text) => Some(text),
            Value::Integer(number) => Some(number.to_string()),
            Value::Real(number) => Some(number.to_string()),
            Value::Blob(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        })
    };
    let extensions = text(7)?;
    let mut envelope = Envelope::new(
        text(0)?.unwrap_or_default(),
        text(1)?.unwrap_or_default(),
        text(2)?.unwrap_or_default(),
        read_bytes(row, first + 8)?,
    );
    envelope.subject = text(3)?;
    envelope.time =
        row.get::<_, Option<i64>>(first + 4).unwrap_or(None).map(Timestamp::from_unix_ms);
    envelope.content_type = text(5)?;
    envelope.schema = text(6)?;
    if let Some(extensions) = extensions {
        match read_extensions(&extensions) {
            Ok(extensions) => envelope.extensions = extensions,
            Err(error) => return Ok(Err(error)),
        }
    }
    Ok(envelope.validate().map(|()| envelope))
}

/// Extension attributes as a JSON object; `None` for none.
pub(crate) fn write_extensions(envelope: &Envelope) -> Option<String> {
    if envelope.extensions.is_empty() {
        return None;
    }
    let values = envelope.extensions.iter().map(|(name, value)| {
        let value = match value {
            Extension::Boolean(value) => json!(value),
            Extension::Integer(value) => json!(value),
            Extension::Text(value) => json!(value),
        };
        (name.clone(), value)
    });
    Some(serde_json::Value::Object(values.collect()).to_string())
}

fn read_extensions(
    text: &str,
) -> Result<std::collections::BTreeMap<String, Extension>, EnvelopeError> {
    let values: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(text).map_err(|error| EnvelopeError::Json {
            reason: format!("the column `extensions`: {error}"),
        })?;
    let read = |(name, value): (String, serde_json::Value)| {
        let whole = value.as_i64().and_then(|number| i32::try_from(number).ok());
        let value = match (value, whole) {
            (serde_json::Value::Bool(value), _) => Extension::Boolean(value),
            (serde_json::Value::String(value), _) => Extension::Text(value),
            (_, Some(value)) => Extension::Integer(value),
            _ => {
                let expected = "a boolean, a 32-bit integer or a string";
                return Err(EnvelopeError::Value { attribute: name, expected });
            }
        };
        Ok((name, value))
    };
    values.into_iter().map(read).collect()
}

/// The failures kept with a message; unreadable ones become one that says so.
pub(crate) fn read_failures(text: Option<String>) -> Vec<FailureRecord> {
    let Some(text) = text else { return Vec::new() };
    let values: Vec<serde_json::Value> = serde_json::from_str(&text)
        .unwrap_or_else(|_| vec![json!({ "reason": format!("unreadable history: {text}") })]);
    values.iter().map(read_failure).collect()
}

fn read_failure(value: &serde_json::Value) -> FailureRecord {
    let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
    FailureRecord {
        at: Timestamp::parse(&text("at")).unwrap_or_default(),
        reason: text("reason"),
        worker: text("worker"),
    }
}

/// The history with one failure more; the oldest go beyond 20.
pub(crate) fn add_failure(history: Option<String>, failure: &FailureRecord) -> String {
    let mut failures = read_failures(history);
    failures.push(failure.clone());
    let newest = failures.len().saturating_sub(FAILURES_MAX);
    let values = failures[newest..].iter().map(|failure| {
        json!({
            "at": failure.at.to_string(),
            "reason": failure.reason,
            "worker": failure.worker,
        })
    });
    serde_json::Value::Array(values.collect()).to_string()
}
