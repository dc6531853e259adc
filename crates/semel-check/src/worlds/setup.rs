//! The protocols that ship, each on what it runs on.

use semel_core::protocols::{AtLeastOnce, Transactional};
use semel_core::{Endpoint, Property};

use super::account;
use crate::world::{World, items_only, relational, relational_apart};

/// A protocol on a store and a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Setup {
    /// `transactional`, with the queue in the same store.
    Inside,
    /// `transactional`, with the queue elsewhere.
    Apart,
    /// `at-least-once`, on a store that can do as little as any.
    Careless,
}

impl Setup {
    pub(super) const ALL: [Self; 3] = [Self::Inside, Self::Apart, Self::Careless];

    /// What the names of its worlds begin with.
    pub(super) fn prefix(self) -> &'static str {
        match self {
            Self::Inside => "transactional",
            Self::Apart => "transactional-apart",
            Self::Careless => "at-least-once",
        }
    }

    /// Whether a message counts once.
    pub(super) fn is_exact(self) -> bool {
        self != Self::Careless
    }

    /// The account, as the protocol needs it.
    pub(super) fn account(self) -> Endpoint {
        self.dress(if self.is_exact() { account::naive() } else { account::idempotent() })
    }

    /// Gives an endpoint the protocol.
    pub(super) fn dress(self, endpoint: Endpoint) -> Endpoint {
        match self {
            Self::Inside | Self::Apart => endpoint.protocol(Transactional::default()),
            Self::Careless => endpoint.protocol(AtLeastOnce),
        }
    }

    /// An empty world for it.
    pub(super) fn world(self, name: &str) -> World {
        let world = World::new(name).judge(self.promises());
        match self {
            Self::Inside => world.store(relational()),
            Self::Apart => world.store(relational_apart()),
            Self::Careless => world.store(items_only()),
        }
    }

    /// What the protocol promises to the account that it is given.
    fn promises(self) -> &'static [Property] {
        match self {
            Self::Inside | Self::Apart => &Property::ALL,
            // To handlers whose effects depend on the message alone, it loses no effects either.
            Self::Careless => {
                &[Property::NoLostMessages, Property::NoLostEffects, Property::NoGarbage]
            }
        }
    }
}
