//! One move, in words.

use semel_core::store::{Change, Expect, ItemKey};

use super::phrases;
use super::recorder::places;
use super::{Arrow, Lane, Step, Weight};
use crate::hash::{self, Print};
use crate::model::Model;
use crate::moves::{Move, Outcome};
use crate::parts::{Parts, Queued, Record, Written};
use crate::state::{Slot, State};
use crate::tag;
use crate::task::call::{Call, excerpt};

/// A request that is on its way, its caller gone.
#[derive(Debug)]
pub(super) struct Underway {
    pub(super) print: Print,
    pub(super) slot: usize,
    /// The number of the step in which it was made.
    pub(super) step: usize,
}

/// Tells what a move is in a state.
pub(super) struct Teller<'a> {
    pub(super) model: &'a Model,
    pub(super) state: &'a State,
    /// Everyone in the world: first the slots, then store, queue and outside.
    pub(super) lanes: &'a [Lane],
    /// The label of the step that each slot is at.
    pub(super) labels: &'a [Option<String>],
    pub(super) underway: &'a [Underway],
}

impl Step {
    pub(super) fn alone(from: usize, what: String) -> Self {
        Self {
            from,
            to: None,
            label: None,
            what,
            outcome: None,
            weight: Weight::Normal,
            changes: Vec::new(),
            notes: Vec::new(),
            busy: Vec::new(),
        }
    }
}

impl Teller<'_> {
    pub(super) fn tell(&self, choice: Move) -> Step {
        let (store, queue, person) = (self.store(), self.queue(), self.state.person());
        match choice {
            Move::Deliver { message, late } => self.delivery(message, late),
            Move::Answer { slot, call, outcome } => self.answer(slot, call, outcome),
            Move::Crash { slot, in_flight } => self.crash(slot, in_flight),
            Move::EndLease { message } => self.end_of_lease(message),
            Move::Land { write } => self.landing(write),
            Move::Lose { write } => self.losing(write),
            Move::Wait { times } => {
                let span = span(self.model.later_by.saturating_mul(times));
                let what =
                    "nothing else leads anywhere: time passes, and whoever waits for it goes on";
                Step {
                    outcome: Some(format!("the clock has moved on by {span}")),
                    ..Step::alone(store, what.to_owned())
                }
            }
            Move::Duplicate { message } => {
                let name = self.name(message);
                Step::alone(queue, format!("the queue doubles {name}: it is there twice now"))
            }
            Move::PassWindow => {
                let what = "ten years pass: what is kept for a time may go";
                Step::alone(store, what.to_owned())
            }
            Move::Vanish { item } => {
                let mut items = self.state.parts.items.all().iter();
                let found = items.find(|record| hash::key(&record.item.key) == item);
                let name = found.map_or_else(String::new, |found| phrases::item(&found.item.key));
                Step::alone(store, format!("the store drops the {name}: its time is over"))
            }
            Move::Replay { message } => {
                let what = format!("puts dead letter {} back into the queue", self.name(message));
                Step { to: Some((queue, Arrow::Answered)), ..Step::alone(person, what) }
            }
            Move::Discard { message } => Step::alone(
                person,
                format!("decides to discard dead letter {}", self.name(message)),
            ),
            Move::Deploy { site } => {
                Step::alone(person, format!("deploys the next version of {}", self.site(site)))
            }
            Move::Finish { site } => {
                let what = format!("looks for what crashed workers left at {}", self.site(site));
                Step::alone(self.state.finisher(), what)
            }
        }
    }

    fn store(&self) -> usize {
        places(self.state).store
    }

    fn queue(&self) -> usize {
        places(self.state).queue
    }

    fn outside(&self) -> usize {
        places(self.state).outside
    }

    fn actor(&self, slot: usize) -> &str {
        &self.lanes[slot].name
    }

    fn site(&self, site: usize) -> &str {
        self.model.cast.sites[site].name()
    }

    fn queued(&self, message: Print) -> Option<&Queued> {
        let mut all = self.state.parts.queue.all().iter();
        all.find(|queued| queued.name == message).map(|queued| &**queued)
    }

    fn name(&self, message: Print) -> String {
        self.queued(message).map_or_else(String::new, phrases::queued_alone)
    }

    fn delivery(&self, message: Print, late: bool) -> Step {
        let workers = &self.state.slots[..self.state.worker_count()];
        let idle = workers.iter().position(Option::is_none);
        let what = self.queued(message).map_or_else(String::new, |queued| {
            let (number, name) = (queued.receipts + 1, phrases::queued(queued));
            let envelope = tag::plain(&queued.carried.envelope);
            let content = phrases::content(&envelope.kind, &envelope.data);
            match number {
                1 => format!("delivery 1 of {name} to {}: {content}", queued.carried.endpoint),
                _ => {
                    let name = phrases::queued_alone(queued);
                    format!("delivery {number} of {name}: the queue sends it again")
                }
            }
        });
        let later =
            format!("only after a wait: the clock has moved on by {}", span(self.model.later_by));
        let to = idle.map(|slot| (slot, Arrow::Delivery));
        Step { to, outcome: late.then_some(later), ..Step::alone(self.queue(), what) }
    }

    fn crash(&self, slot: usize, in_flight: bool) -> Step {
        let work = self.state.slots[slot].as_ref().map(Slot::message_name).unwrap_or_default();
        let label = self.labels[slot].as_deref();
        let at = label.map(|label| format!(" at {label},")).unwrap_or_default();
        let what = format!("{} crashes{at}{work}", self.actor(slot));
        let outcome =
            in_flight.then(|| "the request it has just made is still on its way".to_owned());
        Step { outcome, ..Step::alone(slot, what) }
    }

    fn end_of_lease(&self, message: Print) -> Step {
        let name = self.name(message);
        let holder = self.queued(message).and_then(|queued| self.state.holder(queued));
        let what = match holder {
            Some(slot) => format!(
                "the lease of {name} ends though {} is still at work: it may be delivered again",
                self.actor(slot)
            ),
            None => {
                format!("the lease of {name} ends, nobody works on it: it may be delivered again")
            }
        };
        Step::alone(self.queue(), what)
    }

    fn landing(&self, write: Print) -> Step {
        let Some(flying) = self.state.flying.iter().find(|flying| flying.print == write) else {
            return Step::alone(self.store(), String::new());
        };
        let place = self.place_of(&flying.call);
        let call = self.request(&flying.call, true);
        let outcome = Some(self.result(&flying.call));
        let to = Some((place, Arrow::Arrives));
        match self.underway.iter().find(|underway| underway.print == write) {
            Some(Underway { slot, step, .. }) => {
                let what = format!(
                    "the request that {} made in step {step} arrives: {call}",
                    self.actor(*slot)
                );
                Step { to, outcome, ..Step::alone(*slot, what) }
            }
            None => {
                let what = format!("a request arrives late: {call}");
                Step { to, outcome, ..Step::alone(place, what) }
            }
        }
    }

    fn losing(&self, write: Print) -> Step {
        let flying = self.state.flying.iter().find(|flying| flying.print == write);
        let call = flying.map_or_else(String::new, |flying| flying.call.describe());
        Step::alone(self.store(), format!("a request that nobody waits for is lost: {call}"))
    }

    fn place_of(&self, call: &Call) -> usize {
        match call {
            Call::Read(_) | Call::List(_) | Call::Write(_) => self.store(),
            Call::Settle(..) | Call::Send(_) => self.queue(),
            Call::Get(_) | Call::Put(..) => self.outside(),
        }
    }

    fn answer(&self, slot: usize, number: u32, outcome: Outcome) -> Step {
        let Some(call) = call_of(self.state, slot, number) else {
            return Step::alone(slot, String::new());
        };
        let arrow = match outcome {
            Outcome::Lost => Arrow::RequestLost,
            Outcome::ReplyLost => Arrow::ReplyLost,
            Outcome::Late => Arrow::Delayed,
            Outcome::Normal
            | Outcome::HandlerFails
            | Outcome::SentBut(_)
            | Outcome::Repeated
            | Outcome::RepeatedAtOnce
            | Outcome::Stale => Arrow::Answered,
        };
        Step {
            to: Some((self.place_of(call), arrow)),
            label: self.labels[slot].clone(),
            outcome: Some(self.outcome(call, self.actor(slot), outcome)),
            ..Step::alone(slot, self.request(call, outcome.arrives()))
        }
    }

    /// What a call asks for. What a batch changes is told by the lines below it.
    fn request(&self, call: &Call, arrives: bool) -> String {
        match call {
            Call::Write(changes) if arrives && self.applies(changes) => {
                phrases::batch_in_short(changes)
            }
            call => call.describe(),
        }
    }

    fn applies(&self, changes: &[Change]) -> bool {
        matches!(self.written(&self.state.parts, changes), Written::Applied(_))
    }

    fn written(&self, parts: &Parts, changes: &[Change]) -> Written {
        let (limits, routes) = (&self.model.cast.store, &self.model.routes);
        parts.clone().write(changes, limits, routes, self.state.now.unix_ms())
    }

    fn outcome(&self, call: &Call, actor: &str, outcome: Outcome) -> String {
        let result = self.result(call);
        match outcome {
            Outcome::Normal => result,
            Outcome::HandlerFails => format!("{result}; then the handler fails"),
            Outcome::Lost if !call.is_write() => "the read fails".to_owned(),
            Outcome::Lost => {
                format!("the request is lost: nothing happens, {actor} gets no answer")
            }
            Outcome::ReplyLost => format!("{result}, but {actor} never hears of it"),
            Outcome::Late => {
                format!("the request is delayed: it has not arrived yet, {actor} gets no answer")
            }
            Outcome::SentBut(lost) => {
                let others = "the others are sent, and confirmed";
                format!("number {} of them is lost, and not answered; {others}", lost + 1)
            }
            Outcome::Repeated => {
                format!("{result}, and a copy of the request is still on its way")
            }
            Outcome::RepeatedAtOnce => {
                let answer = self.second_result(call);
                format!("{result}; a layer below sends it once more, and answers: {answer}")
            }
            Outcome::Stale => format!("STALE, not what is there now: {}", self.stale(call)),
        }
    }

    fn stale(&self, call: &Call) -> String {
        let Call::Read(key) = call else { return String::new() };
        let record = self.state.parts.items.read(key).and_then(|record| record.before.as_deref());
        found(record)
    }

    /// What the places say to a call now.
    fn result(&self, call: &Call) -> String {
        self.result_in(&self.state.parts, call)
    }

    /// What the places say to a call once it has been made.
    fn second_result(&self, call: &Call) -> String {
        let (mut parts, now_ms) = (self.state.parts.clone(), self.state.now.unix_ms());
        match call {
            Call::Write(changes) => {
                parts.write(changes, &self.model.cast.store, &self.model.routes, now_ms);
            }
            Call::Settle(receipt, settlement) => {
                parts.queue.settle(receipt, settlement, now_ms);
            }
            Call::Read(_) | Call::List(_) | Call::Send(_) | Call::Get(_) | Call::Put(..) => {}
        }
        self.result_in(&parts, call)
    }

    fn result_in(&self, parts: &Parts, call: &Call) -> String {
        match call {
            Call::Read(key) => found(parts.items.read(key).map(|record| &**record)),
            Call::List(page) => match parts.items.list(page).len() {
                0 => "nothing there".to_owned(),
                1 => "1 record".to_owned(),
                count => format!("{count} records"),
            },
            Call::Write(changes) => self.result_of_write(parts, changes),
            Call::Settle(receipt, settlement) => {
                let now_ms = self.state.now.unix_ms();
                match parts.queue.clone().settle(receipt, settlement, now_ms) {
                    true => "done".to_owned(),
                    false => "refused: this delivery's lease is over".to_owned(),
                }
            }
            Call::Send(_) => "sent".to_owned(),
            Call::Get(name) => match parts.outside.get(name) {
                Some(value) => format!("found: {}", excerpt(value)),
                None => "not there".to_owned(),
            },
            Call::Put(..) => "done".to_owned(),
        }
    }

    fn result_of_write(&self, parts: &Parts, changes: &[Change]) -> String {
        match self.written(parts, changes) {
            Written::Applied(_) => "applied".to_owned(),
            Written::Refused(_, reason) => format!("refused: {reason}"),
            Written::Conflict(at) => {
                let failing = at.into_iter().filter_map(|at| changes.get(at));
                let reasons: Vec<String> = failing.map(|change| reason(parts, change)).collect();
                format!("CONFLICT, nothing is written: {}", reasons.join("; "))
            }
        }
    }
}

impl Outcome {
    /// Whether the request gets to its place at once.
    fn arrives(self) -> bool {
        !matches!(self, Self::Lost | Self::Late)
    }
}

/// Which condition failed.
fn reason(parts: &Parts, change: &Change) -> String {
    match change {
        Change::Put { key, expect, .. } | Change::Delete { key, expect } => {
            unexpected(parts, key, expect)
        }
        Change::Settle { .. } => "this delivery's lease is over".to_owned(),
        Change::Enqueue(_) => String::new(),
    }
}

fn unexpected(parts: &Parts, key: &ItemKey, expect: &Expect) -> String {
    let name = phrases::item(key);
    match (expect, parts.items.read(key)) {
        (Expect::Version(_), Some(is)) => format!("{name} is at v{} by now", is.number),
        (Expect::Version(_), None) => format!("{name} is gone by now"),
        _ => format!("{name} exists already"),
    }
}

fn span(span: std::time::Duration) -> String {
    let seconds = span.as_secs();
    match (seconds / 86_400, seconds / 3_600) {
        (1, _) => "1 day".to_owned(),
        (days, _) if days > 0 => format!("{days} days"),
        (_, hours) if hours > 0 => format!("{hours} h"),
        _ => format!("{seconds} s"),
    }
}

impl Slot {
    fn message_name(&self) -> String {
        let message = self.node.start.message();
        message
            .map(|message| format!(" at work on {}", phrases::carried(message)))
            .unwrap_or_default()
    }
}

/// The call that an answer is for.
pub(super) fn call_of(state: &State, slot: usize, number: u32) -> Option<&Call> {
    let task = state.slots.get(slot)?.as_ref()?;
    let pending = task.node.pending.iter().find(|pending| pending.number == number)?;
    Some(&pending.call)
}

fn found(record: Option<&Record>) -> String {
    let Some(record) = record else { return "nothing there".to_owned() };
    match tag::state_in(&record.item.value) {
        Some(state) => format!("found v{}: {}", record.number, excerpt(&state)),
        None => format!("found v{}", record.number),
    }
}
