//! Entities that change between read and commit.

use std::sync::Arc;

use semel::core::Store;
use semel::core::store::{Change, Expect, ItemKey, Keep, Space, WriteOutcome};
use semel::prelude::*;
use semel::{RetryPolicy, Settings};

use crate::bank::{Account, Attempts, Deposit, accounts_with, assert_ledger, audit, deposit, to};
use crate::fault::{Call, Fault, Tap};
use crate::rig::{Books, Home, Rig, retrying, work_off};

/// Handles deposits without any retry: what is tried again is no failure.
fn counted(attempts: &Attempts) -> Endpoint {
    let attempts = attempts.clone();
    let handler = move |account: &mut Account, message: Deposit, ctx: &mut Context| {
        attempts.next();
        deposit(account, message, ctx);
    };
    accounts_with(handler).settings(retrying(RetryPolicy::NONE))
}

/// Pays 1,000 pence into the account of `alice`, past any message.
async fn intrude(store: Arc<impl Store>) {
    let key = ItemKey::new(Space::Entity, "accounts", "alice");
    let found = store.read(&key).await.unwrap();
    let mut account: Account = found
        .as_ref()
        .map_or_else(Account::default, |item| serde_json::from_slice(&item.value).unwrap());
    account.pence += 1_000;
    let put = Change::Put {
        key,
        value: serde_json::to_vec(&account).unwrap().into(),
        expect: found.map_or(Expect::Absent, |item| Expect::Version(item.version)),
        keep: Keep::Always,
    };
    let WriteOutcome::Applied(_) = store.write(vec![put]).await else {
        panic!("nobody else writes")
    };
}

/// Changes the entity right before each of the first `times` commits.
fn intruding(rig: &Rig, times: u64, otherwise: Fault) -> Tap {
    let outside = rig.open_store();
    Tap::acting(move |call, nth| {
        let outside = outside.clone();
        Box::pin(async move {
            if call == Call::Write && nth <= times {
                intrude(outside).await;
            }
            otherwise
        })
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_runs_the_handler_again_on_the_fresh_state_and_uses_up_no_retry() {
    for home in Home::BOTH {
        // Whether the entity is new or not, and whether the store names the conflict's position.
        for (begins_with, fault) in [(0, Fault::None), (1, Fault::None), (1, Fault::Terse)] {
            let rig = Rig::at(home);
            if begins_with > 0 {
                intrude(rig.open_store()).await;
            }
            let backend = intruding(&rig, 3, fault).on(rig.backend());
            let attempts = Attempts::default();
            backend.send("accounts", to("alice", 7)).await.unwrap();
            work_off(&backend, [counted(&attempts), audit()]).await;

            assert_eq!(attempts.count(), 4, "{home:?}");
            let pence = 1_000 * (3 + begins_with) + 7;
            assert_eq!(rig.state("accounts", "alice"), Some(Account::of(pence, 1)), "{home:?}");
            assert_eq!(rig.state("audit", "alice"), Some(Account::of(7, 1)), "{home:?}");
            assert_eq!(rig.books(), Books { inbox: 2, ..Books::default() }, "{home:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_effects_of_the_attempt_that_won_are_sent() {
    for home in Home::BOTH {
        let rig = Rig::at(home);
        let backend = intruding(&rig, 1, Fault::None).on(rig.backend());
        let attempts = Attempts::default();
        let handler = move |account: &mut Account, message: Deposit, ctx: &mut Context| {
            let pence = message.pence + 100 * attempts.next() as i64;
            deposit(account, Deposit { pence, ..message }, ctx);
        };
        backend.send("accounts", to("alice", 7)).await.unwrap();
        work_off(&backend, [accounts_with(handler), audit()]).await;
        assert_eq!(rig.state("accounts", "alice"), Some(Account::of(1_207, 1)), "{home:?}");
        assert_eq!(rig.state("audit", "alice"), Some(Account::of(207, 1)), "{home:?}");
    }
}

/// Messages of one entity at two workers conflict, and each still counts once.
#[tokio::test(flavor = "multi_thread")]
async fn workers_that_fight_over_one_entity_lose_nothing() {
    for home in Home::BOTH {
        let rig = Rig::at(home);
        let feeder = rig.backend();
        for n in 0..100 {
            feeder.send_as(&n.to_string(), "accounts", to("alice", n)).await.unwrap();
        }
        let attempts = Attempts::default();
        let mut workers = Vec::new();
        for _ in 0..3 {
            let one_each = Settings { held_max: 2, ..retrying(RetryPolicy::NONE) };
            let endpoint = counted(&attempts).settings(one_each);
            workers
                .push(tokio::spawn(crate::rig::host(&rig.backend(), [endpoint]).run_until_idle()));
        }
        for worker in workers {
            worker.await.unwrap().unwrap();
        }
        work_off(&feeder, [counted(&attempts), audit()]).await;
        assert_ledger(&rig, "alice", &Account::of(4_950, 100));
        assert_eq!(rig.books(), Books { inbox: 200, ..Books::default() }, "{home:?}");
    }
}
