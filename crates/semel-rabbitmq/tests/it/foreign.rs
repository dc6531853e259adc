//! Messages that Semel did not send.

use std::collections::BTreeMap;
use std::time::Duration;

use lapin::BasicProperties;
use lapin::options::{BasicGetOptions, BasicPublishOptions};
use lapin::types::{AMQPValue, ShortString};
use semel_core::broker::{DeadReason, Settlement};
use semel_core::operator::{DeadLetterFilter, Operator as _};
use semel_core::{Broker as _, Extension};

use crate::connecting::stranger;
use crate::rig::{fresh_prefix, shared};
use crate::worker::{Worker, dead};

fn headers(entries: &[(&str, AMQPValue)]) -> BasicProperties {
    let table: BTreeMap<ShortString, AMQPValue> =
        entries.iter().map(|(name, value)| ((*name).into(), value.clone())).collect();
    BasicProperties::default().with_headers(table.into())
}

async fn publish(prefix: &str, properties: BasicProperties, data: &[u8]) {
    let (_connection, channel) = stranger().await;
    let queue = format!("{prefix}.endpoint.orders");
    let options = BasicPublishOptions::default();
    let publishing =
        channel.basic_publish("".into(), queue.as_str().into(), options, data, properties);
    publishing.await.unwrap().await.unwrap();
    channel.close(200, "".into()).await.unwrap();
}

/// A worker whose endpoint has a queue.
async fn worker(prefix: &str) -> Worker {
    let worker = Worker::connect(&shared(), prefix).await;
    worker.try_receive("orders", 1, Duration::ZERO).await.unwrap();
    worker
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_event_is_delivered_as_such_and_parked_as_it_came() {
    let prefix = fresh_prefix();
    let worker = worker(&prefix).await;
    let bytes = b"\xff\x00 not an event";
    let strange = headers(&[
        ("made-by", AMQPValue::LongString("a stranger".into())),
        ("x-semel-failures", AMQPValue::LongString("no JSON".into())),
        ("x-semel-deliveries", AMQPValue::LongLongInt(-7)),
        ("cloudEvents:id", AMQPValue::LongString(vec![0xff].into())),
    ]);
    publish(&prefix, strange.with_content_type("text/weird".into()), bytes).await;
    let delivery = worker.next("orders").await;
    assert!(delivery.envelope.is_err());
    assert_eq!((delivery.deliveries, delivery.failure_count), (1, 0));
    worker.settle(&delivery, dead(DeadReason::Undecodable)).await;

    let filter = DeadLetterFilter { endpoint: None, after: 0, limit: 10 };
    let letter = worker.0.dead_letters(&filter).await.unwrap().pop().unwrap();
    assert_eq!((&*letter.raw, letter.reason), (bytes.as_slice(), DeadReason::Undecodable));
    let (_connection, channel) = stranger().await;
    let queue = format!("{prefix}.dead.orders");
    let parked = channel.basic_get(queue.as_str().into(), BasicGetOptions::default()).await;
    let parked = parked.unwrap().unwrap().delivery;
    assert_eq!(parked.data, bytes);
    assert_eq!(parked.properties.content_type().as_ref().unwrap().as_str(), "text/weird");
    let kept = parked.properties.headers().as_ref().unwrap().inner().get("made-by");
    assert_eq!(kept, Some(&AMQPValue::LongString("a stranger".into())));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_with_typed_headers_is_read() {
    let prefix = fresh_prefix();
    let worker = worker(&prefix).await;
    let text = |text: &str| AMQPValue::LongString(text.as_bytes().into());
    let event = headers(&[
        ("cloudEvents_specversion", text("1.0")),
        ("cloudEvents:id", text("100% \"quoted\" ü")),
        ("CLOUDEVENTS:source", text("/there")),
        ("cloudEvents:type", text("order.placed")),
        ("cloudEvents:time", AMQPValue::Timestamp(1_798_135_200)),
        ("cloudEvents:count", AMQPValue::ShortInt(-3)),
        ("cloudEvents:urgent", AMQPValue::Boolean(true)),
        ("cloudEvents:nothing", AMQPValue::Void),
    ]);
    publish(&prefix, event, b"{}").await;
    let delivery = worker.next("orders").await;
    let envelope = delivery.envelope.unwrap();
    assert_eq!(envelope.id, "100% \"quoted\" ü");
    assert_eq!(envelope.time.unwrap().to_string(), "2026-12-24T18:00:00Z");
    assert_eq!(envelope.extensions["count"], Extension::Integer(-3));
    assert_eq!(envelope.extensions["urgent"], Extension::Boolean(true));
    assert_eq!(envelope.extensions.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_event_in_the_body_is_read_and_keeps_its_form() {
    let prefix = fresh_prefix();
    let worker = worker(&prefix).await;
    let json = br#"{"specversion":"1.0","id":"7","source":"/s","type":"t","data":{"a":1}}"#;
    let content_type = "application/cloudevents+json; charset=utf-8";
    publish(&prefix, BasicProperties::default().with_content_type(content_type.into()), json).await;
    for _ in 0..2 {
        let delivery = worker.next("orders").await;
        let envelope = delivery.envelope.as_ref().unwrap();
        assert_eq!((envelope.id.as_str(), &*envelope.data), ("7", br#"{"a":1}"#.as_slice()));
        let release = Settlement::Release { after: Duration::ZERO };
        assert!(matches!(
            worker.0.settle(&delivery.receipt, release).await,
            semel_core::broker::SettleOutcome::Settled
        ));
    }
}

/// Long waits take several steps: what comes after one, and has more to wait, is sent on. No
/// delivery is counted.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_has_more_to_wait_is_sent_on_to_wait() {
    let prefix = fresh_prefix();
    let worker = worker(&prefix).await;
    let left = [("x-semel-left", AMQPValue::LongLongInt(900))];
    publish(&prefix, headers(&left), b"later").await;
    let early = worker.try_receive("orders", 1, Duration::from_millis(200)).await.unwrap();
    assert!(early.is_empty(), "{early:?}");
    let delivery = worker.next("orders").await;
    assert_eq!(delivery.deliveries, 1);
}
