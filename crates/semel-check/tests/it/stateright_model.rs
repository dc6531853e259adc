//! A world as a model for another checker: places, workers and faults, written down anew.
//!
//! Nothing here is taken from the crate under test but the names of the faults.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use semel_check::{Fault, Faults};
use stateright::{Checker, Model, Property};

use crate::stateright_steps::{Style, Task, Then};

/// An entity's money, and how often it was put.
pub(crate) type Entity = (u8, u8);

/// The visible notes: of which message, and what they say.
pub(crate) type Notes = BTreeSet<(u8, u8)>;

/// What can be seen from outside: the money, and the notes.
pub(crate) type Seen = (Option<u8>, Vec<(u8, u8)>);

/// One copy of a message, and the receipt it was last delivered under.
pub(crate) type Delivery = (u8, u8);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Fate {
    Waiting,
    Leased,
    Gone,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Copied {
    message: u8,
    receipts: u8,
    fate: Fate,
}

/// What a worker asks of a place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Call {
    ReadEntity,
    ReadInbox(u8),
    /// Puts the money, if the entity is as it was seen.
    Put {
        seen: Option<Entity>,
        pence: u8,
    },
    /// The same, and settles the delivery, enters the message into the inbox, and sends its note.
    PutAll {
        seen: Option<Entity>,
        pence: u8,
        delivery: Delivery,
        message: u8,
    },
    Send {
        message: u8,
        pence: u8,
    },
    Ack(Delivery),
}

/// What it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Entity(Option<Entity>),
    Inbox(bool),
    Applied,
    Conflict { lease_lost: bool },
    Done,
    Nothing,
}

/// The world at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    entity: Option<Entity>,
    inbox: BTreeSet<u8>,
    copies: Vec<Copied>,
    /// Sorted, for workers are alike.
    workers: Vec<Option<Task>>,
    /// Writes under way whose callers are gone; sorted.
    flying: Vec<Call>,
    notes: Notes,
    faults_left: u32,
}

/// How a call turns out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    Well,
    RequestLost,
    ReplyLost,
    Late,
    Repeated,
    RepeatedAtOnce,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Deliver(usize),
    EndLease(usize),
    Duplicate(usize),
    Answer(usize, Turn),
    Crash { worker: usize, in_flight: bool },
    Land(usize),
}

/// What is wrong with a model on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mistake {
    None,
    /// It puts whatever stands there.
    BlindWrites,
    /// It does not remember what was processed.
    NoInbox,
}

/// A world, and what was seen in it.
#[derive(Debug)]
pub(crate) struct Modelled {
    pub(crate) style: Style,
    pub(crate) messages: u8,
    pub(crate) workers: usize,
    pub(crate) faults: Faults,
    pub(crate) faults_max: u32,
    pub(crate) mistake: Mistake,
    pub(crate) along: Mutex<BTreeSet<Seen>>,
    pub(crate) ends: Mutex<BTreeSet<Seen>>,
}

pub(crate) fn locked(set: &Mutex<BTreeSet<Seen>>) -> MutexGuard<'_, BTreeSet<Seen>> {
    set.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Modelled {
    /// Everything that can be seen along the way, and at the ends.
    pub(crate) fn explore(self) -> (BTreeSet<Seen>, BTreeSet<Seen>) {
        let checker = self.checker().spawn_bfs().join();
        assert!(checker.is_done());
        let Self { along, ends, .. } = checker.model();
        (locked(along).clone(), locked(ends).clone())
    }

    fn note(&self, state: &State) {
        let is_end = self.free(state).is_empty();
        for set in [Some(&self.along), is_end.then_some(&self.ends)].into_iter().flatten() {
            locked(set).insert(state.seen());
        }
    }

    /// The actions that are no faults.
    fn free(&self, state: &State) -> Vec<Action> {
        let mut free = Vec::new();
        let is_idle = state.workers.iter().any(Option::is_none);
        for (at, copied) in state.copies.iter().enumerate() {
            match copied.fate {
                Fate::Waiting if is_idle => free.push(Action::Deliver(at)),
                Fate::Leased if !state.is_held(at) => free.push(Action::EndLease(at)),
                _ => {}
            }
        }
        let busy = (0..state.workers.len()).filter(|worker| state.workers[*worker].is_some());
        free.extend(busy.map(|worker| Action::Answer(worker, Turn::Well)));
        free.extend((0..state.flying.len()).map(Action::Land));
        free
    }

    fn faulty(&self, state: &State) -> Vec<Action> {
        let mut faulty = Vec::new();
        let mut add = |fault, action| {
            if self.faults.has(fault) {
                faulty.push(action);
            }
        };
        for (at, copied) in state.copies.iter().enumerate() {
            match copied.fate {
                Fate::Waiting => add(Fault::Duplicate, Action::Duplicate(at)),
                Fate::Leased if state.is_held(at) => {
                    add(Fault::EarlyRedelivery, Action::EndLease(at));
                }
                _ => {}
            }
        }
        for (worker, task) in state.workers.iter().enumerate() {
            let Some(task) = task else { continue };
            add(Fault::Crash, Action::Crash { worker, in_flight: false });
            if !self.style.call(task).is_write() {
                add(Fault::FailedRead, Action::Answer(worker, Turn::RequestLost));
                continue;
            }
            add(Fault::Crash, Action::Crash { worker, in_flight: true });
            add(Fault::LostRequest, Action::Answer(worker, Turn::RequestLost));
            add(Fault::LostReply, Action::Answer(worker, Turn::ReplyLost));
            add(Fault::LateWrite, Action::Answer(worker, Turn::Late));
            add(Fault::RepeatedWrite, Action::Answer(worker, Turn::Repeated));
            add(Fault::RepeatedWrite, Action::Answer(worker, Turn::RepeatedAtOnce));
        }
        faulty
    }

    fn perform(&self, state: &mut State, call: &Call) -> Answer {
        match call {
            Call::ReadEntity => Answer::Entity(state.entity),
            Call::ReadInbox(message) => Answer::Inbox(state.inbox.contains(message)),
            Call::Put { seen, .. }
                if state.entity != *seen && self.mistake != Mistake::BlindWrites =>
            {
                Answer::Conflict { lease_lost: false }
            }
            Call::Put { pence, .. } => state.put(*pence),
            Call::PutAll { seen, pence, delivery, message } => {
                let lease_lost = !state.is_current(*delivery);
                let known = state.inbox.contains(message);
                if lease_lost || known || state.entity != *seen {
                    return Answer::Conflict { lease_lost };
                }
                if self.mistake != Mistake::NoInbox {
                    state.inbox.insert(*message);
                }
                state.settle(*delivery);
                state.notes.insert((*message, *pence));
                state.put(*pence)
            }
            Call::Send { message, pence } => {
                state.notes.insert((*message, *pence));
                Answer::Done
            }
            Call::Ack(delivery) => {
                state.settle(*delivery);
                Answer::Done
            }
        }
    }

    fn answer(&self, state: &mut State, worker: usize, turn: Turn) {
        let Some(mut task) = state.workers[worker].take() else { return };
        let call = self.style.call(&task);
        let answer = match turn {
            Turn::Well => self.perform(state, &call),
            Turn::RequestLost => Answer::Nothing,
            Turn::ReplyLost => {
                self.perform(state, &call);
                Answer::Nothing
            }
            Turn::Late => {
                state.flying.push(call);
                Answer::Nothing
            }
            Turn::Repeated => {
                let answer = self.perform(state, &call);
                state.flying.push(call);
                answer
            }
            Turn::RepeatedAtOnce => {
                self.perform(state, &call);
                self.perform(state, &call)
            }
        };
        if self.style.go_on(&mut task, answer) == Then::GoOn {
            state.workers[worker] = Some(task);
        }
    }
}

impl Call {
    fn is_write(&self) -> bool {
        !matches!(self, Self::ReadEntity | Self::ReadInbox(_))
    }
}

impl State {
    fn put(&mut self, pence: u8) -> Answer {
        let puts = self.entity.map_or(0, |(_, puts)| puts);
        self.entity = Some((pence, puts + 1));
        Answer::Applied
    }

    fn is_current(&self, (at, receipt): Delivery) -> bool {
        let copied = &self.copies[usize::from(at)];
        copied.fate == Fate::Leased && copied.receipts == receipt
    }

    fn settle(&mut self, delivery: Delivery) {
        if self.is_current(delivery) {
            self.copies[usize::from(delivery.0)].fate = Fate::Gone;
        }
    }

    fn is_held(&self, at: usize) -> bool {
        let delivery = (at as u8, self.copies[at].receipts);
        self.workers.iter().flatten().any(|task| task.delivery == delivery)
    }

    fn deliver(&mut self, at: usize) {
        let copied = &mut self.copies[at];
        copied.receipts += 1;
        copied.fate = Fate::Leased;
        let task = Task::new((at as u8, copied.receipts), copied.message);
        if let Some(idle) = self.workers.iter_mut().find(|worker| worker.is_none()) {
            *idle = Some(task);
        }
    }

    fn seen(&self) -> Seen {
        (self.entity.map(|(pence, _)| pence), self.notes.iter().copied().collect())
    }
}

impl Model for Modelled {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let sent = |message| Copied { message, receipts: 0, fate: Fate::Waiting };
        vec![State {
            entity: None,
            inbox: BTreeSet::new(),
            copies: (0..self.messages).map(sent).collect(),
            workers: vec![None; self.workers],
            flying: Vec::new(),
            notes: Notes::new(),
            faults_left: self.faults_max,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        actions.extend(self.free(state));
        if state.faults_left > 0 {
            actions.extend(self.faulty(state));
        }
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        let mut state = before.clone();
        if !self.free(before).contains(&action) {
            state.faults_left -= 1;
        }
        match action {
            Action::Deliver(at) => state.deliver(at),
            Action::EndLease(at) => state.copies[at].fate = Fate::Waiting,
            Action::Duplicate(at) => {
                let message = state.copies[at].message;
                state.copies.push(Copied { message, receipts: 0, fate: Fate::Waiting });
            }
            Action::Answer(worker, turn) => self.answer(&mut state, worker, turn),
            Action::Crash { worker, in_flight } => {
                let task = state.workers[worker].take()?;
                state.flying.extend(in_flight.then(|| self.style.call(&task)));
            }
            Action::Land(at) => {
                let call = state.flying.remove(at);
                self.perform(&mut state, &call);
            }
        }
        state.workers.sort();
        state.flying.sort();
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        // It always holds: that it is asked in every state is what it is for.
        vec![Property::always("everything is seen", |model: &Self, state: &State| {
            model.note(state);
            true
        })]
    }
}
