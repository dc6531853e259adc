//! Another program that holds the write lock.

use std::time::Duration;

use semel_core::broker::{Lease, Registration, SendOutcome, SettleOutcome, Settlement};
use semel_core::store::{Trouble, WriteOutcome};
use semel_core::{Broker, Clock, Store, StoreError};
use semel_sqlite::{Options, Sqlite};

use crate::rig::{LEASE, QUEUE, Rig, applied, assert_says, entity, message, put, queued, receive};
use crate::rig::{send, take, value};

fn open_for(rig: &Rig, lock_wait: Duration) -> Sqlite {
    Sqlite::open_with(rig.path(), Options { lock_wait, ..rig.options() }).unwrap()
}

fn registration() -> Registration {
    let name = QUEUE.to_owned();
    Registration { endpoint: name.clone(), protocol: name, subscriptions: Vec::new() }
}

#[tokio::test]
async fn a_lock_held_too_long_is_passing_trouble_that_names_the_lock() {
    let rig = Rig::new();
    let file = open_for(&rig, Duration::from_millis(20));
    send(&file, "m-1").await;
    let held = take(&file, 1).await.remove(0).receipt;
    send(&file, "m-2").await;

    let lock = rig.lock();
    let mut errors: Vec<StoreError> = Vec::new();
    match file.write(vec![put(entity("alice"), "1")]).await {
        WriteOutcome::Unknown(error) => errors.push(error),
        other => panic!("{other:?}"),
    }
    match file.send(vec![queued(message("m-3"))]).await.remove(0) {
        SendOutcome::Unknown(error) => errors.push(error),
        other => panic!("{other:?}"),
    }
    match file.settle(&held, Settlement::Ack).await {
        SettleOutcome::Unknown(error) => errors.push(error),
        other => panic!("{other:?}"),
    }
    errors.push(file.receive(&receive(1)).await.unwrap_err());
    errors.push(file.extend(std::slice::from_ref(&held), LEASE).await.unwrap_err());
    errors.push(file.register(&registration()).await.unwrap_err());
    for error in errors {
        assert_says(&error, Trouble::Unavailable, &["holds the write lock"]);
        assert!(error.is_passing());
    }
    assert_eq!(value(&file, entity("alice")).await, None, "reading needs no lock");

    drop(lock);
    assert_eq!(rig.ask::<i64>("SELECT count(*) FROM queue"), 2, "nothing was done halfway");
    applied(file.write(vec![put(entity("alice"), "1")]).await);
    send(&file, "m-3").await;
    assert_eq!(file.extend(std::slice::from_ref(&held), LEASE).await.unwrap(), [Lease::Held]);
    assert!(matches!(file.settle(&held, Settlement::Ack).await, SettleOutcome::Settled));
    file.register(&registration()).await.unwrap();
    assert_eq!(take(&file, 9).await.len(), 2);
}

#[tokio::test]
async fn a_lock_that_ends_in_time_costs_nothing_but_time() {
    let rig = Rig::new();
    let file = std::sync::Arc::new(rig.open());
    let lock = rig.lock();
    let mut writes = tokio::task::JoinSet::new();
    for n in 0..50 {
        let file = file.clone();
        writes.spawn(async move { file.write(vec![put(entity(n.to_string()), "1")]).await });
    }
    tokio::task::yield_now().await;
    drop(lock);
    for outcome in writes.join_all().await {
        applied(outcome);
    }
    assert_eq!(rig.ask::<i64>("SELECT count(*) FROM entity"), 50);
}

/// Neither what is asked before, nor records that could be dropped, add a second wait. Another
/// handle that waits half as long again is the measure: it must be told last.
#[tokio::test]
async fn a_request_waits_for_the_lock_once() {
    let rig = Rig::new();
    let file = std::sync::Arc::new(open_for(&rig, Duration::from_millis(800)));
    let measure = open_for(&rig, Duration::from_millis(1_300));
    applied(file.write(vec![put(entity("alice"), "1")]).await);
    rig.clock.advance(Duration::from_secs(3_600));
    let lock = rig.lock();
    let first = tokio::spawn({
        let file = file.clone();
        async move { file.write(vec![put(entity("alice"), "2")]).await }
    });
    // The writer has begun to wait for the first one's sake when the second comes.
    tokio::time::sleep(Duration::from_millis(30)).await;
    let second = file.write(vec![put(entity("alice"), "3")]);
    let last = tokio::select! {
        outcome = second => { assert!(matches!(outcome, WriteOutcome::Unknown(_))); "the measure" }
        _ = measure.write(vec![put(entity("alice"), "4")]) => "the second",
    };
    assert_eq!(last, "the measure");
    assert!(matches!(first.await.unwrap(), WriteOutcome::Unknown(_)));
    drop(lock);
    assert_eq!(value(&file, entity("alice")).await.unwrap(), "1");
}

#[tokio::test]
async fn whoever_came_later_waits_on_when_others_give_up() {
    let rig = Rig::new();
    let file = std::sync::Arc::new(open_for(&rig, Duration::from_secs(3)));
    let lock = rig.lock();
    let write = |name: &'static str| {
        let file = file.clone();
        tokio::spawn(async move { file.write(vec![put(entity(name), "1")]).await })
    };
    let first = write("first");
    tokio::time::sleep(Duration::from_millis(100)).await;
    // These two wait together while the writer waits for the sake of the first.
    let second = write("second");
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let third = write("third");
    assert!(matches!(first.await.unwrap(), WriteOutcome::Unknown(_)));
    assert!(matches!(second.await.unwrap(), WriteOutcome::Unknown(_)));
    drop(lock);
    applied(third.await.unwrap());
    assert_eq!(rig.ask::<String>("SELECT group_concat(entity_id) FROM entity"), "third");
}

#[tokio::test]
async fn a_lease_begins_when_the_lock_is_won() {
    let rig = Rig::new();
    let file = std::sync::Arc::new(rig.open());
    send(&file, "m-1").await;
    let lock = rig.lock();
    let receiving = tokio::spawn({
        let file = file.clone();
        async move { take(&file, 1).await }
    });
    // By now the writer waits for the lock.
    tokio::time::sleep(Duration::from_millis(50)).await;
    rig.clock.advance(Duration::from_secs(3_600));
    drop(lock);
    assert_eq!(receiving.await.unwrap().len(), 1);
    let leased_until: i64 = rig.ask("SELECT available_at FROM queue");
    assert_eq!(leased_until, rig.clock.now().after(LEASE).unix_ms());
}

#[tokio::test]
async fn there_is_no_wait_that_is_too_long_to_be_told() {
    let rig = Rig::new();
    let file = open_for(&rig, Duration::MAX);
    applied(file.write(vec![put(entity("alice"), "1")]).await);
    assert_eq!(value(&file, entity("alice")).await.unwrap(), "1");
}
