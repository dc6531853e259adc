//! How an edge works, and on what it can.

use std::time::Duration;

use semel_core::Backend;
use semel_core::store::{Atomicity, Listing, QueueHome};

/// How an edge works.
///
/// ```
/// use semel_http::Settings;
///
/// // The endpoints that the edge sends to run under `Token { realm: "shop", .. }`.
/// let settings = Settings::default().tokens("shop");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long the response under an idempotency key is remembered at least. That an action
    /// happened to a data set is remembered for good.
    pub window: Duration,
    /// How long a request waits for an earlier one on the same data set before it is answered with
    /// 409.
    pub wait_max: Duration,
    /// How often a request turns to the store, where others change the same data set or the
    /// store's answers are lost.
    pub tries_max: u32,
    /// The pause after the first lost answer. It doubles with each, up to one second.
    pub pause: Duration,
    /// What the messages come with.
    pub tokens: Tokens,
    /// Where the queue lives outside the store: how often it is looked whether messages of an
    /// action are still to be sent. Those that two looks in a row find are.
    pub finish_every: Duration,
}

/// What the messages of an edge come with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Tokens {
    /// Their identity alone. Whoever receives them recognises a repetition as its protocol does.
    #[default]
    None,
    /// A token each, in this realm, where they go to an endpoint. It lies in the store until the
    /// message is processed, so endpoints under [`Token`](semel_core::protocols::Token) with the
    /// same realm need no window for them; those under another protocol only remove it. What is
    /// published gets none.
    InRealm(String),
}

impl Settings {
    /// The same for an edge whose messages come with tokens of this realm.
    #[must_use]
    pub fn tokens(self, realm: impl Into<String>) -> Self {
        Self { tokens: Tokens::InRealm(realm.into()), ..self }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(24 * 60 * 60),
            wait_max: Duration::from_secs(10),
            tries_max: 12,
            pause: Duration::from_millis(20),
            tokens: Tokens::None,
            finish_every: Duration::from_secs(2),
        }
    }
}

/// Why an edge cannot work on a backend.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EdgeError {
    /// The queue lives outside the store, and what waits to be sent cannot be listed.
    #[error(
        "the queue lives elsewhere, so messages wait in {store} until they are sent, and it cannot \
         list them: use a store that can, such as PostgreSQL"
    )]
    CannotList {
        /// The store.
        store: String,
    },
    /// The batches of the store are too narrow.
    #[error(
        "the edge commits the data set and the response in one batch, and a batch of {store} is \
         not atomic across everything in it: use a store whose batches are, such as SQLite"
    )]
    NarrowBatches {
        /// The store.
        store: String,
    },
}

impl EdgeError {
    /// Whether an edge can work on `backend`.
    pub(crate) fn check(backend: &Backend) -> Result<(), Self> {
        let store = || format!("{:?}", backend.store());
        let limits = backend.store().limits();
        let is_apart = backend.queue() == QueueHome::Elsewhere;
        if is_apart && limits.listing == Listing::Unsupported {
            return Err(Self::CannotList { store: store() });
        }
        if limits.atomicity != Atomicity::Everything {
            return Err(Self::NarrowBatches { store: store() });
        }
        Ok(())
    }
}
