//! Worlds: which endpoints, which messages, how many workers, which faults.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use semel_core::broker::{BrokerLimits, Destination, Ordering, Outgoing, QueueAge, Subscribers};
use semel_core::context::MessageEffect;
use semel_core::host::{self, HostError};
use semel_core::protocols::Protocol;
use semel_core::store::{Atomicity, ItemKey, Listing, QueueHome, Space, StoreLimits};
use semel_core::{Endpoint, Envelope, Message, Property};
use serde::Serialize;

use crate::fault::{Fault, Faults};
use crate::model::{Bounds, Conflicts, Model};
use crate::parts::{RELATIONAL, Routes};
use crate::tag::Trail;
use crate::task::{Cast, Site, Tagging};
use crate::view::{Condition, Invariant, View, When};

/// A small world to check: endpoints with their real handlers and protocols, and messages.
///
/// ```
/// use semel_check::World;
/// use semel_core::{Context, Endpoint, Keyed, Message};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Deposit { account: String, pence: i64 }
/// impl Message for Deposit { const TYPE: &'static str = "account.deposit"; }
/// impl Keyed for Deposit { fn key(&self) -> String { self.account.clone() } }
///
/// #[derive(Default, Serialize, Deserialize)]
/// struct Account { pence: i64 }
///
/// fn deposit(account: &mut Account, message: Deposit, _: &mut Context) {
///     account.pence += message.pence;
/// }
///
/// let report = World::new("a deposit")
///     .endpoint(Endpoint::new("accounts").handle(deposit))
///     .send("d1", "accounts", Deposit { account: "alice".to_owned(), pence: 5 })
///     .workers(2)
///     .faults(1)
///     .finally("the money is there once", |view| {
///         view.entity::<Account>("accounts", "alice").is_some_and(|account| account.pence == 5)
///     })
///     .check();
/// report.assert_holds();
/// ```
#[derive(Clone, Debug)]
pub struct World {
    name: String,
    endpoints: Vec<Vec<Endpoint>>,
    messages: Vec<Outgoing>,
    items: Vec<(ItemKey, Bytes)>,
    conflicts: Conflicts,
    workers: usize,
    faults: Faults,
    faults_max: u32,
    store: StoreLimits,
    broker: BrokerLimits,
    later_by: Duration,
    judged: Vec<Property>,
    invariants: Vec<Invariant>,
    conditions: Vec<Condition>,
    keeps: Vec<Space>,
    bookkeeping_max: Option<usize>,
    bounds: Bounds,
    patience: Duration,
    forgets: bool,
    troubles: Vec<String>,
}

/// A world that cannot be checked, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the world \"{world}\" cannot be checked: {reason}")]
pub struct WorldError {
    /// Its name.
    pub world: String,
    /// What is wrong with it, and what to do: a sentence.
    pub reason: String,
}

impl World {
    /// An empty world: one worker, no faults, a relational store that also holds the queue.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            endpoints: Vec::new(),
            messages: Vec::new(),
            items: Vec::new(),
            conflicts: Conflicts::Named,
            workers: 1,
            faults: Faults::default(),
            faults_max: 0,
            store: RELATIONAL,
            broker: BrokerLimits {
                message_bytes_max: 1 << 20,
                receive_max: 1,
                ordering: Ordering::None,
                subscribers: Subscribers::Listed,
                queue_age: QueueAge::Told,
            },
            later_by: Duration::from_secs(86_400),
            judged: Property::ALL.to_vec(),
            invariants: Vec::new(),
            conditions: Vec::new(),
            keeps: Vec::new(),
            bookkeeping_max: None,
            bounds: Bounds::default(),
            patience: Duration::from_secs(10),
            forgets: false,
            troubles: Vec::new(),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Adds an endpoint, with the handlers, the protocol and the retry policy it ships with.
    #[must_use]
    pub fn endpoint(mut self, endpoint: Endpoint) -> Self {
        if self.endpoints.iter().any(|versions| versions[0].name() == endpoint.name()) {
            self.troubles.push(format!(
                "there are two endpoints `{}`; a later version of one is added with `deploy`",
                endpoint.name()
            ));
        }
        self.endpoints.push(vec![endpoint]);
        self
    }

    /// Adds a later version of an endpoint: some attempts run the old one, some the new one.
    #[must_use]
    pub fn deploy(mut self, endpoint: Endpoint) -> Self {
        let name = endpoint.name().to_owned();
        match self.endpoints.iter_mut().find(|versions| versions[0].name() == name) {
            Some(versions) => versions.push(endpoint),
            None => {
                let names = self.names();
                let trouble = format!("there is no endpoint `{name}` to deploy over, only {names}");
                self.troubles.push(trouble);
            }
        }
        self
    }

    /// The endpoints, for a reader.
    fn names(&self) -> String {
        let names: Vec<String> =
            self.endpoints.iter().map(|versions| format!("`{}`", versions[0].name())).collect();
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    }

    /// Begins with an entity that has a state already, stored as the protocols that ship do.
    #[must_use]
    pub fn entity<S: Serialize>(mut self, endpoint: &str, key: &str, state: &S) -> Self {
        match serde_json::to_vec(state) {
            // As if it stemmed from no message that anyone asks about.
            Ok(value) => {
                let value = Trail::default().attach(&value);
                self.item(ItemKey::new(Space::Entity, endpoint, key), value)
            }
            Err(error) => {
                self.troubles
                    .push(format!("the state of {endpoint}/{key} cannot be written: {error}"));
                self
            }
        }
    }

    /// Begins with an item in the store: the books of a protocol of your own. It stays for good
    /// without being garbage, as long as nobody writes it.
    #[must_use]
    pub fn item(mut self, key: ItemKey, value: impl Into<Bytes>) -> Self {
        self.items.push((key, value.into()));
        self
    }

    /// Sends a message from outside, before the first move.
    #[must_use]
    pub fn send<M: Message>(self, id: &str, endpoint: &str, message: M) -> Self {
        self.outside(id, Destination::Endpoint(endpoint.to_owned()), &message)
    }

    /// Publishes a message from outside to those who subscribe to its type, before the first move.
    #[must_use]
    pub fn publish<M: Message>(self, id: &str, message: M) -> Self {
        self.outside(id, Destination::Subscribers, &message)
    }

    fn outside<M: Message>(mut self, id: &str, to: Destination, message: &M) -> Self {
        let now = crate::epoch();
        match MessageEffect::new(to, message, Duration::ZERO) {
            Ok(effect) => {
                self.messages.push(effect.into_outgoing(id.to_owned(), "/outside".to_owned(), now));
            }
            Err(failure) => self.troubles.push(failure.reason().to_owned()),
        }
        self
    }

    /// Sends an envelope as it is, before the first move.
    #[must_use]
    pub fn send_envelope(mut self, endpoint: &str, envelope: Envelope) -> Self {
        let to = Destination::Endpoint(endpoint.to_owned());
        self.messages.push(Outgoing { to, envelope, delay: Duration::ZERO });
        self
    }

    /// How many workers there are. Each is a process of its own that serves every endpoint.
    #[must_use]
    pub fn workers(mut self, count: usize) -> Self {
        self.workers = count;
        self
    }

    /// How many faults one run may have. All runs with fewer are checked first.
    #[must_use]
    pub fn faults(mut self, count: u32) -> Self {
        self.faults_max = count;
        self
    }

    /// Which faults there are.
    #[must_use]
    pub fn kinds(mut self, faults: Faults) -> Self {
        self.faults = faults;
        self
    }

    /// Adds one kind of fault.
    #[must_use]
    pub fn with(mut self, fault: Fault) -> Self {
        self.faults = self.faults.with(fault);
        self
    }

    /// Leaves out one kind of fault.
    #[must_use]
    pub fn without(mut self, fault: Fault) -> Self {
        self.faults = self.faults.without(fault);
        self
    }

    /// What the store can do. See [`relational`](crate::relational) and its neighbours.
    #[must_use]
    pub fn store(mut self, limits: StoreLimits) -> Self {
        self.store = limits;
        self
    }

    /// Messages of one partition key keep their order, as in a queue with order.
    #[must_use]
    pub fn ordered(mut self) -> Self {
        self.broker.ordering = Ordering::PerPartitionKey;
        self
    }

    /// Conflicts do not say which conditions failed, as with some stores: a protocol may use what a
    /// store tells, and must not rely on it.
    #[must_use]
    pub fn conflicts_unnamed(mut self) -> Self {
        self.conflicts = Conflicts::Unnamed;
        self
    }

    /// The largest message that the broker takes, in bytes.
    #[must_use]
    pub fn message_bytes_max(mut self, bytes: usize) -> Self {
        self.broker.message_bytes_max = bytes;
        self
    }

    /// How far the clock moves on in a [`Fault::LateDelivery`]; a day at first.
    #[must_use]
    pub fn later_by(mut self, span: Duration) -> Self {
        self.later_by = span;
        self
    }

    /// Judges these properties alone: for a protocol that does not promise the others.
    #[must_use]
    pub fn judge(mut self, properties: &[Property]) -> Self {
        self.judged = properties.to_vec();
        self
    }

    /// Records of this kind may stay for good: the protocol states no bound for them.
    #[must_use]
    pub fn keeps(mut self, space: Space) -> Self {
        self.keeps.push(space);
        self
    }

    /// The most bytes that an entity's item may hold beside its state once all is done: the bound of
    /// a protocol that keeps its books in the entity. Without it, what an entity holds is its own.
    #[must_use]
    pub fn bookkeeping_max(mut self, bytes: usize) -> Self {
        self.bookkeeping_max = Some(bytes);
        self
    }

    /// What must hold in every state.
    #[must_use]
    pub fn always(
        self,
        name: impl Into<String>,
        holds: impl Fn(&View<'_>) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.invariant(name.into(), When::Always, holds)
    }

    /// What must hold once faults have stopped and all work is done.
    #[must_use]
    pub fn finally(
        self,
        name: impl Into<String>,
        holds: impl Fn(&View<'_>) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.invariant(name.into(), When::Finally, holds)
    }

    fn invariant(
        mut self,
        name: String,
        when: When,
        holds: impl Fn(&View<'_>) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.invariants.push(Invariant { name, when, holds: Arc::new(holds) });
        self
    }

    /// What must hold in some state: a world in which it never happens proves nothing about it.
    #[must_use]
    pub fn sometimes(
        mut self,
        name: impl Into<String>,
        holds: impl Fn(&View<'_>) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.conditions.push(Condition { name: name.into(), holds: Arc::new(holds) });
        self
    }

    /// How many states are explored before the checker gives up, saying so.
    #[must_use]
    pub fn states_max(mut self, count: usize) -> Self {
        self.bounds.states = count;
        self
    }

    /// How often one copy of a message is delivered before a run is cut off, saying so.
    #[must_use]
    pub fn deliveries_max(mut self, count: u32) -> Self {
        self.bounds.deliveries = count;
        self
    }

    /// How many calls a task makes before a run is cut off, saying so; 200 at first.
    #[must_use]
    pub fn calls_max(mut self, count: u32) -> Self {
        self.bounds.calls = count;
        self
    }

    /// How many rounds of one delivery draw identities before a run is cut off, saying so; 12 at
    /// first.
    #[must_use]
    pub fn rounds_max(mut self, count: u32) -> Self {
        self.bounds.epochs = count;
        self
    }

    /// How long handlers and protocols may take between two calls before they are taken to loop
    /// forever; 10 seconds at first.
    #[must_use]
    pub fn patience(mut self, span: Duration) -> Self {
        self.patience = span;
        self
    }

    /// Runs the code along with the world instead of remembering what it did at each step: slower
    /// where runs are alike, and without need of memory where they are not. For
    /// [`check_random`](Self::check_random) of large worlds. Code that does not always do the same
    /// is not noticed then.
    #[must_use]
    pub fn forgetful(mut self) -> Self {
        self.forgets = true;
        self
    }

    pub(crate) fn forgets(&self) -> bool {
        self.forgets
    }

    pub(crate) fn patience_of(&self) -> Duration {
        self.patience
    }

    /// Makes the world ready, or says what is wrong with it.
    pub(crate) fn model(self) -> Result<Model, WorldError> {
        if let Some(reason) = self.trouble() {
            return Err(WorldError { world: self.name, reason });
        }
        let subscribers = self.endpoints.iter().flat_map(|versions| {
            let endpoint = &versions[0];
            let subscriptions = endpoint.subscriptions().iter();
            subscriptions.map(|kind| (kind.clone(), endpoint.name().to_owned()))
        });
        let names = self.endpoints.iter().map(|versions| versions[0].name().to_owned());
        let routes = Arc::new(Routes {
            endpoints: Some(names.collect()),
            subscribers: subscribers.collect(),
            message_bytes_max: self.broker.message_bytes_max,
            ordered: self.broker.ordering == Ordering::PerPartitionKey,
        });
        let tagged = |endpoint: Endpoint| {
            let name = endpoint.name().to_owned();
            endpoint.wrap_handlers(|handler| Arc::new(Tagging { endpoint: name.clone(), handler }))
        };
        let site =
            |versions: Vec<Endpoint>| Site { versions: versions.into_iter().map(tagged).collect() };
        let sites = self.endpoints.into_iter().map(site).collect();
        Ok(Model {
            name: self.name,
            cast: Arc::new(Cast {
                sites,
                store: self.store,
                broker: self.broker,
                routes: routes.clone(),
            }),
            routes,
            messages: self.messages,
            items: self.items,
            conflicts: self.conflicts,
            workers: self.workers,
            faults: self.faults,
            faults_max: self.faults_max,
            bounds: self.bounds,
            epoch: crate::epoch(),
            later_by: self.later_by,
            judged: self.judged,
            invariants: self.invariants,
            conditions: self.conditions,
            keeps: self.keeps,
            bookkeeping_max: self.bookkeeping_max,
        })
    }

    fn trouble(&self) -> Option<String> {
        if let Some(trouble) = self.troubles.first() {
            return Some(trouble.clone());
        }
        if self.endpoints.is_empty() {
            return Some("it has no endpoint; add one with `endpoint`".to_owned());
        }
        if self.messages.is_empty() {
            return Some("it has no messages; add some with `send`".to_owned());
        }
        if self.workers == 0 {
            return Some("it has no workers, so nothing can happen; see `workers`".to_owned());
        }
        if self.patience.is_zero() {
            return Some(
                "it has no patience: no code returns in no time; see `patience`".to_owned(),
            );
        }
        let of_endpoints =
            self.endpoints.iter().find_map(|versions| self.endpoint_trouble(versions));
        of_endpoints
            .or_else(|| self.messages.iter().find_map(|message| self.route_trouble(message)))
    }

    /// What a host would say, and what a world cannot show.
    fn endpoint_trouble(&self, versions: &[Endpoint]) -> Option<String> {
        let first = versions[0].subscriptions();
        if versions.iter().any(|version| version.subscriptions() != first) {
            let name = versions[0].name();
            return Some(format!(
                "the versions of `{name}` subscribe to different types: here subscriptions stay as \
                 they are, so give all versions the same"
            ));
        }
        versions.iter().find_map(|version| {
            // Without order a world is only harder: whoever wants it asks for it (`ordered`).
            let broker = BrokerLimits { ordering: Ordering::PerPartitionKey, ..self.broker };
            let error = host::check(version, &self.store, &broker).err()?;
            Some(match error {
                HostError::Unsuitable { endpoint, protocol, needs } => format!(
                    "the protocol `{protocol}` of endpoint `{endpoint}` needs {needs}; see `store`: \
                     {}",
                    self.suitable(version.chosen_protocol())
                ),
                _ => error.to_string(),
            })
        })
    }

    /// The stores that a protocol can work on.
    fn suitable(&self, protocol: &Arc<dyn Protocol>) -> String {
        let stores = [
            ("relational()", relational()),
            ("relational_apart()", relational_apart()),
            ("partitions()", partitions()),
            ("items_only()", items_only()),
        ];
        let fits = |store: &StoreLimits| protocol.check(store, &self.broker).is_ok();
        let names: Vec<&str> =
            stores.iter().filter(|(_, store)| fits(store)).map(|(name, _)| *name).collect();
        match names.is_empty() {
            true => "none of those that come with the checker has it".to_owned(),
            false => format!("{} would do", names.join(" or ")),
        }
    }

    fn route_trouble(&self, outgoing: &Outgoing) -> Option<String> {
        let (id, kind) = (&outgoing.envelope.id, &outgoing.envelope.kind);
        if let Err(error) = outgoing.envelope.validate() {
            return Some(format!("message {id} cannot be sent: {error}"));
        }
        let Destination::Endpoint(name) = &outgoing.to else {
            let subscribes = |versions: &Vec<Endpoint>| versions[0].subscriptions().contains(kind);
            let is_heard = self.endpoints.iter().any(subscribes);
            return (!is_heard).then(|| {
                format!(
                    "message {id} is published, and no endpoint here subscribes to `{kind}`; let one \
                     do so with `Endpoint::subscribe`"
                )
            });
        };
        let Some(versions) = self.endpoints.iter().find(|versions| versions[0].name() == name)
        else {
            let names = self.names();
            return Some(format!(
                "message {id} goes to `{name}`, which is no endpoint here: {names}"
            ));
        };
        let is_handled = versions.iter().any(|version| version.handlers().contains_key(&**kind));
        (!is_handled).then(|| format!("`{name}` has no handler for message {id}, a `{kind}`"))
    }
}

/// A store as a database with SQL has it: atomic across everything, with listing, and the queue
/// inside.
pub const fn relational() -> StoreLimits {
    RELATIONAL
}

/// The same with the queue at a broker elsewhere.
pub const fn relational_apart() -> StoreLimits {
    StoreLimits { queue: QueueHome::Elsewhere, ..RELATIONAL }
}

/// A store with conditional writes of one item at a time, items up to 400 KB, and no listing: as
/// little as cloud stores have in common.
pub const fn items_only() -> StoreLimits {
    StoreLimits {
        atomicity: Atomicity::OneItem,
        batch_changes_max: 1,
        item_bytes_max: 400 << 10,
        listing: Listing::Unsupported,
        queue: QueueHome::Elsewhere,
    }
}

/// A store whose batches are atomic within one partition, items up to 2 MB, and no listing.
pub const fn partitions() -> StoreLimits {
    StoreLimits {
        atomicity: Atomicity::OnePartition,
        batch_changes_max: 100,
        item_bytes_max: 2 << 20,
        ..items_only()
    }
}
