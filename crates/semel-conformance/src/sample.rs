//! Messages, failures and sizes that the functions share.

use std::time::Duration;

use bytes::Bytes;
use semel_core::broker::{DeadReason, Destination, FailureRecord, Outgoing, Settlement};
use semel_core::envelope::PARTITION_KEY;
use semel_core::{Envelope, Extension, Timestamp};

/// The most bytes that a function puts or sends. A limit above counts as none.
pub(crate) const BYTES_TRIED_MAX: usize = 16 << 20;

/// The type of the sample messages.
pub(crate) const KIND: &str = "order.placed";

/// A small message.
pub(crate) fn message(id: impl Into<String>) -> Envelope {
    Envelope::new(id, "/shop", KIND, br#"{"total": 3.50}"#.as_slice())
}

/// A small message that asks for its place among those of `key`.
pub(crate) fn keyed(id: &str, key: &str) -> Envelope {
    let mut envelope = message(id);
    envelope.set_text(PARTITION_KEY, key);
    envelope
}

/// A message of exactly `bytes` by [`Envelope::size`]: a JSON string of the right length.
pub(crate) fn message_of_size(id: &str, bytes: usize) -> Envelope {
    let mut envelope = message(id);
    envelope.data = Bytes::new();
    let mut data = vec![b'x'; bytes - envelope.size()];
    if let [first, .., last] = data.as_mut_slice() {
        (*first, *last) = (b'"', b'"');
    }
    envelope.data = data.into();
    envelope
}

/// `envelope` on its way to `endpoint`, at once.
pub(crate) fn to(endpoint: &str, envelope: Envelope) -> Outgoing {
    Outgoing { to: Destination::Endpoint(endpoint.to_owned()), envelope, delay: Duration::ZERO }
}

/// `envelope` on its way to its subscribers, at once.
pub(crate) fn to_subscribers(envelope: Envelope) -> Outgoing {
    Outgoing { to: Destination::Subscribers, envelope, delay: Duration::ZERO }
}

/// Messages that a careless encoding harms, each with an id that says how.
pub(crate) fn delicate_messages() -> Vec<Envelope> {
    let mut messages = vec![
        with_every_attribute(),
        with_data("empty data", Some("application/json"), b""),
        with_data("no content type", None, br#"{"a":1}"#),
        with_data("JSON as it was written", Some("application/json"), br#" {"b" : 1.0, "b":1e2} "#),
        with_data("JSON that is none", Some("application/json"), b"{\"a\":"),
        with_data("text", Some("text/plain; charset=utf-8"), "Grüße, 世界 🦀\r\n".as_bytes()),
        with_data("not UTF-8", Some("text/plain"), b"\xff\xfe\x00\xc3("),
    ];
    let every_byte: Vec<u8> = (0..=u8::MAX).collect();
    messages.push(with_data("every byte", Some("application/octet-stream"), &every_byte));
    messages
}

fn with_data(id: &str, content_type: Option<&str>, data: &[u8]) -> Envelope {
    let mut envelope = message(id);
    envelope.content_type = content_type.map(str::to_owned);
    envelope.data = Bytes::copy_from_slice(data);
    envelope
}

fn with_every_attribute() -> Envelope {
    let mut envelope = message("every attribute: 'quoted' \"twice\" %41 \\ ÄÖ 世界 🦀");
    envelope.source = "https://shop.example/a%20b?c=d#e".to_owned();
    envelope.kind = "com.example.order-placed.v2".to_owned();
    envelope.subject = Some("customer/7 – «Müller»".to_owned());
    envelope.time = Some(Timestamp::from_unix_ms(1_798_135_200_007));
    envelope.schema = Some("https://shop.example/schema.json".to_owned());
    let extensions = [
        ("yes", Extension::Boolean(true)),
        ("no", Extension::Boolean(false)),
        ("least", Extension::Integer(i32::MIN)),
        ("most", Extension::Integer(i32::MAX)),
        ("text", Extension::Text("Grüße 🦀; a=b, \"c\" %C3".to_owned())),
        ("textyes", Extension::Text("true".to_owned())),
        ("text17", Extension::Text("17".to_owned())),
    ];
    envelope.extensions =
        extensions.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    envelope
}

/// The `number`th of a series of failures, each different.
pub(crate) fn failure(number: u32) -> FailureRecord {
    FailureRecord {
        at: Timestamp::from_unix_ms(1_798_135_200_000 + i64::from(number)),
        reason: format!("attempt {number}: «Zahlung abgelehnt»\n  caused by: 'no' \"credit\""),
        worker: format!("worker-{number}"),
    }
}

/// One settlement of each kind; those that wait, wait for `after`.
pub(crate) fn settlements(after: Duration) -> [(&'static str, Settlement); 4] {
    [
        ("Ack", Settlement::Ack),
        ("Release", Settlement::Release { after }),
        ("Retry", Settlement::Retry { after, failure: failure(90) }),
        ("DeadLetter", dead_letter(DeadReason::HandlerFailed, 91)),
    ]
}

/// A settlement that parks a message, with the `number`th failure.
pub(crate) fn dead_letter(reason: DeadReason, number: u32) -> Settlement {
    Settlement::DeadLetter { reason, failure: failure(number), entity: None }
}

/// A settlement that parks a message as one for `entity`, where that is known.
pub(crate) fn dead_letter_for(entity: Option<&str>) -> Settlement {
    let entity = entity.map(str::to_owned);
    Settlement::DeadLetter { reason: DeadReason::HandlerFailed, failure: failure(1), entity }
}

/// Keys of entities that a careless encoding harms, and none.
pub(crate) fn delicate_entities() -> [Option<String>; 8] {
    let text = |text: &str| Some(text.to_owned());
    [
        None,
        text("7"),
        text("007"),
        text(""),
        text("null"),
        text("  customer/7 – «Müller» %41 'quoted' \"twice\" \\ 🦀\n"),
        text("e\u{301}"),
        Some("k".repeat(512)),
    ]
}

/// A settlement that returns a message at once, with the `number`th failure.
pub(crate) fn retry(number: u32) -> Settlement {
    Settlement::Retry { after: Duration::ZERO, failure: failure(number) }
}

/// A settlement that returns a message at once.
pub(crate) const RELEASE: Settlement = Settlement::Release { after: Duration::ZERO };
