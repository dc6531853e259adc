//! Runs drawn from a seed.

use semel_check::{Breach, Finding, Property, World, relational_apart};
use semel_core::protocols::AtLeastOnce;

use crate::bank::{accounts, one, two};

fn naive() -> World {
    one(accounts().protocol(AtLeastOnce)).faults(2)
}

#[test]
fn a_seed_makes_the_same_runs_again() {
    let (first, second) = (naive().check_random(7, 500), naive().check_random(7, 500));
    assert_eq!(first.coverage, second.coverage);
    let (first, second) = (first.assert_violated(), second.assert_violated());
    assert_eq!(first.trace, second.trace);
}

#[test]
fn a_violation_is_made_as_short_as_moves_can_be_left_out() {
    for seed in 0..20 {
        let report = naive().check_random(seed, 500);
        let found = report.assert_violated();
        assert_eq!(found.violation.breach, Breach::Property(Property::AtMostOneStateChange));
        // The shortest has five steps and one fault; a crash and a second delivery take eight.
        assert!(found.trace.steps.len() <= 8, "seed {seed}: {report}");
        let again = naive().replay(&found.replay);
        assert_eq!(again.assert_violated().trace, found.trace, "seed {seed}");
    }
}

#[test]
fn what_is_lost_in_the_end_is_made_short_too() {
    let world = || naive().judge(&[Property::NoLostEffects]);
    let shortest = world().check().assert_violated().trace.steps.len();
    let report = world().check_random(3, 5_000);
    let found = report.assert_violated();
    assert_eq!(found.violation.breach, Breach::Property(Property::NoLostEffects));
    assert!(found.trace.steps.len() <= shortest + 6, "{shortest} is the shortest: {report}");
    assert_eq!(world().replay(&found.replay).assert_violated().trace, found.trace);
}

#[test]
fn runs_without_violation_are_no_proof() {
    let report = two(accounts()).store(relational_apart()).faults(3).check_random(1, 200);
    assert!(matches!(report.finding, Finding::NotExhausted), "{report}");
    assert_eq!(report.coverage.executions, 200);
    assert!(report.to_string().contains("this is no proof"), "{report}");
    assert!(report.to_string().contains("The seed was 1."), "{report}");
}

#[test]
fn remembering_or_not_makes_the_same_runs() {
    let world = || two(accounts()).store(relational_apart()).faults(2);
    let remembered = world().check_random(5, 300);
    let forgotten = world().forgetful().check_random(5, 300);
    let mut coverage = forgotten.coverage.clone();
    assert!(coverage.code_runs > remembered.coverage.code_runs, "the code was run anew");
    coverage.code_runs = remembered.coverage.code_runs;
    assert_eq!(coverage, remembered.coverage);
}
