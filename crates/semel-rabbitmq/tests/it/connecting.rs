//! Errors at the start say what is wrong, and what to do.

use std::time::Duration;

use lapin::options::{ExchangeDeclareOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties, ExchangeKind};
use semel_core::StoreError;
use semel_core::broker::SendOutcome;
use semel_core::store::Trouble;
use semel_rabbitmq::RabbitMq;

use crate::rig::{fresh_prefix, shared};
use crate::worker::{Worker, message, options};

async fn refusal(address: &str, prefix: &str) -> StoreError {
    let patience = Duration::from_secs(10);
    let options = semel_rabbitmq::Options { patience, ..options(prefix) };
    match RabbitMq::connect(address, options).await {
        Ok(_) => panic!("connected to {address}"),
        Err(error) => error,
    }
}

/// A client that is not Semel.
pub(crate) async fn stranger() -> (Connection, Channel) {
    let connection = Connection::connect(&shared(), ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    (connection, channel)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_told_and_not_shown() {
    let error = refusal(&shared().replace("guest:guest", "guest:sesame"), "semel").await;
    assert_eq!(error.trouble, Trouble::Broken, "{error}");
    assert!(error.help.contains("password"), "{error}");
    assert!(!error.to_string().contains("sesame"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_virtual_host_is_told() {
    let error = refusal(&shared().replace("%2f", "nowhere"), "semel").await;
    assert_eq!(error.trouble, Trouble::Broken, "{error}");
    assert!(error.help.contains("virtual host"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_run_is_unavailable() {
    let error = refusal("amqp://guest:guest@127.0.0.1:1/%2f", "semel").await;
    assert_eq!(error.trouble, Trouble::Unavailable, "{error}");
    assert!(error.help.contains("runs"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_none_is_refused_without_repeating_it() {
    let error = refusal("http://guest:sesame@127.0.0.1", "semel").await;
    assert_eq!(error.trouble, Trouble::Unsupported, "{error}");
    assert!(error.help.contains("amqp://") && !error.to_string().contains("sesame"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prefix_that_cannot_be_is_refused() {
    let error = refusal(&shared(), "a.b").await;
    assert_eq!(error.trouble, Trouble::Unsupported, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_of_another_kind_under_our_name_is_told() {
    let (_connection, channel) = stranger().await;
    let prefix = fresh_prefix();
    let name = format!("{prefix}.events");
    let (kind, options) = (ExchangeKind::Topic, ExchangeDeclareOptions::default());
    channel
        .exchange_declare(name.as_str().into(), kind, options, FieldTable::default())
        .await
        .unwrap();
    let error = refusal(&shared(), &prefix).await;
    assert_eq!(error.trouble, Trouble::Broken, "{error}");
    assert!(error.reason.contains(&name) && error.help.contains("prefix"), "{error}");
}

/// The refusal closes a channel; nothing else suffers from it.
#[tokio::test(flavor = "multi_thread")]
async fn a_queue_of_another_kind_under_our_name_harms_no_other() {
    let (_connection, channel) = stranger().await;
    let prefix = fresh_prefix();
    let worker = Worker::connect(&shared(), &prefix).await;
    let name = format!("{prefix}.endpoint.orders");
    let declared = channel.queue_declare(
        name.as_str().into(),
        QueueDeclareOptions::default(),
        FieldTable::default(),
    );
    declared.await.unwrap();
    for _ in 0..3 {
        let error = match worker.try_send("orders", message("1")).await {
            SendOutcome::Unknown(error) => error,
            other => panic!("{other:?}"),
        };
        assert_eq!(error.trouble, Trouble::Broken, "{error}");
        assert!(error.reason.contains(&name), "{error}");
        let error = worker.try_receive("orders", 1, Duration::ZERO).await.unwrap_err();
        assert_eq!(error.trouble, Trouble::Broken, "{error}");
        worker.send("billing", "1").await;
        worker.next("billing").await;
    }
}
