//! Envelopes and histories as AMQP properties and headers.
//!
//! Envelopes follow the binary mode of the CloudEvents binding for AMQP, as RabbitMQ shows it to
//! clients of AMQP 0.9.1: attributes are headers `cloudEvents:NAME`, the data is the body.

use std::collections::BTreeMap;

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use semel_core::envelope::{headers, json};
use semel_core::{Envelope, EnvelopeError, Extension, Timestamp};

const PREFIX: &str = "cloudEvents:";
/// What the binding offers to clients whose headers cannot hold a colon.
const OTHER_PREFIX: &str = "cloudEvents_";
/// The structured mode: the body is the whole event.
const STRUCTURED: &str = "application/cloudevents+json";
/// A message that is written down.
const PERSISTENT: u8 = 2;
/// The most bytes of an envelope's headers: with a history they must fit into one frame.
pub(crate) const HEADERS_MAX: usize = 64 * 1024;

/// A message as the server has it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Raw {
    pub(crate) properties: BasicProperties,
    pub(crate) data: Bytes,
}

impl Raw {
    pub(crate) fn headers(&self) -> BTreeMap<ShortString, AMQPValue> {
        let headers = self.properties.headers().as_ref();
        headers.map(|table| table.inner().clone()).unwrap_or_default()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&AMQPValue> {
        self.properties.headers().as_ref()?.inner().get(name)
    }

    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.header(name).and_then(text)
    }

    pub(crate) fn number(&self, name: &str) -> Option<i64> {
        self.header(name).and_then(number)
    }

    /// The same message with other headers, written down.
    pub(crate) fn with_headers(&self, headers: BTreeMap<ShortString, AMQPValue>) -> Self {
        let properties = self.properties.clone().with_delivery_mode(PERSISTENT);
        Self { properties: properties.with_headers(headers.into()), data: self.data.clone() }
    }
}

/// Sets a header. Names are ours and short.
pub(crate) fn set(headers: &mut BTreeMap<ShortString, AMQPValue>, name: &str, value: AMQPValue) {
    if let Ok(name) = ShortString::try_new(name) {
        headers.insert(name, value);
    }
}

pub(crate) fn long_text(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.as_bytes().into())
}

/// An envelope as a message; or why AMQP cannot carry it.
pub(crate) fn encode(envelope: &Envelope) -> Result<Raw, String> {
    let mut table = BTreeMap::new();
    let mut attribute = |name: &str, value: AMQPValue| {
        let header = format!("{PREFIX}{name}");
        let long = |_| format!("the name of an attribute has {} bytes", name.len());
        table.insert(ShortString::try_new(header).map_err(long)?, value);
        Ok::<(), String>(())
    };
    attribute("specversion", long_text("1.0"))?;
    attribute("id", long_text(&envelope.id))?;
    attribute("source", long_text(&envelope.source))?;
    attribute("type", long_text(&envelope.kind))?;
    let time = envelope.time.map(|time| time.to_string());
    let optional =
        [("subject", &envelope.subject), ("time", &time), ("dataschema", &envelope.schema)];
    for (name, value) in optional {
        if let Some(value) = value {
            attribute(name, long_text(value))?;
        }
    }
    for (name, value) in &envelope.extensions {
        attribute(
            name,
            match value {
                Extension::Boolean(value) => AMQPValue::Boolean(*value),
                Extension::Integer(value) => AMQPValue::LongInt(*value),
                Extension::Text(value) => long_text(value),
            },
        )?;
    }
    let bytes = size(&table);
    if bytes > HEADERS_MAX {
        return Err(format!("its attributes take {bytes} bytes as headers, of {HEADERS_MAX}"));
    }
    let mut properties = BasicProperties::default().with_headers(table.into());
    if let Some(content_type) = &envelope.content_type {
        let long = |_| "its content type is longer than 255 bytes".to_owned();
        properties = properties
            .with_content_type(ShortString::try_new(content_type.as_str()).map_err(long)?);
    }
    let properties = properties.with_delivery_mode(PERSISTENT);
    Ok(Raw { properties, data: envelope.data.clone() })
}

/// The envelope of a message, or why it is none.
pub(crate) fn decode(raw: &Raw) -> Result<Envelope, EnvelopeError> {
    let content_type = raw.properties.content_type().as_ref().map(ShortString::as_str);
    if content_type.is_some_and(is_structured) {
        return json::decode(&raw.data);
    }
    let mut values = Vec::new();
    let mut typed = BTreeMap::new();
    for (name, value) in raw.properties.headers().iter().flat_map(FieldTable::inner) {
        let Some(attribute) = attribute_name(name.as_str()) else { continue };
        match value {
            AMQPValue::Boolean(value) => {
                typed.insert(attribute.clone(), Extension::Boolean(*value));
            }
            AMQPValue::Void => continue,
            _ => {}
        }
        if let Some(value) = number(value) {
            let value = i32::try_from(value).map_err(|_| not_a_value(&attribute))?;
            typed.insert(attribute.clone(), Extension::Integer(value));
        }
        let text = match value {
            // The binding lets a sender use AMQP's own type, which counts seconds.
            AMQPValue::Timestamp(seconds) => {
                let ms = i64::try_from(seconds.saturating_mul(1000)).unwrap_or(i64::MAX);
                Some(Timestamp::from_unix_ms(ms).to_string())
            }
            AMQPValue::Boolean(value) => Some(value.to_string()),
            other => number(other).map(|value| value.to_string()).or_else(|| text(other)),
        };
        let text = text.ok_or_else(|| not_a_value(&attribute))?;
        values.push((format!("{PREFIX}{attribute}"), escaped(&text)));
    }
    let content_type = content_type.map(|value| ("content-type", value));
    let pairs = values.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let mut envelope = headers::decode(pairs.chain(content_type), PREFIX, raw.data.clone())?;
    for (name, value) in typed {
        // An attribute that CloudEvents defines stays text, as it defines it.
        if let Some(extension) = envelope.extensions.get_mut(&name) {
            *extension = value;
        }
    }
    Ok(envelope)
}

fn not_a_value(attribute: &str) -> EnvelopeError {
    let expected = "a string in UTF-8, a Boolean, or an integer of 32 bits";
    EnvelopeError::Value { attribute: attribute.to_owned(), expected }
}

fn is_structured(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case(STRUCTURED)
}

/// The attribute that a header carries, if any.
fn attribute_name(header: &str) -> Option<String> {
    [PREFIX, OTHER_PREFIX].into_iter().find_map(|prefix| {
        let (start, name) = header.split_at_checked(prefix.len())?;
        start.eq_ignore_ascii_case(prefix).then(|| name.to_ascii_lowercase())
    })
}

/// Text as the mapping for HTTP reads it: AMQP itself escapes nothing.
fn escaped(text: &str) -> String {
    text.replace('%', "%25").replace('"', "%22")
}

pub(crate) fn text(value: &AMQPValue) -> Option<String> {
    match value {
        AMQPValue::LongString(text) => String::from_utf8(text.as_bytes().to_vec()).ok(),
        AMQPValue::ShortString(text) => Some(text.as_str().to_owned()),
        _ => None,
    }
}

fn number(value: &AMQPValue) -> Option<i64> {
    match value {
        AMQPValue::ShortShortInt(value) => Some(i64::from(*value)),
        AMQPValue::ShortShortUInt(value) => Some(i64::from(*value)),
        AMQPValue::ShortInt(value) => Some(i64::from(*value)),
        AMQPValue::ShortUInt(value) => Some(i64::from(*value)),
        AMQPValue::LongInt(value) => Some(i64::from(*value)),
        AMQPValue::LongUInt(value) => Some(i64::from(*value)),
        AMQPValue::LongLongInt(value) => Some(*value),
        _ => None,
    }
}

/// The bytes that headers take in their frame, or a few more.
pub(crate) fn size(headers: &BTreeMap<ShortString, AMQPValue>) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + 2 + value_size(value)).sum()
}

fn value_size(value: &AMQPValue) -> usize {
    4 + match value {
        AMQPValue::ShortString(text) => text.as_str().len(),
        AMQPValue::LongString(text) => text.len(),
        AMQPValue::ByteArray(bytes) => bytes.len(),
        AMQPValue::FieldArray(values) => values.as_slice().iter().map(|v| 1 + value_size(v)).sum(),
        AMQPValue::FieldTable(table) => size(table.inner()),
        _ => 8,
    }
}

/// Headers as a queue's arguments.
pub(crate) fn arguments<'a>(entries: impl IntoIterator<Item = (&'a str, AMQPValue)>) -> FieldTable {
    let mut table = BTreeMap::new();
    for (name, value) in entries {
        set(&mut table, name, value);
    }
    table.into()
}
