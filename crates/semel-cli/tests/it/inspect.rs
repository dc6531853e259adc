//! `semel inspect`.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::rig::{Bank, Charge, Shop, command, fine, semel};

/// One charge done, one dead, one waiting, and one for an endpoint that nobody serves.
async fn busy_shop() -> Shop {
    let shop = Shop::new();
    shop.charge(1).await;
    shop.work(Bank::Open).await;
    shop.charge(2).await;
    shop.work(Bank::Closed).await;
    shop.charge(3).await;
    let charge = Charge { order: "4".to_owned(), pence: 1 };
    shop.backend().send("shipping", charge).await.unwrap();
    shop
}

fn check_time(value: &Value) {
    let text = value.as_str().unwrap_or_else(|| panic!("no time: {value}"));
    assert!(semel::Timestamp::parse(text).is_some(), "{text}");
}

#[tokio::test]
async fn every_endpoint_is_counted() {
    let shop = busy_shop().await;
    let mut view = semel(&["inspect", &shop.url(), "--json"]).json();

    check_time(&view["at"]);
    check_time(&view["endpoints"][0]["registered_at"].take());
    for endpoint in [0, 1] {
        check_time(&view["endpoints"][endpoint]["oldest"].take());
        assert!(view["endpoints"][endpoint]["oldest_age_ms"].take().is_u64());
    }
    check_time(&view["totals"]["oldest"].take());
    assert!(view["totals"]["oldest_age_ms"].take().is_u64());

    assert_eq!(view["store"], json!(shop.url()));
    let numbers = |ready, dead_letters, done| {
        json!({
            "ready": ready, "delayed": 0, "in_flight": 0, "oldest": null, "oldest_age_ms": null,
            "dead_letters": dead_letters, "finisher_backlog": 0, "inbox": done, "tokens": 0,
            "entities": done,
        })
    };
    let endpoint = |mut numbers: Value, name, protocol, subscriptions| {
        numbers["endpoint"] = name;
        numbers["protocol"] = protocol;
        numbers["registered_at"] = Value::Null;
        numbers["subscriptions"] = subscriptions;
        numbers
    };
    let payments = endpoint(
        numbers(1, 1, 1),
        json!("payments"),
        json!("transactional"),
        json!(["payment.charge"]),
    );
    let shipping = endpoint(numbers(1, 0, 0), json!("shipping"), Value::Null, json!([]));
    assert_eq!(view["endpoints"], json!([payments, shipping]));
    assert_eq!(view["totals"], numbers(2, 1, 1));
}

#[tokio::test]
async fn a_person_sees_who_has_no_worker_and_where_to_look_next() {
    let shop = busy_shop().await;
    let shown = fine(&["inspect", &shop.url()]);
    let line = |start: &str| {
        shown.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{shown}"))
    };
    let total: Vec<&str> = line("total").split_whitespace().collect();
    assert_eq!(total[1..4], ["2", "0", "0"], "{shown}");
    assert!(shown.contains("no worker has registered it"), "{shown}");
    assert!(shown.contains("subscribes to"), "{shown}");
    assert!(shown.ends_with(&format!("semel dead-letters list {}\n", shop.url())), "{shown}");
}

#[tokio::test]
async fn tokens_in_flight_are_counted() {
    let shop = busy_shop().await;
    shop.sql(
        "INSERT INTO token VALUES
         ('payments', 't-1', '', 1, NULL), ('payments', 't-2', '', 2, NULL),
         ('shipping', 't-1', '', 3, NULL)",
    );
    let view = semel(&["inspect", &shop.url(), "--json"]).json();
    let tokens = |view: &Value| view["tokens"].clone();
    let endpoints: Vec<Value> = view["endpoints"].as_array().unwrap().iter().map(tokens).collect();
    assert_eq!((endpoints, tokens(&view["totals"])), (vec![json!(2), json!(1)], json!(3)));

    let shown = fine(&["inspect", &shop.url()]);
    let row = |start: &str| {
        let row = shown.lines().find(|line| line.starts_with(start)).unwrap();
        row.split_whitespace().nth_back(1).unwrap().to_owned()
    };
    assert!(shown.lines().any(|line| line.ends_with("tokens  entities")), "{shown}");
    assert_eq!(["payments", "shipping", "total"].map(row), ["2", "1", "3"], "{shown}");
}

#[test]
fn an_empty_store_is_said_to_be_empty() {
    let shop = Shop::new();
    assert!(fine(&["inspect", &shop.url()]).contains("Nothing here yet"));
    let view = semel(&["inspect", &shop.url(), "--json"]).json();
    assert_eq!(view["endpoints"], json!([]));
    assert_eq!(view["totals"]["oldest"], Value::Null);
}

#[tokio::test]
async fn watching_shows_what_changes_until_nobody_reads() {
    let shop = Shop::new();
    let url = shop.url();
    let mut watching =
        command(&["inspect", &url, "--watch=1", "--json"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines();
    let mut ready = || {
        let view: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        view["totals"]["ready"].as_u64().unwrap()
    };
    assert_eq!(ready(), 0);
    shop.charge(1).await;
    while ready() == 0 {}
    drop(lines);
    assert_eq!(watching.wait().unwrap().code(), Some(0));
}

#[test]
fn looking_needs_no_lock() {
    let shop = Shop::new();
    let other = rusqlite::Connection::open(shop.path()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    fine(&["inspect", &shop.url()]);
}
