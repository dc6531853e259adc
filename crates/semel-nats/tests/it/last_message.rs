//! The highest message of a queue, which a server of version 2.9 must not be killed over.

use std::time::{Duration, Instant};

use semel_core::Broker as _;
use semel_core::broker::{Delivery, SendOutcome, SettleOutcome, Settlement};
use semel_core::operator::Operator as _;
use semel_nats::{Nats, Options};
use serde_json::Value;

use crate::rig::{
    LONG, NatsRig, fresh, fresh_options, id, message, next, private, receive, send, sent, settled,
    until,
};

/// First and last sequence of a queue's stream, and how many messages it holds.
async fn state(rig: &NatsRig) -> (u64, u64, u64) {
    let subject = format!("$JS.API.STREAM.INFO.{}", rig.queue_stream("orders"));
    let answer = rig.bare().await.request(subject, "".into()).await.unwrap();
    let info: Value = serde_json::from_slice(&answer.payload).unwrap();
    let number = |name: &str| info["state"][name].as_u64().unwrap();
    (number("first_seq"), number("last_seq"), number("messages"))
}

/// It stays, settled, until there is a higher one; nobody gets or counts it again.
#[tokio::test]
async fn the_highest_message_stays_until_there_is_another() {
    let rig = fresh().await;
    let nats = rig.open().await;
    for round in 1..=3 {
        sent(&nats, message(format!("{round}"))).await;
        let delivery = next(&nats, Duration::from_secs(1)).await;
        assert_eq!(id(&delivery), round.to_string());
        settled(&nats, &delivery, Settlement::Ack).await;
        // Its lease ends, and the consumer offers it again.
        let again = receive(&nats, 1, LONG, Duration::from_millis(1_500)).await.unwrap();
        assert!(again.is_empty(), "{again:?}");
        assert_eq!(state(&rig).await, (round, round, 1));
        let report = nats.inspect().await.unwrap().endpoints.remove("orders").unwrap();
        assert_eq!((report.ready, report.in_flight, report.oldest), (0, 0, None));
    }
}

/// Another handle that finds it removes it once it knows of a higher one.
#[tokio::test]
async fn what_a_worker_left_is_removed_by_the_next_one() {
    let rig = fresh().await;
    let gone = rig.open().await;
    sent(&gone, message("1")).await;
    settled(&gone, &next(&gone, Duration::from_secs(1)).await, Settlement::Ack).await;
    drop(gone);
    let nats = rig.open().await;
    sent(&nats, message("2")).await;
    let delivery = next(&nats, LONG).await;
    assert_eq!(id(&delivery), "2");
    let start = Instant::now();
    while state(&rig).await != (2, 2, 1) && start.elapsed() < Duration::from_secs(20) {
        let again = receive(&nats, 1, LONG, Duration::from_millis(200)).await.unwrap();
        assert!(again.is_empty(), "{again:?}");
    }
    assert_eq!(state(&rig).await, (2, 2, 1));
}

/// The server is killed again and again in the moment in which the only message is settled. With
/// the message removed, a server of version 2.9.10 then counts on from a lower number, and what it
/// confirms next is gone at once, or is never offered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_sent_after_a_kill_is_not_taken_for_what_was_removed() {
    let mut server = private("last");
    let options = Options { call_timeout: Duration::from_secs(1), ..fresh_options() };
    let (limit, address) = (Duration::from_secs(20), server.address());
    let connect = || Nats::connect(&address, options.clone());
    let mut nats = until(limit, connect).await;
    for round in 0..40_u64 {
        let name = format!("{round:02}");
        until(limit, || async {
            match send(&nats, message(name.clone())).await {
                SendOutcome::Sent => Ok(()),
                SendOutcome::Refused(error) | SendOutcome::Unknown(error) => Err(error),
            }
        })
        .await;
        let delivery = await_message(&nats, &name).await;
        let moment = Duration::from_micros(round * 137 % 3_000);
        let killed = async {
            tokio::time::sleep(moment).await;
            server.kill();
        };
        let (outcome, ()) = tokio::join!(nats.settle(&delivery.receipt, Settlement::Ack), killed);
        assert!(!matches!(outcome, SettleOutcome::Stale), "{outcome:?}");
        server.resume().unwrap();
        nats = until(limit, connect).await;
    }
}

/// Receives until this message comes. What was settled with an unknown outcome may come before it.
async fn await_message(nats: &Nats, name: &str) -> Delivery {
    let start = Instant::now();
    loop {
        assert!(
            start.elapsed() < Duration::from_secs(15),
            "{name} was confirmed and does not come"
        );
        let wait = Duration::from_secs(1);
        let received = receive(nats, 1, Duration::from_secs(30), wait).await.unwrap_or_default();
        for delivery in received {
            if id(&delivery) == name {
                return delivery;
            }
            settled(nats, &delivery, Settlement::Ack).await;
        }
    }
}
