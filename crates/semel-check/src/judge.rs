//! The seven properties, and the user's own, judged on one state.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use semel_core::broker::{DeadReason, Destination};
use semel_core::envelope::TOKEN;
use semel_core::store::Space;
use semel_core::{Endpoint, Property};

use crate::model::Model;
use crate::monitor::{Visible, Wrote};
use crate::parts::{Carried, DeadReasonKey, Fate, Queued, Record};
use crate::quiet;
use crate::state::State;
use crate::tag::{Declared, Mark, WroteObject};
use crate::task::call::excerpt;
use crate::task::port;
use crate::trace::phrases;
use crate::view::{View, When};

/// What was violated.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Breach {
    /// One of the seven properties.
    Property(Property),
    /// An invariant of the user, by its name.
    Invariant(String),
    /// An invariant of the user panicked.
    InvariantPanicked(String),
    /// A condition of the user held in no state.
    NeverHappened(String),
    /// The world goes round and round, and no fair order of moves ends it.
    Livelock,
    /// A worker stopped, panicked, or waits for something that is not in the world.
    Halted,
    /// The code under test did not do the same twice.
    Nondeterminism,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Property(property) => write!(f, "{property}"),
            Self::Invariant(name) => write!(f, "the invariant \"{name}\""),
            Self::InvariantPanicked(name) => write!(f, "the invariant \"{name}\" panicked"),
            Self::NeverHappened(name) => write!(f, "\"{name}\" never happened"),
            Self::Livelock => f.write_str("the world never comes to rest"),
            Self::Halted => f.write_str("a worker cannot go on"),
            Self::Nondeterminism => f.write_str("the code does not do the same twice"),
        }
    }
}

/// What was violated, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// What was violated.
    pub breach: Breach,
    /// How, as a sentence or two.
    pub detail: String,
}

impl Violation {
    fn of(property: Property, detail: String) -> Self {
        Self { breach: Breach::Property(property), detail }
    }
}

/// What the durable states say of each message, sorted by endpoint and message: the marks it has,
/// each with how often the same state has one. Several items may hold the same history, as the
/// events of a stream do.
struct Marks<'a>(Vec<(&'a Mark, usize)>);

impl<'a> Marks<'a> {
    fn in_state(state: &'a State) -> Self {
        let trails = state.parts.items.all().iter().filter_map(|record| record.trail.as_ref());
        let mut marks = Vec::new();
        for trail in trails {
            for mark in trail.marks() {
                let same = trail.marks().iter().filter(|other| name(other) == name(mark));
                marks.push((mark, same.count()));
            }
        }
        marks.sort_by_key(|(mark, _)| name(mark));
        Self(marks)
    }

    /// The marks of each message that has any.
    fn by_message(&self) -> impl Iterator<Item = (&'a str, &'a str, &[(&'a Mark, usize)])> {
        let groups = self.0.chunk_by(|(one, _), (other, _)| name(one) == name(other));
        groups.map(|marks| {
            let (endpoint, message) = name(marks[0].0);
            (endpoint, message, marks)
        })
    }

    /// The marks of one message.
    fn of(&self, endpoint: &str, message: &str) -> &[(&'a Mark, usize)] {
        let wanted = (endpoint, message);
        let from = self.0.partition_point(|(mark, _)| name(mark) < wanted);
        let to = self.0.partition_point(|(mark, _)| name(mark) <= wanted);
        &self.0[from..to]
    }

    fn has(&self, endpoint: &str, message: &str) -> bool {
        !self.of(endpoint, message).is_empty()
    }
}

fn name(mark: &Mark) -> (&str, &str) {
    (&mark.endpoint, &mark.message)
}

/// Judges what must hold in every state.
pub(crate) fn always(model: &Model, state: &State) -> Option<Violation> {
    let marks = Marks::in_state(state);
    let judges: [fn(&State, &Marks<'_>) -> Option<Violation>; 5] =
        [changed_once, seen_once, justified, objects_fit, no_dead_letter_was_processed];
    // One property that is not judged must not hide another.
    let all = judges.iter().filter_map(|judge| judge(state, &marks));
    first_of(model, all).or_else(|| of_user(model, state, When::Always))
}

/// The first violation of what is judged; the others in the same state are named with it.
fn first_of(model: &Model, all: impl Iterator<Item = Violation>) -> Option<Violation> {
    let mut judged = all.filter(|violation| is_judged(model, violation));
    let mut first = judged.next()?;
    let mut others: Vec<String> = judged.map(|other| other.breach.to_string()).collect();
    others.retain(|other| *other != first.breach.to_string());
    others.dedup();
    if !others.is_empty() {
        first.detail = format!("{} Violated here as well: {}.", first.detail, others.join(", "));
    }
    Some(first)
}

/// Which conditions of the user hold, and the first one that panicked.
pub(crate) fn conditions(model: &Model, state: &State) -> (Arc<[bool]>, Option<Violation>) {
    let met = model.conditions.iter().map(|condition| (condition, condition.is_met(state)));
    let (mut held, mut panicked) = (Vec::with_capacity(model.conditions.len()), None);
    for (condition, met) in met {
        held.push(met == Ok(true));
        if let Err(text) = met {
            panicked = panicked.or(Some(panic_in(&condition.name, &text)));
        }
    }
    (held.into(), panicked)
}

fn panic_in(name: &str, text: &str) -> Violation {
    let breach = Breach::InvariantPanicked(name.to_owned());
    Violation { breach, detail: format!("it panicked: {text}") }
}

fn is_judged(model: &Model, violation: &Violation) -> bool {
    match violation.breach {
        Breach::Property(property) => model.judges(property),
        _ => true,
    }
}

fn changed_once(state: &State, marks: &Marks<'_>) -> Option<Violation> {
    for (endpoint, message, of_message) in marks.by_message() {
        let name = || phrases::message(message);
        let times = of_message.iter().map(|(_, times)| *times).max().unwrap_or(0);
        let first = &of_message[0].0.entity;
        let other = of_message.iter().find(|(mark, _)| mark.entity != *first);
        let detail = if times > 1 {
            format!("message {} changed its state at {endpoint} {times} times.", name())
        } else if let Some((mark, _)) = other {
            let (name, other) = (name(), &mark.entity);
            format!("message {name} changed the states of both {first} and {other} at {endpoint}.")
        } else if state.monitor.is_discarded(endpoint, message) {
            format!("message {} was discarded, and processed at {endpoint} all the same.", name())
        } else {
            continue;
        };
        return Some(Violation::of(Property::AtMostOneStateChange, detail));
    }
    None
}

fn seen_once(state: &State, _: &Marks<'_>) -> Option<Violation> {
    // Few things are visible in a world: looking through them is quicker than a map of them.
    let all = state.monitor.visible();
    for (at, visible) in all.iter().enumerate() {
        let before = &all[..at];
        if let Some(first) = before.iter().rfind(|seen| is_same_effect(seen, visible))
            && (first.identity, first.content) != (visible.identity, visible.content)
        {
            let two = if first.identity == visible.identity { "contents" } else { "identities" };
            let (what, one, other) = (effect(visible), describe(first), describe(visible));
            let detail = format!("{what} is visible with two {two}: {one}, and {other}.");
            return Some(Violation::of(Property::AtMostOneEffect, detail));
        }
        let is_other =
            |seen: &&Arc<Visible>| seen.identity == visible.identity && seen.of != visible.of;
        if let Some(first) = before.iter().find(is_other) {
            let (one, other) = (effect(first), effect(visible));
            let detail = format!(
                "{one} and {other} are visible under one identity, so that a receiver takes them \
                 for one: {}, and {}.",
                describe(first),
                describe(visible)
            );
            return Some(Violation::of(Property::AtMostOneEffect, detail));
        }
    }
    let all = state.monitor.wrote();
    for (at, wrote) in all.iter().enumerate() {
        let is_it = |before: &&Wrote| {
            (&before.object.name, &before.message, &before.endpoint)
                == (&wrote.object.name, &wrote.message, &wrote.endpoint)
        };
        if let Some(before) = all[..at].iter().find(is_it) {
            let detail = format!(
                "attempts on message {} at {} wrote different contents to the object {}: first \
                 \"{}\", then \"{}\".",
                phrases::message(&wrote.message),
                wrote.endpoint,
                wrote.object.name,
                before.text,
                wrote.text
            );
            return Some(Violation::of(Property::AtMostOneEffect, detail));
        }
    }
    None
}

/// Whether two visible messages are one effect. What is published may be sent to each subscriber by
/// itself: then it is one effect for each.
fn is_same_effect(one: &Visible, other: &Visible) -> bool {
    let is_same_receiver = match (&one.sent.to, &other.sent.to) {
        (Destination::Endpoint(one), Destination::Endpoint(other)) => one == other,
        _ => true,
    };
    one.of == other.of && (is_same_receiver || !one.of.is_published)
}

fn justified(state: &State, marks: &Marks<'_>) -> Option<Violation> {
    for visible in state.monitor.visible() {
        let of = &visible.of;
        // The words are for people: they are looked for when there is something to say.
        let told = || (describe(visible), phrases::message(&of.message));
        let committed = marks.of(&of.endpoint, &of.message);
        if committed.is_empty() {
            let (what, message) = told();
            let detail = format!(
                "{what} is visible, but no durable state at {} stems from message {message}, whose \
                 effect it is.",
                of.endpoint
            );
            return Some(Violation::of(Property::NoGhostEffects, detail));
        }
        let mut declared = committed.iter().filter_map(|(mark, _)| mark.effects.get(of.position));
        if !declared.clone().any(|declared| declared.content == visible.content) {
            let (what, message) = told();
            let words = declared.find_map(|declared| port::words_for(declared.content));
            let decided = words.unwrap_or_else(|| "not to send it".to_owned());
            let detail = format!(
                "{what} is visible, but the attempt on message {message} that changed the state at \
                 {} decided: {decided}. Another attempt on the same message decided otherwise.",
                of.endpoint
            );
            return Some(Violation::of(Property::ConsistentStateAndEffects, detail));
        }
    }
    None
}

/// An object that a committed attempt wrote is not as another attempt on its message wrote it.
fn objects_fit(state: &State, marks: &Marks<'_>) -> Option<Violation> {
    let of_loser = left_by_losers(state, marks).find(|wrote| {
        let mut committed = marks.of(&wrote.endpoint, &wrote.message).iter();
        committed.any(|(mark, _)| mark.objects.iter().any(|own| own.name == wrote.object.name))
    })?;
    let (message, endpoint) = (phrases::message(&of_loser.message), &of_loser.endpoint);
    let detail = format!(
        "the object {} is as an attempt on message {message} wrote it whose state is not the one \
         that is durable at {endpoint}.",
        of_loser.object.name
    );
    Some(Violation::of(Property::ConsistentStateAndEffects, detail))
}

/// Objects that are as some attempt wrote them, and no committed attempt did.
fn left_by_losers<'a>(state: &'a State, marks: &'a Marks<'_>) -> impl Iterator<Item = &'a Wrote> {
    let is_there = |object: &WroteObject| {
        let value = state.parts.outside.get(&object.name);
        value.is_some_and(|value| WroteObject::new(&object.name, value) == *object)
    };
    let of_committed =
        |object: &WroteObject| marks.0.iter().any(|(mark, _)| mark.objects.contains(object));
    let all = state.monitor.wrote().iter();
    all.filter(move |wrote| is_there(&wrote.object) && !of_committed(&wrote.object))
}

/// An effect by its place among those of its message.
fn effect(visible: &Visible) -> String {
    let of = &visible.of;
    let message = phrases::message(&of.message);
    format!("effect {} of message {message} at {}", of.position + 1, of.endpoint)
}

fn no_dead_letter_was_processed(state: &State, _: &Marks<'_>) -> Option<Violation> {
    let (endpoint, message) = state.monitor.misparked().first()?;
    let message = phrases::message(message);
    let detail = format!(
        "message {message} was dead-lettered at {endpoint}, though an attempt on it was committed."
    );
    Some(Violation::of(Property::NoLostMessages, detail))
}

fn describe(visible: &Visible) -> String {
    phrases::outgoing(&visible.sent)
}

/// Judges a state in which faults have stopped and nothing is left to do.
pub(crate) fn finally(model: &Model, state: &State) -> Option<Violation> {
    let marks = Marks::in_state(state);
    let all = [
        lost_message(model, state, &marks),
        lost_effect(model, state, &marks),
        garbage(model, state),
        left_outside(state, &marks),
    ];
    first_of(model, all.into_iter().flatten()).or_else(|| of_user(model, state, When::Finally))
}

/// Whether a message has changed its state.
pub(crate) fn is_processed(state: &State, endpoint: &str, message: &str) -> bool {
    Marks::in_state(state).has(endpoint, message)
}

/// Every message that must have had its state change: those sent from outside, and all that is
/// visible and goes to an endpoint of this world.
fn expected(model: &Model, state: &State) -> Vec<(String, String)> {
    let visible = state.monitor.visible().iter().map(|visible| &visible.sent);
    let mut names = Vec::new();
    for outgoing in model.messages.iter().chain(visible) {
        for endpoint in model.routes.receivers(outgoing) {
            if model.site(endpoint).is_some() {
                let message = semel_core::protocols::message_key(&outgoing.envelope);
                names.push((endpoint.to_owned(), message));
            }
        }
    }
    names
}

fn lost_message(model: &Model, state: &State, marks: &Marks<'_>) -> Option<Violation> {
    for (endpoint, message) in expected(model, state) {
        if marks.has(&endpoint, &message) || state.monitor.is_unwanted(&endpoint, &message) {
            continue;
        }
        let is_dead = |queued: &&Arc<Queued>| {
            matches!(queued.fate, Fate::Dead { .. })
                && queued.carried.endpoint == endpoint
                && queued.carried.identity == message
        };
        let mut dead = state.parts.queue.all().iter().filter(is_dead);
        if dead.clone().any(|queued| is_excused(model, state, queued)) {
            continue;
        }
        let fate = match dead.next().map(|queued| &queued.fate) {
            Some(Fate::Dead { reason: DeadReasonKey(reason), .. }) => {
                format!("it is a dead letter ({reason}), and its handler is not to blame")
            }
            _ => "it is in no queue and no state".to_owned(),
        };
        let message = phrases::message(&message);
        let detail = format!("message {message} never changed its state at {endpoint}: {fate}.");
        return Some(Violation::of(Property::NoLostMessages, detail));
    }
    None
}

/// Whether a dead letter has a good reason to be one.
fn is_excused(model: &Model, state: &State, queued: &Queued) -> bool {
    let Fate::Dead { reason: DeadReasonKey(reason), .. } = &queued.fate else { return false };
    let (endpoint, message) = (&queued.carried.endpoint, &queued.carried.identity);
    let versions =
        || model.site(endpoint).into_iter().flat_map(|at| &model.cast.sites[at].versions);
    match reason {
        DeadReason::HandlerFailed => state.monitor.has_failed(endpoint, message),
        // What a handler can read is decodable.
        DeadReason::Undecodable => versions().any(|version| !is_decodable(version, queued)),
        // Worker after worker died with it: its handler is taken to be what ends them.
        DeadReason::Abandoned => {
            versions().any(|version| queued.deliveries > version.chosen_settings().abandoned_max)
        }
        _ => false,
    }
}

fn is_decodable(endpoint: &Endpoint, queued: &Queued) -> bool {
    let envelope = &queued.carried.envelope;
    let handler = endpoint.handlers().get(&*envelope.kind);
    handler.is_some_and(|handler| handler.entity_key(envelope).is_ok())
}

fn lost_effect(model: &Model, state: &State, marks: &Marks<'_>) -> Option<Violation> {
    for (endpoint, message, of_message) in marks.by_message() {
        let effects = of_message.iter().flat_map(|(mark, _)| mark.effects.iter().enumerate());
        for (position, declared) in effects {
            let is_it = |visible: &&Arc<Visible>| {
                visible.of.endpoint == *endpoint
                    && visible.of.message == *message
                    && visible.of.position == position
                    && visible.content == declared.content
            };
            let seen = state.monitor.visible().iter().filter(is_it);
            if is_out(model, declared, seen) {
                continue;
            }
            let words = port::words_for(declared.content);
            let what = words.map_or_else(String::new, |words| format!(" ({words})"));
            let (name, number) = (phrases::message(message), position + 1);
            let detail = format!(
                "effect {number} of message {name}{what} is committed with the state at {endpoint}, \
                 but never becomes visible."
            );
            return Some(Violation::of(Property::NoLostEffects, detail));
        }
    }
    None
}

/// Whether an effect is visible to all it is for.
fn is_out<'a>(
    model: &Model,
    declared: &Declared,
    seen: impl Iterator<Item = &'a Arc<Visible>> + Clone,
) -> bool {
    let Some(kind) = &declared.published else { return seen.clone().next().is_some() };
    let goes_to = |to: &Destination| seen.clone().any(|visible| visible.sent.to == *to);
    let subscribers = model.routes.subscribers.iter().filter(|(subscribed, _)| subscribed == kind);
    let mut receivers = subscribers.map(|(_, name)| Destination::Endpoint(name.clone()));
    goes_to(&Destination::Subscribers) || receivers.all(|to| goes_to(&to))
}

/// What attempts wrote outside that were not committed.
fn left_outside(state: &State, marks: &Marks<'_>) -> Option<Violation> {
    let left = left_by_losers(state, marks).next()?;
    let (object, message) = (&left.object.name, phrases::message(&left.message));
    let committed = match marks.has(&left.endpoint, &left.message) {
        true => format!("the attempt on message {message} that wrote it is not the committed one"),
        false => format!("no attempt on message {message}, for which it was written, is committed"),
    };
    let detail = format!("the object {object} remains outside, though {committed}.");
    Some(Violation::of(Property::NoGarbage, detail))
}

fn garbage(model: &Model, state: &State) -> Option<Violation> {
    let remains = |record: &&Arc<Record>| {
        let space = record.item.key.space;
        record.kept_until_ms.is_none()
            && space != Space::Entity
            && !model.keeps.contains(&space)
            && !is_given(model, record)
            && !is_of_dead_letter(state, record)
    };
    let items = state.parts.items.all();
    let detail = match items.iter().find(remains) {
        Some(left) => {
            let name = phrases::item(&left.item.key);
            format!("the item {name} remains for good, though all attempts have ended.")
        }
        None => {
            let max = model.bookkeeping_max?;
            let (bytes, left) = items.iter().find_map(|record| {
                let bytes = crate::tag::bytes_beside_state(&record.item.value)?;
                (bytes > max).then_some((bytes, record))
            })?;
            let name = phrases::item(&left.item.key);
            format!("{name} holds {bytes} bytes beside its state, and the bound is {max}.")
        }
    };
    Some(Violation::of(Property::NoGarbage, detail))
}

/// Whether an item is the token of a message that a person may still replay: that is in flight.
fn is_of_dead_letter(state: &State, record: &Record) -> bool {
    let key = &record.item.key;
    let has_it = |queued: &Arc<Queued>| {
        let Carried { endpoint, envelope, .. } = &*queued.carried;
        let token = envelope.text(TOKEN).and_then(|token| token.rsplit(' ').next());
        matches!(queued.fate, Fate::Dead { .. })
            && *endpoint == key.partition
            && token == Some(&key.key)
    };
    key.space == Space::Token && state.parts.queue.all().iter().any(has_it)
}

/// Whether an item is as the world began with it.
fn is_given(model: &Model, record: &Record) -> bool {
    let item = &record.item;
    let is_it = |(key, value): &(_, _)| *key == item.key && *value == item.value;
    record.number == 1 && model.items.iter().any(is_it)
}

fn of_user(model: &Model, state: &State, when: When) -> Option<Violation> {
    let view = View(state);
    for invariant in model.invariants.iter().filter(|invariant| invariant.when == when) {
        let holds = std::panic::catch_unwind(AssertUnwindSafe(|| (invariant.holds)(&view)));
        match holds {
            Ok(true) => {}
            Ok(false) => {
                let when = match when {
                    When::Always => "it does not hold in this state",
                    When::Finally => "it does not hold at this end, where nothing is left to do",
                };
                let detail = format!("{when}: {}", sights(&view));
                return Some(Violation {
                    breach: Breach::Invariant(invariant.name.clone()),
                    detail,
                });
            }
            Err(panic) => return Some(panic_in(&invariant.name, &quiet::told(&*panic))),
        }
    }
    None
}

/// What an invariant can look at, in words.
fn sights(view: &View<'_>) -> String {
    let entities = view.entity_texts().into_iter().map(|(name, state)| format!("{name} = {state}"));
    let mut entities: Vec<String> = entities.collect();
    if entities.is_empty() {
        entities.push("no entity has a state".to_owned());
    }
    let state = view.0;
    let mut sent: Vec<String> =
        state.monitor.visible().iter().map(|visible| describe(visible)).collect();
    sent.sort();
    let dead = state.parts.queue.all().iter().filter_map(|queued| match &queued.fate {
        Fate::Dead { reason, .. } => {
            let name = phrases::queued(queued);
            Some(format!("{name} at {} ({})", queued.carried.endpoint, reason.0))
        }
        _ => None,
    });
    let objects = state.parts.outside.all().iter();
    let objects = objects.map(|(name, value)| format!("{name} = {}", excerpt(value)));
    let lists = [
        ("", entities),
        ("sent: ", sent),
        ("dead letters: ", dead.collect()),
        ("objects: ", objects.collect()),
    ];
    let lists = lists.iter().filter(|(_, list)| !list.is_empty());
    let lists = lists.map(|(title, list)| format!("{title}{}", list.join(", ")));
    lists.collect::<Vec<_>>().join("; ") + "."
}
