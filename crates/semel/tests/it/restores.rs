//! A database and a broker that are restored to different moments: what is lost, what comes twice,
//! and what sending again mends. `docs/operations.md` says what is shown here.

use std::sync::Arc;

use semel::core::protocols::{self, Protocol};
use semel::prelude::*;

use crate::bank::{Account, accounts, audit, to};
use crate::by_hand::{LEASE, Varying, attempt, dies_at, take_one};
use crate::fault::{Call, Fault, Tap};
use crate::rig::{Home, Rig, work_off};

/// The deposits that each endpoint knows of alice.
fn known(rig: &Rig) -> (u64, u64) {
    let deposits =
        |endpoint| rig.state::<Account>(endpoint, "alice").map_or(0, |account| account.deposits);
    (deposits("accounts"), deposits("audit"))
}

fn under(protocol: &Arc<dyn Protocol>) -> [Endpoint; 2] {
    [accounts().shared_protocol(protocol.clone()), audit().shared_protocol(protocol.clone())]
}

async fn send(rig: &Rig, id: &str) {
    rig.backend().send_as(id, "accounts", to("alice", 7)).await.unwrap();
}

/// What each protocol makes of one case, in the words of the page.
fn check(case: &str, found: &[(&'static str, (u64, u64))], expected: impl Fn(&str) -> (u64, u64)) {
    for (protocol, known) in found {
        assert_eq!(*known, expected(protocol), "{case}: {protocol}");
    }
    assert_eq!(found.len(), 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_database_forgets_and_learns_again_what_is_sent_again() {
    let (mut restored, mut again) = (Vec::new(), Vec::new());
    for protocol in protocols::all() {
        let rig = Rig::at(Home::Apart);
        drop(rig.open_store());
        let older = rig.back_up(rig.store_path());
        send(&rig, "m-1").await;
        let [accounts, _] = under(&protocol);
        work_off(&rig.backend(), [accounts]).await;
        rig.restore(&older, &rig.store_path());
        work_off(&rig.backend(), under(&protocol)).await;
        restored.push((protocol.name(), known(&rig)));
        send(&rig, "m-1").await;
        work_off(&rig.backend(), under(&protocol)).await;
        again.push((protocol.name(), known(&rig)));
        assert_eq!((rig.books().queued, rig.books().dead), (0, 0), "{}", protocol.name());
    }
    // The deposit is lost; what it had sent is not, but for the tokens.
    check("restored", &restored, |name| (0, u64::from(name != "token")));
    // Ids of messages sent follow from the message that caused them: a second time is recognised.
    check("sent again", &again, |name| (1, if name == "at-least-once" { 2 } else { 1 }));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_queue_brings_again_what_the_database_knows() {
    let mut found = Vec::new();
    for protocol in protocols::all() {
        let rig = Rig::at(Home::Apart);
        send(&rig, "m-1").await;
        let older = rig.back_up(rig.queue_path());
        work_off(&rig.backend(), under(&protocol)).await;
        rig.restore(&older, &rig.queue_path());
        work_off(&rig.backend(), under(&protocol)).await;
        found.push((protocol.name(), known(&rig)));
    }
    check("again", &found, |name| if name == "at-least-once" { (2, 2) } else { (1, 1) });
}

/// A worker dies between its commit and its dispatch, and then the queue is lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_queue_leaves_committed_effects_for_the_finisher_or_for_who_sends_again() {
    let (mut alone, mut next, mut again) = (Vec::new(), Vec::new(), Vec::new());
    for protocol in protocols::all() {
        let rig = Rig::at(Home::Apart);
        send(&rig, "m-1").await;
        let tap = Tap::new(|call, _| match call {
            Call::Send => Fault::DiesBefore,
            _ => Fault::None,
        });
        let backend = tap.on(rig.backend());
        let delivery = take_one(&backend, "accounts").await;
        dies_at(attempt(&backend, &*protocol, &delivery, &Varying::from(7)), tap.dead()).await;
        drop(backend);
        rig.damage_queue("DELETE FROM queue");
        rig.advance(LEASE);
        work_off(&rig.backend(), under(&protocol)).await;
        alone.push((protocol.name(), known(&rig)));
        send(&rig, "m-2").await;
        work_off(&rig.backend(), under(&protocol)).await;
        next.push((protocol.name(), known(&rig)));
        send(&rig, "m-1").await;
        work_off(&rig.backend(), under(&protocol)).await;
        again.push((protocol.name(), known(&rig)));
    }
    let by_itself = |name: &str| u64::from(name == "transactional");
    let by_the_next = |name: &str| u64::from(["transactional", "detached-outbox"].contains(&name));
    check("alone", &alone, |name| (1, by_itself(name)));
    check("next for the entity", &next, |name| (2, 1 + by_the_next(name)));
    check("sent again", &again, |name| if name == "at-least-once" { (3, 2) } else { (2, 2) });
}

/// The deposit is settled and its message to the audit waits, when the queue is lost.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_and_lost_with_the_queue_is_sent_again_by_who_decides_again() {
    let (mut alone, mut again) = (Vec::new(), Vec::new());
    for protocol in protocols::all() {
        let rig = Rig::at(Home::Apart);
        send(&rig, "m-1").await;
        let [accounts, _] = under(&protocol);
        work_off(&rig.backend(), [accounts]).await;
        rig.damage_queue("DELETE FROM queue");
        work_off(&rig.backend(), under(&protocol)).await;
        alone.push((protocol.name(), known(&rig)));
        send(&rig, "m-1").await;
        work_off(&rig.backend(), under(&protocol)).await;
        again.push((protocol.name(), known(&rig)));
    }
    check("alone", &alone, |_| (1, 0));
    check("sent again", &again, |name| match name {
        "at-least-once" => (2, 1),
        "replay" | "inbox" => (1, 1),
        _ => (1, 0),
    });
}
