//! Connections that are cut, or go silent.

use std::time::{Duration, Instant};

use semel_core::Broker as _;
use semel_core::broker::{SendOutcome, SettleOutcome, Settlement};
use semel_core::store::Trouble;
use semel_rabbitmq::Options;

use crate::proxy::Proxy;
use crate::rig::{fresh_prefix, shared};
use crate::worker::{Worker, id_of, message, options};

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_connection_gives_back_what_it_held_and_is_made_again() {
    let prefix = fresh_prefix();
    let proxy = Proxy::before(&shared());
    let worker = Worker::connect(&proxy.address, &prefix).await;
    let other = Worker::connect(&shared(), &prefix).await;
    for round in 0..4 {
        worker.send("orders", &round.to_string()).await;
        let held = worker.next("orders").await;
        proxy.cut();
        let again = other.next("orders").await;
        assert_eq!((id_of(&again), again.deliveries), (round.to_string(), 2));
        let late = worker.0.settle(&held.receipt, Settlement::Ack).await;
        assert!(!matches!(late, SettleOutcome::Settled), "{late:?}");
        let release = Settlement::Release { after: Duration::ZERO };
        other.settle(&again, release).await;
        // The one that was cut works again, by itself.
        let again = worker.next("orders").await;
        assert_eq!(id_of(&again), round.to_string());
        worker.settle(&again, Settlement::Ack).await;
    }
}

/// A worker that receives while its connection is cut every now and then loses nothing.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_however_often_the_connection_is_cut() {
    let prefix = fresh_prefix();
    let proxy = Proxy::before(&shared());
    let settings = Options { patience: Duration::from_secs(5), ..options(&prefix) };
    let worker = Worker::connect_with(&proxy.address, settings).await;
    let mut missing = std::collections::BTreeSet::new();
    for n in 0..60 {
        let id = n.to_string();
        if let SendOutcome::Sent = worker.try_send("orders", message(&id)).await {
            missing.insert(id);
        }
        if n % 10 == 5 {
            proxy.cut();
        }
    }
    assert!(missing.len() > 40, "{}", missing.len());
    let until = Instant::now() + Duration::from_secs(60);
    let mut round = 0_u32;
    while !missing.is_empty() && Instant::now() < until {
        let Ok(received) = worker.try_receive("orders", 7, Duration::from_millis(300)).await else {
            continue;
        };
        for delivery in received {
            round += 1;
            if round.is_multiple_of(11) {
                proxy.cut();
            }
            if round.is_multiple_of(3) && round < 100 {
                let release = Settlement::Release { after: Duration::ZERO };
                let _ = worker.0.settle(&delivery.receipt, release).await;
            } else if let SettleOutcome::Settled =
                worker.0.settle(&delivery.receipt, Settlement::Ack).await
            {
                missing.remove(&id_of(&delivery));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_network_ends_in_an_answer_and_ends_leases() {
    let prefix = fresh_prefix();
    let proxy = Proxy::before(&shared());
    let settings = Options {
        patience: Duration::from_secs(2),
        heartbeat: Duration::from_secs(1),
        ..options(&prefix)
    };
    let worker = Worker::connect_with(&proxy.address, settings).await;
    let other = Worker::connect(&shared(), &prefix).await;
    worker.send("orders", "1").await;
    let held = worker.next("orders").await;
    proxy.silence();
    let since = Instant::now();
    let sent = worker.try_send("orders", message("2")).await;
    assert!(matches!(sent, SendOutcome::Unknown(_)), "{sent:?}");
    let settled = worker.0.settle(&held.receipt, Settlement::Ack).await;
    assert!(matches!(settled, SettleOutcome::Unknown(_) | SettleOutcome::Stale), "{settled:?}");
    let error = worker.try_receive("orders", 1, Duration::ZERO).await.unwrap_err();
    assert_eq!(error.trouble, Trouble::Unavailable, "{error}");
    assert!(since.elapsed() < Duration::from_secs(15), "{:?}", since.elapsed());
    let again = other.next("orders").await;
    assert_eq!((id_of(&again).as_str(), again.deliveries), ("1", 2));
    // Three heartbeats, and what the calls above took.
    assert!(since.elapsed() < Duration::from_secs(16), "{:?}", since.elapsed());
}

/// Calls do not queue up behind each other's time-outs.
#[tokio::test(flavor = "multi_thread")]
async fn many_calls_into_silence_all_end_in_time() {
    let proxy = Proxy::before(&shared());
    let patience = Duration::from_secs(1);
    let settings = Options { patience, ..options(&fresh_prefix()) };
    let worker = Worker::connect_with(&proxy.address, settings).await;
    let mut held = Vec::new();
    for n in 0..12 {
        worker.send("orders", &n.to_string()).await;
        held.push(worker.next("orders").await);
    }
    proxy.silence();
    let since = Instant::now();
    let mut calls = tokio::task::JoinSet::new();
    for (n, delivery) in held.into_iter().enumerate() {
        let worker = worker.clone();
        calls.spawn(async move {
            let endpoint = format!("new-{n}");
            let settled = worker.0.settle(&delivery.receipt, Settlement::Ack).await;
            assert!(!matches!(settled, SettleOutcome::Settled), "{settled:?}");
            let sent = worker.try_send(&endpoint, message("1")).await;
            assert!(matches!(sent, SendOutcome::Unknown(_)), "{sent:?}");
            worker.try_receive(&endpoint, 1, Duration::ZERO).await.unwrap_err();
        });
    }
    calls.join_all().await;
    assert!(since.elapsed() < Duration::from_secs(9), "{:?}", since.elapsed());
}
