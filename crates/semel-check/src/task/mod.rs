//! Tasks: the code under test, taken one call at a time.
//!
//! What a task does next is a function of what it began with and the answers it has had. So its
//! state is kept as a [`Node`]: the answers so far, and the calls it now waits for. To move on, the
//! code is run again from its beginning with the answers it had and one more. Each node is found
//! once, however many states of the world it is part of; and because every run repeats the calls of
//! the runs before it, code that does not always do the same is found out.

pub(crate) mod call;
mod ground;
mod handler;
pub(crate) mod places;
pub(crate) mod port;

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context as Poller, Poll, Wake, Waker};

use futures_util::FutureExt as _;
use semel_core::Timestamp;
use semel_core::host::panic_text;

pub(crate) use ground::{Cast, Site, Start};
pub(crate) use handler::Tagging;

use crate::hash::{ByPrint, Ink, Print};
use crate::trace::apart::{Next, apart};
use crate::trace::labels;
use crate::watch::Watch;
use call::{Answer, Call};
use port::{Note, Port, Surroundings, Uses};

/// A call that waits for its answer.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    pub(crate) number: u32,
    pub(crate) call: Arc<Call>,
    pub(crate) print: Print,
}

/// How a task ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The work is done, or another has it.
    Over,
    /// The dead letter is gone, and its message counts as processed.
    Discarded,
    /// It is to begin anew, with this many failed attempts behind it.
    Again { attempts: u32 },
    /// The host stops: a person must act.
    Stopped(String),
    /// The code under test panicked.
    Panicked(String),
    /// It waits for something that is no call on a place of the world.
    Stuck,
}

/// How many nodes are kept from one random run to the next.
const NODES_MAX: usize = 1_000_000;

/// Where a task stands.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) start: Arc<Start>,
    /// The node before and the answer that led here.
    came: Option<(Arc<Node>, u32, Answer)>,
    /// What the code could see on the way here.
    seen: Surroundings,
    pub(crate) pending: Vec<Pending>,
    /// The calls that it gave up waiting for on the way here.
    pub(crate) dropped: Vec<Arc<Call>>,
    pub(crate) end: Option<End>,
    /// What it made use of on the way here, and of what before.
    pub(crate) uses: Uses,
    pub(crate) drew: bool,
    /// Whether it has read a state that stems from its message.
    pub(crate) knows: bool,
    /// Whether the answer that led here was to a read.
    pub(crate) has_just_read: bool,
    pub(crate) calls: u32,
    pub(crate) print: Print,
}

/// The code under test did not do the same twice.
#[derive(Clone, Debug)]
pub(crate) struct Diverged {
    pub(crate) start: Arc<Start>,
    /// How many calls it had made alike before.
    pub(crate) calls_alike: u32,
    /// What it did the first time, and what the second, as one sentence without its end.
    pub(crate) apart: String,
}

/// What a node becomes, by what the code saw on the way.
#[derive(Debug, Default)]
struct Branch(Vec<Arc<Node>>);

impl Branch {
    /// A node found in the same surroundings, as far as its code looked at them.
    fn find(&self, wanted: &Surroundings) -> Option<&Arc<Node>> {
        self.0.iter().find(|node| {
            (!node.uses.clock || node.seen.now == wanted.now)
                && (!node.uses.entropy || node.seen.epoch == wanted.epoch)
                && (!node.uses.handler || node.seen.handler_fails == wanted.handler_fails)
        })
    }
}

/// Every node found so far.
#[derive(Debug)]
pub(crate) struct Tasks {
    cast: Arc<Cast>,
    known: ByPrint<Branch>,
    /// Whether nodes are kept; if not, every step runs the code from its beginning.
    remembers: bool,
    /// Where nodes are not kept: the runs that stand at the nodes reached last.
    live: ByPrint<Run>,
    watch: Watch,
    /// The nodes reached, while someone wants to know.
    reached: Option<Vec<Arc<Node>>>,
    /// Whether code has looked at the clock since someone asked.
    has_seen_clock: bool,
    /// How often the code was run from its beginning.
    pub(crate) runs: u64,
}

impl Tasks {
    pub(crate) fn new(cast: Arc<Cast>, watch: Watch) -> Self {
        Self {
            cast,
            known: ByPrint::default(),
            remembers: true,
            live: ByPrint::default(),
            watch,
            reached: None,
            has_seen_clock: false,
            runs: 0,
        }
    }

    /// Keeps no nodes from now on: the code is run along with the world, once for each run of it.
    pub(crate) fn forget(&mut self) {
        self.remembers = false;
        self.known.clear();
    }

    /// The world begins anew.
    pub(crate) fn begin_anew(&mut self) {
        self.live.clear();
        if self.known.len() > NODES_MAX {
            self.known.clear();
        }
    }

    /// The first node of a task.
    pub(crate) fn begin(
        &mut self,
        start: Start,
        surroundings: Surroundings,
    ) -> Result<Arc<Node>, Box<Diverged>> {
        let key = start.print();
        if let Some(node) = self.known.get(&key).and_then(|branch| branch.find(&surroundings)) {
            let node = node.clone();
            self.note_reached(&node);
            return Ok(node);
        }
        let mut run = self.run(Arc::new(start), surroundings, Reader::None);
        let node = run.node(None, surroundings, key);
        Ok(self.keep(key, node, run))
    }

    /// The node that follows when a call is answered.
    pub(crate) fn advance(
        &mut self,
        node: &Arc<Node>,
        number: u32,
        answer: Answer,
        surroundings: Surroundings,
    ) -> Result<Arc<Node>, Box<Diverged>> {
        let key = Ink::new(14).with((node.print, number, answer.print())).print();
        if let Some(known) = self.known.get(&key).and_then(|branch| branch.find(&surroundings)) {
            let known = known.clone();
            self.note_reached(&known);
            return Ok(known);
        }
        let mut run = match self.live.remove(&node.print) {
            Some(run) => run,
            None => self.replay(node)?,
        };
        run.feed(number, answer.clone(), surroundings);
        let next = run.node(Some((node.clone(), number, answer)), surroundings, key);
        Ok(self.keep(key, next, run))
    }

    /// What happened inside the task on its way to `node`, for the reader of a trace.
    fn notes(&mut self, node: &Arc<Node>) -> Vec<Note> {
        match &node.came {
            None => drop(self.run(node.start.clone(), node.seen, Reader::Person)),
            Some((before, number, answer)) => {
                let Ok(mut run) = self.replay(before) else { return Vec::new() };
                port::take_notes();
                labels::listen(|| run.feed(*number, answer.clone(), node.seen));
            }
        }
        self.watch.end();
        port::take_notes()
    }

    fn keep(&mut self, key: Print, node: Node, run: Run) -> Arc<Node> {
        self.watch.end();
        let node = Arc::new(node);
        if self.remembers {
            self.known.entry(key).or_default().0.push(node.clone());
        } else if node.end.is_none() {
            self.live.insert(node.print, run);
        }
        self.note_reached(&node);
        node
    }

    /// Whether code has looked at the clock on its way to a node, since this was asked last.
    pub(crate) fn take_clock_seen(&mut self) -> bool {
        std::mem::take(&mut self.has_seen_clock)
    }

    fn note_reached(&mut self, node: &Arc<Node>) {
        self.has_seen_clock |= node.uses.clock;
        if let Some(reached) = &mut self.reached {
            reached.push(node.clone());
        }
    }

    /// Does `work`, and tells what happened inside the tasks that it moved on.
    pub(crate) fn notes_of<T>(&mut self, work: impl FnOnce(&mut Self) -> T) -> (T, Vec<Note>) {
        self.reached = Some(Vec::new());
        let done = work(self);
        let reached = self.reached.take().unwrap_or_default();
        port::record(true);
        let notes = reached.iter().flat_map(|node| self.notes(node)).collect();
        port::record(false);
        (done, notes)
    }

    fn run(&mut self, start: Arc<Start>, surroundings: Surroundings, reader: Reader) -> Run {
        self.runs += 1;
        self.watch.begin(&start);
        let future = AssertUnwindSafe(ground::perform(self.cast.clone(), start.clone()));
        let future = Some(Box::pin(future.catch_unwind()) as Task);
        let mut run =
            Run { start, future, port: Port::default(), end: None, woken: Arc::default() };
        run.port.surround(surroundings);
        match reader {
            Reader::None => run.poll(),
            Reader::Person => labels::listen(|| run.poll()),
        }
        run
    }

    /// Runs the code up to `node`, and compares what it does with what it did before.
    fn replay(&mut self, node: &Arc<Node>) -> Result<Run, Box<Diverged>> {
        let mut way = Vec::with_capacity(node.calls as usize);
        let mut first = node;
        while let Some((before, number, answer)) = &first.came {
            way.push((first, *number, answer));
            first = before;
        }
        let mut run = self.run(first.start.clone(), first.seen, Reader::None);
        run.compare(first)?;
        while let Some((next, number, answer)) = way.pop() {
            run.feed(number, answer.clone(), next.seen);
            run.compare(next)?;
        }
        Ok(run)
    }
}

/// Whether anyone reads what happens inside a task.
#[derive(Clone, Copy)]
enum Reader {
    None,
    Person,
}

impl std::fmt::Display for Diverged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let after = match self.calls_alike {
            0 => "Before its first call".to_owned(),
            1 => "After 1 call".to_owned(),
            calls => format!("After {calls} calls"),
        };
        write!(
            f,
            "{}, the code was run twice on the same state, message and answers. {after}, {}. \
             Something in it is not given by the world: a clock, a random number, the order of a \
             HashMap, or a variable that outlives the attempt.",
            self.start.describe(),
            self.apart
        )
    }
}

impl Surroundings {
    /// Nothing special at this time.
    pub(crate) fn at(now: Timestamp) -> Self {
        Self { now, epoch: 0, handler_fails: false }
    }
}

/// The code under test, with its panics contained.
type Task = Pin<Box<dyn Future<Output = std::thread::Result<End>>>>;

/// The code under test at work.
struct Run {
    start: Arc<Start>,
    /// Taken away when the run is dropped, with its own port in place.
    future: Option<Task>,
    port: Port,
    end: Option<End>,
    woken: Arc<Woken>,
}

/// Whether the code asked to be polled again.
#[derive(Debug, Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// How often code may wake itself before its next call.
const POLLS_MAX: usize = 10_000;

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "run of {}", self.start.describe())
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let future = self.future.take();
        self.port.used(|| drop(future));
    }
}

impl Run {
    fn poll(&mut self) {
        let Self { future: Some(future), port, end: None, woken, .. } = self else { return };
        let waker = Waker::from(woken.clone());
        let mut poller = Poller::from_waker(&waker);
        for _ in 0..POLLS_MAX {
            woken.0.store(false, Ordering::Relaxed);
            match port.used(|| future.as_mut().poll(&mut poller)) {
                Poll::Ready(Ok(end)) => self.end = Some(end),
                Poll::Ready(Err(panic)) => {
                    self.end = Some(End::Panicked(panic_text(&*panic).to_owned()));
                }
                // It woke itself, to be polled once more.
                Poll::Pending if woken.0.load(Ordering::Relaxed) => continue,
                Poll::Pending if port.pending().is_empty() => self.end = Some(End::Stuck),
                Poll::Pending => {}
            }
            return;
        }
        self.end = Some(End::Stuck);
    }

    fn feed(&mut self, number: u32, answer: Answer, surroundings: Surroundings) {
        self.port.surround(surroundings);
        self.port.answer(number, answer);
        self.poll();
    }

    /// What the run has come to.
    fn node(
        &mut self,
        came: Option<(Arc<Node>, u32, Answer)>,
        seen: Surroundings,
        key: Print,
    ) -> Node {
        let uses = self.port.uses();
        let before = came.as_ref().map(|(before, ..)| before);
        let mut ink = Ink::new(15).with(key);
        // Only what the code looked at tells its next steps apart.
        ink.add(uses.clock.then_some(seen.now.unix_ms()));
        ink.add(uses.entropy.then_some(seen.epoch));
        ink.add(uses.handler.then_some(seen.handler_fails));
        let pending = if self.end.is_some() { &[] } else { self.port.pending() };
        let pending = pending.iter().map(|(number, call)| Pending {
            number: *number,
            print: call.print(),
            call: call.clone(),
        });
        let pending = pending.collect();
        Node {
            dropped: self.port.take_dropped(),
            pending,
            knows: came.as_ref().is_some_and(|(before, _, answer)| {
                before.knows || self.start.message().is_some_and(|message| answer.shows(message))
            }),
            has_just_read: came.as_ref().is_some_and(|(before, number, _)| {
                let mut calls = before.pending.iter();
                calls.any(|call| call.number == *number && !call.call.is_write())
            }),
            drew: uses.entropy || before.is_some_and(|before| before.drew),
            calls: before.map_or(0, |before| before.calls + 1),
            uses,
            print: ink.print(),
            start: self.start.clone(),
            end: self.end.clone(),
            came,
            seen,
        }
    }

    /// Whether the run stands where `node` says it stood before.
    fn compare(&self, node: &Node) -> Result<(), Box<Diverged>> {
        let same = self.end == node.end && self.port.is_pending(&node.pending);
        if same {
            return Ok(());
        }
        let now: Vec<&Call> = self.port.pending().iter().map(|(_, call)| &**call).collect();
        let then: Vec<&Call> = node.pending.iter().map(|pending| &*pending.call).collect();
        Err(Box::new(Diverged {
            start: self.start.clone(),
            calls_alike: node.calls,
            apart: apart(next(&node.end, &then), next(&self.end, &now)),
        }))
    }
}

fn next<'a>(end: &'a Option<End>, calls: &'a [&'a Call]) -> Next<'a> {
    match end {
        Some(end) => Next::Ends(end),
        None => Next::Calls(calls),
    }
}
