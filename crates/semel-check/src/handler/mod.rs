//! One handler alone: is it deterministic, is it idempotent, does order matter?

mod alone;
mod inquiry;
mod words;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use semel_core::handler::{Handler, HandlerFn};
use semel_core::{Endpoint, Envelope, Message};
use serde::Serialize;

use crate::watch::watched;
use inquiry::Inquiry;

/// How many messages precede the one in question, at first.
const DEPTH: usize = 3;

/// How long one run may take, at first.
const PATIENCE: Duration = Duration::from_secs(10);

/// Asks about one handler, without protocol or store. What comes of messages of several types in
/// another order, a [`World`](crate::World) shows.
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
        patience: PATIENCE,
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
    patience: Duration,
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

    /// How long the handler may take before it is taken to loop forever; 10 seconds at first.
    #[must_use]
    pub fn patience(mut self, span: Duration) -> Self {
        self.patience = span;
        self
    }

    /// Finds the answers.
    pub fn check(self) -> HandlerReport {
        let report = Arc::new(Mutex::new(HandlerReport::new()));
        let nothing = "there are no messages to try; add some with `message`";
        let nothing = self.messages.is_empty().then(|| nothing.to_owned());
        let asked = match (self.trouble.or(nothing), self.handler) {
            (None, Some(handler)) => {
                let (messages, states, depth) = (self.messages, self.states, self.depth);
                let of_thread = report.clone();
                // Not here: code that never returns cannot be stopped, but it can be left behind.
                watched(self.patience, move |watch| {
                    Inquiry::new(handler, messages, of_thread, watch).ask(states, depth);
                })
            }
            (trouble, _) => Err(trouble.unwrap_or_default()),
        };
        let mut report = report.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Err(reason) = asked {
            report.answers().into_iter().for_each(|answer| answer.doubt(&reason));
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

    /// Takes a yes back: what it rests on is not enough for one.
    fn doubt(&mut self, reason: &str) {
        if self.is_yes() {
            *self = Self::Unknown(reason.to_owned());
        }
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
    /// Whether two messages in either order lead to the same state, each of them to the same effects,
    /// and the same of them fail. If not, and the order matters to the business, send them through
    /// an ordered queue.
    pub is_free_of_order: Answer,
    /// How often the handler was run.
    pub runs: u64,
    /// In how many of these runs it failed.
    pub failures: u64,
    /// Why it failed the first time, if it did.
    pub first_failure: Option<String>,
}

impl HandlerReport {
    fn new() -> Self {
        Self {
            is_deterministic: Answer::Yes,
            is_timeless: Answer::Yes,
            is_idempotent: Answer::Yes,
            is_free_of_order: Answer::Yes,
            runs: 0,
            failures: 0,
            first_failure: None,
        }
    }

    fn answers(&mut self) -> [&mut Answer; 4] {
        [
            &mut self.is_deterministic,
            &mut self.is_timeless,
            &mut self.is_idempotent,
            &mut self.is_free_of_order,
        ]
    }
}

impl fmt::Display for HandlerReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Is it deterministic? {}", self.is_deterministic)?;
        writeln!(f, "Does it ignore the clock? {}", self.is_timeless)?;
        writeln!(f, "Is it idempotent? {}", self.is_idempotent)?;
        writeln!(f, "Is it free of order? {}", self.is_free_of_order)?;
        writeln!(f, "{} runs.", self.runs)?;
        match &self.first_failure {
            None => Ok(()),
            Some(reason) => {
                let (failures, runs) = (self.failures, self.runs);
                writeln!(f, "It failed {failures} of {runs} times, first with: {reason}")
            }
        }
    }
}
