//! A store with its queues on a broker elsewhere.

use semel::core::protocols::OutboxInbox;
use semel::prelude::*;
use semel_servers::{Kind, address};
use serde_json::{Value, json};

use crate::rig::{Bank, Charge, Shop, fine, payments, semel};

/// The store of a shop, and a place of its own on a server.
struct Apart {
    shop: Shop,
    broker: String,
}

impl Apart {
    fn new(kind: Kind) -> Self {
        let mark = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos();
        let broker = format!("{}?prefix=cli{mark}", address(kind).unwrap());
        Self { shop: Shop::new(), broker }
    }

    async fn backend(&self) -> Backend {
        semel::open_apart(&self.shop.url(), &self.broker).await.unwrap()
    }

    async fn charge(&self, order: &str) {
        let charge = Charge { order: order.to_owned(), pence: 250 };
        self.backend().await.send_as(order, "payments", charge).await.unwrap();
    }

    async fn work(&self, bank: Bank) {
        let endpoint = payments(bank).protocol(OutboxInbox::default());
        let host = Host::new(self.backend().await).worker("till 1").endpoint(endpoint);
        host.run_until_idle().await.unwrap();
    }

    /// Runs the program on both places.
    fn json(&self, verbs: &[&str], arguments: &[&str]) -> Value {
        let url = self.shop.url();
        let place = [url.as_str(), "--broker", &self.broker, "--json"];
        let run = semel(&[verbs, &place, arguments].concat());
        assert_eq!(run.stderr, "", "{run:?}");
        run.json()
    }

    fn dead(&self) -> Vec<i64> {
        let list = self.json(&["dead-letters", "list"], &[]);
        let letters = list["dead_letters"].as_array().unwrap();
        letters.iter().map(|letter| letter["number"].as_i64().unwrap()).collect()
    }
}

/// Counts, replays and discards, each with what the store knows and what the broker knows.
async fn is_seen_and_repaired(kind: Kind) {
    let apart = Apart::new(kind);
    apart.charge("1").await;
    apart.work(Bank::Open).await;
    for order in ["2", "3"] {
        apart.charge(order).await;
    }
    apart.work(Bank::Closed).await;
    apart.charge("4").await;

    let view = apart.json(&["inspect"], &[]);
    assert_eq!(view["store"], json!(apart.shop.url()));
    assert!(view["broker"].as_str().unwrap().contains("127.0.0.1"), "{view}");
    let payments = &view["endpoints"][0];
    assert_eq!(payments["protocol"], json!("outbox-inbox"), "{view}");
    let numbers = ["ready", "dead_letters", "inbox"].map(|name| payments[name].clone());
    assert_eq!(numbers, [json!(1), json!(2), json!(1)], "{view}");

    let numbers = apart.dead();
    let (replayed, discarded) = (numbers[0].to_string(), numbers[1].to_string());
    let shown = apart.json(&["dead-letters", "show"], &[&replayed]);
    assert_eq!(shown["type"], json!("payment.charge"), "{shown}");
    let entity = |number: &str| {
        apart.json(&["dead-letters", "show"], &[number])["entity"].as_str().unwrap().to_owned()
    };
    let (charged, given_up) = (entity(&replayed), entity(&discarded));
    let done = apart.json(&["dead-letters", "replay"], &[&replayed]);
    assert_eq!(done["replayed"], json!(1), "{done}");
    let done = apart.json(&["dead-letters", "discard"], &[&discarded, "--yes"]);
    assert_eq!((&done["discarded"], &done["results"][0]["recorded"]), (&json!(1), &json!(true)));

    // What was given up is recorded in the store: a copy of it is not processed.
    apart.charge(&given_up).await;
    apart.work(Bank::Open).await;
    assert!(apart.dead().is_empty());
    let view = apart.json(&["inspect"], &[]);
    let payments = &view["endpoints"][0];
    let numbers = ["ready", "delayed", "in_flight"].map(|name| payments[name].clone());
    assert_eq!(numbers, [json!(0), json!(0), json!(0)], "{view}");
    assert_eq!(entities(&apart).await, sorted([charged, "1".to_owned(), "4".to_owned()]));
}

fn sorted(mut names: [String; 3]) -> Vec<String> {
    names.sort();
    names.to_vec()
}

/// The orders that were charged, each once.
async fn entities(apart: &Apart) -> Vec<String> {
    use semel::core::protocols::state_in;
    use semel::core::store::{ItemKey, Space};

    let backend = apart.backend().await;
    let mut charged = Vec::new();
    for order in ["1", "2", "3", "4"] {
        let key = ItemKey::new(Space::Entity, "payments", order);
        let Some(item) = backend.store().read(&key).await.unwrap() else { continue };
        let Some(state) = state_in(&item.value).unwrap() else { continue };
        let state: Value = serde_json::from_slice(&state).unwrap();
        assert_eq!(state["charges"], json!(1), "{order}");
        charged.push(order.to_owned());
    }
    charged
}

#[tokio::test]
async fn queues_on_nats_are_seen_and_repaired() {
    is_seen_and_repaired(Kind::Nats).await;
}

#[tokio::test]
async fn queues_on_rabbitmq_are_seen_and_repaired() {
    is_seen_and_repaired(Kind::Rabbit).await;
}

#[tokio::test]
async fn a_person_is_told_both_places_in_what_to_type_next() {
    let apart = Apart::new(Kind::Nats);
    apart.charge("1").await;
    apart.work(Bank::Closed).await;
    let url = apart.shop.url();
    let shown = fine(&["inspect", &url, "--broker", &apart.broker]);
    assert!(shown.contains(" with queues in nats:127.0.0.1"), "{shown}");
    // The broker's URL has a `?`: it may hold a password, as far as the program can tell.
    let next = format!("semel dead-letters list {url} --broker URL\n");
    assert!(shown.ends_with(&next), "{shown}");
    let number = apart.dead()[0].to_string();
    let shown = fine(&["dead-letters", "show", &url, &number, "--broker", &apart.broker]);
    assert!(shown.contains(&format!("replay {url} --broker URL {number}")), "{shown}");
}
