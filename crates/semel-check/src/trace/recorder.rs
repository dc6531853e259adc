//! Runs a list of moves again, and writes down what happens.

use semel_core::broker::Outgoing;
use semel_core::store::{Change, QueueHome};

use super::changes::{Places, changes};
use super::tell::{Teller, Underway, call_of};
use super::{Changed, Lane, LaneKind, Step, Trace, Weight, phrases};
use crate::model::Model;
use crate::moves::{self, Move, Outcome};
use crate::parts::Written;
use crate::state::{Flying, State};
use crate::step::{self, Halt};
use crate::task::Tasks;
use crate::task::call::Call;
use crate::task::port::Note;

/// Makes moves one after the other, and tells each.
struct Recorder<'a> {
    model: &'a Model,
    tasks: &'a mut Tasks,
    lanes: Vec<Lane>,
    /// The label of the step that each slot is at.
    labels: Vec<Option<String>>,
    /// The steps at which each slot's task began and had its answers.
    answered: Vec<Vec<usize>>,
    underway: Vec<Underway>,
    steps: Vec<Step>,
}

impl Trace {
    /// The run that these choices, and then these moves, make from the beginning.
    pub(crate) fn record(model: &Model, tasks: &mut Tasks, choices: &[u16], tail: &[Move]) -> Self {
        let (mut recorder, state) = Recorder::after(model, tasks, choices);
        let Some(mut state) = state else { return recorder.finish() };
        for step in tail {
            match recorder.make(&state, *step, 0) {
                Some(next) => state = next,
                None => break,
            }
        }
        recorder.finish()
    }

    /// The run at whose last choice the code did not do the same as before, after so many calls. It
    /// need not do so again: that step is told, and not made.
    pub(crate) fn record_divergence(
        model: &Model,
        tasks: &mut Tasks,
        choices: &[u16],
        calls_alike: u32,
    ) -> Self {
        let Some((last, before)) = choices.split_last() else {
            return Self::record(model, tasks, choices, &[]);
        };
        let (mut recorder, state) = Recorder::after(model, tasks, before);
        let step = state.and_then(|state| {
            let (step, cost) = *moves::moves(model, &state).get(usize::from(*last))?;
            Some(recorder.told(&state, step, cost))
        });
        if let Some(told) = step {
            let told = recorder.divergence(told, calls_alike);
            recorder.steps.push(told);
        }
        recorder.finish()
    }
}

impl<'a> Recorder<'a> {
    /// Makes these choices from the beginning; the state they lead to, if the world survives them.
    fn after(model: &'a Model, tasks: &'a mut Tasks, choices: &[u16]) -> (Self, Option<State>) {
        let mut state = step::beginning(model);
        let mut recorder = Self::new(model, tasks, &state);
        for choice in choices {
            let all = moves::moves(model, &state);
            let made = all.get(usize::from(*choice));
            match made.and_then(|(step, cost)| recorder.make(&state, *step, *cost)) {
                Some(next) => state = next,
                None => return (recorder, None),
            }
        }
        (recorder, Some(state))
    }

    fn new(model: &'a Model, tasks: &'a mut Tasks, state: &State) -> Self {
        let lane = |name: String, kind| Lane { name, kind };
        let mut lanes: Vec<Lane> = (1..=state.worker_count())
            .map(|number| lane(format!("worker {number}"), LaneKind::Actor))
            .collect();
        lanes.push(lane("finisher".to_owned(), LaneKind::Actor));
        lanes.push(lane("person".to_owned(), LaneKind::Actor));
        let queue = match model.cast.store.queue {
            QueueHome::Inside => "queue in store",
            QueueHome::Elsewhere => "queue",
        };
        for place in ["store", queue, "outside"] {
            lanes.push(lane(place.to_owned(), LaneKind::Place));
        }
        let labels = vec![None; state.slots.len()];
        let answered = vec![Vec::new(); state.slots.len()];
        Self { model, tasks, lanes, labels, answered, underway: Vec::new(), steps: Vec::new() }
    }

    /// Makes a move, and writes down what it was; `None` if it ends the world.
    fn make(&mut self, state: &State, choice: Move, cost: u32) -> Option<State> {
        let mut told = self.told(state, choice, cost);
        let model = self.model;
        let (made, notes) =
            self.tasks.notes_of(|tasks| step::step(model, tasks, state, choice, cost));
        match made {
            Ok(Some(next)) => {
                told.busy = at_work(&next);
                told.changes = changes(&state.parts, &next.parts, places(state));
                told.changes.extend(self.gone_out(state, choice));
                self.note_underway(state, &next, told.from);
                self.conclude(&mut told, state, &next, choice, notes);
                self.steps.push(told);
                Some(next)
            }
            Ok(None) => None,
            Err(halt) => {
                self.halt(told, &halt);
                None
            }
        }
    }

    /// What a move is, before it is made.
    fn told(&self, state: &State, choice: Move, cost: u32) -> Step {
        let teller = Teller {
            model: self.model,
            state,
            lanes: &self.lanes,
            labels: &self.labels,
            underway: &self.underway,
        };
        let mut told = teller.tell(choice);
        told.weight = if cost > 0 { Weight::Fault } else { Weight::Normal };
        told.busy = at_work(state);
        told
    }

    /// A step that the world does not survive.
    fn halt(&mut self, mut told: Step, halt: &Halt) {
        match halt {
            Halt::Diverged(diverged) => told = self.divergence(told, diverged.calls_alike),
            Halt::Ended { .. } => {
                let who = &self.lanes[told.worker()].name;
                told.notes.push(format!("{who} cannot go on: see below"));
            }
        }
        self.steps.push(told);
    }

    /// To go on, the code is run again up to where it stands. If it does not get there, the step that
    /// it should have made is none, and the one at which it went another way is to be looked at.
    fn divergence(&mut self, told: Step, calls_alike: u32) -> Step {
        let (slot, who) = (told.from, &self.lanes[told.from].name);
        let mut what = format!("{who} is run again up to here, and does not do the same");
        let at = self.answered.get(slot).and_then(|steps| steps.get(calls_alike as usize));
        if let Some(at) = at.copied() {
            what.push_str(&format!(": see step {at}"));
            let note =
                "run again on the same, the code goes on in another way from here: see below";
            if let Some(step) = at.checked_sub(1).and_then(|at| self.steps.get_mut(at)) {
                step.notes.push(note.to_owned());
            }
        }
        Step { busy: told.busy, weight: told.weight, ..Step::alone(slot, what) }
    }

    /// Messages for endpoints beyond this world are in no queue of it: they are seen, and gone.
    fn gone_out(&self, state: &State, choice: Move) -> Vec<Changed> {
        let (routes, lane) = (&self.model.routes, places(state).queue);
        self.sent(state, choice)
            .into_iter()
            .filter(|outgoing| routes.receivers(outgoing).is_empty())
            .map(|outgoing| Changed { lane, what: format!("+ {}", phrases::gone_out(outgoing)) })
            .collect()
    }

    /// The messages that a move sends.
    fn sent<'s>(&self, state: &'s State, choice: Move) -> Vec<&'s Outgoing> {
        let (call, lost) = match choice {
            Move::Land { write } => {
                let flying = state.flying.iter().find(|flying| flying.print == write);
                (flying.map(|flying| &*flying.call), None)
            }
            Move::Answer { outcome: Outcome::Lost | Outcome::Late, .. } => (None, None),
            Move::Answer { slot, call, outcome } => {
                let lost = match outcome {
                    Outcome::SentBut(lost) => Some(lost),
                    _ => None,
                };
                (call_of(state, slot, call), lost)
            }
            _ => (None, None),
        };
        match call {
            Some(Call::Send(messages)) => {
                let arrives = |(at, _): &(usize, &Outgoing)| Some(*at) != lost;
                messages.iter().enumerate().filter(arrives).map(|(_, sent)| sent).collect()
            }
            Some(Call::Write(changes)) if self.applies(state, changes) => {
                changes.iter().filter_map(enqueued).collect()
            }
            _ => Vec::new(),
        }
    }

    fn applies(&self, state: &State, changes: &[Change]) -> bool {
        let (limits, routes) = (&self.model.cast.store, &self.model.routes);
        let written = state.parts.clone().write(changes, limits, routes, state.now.unix_ms());
        matches!(written, Written::Applied(_))
    }

    /// Remembers who made the requests that are on their way since this step.
    fn note_underway(&mut self, before: &State, after: &State, slot: usize) {
        for flying in &after.flying {
            let is_it = |other: &Flying| other.print == flying.print;
            let count = |state: &State| state.flying.iter().filter(|other| is_it(other)).count();
            if count(after) > count(before) {
                let step = self.steps.len() + 1;
                self.underway.push(Underway { print: flying.print, slot, step });
            }
        }
    }

    /// What the task made of the step.
    fn conclude(
        &mut self,
        told: &mut Step,
        before: &State,
        after: &State,
        choice: Move,
        notes: Vec<Note>,
    ) {
        let slot = match (choice, told.to) {
            (Move::Answer { slot, .. } | Move::Crash { slot, .. }, _) => slot,
            (Move::Deliver { .. }, Some((slot, _))) => slot,
            (Move::Discard { .. }, _) => after.person(),
            (Move::Finish { .. }, _) => after.finisher(),
            _ => return,
        };
        let is_made_to_fail = matches!(choice, Move::Answer { outcome: Outcome::HandlerFails, .. });
        for note in notes {
            match note {
                Note::Step(label) => self.labels[slot] = Some(label),
                // The outcome of the step has told it already.
                Note::Handler(_) if is_made_to_fail => {}
                Note::Handler(text) => {
                    told.notes.extend(text.lines().map(|line| format!("handler: {line}")));
                }
            }
        }
        let (name, of) = (&self.lanes[slot].name, work_of(before, after, slot));
        match &after.slots[slot] {
            None => {
                self.labels[slot] = None;
                if !matches!(choice, Move::Crash { .. }) {
                    told.notes.push(format!("{name} is done{of}"));
                }
            }
            // A task that has had no answer yet is at its beginning.
            Some(task) if task.node.calls == 0 && before.slots[slot].is_some() => {
                told.notes.push(format!("{name} begins again{of}"));
            }
            Some(_) => {}
        }
        self.note_answered(after, slot);
    }

    /// Remembers at which step the task had which answer.
    fn note_answered(&mut self, after: &State, slot: usize) {
        let step = self.steps.len() + 1;
        if after.slots[slot].as_ref().is_none_or(|task| task.node.calls == 0) {
            self.answered[slot].clear();
        }
        self.answered[slot].push(step);
    }

    /// Leaves out who took no part.
    fn finish(self) -> Trace {
        let takes_part = |lane: usize| {
            let is_in = |step: &Step| {
                let is_to = step.to.is_some_and(|(to, _)| to == lane);
                step.from == lane || is_to || step.changes.iter().any(|change| change.lane == lane)
            };
            self.steps.iter().any(is_in)
        };
        let kept: Vec<usize> = (0..self.lanes.len()).filter(|lane| takes_part(*lane)).collect();
        let place = |lane: usize| kept.iter().position(|kept| *kept == lane);
        let moved = |lane: usize| place(lane).unwrap_or(0);
        let steps = self.steps.iter().cloned().map(|step| Step {
            from: moved(step.from),
            to: step.to.map(|(to, arrow)| (moved(to), arrow)),
            busy: step.busy.iter().filter_map(|lane| place(*lane)).collect(),
            changes: step
                .changes
                .into_iter()
                .map(|change| Changed { lane: moved(change.lane), ..change })
                .collect(),
            ..step
        });
        Trace {
            world: self.model.name.clone(),
            lanes: kept.iter().map(|lane| self.lanes[*lane].clone()).collect(),
            steps: steps.collect(),
            verdict: None,
        }
    }
}

fn enqueued(change: &Change) -> Option<&Outgoing> {
    match change {
        Change::Enqueue(outgoing) => Some(outgoing),
        _ => None,
    }
}

/// The lanes of the places come after those of everyone who acts.
pub(super) fn places(state: &State) -> Places {
    let store = state.slots.len();
    Places { store, queue: store + 1, outside: store + 2 }
}

fn at_work(state: &State) -> Vec<usize> {
    (0..state.slots.len()).filter(|slot| state.slots[*slot].is_some()).collect()
}

/// Which message someone works on, or did.
fn work_of(before: &State, after: &State, slot: usize) -> String {
    let task = before.slots[slot].as_ref().or(after.slots[slot].as_ref());
    let message = task.and_then(|task| task.node.start.message());
    message.map(|message| format!(" with {}", phrases::carried(message))).unwrap_or_default()
}
