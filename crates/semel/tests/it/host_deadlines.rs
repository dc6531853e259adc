//! Handlers that panic, and handlers that never return.

use std::time::Duration;

use semel::prelude::*;
use semel::{DeadReason, RetryPolicy, Settings};

use crate::bank::{
    Account, Attempts, Deposit, accounts, accounts_async, accounts_with, deposit, to,
};
use crate::gate::Gate;
use crate::rig::{Books, Home, Rig, dead_letters, host, retrying, work_off};

/// Longer than any test runs.
const NEVER: Duration = Duration::from_secs(24 * 60 * 60);

fn panicking() -> [(&'static str, Endpoint, &'static str); 4] {
    let plain = |_: &mut Account, message: Deposit, _: &mut Context| {
        assert!(message.pence == 0, "no {} pence", message.pence);
    };
    let str = |_: &mut Account, _: Deposit, _: &mut Context| panic!("just so");
    let odd = |_: &mut Account, _: Deposit, _: &mut Context| std::panic::panic_any(17_u8);
    let patient = accounts_async(|_, message, _| {
        Box::pin(async move {
            tokio::task::yield_now().await;
            panic!("no {} pence, not even later", message.pence);
        })
    });
    [
        ("plain with a text", accounts_with(plain), "the handler panicked: no 7 pence"),
        ("plain with a str", accounts_with::<(), _>(str), "the handler panicked: just so"),
        ("plain with a thing", accounts_with::<(), _>(odd), "the handler panicked: no text"),
        ("async", patient, "the handler panicked: no 7 pence, not even later"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_is_a_failure_that_tells_its_text() {
    for (shape, endpoint, text) in panicking() {
        let rig = Rig::new();
        let backend = rig.backend();
        backend.send("accounts", to("alice", 7)).await.unwrap();
        let retry = RetryPolicy { immediate: 1, ..RetryPolicy::NONE };
        work_off(&backend, [endpoint.settings(retrying(retry))]).await;
        let dead = dead_letters(&backend).await.remove(0);
        assert_eq!(dead.reason, DeadReason::HandlerFailed, "{shape}");
        assert_eq!(dead.failures[0].reason, text, "{shape}");
    }
}

/// Handles everyone but `stuck`, whose handlers wait at the gate.
fn sticking(style: &str, gate: &Gate, attempts: &Attempts) -> Endpoint {
    let (gate, attempts) = (gate.clone(), attempts.clone());
    if style == "plain" {
        return accounts_with(move |account: &mut Account, message: Deposit, ctx: &mut Context| {
            if message.account.starts_with("stuck") {
                attempts.next();
                gate.pass_blocking();
            }
            deposit(account, message, ctx);
        });
    }
    accounts_async(move |account, message, ctx| {
        let (gate, attempts) = (gate.clone(), attempts.clone());
        Box::pin(async move {
            if message.account.starts_with("stuck") {
                attempts.next();
                gate.pass().await;
            }
            deposit(account, message, ctx);
            Ok(())
        })
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_never_returns_is_tried_again_and_dead_lettered_while_others_go_on() {
    for style in ["plain", "async"] {
        let rig = Rig::new();
        let backend = rig.backend();
        backend.send("accounts", to("stuck", 7)).await.unwrap();
        for pence in 0..20 {
            backend.send("accounts", to(&format!("account-{pence}"), pence)).await.unwrap();
        }
        let settings = Settings {
            handler_deadline: Duration::from_millis(600),
            retry: RetryPolicy { immediate: 1, ..RetryPolicy::NONE },
            ..Settings::default()
        };
        let (gate, attempts) = (Gate::new(), Attempts::default());
        work_off(&backend, [sticking(style, &gate, &attempts).settings(settings)]).await;

        assert_eq!(attempts.count(), 2, "{style}");
        let dead = dead_letters(&backend).await;
        assert_eq!(dead.len(), 1, "{style}");
        let expected = "the handler of `account.deposit` did not return within 600ms";
        assert_eq!(dead[0].failures[0].reason, expected);
        for pence in 0..20 {
            let account: Account = rig.state("accounts", &format!("account-{pence}")).unwrap();
            assert_eq!(account, Account::of(pence, 1), "{style}");
        }
        // What the late ones decide counts no more.
        gate.open();
        work_off(&backend, [accounts()]).await;
        assert_eq!(rig.state::<Account>("accounts", "stuck"), None, "{style}");
        assert_eq!(rig.books(), Books { queued: 20, dead: 1, inbox: 20, outbox: 0 }, "{style}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn handlers_that_block_leave_threads_for_others_long_before_their_deadline() {
    let rig = Rig::new();
    let backend = rig.backend();
    let blocked = 2 * std::thread::available_parallelism().unwrap().get() as u64 + 1;
    for n in 0..blocked {
        backend.send("accounts", to(&format!("stuck-{n}"), 1)).await.unwrap();
    }
    backend.send("accounts", to("alice", 7)).await.unwrap();
    let settings = Settings { handler_deadline: NEVER, ..Settings::default() };
    let (gate, done) = (Gate::new(), Gate::new());
    let (waiting, tell) = (gate.clone(), done.clone());
    let handler = move |account: &mut Account, message: Deposit, ctx: &mut Context| {
        if message.account == "alice" {
            tell.open();
            tell.pass_blocking();
        } else {
            waiting.pass_blocking();
        }
        deposit(account, message, ctx);
    };
    let worker = host(&backend, [accounts_with(handler).settings(settings)]).run_until_idle();
    let worker = tokio::spawn(worker);
    // Nobody sends anything more, and nobody returns.
    done.arrived(1).await;
    gate.arrived(blocked).await;
    gate.open();
    worker.await.unwrap().unwrap();
    assert_eq!(rig.books().inbox, blocked + 1);
    assert!(dead_letters(&backend).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_handlers_of_different_entities_run_side_by_side() {
    let rig = Rig::new();
    let backend = rig.backend();
    for n in 0..8 {
        backend.send("accounts", to(&format!("account-{n}"), 1)).await.unwrap();
    }
    let barrier = std::sync::Barrier::new(8);
    let handler = move |account: &mut Account, message: Deposit, ctx: &mut Context| {
        barrier.wait();
        deposit(account, message, ctx);
    };
    let settings = Settings { handler_deadline: NEVER, ..Settings::default() };
    work_off(&backend, [accounts_with(handler).settings(settings)]).await;
    assert_eq!(rig.books().inbox, 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_stops_although_a_handler_never_returns() {
    for style in ["plain", "async"] {
        for home in Home::BOTH {
            let rig = Rig::at(home);
            let backend = rig.backend();
            backend.send("accounts", to("stuck", 7)).await.unwrap();
            let settings = Settings {
                handler_deadline: Duration::from_millis(100),
                retry: RetryPolicy::default(),
                ..Settings::default()
            };
            let (gate, attempts) = (Gate::new(), Attempts::default());
            let endpoint = sticking(style, &gate, &attempts).settings(settings);
            let stopping = gate.clone();
            let stop = async move { stopping.arrived(1).await };
            host(&backend, [endpoint]).run(stop).await.unwrap();
            // It was given back as a retry, with what went wrong.
            let failures: u32 = rig.ask_queue("SELECT failure_count FROM queue").unwrap();
            assert_eq!(failures, 1, "{style}, {home:?}");
        }
    }
}
