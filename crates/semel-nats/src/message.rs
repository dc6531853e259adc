//! Envelopes as NATS messages: the CloudEvents binary mode, with a few headers of our own.

use std::str::FromStr as _;

use async_nats::{HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;
use semel_core::envelope::{headers, json};
use semel_core::{Envelope, EnvelopeError, Extension, Timestamp};

/// The prefix that the NATS protocol binding of CloudEvents prescribes.
const PREFIX: &str = "ce-";
/// What a header cannot tell: the types of extension attributes, and an absent content type. Others
/// may ignore it; without it, every extension attribute is text.
const HINTS: &str = "Semel-Hints";
/// When a delayed message may be delivered, in milliseconds since the Unix epoch.
const DUE: &str = "Semel-Due";
/// The structured mode, which some senders use where they know no headers.
const STRUCTURED: &str = "application/cloudevents+json";

/// The most bytes of headers: JetStream refuses 64 KiB, and some are added on the way.
pub(crate) const HEADER_BYTES_MAX: usize = 63 * 1024;

/// The headers of an envelope. Its body is its data.
pub(crate) fn encode(envelope: &Envelope, due: Option<Timestamp>) -> Result<HeaderMap, String> {
    let mut encoded = HeaderMap::new();
    for (name, value) in headers::encode(envelope, PREFIX) {
        let name = HeaderName::from_str(&name).map_err(|error| format!("{name}: {error}"))?;
        let value = HeaderValue::from_str(&value).map_err(|error| format!("{name}: {error}"))?;
        encoded.insert(name, value);
    }
    let hints = hints(envelope);
    if !hints.is_empty() {
        encoded.insert(HINTS, hints);
    }
    if let Some(due) = due {
        encoded.insert(DUE, due.unix_ms().to_string());
    }
    Ok(encoded)
}

/// The bytes that headers take on the wire.
pub(crate) fn header_bytes(headers: &HeaderMap) -> usize {
    let lines = headers.iter().flat_map(|(name, values)| {
        values.iter().map(move |value| AsRef::<str>::as_ref(name).len() + value.as_str().len() + 4)
    });
    lines.sum::<usize>() + "NATS/1.0\r\n\r\n".len()
}

/// The pairs of a received message's headers.
pub(crate) fn pairs(headers: Option<&HeaderMap>) -> Vec<(String, String)> {
    let all = headers.into_iter().flat_map(HeaderMap::iter);
    let pairs = all.flat_map(|(name, values)| {
        values.iter().map(move |value| (name.to_string(), value.as_str().to_owned()))
    });
    pairs.collect()
}

/// Reads an envelope from its headers and its body.
pub(crate) fn decode(pairs: &[(String, String)], body: Bytes) -> Result<Envelope, EnvelopeError> {
    let content_type = value(pairs, "content-type").unwrap_or_default();
    if content_type.to_ascii_lowercase().starts_with(STRUCTURED) {
        return json::decode(&body);
    }
    let borrowed = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let mut envelope = headers::decode(borrowed, PREFIX, body)?;
    for hint in value(pairs, HINTS).unwrap_or_default().split(' ') {
        apply(&mut envelope, hint);
    }
    Ok(envelope)
}

/// When a delayed message may be delivered.
pub(crate) fn due(pairs: &[(String, String)]) -> Option<i64> {
    value(pairs, DUE)?.parse().ok()
}

fn value<'p>(pairs: &'p [(String, String)], name: &str) -> Option<&'p str> {
    let found = pairs.iter().find(|(header, _)| header.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.as_str())
}

fn hints(envelope: &Envelope) -> String {
    let typed = envelope.extensions.iter().filter_map(|(name, value)| match value {
        Extension::Boolean(_) => Some(format!("{name}=boolean")),
        Extension::Integer(_) => Some(format!("{name}=integer")),
        Extension::Text(_) => None,
    });
    let untyped = envelope.content_type.is_none() && !envelope.data.is_empty();
    let all = typed.chain(untyped.then(|| "datacontenttype=absent".to_owned()));
    all.collect::<Vec<_>>().join(" ")
}

/// Follows one hint; one that does not fit is no reason to refuse a message.
fn apply(envelope: &mut Envelope, hint: &str) {
    let Some((name, kind)) = hint.split_once('=') else { return };
    if (name, kind) == ("datacontenttype", "absent") {
        envelope.content_type = None;
        return;
    }
    let Some(Extension::Text(text)) = envelope.extensions.get(name) else { return };
    let typed = match kind {
        "boolean" => text.parse().ok().map(Extension::Boolean),
        "integer" => text.parse().ok().map(Extension::Integer),
        _ => None,
    };
    if let Some(typed) = typed {
        envelope.extensions.insert(name.to_owned(), typed);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use semel_core::{Envelope, Extension};

    use super::{decode, encode, header_bytes, pairs};

    #[test]
    fn types_survive_the_headers() {
        let mut sent = Envelope::new("1 ä", "/shop", "order.placed", Bytes::from_static(b"x"));
        sent.content_type = None;
        sent.extensions.insert("yes".to_owned(), Extension::Boolean(true));
        sent.extensions.insert("least".to_owned(), Extension::Integer(i32::MIN));
        sent.extensions.insert("text".to_owned(), Extension::Text("true".to_owned()));
        let headers = encode(&sent, None).unwrap();
        assert!(header_bytes(&headers) > 100);
        assert_eq!(decode(&pairs(Some(&headers)), sent.data.clone()).unwrap(), sent);
    }

    #[test]
    fn a_hint_that_does_not_fit_is_ignored() {
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let mut headers = vec![
            header("CE-SpecVersion", "1.0"),
            header("ce-id", "1"),
            header("ce-source", "/s"),
            header("ce-type", "t"),
            header("ce-yes", "perhaps"),
        ];
        headers.push(header("semel-hints", "yes=boolean none=integer id=integer = x yes=="));
        let envelope = decode(&headers, Bytes::new()).unwrap();
        assert_eq!(envelope.text("yes"), Some("perhaps"));
    }

    #[test]
    fn the_structured_mode_is_read_too() {
        let header = ("Content-Type".to_owned(), "application/cloudevents+json; charset=utf-8");
        let body = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data":{"a":1}}"#;
        let pairs = [(header.0, header.1.to_owned())];
        let envelope = decode(&pairs, Bytes::from(body)).unwrap();
        assert_eq!((envelope.kind.as_str(), envelope.data.as_ref()), ("t", &b"{\"a\":1}"[..]));
    }
}
