//! One handler alone: is it deterministic, is it idempotent, does order matter?

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Poller, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use semel_core::context::Effect;
use semel_core::handler::{Decision, Handler, HandlerFn};
use semel_core::host::contain;
use semel_core::{Context, Endpoint, Envelope, Failure, Message, Timestamp};
use serde::Serialize;

use crate::parts::Outside;
use crate::task::call::{Answer as Answered, Call, excerpt};
use crate::task::port::{Port, Surroundings};

/// How many messages precede the one in question, at first.
const DEPTH: usize = 3;

/// Asks about one handler, without protocol or store.
///
/// ```
/// use semel_core::{Context, Message};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Deposit { pence: i64 }
/// impl Message for Deposit { const TYPE: &'static str = "account.deposit"; }
///
/// #[derive(Default, Serialize, Deserialize)]
/// struct Account { pence: i64 }
///
/// fn deposit(account: &mut Account, message: Deposit, _: &mut Context) {
///     account.pence += message.pence;
/// }
///
/// let report = semel_check::handler(deposit)
///     .message(Deposit { pence: 5 })
///     .message(Deposit { pence: 7 })
///     .check();
/// assert!(report.is_deterministic.is_yes());
/// assert!(report.is_free_of_order.is_yes());
/// // Twice is not the same as once: it needs a protocol that processes it once.
/// assert!(!report.is_idempotent.is_yes());
/// println!("{report}");
/// ```
pub fn handler<Kind: 'static, F: HandlerFn<Kind>>(
    function: F,
) -> HandlerCheck<F::State, F::Message> {
    let endpoint = Endpoint::new("checked").handle_by(|_| "entity".to_owned(), function);
    let handler = endpoint.handlers().values().next().cloned();
    HandlerCheck {
        handler,
        states: Vec::new(),
        messages: Vec::new(),
        depth: DEPTH,
        trouble: None,
        types: std::marker::PhantomData,
    }
}

/// A handler with the states and messages to try; made by [`handler`].
#[derive(Debug)]
pub struct HandlerCheck<S, M> {
    handler: Option<Arc<dyn Handler>>,
    states: Vec<Option<Bytes>>,
    messages: Vec<Envelope>,
    depth: usize,
    trouble: Option<String>,
    types: std::marker::PhantomData<fn(S, M)>,
}

impl<S: Serialize, M: Message> HandlerCheck<S, M> {
    /// Begins also with this state, beside the entity that has none yet.
    #[must_use]
    pub fn state(mut self, state: &S) -> Self {
        match serde_json::to_vec(state) {
            Ok(bytes) => self.states.push(Some(bytes.into())),
            Err(error) => self.trouble = Some(format!("a state cannot be written: {error}")),
        }
        self
    }

    /// Tries this message. Each is sent once, and its duplicates.
    #[must_use]
    pub fn message(mut self, message: M) -> Self {
        match serde_json::to_vec(&message) {
            Ok(data) => {
                let id = format!("m{}", self.messages.len() + 1);
                let mut envelope = Envelope::new(id, "/outside", M::TYPE, data);
                envelope.subject = message.subject();
                self.messages.push(envelope);
            }
            Err(error) => self.trouble = Some(format!("a message cannot be written: {error}")),
        }
        self
    }

    /// How many other messages may precede the one in question; 3 at first.
    #[must_use]
    pub fn depth(mut self, messages: usize) -> Self {
        self.depth = messages;
        self
    }

    /// Finds the answers.
    pub fn check(self) -> HandlerReport {
        let mut report = HandlerReport {
            is_deterministic: Answer::Yes,
            is_timeless: Answer::Yes,
            is_idempotent: Answer::Yes,
            is_free_of_order: Answer::Yes,
            runs: 0,
        };
        let trouble = match (&self.trouble, self.messages.is_empty()) {
            (Some(trouble), _) => Some(trouble.clone()),
            (None, true) => {
                Some("there are no messages to try; add some with `message`".to_owned())
            }
            (None, false) => None,
        };
        match (trouble, self.handler) {
            (None, Some(handler)) => {
                Inquiry { handler, messages: self.messages, report: &mut report }
                    .ask(self.states, self.depth);
            }
            (trouble, _) => {
                let answer = Answer::Unknown(trouble.unwrap_or_default());
                report.is_deterministic = answer.clone();
                report.is_timeless = answer.clone();
                report.is_idempotent = answer.clone();
                report.is_free_of_order = answer;
            }
        }
        report
    }
}

/// The answer to a question about a handler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Yes, for all states and messages that were tried.
    Yes,
    /// No: the shortest story that shows it, a line each.
    No(Vec<String>),
    /// It could not be asked, and why.
    Unknown(String),
}

impl Answer {
    /// Whether it is yes.
    pub fn is_yes(&self) -> bool {
        *self == Self::Yes
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Yes => f.write_str("yes, as far as was tried"),
            Self::Unknown(reason) => write!(f, "unknown: {reason}"),
            Self::No(story) => {
                f.write_str("NO")?;
                story.iter().try_for_each(|line| write!(f, "\n    {line}"))
            }
        }
    }
}

/// What was found out about a handler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandlerReport {
    /// Whether it does the same on the same state and message.
    pub is_deterministic: Answer,
    /// Whether it does the same at another time.
    pub is_timeless: Answer,
    /// Whether a duplicate, at once or later, changes nothing and declares the same effects again.
    /// If so, the protocol `at_least_once` is enough for it.
    pub is_idempotent: Answer,
    /// Whether two messages in either order lead to the same state and the same effects. If not,
    /// and the order matters to the business, send them through an ordered queue.
    pub is_free_of_order: Answer,
    /// How often the handler was run.
    pub runs: u64,
}

impl fmt::Display for HandlerReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Is it deterministic? {}", self.is_deterministic)?;
        writeln!(f, "Does it ignore the clock? {}", self.is_timeless)?;
        writeln!(f, "Is it idempotent? {}", self.is_idempotent)?;
        writeln!(f, "Is it free of order? {}", self.is_free_of_order)?;
        writeln!(f, "{} runs.", self.runs)
    }
}

/// What a run decided, or why it failed.
type Decided = Result<Decision, String>;

struct Inquiry<'a> {
    handler: Arc<dyn Handler>,
    messages: Vec<Envelope>,
    report: &'a mut HandlerReport,
}

/// A state, with the messages that led to it and what each declared.
#[derive(Clone)]
struct Reached {
    state: Option<Bytes>,
    way: Vec<(usize, Vec<Effect>)>,
    story: Vec<String>,
}

impl Inquiry<'_> {
    /// Goes through all states that some of the messages lead to, nearest first.
    fn ask(&mut self, states: Vec<Option<Bytes>>, depth: usize) {
        let begin = |state| Reached { state, way: Vec::new(), story: Vec::new() };
        let mut level: Vec<Reached> = std::iter::once(None).chain(states).map(begin).collect();
        for _ in 0..=depth {
            let mut next = BTreeMap::new();
            for reached in &level {
                self.duplicates(reached);
                for message in 0..self.messages.len() {
                    if reached.way.iter().any(|(known, _)| *known == message) {
                        continue;
                    }
                    self.same_again(reached, message);
                    for other in message + 1..self.messages.len() {
                        if !reached.way.iter().any(|(known, _)| *known == other) {
                            self.either_order(reached, message, other);
                        }
                    }
                    if let Some(further) = self.after(reached, message) {
                        let applied: Vec<usize> = further.way.iter().map(|(at, _)| *at).collect();
                        next.entry((further.state.clone(), applied)).or_insert(further);
                    }
                }
            }
            level = next.into_values().collect();
        }
    }

    fn after(&mut self, reached: &Reached, message: usize) -> Option<Reached> {
        let decision = self.run(reached.state.as_ref(), message, crate::epoch()).ok()?;
        let mut further = reached.clone();
        further.story.push(self.tell(reached.state.as_ref(), message, &Ok(decision.clone())));
        further.way.push((message, decision.effects));
        further.state = Some(decision.state);
        Some(further)
    }

    fn same_again(&mut self, reached: &Reached, message: usize) {
        let state = reached.state.as_ref();
        let first = self.run(state, message, crate::epoch());
        if self.report.is_deterministic.is_yes() {
            let second = self.run(state, message, crate::epoch());
            if second != first {
                let mut story = reached.story.clone();
                story.push(self.tell(state, message, &first));
                story.push(format!("the same once more: {}", self.tell(state, message, &second)));
                self.report.is_deterministic = Answer::No(story);
            }
        }
        if self.report.is_timeless.is_yes() && self.report.is_deterministic.is_yes() {
            let later = crate::epoch().after(Duration::from_secs(86_400));
            let second = self.run(state, message, later);
            if second != first {
                let mut story = reached.story.clone();
                story.push(self.tell(state, message, &first));
                story.push(format!("a day later: {}", self.tell(state, message, &second)));
                self.report.is_timeless = Answer::No(story);
            }
        }
    }

    /// Sends each message that was processed once more.
    fn duplicates(&mut self, reached: &Reached) {
        if !self.report.is_idempotent.is_yes() {
            return;
        }
        for (message, effects) in &reached.way {
            let again = self.run(reached.state.as_ref(), *message, crate::epoch());
            let is_same = again.as_ref().is_ok_and(|decision| {
                Some(&decision.state) == reached.state.as_ref() && decision.effects == *effects
            });
            if !is_same {
                let mut story = reached.story.clone();
                let told = self.tell(reached.state.as_ref(), *message, &again);
                story.push(format!("a duplicate: {told}"));
                self.report.is_idempotent = Answer::No(story);
                return;
            }
        }
    }

    fn either_order(&mut self, reached: &Reached, one: usize, other: usize) {
        if !self.report.is_free_of_order.is_yes() {
            return;
        }
        let mut both = |first: usize, second: usize| {
            let after = self.after(reached, first)?;
            self.after(&after, second)
        };
        let (forth, back) = (both(one, other), both(other, one));
        let outcome = |reached: &Reached| {
            let new = reached.way.iter().skip(reached.way.len().saturating_sub(2));
            let mut effects: Vec<String> =
                new.flat_map(|(_, effects)| effects).map(|effect| format!("{effect:?}")).collect();
            effects.sort();
            (reached.state.clone(), effects)
        };
        if forth.as_ref().map(outcome) != back.as_ref().map(outcome) {
            let told = |reached: Option<Reached>| match reached {
                Some(reached) => reached.story,
                None => vec!["in this order, the handler fails".to_owned()],
            };
            let mut story = told(forth);
            story.push("but in the other order:".to_owned());
            story.extend(told(back));
            self.report.is_free_of_order = Answer::No(story);
        }
    }

    fn run(&mut self, state: Option<&Bytes>, message: usize, now: Timestamp) -> Decided {
        self.report.runs += 1;
        let envelope = &self.messages[message];
        let scope = format!("checked\n{}", semel_core::protocols::message_key(envelope));
        let context = Context::new(scope, now);
        let state = state.map(|state| &**state);
        let run = std::panic::AssertUnwindSafe(self.handler.run(state, envelope, context));
        let run = run.catch_unwind();
        alone(now, Box::pin(async move { contain(run.await)? }))
    }

    fn tell(&self, state: Option<&Bytes>, message: usize, decided: &Decided) -> String {
        let envelope = &self.messages[message];
        let before = state.map_or_else(|| "no state".to_owned(), |state| excerpt(state));
        let told = format!("{before} + {} {}", envelope.kind, excerpt(&envelope.data));
        match decided {
            Err(reason) => format!("{told} → fails: {reason}"),
            Ok(decision) => {
                let mut told = format!("{told} → {}", excerpt(&decision.state));
                for effect in &decision.effects {
                    if let Effect::Message(effect) = effect {
                        let data = excerpt(&effect.data);
                        told.push_str(&format!("; sends {} {data}", effect.kind));
                    }
                }
                told
            }
        }
    }
}

/// Runs a handler to its end in a kind world: its own calls are answered at once.
fn alone(
    now: Timestamp,
    mut run: Pin<Box<dyn Future<Output = Result<Decision, Failure>> + '_>>,
) -> Decided {
    let (mut outside, mut port) = (Outside::default(), Port::default());
    port.surround(Surroundings::at(now));
    let mut poller = Poller::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(decided) = port.used(|| run.as_mut().poll(&mut poller)) {
            return decided.map_err(|failure| failure.reason().to_owned());
        }
        let Some((number, call)) = port.pending().first().cloned() else {
            return Err("it waits for something that is no call on a place of the world".to_owned());
        };
        let answer = match &*call {
            Call::Get(name) => Answered::Object(outside.get(name).cloned()),
            Call::Put(name, value) => {
                outside.put(name, value.as_ref());
                Answered::Done
            }
            _ => Answered::Nothing,
        };
        port.answer(number, answer);
    }
}
