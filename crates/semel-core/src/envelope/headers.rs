//! The binary mode: attributes as headers, data as the body.
//!
//! It follows the [HTTP protocol binding 1.0.2][spec]; the bindings of other brokers differ in the
//! prefix (`ce-` for HTTP and NATS). Here every attribute is text: a Boolean or an integer that
//! goes out as a header comes back as [`Extension::Text`], since nothing tells them apart.
//!
//! [spec]: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;

use super::attributes::{self, Attributes};
use super::{Envelope, EnvelopeError, Extension, JSON_CONTENT};

/// The header that carries `datacontenttype`, without a prefix and without percent-encoding.
const CONTENT_TYPE: &str = "content-type";

/// The attributes of `envelope` as headers. The body is its `data`.
///
/// Data without a content type is JSON, and in this mode it says so.
/// The envelope should be [valid](Envelope::validate): names and the content type go as they are.
pub fn encode(envelope: &Envelope, prefix: &str) -> Vec<(String, String)> {
    let header = |name: &str, value: &str| (format!("{prefix}{name}"), percent_encoded(value));
    let mut headers: Vec<_> =
        attributes::defined(envelope).map(|(name, value)| header(name, &value)).collect();
    for (name, value) in &envelope.extensions {
        headers.push(header(name, &value.to_string()));
    }
    if let Some(content_type) = content_type(envelope) {
        headers.push((CONTENT_TYPE.to_owned(), content_type.to_owned()));
    }
    headers
}

/// Reads an envelope from its headers and its body.
///
/// The case of names does not matter. Headers that do not start with `prefix` are ignored, apart
/// from `content-type`.
pub fn decode<'a>(
    headers: impl IntoIterator<Item = (&'a str, &'a str)>,
    prefix: &str,
    body: Bytes,
) -> Result<Envelope, EnvelopeError> {
    let mut values = BTreeMap::new();
    for (header, value) in headers {
        let Some((name, text)) = attribute(header, value, prefix)? else {
            continue;
        };
        if values.contains_key(&name) {
            return Err(EnvelopeError::Duplicate { attribute: name });
        }
        values.insert(name, Extension::Text(text));
    }
    let mut attributes = Attributes::of_version(values.remove("specversion"))?;
    for (name, value) in values {
        attributes.insert(name, value);
    }
    attributes.into_envelope(body)
}

fn content_type(envelope: &Envelope) -> Option<&str> {
    let implied = (!envelope.data.is_empty()).then_some(JSON_CONTENT);
    envelope.content_type.as_deref().or(implied)
}

/// The attribute that a header carries, if any, with its name in lower case.
fn attribute(
    header: &str,
    value: &str,
    prefix: &str,
) -> Result<Option<(String, String)>, EnvelopeError> {
    if header.eq_ignore_ascii_case(CONTENT_TYPE) {
        return Ok(Some(("datacontenttype".to_owned(), value.to_owned())));
    }
    let Some((start, name)) = header.split_at_checked(prefix.len()) else {
        return Ok(None);
    };
    if !start.eq_ignore_ascii_case(prefix) {
        return Ok(None);
    }
    match percent_decoded(&unquoted(value)) {
        Some(text) => Ok(Some((name.to_ascii_lowercase(), text))),
        None => Err(EnvelopeError::value(name, "UTF-8 after percent-decoding")),
    }
}

/// `text` with everything but printable ASCII, and space, quote and percent as well, as `%XY`.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'!'..=b'~' if byte != b'"' && byte != b'%' => encoded.push(char::from(byte)),
            _ => encoded.extend(['%', hex_digit(byte >> 4), hex_digit(byte & 0xF)]),
        }
    }
    encoded
}

fn hex_digit(half: u8) -> char {
    char::from(if half < 10 { b'0' + half } else { b'A' + half - 10 })
}

/// Undoes [`percent_encoded`]; none if the bytes are not UTF-8. A `%` without two hexadecimal
/// digits stands for itself, as senders that do not encode mean it.
fn percent_decoded(text: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let escaped = (byte == b'%').then(|| hex_byte(after)).flatten();
        decoded.push(escaped.unwrap_or(byte));
        rest = if escaped.is_some() { &after[2..] } else { after };
    }
    String::from_utf8(decoded).ok()
}

/// The byte that the first two characters write in hexadecimal.
fn hex_byte(digits: &[u8]) -> Option<u8> {
    let digit = |index: usize| char::from(*digits.get(index)?).to_digit(16);
    u8::try_from(digit(0)? * 16 + digit(1)?).ok()
}

/// What a quoted string holds; other text as it is. Senders of older versions quote.
fn unquoted(value: &str) -> Cow<'_, str> {
    let Some(quoted) = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return Cow::Borrowed(value);
    };
    let mut text = String::with_capacity(quoted.len());
    let mut chars = quoted.chars();
    while let Some(next) = chars.next() {
        text.push(if next == '\\' { chars.next().unwrap_or(next) } else { next });
    }
    Cow::Owned(text)
}
