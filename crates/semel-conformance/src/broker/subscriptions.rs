//! Messages for whoever subscribes to their type.

use semel_core::Envelope;
use semel_core::broker::{Destination, Outgoing, Settlement};

use super::arrival::is_unharmed;
use super::handle::{QueueHandle, envelope, ids};
use crate::BrokerRig;
use crate::sample::{KIND, RELEASE, message, to_subscribers};
use crate::verdict::require_eq;

const ONE_COPY: &str = "each subscriber of its type gets one copy of a message";

/// Each endpoint that subscribes to the message's type gets one copy, unharmed; no other gets any,
/// however alike the types are.
pub async fn each_subscriber_gets_one_copy(rig: &dyn BrokerRig) {
    let queue = QueueHandle::open(rig).await;
    queue.register("billing", &["order.cancelled", KIND]).await;
    queue.register("shipping", &[KIND, "stock.low"]).await;
    let alike = ["order", "order.placed.v2", "Order.Placed", "order.*", "#", ">"];
    queue.register("others", &alike).await;
    queue.register("nothing", &[]).await;
    let sent = message("1");
    queue.sends(vec![to_subscribers(sent.clone())]).await;
    for endpoint in ["billing", "shipping"] {
        let delivery = queue.takes(ONE_COPY, endpoint, "1").await;
        is_unharmed(envelope(&delivery), &sent);
        queue.nothing(ONE_COPY, endpoint).await;
    }
    for endpoint in ["others", "nothing"] {
        queue.nothing("only subscribers of its type get a copy of a message", endpoint).await;
    }
}

/// A message without subscribers is sent to nobody, and is no error.
pub async fn a_message_needs_no_subscribers(rig: &dyn BrokerRig) {
    let queue = QueueHandle::open(rig).await;
    queue.sends(vec![to_subscribers(message("1"))]).await;
    queue.subscribe("billing").await;
    let sentence = "a subscription counts for messages queued after it";
    queue.nothing(sentence, "billing").await;
}

/// A registration replaces the subscriptions of the last one. Copies queued before stay.
pub async fn a_registration_replaces_the_last_one(rig: &dyn BrokerRig) {
    let queue = QueueHandle::open(rig).await;
    let other = QueueHandle::open(rig).await;
    queue.register("billing", &[KIND, "stock.low"]).await;
    queue.sends(vec![to_subscribers(message("before"))]).await;
    other.register("billing", &["stock.low", "stock.gone"]).await;
    let kinds = [KIND, "stock.low", "stock.gone"];
    queue.sends(kinds.map(|kind| to_subscribers(of_kind(kind))).into()).await;
    let mut seen = ids(&queue.drain("billing").await);
    seen.sort_unstable();
    let expected = ["before", "stock.gone", "stock.low"].map(str::to_owned).to_vec();
    require_eq("a registration replaces the subscriptions of the last one", &seen, &expected);
}

/// Registering again what is registered changes nothing: one copy still.
pub async fn registering_again_makes_no_second_copy(rig: &dyn BrokerRig) {
    for _ in 0..3 {
        QueueHandle::open(rig).await.register("billing", &[KIND, KIND]).await;
    }
    let queue = QueueHandle::open(rig).await;
    queue.sends(vec![to_subscribers(message("1"))]).await;
    queue.takes(ONE_COPY, "billing", "1").await;
    queue.nothing(ONE_COPY, "billing").await;
}

/// Copies are messages of their own: settling one touches no other.
pub async fn copies_are_settled_apart(rig: &dyn BrokerRig) {
    let queue = QueueHandle::open(rig).await;
    queue.subscribe("billing").await;
    queue.subscribe("shipping").await;
    queue.sends(vec![to_subscribers(message("1"))]).await;
    let billing = queue.takes(ONE_COPY, "billing", "1").await;
    queue.settle(&billing, Settlement::Ack).await;
    let shipping = queue.takes("copies are settled apart", "shipping", "1").await;
    queue.settle(&shipping, RELEASE).await;
    queue.takes("copies are settled apart", "shipping", "1").await;
    queue.nothing("copies are settled apart", "billing").await;
}

/// The delay of a message holds for each copy.
pub async fn a_delay_holds_for_each_copy(rig: &dyn BrokerRig) {
    let queue = QueueHandle::open(rig).await;
    queue.subscribe("billing").await;
    let delay = queue.ticks(4);
    let to = Destination::Subscribers;
    queue.sends(vec![Outgoing { to, envelope: message("1"), delay }]).await;
    queue.nothing("a delay holds for each copy", "billing").await;
    queue.pass(5).await;
    queue.takes(ONE_COPY, "billing", "1").await;
}

fn of_kind(kind: &str) -> Envelope {
    let mut envelope = message(kind);
    envelope.kind = kind.to_owned();
    envelope
}
