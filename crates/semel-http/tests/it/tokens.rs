//! Messages that come with tokens: one each, from the batch that queues them to their processing.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::http::StatusCode;
use semel_core::protocols::{self, Protocol, Token};
use semel_core::store::{Change, Expect, Item, Keep, Page, Space};
use semel_core::{Context, Endpoint, Envelope, Host};
use semel_http::{DataSetId, Edge, Problem, Reply, Settings, Submission, problem};

use crate::faults::Op::{Apply, Defer, Hang, Hold, Land, SayConflict, SayRefused, SayUnknown};
use crate::faults::{Faulty, Op, Script};
use crate::rig::{
    CancelOrder, Cart, File, ORDERS, PlaceOrder, add, cancel, conflict, fingerprint, order,
    order_under, patient, sledge, submission,
};

const REALM: &str = "shop";

fn with_tokens() -> Settings {
    patient().tokens(REALM)
}

/// An edge under tokens whose writes follow `script` once it has made a cart.
async fn cart_in(file: &File, script: Script) -> (Edge, Arc<Faulty>, DataSetId) {
    let (edge, store) = file.faulty_with(with_tokens(), Script::first(&[]));
    let id = edge.create(sledge()).await.unwrap();
    store.set(script);
    (edge, store, id)
}

async fn list(file: &File, space: Space) -> Vec<Item> {
    let page = Page { space, after: None, limit: 1_000 };
    file.backend().store().list(&page).await.unwrap()
}

/// The tokens in the file, as messages name them.
async fn tokens(file: &File) -> BTreeSet<String> {
    let tokens = list(file, Space::Token).await;
    tokens.into_iter().map(|token| format!("{REALM} {}", token.key.key)).collect()
}

fn token_of(message: &Envelope) -> String {
    message.text("token").unwrap_or_else(|| panic!("{message:?} has no token")).to_owned()
}

/// The token of each message that a batch queues.
fn queued(batch: &[Change]) -> BTreeSet<String> {
    let token = |change: &Change| match change {
        Change::Enqueue(message) => Some(token_of(&message.envelope)),
        _ => None,
    };
    batch.iter().filter_map(token).collect()
}

fn placed(times: &mut u32, _: PlaceOrder, _: &mut Context) {
    *times += 1;
}

fn cancelled(_: &mut u32, _: CancelOrder, _: &mut Context) {}

/// Processes what is queued; returns how often each order was placed.
async fn work(file: &File, protocol: Arc<dyn Protocol>) -> Vec<u32> {
    let orders = Endpoint::new(ORDERS)
        .handle_by(|message: &PlaceOrder| message.order.clone(), placed)
        .handle_by(|message: &CancelOrder| message.order.clone(), cancelled)
        .shared_protocol(protocol);
    Host::new(file.backend()).endpoint(orders).run_until_idle().await.unwrap();
    let entities = list(file, Space::Entity).await;
    let orders = entities.into_iter().filter(|item| item.key.partition == ORDERS);
    let state = |item: Item| protocols::state_in(&item.value).unwrap().unwrap();
    orders.map(|item| serde_json::from_slice(&state(item)).unwrap()).collect()
}

fn token() -> Arc<dyn Protocol> {
    Arc::new(Token { realm: REALM.to_owned(), ..Token::default() })
}

#[tokio::test]
async fn a_message_is_queued_with_its_token_in_the_batch_of_the_action() {
    let file = File::new();
    let (edge, store, id) = cart_in(&file, Script::first(&[])).await;
    order_under(&edge, &id, "k").await.unwrap();

    let batch = store.batches().pop().unwrap();
    let [data_set, _, Change::Enqueue(message), token] = batch.as_slice() else {
        panic!("{batch:?}")
    };
    assert!(matches!(data_set, Change::Put { expect: Expect::Version(_), .. }));
    let Change::Put { key, value, expect: Expect::Absent, keep: Keep::Always } = token else {
        panic!("{token:?}")
    };
    assert_eq!((key.space, key.partition.as_str()), (Space::Token, ORDERS));
    assert_eq!(token_of(&message.envelope), format!("{REALM} {}", key.key));
    assert_eq!(value, message.envelope.id.as_bytes());
    assert_eq!(tokens(&file).await, queued(&batch));
}

#[tokio::test]
async fn under_every_protocol_a_token_lasts_until_its_message_is_processed() {
    for protocol in protocols::all() {
        let protocol = if protocol.name() == "token" { token() } else { protocol };
        let file = File::new();
        let (edge, _, id) = cart_in(&file, Script::first(&[])).await;
        order_under(&edge, &id, "k").await.unwrap();
        assert_eq!(tokens(&file).await.len(), 1);
        assert_eq!(work(&file, protocol.clone()).await, [1], "{protocol:?}");
        assert!(tokens(&file).await.is_empty(), "{protocol:?}");
    }
}

#[tokio::test]
async fn a_copy_of_a_message_is_processed_no_second_time_and_no_window_remembers_it() {
    let file = File::new();
    let (edge, store, id) = cart_in(&file, Script::first(&[])).await;
    order_under(&edge, &id, "k").await.unwrap();
    assert_eq!(work(&file, token()).await, [1]);

    let copy = store
        .batches()
        .pop()
        .unwrap()
        .into_iter()
        .filter(|change| matches!(change, Change::Enqueue(_)));
    drop(file.backend().store().write(copy.collect()).await);
    assert_eq!(work(&file, token()).await, [1]);
    assert!(list(&file, Space::Inbox).await.is_empty());
    assert!(tokens(&file).await.is_empty());
}

#[tokio::test]
async fn a_message_to_each_endpoint_has_a_token_and_a_published_one_has_none() {
    let file = File::new();
    let (edge, store, id) = cart_in(&file, Script::first(&[])).await;
    let everything = |_: &mut Cart, ctx: &mut Context| {
        let order = || "17".to_owned();
        ctx.send(ORDERS, CancelOrder { order: order() });
        ctx.send(ORDERS, CancelOrder { order: order() });
        ctx.send("billing", CancelOrder { order: order() });
        ctx.publish(CancelOrder { order: order() });
        Ok(Reply::new(StatusCode::OK, "text/plain", ""))
    };
    edge.act(&id, "everything", submission("k", ""), everything).await.unwrap();

    let messages = store.messages().pop().unwrap();
    let named: Vec<_> = messages.iter().map(|message| message.text("token")).collect();
    assert!(matches!(named[..], [Some(_), Some(_), Some(_), None]), "{named:?}");
    let named: BTreeSet<_> = named.into_iter().flatten().map(str::to_owned).collect();
    assert_eq!(named.len(), 3);
    assert_eq!(tokens(&file).await, named);
}

#[tokio::test]
async fn an_edge_without_tokens_makes_none() {
    let file = File::new();
    let edge = file.edge();
    let id = edge.create(sledge()).await.unwrap();
    order_under(&edge, &id, "k").await.unwrap();
    assert!(tokens(&file).await.is_empty());
    assert_eq!(file.messages().await[0].text("token"), None);
}

#[tokio::test]
async fn a_repeated_request_makes_no_second_token() {
    let file = File::new();
    let (edge, _, id) = cart_in(&file, Script::first(&[])).await;
    let reply = order_under(&edge, &id, "k").await.unwrap();
    let made = tokens(&file).await;
    assert_eq!(order_under(&edge, &id, "k").await.unwrap(), reply);
    assert_eq!(order_under(&edge, &id, "k2").await.unwrap(), reply);
    assert_eq!(tokens(&file).await, made);

    assert_eq!(work(&file, token()).await, [1]);
    assert_eq!(order_under(&edge, &id, "k").await.unwrap(), reply);
    assert!(tokens(&file).await.is_empty());
    edge.act(&id, "cancel", submission("k3", ""), cancel).await.unwrap();
    assert_eq!(tokens(&file).await.len(), 1, "another action, another message");
}

#[tokio::test]
async fn a_refusal_leaves_no_token() {
    let file = File::new();
    let (edge, _, id) = cart_in(&file, Script::first(&[&[SayRefused]])).await;
    let refuse = |_: &mut Cart, ctx: &mut Context| {
        ctx.send(ORDERS, CancelOrder { order: "17".to_owned() });
        Err::<Reply, Problem>(conflict("Not now."))
    };
    edge.act(&id, "cancel", submission("k", ""), refuse).await.unwrap_err();
    order_under(&edge, &id, "k").await.unwrap_err();
    assert!(tokens(&file).await.is_empty());
}

/// Orders without a key: no record of one keeps a second batch out, the version of the cart alone.
async fn order_keyless(edge: &Edge, id: &DataSetId) -> Result<Reply, Problem> {
    edge.act(id, "order", Submission::new(None, fingerprint("")), order).await
}

/// What can befall the batch of an action, as a sequence of writes.
const FAULTS: [&[&[Op]]; 8] = [
    // Applied, and the answer is lost.
    &[&[Apply, SayUnknown]],
    // The answers are lost, also of the same batch again.
    &[&[SayUnknown], &[SayUnknown], &[Apply, SayUnknown]],
    // The first lands while it is written again, or has been.
    &[&[Defer, SayUnknown], &[Land, Apply]],
    &[&[Defer, SayUnknown], &[Apply, Land]],
    // The first lands when all is over, or not before it was decided anew.
    &[&[Defer, SayUnknown], &[Apply]],
    &[&[Defer, SayUnknown], &[SayConflict], &[Apply, SayUnknown]],
    // It loses, or seems to, and is decided anew.
    &[&[SayConflict], &[Apply]],
    // A layer below repeats it, and reports the second time.
    &[&[Apply, Apply]],
];

#[tokio::test]
async fn whatever_befalls_a_batch_one_message_with_one_token_comes_of_it() {
    for faults in FAULTS {
        let file = File::new();
        let (edge, store, id) = cart_in(&file, Script::first(faults)).await;
        let reply = order_keyless(&edge, &id).await.unwrap();
        let made = tokens(&file).await;
        assert_eq!(made.len(), 1, "{faults:?}");
        let messages = file.messages().await;
        assert_eq!(messages.iter().map(token_of).collect::<BTreeSet<_>>(), made, "{faults:?}");

        drop(store.land().await);
        assert_eq!(order_keyless(&edge, &id).await.unwrap(), reply);
        assert_eq!((tokens(&file).await, file.counts().await), (made, (1, 0, 1)), "{faults:?}");
    }
}

#[tokio::test]
async fn a_batch_that_lands_after_its_token_was_consumed_revives_nothing() {
    for faults in FAULTS {
        let file = File::new();
        let (edge, store, id) = cart_in(&file, Script::first(faults)).await;
        order_keyless(&edge, &id).await.unwrap();
        assert_eq!(work(&file, token()).await, [1], "{faults:?}");

        drop(store.land().await);
        for batch in store.batches() {
            drop(file.backend().store().write(batch).await);
        }
        assert!(tokens(&file).await.is_empty(), "{faults:?}");
        assert_eq!(work(&file, token()).await, [1], "{faults:?}");
    }
}

#[tokio::test]
async fn a_batch_is_written_again_with_the_token_it_had() {
    let file = File::new();
    let script = Script::first(&[&[SayUnknown], &[Defer, SayUnknown], &[Apply]]);
    let (edge, store, id) = cart_in(&file, script).await;
    order_under(&edge, &id, "k").await.unwrap();
    let batches = store.batches().split_off(1);
    let [first, second, third] = [0, 1, 2].map(|at| format!("{:?}", batches[at]));
    assert_eq!((&second, &third, batches.len()), (&first, &first, 3));
}

#[tokio::test]
async fn an_attempt_that_was_decided_anew_has_another_token() {
    let file = File::new();
    let (edge, store, id) = cart_in(&file, Script::first(&[&[SayConflict]])).await;
    order_under(&edge, &id, "k").await.unwrap();
    let batches = store.batches().split_off(1);
    assert_eq!(batches.len(), 2);
    assert_ne!(queued(&batches[0]), queued(&batches[1]));
    assert_eq!(tokens(&file).await, queued(&batches[1]));
}

#[tokio::test]
async fn an_attempt_that_was_overtaken_leaves_no_token() {
    let file = File::new();
    let (edge, store, id) = cart_in(&file, Script::first(&[&[Hold, Apply]])).await;
    let slow = {
        let (edge, id) = (edge.clone(), id.clone());
        tokio::spawn(async move { order_under(&edge, &id, "k").await })
    };
    store.until_stopped().await;
    file.edge().change(&id, |cart: &mut Cart| add(cart, "kite")).await.unwrap();
    store.go_on.add_permits(1);
    slow.await.unwrap().unwrap();
    assert_eq!(tokens(&file).await, queued(&store.batches().pop().unwrap()));
    assert_eq!(work(&file, token()).await, [1]);
}

#[tokio::test]
async fn a_request_that_crashed_leaves_a_token_only_with_its_message() {
    for (crash, made) in [(&[Hang] as &[Op], 0), (&[Apply, Hang], 1), (&[Defer, Hang], 0)] {
        let file = File::new();
        let (edge, store, id) = cart_in(&file, Script::first(&[crash])).await;
        let crashed = {
            let (edge, id) = (edge.clone(), id.clone());
            tokio::spawn(async move { order_under(&edge, &id, "k").await })
        };
        store.until_stopped().await;
        crashed.abort();
        assert!(crashed.await.unwrap_err().is_cancelled());
        assert_eq!(tokens(&file).await.len(), made, "{crash:?}");
        assert_eq!(file.counts().await.2, made as u64, "{crash:?}");

        order_under(&edge, &id, "k").await.unwrap();
        drop(store.land().await);
        assert_eq!(work(&file, token()).await, [1], "{crash:?}");
        assert!(tokens(&file).await.is_empty(), "{crash:?}");
    }
}

#[tokio::test]
async fn an_order_whose_outcome_stayed_unknown_has_one_token_whichever_batch_lands() {
    for lands in [true, false] {
        let file = File::new();
        let (edge, store, id) = cart_in(&file, Script::always(&[Defer, SayUnknown])).await;
        let unknown = order_keyless(&edge, &id).await.unwrap_err();
        assert_eq!(unknown.kind(), problem::OUTCOME_UNKNOWN);
        assert!(tokens(&file).await.is_empty());
        if lands {
            drop(store.land().await);
        }
        let other = Edge::with(file.backend(), with_tokens()).unwrap();
        order_keyless(&other, &id).await.unwrap();
        drop(store.land().await);
        assert_eq!((tokens(&file).await.len(), file.counts().await.2), (1, 1), "{lands}");
        assert_eq!(work(&file, token()).await, [1]);
        assert!(tokens(&file).await.is_empty());
    }
}
