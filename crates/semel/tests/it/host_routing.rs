//! Where effects go, and when.

use std::time::Duration;

use semel::prelude::*;

use crate::bank::{Account, Deposit, Deposited, accounts, accounts_with, assert_ledger, audit, to};
use crate::rig::{Books, Home, Rig, work_off};

fn announce(account: &mut Account, message: Deposit, ctx: &mut Context) {
    account.pence += message.pence;
    account.deposits += 1;
    let Deposit { account: name, pence } = message;
    ctx.publish(Deposited { account: name, pence, balance: account.pence });
}

fn note(account: &mut Account, message: Deposited, _: &mut Context) {
    account.pence += message.pence;
    account.deposits += 1;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_effect_arrives_at_its_endpoint() {
    for home in Home::BOTH {
        let rig = Rig::at(home);
        let backend = rig.backend();
        backend.send("accounts", to("alice", 7)).await.unwrap();
        work_off(&backend, [accounts(), audit()]).await;
        assert_ledger(&rig, "alice", &Account::of(7, 1));
        assert_eq!(rig.books(), Books { inbox: 2, ..Books::default() }, "{home:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_for_an_endpoint_that_nobody_serves_waits_until_somebody_does() {
    for home in Home::BOTH {
        let rig = Rig::at(home);
        let backend = rig.backend();
        backend.send("accounts", to("alice", 7)).await.unwrap();
        work_off(&backend, [accounts()]).await;
        assert_eq!(rig.books(), Books { queued: 1, inbox: 1, ..Books::default() }, "{home:?}");

        rig.advance(Duration::from_secs(365 * 24 * 60 * 60));
        work_off(&backend, [audit()]).await;
        assert_ledger(&rig, "alice", &Account::of(7, 1));
        assert_eq!(rig.books().queued, 0, "{home:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_published_message_reaches_each_subscriber_once_and_nobody_else() {
    for home in Home::BOTH {
        let rig = Rig::at(home);
        let backend = rig.backend();
        let publisher = || Endpoint::new("accounts").handle(announce);
        let others = || {
            [
                Endpoint::new("audit").subscribe(note),
                Endpoint::new("totals").subscribe_by(|_| "all".to_owned(), note),
                Endpoint::new("bystander").handle(note),
            ]
        };
        // Whoever subscribes is known from its first run on.
        work_off(&backend, others()).await;
        for (id, account, pence) in [("1", "alice", 1), ("2", "bob", 10), ("1", "alice", 1)] {
            backend.send_as(id, "accounts", to(account, pence)).await.unwrap();
        }
        work_off(&backend, [publisher()]).await;
        work_off(&backend, others()).await;

        assert_ledger(&rig, "alice", &Account::of(1, 1));
        assert_ledger(&rig, "bob", &Account::of(10, 1));
        assert_eq!(rig.state("totals", "all"), Some(Account::of(11, 2)), "{home:?}");
        assert_eq!(rig.state::<Account>("bystander", "alice"), None, "{home:?}");
        assert_eq!(rig.books(), Books { inbox: 2 + 2 + 2, ..Books::default() }, "{home:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delayed_message_waits_for_its_time() {
    for home in Home::BOTH {
        let rig = Rig::at(home);
        let backend = rig.backend();
        let endpoint = || {
            accounts_with(|account: &mut Account, message: Deposit, ctx: &mut Context| {
                account.pence += message.pence;
                account.deposits += 1;
                let Deposit { account: name, pence } = message;
                let message = Deposited { account: name, pence, balance: account.pence };
                ctx.send_after(Duration::from_secs(60), "audit", message);
            })
        };
        backend.send("accounts", to("alice", 7)).await.unwrap();
        work_off(&backend, [endpoint(), audit()]).await;
        assert_eq!(rig.state::<Account>("audit", "alice"), None, "{home:?}");

        rig.advance(Duration::from_millis(59_999));
        work_off(&backend, [endpoint(), audit()]).await;
        assert_eq!(rig.state::<Account>("audit", "alice"), None, "{home:?}");

        rig.advance(Duration::from_millis(1));
        work_off(&backend, [endpoint(), audit()]).await;
        assert_ledger(&rig, "alice", &Account::of(7, 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn effects_are_queued_in_the_order_they_were_declared() {
    for home in Home::BOTH {
        let rig = Rig::at(home);
        let backend = rig.backend();
        let endpoint = accounts_with(|_: &mut Account, message: Deposit, ctx: &mut Context| {
            for balance in 0..20 {
                let account = message.account.clone();
                ctx.send("journal", Deposited { account, pence: message.pence, balance });
            }
        });
        let journal = Endpoint::new("journal").handle(
            |journal: &mut Vec<i64>, message: Deposited, _: &mut Context| {
                journal.push(message.balance);
            },
        );
        backend.send("accounts", to("alice", 7)).await.unwrap();
        work_off(&backend, [endpoint, journal]).await;
        let journal: Vec<i64> = rig.state("journal", "alice").unwrap();
        assert_eq!(journal, (0..20).collect::<Vec<i64>>(), "{home:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_flow_through_a_chain_of_endpoints_until_none_is_left() {
    let rig = Rig::new();
    let backend = rig.backend();
    // Each stage passes the deposit on with one penny less.
    let stage = |count: &mut u64, message: Deposit, ctx: &mut Context| {
        *count += 1;
        if message.pence > 0 {
            let next = if message.pence % 2 == 0 { "even" } else { "odd" };
            ctx.send(next, to(&message.account, message.pence - 1));
        }
    };
    backend.send("even", to("alice", 100)).await.unwrap();
    work_off(&backend, [Endpoint::new("even").handle(stage), Endpoint::new("odd").handle(stage)])
        .await;
    let counts = ["even", "odd"].map(|endpoint| rig.state::<u64>(endpoint, "alice").unwrap());
    assert_eq!(counts, [51, 50]);
    assert_eq!(rig.books(), Books { inbox: 101, ..Books::default() });
}
