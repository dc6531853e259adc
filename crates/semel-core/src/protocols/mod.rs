//! Protocols: how a delivery becomes one state change and its effects.
//!
//! Each is one file of straight-line code over [`Store`] and [`Broker`]: no clock, no random source
//! and no spawning inside. Their steps carry the labels of [`Step`].

mod at_least_once;
mod case;
mod detached_outbox;
mod entity;
mod grant;
mod inbox;
mod outbox;
mod outbox_inbox;
mod pending;
mod replay;
mod staging;
mod token;
mod transactional;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

pub use at_least_once::AtLeastOnce;
pub use detached_outbox::DetachedOutbox;
pub use entity::state_in;
pub use grant::grant;
pub use inbox::Inbox;
pub use outbox::Outbox;
pub use outbox_inbox::OutboxInbox;
pub use pending::Kept;
pub use replay::Replay;
pub use token::Token;
pub use transactional::Transactional;

use bytes::Bytes;
use case::Case;

use crate::broker::{
    BrokerLimits, DeadReason, FailureRecord, Outgoing, Receipt, SettleOutcome, Settlement,
};
use crate::context::{Context, Effect, outgoing};
use crate::handler::{BoxFuture, Decision};
use crate::operator::DeadLetter;
use crate::store::{
    Change, ItemKey, QueueHome, Space, StoreLimits, Trouble, Version, WriteOutcome,
};
use crate::{Broker, Clock, Entropy, Envelope, Failure, Property, Store, StoreError, Timestamp};

/// How long windows remember, where nobody says otherwise: seven days. It is longer than a weekend
/// without a person, and longer than most brokers keep a message.
pub const WINDOW: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The names of the steps that protocols are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// Read the entity.
    LoadEntity,
    /// Write effects down before the state that justifies them.
    StageEffects,
    /// Run the handler on state and message.
    RunHandler,
    /// Write the state, and all else that shares its fate.
    CommitState,
    /// Look up whether the message was processed before.
    CheckInbox,
    /// End what entitled to process the message.
    ConsumeToken,
    /// Hand committed messages to the broker.
    Dispatch,
    /// Remove the record of what was dispatched.
    ClearOutbox,
    /// Remove what attempts left that were not committed.
    CleanUp,
    /// Tell the broker that the delivery is done.
    Settle,
    /// Park the delivery for a person.
    Park,
}

/// Runs the user's handler once. The host's implementation adds a deadline and contains panics.
pub trait Business: Send + Sync {
    /// One attempt on the entity's state (`None` where it has none yet).
    fn run(
        &self,
        state: Option<Bytes>,
        context: Context,
    ) -> BoxFuture<'_, Result<Decision, Failure>>;
}

/// The places a protocol works on.
#[derive(Clone, Copy, Debug)]
pub struct Places<'a> {
    /// Where entities and bookkeeping lie.
    pub store: &'a dyn Store,
    /// Where messages go.
    pub broker: &'a dyn Broker,
    /// Whether that broker's queue lives in that store.
    pub queue: QueueHome,
    /// Tells the time of attempts.
    pub clock: &'a dyn Clock,
    /// Where identities are minted from.
    pub entropy: &'a dyn Entropy,
}

impl Places<'_> {
    /// Makes all `changes` or none, and tells the version that each left. A condition that did not hold
    /// is a [`Conflict`](Outcome::Conflict); after an outcome that nobody knows it proves nothing, so
    /// read again before you act on it.
    pub async fn write(&self, changes: Vec<Change>) -> Result<Vec<Option<Version>>, Outcome> {
        match self.store.write(changes).await {
            WriteOutcome::Applied(versions) => Ok(versions),
            WriteOutcome::Conflict(_) => Err(Outcome::Conflict),
            WriteOutcome::Refused(error) | WriteOutcome::Unknown(error) => Err(error.into()),
        }
    }

    /// Whether the broker takes messages of this size. To be asked before they are committed: later
    /// they could never be sent.
    ///
    /// # Errors
    /// It would refuse one of them as too large.
    pub fn check_sizes(&self, messages: &[Outgoing]) -> Result<(), StoreError> {
        let bytes_max = self.broker.limits().message_bytes_max;
        match messages.iter().find(|message| message.envelope.size() > bytes_max) {
            None => Ok(()),
            Some(Outgoing { envelope, .. }) => Err(StoreError {
                trouble: Trouble::TooLarge,
                store: format!("{:?}", self.broker),
                operation: "send",
                reason: format!(
                    "a `{}` takes {} bytes, the limit is {bytes_max}",
                    envelope.kind,
                    envelope.size()
                ),
                help: "Send less in one message.".to_owned(),
            }),
        }
    }

    /// Sends the messages of a committed attempt: all of them, or it is to be done again. What the
    /// broker refuses is not given up, for the state that justifies it is there.
    pub async fn dispatch(&self, messages: Vec<Outgoing>) -> Result<(), Outcome> {
        Ok(pending::dispatch(self.broker, messages).await?)
    }
}

/// One delivery to process.
pub struct Work<'a> {
    /// The receiving endpoint.
    pub endpoint: &'a str,
    /// The message.
    pub envelope: &'a Envelope,
    /// Proof of this delivery.
    pub receipt: &'a Receipt,
    /// The key of the entity that the message is for.
    pub entity: &'a str,
    /// The user's handler.
    pub handler: &'a dyn Business,
    /// Where to work.
    pub places: Places<'a>,
}

impl fmt::Debug for Work<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {} for {}", self.envelope.id, self.endpoint, self.entity)
    }
}

impl Work<'_> {
    /// The entity's place in the store.
    pub fn entity_key(&self) -> ItemKey {
        ItemKey::new(Space::Entity, self.endpoint, self.entity)
    }

    /// The context of one attempt.
    pub fn context(&self) -> Context {
        self.context_at(self.places.clock.now())
    }

    fn context_at(&self, at: Timestamp) -> Context {
        let scope = format!("{}\n{}", self.endpoint, message_key(self.envelope));
        Context::new(scope, at)
    }

    /// Marks the beginning of a step in the trace.
    pub fn begin(&self, step: Step) {
        self.case().begin(step);
    }

    /// Runs the handler on a state, and marks the step [`RunHandler`](Step::RunHandler) by itself.
    pub async fn decide(&self, state: Option<Bytes>) -> Result<Decision, Outcome> {
        self.decide_at(state, self.places.clock.now()).await
    }

    /// Runs the handler on a state as if it were that time.
    async fn decide_at(&self, state: Option<Bytes>, at: Timestamp) -> Result<Decision, Outcome> {
        self.begin(Step::RunHandler);
        self.handler.run(state, self.context_at(at)).await.map_err(Outcome::HandlerFailed)
    }

    /// The messages that an attempt wants to be sent, under the ids that every attempt gives them.
    ///
    /// # Errors
    /// The broker would refuse one of them as too large. Committed all the same, it could never be sent.
    pub fn messages(&self, effects: Vec<Effect>) -> Result<Vec<Outgoing>, StoreError> {
        let messages = outgoing(self.endpoint, self.envelope, effects, self.places.clock.now());
        self.places.check_sizes(&messages)?;
        Ok(messages)
    }

    /// Settles the delivery with `Ack`, and says what that makes of `outcome`. A token that the
    /// message came with ends before it.
    pub async fn ack(&self, outcome: Outcome) -> Outcome {
        match self.case().drop_token().await {
            Ok(()) => self.settle(Settlement::Ack, outcome).await,
            Err(outcome) => outcome,
        }
    }

    /// Ends a token that the message came with. To be called before a commit that settles the
    /// delivery by itself.
    pub async fn drop_token(&self) -> Result<(), Outcome> {
        self.case().drop_token().await
    }

    /// Settles the delivery, and says what that makes of `outcome`.
    async fn settle(&self, settlement: Settlement, outcome: Outcome) -> Outcome {
        self.begin(Step::Settle);
        match self.places.broker.settle(self.receipt, settlement).await {
            SettleOutcome::Settled | SettleOutcome::Stale => outcome,
            SettleOutcome::Unknown(error) => Outcome::from(error),
        }
    }

    fn case(&self) -> Case<'_> {
        let Self { endpoint, envelope, entity, places, .. } = *self;
        Case { endpoint, envelope, entity, places }
    }
}

/// What became of one run of a protocol on a delivery.
#[must_use]
#[derive(Debug)]
pub enum Outcome {
    /// State and effects are durable, and the delivery is settled.
    Processed,
    /// An earlier attempt had committed; its effects are out, and the delivery is settled.
    Duplicate,
    /// State and effects are durable. The delivery was given back, to clean up when it comes again.
    Deferred,
    /// Another attempt changed the entity first; nothing was written. Run again.
    Conflict,
    /// The lease went to another; nothing was written.
    LeaseLost,
    /// The handler failed; nothing was written.
    HandlerFailed(Failure),
    /// What the handler decided breaks a limit; nothing was written.
    Refused(StoreError),
    /// A server did not answer or gave no sure answer. Run again after a while.
    Unavailable(StoreError),
    /// The store or broker needs a person. Stop.
    Broken(StoreError),
}

impl From<StoreError> for Outcome {
    fn from(error: StoreError) -> Self {
        match error.trouble {
            Trouble::Unavailable | Trouble::Full => Self::Unavailable(error),
            Trouble::TooLarge | Trouble::Unsupported => Self::Refused(error),
            Trouble::Broken => Self::Broken(error),
        }
    }
}

/// A delivery that no handler can have, or whose handler failed for good.
#[derive(Clone, Copy, Debug)]
pub struct Parking<'a> {
    /// The receiving endpoint.
    pub endpoint: &'a str,
    /// The message, where the bytes that came are one.
    pub envelope: Option<&'a Envelope>,
    /// The key of the entity that it is for, where there is a handler to tell.
    pub entity: Option<&'a str>,
    /// Proof of this delivery.
    pub receipt: &'a Receipt,
    /// Which kind of trouble.
    pub reason: DeadReason,
    /// What went wrong.
    pub failure: &'a FailureRecord,
    /// Where to work.
    pub places: Places<'a>,
}

impl Parking<'_> {
    /// Asks `protocol` whether the message was processed, and settles accordingly: in two steps,
    /// between which another copy may be committed.
    pub async fn unless_processed<P: Protocol + ?Sized>(&self, protocol: &P) -> SettleOutcome {
        let processed = match self.envelope {
            Some(envelope) => {
                let (endpoint, store) = (self.endpoint, self.places.store);
                protocol.processed(endpoint, envelope, self.entity, store).await
            }
            // What has no identity cannot have been processed.
            None => Ok(Processed::Unknown),
        };
        let settlement = match processed {
            Ok(Processed::Yes) => {
                let dropped = case::drop_token(self.endpoint, self.envelope, self.places).await;
                dropped.map(|()| Settlement::Ack).map_err(case::into_error)
            }
            Ok(Processed::Unknown) => Ok(self.dead_letter()),
            Err(error) => Err(error),
        };
        match settlement {
            Ok(settlement) => self.places.broker.settle(self.receipt, settlement).await,
            Err(error) => SettleOutcome::Unknown(error),
        }
    }

    /// The settlement that parks it.
    pub fn dead_letter(&self) -> Settlement {
        Settlement::DeadLetter {
            reason: self.reason,
            failure: self.failure.clone(),
            entity: self.entity.map(str::to_owned),
        }
    }
}

/// Whether a message has a committed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Processed {
    /// It has.
    Yes,
    /// It has not, or the protocol does not remember.
    Unknown,
}

/// How a delivery becomes one state change and its effects.
///
/// # Contract
/// Nothing of an attempt is visible outside before its state is durable, and nothing ever of an
/// attempt whose state is not.
#[async_trait]
pub trait Protocol: fmt::Debug + Send + Sync + 'static {
    /// Its stable name.
    fn name(&self) -> &'static str;

    /// Whether it can work on such a store and broker; if not, why.
    fn check(&self, store: &StoreLimits, broker: &BrokerLimits) -> Result<(), String>;

    /// What it gives. A protocol that gives less than everything says so here.
    fn promises(&self) -> &'static [Property] {
        &Property::ALL
    }

    /// Processes one delivery.
    async fn process(&self, work: &Work<'_>) -> Outcome;

    /// Whether the message has a committed attempt. Asked before it is dead-lettered, and for a dead
    /// letter by whoever lists it; the `entity` is not known where there is no handler to tell.
    async fn processed(
        &self,
        endpoint: &str,
        envelope: &Envelope,
        entity: Option<&str>,
        store: &dyn Store,
    ) -> Result<Processed, StoreError>;

    /// Parks a delivery as a dead letter, or settles it with `Ack` if its message has a committed
    /// attempt. Either way it is `Settled`.
    async fn park(&self, parking: &Parking<'_>) -> SettleOutcome {
        parking.unless_processed(self).await
    }

    /// Dispatches what committed attempts of crashed workers left; returns how many it finished.
    /// A protocol whose finisher is the redelivery of messages has nothing to do here.
    async fn finish(&self, _endpoint: &str, _places: Places<'_>) -> Result<usize, StoreError> {
        Ok(0)
    }

    /// Removes a dead letter for good, such that no copy of it is processed later: records it as
    /// processed first. That done, [`AtLeastOnce`] removes it.
    async fn discard(&self, dead: &DeadLetter, places: Places<'_>) -> Outcome;
}

/// Every protocol, with its defaults.
pub fn all() -> Vec<Arc<dyn Protocol>> {
    vec![
        Arc::new(AtLeastOnce),
        Arc::new(Inbox),
        Arc::new(Outbox),
        Arc::new(OutboxInbox::default()),
        Arc::new(DetachedOutbox::default()),
        Arc::new(Token::default()),
        Arc::new(Replay::default()),
        Arc::new(Transactional::default()),
    ]
}

/// The protocol with this name.
///
/// ```
/// assert_eq!(semel_core::protocols::by_name("transactional").unwrap().name(), "transactional");
/// assert!(semel_core::protocols::by_name("hopeful").is_none());
/// ```
pub fn by_name(name: &str) -> Option<Arc<dyn Protocol>> {
    all().into_iter().find(|protocol| protocol.name() == name)
}

/// Where a protocol with an inbox remembers that a message was processed.
pub fn inbox_key(endpoint: &str, envelope: &Envelope) -> ItemKey {
    ItemKey::new(Space::Inbox, endpoint, message_key(envelope))
}

/// Where a protocol with an outbox keeps the effects of a message.
fn outbox_key(endpoint: &str, envelope: &Envelope) -> ItemKey {
    ItemKey::new(Space::Outbox, endpoint, message_key(envelope))
}

/// The identity of a message for its receiver, as one text: source and id, apart by a space.
pub fn message_key(envelope: &Envelope) -> String {
    // A URI reference has no spaces; one that does all the same must not be mistaken for another.
    if envelope.source.contains(['%', ' ']) {
        let source = envelope.source.replace('%', "%25").replace(' ', "%20");
        return format!("{source} {}", envelope.id);
    }
    format!("{} {}", envelope.source, envelope.id)
}
