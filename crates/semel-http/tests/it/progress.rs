//! Requests that come while an earlier one is in progress.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use semel_http::{DataSetId, Edge, Problem, Reply, Settings, problem};
use tokio::task::JoinHandle;

use crate::faults::Op::{Apply, Hold};
use crate::faults::{Faulty, Script};
use crate::rig::{Cart, File, add, order, order_under, patient, sledge, submission};

/// A cart whose order is held within its write.
async fn held(file: &File, settings: Settings) -> (Edge, Arc<Faulty>, DataSetId, Submit) {
    let (edge, store) = file.faulty_with(settings, Script::first(&[&[Apply], &[Hold, Apply]]));
    let id = edge.create(sledge()).await.unwrap();
    let first = submit(&edge, &id, "k", "");
    store.until_stopped().await;
    (edge, store, id, first)
}

type Submit = JoinHandle<Result<Reply, Problem>>;

fn submit(edge: &Edge, id: &DataSetId, key: &str, body: &str) -> Submit {
    let (edge, id, submission) = (edge.clone(), id.clone(), submission(key, body));
    tokio::spawn(async move { edge.act(&id, "order", submission, order).await })
}

/// Lets every task of this thread go as far as it can without the store.
async fn let_all_run() {
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
}

fn in_progress(edge: &Edge) -> bool {
    !format!("{edge:?}").contains("0 in progress")
}

#[tokio::test]
async fn a_repeated_request_waits_for_the_first_and_gets_its_reply() {
    let file = File::new();
    let (edge, store, id, first) = held(&file, patient()).await;
    let repeated = [submit(&edge, &id, "k", ""), submit(&edge, &id, "other-tab", "")];
    let_all_run().await;
    assert!(repeated.iter().all(|submit| !submit.is_finished()));
    store.go_on.add_permits(1);
    let reply = first.await.unwrap().unwrap();
    for submit in repeated {
        assert_eq!(submit.await.unwrap().unwrap(), reply);
    }
    assert_eq!(store.batches().len(), 2);
    assert!(!in_progress(&edge));
}

#[tokio::test]
async fn a_request_that_waited_to_its_bound_is_409_and_may_come_again() {
    let file = File::new();
    let settings = Settings { wait_max: Duration::ZERO, ..patient() };
    let (edge, store, id, first) = held(&file, settings).await;
    let problem = order_under(&edge, &id, "k").await.unwrap_err();
    assert_eq!(problem.status(), StatusCode::CONFLICT);
    assert_eq!(problem.kind(), problem::IN_PROGRESS);
    let problem = edge.change(&id, |cart: &mut Cart| add(cart, "kite")).await.unwrap_err();
    assert_eq!(problem.kind(), problem::IN_PROGRESS);
    store.go_on.add_permits(1);
    let reply = first.await.unwrap().unwrap();
    assert_eq!(order_under(&edge, &id, "k").await.unwrap(), reply);
    assert_eq!(file.counts().await, (1, 1, 1));
}

#[tokio::test]
async fn the_key_of_a_request_in_progress_with_another_body_is_422_once_that_ends() {
    let file = File::new();
    let (edge, store, id, first) = held(&file, patient()).await;
    let other = submit(&edge, &id, "k", "express");
    store.go_on.add_permits(1);
    first.await.unwrap().unwrap();
    assert_eq!(other.await.unwrap().unwrap_err().kind(), problem::KEY_REUSED);
}

#[tokio::test]
async fn a_request_whose_client_went_away_lets_the_next_one_go_on() {
    let file = File::new();
    let (edge, _store, id, first) = held(&file, patient()).await;
    let second = submit(&edge, &id, "k", "");
    let_all_run().await;
    first.abort();
    assert_eq!(second.await.unwrap().unwrap().status(), 201);
    assert!(!in_progress(&edge));
    assert_eq!(file.counts().await, (1, 1, 1));
}

#[tokio::test]
async fn a_waiting_request_whose_client_went_away_holds_up_nobody() {
    let file = File::new();
    let (edge, store, id, first) = held(&file, patient()).await;
    let (second, third) = (submit(&edge, &id, "k", ""), submit(&edge, &id, "k", ""));
    let_all_run().await;
    second.abort();
    store.go_on.add_permits(1);
    assert_eq!(third.await.unwrap().unwrap(), first.await.unwrap().unwrap());
    assert!(!in_progress(&edge));
}

#[tokio::test]
async fn readers_and_other_data_sets_wait_for_nobody() {
    let file = File::new();
    let (edge, store, id, first) = held(&file, patient()).await;
    assert_eq!(edge.read::<Cart>(&id).await.unwrap(), sledge());
    let other = edge.create(sledge()).await.unwrap();
    order_under(&edge, &other, "k").await.unwrap();
    store.go_on.add_permits(1);
    first.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_request_that_failed_leaves_nothing_behind_in_memory() {
    let file = File::new();
    let edge = file.edge();
    let id = edge.create(Cart::default()).await.unwrap();
    order_under(&edge, &id, "k").await.unwrap_err();
    let panicked =
        edge.act(&id, "order", submission("k", ""), |_: &mut Cart, _| panic!("a defect"));
    let problem = panicked.await.unwrap_err();
    assert_eq!(problem.status(), StatusCode::INTERNAL_SERVER_ERROR);
    order_under(&edge, &DataSetId::from("01982d5c-0000-7000-8000-000000000000"), "k")
        .await
        .unwrap_err();
    assert!(!in_progress(&edge));
}
