//! Every order of moves that depend on each other, each once, and nothing merged.
//!
//! Sleep sets: of two moves that touch nothing in common, one order is enough (Godefroid, *Partial-
//! Order Methods for the Verification of Concurrent Systems*, 1996). They are not mixed with merged
//! states: together the two are known to miss violations.

use std::rc::Rc;

use semel_core::store::Space;

use super::{Choice, Explorer, Stop, halted};
use crate::hash::{self, Print};
use crate::model::Model;
use crate::moves::{Move, Outcome};
use crate::parts::Carried;
use crate::state::State;
use crate::step;
use crate::task::call::Call;

/// What a move touches, and whether it may change it.
type Footprint = Vec<(Print, bool)>;

/// A footprint that many states share.
type Kept = Rc<[(Print, bool)]>;

/// A move that need not be made again as long as nothing it depends on happens.
type Asleep = (Move, Kept);

impl Explorer {
    pub(super) fn unmerged(&mut self) -> Option<Stop> {
        let first = step::beginning(&self.model);
        let mut choices = Vec::new();
        self.coverage.faults = self.model.faults_max;
        self.descend(&first, Vec::new(), &mut choices)
    }

    fn descend(
        &mut self,
        state: &State,
        mut asleep: Vec<Asleep>,
        choices: &mut Vec<Choice>,
    ) -> Option<Stop> {
        self.coverage.states += 1;
        self.coverage.depth = self.coverage.depth.max(choices.len() as u32);
        let stop = |violation, choices: &[Choice]| {
            Some(Stop { violation, choices: choices.to_vec(), tail: Vec::new() })
        };
        if let Some(violation) = self.judge(state) {
            return stop(violation, choices);
        }
        if self.is_cut(state) || self.is_too_much(choices) {
            return None;
        }
        let moves = self.moves_left(state);
        if self.is_end(state, &moves) {
            self.coverage.executions += 1;
            if let Some(violation) = self.end(state) {
                return stop(violation, choices);
            }
        }
        for (choice, (made, cost)) in moves.into_iter().enumerate() {
            let is_asleep = asleep.iter().any(|(sleeper, _)| *sleeper == made);
            if is_asleep || self.finds_nothing(state, made) {
                continue;
            }
            let footprint: Kept = footprint(&self.model, state, made, cost).into();
            choices.push(choice as Choice);
            match self.step(state, made, cost) {
                Ok(None) => {}
                Ok(Some(next)) => {
                    let stays = |(_, of_sleeper): &&Asleep| !depend(of_sleeper, &footprint);
                    let still_asleep = asleep.iter().filter(stays).cloned().collect();
                    if let Some(stop) = self.descend(&next, still_asleep, choices) {
                        return Some(stop);
                    }
                }
                Err(halt) => return stop(halted(halt), choices),
            }
            choices.pop();
            asleep.push((made, footprint));
        }
        None
    }

    fn is_too_much(&mut self, choices: &[Choice]) -> bool {
        let states_max = self.model.bounds.states;
        if self.coverage.states > states_max as u64 {
            self.cut.insert(format!("{states_max} states were explored (see `states_max`)"));
            return true;
        }
        let depth_max = self.model.bounds.depth;
        let is_too_deep = choices.len() >= depth_max as usize;
        if is_too_deep {
            self.cut.insert(format!("a run was cut off after {depth_max} moves"));
        }
        is_too_deep
    }
}

/// Whether the order of two moves can matter.
fn depend(one: &[(Print, bool)], other: &[(Print, bool)]) -> bool {
    one.iter().any(|(thing, writes)| {
        other.iter().any(|(same, also_writes)| thing == same && (*writes || *also_writes))
    })
}

/// Things that moves touch beside items, messages and objects.
#[derive(Clone, Copy)]
enum Shared {
    Faults,
    Clock,
    Workers,
    Slot(usize),
    Deployed(usize),
    Order,
    Space(Space),
}

/// A name for it: prints are never that small.
fn shared(thing: Shared) -> Print {
    let (kind, number) = match thing {
        Shared::Faults => (1, 0),
        Shared::Clock => (2, 0),
        Shared::Workers => (3, 0),
        Shared::Order => (4, 0),
        Shared::Slot(slot) => (5, slot),
        Shared::Deployed(site) => (6, site),
        Shared::Space(space) => (7, space as usize),
    };
    (kind << 64) | number as Print
}

fn footprint(model: &Model, state: &State, made: Move, cost: u32) -> Footprint {
    let mut touched = vec![(shared(Shared::Clock), false)];
    if cost > 0 {
        touched.push((shared(Shared::Faults), true));
    }
    let queued = |message: Print, touched: &mut Footprint| {
        let found = state.parts.queue.all().iter().find(|queued| queued.name == message);
        if let Some(queued) = found {
            let carried = &queued.carried;
            touched.push((carried.name, true));
            if let Some(slot) = state.holder(queued) {
                touched.push((shared(Shared::Slot(slot)), false));
            }
            if let Some(site) = model.site(&carried.endpoint) {
                touched.push((shared(Shared::Deployed(site)), false));
            }
        }
        if model.routes.ordered {
            touched.push((shared(Shared::Order), true));
        }
    };
    match made {
        Move::Deliver { message, late } => {
            queued(message, &mut touched);
            touched.push((shared(Shared::Workers), true));
            touched.push((shared(Shared::Clock), late));
            // Whether an attempt was committed before is remembered.
            touched.push((shared(Shared::Space(Space::Entity)), false));
        }
        Move::Answer { slot, call, outcome } => {
            touched.push((shared(Shared::Slot(slot)), true));
            touched.push((shared(Shared::Workers), false));
            let task = state.slots[slot].as_ref();
            let pending = task.and_then(|task| task.node.pending.iter().find(|p| p.number == call));
            if let Some(pending) = pending.filter(|_| outcome != Outcome::Lost) {
                of_call(model, state, slot, &pending.call, &mut touched);
            }
        }
        Move::Crash { slot, .. } => {
            touched.push((shared(Shared::Slot(slot)), true));
            touched.push((shared(Shared::Workers), false));
        }
        Move::EndLease { message } | Move::Duplicate { message } | Move::Replay { message } => {
            queued(message, &mut touched);
        }
        Move::Discard { message } => {
            queued(message, &mut touched);
            touched.push((shared(Shared::Slot(state.person())), true));
        }
        Move::Land { write } | Move::Lose { write } => {
            if let Some(flying) = state.flying.iter().find(|flying| flying.print == write) {
                if let Some((endpoint, message)) = &flying.of.message {
                    touched.push((of_message(endpoint, message), true));
                }
                of_call(model, state, usize::MAX, &flying.call, &mut touched);
            }
        }
        Move::PassWindow | Move::Wait { .. } => touched.push((shared(Shared::Clock), true)),
        Move::Vanish { item } => {
            touched.push((item, true));
            let mut items = state.parts.items.all().iter();
            if let Some(found) = items.find(|record| hash::key(&record.item.key) == item) {
                touched.push((shared(Shared::Space(found.item.key.space)), true));
            }
        }
        Move::Deploy { site } => touched.push((shared(Shared::Deployed(site)), true)),
        Move::Finish { site } => {
            touched.push((shared(Shared::Slot(state.finisher())), true));
            touched.push((shared(Shared::Deployed(site)), false));
            for space in Space::ALL {
                touched.push((shared(Shared::Space(space)), false));
            }
        }
    }
    touched
}

fn of_message(endpoint: &str, identity: &str) -> Print {
    Carried::name_of(endpoint, identity)
}

fn of_call(model: &Model, state: &State, slot: usize, call: &Call, touched: &mut Footprint) {
    use semel_core::store::Change;
    let send = |outgoing: &semel_core::broker::Outgoing, touched: &mut Footprint| {
        let identity = semel_core::protocols::message_key(&outgoing.envelope);
        for endpoint in model.routes.receivers(outgoing) {
            touched.push((of_message(endpoint, &identity), true));
        }
        if model.routes.ordered {
            touched.push((shared(Shared::Order), true));
        }
    };
    match call {
        Call::Read(key) => touched.push((hash::key(key), false)),
        Call::List(page) => touched.push((shared(Shared::Space(page.space)), false)),
        Call::Write(changes) => {
            for change in changes {
                match change {
                    Change::Put { key, .. } | Change::Delete { key, .. } => {
                        touched.push((hash::key(key), true));
                        touched.push((shared(Shared::Space(key.space)), true));
                    }
                    Change::Enqueue(outgoing) => send(outgoing, touched),
                    Change::Settle { .. } => of_own_message(state, slot, touched),
                }
            }
        }
        Call::Settle(..) => of_own_message(state, slot, touched),
        Call::Send(messages) => messages.iter().for_each(|outgoing| send(outgoing, touched)),
        Call::Get(name) => touched.push((hash::print(34, name), false)),
        Call::Put(name, _) => touched.push((hash::print(34, name), true)),
    }
    if model.routes.ordered && matches!(call, Call::Write(_) | Call::Settle(..)) {
        touched.push((shared(Shared::Order), true));
    }
}

/// Settling is about the message that the task has.
fn of_own_message(state: &State, slot: usize, touched: &mut Footprint) {
    // Parking and discarding are judged by what is committed.
    touched.push((shared(Shared::Space(Space::Entity)), false));
    let task = state.slots.get(slot).and_then(Option::as_ref);
    if let Some(message) = task.and_then(|task| task.node.start.message()) {
        touched.push((message.name, true));
    }
}
