//! The strategies: how the moves of a world are chosen.

mod exhaustive;
mod fair;
mod play;
mod probe;
mod random;
mod replay;
mod unmerged;

pub(crate) use replay::Line;

use std::collections::BTreeSet;
use std::sync::Arc;

use semel_core::broker::Destination;
use semel_core::protocols::message_key;

use crate::hash::{ByPrint, Print, Prints};
use crate::judge::{self, Breach, Violation};
use crate::model::Model;
use crate::moves::{self, Move};
use crate::parts::{Fate, Queued};
use crate::report::{Counterexample, Coverage, Finding, Report, Strategy, Unprocessed};
use crate::state::State;
use crate::step::{self, Halt};
use crate::task::{End, Tasks, port};
use crate::trace::Trace;
use crate::watch::Watch;
use crate::world::WorldError;

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
    /// Whether taking turns was given up, because it did not come to an end.
    rests_not: bool,
    /// What looks of the finisher come to, by state of the store, endpoint and time.
    looks: ByPrint<Look>,
    /// What could be seen of states that were judged and fine, with the conditions that held.
    judged: ByPrint<Arc<[bool]>>,
    /// What could be seen of ends that were judged and fine.
    ended: Prints,
    /// Messages from outside that were processed in no end so far, by endpoint and identity.
    unprocessed: Vec<(String, String)>,
    /// Endpoints beyond this world, with what was sent to them.
    went_outside: BTreeSet<String>,
    /// Where the code did not do the same twice: after how many calls.
    calls_alike: Option<u32>,
}

/// What a look of the finisher comes to, with nobody else about.
#[derive(Clone, Copy, Debug, Default)]
struct Look {
    /// Whether it leaves everything as it is, now and once much time has passed.
    is_idle: bool,
    is_idle_later: bool,
    calls: u32,
    used_clock: bool,
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
            rests_not: false,
            looks: ByPrint::default(),
            judged: ByPrint::default(),
            ended: Prints::default(),
            unprocessed,
            went_outside: BTreeSet::new(),
            calls_alike: None,
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
            Some(stop) => match self.not_understood(&stop.violation) {
                Some(reason) => {
                    Finding::Unusable(WorldError { world: self.model.name.clone(), reason })
                }
                None => Finding::Violated(Box::new(self.counterexample(stop))),
            },
            None => Finding::Holds,
        };
        self.coverage.ends = self.coverage.ends.max(self.ends.len() as u64);
        let is_one_run = self.coverage.strategy == Strategy::OneRun;
        if self.coverage.ends == 0 && !is_one_run && matches!(finding, Finding::Holds) {
            self.cut.insert(
                "no run came to an end, so what must hold there was never judged".to_owned(),
            );
        }
        self.coverage.code_runs = self.tasks.runs;
        self.coverage.cut = self.cut.iter().cloned().collect();
        if self.coverage.ends > 0 && matches!(finding, Finding::Holds) {
            let names = self.unprocessed.iter().map(|(endpoint, message)| {
                let name = format!("{} at {endpoint}", crate::trace::phrases::message(message));
                Unprocessed { name, failure: port::failure_of(endpoint, message) }
            });
            self.coverage.never_processed = names.collect();
        }
        // In one run, by line or by hand, nobody looks at them.
        if !is_one_run {
            let names = self.model.conditions.iter().map(|condition| condition.name.clone());
            self.coverage.sometimes = names.zip(self.seen.iter().copied()).collect();
        }
        self.coverage.went_outside = self.went_outside.iter().cloned().collect();
        let finding = match finding {
            Finding::Holds if !self.coverage.is_complete() => Finding::NotExhausted,
            finding => finding,
        };
        self.coverage.is_whole = match &finding {
            Finding::Holds => true,
            Finding::Violated(found) => matches!(found.violation.breach, Breach::NeverHappened(_)),
            Finding::NotExhausted | Finding::Unusable(_) => false,
        };
        Report { world: self.model.name.clone(), finding, coverage: self.coverage }
    }

    fn counterexample(&mut self, stop: Stop) -> Counterexample {
        let line = Line::new(&self.model, &stop.choices, stop.tail.len());
        let (model, tasks) = (&self.model, &mut self.tasks);
        let mut trace = match (&stop.violation.breach, self.calls_alike) {
            (Breach::Nondeterminism, Some(calls)) if stop.tail.is_empty() => {
                Trace::record_divergence(model, tasks, &stop.choices, calls)
            }
            _ => Trace::record(model, tasks, &stop.choices, &stop.tail),
        };
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
                let (held, panicked) = judge::conditions(&self.model, state);
                let violation = judge::always(&self.model, state).or(panicked);
                if violation.is_none() {
                    self.judged.insert(visible, held.clone());
                    self.note_outside(state);
                }
                (held, violation)
            }
        };
        for (seen, held) in self.seen.iter_mut().zip(&*held) {
            *seen += u64::from(*held);
        }
        violation
    }

    /// Notes which effects have left this world.
    fn note_outside(&mut self, state: &State) {
        for visible in state.monitor.visible() {
            if let Destination::Endpoint(name) = &visible.sent.to
                && self.model.site(name).is_none()
            {
                self.went_outside.insert(format!("{name} ({})", visible.sent.envelope.kind));
            }
        }
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
        let made = step::step(&self.model, &mut self.tasks, state, choice, cost);
        if let Err(Halt::Diverged(diverged)) = &made {
            self.calls_alike = Some(diverged.calls_alike);
        }
        made
    }

    /// Whether a bound ends the runs through this state; if so, which is noted.
    fn is_cut(&mut self, state: &State) -> bool {
        let deliveries_max = self.model.bounds.deliveries;
        let mut is_cut = self.is_task_cut(state);
        for queued in state.parts.queue.all() {
            let waits = matches!(queued.fate, Fate::Waiting | Fate::PutOff { .. });
            if waits && queued.receipts >= deliveries_max {
                self.cut.insert(too_often(queued, deliveries_max));
                is_cut = true;
            }
        }
        is_cut
    }

    /// The same for the bounds of a single task.
    fn is_task_cut(&mut self, state: &State) -> bool {
        let bounds = self.model.bounds;
        let mut is_cut = false;
        for task in state.slots.iter().flatten() {
            let what = || task.node.start.describe();
            let cut = if task.node.calls >= bounds.calls {
                let calls = bounds.calls;
                format!("{} made {calls} calls without coming to an end (see `calls_max`)", what())
            } else if task.round.epoch >= bounds.epochs {
                format!("{} began anew {} times (see `rounds_max`)", what(), bounds.epochs)
            } else {
                continue;
            };
            self.cut.insert(cut);
            is_cut = true;
        }
        is_cut
    }

    /// Whether nothing is left to do in a state with these moves, faults switched off.
    fn is_end(&mut self, state: &State, moves: &[(Move, u32)]) -> bool {
        // Those that are no faults come first.
        let free = moves.iter().take_while(|(_, cost)| *cost == 0).map(|(choice, _)| *choice);
        let is_look = |choice: Move| matches!(choice, Move::Finish { .. });
        let now_ms = state.now.unix_ms();
        let mut queued = state.parts.queue.all().iter();
        if queued.any(|queued| queued.is_put_off(now_ms)) {
            return false;
        }
        free.clone().all(is_look) && free.clone().all(|look| self.look(state, look).is_idle_later)
    }

    /// Whether a look of the finisher, alone in the world, leaves everything as it is.
    fn finds_nothing(&mut self, state: &State, choice: Move) -> bool {
        matches!(choice, Move::Finish { .. }) && self.look(state, choice).is_idle
    }

    /// Whether to begin a look here is no different from beginning it later: it finds nothing, and
    /// sees the world at one moment only.
    fn is_idle_look(&mut self, state: &State, choice: Move) -> bool {
        matches!(choice, Move::Finish { .. }) && {
            let look = self.look(state, choice);
            look.is_idle && look.calls <= 1
        }
    }

    /// What a look of the finisher comes to with nobody else about.
    fn look(&mut self, state: &State, choice: Move) -> Look {
        let Move::Finish { site } = choice else { return Look::default() };
        // It looks at nothing but items and the clock.
        let key = (state.parts.items.print(), site, state.deployed[site], state.now.unix_ms());
        let key = crate::hash::print(44, key);
        if let Some(known) = self.looks.get(&key) {
            return *known;
        }
        let mut look = self.look_alone(state, choice);
        if look.is_idle && look.used_clock {
            // It may find something once time has passed.
            let span = self.model.later_by.saturating_mul(fair::LONG_WAIT);
            let later = State { now: state.now.after(span), ..state.clone() };
            look.is_idle_later = self.look_alone(&later, choice).is_idle;
        }
        self.looks.insert(key, look);
        look
    }

    /// Lets the finisher do its work with nobody else about.
    fn look_alone(&mut self, state: &State, choice: Move) -> Look {
        let mut look = Look::default();
        self.tasks.take_clock_seen();
        let Ok(Some(mut now)) = self.step(state, choice, 0) else { return look };
        for _ in 0..self.model.bounds.calls {
            let task = now.slots[now.finisher()].as_ref();
            let Some(call) = task.and_then(|task| task.node.pending.first()) else { break };
            let (slot, call) = (now.finisher(), call.number);
            let answer = Move::Answer { slot, call, outcome: moves::Outcome::Normal };
            match self.step(&now, answer, 0) {
                Ok(Some(next)) => now = next,
                _ => return look,
            }
            look.calls += 1;
        }
        // What it has drawn is no trace of it.
        now.draws = state.draws;
        // In its last step too, where it may have decided to leave what it found.
        look.used_clock = self.tasks.take_clock_seen();
        look.is_idle = now.key() == state.key();
        look.is_idle_later = look.is_idle;
        look
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

/// A message that is delivered again and again, and why.
fn too_often(queued: &Queued, times: u32) -> String {
    let (id, endpoint) = (&queued.carried.envelope.id, &queued.carried.endpoint);
    let cut = format!(
        "message {id} was delivered {times} times to {endpoint} without coming to an end, and was \
         not followed further (see `deliveries_max`)"
    );
    match port::failure_of(endpoint, &queued.carried.identity) {
        Some(reason) => format!(
            "{cut}. Its handler failed, last with \"{reason}\", and is tried again and again: with \
             `RetryPolicy::NONE` in the endpoint's settings the message is parked at once"
        ),
        None => cut,
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
