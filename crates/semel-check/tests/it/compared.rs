//! Protocols beside each other.

use semel_check::compare::{
    Calls, Compared, FaultClass, Growth, Kind, Numbers, Place, Row, Size, Verdict, count, judge,
    rows,
};
use semel_check::{Breach, Property};

fn row(name: &str) -> Row {
    rows().into_iter().find(|row| row.name() == name).expect("a row of that name")
}

/// Each cell as a letter and the steps of its run.
fn cells(name: &str, class: FaultClass) -> String {
    let judged = judge(&row(name), class, Size::default());
    let cell = |verdict: &Verdict| match verdict {
        Verdict::Yes => "yes".to_owned(),
        Verdict::No(found) => format!("no {}", found.trace.steps.len()),
        other => format!("{other:?}"),
    };
    let cells: Vec<String> = judged.cells.iter().map(|one| cell(&one.verdict)).collect();
    format!("{}; {} states", cells.join(", "), judged.states)
}

fn numbers(name: &str) -> Numbers {
    count(&row(name)).expect("it comes to an end")
}

fn calls(calls: &Calls) -> (usize, usize, usize) {
    (calls.reads, calls.writes, calls.broker)
}

#[test]
fn a_table_of_ids_is_late_by_one_crash() {
    let crashes = cells("inbox-table", FaultClass::Crashes);
    assert_eq!(crashes, "no 10, no 12, yes, yes, yes, no 13, yes; 3448 states");
    let failures = cells("inbox-table", FaultClass::Failures);
    assert_eq!(failures, "yes, yes, yes, yes, yes, yes, yes; 305 states");
}

#[test]
fn one_transaction_holds_until_its_window_has_passed() {
    let redelivery = cells("transactional", FaultClass::Redelivery);
    assert_eq!(redelivery, "yes, yes, yes, yes, yes, yes, yes; 1560 states");
    let window = cells("transactional", FaultClass::Window);
    assert_eq!(window, "no 11, no 11, yes, yes, yes, yes, yes; 2757 states");
}

#[test]
fn what_ships_keeps_its_promises() {
    let size = Size { faults: 1, ..Size::default() };
    for row in rows().into_iter().filter(|row| row.kind() == Kind::Ships) {
        let judged = FaultClass::ALL.map(|class| judge(&row, class, size)).to_vec();
        let compared = Compared { row, judged, numbers: None };
        assert_eq!(compared.broken(), [], "{:?}", compared.row);
        for property in compared.row.promises() {
            let mut summary = compared.summary(*property);
            let assumed = compared.row.assumption().map(|(class, _)| class);
            summary.no.retain(|class| Some(*class) != assumed);
            assert!(summary.is_yes(), "{:?}: {property}: {summary:?}", compared.row);
        }
    }
}

#[test]
fn a_broken_promise_is_found() {
    let window = std::time::Duration::from_secs(7 * 86_400);
    let protocol = semel_check::practice::InboxTable { window };
    let row = Row::ships("boaster", "a model that claims to ship", Place::ItemsAndBroker, protocol);
    let judged = vec![judge(&row, FaultClass::Crashes, Size::default())];
    let broken = Compared { row, judged, numbers: None }.broken();
    let promised =
        [Property::AtMostOneStateChange, Property::AtMostOneEffect, Property::NoLostEffects];
    assert_eq!(broken, promised.map(|property| (property, FaultClass::Crashes)));
}

#[test]
fn a_no_is_the_shortest_run_and_can_be_replayed() {
    let size = Size::default();
    let judged = judge(&row("swept-outbox"), FaultClass::Late, size);
    let Some(Verdict::No(found)) = judged.verdict(Property::NoLostEffects) else {
        panic!("what is not sent in time is gone: {judged:?}");
    };
    assert!(found.trace.steps.len() <= 16, "{found}");
    let report = semel_check::compare::replay(&rows(), size, &found.replay);
    let report = report.expect("a line").expect("of a row");
    assert_eq!(report.breach(), Some(&Breach::Property(Property::NoLostEffects)), "{report}");
    assert!(semel_check::compare::replay(&rows(), size, "hopeful").is_err());
}

#[test]
fn calls_are_as_the_budgets_say() {
    let baseline = numbers("at-least-once");
    assert_eq!(calls(&baseline.inside), (1, 1, 2));
    assert_eq!(calls(&baseline.inside_again), (1, 1, 2));
    let one_batch = numbers("transactional");
    assert_eq!(one_batch.inside.writes, 1);
    assert_eq!(one_batch.inside.items_written, 2);
    assert_eq!(one_batch.inside.units.wcu, None, "the queue is in the batch");
    assert_eq!(numbers("idempotency-key").inside.units.wcu, Some(3));
}

#[test]
fn memory_is_measured() {
    let growth = |name| numbers(name).of_outside.growth;
    assert_eq!(growth("at-least-once"), Growth::None);
    assert_eq!(growth("transactional"), Growth::Window);
    assert_eq!(growth("inbox-table"), Growth::Window);
    assert_eq!(growth("outbox"), Growth::Grows);
    let kept = numbers("inbox-table").of_outside;
    assert_eq!((kept.after.items, kept.after_twice.items, kept.past.items), (16, 32, 4));
}

#[test]
fn only_a_coordinator_keeps_others_waiting() {
    for row in rows() {
        let blocks = count(&row).expect("it comes to an end").death_blocks;
        assert_eq!(blocks, row.name() == "two-phase-commit", "{row:?}");
    }
}

#[test]
fn every_protocol_that_ships_has_a_row() {
    let rows = rows();
    for protocol in semel_core::protocols::all() {
        let is_its = |row: &&Row| row.kind() == Kind::Ships && row.name() == protocol.name();
        assert!(rows.iter().any(|row| is_its(&row)), "{protocol:?}");
    }
}

#[test]
fn rows_have_plain_names_of_their_own() {
    let rows = rows();
    let names: std::collections::BTreeSet<&str> = rows.iter().map(Row::name).collect();
    assert_eq!(names.len(), rows.len());
    assert!(names.iter().all(|name| name.chars().all(|c| c.is_ascii_lowercase() || c == '-')));
}
