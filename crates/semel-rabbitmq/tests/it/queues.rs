//! Sizes, delays and queues that others touch.

use std::time::Duration;

use lapin::options::{QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use semel_core::Broker as _;
use semel_core::broker::{
    DeadReason, Destination, Lease, Outgoing, Registration, SendOutcome, SettleOutcome, Settlement,
};
use semel_core::operator::{DeadLetterFilter, Operator as _};
use semel_core::store::Trouble;

use crate::connecting::stranger;
use crate::rig::{fresh_prefix, shared};
use crate::worker::{LONG, Worker, dead, failure, id_of, message};

fn at_once(endpoint: &str, id: &str) -> Outgoing {
    let to = Destination::Endpoint(endpoint.to_owned());
    Outgoing { to, envelope: message(id), delay: Duration::ZERO }
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_above_the_limit_are_refused_alone() {
    let worker = Worker::connect(&shared(), &fresh_prefix()).await;
    let mut large = at_once("orders", "large");
    large.envelope.subject = Some("s".repeat(200 * 1024));
    let mut long_name = at_once("orders", "long name");
    long_name.envelope.set_text(&"n".repeat(300), "value");
    let mut long_type = at_once("orders", "long type");
    long_type.envelope.kind = "t".repeat(300);
    long_type.to = Destination::Subscribers;
    let batch = vec![at_once("orders", "1"), large, long_name, long_type, at_once("orders", "2")];
    let outcomes = worker.0.send(batch).await;
    for (at, outcome) in outcomes.iter().enumerate() {
        match outcome {
            SendOutcome::Sent => assert!(at == 0 || at == 4),
            SendOutcome::Refused(error) => assert_eq!(error.trouble, Trouble::TooLarge, "{error}"),
            SendOutcome::Unknown(error) => panic!("{at}: {error}"),
        }
    }
    for id in ["1", "2"] {
        assert_eq!(id_of(&worker.next("orders").await), id);
    }
}

/// Twenty failures with long reasons still fit beside the largest headers of a message.
#[tokio::test(flavor = "multi_thread")]
async fn long_reasons_are_shortened_and_lose_no_message() {
    let worker = Worker::connect(&shared(), &fresh_prefix()).await;
    let mut envelope = message("1");
    envelope.subject = Some("s".repeat(60 * 1024));
    assert!(matches!(worker.try_send("orders", envelope).await, SendOutcome::Sent));
    for round in 0..22 {
        let delivery = worker.next("orders").await;
        assert_eq!(delivery.failure_count, round);
        let failure = failure(format!("{round} {}", "ü".repeat(30_000)));
        let settlement = Settlement::Retry { after: Duration::ZERO, failure };
        worker.settle(&delivery, settlement).await;
    }
    let delivery = worker.next("orders").await;
    assert_eq!((delivery.failures.len(), delivery.failure_count), (20, 22));
    assert!(delivery.failures[19].reason.starts_with("21 üü"));
    assert_eq!(delivery.envelope.unwrap().subject.unwrap().len(), 60 * 1024);
}

/// The client hands returned messages to whichever confirmation comes next; the adapter must not
/// take one that was returned for one that was confirmed.
#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_queue_is_made_again_and_nothing_sent_is_lost() {
    let prefix = fresh_prefix();
    let worker = Worker::connect(&shared(), &prefix).await;
    worker.send("orders", "0").await;
    worker.send("billing", "0").await;
    worker.next("billing").await;
    let (_connection, channel) = stranger().await;
    for round in 0..10 {
        let name = format!("{prefix}.endpoint.orders");
        channel.queue_delete(name.as_str().into(), QueueDeleteOptions::default()).await.unwrap();
        let ids: Vec<String> = (0..30).map(|n| format!("{round}-{n}")).collect();
        // Nobody subscribes to the third kind: its confirmations come in one with those of what
        // was returned.
        let batch = ids.iter().enumerate().map(|(n, id)| match n % 3 {
            0 => at_once("orders", id),
            1 => at_once("billing", id),
            _ => Outgoing { to: Destination::Subscribers, ..at_once("", id) },
        });
        let outcomes = worker.0.send(batch.collect()).await;
        assert!(outcomes.iter().all(|it| matches!(it, SendOutcome::Sent)), "{outcomes:?}");
        for endpoint in ["orders", "billing"] {
            let received = worker.try_receive(endpoint, 100, Duration::from_secs(5)).await.unwrap();
            assert_eq!(received.len(), 10, "round {round}: {endpoint}");
            for delivery in &received {
                worker.settle(delivery, Settlement::Ack).await;
            }
        }
    }
}

/// A queue that is made again still gets what its endpoint subscribes to.
#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_is_made_again_has_its_subscriptions() {
    let prefix = fresh_prefix();
    let worker = Worker::connect(&shared(), &prefix).await;
    let registration = Registration {
        endpoint: "orders".to_owned(),
        protocol: "inbox".to_owned(),
        subscriptions: vec!["order.placed".to_owned()],
    };
    worker.0.register(&registration).await.unwrap();
    let (_connection, channel) = stranger().await;
    let name = format!("{prefix}.endpoint.orders");
    channel.queue_delete(name.as_str().into(), QueueDeleteOptions::default()).await.unwrap();
    // The first call tells that it is gone.
    let error = worker.try_receive("orders", 1, Duration::ZERO).await.unwrap_err();
    assert!(error.reason.contains(&name), "{error}");
    assert!(worker.try_receive("orders", 1, Duration::ZERO).await.unwrap().is_empty());
    let event = Outgoing { to: Destination::Subscribers, ..at_once("", "1") };
    assert!(matches!(worker.0.send(vec![event]).await.as_slice(), [SendOutcome::Sent]));
    assert_eq!(id_of(&worker.next("orders").await), "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_of_a_handle_that_is_gone_is_stale() {
    let prefix = fresh_prefix();
    let first = Worker::connect(&shared(), &prefix).await;
    let second = Worker::connect(&shared(), &prefix).await;
    first.send("orders", "1").await;
    let held = first.next("orders").await;
    drop(first);
    let again = second.next("orders").await;
    assert_eq!(again.deliveries, 2);
    for settlement in [Settlement::Ack, dead(DeadReason::Refused)] {
        let outcome = second.0.settle(&held.receipt, settlement).await;
        assert!(matches!(outcome, SettleOutcome::Stale), "{outcome:?}");
    }
    second.settle(&again, Settlement::Ack).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_look_at_dead_letters_at_once_all_see_them_all() {
    let prefix = fresh_prefix();
    let worker = Worker::connect(&shared(), &prefix).await;
    for n in 0..8 {
        worker.send("orders", &n.to_string()).await;
        let delivery = worker.next("orders").await;
        worker.settle(&delivery, dead(DeadReason::HandlerFailed)).await;
    }
    let mut looking = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let other = Worker::connect(&shared(), &prefix).await;
        looking.spawn(async move {
            for _ in 0..4 {
                let filter = DeadLetterFilter { endpoint: None, after: 0, limit: 100 };
                assert_eq!(other.0.dead_letters(&filter).await.unwrap().len(), 8);
            }
        });
    }
    looking.join_all().await;
}

/// A handle that waits takes no message that it does not hand out.
#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_wait_gives_back_what_it_took() {
    let prefix = fresh_prefix();
    let worker = Worker::connect(&shared(), &prefix).await;
    let other = Worker::connect(&shared(), &prefix).await;
    for round in 0..5 {
        let waiting = worker.try_receive("orders", 10, LONG);
        assert!(tokio::time::timeout(Duration::from_millis(200), waiting).await.is_err());
        // A drop tells nobody when it is done.
        tokio::time::sleep(Duration::from_millis(300)).await;
        other.send("orders", &round.to_string()).await;
        let delivery = other.next("orders").await;
        // Had the other taken it meanwhile, it would have come back as a second delivery.
        assert_eq!((id_of(&delivery), delivery.deliveries), (round.to_string(), 1));
        other.settle(&delivery, Settlement::Ack).await;
    }
}

/// The copy comes first: where it cannot be queued, the message stays where it is.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_parked_stays_ours_and_comes_again() {
    let prefix = fresh_prefix();
    let worker = Worker::connect(&shared(), &prefix).await;
    let (_connection, channel) = stranger().await;
    let name = format!("{prefix}.dead.orders");
    let options = QueueDeclareOptions::default();
    channel.queue_declare(name.as_str().into(), options, FieldTable::default()).await.unwrap();
    worker.send("orders", "1").await;
    let delivery = worker.next("orders").await;
    match worker.0.settle(&delivery.receipt, dead(DeadReason::HandlerFailed)).await {
        SettleOutcome::Unknown(error) => assert!(error.reason.contains(&name), "{error}"),
        other => panic!("{other:?}"),
    }
    let lease = Duration::from_millis(200);
    let leases = worker.0.extend(std::slice::from_ref(&delivery.receipt), lease).await.unwrap();
    assert_eq!(leases, [Lease::Held]);
    let again = worker.next("orders").await;
    assert_eq!((id_of(&again).as_str(), again.deliveries), ("1", 2));
}
