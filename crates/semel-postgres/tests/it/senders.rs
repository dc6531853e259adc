//! Messages sent inside somebody else's transaction.

use semel_core::broker::Receive;
use semel_core::{Broker as _, Message as _};
use semel_postgres::Sender;
use std::time::Duration;

use crate::own_tables::{PlaceOrder, Shop};

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
