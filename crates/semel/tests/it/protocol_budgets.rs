//! What a message costs, counted.

use semel::prelude::*;
use semel::{AtLeastOnce, Settings};

use crate::bank::{Account, Deposit, accounts, accounts_async, accounts_with, deposit, to};
use crate::fault::{Call, Tap};
use crate::gate::Gate;
use crate::rig::{Books, Home, Rig, host, work_off};

const MESSAGES: u64 = 100;

/// Calls for [`MESSAGES`] messages of as many entities.
#[derive(Debug, PartialEq, Eq)]
struct Calls {
    read: u64,
    write: u64,
    send: u64,
    settle: u64,
}

impl Calls {
    fn per_message(read: u64, write: u64, send: u64, settle: u64) -> Self {
        let all = |calls| calls * MESSAGES;
        Self { read: all(read), write: all(write), send: all(send), settle: all(settle) }
    }
}

/// Without effects.
fn silent() -> Endpoint {
    accounts_with(|account: &mut Account, message: Deposit, _: &mut Context| {
        account.pence += message.pence;
    })
}

/// With three effects.
fn talkative() -> Endpoint {
    accounts_with(|account: &mut Account, message: Deposit, ctx: &mut Context| {
        deposit(account, message.clone(), ctx);
        deposit(account, message.clone(), ctx);
        deposit(account, message, ctx);
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_costs_no_more_calls_than_its_protocol_promises() {
    let cases = [
        // All in one: the commit settles and sends.
        ("transactional", Home::Inside, silent(), Calls::per_message(1, 1, 0, 0)),
        ("transactional", Home::Inside, talkative(), Calls::per_message(1, 1, 0, 0)),
        // The queue elsewhere: settle it, and with effects send them and clear their record.
        ("transactional", Home::Apart, silent(), Calls::per_message(1, 1, 0, 1)),
        ("transactional", Home::Apart, talkative(), Calls::per_message(1, 2, 1, 1)),
        ("at-least-once", Home::Inside, silent(), Calls::per_message(1, 1, 0, 1)),
        ("at-least-once", Home::Inside, talkative(), Calls::per_message(1, 1, 1, 1)),
        ("at-least-once", Home::Apart, talkative(), Calls::per_message(1, 1, 1, 1)),
        // The host adds nothing to what protocols cost by themselves (see `protocol_costs`).
        ("inbox", Home::Inside, talkative(), Calls::per_message(1, 1, 1, 1)),
        ("outbox", Home::Inside, silent(), Calls::per_message(1, 1, 0, 1)),
        ("outbox", Home::Inside, talkative(), Calls::per_message(1, 2, 1, 1)),
        ("outbox-inbox", Home::Inside, talkative(), Calls::per_message(2, 3, 1, 1)),
        ("detached-outbox", Home::Inside, talkative(), Calls::per_message(1, 3, 1, 1)),
        ("token", Home::Inside, talkative(), Calls::per_message(2, 3, 1, 1)),
        ("replay", Home::Inside, talkative(), Calls::per_message(1, 1, 1, 1)),
    ];
    for (protocol, home, endpoint, expected) in cases {
        let rig = Rig::at(home);
        let backend = rig.backend();
        for n in 0..MESSAGES {
            backend.send("accounts", to(&format!("account-{n}"), 1)).await.unwrap();
        }
        let tap = Tap::counting();
        let endpoint = endpoint.shared_protocol(semel::core::protocols::by_name(protocol).unwrap());
        work_off(&tap.on(backend), [endpoint]).await;
        let found = Calls {
            read: tap.count(Call::Read),
            write: tap.count(Call::Write),
            send: tap.count(Call::Send),
            settle: tap.count(Call::Settle),
        };
        assert_eq!(found, expected, "{protocol}, {home:?}");
        assert_eq!(tap.count(Call::Register), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_duplicate_costs_one_read_and_one_settlement() {
    let rig = Rig::new();
    let backend = rig.backend();
    backend.send_as("m-1", "accounts", to("alice", 7)).await.unwrap();
    work_off(&backend, [accounts()]).await;
    backend.send_as("m-1", "accounts", to("alice", 7)).await.unwrap();
    let tap = Tap::counting();
    work_off(&tap.on(backend), [accounts()]).await;
    let calls = [Call::Read, Call::Write, Call::Settle, Call::Send].map(|call| tap.count(call));
    assert_eq!(calls, [1, 0, 1, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_received_in_large_helpings() {
    let rig = Rig::new();
    let outside = rig.backend();
    for n in 0..MESSAGES {
        outside.send("accounts", to(&format!("account-{n}"), 1)).await.unwrap();
    }
    let file = rig.open_store();
    let backend = Backend::in_one(file.clone()).with_clock(rig.clock.clone());
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
    let worker = tokio::spawn(host(&backend, [endpoint]).run_until_idle());
    gate.arrived(MESSAGES).await;
    assert_eq!(file.commits(), 2, "one to register, one to receive them all");
    gate.open();
    worker.await.unwrap().unwrap();
}

/// A thousand handlers end while another program holds the write lock; what then waits is
/// committed together.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_messages_share_a_few_durable_commits() {
    const THOUSAND: u64 = 1_000;
    let rig = Rig::new();
    let file = rig.open_store();
    let tap = Tap::counting();
    let backend = tap.on(Backend::in_one(file.clone()).with_clock(rig.clock.clone()));
    for n in 0..THOUSAND {
        backend.send("accounts", to(&format!("account-{n}"), 1)).await.unwrap();
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
    let wide = Settings { concurrency: 2_000, held_max: 2_000, ..Settings::default() };
    let worker = tokio::spawn(host(&backend, [endpoint.settings(wide)]).run_until_idle());
    gate.arrived(THOUSAND).await;
    let lock = rig.lock_store();
    let commits_before = file.commits();
    gate.open();
    tap.reached(Call::Write, THOUSAND).await;
    drop(lock);
    worker.await.unwrap().unwrap();

    assert_eq!(rig.books(), Books { queued: THOUSAND, inbox: THOUSAND, ..Books::default() });
    // The writer may have gathered a first few before the lock stopped it; all others are one
    // group. A renewal of the leases, or two, may come in between on a slow machine.
    let commits = file.commits() - commits_before;
    assert!(commits <= 10, "{commits} commits for a thousand messages");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_host_writes_nothing() {
    let rig = Rig::new();
    let file = rig.open_store();
    let backend = Backend::in_one(file.clone()).with_clock(rig.clock.clone());
    for _ in 0..5 {
        let before = file.commits();
        work_off(&backend, [accounts(), Endpoint::new("b").handle(deposit).protocol(AtLeastOnce)])
            .await;
        assert_eq!(file.commits() - before, 2, "one for each endpoint that registers");
    }
}
