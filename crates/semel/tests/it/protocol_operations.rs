//! What people do, under each protocol: what `docs/operations.md` says of it is shown here.

use std::sync::Arc;

use semel::Transactional;
use semel::core::Property;
use semel::core::protocols::{self, Outcome, Protocol};
use semel::prelude::*;

use crate::bank::{Account, accounts, accounts_with, assert_ledger, audit, to};
use crate::by_hand::{LEASE, Varying, attempt, dies_at, take_one};
use crate::fault::{Call, Fault, Tap};
use crate::rig::{Home, Rig, dead_letters, retrying, work_off};

fn by_name(name: &str) -> Arc<dyn Protocol> {
    protocols::by_name(name).unwrap()
}

/// The protocols that promise everything.
fn whole() -> Vec<Arc<dyn Protocol>> {
    let all = protocols::all().into_iter();
    let whole: Vec<_> =
        all.filter(|protocol| protocol.promises().len() == Property::ALL.len()).collect();
    assert_eq!(whole.len(), 6, "{whole:?}");
    whole
}

fn under(protocol: &Arc<dyn Protocol>) -> [Endpoint; 2] {
    [accounts().shared_protocol(protocol.clone()), audit().shared_protocol(protocol.clone())]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_older_queue_delivers_again_is_recognised() {
    for protocol in whole() {
        let rig = Rig::at(Home::Apart);
        rig.backend().send("accounts", to("alice", 7)).await.unwrap();
        let older = rig.back_up(rig.queue_path());
        work_off(&rig.backend(), under(&protocol)).await;
        rig.restore(&older, &rig.queue_path());
        work_off(&rig.backend(), under(&protocol)).await;
        assert_ledger(&rig, "alice", &Account::of(7, 1));
        assert_eq!(rig.books().queued, 0, "{}", protocol.name());
    }
}

/// The sender's change is gone with the store. What it had sent is processed all the same, but under
/// `token`, whose proof is gone as well.
#[tokio::test(flavor = "multi_thread")]
async fn an_older_store_drops_what_is_in_flight_under_token_and_only_there() {
    for protocol in whole() {
        let rig = Rig::at(Home::Apart);
        rig.backend().send("accounts", to("alice", 7)).await.unwrap();
        let older = rig.back_up(rig.store_path());
        let [accounts, audit] = under(&protocol);
        work_off(&rig.backend(), [accounts]).await;
        rig.restore(&older, &rig.store_path());
        work_off(&rig.backend(), [audit]).await;
        let heard = rig.state::<Account>("audit", "alice").map(|audit| audit.deposits);
        let expected = (protocol.name() != "token").then_some(1);
        assert_eq!(heard, expected, "{}", protocol.name());
        assert_eq!(rig.state::<Account>("accounts", "alice"), None);
        assert_eq!((rig.books().queued, rig.books().dead), (0, 0), "{}", protocol.name());
    }
}

/// An older inbox, with the state of the same moment: a message that comes again is processed again,
/// as the state knows nothing of it either.
#[tokio::test(flavor = "multi_thread")]
async fn after_an_older_store_a_repeated_message_is_processed_again() {
    for protocol in whole() {
        let rig = Rig::at(Home::Apart);
        rig.backend().send("accounts", to("alice", 7)).await.unwrap();
        let (store, queue) = (rig.back_up(rig.store_path()), rig.back_up(rig.queue_path()));
        work_off(&rig.backend(), under(&protocol)).await;
        rig.restore(&store, &rig.store_path());
        rig.restore(&queue, &rig.queue_path());
        work_off(&rig.backend(), under(&protocol)).await;
        assert_ledger(&rig, "alice", &Account::of(7, 1));
    }
}

fn refuse(_: &mut Account, _: crate::bank::Deposit, _: &mut Context) -> Result<(), Failure> {
    Err(Failure::dead_letter("not today"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replayed_dead_letter_counts_once() {
    for protocol in whole() {
        let rig = Rig::at(Home::Apart);
        let backend = rig.backend();
        backend.send("accounts", to("alice", 7)).await.unwrap();
        let broken = accounts_with(refuse).shared_protocol(protocol.clone());
        work_off(&backend, [broken.settings(retrying(semel::core::retry::RetryPolicy::NONE))])
            .await;
        let dead = dead_letters(&backend).await;
        assert_eq!(dead.len(), 1, "{}", protocol.name());
        assert_eq!(dead[0].entity.as_deref(), Some("alice"), "{}", protocol.name());

        let back = semel::core::broker::Settlement::Release { after: std::time::Duration::ZERO };
        let _ = backend.broker().settle(&dead[0].receipt, back).await;
        work_off(&backend, under(&protocol)).await;
        assert_ledger(&rig, "alice", &Account::of(7, 1));
    }
}

/// A copy of a discarded message is not processed.
#[tokio::test(flavor = "multi_thread")]
async fn no_copy_of_a_discarded_message_is_processed() {
    for protocol in whole() {
        let rig = Rig::at(Home::Apart);
        let backend = rig.backend();
        backend.send("accounts", to("alice", 7)).await.unwrap();
        let copy = rig.back_up(rig.queue_path());
        let broken = accounts_with(refuse).shared_protocol(protocol.clone());
        work_off(&backend, [broken]).await;
        let dead = dead_letters(&backend).await;
        let outcome = protocol.discard(&dead[0], backend.places()).await;
        assert!(matches!(outcome, Outcome::Processed), "{}: {outcome:?}", protocol.name());
        assert!(dead_letters(&backend).await.is_empty());

        drop(backend);
        rig.restore(&copy, &rig.queue_path());
        work_off(&rig.backend(), under(&protocol)).await;
        assert_ledger(&rig, "alice", &Account::default());
        assert_eq!(rig.books().queued, 0, "{}", protocol.name());
    }
}

/// Another protocol than the one that wrote an entity: a person is told, and nothing is lost.
#[tokio::test(flavor = "multi_thread")]
async fn an_entity_of_another_protocol_is_refused_by_name() {
    for (wrote, runs) in [("outbox", "token"), ("token", "transactional"), ("replay", "inbox")] {
        let rig = Rig::at(Home::Apart);
        rig.backend().send("accounts", to("alice", 7)).await.unwrap();
        work_off(&rig.backend(), under(&by_name(wrote))).await;
        rig.backend().send("accounts", to("alice", 5)).await.unwrap();
        let [accounts, _] = under(&by_name(runs));
        let host = crate::rig::host(&rig.backend(), [accounts]);
        let error = host.run_until_idle().await.unwrap_err().to_string();
        assert!(error.contains(wrote) && error.contains(runs), "{error}");
        assert_eq!((rig.books().queued, rig.books().dead), (1, 0));
    }
}

/// From a protocol without books in the entity to one with them, state goes along.
#[tokio::test(flavor = "multi_thread")]
async fn a_state_without_books_is_taken_over() {
    let rig = Rig::at(Home::Apart);
    rig.backend().send("accounts", to("alice", 7)).await.unwrap();
    let transactional: Arc<dyn Protocol> = Arc::new(Transactional::default());
    work_off(&rig.backend(), under(&transactional)).await;
    rig.backend().send("accounts", to("alice", 5)).await.unwrap();
    work_off(&rig.backend(), under(&by_name("outbox"))).await;
    assert_ledger(&rig, "alice", &Account::of(12, 2));
}

/// A version is deployed that lacks the handler, between the commit and the dispatch.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_missing_handler_parked_is_finished_once_it_is_back() {
    for protocol in whole().into_iter().filter(|protocol| protocol.name() != "transactional") {
        let rig = Rig::at(Home::Apart);
        rig.backend().send("accounts", to("alice", 7)).await.unwrap();
        let tap = Tap::new(|call, _| match call {
            Call::Send => Fault::DiesBefore,
            _ => Fault::None,
        });
        let backend = tap.on(rig.backend());
        let delivery = take_one(&backend, "accounts").await;
        dies_at(attempt(&backend, &*protocol, &delivery, &Varying::from(7)), tap.dead()).await;

        rig.advance(LEASE);
        let [_, audit] = under(&protocol);
        let without =
            Endpoint::new("accounts").handle(|_: &mut Account, _: Other, _: &mut Context| ());
        work_off(&rig.backend(), [without.shared_protocol(protocol.clone()), audit]).await;
        let backend = rig.backend();
        let dead = dead_letters(&backend).await;
        assert_eq!((dead.len(), dead[0].reason.name()), (1, "unknown-type"));
        assert_eq!(rig.state::<Account>("audit", "alice"), None, "{}", protocol.name());

        let back = semel::core::broker::Settlement::Release { after: std::time::Duration::ZERO };
        let _ = backend.broker().settle(&dead[0].receipt, back).await;
        work_off(&backend, under(&protocol)).await;
        assert_ledger(&rig, "alice", &Account::of(7, 1));
    }
}

#[derive(serde::Serialize, serde::Deserialize, Message)]
#[message(type = "account.other", entity = account)]
struct Other {
    account: String,
}

/// A message whose token names an entity of another protocol, or none at all, stops nobody.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_leads_nowhere_stops_no_endpoint() {
    for (sender, receiver) in
        [("outbox", "token"), ("outbox", "transactional"), ("token", "outbox")]
    {
        let rig = Rig::at(Home::Apart);
        rig.backend().send("accounts", to("alice", 7)).await.unwrap();
        let [accounts, _] = under(&by_name(sender));
        work_off(&rig.backend(), [accounts]).await;
        rig.damage_queue("DELETE FROM queue");
        for token in ["semel accounts alice", "semel accounts bob", "semel none", "", "a b c d"] {
            let data = br#"{"account":"alice","pence":5,"balance":5}"#.as_slice();
            let mut forged = semel::Envelope::new(token, "/outside", "account.deposited", data);
            forged.id = format!("forged {token}");
            forged.set_text(semel::core::envelope::TOKEN, token);
            crate::rig::put(&rig.backend(), "audit", forged).await;
        }
        let [_, audit] = under(&by_name(receiver));
        work_off(&rig.backend(), [audit]).await;
        assert_eq!(rig.books().queued, 0, "{sender} {receiver}");
        assert_eq!(rig.state::<Account>("accounts", "alice"), Some(Account::of(7, 1)));
    }
}
