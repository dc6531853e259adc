//! `semel dead-letters show`.

use semel::Envelope;
use serde_json::{Value, json};

use crate::rig::{Bank, Shop, command, fine, semel};

/// A dead letter at `payments` with this data, and its number.
async fn dead(data: &'static [u8], content_type: &str) -> (Shop, String) {
    let shop = Shop::new();
    let mut envelope = Envelope::new("7", "/tills", "payment.note", data);
    envelope.content_type = Some(content_type.to_owned());
    envelope.set_text("conversationid", "c-1");
    shop.send("payments", envelope).await;
    shop.work(Bank::Open).await;
    let number = shop.numbers()[0].to_string();
    (shop, number)
}

fn show(shop: &Shop, number: &str) -> Value {
    semel(&["dead-letters", "show", &shop.url(), number, "--json"]).json()
}

#[tokio::test]
async fn everything_about_a_dead_letter_is_there() {
    let (shop, number) = dead(br#"{"z": 1.50, "a": []}"#, "application/json").await;
    let view = show(&shop, &number);
    assert_eq!(view["number"].to_string(), number);
    assert_eq!(view["type"], "payment.note");
    assert_eq!(view["extensions"], json!({ "conversationid": "c-1" }));
    assert_eq!(view["content_type"], "application/json");
    assert_eq!(view["failures"][0]["worker"], "till 1");
    assert_eq!(view["data_format"], "json");
    assert_eq!(view["data_bytes"], 20);
    assert_eq!(view["data"], json!({ "z": 1.5, "a": [] }));

    let shown = fine(&["dead-letters", "show", &shop.url(), &number]);
    assert!(shown.contains("  {\n    \"z\": 1.50,\n    \"a\": []\n  }\n"), "{shown}");
    assert!(shown.contains("conversationid   c-1\n"), "{shown}");
    assert!(shown.contains("this endpoint has no handler for `payment.note`"), "{shown}");
    assert!(shown.contains(&format!("semel dead-letters replay {} {number}", shop.url())));
}

#[tokio::test]
async fn the_entity_is_shown_where_a_handler_could_tell() {
    let (shop, number) = Shop::with_a_dead_letter().await;
    let number = number.to_string();
    assert_eq!(show(&shop, &number)["entity"], "1");
    let shown = fine(&["dead-letters", "show", &shop.url(), &number]);
    assert!(shown.contains("  entity           1\n"), "{shown}");

    let (shop, number) = dead(b"{}", "application/json").await;
    assert_eq!(show(&shop, &number)["entity"], Value::Null);
    let shown = fine(&["dead-letters", "show", &shop.url(), &number]);
    assert!(!shown.contains("  entity "), "{shown}");
}

#[tokio::test]
async fn whether_a_copy_was_processed_is_asked_of_the_protocol() {
    let (shop, number) = Shop::with_a_dead_letter().await;
    let number = number.to_string();
    let shown = || fine(&["dead-letters", "show", &shop.url(), &number]);
    assert_eq!(show(&shop, &number)["processed"], json!(false));
    assert!(shown().contains("  processed        no, as far as"), "{}", shown());
    shop.charge(1).await;
    shop.work(Bank::Open).await;
    assert_eq!(show(&shop, &number)["processed"], json!(true));
    assert!(shown().contains("  processed        yes, it or a copy"), "{}", shown());

    shop.sql("UPDATE endpoint SET protocol = 'of our own'");
    assert_eq!(show(&shop, &number)["processed"], Value::Null);
    assert!(!shown().contains("  processed "), "{}", shown());
}

#[tokio::test]
async fn text_is_shown_as_text_and_steers_no_terminal() {
    let (shop, number) = dead("Grüße\n\u{1b}[2Jbye".as_bytes(), "text/plain").await;
    let view = show(&shop, &number);
    assert_eq!(
        (view["data_format"].as_str(), view["data"].as_str()),
        (Some("text"), Some("Grüße\n\u{1b}[2Jbye"),)
    );
    let shown = fine(&["dead-letters", "show", &shop.url(), &number]);
    assert!(shown.contains("  Grüße\n  \\u{1b}[2Jbye\n"), "{shown}");
}

#[tokio::test]
async fn bytes_are_shown_as_a_dump_and_written_as_they_came() {
    const BYTES: &[u8] = b"\xff\x00once\x9f";
    let (shop, number) = dead(BYTES, "application/octet-stream").await;
    let view = show(&shop, &number);
    assert_eq!((&view["data_format"], &view["data"]), (&json!("base64"), &json!("/wBvbmNlnw==")));
    let shown = fine(&["dead-letters", "show", &shop.url(), &number]);
    assert!(shown.contains("ff 00 6f 6e 63 65 9f"), "{shown}");
    let raw = command(&["dead-letters", "show", &shop.url(), &number, "--raw"]).output().unwrap();
    assert_eq!(raw.stdout, BYTES);
}

#[tokio::test]
async fn a_message_without_data_says_so() {
    let (shop, number) = dead(b"", "application/json").await;
    let view = show(&shop, &number);
    assert_eq!((&view["data_format"], &view["data"]), (&json!("none"), &Value::Null));
    assert!(fine(&["dead-letters", "show", &shop.url(), &number]).contains("Data (none)\n"));
}

#[tokio::test]
async fn an_unreadable_message_shows_why_and_its_data() {
    let (shop, number) = Shop::with_a_dead_letter().await;
    shop.sql("UPDATE dead_letter SET message_id = ''");
    let view = show(&shop, &number.to_string());
    assert!(view["unreadable"].as_str().unwrap().contains("`id` is missing"), "{view}");
    assert_eq!(view["type"], Value::Null);
    assert_eq!(view["data"]["pence"], 250);
    assert!(fine(&["dead-letters", "list", &shop.url()]).contains("(unreadable)"));
}

#[test]
fn a_number_that_is_not_there_is_an_answer_with_its_own_code() {
    let shop = Shop::new();
    let run = semel(&["dead-letters", "show", &shop.url(), "7", "--json"]);
    assert_eq!((run.code, run.stdout.as_str()), (1, ""));
    let error = run.error_json();
    assert!(error["error"].as_str().unwrap().contains("there is no dead letter 7"), "{error}");
    assert!(error["help"].as_str().unwrap().contains("semel dead-letters list"), "{error}");
}
