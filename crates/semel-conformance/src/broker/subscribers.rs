//! Who subscribes to a type, where the broker tells.

use semel_core::broker::Subscribers;
use semel_core::store::Trouble;

use super::handle::QueueHandle;
use crate::BrokerRig;
use crate::sample::{KIND, message, to_subscribers};
use crate::store::handle::require_clear;
use crate::verdict::{broken, require_eq};

/// Asserts who is listed, in any order.
async fn lists(queue: &QueueHandle<'_>, sentence: &str, kind: &str, expected: &[&str]) {
    match queue.broker.subscribers(kind).await {
        Ok(mut seen) => {
            seen.sort_unstable();
            require_eq(sentence, &seen, &expected.iter().map(|&e| e.to_owned()).collect());
        }
        Err(error) => broken("a broker that lists subscribers lists them", &error),
    }
}

/// A handle to a broker that lists subscribers; one that does not must refuse to, clearly: an empty
/// list would tell a sender that nobody waits for its message.
async fn listing_broker(rig: &dyn BrokerRig) -> Option<QueueHandle<'_>> {
    let queue = QueueHandle::open(rig).await;
    if queue.limits().subscribers == Subscribers::Listed {
        return Some(queue);
    }
    queue.subscribe("billing").await;
    let sentence = "a broker that does not tell who subscribes refuses to";
    match queue.broker.subscribers(KIND).await {
        Err(error) => require_clear(sentence, &error, &[Trouble::Unsupported]),
        Ok(endpoints) => broken(sentence, &endpoints),
    }
    None
}

/// The list names each endpoint that subscribes to the type, once, however often it registered; and
/// any handle sees it at once.
pub async fn subscribers_are_listed_once(rig: &dyn BrokerRig) {
    let Some(queue) = listing_broker(rig).await else { return };
    let other = QueueHandle::open(rig).await;
    let sentence = "each endpoint that subscribes to a type is listed, once";
    queue.register("billing", &[KIND, "stock.low"]).await;
    lists(&other, sentence, KIND, &["billing"]).await;
    other.register("shipping", &["order.cancelled", KIND, KIND]).await;
    for handle in [&queue, &other] {
        handle.register("billing", &[KIND, "stock.low"]).await;
        lists(handle, sentence, KIND, &["billing", "shipping"]).await;
        lists(handle, sentence, "stock.low", &["billing"]).await;
    }
}

/// The list names nobody for a type to which no endpoint subscribes, whether endpoints are
/// registered, have messages, or are named like the type.
pub async fn an_unknown_type_has_no_subscribers(rig: &dyn BrokerRig) {
    let Some(queue) = listing_broker(rig).await else { return };
    let sentence = "a type to which nobody subscribes has no subscribers";
    lists(&queue, sentence, KIND, &[]).await;
    queue.send("unserved", message("1")).await;
    queue.register("billing", &["stock.low"]).await;
    queue.register(KIND, &[]).await;
    lists(&queue, sentence, KIND, &[]).await;
}

/// The list is that of the exact type: no prefix, no pattern, no folding of case.
pub async fn subscribers_are_those_of_the_exact_type(rig: &dyn BrokerRig) {
    let Some(queue) = listing_broker(rig).await else { return };
    let alike = ["order", "order.", "order.placed.v2", "Order.Placed", "order.*", "#", ">", "%"];
    queue.register("others", &alike).await;
    let sentence = "subscribers are those of the exact type";
    lists(&queue, sentence, KIND, &[]).await;
    queue.subscribe("billing").await;
    lists(&queue, sentence, KIND, &["billing"]).await;
    for kind in alike {
        lists(&queue, sentence, kind, &["others"]).await;
    }
    for kind in ["", "o", "order.placed.", "order_placed", "order.place%"] {
        lists(&queue, sentence, kind, &[]).await;
    }
}

/// An endpoint whose newest registration dropped a type is not listed for it any more, and is again
/// once it takes the type up again. Copies queued meanwhile agree with the list.
pub async fn subscribers_are_those_of_the_newest_registration(rig: &dyn BrokerRig) {
    let Some(queue) = listing_broker(rig).await else { return };
    let other = QueueHandle::open(rig).await;
    let sentence = "subscribers are those of the newest registrations";
    queue.subscribe("shipping").await;
    for (n, kinds) in [&[KIND, "stock.low"][..], &["stock.low"], &[], &[KIND]].iter().enumerate() {
        queue.register("billing", kinds).await;
        let subscribes = kinds.contains(&KIND);
        let expected: &[&str] = if subscribes { &["billing", "shipping"] } else { &["shipping"] };
        lists(&other, sentence, KIND, expected).await;
        queue.sends(vec![to_subscribers(message(n.to_string()))]).await;
        let copies = queue.drain("billing").await.len();
        require_eq("whoever is listed gets a copy", &copies, &usize::from(subscribes));
    }
}
