//! `transactional` with the broker elsewhere: the outbox carries committed effects over every crash.

use semel::Transactional;
use semel::core::operator::DeadLetter;
use semel::core::protocols::{Outcome, Protocol as _};
use semel::prelude::*;
use serde_json::Value;

use crate::bank::{Account, accounts, assert_ledger, audit, to};
use crate::by_hand::{Failing, LEASE, Varying, attempt, dies_at, take, take_one};
use crate::fault::{Call, Fault, Tap};
use crate::rig::{Books, Home, Rig, dead_letters, work_off};

fn transactional() -> Transactional {
    Transactional::default()
}

/// Puts the `fault` in the way of the `nth` call of one kind.
fn at(call: Call, nth: u64, fault: Fault) -> Tap {
    Tap::new(move |c, n| if (c, n) == (call, nth) { fault } else { Fault::None })
}

/// Lets a worker take the one message and die at the `nth` call of one kind.
async fn die(rig: &Rig, call: Call, nth: u64, fault: Fault, handler: &Varying) -> Tap {
    let tap = at(call, nth, fault);
    let backend = tap.on(rig.backend());
    let delivery = take_one(&backend, "accounts").await;
    let protocol = transactional();
    dies_at(attempt(&backend, &protocol, &delivery, handler), tap.dead()).await;
    tap
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_before_the_state_is_durable() {
    let rig = Rig::at(Home::Apart);
    rig.backend().send("accounts", to("alice", 7)).await.unwrap();
    let tap = die(&rig, Call::Write, 1, Fault::DiesBefore, &Varying::from(7)).await;
    assert_eq!((tap.count(Call::Send), tap.count(Call::Settle)), (0, 0));
    assert_eq!(rig.books(), Books { queued: 1, ..Books::default() });
    assert_eq!(rig.ask_store("SELECT count(*) FROM entity"), Some(0_u32));
}

#[tokio::test(flavor = "multi_thread")]
async fn state_inbox_and_outbox_are_one_commit() {
    let rig = Rig::at(Home::Apart);
    rig.backend().send("accounts", to("alice", 7)).await.unwrap();
    let tap = die(&rig, Call::Send, 1, Fault::DiesBefore, &Varying::from(7)).await;
    assert_eq!((tap.count(Call::Write), tap.written()[0].len()), (1, 3));
    assert_eq!(rig.state("accounts", "alice"), Some(Account::of(7, 1)));
    assert_eq!(rig.books(), Books { queued: 1, dead: 0, inbox: 1, outbox: 1 });
}

/// Who brings the effects out after a worker died.
#[derive(Clone, Copy, Debug)]
enum Rescue {
    /// The finisher alone: the message never comes again.
    Finisher,
    /// The next delivery of the message, or of a copy of it, alone.
    Redelivery,
    /// A whole host: both of them.
    Host,
}

async fn rescue(rig: &Rig, by: Rescue) {
    let backend = rig.backend();
    // A second attempt would pay in 1,000 pence: nothing of it may ever be seen.
    let handler = Varying::from(1_000);
    match by {
        Rescue::Finisher => {
            let finished = transactional().finish("accounts", backend.places()).await.unwrap();
            assert!(finished <= 1);
        }
        Rescue::Redelivery => {
            rig.advance(LEASE);
            for delivery in take(&backend, "accounts", 10).await {
                let outcome = attempt(&backend, &transactional(), &delivery, &handler).await;
                assert!(matches!(outcome, Outcome::Duplicate | Outcome::Processed), "{outcome:?}");
            }
        }
        Rescue::Host => {
            rig.advance(LEASE);
            work_off(&backend, [accounts()]).await;
        }
    }
}

/// Every point at which a worker can die after the commit.
const DEATHS: [(&str, Call, u64, Fault); 7] = [
    ("after the commit", Call::Write, 1, Fault::DiesAfter),
    ("before sending", Call::Send, 1, Fault::DiesBefore),
    ("after sending", Call::Send, 1, Fault::DiesAfter),
    ("before clearing the outbox", Call::Write, 2, Fault::DiesBefore),
    ("after clearing the outbox", Call::Write, 2, Fault::DiesAfter),
    ("before settling", Call::Settle, 1, Fault::DiesBefore),
    ("after settling", Call::Settle, 1, Fault::DiesAfter),
];

#[tokio::test(flavor = "multi_thread")]
async fn after_a_crash_exactly_the_committed_effects_are_dispatched() {
    for by in [Rescue::Finisher, Rescue::Redelivery, Rescue::Host] {
        for (death, call, nth, fault) in DEATHS {
            let rig = Rig::at(Home::Apart);
            rig.backend().send("accounts", to("alice", 7)).await.unwrap();
            die(&rig, call, nth, fault, &Varying::from(7)).await;
            rescue(&rig, by).await;
            assert_eq!(rig.books().outbox, 0, "died {death}, rescued by {by:?}");

            work_off(&rig.backend(), [audit()]).await;
            assert_ledger(&rig, "alice", &Account::of(7, 1));
            // And the delivery is settled in the end, whoever rescued the effects.
            rescue(&rig, Rescue::Redelivery).await;
            work_off(&rig.backend(), [audit()]).await;
            assert_ledger(&rig, "alice", &Account::of(7, 1));
            assert_eq!(rig.books(), Books { inbox: 2, ..Books::default() }, "died {death}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_fails_still_brings_out_what_the_first_run_committed() {
    let rig = Rig::at(Home::Apart);
    rig.backend().send_as("m-1", "accounts", to("alice", 7)).await.unwrap();
    die(&rig, Call::Send, 1, Fault::DiesBefore, &Varying::from(7)).await;
    rig.backend().send_as("m-1", "accounts", to("alice", 7)).await.unwrap();
    let backend = rig.backend();
    let copy = take_one(&backend, "accounts").await;
    let outcome = attempt(&backend, &transactional(), &copy, &Failing).await;
    assert!(matches!(outcome, Outcome::Duplicate), "{outcome:?}");
    assert_eq!(rig.books().outbox, 0);
    work_off(&backend, [audit()]).await;
    assert_ledger(&rig, "alice", &Account::of(7, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn effects_that_cannot_be_sent_stay_in_the_outbox_and_are_tried_again() {
    for fault in [Fault::NotApplied, Fault::ReplyLost] {
        let rig = Rig::at(Home::Apart);
        let tap = Tap::new(move |call, nth| match (call, nth) {
            (Call::Send, 1..=3) => fault,
            _ => Fault::None,
        });
        rig.backend().send("accounts", to("alice", 7)).await.unwrap();
        work_off(&tap.on(rig.backend()), [accounts(), audit()]).await;
        assert!(tap.count(Call::Send) > 3);
        assert_ledger(&rig, "alice", &Account::of(7, 1));
        assert_eq!(rig.books(), Books { inbox: 2, ..Books::default() }, "{fault:?}");
        // What was sent again was the same, name and content.
        let sent = tap.sent();
        assert!(sent.iter().all(|message| message == &sent[0]), "{sent:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_another_cleared_is_no_conflict() {
    let rig = Rig::at(Home::Apart);
    let finisher = rig.backend();
    // The finisher comes by between the dispatch and the clearing.
    let tap = Tap::acting(move |call, nth| {
        let finisher = finisher.clone();
        Box::pin(async move {
            if (call, nth) == (Call::Write, 2) {
                let finished = transactional().finish("accounts", finisher.places()).await;
                assert_eq!(finished.unwrap(), 1);
            }
            Fault::None
        })
    });
    let backend = tap.on(rig.backend());
    backend.send("accounts", to("alice", 7)).await.unwrap();
    let delivery = take_one(&backend, "accounts").await;
    let outcome = attempt(&backend, &transactional(), &delivery, &Varying::from(7)).await;
    assert!(matches!(outcome, Outcome::Processed), "{outcome:?}");
    work_off(&backend, [audit()]).await;
    assert_ledger(&rig, "alice", &Account::of(7, 1));
    assert_eq!(rig.books(), Books { inbox: 2, ..Books::default() });
}

/// Leaves a record in the outbox for each of these messages.
async fn leave_behind(rig: &Rig, ids: impl Iterator<Item = String>) {
    let outside = rig.backend();
    let tap = Tap::new(|call, _| match call {
        Call::Send => Fault::NotApplied,
        _ => Fault::None,
    });
    let backend = tap.on(rig.backend());
    for id in ids {
        outside.send_as(&id, "accounts", to("alice", 7)).await.unwrap();
        let delivery = take_one(&backend, "accounts").await;
        let outcome = attempt(&backend, &transactional(), &delivery, &Varying::from(7)).await;
        assert!(matches!(outcome, Outcome::Unavailable(_)), "{outcome:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_finisher_finds_everything_of_its_endpoint_and_nothing_else() {
    let rig = Rig::at(Home::Apart);
    leave_behind(&rig, (0..230).map(|n| format!("{n:03}"))).await;
    let backend = rig.backend();
    for other in ["account", "accountt", "accounts2", "b"] {
        assert_eq!(transactional().finish(other, backend.places()).await.unwrap(), 0);
    }
    assert_eq!(transactional().finish("accounts", backend.places()).await.unwrap(), 230);
    assert_eq!(rig.books().outbox, 0);
    work_off(&backend, [audit()]).await;
    assert_ledger(&rig, "alice", &Account::of(7 * 230, 230));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_cannot_be_dispatched_holds_up_no_other() {
    let rig = Rig::at(Home::Apart);
    leave_behind(&rig, ["a", "b", "c"].map(str::to_owned).into_iter()).await;
    rig.damage_store("UPDATE outbox SET effects = '[{' WHERE message LIKE '% a'");
    let backend = rig.backend();
    let error = transactional().finish("accounts", backend.places()).await.unwrap_err();
    assert!(
        error.to_string().contains("outbox accounts//outside a: read the item failed"),
        "{error}"
    );
    assert_eq!(rig.books().outbox, 1, "the other two are out");
    work_off(&backend, [audit()]).await;
    assert_eq!(rig.state("audit", "alice"), Some(Account::of(14, 2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_committed_effect_that_the_broker_refuses_is_kept_until_it_does_not() {
    let rig = Rig::at(Home::Apart);
    leave_behind(&rig, std::iter::once("a".to_owned())).await;
    // It has grown beyond the limit of the broker, behind everyone's back.
    let effects: String = rig.ask_store("SELECT effects FROM outbox").unwrap();
    let mut record: Value = serde_json::from_str(&effects).unwrap();
    record[0]["envelope"]["data"]["account"] = "x".repeat(17 << 20).into();
    rig.damage_store(&format!("UPDATE outbox SET effects = '{record}'"));

    let backend = rig.backend();
    let error = transactional().finish("accounts", backend.places()).await.unwrap_err();
    assert!(error.is_passing(), "{error}");
    rig.advance(LEASE);
    let again = take_one(&backend, "accounts").await;
    let outcome = attempt(&backend, &transactional(), &again, &Varying::from(7)).await;
    assert!(matches!(outcome, Outcome::Unavailable(_)), "{outcome:?}");
    assert_eq!(rig.books(), Books { queued: 1, dead: 0, inbox: 1, outbox: 1 });

    rig.damage_store(&format!("UPDATE outbox SET effects = '{effects}'"));
    rescue(&rig, Rescue::Finisher).await;
    work_off(&backend, [audit()]).await;
    assert_ledger(&rig, "alice", &Account::of(7, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_discarded_dead_letter_keeps_the_effects_of_its_committed_attempt() {
    let rig = Rig::at(Home::Apart);
    leave_behind(&rig, std::iter::once("a".to_owned())).await;
    let backend = rig.backend();
    // A copy was parked by a person's tool.
    rig.advance(LEASE);
    let copy = take_one(&backend, "accounts").await;
    park(&backend, &copy.receipt).await;
    let dead: DeadLetter = dead_letters(&backend).await.remove(0);
    let outcome = transactional().discard(&dead, backend.places()).await;
    assert!(matches!(outcome, Outcome::Processed), "{outcome:?}");
    assert_eq!(rig.books(), Books { inbox: 1, outbox: 1, ..Books::default() });
    rescue(&rig, Rescue::Finisher).await;
    work_off(&backend, [audit()]).await;
    assert_ledger(&rig, "alice", &Account::of(7, 1));
}

async fn park(backend: &Backend, receipt: &semel::core::broker::Receipt) {
    use semel::core::broker::{FailureRecord, SettleOutcome, Settlement};
    let failure = FailureRecord {
        at: semel::Timestamp::default(),
        reason: "by hand".to_owned(),
        worker: "person".to_owned(),
    };
    let reason = semel::DeadReason::HandlerFailed;
    let parked = backend
        .broker()
        .settle(receipt, Settlement::DeadLetter { reason, failure, entity: None })
        .await;
    assert!(matches!(parked, SettleOutcome::Settled), "{parked:?}");
}
