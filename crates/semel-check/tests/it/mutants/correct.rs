//! Without their switches the protocols hold.

use super::account::{audited, in_database, noted_twice, one_deposit, repeating, two_deposits};
use super::{detached, holds, outbox, outbox_inbox, polled, token};
use semel_check::{Property, World};

const OUTBOX: outbox::Outbox = outbox::Outbox(outbox::Mutant::Correct);
const OUTBOX_INBOX: outbox_inbox::OutboxInbox =
    outbox_inbox::OutboxInbox(outbox_inbox::Mutant::Correct);
const DETACHED: detached::Detached = detached::Detached(detached::Mutant::Correct);
const TOKEN: token::Token = token::Token(token::Mutant::Correct);

#[test]
fn an_outbox_holds() {
    holds(one_deposit("outbox", OUTBOX).faults(2));
    holds(two_deposits("outbox, two deposits", OUTBOX).faults(2));
    holds(noted_twice("outbox, two notes", OUTBOX).faults(2));
}

#[test]
fn an_outbox_with_an_inbox_holds() {
    holds(one_deposit("outbox-inbox", OUTBOX_INBOX).faults(2));
    holds(two_deposits("outbox-inbox, two deposits", OUTBOX_INBOX));
}

#[test]
fn a_detached_outbox_holds() {
    holds(one_deposit("detached", DETACHED).faults(2));
    holds(two_deposits("detached, two deposits", DETACHED));
}

#[test]
fn tokens_hold() {
    holds(without_garbage(audited("token, two workers", TOKEN).workers(2)));
    holds(without_garbage(audited("token, two faults", TOKEN).faults(2)));
}

#[test]
fn a_detached_outbox_holds_when_a_layer_below_repeats_its_writes() {
    holds(repeating(one_deposit("detached, repeated writes", DETACHED).faults(2)));
}

/// The lean token protocol promises all but `NoGarbage`.
pub(super) fn without_garbage(world: World) -> World {
    let promised = Property::ALL.into_iter().filter(|property| *property != Property::NoGarbage);
    world.judge(&promised.collect::<Vec<_>>())
}

#[test]
fn a_polled_outbox_holds() {
    holds(in_database("polled", polled::Polled(polled::Mutant::Correct)));
}
