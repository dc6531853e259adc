//! What is not an envelope: every [`EnvelopeError`] and what it tells the sender.

use semel_core::envelope::json::decode;
use semel_core::{Envelope, EnvelopeError, Timestamp};

const STRING: &str = "a string";
const SCALAR: &str = "a string, a Boolean, or an integer of 32 bits";
const NOT_EMPTY: &str = "a string of at least one character";
const NO_CONTROLS: &str = "free of control characters";

/// A good document with one member replaced or added: `json` instead of the value of `name`.
fn with(name: &str, json: &str) -> Result<Envelope, EnvelopeError> {
    let good =
        [("specversion", r#""1.0""#), ("id", r#""1""#), ("source", r#""/""#), ("type", r#""t""#)];
    let others = good.iter().filter(|(other, _)| *other != name);
    let members: Vec<_> =
        others.chain([&(name, json)]).map(|(name, json)| format!("\"{name}\":{json}")).collect();
    decode(format!("{{{}}}", members.join(",")).as_bytes())
}

fn value(attribute: &str, expected: &'static str) -> EnvelopeError {
    EnvelopeError::Value { attribute: attribute.to_owned(), expected }
}

#[test]
fn a_value_of_the_wrong_type_is_refused_by_name() {
    let cases = [
        ("id", "7", STRING),
        ("id", "[]", SCALAR),
        ("source", "true", STRING),
        ("type", "{}", SCALAR),
        ("subject", "1", STRING),
        ("datacontenttype", "false", STRING),
        ("dataschema", "0", STRING),
        ("time", "1798135200", STRING),
        ("extra", "1.0", SCALAR),
        ("extra", "1e3", SCALAR),
        ("extra", "2147483648", SCALAR),
        ("extra", "-2147483649", SCALAR),
        ("extra", r#"{"a":1}"#, SCALAR),
        ("extra", r#""\ud800""#, SCALAR),
        ("data_base64", "5", "a string in Base64"),
        ("data_base64", r#""a""#, "a string in Base64"),
        ("data_base64", r#""YQ""#, "a string in Base64"),
        ("data_base64", r#""Y Q==""#, "a string in Base64"),
    ];
    for (name, json, expected) in cases {
        assert_eq!(with(name, json), Err(value(name, expected)), "{name}: {json}");
    }
}

#[test]
fn a_value_that_the_specification_forbids_is_refused_by_name() {
    let cases = [
        ("subject", r#""""#, NOT_EMPTY),
        ("datacontenttype", r#""""#, NOT_EMPTY),
        ("dataschema", r#""""#, NOT_EMPTY),
        ("datacontenttype", r#""tëxt/plain""#, "a media type, which is ASCII"),
        ("datacontenttype", r#""a/b\r\nx: y""#, NO_CONTROLS),
        ("id", r#""a\u0000""#, NO_CONTROLS),
        ("subject", r#""a\u0085""#, NO_CONTROLS),
        ("extra", r#""a\n""#, NO_CONTROLS),
        ("time", r#""""#, "a time as RFC 3339 writes it"),
        ("time", r#""yesterday""#, "a time as RFC 3339 writes it"),
        ("time", r#""2026-02-30T00:00:00Z""#, "a time as RFC 3339 writes it"),
        ("time", r#""2026-12-24T18:00:00""#, "a time as RFC 3339 writes it"),
        ("time", r#""-000001-01-01T00:00:00Z""#, "within the years 0 to 9999"),
    ];
    for (name, json, expected) in cases {
        assert_eq!(with(name, json), Err(value(name, expected)), "{name}: {json}");
    }
}

#[test]
fn text_under_a_content_type_that_is_not_json_is_a_string() {
    let expected = "a string, as its content type demands";
    for json in ["1", "null", "{}", r#""\ud800""#] {
        let document = format!(
            r#"{{"specversion":"1.0","id":"1","source":"/","type":"t",
                "datacontenttype":"text/plain","data":{json}}}"#
        );
        assert_eq!(decode(document.as_bytes()), Err(value("data", expected)), "{json}");
    }
}

#[test]
fn a_required_attribute_is_neither_absent_nor_null_nor_empty() {
    for attribute in ["id", "source", "type"] {
        for json in ["null", r#""""#] {
            assert_eq!(with(attribute, json), Err(EnvelopeError::Missing { attribute }));
        }
    }
    assert_eq!(
        with("specversion", "null"),
        Err(EnvelopeError::Missing { attribute: "specversion" })
    );
    let documents = [
        ("specversion", "{}"),
        ("id", r#"{"specversion":"1.0"}"#),
        ("source", r#"{"specversion":"1.0","id":"1"}"#),
        ("type", r#"{"specversion":"1.0","id":"1","source":"/"}"#),
    ];
    for (attribute, document) in documents {
        assert_eq!(decode(document.as_bytes()), Err(EnvelopeError::Missing { attribute }));
    }
}

#[test]
fn only_version_1_0_is_read() {
    let cases =
        [(r#""0.3""#, "0.3"), (r#""1.1""#, "1.1"), (r#""1""#, "1"), (r#""""#, ""), ("1", "1")];
    for (json, version) in cases {
        let error = EnvelopeError::Version { version: version.to_owned() };
        assert_eq!(with("specversion", json), Err(error));
    }
    assert_eq!(
        decode(br#"{"specversion":"0.3","extensions":{},"id":[]}"#),
        Err(EnvelopeError::Version { version: "0.3".to_owned() })
    );
}

#[test]
fn a_name_that_cannot_be_an_extension_is_refused() {
    for name in ["my_extra", "Extra", "ID", "", "é", "datacontentencoding"] {
        let error = EnvelopeError::ExtensionName { name: name.to_owned() };
        assert_eq!(with(name, "true"), Err(error));
    }
}

#[test]
fn nothing_is_given_twice() {
    for (name, twice) in [
        ("id", r#""1","id":"1""#),
        ("specversion", r#""1.0","specversion":"1.0""#),
        ("extra", r#"null,"extra":null"#),
        ("data", r#"1,"data":1"#),
        ("type", r#""t","\u0074ype":"t""#),
    ] {
        let error = EnvelopeError::Duplicate { attribute: name.to_owned() };
        assert_eq!(with(name, twice), Err(error));
    }
    for data in ["1", "null"] {
        assert_eq!(
            with("data", &format!(r#"{data},"data_base64":"""#)),
            Err(EnvelopeError::DataTwice)
        );
    }
}

#[test]
fn bytes_that_are_not_one_json_object_are_refused_with_their_place() {
    let cases: [(&[u8], &str); 7] = [
        (b"", "EOF while parsing a value at line 1 column 0"),
        (b"[]", "invalid type: sequence, expected an object with the attributes of an event"),
        (b"{\"id\":\n}", "expected value at line 2 column 1"),
        (b"{} {}", "trailing characters at line 1 column 4"),
        (b"{\"id\":\"\xff\"}", "invalid unicode code point"),
        (b"\xef\xbb\xbf{}", "expected value at line 1 column 1"),
        (b"{1:2}", "key must be a string"),
    ];
    for (json, expected) in cases {
        match decode(json) {
            Err(EnvelopeError::Json { reason }) => assert!(reason.contains(expected), "{reason}"),
            other => panic!("{other:?} instead of an error that says: {expected}"),
        }
    }
}

#[test]
fn an_envelope_that_could_not_be_read_again_is_not_valid() {
    let with_time = |ms| {
        let mut envelope = Envelope::new("1", "/", "t", "");
        envelope.time = Some(Timestamp::from_unix_ms(ms));
        envelope.validate()
    };
    assert_eq!(with_time(-62_167_219_200_000), Ok(()));
    assert_eq!(with_time(253_402_207_200_000), Ok(()));
    for ms in [-62_167_219_200_001, 253_402_300_800_000, i64::MIN, i64::MAX] {
        assert_eq!(with_time(ms), Err(value("time", "within the years 0 to 9999")), "{ms}");
    }
    let mut envelope = Envelope::new("1", "/", "t", "");
    envelope.set_text("id", "2");
    assert_eq!(envelope.validate(), Err(EnvelopeError::ExtensionName { name: "id".to_owned() }));
}

#[test]
fn an_error_says_what_the_sender_must_do() {
    let cases = [
        (
            EnvelopeError::Missing { attribute: "id" },
            "the CloudEvents attribute `id` is missing or empty; the sender must set it",
        ),
        (value("time", STRING), "the CloudEvents attribute `time` is not a string"),
        (
            EnvelopeError::ExtensionName { name: "my_id".to_owned() },
            "`my_id` cannot name an extension attribute: use lower-case letters and digits, and \
             no name that CloudEvents reserves",
        ),
        (
            EnvelopeError::Duplicate { attribute: "id".to_owned() },
            "the CloudEvents attribute `id` is given twice; the sender must choose",
        ),
        (
            EnvelopeError::DataTwice,
            "the event has both `data` and `data_base64`; the sender must choose",
        ),
        (
            EnvelopeError::Version { version: "0.3".to_owned() },
            "CloudEvents version `0.3` is not supported; send version 1.0",
        ),
        (
            EnvelopeError::Json { reason: "expected value".to_owned() },
            "this is not a CloudEvents JSON document: expected value",
        ),
    ];
    for (error, text) in cases {
        assert_eq!(error.to_string(), text);
    }
}
