//! The envelope on the wire, in both modes.

mod headers;
mod invalid;
mod json;
mod oracle;

use bytes::Bytes;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use semel_core::{Envelope, Extension, Timestamp};
use serde_json::Value;

/// Any text that an attribute may hold.
const TEXT: &str = "[^\\p{Cc}]{1,12}";
/// Text that is a header value as it is.
const PLAIN: &str = "[!#$&-~]{1,12}";

const CONTENT_TYPES: [&str; 6] = [
    "application/json",
    "application/json; charset=utf-8",
    "application/vnd.shop+json",
    "text/plain",
    "text/plain; charset=iso-8859-1",
    "application/octet-stream",
];

/// Valid envelopes whose attributes are made of `text`.
fn envelopes(text: &'static str) -> impl Strategy<Value = Envelope> {
    let extension = prop_oneof![
        any::<bool>().prop_map(Extension::Boolean),
        any::<i32>().prop_map(Extension::Integer),
        text.prop_map(Extension::Text),
    ];
    (
        (text, text, text, option::of(text)),
        option::of(times()),
        option::of(select(&CONTENT_TYPES)),
        option::of("[a-z]{1,9}"),
        btree_map("x[a-z0-9]{0,9}", extension, 0..4),
        data(),
    )
        .prop_map(
            |((id, source, kind, subject), time, content_type, schema, extensions, data)| {
                Envelope {
                    subject,
                    time,
                    content_type: content_type.map(str::to_owned),
                    schema: schema.map(|name| format!("https://shop.example/{name}")),
                    extensions,
                    ..Envelope::new(id, source, kind, data)
                }
            },
        )
}

/// From the first moment of the year 0 to nearly the last of 9999.
fn times() -> impl Strategy<Value = Timestamp> {
    (-62_167_219_200_000_i64..=253_402_207_200_000).prop_map(Timestamp::from_unix_ms)
}

fn data() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        Just(Bytes::new()),
        values().prop_map(|value| value.to_string().into()),
        values().prop_map(|value| format!("{value:#}").into()),
        values().prop_map(|value| format!("{value}\n").into()),
        ".{0,20}".prop_map(Bytes::from),
        vec(any::<u8>(), 0..20).prop_map(Bytes::from),
    ]
}

/// JSON values of some depth.
fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            btree_map("[a-z]{0,5}", inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}
