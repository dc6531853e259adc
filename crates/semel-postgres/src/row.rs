//! Envelopes and times as columns.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use semel_core::broker::FailureRecord;
use semel_core::{Envelope, EnvelopeError, Extension, Timestamp};
use serde_json::{Value, json};
use tokio_postgres::Row;
use tokio_postgres::types::FromSql;

/// A hundred years: what waits longer waits for good.
const SPAN_MS_MAX: u128 = 100 * 366 * 24 * 60 * 60 * 1_000;
/// The first and last millisecond that a column can hold as we write it: years 1 to 9999.
const TIMES: (i64, i64) = (-62_135_596_800_000, 253_402_300_799_999);

/// A span in milliseconds, as the statements take it.
pub(crate) fn span_ms(span: Duration) -> i64 {
    span.as_millis().min(SPAN_MS_MAX) as i64
}

/// A time, as the statements take it.
pub(crate) fn write_time(time: Timestamp) -> SystemTime {
    let ms = time.unix_ms().clamp(TIMES.0, TIMES.1);
    let span = Duration::from_millis(ms.unsigned_abs());
    if ms < 0 { SystemTime::UNIX_EPOCH - span } else { SystemTime::UNIX_EPOCH + span }
}

fn read_time(time: SystemTime) -> Timestamp {
    let ms = |span: Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_unix_ms(match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(span) => ms(span),
        Err(error) => -ms(error.duration()),
    })
}

/// What a column holds, or nothing where a person made it something else.
pub(crate) fn get<'r, T: FromSql<'r>>(row: &'r Row, column: usize) -> Option<T> {
    row.try_get::<_, Option<T>>(column).ok().flatten()
}

pub(crate) fn text(row: &Row, column: usize) -> Option<String> {
    get(row, column)
}

pub(crate) fn time(row: &Row, column: usize) -> Option<Timestamp> {
    get(row, column).map(read_time)
}

pub(crate) fn bytes(row: &Row, column: usize) -> Bytes {
    get::<&[u8]>(row, column).map(Bytes::copy_from_slice).unwrap_or_default()
}

pub(crate) fn count(row: &Row, column: usize) -> u32 {
    get::<i32>(row, column).and_then(|count| u32::try_from(count).ok()).unwrap_or_default()
}

pub(crate) fn total(row: &Row, column: usize) -> u64 {
    get::<i64>(row, column).and_then(|count| u64::try_from(count).ok()).unwrap_or_default()
}

/// Reads an envelope from the columns of [`crate::queue::ENVELOPE`] that begin at `first`. A row
/// that a person damaged is no reason to stop: the error dead-letters it.
pub(crate) fn envelope(row: &Row, first: usize) -> Result<Envelope, EnvelopeError> {
    let text = |offset: usize| text(row, first + offset);
    let mut envelope = Envelope::new(
        text(0).unwrap_or_default(),
        text(1).unwrap_or_default(),
        text(2).unwrap_or_default(),
        bytes(row, first + 8),
    );
    envelope.subject = text(3);
    envelope.time = time(row, first + 4);
    envelope.content_type = text(5);
    envelope.schema = text(6);
    if let Some(Value::Object(extensions)) = json(row, first + 7) {
        envelope.extensions =
            extensions.into_iter().map(read_extension).collect::<Result<_, _>>()?;
    }
    envelope.validate().map(|()| envelope)
}

fn json(row: &Row, column: usize) -> Option<Value> {
    get::<Json<'_>>(row, column).and_then(|json| serde_json::from_slice(json.0).ok())
}

/// The bytes of a `jsonb` column as the server sends them.
struct Json<'a>(&'a [u8]);

impl<'a> FromSql<'a> for Json<'a> {
    fn from_sql(
        _: &tokio_postgres::types::Type,
        raw: &'a [u8],
    ) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        match raw {
            // The version of the format comes first.
            [1, json @ ..] => Ok(Self(json)),
            _ => Err("an unknown version of jsonb".into()),
        }
    }

    fn accepts(kind: &tokio_postgres::types::Type) -> bool {
        *kind == tokio_postgres::types::Type::JSONB
    }
}

fn read_extension((name, value): (String, Value)) -> Result<(String, Extension), EnvelopeError> {
    let whole = value.as_i64().and_then(|number| i32::try_from(number).ok());
    let value = match (value, whole) {
        (Value::Bool(value), _) => Extension::Boolean(value),
        (Value::String(value), _) => Extension::Text(value),
        (_, Some(value)) => Extension::Integer(value),
        _ => {
            let expected = "a boolean, a 32-bit integer or a string";
            return Err(EnvelopeError::Value { attribute: name, expected });
        }
    };
    Ok((name, value))
}

/// Extension attributes as a JSON object; `None` for none.
pub(crate) fn write_extensions(envelope: &Envelope) -> Option<String> {
    if envelope.extensions.is_empty() {
        return None;
    }
    let value = |value: &Extension| match value {
        Extension::Boolean(value) => json!(value),
        Extension::Integer(value) => json!(value),
        Extension::Text(value) => json!(value),
    };
    let pairs = envelope.extensions.iter().map(|(name, it)| (name.clone(), value(it)));
    Some(Value::Object(pairs.collect()).to_string())
}

/// The failures kept with a message; unreadable ones become one that says so.
pub(crate) fn failures(row: &Row, column: usize) -> Vec<FailureRecord> {
    match json(row, column) {
        None => Vec::new(),
        Some(Value::Array(values)) => values.iter().map(read_failure).collect(),
        Some(other) => {
            vec![read_failure(&json!({ "reason": format!("unreadable history: {other}") }))]
        }
    }
}

fn read_failure(value: &Value) -> FailureRecord {
    let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
    FailureRecord {
        at: Timestamp::parse(&text("at")).unwrap_or_default(),
        reason: text("reason"),
        worker: text("worker"),
    }
}

/// A failure as JSON.
pub(crate) fn write_failure(failure: &FailureRecord) -> String {
    json!({
        "at": failure.at.to_string(),
        "reason": without_nul(&failure.reason),
        "worker": without_nul(&failure.worker),
    })
    .to_string()
}

/// A text that PostgreSQL can keep: it has no NUL.
pub(crate) fn without_nul(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}
