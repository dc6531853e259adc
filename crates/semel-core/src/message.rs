//! Messages: the user's types that travel in envelopes.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Whether messages of a type are handled in the order in which they were sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Messages may overtake each other. A retry holds up nobody.
    #[default]
    Free,
    /// Messages of one endpoint with the same subject are handled in the order they were queued,
    /// across processes. A retry holds up the later ones until it succeeds or is dead-lettered.
    /// Needs a queue that can (see [`Ordering`](crate::broker::Ordering)).
    PerSubject,
}

/// A type that travels between endpoints.
///
/// `#[derive(Message)]` of the `semel` crate writes this, and [`Keyed`], from
/// `#[message(type = "order.place", entity = order)]`. By hand:
///
/// ```
/// use semel_core::{Keyed, Message};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct PlaceOrder {
///     order: String,
///     total_pence: i64,
/// }
///
/// impl Message for PlaceOrder {
///     const TYPE: &'static str = "order.place";
///
///     fn subject(&self) -> Option<String> {
///         Some(self.key())
///     }
/// }
///
/// impl Keyed for PlaceOrder {
///     fn key(&self) -> String {
///         self.order.clone()
///     }
/// }
/// ```
///
/// # Contract
/// `TYPE` is a name that stays when the Rust type is renamed or moved, and is never used again for
/// something else: it is what lies in queues while a new version is deployed.
pub trait Message: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The explicit, stable name of this type on the wire.
    const TYPE: &'static str;

    /// Whether messages about the same subject keep their order.
    const ORDER: Order = Order::Free;

    /// What this message is about: the key of the entity that it is for, if it names one.
    fn subject(&self) -> Option<String> {
        None
    }
}

/// A message that names the entity it is for.
pub trait Keyed: Message {
    /// The key of the entity whose state the handler gets.
    fn key(&self) -> String;
}
