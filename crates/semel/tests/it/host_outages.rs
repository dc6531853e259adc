//! Places that cannot be reached: nothing is used up, nothing is parked, nothing is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use semel::prelude::*;
use semel::{HostError, RetryPolicy};

use crate::bank::{
    Account, Attempts, Deposit, accounts, accounts_with, assert_ledger, audit, deposit, to,
};
use crate::fault::{Call, Fault, Tap};
use crate::rig::{Books, Home, Rig, dead_letters, host, retrying, work_off};

/// Answers every call of some kinds with `fault` until it is over.
#[derive(Clone)]
struct Outage(Arc<AtomicBool>);

impl Outage {
    fn of(calls: &'static [Call], fault: Fault) -> (Self, Tap) {
        let outage = Self(Arc::new(AtomicBool::new(true)));
        let is_on = outage.0.clone();
        let tap = Tap::new(move |call, _| {
            let hurts = calls.contains(&call) && is_on.load(Ordering::SeqCst);
            if hurts { fault } else { Fault::None }
        });
        (outage, tap)
    }

    fn ends(&self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_uses_up_no_retry_and_dead_letters_nothing() {
    const EVERYTHING: &[Call] = &[
        Call::Read,
        Call::Write,
        Call::List,
        Call::Receive,
        Call::Extend,
        Call::Settle,
        Call::Send,
    ];
    let outages: [(&str, &[Call], Call); 6] = [
        ("nothing can be read", &[Call::Read, Call::List], Call::Read),
        ("nothing can be written", &[Call::Write], Call::Write),
        ("nothing can be received", &[Call::Receive], Call::Receive),
        ("nothing can be settled", &[Call::Settle], Call::Settle),
        ("nothing can be sent", &[Call::Send], Call::Send),
        ("nothing can be reached", EVERYTHING, Call::Receive),
    ];
    for home in Home::BOTH {
        for (name, calls, counted) in outages {
            for fault in [Fault::NotApplied, Fault::ReplyLost] {
                // A broker in the store is not asked to settle or to send.
                if home == Home::Inside && matches!(counted, Call::Settle | Call::Send) {
                    continue;
                }
                // A receive whose reply is lost leaves the messages to their lease.
                if fault == Fault::ReplyLost && calls.contains(&Call::Receive) {
                    continue;
                }
                let rig = Rig::at(home);
                for n in 0..5 {
                    rig.backend().send("accounts", to(&format!("account-{n}"), n)).await.unwrap();
                }
                let (outage, tap) = Outage::of(calls, fault);
                let settings = retrying(RetryPolicy::NONE);
                let endpoints = [accounts().settings(settings), audit().settings(settings)];
                let worker = host(&tap.on(rig.backend()), endpoints).run_until_idle();
                let worker = tokio::spawn(worker);
                tap.reached(counted, 5).await;
                outage.ends();
                worker.await.unwrap().unwrap();

                let at = format!("{name} ({fault:?}), {home:?}");
                for n in 0..5 {
                    assert_ledger(&rig, &format!("account-{n}"), &Account::of(n, 1));
                }
                assert_eq!(rig.books(), Books { inbox: 10, ..Books::default() }, "{at}");
            }
        }
    }
}

/// Handlers that fail while nothing can be settled keep their tries.
#[tokio::test(flavor = "multi_thread")]
async fn a_failure_that_cannot_be_told_is_told_once() {
    for fault in [Fault::NotApplied, Fault::ReplyLost] {
        let rig = Rig::new();
        let tap = Tap::new(move |call, nth| match (call, nth) {
            (Call::Settle, 1..=3) => fault,
            _ => Fault::None,
        });
        let backend = tap.on(rig.backend());
        backend.send("accounts", to("alice", 7)).await.unwrap();
        let attempts = Attempts::default();
        let handler = move |account: &mut Account, message: Deposit, ctx: &mut Context| {
            if attempts.next() == 1 {
                return Err(Failure::retry("not yet"));
            }
            deposit(account, message, ctx);
            Ok(())
        };
        let later = RetryPolicy { delayed: 1, ..RetryPolicy::default() };
        let endpoint = || {
            let handler = handler.clone();
            accounts_with(handler).settings(retrying(RetryPolicy { immediate: 0, ..later }))
        };
        work_off(&backend, [endpoint()]).await;
        assert_eq!(rig.ask_queue("SELECT failure_count FROM queue"), Some(1_u32), "{fault:?}");
        rig.advance(std::time::Duration::from_secs(10));
        work_off(&backend, [endpoint(), audit()]).await;
        assert_ledger(&rig, "alice", &Account::of(7, 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_stops_during_an_outage_and_gives_back_what_it_could_not_end() {
    for calls in [&[Call::Read, Call::List], &[Call::Write, Call::List]] {
        let rig = Rig::new();
        let (_outage, tap) = Outage::of(calls, Fault::NotApplied);
        let backend = tap.on(rig.backend());
        backend.send("accounts", to("alice", 7)).await.unwrap();
        let watched = tap.clone();
        let stop = async move { watched.reached(calls[0], 3).await };
        host(&backend, [accounts()]).run(stop).await.unwrap();
        // Another worker has it at once, and nobody is blamed.
        let blame: u32 = rig.ask_queue("SELECT deliveries + failure_count FROM queue").unwrap();
        assert_eq!(blame, 0);
        work_off(&rig.backend(), [accounts(), audit()]).await;
        assert_ledger(&rig, "alice", &Account::of(7, 1));
    }
}

/// Workers that start again and again while the store needs a person blame no message for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_broken_store_ends_the_host_and_is_no_fault_of_the_messages() {
    let rig = Rig::at(Home::Apart);
    let backend = rig.backend();
    for n in 0..30 {
        backend.send("accounts", to(&format!("account-{}", n % 10), n)).await.unwrap();
    }
    let restarts = 2 * semel::Settings::default().abandoned_max;
    for _ in 0..restarts {
        let (_outage, tap) = Outage::of(&[Call::Read], Fault::Broken);
        let ended = host(&tap.on(backend.clone()), [accounts()]).run_until_idle().await;
        let Err(HostError::Store(error)) = ended else { panic!("{ended:?}") };
        assert!(error.to_string().contains("Broken by order of the test"), "{error}");
        // Whatever was not given back comes again.
        rig.advance(semel::Settings::default().lease);
    }
    work_off(&backend, [accounts(), audit()]).await;
    assert!(dead_letters(&backend).await.is_empty());
    assert_eq!(rig.books(), Books { inbox: 60, ..Books::default() });
}
