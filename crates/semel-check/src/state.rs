//! The whole world at one moment: plain data, cheap to copy, with a key that names it.

use std::sync::Arc;

use semel_core::Timestamp;

use crate::hash::{self, Ink, Print};
use crate::monitor::{Monitor, Name};
use crate::parts::{Parts, Queued};
use crate::task::Node;
use crate::task::call::Call;

/// Someone at work on a task.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    pub(crate) node: Arc<Node>,
    pub(crate) round: Round,
}

/// What tells a task's round from others, beside what its code has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Round {
    /// How often it began anew after drawing identities.
    pub(crate) epoch: u32,
    /// Whether its message had a committed attempt before this delivery began.
    pub(crate) was_committed: bool,
    /// Whether it has heard that its lease is over, and begins no other round.
    pub(crate) has_heard: bool,
}

/// A write that is on its way, its caller gone.
#[derive(Clone, Debug)]
pub(crate) struct Flying {
    pub(crate) call: Arc<Call>,
    /// The task that made it.
    pub(crate) of: Origin,
    /// Whether its caller gave up waiting: then it may come to nothing as well.
    pub(crate) is_given_up: bool,
    pub(crate) print: Print,
}

/// Which task makes a call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Origin {
    /// The message it is about, for its endpoint.
    pub(crate) message: Option<Name>,
    /// Whether the task knows, or could, that the message has a committed attempt.
    pub(crate) knows: bool,
}

/// An [`Origin`], borrowed from whoever is there to make the call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct By<'a> {
    pub(crate) message: Option<(&'a str, &'a str)>,
    pub(crate) knows: bool,
}

impl Origin {
    pub(crate) fn by(&self) -> By<'_> {
        let message = self.message.as_ref();
        By {
            message: message.map(|(endpoint, message)| (endpoint.as_str(), message.as_str())),
            knows: self.knows,
        }
    }
}

/// The world at one moment.
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) parts: Parts,
    /// The workers, then the finisher, then the person.
    pub(crate) slots: Vec<Option<Slot>>,
    pub(crate) flying: Vec<Flying>,
    pub(crate) monitor: Monitor,
    pub(crate) now: Timestamp,
    /// Which version of each endpoint is deployed.
    pub(crate) deployed: Arc<[u8]>,
    pub(crate) window_passed: bool,
    /// How many tasks of the finisher, and of the person, drew identities: the next one draws others.
    pub(crate) draws: [u32; 2],
    /// Faults so far. Not part of the key: who comes here with fewer can do all that others can.
    pub(crate) faults: u32,
}

impl State {
    /// What tells this state from others: everything that can matter later, what the properties
    /// remember included. Workers are interchangeable.
    pub(crate) fn key(&self) -> Print {
        let workers = self.worker_count();
        let mut working: Print = 0;
        for slot in self.slots[..workers].iter().flatten() {
            working = working.wrapping_add(slot.print());
        }
        self.key_with(working)
    }

    /// The same, with every worker told apart.
    pub(crate) fn key_by_worker(&self) -> Print {
        let mut ink = Ink::new(22);
        for slot in &self.slots[..self.worker_count()] {
            ink.add(slot.as_ref().map(Slot::print));
        }
        self.key_with(ink.print())
    }

    fn key_with(&self, working: Print) -> Print {
        let mut in_flight: Print = 0;
        for flying in &self.flying {
            in_flight = in_flight.wrapping_add(flying.print);
        }
        let mut ink = Ink::new(23)
            .with((self.parts.items.print(), self.parts.queue.print(), self.parts.outside.print()))
            .with((working, in_flight, self.monitor.print()))
            .with((self.now.unix_ms(), &self.deployed, self.window_passed, self.draws));
        for slot in &self.slots[self.worker_count()..] {
            ink.add(slot.as_ref().map(Slot::print));
        }
        ink.print()
    }

    /// What tells this state from others but for versions, counts and the clock: a world in which
    /// the same comes again and again looks alike, though its counts grow.
    pub(crate) fn likeness(&self) -> Print {
        let (items, queue) = (self.parts.items.likeness(), self.parts.queue.likeness());
        let mut ink = Ink::new(50).with((items, queue, self.flying.len()));
        for slot in &self.slots {
            let at = |slot: &Slot| {
                let node = &slot.node;
                let message = node.start.message().map(|message| message.print);
                (message, node.calls, node.pending.len())
            };
            ink.add(slot.as_ref().map(at));
        }
        ink.print()
    }

    pub(crate) fn worker_count(&self) -> usize {
        self.slots.len() - 2
    }

    pub(crate) fn finisher(&self) -> usize {
        self.slots.len() - 2
    }

    pub(crate) fn person(&self) -> usize {
        self.slots.len() - 1
    }

    /// Who works on a delivery.
    pub(crate) fn holder(&self, queued: &Queued) -> Option<usize> {
        let delivery = Some(queued.delivery());
        let is_it = |slot: &Slot| slot.node.start.delivery() == delivery;
        self.slots.iter().position(|slot| slot.as_ref().is_some_and(is_it))
    }
}

impl Slot {
    fn print(&self) -> Print {
        hash::print(24, (self.node.print, self.round))
    }

    pub(crate) fn origin(&self) -> Origin {
        Origin { message: self.name(), knows: self.knows() }
    }

    /// The message it works on, for its endpoint.
    pub(crate) fn name(&self) -> Option<Name> {
        self.message().map(|(endpoint, message)| (endpoint.to_owned(), message.to_owned()))
    }

    /// The same, borrowed.
    pub(crate) fn message(&self) -> Option<(&str, &str)> {
        let message = self.node.start.message()?;
        Some((&message.endpoint, &message.identity))
    }

    pub(crate) fn by(&self) -> By<'_> {
        By { message: self.message(), knows: self.knows() }
    }

    /// Whether it has read a state that stems from its message, or would find one if it looked.
    fn knows(&self) -> bool {
        self.node.knows || self.round.was_committed
    }
}

impl Flying {
    pub(crate) fn new(call: Arc<Call>, of: Origin) -> Self {
        let print = hash::print(25, (call.print(), &of));
        Self { call, of, is_given_up: false, print }
    }

    /// A write whose caller did not wait for the answer.
    pub(crate) fn given_up(call: Arc<Call>, of: Origin) -> Self {
        let print = hash::print(52, (call.print(), &of));
        Self { call, of, is_given_up: true, print }
    }
}
