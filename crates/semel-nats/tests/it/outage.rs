//! Servers that die, stand still or cannot be reached.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use semel_core::Broker as _;
use semel_core::broker::{Lease, Registration, SendOutcome, SettleOutcome, Settlement};
use semel_core::operator::Operator as _;
use semel_core::store::Trouble;
use semel_nats::{Nats, Options};
use semel_servers::Weather;

use crate::rig::{
    LONG, address_of, before, fresh_options, id, message, next, private, receive, send, sent,
    settled, until, within,
};

/// Options under which a call ends within a second.
fn hasty() -> Options {
    Options { call_timeout: Duration::from_secs(1), ..fresh_options() }
}

async fn connect(address: &str, options: &Options) -> Nats {
    until(Duration::from_secs(20), || Nats::connect(address, options.clone())).await
}

/// Kills the server again and again while one sends and another receives and acknowledges.
/// Whatever was `Sent` comes, and what was `Settled` does not come again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_confirmed_survives_a_killed_server() {
    let mut server = private("killed");
    let options = hasty();
    let (address, ended) = (server.address(), Arc::new(AtomicBool::new(false)));
    let sender = tokio::spawn({
        let (nats, ended) = (connect(&address, &options).await, ended.clone());
        async move {
            let mut confirmed = BTreeSet::new();
            for number in 0.. {
                if ended.load(Ordering::SeqCst) {
                    break;
                }
                let outcome = send(&nats, message(format!("{number:06}"))).await;
                if matches!(outcome, SendOutcome::Sent) {
                    confirmed.insert(format!("{number:06}"));
                } else {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
            confirmed
        }
    });
    let worker = connect(&address, &options).await;
    let (mut seen, mut done) = (BTreeSet::new(), BTreeSet::new());
    for _ in 0..6 {
        work(&worker, Duration::from_millis(700), &mut seen, &mut done).await;
        server.kill();
        work(&worker, Duration::from_millis(300), &mut seen, &mut done).await;
        server.resume().unwrap();
    }
    work(&worker, Duration::from_secs(1), &mut seen, &mut done).await;
    ended.store(true, Ordering::SeqCst);
    let confirmed = sender.await.unwrap();
    let start = Instant::now();
    while !confirmed.is_subset(&seen) && start.elapsed() < Duration::from_secs(30) {
        work(&worker, Duration::from_millis(500), &mut seen, &mut done).await;
    }
    let lost: Vec<&String> = confirmed.difference(&seen).collect();
    assert!(lost.is_empty(), "{} of {} are lost: {lost:?}", lost.len(), confirmed.len());
    assert!(confirmed.len() > 30 && done.len() > 30, "{} {}", confirmed.len(), done.len());
}

/// Receives and acknowledges for a while.
async fn work(
    nats: &Nats,
    span: Duration,
    seen: &mut BTreeSet<String>,
    done: &mut BTreeSet<String>,
) {
    let start = Instant::now();
    while start.elapsed() < span {
        let received = receive(nats, 20, Duration::from_secs(2), Duration::from_millis(100)).await;
        for delivery in received.unwrap_or_default() {
            let id = id(&delivery).to_owned();
            assert!(!done.contains(&id), "{id} was settled and came again");
            if let SettleOutcome::Settled = nats.settle(&delivery.receipt, Settlement::Ack).await {
                done.insert(id.clone());
            }
            seen.insert(id);
        }
    }
}

/// A lease, a wait and a dead letter outlive the server's death.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_survive_a_killed_server() {
    let mut server = private("records");
    let options = hasty();
    let nats = connect(&server.address(), &options).await;
    for name in ["leased", "dead", "retried"] {
        sent(&nats, message(name)).await;
    }
    let leased = next(&nats, Duration::from_secs(8)).await;
    let dead = next(&nats, LONG).await;
    let retried = next(&nats, LONG).await;
    let failure = crate::messages::failure();
    let reason = semel_core::broker::DeadReason::HandlerFailed;
    let parked = Settlement::DeadLetter { reason, failure: failure.clone(), entity: None };
    settled(&nats, &dead, parked).await;
    settled(&nats, &retried, Settlement::Retry { after: Duration::ZERO, failure }).await;
    server.kill();
    server.resume().unwrap();
    let again = until(Duration::from_secs(20), || async {
        let wait = Duration::from_millis(100);
        receive(&nats, 10, LONG, wait).await
    })
    .await;
    let ids: Vec<&str> = again.iter().map(id).collect();
    assert_eq!(ids, ["retried"], "the lease holds, and the dead stay dead");
    assert_eq!((again[0].deliveries, again[0].failure_count), (2, 1));
    assert_eq!(crate::rig::dead_letters(&nats).await.len(), 1);
    settled(&nats, &leased, Settlement::Ack).await;
    settled(&nats, &again[0], Settlement::Ack).await;
}

/// A server that stands still answers nothing: each call ends in time as unavailable or unknown.
/// When it goes on, so do we.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_server_hangs_nobody() {
    let server = private("stopped");
    let nats = connect(&server.address(), &hasty()).await;
    for name in ["1", "2"] {
        sent(&nats, message(name)).await;
    }
    let delivery = next(&nats, LONG).await;
    server.signal("STOP").unwrap();
    nobody_hangs(&nats, &delivery.receipt).await;
    server.signal("CONT").unwrap();
    until(Duration::from_secs(20), || nats.inspect()).await;
    // What was unknown may have been done since.
    let outcome = nats.settle(&delivery.receipt, Settlement::Ack).await;
    assert!(matches!(outcome, SettleOutcome::Settled | SettleOutcome::Stale), "{outcome:?}");
}

/// The same where packets vanish.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_black_hole_hangs_nobody() {
    let server = private("hole");
    let proxy = before(&server);
    let nats = connect(&address_of(&proxy), &hasty()).await;
    sent(&nats, message("1")).await;
    let delivery = next(&nats, LONG).await;
    proxy.set(Weather::Silence);
    nobody_hangs(&nats, &delivery.receipt).await;
    proxy.set(Weather::Closed);
    tokio::time::sleep(Duration::from_millis(100)).await;
    proxy.set(Weather::Fair);
    until(Duration::from_secs(20), || nats.inspect()).await;
    settled(&nats, &delivery, Settlement::Ack).await;
}

/// Every call of broker and operator, against a server that says nothing.
async fn nobody_hangs(nats: &Nats, receipt: &semel_core::broker::Receipt) {
    let limit = Duration::from_secs(4);
    let outcome = within(limit, send(nats, message("9"))).await;
    let SendOutcome::Unknown(error) = outcome else { panic!("{outcome:?}") };
    assert_eq!(error.trouble, Trouble::Unavailable);
    let error = within(limit, receive(nats, 1, LONG, Duration::from_millis(10))).await.unwrap_err();
    assert_eq!(error.trouble, Trouble::Unavailable);
    let outcome = within(limit, nats.settle(receipt, Settlement::Ack)).await;
    assert!(matches!(outcome, SettleOutcome::Unknown(_)), "{outcome:?}");
    let extended = within(limit, nats.extend(std::slice::from_ref(receipt), LONG)).await;
    assert!(extended.is_err(), "{extended:?}");
    assert!(within(limit, nats.inspect()).await.is_err());
    assert!(within(limit, nats.dead_letter(1)).await.is_err());
    assert!(within(limit, nats.subscribers("order.placed")).await.is_err());
    let registration = Registration {
        endpoint: "late".to_owned(),
        protocol: "outbox".to_owned(),
        subscriptions: Vec::new(),
    };
    assert!(within(limit, nats.register(&registration)).await.is_err());
}

/// A send whose reply was lost is unknown, and here it was kept: saying it failed would be a lie, and
/// saying it was sent a guess.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_send_without_its_reply_is_unknown() {
    let server = private("replies");
    let proxy = before(&server);
    let options = hasty();
    let robbed = connect(&address_of(&proxy), &options).await;
    let other = connect(&server.address(), &options).await;
    sent(&robbed, message("before")).await;
    proxy.set(Weather::LoseReplies);
    let outcome = send(&robbed, message("lost")).await;
    assert!(matches!(outcome, SendOutcome::Unknown(_)), "{outcome:?}");
    for expected in ["before", "lost"] {
        assert_eq!(id(&next(&other, LONG).await), expected);
    }
}

/// A settlement whose reply was lost is unknown; told again, it is stale, for it was done.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_settlement_without_its_reply_is_unknown() {
    let server = private("settled");
    let proxy = before(&server);
    let options = hasty();
    let robbed = connect(&address_of(&proxy), &options).await;
    let other = connect(&server.address(), &options).await;
    sent(&robbed, message("1")).await;
    let delivery = next(&robbed, Duration::from_secs(3)).await;
    proxy.set(Weather::LoseReplies);
    let outcome = robbed.settle(&delivery.receipt, Settlement::Ack).await;
    assert!(matches!(outcome, SettleOutcome::Unknown(_)), "{outcome:?}");
    let outcome = other.settle(&delivery.receipt, Settlement::Ack).await;
    assert!(matches!(outcome, SettleOutcome::Stale), "{outcome:?}");
    // Its worker could not remove it any more: whoever is offered it next does.
    let again = receive(&other, 1, LONG, Duration::from_secs(5)).await.unwrap();
    assert!(again.is_empty(), "{again:?}");
    let report = other.inspect().await.unwrap().endpoints.remove("orders").unwrap();
    assert_eq!((report.ready, report.in_flight, report.oldest), (0, 0, None));
}

/// A connection that is cut comes back by itself, and what was leased before is ours still.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_connection_comes_back_by_itself() {
    let server = private("cut");
    let proxy = before(&server);
    let nats = connect(&address_of(&proxy), &hasty()).await;
    sent(&nats, message("1")).await;
    let delivery = next(&nats, LONG).await;
    for _ in 0..3 {
        let (received, ()) = tokio::join!(
            within(Duration::from_secs(4), receive(&nats, 1, LONG, Duration::from_secs(20))),
            async {
                tokio::time::sleep(Duration::from_millis(200)).await;
                proxy.set(Weather::Closed);
            }
        );
        assert!(received.is_err(), "a receive notices that its connection was cut: {received:?}");
        proxy.set(Weather::Fair);
        until(Duration::from_secs(20), || nats.inspect()).await;
    }
    let leases = nats.extend(std::slice::from_ref(&delivery.receipt), LONG).await.unwrap();
    assert_eq!(leases, [Lease::Held]);
    settled(&nats, &delivery, Settlement::Ack).await;
    sent(&nats, message("2")).await;
    assert_eq!(id(&next(&nats, LONG).await), "2");
}
