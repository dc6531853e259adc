//! Sets: what is added and removed, in any order and again.

use std::collections::BTreeSet;

use semel_check::Breach;
use semel_core::designs::{GrowOnlySet, TwoPhaseSet};
use semel_core::{Context, Message, Order};
use serde::{Deserialize, Serialize};

use super::{AS_IF_ONCE, ONE, Refusal, broken, lawful, message, refused, sound, world};

#[derive(Clone, Serialize, Deserialize)]
enum Line {
    Add(String),
    Remove(String),
}

message!(Line = "cart.line");

/// The same, for a queue that keeps their order.
#[derive(Clone, Serialize, Deserialize)]
struct InOrder(Line);

impl Message for InOrder {
    const TYPE: &'static str = "cart.line-in-order";
    const ORDER: Order = Order::PerSubject;

    fn subject(&self) -> Option<String> {
        Some(ONE.to_owned())
    }
}

fn add(line: &str) -> Line {
    Line::Add(line.to_owned())
}

fn remove(line: &str) -> Line {
    Line::Remove(line.to_owned())
}

#[test]
fn a_set_that_only_grows_needs_no_memory_of_messages() {
    fn change(lines: &mut GrowOnlySet<String>, line: Line, _: &mut Context) {
        let (Line::Add(line) | Line::Remove(line)) = line;
        lines.insert(line);
    }
    lawful(change, &[add("b"), add("a"), add("b"), add("c")]);
    sound("a grow-only set", change, &[add("b"), add("a")]);
}

#[test]
fn a_list_that_only_grows_does() {
    fn change(lines: &mut Vec<String>, line: Line, _: &mut Context) {
        let (Line::Add(line) | Line::Remove(line)) = line;
        lines.push(line);
    }
    refused(
        "a list",
        change,
        &[add("b"), add("a")],
        &Refusal {
            idempotent: r#"NO
            no state + cart.line {"Add":"a"} → ["a"]
            a duplicate: ["a"] + cart.line {"Add":"a"} → ["a","a"]"#,
            free_of_order: r#"NO
            no state + cart.line {"Add":"b"} → ["b"]
            ["b"] + cart.line {"Add":"a"} → ["b","a"]
            but in the other order:
            no state + cart.line {"Add":"a"} → ["a"]
            ["a"] + cart.line {"Add":"b"} → ["a","b"]"#,
            ends_with: r#"["a","b"]"#,
            steps: 8,
            faults: 0,
        },
    );
}

#[test]
fn a_set_with_tombstones_needs_no_memory_of_messages() {
    fn change(lines: &mut TwoPhaseSet<String>, line: Line, _: &mut Context) {
        match line {
            Line::Add(line) => lines.insert(line),
            Line::Remove(line) => lines.remove(line),
        }
    }
    sound("a two-phase set", change, &[add("a"), add("b"), remove("a")]);
}

#[test]
fn a_set_without_tombstones_does() {
    fn change(lines: &mut BTreeSet<String>, line: Line, _: &mut Context) {
        match line {
            Line::Add(line) => _ = lines.insert(line),
            Line::Remove(line) => _ = lines.remove(&line),
        }
    }
    refused(
        "a set without tombstones",
        change,
        &[add("a"), remove("a")],
        &Refusal {
            idempotent: r#"NO
            no state + cart.line {"Remove":"a"} → []
            [] + cart.line {"Add":"a"} → ["a"]
            a duplicate: ["a"] + cart.line {"Remove":"a"} → []"#,
            free_of_order: r#"NO
            no state + cart.line {"Add":"a"} → ["a"]
            ["a"] + cart.line {"Remove":"a"} → []
            but in the other order:
            no state + cart.line {"Remove":"a"} → []
            [] + cart.line {"Add":"a"} → ["a"]"#,
            ends_with: r#"["a"]"#,
            steps: 8,
            faults: 0,
        },
    );
}

/// The queue keeps the order. But a worker that never heard that its message is settled processes it
/// again, after the next one.
#[test]
fn an_ordered_queue_does_not_help() {
    fn change(lines: &mut BTreeSet<String>, InOrder(line): InOrder, _: &mut Context) {
        match line {
            Line::Add(line) => _ = lines.insert(line),
            Line::Remove(line) => _ = lines.remove(&line),
        }
    }
    let world = world("in order", change, &[InOrder(add("a")), InOrder(remove("a"))]).ordered();
    let breach = Breach::Invariant(AS_IF_ONCE.to_owned());
    let detail = broken(world, &breach, [11, 1]);
    assert!(detail.ends_with(r#"things/one = ["a"]."#), "{detail}");
}
