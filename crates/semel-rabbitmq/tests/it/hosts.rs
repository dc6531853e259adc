//! Hosts with their state in a file and their queues here.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use semel::core::protocols::{DetachedOutbox, Protocol, Token};
use semel::prelude::*;
use semel_rabbitmq::Options;
use semel_sqlite::Sqlite;
use serde::{Deserialize, Serialize};

use crate::proxy::Proxy;
use crate::rig::{fresh_prefix, shared};
use crate::worker::{Worker, options};

#[derive(Clone, Serialize, Deserialize, Message)]
#[message(type = "account.deposit", entity = account)]
struct Deposit {
    account: String,
    pence: u64,
}

#[derive(Clone, Serialize, Deserialize, Message)]
#[message(type = "account.deposited", entity = account)]
struct Deposited {
    account: String,
    pence: u64,
}

#[derive(Clone, Serialize, Deserialize, Message)]
#[message(type = "account.question", entity = account)]
struct Question {
    account: String,
}

/// Pence and how often some came, by account.
type Seen = Arc<Mutex<BTreeMap<String, (u64, u64)>>>;

fn accounts(protocol: impl Protocol) -> Endpoint {
    Endpoint::new("accounts").protocol(protocol).handle(
        |balance: &mut u64, message: Deposit, context: &mut Context| {
            *balance += message.pence;
            context.publish(Deposited { account: message.account, pence: message.pence });
        },
    )
}

fn audit(protocol: impl Protocol, seen: &Seen) -> Endpoint {
    let seen = seen.clone();
    let endpoint = Endpoint::new("audit").protocol(protocol);
    endpoint
        .subscribe(|total: &mut (u64, u64), message: Deposited, _: &mut Context| {
            *total = (total.0 + message.pence, total.1 + 1);
        })
        .handle(move |total: &mut (u64, u64), message: Question, _: &mut Context| {
            seen.lock().unwrap().insert(message.account, *total);
        })
}

/// Each deposit is sent twice, and the connections of both hosts are cut now and then.
async fn every_deposit_counts_once(protocol: impl Protocol + Clone) {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(Sqlite::open(folder.path().join("state.db")).unwrap());
    let (prefix, proxy) = (fresh_prefix(), Proxy::before(&shared()));
    let seen = Seen::default();
    let mut hosts = Vec::new();
    let stop = stop_signal();
    for _ in 0..2 {
        let settings = Options { patience: Duration::from_secs(5), ..options(&prefix) };
        let broker = Worker::connect_with(&proxy.address, settings).await.0;
        let host = Host::new(Backend::apart(store.clone(), broker))
            .endpoint(accounts(protocol.clone()))
            .endpoint(audit(protocol.clone(), &seen));
        let mut stopped = stop.subscribe();
        hosts.push(tokio::spawn(async move {
            host.run(async move {
                let _ = stopped.wait_for(|stop| *stop).await;
            })
            .await
        }));
    }
    // The audit is registered before the first event.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let sender = Backend::apart(store, Worker::connect(&shared(), &prefix).await.0);
    for n in 0..40 {
        let deposit = Deposit { account: format!("account-{}", n % 4), pence: 5 };
        for _ in 0..2 {
            sender.send_as(&format!("deposit-{n}"), "accounts", deposit.clone()).await.unwrap();
        }
        if n % 15 == 10 {
            proxy.cut();
        }
    }
    let expected: BTreeMap<String, (u64, u64)> =
        (0..4).map(|n| (format!("account-{n}"), (50, 10))).collect();
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        for account in expected.keys() {
            sender.send("audit", Question { account: account.clone() }).await.unwrap();
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = seen.lock().unwrap().clone();
        if now == expected || Instant::now() > until {
            break;
        }
    }
    // Late duplicates would still come.
    tokio::time::sleep(Duration::from_secs(2)).await;
    stop.send_replace(true);
    for host in hosts {
        host.await.unwrap().unwrap();
    }
    assert_eq!(*seen.lock().unwrap(), expected);
}

fn stop_signal() -> tokio::sync::watch::Sender<bool> {
    tokio::sync::watch::channel(false).0
}

#[tokio::test(flavor = "multi_thread")]
async fn every_deposit_counts_once_with_a_detached_outbox() {
    every_deposit_counts_once(DetachedOutbox::default()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_deposit_counts_once_with_tokens() {
    every_deposit_counts_once(Token::default()).await;
}
