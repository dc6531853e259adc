//! Where two runs of the same code went apart: of all that they asked for, the first that is not
//! the same, and of that, what is not the same.

use semel_core::broker::Outgoing;
use semel_core::store::Change;
use serde_json::{Map, Value};

use super::phrases;
use crate::tag;
use crate::task::call::Call;
use crate::task::{End, port};

/// Texts that are together no longer than this are shown whole.
const WHOLE_MAX: usize = 120;
/// Of longer ones, so many letters before the first that is not the same, and so many in all.
const BEFORE: usize = 16;
const SHOWN: usize = 60;
/// So many fields of JSON are shown.
const FIELDS_MAX: usize = 3;

/// What a run came to: its end, or the calls that it makes next.
#[derive(Clone, Copy)]
pub(crate) enum Next<'a> {
    Ends(&'a End),
    Calls(&'a [&'a Call]),
}

/// Something that a run does: in words, and with what content.
#[derive(Debug, PartialEq, Eq)]
struct Deed {
    words: String,
    content: Option<Content>,
}

#[derive(Debug, PartialEq, Eq)]
struct Content {
    /// Between the words and the text.
    link: &'static str,
    text: String,
}

impl Deed {
    fn plain(words: String) -> Self {
        Self { words, content: None }
    }

    fn new(words: String, link: &'static str, bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes).into_owned();
        Self { words, content: Some(Content { link, text }) }
    }

    fn sends(outgoing: &Outgoing) -> Self {
        let envelope = tag::plain(&outgoing.envelope);
        let words = format!("sends {} to {}", envelope.kind, phrases::receiver(&outgoing.to));
        Self::new(words, "with", &envelope.data)
    }
}

/// How two runs of the same code differ, as one sentence without its end.
pub(crate) fn apart(first: Next<'_>, second: Next<'_>) -> String {
    let looks = [obvious, declared, in_depth];
    let found = looks.iter().find_map(|look| unlike(&look(first), &look(second)));
    found.unwrap_or_else(|| "the second time it asks for something else".to_owned())
}

/// What a reader of a trace knows it by.
fn obvious(next: Next<'_>) -> Vec<Deed> {
    match next {
        Next::Ends(end) => vec![Deed::plain(ending(end))],
        Next::Calls(calls) => calls.iter().flat_map(|call| deeds(call)).collect(),
    }
}

fn ending(end: &End) -> String {
    match end {
        End::Over | End::Discarded => "is done".to_owned(),
        End::Again { .. } => "gives up this attempt, to begin again".to_owned(),
        End::Stopped(reason) => format!("stops for good: {reason}"),
        End::Panicked(text) => format!("panics: {text}"),
        End::Stuck => "waits for something that is no call".to_owned(),
    }
}

fn deeds(call: &Call) -> Vec<Deed> {
    match call {
        Call::Write(changes) => changes.iter().map(changing).collect(),
        Call::Send(messages) => messages.iter().map(Deed::sends).collect(),
        Call::Put(name, Some(value)) => {
            vec![Deed::new(format!("puts object {name}"), "as", value)]
        }
        call => vec![Deed::plain(format!("calls: {}", call.describe()))],
    }
}

fn changing(change: &Change) -> Deed {
    match change {
        Change::Put { key, value, .. } => {
            let state = tag::state_in(value);
            let words = format!("writes {}", phrases::item(key));
            // A protocol's own record holds what the other changes, or the effects, tell better.
            match state {
                Some(state) => Deed::new(words, "as", &state),
                None => Deed::plain(words),
            }
        }
        Change::Enqueue(outgoing) => Deed::sends(outgoing),
        change => Deed::plain(format!("calls: {}", Call::Write(vec![change.clone()]).describe())),
    }
}

/// The effects that its attempts declared, which some protocols keep in records of their own.
fn declared(next: Next<'_>) -> Vec<Deed> {
    let marks = writes(next).into_iter().filter_map(|change| match change {
        Change::Put { key, value, .. } => tag::state_of(key, value).map(|(trail, _)| trail),
        _ => None,
    });
    let effects = marks.flat_map(|trail| {
        let marks = trail.marks().iter().flat_map(|mark| &mark.effects);
        marks.filter_map(|declared| port::words_for(declared.content)).collect::<Vec<_>>()
    });
    effects.map(|words| wanted(&words)).collect()
}

/// An effect from the words for it: type, data and receiver.
fn wanted(words: &str) -> Deed {
    let (content, to) = words.rsplit_once(" to ").unwrap_or((words, ""));
    let (kind, data) = content.split_once(' ').unwrap_or((content, ""));
    Deed::new(format!("wants to send {kind} to {to}"), "with", data.as_bytes())
}

/// Whatever there is.
fn in_depth(next: Next<'_>) -> Vec<Deed> {
    let Next::Calls(calls) = next else { return Vec::new() };
    let details = |call: &&Call| {
        let text = format!("{call:?}");
        Deed::new(format!("calls: {}", call.describe()), ", with", text.as_bytes())
    };
    calls.iter().map(details).collect()
}

fn writes(next: Next<'_>) -> Vec<&Change> {
    let Next::Calls(calls) = next else { return Vec::new() };
    let writes = calls.iter().filter_map(|call| match call {
        Call::Write(changes) => Some(changes),
        _ => None,
    });
    writes.flatten().collect()
}

/// The first deeds that are not the same.
fn unlike(first: &[Deed], second: &[Deed]) -> Option<String> {
    let count = first.len().max(second.len());
    let at = (0..count).find(|at| first.get(*at) != second.get(*at))?;
    let (one, other) = match (first.get(at), second.get(at)) {
        (Some(one), Some(other)) => pair(one, other),
        (one, other) => {
            let told = |deed: Option<&Deed>| deed.map_or_else(|| "it does no more".to_owned(), it);
            (told(one), told(other))
        }
    };
    Some(format!("the first time {one}, the second time {other}"))
}

fn pair(first: &Deed, second: &Deed) -> (String, String) {
    match (&first.content, &second.content) {
        (Some(one), Some(other)) if first.words == second.words => {
            let (link, texts) = (one.link, contents(&one.text, &other.text));
            (format!("it {} {link} {}", first.words, texts.0), format!("{link} {}", texts.1))
        }
        _ => (it(first), it(second)),
    }
}

fn it(deed: &Deed) -> String {
    match &deed.content {
        Some(content) => format!("it {} {} {}", deed.words, content.link, cut(&content.text, 0)),
        None => format!("it {}", deed.words),
    }
}

/// Two contents: whole if they are short, else what differs.
fn contents(one: &str, other: &str) -> (String, String) {
    if one.len() + other.len() <= WHOLE_MAX {
        return (one.to_owned(), other.to_owned());
    }
    fields(one, other).unwrap_or_else(|| from_where_they_differ(one, other))
}

/// Of two JSON objects, the fields that differ.
fn fields(one: &str, other: &str) -> Option<(String, String)> {
    let read = |text| serde_json::from_str::<Map<String, Value>>(text).ok();
    let (one, other) = (read(one)?, read(other)?);
    let names: Vec<&String> =
        one.keys().chain(other.keys().filter(|name| !one.contains_key(*name))).collect();
    let differing = names.into_iter().filter(|name| one.get(*name) != other.get(*name));
    let text = |value: Option<&Value>| value.map_or_else(|| "nothing".to_owned(), Value::to_string);
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for name in differing.take(FIELDS_MAX) {
        let values = from_where_they_differ(&text(one.get(name)), &text(other.get(name)));
        first.push(format!("{name}: {}", values.0));
        second.push(format!("{name}: {}", values.1));
    }
    (!first.is_empty()).then(|| (first.join(", "), second.join(", ")))
}

fn from_where_they_differ(one: &str, other: &str) -> (String, String) {
    let same = one.chars().zip(other.chars()).take_while(|(one, other)| one == other).count();
    let fits = |text: &str| text.chars().nth(SHOWN).is_none();
    let begin = if fits(one) && fits(other) { 0 } else { same.saturating_sub(BEFORE) };
    (cut(one, begin), cut(other, begin))
}

/// A piece of a text.
fn cut(text: &str, begin: usize) -> String {
    let before = if begin > 0 { "…" } else { "" };
    let shown: String = text.chars().skip(begin).take(SHOWN).collect();
    let after = if text.chars().nth(begin + SHOWN).is_some() { "…" } else { "" };
    format!("{before}{shown}{after}")
}
