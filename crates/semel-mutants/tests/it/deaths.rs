//! Every mutant fares as the table says, in a world in which the protocol as it ships lives.
//!
//! `SEMEL_MUTANTS=print cargo test -p semel-mutants -- --nocapture` prints the rows of the table.

use std::collections::BTreeSet;

use semel_check::{Finding, Report};
use semel_mutants::{Mutant, by_name};

use super::cast::CAST;
use super::holes;
use super::table::TABLE;
use super::worlds::Setting;

#[test]
fn mutants_of_inbox_fare_as_the_table_says() {
    all_fare("inbox");
}

#[test]
fn mutants_of_outbox_fare_as_the_table_says() {
    all_fare("outbox");
}

#[test]
fn mutants_of_outbox_inbox_fare_as_the_table_says() {
    all_fare("outbox_inbox");
}

#[test]
fn mutants_of_detached_outbox_fare_as_the_table_says() {
    all_fare("detached_outbox");
}

#[test]
fn mutants_of_token_fare_as_the_table_says() {
    all_fare("token");
}

#[test]
fn mutants_of_replay_fare_as_the_table_says() {
    all_fare("replay");
}

#[test]
fn mutants_of_transactional_fare_as_the_table_says() {
    all_fare("transactional");
}

#[test]
fn every_mutant_has_a_world_and_a_row() {
    let mutants: BTreeSet<&str> = semel_mutants::all().map(|mutant| mutant.name).collect();
    let cast: BTreeSet<&str> = CAST.iter().map(|(name, _)| *name).collect();
    let rows: BTreeSet<&str> = TABLE.iter().map(|(name, ..)| *name).collect();
    assert_eq!(cast, mutants);
    assert_eq!(rows, mutants);
}

/// Every mutant of a protocol fares as the table says, and the world is not to blame.
#[track_caller]
fn all_fare(protocol: &str) {
    let mutants: Vec<&Mutant> =
        semel_mutants::all().filter(|mutant| mutant.of == protocol).collect();
    let mut seen = BTreeSet::new();
    for mutant in mutants {
        for (_, setting) in CAST.iter().filter(|(name, _)| *name == mutant.name) {
            let report = check(mutant.name, *setting);
            if seen.insert(report.world.clone()) {
                holds(protocol, &check(protocol, *setting));
            }
            fares(mutant, &report);
        }
    }
}

fn check(protocol: &str, setting: Setting) -> Report {
    setting(by_name(protocol).expect("the build made it")).check()
}

fn holds(protocol: &str, report: &Report) {
    if std::env::var_os("SEMEL_MUTANTS").is_some() {
        let verdict = if report.holds() { "holds" } else { "DOES NOT HOLD" };
        println!("{protocol} {verdict}: {report}");
        return;
    }
    let is_fine = report.holds() || holes::is_known(protocol, report);
    assert!(is_fine, "{protocol} as it ships: {report}");
}

fn fares(mutant: &Mutant, report: &Report) {
    let (breach, steps) = match &report.finding {
        Finding::Violated(found) => (found.violation.breach.to_string(), found.trace.steps.len()),
        Finding::Holds => ("lives".to_owned(), 0),
        _ => panic!("{report}"),
    };
    let actual = (mutant.name, &*report.world, &*breach, steps);
    if std::env::var_os("SEMEL_MUTANTS").is_some() {
        println!("{report}\nrow    {actual:?},");
        return;
    }
    let breaks = mutant.breaks;
    assert!(TABLE.contains(&actual), "{breaks}: {actual:?} is not in the table\n{report}");
}
