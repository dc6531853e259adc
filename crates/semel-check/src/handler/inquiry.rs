//! The questions, asked at every state that some of the messages lead to.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use semel_core::context::Effect;
use semel_core::handler::Handler;
use semel_core::{Envelope, Timestamp};

use super::alone::{Attempt, Outcome, Place};
use super::{Answer, HandlerReport, words};
use crate::watch::Watch;

pub(super) struct Inquiry {
    handler: Arc<dyn Handler>,
    messages: Vec<Envelope>,
    /// Where the answers go; each is a yes until it is found to be none.
    report: Arc<Mutex<HandlerReport>>,
    watch: Watch,
    has_sent_twice: bool,
    has_swapped: bool,
}

/// What some of the messages led to.
#[derive(Clone, Default)]
struct Reached {
    place: Place,
    /// The messages that were processed, and what each declared.
    way: Vec<(usize, Vec<Effect>)>,
    failed: Vec<usize>,
    story: Vec<String>,
}

impl Reached {
    fn has_met(&self, message: usize) -> bool {
        self.way.iter().any(|(known, _)| *known == message)
    }

    /// All that tells it from others, except for where it began.
    fn key(&self) -> String {
        format!("{:?}", (&self.place.state, self.place.outside.all(), &self.way))
    }
}

impl Inquiry {
    pub(super) fn new(
        handler: Arc<dyn Handler>,
        messages: Vec<Envelope>,
        report: Arc<Mutex<HandlerReport>>,
        watch: Watch,
    ) -> Self {
        Self { handler, messages, report, watch, has_sent_twice: false, has_swapped: false }
    }

    /// Goes through all states that some of the messages lead to, nearest first.
    pub(super) fn ask(mut self, states: Vec<Option<Bytes>>, depth: usize) {
        let begin =
            |state| Reached { place: Place { state, ..Place::default() }, ..Reached::default() };
        let mut level: Vec<Reached> = std::iter::once(None).chain(states).map(begin).collect();
        let mut length = 0;
        while !level.is_empty() {
            let mut next = BTreeMap::new();
            for reached in &level {
                self.duplicates(reached);
                // One more than precede: so that the last of them is sent twice as well.
                if length <= depth {
                    self.go_on(reached, &mut next);
                }
                if !self.report().is_deterministic.is_yes() {
                    return self.conclude();
                }
            }
            level = next.into_values().collect();
            length += 1;
        }
        self.conclude();
    }

    /// Takes back each yes that rests on nothing.
    fn conclude(self) {
        let mut report = self.report();
        if !report.is_deterministic.is_yes() {
            let reason = "it is not deterministic";
            let [_, others @ ..] = report.answers();
            others.into_iter().for_each(|answer| *answer = Answer::Unknown(reason.to_owned()));
        }
        if report.failures == report.runs {
            let first = report.first_failure.as_deref().unwrap_or_default();
            let reason = format!("it failed each time it was tried, first with: {first}");
            report.answers().into_iter().for_each(|answer| answer.doubt(&reason));
        }
        if !self.has_sent_twice {
            report.is_idempotent.doubt("no message was processed, so that none was sent twice");
        }
        if self.messages.len() < 2 {
            report.is_free_of_order.doubt("it needs two messages; add another with `message`");
        } else if !self.has_swapped {
            report.is_free_of_order.doubt("it failed for all messages that could be swapped");
        }
    }

    fn go_on(&mut self, reached: &Reached, next: &mut BTreeMap<String, Reached>) {
        let left: Vec<usize> =
            (0..self.messages.len()).filter(|message| !reached.has_met(*message)).collect();
        for (at, message) in left.iter().enumerate() {
            self.same_again(reached, *message);
            for other in &left[at + 1..] {
                self.either_order(reached, *message, *other);
            }
            let further = self.after(reached, *message);
            if further.failed.is_empty() {
                next.entry(further.key()).or_insert(further);
            }
        }
    }

    fn after(&mut self, reached: &Reached, message: usize) -> Reached {
        let outcome = self.run(&reached.place, message, crate::epoch());
        let mut further = reached.clone();
        further.story.push(self.tell(&reached.place, message, &outcome));
        if outcome.failures.is_empty() {
            further.way.push((message, outcome.effects));
        } else {
            further.failed.push(message);
        }
        further.place = outcome.place;
        further
    }

    fn same_again(&mut self, reached: &Reached, message: usize) {
        let first = self.run(&reached.place, message, crate::epoch());
        if !self.report().is_deterministic.is_yes() {
            return;
        }
        let again = "the same once more";
        if let Some(story) = self.differs(reached, message, &first, crate::epoch(), again) {
            self.report().is_deterministic = Answer::No(story);
            return;
        }
        if !self.report().is_timeless.is_yes() {
            return;
        }
        if let Some(story) = self.differs(reached, message, &first, a_day_later(), "a day later") {
            self.report().is_timeless = Answer::No(story);
        }
    }

    /// The story of another run that does not do what the first did.
    fn differs(
        &mut self,
        reached: &Reached,
        message: usize,
        first: &Outcome,
        now: Timestamp,
        when: &str,
    ) -> Option<Vec<String>> {
        let second = self.run(&reached.place, message, now);
        if second == *first {
            return None;
        }
        let mut story = reached.story.clone();
        story.push(self.tell(&reached.place, message, first));
        story.push(format!("{when}: {}", self.tell(&reached.place, message, &second)));
        story.extend(words::difference(first, &second));
        Some(story)
    }

    /// Sends each message that was processed once more, at once and later.
    fn duplicates(&mut self, reached: &Reached) {
        for (message, effects) in &reached.way {
            let effects = effects.clone();
            let once = Outcome { place: reached.place.clone(), effects, failures: Vec::new() };
            for (now, when) in
                [(crate::epoch(), "a duplicate"), (a_day_later(), "a duplicate a day later")]
            {
                if !self.report().is_idempotent.is_yes() {
                    return;
                }
                self.has_sent_twice = true;
                let twice = self.run(&reached.place, *message, now);
                if twice != once {
                    let mut story = reached.story.clone();
                    story.push(format!("{when}: {}", self.tell(&reached.place, *message, &twice)));
                    story.extend(words::difference(&once, &twice));
                    self.report().is_idempotent = Answer::No(story);
                }
            }
        }
    }

    fn either_order(&mut self, reached: &Reached, one: usize, other: usize) {
        if !self.report().is_free_of_order.is_yes() {
            return;
        }
        let mut both = |first: usize, second: usize| {
            let after = self.after(reached, first);
            self.after(&after, second)
        };
        let (forth, back) = (both(one, other), both(other, one));
        let is_processed = |end: &Reached| end.way.len() > reached.way.len();
        self.has_swapped |= is_processed(&forth) || is_processed(&back);
        let forth_outcome = self.outcome(reached, &forth);
        let back_outcome = self.outcome(reached, &back);
        // Two messages that trade their effects end alike, and each was told something else.
        if forth_outcome != back_outcome || declared(reached, &forth) != declared(reached, &back) {
            let mut story = forth.story;
            story.push("but in the other order:".to_owned());
            story.extend(back.story);
            story.extend(words::difference(&forth_outcome, &back_outcome));
            self.report().is_free_of_order = Answer::No(story);
        }
    }

    /// What has come of the messages since `before`, in whatever order it came.
    fn outcome(&self, before: &Reached, end: &Reached) -> Outcome {
        let of_each = declared(before, end).into_iter();
        let effects = of_each.flat_map(|(_, effects)| effects.clone()).collect();
        let failed = end.failed.iter().map(|at| &self.messages[*at]);
        let mut failures: Vec<String> =
            failed.map(|message| format!("{} {}", message.kind, message.id)).collect();
        failures.sort();
        Outcome { place: end.place.clone(), effects, failures }
    }

    fn run(&mut self, place: &Place, message: usize, now: Timestamp) -> Outcome {
        let envelope = self.messages[message].clone();
        let attempt = Arc::new(Attempt { place: place.clone(), envelope, now });
        self.watch.begin(&attempt);
        self.report().runs += 1;
        let outcome = attempt.run(&*self.handler);
        self.watch.end();
        if let Some(reason) = outcome.failures.first() {
            let mut report = self.report();
            report.failures += 1;
            report.first_failure.get_or_insert_with(|| reason.clone());
        }
        outcome
    }

    fn tell(&self, place: &Place, message: usize, outcome: &Outcome) -> String {
        words::told(place, &self.messages[message], outcome)
    }

    fn report(&self) -> MutexGuard<'_, HandlerReport> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What each message since `before` has declared, whichever came first.
fn declared<'a>(before: &Reached, end: &'a Reached) -> Vec<&'a (usize, Vec<Effect>)> {
    let mut declared: Vec<_> = end.way.iter().skip(before.way.len()).collect();
    declared.sort_by_key(|(message, _)| *message);
    declared
}

fn a_day_later() -> Timestamp {
    crate::epoch().after(Duration::from_secs(86_400))
}
