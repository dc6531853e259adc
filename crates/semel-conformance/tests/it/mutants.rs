//! The adapter with one mistake at a time: each is caught by the contracts named here, and each
//! contract catches at least one, so that none holds vacuously.

use std::future::Future;

use crate::memory::mutant::Mutant;
use crate::memory::{Character, MemoryRig};

/// Asserts that a contract fails on a place with a mistake, and says which sentence was broken.
async fn catches(mutant: Mutant, contract: &str, run: impl Future<Output = ()> + Send + 'static) {
    let panic = match tokio::spawn(run).await {
        Ok(()) => panic!("{mutant:?} is not caught by {contract}"),
        Err(error) => error.into_panic(),
    };
    let message = panic.downcast_ref::<String>().map_or("", String::as_str);
    assert!(message.starts_with("contract broken: "), "{mutant:?}, {contract}: {message}");
}

/// Makes a test of each group. Its one thread makes every race the same race each time.
macro_rules! caught {
    ($(
        $group:ident in $character:ident {
            $($mutant:ident by $($suite:ident::$contract:ident),+;)+
        }
    )+) => {
        /// Every mistake that some contract is said to catch.
        const CAUGHT: &[Mutant] = &[$($(Mutant::$mutant,)+)+];

        /// Every contract that is said to catch a mistake.
        const CATCHING: &[&str] =
            &[$($($(concat!(stringify!($suite), "::", stringify!($contract)),)+)+)+];

        $(
            #[tokio::test]
            async fn $group() {
                $($(
                    let character = Character { mutant: Mutant::$mutant, ..Character::$character };
                    let rig = MemoryRig::new(character);
                    let run = async move { semel_conformance::$suite::$contract(&rig).await };
                    catches(Mutant::$mutant, stringify!($suite::$contract), run).await;
                )+)+
            }
        )+
    };
}

caught! {
    mistakes_with_items_are_caught in RICH {
        VersionsRestart by store::a_version_never_repeats,
            store::an_old_version_loses_after_delete_and_create,
            store::a_version_does_not_repeat_past_a_window;
        VersionIsTheValue by store::the_same_value_again_is_a_new_version,
            store::an_old_version_loses_after_delete_and_create;
        ReadsAreRemembered by store::applied_tells_the_version_that_a_read_shows,
            store::a_write_is_seen_by_every_handle;
        SpacesMeet by store::spaces_do_not_meet;
        KeysIgnoreCase by store::odd_keys_are_kept_apart;
        KeysEndAtNul by store::a_key_with_nul_is_whole_or_refused;
        AbsentIsEmpty by store::an_item_never_put_is_absent;
        EmptyValueIsAbsent by store::a_value_comes_back_as_it_was_put;
        LongKeysAreCut by store::long_keys_are_kept_apart;
        HandleTakesAllAlong by store::an_item_outlives_its_handle,
            broker::a_message_outlives_its_handle;
    }

    mistakes_with_one_space_are_caught in RICH {
        TokensIgnoreConditions by store::every_space_keeps_the_conditions;
        TokensHaveNoWindow by store::an_item_is_kept_for_its_window;
        TokensAreUnordered by store::a_listing_is_in_order, store::a_listing_goes_on_after_a_key;
    }

    mistakes_with_conditions_and_batches_are_caught in RICH {
        CreateOverwrites by store::put_expecting_absent_only_creates,
            store::concurrent_creates_have_one_winner;
        OldVersionWins by store::put_expecting_a_version_replaces_only_it,
            store::delete_expecting_a_version_deletes_only_it;
        AnythingExpectsAnItem by store::put_expecting_anything_creates_or_replaces,
            store::delete_expecting_anything_never_conflicts;
        DeleteChecksNothing by store::delete_expecting_absent_only_checks,
            store::concurrent_deletes_have_one_winner;
        ConflictWritesTheRest by store::a_conflict_writes_nothing_of_its_batch,
            store::a_batch_across_partitions_is_atomic_or_refused;
        ConflictNamesTheFirst by store::a_conflict_names_only_failed_conditions;
        LimitsAreIgnored by store::a_batch_is_as_wide_as_its_limit,
            store::a_value_above_the_limit_is_refused;
        LargestIsRefused by store::the_largest_value_is_kept, broker::the_largest_message_is_sent;
        ItemTwiceIsApplied by store::a_batch_names_an_item_once;
        EmptyBatchIsRefused by store::an_empty_batch_is_applied;
        VersionsInReverse by store::a_batch_applies_all_its_changes;
        WriteIsTwoSteps by store::concurrent_updates_lose_nothing;
        ChangesAreApart by store::a_dropped_write_is_whole_or_nothing,
            store::concurrent_batches_do_not_interleave,
            queue_in_store::concurrent_batches_settle_a_delivery_once,
            queue_in_store::every_message_is_processed_once;
    }

    mistakes_with_windows_and_listing_are_caught in RICH {
        WindowEndsEarly by store::an_item_is_kept_for_its_window;
        WindowIsThatOfTheCreate by store::a_put_replaces_the_window;
        ExpiredBlocksCreate by store::an_item_past_its_window_is_whole_or_gone;
        ListingJoinsKeys by store::a_listing_is_in_order;
        ListingRepeatsTheLast by store::a_listing_goes_on_after_a_key;
        ListingIgnoresLimit by store::a_listing_goes_on_after_a_key;
        ListingShowsAllSpaces by store::a_listing_shows_one_space;
        ListingIsOld by store::a_listing_shows_what_a_read_shows;
    }

    offering_what_the_limits_deny_is_caught in POOR {
        UnsupportedIsEmpty by store::a_listing_is_in_order;
        QueueElsewhereIsDropped by store::a_queue_is_inside_or_refused,
            queue_in_store::a_batch_settles_puts_and_queues;
        OrderWithoutOffer by broker::a_later_message_waits_for_a_leased_one;
        UnlistedIsNobody by broker::subscribers_are_listed_once,
            broker::an_unknown_type_has_no_subscribers;
    }

    mistakes_with_receiving_are_caught in RICH {
        NewestFirst by broker::the_oldest_message_comes_first,
            broker::within_a_receive_a_key_is_in_order;
        MaxIsIgnored by broker::a_receive_takes_at_most_max;
        ReceiveMaxIsIgnored by broker::a_receive_takes_at_most_its_limit;
        ReceiveNeverWaits by broker::a_waiting_receive_gets_what_comes;
        ReceiveWaitsForever by broker::an_empty_receive_comes_back;
        ReceiveTakesOutForGood by broker::a_message_comes_again_after_its_lease,
            broker::an_expired_receipt_settles_wholly_or_not_at_all,
            broker::a_dropped_receive_loses_nothing;
    }

    mistakes_with_leases_are_caught in RICH {
        LeaseIsIgnored by broker::a_leased_message_is_not_received_by_another,
            broker::concurrent_receivers_share_no_message;
        LeaseNeverEnds by broker::a_message_comes_again_after_its_lease;
        ReceiptStays by broker::every_delivery_has_a_receipt_of_its_own,
            broker::a_stale_receipt_settles_nothing;
        NumbersAreReused by broker::a_receipt_of_a_removed_message_is_not_another_ones,
            broker::a_parked_message_stays_parked;
        ExtendChangesTheReceipt by broker::an_extended_lease_holds_under_the_same_receipt,
            queue_in_store::an_extended_lease_is_settled_in_a_batch;
        ExtendDoesNothing by broker::an_extended_lease_ends;
        ExtendAddsUp by broker::an_extended_lease_ends;
        ExtendNeverLoses by broker::an_extension_is_lost_once_another_took,
            broker::an_extension_is_lost_once_settled;
        ExtendStopsAtLost by broker::an_extension_answers_for_each_receipt;
    }

    mistakes_with_settling_are_caught in RICH {
        StaleReceiptSettles by broker::a_stale_receipt_settles_nothing,
            queue_in_store::a_stale_receipt_loses_the_whole_batch;
        ReturnedReceiptSettles by broker::a_returned_receipt_settles_nothing;
        AckReturns by broker::ack_removes_for_good, broker::a_removed_message_stays_removed;
        DeadLetterReturns by broker::a_dead_letter_is_not_received_again;
        WaitIsIgnored by broker::release_returns_a_message_after_its_wait,
            broker::retry_returns_a_message_with_its_failure;
        RetryForgetsTheFailure by broker::retry_returns_a_message_with_its_failure,
            operator::a_dead_letter_shows_its_history;
        ReleaseIsCounted by broker::release_returns_a_message_at_once;
        ReleaseIsBlamed by broker::release_returns_a_message_at_once,
            queue_in_store::release_in_a_batch_blames_nobody;
        HistoryIsUnbounded by broker::the_newest_failures_are_kept,
            operator::a_dead_letter_keeps_the_newest_failures;
        HistoryKeepsTheOldest by broker::the_newest_failures_are_kept;
        DeliveriesAreLimited by broker::there_is_no_limit_of_deliveries;
        SettleIsTwoSteps by broker::concurrent_settlements_have_one_winner,
            operator::concurrent_decisions_have_one_winner;
        SettleTouchesTheBatch by broker::a_settlement_touches_no_other_delivery;
    }

    mistakes_with_sending_are_caught in RICH {
        ExtensionsAreText by broker::a_message_arrives_unharmed,
            queue_in_store::a_queued_message_arrives_unharmed;
        DataIsTrimmed by broker::a_message_arrives_unharmed;
        DeliveriesFromZero by broker::a_first_delivery_has_no_history;
        SentTwiceIsDropped by broker::a_message_sent_twice_is_delivered_twice;
        UnservedIsDropped by broker::an_unserved_endpoint_keeps_its_messages;
        EndpointsByPrefix by broker::endpoints_do_not_see_each_others_messages;
        DelayIsIgnored by broker::a_delayed_message_waits, broker::a_delay_holds_for_each_copy,
            queue_in_store::a_queued_message_waits_for_its_delay;
        OversizeSpoilsTheBatch by broker::a_message_above_the_limit_is_refused_alone;
        OversizeIsSent by broker::a_message_above_the_limit_is_refused_alone;
        EmptySendIsAnswered by broker::sending_nothing_is_no_error;
        BatchGoesToTheFirst by broker::a_batch_goes_to_many;
        NobodySubscribedIsRefused by broker::a_message_needs_no_subscribers,
            queue_in_store::a_queued_message_needs_no_subscribers;
        RegistrationAdds by broker::a_registration_replaces_the_last_one;
        CopyPerRegistration by broker::registering_again_makes_no_second_copy;
        SubscribersByPrefix by broker::each_subscriber_gets_one_copy;
        CopiesAreOneMessage by broker::copies_are_settled_apart;
    }

    mistakes_with_listing_subscribers_are_caught in RICH {
        ListedPerSubscription by broker::subscribers_are_listed_once;
        EveryoneIsListed by broker::an_unknown_type_has_no_subscribers,
            broker::subscribers_are_those_of_the_exact_type;
        ListedByPrefix by broker::subscribers_are_those_of_the_exact_type;
        ListedForEver by broker::subscribers_are_those_of_the_newest_registration;
    }

    mistakes_with_order_are_caught in RICH {
        OrderIsIgnored by broker::a_later_message_waits_for_a_leased_one,
            broker::concurrent_receivers_keep_a_keys_order;
        OrderForgetsTheLeased by broker::a_later_message_waits_for_a_leased_one;
        OrderForgetsTheWaiting by broker::a_later_message_waits_for_a_retried_one,
            broker::a_later_message_waits_for_a_delayed_one;
        OrderForgetsTheEnded by broker::a_later_message_waits_for_an_abandoned_one;
        OrderHoldsBehindDead by broker::a_later_message_follows_a_dead_letter;
        KeysHoldUpEachOther by broker::keys_do_not_hold_up_each_other;
        EndpointsHoldUpEachOther by broker::endpoints_do_not_hold_up_each_other;
    }

    mistakes_with_the_queue_in_the_store_are_caught in RICH {
        BatchIgnoresReceipts by queue_in_store::a_stale_receipt_loses_the_whole_batch,
            queue_in_store::an_expired_receipt_decides_for_the_whole_batch,
            queue_in_store::a_delivery_is_settled_once;
        ConflictSettles by queue_in_store::a_conflict_leaves_the_delivery_leased,
            queue_in_store::one_stale_receipt_loses_for_all;
        ConflictQueues by queue_in_store::a_conflict_leaves_the_delivery_leased;
        OversizeIsLeftOut by queue_in_store::a_message_above_the_limit_refuses_the_batch,
            queue_in_store::a_value_above_the_limit_refuses_the_batch,
            store::a_batch_with_a_value_above_the_limit_is_refused;
        BatchForgetsTheFailure by queue_in_store::retry_in_a_batch_keeps_the_failure;
        BatchForgetsTheEntity by queue_in_store::dead_letter_in_a_batch_keeps_the_entity;
        BatchQueuesNothing by queue_in_store::a_batch_settles_puts_and_queues,
            queue_in_store::a_queued_message_comes_to_each_subscriber;
        BatchQueuesInReverse by queue_in_store::a_batch_queues_in_its_order;
        BatchSettlesTheFirst by queue_in_store::a_batch_settles_many_deliveries;
        DeliveryTwiceIsApplied by queue_in_store::a_batch_settles_a_delivery_once;
    }

    mistakes_with_dead_letters_are_caught in RICH {
        DeadReceiptStays by operator::a_decision_is_made_once,
            queue_in_store::a_decided_dead_letter_loses_the_batch;
        DeadReceiptAges by operator::a_dead_letter_waits_for_its_person;
        DeadHasALease by operator::a_dead_letter_has_no_lease;
        ReplayForgetsHistory by operator::a_replay_delivers_again_with_its_history,
            operator::a_replayed_message_can_die_again;
        ReplayKeepsItsCounts by operator::a_replay_delivers_again_with_its_history;
        ReplayForgetsItsWait by operator::a_replay_waits_as_long_as_told;
        RemovalReplays by operator::a_removal_is_for_good;
        ReasonIsForgotten by operator::a_dead_letter_shows_its_reason,
            queue_in_store::dead_letter_in_a_batch_parks_the_message;
        RawIsEncoded by operator::a_dead_letter_shows_what_came;
        FirstEntityStays by operator::a_dead_letter_shows_the_entity_of_its_last_death;
        NoEntityIsEmpty by operator::a_dead_letter_shows_its_entity,
            operator::a_dead_letter_shows_the_entity_of_its_last_death,
            queue_in_store::dead_letter_in_a_batch_keeps_the_entity;
        EmptyEntityIsNone by operator::a_dead_letter_shows_its_entity;
        ListForgetsTheEntity by operator::a_dead_letter_shows_its_entity;
        LookUpForgetsTheEntity by operator::a_dead_letter_shows_its_entity;
        DeadSinceIsNow by operator::a_dead_letter_shows_since_when;
        DeadPagesRepeat by operator::dead_letters_are_listed_by_number;
        AliveIsListed by operator::an_unknown_number_finds_nothing,
            queue_in_store::a_dead_letter_is_decided_in_a_batch;
    }

    mistakes_with_inspection_are_caught in RICH {
        LookingRenewsReceipts by operator::looking_changes_nothing;
        EndedLeaseIsInFlight by operator::inspection_counts_an_ended_lease_as_ready;
        DelayedIsReady by operator::inspection_counts_a_delayed_message,
            operator::inspection_follows_a_messages_life;
        OldestIsTheYoungest by operator::inspection_tells_the_oldest_message;
        RegisteredOnceForAll by operator::inspection_shows_registrations;
        EmptyPlaceReportsItself by operator::an_empty_place_reports_nothing;
        InboxIsEntities by queue_in_store::inspection_counts_items;
        TokensAreEffects by queue_in_store::inspection_counts_items;
    }
}

/// A mistake that nobody catches is no mistake, or the contracts have a gap.
#[test]
fn every_mistake_is_caught() {
    let source = include_str!("memory/mutant.rs");
    let named = source.lines().filter_map(|line| line.trim().strip_suffix(','));
    let caught: Vec<String> = CAUGHT.iter().map(|mutant| format!("{mutant:?}")).collect();
    let missing: Vec<&str> =
        named.filter(|name| *name != "None" && !caught.iter().any(|c| c == name)).collect();
    assert!(missing.is_empty(), "no contract is said to catch {missing:?}");
}

/// A contract that catches nothing may hold vacuously.
#[test]
fn every_contract_catches_a_mistake() {
    let contracts = crate::suites::contracts();
    let idle: Vec<&String> =
        contracts.iter().filter(|contract| !CATCHING.contains(&contract.as_str())).collect();
    assert!(idle.is_empty(), "these catch no mistake: {idle:?}");
}
