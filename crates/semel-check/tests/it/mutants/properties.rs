//! For each property a protocol that violates it, and is caught.

use semel_check::{Fault, Property, relational};

use semel_core::protocols::{AtLeastOnce, Protocol as _, Transactional};

use super::account::{in_database, noted_twice, of_message, one_deposit};
use super::detached::{Detached, Mutant as OfDetached};
use super::inbox::Inbox;
use super::outbox::{Mutant, Outbox};
use super::outbox_inbox::{Mutant as OfOutboxInbox, OutboxInbox};
use super::polled::{Mutant as OfPolled, Polled};
use super::{breaks, holds};

#[test]
fn a_message_whose_id_is_forgotten_changes_the_state_twice() {
    let world = one_deposit("forgets ids", Outbox(Mutant::ForgetsIds));
    breaks(world, Property::AtMostOneStateChange);
    breaks(one_deposit("at-least-once", AtLeastOnce), Property::AtMostOneStateChange);
}

#[test]
fn a_message_that_comes_after_its_window_changes_the_state_again() {
    let world = one_deposit("past the window", Transactional::default());
    let world = world.store(relational()).with(Fault::WindowPasses).faults(2);
    breaks(world, Property::AtMostOneStateChange);
}

#[test]
fn an_effect_whose_id_is_minted_at_dispatch_is_visible_twice() {
    let world = one_deposit("mints at dispatch", Outbox(Mutant::MintsAtDispatch));
    breaks(world, Property::AtMostOneEffect);
}

#[test]
fn an_effect_whose_id_is_minted_by_the_poller_is_visible_twice() {
    let world = in_database("mints at poll", Polled(OfPolled::MintsAtPoll));
    breaks(world, Property::AtMostOneEffect);
}

#[test]
fn effects_that_are_decided_again_do_not_fit_the_state() {
    breaks(one_deposit("inbox", Inbox), Property::ConsistentStateAndEffects);
}

#[test]
fn an_inbox_holds_where_every_attempt_decides_the_same() {
    holds(of_message("inbox, by the message", Inbox).faults(2));
}

#[test]
fn an_effect_that_is_dispatched_before_the_commit_is_a_ghost() {
    let world = one_deposit("dispatches first", Outbox(Mutant::DispatchesFirst));
    breaks(world, Property::NoGhostEffects);
}

#[test]
fn a_message_that_is_settled_before_the_commit_is_lost() {
    let world = one_deposit("acks first", Outbox(Mutant::AcksFirst));
    breaks(world, Property::NoLostMessages);
}

#[test]
fn an_effect_that_is_cleared_before_its_dispatch_is_lost() {
    let world = one_deposit("clears first", Outbox(Mutant::ClearsFirst));
    breaks(world, Property::NoLostEffects);
}

#[test]
fn an_effect_whose_answer_nobody_reads_is_lost() {
    let world = noted_twice("trusts the first", Outbox(Mutant::TrustsFirst));
    breaks(world, Property::NoLostEffects);
    let world = noted_twice("trusts the last", Outbox(Mutant::TrustsLast));
    breaks(world, Property::NoLostEffects);
}

#[test]
fn records_that_stay_for_good_are_garbage() {
    let world = one_deposit("keeps what is done", Detached(OfDetached::KeepsDone));
    breaks(world.faults(0), Property::NoGarbage);

    let world = one_deposit("remembers forever", OutboxInbox(OfOutboxInbox::RemembersForever));
    breaks(world.faults(0), Property::NoGarbage);
}

/// Another attempt decides otherwise, and what the first one decided is never sent.
#[test]
fn at_least_once_loses_effects_of_a_handler_that_looks_at_the_state() {
    let world = one_deposit("at-least-once, by the state", AtLeastOnce);
    breaks(world.judge(&[Property::NoLostEffects]), Property::NoLostEffects);

    let world = of_message("at-least-once, by the message", AtLeastOnce).faults(2);
    let promised = AtLeastOnce.promises().iter().copied().chain([Property::NoLostEffects]);
    holds(world.judge(&promised.collect::<Vec<_>>()));
}
