//! A server that is killed just after a queue was made.

use std::time::Duration;

use lapin::options::{
    BasicAckOptions, BasicGetOptions, BasicPublishOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use semel_core::Broker as _;
use semel_core::broker::{DeadReason, Destination, Outgoing, SendOutcome, Settlement};
use semel_core::operator::{DeadLetterFilter, Operator as _};
use semel_rabbitmq::Options;
use semel_servers::Rabbit;

use crate::outages::server;
use crate::worker::{Worker, dead, id_of, message, options};

async fn killed_and_back(mut rabbit: Rabbit) -> Rabbit {
    let coming_back = tokio::task::spawn_blocking(move || {
        rabbit.kill();
        rabbit.resume().unwrap_or_else(|error| panic!("{error}"));
        rabbit
    });
    coming_back.await.unwrap()
}

async fn anew(rabbit: &Rabbit, prefix: &str) -> Worker {
    let patience = Duration::from_secs(8);
    Worker::connect_with(&rabbit.address(), Options { patience, ..options(prefix) }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_was_just_made_loses_nothing_with_its_server() {
    let mut rabbit = server("rabbitmq-young").await;

    // The book, when nothing else was made.
    drop(anew(&rabbit, "semel").await);
    rabbit = killed_and_back(rabbit).await;
    let worker = anew(&rabbit, "semel").await;

    // An endpoint's queue.
    worker.send("orders", "first").await;
    rabbit = killed_and_back(rabbit).await;
    let worker = anew(&rabbit, "semel").await;
    let first = worker.next("orders").await;
    assert_eq!(id_of(&first), "first");
    worker.settle(&first, Settlement::Ack).await;

    // The queue of a delay, which ends after the server is back, or long before.
    for delay in [4_000, 700] {
        let (to, delay) =
            (Destination::Endpoint("orders".to_owned()), Duration::from_millis(delay));
        let later = Outgoing { to, envelope: message("later"), delay };
        let sent = worker.0.send(vec![later]).await;
        assert!(matches!(sent.as_slice(), [SendOutcome::Sent]), "{sent:?}");
        rabbit = killed_and_back(rabbit).await;
        let worker = anew(&rabbit, "semel").await;
        let later = worker.next("orders").await;
        assert_eq!(id_of(&later), "later");
        worker.settle(&later, Settlement::Ack).await;
    }

    // The queue of dead letters.
    let worker = anew(&rabbit, "semel").await;
    worker.send("orders", "dead").await;
    let delivery = worker.next("orders").await;
    worker.settle(&delivery, dead(DeadReason::HandlerFailed)).await;
    rabbit = killed_and_back(rabbit).await;
    let worker = anew(&rabbit, "semel").await;
    let filter = DeadLetterFilter { endpoint: None, after: 0, limit: 10 };
    let letters = worker.0.dead_letters(&filter).await.unwrap();
    assert_eq!(letters.len(), 1, "{letters:?}");
    let report = worker.0.inspect().await.unwrap();
    assert_eq!(report.endpoints.keys().collect::<Vec<_>>(), ["orders"]);
    drop(rabbit);
}

/// A quorum queue as Semel makes it, and nothing after it.
async fn declare(channel: &Channel, name: &str) {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    arguments.insert("x-delivery-limit".into(), AMQPValue::LongInt(i32::MAX));
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(name.into(), options, arguments).await.unwrap();
}

/// Notes in the book what a handle notes before it makes an endpoint's queue.
async fn note_in_the_book(channel: &Channel, endpoint: &str, queue: &str) {
    let book = channel.basic_get("semel.book".into(), BasicGetOptions::default()).await.unwrap();
    let book = book.unwrap().delivery;
    let mut content: serde_json::Value = serde_json::from_slice(&book.data).unwrap();
    content["endpoints"][endpoint] = serde_json::json!({ "begun": [queue] });
    let content = serde_json::to_vec(&content).unwrap();
    let properties = BasicProperties::default().with_delivery_mode(2);
    let options = BasicPublishOptions::default();
    channel
        .basic_publish("".into(), "semel.book".into(), options, &content, properties)
        .await
        .unwrap();
    channel.basic_ack(book.delivery_tag, BasicAckOptions::default()).await.unwrap();
}

async fn stranger(rabbit: &Rabbit) -> (Connection, Channel) {
    let properties = ConnectionProperties::default();
    let connection = Connection::connect(&rabbit.address(), properties).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    (connection, channel)
}

/// The server never gives such a queue a leader, or cannot start it, and then remembers its name wrongly
/// when it is removed.
#[tokio::test(flavor = "multi_thread")]
async fn a_queue_whose_making_was_cut_off_is_made_again() {
    let mut rabbit = server("rabbitmq-unborn").await;
    let (_connection, channel) = stranger(&rabbit).await;
    declare(&channel, "semel.book").await;
    rabbit = killed_and_back(rabbit).await;
    let worker = anew(&rabbit, "semel").await;
    worker.send("billing", "1").await;

    let (_connection, channel) = stranger(&rabbit).await;
    note_in_the_book(&channel, "orders", "semel.endpoint.orders").await;
    // One that was made, removed and made again: its first name is written down, its second is not.
    for name in ["semel.endpoint.orders", "another"] {
        declare(&channel, name).await;
    }
    let options = QueueDeleteOptions::default();
    channel.queue_delete("semel.endpoint.orders".into(), options).await.unwrap();
    declare(&channel, "semel.endpoint.orders").await;
    rabbit = killed_and_back(rabbit).await;
    let worker = anew(&rabbit, "semel").await;
    worker.send("orders", "1").await;

    // What was made again is there to stay, and so is what it holds.
    rabbit = killed_and_back(rabbit).await;
    let worker = anew(&rabbit, "semel").await;
    for endpoint in ["orders", "billing"] {
        let delivery = worker.next(endpoint).await;
        assert_eq!(id_of(&delivery), "1");
        worker.settle(&delivery, Settlement::Ack).await;
    }
}

/// A queue that was begun, and works: others may have put something into it.
#[tokio::test(flavor = "multi_thread")]
async fn a_queue_whose_making_was_cut_off_keeps_what_others_put_in() {
    let rabbit = server("rabbitmq-begun").await;
    let worker = anew(&rabbit, "semel").await;
    worker.send("billing", "1").await;
    let (_connection, channel) = stranger(&rabbit).await;
    note_in_the_book(&channel, "orders", "semel.endpoint.orders").await;
    declare(&channel, "semel.endpoint.orders").await;
    let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
    let publishing = channel.basic_publish(
        "".into(),
        "semel.endpoint.orders".into(),
        options,
        b"not an event",
        properties,
    );
    publishing.await.unwrap();
    let delivery = worker.next("orders").await;
    assert!(delivery.envelope.is_err(), "{delivery:?}");
}
