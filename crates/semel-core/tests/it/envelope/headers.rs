//! The binary mode.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use semel_core::envelope::JSON_CONTENT;
use semel_core::envelope::headers::{decode, encode};
use semel_core::{Envelope, EnvelopeError, Extension, Timestamp};

use super::{TEXT, envelopes};

/// The envelope as it should arrive: this mode has no types, and implies no content type.
fn as_text(mut envelope: Envelope) -> Envelope {
    for value in envelope.extensions.values_mut() {
        *value = Extension::Text(value.to_string());
    }
    if envelope.content_type.is_none() && !envelope.data.is_empty() {
        envelope.content_type = Some(JSON_CONTENT.to_owned());
    }
    envelope
}

fn read(
    headers: &[(String, String)],
    prefix: &str,
    body: &Bytes,
) -> Result<Envelope, EnvelopeError> {
    let headers = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    decode(headers, prefix, body.clone())
}

proptest! {
    #[test]
    fn an_envelope_comes_back_from_headers(envelope in envelopes(TEXT), prefix in "(ce-|ce_|)") {
        let headers = encode(&envelope, &prefix);
        let decoded = read(&headers, &prefix, &envelope.data);
        prop_assert_eq!(decoded, Ok(as_text(envelope)));
    }

    #[test]
    fn headers_are_printable_ascii_without_spaces_or_quotes(envelope in envelopes(TEXT)) {
        for (name, value) in encode(&envelope, "ce-") {
            let is_plain = |byte: u8| byte.is_ascii_graphic() && byte != b'"';
            prop_assert!(name == "content-type" || value.bytes().all(is_plain), "{name}: {value}");
        }
    }

    #[test]
    fn decoding_arbitrary_headers_never_panics(
        headers in vec(any::<(String, String)>(), 0..4),
        values in proptest::array::uniform4(r#"["\\%0-9a-zß]{0,9}"#),
        prefix in "(ce-|ß|)",
    ) {
        let _ = read(&headers, &prefix, &Bytes::new());
        let named = ["specversion", "id", "source", "type"].map(|name| format!("{prefix}{name}"));
        let known: Vec<_> = named.into_iter().zip(values).collect();
        let _ = read(&known, &prefix, &Bytes::new());
    }
}

/// The headers of the examples in the JSON format's specification, without those in `rest`.
fn headers<'a>(rest: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let common = [
        ("ce-specversion", "1.0"),
        ("ce-type", "com.example.someevent"),
        ("ce-source", "/mycontext"),
        ("ce-id", "A234-1234-1234"),
        ("ce-time", "2018-04-05T17:31:00Z"),
        ("ce-comexampleextension1", "value"),
        ("ce-comexampleothervalue", "5"),
    ];
    [&common[..], rest].concat()
}

#[test]
fn the_examples_of_the_specification_map_both_ways() {
    let mut envelope = Envelope::new(
        "A234-1234-1234",
        "/mycontext",
        "com.example.someevent",
        "<much wow=\"xml\"/>",
    );
    envelope.time = Timestamp::parse("2018-04-05T17:31:00Z");
    envelope.content_type = Some("application/xml".to_owned());
    envelope.set_text("comexampleextension1", "value");
    envelope.extensions.insert("comexampleothervalue".to_owned(), Extension::Integer(5));

    let expected = headers(&[("content-type", "application/xml")]);
    let encoded = encode(&envelope, "ce-");
    let encoded: BTreeMap<_, _> = encoded.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    assert_eq!(encoded, expected.iter().copied().collect());
    let decoded = decode(expected, "ce-", envelope.data.clone());
    assert_eq!(decoded, Ok(as_text(envelope)));
}

#[test]
fn data_without_a_content_type_is_declared_as_json() {
    let mut envelope = Envelope::new("D234", "/mycontext", "t", "\"I'm just a string\"");
    envelope.content_type = None;
    let json = ("content-type".to_owned(), "application/json".to_owned());
    assert!(encode(&envelope, "ce-").contains(&json));
    envelope.data = Bytes::new();
    assert!(!encode(&envelope, "ce-").contains(&json));
}

#[test]
fn values_are_percent_encoded_as_the_specification_says() {
    let cases = [
        ("Euro € 😀", "Euro%20%E2%82%AC%20%F0%9F%98%80"),
        ("100%", "100%25"),
        ("say \"once\"", "say%20%22once%22"),
        ("!#$&'()*+,-./:;<=>?@[\\]^_`{|}~", "!#$&'()*+,-./:;<=>?@[\\]^_`{|}~"),
        ("\u{7f}\u{0}\u{85}", "%7F%00%C2%85"),
    ];
    for (value, encoded) in cases {
        let mut envelope = Envelope::new("1", "/", "t", "");
        envelope.set_text("extra", value);
        let headers = encode(&envelope, "ce-");
        assert!(headers.contains(&("ce-extra".to_owned(), encoded.to_owned())), "{headers:?}");
    }
}

#[test]
fn values_are_unquoted_and_then_decoded_once() {
    let cases = [
        ("Euro%20%e2%82%aC", "Euro €"),
        ("%41bc", "Abc"),
        ("%2541", "%41"),
        ("100% sure, 5%x, 7%2", "100% sure, 5%x, 7%2"),
        ("déjà vu", "déjà vu"),
        (r#""a \"b\" \\ c%20d""#, r#"a "b" \ c d"#),
        (r#""""#, ""),
        (r#"""#, r#"""#),
        (r#"a"b"#, r#"a"b"#),
    ];
    for (header, value) in cases {
        let headers = headers(&[("ce-extra", header)]);
        let envelope = decode(headers, "ce-", Bytes::new()).unwrap();
        assert_eq!(envelope.text("extra"), Some(value), "{header}");
    }
}

#[test]
fn the_content_type_is_taken_as_it_is() {
    let media_type = "text/plain; note=\"50%25\"";
    let envelope = decode(headers(&[("content-type", media_type)]), "ce-", Bytes::new()).unwrap();
    assert_eq!(envelope.content_type.as_deref(), Some(media_type));
    assert!(encode(&envelope, "ce-").contains(&("content-type".to_owned(), media_type.to_owned())));
}

#[test]
fn names_are_read_in_any_case_and_foreign_headers_are_ignored() {
    let headers = [
        ("Ce-SpecVersion", "1.0"),
        ("CE-ID", "1"),
        ("Ce-Source", "/"),
        ("ce-type", "t"),
        ("CONTENT-TYPE", "text/plain"),
        ("CE-MyExtension", "Value"),
        ("Content-Length", "3"),
        ("ce_id", "2"),
        ("ß", "a name that is shorter than the prefix, and no ASCII"),
        ("aß-id", "a name that the prefix would cut inside a character"),
        ("", "no name"),
    ];
    let envelope = decode(headers, "ce-", Bytes::from("abc")).unwrap();
    let mut expected = Envelope::new("1", "/", "t", "abc");
    expected.content_type = Some("text/plain".to_owned());
    expected.set_text("myextension", "Value");
    assert_eq!(envelope, expected);
}

#[test]
fn headers_that_are_no_envelope_are_refused() {
    let value = |attribute: &str, expected| EnvelopeError::Value {
        attribute: attribute.to_owned(),
        expected,
    };
    let name = |name: &str| EnvelopeError::ExtensionName { name: name.to_owned() };
    let twice = |attribute: &str| EnvelopeError::Duplicate { attribute: attribute.to_owned() };
    let cases: [(&[(&str, &str)], EnvelopeError); 9] = [
        (&[("ce-extra", "%C0%A0")], value("extra", "UTF-8 after percent-decoding")),
        (&[("ce-extra", "a%0Ab")], value("extra", "free of control characters")),
        (&[("ce-subject", "")], value("subject", "a string of at least one character")),
        (&[("ce-my-extra", "")], name("my-extra")),
        (&[("ce-", "")], name("")),
        (&[("ce-data", "")], name("data")),
        (&[("Ce-Id", "2")], twice("id")),
        (&[("ce-extra", "1"), ("CE-EXTRA", "1")], twice("extra")),
        (&[("content-type", "a/b"), ("ce-datacontenttype", "a/b")], twice("datacontenttype")),
    ];
    for (rest, error) in cases {
        assert_eq!(decode(headers(rest), "ce-", Bytes::new()), Err(error), "{rest:?}");
    }
}

#[test]
fn headers_that_lack_an_attribute_are_refused() {
    for attribute in ["specversion", "id", "source", "type"] {
        let lacking = format!("ce-{attribute}");
        let mut headers = headers(&[]);
        headers.retain(|(name, _)| *name != lacking);
        let error = EnvelopeError::Missing { attribute };
        assert_eq!(decode(headers, "ce-", Bytes::new()), Err(error));
    }
}

#[test]
fn another_version_is_refused_before_anything_else() {
    let headers = [("ce-specversion", "1.1"), ("ce-strange-name", "")];
    let error = EnvelopeError::Version { version: "1.1".to_owned() };
    assert_eq!(decode(headers, "ce-", Bytes::new()), Err(error));
}
