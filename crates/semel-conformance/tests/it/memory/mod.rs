//! The contracts in their simplest form: two maps behind one lock.

mod items;
mod message;
mod messages;
pub(crate) mod mutant;
mod operator;
mod queue;
mod store;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use semel_conformance::{BrokerRig, OperatorRig, Rig, StoreRig};
use semel_core::broker::{Ordering, QueueAge, Subscribers};
use semel_core::operator::Operator;
use semel_core::store::{Atomicity, Listing, QueueHome, StoreError, Trouble};
use semel_core::{Broker, Clock, ManualClock, Store, Timestamp};

use items::Items;
use messages::Messages;
use mutant::Mutant;

/// What a place offers, and what is wrong with it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Character {
    pub(crate) atomicity: Atomicity,
    pub(crate) batch_changes_max: usize,
    pub(crate) bytes_max: usize,
    pub(crate) listing: Listing,
    pub(crate) queue: QueueHome,
    pub(crate) ordering: Ordering,
    pub(crate) subscribers: Subscribers,
    pub(crate) queue_age: QueueAge,
    pub(crate) mutant: Mutant,
}

impl Character {
    /// A place that offers everything.
    pub(crate) const RICH: Self = Self {
        atomicity: Atomicity::Everything,
        batch_changes_max: 100,
        bytes_max: 64 << 10,
        listing: Listing::Supported,
        queue: QueueHome::Inside,
        ordering: Ordering::PerPartitionKey,
        subscribers: Subscribers::Listed,
        queue_age: QueueAge::Told,
        mutant: Mutant::None,
    };

    /// A place that offers as little as the contracts allow.
    pub(crate) const POOR: Self = Self {
        atomicity: Atomicity::OneItem,
        batch_changes_max: 1,
        bytes_max: usize::MAX,
        listing: Listing::Unsupported,
        queue: QueueHome::Elsewhere,
        ordering: Ordering::None,
        subscribers: Subscribers::Unlisted,
        queue_age: QueueAge::Untold,
        mutant: Mutant::None,
    };

    /// A place between the two.
    pub(crate) const MIDDLING: Self = Self {
        atomicity: Atomicity::OnePartition,
        batch_changes_max: 10,
        queue: QueueHome::Elsewhere,
        ..Self::RICH
    };
}

#[derive(Debug, Default)]
struct State {
    items: Items,
    messages: Messages,
}

/// A fresh place, whose handles are [`Memory`].
pub(crate) struct MemoryRig(Arc<Place>);

#[derive(Debug)]
struct Place {
    character: Character,
    clock: ManualClock,
    state: Mutex<State>,
}

/// One handle to a place.
#[derive(Debug)]
pub(crate) struct Memory {
    place: Arc<Place>,
    /// What only the mutant that remembers reads looks at.
    remembered: Mutex<Items>,
}

impl MemoryRig {
    pub(crate) fn new(character: Character) -> Self {
        let (clock, state) = (ManualClock::default(), Mutex::default());
        Self(Arc::new(Place { character, clock, state }))
    }

    fn open(&self) -> Arc<Memory> {
        Arc::new(Memory { place: Arc::clone(&self.0), remembered: Mutex::default() })
    }
}

#[async_trait]
impl Rig for MemoryRig {
    async fn pass(&self, span: Duration) {
        self.0.clock.advance(span);
    }

    fn tick(&self) -> Duration {
        Duration::from_millis(100)
    }
}

#[async_trait]
impl StoreRig for MemoryRig {
    async fn store(&self) -> Arc<dyn Store> {
        self.open()
    }
}

#[async_trait]
impl BrokerRig for MemoryRig {
    async fn broker(&self) -> Arc<dyn Broker> {
        self.open()
    }
}

#[async_trait]
impl OperatorRig for MemoryRig {
    async fn operator(&self) -> Arc<dyn Operator> {
        self.open()
    }
}

impl Memory {
    fn is(&self, mutant: Mutant) -> bool {
        self.place.character.mutant == mutant
    }

    fn now(&self) -> Timestamp {
        self.place.clock.now()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.place.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Only the mutant whose places do not outlive their handles does anything.
impl Drop for Memory {
    fn drop(&mut self) {
        if self.is(Mutant::HandleTakesAllAlong) {
            *self.lock() = State::default();
        }
    }
}

fn error(trouble: Trouble, operation: &'static str, reason: &str) -> StoreError {
    StoreError {
        trouble,
        store: "memory".to_owned(),
        operation,
        reason: reason.to_owned(),
        help: "Change the request.".to_owned(),
    }
}
