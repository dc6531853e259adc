//! What a person decides about a dead letter, through the protocol.

use semel::core::broker::{SettleOutcome, Settlement};
use semel::core::operator::DeadLetter;
use semel::core::protocols::{Outcome, Protocol as _};
use semel::prelude::*;
use semel::{Envelope, Transactional};
use std::time::Duration;

use crate::bank::{Account, Attempts, Deposit, accounts, accounts_with, assert_ledger, audit, to};
use crate::fault::{Call, Fault, Tap};
use crate::rig::{Books, Home, Rig, at_once, dead_letters, put, retrying, work_off};

fn failing(attempts: &Attempts) -> Endpoint {
    let attempts = attempts.clone();
    let handler = move |_: &mut Account, _: Deposit, _: &mut Context| {
        Err::<(), _>(Failure::retry(format!("attempt {} failed", attempts.next())))
    };
    accounts_with(handler).settings(retrying(at_once(2)))
}

/// One dead letter, of the message `m-1`.
async fn dead(backend: &Backend) -> DeadLetter {
    backend.send_as("m-1", "accounts", to("alice", 7)).await.unwrap();
    work_off(backend, [failing(&Attempts::default())]).await;
    dead_letters(backend).await.remove(0)
}

async fn discard(backend: &Backend, dead: &DeadLetter) -> Outcome {
    Transactional::default().discard(dead, backend.places()).await
}

async fn replay(backend: &Backend, dead: &DeadLetter) {
    let release = Settlement::Release { after: Duration::ZERO };
    let settled = backend.broker().settle(&dead.receipt, release).await;
    assert!(matches!(settled, SettleOutcome::Settled), "{settled:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_copy_of_a_discarded_message_is_processed_later() {
    for home in Home::BOTH {
        let rig = Rig::at(home);
        let backend = rig.backend();
        let dead = dead(&backend).await;
        let outcome = discard(&backend, &dead).await;
        assert!(matches!(outcome, Outcome::Processed), "{outcome:?}");
        assert_eq!(rig.books(), Books { inbox: 1, ..Books::default() });

        backend.send_as("m-1", "accounts", to("alice", 7)).await.unwrap();
        work_off(&backend, [accounts(), audit()]).await;
        assert_ledger(&rig, "alice", &Account::default());
        // A failing copy is settled too, without another dead letter.
        backend.send_as("m-1", "accounts", to("alice", 7)).await.unwrap();
        work_off(&backend, [failing(&Attempts::default())]).await;
        assert_eq!(rig.books(), Books { inbox: 1, ..Books::default() }, "{home:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_discard_of_unknown_outcome_can_be_repeated() {
    for home in Home::BOTH {
        for fault in [Fault::NotApplied, Fault::ReplyLost] {
            let rig = Rig::at(home);
            let backend = rig.backend();
            let dead = dead(&backend).await;
            let tap = Tap::new(move |call, nth| match (call, nth) {
                (Call::Write, 1) => fault,
                _ => Fault::None,
            });
            let outcome = discard(&tap.on(backend.clone()), &dead).await;
            assert!(matches!(outcome, Outcome::Unavailable(_)), "{outcome:?}");
            let outcome = discard(&backend, &dead).await;
            // The second finds the work done, or does it.
            assert!(matches!(outcome, Outcome::Processed | Outcome::LeaseLost), "{outcome:?}");
            assert_eq!(rig.books(), Books { inbox: 1, ..Books::default() }, "{home:?} {fault:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_that_is_gone_cannot_be_discarded_and_blocks_nothing() {
    let rig = Rig::new();
    let backend = rig.backend();
    let dead = dead(&backend).await;
    replay(&backend, &dead).await;
    let outcome = discard(&backend, &dead).await;
    assert!(matches!(outcome, Outcome::LeaseLost), "{outcome:?}");
    work_off(&backend, [accounts(), audit()]).await;
    assert_ledger(&rig, "alice", &Account::of(7, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn undecodable_dead_letters_can_be_discarded() {
    for home in Home::BOTH {
        let rig = Rig::at(home);
        let backend = rig.backend();
        put(&backend, "accounts", Envelope::new("1", "/till", "account.deposit", "{")).await;
        backend.send("accounts", to("alice", 1)).await.unwrap();
        rig.damage_queue("UPDATE queue SET extensions = '{' WHERE message_id != '1'");
        work_off(&backend, [accounts()]).await;
        for dead in dead_letters(&backend).await {
            let outcome = discard(&backend, &dead).await;
            assert!(matches!(outcome, Outcome::Processed), "{outcome:?}");
        }
        // Only what has an identity can be remembered.
        assert_eq!(rig.books(), Books { inbox: 1, ..Books::default() }, "{home:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_brings_the_message_back_with_its_history_and_all_its_tries() {
    for home in Home::BOTH {
        let rig = Rig::at(home);
        let backend = rig.backend();
        let first = dead(&backend).await;
        assert_eq!(first.failures.len(), 3);
        replay(&backend, &first).await;
        let attempts = Attempts::default();
        work_off(&backend, [failing(&attempts)]).await;
        assert_eq!(attempts.count(), 3, "all its tries");
        let second = dead_letters(&backend).await.remove(0);
        assert_ne!(second.receipt, first.receipt);
        assert_eq!((second.failures.len(), second.deliveries), (6, 3));
        assert_eq!(second.failures[..3], first.failures[..], "with its history");

        replay(&backend, &second).await;
        work_off(&backend, [accounts(), audit()]).await;
        assert_ledger(&rig, "alice", &Account::of(7, 1));
        assert_eq!(rig.books(), Books { inbox: 2, ..Books::default() }, "{home:?}");
    }
}

/// A copy was processed while the dead letter lay there.
#[tokio::test(flavor = "multi_thread")]
async fn a_replayed_message_whose_copy_was_processed_is_a_duplicate() {
    for home in Home::BOTH {
        let rig = Rig::at(home);
        let backend = rig.backend();
        let dead = dead(&backend).await;
        backend.send_as("m-1", "accounts", to("alice", 7)).await.unwrap();
        work_off(&backend, [accounts(), audit()]).await;
        replay(&backend, &dead).await;
        work_off(&backend, [accounts(), audit()]).await;
        assert_ledger(&rig, "alice", &Account::of(7, 1));
        assert_eq!(rig.books(), Books { inbox: 2, ..Books::default() }, "{home:?}");
    }
}
