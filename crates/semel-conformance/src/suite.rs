//! The list of contracts, and the macro that makes each of them a test.

/// Makes a `#[tokio::test]` of every contract of a suite: `store`, `broker`, `operator` or
/// `queue_in_store`.
///
/// The second argument is a future that gives a fresh rig, evaluated once for each test. The calling
/// crate needs `tokio` with `macros` and `rt-multi-thread`: contracts about races want two threads.
#[macro_export]
macro_rules! suite {
    (store, $open:expr) => {
        $crate::suite! { @tests $open, store:
            an_empty_batch_is_applied
            a_batch_applies_all_its_changes
            a_conflict_writes_nothing_of_its_batch
            a_conflict_names_only_failed_conditions
            a_batch_is_as_wide_as_its_limit
            a_batch_names_an_item_once
            a_batch_across_partitions_is_atomic_or_refused
            a_batch_with_a_value_above_the_limit_is_refused

            every_space_keeps_the_conditions
            put_expecting_absent_only_creates
            put_expecting_a_version_replaces_only_it
            put_expecting_anything_creates_or_replaces
            delete_expecting_absent_only_checks
            delete_expecting_a_version_deletes_only_it
            delete_expecting_anything_never_conflicts

            a_dropped_write_is_whole_or_nothing

            an_item_never_put_is_absent
            a_value_comes_back_as_it_was_put
            the_largest_value_is_kept
            a_value_above_the_limit_is_refused
            a_write_is_seen_by_every_handle
            an_item_outlives_its_handle
            a_queue_is_inside_or_refused

            spaces_do_not_meet
            odd_keys_are_kept_apart
            long_keys_are_kept_apart
            a_key_with_nul_is_whole_or_refused

            a_listing_is_in_order
            a_listing_goes_on_after_a_key
            a_listing_shows_one_space
            a_listing_shows_what_a_read_shows

            concurrent_updates_lose_nothing
            concurrent_batches_do_not_interleave
            concurrent_creates_have_one_winner
            concurrent_deletes_have_one_winner

            applied_tells_the_version_that_a_read_shows
            a_version_never_repeats
            the_same_value_again_is_a_new_version
            an_old_version_loses_after_delete_and_create

            an_item_is_kept_for_its_window
            an_item_past_its_window_is_whole_or_gone
            a_version_does_not_repeat_past_a_window
            a_put_replaces_the_window
        }
    };
    (broker, $open:expr) => {
        $crate::suite! { @tests $open, broker:
            a_message_arrives_unharmed
            a_first_delivery_has_no_history
            a_message_sent_twice_is_delivered_twice
            a_message_outlives_its_handle
            an_unserved_endpoint_keeps_its_messages
            endpoints_do_not_see_each_others_messages
            every_delivery_has_a_receipt_of_its_own

            a_leased_message_is_not_received_by_another
            a_message_comes_again_after_its_lease
            an_expired_receipt_settles_wholly_or_not_at_all
            an_extended_lease_holds_under_the_same_receipt
            an_extended_lease_ends
            an_extension_is_lost_once_another_took
            an_extension_is_lost_once_settled
            an_extension_answers_for_each_receipt

            a_later_message_waits_for_a_leased_one
            a_later_message_waits_for_a_retried_one
            a_later_message_waits_for_a_delayed_one
            a_later_message_waits_for_an_abandoned_one
            a_later_message_follows_a_dead_letter
            within_a_receive_a_key_is_in_order
            keys_do_not_hold_up_each_other
            endpoints_do_not_hold_up_each_other

            concurrent_receivers_share_no_message
            concurrent_receivers_keep_a_keys_order
            concurrent_settlements_have_one_winner

            the_oldest_message_comes_first
            a_receive_takes_at_most_max
            a_receive_takes_at_most_its_limit
            an_empty_receive_comes_back
            a_waiting_receive_gets_what_comes
            a_dropped_receive_loses_nothing

            a_delayed_message_waits
            the_largest_message_is_sent
            a_message_above_the_limit_is_refused_alone
            sending_nothing_is_no_error
            a_batch_goes_to_many

            ack_removes_for_good
            a_dead_letter_is_not_received_again
            release_returns_a_message_at_once
            release_returns_a_message_after_its_wait
            retry_returns_a_message_with_its_failure
            the_newest_failures_are_kept
            there_is_no_limit_of_deliveries
            a_settlement_touches_no_other_delivery

            a_stale_receipt_settles_nothing
            a_returned_receipt_settles_nothing
            a_removed_message_stays_removed
            a_parked_message_stays_parked
            a_receipt_of_a_removed_message_is_not_another_ones

            each_subscriber_gets_one_copy
            a_message_needs_no_subscribers
            a_registration_replaces_the_last_one
            registering_again_makes_no_second_copy
            copies_are_settled_apart
            a_delay_holds_for_each_copy

            subscribers_are_listed_once
            an_unknown_type_has_no_subscribers
            subscribers_are_those_of_the_exact_type
            subscribers_are_those_of_the_newest_registration
        }
    };
    (operator, $open:expr) => {
        $crate::suite! { @tests $open, operator:
            a_dead_letter_shows_its_history
            a_dead_letter_shows_its_reason
            a_dead_letter_shows_what_came
            a_dead_letter_shows_its_entity
            a_dead_letter_shows_the_entity_of_its_last_death
            a_dead_letter_keeps_the_newest_failures
            a_dead_letter_shows_since_when
            dead_letters_are_listed_by_number
            an_unknown_number_finds_nothing
            looking_changes_nothing

            a_replay_delivers_again_with_its_history
            a_replay_waits_as_long_as_told
            a_replayed_message_can_die_again
            a_removal_is_for_good
            a_decision_is_made_once
            a_dead_letter_waits_for_its_person
            concurrent_decisions_have_one_winner
            a_dead_letter_has_no_lease

            an_empty_place_reports_nothing
            inspection_follows_a_messages_life
            inspection_counts_an_ended_lease_as_ready
            inspection_counts_a_delayed_message
            inspection_tells_the_oldest_message
            inspection_shows_registrations
        }
    };
    (queue_in_store, $open:expr) => {
        $crate::suite! { @tests $open, queue_in_store:
            a_batch_settles_puts_and_queues
            a_conflict_leaves_the_delivery_leased
            a_stale_receipt_loses_the_whole_batch
            one_stale_receipt_loses_for_all
            a_batch_settles_many_deliveries
            a_message_above_the_limit_refuses_the_batch
            a_value_above_the_limit_refuses_the_batch

            a_delivery_is_settled_once
            an_extended_lease_is_settled_in_a_batch
            an_expired_receipt_decides_for_the_whole_batch
            a_batch_settles_a_delivery_once

            a_dead_letter_is_decided_in_a_batch
            a_decided_dead_letter_loses_the_batch
            inspection_counts_items

            concurrent_batches_settle_a_delivery_once
            every_message_is_processed_once

            a_queued_message_arrives_unharmed
            a_queued_message_comes_to_each_subscriber
            a_queued_message_needs_no_subscribers
            a_queued_message_waits_for_its_delay
            a_batch_queues_in_its_order

            retry_in_a_batch_keeps_the_failure
            release_in_a_batch_blames_nobody
            dead_letter_in_a_batch_parks_the_message
            dead_letter_in_a_batch_keeps_the_entity
        }
    };
    (@tests $open:expr, $suite:ident: $($contract:ident)+) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $contract() {
            let rig = $open.await;
            $crate::$suite::$contract(&rig).await;
        }
    )+};
}
