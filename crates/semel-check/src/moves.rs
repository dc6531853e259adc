//! What can happen next: who moves, and how it turns out.

use semel_core::store::Listing;

use crate::fault::Fault;
use crate::hash::{self, Print};
use crate::model::Model;
use crate::parts::{Fate, Queued};
use crate::state::{Slot, State};
use crate::task::call::Call;

/// One step of the world. It names what it is about, so that it means the same in other states.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Move {
    /// An idle worker receives a message; `late`: after the clock has moved on.
    Deliver { message: Print, late: bool },
    /// A call of a task is answered.
    Answer { slot: usize, call: u32, outcome: Outcome },
    /// A process dies; `in_flight`: with its request on the way.
    Crash { slot: usize, in_flight: bool },
    /// A lease ends.
    EndLease { message: Print },
    /// A write lands that was on its way.
    Land { write: Print },
    /// A write whose caller gave up waiting for it comes to nothing.
    Lose { write: Print },
    /// A message is doubled.
    Duplicate { message: Print },
    /// All windows pass.
    PassWindow,
    /// A record past its window vanishes.
    Vanish { item: Print },
    /// A person gives a dead letter back to its endpoint.
    Replay { message: Print },
    /// A person begins to discard a dead letter.
    Discard { message: Print },
    /// The next version of an endpoint is deployed.
    Deploy { site: usize },
    /// The finisher of an endpoint looks for what crashed workers left.
    Finish { site: usize },
    /// Time passes, so many times as in a late delivery, for those who wait for it. Only where taking
    /// turns leads nowhere else: it is listed in no state.
    Wait { times: u32 },
}

/// How a call turns out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Outcome {
    /// As it should.
    Normal,
    /// As it should, but then the handler fails.
    HandlerFails,
    /// Not applied, and not answered.
    Lost,
    /// Applied, and not answered.
    ReplyLost,
    /// Not answered, and applied later.
    Late,
    /// Of a batch of messages this one was not sent, and not answered.
    SentBut(usize),
    /// Applied, answered, and applied again later.
    Repeated,
    /// Applied, and applied again at once; the answer is that of the second time.
    RepeatedAtOnce,
    /// What stood there before.
    Stale,
}

/// Every move of a state with what it costs in faults, in a fixed order: those that are no faults
/// first.
pub(crate) fn moves(model: &Model, state: &State) -> Vec<(Move, u32)> {
    let mut all = Moves { model, free: Vec::with_capacity(16), faults: Some(Vec::new()) };
    all.collect(state);
    all.free.extend(all.faults.into_iter().flatten());
    all.free
}

/// The moves of a state that are no faults.
pub(crate) fn free_moves(model: &Model, state: &State) -> Vec<(Move, u32)> {
    let mut all = Moves { model, free: Vec::with_capacity(16), faults: None };
    all.collect(state);
    all.free
}

struct Moves<'a> {
    model: &'a Model,
    free: Vec<(Move, u32)>,
    /// None where nobody asks for them.
    faults: Option<Vec<(Move, u32)>>,
}

impl Moves<'_> {
    fn collect(&mut self, state: &State) {
        for (slot, task) in state.slots.iter().enumerate() {
            if let Some(task) = task {
                self.of_task(slot, task);
            }
        }
        let can_deliver = state.slots[..state.worker_count()].iter().any(Option::is_none);
        for (at, queued) in state.parts.queue.all().iter().enumerate() {
            self.of_message(state, at, queued, can_deliver);
        }
        for flying in &state.flying {
            self.free(Move::Land { write: flying.print });
            if flying.is_given_up {
                self.free(Move::Lose { write: flying.print });
            }
        }
        self.of_time(state);
        self.of_finisher(state);
        for (site, version) in state.deployed.iter().enumerate() {
            let is_last = usize::from(*version) + 1 >= self.model.cast.sites[site].versions.len();
            if !is_last {
                self.fault(Fault::Deployment, Move::Deploy { site });
            }
        }
    }

    fn free(&mut self, step: Move) {
        self.free.push((step, 0));
    }

    fn fault(&mut self, fault: Fault, step: Move) {
        if let Some(faults) = &mut self.faults
            && self.model.faults.has(fault)
        {
            faults.push((step, 1));
        }
    }

    fn of_task(&mut self, slot: usize, task: &Slot) {
        for pending in &task.node.pending {
            let answer = |outcome| Move::Answer { slot, call: pending.number, outcome };
            self.free(answer(Outcome::Normal));
            // If the handler runs next; otherwise it is no move.
            self.fault(Fault::HandlerFailure, answer(Outcome::HandlerFails));
            match &*pending.call {
                Call::Read(_) => {
                    self.fault(Fault::FailedRead, answer(Outcome::Lost));
                    self.fault(Fault::StaleRead, answer(Outcome::Stale));
                }
                Call::List(_) | Call::Get(_) => {
                    self.fault(Fault::FailedRead, answer(Outcome::Lost));
                }
                Call::Write(_) | Call::Settle(..) | Call::Send(_) | Call::Put(..) => {
                    self.fault(Fault::LostRequest, answer(Outcome::Lost));
                    self.fault(Fault::LostReply, answer(Outcome::ReplyLost));
                    self.fault(Fault::LateWrite, answer(Outcome::Late));
                    self.fault(Fault::RepeatedWrite, answer(Outcome::Repeated));
                    self.fault(Fault::RepeatedWrite, answer(Outcome::RepeatedAtOnce));
                }
            }
            if let Call::Send(messages) = &*pending.call {
                for lost in (0..messages.len()).filter(|_| messages.len() > 1) {
                    self.fault(Fault::LostRequest, answer(Outcome::SentBut(lost)));
                }
            }
        }
        // A crash after a read is the same as one before it, later.
        if !task.node.has_just_read {
            self.fault(Fault::Crash, Move::Crash { slot, in_flight: false });
        }
        if task.node.pending.iter().any(|pending| pending.call.is_write()) {
            self.fault(Fault::Crash, Move::Crash { slot, in_flight: true });
        }
    }

    fn of_message(&mut self, state: &State, at: usize, queued: &Queued, can_deliver: bool) {
        if self.model.site(&queued.carried.endpoint).is_none() {
            // It has left this world: it is visible, and that is all.
            return;
        }
        let message = queued.name;
        match &queued.fate {
            Fate::PutOff { .. } if queued.is_put_off(state.now.unix_ms()) => {
                if can_deliver && state.parts.queue.is_its_turn(at) {
                    self.fault(Fault::EarlyRedelivery, Move::Deliver { message, late: false });
                }
                self.fault(Fault::Duplicate, Move::Duplicate { message });
            }
            Fate::Waiting | Fate::PutOff { .. } => {
                let queue = &state.parts.queue;
                if can_deliver && queue.is_its_turn(at) {
                    self.free(Move::Deliver { message, late: false });
                    self.fault(Fault::LateDelivery, Move::Deliver { message, late: true });
                }
                self.fault(Fault::Duplicate, Move::Duplicate { message });
            }
            Fate::Leased { .. } => match state.holder(queued) {
                Some(_) => self.fault(Fault::EarlyRedelivery, Move::EndLease { message }),
                None => self.free(Move::EndLease { message }),
            },
            Fate::Dead { .. } => {
                self.fault(Fault::Person, Move::Replay { message });
                if state.slots[state.person()].is_none() {
                    self.fault(Fault::Person, Move::Discard { message });
                }
            }
        }
    }

    fn of_time(&mut self, state: &State) {
        let items = state.parts.items.all();
        if !state.window_passed && items.iter().any(|item| item.kept_until_ms.is_some()) {
            self.fault(Fault::WindowPasses, Move::PassWindow);
        }
        for record in items.iter().filter(|record| record.may_vanish(state.now.unix_ms())) {
            self.free(Move::Vanish { item: hash::key(&record.item.key) });
        }
    }

    /// Whether a look would find anything is not known here: see `Explorer::is_idle_look`.
    fn of_finisher(&mut self, state: &State) {
        let can_list = self.model.cast.store.listing == Listing::Supported;
        let is_idle = state.slots[state.finisher()].is_none();
        if can_list && is_idle && !state.parts.items.all().is_empty() {
            for site in 0..self.model.cast.sites.len() {
                self.free(Move::Finish { site });
            }
        }
    }
}
