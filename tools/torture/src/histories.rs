//! The histories of all entities, and whether each has an order in which every message counts once.

use std::collections::BTreeMap;
use std::path::Path;

use semel::Message as _;
use semel::check::history::{Attempt, Operation, exactly_once_order};
use semel::core::protocols::state_in;
use serde_json::Value;
use shop::books::Items;
use shop::history::{Event, read};
use shop_services::messages::CancelOrder;

use crate::Trouble;
use crate::crew::history;
use crate::plan::Member;

/// What was found in the histories.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Findings {
    pub(crate) entities: usize,
    /// Messages at entities.
    pub(crate) operations: usize,
    pub(crate) attempts: usize,
    /// Each thing that cannot be with every message counting once.
    pub(crate) violations: Vec<String>,
    /// How many cancellations reached each order.
    pub(crate) cancellations: BTreeMap<String, usize>,
}

/// Endpoint and name.
type Entity = (String, String);

/// Reads what all members wrote down, and holds it against what is there in the end.
pub(crate) fn check(folder: &Path, members: &[Member], items: &Items) -> Result<Findings, Trouble> {
    let mut events = Vec::new();
    for member in members {
        let path = history(folder, *member);
        if path.exists() {
            let unreadable = Trouble::io("a history cannot be read");
            events.extend(read(&path).map_err(unreadable)?);
        }
    }
    judge(events, items)
}

/// What is known of a message at an endpoint.
#[derive(Debug, Default)]
struct Seen {
    received: Option<u64>,
    settled: Option<u64>,
    attempts: BTreeMap<String, Vec<Attempt<String>>>,
    kind: String,
}

fn judge(events: Vec<Event>, items: &Items) -> Result<Findings, Trouble> {
    let mut findings = Findings::default();
    let mut by_entity: BTreeMap<Entity, Vec<Operation<String>>> = BTreeMap::new();
    for ((endpoint, message), seen) in collect(events)? {
        if seen.attempts.is_empty() {
            let what = format!("{endpoint}: message {message} was received, and never attempted");
            findings.violations.push(what);
        }
        if seen.kind == CancelOrder::TYPE {
            for order in seen.attempts.keys() {
                *findings.cancellations.entry(order.clone()).or_default() += 1;
            }
        }
        if seen.attempts.len() > 1 {
            let what = format!("{endpoint}: message {message} was attempted on several entities");
            findings.violations.push(what);
        }
        for (entity, attempts) in seen.attempts {
            findings.attempts += attempts.len();
            by_entity.entry((endpoint.clone(), entity)).or_default().push(Operation {
                message: message.clone(),
                received: seen.received.unwrap_or_default(),
                settled: seen.settled,
                attempts,
            });
        }
    }
    for key in items.keys() {
        by_entity.entry(key.clone()).or_default();
    }
    for ((endpoint, entity), operations) in by_entity {
        let item = items.get(&(endpoint.clone(), entity.clone()));
        let end = item.map(|item| state_in(item).map_err(Trouble::new)).transpose()?.flatten();
        let end = end.map_or(Ok(String::new()), |state| canonical(&state))?;
        findings.entities += 1;
        findings.operations += operations.len();
        if let Err(reason) = exactly_once_order(&String::new(), &operations, &end) {
            findings.violations.push(format!("{endpoint} {entity}: {reason}"));
        }
    }
    Ok(findings)
}

fn collect(events: Vec<Event>) -> Result<BTreeMap<(String, String), Seen>, Trouble> {
    let mut all: BTreeMap<(String, String), Seen> = BTreeMap::new();
    let earliest = |known: &mut Option<u64>, at| {
        *known = Some(known.map_or(at, |known| known.min(at)));
    };
    for event in events {
        match event {
            Event::Received { at, endpoint, message } => {
                earliest(&mut all.entry((endpoint, message)).or_default().received, at);
            }
            Event::Settled { at, endpoint, message } => {
                earliest(&mut all.entry((endpoint, message)).or_default().settled, at);
            }
            Event::Attempted { endpoint, entity, message, kind, before, after } => {
                let before = before.map_or(Ok(String::new()), |it| canonical(it.as_bytes()))?;
                let attempt = Attempt { before, after: canonical(after.as_bytes())? };
                let seen = all.entry((endpoint, message)).or_default();
                seen.kind = kind;
                seen.attempts.entry(entity).or_default().push(attempt);
            }
        }
    }
    Ok(all)
}

/// A state as text that is the same for the same state.
fn canonical(state: &[u8]) -> Result<String, Trouble> {
    let value: Value = serde_json::from_slice(state).map_err(Trouble::look)?;
    Ok(value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(message: &str, at: u64) -> Event {
        Event::Received { at, endpoint: "orders".to_owned(), message: message.to_owned() }
    }

    fn settled(message: &str, at: u64) -> Event {
        Event::Settled { at, endpoint: "orders".to_owned(), message: message.to_owned() }
    }

    fn attempted(message: &str, before: Option<&str>, after: &str) -> Event {
        Event::Attempted {
            endpoint: "orders".to_owned(),
            entity: "7".to_owned(),
            message: message.to_owned(),
            kind: "shop.order.cancel".to_owned(),
            before: before.map(str::to_owned),
            after: after.to_owned(),
        }
    }

    fn items(state: &str) -> Items {
        Items::from([(("orders".to_owned(), "7".to_owned()), state.as_bytes().to_vec())])
    }

    fn violations(events: &[Event], state: &str) -> Vec<String> {
        judge(events.to_vec(), &items(state)).unwrap().violations
    }

    const PLACED: &str = r#"{"n":1,"s":"placed"}"#;

    #[test]
    fn a_message_that_counts_once_among_several_attempts_is_fine() {
        let events = [
            received("a", 1),
            attempted("a", None, r#"{"s":"lost","n":1}"#),
            attempted("a", None, PLACED),
            settled("a", 9),
        ];
        // Written in another order, it is the same state.
        let findings = judge(events.to_vec(), &items(r#"{"s":"placed","n":1}"#)).unwrap();
        assert_eq!((findings.entities, findings.operations, findings.attempts), (1, 1, 2));
        assert!(findings.violations.is_empty(), "{findings:?}");
        assert_eq!(findings.cancellations, BTreeMap::from([("7".to_owned(), 1)]));
    }

    #[test]
    fn what_counts_twice_or_not_at_all_or_comes_from_nowhere_is_named() {
        let twice = [attempted("a", None, "1"), attempted("a", Some("1"), "2"), settled("a", 2)];
        assert!(violations(&twice, "2")[0].contains("twice"));
        let lost = [attempted("a", None, "1"), attempted("b", None, "2")];
        assert!(violations(&lost, "2")[0].contains("does not hold these messages: a"));
        assert!(violations(&[], "2")[0].contains("no chain"));
        assert!(violations(&[settled("a", 1)], "2")[0].contains("never attempted"));
        assert!(violations(&[received("a", 1)], "2")[0].contains("never attempted"));
    }

    #[test]
    fn a_message_tried_on_two_entities_is_named() {
        let mut elsewhere = attempted("a", None, "1");
        if let Event::Attempted { entity, .. } = &mut elsewhere {
            *entity = "8".to_owned();
        }
        assert!(violations(&[attempted("a", None, "1"), elsewhere], "1")[0].contains("several"));
    }

    #[test]
    fn an_entity_whose_every_attempt_was_lost_is_named() {
        let events = vec![received("a", 1), attempted("a", None, "1")];
        let findings = judge(events, &Items::new()).unwrap();
        assert!(findings.violations[0].contains("does not hold"), "{findings:?}");
    }
}
