//! Creating, reading and changing data sets.

use std::sync::Arc;

use axum::http::StatusCode;
use semel_core::store::{Atomicity, Change, Expect, ItemKey, Keep, Space, WriteOutcome};
use semel_core::{Entropy, Store};
use semel_http::{DataSet, DataSetId, Edge, EdgeError, problem};
use serde::{Deserialize, Serialize};

use crate::faults::Op::{Apply, Hold, SayConflict};
use crate::faults::{Faulty, Script};
use crate::rig::{Cart, File, add, conflict, order_under, patient, sledge};

#[tokio::test]
async fn a_created_data_set_is_read_back_by_every_process() {
    let file = File::new();
    let id = file.edge().create(sledge()).await.unwrap();
    assert_eq!(file.edge().read::<Cart>(&id).await.unwrap(), sledge());
}

#[tokio::test]
async fn every_data_set_has_an_id_of_its_own_that_shows_in_no_log() {
    let file = File::new();
    let edge = file.edge();
    let (one, other) = (edge.create(sledge()).await.unwrap(), edge.create(sledge()).await.unwrap());
    assert_ne!(one, other);
    assert!(!format!("{one:?}").contains(one.as_str()));
}

#[tokio::test]
async fn an_id_that_is_taken_is_not_given_again() {
    #[derive(Debug, Default)]
    struct Stuck(std::sync::atomic::AtomicU32);
    impl Entropy for Stuck {
        fn bits(&self) -> u128 {
            // attempt, id | attempt, the same id, another id
            let values = [1, 7, 2, 7, 8];
            let call = self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            values[call as usize] << 64
        }
    }
    let file = File::new();
    let clock = Arc::new(semel_core::ManualClock::default());
    let backend = file.backend().with_entropy(Arc::new(Stuck::default())).with_clock(clock);
    let edge = Edge::with(backend, patient()).unwrap();
    let one = edge.create(sledge()).await.unwrap();
    let other = edge.create(Cart::default()).await.unwrap();
    assert_ne!(one, other);
    assert_eq!(edge.read::<Cart>(&one).await.unwrap(), sledge());
    assert_eq!(edge.read::<Cart>(&other).await.unwrap(), Cart::default());
}

#[tokio::test]
async fn a_change_is_kept_and_returns_what_the_function_returns() {
    let file = File::new();
    let edge = file.edge();
    let id = edge.create(sledge()).await.unwrap();
    assert_eq!(edge.change(&id, |cart: &mut Cart| add(cart, "kite")).await.unwrap(), 2);
    assert_eq!(edge.read::<Cart>(&id).await.unwrap().gifts, ["sledge", "kite"]);
}

#[tokio::test]
async fn a_change_that_the_function_refuses_changes_nothing() {
    let file = File::new();
    let (edge, store) = file.faulty(Script::first(&[]));
    let id = edge.create(sledge()).await.unwrap();
    let refused = edge
        .change(&id, |cart: &mut Cart| {
            cart.gifts.clear();
            Err::<(), _>(conflict("No."))
        })
        .await;
    assert_eq!(refused.unwrap_err(), conflict("No."));
    assert_eq!(edge.read::<Cart>(&id).await.unwrap(), sledge());
    assert_eq!(store.batches().len(), 1, "the one that created it");
}

#[tokio::test]
async fn an_unknown_id_is_404_and_never_a_new_data_set() {
    let file = File::new();
    let edge = file.edge();
    let known = edge.create(sledge()).await.unwrap();
    let unknown = [
        "01982d5c-0000-7000-8000-000000000000",
        "00000000-0000-0000-0000-000000000000",
        &known.as_str().to_uppercase(),
        &known.as_str().replace('-', ""),
        &format!("{known} key"),
        "",
        "junk",
        "' OR 1=1 --",
    ];
    for text in unknown {
        let id = DataSetId::from(text);
        let read = edge.read::<Cart>(&id).await.unwrap_err();
        let change = edge.change(&id, |cart: &mut Cart| add(cart, "kite")).await.unwrap_err();
        let act = order_under(&edge, &id, "k").await.unwrap_err();
        for problem in [read, change, act] {
            assert_eq!(problem.status(), StatusCode::NOT_FOUND, "{text}");
            assert_eq!(problem.kind(), problem::UNKNOWN_ID);
        }
    }
    assert_eq!(file.counts().await, (1, 0, 0));
}

#[tokio::test]
async fn an_id_of_one_kind_is_unknown_to_another() {
    #[derive(Serialize, Deserialize)]
    struct Wish;
    impl DataSet for Wish {
        const KIND: &'static str = "wish";
    }
    let file = File::new();
    let edge = file.edge();
    let id = edge.create(sledge()).await.unwrap();
    assert_eq!(edge.read::<Wish>(&id).await.err().unwrap().status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_change_runs_again_on_what_another_process_left() {
    let file = File::new();
    let (edge, store) = file.faulty(Script::first(&[&[Apply], &[Hold, Apply]]));
    let id = edge.create(sledge()).await.unwrap();
    let slow = {
        let (edge, id) = (edge.clone(), id.clone());
        tokio::spawn(async move { edge.change(&id, |cart: &mut Cart| add(cart, "kite")).await })
    };
    store.until_stopped().await;
    file.edge().change(&id, |cart: &mut Cart| add(cart, "drum")).await.unwrap();
    store.go_on.add_permits(1);
    assert_eq!(slow.await.unwrap().unwrap(), 3);
    assert_eq!(edge.read::<Cart>(&id).await.unwrap().gifts, ["sledge", "drum", "kite"]);
}

#[tokio::test]
async fn a_change_that_always_comes_second_is_503_and_did_nothing() {
    let file = File::new();
    let (edge, store) = file.faulty(Script::first(&[]));
    let id = edge.create(sledge()).await.unwrap();
    store.set(Script::always(&[SayConflict]));
    let problem = edge.change(&id, |cart: &mut Cart| add(cart, "kite")).await.unwrap_err();
    assert_eq!(problem.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(problem.kind(), problem::UNAVAILABLE);
    assert_eq!(edge.read::<Cart>(&id).await.unwrap(), sledge());
    let tries = usize::try_from(patient().tries_max).unwrap();
    assert_eq!(store.batches().len(), 1 + tries, "bounded");
}

#[tokio::test]
async fn a_function_that_panics_is_500_and_changes_nothing() {
    let file = File::new();
    let edge = file.edge();
    let id = edge.create(sledge()).await.unwrap();
    let changed = edge
        .change(&id, |cart: &mut Cart| {
            cart.gifts.clear();
            if cart.gifts.is_empty() {
                panic!("a defect in the shop");
            }
            Ok(())
        })
        .await;
    let problem = changed.unwrap_err();
    assert_eq!(problem.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert!(!problem.to_string().contains("defect"));
    assert_eq!(edge.change(&id, |cart: &mut Cart| add(cart, "kite")).await.unwrap(), 2);
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_500_and_stays_as_it_is() {
    let file = File::new();
    let edge = file.edge();
    let id = edge.create(sledge()).await.unwrap();
    let store = file.backend().store().clone();
    let put = Change::Put {
        key: ItemKey::new(Space::Entity, "edge.cart", id.as_str()),
        value: "{\"secret\":1}".into(),
        expect: Expect::Anything,
        keep: Keep::Always,
    };
    assert!(matches!(store.write(vec![put]).await, WriteOutcome::Applied(_)));
    let problem = edge.read::<Cart>(&id).await.unwrap_err();
    assert_eq!(problem.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert!(!problem.to_string().contains("secret"));
    let problem = edge.change(&id, |cart: &mut Cart| add(cart, "kite")).await.unwrap_err();
    assert_eq!(problem.status(), StatusCode::INTERNAL_SERVER_ERROR);
}

#[tokio::test]
async fn a_data_set_that_grew_too_large_is_413_and_did_not_grow() {
    let file = File::new();
    let edge = file.edge();
    let id = edge.create(sledge()).await.unwrap();
    let gift = "x".repeat(17 * 1024 * 1024);
    let problem = edge.change(&id, |cart: &mut Cart| add(cart, &gift)).await.unwrap_err();
    assert_eq!(problem.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(edge.read::<Cart>(&id).await.unwrap(), sledge());
}

#[tokio::test]
async fn an_edge_refuses_a_store_whose_batches_are_too_narrow() {
    let file = File::new();
    for atomicity in [Atomicity::OneItem, Atomicity::OnePartition] {
        let narrow = |store| {
            let mut faulty = Faulty::new(store, Script::first(&[]));
            faulty.atomicity = atomicity;
            Arc::new(faulty) as Arc<dyn Store>
        };
        let error = Edge::new(file.backend().wrapped(narrow, |broker| broker)).unwrap_err();
        assert!(matches!(error, EdgeError::NarrowBatches { .. }));
    }
}
