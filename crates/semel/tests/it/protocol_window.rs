//! The inbox remembers for a window, and no longer.

use std::time::Duration;

use semel::Transactional;
use semel::core::store::WriteOutcome;
use semel::prelude::*;

use crate::bank::{Account, accounts, assert_ledger, audit, to};
use crate::rig::{Books, Home, Rig, work_off};

const WINDOW: Duration = Duration::from_secs(3_600);

fn remembering() -> [Endpoint; 2] {
    let protocol = Transactional { window: WINDOW };
    [accounts().protocol(protocol), audit().protocol(protocol)]
}

/// The store drops what is past its window after a write; the answer to a later write tells that
/// it has.
async fn let_the_store_purge(backend: &Backend) {
    for _ in 0..2 {
        let written = backend.store().write(Vec::new()).await;
        assert!(matches!(written, WriteOutcome::Applied(_)), "{written:?}");
    }
}

fn inbox(rig: &Rig) -> u64 {
    rig.books().inbox
}

#[tokio::test(flavor = "multi_thread")]
async fn inbox_entries_past_their_window_vanish_from_the_file() {
    let rig = Rig::new();
    let backend = rig.backend();
    for n in 0..10 {
        backend.send("accounts", to("alice", n)).await.unwrap();
    }
    work_off(&backend, remembering()).await;
    assert_eq!(inbox(&rig), 20);
    rig.advance(WINDOW);
    let_the_store_purge(&backend).await;
    assert_eq!(inbox(&rig), 20, "the window is the least that is kept");
    rig.advance(Duration::from_secs(10));
    let_the_store_purge(&backend).await;
    assert_eq!(inbox(&rig), 0);
    assert_ledger(&rig, "alice", &Account::of(45, 10));
}

/// The counterexample that the protocol's documentation names.
#[tokio::test(flavor = "multi_thread")]
async fn a_duplicate_inside_the_window_is_recognised_and_one_outside_is_processed_again() {
    for home in Home::BOTH {
        let rig = Rig::at(home);
        let backend = rig.backend();
        let again = || backend.send_as("m-1", "accounts", to("alice", 7));
        again().await.unwrap();
        work_off(&backend, remembering()).await;

        rig.advance(WINDOW);
        again().await.unwrap();
        work_off(&backend, remembering()).await;
        assert_ledger(&rig, "alice", &Account::of(7, 1));

        rig.advance(Duration::from_secs(10));
        let_the_store_purge(&backend).await;
        assert_eq!(inbox(&rig), 0, "{home:?}: forgotten");
        again().await.unwrap();
        work_off(&backend, remembering()).await;
        assert_eq!(rig.state("accounts", "alice"), Some(Account::of(14, 2)), "{home:?}");
        // Its effect has the name of the first one, whose window is over as well.
        assert_eq!(rig.state("audit", "alice"), Some(Account::of(14, 2)), "{home:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_window_is_seven_days_unless_chosen() {
    let rig = Rig::new();
    let backend = rig.backend();
    let day = Duration::from_secs(24 * 60 * 60);
    backend.send_as("m-1", "accounts", to("alice", 7)).await.unwrap();
    work_off(&backend, [accounts()]).await;
    rig.advance(7 * day);
    let_the_store_purge(&backend).await;
    assert_eq!(inbox(&rig), 1);
    let keeps: i64 = rig.ask_store("SELECT expires_at FROM inbox").unwrap();
    assert_eq!(rig.ms_until(keeps), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn entities_and_the_queue_know_no_window() {
    let rig = Rig::new();
    let backend = rig.backend();
    backend.send("accounts", to("alice", 7)).await.unwrap();
    work_off(&backend, [accounts()]).await;
    rig.advance(1_000 * WINDOW * 24);
    let_the_store_purge(&backend).await;
    let_the_store_purge(&backend).await;
    work_off(&backend, [audit()]).await;
    assert_ledger(&rig, "alice", &Account::of(7, 1));
    assert_eq!(rig.books(), Books { inbox: 1, ..Books::default() });
}
