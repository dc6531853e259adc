//! Leases: kept alive while we work, and without power once they are lost.

use std::time::Duration;

use semel::Settings;
use semel::prelude::*;

use crate::bank::{
    Account, Deposit, accounts, accounts_async, accounts_with, assert_ledger, audit, deposit, to,
};
use crate::by_hand::take;
use crate::fault::{Call, Fault, Tap};
use crate::gate::Gate;
use crate::rig::{Books, Home, Rig, dead_letters, host, work_off};

const SHORT: Duration = Duration::from_millis(60);
/// So long that no test sees it renewed: renewals go by the machine's time.
const LONG: Duration = Duration::from_secs(24 * 60 * 60);

fn leased(lease: Duration) -> Settings {
    Settings { lease, handler_deadline: LONG, ..Settings::default() }
}

/// The same for a worker that takes no more than it has, not even what it lost.
fn leased_at_most(held_max: usize, lease: Duration) -> Settings {
    Settings { held_max, ..leased(lease) }
}

/// Waits at `gate` before it pays in `pence` instead of what the message says.
fn waiting(gate: &Gate, pence: i64) -> Endpoint {
    let gate = gate.clone();
    accounts_async(move |account, message, ctx| {
        let gate = gate.clone();
        Box::pin(async move {
            gate.pass().await;
            deposit(account, Deposit { pence, ..message }, ctx);
            Ok(())
        })
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lease_lives_as_long_as_the_handler_and_the_messages_behind_it() {
    for home in Home::BOTH {
        let rig = Rig::at(home);
        let (tap, gate) = (Tap::counting(), Gate::new());
        let backend = tap.on(rig.backend());
        for _ in 0..3 {
            backend.send("accounts", to("alice", 7)).await.unwrap();
        }
        let endpoint = waiting(&gate, 7).settings(leased(SHORT));
        let worker = tokio::spawn(host(&backend, [endpoint]).run_until_idle());
        gate.arrived(1).await;
        let other = rig.backend();
        for _ in 0..10 {
            rig.advance(SHORT - Duration::from_millis(1));
            tap.answered_anew(Call::Extend).await;
            assert!(take(&other, "accounts", 10).await.is_empty(), "{home:?}");
        }
        gate.open();
        worker.await.unwrap().unwrap();
        work_off(&backend, [audit()]).await;
        assert_ledger(&rig, "alice", &Account::of(21, 3));
    }
}

/// The slow worker's lease ends, and another worker has processed the message by the time the slow
/// one wants to commit, or is still at it.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_lease_went_to_another_loses_as_a_whole() {
    // With the queue elsewhere, whoever commits first wins.
    let cases = [
        (Home::Inside, Fault::None, "the slow one ends last"),
        (Home::Inside, Fault::None, "the slow one ends first"),
        (Home::Inside, Fault::Terse, "the slow one ends last"),
        (Home::Apart, Fault::None, "the slow one ends last"),
    ];
    for (home, fault, order) in cases {
        let rig = Rig::at(home);
        let tap = Tap::new(move |call, _| if call == Call::Write { fault } else { Fault::None });
        let [slow_gate, fast_gate] = [Gate::new(), Gate::new()];
        rig.backend().send_as("m-1", "accounts", to("alice", 7)).await.unwrap();
        let start = |gate: &Gate, pence: i64, backend: &Backend| {
            let endpoint = waiting(gate, pence).settings(leased_at_most(1, LONG));
            tokio::spawn(host(backend, [endpoint]).run_until_idle())
        };
        let slow = start(&slow_gate, 1_000, &tap.on(rig.backend()));
        slow_gate.arrived(1).await;
        rig.advance(LONG);
        let fast = start(&fast_gate, 7, &rig.backend());
        fast_gate.arrived(1).await;
        if order == "the slow one ends first" {
            slow_gate.open();
            slow.await.unwrap().unwrap();
            assert_eq!(rig.books(), Books { queued: 1, ..Books::default() });
            assert_eq!(rig.state::<Account>("accounts", "alice"), None);
            fast_gate.open();
            fast.await.unwrap().unwrap();
        } else {
            fast_gate.open();
            fast.await.unwrap().unwrap();
            slow_gate.open();
            slow.await.unwrap().unwrap();
        }
        work_off(&rig.backend(), [audit()]).await;
        assert_ledger(&rig, "alice", &Account::of(7, 1));
        assert_eq!(
            rig.books(),
            Books { inbox: 2, ..Books::default() },
            "{home:?} {fault:?}, {order}"
        );
    }
}

fn refusing() -> Endpoint {
    accounts_with(|_: &mut Account, _: Deposit, _: &mut Context| {
        Err::<(), _>(Failure::dead_letter("never"))
    })
}

/// A store may not tell that the lease was what failed. The attempt must end all the same, also
/// when nobody ever commits the message.
#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_ends_when_its_lease_is_lost_although_the_store_does_not_say_so() {
    let rig = Rig::new();
    let (gate, done) = (Gate::new(), Gate::new());
    let tap = Tap::new(|call, _| if call == Call::Write { Fault::Terse } else { Fault::None });
    let backend = tap.on(rig.backend());
    backend.send("accounts", to("alice", 7)).await.unwrap();
    let (waiting, told) = (gate.clone(), done.clone());
    let endpoint = accounts_async(move |account, message, ctx| {
        let (gate, done) = (waiting.clone(), told.clone());
        Box::pin(async move {
            gate.pass().await;
            if message.account == "bob" {
                done.open();
                done.pass().await;
            }
            deposit(account, message, ctx);
            Ok(())
        })
    });
    let settings = leased_at_most(1, SHORT);
    let all = done.clone();
    let stop = async move { all.arrived(1).await };
    let worker = tokio::spawn(host(&backend, [endpoint.settings(settings)]).run(stop));
    gate.arrived(1).await;

    // Another worker takes the message and dead-letters it.
    let other = rig.backend();
    while dead_letters(&other).await.is_empty() {
        rig.advance(SHORT);
        work_off(&other, [refusing()]).await;
    }
    gate.open();
    // There is one place to work in: the next message is begun once the lost attempt has ended.
    other.send("accounts", to("bob", 7)).await.unwrap();
    worker.await.unwrap().unwrap();
    work_off(&other, [accounts()]).await;
    assert_eq!(rig.books(), Books { queued: 1, dead: 1, inbox: 1, outbox: 0 });
}

/// One thread, so that the worker has heard of the loss when the test has.
#[tokio::test]
async fn a_message_whose_lease_was_lost_before_its_turn_is_not_begun() {
    let rig = Rig::new();
    let (tap, gate) = (Tap::counting(), Gate::new());
    let backend = tap.on(rig.backend());
    backend.send("accounts", to("alice", 1)).await.unwrap();
    backend.send("accounts", to("alice", 10)).await.unwrap();
    let endpoint = waiting(&gate, 100).settings(leased_at_most(2, SHORT));
    let worker = tokio::spawn(host(&backend, [endpoint]).run_until_idle());
    gate.arrived(1).await;
    // Both leases end; another worker processes both, and the first one hears of it.
    let other = rig.backend();
    while rig.books().inbox < 2 {
        rig.advance(SHORT);
        work_off(&other, [accounts()]).await;
    }
    tap.lost(2).await;
    gate.open();
    worker.await.unwrap().unwrap();
    assert_eq!(gate.arrivals(), 1, "the second was not begun");
    work_off(&other, [audit()]).await;
    assert_ledger(&rig, "alice", &Account::of(11, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn leases_that_cannot_be_renewed_do_no_harm() {
    for home in Home::BOTH {
        let rig = Rig::at(home);
        let tap =
            Tap::new(|call, _| if call == Call::Extend { Fault::NotApplied } else { Fault::None });
        let backend = tap.on(rig.backend());
        for n in 0..20 {
            backend.send("accounts", to("alice", n)).await.unwrap();
        }
        let gate = Gate::new();
        let waiting = gate.clone();
        let endpoint = accounts_async(move |account, message, ctx| {
            let gate = waiting.clone();
            Box::pin(async move {
                gate.pass().await;
                deposit(account, message, ctx);
                Ok(())
            })
        });
        let worker =
            host(&backend, [endpoint.settings(leased_at_most(20, SHORT))]).run_until_idle();
        let worker = tokio::spawn(worker);
        gate.arrived(1).await;
        tap.reached(Call::Extend, 2).await;
        // Every lease is over, and another worker does it all.
        rig.advance(SHORT);
        work_off(&rig.backend(), [accounts()]).await;
        gate.open();
        worker.await.unwrap().unwrap();
        work_off(&rig.backend(), [audit()]).await;
        assert_ledger(&rig, "alice", &Account::of(190, 20));
        assert_eq!(rig.books(), Books { inbox: 40, ..Books::default() }, "{home:?}");
    }
}
