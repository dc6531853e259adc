//! Copies of a message change the state once and send its effects once.

use std::time::Duration;

use semel::core::broker::{Destination, Outgoing};
use semel::prelude::*;
use semel::{Envelope, Settings};

use crate::bank::{
    Account, Attempts, Deposit, accounts, accounts_async, assert_ledger, audit, deposit, to,
};
use crate::fault::{Call, Tap};
use crate::gate::Gate;
use crate::rig::{Books, Home, Rig, dead_letters, host, put, work_off};

#[tokio::test(flavor = "multi_thread")]
async fn the_same_identity_sent_again_changes_the_state_once() {
    for home in Home::BOTH {
        let rig = Rig::at(home);
        let backend = rig.backend();
        for _ in 0..3 {
            backend.send_as("m-1", "accounts", to("alice", 7)).await.unwrap();
        }
        work_off(&backend, [accounts(), audit()]).await;
        // And again after all is done, at another worker.
        let backend = rig.backend();
        backend.send_as("m-1", "accounts", to("alice", 7)).await.unwrap();
        work_off(&backend, [accounts(), audit()]).await;

        assert_ledger(&rig, "alice", &Account::of(7, 1));
        assert_eq!(rig.books(), Books { inbox: 2, ..Books::default() }, "{home:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_envelope_sent_again_changes_the_state_once() {
    for home in Home::BOTH {
        let rig = Rig::at(home);
        let backend = rig.backend();
        let data = br#"{"account":"alice","pence":7}"#.as_slice();
        let envelope = Envelope::new("e-1", "/till", "account.deposit", data);
        let message = || Outgoing {
            to: Destination::Endpoint("accounts".to_owned()),
            envelope: envelope.clone(),
            delay: Duration::ZERO,
        };
        let _ = backend.broker().send(vec![message(), message()]).await;
        work_off(&backend, [accounts(), audit()]).await;
        assert_ledger(&rig, "alice", &Account::of(7, 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_is_unique_only_for_its_source_and_its_receiver() {
    let rig = Rig::new();
    let backend = rig.backend();
    // A careless key would join "/a b" and "c" as it joins "/a" and "b c".
    let identities =
        [("/till/1", "17"), ("/till/2", "17"), ("/till/1", "17 "), ("/till/1%20", "17")];
    for (source, id) in identities {
        let data = br#"{"account":"alice","pence":1}"#.as_slice();
        for endpoint in ["accounts", "savings"] {
            let envelope = Envelope::new(id, source, "account.deposit", data);
            put(&backend, endpoint, envelope.clone()).await;
            put(&backend, endpoint, envelope).await;
        }
    }
    work_off(&backend, [accounts(), Endpoint::new("savings").handle(deposit)]).await;
    assert_eq!(rig.state("accounts", "alice"), Some(Account::of(4, 4)));
    assert_eq!(rig.state("savings", "alice"), Some(Account::of(4, 4)));
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_without_an_identity_of_their_own_are_all_different() {
    let rig = Rig::new();
    let backend = rig.backend();
    for _ in 0..50 {
        backend.send("accounts", to("alice", 1)).await.unwrap();
    }
    work_off(&backend, [accounts(), audit()]).await;
    assert_ledger(&rig, "alice", &Account::of(50, 50));
}

/// Both copies are read, handled and sent to the store before either is decided.
#[tokio::test(flavor = "multi_thread")]
async fn two_copies_handled_at_the_same_time_at_two_workers_change_the_state_once() {
    for home in Home::BOTH {
        let rig = Rig::at(home);
        let gate = Gate::new();
        let taps = [Tap::counting(), Tap::counting()];
        let mut workers = Vec::new();
        rig.backend().send_as("m-1", "accounts", to("alice", 7)).await.unwrap();
        rig.backend().send_as("m-1", "accounts", to("alice", 7)).await.unwrap();
        for tap in &taps {
            let backend = tap.on(rig.backend());
            let waiting = gate.clone();
            let slow = accounts_async(move |account, message, ctx| {
                let gate = waiting.clone();
                Box::pin(async move {
                    gate.pass().await;
                    deposit(account, message, ctx);
                    Ok(())
                })
            });
            let one_each = Settings { held_max: 1, ..Settings::default() };
            let host = host(&backend, [slow.settings(one_each)]);
            workers.push(tokio::spawn(host.run_until_idle()));
        }
        gate.arrived(2).await;
        let lock = rig.lock_store();
        gate.open();
        for tap in &taps {
            tap.reached(Call::Write, 1).await;
        }
        drop(lock);
        for worker in workers {
            worker.await.unwrap().unwrap();
        }
        work_off(&rig.backend(), [accounts(), audit()]).await;
        assert_ledger(&rig, "alice", &Account::of(7, 1));
        assert_eq!(rig.books(), Books { inbox: 2, ..Books::default() }, "{home:?}");
    }
}

/// Copies for different entities, as two versions of a key function would make them, are in work
/// at the same time in one process, and their commits share one transaction.
#[tokio::test(flavor = "multi_thread")]
async fn two_copies_in_one_group_commit_change_the_state_once() {
    let rig = Rig::new();
    let tap = Tap::counting();
    let file = rig.open_store();
    let backend = tap.on(Backend::in_one(file.clone()).with_clock(rig.clock.clone()));
    for _ in 0..2 {
        backend.send_as("m-1", "accounts", to("alice", 7)).await.unwrap();
    }
    let (gate, versions) = (Gate::new(), Attempts::default());
    let waiting = gate.clone();
    let slow = move |account: &mut Account, message: Deposit, ctx: &mut Context| {
        waiting.pass_blocking();
        deposit(account, message, ctx);
    };
    let key = move |_: &Deposit| format!("alice under version {}", versions.next());
    let endpoint = Endpoint::new("accounts").handle_by(key, slow);
    let worker = tokio::spawn(host(&backend, [endpoint]).run_until_idle());

    gate.arrived(2).await;
    let lock = rig.lock_store();
    gate.open();
    tap.reached(Call::Write, 2).await;
    drop(lock);
    worker.await.unwrap().unwrap();
    work_off(&backend, [audit()]).await;

    let entities: u64 =
        rig.ask_store("SELECT count(*) FROM entity WHERE endpoint = 'accounts'").unwrap();
    assert_eq!(entities, 1);
    assert_eq!(rig.state("audit", "alice"), Some(Account::of(7, 1)));
    assert_eq!(rig.books(), Books { inbox: 2, ..Books::default() });
}

/// Pence that tell apart which messages were counted: no two sums of few are the same.
fn pence_of(message: i64) -> i64 {
    message * message + 1
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hosts_on_one_file_share_three_copies_of_500_messages_exactly() {
    const MESSAGES: i64 = 500;
    const ACCOUNTS: i64 = 20;
    for home in Home::BOTH {
        let rig = Rig::at(home);
        let feeder = rig.backend();
        let envelope = |message: i64| {
            let data = to(&format!("account-{}", message % ACCOUNTS), pence_of(message));
            let data = serde_json::to_vec(&data).unwrap();
            Envelope::new(message.to_string(), "/till", "account.deposit", data)
        };
        for copy in 0..3 {
            // The copies lie far apart, close together, and side by side.
            let order = |n: i64| if copy == 1 { MESSAGES - 1 - n } else { n };
            let messages = (0..MESSAGES).map(|n| Outgoing {
                to: Destination::Endpoint("accounts".to_owned()),
                envelope: envelope(order(n)),
                delay: Duration::ZERO,
            });
            let _ = feeder.broker().send(messages.collect()).await;
        }
        let gates = [Gate::new(), Gate::new()];
        let workers = gates.clone().map(|gate| {
            let endpoint = accounts_async(move |account, message, ctx| {
                let gate = gate.clone();
                Box::pin(async move {
                    gate.pass().await;
                    deposit(account, message, ctx);
                    Ok(())
                })
            });
            // Small helpings, so that both get their share.
            let helping = Settings { held_max: 100, ..Settings::default() };
            let host = host(&rig.backend(), [endpoint.settings(helping), audit()]);
            tokio::spawn(host.run_until_idle())
        });
        for gate in &gates {
            gate.arrived(1).await;
        }
        gates.iter().for_each(Gate::open);
        for worker in workers {
            worker.await.unwrap().unwrap();
        }
        work_off(&feeder, [accounts(), audit()]).await;

        for account in 0..ACCOUNTS {
            let messages = (0..MESSAGES).filter(|message| message % ACCOUNTS == account);
            let pence = messages.clone().map(pence_of).sum();
            let expected = Account::of(pence, messages.count() as u64);
            assert_ledger(&rig, &format!("account-{account}"), &expected);
        }
        let inbox = 2 * MESSAGES as u64;
        assert_eq!(rig.books(), Books { inbox, ..Books::default() }, "{home:?}");
        assert!(dead_letters(&feeder).await.is_empty());
    }
}
