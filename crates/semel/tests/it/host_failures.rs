//! Handlers that fail: tried again at once, then later, then dead-lettered.

use std::sync::Arc;
use std::time::Duration;

use semel::prelude::*;
use semel::{DeadReason, Entropy, RetryPolicy, Timestamp};

use crate::bank::{
    Account, Attempts, Deposit, accounts, accounts_with, assert_ledger, audit, deposit, to,
};
use crate::fault::{Call, Tap};
use crate::rig::{Books, Home, Rig, at_once, dead_letters, retrying, work_off};

/// Fails every attempt, after it changed the state and declared effects.
fn hopeless(attempts: &Attempts, retry: RetryPolicy) -> Endpoint {
    let attempts = attempts.clone();
    let handler = move |account: &mut Account, message: Deposit, ctx: &mut Context| {
        deposit(account, message, ctx);
        Err::<(), _>(Failure::retry(format!("attempt {} failed", attempts.next())))
    };
    accounts_with(handler).settings(retrying(retry))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_message_is_tried_at_once_then_later_then_dead_lettered_with_its_history() {
    let policy = RetryPolicy {
        immediate: 2,
        delayed: 3,
        first_delay: Duration::from_secs(1),
        delay_max: Duration::from_secs(3),
        jitter: 0.0,
    };
    for home in Home::BOTH {
        let rig = Rig::at(home);
        let attempts = Attempts::default();
        rig.backend().send_as("m-1", "accounts", to("alice", 7)).await.unwrap();
        let mut failed_at: Vec<Timestamp> = Vec::new();
        for (round, wait_ms) in [(1, 1_000), (2, 2_000), (3, 3_000)] {
            // Each round in a host of its own: what counts lies in the queue.
            work_off(&rig.backend(), [hopeless(&attempts, policy)]).await;
            failed_at.push(semel::Clock::now(&*rig.clock));
            assert_eq!(attempts.count(), 3 * round, "one attempt and two at once");
            let available: i64 = rig.ask_queue("SELECT available_at FROM queue").unwrap();
            assert_eq!(rig.ms_until(available), wait_ms);

            rig.advance(Duration::from_millis(wait_ms as u64 - 1));
            work_off(&rig.backend(), [hopeless(&attempts, policy)]).await;
            assert_eq!(attempts.count(), 3 * round, "not before its time");
            rig.advance(Duration::from_millis(1));
        }
        let backend = rig.backend();
        work_off(&backend, [hopeless(&attempts, policy)]).await;
        failed_at.push(semel::Clock::now(&*rig.clock));

        assert_eq!(attempts.count(), 12);
        assert_eq!(rig.books(), Books { dead: 1, ..Books::default() });
        let dead = dead_letters(&backend).await.remove(0);
        assert_eq!((dead.endpoint.as_str(), dead.reason), ("accounts", DeadReason::HandlerFailed));
        assert_eq!((dead.deliveries, dead.dead_since), (4, failed_at[3]));
        assert_eq!(dead.envelope.unwrap().id, "m-1");
        let history: Vec<_> =
            dead.failures.iter().map(|f| (f.at, f.reason.as_str(), f.worker.as_str())).collect();
        let expected: Vec<_> = failed_at
            .into_iter()
            .zip(["attempt 3 failed", "attempt 6 failed", "attempt 9 failed", "attempt 12 failed"])
            .map(|(at, reason)| (at, reason, "w1"))
            .collect();
        assert_eq!(history, expected, "{home:?}");
        assert_eq!(rig.state::<Account>("accounts", "alice"), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_history_keeps_the_newest_twenty_failures_and_counts_all() {
    let rig = Rig::new();
    let backend = rig.backend();
    let attempts = Attempts::default();
    backend.send("accounts", to("alice", 7)).await.unwrap();
    work_off(&backend, [hopeless(&attempts, at_once(30))]).await;

    assert_eq!(attempts.count(), 31);
    let dead = dead_letters(&backend).await.remove(0);
    let reasons: Vec<String> = dead.failures.into_iter().map(|failure| failure.reason).collect();
    let newest: Vec<String> = (12..=31).map(|n| format!("attempt {n} failed")).collect();
    assert_eq!(reasons, newest);
    assert_eq!(rig.ask_queue("SELECT failure_count FROM dead_letter"), Some(31_u32));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_that_says_so_is_dead_lettered_at_once() {
    let rig = Rig::new();
    let backend = rig.backend();
    let attempts = Attempts::default();
    let counted = attempts.clone();
    backend.send("accounts", to("alice", 7)).await.unwrap();
    let endpoint = accounts_with(move |_: &mut Account, _: Deposit, _: &mut Context| {
        counted.next();
        Err::<(), _>(Failure::dead_letter("the account is frozen"))
    });
    work_off(&backend, [endpoint]).await;
    assert_eq!(attempts.count(), 1);
    let dead = dead_letters(&backend).await.remove(0);
    assert_eq!(dead.reason, DeadReason::HandlerFailed);
    assert_eq!(dead.failures[0].reason, "the account is frozen");
    assert_eq!(dead.failures.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_attempts_leave_no_trace_in_state_and_effects() {
    for home in Home::BOTH {
        // The third attempt succeeds: at once, or in a later delivery.
        for retry in [RetryPolicy { immediate: 2, ..RetryPolicy::NONE }, at_once(2)] {
            let rig = Rig::at(home);
            let backend = rig.backend();
            backend.send("accounts", to("alice", 7)).await.unwrap();
            let attempts = Attempts::default();
            let handler = move |account: &mut Account, message: Deposit, ctx: &mut Context| {
                deposit(account, message, ctx);
                match attempts.next() {
                    1 => Err(Failure::retry("not yet")),
                    2 => panic!("nor now"),
                    _ => Ok(()),
                }
            };
            work_off(&backend, [accounts_with(handler).settings(retrying(retry)), audit()]).await;
            assert_ledger(&rig, "alice", &Account::of(7, 1));
            assert_eq!(rig.books(), Books { inbox: 2, ..Books::default() }, "{home:?} {retry:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_message_fails_alone() {
    for home in Home::BOTH {
        let rig = Rig::at(home);
        let backend = rig.backend();
        for pence in 1..=50 {
            backend.send("accounts", to(&format!("account-{}", pence % 10), pence)).await.unwrap();
        }
        let handler = |account: &mut Account, message: Deposit, ctx: &mut Context| {
            if message.pence == 13 {
                return Err(Failure::retry("bad luck"));
            }
            deposit(account, message, ctx);
            Ok(())
        };
        let endpoint = accounts_with(handler).settings(retrying(at_once(3)));
        work_off(&backend, [endpoint, audit()]).await;
        for account in 0..10 {
            let pence = (1..=50).filter(|pence| pence % 10 == account && *pence != 13);
            let expected = Account::of(pence.clone().sum(), pence.count() as u64);
            assert_ledger(&rig, &format!("account-{account}"), &expected);
        }
        assert_eq!(rig.books(), Books { dead: 1, inbox: 98, ..Books::default() }, "{home:?}");
    }
}

/// A condition that does not hold costs one request, not the transaction that it shares.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_result_fails_alone_in_its_group_commit() {
    let rig = Rig::new();
    let tap = Tap::counting();
    let file = rig.open_store();
    let backend = tap.on(Backend::in_one(file.clone()).with_clock(rig.clock.clone()));
    for n in 0..20 {
        backend.send("accounts", to(&format!("account-{n}"), n)).await.unwrap();
    }
    let gate = crate::gate::Gate::new();
    let waiting = gate.clone();
    let handler = crate::bank::accounts_async(move |account, message, ctx| {
        let gate = waiting.clone();
        Box::pin(async move {
            gate.pass().await;
            if message.pence == 13 {
                let text = "x".repeat(17 << 20);
                ctx.send("audit", to(&text, 0));
            }
            deposit(account, message, ctx);
            Ok(())
        })
    });
    let worker = tokio::spawn(crate::rig::host(&backend, [handler]).run_until_idle());
    gate.arrived(20).await;
    let lock = rig.lock_store();
    gate.open();
    tap.reached(Call::Write, 20).await;
    let commits_before = file.commits();
    drop(lock);
    worker.await.unwrap().unwrap();

    assert_eq!(rig.books(), Books { queued: 19, dead: 1, inbox: 19, outbox: 0 });
    // The first request may have gone ahead alone; then all others together; then the dead letter,
    // and a few looks for more.
    assert!(file.commits() - commits_before < 19, "the writes shared a transaction");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_reason_is_cut_between_two_characters() {
    let rig = Rig::new();
    let backend = rig.backend();
    backend.send("accounts", to("alice", 7)).await.unwrap();
    let endpoint = accounts_with(|_: &mut Account, _: Deposit, _: &mut Context| {
        // The limit of 4,096 bytes lies inside a crab.
        Err::<(), _>(Failure::dead_letter(format!("x{}", "🦀".repeat(2_000))))
    });
    work_off(&backend, [endpoint]).await;
    let dead = dead_letters(&backend).await.remove(0);
    assert_eq!(dead.failures[0].reason, format!("x{}…", "🦀".repeat(1_023)));
}

#[derive(Debug)]
struct Fixed(u128);

impl Entropy for Fixed {
    fn bits(&self) -> u128 {
        self.0
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn jitter_spreads_the_waits() {
    let policy = RetryPolicy { immediate: 0, jitter: 0.25, ..RetryPolicy::default() };
    for (bits, wait_ms) in [(0, 750), (u128::MAX, 1_250), (u128::MAX >> 1, 1_000)] {
        let rig = Rig::new();
        let backend = rig.backend().with_entropy(Arc::new(Fixed(bits)));
        backend.send("accounts", to("alice", 7)).await.unwrap();
        work_off(&backend, [hopeless(&Attempts::default(), policy)]).await;
        let available: i64 = rig.ask_queue("SELECT available_at FROM queue").unwrap();
        assert!((rig.ms_until(available) - wait_ms).abs() <= 1, "{bits:x}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_state_is_the_handlers_failure_and_stays_as_it_is() {
    let rig = Rig::new();
    let backend = rig.backend();
    backend.send("accounts", to("alice", 7)).await.unwrap();
    work_off(&backend, [accounts()]).await;
    rig.damage_store("UPDATE entity SET state = '{broken'");
    backend.send("accounts", to("alice", 7)).await.unwrap();
    work_off(&backend, [accounts().settings(retrying(at_once(1)))]).await;

    let dead = dead_letters(&backend).await.remove(0);
    assert_eq!((dead.reason, dead.failures.len()), (DeadReason::HandlerFailed, 2));
    assert!(dead.failures[0].reason.contains("the entity's state cannot be read"), "{dead:?}");
    let state: String = rig.ask_store("SELECT state FROM entity").unwrap();
    assert_eq!(state, "{broken");
}
