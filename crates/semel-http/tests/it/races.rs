//! Many at once, in two processes on one file.

use std::collections::HashSet;

use semel_http::{DataSetId, Edge};

use crate::rig::{Cart, File, PlaceOrder, add, order_under, sledge};

/// Fifty orders of one cart at once, half of them in each of two processes; `key` names the key of
/// each. All must get one answer, and one message must be queued.
async fn check(key: fn(usize) -> String) {
    let file = File::new();
    let edges = [file.edge(), file.edge()];
    let id = edges[0].create(sledge()).await.unwrap();
    let submits: Vec<_> = (0..50)
        .map(|at| {
            let (edge, id) = (edges[at % 2].clone(), id.clone());
            tokio::spawn(async move { order_under(&edge, &id, &key(at)).await.unwrap() })
        })
        .collect();
    let mut replies = Vec::new();
    for submit in submits {
        replies.push(submit.await.unwrap());
    }
    assert!(replies.iter().all(|reply| *reply == replies[0]));
    assert_eq!(replies.len(), 50);
    assert_eq!(file.counts().await, (1, 1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_submits_with_one_key_in_two_processes_are_one_order() {
    check(|_| "double-click".to_owned()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_submits_with_fifty_keys_in_two_processes_are_one_order() {
    check(|at| format!("tab-{at}")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_changes_in_two_processes_lose_nothing() {
    async fn add_ten(edge: Edge, id: DataSetId, name: &str) {
        for at in 0..10 {
            let gift = format!("{name}-{at}");
            while edge.change(&id, |cart: &mut Cart| add(cart, &gift)).await.is_err() {}
        }
    }
    let file = File::new();
    let edges = [file.edge(), file.edge()];
    let id = edges[0].create(Cart::default()).await.unwrap();
    let adders: Vec<_> = ["a", "b", "c", "d"]
        .into_iter()
        .enumerate()
        .map(|(at, name)| tokio::spawn(add_ten(edges[at % 2].clone(), id.clone(), name)))
        .collect();
    for adder in adders {
        adder.await.unwrap();
    }
    let gifts = edges[0].read::<Cart>(&id).await.unwrap().gifts;
    assert_eq!(gifts.len(), 40);
    assert_eq!(gifts.iter().collect::<HashSet<_>>().len(), 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_holds_what_was_in_the_cart_and_nothing_is_added_after() {
    let file = File::new();
    let edges = [file.edge(), file.edge()];
    let id = edges[0].create(sledge()).await.unwrap();
    let adder = {
        let (edge, id) = (edges[1].clone(), id.clone());
        tokio::spawn(async move {
            while edge.change(&id, |cart: &mut Cart| add(cart, "kite")).await.is_ok() {}
        })
    };
    // Busy is an answer, too: the adder may always come first.
    while order_under(&edges[0], &id, "k").await.is_err() {}
    adder.await.unwrap();
    let gifts = edges[0].read::<Cart>(&id).await.unwrap().gifts;
    let messages = file.messages().await;
    assert_eq!(messages.len(), 1);
    let order: PlaceOrder = serde_json::from_slice(&messages[0].data).unwrap();
    assert_eq!(order.gifts, gifts);
}
