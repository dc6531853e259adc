//! Lost answers, late writes, crashes, and others that come in between.

use axum::http::StatusCode;
use semel_http::{Problem, Settings, problem};

use crate::faults::Op::{Apply, Defer, Hang, Hold, Land, SayConflict, SayRefused, SayUnknown};
use crate::faults::ReadFault::{Fail, Pass, Wait};
use crate::faults::{Op, ReadFault, Script};
use crate::rig::{Cart, File, PlaceOrder, add, order, order_under, patient, sledge, submission};

/// What can befall a write.
const FAULTS: [&[Op]; 7] = [
    // Applied but reported failed.
    &[Apply, SayUnknown],
    // Failed, not applied.
    &[SayUnknown],
    // Failed, and lands later.
    &[Defer, SayUnknown],
    // An earlier one lands just before it.
    &[Land, Apply],
    // An earlier one lands just after it.
    &[Apply, Land],
    // Another process came first, with something that changed nothing in the end.
    &[SayConflict],
    // Applied twice by a layer below: it reports the second time.
    &[Apply, Apply],
];

/// Every sequence of three faults out of `faults`.
fn sequences(faults: &[&'static [Op]]) -> Vec<[&'static [Op]; 3]> {
    let mut all = Vec::new();
    for &first in faults {
        for &second in faults {
            all.extend(faults.iter().map(|&third| [first, second, third]));
        }
    }
    all
}

/// All but the last: a change and a new data set have no record that tells a repetition, and so
/// rest on the store's promise never to repeat a batch.
fn faults_in_contract() -> &'static [&'static [Op]] {
    &FAULTS[..6]
}

#[tokio::test]
async fn an_action_happens_once_whatever_befalls_its_writes() {
    let file = File::new();
    let (edge, store) = file.faulty(Script::first(&[]));
    let other = file.edge();
    let sequences = sequences(&FAULTS);
    assert_eq!(sequences.len(), 343);
    for faults in &sequences {
        let id = edge.create(sledge()).await.unwrap();
        store.set(Script::first(faults));
        let reply = order_under(&edge, &id, "k").await;
        let reply = reply.unwrap_or_else(|problem| panic!("{faults:?}: {problem}"));
        store.set(Script::first(&[]));
        drop(store.land().await);
        assert_eq!(order_under(&other, &id, "k").await.unwrap(), reply, "{faults:?}");
        assert_eq!(order_under(&edge, &id, "k2").await.unwrap(), reply, "{faults:?}");
    }
    let count = sequences.len();
    assert_eq!(file.counts().await, (count, count, count as u64));
}

#[tokio::test]
async fn a_change_happens_once_whatever_befalls_its_writes() {
    let file = File::new();
    let (edge, store) = file.faulty(Script::first(&[]));
    for faults in sequences(faults_in_contract()) {
        let id = edge.create(sledge()).await.unwrap();
        store.set(Script::first(&faults));
        let count = edge.change(&id, |cart: &mut Cart| add(cart, "kite")).await;
        assert_eq!(count.unwrap(), 2, "{faults:?}");
        store.set(Script::first(&[]));
        drop(store.land().await);
        let gifts = edge.read::<Cart>(&id).await.unwrap().gifts;
        assert_eq!(gifts, ["sledge", "kite"], "{faults:?}");
    }
}

#[tokio::test]
async fn a_data_set_is_created_once_whatever_befalls_its_writes() {
    let file = File::new();
    let (edge, store) = file.faulty(Script::first(&[]));
    let sequences = sequences(faults_in_contract());
    for faults in &sequences {
        store.set(Script::first(faults));
        let id = edge.create(sledge()).await.unwrap();
        store.set(Script::first(&[]));
        drop(store.land().await);
        assert_eq!(edge.read::<Cart>(&id).await.unwrap(), sledge());
    }
    assert_eq!(file.counts().await.0, sequences.len());
}

#[tokio::test]
async fn a_crash_before_or_after_the_write_leaves_one_order_and_frees_the_key() {
    for crash in [&[Hang] as &[Op], &[Apply, Hang], &[Defer, Hang]] {
        let file = File::new();
        let (edge, store) = file.faulty(Script::first(&[]));
        let id = edge.create(sledge()).await.unwrap();
        store.set(Script::first(&[crash]));
        let crashed = {
            let (edge, id) = (edge.clone(), id.clone());
            tokio::spawn(async move { order_under(&edge, &id, "k").await })
        };
        store.until_stopped().await;
        crashed.abort();
        assert!(crashed.await.unwrap_err().is_cancelled());

        let reply = order_under(&edge, &id, "k").await.unwrap();
        drop(store.land().await);
        assert_eq!(order_under(&file.edge(), &id, "k").await.unwrap(), reply);
        assert_eq!(file.counts().await, (1, 1, 1), "{crash:?}");
    }
}

fn assert_unknown(problem: &Problem) {
    assert_eq!(problem.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(problem.kind(), problem::OUTCOME_UNKNOWN);
    assert!(problem.detail().starts_with("It is not known whether"), "{problem}");
}

#[tokio::test]
async fn an_outcome_that_stays_unknown_is_said_to_be_unknown() {
    for fault in [&[SayUnknown] as &[Op], &[Defer, SayUnknown]] {
        let file = File::new();
        let settings = Settings { tries_max: 3, ..patient() };
        let (edge, store) = file.faulty_with(settings, Script::first(&[]));
        let id = edge.create(sledge()).await.unwrap();
        store.set(Script::always(fault));
        assert_unknown(&order_under(&edge, &id, "k").await.unwrap_err());
        assert_eq!(store.batches().len(), 1 + 3, "bounded");
        assert_unknown(&edge.change(&id, |cart: &mut Cart| add(cart, "kite")).await.unwrap_err());
        assert_unknown(&edge.create(sledge()).await.unwrap_err());
    }
}

#[tokio::test]
async fn an_order_whose_outcome_was_unknown_is_found_by_the_same_request() {
    for lands in [true, false] {
        let file = File::new();
        let (edge, store) = file.faulty(Script::first(&[]));
        let id = edge.create(sledge()).await.unwrap();
        store.set(Script::always(&[Defer, SayUnknown]));
        assert_unknown(&order_under(&edge, &id, "k").await.unwrap_err());
        if lands {
            drop(store.land().await);
        }
        let reply = order_under(&file.edge(), &id, "k").await.unwrap();
        drop(store.land().await);
        assert_eq!(order_under(&file.edge(), &id, "k").await.unwrap(), reply);
        assert_eq!(file.counts().await, (1, 1, 1));
    }
}

#[tokio::test]
async fn an_unknown_outcome_that_cannot_be_looked_up_is_not_called_a_failure() {
    let file = File::new();
    let (edge, store) = file.faulty(Script::first(&[]));
    let id = edge.create(sledge()).await.unwrap();
    store.set(Script::first(&[&[Apply, SayUnknown]]));
    let mut reads = vec![Pass, Pass];
    reads.extend([Fail; 20]);
    store.set_reads(&reads);
    // It writes again where it cannot look; the version beside it keeps the copy out.
    assert_unknown(&order_under(&edge, &id, "k").await.unwrap_err());
    store.set_reads(&[]);
    assert_eq!(order_under(&edge, &id, "k").await.unwrap().status(), 201);
    assert_eq!(file.counts().await, (1, 1, 1));
}

/// Also to a cart that was ordered.
fn add_always(cart: &mut Cart, gift: &str) -> Result<usize, Problem> {
    cart.gifts.push(gift.to_owned());
    Ok(cart.gifts.len())
}

/// Runs the order while another process adds a kite, at the moment when `write` holds.
async fn overtaken(
    write: &'static [Op],
    reads: &[ReadFault],
) -> Result<(u16, Vec<String>), Problem> {
    let file = File::new();
    let (edge, store) = file.faulty(Script::first(&[]));
    let id = edge.create(sledge()).await.unwrap();
    store.set(Script::first(&[write]));
    store.set_reads(reads);
    let slow = {
        let (edge, id) = (edge.clone(), id.clone());
        tokio::spawn(async move { order_under(&edge, &id, "k").await })
    };
    store.until_stopped().await;
    file.edge().change(&id, |cart: &mut Cart| add_always(cart, "kite")).await.unwrap();
    store.go_on.add_permits(1);
    let reply = slow.await.unwrap();
    store.set_reads(&[]);
    let again = order_under(&file.edge(), &id, "k").await.unwrap();
    assert!(reply.as_ref().is_err() || reply.as_ref() == Ok(&again));
    let messages = file.messages().await;
    assert_eq!(messages.len(), 1);
    let message: PlaceOrder = serde_json::from_slice(&messages[0].data).unwrap();
    reply.map(|reply| (reply.status(), message.gifts))
}

#[tokio::test]
async fn an_action_that_was_applied_and_overtaken_is_found() {
    let result = overtaken(&[Apply, Hold, SayUnknown], &[]).await;
    assert_eq!(result.unwrap(), (201, vec!["sledge".to_owned()]));
}

#[tokio::test]
async fn an_action_that_was_not_applied_and_overtaken_runs_again_on_what_is_there() {
    for write in [&[Hold, SayUnknown] as &[Op], &[Hold, Apply], &[Hold, Apply, SayUnknown]] {
        let result = overtaken(write, &[]).await;
        assert_eq!(result.unwrap(), (201, vec!["sledge".to_owned(), "kite".to_owned()]));
    }
}

#[tokio::test]
async fn an_overtaken_action_that_cannot_be_looked_up_is_not_called_a_failure() {
    let reads = [Pass, Pass, Pass, Fail];
    let result = overtaken(&[Apply, Hold, SayUnknown], &reads).await;
    assert_unknown(&result.unwrap_err());
}

#[tokio::test]
async fn a_change_that_was_overtaken_in_doubt_is_unknown_and_never_done_twice() {
    for write in [&[Apply, Hold, SayUnknown] as &[Op], &[Hold, SayUnknown]] {
        let file = File::new();
        let (edge, store) = file.faulty(Script::first(&[]));
        let id = edge.create(sledge()).await.unwrap();
        store.set(Script::first(&[write]));
        let slow = {
            let (edge, id) = (edge.clone(), id.clone());
            tokio::spawn(async move { edge.change(&id, |cart: &mut Cart| add(cart, "kite")).await })
        };
        store.until_stopped().await;
        file.edge().change(&id, |cart: &mut Cart| add(cart, "drum")).await.unwrap();
        store.go_on.add_permits(1);
        assert_unknown(&slow.await.unwrap().unwrap_err());
        let gifts = edge.read::<Cart>(&id).await.unwrap().gifts;
        assert!(gifts.iter().filter(|gift| *gift == "kite").count() <= 1, "{gifts:?}");
    }
}

#[tokio::test]
async fn the_loser_of_a_race_with_one_key_gets_the_reply_or_422_for_another_body() {
    for (body, is_same) in [("", true), ("express", false)] {
        let file = File::new();
        let (edge, store) = file.faulty(Script::first(&[&[Apply], &[Hold, Apply]]));
        let id = edge.create(sledge()).await.unwrap();
        let loser = {
            let (edge, id) = (edge.clone(), id.clone());
            let submission = submission("k", body);
            tokio::spawn(async move { edge.act(&id, "order", submission, order).await })
        };
        store.until_stopped().await;
        let reply = order_under(&file.edge(), &id, "k").await.unwrap();
        store.go_on.add_permits(1);
        match loser.await.unwrap() {
            Ok(same) => assert!(is_same && same == reply),
            Err(problem) => assert!(!is_same && problem.kind() == problem::KEY_REUSED),
        }
        assert_eq!(file.counts().await, (1, 1, 1));
    }
}

#[tokio::test]
async fn a_record_written_between_the_two_reads_is_not_missed() {
    // The data set is read before the other process orders, the record of the key after.
    let file = File::new();
    let (edge, store) = file.faulty(Script::first(&[]));
    let id = edge.create(sledge()).await.unwrap();
    store.set_reads(&[Pass, Wait]);
    let slow = {
        let (edge, id) = (edge.clone(), id.clone());
        let submission = submission("k", "express");
        tokio::spawn(async move { edge.act(&id, "order", submission, order).await })
    };
    store.until_stopped().await;
    order_under(&file.edge(), &id, "k").await.unwrap();
    store.go_on.add_permits(1);
    assert_eq!(slow.await.unwrap().unwrap_err().kind(), problem::KEY_REUSED);
    assert_eq!(file.counts().await, (1, 1, 1));
}

#[tokio::test]
async fn a_store_that_cannot_be_read_is_503_without_its_secrets() {
    let file = File::new();
    let (edge, store) = file.faulty(Script::first(&[]));
    let id = edge.create(sledge()).await.unwrap();
    store.set_reads(&[Fail, Fail, Fail]);
    let read = edge.read::<Cart>(&id).await.unwrap_err();
    let change = edge.change(&id, |cart: &mut Cart| add(cart, "kite")).await.unwrap_err();
    let act = order_under(&edge, &id, "k").await.unwrap_err();
    for problem in [read, change, act] {
        assert_eq!(problem.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(problem.kind(), problem::UNAVAILABLE);
        assert!(!problem.to_string().contains("secret"));
    }
    assert_eq!(file.counts().await, (1, 0, 0));
}

#[tokio::test]
async fn an_action_that_the_store_refuses_is_not_kept() {
    let file = File::new();
    let (edge, store) = file.faulty(Script::first(&[&[Apply], &[SayRefused]]));
    let id = edge.create(sledge()).await.unwrap();
    let problem = order_under(&edge, &id, "k").await.unwrap_err();
    assert_eq!(problem.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert!(!problem.to_string().contains("secret"));
    assert_eq!(store.batches().len(), 2, "a refusal is not tried again");
    assert_eq!(order_under(&edge, &id, "k").await.unwrap().status(), 201);
}

#[tokio::test]
async fn a_refusal_after_an_unknown_outcome_proves_nothing() {
    let file = File::new();
    let (edge, store) = file.faulty(Script::first(&[]));
    let id = edge.create(sledge()).await.unwrap();
    store.set(Script::first(&[&[Defer, SayUnknown], &[SayRefused], &[Land, SayRefused]]));
    assert_eq!(order_under(&edge, &id, "k").await.unwrap().status(), 201);
    assert_eq!(file.counts().await, (1, 1, 1));
}
