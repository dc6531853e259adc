//! The SDK of CloudEvents as an independent reader and writer.
//!
//! It judges the JSON format in both directions, and in the binary mode the names, the canonical
//! text of the values and the body. It does not percent-encode: that part is held to the examples
//! of the specification alone.

use std::collections::BTreeMap;

use bytes::Bytes;
use cloudevents::event::{Data, ExtensionValue, SpecVersion, TryIntoTime, TryIntoUrl};
use cloudevents::message::{BinaryDeserializer, BinarySerializer, MessageAttributeValue, Result};
use cloudevents::{AttributesReader, AttributesWriter, Event, EventBuilder, EventBuilderV10};
use proptest::prelude::*;
use semel_core::envelope::{headers, json};
use semel_core::{Envelope, Extension, Timestamp};
use serde_json::Value;

use super::{PLAIN, TEXT, envelopes};

/// What `envelope` is to the SDK, with `data` as its data.
fn event(envelope: &Envelope, data: Option<Data>) -> Event {
    let builder = EventBuilderV10::new().id(&envelope.id).source(&envelope.source);
    let mut event = builder.ty(&envelope.kind).build().unwrap();
    event.set_subject(envelope.subject.clone());
    event.set_time(envelope.time.map(|time| time.to_string().into_time().unwrap()));
    event.set_datacontenttype(envelope.content_type.clone());
    event.set_dataschema(envelope.schema.as_deref().map(|schema| schema.into_url().unwrap()));
    for (name, value) in &envelope.extensions {
        event.set_extension(name, extension(value));
    }
    if let Some(data) = data {
        event.set_data_unchecked(data);
    }
    event
}

fn extension(value: &Extension) -> ExtensionValue {
    match value {
        Extension::Boolean(value) => ExtensionValue::Boolean(*value),
        Extension::Integer(value) => ExtensionValue::Integer(i64::from(*value)),
        Extension::Text(value) => ExtensionValue::String(value.clone()),
    }
}

/// How the SDK holds the data of `envelope` once it has read it.
fn data(envelope: &Envelope) -> Option<Data> {
    if envelope.data.is_empty() {
        return None;
    }
    let bytes = envelope.data.to_vec();
    let is_text = envelope.content_type.as_deref() != Some("text/plain; charset=iso-8859-1");
    Some(match std::str::from_utf8(&bytes) {
        _ if envelope.holds_json() => match serde_json::from_slice::<Value>(&bytes) {
            Ok(value) => Data::Json(value),
            Err(_) => Data::Binary(bytes),
        },
        Ok(text) if is_text => Data::String(text.to_owned()),
        _ => Data::Binary(bytes),
    })
}

/// The attributes as text, but for the time, which the SDK writes in another form.
fn attributes(event: &Event) -> BTreeMap<String, String> {
    let all = event.iter().map(|(name, value)| (name.to_owned(), value.to_string()));
    all.filter(|(name, _)| name != "time").collect()
}

fn milliseconds(event: &Event) -> Option<i64> {
    Some(event.time()?.timestamp_millis())
}

proptest! {
    #[test]
    fn the_oracle_reads_the_json_that_we_write(envelope in envelopes(TEXT)) {
        let read: Event = serde_json::from_slice(&json::encode(&envelope)).unwrap();
        prop_assert_eq!(read, event(&envelope, data(&envelope)));
    }

    #[test]
    fn we_read_the_json_that_the_oracle_writes(envelope in envelopes(TEXT)) {
        let data = data(&envelope);
        let written = serde_json::to_vec(&event(&envelope, data.clone())).unwrap();
        let read = json::decode(&written).unwrap();
        let expected = match data {
            Some(Data::Json(value)) => Envelope { data: value.to_string().into(), ..envelope },
            _ => envelope,
        };
        prop_assert_eq!(&read.data, &expected.data);
        prop_assert_eq!(read, expected);
    }

    #[test]
    fn the_oracle_reads_the_headers_that_we_write(mut envelope in envelopes(PLAIN)) {
        let message = Message {
            headers: headers::encode(&envelope, "ce-"),
            body: envelope.data.to_vec(),
        };
        let read = BinaryDeserializer::into_event(message).unwrap();
        if !envelope.data.is_empty() {
            envelope.content_type.get_or_insert_with(|| "application/json".to_owned());
        }
        prop_assert_eq!(attributes(&read), attributes(&event(&envelope, None)));
        prop_assert_eq!(milliseconds(&read), envelope.time.map(Timestamp::unix_ms));
        prop_assert_eq!(read.data(), Some(&Data::Binary(envelope.data.to_vec())));
    }

    #[test]
    fn we_read_the_headers_that_the_oracle_writes(mut envelope in envelopes(PLAIN)) {
        let event = event(&envelope, Some(Data::Binary(envelope.data.to_vec())));
        let message = event.deserialize_binary(Message::default()).unwrap();
        let pairs = message.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let read = headers::decode(pairs, "ce-", Bytes::from(message.body)).unwrap();
        for value in envelope.extensions.values_mut() {
            *value = Extension::Text(value.to_string());
        }
        prop_assert_eq!(read, envelope);
    }
}

/// A message in the binary mode, as the SDK asks its transports to carry it.
#[derive(Default)]
struct Message {
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl BinaryDeserializer for Message {
    fn deserialize_binary<R: Sized, V: BinarySerializer<R>>(self, mut visitor: V) -> Result<R> {
        visitor = visitor.set_spec_version(SpecVersion::V10)?;
        for (header, value) in self.headers {
            let value = MessageAttributeValue::String(value);
            visitor = match header.strip_prefix("ce-") {
                None => visitor.set_attribute("datacontenttype", value)?,
                Some("specversion") => visitor,
                Some(name) if name.starts_with('x') => visitor.set_extension(name, value)?,
                Some(name) => visitor.set_attribute(name, value)?,
            };
        }
        visitor.end_with_data(self.body)
    }
}

impl Message {
    fn with(mut self, header: String, value: String) -> Result<Self> {
        self.headers.push((header, value));
        Ok(self)
    }
}

impl BinarySerializer<Self> for Message {
    fn set_spec_version(self, version: SpecVersion) -> Result<Self> {
        self.with("ce-specversion".to_owned(), version.to_string())
    }

    fn set_attribute(self, name: &str, value: MessageAttributeValue) -> Result<Self> {
        let header = match name {
            "datacontenttype" => "Content-Type".to_owned(),
            name => format!("ce-{name}"),
        };
        self.with(header, value.to_string())
    }

    fn set_extension(self, name: &str, value: MessageAttributeValue) -> Result<Self> {
        self.with(format!("ce-{name}"), value.to_string())
    }

    fn end_with_data(mut self, bytes: Vec<u8>) -> Result<Self> {
        self.body = bytes;
        Ok(self)
    }

    fn end(self) -> Result<Self> {
        Ok(self)
    }
}
