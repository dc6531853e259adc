//! The record decides, whatever the consumer's timers and other clients do.

use std::time::{Duration, Instant};

use async_nats::HeaderMap;
use semel_core::Broker as _;
use semel_core::broker::{DeadReason, Delivery, Receipt, Registration, SettleOutcome, Settlement};
use semel_core::operator::Operator as _;
use semel_nats::Nats;
use semel_servers::Weather;
use serde_json::{Value, json};

use crate::messages::failure;
use crate::rig::{
    LONG, NatsRig, address_of, before, dead_letters, fresh, id, message, next, private, receive,
    sent, settled,
};

const AT_ONCE: Settlement = Settlement::Release { after: Duration::ZERO };

fn dead() -> Settlement {
    let reason = DeadReason::HandlerFailed;
    Settlement::DeadLetter { reason, failure: failure(), entity: None }
}

/// The subject under which the consumer is told about a delivery.
fn ack(receipt: &Receipt) -> String {
    receipt.as_str().splitn(4, ' ').nth(3).unwrap().to_owned()
}

/// Tells the consumer something behind Semel's back.
async fn tell(rig: &NatsRig, delivery: &Delivery, word: &'static str) {
    let bare = rig.bare().await;
    bare.request(ack(&delivery.receipt), word.into()).await.unwrap();
}

async fn api(rig: &NatsRig, what: String) -> Value {
    let answer = rig.bare().await.request(format!("$JS.API.{what}"), "{}".into()).await.unwrap();
    serde_json::from_slice(&answer.payload).unwrap()
}

async fn nothing(nats: &Nats) {
    let received = receive(nats, 10, LONG, Duration::from_millis(300)).await.unwrap();
    assert!(received.is_empty(), "{received:?}");
}

/// How many messages and records of `orders` there are.
async fn left(rig: &NatsRig) -> (u64, usize) {
    let info = api(rig, format!("STREAM.INFO.{}", rig.queue_stream("orders"))).await;
    let messages = info["state"]["messages"].as_u64().unwrap();
    let filter = json!({ "subjects_filter": format!("{}.state.orders.*", rig.options.prefix) });
    let question = format!("$JS.API.STREAM.INFO.{}", rig.state_stream());
    let answer = rig.bare().await.request(question, filter.to_string().into()).await.unwrap();
    let info: Value = serde_json::from_slice(&answer.payload).unwrap();
    (messages, info["state"]["subjects"].as_object().map_or(0, serde_json::Map::len))
}

/// The same, when what is removed in the background is gone, or after ten seconds.
async fn await_left(rig: &NatsRig, messages: u64, records: usize) -> (u64, usize) {
    let start = Instant::now();
    loop {
        let now = left(rig).await;
        if now == (messages, records) || start.elapsed() > Duration::from_secs(10) {
            return now;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A consumer that offers a leased message too early (its leader died with the word about the lease)
/// gives it to nobody.
#[tokio::test]
async fn a_lease_holds_though_the_consumer_forgot_it() {
    let rig = fresh().await;
    let (nats, other) = (rig.open().await, rig.open().await);
    sent(&nats, message("1")).await;
    let delivery = next(&nats, Duration::from_secs(4)).await;
    for _ in 0..3 {
        tell(&rig, &delivery, "-NAK").await;
        nothing(&other).await;
    }
    // It comes when the lease has ended, not when the consumer thought.
    let again = next(&other, LONG).await;
    assert_eq!((id(&again), again.deliveries), ("1", 2));
    let outcome = nats.settle(&delivery.receipt, Settlement::Ack).await;
    assert!(matches!(outcome, SettleOutcome::Stale), "{outcome:?}");
    settled(&other, &again, Settlement::Ack).await;
}

/// So it is with a message that waits, and with a dead letter.
#[tokio::test]
async fn what_waits_and_what_is_dead_stay_so() {
    let rig = fresh().await;
    let nats = rig.open().await;
    for name in ["waits", "dead"] {
        sent(&nats, message(name)).await;
    }
    let waits = next(&nats, LONG).await;
    settled(&nats, &waits, Settlement::Release { after: LONG }).await;
    let parked = next(&nats, LONG).await;
    settled(&nats, &parked, dead()).await;
    for delivery in [&waits, &parked] {
        tell(&rig, delivery, "-NAK").await;
        nothing(&nats).await;
    }
    let report = nats.inspect().await.unwrap();
    let orders = &report.endpoints["orders"];
    assert_eq!((orders.ready, orders.delayed, orders.dead_letters), (0, 1, 1));
}

/// A dead letter that the consumer has offered since, while others were settled, is replayed at once.
#[tokio::test]
async fn an_old_dead_letter_is_replayed_at_once() {
    let rig = fresh().await;
    let nats = rig.open().await;
    for n in 0..4 {
        sent(&nats, message(n.to_string())).await;
    }
    let parked = next(&nats, LONG).await;
    settled(&nats, &parked, dead()).await;
    tell(&rig, &parked, "-NAK").await;
    for _ in 0..3 {
        let delivery = next(&nats, LONG).await;
        settled(&nats, &delivery, Settlement::Ack).await;
    }
    nothing(&nats).await;
    let letter = dead_letters(&nats).await.remove(0);
    let outcome = rig.open().await.settle(&letter.receipt, AT_ONCE).await;
    assert!(matches!(outcome, SettleOutcome::Settled), "{outcome:?}");
    let received = receive(&nats, 1, LONG, Duration::from_secs(1)).await.unwrap();
    assert_eq!(received.iter().map(id).collect::<Vec<_>>(), ["0"]);
}

/// A consumer that a person deleted is made again, and begins anew: leases hold, the dead stay dead,
/// and what is there comes.
#[tokio::test]
async fn a_deleted_consumer_changes_no_fate() {
    let rig = fresh().await;
    let nats = rig.open().await;
    // The old consumer has counted further than the new one will have.
    for n in 0..10 {
        sent(&nats, message(n.to_string())).await;
        settled(&nats, &next(&nats, LONG).await, Settlement::Ack).await;
    }
    for name in ["leased", "dead", "ready"] {
        sent(&nats, message(name)).await;
    }
    let leased = next(&nats, LONG).await;
    let parked = next(&nats, LONG).await;
    settled(&nats, &parked, dead()).await;
    api(&rig, format!("CONSUMER.DELETE.{}.workers", rig.queue_stream("orders"))).await;
    let received = crate::rig::until(Duration::from_secs(10), || async {
        receive(&nats, 10, LONG, Duration::from_millis(200)).await
    })
    .await;
    assert_eq!(received.iter().map(id).collect::<Vec<_>>(), ["ready"]);
    settled(&nats, &leased, Settlement::Ack).await;
    settled(&nats, &received[0], Settlement::Ack).await;
    let letter = dead_letters(&nats).await.remove(0);
    let outcome = nats.settle(&letter.receipt, AT_ONCE).await;
    assert!(matches!(outcome, SettleOutcome::Settled), "{outcome:?}");
    assert_eq!(id(&next(&nats, LONG).await), "dead");
}

/// A record that somebody damaged is no reason to lose its message, and is told with it.
#[tokio::test]
async fn a_damaged_record_loses_no_message() {
    let rig = fresh().await;
    let nats = rig.open().await;
    sent(&nats, message("1")).await;
    let delivery = next(&nats, Duration::from_secs(1)).await;
    let subject = format!("{}.state.orders.1", rig.options.prefix);
    let bare = rig.bare().await;
    bare.request_with_headers(subject, HeaderMap::new(), "scribble".into()).await.unwrap();
    let outcome = nats.settle(&delivery.receipt, Settlement::Ack).await;
    assert!(matches!(outcome, SettleOutcome::Stale), "{outcome:?}");
    let again = next(&nats, LONG).await;
    assert_eq!(id(&again), "1");
    assert!(again.failures[0].reason.contains("unreadable history"), "{:?}", again.failures);
    settled(&nats, &again, Settlement::Ack).await;
}

/// What a crashed worker left is swept when its endpoint registers: the message that was done, and
/// the record of one that is gone.
#[tokio::test]
async fn registering_sweeps_what_a_crash_left() {
    let rig = fresh().await;
    let nats = rig.open().await;
    for name in ["done", "gone"] {
        sent(&nats, message(name)).await;
    }
    let done = next(&nats, LONG).await;
    let gone = next(&nats, Duration::from_millis(1)).await;
    let bare = rig.bare().await;
    // As a worker would leave it that died after it had decided.
    let state = rig.state_stream();
    let subject = format!("{}.state.orders.1", rig.options.prefix);
    let last = json!({ "last_by_subj": subject }).to_string();
    let get = format!("$JS.API.STREAM.MSG.GET.{state}");
    let found = bare.request(get, last.into()).await.unwrap();
    let found: Value = serde_json::from_slice(&found.payload).unwrap();
    let stored: i64 = ack(&done.receipt).split('.').nth(7).unwrap().parse().unwrap();
    let record = json!({ "state": "done", "until": 0, "stored": stored }).to_string();
    let mut headers = HeaderMap::new();
    let revision = found["message"]["seq"].to_string();
    headers.insert("Nats-Expected-Last-Subject-Sequence", revision);
    bare.request_with_headers(subject, headers, record.into()).await.unwrap();
    tell(&rig, &gone, "+ACK").await;

    let registration = Registration {
        endpoint: "orders".to_owned(),
        protocol: "outbox".to_owned(),
        subscriptions: Vec::new(),
    };
    nats.register(&registration).await.unwrap();
    assert_eq!(await_left(&rig, 0, 0).await, (0, 0));
}

/// A worker whose claim lands when another has long settled the message gets nothing, and leaves
/// nothing behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_that_lands_late_revives_nothing() {
    let server = private("late");
    let mut rig = fresh().await;
    rig.address = server.address();
    let proxy = before(&server);
    let held_up = Nats::connect(&address_of(&proxy), rig.options.clone()).await.unwrap();
    let nats = rig.open().await;
    assert!(receive(&held_up, 1, LONG, Duration::ZERO).await.unwrap().is_empty());
    let waiting =
        tokio::spawn(async move { receive(&held_up, 1, LONG, Duration::from_secs(4)).await });
    // Its request to receive is through; its claim will not be.
    tokio::time::sleep(Duration::from_millis(500)).await;
    proxy.set(Weather::HoldRequests);
    // With another one behind it, the message is removed.
    for name in ["1", "2"] {
        sent(&nats, message(name)).await;
        let delivery = next(&nats, LONG).await;
        assert_eq!(id(&delivery), name);
        settled(&nats, &delivery, Settlement::Ack).await;
    }
    proxy.set(Weather::Fair);
    let received = waiting.await.unwrap().unwrap();
    assert!(received.is_empty(), "{received:?}");
    // The last message stays, with its record, and what the late claim noted goes.
    assert_eq!(await_left(&rig, 1, 1).await, (1, 1));
}

/// Nothing is left of messages that came and went, but the last one.
#[tokio::test]
async fn settled_messages_leave_nothing_but_the_last() {
    let rig = fresh().await;
    let nats = rig.open().await;
    for n in 0..20 {
        sent(&nats, message(n.to_string())).await;
    }
    for delivery in receive(&nats, 20, LONG, Duration::ZERO).await.unwrap() {
        settled(&nats, &delivery, Settlement::Ack).await;
    }
    assert_eq!(await_left(&rig, 1, 1).await, (1, 1));
    let consumer = api(&rig, format!("CONSUMER.INFO.{}.workers", rig.queue_stream("orders"))).await;
    assert_eq!(consumer["num_ack_pending"], 1, "the consumer waits for nothing else");
    let cursors = api(&rig, format!("STREAM.INFO.{}", rig.state_stream())).await;
    assert_eq!(cursors["state"]["consumer_count"], 0);
}

/// A dead letter whose message somebody removed by hand is still shown, and can be removed.
#[tokio::test]
async fn a_dead_letter_without_its_message_is_shown() {
    let rig = fresh().await;
    let nats = rig.open().await;
    sent(&nats, message("1")).await;
    let parked = next(&nats, LONG).await;
    settled(&nats, &parked, dead()).await;
    api(&rig, format!("STREAM.PURGE.{}", rig.queue_stream("orders"))).await;
    let letter = dead_letters(&nats).await.remove(0);
    assert!(letter.envelope.is_err() && letter.raw.is_empty());
    let outcome = nats.settle(&letter.receipt, Settlement::Ack).await;
    assert!(matches!(outcome, SettleOutcome::Settled), "{outcome:?}");
    assert!(dead_letters(&nats).await.is_empty());
}

/// A dead letter that is discarded is gone when its settlement is answered: whoever discards it is
/// often a program that ends then.
#[tokio::test]
async fn a_discarded_dead_letter_is_gone_at_once() {
    let rig = fresh().await;
    let nats = rig.open().await;
    for name in ["1", "2"] {
        sent(&nats, message(name)).await;
    }
    let parked = next(&nats, LONG).await;
    settled(&nats, &parked, dead()).await;
    let program = rig.open().await;
    let letter = dead_letters(&program).await.remove(0);
    let outcome = program.settle(&letter.receipt, Settlement::Ack).await;
    assert!(matches!(outcome, SettleOutcome::Settled), "{outcome:?}");
    drop(program);
    assert_eq!(left(&rig).await.0, 1);
}

/// Registrations that are older than those a server showed before are no answer: messages would be
/// sent to nobody, and no one would know.
#[tokio::test]
async fn registrations_that_vanish_are_no_empty_list() {
    let rig = fresh().await;
    let nats = rig.open().await;
    let registration = Registration {
        endpoint: "orders".to_owned(),
        protocol: "outbox".to_owned(),
        subscriptions: vec!["order.placed".to_owned()],
    };
    nats.register(&registration).await.unwrap();
    assert_eq!(nats.subscribers("order.placed").await.unwrap(), ["orders"]);
    api(&rig, format!("STREAM.PURGE.{}", rig.state_stream())).await;
    let error = nats.subscribers("order.placed").await.unwrap_err();
    assert!(error.is_passing(), "{error}");
}
