//! The strategies: how the moves of a world are chosen.

mod exhaustive;
mod fair;
mod play;
mod random;
mod replay;
mod unmerged;

pub(crate) use replay::Line;

use std::collections::BTreeSet;
use std::sync::Arc;

use semel_core::protocols::message_key;

use crate::hash::{ByPrint, Print, Prints};
use crate::judge::{self, Breach, Violation};
use crate::model::Model;
use crate::moves::{self, Move};
use crate::parts::Fate;
use crate::report::{Counterexample, Coverage, Finding, Report, Strategy};
use crate::state::State;
use crate::step::{self, Halt};
use crate::task::{End, Tasks};
use crate::trace::Trace;
use crate::watch::Watch;

/// The position of a move in the list of a state's moves.
type Choice = u16;

/// A world under exploration.
pub(crate) struct Explorer {
    model: Arc<Model>,
    tasks: Tasks,
    coverage: Coverage,
    cut: BTreeSet<String>,
    /// What the different ends of the world look like.
    ends: BTreeSet<Print>,
    /// How often each `sometimes` condition was seen.
    seen: Vec<u64>,
    /// The states from which taking turns is known to come to an end.
    restful: Prints,
    /// In which states of the store a look of the finisher finds nothing.
    idle_looks: ByPrint<bool>,
    /// What could be seen of states that were judged and fine, with the conditions that held.
    judged: ByPrint<Arc<[bool]>>,
    /// What could be seen of ends that were judged and fine.
    ended: Prints,
    /// Messages from outside that were processed in no end so far, by endpoint and identity.
    unprocessed: Vec<(String, String)>,
}

/// What stops an exploration: a violation, and the moves that led to it.
struct Stop {
    violation: Violation,
    choices: Vec<Choice>,
    /// A violation of the end needs the moves that lead there, faults switched off.
    tail: Vec<Move>,
}

impl Explorer {
    pub(crate) fn new(model: Arc<Model>, strategy: Strategy, watch: Watch) -> Self {
        let tasks = Tasks::new(model.cast.clone(), watch);
        let seen = vec![0; model.conditions.len()];
        let receivers = model.messages.iter().flat_map(|outgoing| {
            let message = message_key(&outgoing.envelope);
            let names = model.routes.receivers(outgoing).into_iter();
            names.map(move |endpoint| (endpoint.to_owned(), message.clone()))
        });
        let unprocessed = receivers.collect();
        Self {
            model,
            tasks,
            coverage: Coverage::new(strategy),
            cut: BTreeSet::new(),
            ends: BTreeSet::new(),
            seen,
            restful: Prints::default(),
            idle_looks: ByPrint::default(),
            judged: ByPrint::default(),
            ended: Prints::default(),
            unprocessed,
        }
    }

    /// Runs the code under test for every step, remembering nothing.
    pub(crate) fn forgetful(mut self) -> Self {
        self.tasks.forget();
        self
    }

    /// Explores, and reports.
    pub(crate) fn run(mut self) -> Report {
        let stop = match self.coverage.strategy {
            Strategy::Exhaustive => self.exhaustive(),
            Strategy::Unmerged => self.unmerged(),
            Strategy::Random { seed, runs } => self.random(seed, runs),
            Strategy::OneRun => None,
        };
        self.report(stop)
    }

    /// The prints of all ends, to compare one exploration with another.
    pub(crate) fn ends_of(mut self) -> (BTreeSet<Print>, Report) {
        let stop = match self.coverage.strategy {
            Strategy::Unmerged => self.unmerged(),
            _ => self.exhaustive(),
        };
        (self.ends.clone(), self.report(stop))
    }

    fn report(mut self, stop: Option<Stop>) -> Report {
        let finding = match stop.or_else(|| self.never_happened()) {
            Some(stop) => Finding::Violated(Box::new(self.counterexample(stop))),
            None => Finding::Holds,
        };
        self.coverage.ends = self.coverage.ends.max(self.ends.len() as u64);
        self.coverage.code_runs = self.tasks.runs;
        self.coverage.cut = self.cut.iter().cloned().collect();
        if self.coverage.ends > 0 && matches!(finding, Finding::Holds) {
            let names = self.unprocessed.iter().map(|(endpoint, message)| {
                format!("{} at {endpoint}", crate::trace::phrases::message(message))
            });
            self.coverage.never_processed = names.collect();
        }
        let names = self.model.conditions.iter().map(|condition| condition.name.clone());
        self.coverage.sometimes = names.zip(self.seen.iter().copied()).collect();
        let finding = match finding {
            Finding::Holds if !self.coverage.is_complete() => Finding::NotExhausted,
            finding => finding,
        };
        Report { world: self.model.name.clone(), finding, coverage: self.coverage }
    }

    fn counterexample(&mut self, stop: Stop) -> Counterexample {
        let line = Line::new(&self.model, &stop.choices, stop.tail.len());
        let mut trace = Trace::record(&self.model, &mut self.tasks, &stop.choices, &stop.tail);
        trace.verdict = Some(stop.violation.verdict());
        Counterexample { violation: stop.violation, trace, replay: line.to_string() }
    }

    /// A condition that held in no state, once everything was covered.
    fn never_happened(&self) -> Option<Stop> {
        if !self.cut.is_empty()
            || matches!(self.coverage.strategy, Strategy::OneRun | Strategy::Random { .. })
        {
            return None;
        }
        let at = self.seen.iter().position(|seen| *seen == 0)?;
        let name = self.model.conditions[at].name.clone();
        let detail =
            "no state that can be reached has it: what the world proves about it is empty."
                .to_owned();
        let violation = Violation { breach: Breach::NeverHappened(name), detail };
        Some(Stop { violation, choices: Vec::new(), tail: Vec::new() })
    }

    /// Judges a state; what holds in every state, and counts what holds in some.
    fn judge(&mut self, state: &State) -> Option<Violation> {
        // Most moves change nothing that anyone can see.
        let visible = visible(state);
        let (held, violation) = match self.judged.get(&visible) {
            Some(held) => (held.clone(), None),
            None => {
                let held: Arc<[bool]> =
                    self.model.conditions.iter().map(|condition| condition.is_met(state)).collect();
                let violation = judge::always(&self.model, state);
                if violation.is_none() {
                    self.judged.insert(visible, held.clone());
                }
                (held, violation)
            }
        };
        for (seen, held) in self.seen.iter_mut().zip(&*held) {
            *seen += u64::from(*held);
        }
        violation
    }

    /// Every move of a state.
    fn moves(&self, state: &State) -> Vec<(Move, u32)> {
        moves::moves(&self.model, state)
    }

    /// The moves that a run may make from a state.
    fn moves_left(&self, state: &State) -> Vec<(Move, u32)> {
        if state.faults < self.model.faults_max {
            self.moves(state)
        } else {
            moves::free_moves(&self.model, state)
        }
    }

    fn step(&mut self, state: &State, choice: Move, cost: u32) -> Result<Option<State>, Halt> {
        self.coverage.moves += 1;
        step::step(&self.model, &mut self.tasks, state, choice, cost)
    }

    /// Whether a bound ends the runs through this state; if so, which is noted.
    fn is_cut(&mut self, state: &State) -> bool {
        let bounds = self.model.bounds;
        let mut cuts = Vec::new();
        for queued in state.parts.queue.all() {
            if queued.fate == Fate::Waiting && queued.receipts >= bounds.deliveries {
                cuts.push(format!(
                    "message {} was delivered {} times to {} without coming to an end, and was \
                     not followed further (see `deliveries_max`)",
                    queued.carried.envelope.id, bounds.deliveries, queued.carried.endpoint
                ));
            }
        }
        for task in state.slots.iter().flatten() {
            let what = || task.node.start.describe();
            if task.node.calls >= bounds.calls {
                let calls = bounds.calls;
                cuts.push(format!("{} made {calls} calls without coming to an end", what()));
            }
            if task.epoch >= bounds.epochs {
                cuts.push(format!("{} began anew {} times", what(), bounds.epochs));
            }
        }
        let is_cut = !cuts.is_empty();
        self.cut.extend(cuts);
        is_cut
    }

    /// Whether nothing is left to do in a state with these moves, faults switched off.
    fn is_end(&mut self, state: &State, moves: &[(Move, u32)]) -> bool {
        // Those that are no faults come first.
        let free = moves.iter().take_while(|(_, cost)| *cost == 0).map(|(choice, _)| *choice);
        let is_look = |choice: Move| matches!(choice, Move::Finish { .. });
        free.clone().all(is_look) && free.clone().all(|look| self.finds_nothing(state, look))
    }

    /// Whether a look of the finisher, alone in the world, leaves everything as it is. Beginning one
    /// is then no different from beginning it later.
    fn finds_nothing(&mut self, state: &State, choice: Move) -> bool {
        let Move::Finish { site } = choice else { return false };
        // It looks at nothing but items.
        let key = (state.parts.items.print(), site, state.deployed[site]);
        let key = crate::hash::print(44, key);
        if let Some(known) = self.idle_looks.get(&key) {
            return *known;
        }
        let found = self.look_alone(state, choice);
        self.idle_looks.insert(key, !found);
        !found
    }

    /// Lets the finisher do its work with nobody else about; tells whether it changed anything.
    fn look_alone(&mut self, state: &State, choice: Move) -> bool {
        let Ok(Some(mut now)) = self.step(state, choice, 0) else { return true };
        for _ in 0..self.model.bounds.calls {
            let slot = now.finisher();
            let pending = now.slots[slot].as_ref().and_then(|task| task.node.pending.first());
            let Some(call) = pending.map(|call| call.number) else { break };
            let answer = Move::Answer { slot, call, outcome: moves::Outcome::Normal };
            match self.step(&now, answer, 0) {
                Ok(Some(next)) => now = next,
                _ => return true,
            }
        }
        // To draw identities changes nothing that anyone else could find.
        now.draws = state.draws;
        now.key() != state.key()
    }

    /// Notes what the end of a run looks like, and judges it.
    fn end(&mut self, state: &State) -> Option<Violation> {
        let visible = visible(state);
        if self.ended.contains(&visible) {
            return None;
        }
        self.ends.insert(Self::end_print(state));
        let is_left =
            |(endpoint, message): &(String, String)| !judge::is_processed(state, endpoint, message);
        self.unprocessed.retain(is_left);
        let violation = judge::finally(&self.model, state);
        if violation.is_none() {
            self.ended.insert(visible);
        }
        violation
    }

    /// What an end looks like: entities with their trails, what is visible, what is dead.
    fn end_print(state: &State) -> Print {
        let mut ink = crate::hash::Ink::new(28).with(state.monitor.print());
        for record in state.parts.items.all() {
            if record.trail.is_some() {
                ink.add(record.looks);
            }
        }
        for queued in state.parts.queue.all() {
            ink.add((queued.carried.print, &queued.fate));
        }
        for object in state.parts.outside.all() {
            ink.add((&object.0, &*object.1));
        }
        ink.print()
    }
}

/// All that is judged of a state.
fn visible(state: &State) -> Print {
    state.parts.print().wrapping_add(state.monitor.print())
}

/// What a halt means.
fn halted(halt: Halt) -> Violation {
    match halt {
        Halt::Diverged(diverged) => {
            Violation { breach: Breach::Nondeterminism, detail: diverged.to_string() }
        }
        Halt::Ended { end, task } => {
            let detail = match end {
                End::Stopped(reason) => format!("{task}, the protocol gave up for good: {reason}"),
                End::Panicked(text) => format!("{task}, the protocol panicked: {text}"),
                End::Stuck => format!(
                    "{task}, the code waits for something that is no call on a place of this world: \
                     a timer, a channel, or real I/O. Hand such things in from the world."
                ),
                End::Over | End::Discarded | End::Again { .. } => task,
            };
            Violation { breach: Breach::Halted, detail }
        }
    }
}
