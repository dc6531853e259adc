//! What is compared: the rows.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use semel_core::Property;
use semel_core::protocols::{
    AtLeastOnce, DetachedOutbox, Inbox, Outbox, OutboxInbox, Protocol, Replay, Token, Transactional,
};
use semel_core::store::StoreLimits;

use super::class::FaultClass;
use crate::practice::{BrokerWindow, IdempotencyKey, InboxTable, SweptOutbox, TwoPhase};
use crate::world::{items_only, relational, relational_apart};

const HOUR: Duration = Duration::from_secs(60 * 60);
const MINUTE: Duration = Duration::from_secs(60);

/// Whether a protocol is for use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It ships with Semel, and is held to its promises.
    Ships,
    /// It is a model of what others do: see [`practice`](crate::practice).
    Model,
}

/// A store on which a row is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// One database that also holds the queue.
    Database,
    /// A database, and a broker elsewhere.
    DatabaseAndBroker,
    /// A store of single items, and a broker elsewhere.
    ItemsAndBroker,
}

impl Place {
    /// What it can do.
    pub const fn limits(self) -> StoreLimits {
        match self {
            Self::Database => relational(),
            Self::DatabaseAndBroker => relational_apart(),
            Self::ItemsAndBroker => items_only(),
        }
    }

    /// What it is, in a few words.
    pub const fn says(self) -> &'static str {
        match self {
            Self::Database => "one database with the queue in it",
            Self::DatabaseAndBroker => "a database and a broker",
            Self::ItemsAndBroker => "single items and a broker",
        }
    }
}

/// A protocol on a store, to be compared with others.
#[derive(Clone)]
pub struct Row {
    name: &'static str,
    about: &'static str,
    kind: Kind,
    place: Place,
    protocol: Arc<dyn Protocol>,
    assumes: Option<(FaultClass, &'static str)>,
}

impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:?} on {})", self.name, self.protocol, self.place.says())
    }
}

impl Row {
    /// A protocol that ships.
    pub fn ships(
        name: &'static str,
        about: &'static str,
        place: Place,
        protocol: impl Protocol,
    ) -> Self {
        Self { name, about, kind: Kind::Ships, place, protocol: Arc::new(protocol), assumes: None }
    }

    /// A model of what others do.
    pub fn model(
        name: &'static str,
        about: &'static str,
        place: Place,
        protocol: impl Protocol,
    ) -> Self {
        Self { name, about, kind: Kind::Model, place, protocol: Arc::new(protocol), assumes: None }
    }

    /// What its documentation assumes of those who use it, by which its promises do not count under
    /// one class of faults: these worlds do without it.
    #[must_use]
    pub fn assumes(mut self, class: FaultClass, what: &'static str) -> Self {
        self.assumes = Some((class, what));
        self
    }

    /// Under which class of faults its promises rest on an assumption that these worlds do not keep,
    /// and which.
    pub fn assumption(&self) -> Option<(FaultClass, &'static str)> {
        self.assumes
    }

    /// Its name: words with hyphens between them.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// What it does, as a line.
    pub fn about(&self) -> &'static str {
        self.about
    }

    /// Whether it is for use.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// On which store it is compared.
    pub fn place(&self) -> Place {
        self.place
    }

    /// The protocol.
    pub fn protocol(&self) -> &Arc<dyn Protocol> {
        &self.protocol
    }

    /// What is promised to whoever uses it: nothing by a model.
    pub fn promises(&self) -> &'static [Property] {
        match self.kind {
            Kind::Ships => self.protocol.promises(),
            Kind::Model => &[],
        }
    }
}

/// Every row: the protocols that ship, and then the models. A new protocol is one more entry here.
pub fn rows() -> Vec<Row> {
    vec![
        Row::ships(
            "at-least-once",
            "no deduplication: for handlers that are idempotent by themselves",
            Place::ItemsAndBroker,
            AtLeastOnce,
        ),
        Row::ships(
            "inbox",
            "ids in the entity, effects decided again for a duplicate",
            Place::ItemsAndBroker,
            Inbox,
        ),
        Row::ships(
            "outbox",
            "ids and pending effects in the entity",
            Place::ItemsAndBroker,
            Outbox,
        ),
        Row::ships(
            "outbox-inbox",
            "pending effects in the entity, ids beside it for a window",
            Place::ItemsAndBroker,
            OutboxInbox::default(),
        ),
        Row::ships(
            "detached-outbox",
            "one field of fixed size in the entity, effects and ids beside it for a window",
            Place::ItemsAndBroker,
            DetachedOutbox::default(),
        ),
        Row::ships(
            "token",
            "a message is processed only while its token exists",
            Place::ItemsAndBroker,
            Token::default(),
        ),
        Row::ships(
            "replay",
            "a duplicate runs again on the state before its first run",
            Place::ItemsAndBroker,
            Replay::default(),
        )
        .assumes(
            FaultClass::Deployment,
            "handlers that decide in every version what they decided before",
        ),
        Row::ships(
            "transactional",
            "state, inbox, messages and queue in one transaction",
            Place::Database,
            Transactional::default(),
        ),
        Row::ships(
            "transactional-apart",
            "state, inbox and outbox in one transaction, the queue elsewhere",
            Place::DatabaseAndBroker,
            Transactional::default(),
        ),
        Row::model(
            "sqs-fifo-window",
            "the broker drops ids sent within 5 minutes (SQS FIFO), no memory at the consumer",
            Place::Database,
            BrokerWindow { window: 5 * MINUTE },
        ),
        Row::model(
            "jetstream-window",
            "the broker drops ids sent within 2 minutes (JetStream), no memory at the consumer",
            Place::Database,
            BrokerWindow { window: 2 * MINUTE },
        ),
        Row::model(
            "inbox-table",
            "a table of ids, asked before the work and written after it",
            Place::ItemsAndBroker,
            InboxTable { window: 7 * 24 * HOUR },
        ),
        Row::model(
            "idempotency-key",
            "a key that is kept for 24 hours, with the response to replay",
            Place::ItemsAndBroker,
            IdempotencyKey { keep: 24 * HOUR },
        ),
        Row::model(
            "swept-outbox",
            "an outbox table whose rows are deleted after 24 hours, sent or not; no inbox",
            Place::DatabaseAndBroker,
            SweptOutbox { keep: 24 * HOUR },
        ),
        Row::model(
            "two-phase-commit",
            "prepare and commit across database and broker (XA)",
            Place::Database,
            TwoPhase,
        ),
    ]
}
