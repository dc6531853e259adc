//! What a person could see of the world: entities, visible effects, dead letters.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use semel_core::broker::Destination;
use semel_core::store::Space;
use semel_core::{Envelope, Message};
use serde::de::DeserializeOwned;

use crate::parts::Fate;
use crate::quiet;
use crate::state::State;
use crate::tag;

/// The world at one moment, as invariants see it.
#[derive(Clone, Copy)]
pub struct View<'a>(pub(crate) &'a State);

impl fmt::Debug for View<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View")
            .field("entities", &self.entity_texts())
            .field("visible", &self.0.monitor.visible().len())
            .finish_non_exhaustive()
    }
}

impl View<'_> {
    /// The durable state of an entity; `None` where it has none yet.
    ///
    /// # Panics
    /// If the state is no `S`: the invariant asks for something else than the handler keeps.
    pub fn entity<S: DeserializeOwned>(&self, endpoint: &str, key: &str) -> Option<S> {
        let item = self.0.parts.items.all().iter().find(|record| {
            let at = &record.item.key;
            at.space == Space::Entity && at.partition == endpoint && at.key == key
        })?;
        tag::state_in(&item.item.value).map(|state| decode(&state, "an entity's state"))
    }

    /// Every entity of an endpoint with its key, sorted.
    ///
    /// # Panics
    /// As [`entity`](Self::entity).
    pub fn entities<S: DeserializeOwned>(&self, endpoint: &str) -> Vec<(String, S)> {
        let items = self.0.parts.items.all().iter().map(|record| &record.item);
        items
            .filter(|item| item.key.space == Space::Entity && item.key.partition == endpoint)
            .filter_map(|item| {
                let state = tag::state_in(&item.value)?;
                Some((item.key.key.clone(), decode(&state, "an entity's state")))
            })
            .collect()
    }

    /// Every visible message of a type. One that was sent again under its identity is one message.
    ///
    /// # Panics
    /// If the data of one is no `M`.
    pub fn sent<M: Message>(&self) -> Vec<M> {
        let mut seen = BTreeSet::new();
        let visible = self.0.monitor.visible().iter();
        visible
            .filter(|visible| visible.sent.envelope.kind == M::TYPE)
            .filter(|visible| seen.insert((visible.identity, visible.content)))
            .map(|visible| decode(&visible.sent.envelope.data, M::TYPE))
            .collect()
    }

    /// Every visible message with its receiver, as envelopes: `None` went to subscribers.
    pub fn visible(&self) -> Vec<(Option<String>, Envelope)> {
        let visible = self.0.monitor.visible().iter();
        visible
            .map(|visible| {
                let to = match &visible.sent.to {
                    Destination::Endpoint(name) => Some(name.clone()),
                    Destination::Subscribers => None,
                };
                (to, visible.sent.envelope.clone())
            })
            .collect()
    }

    /// The ids of the dead letters of an endpoint.
    pub fn dead_letters(&self, endpoint: &str) -> Vec<String> {
        let queued = self.0.parts.queue.all().iter();
        queued
            .filter(|queued| matches!(queued.fate, Fate::Dead { .. }))
            .filter(|queued| queued.carried.endpoint == endpoint)
            .map(|queued| queued.carried.envelope.id.clone())
            .collect()
    }

    /// The identities (source and id, apart by a space) of the messages of an endpoint that a person
    /// discarded.
    pub fn discarded(&self, endpoint: &str) -> Vec<String> {
        let of_endpoint = self.0.monitor.discarded().iter().filter(|(at, _)| at == endpoint);
        of_endpoint.map(|(_, message)| message.clone()).collect()
    }

    /// An object that handlers wrote outside (see [`Objects`](crate::Objects)).
    pub fn object(&self, name: &str) -> Option<bytes::Bytes> {
        self.0.parts.outside.get(name).cloned()
    }

    /// Every entity with its state as text.
    pub(crate) fn entity_texts(&self) -> Vec<(String, String)> {
        let items = self.0.parts.items.all().iter().map(|record| &record.item);
        items
            .filter(|item| item.key.space == Space::Entity)
            .map(|item| {
                let state = tag::state_in(&item.value).unwrap_or_else(|| item.value.clone());
                let name = format!("{}/{}", item.key.partition, item.key.key);
                (name, String::from_utf8_lossy(&state).into_owned())
            })
            .collect()
    }
}

#[expect(clippy::panic, reason = "an invariant that asks for the wrong type is a test that fails")]
fn decode<T: DeserializeOwned>(bytes: &[u8], what: &str) -> T {
    serde_json::from_slice(bytes)
        .unwrap_or_else(|error| panic!("{what} is no {}: {error}", std::any::type_name::<T>()))
}

type Check = Arc<dyn Fn(&View<'_>) -> bool + Send + Sync>;

/// When an invariant must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// In every state.
    Always,
    /// Once faults have stopped and all work is done.
    Finally,
}

/// Something that the user says must hold.
#[derive(Clone)]
pub(crate) struct Invariant {
    pub(crate) name: String,
    pub(crate) when: When,
    pub(crate) holds: Check,
}

/// Something that the user says must happen in some state.
#[derive(Clone)]
pub(crate) struct Condition {
    pub(crate) name: String,
    pub(crate) holds: Check,
}

impl Condition {
    /// Whether it holds, or the text of its panic.
    pub(crate) fn is_met(&self, state: &State) -> Result<bool, String> {
        let holds = std::panic::AssertUnwindSafe(|| (self.holds)(&View(state)));
        std::panic::catch_unwind(holds).map_err(|panic| quiet::told(&*panic))
    }
}

impl fmt::Debug for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}", self.when, self.name)
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sometimes {}", self.name)
    }
}
