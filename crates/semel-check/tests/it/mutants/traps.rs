//! The known traps of exactly-once processing: whoever steps into one is caught.

use semel_check::Property;

use super::account::{audited, audited_twice, in_database, one_deposit, repeating, two_deposits};
use super::correct::without_garbage;
use super::detached::{Detached, Mutant as OfDetached};
use super::outbox_inbox::{Mutant as OfOutboxInbox, OutboxInbox};
use super::polled::{Mutant as OfPolled, Polled};
use super::token::{Mutant as OfToken, Token};
use super::{breaks, holds};

#[test]
fn trap_1_reading_the_dedup_record_before_the_entity() {
    let inbox = OutboxInbox(OfOutboxInbox::ReadsInboxFirst);
    breaks(one_deposit("1 inbox first", inbox), Property::AtMostOneStateChange);

    let token = Token(OfToken::ReadsTokenFirst);
    breaks(audited("1 token first", token).workers(2), Property::AtMostOneStateChange);
}

#[test]
fn trap_2_deleting_staged_effects_because_of_an_error_that_was_no_conflict() {
    let unstages = Detached(OfDetached::UnstagesInDoubt);
    breaks(one_deposit("2 unstages in doubt", unstages), Property::NoLostEffects);
}

#[test]
fn trap_2_a_conflict_is_not_sure_where_a_layer_below_repeats_writes() {
    let unstages = Detached(OfDetached::UnstagesOnConflict);
    holds(one_deposit("2 unstages on conflict", unstages));
    let world = repeating(one_deposit("2 unstages on a repeated conflict", unstages));
    breaks(world, Property::NoLostEffects);
}

#[test]
fn trap_3_finishing_the_previous_message_under_the_identity_of_the_current_one() {
    let renames = Detached(OfDetached::RenamesPrevious);
    breaks(two_deposits("3 renames previous", renames), Property::AtMostOneEffect);

    let ends = Detached(OfDetached::EndsCurrent);
    breaks(two_deposits("3 ends current", ends), Property::NoLostMessages);
}

#[test]
fn trap_4_creating_tokens_again_for_effects_that_may_be_dispatched() {
    let recreates = Token(OfToken::RecreatesTokens);
    breaks(without_garbage(audited("4 recreates", recreates)), Property::AtMostOneStateChange);
}

#[test]
fn trap_4_dispatching_a_token_whose_create_had_an_unknown_outcome() {
    let same_id = Token(OfToken::TriesSameId);
    let world = audited("4 tries the same id", same_id).faults(2);
    breaks(without_garbage(world), Property::AtMostOneStateChange);
}

#[test]
fn trap_5_clearing_bookkeeping_before_the_evidence_that_replaces_it_is_there() {
    let inbox = OutboxInbox(OfOutboxInbox::ClearsFirst);
    breaks(one_deposit("5 clears before the inbox", inbox), Property::AtMostOneStateChange);

    let token = Token(OfToken::ClearsFirst);
    breaks(audited("5 clears before the token", token), Property::AtMostOneStateChange);

    let field = Detached(OfDetached::OverwritesPending);
    breaks(two_deposits("5 overwrites the field", field), Property::AtMostOneStateChange);
}

#[test]
fn trap_6_a_missing_staged_record_is_no_proof_that_all_is_finished() {
    let unstaged = Detached(OfDetached::CommitsUnstaged);
    breaks(one_deposit("6 commits unstaged", unstaged).faults(2), Property::NoLostEffects);
}

#[test]
fn trap_7_two_attempts_that_share_a_staging_slot() {
    let slot = Detached(OfDetached::SharesSlot);
    breaks(two_deposits("7 shares a slot", slot), Property::ConsistentStateAndEffects);
}

#[test]
fn trap_7_two_attempts_that_share_a_minted_id() {
    let id = Token(OfToken::SharesId);
    let world = audited_twice("7 shares an id", id).faults(0);
    breaks(without_garbage(world), Property::NoLostMessages);
}

#[test]
fn trap_8_polling_an_outbox_by_a_high_water_mark() {
    let mark = Polled(OfPolled::HighWaterMark);
    let world = in_database("8 high-water mark", mark).faults(0);
    breaks(world.keeps(semel_core::store::Space::Reply), Property::NoLostEffects);
}

#[test]
fn trap_9_passing_by_dead_lettering_everything() {
    let all = Polled(OfPolled::DeadLettersAll);
    breaks(in_database("9 dead-letters all", all).faults(0), Property::NoLostMessages);

    let conflicts = Polled(OfPolled::BlamesHandler);
    breaks(in_database("9 blames the handler", conflicts).faults(0), Property::NoLostMessages);
}

#[test]
fn trap_10_a_create_that_lands_late_revives_what_was_deleted() {
    let deletes = Detached(OfDetached::DeletesDone);
    breaks(one_deposit("10 deletes what is done", deletes), Property::NoGarbage);
}

#[test]
fn trap_10_a_create_that_a_layer_below_repeats_revives_a_consumed_token() {
    let token = Token(OfToken::Correct);
    let world = repeating(audited("10 a repeated create", token)).faults(2);
    breaks(without_garbage(world), Property::AtMostOneStateChange);
}
