//! How a host stops.

use std::time::Duration;

use semel::prelude::*;
use semel::{HostError, Settings};
use tokio::sync::oneshot;

use crate::bank::{
    Account, Attempts, Deposit, accounts, accounts_async, accounts_with, assert_ledger, audit,
    deposit, to,
};
use crate::by_hand::take;
use crate::fault::{Call, Fault, Tap};
use crate::gate::Gate;
use crate::rig::{Books, Home, Rig, host, work_off};

fn waiting(gate: &Gate) -> Endpoint {
    let gate = gate.clone();
    accounts_async(move |account, message, ctx| {
        let gate = gate.clone();
        Box::pin(async move {
            gate.pass().await;
            deposit(account, message, ctx);
            Ok(())
        })
    })
}

/// Completes when the test says so, or has gone.
fn switch() -> (oneshot::Sender<()>, impl Future<Output = ()>) {
    let (stop, stopped) = oneshot::channel();
    (stop, async { drop(stopped.await) })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_stopped_before_it_begins_ends_well() {
    let rig = Rig::new();
    let backend = rig.backend();
    backend.send("accounts", to("alice", 7)).await.unwrap();
    host(&backend, [accounts()]).run(std::future::ready(())).await.unwrap();
    assert_eq!(rig.ask_queue("SELECT sum(receipt IS NOT NULL) FROM queue"), Some(0_u32));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_lets_running_handlers_end_and_gives_back_what_was_not_begun() {
    for home in Home::BOTH {
        let rig = Rig::at(home);
        let backend = rig.backend();
        backend.send("accounts", to("alice", 1)).await.unwrap();
        backend.send("accounts", to("alice", 10)).await.unwrap();
        for n in 1..10 {
            backend.send("accounts", to(&format!("account-{n}"), n)).await.unwrap();
        }
        let gate = Gate::new();
        let endpoint = waiting(&gate).settings(Settings { concurrency: 1, ..Settings::default() });
        let (stop, stopped) = switch();
        let stopping = tokio::spawn(host(&backend, [endpoint]).run(stopped));
        gate.arrived(1).await;
        stop.send(()).unwrap();

        // Another worker gets the rest at once, while the one handler still runs.
        let done = Gate::new();
        let told = done.clone();
        let counting = accounts_with(move |account: &mut Account, message, ctx: &mut Context| {
            told.open();
            told.pass_blocking();
            deposit(account, message, ctx);
        });
        let all = done.clone();
        let ten = async move { all.arrived(10).await };
        host(&rig.backend(), [counting]).run(ten).await.unwrap();
        assert_eq!(rig.state("accounts", "alice"), Some(Account::of(10, 1)), "{home:?}");
        assert_eq!(
            rig.ask_queue("SELECT deliveries FROM queue WHERE endpoint = 'accounts'"),
            Some(1_u32)
        );

        gate.open();
        stopping.await.unwrap().unwrap();
        // The other worker changed the same entity: what then conflicts is given back as well.
        work_off(&rig.backend(), [accounts(), audit()]).await;
        assert_ledger(&rig, "alice", &Account::of(11, 2));
        for n in 1..10 {
            assert_ledger(&rig, &format!("account-{n}"), &Account::of(n, 1));
        }
        assert_eq!(rig.books(), Books { inbox: 22, ..Books::default() }, "{home:?}");
    }
}

/// One thread, so that the host has heard of the stop when the test goes on.
#[tokio::test]
async fn what_a_receive_under_way_brings_after_the_stop_is_given_back() {
    let rig = Rig::new();
    let tap = Tap::new(|call, _| match call {
        Call::Receive => Fault::AnswersLate,
        _ => Fault::None,
    });
    let backend = tap.on(rig.backend());
    for n in 0..10 {
        backend.send("accounts", to(&format!("account-{n}"), n)).await.unwrap();
    }
    let (stop, stopped) = switch();
    let attempts = Attempts::default();
    let counted = attempts.clone();
    let endpoint = accounts_with(move |_: &mut Account, _: Deposit, _: &mut Context| {
        counted.next();
    });
    let worker = tokio::spawn(host(&backend, [endpoint]).run(stopped));
    tap.late().await;
    assert_eq!(rig.ask_queue("SELECT count(receipt) FROM queue"), Some(10_u32));
    stop.send(()).unwrap();
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    tap.let_go();
    worker.await.unwrap().unwrap();
    assert_eq!(attempts.count(), 0, "nothing is begun after the stop");
    let blame = "SELECT count(receipt) + sum(deliveries) FROM queue";
    assert_eq!(rig.ask_queue(blame), Some(0_u32));
}

#[tokio::test(flavor = "multi_thread")]
async fn leases_are_renewed_until_the_last_handler_has_ended() {
    let lease = Duration::from_millis(60);
    let rig = Rig::new();
    let (tap, gate) = (Tap::counting(), Gate::new());
    let backend = tap.on(rig.backend());
    backend.send("accounts", to("alice", 7)).await.unwrap();
    backend.send("accounts", to("bob", 7)).await.unwrap();
    let (stop, stopped) = switch();
    let settings = Settings { lease, concurrency: 1, ..Settings::default() };
    let worker = tokio::spawn(host(&backend, [waiting(&gate).settings(settings)]).run(stopped));
    gate.arrived(1).await;
    stop.send(()).unwrap();
    // Whoever gives back what was not begun has heard of the stop.
    tap.answered(Call::Settle, 1).await;
    let other = rig.backend();
    assert_eq!(take(&other, "accounts", 10).await.len(), 1);
    for _ in 0..5 {
        rig.advance(lease - Duration::from_millis(1));
        tap.answered_anew(Call::Extend).await;
        assert!(take(&other, "accounts", 10).await.is_empty());
    }
    gate.open();
    worker.await.unwrap().unwrap();
    assert_eq!(rig.state("accounts", "alice"), Some(Account::of(7, 1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_are_given_back_are_not_taken_for_abandoned() {
    let rig = Rig::new();
    let backend = rig.backend();
    for n in 0..10 {
        backend.send("accounts", to(&format!("account-{n}"), n)).await.unwrap();
    }
    let settings = Settings { concurrency: 1, abandoned_max: 1, ..Settings::default() };
    for restart in 1..=4 {
        let (gate, tap) = (Gate::new(), Tap::counting());
        let (stop, stopped) = switch();
        let endpoint = waiting(&gate).settings(settings);
        let worker = tokio::spawn(host(&tap.on(backend.clone()), [endpoint]).run(stopped));
        gate.arrived(1).await;
        stop.send(()).unwrap();
        tap.answered(Call::Settle, 10 - restart).await;
        gate.open();
        worker.await.unwrap().unwrap();
        assert_eq!(rig.ask_queue("SELECT max(deliveries) FROM queue"), Some(0_u32), "{restart}");
    }
    work_off(&backend, [accounts().settings(settings), audit()]).await;
    assert_eq!(rig.books(), Books { inbox: 20, ..Books::default() });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_outlasts_the_drain_is_left_behind_and_its_message_comes_again() {
    for home in Home::BOTH {
        let rig = Rig::at(home);
        let backend = rig.backend();
        for n in 0..3 {
            backend.send("accounts", to("alice", n)).await.unwrap();
        }
        let gate = Gate::new();
        let arrived = gate.clone();
        let stop = async move { arrived.arrived(1).await };
        let host = host(&backend, [waiting(&gate)]).drain_deadline(Duration::from_millis(20));
        let ended = host.run(stop).await;
        let Err(error @ HostError::Drain { .. }) = ended else { panic!("{ended:?}") };
        let text = "handlers still ran 0 s after the stop; nothing is lost: their messages are \
                    delivered again when the leases end";
        assert_eq!(error.to_string(), text);

        rig.advance(Settings::default().lease);
        work_off(&backend, [accounts(), audit()]).await;
        assert_ledger(&rig, "alice", &Account::of(3, 3));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_dropped_loses_nothing() {
    for home in Home::BOTH {
        let rig = Rig::at(home);
        let backend = rig.backend();
        for n in 0..3 {
            backend.send("accounts", to("alice", n)).await.unwrap();
        }
        let gate = Gate::new();
        let worker = tokio::spawn(host(&backend, [waiting(&gate)]).run(std::future::pending()));
        gate.arrived(1).await;
        worker.abort();
        assert!(worker.await.unwrap_err().is_cancelled());

        rig.advance(Settings::default().lease);
        work_off(&rig.backend(), [accounts(), audit()]).await;
        assert_ledger(&rig, "alice", &Account::of(3, 3));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_runs_until_it_is_idle_although_endpoints_feed_each_other() {
    let rig = Rig::new();
    let backend = rig.backend();
    for n in 0..20 {
        backend.send("accounts", to("alice", n)).await.unwrap();
    }
    // The handlers of the second endpoint begin long after its queue was first seen empty.
    let slow = Endpoint::new("audit").handle(
        |account: &mut Account, message: crate::bank::Deposited, _: &mut Context| {
            account.pence += message.pence;
            account.deposits += 1;
        },
    );
    work_off(&backend, [slow, accounts()]).await;
    assert_ledger(&rig, "alice", &Account::of(190, 20));
}
