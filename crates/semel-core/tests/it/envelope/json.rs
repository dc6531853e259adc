//! The structured JSON format.

use proptest::prelude::*;
use proptest::sample::Index;
use semel_core::envelope::json::{decode, encode};
use semel_core::{Envelope, EnvelopeError, Extension, Timestamp};
use serde_json::Value;

use super::{TEXT, envelopes};

proptest! {
    #[test]
    fn an_envelope_comes_back_from_json_byte_for_byte(envelope in envelopes(TEXT)) {
        prop_assert_eq!(envelope.validate(), Ok(()));
        let decoded = decode(&encode(&envelope)).unwrap();
        prop_assert_eq!(&decoded.data, &envelope.data);
        prop_assert_eq!(decoded, envelope);
    }

    #[test]
    fn decoding_arbitrary_bytes_never_panics(bytes: Vec<u8>) {
        let _ = decode(&bytes);
    }

    #[test]
    fn a_damaged_document_is_refused_or_means_something(
        envelope in envelopes(TEXT),
        at: Index,
        byte: u8,
    ) {
        let mut json = encode(&envelope);
        let at = at.index(json.len());
        json[at] = byte;
        if let Ok(damaged) = decode(&json) {
            prop_assert_eq!(decode(&encode(&damaged)), Ok(damaged));
        }
    }
}

fn example() -> Envelope {
    Envelope::new("17", "/orders", "order.placed", r#"{"total":3}"#)
}

/// Encodes `data` under `content_type` and returns the member that carries it.
fn member(content_type: Option<&str>, data: &[u8]) -> (String, Value) {
    let envelope = Envelope {
        content_type: content_type.map(str::to_owned),
        ..Envelope::new("17", "/orders", "order.placed", data.to_vec())
    };
    let json = encode(&envelope);
    assert_eq!(decode(&json).unwrap().data, envelope.data, "{}", String::from_utf8_lossy(&json));
    let document: serde_json::Map<String, Value> = serde_json::from_slice(&json).unwrap();
    document
        .into_iter()
        .find(|(name, _)| name.starts_with("data") && name != "datacontenttype")
        .unwrap()
}

#[test]
fn an_envelope_is_written_in_a_fixed_order() {
    let mut envelope = example();
    envelope.subject = Some("order \"9\"".to_owned());
    envelope.time = Some(Timestamp::from_unix_ms(1_798_135_200_000));
    envelope.schema = Some("https://shop.example/order".to_owned());
    envelope.set_text("conversationid", "c1");
    envelope.extensions.insert("retry".to_owned(), Extension::Boolean(false));
    envelope.extensions.insert("sequence".to_owned(), Extension::Integer(-5));
    let expected = r#"{"specversion":"1.0","id":"17","source":"/orders","type":"order.placed","#
        .to_owned()
        + r#""subject":"order \"9\"","time":"2026-12-24T18:00:00Z","#
        + r#""dataschema":"https://shop.example/order","datacontenttype":"application/json","#
        + r#""conversationid":"c1","retry":false,"sequence":-5,"data":{"total":3}}"#;
    assert_eq!(String::from_utf8(encode(&envelope)).unwrap(), expected);
}

#[test]
fn data_goes_where_nothing_of_it_is_lost() {
    let json = Some("application/json");
    let text = Some("text/plain");
    let cases: [(Option<&str>, &[u8], &str, Value); 14] = [
        (json, b"{\"a\": 1}", "data", serde_json::json!({"a": 1})),
        (None, b"[true]", "data", serde_json::json!([true])),
        (Some("Text/JSON; charset=utf-8"), b"3", "data", 3.into()),
        (Some("application/vnd.shop+json;v=1"), b"null", "data", Value::Null),
        (json, b"\"text\"", "data", "text".into()),
        (json, b"not JSON", "data_base64", "bm90IEpTT04=".into()),
        (None, b"{} {}", "data_base64", "e30ge30=".into()),
        (json, b"{}\n", "data_base64", "e30K".into()),
        (json, b"\"\xff\"", "data_base64", "Iv8i".into()),
        (text, b"{\"a\": 1}", "data", "{\"a\": 1}".into()),
        (text, "tschüß\0\n".as_bytes(), "data", "tschüß\0\n".into()),
        (text, b"\xff\xfe", "data_base64", "//4=".into()),
        (Some("text/plain; Charset=\"UTF-8\""), b"a", "data", "a".into()),
        (Some("text/plain; charset=utf-16"), b"a\0", "data_base64", "YQA=".into()),
    ];
    for (content_type, data, name, value) in cases {
        assert_eq!(member(content_type, data), (name.to_owned(), value), "{content_type:?}");
    }
}

#[test]
fn numbers_and_spacing_of_the_data_stay_as_they_are() {
    let data = r#"{ "big": 123456789012345678901234567890.10, "huge":1e999,"half": "\ud800" }"#;
    let envelope = Envelope::new("17", "/orders", "order.placed", data);
    let json = String::from_utf8(encode(&envelope)).unwrap();
    assert!(json.contains(&format!(r#""data":{data}"#)), "{json}");
    assert_eq!(decode(json.as_bytes()), Ok(envelope));
}

#[test]
fn deep_nesting_costs_no_stack() {
    let deep = "[".repeat(200_000) + &"]".repeat(200_000);
    let envelope = Envelope::new("17", "/orders", "order.placed", deep.clone());
    assert_eq!(decode(&encode(&envelope)), Ok(envelope));
    let in_an_attribute =
        format!(r#"{{"specversion":"1.0","id":"1","source":"/","type":"t","deep":{deep}}}"#);
    assert!(matches!(
        decode(in_an_attribute.as_bytes()),
        Err(EnvelopeError::Value { attribute, .. }) if attribute == "deep"
    ));
    assert!(matches!(decode(&deep.as_bytes()[..200_000]), Err(EnvelopeError::Json { .. })));
}

/// Reads an event with the attributes that every example of the specification has, and `rest`.
fn read(rest: &str) -> Envelope {
    let json = format!(
        r#"{{
            "specversion" : "1.0",
            "type" : "com.example.someevent",
            "source" : "/mycontext",
            "id" : "A234-1234-1234",
            "time" : "2018-04-05T17:31:00Z",
            "comexampleextension1" : "value",
            "comexampleothervalue" : 5,
            {rest}
        }}"#
    );
    decode(json.as_bytes()).unwrap()
}

#[test]
fn the_examples_of_the_specification_are_read() {
    let binary = read(
        r#""datacontenttype" : "application/vnd.apache.thrift.binary", "data_base64" : "AP8=""#,
    );
    assert_eq!(binary.id, "A234-1234-1234");
    assert_eq!(binary.source, "/mycontext");
    assert_eq!(binary.kind, "com.example.someevent");
    assert_eq!(binary.time, Timestamp::parse("2018-04-05T17:31:00Z"));
    assert_eq!(binary.text("comexampleextension1"), Some("value"));
    assert_eq!(binary.extensions["comexampleothervalue"], Extension::Integer(5));
    assert_eq!(binary.extensions.len(), 2);
    assert_eq!(&binary.data[..], [0, 255]);

    let cases = [
        (
            r#""unsetextension": null, "datacontenttype" : "application/xml",
               "data" : "<much wow=\"xml\"/>""#,
            r#"<much wow="xml"/>"#,
        ),
        (
            r#""subject": null, "datacontenttype" : "application/json",
               "data" : { "appinfoA" : "abc", "appinfoB" : 123, "appinfoC" : true }"#,
            r#"{ "appinfoA" : "abc", "appinfoB" : 123, "appinfoC" : true }"#,
        ),
        (r#""subject": null, "data" : "I'm just a string""#, r#""I'm just a string""#),
    ];
    for (rest, data) in cases {
        let envelope = read(rest);
        assert_eq!(envelope.data, data);
        assert_eq!(envelope.subject, None);
        assert_eq!(envelope.extensions, binary.extensions);
    }
}

#[test]
fn every_form_of_data_is_read() {
    let cases = [
        (r#""data": null"#, "null"),
        (r#""data": "{}""#, r#""{}""#),
        (r#""data": 1.50"#, "1.50"),
        (r#""data_base64": "e30=""#, "{}"),
        (r#""data_base64": null"#, ""),
        (r#""data": 1, "data_base64": null"#, "1"),
        (r#""subject": "nothing""#, ""),
        (r#""datacontenttype": "text/plain", "data": "a\tb""#, "a\tb"),
        (r#""datacontenttype": "text/plain", "data_base64": "YQ==""#, "a"),
        (r#""datacontenttype": "application/x+JSON ;v=1", "data": [ 1 ]"#, "[ 1 ]"),
    ];
    for (rest, data) in cases {
        assert_eq!(read(rest).data, data, "{rest}");
    }
}

#[test]
fn extensions_keep_their_types() {
    let cases = [
        ("true", Extension::Boolean(true)),
        ("false", Extension::Boolean(false)),
        ("-2147483648", Extension::Integer(i32::MIN)),
        ("2147483647", Extension::Integer(i32::MAX)),
        ("-0", Extension::Integer(0)),
        (r#""""#, Extension::Text(String::new())),
        (r#""\ud83d\ude00""#, Extension::Text("😀".to_owned())),
    ];
    for (json, value) in cases {
        assert_eq!(read(&format!(r#""extra": {json}"#)).extensions["extra"], value);
    }
}
