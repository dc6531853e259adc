//! What a step changed in the places: signs as in a patch, `+` for new, `-` for gone, `~` for
//! other.

use std::sync::Arc;

use crate::parts::{Fate, Parts, Queued, Record};
use crate::tag;
use crate::task::call::excerpt;

use super::{Changed, phrases};

/// The lanes of the places.
#[derive(Clone, Copy, Debug)]
pub(super) struct Places {
    pub(super) store: usize,
    pub(super) queue: usize,
    pub(super) outside: usize,
}

/// What is different in the places.
pub(super) fn changes(before: &Parts, after: &Parts, places: Places) -> Vec<Changed> {
    let at = |lane, lines: Vec<String>| lines.into_iter().map(move |what| Changed { lane, what });
    at(places.store, of_items(before, after))
        .chain(at(places.queue, of_queue(before, after)))
        .chain(at(places.outside, of_objects(before, after)))
        .collect()
}

fn of_items(before: &Parts, after: &Parts) -> Vec<String> {
    let mut lines = Vec::new();
    for record in after.items.all() {
        let old = before.items.read(&record.item.key);
        if old.is_none_or(|old| old.number != record.number) {
            lines.push(of_item(old, record));
        }
    }
    for record in before.items.all() {
        if after.items.read(&record.item.key).is_none() {
            lines.push(format!("- {}", phrases::item(&record.item.key)));
        }
    }
    lines
}

fn of_item(old: Option<&Arc<Record>>, new: &Record) -> String {
    let name = phrases::item(&new.item.key);
    let state = |record: &Record| tag::state_in(&record.item.value);
    match (old, old.and_then(|old| state(old)), state(new)) {
        (Some(old), Some(was), Some(is)) => {
            let difference = phrases::difference(&was, &is);
            format!("~ {name}, v{} → v{}: {difference}", old.number, new.number)
        }
        (Some(old), ..) => {
            let what = phrases::bookkeeping(&new.item.value);
            format!("~ {name}, v{} → v{}{what}", old.number, new.number)
        }
        (None, _, Some(is)) => format!("+ {name}, v{}: {}", new.number, excerpt(&is)),
        (None, _, None) => format!("+ {name}{}", phrases::bookkeeping(&new.item.value)),
    }
}

fn of_queue(before: &Parts, after: &Parts) -> Vec<String> {
    let mut lines = Vec::new();
    for queued in after.queue.all() {
        match find(before, queued) {
            None => {
                let envelope = tag::plain(&queued.carried.envelope);
                let content = phrases::content(&envelope.kind, &envelope.data);
                let (name, to) = (phrases::queued(queued), &queued.carried.endpoint);
                lines.push(format!("+ {name} is queued for {to}: {content}"));
            }
            Some(old) => lines.extend(of_fate(old, queued)),
        }
    }
    for queued in before.queue.all() {
        if find(after, queued).is_none() {
            lines.push(format!("- {} leaves the queue", phrases::queued_alone(queued)));
        }
    }
    lines
}

fn find<'a>(parts: &'a Parts, queued: &Queued) -> Option<&'a Arc<Queued>> {
    parts.queue.all().iter().find(|other| other.name == queued.name)
}

/// A delivery, or the end of a lease, is a step that says so itself.
fn of_fate(old: &Queued, new: &Queued) -> Option<String> {
    let name = phrases::queued_alone(new);
    match (&old.fate, &new.fate) {
        (Fate::Dead { .. }, Fate::Dead { .. }) => None,
        (_, Fate::Dead { reason, .. }) => {
            Some(format!("~ {name} is a dead letter now: {}", reason.0))
        }
        (Fate::Dead { .. }, _) => Some(format!("~ {name} waits again, as if it were new")),
        _ if new.failure_count > old.failure_count => {
            Some(format!("~ {name} waits to be tried again"))
        }
        _ if new.deliveries < old.deliveries => Some(format!("~ {name} is back in the queue")),
        _ => None,
    }
}

fn of_objects(before: &Parts, after: &Parts) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, value) in after.outside.all() {
        match before.outside.get(name) {
            None => lines.push(format!("+ object {name}: {}", excerpt(value))),
            Some(old) if old != value => {
                let difference = phrases::difference(old, value);
                lines.push(format!("~ object {name} is overwritten: {difference}"));
            }
            Some(_) => {}
        }
    }
    for (name, _) in before.outside.all() {
        if after.outside.get(name).is_none() {
            lines.push(format!("- object {name}"));
        }
    }
    lines
}
