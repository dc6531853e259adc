//! `at_least_once`: loses nothing, and repeats.

use semel::core::broker::BrokerLimits;
use semel::core::protocols::{Outcome, Protocol as _};
use semel::prelude::*;
use semel::{AtLeastOnce, DeadReason, RetryPolicy};

use crate::bank::{
    Account, Attempts, Deposit, accounts, accounts_with, assert_ledger, audit, deposit, to,
};
use crate::by_hand::{LEASE, Varying, attempt, dies_at, take_one};
use crate::fault::{Call, Fault, Tap};
use crate::rig::{Books, Home, Rig, at_once, dead_letters, retrying, work_off};

fn naive() -> [Endpoint; 2] {
    [accounts().protocol(AtLeastOnce), audit().protocol(AtLeastOnce)]
}

/// The counterexample that names the price of having no memory.
#[tokio::test(flavor = "multi_thread")]
async fn a_duplicate_changes_the_state_twice() {
    for home in Home::BOTH {
        let rig = Rig::at(home);
        let backend = rig.backend();
        for _ in 0..2 {
            backend.send_as("m-1", "accounts", to("alice", 7)).await.unwrap();
        }
        work_off(&backend, naive()).await;
        assert_ledger(&rig, "alice", &Account::of(14, 2));
        assert_eq!(rig.books(), Books::default(), "{home:?}: and it remembers nothing");
    }
}

/// Each crash, and how often the message then counts: at least once.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_loses_nothing_and_may_repeat_everything() {
    let deaths = [
        (Call::Write, Fault::DiesBefore, 1, 1),
        (Call::Write, Fault::DiesAfter, 2, 1),
        (Call::Send, Fault::DiesBefore, 2, 1),
        (Call::Send, Fault::DiesAfter, 2, 2),
        (Call::Settle, Fault::DiesBefore, 2, 2),
        (Call::Settle, Fault::DiesAfter, 1, 1),
    ];
    for (call, fault, changes, effects) in deaths {
        let rig = Rig::new();
        let tap = Tap::new(move |c, _| if c == call { fault } else { Fault::None });
        let backend = rig.backend();
        backend.send("accounts", to("alice", 7)).await.unwrap();
        let tapped = tap.on(backend.clone());
        let delivery = take_one(&tapped, "accounts").await;
        let handler = Varying::from(7);
        dies_at(attempt(&tapped, &AtLeastOnce, &delivery, &handler), tap.dead()).await;
        rig.advance(LEASE);
        work_off(&backend, naive()).await;

        let found: Account = rig.state("accounts", "alice").unwrap();
        assert_eq!(found.deposits, changes, "{call:?} {fault:?}");
        let found: Account = rig.state("audit", "alice").unwrap();
        assert_eq!(found.deposits, effects, "{call:?} {fault:?}");
        assert_eq!(rig.books(), Books::default());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_before_the_state_is_durable() {
    let rig = Rig::new();
    let tap = Tap::new(|call, _| if call == Call::Write { Fault::DiesBefore } else { Fault::None });
    let backend = tap.on(rig.backend());
    backend.send("accounts", to("alice", 7)).await.unwrap();
    let sent_before = tap.count(Call::Send);
    let delivery = take_one(&backend, "accounts").await;
    dies_at(attempt(&backend, &AtLeastOnce, &delivery, &Varying::from(7)), tap.dead()).await;
    assert_eq!(tap.count(Call::Send), sent_before);
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_tried_again_and_dead_lettered_all_the_same() {
    let rig = Rig::new();
    let backend = rig.backend();
    backend.send("accounts", to("alice", 7)).await.unwrap();
    backend.send("accounts", to("bob", 8)).await.unwrap();
    let attempts = Attempts::default();
    let counted = attempts.clone();
    let handler = move |account: &mut Account, message: Deposit, ctx: &mut Context| {
        if message.account == "bob" {
            counted.next();
            return Err(Failure::retry("not yet"));
        }
        deposit(account, message, ctx);
        Ok(())
    };
    let endpoint = accounts_with(handler).protocol(AtLeastOnce).settings(retrying(at_once(2)));
    work_off(&backend, [endpoint, audit()]).await;
    assert_eq!(attempts.count(), 3);
    assert_eq!(dead_letters(&backend).await[0].failures.len(), 3);
    assert_ledger(&rig, "alice", &Account::of(7, 1));
    assert_ledger(&rig, "bob", &Account::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn outages_use_up_no_retry() {
    let rig = Rig::at(Home::Apart);
    let tap = Tap::new(|call, nth| match (call, nth) {
        (Call::Read | Call::Write, 1..=3) => Fault::NotApplied,
        _ => Fault::None,
    });
    let backend = tap.on(rig.backend());
    backend.send("accounts", to("alice", 7)).await.unwrap();
    let endpoint = accounts().protocol(AtLeastOnce).settings(retrying(RetryPolicy::NONE));
    work_off(&backend, [endpoint, audit()]).await;
    assert_ledger(&rig, "alice", &Account::of(7, 1));
    assert_eq!(rig.books(), Books { inbox: 1, ..Books::default() });
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_sent_is_found_before_the_state_changes() {
    let rig = Rig::new();
    let tap = Tap::counting()
        .with_broker_limits(|limits| BrokerLimits { message_bytes_max: 500, ..limits });
    let backend = tap.on(rig.backend());
    backend.send("accounts", to("alice", 7)).await.unwrap();
    let endpoint = accounts_with(|account: &mut Account, message: Deposit, ctx: &mut Context| {
        deposit(account, message, ctx);
        ctx.send("audit", to(&"x".repeat(500), 1));
    });
    work_off(&backend, [endpoint.protocol(AtLeastOnce)]).await;
    assert_eq!(dead_letters(&backend).await[0].reason, DeadReason::Refused);
    assert_eq!(rig.books(), Books { dead: 1, ..Books::default() });
    assert_ledger(&rig, "alice", &Account::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_discarded_dead_letter_is_gone_but_a_copy_is_processed() {
    let rig = Rig::new();
    let backend = rig.backend();
    backend.send_as("m-1", "accounts", to("alice", 7)).await.unwrap();
    let refusing = accounts_with(|_: &mut Account, _: Deposit, _: &mut Context| {
        Err::<(), _>(Failure::dead_letter("no"))
    });
    work_off(&backend, [refusing.protocol(AtLeastOnce)]).await;
    let dead = dead_letters(&backend).await.remove(0);
    let discarded = AtLeastOnce.discard(&dead, backend.places()).await;
    assert!(matches!(discarded, Outcome::Processed), "{discarded:?}");
    let again = AtLeastOnce.discard(&dead, backend.places()).await;
    assert!(matches!(again, Outcome::LeaseLost), "{again:?}");

    backend.send_as("m-1", "accounts", to("alice", 7)).await.unwrap();
    work_off(&backend, naive()).await;
    assert_ledger(&rig, "alice", &Account::of(7, 1));
}
