//! Actions: once per data set.

use axum::http::StatusCode;
use semel_core::Message;
use semel_core::store::{Change, Expect, ItemKey, Keep, Space, WriteOutcome};
use semel_http::{Problem, Reply, Submission, problem};
use serde::{Deserialize, Serialize};

use crate::faults::Op::{Apply, SayConflict};
use crate::faults::Script;
use crate::rig::{
    CancelOrder, Cart, File, PlaceOrder, add, cancel, conflict, fingerprint, order, order_under,
    patient, sledge, submission,
};

#[tokio::test]
async fn an_action_commits_data_set_message_and_reply_in_one_batch() {
    let file = File::new();
    let (edge, store) = file.faulty(Script::first(&[]));
    let id = edge.create(sledge()).await.unwrap();
    let reply = order_under(&edge, &id, "k").await.unwrap();

    assert_eq!(store.batches().len(), 2, "one to create, one to order");
    assert!(matches!(
        store.batches()[1].as_slice(),
        [
            Change::Put { expect: Expect::Version(_), keep: Keep::Always, .. },
            Change::Put { expect: Expect::Absent, keep: Keep::For(window), .. },
            Change::Enqueue(_),
        ] if *window == patient().window
    ));
    let placed = edge.read::<Cart>(&id).await.unwrap().order.unwrap();
    assert_eq!(reply.status(), 201);
    assert_eq!(reply.body(), format!("{{\"order\":\"{placed}\"}}"));
    let messages = file.messages().await;
    assert_eq!(messages.len(), 1);
    assert_eq!(messages[0].kind, PlaceOrder::TYPE);
    let message: PlaceOrder = serde_json::from_slice(&messages[0].data).unwrap();
    assert_eq!(message, PlaceOrder { order: placed, gifts: sledge().gifts });
}

#[tokio::test]
async fn the_same_request_again_gets_the_same_reply_and_runs_nothing() {
    let file = File::new();
    let edge = file.edge();
    let id = edge.create(sledge()).await.unwrap();
    let reply = order_under(&edge, &id, "k").await.unwrap();
    for process in [&edge, &file.edge()] {
        let again = process
            .act(&id, "order", submission("k", ""), |_: &mut Cart, _| panic!("it runs again"))
            .await;
        assert_eq!(again.unwrap(), reply);
    }
    assert_eq!(file.counts().await, (1, 1, 1));
}

#[tokio::test]
async fn another_key_gets_the_reply_that_the_action_had() {
    let file = File::new();
    let edge = file.edge();
    let id = edge.create(sledge()).await.unwrap();
    let reply = order_under(&edge, &id, "this-tab").await.unwrap();
    assert_eq!(order_under(&edge, &id, "other-tab").await.unwrap(), reply);
    let other_body = edge.act(&id, "order", submission("third-tab", "express"), order).await;
    assert_eq!(other_body.unwrap(), reply);
    let without_key = edge.act(&id, "order", Submission::new(None, fingerprint("")), order).await;
    assert_eq!(without_key.unwrap(), reply);
    assert_eq!(file.counts().await, (1, 1, 1));
}

#[tokio::test]
async fn an_action_without_a_key_happens_once_as_well() {
    let file = File::new();
    let edge = file.edge();
    let id = edge.create(sledge()).await.unwrap();
    let submit = || Submission::new(None, fingerprint(""));
    let reply = edge.act(&id, "order", submit(), order).await.unwrap();
    assert_eq!(edge.act(&id, "order", submit(), order).await.unwrap(), reply);
    assert_eq!(order_under(&edge, &id, "k").await.unwrap(), reply);
    assert_eq!(file.counts().await, (1, 0, 1));
}

#[tokio::test]
async fn a_key_used_for_another_request_is_422() {
    let file = File::new();
    let edge = file.edge();
    let id = edge.create(sledge()).await.unwrap();
    let reply = order_under(&edge, &id, "k").await.unwrap();

    let other_body = edge.act(&id, "order", submission("k", "express"), order).await;
    let other_action = edge.act(&id, "cancel", submission("k", ""), cancel).await;
    for problem in [other_body.unwrap_err(), other_action.unwrap_err()] {
        assert_eq!(problem.status(), StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(problem.kind(), problem::KEY_REUSED);
    }
    assert!(!edge.read::<Cart>(&id).await.unwrap().is_cancelled);
    assert_eq!(order_under(&edge, &id, "k").await.unwrap(), reply);
    assert_eq!(file.counts().await, (1, 1, 1));
}

#[tokio::test]
async fn the_same_key_on_another_data_set_is_another_key() {
    let file = File::new();
    let edge = file.edge();
    let mine = edge.create(sledge()).await.unwrap();
    let yours = edge.create(sledge()).await.unwrap();
    let reply = order_under(&edge, &mine, "1").await.unwrap();
    let other = edge.act(&yours, "order", submission("1", "other body"), order).await.unwrap();
    assert_ne!(reply, other);
    assert_eq!(file.counts().await, (2, 2, 2));
}

#[tokio::test]
async fn a_refused_action_writes_nothing_and_frees_the_key() {
    let file = File::new();
    let (edge, store) = file.faulty(Script::first(&[]));
    let id = edge.create(Cart::default()).await.unwrap();
    let refused = order_under(&edge, &id, "k").await.unwrap_err();
    assert_eq!(refused, conflict("The cart is empty."));
    assert_eq!(store.batches().len(), 1);

    edge.change(&id, |cart: &mut Cart| add(cart, "sledge")).await.unwrap();
    let corrected = edge.act(&id, "order", submission("k", "corrected"), order).await.unwrap();
    assert_eq!(corrected.status(), 201);
    assert_eq!(file.counts().await, (1, 1, 1));
}

#[tokio::test]
async fn each_action_of_a_data_set_happens_once() {
    let file = File::new();
    let edge = file.edge();
    let id = edge.create(sledge()).await.unwrap();
    let ordered = order_under(&edge, &id, "o").await.unwrap();
    let cancelled = edge.act(&id, "cancel", submission("c", ""), cancel).await.unwrap();
    for _ in 0..3 {
        assert_eq!(order_under(&edge, &id, "o2").await.unwrap(), ordered);
        let again = edge.act(&id, "cancel", submission("c2", ""), cancel).await;
        assert_eq!(again.unwrap(), cancelled);
    }
    assert_eq!(file.counts().await, (1, 2, 2));
}

#[tokio::test]
async fn a_change_after_the_order_gets_the_functions_own_problem() {
    let file = File::new();
    let edge = file.edge();
    let id = edge.create(sledge()).await.unwrap();
    order_under(&edge, &id, "k").await.unwrap();
    let refused = edge.change(&id, |cart: &mut Cart| add(cart, "kite")).await.unwrap_err();
    assert_eq!(refused, conflict("This cart was ordered already."));
    assert_eq!(edge.read::<Cart>(&id).await.unwrap().gifts, sledge().gifts);
}

#[tokio::test]
async fn a_change_after_an_action_keeps_the_record_of_the_action() {
    let file = File::new();
    let edge = file.edge();
    let id = edge.create(sledge()).await.unwrap();
    let reply = order_under(&edge, &id, "k").await.unwrap();
    edge.change(&id, |cart: &mut Cart| Ok(cart.order.take())).await.unwrap();
    assert_eq!(order_under(&edge, &id, "k2").await.unwrap(), reply);
}

#[tokio::test]
async fn an_action_past_the_window_of_its_key_still_gets_its_reply() {
    let file = File::new();
    let edge = file.edge();
    let id = edge.create(sledge()).await.unwrap();
    let reply = order_under(&edge, &id, "k").await.unwrap();
    // What the store does when the window has passed.
    let place = ItemKey::new(Space::Reply, "edge.cart", format!("{id} k"));
    let drop = Change::Delete { key: place, expect: Expect::Anything };
    let dropped = file.backend().store().write(vec![drop]).await;
    assert!(matches!(dropped, WriteOutcome::Applied(_)));
    assert_eq!(file.counts().await, (1, 0, 1));

    assert_eq!(order_under(&edge, &id, "k").await.unwrap(), reply);
    assert_eq!(file.counts().await, (1, 0, 1));
}

#[tokio::test]
async fn every_attempt_gives_message_and_order_the_same_identity() {
    let file = File::new();
    let script = Script::first(&[&[Apply], &[SayConflict], &[Apply]]);
    let (edge, store) = file.faulty(script);
    let id = edge.create(sledge()).await.unwrap();
    let mut runs = 0;
    let twice = |cart: &mut Cart, ctx: &mut semel_core::Context| {
        runs += 1;
        ctx.publish(CancelOrder { order: "0".to_owned() });
        order(cart, ctx)
    };
    edge.act(&id, "order", submission("k", ""), twice).await.unwrap();

    assert_eq!(runs, 2);
    let [_, lost, committed] = store.messages().try_into().unwrap();
    let name = |message: &semel_core::Envelope| {
        (message.source.clone(), message.id.clone(), message.data.clone())
    };
    assert_eq!(lost.len(), 2);
    assert_ne!(lost[0].id, lost[1].id);
    assert_eq!(
        lost.iter().map(name).collect::<Vec<_>>(),
        committed.iter().map(name).collect::<Vec<_>>()
    );
    assert_eq!(committed[0].source, "/edge/cart");
}

#[tokio::test]
async fn messages_of_a_data_set_share_a_conversation_and_never_hold_its_id() {
    let file = File::new();
    let edge = file.edge();
    let id = edge.create(sledge()).await.unwrap();
    order_under(&edge, &id, "o").await.unwrap();
    edge.act(&id, "cancel", submission("c", ""), cancel).await.unwrap();
    let messages = file.messages().await;
    assert_eq!(messages.len(), 2);
    let conversation = |at: usize| messages[at].text("conversationid").unwrap();
    assert_eq!(conversation(0), conversation(1));
    assert_ne!(messages[0].text("causationid"), messages[1].text("causationid"));
    for message in messages {
        let json = semel_core::envelope::json::encode(&message);
        assert!(!String::from_utf8(json).unwrap().contains(id.as_str()));
    }
}

#[tokio::test]
async fn what_could_never_be_sent_is_500_and_is_not_kept() {
    #[derive(Debug, Deserialize)]
    struct Unwritable;
    impl Serialize for Unwritable {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("it cannot be written"))
        }
    }
    impl Message for Unwritable {
        const TYPE: &'static str = "unwritable";
    }
    type Act = fn(&mut Cart, &mut semel_core::Context) -> Result<Reply, Problem>;
    let cases: [Act; 4] = [
        |_, _| Ok(Reply::new(StatusCode::OK, "text/plain", "").at("/line\nbreak")),
        |_, _| Ok(Reply::new(StatusCode::OK, "no\ntype", "")),
        |_, _| Reply::json(StatusCode::OK, &Unwritable),
        |_, ctx| {
            ctx.send("orders", Unwritable);
            Ok(Reply::new(StatusCode::OK, "text/plain", ""))
        },
    ];
    let file = File::new();
    let edge = file.edge();
    let id = edge.create(sledge()).await.unwrap();
    for act in cases {
        let problem = edge.act(&id, "order", submission("k", ""), act).await.unwrap_err();
        assert_eq!(problem.status(), StatusCode::INTERNAL_SERVER_ERROR);
    }
    assert_eq!(file.counts().await, (1, 0, 0));
    assert_eq!(order_under(&edge, &id, "k").await.unwrap().status(), 201);
}
