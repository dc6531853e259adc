//! The structured JSON format of an envelope: attributes and data in one object.
//!
//! It follows the [JSON event format 1.0.2][spec]. The data always comes back byte for byte:
//!
//! | content type | data | goes as |
//! |---|---|---|
//! | JSON, or absent | one JSON value, with no white space around it | `data`, untouched |
//! | other, in UTF-8 | UTF-8 text | `data`, as a JSON string |
//! | any | anything else | `data_base64` |
//!
//! [spec]: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::attributes::{self, Attributes};
use super::{Envelope, EnvelopeError, Extension};

/// Writes `envelope` as a JSON object.
///
/// The envelope should be [valid](Envelope::validate): [`decode`] refuses what is not.
pub fn encode(envelope: &Envelope) -> Vec<u8> {
    let mut object = Object::default();
    for (name, value) in attributes::defined(envelope) {
        object.member(name, &quoted(&value));
    }
    if let Some(content_type) = &envelope.content_type {
        object.member("datacontenttype", &quoted(content_type));
    }
    for (name, value) in &envelope.extensions {
        match value {
            Extension::Text(text) => object.member(name, &quoted(text)),
            bare => object.member(name, &bare.to_string()),
        }
    }
    if !envelope.data.is_empty() {
        match data_member(envelope) {
            Some(json) => object.member("data", &json),
            None => object.member("data_base64", &quoted(&BASE64.encode(&envelope.data))),
        }
    }
    object.finish()
}

/// Reads an envelope from a JSON object.
///
/// Attributes that CloudEvents does not define become extensions; those that are `null` count as
/// absent. Under a content type that is not JSON, a `data` string is the text, in UTF-8.
pub fn decode(json: &[u8]) -> Result<Envelope, EnvelopeError> {
    let mut members = members(json)?;
    let version = members.remove("specversion").map(|raw| value("specversion", raw));
    let mut attributes = Attributes::of_version(version.transpose()?.flatten())?;
    let data = members.remove("data");
    let data_base64 = members.remove("data_base64");
    for (name, raw) in members {
        if let Some(value) = value(&name, raw)? {
            attributes.insert(name, value);
        }
    }
    let mut envelope = attributes.into_envelope(Bytes::new())?;
    envelope.data = read_data(envelope.holds_json(), data, data_base64)?;
    Ok(envelope)
}

/// A JSON object under construction.
#[derive(Default)]
struct Object(String);

impl Object {
    /// Appends a member whose `value` is JSON already.
    fn member(&mut self, name: &str, value: &str) {
        self.0.push(if self.0.is_empty() { '{' } else { ',' });
        self.0.push_str(&quoted(name));
        self.0.push(':');
        self.0.push_str(value);
    }

    fn finish(mut self) -> Vec<u8> {
        self.0.push('}');
        self.0.into_bytes()
    }
}

/// `text` as a JSON string.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The `data` member, if the data can go there without loss.
fn data_member(envelope: &Envelope) -> Option<String> {
    let text = std::str::from_utf8(&envelope.data).ok()?;
    match &envelope.content_type {
        Some(other) if !envelope.holds_json() => is_in_utf8(other).then(|| quoted(text)),
        _ => is_bare_json(text).then(|| text.to_owned()),
    }
}

/// Whether `text` is one JSON value and nothing else: white space around it would get lost.
fn is_bare_json(text: &str) -> bool {
    serde_json::from_str::<&RawValue>(text).is_ok_and(|value| value.get().len() == text.len())
}

/// Whether text of this content type is UTF-8 when the parameter `charset` is believed. As a JSON
/// string, text in another encoding would reach others garbled.
fn is_in_utf8(content_type: &str) -> bool {
    let parameters = content_type.split(';').skip(1).filter_map(|part| part.split_once('='));
    let mut charsets = parameters.filter(|(name, _)| name.trim().eq_ignore_ascii_case("charset"));
    charsets.all(|(_, value)| {
        let charset = value.trim().trim_matches('"');
        charset.eq_ignore_ascii_case("utf-8") || charset.eq_ignore_ascii_case("us-ascii")
    })
}

/// The members of the object that `json` is, none of them twice.
fn members(json: &[u8]) -> Result<BTreeMap<String, &RawValue>, EnvelopeError> {
    let Members(list) = serde_json::from_slice(json)
        .map_err(|error| EnvelopeError::Json { reason: error.to_string() })?;
    let mut members = BTreeMap::new();
    for (name, value) in list {
        if members.contains_key(&name) {
            return Err(EnvelopeError::Duplicate { attribute: name });
        }
        members.insert(name, value);
    }
    Ok(members)
}

/// Members as they stand in the document. Their values are checked, but not yet interpreted: what
/// is nested deeply costs no stack.
struct Members<'de>(Vec<(String, &'de RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor).map(Self)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Vec<(String, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with the attributes of an event")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(members)
    }
}

/// The value of the attribute `name`; none if it is `null`, which means absent.
fn value(name: &str, raw: &RawValue) -> Result<Option<Extension>, EnvelopeError> {
    let json = raw.get();
    let value = match json.as_bytes().first() {
        Some(b'n') => return Ok(None),
        Some(b'"') => string(json).map(Extension::Text),
        Some(b't' | b'f') => Some(Extension::Boolean(json == "true")),
        _ => json.parse().ok().map(Extension::Integer),
    };
    match value {
        None => Err(EnvelopeError::value(name, "a string, a Boolean, or an integer of 32 bits")),
        value => Ok(value),
    }
}

/// The text of the JSON string `json`; none for other values, and for half of a surrogate pair.
fn string(json: &str) -> Option<String> {
    serde_json::from_str(json).ok()
}

fn read_data(
    holds_json: bool,
    data: Option<&RawValue>,
    data_base64: Option<&RawValue>,
) -> Result<Bytes, EnvelopeError> {
    match (data, data_base64.filter(|raw| raw.get() != "null")) {
        (None, None) => Ok(Bytes::new()),
        (Some(raw), None) if holds_json => Ok(Bytes::copy_from_slice(raw.get().as_bytes())),
        (Some(raw), None) => string(raw.get())
            .map(Bytes::from)
            .ok_or_else(|| EnvelopeError::value("data", "a string, as its content type demands")),
        (None, Some(raw)) => string(raw.get())
            .and_then(|text| BASE64.decode(text).ok())
            .map(Bytes::from)
            .ok_or_else(|| EnvelopeError::value("data_base64", "a string in Base64")),
        (Some(_), Some(_)) => Err(EnvelopeError::DataTwice),
    }
}
