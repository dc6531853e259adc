//! Messages sent inside somebody else's transaction.

use semel_core::broker::Receive;
use semel_core::{Broker as _, Message as _};
use semel_postgres::{Options, Postgres, Sender};
use std::time::Duration;

use crate::own_tables::{PlaceOrder, Shop};
use crate::rig::address;

fn receive(wait: Duration) -> Receive {
    Receive { endpoint: "orders".to_owned(), max: 10, lease: Duration::from_secs(30), wait }
}

#[tokio::test]
async fn a_message_is_queued_when_its_transaction_is_committed() {
    let mut shop = Shop::open().await;
    let sender = Sender::new(&shop.schema, "/web");
    let order = shop.order("o1", &[]);
    let insert = format!("INSERT INTO {}.orders VALUES ('o1', 0)", shop.schema);
    let tx = shop.client.transaction().await.unwrap();
    tx.execute(&insert, &[]).await.unwrap();
    sender.send(&tx, "orders", order).await.unwrap();
    assert!(shop.place.receive(&receive(Duration::ZERO)).await.unwrap().is_empty());
    tx.commit().await.unwrap();
    let got = shop.place.receive(&receive(Duration::from_secs(10))).await.unwrap();
    let envelope = got[0].envelope.as_ref().unwrap();
    assert_eq!((&*envelope.source, &*envelope.kind), ("/web", PlaceOrder::TYPE));
}

#[tokio::test]
async fn a_message_of_a_transaction_that_is_undone_never_was() {
    let mut shop = Shop::open().await;
    let sender = Sender::new(&shop.schema, "/web");
    let order = shop.order("o1", &[]);
    let tx = shop.client.transaction().await.unwrap();
    sender.send(&tx, "orders", order).await.unwrap();
    tx.rollback().await.unwrap();
    assert_eq!(shop.count("queue").await, 0);
}

#[tokio::test]
async fn a_message_that_cannot_be_kept_is_refused_and_leaves_the_transaction_whole() {
    let mut shop = Shop::open().await;
    let sender = Sender::new(&shop.schema, "/web");
    let order = shop.order("o1", &[]);
    let insert = format!("INSERT INTO {}.orders VALUES ('o1', 0)", shop.schema);
    let tx = shop.client.transaction().await.unwrap();
    let error = sender.send_as(&tx, "an id\0with a nul", "orders", order).await.unwrap_err();
    assert!(error.to_string().contains("control characters"), "{error}");
    tx.execute(&insert, &[]).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(shop.count("orders").await, 1);
}

/// A receiver that hardly ever looks by itself hears what others queue.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiting_receiver_hears_of_what_others_queue() {
    let shop = Shop::open().await;
    let hour = Duration::from_secs(3_600);
    let options = Options { schema: shop.schema.clone(), look_every: hour, ..Options::default() };
    let deaf = Postgres::connect_with(&address(), options).await.unwrap();
    // The first look may come before it listens.
    while !deaf.is_listening() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let sender = Sender::new(&shop.schema, "/web");
    for way in ["another process", "another's transaction"] {
        let wait = receive(Duration::from_secs(20));
        let waiting = deaf.receive(&wait);
        let sending = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            if way == "another process" {
                shop.backend().send("orders", shop.order("o1", &[])).await.unwrap();
            } else {
                sender.send(&shop.client, "orders", shop.order("o2", &[])).await.unwrap();
            }
        };
        let (got, ()) = tokio::join!(waiting, sending);
        assert_eq!(got.unwrap().len(), 1, "{way}");
    }
}
