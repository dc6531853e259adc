//! Servers that are killed or stopped, each with a server of its own.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use semel_core::broker::{
    DeadReason, Delivery, Destination, Outgoing, SendOutcome, SettleOutcome, Settlement,
};
use semel_core::operator::{DeadLetterFilter, Operator as _};
use semel_core::store::Trouble;
use semel_core::{Broker as _, Envelope};
use semel_rabbitmq::Options;
use semel_servers::Rabbit;
use tokio::task::JoinSet;

use crate::worker::{Worker, dead, failure, id_of, message, options};

pub(crate) fn folder(name: &str) -> PathBuf {
    semel_servers::folder().join("tests").join(name)
}

pub(crate) async fn server(name: &'static str) -> Rabbit {
    let start = move || Rabbit::start(&folder(name)).unwrap_or_else(|error| panic!("{error}"));
    tokio::task::spawn_blocking(start).await.unwrap()
}

/// What was confirmed, and what came of it.
#[derive(Default)]
struct Books {
    sent: BTreeSet<String>,
    done: BTreeSet<String>,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_loses_nothing_that_was_confirmed() {
    let mut rabbit = server("rabbitmq-killed").await;
    let patience = Duration::from_secs(5);
    let settings = Options { patience, ..options("semel") };
    let worker = Worker::connect_with(&rabbit.address(), settings).await;
    let books = Arc::new(Mutex::new(Books::default()));
    let stop = Arc::new(AtomicBool::new(false));
    let sending = tokio::spawn(send_until(worker.clone(), books.clone(), stop.clone()));
    let working = tokio::spawn(work_until(worker.clone(), books.clone(), stop.clone()));
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_secs(4)).await;
        rabbit.kill();
        rabbit = tokio::task::spawn_blocking(move || {
            rabbit.resume().unwrap_or_else(|error| panic!("{error}"));
            rabbit
        })
        .await
        .unwrap();
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    stop.store(true, Ordering::SeqCst);
    sending.await.unwrap();
    working.await.unwrap();

    let until = Instant::now() + Duration::from_secs(60);
    while Instant::now() < until {
        let received = worker.try_receive("orders", 50, Duration::from_millis(1500)).await;
        let Ok(received) = received else { continue };
        if received.is_empty() {
            break;
        }
        for delivery in received {
            worker.settle(&delivery, Settlement::Ack).await;
            books.lock().unwrap().done.insert(id_of(&delivery));
        }
    }
    let filter = DeadLetterFilter { endpoint: None, after: 0, limit: usize::MAX };
    let dead = worker.0.dead_letters(&filter).await.unwrap();
    let Books { sent, mut done } = std::mem::take(&mut *books.lock().unwrap());
    done.extend(dead.into_iter().map(|letter| letter.envelope.unwrap().id));
    assert!(sent.len() > 50, "{}", sent.len());
    let lost: Vec<&String> = sent.difference(&done).collect();
    assert!(lost.is_empty(), "of {} sent, lost: {lost:?}", sent.len());
    println!("{} sent, none lost", sent.len());
    the_servers_own_limit_is_told(rabbit).await;
}

async fn send_until(worker: Worker, books: Arc<Mutex<Books>>, stop: Arc<AtomicBool>) {
    for n in 0.. {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        let to = Destination::Endpoint("orders".to_owned());
        let delay = Duration::from_millis(if n % 3 == 0 { 40 } else { 0 });
        let outgoing = Outgoing { to, envelope: message(&n.to_string()), delay };
        match worker.0.send(vec![outgoing]).await.pop().unwrap() {
            SendOutcome::Sent => {
                books.lock().unwrap().sent.insert(n.to_string());
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            SendOutcome::Unknown(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            SendOutcome::Refused(error) => panic!("{error}"),
        }
    }
}

/// Retries, releases and parks some, and acknowledges the others; many at once, so that a kill
/// comes in the middle of some.
async fn work_until(worker: Worker, books: Arc<Mutex<Books>>, stop: Arc<AtomicBool>) {
    let mut round = 0;
    while !stop.load(Ordering::SeqCst) {
        let received = worker.try_receive("orders", 20, Duration::from_millis(100)).await;
        let mut settling = JoinSet::new();
        for delivery in received.unwrap_or_default() {
            round += 1;
            settling.spawn(settle_somehow(worker.clone(), delivery, round, books.clone()));
        }
        settling.join_all().await;
    }
}

async fn settle_somehow(worker: Worker, delivery: Delivery, round: u32, books: Arc<Mutex<Books>>) {
    let after = Duration::from_millis(u64::from(round % 2) * 30);
    let settlement = match round % 5 {
        0 => Settlement::Retry { after, failure: failure("not yet") },
        1 => Settlement::Release { after },
        2 => dead(DeadReason::HandlerFailed),
        _ => Settlement::Ack,
    };
    let acknowledged = settlement == Settlement::Ack;
    let outcome = worker.0.settle(&delivery.receipt, settlement).await;
    if acknowledged && !matches!(outcome, SettleOutcome::Stale) {
        books.lock().unwrap().done.insert(id_of(&delivery));
    }
}

/// A server that takes less than we were told says so, and the others of the batch are not lost.
async fn the_servers_own_limit_is_told(mut rabbit: Rabbit) {
    rabbit.kill();
    let settings = folder("rabbitmq-killed").join("rabbitmq.conf");
    fs::write(settings, "max_message_size = 100000\n").unwrap();
    let rabbit = tokio::task::spawn_blocking(move || {
        rabbit.resume().unwrap_or_else(|error| panic!("{error}"));
        rabbit
    })
    .await
    .unwrap();
    let worker = Worker::connect(&rabbit.address(), "limited").await;
    worker.send("orders", "small").await;
    let large = Envelope::new("large", "/shop", "order.placed", vec![b' '; 200_000]);
    match worker.try_send("orders", large).await {
        SendOutcome::Refused(error) => {
            assert_eq!(error.trouble, Trouble::TooLarge, "{error}");
            assert!(error.reason.contains("100000"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    worker.send("orders", "after").await;
    assert_eq!(id_of(&worker.next("orders").await), "small");
    assert_eq!(id_of(&worker.next("orders").await), "after");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_server_is_no_hang_and_goes_on() {
    let rabbit = server("rabbitmq-stopped").await;
    let patience = Duration::from_secs(2);
    let settings = Options { patience, heartbeat: Duration::from_secs(3), ..options("semel") };
    let worker = Worker::connect_with(&rabbit.address(), settings.clone()).await;
    worker.send("orders", "1").await;
    let held = worker.next("orders").await;
    rabbit.signal("STOP").unwrap_or_else(|error| panic!("{error}"));
    let since = Instant::now();
    let sent = worker.try_send("orders", message("2")).await;
    assert!(matches!(sent, SendOutcome::Unknown(_)), "{sent:?}");
    let settled = worker.0.settle(&held.receipt, Settlement::Ack).await;
    assert!(matches!(settled, SettleOutcome::Unknown(_) | SettleOutcome::Stale), "{settled:?}");
    let error = worker.try_receive("orders", 1, Duration::from_secs(1)).await.unwrap_err();
    assert_eq!(error.trouble, Trouble::Unavailable, "{error}");
    let error = semel_rabbitmq::RabbitMq::connect(&rabbit.address(), settings).await.unwrap_err();
    assert_eq!(error.trouble, Trouble::Unavailable, "{error}");
    assert!(since.elapsed() < Duration::from_secs(30), "{:?}", since.elapsed());
    rabbit.signal("CONT").unwrap_or_else(|error| panic!("{error}"));
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        match worker.try_send("orders", message("3")).await {
            SendOutcome::Sent => break,
            other => assert!(Instant::now() < until, "{other:?}"),
        }
    }
    let mut missing: BTreeSet<String> = ["3".to_owned()].into();
    while !missing.is_empty() {
        assert!(Instant::now() < until, "{missing:?}");
        let received = worker.try_receive("orders", 5, Duration::from_secs(1)).await;
        for delivery in received.unwrap_or_default() {
            missing.remove(&id_of(&delivery));
            worker.settle(&delivery, Settlement::Ack).await;
        }
    }
}
