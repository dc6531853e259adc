//! The protocols that ship, each on what it runs on.

use semel_core::protocols::{
    AtLeastOnce, DetachedOutbox, Inbox, Outbox, OutboxInbox, Protocol, Replay, Token, Transactional,
};
use semel_core::{Endpoint, Property};

use super::account;
use crate::world::{World, items_only, relational, relational_apart};

/// A protocol on a store and a queue: those of items on a store that can do as little as any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Setup {
    /// `transactional`, with the queue in the same store.
    Inside,
    /// `transactional`, with the queue elsewhere.
    Apart,
    /// `at-least-once`.
    Careless,
    /// `inbox`.
    Inbox,
    /// `outbox`.
    Outbox,
    /// `outbox-inbox`.
    OutboxInbox,
    /// `detached-outbox`.
    Detached,
    /// `token`.
    Token,
    /// `replay`.
    Replay,
}

impl Setup {
    pub(super) const ALL: [Self; 9] = [
        Self::Inside,
        Self::Apart,
        Self::Careless,
        Self::Inbox,
        Self::Outbox,
        Self::OutboxInbox,
        Self::Detached,
        Self::Token,
        Self::Replay,
    ];

    /// What the names of its worlds begin with.
    pub(super) fn prefix(self) -> &'static str {
        match self {
            Self::Inside => "transactional",
            Self::Apart => "transactional-apart",
            Self::Careless => "at-least-once",
            Self::Inbox => "inbox",
            Self::Outbox => "outbox",
            Self::OutboxInbox => "outbox-inbox",
            Self::Detached => "detached-outbox",
            Self::Token => "token",
            Self::Replay => "replay",
        }
    }

    /// Whether a message changes the state once.
    pub(super) fn is_exact(self) -> bool {
        self != Self::Careless
    }

    /// Whether the queue lies in the store.
    pub(super) fn is_inside(self) -> bool {
        self == Self::Inside
    }

    /// Whether it is one of those that need a single item for each write, and no more.
    pub(super) fn is_of_items(self) -> bool {
        !matches!(self, Self::Inside | Self::Apart | Self::Careless)
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
            Self::Inbox => endpoint.protocol(Inbox),
            Self::Outbox => endpoint.protocol(Outbox),
            Self::OutboxInbox => endpoint.protocol(OutboxInbox::default()),
            Self::Detached => endpoint.protocol(DetachedOutbox::default()),
            Self::Token => endpoint.protocol(Token::default()),
            Self::Replay => endpoint.protocol(Replay::default()),
        }
    }

    /// An empty world for it.
    pub(super) fn world(self, name: &str) -> World {
        let world = World::new(name).judge(self.promises());
        match self {
            Self::Inside => world.store(relational()),
            Self::Apart => world.store(relational_apart()),
            _ => world.store(items_only()),
        }
    }

    /// What the protocol promises to the account that it is given.
    fn promises(self) -> &'static [Property] {
        match self {
            // To handlers whose effects depend on the message alone, it loses no effects either.
            Self::Careless => {
                &[Property::NoLostMessages, Property::NoLostEffects, Property::NoGarbage]
            }
            Self::Inbox => Inbox.promises(),
            _ => &Property::ALL,
        }
    }
}
