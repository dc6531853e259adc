//! Many who write the same rows.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use semel_core::broker::{Destination, Outgoing, Receive, SendOutcome, SettleOutcome, Settlement};
use semel_core::envelope::PARTITION_KEY;
use semel_core::store::Trouble;
use semel_core::store::{Change, Expect, ItemKey, Keep, Space, WriteOutcome};
use semel_core::{Broker as _, Envelope, Store as _};
use semel_postgres::tokio_postgres::{self, NoTls};
use semel_postgres::{Options, Postgres, Wake};
use semel_servers::{Durability, Postgres as Server};

fn put(key: String) -> Change {
    let key = ItemKey::new(Space::Entity, "account", key);
    Change::Put {
        key,
        value: Bytes::from_static(b"1"),
        expect: Expect::Anything,
        keep: Keep::Always,
    }
}

/// The keys from 0 to 39, in an order that each number has for itself.
fn shuffled(number: usize) -> Vec<Change> {
    let step = [1, 3, 7, 9, 11, 13, 17, 19][number % 8];
    (0..40).map(|at| put(format!("key-{}", (at * step + number) % 40))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_in_any_order_never_lock_each_other_out() {
    let folder = semel_servers::folder().join("tests/postgres-order");
    let server = Server::start(&folder, Durability::Kill).unwrap();
    let mut writers = Vec::new();
    for writer in 0..4 {
        let options = Options { wake: Wake::Look, ..Options::default() };
        let place = Postgres::connect_with(&server.address(), options).await.unwrap();
        let place = Arc::new(place);
        writers.push(tokio::spawn(async move {
            for round in 0..60 {
                let outcome = place.write(shuffled(writer * 60 + round)).await;
                assert!(matches!(outcome, WriteOutcome::Applied(_)), "{outcome:?}");
            }
        }));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let sql = "SELECT deadlocks FROM pg_stat_database WHERE datname = 'postgres'";
    assert_eq!(server.run(sql).unwrap(), "0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_somebody_holds_stops_only_those_who_want_it() {
    let schema = crate::rig::fresh_schema();
    let options = Options { schema: schema.clone(), ..Options::default() };
    let place = Postgres::connect_with(&crate::rig::address(), options).await.unwrap();
    let place = Arc::new(place);
    let applied = place.write(vec![put("held".to_owned())]).await;
    assert!(matches!(applied, WriteOutcome::Applied(_)));
    let (mut client, connection) =
        tokio_postgres::connect(&crate::rig::address(), NoTls).await.unwrap();
    tokio::spawn(connection);
    let holding = client.transaction().await.unwrap();
    holding.execute(&format!("SELECT FROM {schema}.entity FOR UPDATE"), &[]).await.unwrap();
    let write = |key: &str| {
        let (place, change) = (place.clone(), put(key.to_owned()));
        async move { place.write(vec![change]).await }
    };
    let (held, other, another) = tokio::join!(write("held"), write("a"), write("b"));
    assert!(matches!(other, WriteOutcome::Applied(_)), "{other:?}");
    assert!(matches!(another, WriteOutcome::Applied(_)), "{another:?}");
    let WriteOutcome::Unknown(error) = held else { panic!("{held:?}") };
    assert_eq!(error.trouble, Trouble::Unavailable);
    assert!(error.to_string().contains("holds rows"), "{error}");
    holding.rollback().await.unwrap();
    assert!(matches!(write("held").await, WriteOutcome::Applied(_)));
}

/// Of one key some messages are taken at a time. Whoever waits for the next is given them when those
/// are done, however seldom it looks by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_behind_its_key_comes_when_that_is_done() {
    let schema = crate::rig::fresh_schema();
    let options = Options { schema, look_every: Duration::from_secs(600), ..Options::default() };
    let place = Postgres::connect_with(&crate::rig::address(), options).await.unwrap();
    let place = Arc::new(place);
    let messages = (0..150).map(|number: u32| {
        let mut envelope = Envelope::new(number.to_string(), "/test", "t", Bytes::new());
        envelope.set_text(PARTITION_KEY, "one");
        let to = Destination::Endpoint("hot".to_owned());
        Outgoing { to, envelope, delay: Duration::ZERO }
    });
    let sent = place.send(messages.collect()).await;
    assert!(sent.iter().all(|sent| matches!(sent, SendOutcome::Sent)));
    let receive = |wait| {
        let (endpoint, lease) = ("hot".to_owned(), Duration::from_secs(600));
        let (place, request) = (place.clone(), Receive { endpoint, max: 1_000, lease, wait });
        async move { place.receive(&request).await.unwrap() }
    };
    let first = receive(Duration::ZERO).await;
    assert!(first.len() < 150, "all of them at once: nothing waits");
    let next = tokio::spawn(receive(Duration::from_secs(20)));
    tokio::time::sleep(Duration::from_millis(300)).await;
    for delivery in &first {
        let outcome = place.settle(&delivery.receipt, Settlement::Ack).await;
        assert!(matches!(outcome, SettleOutcome::Settled), "{outcome:?}");
    }
    assert_eq!(first.len() + next.await.unwrap().len(), 150);
}

/// Whoever takes one message at a time takes it from among those without a key every other time;
/// that must not bring it back to the first key.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_key_has_its_turn_where_one_message_is_taken_at_a_time() {
    const KEYS: u32 = 16;
    let options = Options { schema: crate::rig::fresh_schema(), ..Options::default() };
    let place = Postgres::connect_with(&crate::rig::address(), options).await.unwrap();
    let messages = (0..400).map(|number: u32| {
        let mut envelope = Envelope::new(number.to_string(), "/test", "t", Bytes::new());
        if number < 200 {
            envelope.set_text(PARTITION_KEY, format!("{:02}", number % KEYS));
        }
        let to = Destination::Endpoint("busy".to_owned());
        Outgoing { to, envelope, delay: Duration::ZERO }
    });
    let sent = place.send(messages.collect()).await;
    assert!(sent.iter().all(|sent| matches!(sent, SendOutcome::Sent)));
    let (endpoint, lease) = ("busy".to_owned(), Duration::from_secs(600));
    let one = Receive { endpoint, max: 1, lease, wait: Duration::ZERO };
    let mut turns = std::collections::BTreeMap::new();
    for _ in 0..160 {
        let taken = place.receive(&one).await.unwrap();
        let [delivery] = &taken[..] else { panic!("one at a time: {taken:?}") };
        let key = delivery.envelope.as_ref().unwrap().text(PARTITION_KEY).map(str::to_owned);
        *turns.entry(key).or_insert(0) += 1;
        let outcome = place.settle(&delivery.receipt, Settlement::Ack).await;
        assert!(matches!(outcome, SettleOutcome::Settled), "{outcome:?}");
    }
    let of_none = turns.remove(&None).unwrap_or_default();
    assert!(of_none > 40, "those without a key: {of_none} of 160");
    let (fewest, most) = (turns.values().min().unwrap(), turns.values().max().unwrap());
    assert!(turns.len() == KEYS as usize && most - fewest <= 1, "{turns:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_no_index_holds_is_refused_alone() {
    let options = Options { schema: crate::rig::fresh_schema(), ..Options::default() };
    let place = Postgres::connect_with(&crate::rig::address(), options).await.unwrap();
    // What looks random is not compressed.
    let long: String = (0_u64..400)
        .map(|n| format!("{:016x}", (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)))
        .collect();
    let (long, short) =
        tokio::join!(place.write(vec![put(long)]), place.write(vec![put("short".to_owned())]));
    assert!(matches!(short, WriteOutcome::Applied(_)), "{short:?}");
    let WriteOutcome::Refused(error) = long else { panic!("{long:?}") };
    assert_eq!(error.trouble, Trouble::TooLarge, "{error}");
}
