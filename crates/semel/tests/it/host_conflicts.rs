//! Entities that change between read and commit, and commits whose outcome nobody knows.

use std::sync::Arc;

use semel::{RetryPolicy, Settings};
use semel::core::Store;
use semel::core::store::{Change, Expect, ItemKey, Keep, Space, WriteOutcome};
use semel::prelude::*;

use crate::bank::{Account, Attempts, Deposit, accounts_with, assert_ledger, audit, deposit, to};
use crate::fault::{Call, Fault, Tap};
use crate::rig::{Books, Home, Rig, retrying, work_off};

/// Handles deposits without any retry: what is tried again is no failure.
fn counted(attempts: &Attempts) -> Endpoint {
    let attempts = attempts.clone();
    let handler = move |account: &mut Account, message: Deposit, ctx: &mut Context| {
        attempts.next();
        deposit(account, message, ctx);
    };
    accounts_with(handler).settings(retrying(RetryPolicy::NONE))
}

/// Pays 1,000 pence into the account of `alice`, past any message.
async fn intrude(store: Arc<impl Store>) {
    let key = ItemKey::new(Space::Entity, "accounts", "alice");
    let found = store.read(&key).await.unwrap();
    let mut account: Account =
        found.as_ref().map_or_else(Account::default, |item| serde_json::from_slice(&item.value).unwrap());
    account.pence += 1_000;
    let put = Change::Put {
        key,
        value: serde_json::to_vec(&account).unwrap().into(),
        expect: found.map_or(Expect::Absent, |item| Expect::Version(item.version)),
        keep: Keep::Always,
    };
    let WriteOutcome::Applied(_) = store.write(vec![put]).await else { panic!("nobody else writes") };
}

/// Changes the entity right before each of the first `times` commits.
fn intruding(rig: &Rig, times: u64, otherwise: Fault) -> Tap {
    let outside = rig.open_store();
    Tap::acting(move |call, nth| {
        let outside = outside.clone();
        Box::pin(async move {
            if call == Call::Write && nth <= times {
                intrude(outside).await;
            }
            otherwise
        })
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_runs_the_handler_again_on_the_fresh_state_and_uses_up_no_retry() {
    for home in Home::BOTH {
        // Whether the entity is new or not, and whether the store names the conflict's position.
        for (begins_with, fault) in [(0, Fault::None), (1, Fault::None), (1, Fault::Terse)] {
            let rig = Rig::at(home);
            if begins_with > 0 {
                intrude(rig.open_store()).await;
            }
            let backend = intruding(&rig, 3, fault).on(rig.backend());
            let attempts = Attempts::default();
            backend.send("accounts", to("alice", 7)).await.unwrap();
            work_off(&backend, [counted(&attempts), audit()]).await;

            assert_eq!(attempts.count(), 4, "{home:?}");
            let pence = 1_000 * (3 + begins_with) + 7;
            assert_eq!(rig.state("accounts", "alice"), Some(Account::of(pence, 1)), "{home:?}");
            assert_eq!(rig.state("audit", "alice"), Some(Account::of(7, 1)), "{home:?}");
            assert_eq!(rig.books(), Books { inbox: 2, ..Books::default() }, "{home:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_effects_of_the_attempt_that_won_are_sent() {
    for home in Home::BOTH {
        let rig = Rig::at(home);
        let backend = intruding(&rig, 1, Fault::None).on(rig.backend());
        let attempts = Attempts::default();
        let handler = move |account: &mut Account, message: Deposit, ctx: &mut Context| {
            let pence = message.pence + 100 * attempts.next() as i64;
            deposit(account, Deposit { pence, ..message }, ctx);
        };
        backend.send("accounts", to("alice", 7)).await.unwrap();
        work_off(&backend, [accounts_with(handler), audit()]).await;
        assert_eq!(rig.state("accounts", "alice"), Some(Account::of(1_207, 1)), "{home:?}");
        assert_eq!(rig.state("audit", "alice"), Some(Account::of(207, 1)), "{home:?}");
    }
}

/// Handlers whose second run, on the state of the first, ends in each possible way.
fn reruns(attempts: &Attempts) -> [(&'static str, Endpoint); 3] {
    let failing = |verdict: fn(&'static str) -> Failure| {
        let attempts = attempts.clone();
        let handler = move |account: &mut Account, message: Deposit, ctx: &mut Context| {
            attempts.next();
            deposit(account, message, ctx);
            if account.deposits > 1 { Err(verdict("once is enough")) } else { Ok(()) }
        };
        accounts_with(handler).settings(retrying(RetryPolicy::NONE))
    };
    [
        ("adds", counted(attempts)),
        ("fails", failing(Failure::retry)),
        ("fails for good", failing(Failure::dead_letter)),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_of_unknown_outcome_counts_once_whether_it_was_applied_or_not() {
    let plans: [(&str, &[Fault]); 5] = [
        ("not applied", &[Fault::NotApplied]),
        ("applied", &[Fault::ReplyLost]),
        ("not applied, then applied", &[Fault::NotApplied, Fault::NotApplied, Fault::ReplyLost]),
        // The second answer is a conflict with the own first write, and is lost too.
        ("applied, then a conflict nobody heard of", &[Fault::ReplyLost, Fault::ReplyLost]),
        ("applied, then a conflict without position", &[Fault::ReplyLost, Fault::Terse]),
    ];
    for home in Home::BOTH {
        for (plan, faults) in plans {
            for rerun in 0..3 {
                let rig = Rig::at(home);
                let tap = Tap::new(move |call, nth| match call {
                    Call::Write => faults.get(nth as usize - 1).copied().unwrap_or(Fault::None),
                    _ => Fault::None,
                });
                let attempts = Attempts::default();
                let (handler, endpoint) =
                    reruns(&attempts).into_iter().nth(rerun).expect("there are three");
                let backend = tap.on(rig.backend());
                backend.send("accounts", to("alice", 7)).await.unwrap();
                work_off(&backend, [endpoint]).await;
                // All is decided now: the delivery is settled without waiting for its lease.
                let at = format!("{plan}, {home:?}, the handler {handler}");
                let expected = Books { queued: 1, inbox: 1, ..Books::default() };
                assert_eq!(rig.books(), expected, "{at}");
                let failures = "SELECT sum(failure_count) FROM queue";
                assert_eq!(rig.ask_queue(failures), Some(0_u32), "{at}");
                assert!(attempts.count() > 1, "{at}: it ran again");

                work_off(&rig.backend(), [audit()]).await;
                assert_ledger(&rig, "alice", &Account::of(7, 1));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_that_follows_an_unknown_commit_is_no_proof_that_it_was_not_applied() {
    for home in Home::BOTH {
        let rig = Rig::at(home);
        let outside = rig.open_store();
        // The first commit is applied without an answer, and then another changes the entity.
        let tap = Tap::acting(move |call, nth| {
            let outside = outside.clone();
            Box::pin(async move {
                match (call, nth) {
                    (Call::Write, 1) => Fault::ReplyLost,
                    (Call::Write, 2) => {
                        intrude(outside).await;
                        Fault::Terse
                    }
                    _ => Fault::None,
                }
            })
        });
        let backend = tap.on(rig.backend());
        backend.send("accounts", to("alice", 7)).await.unwrap();
        work_off(&backend, [counted(&Attempts::default()), audit()]).await;
        assert_eq!(rig.state("accounts", "alice"), Some(Account::of(1_007, 1)), "{home:?}");
        assert_eq!(rig.state("audit", "alice"), Some(Account::of(7, 1)), "{home:?}");
    }
}

/// Messages of one entity at two workers conflict, and each still counts once.
#[tokio::test(flavor = "multi_thread")]
async fn workers_that_fight_over_one_entity_lose_nothing() {
    for home in Home::BOTH {
        let rig = Rig::at(home);
        let feeder = rig.backend();
        for n in 0..100 {
            feeder.send_as(&n.to_string(), "accounts", to("alice", n)).await.unwrap();
        }
        let attempts = Attempts::default();
        let mut workers = Vec::new();
        for _ in 0..3 {
            let one_each = Settings { held_max: 2, ..retrying(RetryPolicy::NONE) };
            let endpoint = counted(&attempts).settings(one_each);
            workers.push(tokio::spawn(crate::rig::host(&rig.backend(), [endpoint]).run_until_idle()));
        }
        for worker in workers {
            worker.await.unwrap().unwrap();
        }
        work_off(&feeder, [counted(&attempts), audit()]).await;
        assert_ledger(&rig, "alice", &Account::of(4_950, 100));
        assert_eq!(rig.books(), Books { inbox: 200, ..Books::default() }, "{home:?}");
    }
}
