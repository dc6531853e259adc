//! Envelopes as columns.

use bytes::Bytes;
use rusqlite::Row;
use rusqlite::types::{ToSqlOutput, ValueRef};
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

/// The text of a column, whatever a person wrote into it.
pub(crate) fn read_text(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<String>> {
    if row.get_ref(column)? == ValueRef::Null {
        return Ok(None);
    }
    Ok(Some(String::from_utf8_lossy(&read_bytes(row, column)?).into_owned()))
}

/// A count, as near as can be to what a person wrote into its column.
pub(crate) fn read_count(row: &Row<'_>, column: usize) -> rusqlite::Result<u32> {
    Ok(match row.get_ref(column)? {
        ValueRef::Integer(number) => u32::try_from(number.max(0)).unwrap_or(u32::MAX),
        // Counted up beyond 64 bits.
        ValueRef::Real(number) => number as u32,
        ValueRef::Null | ValueRef::Text(_) | ValueRef::Blob(_) => 0,
    })
}

/// A time, if the column holds one.
pub(crate) fn read_time(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Timestamp>> {
    Ok(match row.get_ref(column)? {
        ValueRef::Integer(ms) => Some(Timestamp::from_unix_ms(ms)),
        _ => None,
    })
}

/// Reads an envelope from the columns that begin at `first`. A row that a person damaged is no
/// reason to stop: the inner error dead-letters it.
pub(crate) fn read_envelope(
    row: &Row<'_>,
    first: usize,
) -> rusqlite::Result<Result<Envelope, EnvelopeError>> {
    let text = |offset: usize| read_text(row, first + offset);
    let extensions = text(7)?;
    let mut envelope = Envelope::new(
        text(0)?.unwrap_or_default(),
        text(1)?.unwrap_or_default(),
        text(2)?.unwrap_or_default(),
        read_bytes(row, first + 8)?,
    );
    envelope.subject = text(3)?;
    envelope.time = read_time(row, first + 4)?;
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
    let value = |value: &Extension| match value {
        Extension::Boolean(value) => value.to_string(),
        Extension::Integer(value) => value.to_string(),
        Extension::Text(value) => json!(value).to_string(),
    };
    // Names are lower-case letters and digits: nothing to escape.
    let pairs = envelope.extensions.iter().map(|(name, v)| format!("\"{name}\":{}", value(v)));
    Some(format!("{{{}}}", pairs.collect::<Vec<_>>().join(",")))
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
