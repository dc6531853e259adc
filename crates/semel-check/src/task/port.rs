//! Where the code under test meets the checker: every call on a place waits here for its answer.
//!
//! One task runs at a time, on one thread, so that the port is a variable of that thread.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Poller, Poll, Waker};

use semel_core::Timestamp;
use semel_core::context::MessageEffect;

use super::call::{Answer, Call};
use crate::hash;
use crate::tag::{Content, WroteObject};
use crate::trace::phrases;

/// What a task can know beside the answers to its calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Surroundings {
    pub(crate) now: Timestamp,
    /// How often the task began anew after drawing identities: no two draws in a world are the
    /// same.
    pub(crate) epoch: u32,
    /// Whether the handler fails if it runs before the next call.
    pub(crate) handler_fails: bool,
}

/// What a task made use of between two calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Uses {
    pub(crate) clock: bool,
    pub(crate) entropy: bool,
    pub(crate) handler: bool,
    pub(crate) handler_failed: bool,
}

/// Something that happened inside a task, for a reader of the trace.
#[derive(Clone, Debug)]
pub(crate) enum Note {
    /// A step of the protocol began.
    Step(String),
    /// The handler ran: what it made of state and message.
    Handler(String),
}

/// What stands between one task and the checker.
#[derive(Default)]
pub(crate) struct Port {
    surroundings: Option<Surroundings>,
    uses: Uses,
    draws: u64,
    issued: u32,
    pending: Vec<(u32, Arc<Call>)>,
    answered: Vec<(u32, Answer)>,
    /// Who is to be woken when a call is answered.
    wakers: Vec<(u32, Waker)>,
    /// Calls whose futures were dropped before an answer came.
    dropped: Vec<Arc<Call>>,
    /// What the attempt that runs has asked to be written outside.
    objects: Vec<WroteObject>,
}

thread_local! {
    static PORT: RefCell<Port> = RefCell::default();
    static NOTES: RefCell<Option<Vec<Note>>> = const { RefCell::new(None) };
    /// Why handlers failed last, by endpoint and message.
    static FAILURES: RefCell<BTreeMap<(String, String), String>> =
        const { RefCell::new(BTreeMap::new()) };
    /// The words for contents: properties compare prints, and people read words.
    static WORDS: RefCell<BTreeMap<Content, String>> = const { RefCell::new(BTreeMap::new()) };
}

/// Remembers why the handler of a message failed last.
pub(crate) fn note_failure(endpoint: &str, message: &str, reason: &str) {
    FAILURES.with(|failures| {
        let name = (endpoint.to_owned(), message.to_owned());
        failures.borrow_mut().insert(name, reason.to_owned());
    });
}

/// Why the handler of a message failed last, if it ever did by itself.
pub(crate) fn failure_of(endpoint: &str, message: &str) -> Option<String> {
    let name = (endpoint.to_owned(), message.to_owned());
    FAILURES.with(|failures| failures.borrow().get(&name).cloned())
}

/// Remembers what an effect with this content says.
pub(crate) fn name_content(content: Content, effect: &MessageEffect) {
    WORDS.with(|words| {
        words.borrow_mut().entry(content).or_insert_with(|| phrases::declared(effect));
    });
}

/// What an effect with this content says.
pub(crate) fn words_for(content: Content) -> Option<String> {
    WORDS.with(|words| words.borrow().get(&content).cloned())
}

impl Port {
    /// Does `work` with this port as the one that code on this thread finds.
    pub(crate) fn used<T>(&mut self, work: impl FnOnce() -> T) -> T {
        with(|port| std::mem::swap(port, self));
        let done = work();
        with(|port| std::mem::swap(port, self));
        done
    }

    /// Sets what the task can know until its next call.
    pub(crate) fn surround(&mut self, surroundings: Surroundings) {
        self.surroundings = Some(surroundings);
        self.uses = Uses::default();
    }

    /// Puts the answer to a call where the task finds it.
    pub(crate) fn answer(&mut self, number: u32, answer: Answer) {
        self.pending.retain(|(pending, _)| *pending != number);
        self.answered.push((number, answer));
        if let Some(at) = self.wakers.iter().position(|(waiting, _)| *waiting == number) {
            self.wakers.swap_remove(at).1.wake();
        }
    }

    /// Has the task woken by the waker that it was polled with last.
    fn wait_with(&mut self, number: u32, waker: &Waker) {
        match self.wakers.iter_mut().find(|(waiting, _)| *waiting == number) {
            Some((_, known)) => known.clone_from(waker),
            None => self.wakers.push((number, waker.clone())),
        }
    }

    /// What the task waits for, oldest first.
    pub(crate) fn pending(&self) -> &[(u32, Arc<Call>)] {
        &self.pending
    }

    /// Whether the task waits for just these calls.
    pub(crate) fn is_pending(&self, calls: &[super::Pending]) -> bool {
        self.pending.len() == calls.len()
            && self.pending.iter().zip(calls).all(|((number, call), expected)| {
                *number == expected.number && call.print() == expected.print
            })
    }

    /// The calls it has given up waiting for.
    pub(crate) fn take_dropped(&mut self) -> Vec<Arc<Call>> {
        std::mem::take(&mut self.dropped)
    }

    pub(crate) fn uses(&self) -> Uses {
        self.uses
    }
}

fn with<T>(use_port: impl FnOnce(&mut Port) -> T) -> T {
    PORT.with(|port| use_port(&mut port.borrow_mut()))
}

/// Whether what happens inside tasks is recorded for a reader.
pub(crate) fn record(yes: bool) {
    NOTES.with(|notes| *notes.borrow_mut() = yes.then(Vec::new));
}

pub(crate) fn take_notes() -> Vec<Note> {
    NOTES.with(|notes| notes.borrow_mut().as_mut().map(std::mem::take).unwrap_or_default())
}

/// Records something for the reader of a trace, if there is one.
pub(crate) fn note(note: impl FnOnce() -> Note) {
    NOTES.with(|notes| {
        if let Some(notes) = notes.borrow_mut().as_mut() {
            notes.push(note());
        }
    });
}

/// The time, as the task sees it.
pub(crate) fn now() -> Timestamp {
    with(|port| {
        port.uses.clock = true;
        port.surroundings.map_or_else(crate::epoch, |surroundings| surroundings.now)
    })
}

/// Random bits: the same in every run, and no two the same in one run.
pub(crate) fn draw(seed: u128) -> u128 {
    with(|port| {
        port.uses.entropy = true;
        port.draws += 1;
        let epoch = port.surroundings.map(|by| by.epoch);
        hash::print(13, (seed, epoch, port.draws))
    })
}

/// Whether the handler that is about to run shall fail.
pub(crate) fn enter_handler() -> bool {
    with(|port| {
        port.uses.handler = true;
        port.objects.clear();
        port.surroundings.is_some_and(|surroundings| surroundings.handler_fails)
    })
}

/// The attempt that runs asks for an object to be written, or removed.
pub(crate) fn note_object(name: &str, value: Option<&[u8]>) {
    with(|port| {
        port.objects.retain(|object| object.name != name);
        port.objects.extend(value.map(|value| WroteObject::new(name, value)));
    });
}

/// What the attempt that has run asked to be written outside, sorted.
pub(crate) fn take_objects() -> Vec<WroteObject> {
    let mut objects = with(|port| std::mem::take(&mut port.objects));
    objects.sort();
    objects
}

pub(crate) fn handler_failed() {
    with(|port| port.uses.handler_failed = true);
}

/// Asks a place, and waits for its answer.
pub(crate) fn call(call: Call) -> Calling {
    Calling { call: Some(call), number: None }
}

/// A call under way.
pub(crate) struct Calling {
    call: Option<Call>,
    number: Option<u32>,
}

impl Future for Calling {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, poller: &mut Poller<'_>) -> Poll<Answer> {
        if let Some(call) = self.call.take() {
            let number = with(|port| {
                port.issued += 1;
                port.pending.push((port.issued, Arc::new(call)));
                port.issued
            });
            self.number = Some(number);
            with(|port| port.wakers.push((number, poller.waker().clone())));
            return Poll::Pending;
        }
        let found = self.number.and_then(|number| {
            with(|port| {
                let at = port.answered.iter().position(|(answered, _)| *answered == number)?;
                Some(port.answered.remove(at).1)
            })
        });
        match found {
            Some(answer) => {
                self.number = None;
                Poll::Ready(answer)
            }
            None => {
                if let Some(number) = self.number {
                    with(|port| port.wait_with(number, poller.waker()));
                }
                Poll::Pending
            }
        }
    }
}

impl Drop for Calling {
    fn drop(&mut self) {
        let Some(number) = self.number else { return };
        // The port is of the thread: at its end it may be gone, and so may its readers.
        let _ = PORT.try_with(|port| {
            if let Ok(mut port) = port.try_borrow_mut() {
                let at = port.pending.iter().position(|(pending, _)| *pending == number);
                if let Some(at) = at {
                    let (_, call) = port.pending.remove(at);
                    port.dropped.push(call);
                }
                port.answered.retain(|(answered, _)| *answered != number);
                port.wakers.retain(|(waiting, _)| *waiting != number);
            }
        });
    }
}
