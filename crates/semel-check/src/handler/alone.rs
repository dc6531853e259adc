//! One run of a handler in a kind world: its own calls are answered at once.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context as Poller, Poll, Wake, Waker};

use bytes::Bytes;
use futures_util::FutureExt as _;
use semel_core::context::Effect;
use semel_core::handler::{Decision, Handler};
use semel_core::host::contain;
use semel_core::{Context, Envelope, Failure, Timestamp};

use super::words;
use crate::parts::Outside;
use crate::task::call::{Answer, Call};
use crate::task::port::{Port, Surroundings};
use crate::watch::Named;

/// How often a handler may wake itself before its next call, and how many calls it may make.
const POLLS_MAX: usize = 10_000;
const CALLS_MAX: usize = 10_000;

/// What a handler finds and leaves: its entity, and the objects outside.
#[derive(Clone, Debug, Default)]
pub(super) struct Place {
    pub(super) state: Option<Bytes>,
    pub(super) outside: Outside,
}

impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        self.state == other.state && self.outside.all() == other.outside.all()
    }
}

/// What came of a run, or of several.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Outcome {
    pub(super) place: Place,
    pub(super) effects: Vec<Effect>,
    pub(super) failures: Vec<String>,
}

/// A run that is to be made.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    pub(super) place: Place,
    pub(super) envelope: Envelope,
    pub(super) now: Timestamp,
}

impl Named for Attempt {
    fn name(&self) -> String {
        format!("the handler, on {},", words::given(&self.place, &self.envelope))
    }
}

impl Attempt {
    /// A handler that fails leaves the state as it was. What it wrote outside stays written.
    pub(super) fn run(&self, handler: &dyn Handler) -> Outcome {
        let mut place = self.place.clone();
        match self.decide(handler, &mut place.outside) {
            Ok(Decision { state, effects }) => {
                place.state = Some(state);
                Outcome { place, effects, failures: Vec::new() }
            }
            Err(failure) => {
                let failures = vec![failure.reason().to_owned()];
                Outcome { place, effects: Vec::new(), failures }
            }
        }
    }

    fn decide(&self, handler: &dyn Handler, outside: &mut Outside) -> Result<Decision, Failure> {
        let scope = format!("checked\n{}", semel_core::protocols::message_key(&self.envelope));
        let context = Context::new(scope, self.now);
        let mut port = Port::default();
        port.surround(Surroundings::at(self.now));
        let run = handler.run(self.place.state.as_deref(), &self.envelope, context);
        let run = AssertUnwindSafe(run).catch_unwind();
        let mut run: Run<'_> = Box::pin(async move { contain(run.await)? });
        let decided = to_its_end(&mut run, &mut port, outside);
        // Calls under way are given up where they were made.
        port.used(|| drop(run));
        decided
    }
}

/// A handler at work, with its panics contained.
type Run<'a> = Pin<Box<dyn Future<Output = Result<Decision, Failure>> + 'a>>;

fn to_its_end(
    run: &mut Run<'_>,
    port: &mut Port,
    outside: &mut Outside,
) -> Result<Decision, Failure> {
    for _ in 0..CALLS_MAX {
        if let Poll::Ready(decided) = to_its_next_call(run, port)? {
            return decided;
        }
        let pending = port.pending().first().cloned();
        let (number, call) = pending.ok_or_else(|| {
            let waits = "it waits for something that is no call on a place of the world";
            Failure::retry(format!("{waits}: a timer, a channel, or real I/O"))
        })?;
        port.answer(number, answer(outside, &call));
    }
    Err(Failure::retry(format!("it made {CALLS_MAX} calls, and did not return")))
}

/// Polls a handler for as long as it wakes itself.
fn to_its_next_call(
    run: &mut Run<'_>,
    port: &mut Port,
) -> Result<Poll<Result<Decision, Failure>>, Failure> {
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(woken.clone());
    let mut poller = Poller::from_waker(&waker);
    for _ in 0..POLLS_MAX {
        let polled = port.used(|| run.as_mut().poll(&mut poller));
        if polled.is_ready() || !woken.0.swap(false, Ordering::Relaxed) {
            return Ok(polled);
        }
    }
    Err(Failure::retry(format!("it woke itself {POLLS_MAX} times, and came to nothing")))
}

fn answer(outside: &mut Outside, call: &Call) -> Answer {
    match call {
        Call::Get(name) => Answer::Object(outside.get(name).cloned()),
        Call::Put(name, value) => {
            outside.put(name, value.as_ref());
            Answer::Done
        }
        _ => Answer::Nothing,
    }
}

/// Whether the handler asked to be polled again.
#[derive(Debug, Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}
