//! Marks that rise, totals by source, and an order of values that overlooks something.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use semel_core::Context;
use semel_core::designs::{Greatest, GrowOnlySet};
use serde::{Deserialize, Serialize};

use super::{Refusal, YES, alone, answers, lawful, message, print, refused, sound};

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Step {
    Placed,
    Paid,
    Shipped,
}

message!(Step = "order.step");

#[test]
fn a_mark_that_rises_needs_no_memory_of_messages() {
    fn raise(step: &mut Greatest<Step>, message: Step, _: &mut Context) {
        step.raise(message);
    }
    lawful(raise, &[Step::Placed, Step::Paid, Step::Shipped]);
    sound("a rising mark", raise, &[Step::Placed, Step::Paid]);
}

#[test]
fn the_step_that_arrives_last_is_refused() {
    fn set(step: &mut Option<Step>, message: Step, _: &mut Context) {
        *step = Some(message);
    }
    refused(
        "the step that arrives last",
        set,
        &[Step::Placed, Step::Paid],
        &Refusal {
            idempotent: r#"NO
            no state + order.step "Placed" → "Placed"
            "Placed" + order.step "Paid" → "Paid"
            a duplicate: "Paid" + order.step "Placed" → "Placed""#,
            free_of_order: r#"NO
            no state + order.step "Placed" → "Placed"
            "Placed" + order.step "Paid" → "Paid"
            but in the other order:
            no state + order.step "Paid" → "Paid"
            "Paid" + order.step "Placed" → "Placed""#,
            ends_with: r#""Placed""#,
            steps: 8,
            faults: 0,
        },
    );
}

#[derive(Clone, Serialize, Deserialize)]
struct Sold {
    shop: String,
    pence: u64,
}

message!(Sold = "shop.sold");

fn sold(shop: &str, pence: u64) -> Sold {
    Sold { shop: shop.to_owned(), pence }
}

#[test]
fn running_totals_by_source_need_no_memory_of_messages() {
    fn total(totals: &mut BTreeMap<String, Greatest<u64>>, message: Sold, _: &mut Context) {
        totals.entry(message.shop).or_default().raise(message.pence);
    }
    lawful(total, &[sold("north", 5), sold("south", 7), sold("north", 9)]);
    sound("totals by source", total, &[sold("south", 7), sold("north", 9)]);
}

#[test]
fn amounts_that_add_up_are_refused() {
    fn add(sum: &mut u64, message: Sold, _: &mut Context) {
        *sum += message.pence;
    }
    refused(
        "amounts that add up",
        add,
        &[sold("north", 5), sold("south", 7)],
        &Refusal {
            idempotent: r#"NO
            no state + shop.sold {"shop":"north","pence":5} → 5
            a duplicate: 5 + shop.sold {"shop":"north","pence":5} → 10"#,
            free_of_order: YES,
            ends_with: r#"19"#,
            steps: 10,
            faults: 1,
        },
    );
}

/// Compares without regard to case, so that two different names are one element.
#[derive(Clone, Serialize, Deserialize)]
struct Name(String);

impl Name {
    fn key(&self) -> String {
        self.0.to_lowercase()
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Name {}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Name {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

message!(Name = "guest.name");

#[test]
fn an_order_that_overlooks_something_is_found() {
    fn note(names: &mut GrowOnlySet<Name>, name: Name, _: &mut Context) {
        names.insert(name);
    }
    let report = alone(note, &[Name("Ann".to_owned()), Name("ann".to_owned())]);
    print(&report);
    assert!(report.is_idempotent.is_yes(), "{report}");
    answers(
        &report.is_free_of_order,
        r#"NO
            no state + guest.name "Ann" → ["Ann"]
            ["Ann"] + guest.name "ann" → ["Ann"]
            but in the other order:
            no state + guest.name "ann" → ["ann"]
            ["ann"] + guest.name "Ann" → ["ann"]"#,
    );
}
