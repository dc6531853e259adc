//! What a reader is told of runs: each in a line, and what is different where lines are cut short.

use std::collections::BTreeMap;

use semel_core::Envelope;
use semel_core::context::{Effect, MessageEffect};
use serde_json::Value;

use super::alone::{Outcome, Place};
use crate::task::call::excerpt;
use crate::trace::phrases;

/// How many differences are told.
const TOLD_MAX: usize = 4;

/// How much of what two texts have in common is told before they part.
const COMMON_MAX: usize = 20;

/// What a run begins with.
pub(super) fn given(place: &Place, envelope: &Envelope) -> String {
    let before = place.state.as_ref().map_or_else(|| "no state".to_owned(), |state| excerpt(state));
    let Envelope { kind, id, data, .. } = envelope;
    // Its data, as far as it is told, may be that of another message.
    let name = if is_cut(data) { format!("{kind} {id}") } else { kind.clone() };
    format!("{before} + {name} {}", excerpt(data))
}

/// What a run made of it.
pub(super) fn told(place: &Place, envelope: &Envelope, outcome: &Outcome) -> String {
    let mut told = given(place, envelope);
    match (outcome.failures.first(), &outcome.place.state) {
        (Some(reason), _) => told.push_str(&format!(" → fails: {reason}")),
        (None, after) => told.push_str(&became(place, after.as_deref().unwrap_or_default())),
    }
    for effect in &outcome.effects {
        if let Effect::Message(effect) = effect {
            let (content, posting) = (phrases::content(effect.kind, &effect.data), posting(effect));
            told.push_str(&format!("; sends {content} {posting}"));
        }
    }
    told + &written(place, &outcome.place)
}

fn became(place: &Place, after: &[u8]) -> String {
    let Some(before) = place.state.as_deref().filter(|before| is_cut(before) || is_cut(after))
    else {
        return format!(" → {}", excerpt(after));
    };
    let facts = |state| {
        let mut facts = Facts::default();
        facts.add("", state);
        facts
    };
    match facts(before).against(&facts(after), " → ") {
        changes if changes.is_empty() => " changes nothing".to_owned(),
        changes => format!(" changes {}", changes.join(", ")),
    }
}

/// All of a message that is neither its type nor its data.
fn posting(effect: &MessageEffect) -> String {
    let mut posting = format!("to {}", phrases::receiver(&effect.to));
    if let Some(subject) = &effect.subject {
        posting.push_str(&format!(" about {subject}"));
    }
    if !effect.delay.is_zero() {
        posting.push_str(&format!(" in {:?}", effect.delay));
    }
    posting
}

/// The objects that are not what they were.
fn written(before: &Place, after: &Place) -> String {
    let is_new = |(name, value): &&(String, _)| before.outside.get(name) != Some(value);
    let written = after.outside.all().iter().filter(is_new);
    let is_gone = |(name, _): &&(String, _)| after.outside.get(name).is_none();
    let gone = before.outside.all().iter().filter(is_gone);
    written
        .map(|(name, value)| format!("; puts object {name} = {}", excerpt(value)))
        .chain(gone.map(|(name, _)| format!("; deletes object {name}")))
        .collect()
}

/// In what two outcomes differ; nothing where the lines about them show it.
pub(super) fn difference(one: &Outcome, other: &Outcome) -> Option<String> {
    let (one, other) = (Facts::of(one), Facts::of(other));
    let differences = one.against(&other, " against ");
    match differences.len() {
        0 => Some("the difference: the same values, written in another order or form".to_owned()),
        _ if !one.is_cut_against(&other) => None,
        _ => Some(format!("the difference: {}", differences.join(", "))),
    }
}

fn is_cut(bytes: &[u8]) -> bool {
    excerpt(bytes).as_bytes() != bytes
}

/// What can be different, by name.
#[derive(Default)]
struct Facts(BTreeMap<String, Fact>);

#[derive(PartialEq)]
struct Fact {
    text: String,
    /// Whether the line about the run does not show it.
    is_cut: bool,
}

impl Facts {
    fn of(outcome: &Outcome) -> Self {
        let mut facts = Self::default();
        if let Some(state) = &outcome.place.state {
            facts.add("", state);
        }
        for (name, value) in outcome.place.outside.all() {
            facts.add(&format!("object {name}"), value);
        }
        for (at, effect) in outcome.effects.iter().enumerate() {
            if let Effect::Message(effect) = effect {
                facts.add_message(&format!("message {}", at + 1), effect);
            }
        }
        if !outcome.failures.is_empty() {
            facts.note("failure".to_owned(), outcome.failures.join(", "), false);
        }
        facts
    }

    fn add(&mut self, name: &str, bytes: &[u8]) {
        let is_cut = is_cut(bytes);
        match serde_json::from_slice(bytes) {
            Ok(value) => self.add_json(name, &value, is_cut),
            Err(_) => self.note(name.to_owned(), String::from_utf8_lossy(bytes).into(), is_cut),
        }
    }

    fn add_json(&mut self, name: &str, value: &Value, is_cut: bool) {
        match value {
            Value::Object(fields) if !fields.is_empty() => {
                for (field, value) in fields {
                    let dot = if name.is_empty() { "" } else { "." };
                    self.add_json(&format!("{name}{dot}{field}"), value, is_cut);
                }
            }
            Value::Array(values) if !values.is_empty() => {
                for (at, value) in values.iter().enumerate() {
                    self.add_json(&format!("{name}[{at}]"), value, is_cut);
                }
            }
            leaf => self.note(name.to_owned(), leaf.to_string(), is_cut),
        }
    }

    fn add_message(&mut self, name: &str, effect: &MessageEffect) {
        self.note(name.to_owned(), format!("{} {}", effect.kind, posting(effect)), false);
        self.add(&format!("data of {name}"), &effect.data);
    }

    fn note(&mut self, name: String, text: String, is_cut: bool) {
        let name = if name.is_empty() { "the state".to_owned() } else { name };
        self.0.insert(name, Fact { text, is_cut });
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|fact| fact.text.as_str())
    }

    fn differing<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = &'a str> {
        let new = other.0.keys().filter(|name| !self.0.contains_key(*name));
        let names = self.0.keys().chain(new).map(String::as_str);
        names.filter(|name| self.text(name) != other.text(name))
    }

    fn is_cut_against(&self, other: &Self) -> bool {
        let is_cut = |facts: &Self, name: &str| facts.0.get(name).is_some_and(|fact| fact.is_cut);
        self.differing(other).any(|name| is_cut(self, name) || is_cut(other, name))
    }

    /// What is different, the first few by name.
    fn against(&self, other: &Self, between: &str) -> Vec<String> {
        let text = |facts: &Self, name: &str| facts.text(name).unwrap_or("nothing").to_owned();
        let told = |name: &str| {
            let (one, other) = apart(&text(self, name), &text(other, name));
            format!("{name}: {one}{between}{other}")
        };
        let mut told: Vec<String> = self.differing(other).map(told).collect();
        if told.len() > TOLD_MAX {
            let more = told.len() - TOLD_MAX;
            told.truncate(TOLD_MAX);
            told.push(format!("and {more} more"));
        }
        told
    }
}

/// Two texts from shortly before they part, as far as they are told.
fn apart(one: &str, other: &str) -> (String, String) {
    if !is_cut(one.as_bytes()) && !is_cut(other.as_bytes()) {
        return (one.to_owned(), other.to_owned());
    }
    let common = one.chars().zip(other.chars()).take_while(|(one, other)| one == other).count();
    let left_out = common.saturating_sub(COMMON_MAX);
    let rest = |text: &str| {
        let rest: String = text.chars().skip(left_out).collect();
        let dots = if left_out > 0 { "…" } else { "" };
        format!("{dots}{}", excerpt(rest.as_bytes()))
    };
    (rest(one), rest(other))
}
