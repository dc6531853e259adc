//! Messages that worker after worker took and never settled.

use std::sync::{Arc, Mutex};

use semel::prelude::*;
use semel::{DeadReason, Entropy, RetryPolicy, Settings};

use crate::bank::{
    Account, Attempts, Deposit, accounts, accounts_async, accounts_with, assert_ledger, audit,
    deposit, to,
};
use crate::by_hand::{LEASE, take};
use crate::fault::{Call, Tap};
use crate::gate::Gate;
use crate::rig::{Books, Home, Rig, dead_letters, host, work_off};

/// Takes the messages and is never heard of again, `times` times.
async fn abandon(rig: &Rig, times: u32) {
    for _ in 0..times {
        assert!(!take(&rig.backend(), "accounts", 100).await.is_empty());
        rig.advance(LEASE);
    }
}

fn abandoned_after(abandoned_max: u32) -> Settings {
    Settings { abandoned_max, ..Settings::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_worker_after_worker_took_and_never_settled_is_dead_lettered() {
    for (abandoned, is_dead) in [(2, false), (3, true), (4, true)] {
        let rig = Rig::new();
        let backend = rig.backend();
        backend.send("accounts", to("alice", 7)).await.unwrap();
        abandon(&rig, abandoned).await;
        let attempts = Attempts::default();
        let counted = attempts.clone();
        let handler = move |account: &mut Account, message: Deposit, ctx: &mut Context| {
            counted.next();
            deposit(account, message, ctx);
        };
        work_off(&backend, [accounts_with(handler).settings(abandoned_after(3)), audit()]).await;

        assert_eq!(attempts.count() == 0, is_dead, "after {abandoned}");
        let dead = dead_letters(&backend).await;
        assert_eq!(!dead.is_empty(), is_dead, "after {abandoned}");
        if let Some(dead) = dead.first() {
            assert_eq!((dead.reason, dead.deliveries), (DeadReason::Abandoned, abandoned + 1));
            let text = format!("{abandoned} workers took it and neither settled nor failed it");
            assert!(dead.failures[0].reason.starts_with(&text), "{dead:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abandoned_message_with_a_committed_attempt_is_settled_not_dead_lettered() {
    for home in Home::BOTH {
        let rig = Rig::at(home);
        let backend = rig.backend();
        backend.send_as("m-1", "accounts", to("alice", 7)).await.unwrap();
        work_off(&backend, [accounts(), audit()]).await;
        backend.send_as("m-1", "accounts", to("alice", 7)).await.unwrap();
        abandon(&rig, 5).await;
        work_off(&backend, [accounts().settings(abandoned_after(3)), audit()]).await;
        assert_ledger(&rig, "alice", &Account::of(7, 1));
        assert_eq!(rig.books(), Books { inbox: 2, ..Books::default() }, "{home:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_do_not_count_as_abandoned() {
    let rig = Rig::new();
    let backend = rig.backend();
    backend.send("accounts", to("alice", 7)).await.unwrap();
    let attempts = Attempts::default();
    let handler = move |account: &mut Account, message: Deposit, ctx: &mut Context| {
        if attempts.next() <= 10 {
            return Err(Failure::retry("not yet"));
        }
        deposit(account, message, ctx);
        Ok(())
    };
    let retry = RetryPolicy { delayed: 10, ..RetryPolicy::NONE };
    let settings = Settings { retry, ..abandoned_after(1) };
    work_off(&backend, [accounts_with(handler).settings(settings), audit()]).await;
    assert_ledger(&rig, "alice", &Account::of(7, 1));
}

/// Handles deposits at the gate.
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

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_lost_two_workers_run_one_at_a_time_beside_all_others() {
    let rig = Rig::new();
    let backend = rig.backend();
    for n in 0..5 {
        backend.send("accounts", to(&format!("suspect-{n}"), n)).await.unwrap();
    }
    abandon(&rig, 2).await;
    for n in 0..10 {
        backend.send("accounts", to(&format!("account-{n}"), n)).await.unwrap();
    }
    let (tap, gate) = (Tap::counting(), Gate::new());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let stopped = async { drop(stopped.await) };
    let worker = tokio::spawn(host(&tap.on(backend.clone()), [waiting(&gate)]).run(stopped));
    gate.arrived(11).await;
    // One suspect is in work, and all that nobody suspects; the others are given back.
    stop.send(()).unwrap();
    tap.answered(Call::Settle, 4).await;
    gate.open();
    worker.await.unwrap().unwrap();
    assert_eq!(gate.arrivals(), 11);
    let left = rig.ask_queue("SELECT count(*) FROM queue WHERE endpoint = 'accounts'");
    assert_eq!(left, Some(4_u32));
    work_off(&backend, [accounts(), audit()]).await;
    assert_eq!(rig.books(), Books { inbox: 30, ..Books::default() });
}

#[derive(Debug)]
struct Fixed(u128);

impl Entropy for Fixed {
    fn bits(&self) -> u128 {
        self.0
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn suspects_come_in_an_order_of_chance_so_that_none_is_always_behind_the_guilty_one() {
    let mut orders = Vec::new();
    for bits in [0, u128::MAX] {
        let rig = Rig::new();
        let backend = rig.backend().with_entropy(Arc::new(Fixed(bits)));
        for n in 0..5 {
            backend
                .send_as(&n.to_string(), "accounts", to(&format!("suspect-{n}"), n))
                .await
                .unwrap();
        }
        abandon(&rig, 2).await;
        let order = Arc::new(Mutex::new(Vec::new()));
        let noted = order.clone();
        let endpoint = accounts_with(move |_: &mut Account, message: Deposit, _: &mut Context| {
            noted.lock().unwrap().push(message.pence);
        });
        work_off(&backend, [endpoint]).await;
        let order = order.lock().unwrap().clone();
        orders.push((order[0], order.len()));
    }
    assert_eq!(orders, [(0, 5), (4, 5)]);
}
