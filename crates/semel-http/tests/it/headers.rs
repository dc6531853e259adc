//! What is an idempotency key, and what is the same request.

use axum::http::StatusCode;
use semel_http::{Fingerprint, IdempotencyKey, problem};

#[test]
fn a_key_is_a_quoted_string_or_the_same_word_without_quotes() {
    let cases: [(&[u8], &str); 10] = [
        (b"\"8e03978e-40d5-43e8-bc93-6894a57f9324\"", "8e03978e-40d5-43e8-bc93-6894a57f9324"),
        (b"8e03978e-40d5-43e8-bc93-6894a57f9324", "8e03978e-40d5-43e8-bc93-6894a57f9324"),
        (b"  \"k\" ", "k"),
        (b"\"two words\"", "two words"),
        (b"\"a;b,c\"", "a;b,c"),
        (b"\"say \\\"once\\\"\"", "say \"once\""),
        (b"\"back\\\\slash\"", "back\\slash"),
        (b"base64+/=", "base64+/="),
        (b"urn:uuid:1", "urn:uuid:1"),
        (b"\" \"", " "),
    ];
    for (value, key) in cases {
        assert_eq!(IdempotencyKey::parse(value).unwrap().as_str(), key);
    }
}

#[test]
fn anything_else_is_no_key() {
    let cases: [&[u8]; 16] = [
        b"",
        b"  ",
        b"\"\"",
        b"\"",
        b"\"open",
        b"open\"",
        b"\"a\" \"b\"",
        b"\"a\";b=1",
        b"\"a\", \"b\"",
        b"a, b",
        b"a;b=1",
        b"two words",
        b"\"bad \\escape\"",
        b"\"ends in \\",
        b"caf\xc3\xa9",
        b"\"tab\there\"",
    ];
    for value in cases {
        let problem = IdempotencyKey::parse(value).unwrap_err();
        assert_eq!(problem.status(), StatusCode::BAD_REQUEST);
        assert_eq!(problem.kind(), problem::KEY_MALFORMED);
    }
}

#[test]
fn a_key_has_at_most_255_characters_its_quotes_not_counted() {
    let longest = "k".repeat(255);
    assert!(IdempotencyKey::parse(longest.as_bytes()).is_ok());
    assert!(IdempotencyKey::parse(format!("\"{longest}\"").as_bytes()).is_ok());
    assert!(IdempotencyKey::parse(format!("{longest}k").as_bytes()).is_err());
    assert!(IdempotencyKey::parse(format!("\"{longest}k\"").as_bytes()).is_err());
}

#[test]
fn requests_differ_by_method_path_query_or_body() {
    let one = Fingerprint::of("POST", "/carts/7/order", b"{}");
    assert_eq!(one, Fingerprint::of("POST", "/carts/7/order", b"{}"));
    let others = [
        Fingerprint::of("PUT", "/carts/7/order", b"{}"),
        Fingerprint::of("POST", "/carts/8/order", b"{}"),
        Fingerprint::of("POST", "/carts/7/order?express", b"{}"),
        Fingerprint::of("POST", "/carts/7/order", b"{ }"),
        Fingerprint::of("POST", "/carts/7/order{", b"}"),
        Fingerprint::of("POST/", "carts/7/order", b"{}"),
    ];
    assert!(others.iter().all(|other| *other != one));
}
