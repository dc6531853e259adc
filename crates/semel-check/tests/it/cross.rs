//! Two explorations that rest on different ideas find the same ends: merged states, and orders of
//! moves with sleep sets.

use semel_check::{Fault, Faults, World, relational_apart};
use semel_core::protocols::AtLeastOnce;

use crate::bank::{accounts, one, two};

/// Properties off: what a violation would cut short is to be compared as well.
#[track_caller]
fn check(world: World, ends: u64) {
    let cross = world.judge(&[]).cross_check();
    assert!(cross.merged.holds() && cross.unmerged.holds(), "{}{}", cross.merged, cross.unmerged);
    assert!(cross.agree, "{}{}", cross.merged, cross.unmerged);
    assert_eq!(cross.merged.coverage.ends, ends, "{}", cross.merged);
}

#[test]
fn both_ways_agree_on_transactional_with_the_queue_inside() {
    check(one(accounts()).faults(1), 3);
    check(one(accounts()).workers(1).faults(2), 4);
    check(two(accounts()), 2);
}

#[test]
fn both_ways_agree_on_transactional_with_the_queue_apart() {
    let apart = || one(accounts()).store(relational_apart());
    check(apart(), 1);
    check(apart().workers(1).faults(1), 3);
}

#[test]
fn both_ways_agree_on_at_least_once() {
    let naive = || accounts().protocol(AtLeastOnce);
    check(one(naive()).faults(1), 5);
    let kinds = Faults::only([Fault::Crash, Fault::LateWrite]);
    check(two(naive()).workers(1).kinds(kinds).faults(1), 14);
}

#[test]
fn both_ways_agree_on_messages_in_order() {
    check(two(accounts()).ordered().faults(1), 10);
}
