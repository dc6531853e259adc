//! `semel dead-letters list`.

use serde_json::{Value, json};

use crate::rig::{Bank, Riddle, Shop, fine, semel};

/// Three charges that the bank refused.
async fn refused() -> Shop {
    let shop = Shop::new();
    shop.charge_all(1..=3).await;
    shop.work(Bank::Closed).await;
    shop
}

#[tokio::test]
async fn each_dead_letter_says_what_it_is_and_why_it_is_dead() {
    let (shop, number) = Shop::with_a_dead_letter().await;
    let riddle = Riddle { order: "9".to_owned() };
    shop.backend().send_as("9", "payments", riddle).await.unwrap();
    shop.work(Bank::Open).await;

    let mut list = semel(&["dead-letters", "list", &shop.url(), "--json"]).json();
    let letters = list["dead_letters"].as_array_mut().unwrap();
    for letter in letters.iter_mut() {
        for time in [letter["dead_since"].take(), letter["last_failure"]["at"].take()] {
            assert!(semel::Timestamp::parse(time.as_str().unwrap()).is_some(), "{time}");
        }
    }
    assert_eq!(letters.len(), 2);
    assert_eq!(
        letters[0],
        json!({
            "number": number, "endpoint": "payments", "protocol": "transactional",
            "source": "/outside", "id": "1", "type": "payment.charge", "subject": "1", "entity": "1",
            "reason": "handler-failed", "dead_since": null, "deliveries": 1,
            "last_failure": { "at": null, "worker": "till 1", "reason": crate::rig::CLOSED },
            "unreadable": null,
        })
    );
    assert_eq!(letters[1]["reason"], "unknown-type");
    assert_eq!(letters[1]["type"], "payment.riddle");
    assert_eq!(letters[1]["entity"], Value::Null, "no handler could tell");
    assert_eq!(list["next_after"], Value::Null);
}

#[tokio::test]
async fn a_list_is_a_table_without_data_and_without_terminal_tricks() {
    let (shop, number) = Shop::with_a_dead_letter().await;
    let shown = fine(&["dead-letters", "list", &shop.url()]);
    let row = shown.lines().last().unwrap();
    assert!(row.trim_start().starts_with(&number.to_string()), "{shown}");
    assert!(row.contains("payment.charge") && row.contains("handler-failed"), "{shown}");
    assert!(row.ends_with(r"the bank is closed\nsee \u{1b}[31mits door"), "{shown}");
    assert!(!shown.contains("250"), "data belongs to `show`: {shown}");
}

#[tokio::test]
async fn a_list_shows_the_entity_where_it_is_known() {
    let (shop, _) = Shop::with_a_dead_letter().await;
    shop.sql("UPDATE dead_letter SET entity_id = 'order\n7'");
    let shown = fine(&["dead-letters", "list", &shop.url()]);
    assert!(shown.lines().next().unwrap().contains("entity"), "{shown}");
    assert!(shown.lines().last().unwrap().contains(r" order\n7 "), "{shown}");
    shop.sql("UPDATE dead_letter SET entity_id = NULL");
    let shown = fine(&["dead-letters", "list", &shop.url()]);
    assert!(shown.lines().last().unwrap().contains(" – "), "{shown}");
}

#[tokio::test]
async fn a_long_list_comes_in_pages() {
    let shop = refused().await;
    let url = shop.url();
    let first = semel(&["dead-letters", "list", &url, "--limit", "2", "--json"]).json();
    assert_eq!(first["dead_letters"].as_array().unwrap().len(), 2);
    let after = first["next_after"].to_string();
    assert_eq!(first["dead_letters"][1]["number"].to_string(), after);

    let shown = fine(&["dead-letters", "list", &url, "--limit", "2"]);
    let next = format!("semel dead-letters list {url} --limit 2 --after {after}\n");
    assert!(shown.ends_with(&next), "{shown}");

    let rest = ["dead-letters", "list", &url, "--limit", "2", "--after", &after, "--json"];
    let second = semel(&rest).json();
    assert_eq!(second["dead_letters"].as_array().unwrap().len(), 1);
    assert_eq!(second["next_after"], Value::Null);
}

#[tokio::test]
async fn an_empty_list_says_so() {
    let shop = refused().await;
    let url = shop.url();
    let check = |arguments: &[&str], said: &str| {
        let all = [&["dead-letters", "list", &url], arguments].concat();
        assert_eq!(fine(&all), format!("{said}\n"));
    };
    check(
        &["--endpoint", "pyaments"],
        "No dead letters at `pyaments`, which this store does not know. It knows: payments.",
    );
    check(&["--after", "1000000"], "No dead letters after number 1000000.");
    fine(&["dead-letters", "replay", &url, "--all"]);
    check(&["--endpoint", "payments"], "No dead letters at `payments`.");
    check(&[], "No dead letters.");
}
