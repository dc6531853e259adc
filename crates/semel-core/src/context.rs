//! What a handler may declare.

use std::any::Any;
use std::time::Duration;

use bytes::Bytes;
use uuid::Uuid;

use crate::broker::{Destination, Outgoing};
use crate::envelope::{CAUSATION, CONVERSATION, PARTITION_KEY, TRACE_PARENT};
use crate::{Envelope, Failure, Message, Order, Timestamp, ids};

/// Anything that a handler wants done outside its entity.
///
/// Declaring one does nothing by itself: it becomes visible once the attempt's state is durable,
/// and never if the attempt loses.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Effect {
    /// A message to send.
    Message(MessageEffect),
}

/// A message that a handler declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageEffect {
    /// Where it goes.
    pub to: Destination,
    /// The stable name of its type.
    pub kind: &'static str,
    /// What it is about.
    pub subject: Option<String>,
    /// Whether it keeps its order among messages of the same subject.
    pub order: Order,
    /// The encoded message.
    pub data: Bytes,
    /// How long it waits before it can be received.
    pub delay: Duration,
}

impl MessageEffect {
    /// Encodes `message` for `to`.
    pub fn new<M: Message>(to: Destination, message: &M, delay: Duration) -> Result<Self, Failure> {
        let data = serde_json::to_vec(message).map_err(|error| {
            Failure::dead_letter(format!("a `{}` cannot be written as JSON: {error}", M::TYPE))
        })?;
        let subject = message.subject();
        let effect = Self { to, kind: M::TYPE, subject, order: M::ORDER, data: data.into(), delay };
        effect.check()?;
        Ok(effect)
    }

    /// What would be undecodable at the receiver is refused here, where it can be mended.
    fn check(&self) -> Result<(), Failure> {
        if self.order == Order::PerSubject && self.subject.is_none() {
            let kind = self.kind;
            let reason = format!("a `{kind}` is ordered by its subject, but has none");
            return Err(Failure::dead_letter(reason));
        }
        let mut probe = Envelope::new("id", "/source", self.kind, Bytes::new());
        probe.subject = self.subject.clone();
        probe.validate().map_err(|error| {
            Failure::dead_letter(format!("a `{}` cannot be sent: {error}", self.kind))
        })
    }

    /// Puts the message into an envelope of its own.
    pub fn into_outgoing(self, id: String, source: String, now: Timestamp) -> Outgoing {
        let mut envelope = Envelope::new(id, source, self.kind, self.data);
        if let (Order::PerSubject, Some(subject)) = (self.order, &self.subject) {
            envelope.set_text(PARTITION_KEY, subject);
        }
        envelope.subject = self.subject;
        envelope.time = Some(now);
        Outgoing { to: self.to, envelope, delay: self.delay }
    }
}

/// What a handler declares, beside changing its state.
///
/// ```
/// # use semel_core::{Context, Keyed, Message};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize)] struct Charge { pence: u64 }
/// # impl Message for Charge { const TYPE: &'static str = "payment.charge"; }
/// # #[derive(Serialize, Deserialize)] struct Place { pence: u64 }
/// # #[derive(Default, Serialize, Deserialize)] struct Order { pence: u64 }
/// fn place(order: &mut Order, message: Place, ctx: &mut Context) {
///     order.pence = message.pence;
///     ctx.send("payments", Charge { pence: message.pence });
/// }
/// ```
#[derive(Debug)]
pub struct Context {
    scope: String,
    now: Timestamp,
    minted: usize,
    effects: Vec<Effect>,
    broken: Option<Failure>,
    lent: Lent,
}

/// What a protocol lends to the handler for one attempt.
#[derive(Default)]
struct Lent(Option<Box<dyn Any + Send + Sync>>);

impl std::fmt::Debug for Lent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "something" } else { "nothing" })
    }
}

impl Context {
    /// The context of one attempt. `scope` names the message for its endpoint: identities that the
    /// handler mints are derived from it.
    pub fn new(scope: String, now: Timestamp) -> Self {
        Self { scope, now, minted: 0, effects: Vec::new(), broken: None, lent: Lent::default() }
    }

    /// The same with something of the protocol's for the handler to use during this attempt: a
    /// transaction that is open, for example.
    #[must_use]
    pub fn lend<T: Any + Send + Sync>(mut self, what: T) -> Self {
        self.lent = Lent(Some(Box::new(what)));
        self
    }

    /// What the protocol lent, if it lent such a thing.
    pub fn lent<T: Any + Send + Sync>(&mut self) -> Option<&mut T> {
        self.lent.0.as_mut()?.downcast_mut()
    }

    /// The time of this attempt. Handlers read no other clock.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// A new identity, the same in every attempt on this message as long as the handler asks in
    /// the same order.
    pub fn new_id(&mut self) -> Uuid {
        self.minted += 1;
        ids::derive(&["minted", &self.scope, &self.minted.to_string()])
    }

    /// Sends `message` to one endpoint.
    pub fn send<M: Message>(&mut self, endpoint: &str, message: M) {
        self.send_after(Duration::ZERO, endpoint, message);
    }

    /// Sends `message` to one endpoint, to be received once `delay` has passed.
    pub fn send_after<M: Message>(&mut self, delay: Duration, endpoint: &str, message: M) {
        self.declare(MessageEffect::new(
            Destination::Endpoint(endpoint.to_owned()),
            &message,
            delay,
        ));
    }

    /// Sends `message` to every endpoint that subscribes to its type. Where none does, it goes
    /// nowhere.
    pub fn publish<M: Message>(&mut self, message: M) {
        self.declare(MessageEffect::new(Destination::Subscribers, &message, Duration::ZERO));
    }

    fn declare(&mut self, effect: Result<MessageEffect, Failure>) {
        match effect {
            Ok(effect) => self.effects.push(Effect::Message(effect)),
            Err(failure) => self.broken = self.broken.take().or(Some(failure)),
        }
    }

    /// The declared effects in order, or why one of them cannot be.
    pub fn into_effects(self) -> Result<Vec<Effect>, Failure> {
        match self.broken {
            Some(failure) => Err(failure),
            None => Ok(self.effects),
        }
    }
}

/// Turns the effects of an attempt on `cause` at `endpoint` into messages to dispatch.
///
/// Their ids are derived from the cause and their position, so that every attempt names them
/// alike. Conversation and trace context are handed on.
pub fn outgoing(
    endpoint: &str,
    cause: &Envelope,
    effects: Vec<Effect>,
    now: Timestamp,
) -> Vec<Outgoing> {
    let source = source_of(endpoint);
    let address = |(position, Effect::Message(effect)): (usize, Effect)| {
        let id = ids::derive_effect_id(endpoint, cause, position).to_string();
        let mut outgoing = effect.into_outgoing(id, source.clone(), now);
        inherit(&mut outgoing.envelope, cause);
        outgoing
    };
    effects.into_iter().enumerate().map(address).collect()
}

/// The CloudEvents source of messages that `endpoint` sends.
pub fn source_of(endpoint: &str) -> String {
    format!("/{endpoint}")
}

fn inherit(envelope: &mut Envelope, cause: &Envelope) {
    envelope.set_text(CAUSATION, &cause.id);
    envelope.set_text(CONVERSATION, cause.text(CONVERSATION).unwrap_or(&cause.id));
    if let Some(trace_parent) = cause.text(TRACE_PARENT) {
        envelope.set_text(TRACE_PARENT, trace_parent);
    }
}
