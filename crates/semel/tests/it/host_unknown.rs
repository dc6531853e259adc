//! Commits whose outcome nobody knows: not applied, applied, or landing late.

use std::sync::{Arc, OnceLock};

use semel::RetryPolicy;
use semel::core::Store as _;
use semel::core::store::WriteOutcome;
use semel::prelude::*;
use semel::sqlite::Sqlite;

use crate::bank::{
    Account, Attempts, Deposit, accounts, accounts_async, accounts_with, assert_ledger, audit,
    deposit, to,
};
use crate::fault::{Call, Fault, Tap};
use crate::gate::Gate;
use crate::rig::{Books, Home, Rig, host, retrying, work_off};

/// A failure would be seen: it waits in the queue.
const LATER: RetryPolicy = RetryPolicy {
    delayed: 3,
    first_delay: std::time::Duration::from_secs(60),
    delay_max: std::time::Duration::from_secs(60),
    ..RetryPolicy::NONE
};

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_of_unknown_outcome_counts_once_whether_it_was_applied_or_not() {
    use Fault::{NotApplied, ReplyLost};
    // What becomes of each write, and how often the handler runs.
    let plans: [(&[Fault], u64); 4] = [
        (&[NotApplied], 2),
        (&[ReplyLost], 1),
        (&[NotApplied, NotApplied, ReplyLost], 3),
        (&[ReplyLost, ReplyLost, ReplyLost], 1),
    ];
    for home in Home::BOTH {
        for (faults, runs) in plans {
            let rig = Rig::at(home);
            let tap = Tap::new(move |call, nth| match call {
                Call::Write => faults.get(nth as usize - 1).copied().unwrap_or(Fault::None),
                _ => Fault::None,
            });
            let attempts = Attempts::default();
            let counted = attempts.clone();
            let handler = move |account: &mut Account, message: Deposit, ctx: &mut Context| {
                counted.next();
                deposit(account, message, ctx);
            };
            let backend = tap.on(rig.backend());
            backend.send("accounts", to("alice", 7)).await.unwrap();
            let endpoint = accounts_with(handler).settings(retrying(RetryPolicy::NONE));
            work_off(&backend, [endpoint]).await;
            // All is decided now: the delivery is settled without waiting for its lease.
            let expected = Books { queued: 1, inbox: 1, ..Books::default() };
            assert_eq!(rig.books(), expected, "{faults:?}, {home:?}");
            assert_eq!(attempts.count(), runs, "{faults:?}, {home:?}");

            work_off(&rig.backend(), [audit()]).await;
            assert_ledger(&rig, "alice", &Account::of(7, 1));
        }
    }
}

/// A layer below repeats the first commit, and answers with the fate of the repetition.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_is_applied_twice_counts_once() {
    for home in Home::BOTH {
        for fault in [Fault::None, Fault::Terse, Fault::ReplyLost] {
            let rig = Rig::at(home);
            let outside = rig.open_store();
            let first: Arc<OnceLock<Tap>> = Arc::default();
            let tapped = first.clone();
            let tap = Tap::acting(move |call, nth| {
                let (outside, tapped) = (outside.clone(), tapped.clone());
                Box::pin(async move {
                    if (call, nth) != (Call::Write, 1) {
                        return Fault::None;
                    }
                    let commit = tapped.get().unwrap().written()[0].clone();
                    let applied = outside.write(commit).await;
                    assert!(matches!(applied, WriteOutcome::Applied(_)), "{applied:?}");
                    fault
                })
            });
            first.set(tap.clone()).unwrap();
            rig.backend().send("accounts", to("alice", 7)).await.unwrap();
            let endpoint = accounts().settings(retrying(LATER));
            work_off(&tap.on(rig.backend()), [endpoint, audit()]).await;
            assert_ledger(&rig, "alice", &Account::of(7, 1));
            assert_eq!(rig.books(), Books { inbox: 2, ..Books::default() }, "{home:?} {fault:?}");
        }
    }
}

/// How the second attempt ends, on the state that it read before the first attempt's commit landed.
#[derive(Clone, Copy, Debug)]
enum Second {
    Succeeds,
    Fails,
    FailsForGood,
    Panics,
}

/// The first attempt's commit lands while the second attempt is at work.
fn landing_late(tap: &Tap, outside: &Arc<Sqlite>, second: Second) -> Endpoint {
    let attempts = Attempts::default();
    let (tap, outside) = (tap.clone(), outside.clone());
    accounts_async(move |account, message, ctx| {
        let (tap, outside, attempt) = (tap.clone(), outside.clone(), attempts.next());
        Box::pin(async move {
            deposit(account, message, ctx);
            if attempt == 1 {
                return Ok(());
            }
            let landed = outside.write(tap.written()[0].clone()).await;
            assert!(matches!(landed, WriteOutcome::Applied(_)), "{landed:?}");
            match second {
                Second::Succeeds => Ok(()),
                Second::Fails => Err(Failure::retry("no")),
                Second::FailsForGood => Err(Failure::dead_letter("never")),
                Second::Panics => panic!("no"),
            }
        })
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_lands_late_counts_and_the_attempt_that_followed_does_not() {
    let cases = [
        (Second::Succeeds, Fault::None),
        (Second::Succeeds, Fault::Terse),
        // The conflict with the own first commit is lost as well.
        (Second::Succeeds, Fault::ReplyLost),
        (Second::Fails, Fault::None),
        (Second::FailsForGood, Fault::None),
        (Second::Panics, Fault::None),
    ];
    for home in Home::BOTH {
        for (second, fault) in cases {
            let rig = Rig::at(home);
            let tap = Tap::new(move |call, nth| match (call, nth) {
                (Call::Write, 1) => Fault::NotApplied,
                (Call::Write, 2) => fault,
                _ => Fault::None,
            });
            let endpoint = landing_late(&tap, &rig.open_store(), second);
            rig.backend().send("accounts", to("alice", 7)).await.unwrap();
            work_off(&tap.on(rig.backend()), [endpoint.settings(retrying(LATER))]).await;
            let expected = Books { queued: 1, inbox: 1, ..Books::default() };
            assert_eq!(rig.books(), expected, "{second:?}, {fault:?}, {home:?}");
            work_off(&rig.backend(), [audit()]).await;
            assert_ledger(&rig, "alice", &Account::of(7, 1));
        }
    }
}

/// Fails for want of a state that a copy of the message has changed meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_fails_while_a_copy_is_processed_is_a_duplicate() {
    for home in Home::BOTH {
        let rig = Rig::at(home);
        for _ in 0..2 {
            rig.backend().send_as("m-1", "accounts", to("alice", 7)).await.unwrap();
        }
        let gate = Gate::new();
        let waiting = gate.clone();
        let failing = accounts_async(move |_, _, _| {
            let gate = waiting.clone();
            Box::pin(async move {
                gate.pass().await;
                Err(Failure::retry("no"))
            })
        });
        let one = semel::Settings { held_max: 1, ..retrying(LATER) };
        let slow = host(&rig.backend(), [failing.settings(one)]).run_until_idle();
        let slow = tokio::spawn(slow);
        gate.arrived(1).await;
        work_off(&rig.backend(), [accounts(), audit()]).await;
        gate.open();
        slow.await.unwrap().unwrap();
        assert_ledger(&rig, "alice", &Account::of(7, 1));
        assert_eq!(rig.books(), Books { inbox: 2, ..Books::default() }, "{home:?}");
    }
}
